// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/btree.c and lib/btree_inner.c: the tree against a table, its format, its
 * limits, and what it does with damage.  Crashes are in tests/crash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <paste_pm.h>
#include <paste_btree.h>

#include "../../lib/crc32c.h"

#define LEAF		256
#define ENTRIES		15

/* ------------------------------------------------------------------- wraps */

static int allocations = -1;	/* so many succeed; -1: all */
static unsigned int flushes, fences;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void __real_paste_pm_flush(const void *p, size_t len);
void __real_paste_pm_fence(void);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void __wrap_paste_pm_flush(const void *p, size_t len);
void __wrap_paste_pm_fence(void);

static bool refuse(void)
{
	if (allocations < 0)
		return false;
	if (!allocations)
		return true;
	allocations--;
	return false;
}

void *__wrap_malloc(size_t size)
{
	return refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __real_calloc(n, size);
}

void __wrap_paste_pm_flush(const void *p, size_t len)
{
	flushes++;
	__real_paste_pm_flush(p, len);
}

void __wrap_paste_pm_fence(void)
{
	fences++;
	__real_paste_pm_fence();
}

/* ----------------------------------------------------------------- fixture */

static struct {
	char *area;
	size_t len;
	struct paste_btree *tree;
	uint64_t random;
} t;

static uint64_t rnd(uint64_t n)
{
	t.random = t.random * 6364136223846793005ull + 1442695040888963407ull;
	return (t.random >> 33) % n;
}

static void make(size_t leaves)
{
	t.len = (leaves + 1) * LEAF;
	t.area = aligned_alloc(64, t.len);
	assert_non_null(t.area);
	memset(t.area, 0xa5, t.len);
	assert_int_equal(paste_btree_format(t.area, t.len), 0);
	assert_int_equal(paste_btree_open(t.area, t.len, &t.tree), 0);
}

static struct paste_btree_stats stats(void)
{
	struct paste_btree_stats s;

	paste_btree_stats(t.tree, &s);
	assert_int_equal(s.leaves + s.leaves_free, t.len / LEAF - 1);
	return s;
}

/* What is there and the leaves it takes stay as they are. */
static void reopen(void)
{
	struct paste_btree_stats before = stats(), after;

	paste_btree_close(t.tree);
	t.tree = NULL;
	assert_int_equal(paste_btree_open(t.area, t.len, &t.tree), 0);
	after = stats();
	assert_int_equal(after.entries, before.entries);
	assert_int_equal(after.leaves, before.leaves);
}

static int teardown(void **state)
{
	(void)state;
	allocations = -1;
	paste_btree_close(t.tree);
	free(t.area);
	memset(&t, 0, sizeof(t));
	return 0;
}

/* ------------------------------------------------------------------- basics */

static int never(uint64_t key, uint64_t ref, void *ctx)
{
	(void)key;
	(void)ref;
	(void)ctx;
	return -EIO;
}

static void empty(void **state)
{
	struct paste_btree_stats s;
	uint64_t v = 7;

	(void)state;
	make(1);
	assert_int_equal(paste_btree_find(t.tree, 0, &v), -ENOENT);
	assert_int_equal(paste_btree_delete(t.tree, 0, &v), -ENOENT);
	assert_int_equal(v, 7);
	assert_int_equal(paste_btree_scan(t.tree, 0, UINT64_MAX, never, NULL), 0);
	s = stats();
	assert_int_equal(s.entries, 0);
	assert_int_equal(s.leaves, 1);
	assert_int_equal(s.depth, 1);
	assert_int_equal(s.recovery_leaves, 1);
	assert_int_equal(s.recovery_dropped, 0);
	paste_btree_close(NULL);
}

static void one_entry(void **state)
{
	static const uint64_t keys[] = { 0, 1, 1ull << 63, UINT64_MAX };
	uint64_t v;
	size_t i;

	(void)state;
	make(1);
	for (i = 0; i < 4; i++) {
		uint64_t k = keys[i];

		assert_int_equal(paste_btree_insert(t.tree, k, 0), -EINVAL);
		assert_int_equal(paste_btree_put(t.tree, k, 0, NULL), -EINVAL);
		assert_int_equal(paste_btree_insert(t.tree, k, UINT64_MAX), 0);
		assert_int_equal(paste_btree_insert(t.tree, k, 5), -EEXIST);
		assert_int_equal(paste_btree_find(t.tree, k, &v), 0);
		assert_true(v == UINT64_MAX);
		assert_int_equal(paste_btree_put(t.tree, k, 6, &v), 0);
		assert_true(v == UINT64_MAX);
		assert_int_equal(paste_btree_put(t.tree, k, 8, NULL), 0);
		assert_int_equal(paste_btree_delete(t.tree, k, &v), 0);
		assert_int_equal(v, 8);
		assert_int_equal(paste_btree_find(t.tree, k, NULL), -ENOENT);
		assert_int_equal(paste_btree_put(t.tree, k, 9, &v), 0);
		assert_int_equal(v, 0);
	}
	reopen();
	assert_int_equal(stats().entries, 4);
	assert_int_equal(paste_btree_delete(t.tree, UINT64_MAX, NULL), 0);
}

