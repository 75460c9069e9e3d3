// SPDX-License-Identifier: BSD-2-Clause
/*
 * phttpd's store: every function and error, collisions, buffers shared and counted; crashes are
 * for tests/crash. And SipHash and percent-encoding.
 *
 * The test is the owner of the buffers, as a port is. It writes over those it is given back, so
 * that what is freed too early does not stay unnoticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <paste_region.h>

#include "percent.h"
#include "record.h"
#include "siphash.h"
#include "store.h"

#define BUFS		600
#define LOG_LEN		(8192 + 4096)
#define TREE_LEN	65536
#define LEN		(8192 + LOG_LEN + TREE_LEN + 2 * 4096 + BUFS * 4096)
#define VALUE_MAX	20000

static _Alignas(4096) char mem[LEN];
static struct paste_region *region;
static struct store *st;
static struct store_config cfg;
static bool kept[BUFS];		/* the store's */
static uint32_t packet, packet_used;
static uint32_t seed;
static int fail_alloc;		/* the n-th from now */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool fails(void)
{
	return fail_alloc && !--fail_alloc;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* -------------------------------------------------------- the owner of buffers */

static uint32_t take(void *ctx)
{
	(void)ctx;
	for (uint32_t buf = PASTE_REGION_FIRST_BUF; buf < BUFS; buf++) {
		if (!kept[buf] && buf != packet) {
			kept[buf] = true;
			return buf;
		}
	}
	return 0;
}

static bool keep(void *ctx, uint32_t buf)
{
	(void)ctx;
	assert_false(kept[buf]);
	kept[buf] = true;
	return true;
}

static void give(void *ctx, uint32_t buf)
{
	(void)ctx;
	assert_true(kept[buf]);
	kept[buf] = false;
	if (buf != packet)
		memset(paste_region_buf(region, buf), 0xdd, 4096);
}

static const struct space_owner owner = { take, keep, give };

/* Where the next @len bytes arrive: behind others, or in a buffer nobody has. */
static char *arrive(size_t len)
{
	char *at;

	if (!packet || packet_used + len > 4096) {
		for (packet = PASTE_REGION_FIRST_BUF; kept[packet]; packet++)
			assert_true(packet + 1 < BUFS);
		packet_used = 0;
	}
	at = (char *)paste_region_buf(region, packet) + packet_used;
	packet_used += len;
	return at;
}

static int open_store(void)
{
	const char *part;
	uint32_t used[BUFS], n;
	int err = store_open(region, &cfg, &st, &part);

	if (err)
		return err;
	store_space(st)->limit = BUFS;
	memset(kept, 0, sizeof(kept));
	n = store_used(st, used, BUFS);
	for (uint32_t i = 0; i < n; i++)
		kept[used[i]] = true;
	packet = 0;
	space_set_owner(store_space(st), &owner, NULL);
	return 0;
}

static uint32_t reopen(void)
{
	store_commit(st);
	store_close(st);
	st = NULL;
	assert_int_equal(open_store(), 0);
	return store_space(st)->used;
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
	cfg = (struct store_config) { .values = true };
	seed = 1;
	assert_int_equal(open_store(), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_close(st);
	paste_region_close(region);
	return 0;
}

/* ------------------------------------------------------------------ short words */

static int put(const char *key, const void *value, size_t len)
{
	struct store_write *w = store_begin(st, STORE_VALUE, 0);
	bool created;
	int err = len ? store_add(w, value, len) : 0;

	if (err) {
		store_abort(w);
		return err;
	}
	err = store_put(w, key, strlen(key), &created);
	return err ? err : created;
}

static int put_text(const char *key, const char *text)
{
	return put(key, text, strlen(text));
}

static int delete(const char *key)
{
	return store_delete(st, key, strlen(key));
}

static char text[VALUE_MAX + 1];

static const char *read_value(struct store_value *v)
{
	struct space_piece p;
	size_t len = 0;

	while (store_next(v, &p)) {
		memcpy(text + len, store_bytes(store_space(st), &p), p.len);
		len += p.len;
	}
	assert_int_equal(len, store_length(v));
	text[len] = 0;
	store_done(v);
	return text;
}

static const char *get(const char *key)
{
	struct store_value *v;
	int err = store_get(st, key, strlen(key), &v);

	assert_true(!err || err == -ENOENT);
	return err ? NULL : read_value(v);
}

/* "a b c", in the order they came. */
static const char *list(const char *prefix)
{
	struct store_key *key = NULL;
	ssize_t n = store_list(st, prefix, strlen(prefix), &key);

	text[0] = 0;
	for (ssize_t i = 0; i < n; i++)
		sprintf(text + strlen(text), "%s%.*s", i ? " " : "", (int)key[i].len, key[i].key);
	free(key);
	return text;
}

static uint64_t constant(const uint8_t secret[16], const void *key, size_t len)
{
	(void)secret;
	(void)key;
	(void)len;
	return UINT64_MAX;
}

static uint64_t two_bits(const uint8_t secret[16], const void *key, size_t len)
{
	(void)secret;
	return (uint64_t)((const uint8_t *)key)[len - 1] << 62;
}

/* ------------------------------------------------------------------------ tests */

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

/* @len bytes in all, in packets or elsewhere, announced or known not to be more than @most. */
static int write_long(enum store_kind kind, size_t len, uint64_t most, bool in_place)
{
	static char elsewhere[1400];
	struct store_write *w = store_begin(st, kind, most);
	bool created;
	int err = 0;

	for (size_t at = 0; at < len && !err; at += sizeof(elsewhere)) {
		size_t n = len - at < sizeof(elsewhere) ? len - at : sizeof(elsewhere);

		if (in_place)
			packet = 0;	/* each in a buffer of its own */
		err = store_add(w, in_place ? arrive(n) : elsewhere, n);
	}
	if (err)
		store_abort(w);
	else
		err = kind == STORE_VALUE ? store_put(w, "long", 4, &created) : store_append(w);
	return err;
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

/* Random writes with few hash bits, against a model; each life finds what the one before had. */
static void against_a_model(void **state)
{
	enum { KEYS = 30, READERS = 4 };
	static char model[KEYS][VALUE_MAX], held[READERS][VALUE_MAX];
	static size_t len[KEYS], held_len[READERS];
	bool there[KEYS] = { false };
	struct store_value *reader[READERS] = { NULL };

	(void)state;
	store_close(st);
	cfg.hash = two_bits;
	cfg.bound_step = 50;
	assert_int_equal(open_store(), 0);
	for (int step = 0; step < 20000; step++) {
		int i = rnd(KEYS), what = rnd(100), r = rnd(READERS);
		char key[48];

		sprintf(key, "%.*s%d", i, "------------------------------", i);
		if (what < 45) {
			struct store_write *w = store_begin(st, STORE_VALUE, 0);
			size_t at = 0;
			bool created;

			len[i] = rnd(4) ? rnd(300) : rnd(VALUE_MAX);
			for (size_t b = 0; b < len[i]; b++)
				model[i][b] = rnd(256);
			while (at < len[i]) {
				size_t n = 1 + rnd(len[i] - at < 4000 ? len[i] - at : 4000);
				char *to = rnd(3) ? arrive(n) : NULL;

				if (to)
					memcpy(to, model[i] + at, n);
				assert_int_equal(store_add(w, to ? to : model[i] + at, n), 0);
				at += n;
			}
			assert_int_equal(store_put(w, key, strlen(key), &created), 0);
			assert_int_equal(created, !there[i]);
			there[i] = true;
		} else if (what < 65) {
			assert_int_equal(delete(key), there[i] ? 0 : -ENOENT);
			there[i] = false;
		} else if (what < 80) {
			if (reader[r]) {
				assert_int_equal(store_length(reader[r]), held_len[r]);
				read_value(reader[r]);
				assert_memory_equal(text, held[r], held_len[r]);
				reader[r] = NULL;
			}
			if (store_get(st, key, strlen(key), &reader[r])) {
				assert_false(there[i]);
				reader[r] = NULL;
			} else {
				assert_true(there[i]);
				held_len[r] = len[i];
				memcpy(held[r], model[i], len[i]);
			}
		} else if (what < 99) {
			store_commit(st);
		} else {
			for (r = 0; r < READERS; r++) {
				if (reader[r])
					store_done(reader[r]);
				reader[r] = NULL;
			}
			reopen();
		}
	}
	for (int r = 0; r < READERS; r++) {
		if (reader[r])
			store_done(reader[r]);
	}
	reopen();
	for (int i = 0; i < KEYS; i++) {
		char key[48];

		sprintf(key, "%.*s%d", i, "------------------------------", i);
		assert_int_equal(!!get(key), there[i]);
		if (there[i])
			assert_memory_equal(text, model[i], len[i]);
		delete(key);
	}
	assert_int_equal(reopen(), 0);		/* nothing has leaked */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_vectors),
		cmocka_unit_test(percent),
#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(put_get_delete),
		TEST(order_of_keys),
		TEST(collisions),
		TEST(in_place),
		TEST(drops),
		TEST(many_pieces),
		TEST(readers),
		TEST(full),
		TEST(log_and_ring),
		TEST(ring_keeps),
		TEST(ring_makes_room),
		TEST(ring_and_records),
		TEST(ring_and_tree),
		TEST(ring_with_long_messages),
		TEST(write_abandoned),
		TEST(modes),
		TEST(damage),
		TEST(damaged_value),
		TEST(value_of_recovery),
		TEST(no_memory),
		TEST(against_a_model),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
