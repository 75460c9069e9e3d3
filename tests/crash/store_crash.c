// SPDX-License-Identifier: BSD-2-Clause
/*
 * The store of phttpd under crashes: random writes, a model of what each key and the log may
 * have, and recovery of every crash image against it. store_crash.h says what is where.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <paste_btree.h>
#include <paste_wal.h>

#include "mutation.h"
#include "store_crash.h"

#define STEPS		30
#define SEEDS		200

static const char *run(uint64_t seed)
{
	static const struct paste_region_layout layout = {
		.size = MEM_LEN, .log_size = LOG_LEN, .tree_size = TREE_LEN,
		.if_num = 1, .if_size = 64, .ring_num = 1, .ring_size = 128,
	};
	unsigned int i;

	memset(&t, 0, sizeof(t));
	memset(mem, 0, sizeof(mem));
	t.random = seed * 0x9e3779b97f4a7c15ull;
	t.in_flight = KEYS;
	t.ring = rnd(2);
	t.limit = rnd(3) ? BUFS : 4 + (uint32_t)rnd(12);
	t.logging = rnd(4) == 0;
	t.hot = (unsigned int)rnd(KEYS - 1);
	for (i = 0; i < KEYS; i++)
		committed_key(i, 0);
	if (paste_region_format(mem, MEM_LEN, &layout))
		return "no region";
	restart_recorder();
	t.kill = rnd(4) ? 0 : 1 + (unsigned int)rnd(10);
	if (setjmp(t.dead))
		recorder_resume(t.r);
	open_live();
	for (; t.step < STEPS && !t.complaint; t.step++) {
		t.kill = rnd(5) ? 0 : 1 + (unsigned int)rnd(10);
		if (setjmp(t.dead)) {
			recorder_resume(t.r);
			restart();
		} else {
			step();
		}
	}
	forget();
	recorder_stop(t.r);
	return t.complaint;
}

static void crash_anywhere(void **state)
{
	unsigned long before = recorder_image_count();
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= SEEDS; seed++) {
		const char *complaint = run(seed);

		if (complaint)
			fail_msg("seed %lu, step %u: %s", (unsigned long)seed, t.step,
				 complaint);
	}
	printf("# %d seeds, %lu images\n", SEEDS,
	       recorder_image_count() - before);
}

/*
 * Those of the library have tests of their own; of it the store has the commits: those of the tree
 * by the place that asks for one, and all of the log's and all of the tree's. The one of
 * shorten_log() is about numbers only: truncation, which follows, has fences of its own.
 */
uint64_t __real_paste_wal_commit(struct paste_wal *wal);
uint64_t __wrap_paste_wal_commit(struct paste_wal *wal);
void __real_paste_btree_commit(struct paste_btree *tree);
void __wrap_paste_btree_commit(struct paste_btree *tree);

uint64_t __wrap_paste_wal_commit(struct paste_wal *wal)
{
	uint64_t seq;

	recorder_call((const void *)__real_paste_wal_commit);
	seq = __real_paste_wal_commit(wal);
	recorder_return((const void *)__real_paste_wal_commit);
	return seq;
}

static uintptr_t commit;	/* of store.c */

/*
 * It is commit() that calls; the place is the call of that. The Makefile keeps frames as they are
 * written.
 */
#pragma GCC diagnostic ignored "-Wframe-address"
void __wrap_paste_btree_commit(struct paste_btree *tree)
{
	const void *place = __builtin_return_address(1);

	commit = mutation_target(place);
	recorder_call(place);
	recorder_call((const void *)__real_paste_btree_commit);
	__real_paste_btree_commit(tree);
	recorder_return((const void *)__real_paste_btree_commit);
	recorder_return(place);
}

MUTATION_FILE(space);
MUTATION_FILE(record);
MUTATION_FILE(store);
MUTATION_FILE(store_recover);

static const struct mutation_part parts[] = {
	MUTATION_PART(space), MUTATION_PART(record), MUTATION_PART(store),
	MUTATION_PART(store_recover)
};
#define PARTS	(sizeof(parts) / sizeof(parts[0]))
#define STORE	2	/* of these */

static unsigned int commits(void)
{
	unsigned int n = 0;
	const char *at;

	for (at = parts[STORE].begin + 5; at < parts[STORE].end; at++)
		n += mutation_target(at) == commit;
	return n;
}

static void every_flush_and_fence_counts(void **state)
{
	unsigned int survivors, mutants, calls;

	(void)state;
	assert_int_equal(mutation_unseen(parts, PARTS, &calls), 0);
	mutants = mutation_run(run, 300, parts, PARTS, &survivors);
	printf("# %u calls, %u mutants\n", calls, mutants);
	/* Each call is a flush; besides, the calls of commit(), and the two functions. */
	assert_true(commits() > 0);
	assert_int_equal(mutants, calls + commits() + 2);
	assert_int_equal(survivors, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crash_anywhere),
		cmocka_unit_test(every_flush_and_fence_counts),
	};

	return cmocka_run_group_tests_name("store_crash", tests, NULL, NULL);
}