static void cannot_open(void **state)
{
	struct paste_btree *none = (void *)&t;
	uint32_t crc;

	(void)state;
	make(4);
	assert_int_equal(paste_btree_format(t.area, PASTE_BTREE_MIN - 1), -EINVAL);
	assert_int_equal(paste_btree_format(t.area + 8, t.len - 8), -EINVAL);
	assert_int_equal(paste_btree_open(t.area, PASTE_BTREE_MIN - 1, &none), -EINVAL);
	assert_int_equal(paste_btree_open(t.area + 8, t.len - 8, &none), -EINVAL);
	assert_int_equal(paste_btree_open(t.area, t.len - LEAF, &none), -EOVERFLOW);
	t.area[30] ^= 1;
	assert_int_equal(paste_btree_open(t.area, t.len, &none), -EBADMSG);
	t.area[30] ^= 1;
	t.area[8] = 2;
	crc = nmi_crc32c(0, t.area, 60);
	memcpy(t.area + 60, &crc, 4);
	assert_int_equal(paste_btree_open(t.area, t.len, &none), -EPROTONOSUPPORT);
	memset(t.area, 0, 8);
	assert_int_equal(paste_btree_open(t.area, t.len, &none), -EMEDIUMTYPE);
	assert_ptr_equal(none, &t);
	/* The end of an area need not be a leaf. */
	paste_btree_close(t.tree);
	t.len -= 100;
	assert_int_equal(paste_btree_format(t.area, t.len), 0);
	assert_int_equal(paste_btree_open(t.area, t.len, &t.tree), 0);
	assert_int_equal(stats().leaves_free, 2);
}

/* -------------------------------------------------------- against a table */

#define MODEL	3000

static struct {
	uint64_t n, ref[MODEL], entries;
	uint64_t next;		/* in a scan */
} m;

/* The i-th key: they ascend from 0 to nearly the greatest. */
static uint64_t key(uint64_t i)
{
	return i * (UINT64_MAX / (m.n - 1));
}

static int compare(uint64_t k, uint64_t ref, void *ctx)
{
	(void)ctx;
	while (m.next < m.n && !m.ref[m.next])
		m.next++;
	assert_true(m.next < m.n);
	assert_true(k == key(m.next));
	assert_true(ref == m.ref[m.next]);
	m.next++;
	return 0;
}

static void compare_from(uint64_t from)
{
	m.next = from;
	assert_int_equal(paste_btree_scan(t.tree, key(from), UINT64_MAX, compare, NULL), 0);
	while (m.next < m.n)
		assert_true(!m.ref[m.next++]);
}

static void compare_all(void)
{
	compare_from(0);
	assert_int_equal(stats().entries, m.entries);
}

static void count_entry(uint64_t before, uint64_t after)
{
	m.entries += !!after;
	m.entries -= !!before;
}

static void random_operation(unsigned int inserts)
{
	uint64_t i = rnd(m.n), ref = 1 + rnd(1000), old = 77;
	uint64_t was = m.ref[i];
	int err;

	switch (rnd(8)) {
	case 0:
		err = paste_btree_find(t.tree, key(i), &old);
		assert_int_equal(err, was ? 0 : -ENOENT);
		assert_true(old == (was ? was : 77));
		return;
	case 1:
		compare_from(i);
		return;
	case 2:
		paste_btree_commit(t.tree);
		return;
	}
	if (rnd(100) >= inserts) {
		err = paste_btree_delete(t.tree, key(i), &old);
		assert_int_equal(err, was ? 0 : -ENOENT);
		assert_true(old == (was ? was : 77));
		m.ref[i] = 0;
	} else if (rnd(2)) {
		err = paste_btree_insert(t.tree, key(i), ref);
		assert_int_equal(err, was ? -EEXIST : 0);
		m.ref[i] = was ? was : ref;
	} else {
		assert_int_equal(paste_btree_put(t.tree, key(i), ref, &old), 0);
		assert_true(old == was);
		m.ref[i] = ref;
	}
	count_entry(was, m.ref[i]);
}

