// SPDX-License-Identifier: BSD-2-Clause
/*
 * The tree under crashes: random operations, a model of what each key may have,
 * and recovery of every crash image against it.
 *
 * The model of a key is the list of references it has had since the last commit,
 * 0 for none; the first one is committed:
 *
 *	key 7	41 | 0 | 57		deleted and inserted again, not committed
 *
 * A crash image has to have one of them for each key.  The process may also die
 * alone, anywhere, and memory stays: then what has returned is there, and what
 * the next process finds is committed.
 *
 * There are few leaves and not many more keys than fit in them, so that leaves
 * are divided, joined and used again all the time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include <paste_pm.h>
#include <paste_btree.h>

#include "mutation.h"

#define LEAVES		7
#define MEM_LEN		((LEAVES + 1) * 256)
#define KEYS		64
#define HISTORY		64
#define STEPS		60
#define SEEDS		1000

struct history {
	unsigned int n;		/* at least 1 */
	uint64_t ref[HISTORY];
};

static _Alignas(4096) char mem[MEM_LEN];

static struct {
	uint64_t random;
	struct recorder *r;
	struct paste_btree *tree;
	struct history key[KEYS];
	uint64_t next_ref;
	unsigned int hot;		/* first of the keys used most */
	unsigned int in_flight;		/* the key of this operation; KEYS: none */
	bool formatting;		/* keys are of the tree that goes away */
	const char *complaint;
	unsigned int save;		/* number of the image to go on with */
	char saved[MEM_LEN];
	jmp_buf dead;
	unsigned int kill;		/* in the hook so many hooks from now; 0: never */
	unsigned int step;
} t;

static uint64_t rnd(uint64_t n)
{
	t.random = t.random * 6364136223846793005ull + 1442695040888963407ull;
	return (t.random >> 33) % n;
}

static void complain(const char *what)
{
	if (!t.complaint)
		t.complaint = what;
}

/* Keys ascend from 0 to the greatest there is. */
static uint64_t key_of(unsigned int i)
{
	return i == KEYS - 1 ? UINT64_MAX : (uint64_t)i * 1000;
}

static unsigned int index_of(uint64_t key)
{
	return key == UINT64_MAX ? KEYS - 1 : (unsigned int)(key / 1000);
}

/* --------------------------------------------------------- what a tree says */

struct content {
	uint64_t ref[KEYS];
	uint64_t n;
	uint64_t next;		/* the least key that may come */
};

static int collect(uint64_t key, uint64_t ref, void *ctx)
{
	struct content *c = ctx;
	unsigned int i = index_of(key);

	if (i >= KEYS || key != key_of(i) || !ref || key < c->next) {
		complain("a scan brings what was never inserted, or in no order");
		return -EIO;
	}
	c->ref[i] = ref;
	c->n++;
	c->next = key + 1;
	return key == UINT64_MAX;
}

/* Scan, find and the counter of entries tell the same. */
static void read_tree(const struct paste_btree *tree, struct content *c)
{
	struct paste_btree_stats s;
	unsigned int i;
	uint64_t ref;

	memset(c, 0, sizeof(*c));
	paste_btree_scan(tree, 0, UINT64_MAX, collect, c);
	paste_btree_stats(tree, &s);
	if (s.entries != c->n)
		complain("the number of entries is wrong");
	for (i = 0; i < KEYS; i++) {
		if (paste_btree_find(tree, key_of(i), &ref))
			ref = 0;
		if (ref != c->ref[i])
			complain("find and scan differ");
	}
}

static int recover(void *image, struct content *c, struct paste_btree **tree)
{
	int err = paste_btree_open(image, MEM_LEN, tree);

	if (!err)
		read_tree(*tree, c);
	return err;
}

static bool may_have(const struct history *h, uint64_t ref)
{
	unsigned int i;

	for (i = 0; i < h->n; i++)
		if (h->ref[i] == ref)
			return true;
	return false;
}

static const char *judge(int err, const struct content *c)
{
	unsigned int i;

	if (t.formatting && (err == -EMEDIUMTYPE || (!err && !c->n)))
		return NULL;
	if (err)
		return "recovery refuses a legal image";
	for (i = 0; i < KEYS; i++) {
		const struct history *h = &t.key[i];

		if (!may_have(h, c->ref[i]))
			return h->n > 1 || c->ref[i] ? "a key has what it never had" :
						       "a committed entry is lost";
	}
	return NULL;
}

/* -------------------------------------------------------------- crash images */

/* Recovery of @image again, after a crash in the middle of it. */
static int check_again(void *image, size_t len, void *ctx)
{
	const struct content *first = ctx;
	struct paste_btree *tree;
	struct content c;

	(void)len;
	if (recover(image, &c, &tree)) {
		complain("recovery does not survive its own crash");
		return 1;
	}
	paste_btree_close(tree);
	if (memcmp(&c, first, sizeof(c)))
		complain("a second recovery brings something else");
	return !!t.complaint;
}

