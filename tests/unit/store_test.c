// SPDX-License-Identifier: BSD-2-Clause
/*
 * phttpd's store: values by their keys, collisions, buffers shared and counted, errors; crashes are
 * for tests/crash. And SipHash and percent-encoding.
 */
#include "percent.h"
#include "siphash.h"
#include "store_fixture.h"

/* The vectors of the paper's reference implementation. */
static void hash_vectors(void **state)
{
	static const struct { size_t len; uint64_t hash; } vector[] = {
		{ 0, 0x726fdb47dd0e0e31 }, { 1, 0x74f839c593dc67fd }, { 15, 0xa129ca6149be45e5 },
	};
	uint8_t secret[16], data[16];

	(void)state;
	for (int i = 0; i < 16; i++)
		secret[i] = data[i] = i;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(siphash(secret, data, vector[i].len), vector[i].hash);
}

static void percent(void **state)
{
	char all[256], encoded[768], decoded[256];

	(void)state;
	for (int i = 0; i < 256; i++)
		all[i] = i;
	*percent_encode(all, 256, encoded) = 0;
	assert_int_equal(percent_encoded(all, 256), strlen(encoded));
	assert_int_equal(percent_decode(encoded, strlen(encoded), decoded, 256), 256);
	assert_memory_equal(decoded, all, 256);
	assert_int_equal(percent_decode(encoded, strlen(encoded), decoded, 255), -ENAMETOOLONG);
	*percent_encode("a/b c~%\xff", 8, encoded) = 0;
	assert_string_equal(encoded, "a/b%20c~%25%FF");
	assert_int_equal(percent_decode("%aF", 3, decoded, 1), 1);
	assert_int_equal((uint8_t)decoded[0], 0xaf);
	assert_int_equal(percent_decode("%a", 2, decoded, 9), -EINVAL);
	assert_int_equal(percent_decode("%", 1, decoded, 9), -EINVAL);
	assert_int_equal(percent_decode("%xa", 3, decoded, 9), -EINVAL);
	assert_int_equal(percent_decode("%a%", 3, decoded, 9), -EINVAL);
}

static void put_get_delete(void **state)
{
	(void)state;
	assert_null(get("a"));
	assert_int_equal(delete("a"), -ENOENT);
	assert_int_equal(put_text("a", "one"), 1);
	assert_string_equal(get("a"), "one");
	assert_int_equal(put_text("a", "another"), 0);
	assert_string_equal(get("a"), "another");
	assert_int_equal(put("empty", NULL, 0), 1);
	assert_string_equal(get("empty"), "");
	store_commit(st);
	assert_int_equal(put_text("a", "third"), 0);
	assert_string_equal(list(""), "a empty");
	assert_int_equal(delete("a"), 0);
	assert_null(get("a"));
	assert_string_equal(list(""), "empty");
	reopen();
	assert_null(get("a"));
	assert_string_equal(get("empty"), "");
}

static void order_of_keys(void **state)
{
	static const char *const keys[] = { "b", "a", "ab", "abc", "aa", "B", "\xff", "a\x80" };

	(void)state;
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(put_text(keys[i], "x"), 1);
	assert_string_equal(list(""), "B a aa ab abc a\x80 b \xff");
	assert_string_equal(list("a"), "a aa ab abc a\x80");
	assert_string_equal(list("abcd"), "");
}

static uint64_t constant(const uint8_t secret[16], const void *key, size_t len)
{
	(void)secret;
	(void)key;
	(void)len;
	return UINT64_MAX;
}

/* All keys have one hash: compared in full, and at some point there are too many. */
static void collisions(void **state)
{
	char key[16], value[16];
	int n;

	(void)state;
	store_close(st);
	cfg.hash = constant;
	assert_int_equal(open_store(), 0);
	for (n = 0; n < 300; n++) {
		sprintf(key, "%d", n);
		if (put_text(key, key) != 1)
			break;
	}
	assert_int_equal(n, 255);
	assert_int_equal(put_text("one more", "x"), -ENOSPC);
	assert_int_equal(delete("17"), 0);
	/* The entry goes at once, and what replaces another needs one beside it. */
	assert_int_equal(put_text("200", "other"), 0);
	assert_int_equal(put_text("one more", "x"), 1);		/* commits to get the old one's */
	reopen();
	for (int i = 0; i < n; i++) {
		sprintf(key, "%d", i);
		snprintf(value, sizeof(value), "%s", i == 200 ? "other" : key);
		if (i == 17)
			assert_null(get(key));
		else
			assert_string_equal(get(key), value);
	}
	assert_string_equal(get("one more"), "x");
}

