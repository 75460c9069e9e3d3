// SPDX-License-Identifier: BSD-2-Clause
/*
 * phttpd's store: how many fences a batch takes (doc/durability.md). Whether they cover what they
 * have to is for tests/crash; here, that there are no more of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <paste_pm.h>
#include <paste_region.h>

#include "store.h"
#include "fences.h"

#define BUFS		300
#define LOG_LEN		(8192 + 4096)
#define TREE_LEN	65536
#define LEN		(8192 + LOG_LEN + TREE_LEN + 2 * 4096 + BUFS * 4096)
#define KEYS		4	/* one leaf of the tree has the versions of all of them */

static _Alignas(4096) char mem[LEN];
static struct paste_region *region;
static struct store *st;
static uint32_t next_buf;	/* of those that nobody has had */

static uint32_t take(void *ctx)
{
	(void)ctx;
	assert_true(next_buf < BUFS);
	return next_buf++;
}

static bool keep(void *ctx, uint32_t buf)
{
	(void)ctx;
	(void)buf;
	return true;
}

static void give(void *ctx, uint32_t buf)
{
	(void)ctx;
	(void)buf;
}

static const struct space_owner owner = { take, keep, give };

static void open_store(const struct store_config *cfg)
{
	const char *part;

	assert_int_equal(store_open(region, cfg, &st, &part), 0);
	store_space(st)->limit = BUFS;
	next_buf = PASTE_REGION_FIRST_BUF;
	space_set_owner(store_space(st), &owner, NULL);
	fences = 0;
}

static int setup(void **state)
{
	static const struct paste_region_layout layout = {
		.size = LEN, .log_size = LOG_LEN, .tree_size = TREE_LEN, .if_num = 1,
		.if_size = 64, .ring_num = 1, .ring_size = 128,
	};

	(void)state;
	memset(mem, 0, sizeof(mem));
	assert_int_equal(paste_region_format(mem, LEN, &layout), 0);
	assert_int_equal(paste_region_attach(mem, LEN, &region), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_close(st);
	st = NULL;
	paste_region_close(region);
	return 0;
}

/* ------------------------------------------------------------------ short words */

/* Bytes of all kinds: kept where they arrived, copied, too few to be kept, over a buffer's end. */
static struct store_write *begin(enum store_kind kind)
{
	static char elsewhere[5000];
	struct store_write *w = store_begin(st, kind, 0);

	assert_non_null(w);
	assert_int_equal(store_add(w, paste_region_buf(region, next_buf++), 1000), 0);
	assert_int_equal(store_add(w, paste_region_buf(region, next_buf++), 10), 0);
	assert_int_equal(store_add(w, elsewhere, sizeof(elsewhere)), 0);
	return w;
}

static void put(int key)
{
	struct store_write *w = begin(STORE_VALUE);
	bool created;
	char name[16];
	size_t len = (size_t)sprintf(name, "%d", key);

	assert_int_equal(store_put(w, name, len, &created), 0);
}

static int delete(int key)
{
	char name[16];
	size_t len = (size_t)sprintf(name, "%d", key);

	return store_delete(st, name, len);
}

static void append(void)
{
	assert_int_equal(store_append(begin(STORE_MESSAGE)), 0);
}

/* Of the commit alone; nothing has had one before it. */
static unsigned int commit(void)
{
	unsigned int n;

	assert_int_equal(fences, 0);
	store_commit(st);
	n = fences;
	store_commit(st);
	assert_int_equal(fences, n);	/* nothing is new */
	fences = 0;
	return n;
}

static void put_all(void)
{
	for (int key = 0; key < KEYS; key++)
		put(key);
}

/* With values in it; no fence from here on. */
static void open_with_values(void)
{
	open_store(&(struct store_config) { .values = true });
	put_all();
	store_commit(st);
	fences = 0;
}

/* ------------------------------------------------------------------------ tests */

static void values(void **state)
{
	(void)state;
	open_with_values();
	assert_int_equal(commit(), 0);
	put(KEYS);
	assert_int_equal(commit(), 1);
	put_all();			/* they replace others */
	assert_int_equal(commit(), 1);
	put_all();			/* the deletion of those is on its way */
	assert_int_equal(commit(), 1);
	store_abort(begin(STORE_VALUE));
	assert_int_equal(commit(), 0);
}

static void messages(void **state)
{
	(void)state;
	open_store(&(struct store_config) { 0 });
	for (int i = 0; i < 3; i++) {
		append();
		append();
		append();
		assert_int_equal(commit(), 1);
	}
	store_abort(begin(STORE_MESSAGE));
	assert_int_equal(commit(), 0);
}

/* The log and the tree have one each. */
static void both(void **state)
{
	(void)state;
	open_with_values();
	append();
	put_all();
	append();
	assert_int_equal(commit(), 2);
	append();			/* and the deletion of what was replaced */
	assert_int_equal(commit(), 2);
	append();
	assert_int_equal(commit(), 1);
}

static void deletions(void **state)
{
	(void)state;
	open_with_values();
	assert_int_equal(delete(0), 0);
	assert_int_equal(delete(1), 0);
	assert_int_equal(delete(1), -ENOENT);
	put(2);
	assert_int_equal(commit(), 1);
	/* The deletion of the older version of 2 must not come later than that of 2. */
	assert_int_equal(delete(2), 0);
	assert_int_equal(fences, 1);
	fences = 0;
	assert_int_equal(commit(), 1);
	put(3);
	assert_int_equal(delete(3), 0);		/* both versions go at once */
	assert_int_equal(commit(), 1);
}

/* One more after as many writes as it was raised by, at first when the store was opened. */
static void bound(void **state)
{
	(void)state;
	open_store(&(struct store_config) { .values = true, .bound_step = 5 });
	for (int i = 0; i < 20; i++) {
		put(0);
		assert_int_equal(fences, i && i % 5 == 0);
		fences = 0;
		assert_int_equal(commit(), 1);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(values), T(messages), T(both), T(deletions), T(bound),
	};

	return cmocka_run_group_tests_name("store, fences", tests, NULL, NULL);
}
