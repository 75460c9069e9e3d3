// SPDX-License-Identifier: BSD-2-Clause
/*
 * phttpd's store: its log, and as a ring, that gives messages up for what needs their buffers or
 * records, and for nothing else.
 */
#include "store_fixture.h"

static int append(size_t len)
{
	struct store_write *w = store_begin(st, STORE_MESSAGE, 0);
	int err = len ? store_add(w, arrive(len), len) : 0;

	if (!err)
		return store_append(w);
	store_abort(w);
	return err;
}

static void log_and_ring(void **state)
{
	struct store_stats s;
	uint32_t used;
	int n = 0;

	(void)state;
	assert_int_equal(append(0), 0);
	while (!append(1000))
		n++;
	assert_int_equal(n, 63);
	store_stats(st, &s);
	assert_int_equal(s.messages, 64);
	assert_int_equal(s.full, 1);
	used = store_space(st)->used;
	assert_int_equal(used, 16);	/* four in a buffer */
	assert_int_equal(reopen(), 16);
	store_close(st);
	cfg.ring = true;
	assert_int_equal(open_store(), 0);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(append(1000), 0);
		assert_in_range(store_space(st)->used, 1, 18);
	}
	/* Buffers may be what is short. */
	store_space(st)->limit = 10;
	for (int i = 0; i < 100; i++)
		assert_int_equal(append(1000), 0);
	used = reopen();
	assert_in_range(used, 1, 10);
	/* And so may the log be for one message. */
	for (int i = 0; i < 3; i++) {
		struct store_write *w = store_begin(st, STORE_MESSAGE, 0);

		for (int k = 0; k < 64; k++)
			assert_int_equal(store_add(w, arrive(3000), 3000), 0);
		assert_int_equal(store_append(w), 0);
	}
}

static uint64_t messages(void)
{
	struct store_stats s;

	store_stats(st, &s);
	return s.messages;
}

/* A ring of 40 messages in 40 buffers, and 20 more that may be used. */
static void fill_ring(void)
{
	store_close(st);
	cfg.ring = true;
	assert_int_equal(open_store(), 0);
	store_space(st)->limit = 60;
	for (int i = 0; i < 40; i++)
		assert_int_equal(append(4000), 0);
	store_commit(st);
	assert_int_equal(store_space(st)->used, 40);
}

/* A ring gives nothing up for what would be refused all the same. */
static void ring_keeps(void **state)
{
	static const struct { size_t len; uint64_t most; } long_one[] = {
		{ 500000, 500000 },	/* comes in full */
		{ 100000, 500000 },	/* comes in part */
		{ 250000, 250000 },	/* by a little */
		{ 100000, 1ull << 40 },	/* may become anything */
	};

	(void)state;
	fill_ring();
	for (size_t i = 0; i < 4; i++) {
		for (int how = 0; how < 4; how++) {
			assert_int_equal(write_long(how & 1 ? STORE_VALUE : STORE_MESSAGE,
						    long_one[i].len, long_one[i].most, how & 2),
					 -ENOSPC);
			assert_int_equal(messages(), 40);
			assert_in_range(store_space(st)->used, 40, 41);	/* one to be filled */
		}
	}
	/* More pieces than the log has records for, whether there are buffers enough or not. */
	store_space(st)->limit = 100;
	assert_int_equal(write_long(STORE_MESSAGE, 110000, 110000, true), -ENOSPC);
	assert_int_equal(messages(), 40);
	store_space(st)->limit = BUFS;
	assert_int_equal(write_long(STORE_MESSAGE, 70 * 1400, 70 * 1400, true), -EMSGSIZE);
	store_space(st)->limit = 60;
	assert_int_equal(messages(), 40);
	reopen();
	assert_int_equal(messages(), 40);
}

/* And what fits when it does, fits. */
static void ring_makes_room(void **state)
{
	(void)state;
	for (int how = 0; how < 4; how++) {
		fill_ring();
		/* 30 buffers if copied, of which 20 are there */
		assert_int_equal(write_long(how & 1 ? STORE_VALUE : STORE_MESSAGE, 120000, 120000,
					    how & 2), 0);
		assert_in_range(store_space(st)->used, 40, 60);
		if (how & 1) {
			struct store_value *v;

			assert_in_range(messages(), 8, 30);
			assert_int_equal(store_get(st, "long", 4, &v), 0);
			assert_int_equal(store_length(v), 120000);
			store_done(v);
			assert_int_equal(delete("long"), 0);
		}
		teardown(state);
		setup(state);
	}
}

/* A value whose record takes three buffers, while none is available. */
static int put_in_pieces(void)
{
	struct store_write *w = store_begin(st, STORE_VALUE, 0);
	bool created;
	char *at;

	packet = 0;
	at = arrive(4096);
	for (int i = 0; i < 1400; i++)
		assert_int_equal(store_add(w, at + i * 7 % 3800, 256), 0);
	store_space(st)->limit = store_space(st)->used;
	return store_put(w, "in pieces", 9, &created);
}

static void ring_and_records(void **state)
{
	(void)state;
	fill_ring();
	assert_int_equal(put_in_pieces(), 0);
	assert_in_range(messages(), 30, 36);
	teardown(state);
	setup(state);
	store_close(st);
	cfg.ring = true;
	assert_int_equal(open_store(), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(append(4000), 0);
	assert_int_equal(put_in_pieces(), -ENOSPC);
	assert_int_equal(messages(), 2);
}

/* It is the tree that has no space: the log's messages are of no use to it. */
static void ring_and_tree(void **state)
{
	char key[16];
	int n = 0, err;

	(void)state;
	fill_ring();
	store_space(st)->limit = BUFS;
	do {
		sprintf(key, "%d", n++);
		err = put_text(key, "value");
	} while (err == 1);
	assert_int_equal(err, -ENOSPC);
	assert_in_range(n, 1000, 8000);
	assert_int_equal(messages(), 40);
}

/* A message of many pieces is given up alone. */
static void ring_with_long_messages(void **state)
{
	(void)state;
	store_close(st);
	cfg.ring = true;
	assert_int_equal(open_store(), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(write_long(STORE_MESSAGE, 20 * 1400, 20 * 1400, true), 0);
	assert_int_equal(messages(), 60);
	assert_int_equal(write_long(STORE_MESSAGE, 20 * 1400, 20 * 1400, true), 0);
	assert_int_equal(messages(), 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(log_and_ring),
		TEST(ring_keeps),
		TEST(ring_makes_room),
		TEST(ring_and_records),
		TEST(ring_and_tree),
		TEST(ring_with_long_messages),
	};

	return cmocka_run_group_tests_name("store, log", tests, NULL, NULL);
}