/* What lies in the region stays there, several values in one buffer; the rest is copied. */
static void in_place(void **state)
{
	struct store_stats s;
	struct store_value *v;
	struct space_piece p;
	char *at = arrive(600);

	(void)state;
	memset(at, 'x', 600);
	assert_int_equal(put("a", at, 300), 1);
	assert_int_equal(put("b", at + 300, 300), 1);
	store_stats(st, &s);
	assert_int_equal(s.stored, 600);
	assert_int_equal(s.copied, 0);
	assert_int_equal(s.keys, 2);
	assert_int_equal(store_get(st, "b", 1, &v), 0);
	assert_true(store_next(v, &p));
	assert_ptr_equal(store_bytes(store_space(st), &p), at + 300);
	assert_int_equal(p.len, 300);
	assert_false(store_next(v, &p));
	store_done(v);
	assert_int_equal(store_space(st)->refs[p.buf], 2);
	delete("a");
	store_commit(st);
	assert_int_equal(store_space(st)->refs[p.buf], 1);
	assert_int_equal(put_text("c", "copied"), 1);
	store_stats(st, &s);
	assert_int_equal(s.copied, 6);
	delete("b");
	store_commit(st);
	assert_false(kept[p.buf]);
}

/* A value that comes in drops: one buffer for many of them. */
static void drops(void **state)
{
	struct store_write *w = store_begin(st, STORE_VALUE, 0);
	bool created;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		char *at = arrive(4096);	/* each in a buffer of its own */

		*at = 'a' + i % 26;
		assert_int_equal(store_add(w, at, 1), 0);
	}
	assert_int_equal(store_put(w, "k", 1, &created), 0);
	assert_in_range(store_space(st)->used, 1, 5);
	assert_int_equal(strlen(get("k")), 3000);
	for (int i = 0; i < 3000; i++)
		assert_int_equal(text[i], 'a' + i % 26);
}

/* More pieces than a record has room for. */
static void many_pieces(void **state)
{
	struct store_write *w = store_begin(st, STORE_VALUE, 0);
	char key[STORE_KEY_MAX], *half[2] = { arrive(4096), NULL };
	struct store_value *v;
	struct space_piece p;
	bool created;
	int n = 0;

	(void)state;
	kept[packet] = true;	/* so that the next is another */
	half[1] = arrive(4096);
	kept[packet] = kept[packet - 1] = false;
	memset(key, 'k', sizeof(key));
	for (int i = 0; i < 1400; i++)	/* pieces of 256 at overlapping places */
		assert_int_equal(store_add(w, half[i % 2] + i, 256), 0);
	assert_int_equal(store_put(w, key, sizeof(key), &created), 0);
	reopen();
	assert_int_equal(store_get(st, key, sizeof(key), &v), 0);
	assert_int_equal(store_length(v), 1400 * 256);
	for (; store_next(v, &p); n++)
		assert_ptr_equal(store_bytes(store_space(st), &p), half[n % 2] + n);
	assert_int_equal(n, 1400);
	store_done(v);
	assert_int_equal(store_delete(st, key, sizeof(key)), 0);
	assert_int_equal(reopen(), 0);
}

/* A value that is read stays, whatever becomes of the key, and goes with the last reader. */
static void readers(void **state)
{
	struct store_value *a, *b;
	uint32_t used;

	(void)state;
	put_text("k", "old");
	store_commit(st);
	assert_int_equal(store_get(st, "k", 1, &a), 0);
	assert_int_equal(store_get(st, "k", 1, &b), 0);
	put_text("k", "new");
	store_commit(st);
	delete("k");
	store_commit(st);
	put_text("other", "1");
	store_commit(st);
	assert_string_equal(read_value(a), "old");
	put_text("other", "2");
	store_commit(st);
	used = store_space(st)->used;
	assert_string_equal(read_value(b), "old");
	assert_true(store_space(st)->used <= used);
	assert_null(get("k"));
}

