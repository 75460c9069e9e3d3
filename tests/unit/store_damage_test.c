// SPDX-License-Identifier: BSD-2-Clause
/*
 * phttpd's store: bits that have changed behind its back, in its log, its tree, records and values:
 * what opening refuses, and what is found when a value is read.
 */
#include "store_fixture.h"

static void damage(void **state)
{
	const char *part;
	struct store_value *v;
	size_t len;
	char *tree = paste_region_tree(region, &len), *log = paste_region_log(region, &len);
	struct space_piece p;
	char *record;

	(void)state;
	put_text("a", "some text");
	store_commit(st);
	put_text("b", "text");
	store_commit(st);
	assert_int_equal(store_get(st, "a", 1, &v), 0);
	assert_true(store_next(v, &p));
	store_done(v);
	/* The first record, found by its key. */
	record = memmem(mem, LEN, "a\0\0\0\0\0\0", 8);
	while (record && record[-8] != 1)	/* length of the key */
		record = memmem(record + 1, mem + LEN - record - 1, "a\0\0\0\0\0\0", 8);
	if (!record)
		fail();
	store_close(st);
	st = NULL;
	*record = 'x';
	assert_int_equal(store_open(region, &cfg, &st, &part), -EBADMSG);
	assert_string_equal(part, "its values");
	*record = 'a';
	tree[0] ^= 1;
	assert_int_equal(store_open(region, &cfg, &st, &part), -EMEDIUMTYPE);
	assert_string_equal(part, "its tree");
	tree[0] ^= 1;
	log[8] ^= 1;
	assert_int_equal(store_open(region, &cfg, &st, &part), -EBADMSG);
	assert_string_equal(part, "its log");
	log[8] ^= 1;
	assert_non_null(strstr(store_strerror(-EBADMSG), "damaged"));
	assert_int_equal(open_store(), 0);
	assert_string_equal(get("a"), "some text");
}

static char *first_bytes(const char *key)
{
	struct store_value *v;
	struct space_piece p;

	assert_int_equal(store_get(st, key, strlen(key), &v), 0);
	assert_true(store_next(v, &p));
	store_done(v);
	return store_bytes(store_space(st), &p);
}

static uint64_t damaged(void)
{
	struct store_stats s;

	store_stats(st, &s);
	return s.damaged;
}

/* One bit, in the last of many buffers; what was stored in this life is not read again for it. */
static void damaged_value(void **state)
{
	static char value[VALUE_MAX];
	struct store_value *v;
	char *at, *last = mem;

	(void)state;
	assert_int_equal(write_long(STORE_VALUE, VALUE_MAX, VALUE_MAX, true), 0);
	assert_int_equal(put_text("good", "value"), 1);
	assert_int_equal(put_text("deleted", "value"), 1);
	store_commit(st);
	assert_int_equal(put_text("later", "says that these were committed"), 1);
	reopen();
	assert_int_equal(store_get(st, "long", 4, &v), 0);
	for (struct space_piece p; store_next(v, &p);)
		last = store_bytes(store_space(st), &p) + p.len - 1;
	store_done(v);
	at = first_bytes("deleted");
	reopen();
	*last ^= 4;
	*at ^= 4;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_get(st, "long", 4, &v), -EBADMSG);
		assert_int_equal(store_get(st, "deleted", 7, &v), -EBADMSG);
	}
	assert_int_equal(damaged(), 4);
	assert_string_equal(get("good"), "value");
	assert_string_equal(list(""), "deleted good later long");
	assert_int_equal(delete("deleted"), 0);
	assert_null(get("deleted"));
	assert_int_equal(put("long", value, VALUE_MAX), 0);
	assert_memory_equal(get("long"), value, VALUE_MAX);
	assert_int_equal(damaged(), 4);
	store_commit(st);
	/* Once found right, or written by us: nobody reads it for this again. */
	*first_bytes("good") ^= 4;
	*first_bytes("long") ^= 4;
	assert_string_equal(get("good"), "ralue");
	assert_int_equal(get("long")[0], 4);
	assert_int_equal(put_text("later", "says so again"), 0);
	reopen();
	assert_int_equal(store_get(st, "good", 4, &v), -EBADMSG);
	assert_int_equal(store_get(st, "long", 4, &v), -EBADMSG);
	assert_int_equal(delete("good"), 0);
	assert_int_equal(delete("long"), 0);
	assert_int_equal(delete("later"), 0);
	assert_int_equal(reopen(), 0);
}

/* What a crash left uncommitted was looked at by recovery. */
static void value_of_recovery(void **state)
{
	(void)state;
	put_text("k", "value");
	store_close(st);
	assert_int_equal(open_store(), 0);
	*(char *)memmem(mem, LEN, "value", 5) ^= 4;
	assert_string_equal(get("k"), "ralue");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(damage),
		TEST(damaged_value),
		TEST(value_of_recovery),
	};

	return cmocka_run_group_tests_name("store, damage", tests, NULL, NULL);
}