static void model(void **state)
{
	uint64_t seed, i;

	(void)state;
	for (seed = 1; seed <= 40; seed++) {
		printf("# seed %lu\n", (unsigned long)seed);
		memset(&m, 0, sizeof(m));
		t.random = seed;
		m.n = 2 + rnd(seed % 2 ? 60 : MODEL - 2);
		make(m.n);
		for (i = 0; i < 3000; i++) {
			/* growing and shrinking by turns */
			random_operation(i / 500 % 2 ? 20 : 80);
			if (rnd(300) == 0)
				reopen();
		}
		compare_all();
		reopen();
		compare_all();
		teardown(NULL);
	}
}

/* ----------------------------------------------------------- sizes, shapes */

static uint64_t shuffled(uint64_t i, uint64_t n)
{
	return i * 7919 % n;	/* n is not a multiple of 7919 */
}

/* Leaves of a tree of N keys that come in some order, then go in some order. */
static void large(void **state)
{
	enum { N = 100000 };
	struct paste_btree_stats s;
	uint64_t order, i, k, v;

	(void)state;
	for (order = 0; order < 3; order++) {
		make(N / 4);
		for (i = 0; i < N; i++) {
			k = order == 0 ? i : order == 1 ? N - 1 - i : shuffled(i, N);
			assert_int_equal(paste_btree_insert(t.tree, k, k + 1), 0);
		}
		s = stats();
		if (order == 0)
			assert_int_equal(s.leaves, (N + ENTRIES - 1) / ENTRIES);
		assert_in_range(s.leaves, N / 15, N / 7);
		assert_int_equal(s.splits, s.leaves - 1);
		assert_int_equal(s.depth, 3);
		reopen();
		s = stats();
		assert_int_equal(s.entries, N);
		assert_int_equal(s.recovery_leaves, s.leaves);
		assert_true(s.recovery_ns > 0);
		for (i = 0; i < N; i++) {
			assert_int_equal(paste_btree_find(t.tree, i, &v), 0);
			assert_true(v == i + 1);
		}
		for (i = 0; i < N; i++) {
			k = order == 0 ? shuffled(i, N) : order == 1 ? i : N - 1 - i;
			assert_int_equal(paste_btree_delete(t.tree, k, &v), 0);
			assert_true(v == k + 1);
		}
		s = stats();
		assert_int_equal(s.entries, 0);
		assert_int_equal(s.leaves, 1);
		assert_int_equal(s.depth, 1);
		for (i = 0; i < N; i++)
			assert_int_equal(paste_btree_insert(t.tree, shuffled(i, N), 1), 0);
		/* Leaves go and are used again. */
		for (i = 0; i < N; i++)
			if (i % 8)
				assert_int_equal(paste_btree_delete(t.tree, i, NULL), 0);
		for (i = 0; i < N; i++)
			assert_int_equal(paste_btree_put(t.tree, shuffled(i, N), 1, NULL), 0);
		assert_int_equal(stats().entries, N);
		reopen();
		teardown(NULL);
	}
}

/* A node above the leaves loses its last child while its neighbour is full. */
static void node_empties(void **state)
{
	enum { LEAVES = 65, FULL = 64 };
	uint64_t i;

	(void)state;
	make(100);
	for (i = 0; i < LEAVES * ENTRIES; i++)
		assert_int_equal(paste_btree_insert(t.tree, 2 * i, 1), 0);
	assert_int_equal(stats().depth, 2);
	assert_int_equal(paste_btree_insert(t.tree, 101, 1), 0);
	assert_int_equal(stats().leaves, LEAVES + 1);
	while (i-- > (FULL - 1) * ENTRIES)
		assert_int_equal(paste_btree_delete(t.tree, 2 * i, NULL), 0);
	assert_int_equal(stats().leaves, FULL);
	assert_int_equal(stats().depth, 1);
	assert_int_equal(paste_btree_find(t.tree, 2 * i, NULL), 0);
	assert_int_equal(paste_btree_find(t.tree, 2 * i + 2, NULL), -ENOENT);
}

