// SPDX-License-Identifier: BSD-2-Clause
/*
 * recovery: how long a tree of many keys takes to open, for 1/8, 1/4, 1/2 and all of them (10 million, or "recovery
 * KEYS"). The CPU's time per key, the least of three, stays below a bound and does not grow with the tree beyond what
 * its leaving the caches explains.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <time.h>
#include <paste_btree.h>
#include "../t.h"

#define KEYS		10000000
#define BOUND_NS	400	/* per key; ten times what a machine of 2020 takes */
/*
 * Eight times the keys may take that much more per key: n^1.33 would. It is 1.35 to 1.55, also beside other load,
 * since leaves and the nodes above them leave the caches, and there is a level more of these.
 */
#define GROWTH		2
#define AREA(keys)	((size_t)(keys) * 50 + (1 << 20))

/* Each number below 2^64 once, in no order. */
static uint64_t key_of(uint64_t i)
{
	i = (i ^ i >> 31) * 0x7fb5d329728ea185ull;
	i = (i ^ i >> 27) * 0x81dadef4bc2dd44dull;
	return i ^ i >> 33;
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void fill(void *area, size_t len, uint64_t n)
{
	struct paste_btree *tree;

	t_must(!paste_btree_format(area, len) && !paste_btree_open(area, len, &tree));
	for (uint64_t i = 0; i < n; i++) {
		t_must(!paste_btree_insert(tree, key_of(i), i + 1));
		if (i % 100 == 0)
			paste_btree_commit(tree);
	}
	paste_btree_commit(tree);
	paste_btree_close(tree);
}

/* Everything is there. */
static void look(struct paste_btree *tree, uint64_t n)
{
	struct paste_btree_stats stats;
	uint64_t ref;

	paste_btree_stats(tree, &stats);
	t_eq(stats.entries, n);
	for (uint64_t i = 0; i < n; i += 1 + n / 100000) {
		ref = 0;
		t_must(!paste_btree_find(tree, key_of(i), &ref) && ref == i + 1);
	}
	t_eq(paste_btree_find(tree, key_of(n), &ref), -ENOENT);
}

/* Nanoseconds that opening takes. */
static uint64_t recovery(uint64_t n)
{
	size_t len = AREA(n) / 4096 * 4096;
	void *area = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t best = UINT64_MAX;
	struct paste_btree *tree;

	t_must(area != MAP_FAILED);
	fill(area, len, n);
	for (int turn = 0; turn < 3; turn++) {
		uint64_t begin = cpu_ns(), took;

		t_must(!paste_btree_open(area, len, &tree));
		took = cpu_ns() - begin;
		if (took < best)
			best = took;
		look(tree, n);
		paste_btree_close(tree);
	}
	munmap(area, len);
	printf("%" PRIu64 " keys: %.3f s, %" PRIu64 " ns per key\n", n, (double)best / 1e9, best / n);
	fflush(stdout);
	return best;
}

int main(int argc, char **argv)
{
	uint64_t keys = argc > 1 ? strtoull(argv[1], NULL, 10) : KEYS;
	uint64_t first = 0, took = 0;

	for (uint64_t n = keys / 8; n && n <= keys; n *= 2) {
		took = recovery(n);
		if (!first)
			first = took;
	}
	t_must(keys >= 8);
	t_true(took < keys * BOUND_NS);
	t_true(took < 8 * GROWTH * first);
	return t_end();
}