/* A full store refuses, keeps what it has, and takes again what was given up. */
static void full(void **state)
{
	static char value[8000];
	struct store_stats s;
	char key[16];
	int n, err = 1;

	(void)state;
	store_space(st)->limit = 100;
	for (n = 0; err == 1; n++) {
		sprintf(key, "%d", n);
		memset(value, 'a' + n % 26, sizeof(value));
		err = put(key, value, sizeof(value));
	}
	assert_int_equal(err, -ENOSPC);
	assert_in_range(n, 40, 60);
	store_stats(st, &s);
	assert_int_equal(s.full, 1);
	assert_null(get(key));
	assert_int_equal(strlen(get("7")), 8000);
	assert_int_equal(text[0], 'h');
	for (n = 2; n < 6; n++) {	/* neighbours: they share buffers */
		sprintf(key, "%d", n);
		assert_int_equal(delete(key), 0);
	}
	memset(value, 'z', sizeof(value));
	assert_int_equal(put("7", value, sizeof(value)), 0);	/* commits, to have the space */
	assert_int_equal(put("8", value, sizeof(value)), 0);	/* in that of the old 7 */
	assert_int_equal(get("7")[0], 'z');
	reopen();
	assert_int_equal(get("8")[0], 'z');
	assert_int_equal(get("9")[0], 'j');
}

static void write_abandoned(void **state)
{
	struct store_write *w = store_begin(st, STORE_VALUE, 0);

	(void)state;
	assert_int_equal(store_add(w, arrive(3000), 3000), 0);
	assert_int_equal(store_add(w, arrive(3000), 3000), 0);
	assert_int_equal(store_space(st)->used, 2);
	store_abort(w);
	assert_int_equal(store_space(st)->used, 0);
}

/* Without a tree there are no values, and a tree that is there is kept in any case. */
static void modes(void **state)
{
	(void)state;
	put_text("k", "value");
	store_commit(st);
	store_close(st);
	cfg.values = false;
	assert_int_equal(open_store(), 0);
	assert_string_equal(get("k"), "value");
	teardown(state);
	memset(mem, 0, sizeof(mem));
	setup(state);
}

/* An allocation fails, whichever it is: -ENOMEM, and nothing has changed. */
static void no_memory(void **state)
{
	int n;

	(void)state;
	put_text("k", "old");
	store_commit(st);
	store_close(st);
	for (n = 1, st = NULL; !st; n++) {
		const char *part;
		int err;

		fail_alloc = n;
		err = store_open(region, &cfg, &st, &part);
		fail_alloc = 0;
		assert_true(st || err == -ENOMEM);
	}
	assert_true(n > 8);
	store_close(st);
	open_store();
	for (n = 1; n < 20; n++) {
		struct store_write *w;
		struct store_value *v = NULL;
		bool created;
		int err = -ENOMEM;

		fail_alloc = n;
		w = store_begin(st, STORE_VALUE, 0);
		if (w) {
			err = store_add(w, "new", 3);
			if (err)
				store_abort(w);
			else
				err = store_put(w, "k", 1, &created);
		}
		if (!err)
			err = store_get(st, "k", 1, &v);
		fail_alloc = 0;
		if (!err) {
			assert_string_equal(read_value(v), "new");
			break;
		}
		assert_int_equal(err, -ENOMEM);
		assert_string_equal(get("k"), n < 5 ? "old" : text);
	}
	assert_in_range(n, 3, 19);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_vectors),
		cmocka_unit_test(percent),
		TEST(put_get_delete),
		TEST(order_of_keys),
		TEST(collisions),
		TEST(in_place),
		TEST(drops),
		TEST(many_pieces),
		TEST(readers),
		TEST(full),
		TEST(write_abandoned),
		TEST(modes),
		TEST(no_memory),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