static void full(void **state)
{
	struct paste_btree_stats s;
	uint64_t i, v, n = 0;
	char *before;
	int err;

	(void)state;
	make(8);
	before = malloc(t.len);
	assert_non_null(before);
	for (;;) {
		memcpy(before, t.area, t.len);
		err = paste_btree_insert(t.tree, n * 37 % 1009, n + 1);
		if (err)
			break;
		n++;
	}
	assert_int_equal(err, -ENOSPC);
	assert_memory_equal(before, t.area, t.len);
	free(before);
	s = stats();
	assert_int_equal(s.leaves_free, 0);
	assert_int_equal(s.entries, n);
	assert_int_equal(paste_btree_put(t.tree, n * 37 % 1009, 1, &v), -ENOSPC);
	/* What is there can still be changed, and going makes room. */
	assert_int_equal(paste_btree_put(t.tree, 37, 99, &v), 0);
	assert_int_equal(v, 2);
	for (i = 0; i < n; i++)
		assert_int_equal(paste_btree_delete(t.tree, i * 37 % 1009, NULL), 0);
	assert_int_equal(stats().leaves_free, 7);
	assert_int_equal(paste_btree_insert(t.tree, n * 37 % 1009, 1), 0);
}

static int stop_at_3(uint64_t k, uint64_t ref, void *ctx)
{
	uint64_t v;

	assert_int_equal(paste_btree_find(t.tree, k, &v), 0);
	assert_true(v == ref);
	return ++*(int *)ctx == 3 ? 42 : 0;
}

static void scan_stops(void **state)
{
	uint64_t i;
	int n = 0;

	(void)state;
	make(10);
	for (i = 1; i <= 50; i++)
		assert_int_equal(paste_btree_insert(t.tree, i * 10, i), 0);
	assert_int_equal(paste_btree_scan(t.tree, 145, UINT64_MAX, stop_at_3, &n), 42);
	assert_int_equal(n, 3);
	assert_int_equal(paste_btree_scan(t.tree, 501, UINT64_MAX, never, NULL), 0);
	assert_int_equal(paste_btree_scan(t.tree, 11, 19, never, NULL), 0);
	assert_int_equal(paste_btree_scan(t.tree, 200, 100, never, NULL), 0);
	n = -100;
	assert_int_equal(paste_btree_scan(t.tree, 20, 300, stop_at_3, &n), 0);
	assert_int_equal(n, -100 + 29);
	assert_int_equal(paste_btree_scan(t.tree, 500, UINT64_MAX, never, NULL), -EIO);
}

static void few_fences(void **state)
{
	uint64_t i;

	(void)state;
	make(3);
	fences = flushes = 0;
	for (i = 0; i < ENTRIES; i++)
		paste_btree_insert(t.tree, i, 1);
	paste_btree_put(t.tree, 3, 2, NULL);
	paste_btree_delete(t.tree, 4, NULL);
	paste_btree_insert(t.tree, 4, 1);
	assert_int_equal(fences, 0);
	assert_int_equal(flushes, ENTRIES + 3);
	paste_btree_commit(t.tree);
	paste_btree_commit(t.tree);
	assert_int_equal(fences, 1);
	fences = 0;
	paste_btree_insert(t.tree, ENTRIES, 1);
	assert_int_equal(stats().splits, 1);
	assert_int_equal(fences, 2);
	fences = 0;
	paste_btree_delete(t.tree, 3, NULL);
	while (!stats().merges) {
		assert_int_equal(fences, 0);
		paste_btree_delete(t.tree, i--, NULL);
	}
	assert_int_equal(fences, 2);
	assert_int_equal(stats().leaves, 1);
}

static void no_memory(void **state)
{
	struct paste_btree_stats before, after;
	struct paste_btree *none = NULL;
	int n, err, failed = 0;
	uint64_t i;

	(void)state;
	make(2000);
	for (i = 0; i < 2000; i++) {
		before = stats();
		allocations = 0;
		err = paste_btree_insert(t.tree, i, 1);
		allocations = -1;
		if (!err)
			continue;
		failed++;
		assert_int_equal(err, -ENOMEM);
		after = stats();
		assert_memory_equal(&before, &after, sizeof(before));
		assert_int_equal(paste_btree_find(t.tree, i, NULL), -ENOENT);
		assert_int_equal(paste_btree_insert(t.tree, i, 1), 0);
	}
	assert_in_range(failed, 3, 10);
	for (n = 0;; n++) {
		allocations = n;
		err = paste_btree_open(t.area, t.len, &none);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
	}
	assert_true(n > 4);
	allocations = -1;
	paste_btree_close(none);
	assert_int_equal(stats().entries, 2000);
}