static void crash_again(struct recorder *r, void *ctx)
{
	recorder_images(r, 6, rnd(1 << 20), check_again, ctx);
}

static void crash_in_recovery(char *image, struct content *first)
{
	struct recorder *r = recorder_start(image, MEM_LEN);
	struct paste_btree *tree;
	struct content c;

	recorder_mark(r, 1, crash_again, first);
	if (recover(image, &c, &tree))
		complain("recovery is not repeatable");
	else
		paste_btree_close(tree);
	recorder_images(r, 20, rnd(1 << 20), check_again, first);
	recorder_stop(r);
}

/* Every leaf that is not in use can be had. */
static void use_all_leaves(struct paste_btree *tree)
{
	struct paste_btree_stats before, after;
	uint64_t key = 1;

	paste_btree_stats(tree, &before);
	if (before.leaves + before.leaves_free != LEAVES)
		complain("a leaf is neither free nor used");
	while (paste_btree_insert(tree, key, 1) != -ENOSPC)
		key += 500;
	paste_btree_stats(tree, &after);
	if (after.leaves_free || after.splits != before.leaves_free)
		complain("a free leaf cannot be had");
}

/* A tree that was recovered is one to work with. */
static void go_on(char *image, struct content *first, struct paste_btree *tree)
{
	struct content c = *first;
	struct paste_btree *again;
	unsigned int i, n;

	for (n = 0; n < 12; n++) {
		i = (unsigned int)rnd(KEYS);
		if (rnd(3)) {
			paste_btree_delete(tree, key_of(i), NULL);
			c.ref[i] = 0;
		} else if (!paste_btree_put(tree, key_of(i), 1000000 + n, NULL)) {
			c.ref[i] = 1000000 + n;
		}
	}
	if (recover(image, first, &again)) {
		complain("no recovery after going on");
		return;
	}
	if (memcmp(c.ref, first->ref, sizeof(c.ref)))
		complain("what was dropped comes back, or what was inserted is lost");
	use_all_leaves(again);
	paste_btree_close(again);
}

static int check(void *image, size_t len, void *ctx)
{
	static _Alignas(64) char copy[MEM_LEN];
	struct paste_btree *tree = NULL;
	struct content c;
	const char *wrong;
	int err;

	(void)ctx;
	if (t.complaint)
		return 1;
	memcpy(copy, image, len);
	if (t.save && !--t.save)
		memcpy(t.saved, image, len);
	err = recover(image, &c, &tree);
	wrong = judge(err, &c);
	if (wrong)
		complain(wrong);
	if (!err && !wrong && rnd(16) == 0) {
		memcpy(image, copy, len);
		crash_in_recovery(image, &c);
	} else if (!err && !wrong && rnd(8) == 0) {
		go_on(image, &c, tree);
	}
	paste_btree_close(tree);
	return !!t.complaint;
}

static void hook(struct recorder *r, void *ctx)
{
	recorder_images(r, 8, rnd(1 << 20), check, ctx);
	if (t.kill && !--t.kill)
		longjmp(t.dead, 1);
}

/* --------------------------------------------------------------- operations */

static uint64_t current(unsigned int i)
{
	return t.key[i].ref[t.key[i].n - 1];
}

static void committed(unsigned int i, uint64_t ref)
{
	t.key[i].n = 1;
	t.key[i].ref[0] = ref;
}

/* Recover live memory; the model is then what is there. */
static void open_tree(void)
{
	struct content c;
	const char *wrong;
	unsigned int i;
	int err;

	t.kill = 0;
	t.tree = NULL;
	t.in_flight = KEYS;
	err = recover(mem, &c, &t.tree);
	wrong = judge(err, &c);
	if (wrong)
		complain(wrong);
	if (err)
		return;		/* yet the tree before may be what is durable */
	t.formatting = false;
	for (i = 0; i < KEYS; i++)
		committed(i, c.ref[i]);
}

static void restart_recorder(void)
{
	t.r = recorder_start(mem, MEM_LEN);
	recorder_mark(t.r, 1 + (unsigned int)rnd(4), hook, NULL);
}

/* A process ends or is killed: what has returned is there. */
static void restart(void)
{
	struct history was[KEYS];
	unsigned int i, in_flight = t.in_flight;
	bool formatting = t.formatting;

	memcpy(was, t.key, sizeof(was));
	paste_btree_close(t.tree);
	open_tree();
	for (i = 0; i < KEYS && !formatting; i++)
		if (i != in_flight && current(i) != was[i].ref[was[i].n - 1])
			complain("an operation was lost without a crash");
}