/* ------------------------------------------------------------------- format */

static uint64_t u64_at(size_t ofs)
{
	uint64_t v = 0;
	int i;

	for (i = 7; i >= 0; i--)
		v = v << 8 | (unsigned char)t.area[ofs + (size_t)i];
	return v;
}

static uint32_t link_check(uint32_t number, uint64_t low)
{
	unsigned char bytes[12];
	int i;

	for (i = 0; i < 4; i++)
		bytes[i] = (unsigned char)(number >> 8 * i);
	for (i = 0; i < 8; i++)
		bytes[4 + i] = (unsigned char)(low >> 8 * i);
	return nmi_crc32c(0, bytes, 12);
}

/* A reader made from the description in lib/btree.c; returns the entries. */
static uint64_t read_by_format(size_t *leaves)
{
	uint64_t n = 1, next, low, sum = 0;
	int i;

	assert_memory_equal(t.area, "PASTEtre", 8);
	assert_int_equal(u64_at(8), 1 | 256ull << 32);
	assert_int_equal(u64_at(16), t.len);
	assert_int_equal(u64_at(56) >> 32, nmi_crc32c(0, t.area, 60));
	assert_int_equal(u64_at(LEAF + 8), 0);
	for (*leaves = 0; n; n = next) {
		++*leaves;
		next = u64_at(n * LEAF) & UINT32_MAX;
		low = next ? u64_at(next * LEAF + 8) : 0;
		assert_int_equal(u64_at(n * LEAF) >> 32, link_check((uint32_t)next, low));
		for (i = 1; i <= ENTRIES; i++) {
			uint64_t k = u64_at(n * LEAF + 16 * i);

			if (u64_at(n * LEAF + 16 * i + 8) && (!next || k < low))
				sum++;
		}
	}
	return sum;
}

static void format(void **state)
{
	size_t leaves;
	uint64_t i;

	(void)state;
	make(100);
	for (i = 0; i < 600; i++)
		assert_int_equal(paste_btree_insert(t.tree, shuffled(i, 600), 1), 0);
	for (i = 0; i < 300; i++)
		assert_int_equal(paste_btree_delete(t.tree, i, NULL), 0);
	assert_int_equal(read_by_format(&leaves), 300);
	assert_int_equal(leaves, stats().leaves);
}

static void forge_entry(size_t leaf, unsigned int slot, uint64_t k, uint64_t ref)
{
	size_t ofs = leaf * LEAF + 16 + 16 * slot;

	assert_int_equal(u64_at(ofs + 8), 0);
	memcpy(t.area + ofs, &k, 8);
	memcpy(t.area + ofs + 8, &ref, 8);
}

/* Copies that a crash leaves of an entry: dead ones, and a second one. */
static void superfluous_entries(void **state)
{
	uint64_t i, v;

	(void)state;
	make(2);
	for (i = 1; i <= ENTRIES; i++)
		assert_int_equal(paste_btree_insert(t.tree, i * 10, i), 0);
	assert_int_equal(paste_btree_insert(t.tree, 75, 75), 0);
	assert_int_equal(stats().leaves, 2);
	forge_entry(1, 12, 120, 99);
	forge_entry(1, 13, 10, 99);
	forge_entry(1, 14, 10, 98);
	reopen();
	assert_int_equal(stats().recovery_dropped, 3);
	assert_int_equal(stats().entries, 16);
	assert_int_equal(paste_btree_find(t.tree, 120, &v), 0);
	assert_int_equal(v, 12);
	assert_int_equal(paste_btree_find(t.tree, 10, &v), 0);
	assert_int_equal(v, 1);
	reopen();
	assert_int_equal(stats().recovery_dropped, 0);
	/* Below its leaf's low no crash puts one. */
	forge_entry(2, 14, 10, 99);
	assert_int_equal(paste_btree_open(t.area, t.len, &(struct paste_btree *){ 0 }),
			 -EBADMSG);
}

/* ------------------------------------------------------------------- damage */

static void fill_some(uint64_t seed)
{
	uint64_t i;

	t.random = seed;
	make(40);
	for (i = 0; i < 200; i++)
		paste_btree_put(t.tree, rnd(1000), 1 + rnd(9), NULL);
	for (i = 0; i < 50; i++)
		paste_btree_delete(t.tree, rnd(1000), NULL);
	paste_btree_close(t.tree);
	t.tree = NULL;
}

/* Each bit of what holds the tree together. */
static void structure_is_protected(void **state)
{
	struct paste_btree *none;
	unsigned int n, bit;
	int err;

	(void)state;
	fill_some(1);
	for (bit = 0; bit < 64 * 8; bit++) {
		t.area[bit / 8] ^= (char)(1 << bit % 8);
		err = paste_btree_open(t.area, t.len, &none);
		assert_int_equal(err, bit < 64 ? -EMEDIUMTYPE : -EBADMSG);
		t.area[bit / 8] ^= (char)(1 << bit % 8);
	}
	for (n = 1; n; n = (uint32_t)u64_at(n * LEAF)) {
		for (bit = 0; bit < 16 * 8; bit++) {
			char *c = t.area + n * LEAF + bit / 8;

			*c ^= (char)(1 << bit % 8);
			err = paste_btree_open(t.area, t.len, &none);
			assert_int_equal(err, -EBADMSG);
			*c ^= (char)(1 << bit % 8);
		}
	}
	memset(t.area + LEAF, 0, LEAF);
	assert_int_equal(paste_btree_open(t.area, t.len, &none), -EBADMSG);
}

static int ascends(uint64_t k, uint64_t ref, void *ctx)
{
	uint64_t *next = ctx;

	assert_true(ref != 0);
	assert_true(k >= *next);
	*next = k + 1;
	return k == UINT64_MAX;
}

static void damage(bool seal)
{
	unsigned int n = 1 + (unsigned int)rnd(6);
	uint64_t link;
	uint32_t crc;

	while (n--) {
		size_t ofs = rnd(3) ? rnd(t.len) : rnd(41) * LEAF + rnd(16);

		t.area[ofs] = (char)(rnd(3) ? rnd(256) : 0);
	}
	if (!seal)
		return;
	/* Links with right checks, perhaps to another leaf. */
	for (n = 1; n <= 40; n++) {
		uint32_t to = (uint32_t)(rnd(30) ? u64_at(n * LEAF) : rnd(42));

		to = to > 40 ? 0 : to;
		link = (uint64_t)link_check(to, to ? u64_at(to * LEAF + 8) : 0) << 32 | to;
		memcpy(t.area + n * LEAF, &link, 8);
	}
	crc = nmi_crc32c(0, t.area, 60);
	memcpy(t.area + 60, &crc, 4);
}

static void damaged(void **state)
{
	unsigned int i, j, opened[2] = { 0 }, refused[2] = { 0 };
	char *whole;

	(void)state;
	for (i = 1; i <= 20000; i++) {
		bool seal = i % 2;
		uint64_t next = 0;

		if (i % 100 == 1) {
			teardown(NULL);
			fill_some(i);
		}
		whole = malloc(t.len);
		assert_non_null(whole);
		memcpy(whole, t.area, t.len);
		damage(seal);
		if (paste_btree_open(t.area, t.len, &t.tree)) {
			t.tree = NULL;
			refused[seal]++;
		} else {
			opened[seal]++;
			paste_btree_scan(t.tree, 0, UINT64_MAX, ascends, &next);
			for (j = 0; j < 30; j++)
				paste_btree_put(t.tree, rnd(1200), 1, NULL);
			for (j = 0; j < 60; j++)
				paste_btree_delete(t.tree, rnd(1200), NULL);
			next = 0;
			paste_btree_scan(t.tree, 0, UINT64_MAX, ascends, &next);
			reopen();
			paste_btree_close(t.tree);
			t.tree = NULL;
		}
		memcpy(t.area, whole, t.len);
		free(whole);
	}
	printf("# bytes: %u opened, %u refused; with right checks: %u, %u\n",
	       opened[0], refused[0], opened[1], refused[1]);
	assert_true(opened[0] && refused[0] && opened[1] && refused[1]);
}

int main(void)
{
#define T(f) cmocka_unit_test_teardown(f, teardown)
	const struct CMUnitTest tests[] = {
		T(empty), T(one_entry), T(cannot_open), T(model), T(large),
		T(node_empties), T(full), T(scan_stops), T(few_fences),
		T(no_memory), T(format), T(superfluous_entries),
		T(structure_is_protected), T(damaged),
	};

	return cmocka_run_group_tests_name("btree", tests, NULL, NULL);
}