/* The power fails: go on with an image. */
static void op_crash(void)
{
	paste_btree_close(t.tree);
	t.tree = NULL;
	t.save = 1 + (unsigned int)rnd(20);
	if (!recorder_images(t.r, 20, rnd(1 << 20), check, NULL) && t.save)
		recorder_images(t.r, t.save, rnd(1 << 20), check, NULL);
	recorder_stop(t.r);
	if (!t.save)
		memcpy(mem, t.saved, MEM_LEN);
	t.save = 0;
	restart_recorder();
	open_tree();
}

static void op_format(void)
{
	unsigned int i;

	paste_btree_close(t.tree);
	t.tree = NULL;
	t.formatting = true;
	paste_btree_format(mem, MEM_LEN);
	t.formatting = false;
	for (i = 0; i < KEYS; i++)
		committed(i, 0);
	recorder_images(t.r, 20, rnd(1 << 20), check, NULL);
	open_tree();
}

static void op_commit(void)
{
	unsigned int i;

	paste_btree_commit(t.tree);
	for (i = 0; i < KEYS; i++)
		committed(i, current(i));
}

/* In the model before it is done: an image may have it meanwhile. */
static void begin(unsigned int i, uint64_t ref)
{
	if (t.key[i].n == HISTORY)
		op_commit();
	t.key[i].ref[t.key[i].n++] = ref;
	t.in_flight = i;
}

static void put(unsigned int i)
{
	uint64_t was = current(i), old = 77;
	int err;

	begin(i, ++t.next_ref);
	if (rnd(2) && !was)
		err = paste_btree_insert(t.tree, key_of(i), t.next_ref);
	else
		err = paste_btree_put(t.tree, key_of(i), t.next_ref, &old);
	if (err)
		t.key[i].n--;
	if (err ? err != -ENOSPC || was : old != was && old != 77)
		complain("put fails");
	t.in_flight = KEYS;
}

static void delete(unsigned int i)
{
	uint64_t was = current(i), old = 0;

	begin(i, 0);
	if (paste_btree_delete(t.tree, key_of(i), &old) != (was ? 0 : -ENOENT) ||
	    old != was)
		complain("delete fails");
	t.in_flight = KEYS;
}

/* Any key, or one of a few, so that things happen to a key again. */
static unsigned int some_key(void)
{
	return (unsigned int)(rnd(2) ? rnd(KEYS) : t.hot + rnd(4));
}

/* Neighbouring keys, one after the other. */
static void run_of(void (*what)(unsigned int i))
{
	unsigned int i = (unsigned int)rnd(KEYS), n = 1 + (unsigned int)rnd(20);

	for (; n && i < KEYS && !t.complaint; n--, i++)
		what(i);
}

/* A key goes, others take its place, it comes back. */
static void op_churn(void)
{
	unsigned int i = some_key(), n = (unsigned int)rnd(3);

	delete(i);
	while (n--)
		put((i + 1 + (unsigned int)rnd(4)) % KEYS);
	put(i);
	if (rnd(2))
		delete(some_key());
}

static void step(void)
{
	unsigned int what = (unsigned int)rnd(100);

	if (!t.tree)
		op_format();
	else if (what < 20)
		put(some_key());
	else if (what < 35)
		delete(some_key());
	else if (what < 47)
		run_of(put);
	else if (what < 59)
		run_of(delete);
	else if (what < 71)
		op_churn();
	else if (what < 84)
		op_commit();
	else if (what < 90)
		restart();
	else if (what < 98)
		op_crash();
	else
		op_format();
}

static const char *run(uint64_t seed)
{
	unsigned int i;

	memset(&t, 0, sizeof(t));
	memset(mem, 0, sizeof(mem));
	t.random = seed * 0x9e3779b97f4a7c15ull;
	t.in_flight = KEYS;
	t.hot = (unsigned int)rnd(KEYS - 3);
	for (i = 0; i < KEYS; i++)
		committed(i, 0);
	restart_recorder();
	for (; t.step < STEPS && !t.complaint; t.step++) {
		t.kill = rnd(4) ? 0 : 1 + (unsigned int)rnd(20);
		if (setjmp(t.dead)) {
			recorder_resume(t.r);
			restart();
		} else {
			step();
		}
	}
	paste_btree_close(t.tree);
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

MUTATION_FILE(btree);

static const struct mutation_part parts[] = { MUTATION_PART(btree) };
#define PARTS	(sizeof(parts) / sizeof(parts[0]))

static void every_flush_and_fence_counts(void **state)
{
	unsigned int survivors, mutants, calls;

	(void)state;
	assert_int_equal(mutation_unseen(parts, PARTS, &calls), 0);
	mutants = mutation_run(run, 2000, parts, PARTS, &survivors);
	printf("# %u calls, %u mutants\n", calls, mutants);
	assert_true(calls > 0);
	assert_int_equal(survivors, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crash_anywhere),
		cmocka_unit_test(every_flush_and_fence_counts),
	};

	return cmocka_run_group_tests_name("btree_crash", tests, NULL, NULL);
}
