// SPDX-License-Identifier: BSD-2-Clause
/* kernel/buf.c, operation by operation: the table at its head, parking, reaping, caches. */
#include "kernel/test.h"
#include "../../kernel/buf.c"

#define N	700
#define POOLS	3

static struct pst_bufs b;
static struct pst_pool p[POOLS];

/* The arrows of the table. */
static const u8 arrows[][2] = {
	{ PST_BUF_FREE, PST_BUF_KERNEL }, { PST_BUF_FREE, PST_BUF_NIC },
	{ PST_BUF_KERNEL, PST_BUF_USER }, { PST_BUF_KERNEL, PST_BUF_FREE },
	{ PST_BUF_NIC, PST_BUF_STACK }, { PST_BUF_NIC, PST_BUF_FREE },
	{ PST_BUF_NIC, PST_BUF_KERNEL },
	{ PST_BUF_STACK, PST_BUF_USER }, { PST_BUF_USER, PST_BUF_SENT },
	{ PST_BUF_SENT, PST_BUF_USER },
	{ PST_BUF_STACK, PST_BUF_SETTLING }, { PST_BUF_SENT, PST_BUF_SETTLING },
	{ PST_BUF_SETTLING, PST_BUF_FREE }, { PST_BUF_SETTLING, PST_BUF_STACK },
	{ PST_BUF_SETTLING, PST_BUF_SENT }, { PST_BUF_USER, PST_BUF_SETTLING },
};

static u32 traced;

void mock_trace_pst_buf(const struct pst_bufs *bufs, u32 idx, u8 from, u8 to)
{
	u32 i;

	traced++;
	for (i = 0; i < ARRAY_SIZE(arrows); i++)
		if (arrows[i][0] == from && arrows[i][1] == to)
			return;
	fail_msg("%u -> %u is not in the table", from, to);
}

static void make_pools(u32 n)
{
	u32 i;

	assert_int_equal(pst_bufs_init(&b, n), 0);
	for (i = 0; i < POOLS; i++) {
		memset(&p[i], 0, sizeof(p[i]));
		assert_int_equal(pst_pool_init(&p[i], &b), 0);
	}
}

static void unmake_pools(void)
{
	u32 i;

	for (i = 0; i < POOLS; i++)
		pst_pool_destroy(&p[i]);
	pst_bufs_destroy(&b);
}

static int setup(void **state)
{
	mock_setup(state);
	make_pools(N);
	traced = 0;
	return 0;
}

static int teardown(void **state)
{
	unmake_pools();
	return mock_teardown(state);
}

static u32 count(enum pst_buf_state s)
{
	u32 c[PST_BUF_STATES];

	pst_bufs_count(&b, c);
	return c[s];
}

/* Every FREE buffer is in one place, no other one in any. */
static void check_free_lists(void)
{
	static u8 seen[N];
	u32 i, j;

	memset(seen, 0, sizeof(seen));
	for (i = 0; i < b.nfree; i++)
		assert_int_equal(seen[b.free[i]]++, 0);
	for (i = 0; i < POOLS; i++)
		for (j = 0; j < p[i].n; j++)
			assert_int_equal(seen[p[i].cache[j]]++, 0);
	for (i = 0; i < b.n; i++)
		assert_int_equal(seen[i], b.state[i] == PST_BUF_FREE);
}

static u32 parked_in(const struct pst_pool *pool)
{
	return pool->tail - pool->head;
}

/* A buffer brought into state @s the way it gets there. */
static u32 make(enum pst_buf_state s)
{
	u32 idx;

	if (s == PST_BUF_RESERVED)
		return PST_BUF_BASE;
	if (s == PST_BUF_NIC || s == PST_BUF_STACK) {
		idx = pst_buf_take_for_nic(&p[0], 1);
		if (s == PST_BUF_STACK)
			pst_buf_to_stack(&b, idx);
	} else {
		idx = pst_buf_take(&p[0]);
		if (s == PST_BUF_FREE)
			pst_buf_untake(&p[0], idx);
		if (s == PST_BUF_USER || s == PST_BUF_SENT)
			pst_buf_show(&b, idx);
		if (s == PST_BUF_SENT) {
			assert_int_equal(pst_buf_claim(&b, idx), 0);
			put_page(b.page[idx]);
		}
		if (s == PST_BUF_SETTLING)
			b.state[idx] = s;
	}
	assert_int_equal(pst_buf_state(&b, idx), s);
	return idx;
}

/* And back to the free list from wherever it is. */
static void unmake(u32 idx)
{
	b.page[idx]->refs = 1;
	if (idx < PST_BUF_FIRST || b.state[idx] == PST_BUF_FREE)
		return;
	b.state[idx] = PST_BUF_KERNEL;
	pst_buf_untake(&p[0], idx);
}

/* ------------------------------------------------------------ the table */

static void after_init(void **state)
{
	u32 i;

	assert_int_equal(count(PST_BUF_RESERVED), PST_BUFS_RESERVED);
	assert_int_equal(count(PST_BUF_FREE), N - PST_BUFS_RESERVED);
	assert_int_equal(b.state[0], PST_BUF_RESERVED);
	assert_int_equal(b.state[PST_BUF_BASE], PST_BUF_RESERVED);
	assert_int_equal(b.state[N - 1], PST_BUF_RESERVED);
	assert_int_equal(pst_pool_level(&p[0]), N - PST_BUFS_RESERVED);
	check_free_lists();
	/* In ascending order, from the first whole cache line of state[] on. */
	for (i = 0; i < 10; i++)
		assert_int_equal(b.free[b.nfree - 1 - i], SMP_CACHE_BYTES + i);
}

/* What two rings take shares no line of state[], until there are only the odd ones left. */
static void rings_apart(void **state)
{
	static struct pst_bufs big;
	static struct pst_pool pool[2];
	u32 owner[1024 / SMP_CACHE_BYTES] = { 0 }, i, r;

	assert_int_equal(pst_bufs_init(&big, 1024), 0);
	for (r = 0; r < 2; r++)
		assert_int_equal(pst_pool_init(&pool[r], &big), 0);
	for (i = 0; i < 3 * PST_POOL_BATCH; i++)
		for (r = 0; r < 2; r++) {
			u32 *o = &owner[pst_buf_take(&pool[r]) / SMP_CACHE_BYTES];

			assert_true(!*o || *o == r + 1);
			*o = r + 1;
		}
	for (r = 0; r < 2; r++)
		pst_pool_destroy(&pool[r]);
	pst_bufs_destroy(&big);
}

static void arrow_take(void **state)
{
	u32 idx = pst_buf_take(&p[0]);

	assert_true(idx >= PST_BUF_FIRST && idx < N - 1);
	assert_int_equal(b.state[idx], PST_BUF_KERNEL);
	pst_buf_show(&b, idx);
	assert_int_equal(b.state[idx], PST_BUF_USER);
	unmake(idx);
	idx = pst_buf_take_for_nic(&p[0], 7);
	assert_int_equal(b.state[idx], PST_BUF_NIC);
	assert_int_equal(b.nic[idx], 7);
	pst_buf_untake(&p[0], idx);
	assert_int_equal(b.state[idx], PST_BUF_FREE);
	idx = pst_buf_take(&p[0]);
	pst_buf_untake(&p[0], idx);
	assert_int_equal(b.state[idx], PST_BUF_FREE);
	check_free_lists();
}

/* What names a buffer of the application, with what it returns for state USER. */
static int op_claim(u32 idx) { return pst_buf_claim(&b, idx); }
static int op_cite(u32 idx) { return pst_buf_cite(&b, idx); }
static int op_give_back(u32 idx) { return pst_buf_give_back(&p[1], idx); }
static int op_owned(u32 idx) { return pst_buf_owned(&b, idx); }
static int op_deliver(u32 idx) { return pst_buf_deliver(&b, idx) ? 0 : -EPERM; }
static int op_settle(u32 idx) { pst_buf_settle(&p[1], idx); return 0; }

static const struct op {
	int (*run)(u32 idx);
	u8 from[2];			/* states it takes; else -EPERM, or nothing */
	u8 to, to_busy;			/* somebody else refers to it; from[0]: stays */
	int ref;			/* page references it leaves */
	bool any;			/* index may be anything */
} ops[] = {
	{ op_claim, { PST_BUF_USER }, PST_BUF_SENT, PST_BUF_SENT, 1, true },
	{ op_cite, { PST_BUF_USER }, PST_BUF_USER, PST_BUF_USER, 1, true },
	{ op_give_back, { PST_BUF_USER }, PST_BUF_FREE, PST_BUF_SENT, 0, true },
	{ op_owned, { PST_BUF_USER }, PST_BUF_USER, PST_BUF_USER, 0, true },
	{ op_deliver, { PST_BUF_STACK }, PST_BUF_USER, PST_BUF_USER, 0, false },
	{ op_settle, { PST_BUF_STACK, PST_BUF_SENT }, PST_BUF_FREE, PST_BUF_RESERVED, 0, false },
};

static bool takes(const struct op *op, u8 state)
{
	return op->from[0] == state || (op->from[1] && op->from[1] == state);
}

static void try(const struct op *op, enum pst_buf_state s, int refs)
{
	u32 idx = make(s), level = pst_pool_level(&p[1]) + p[0].n;
	bool busy = refs, ok = takes(op, s);
	u8 to = !ok ? s : !busy ? op->to : op->to_busy ?: s;
	bool parks = ok && busy && (op->run == op_settle || op->run == op_give_back);
	int err;

	b.page[idx]->refs += refs;
	err = op->run(idx);
	if (ok || op->run == op_settle)
		assert_int_equal(err, 0);
	else
		assert_int_equal(err, idx < PST_BUF_FIRST && op->any ? -ERANGE : -EPERM);
	assert_int_equal(b.state[idx], to);
	assert_int_equal(b.page[idx]->refs, 1 + refs + (ok ? op->ref : 0));
	assert_int_equal(b.parked[idx], parks);
	assert_int_equal(parked_in(&p[1]), parks);
	assert_int_equal(pst_pool_level(&p[1]) + p[0].n,
			 level + (ok && to == PST_BUF_FREE));
	check_free_lists();
	b.parked[idx] = 0;
	p[1].head = p[1].tail;
	unmake(idx);
}

/* Each operation in each state, with and without others that refer to the page. */
static void arrows_and_refusals(void **state)
{
	enum pst_buf_state s;
	u32 i, refs;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		for (s = 0; s < PST_BUF_STATES; s++)
			for (refs = 0; refs < 3; refs++)
				try(&ops[i], s, s == PST_BUF_RESERVED ? 0 : refs);
	assert_true(traced);
}

static void foreign_indices(void **state)
{
	static const u32 bad[] = {
		0, PST_BUF_BASE, N - 1, N, N + 1, 2 * N, 0x7fffffff, 0x80000000, 0xfffffffe,
		0xffffffff, 0x10000 + 5,
	};
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		for (j = 0; ops[i].any && j < ARRAY_SIZE(bad); j++)
			assert_int_equal(ops[i].run(bad[j]), -ERANGE);
	assert_int_equal(b.page[0]->refs, 1);
	assert_int_equal(b.page[PST_BUF_BASE]->refs, 1);
	assert_int_equal(b.page[N - 1]->refs, 1);
	assert_int_equal(traced, 0);
	for (j = PST_BUF_FIRST; j < N - 1; j++)
		assert_int_equal(op_claim(j), -EPERM);
}

static void unclaim(void **state)
{
	u32 idx = make(PST_BUF_USER);

	assert_int_equal(pst_buf_claim(&b, idx), 0);
	assert_int_equal(pst_buf_claim(&b, idx), -EPERM);
	assert_int_equal(pst_buf_give_back(&p[0], idx), -EPERM);
	pst_buf_unclaim(&b, idx);
	assert_int_equal(b.state[idx], PST_BUF_USER);
	assert_int_equal(b.page[idx]->refs, 1);
	assert_int_equal(pst_buf_give_back(&p[0], idx), 0);
	assert_int_equal(b.state[idx], PST_BUF_FREE);
}

/* A buffer cited many times is free when the last one lets go, not before. */
static void cited_often(void **state)
{
	u32 idx = make(PST_BUF_USER), i;

	for (i = 0; i < 100; i++)
		assert_int_equal(pst_buf_cite(&b, idx), 0);
	assert_int_equal(pst_buf_give_back(&p[0], idx), 0);
	assert_int_equal(pst_buf_cite(&b, idx), -EPERM);
	for (i = 0; i < 100; i++) {
		pst_pool_reap(&p[0], 10);
		assert_int_equal(b.state[idx], PST_BUF_SENT);
		put_page(b.page[idx]);
	}
	pst_pool_reap(&p[0], 10);
	assert_int_equal(b.state[idx], PST_BUF_FREE);
	check_free_lists();
}

/* ------------------------------------------------------------ idle */

/* AF_XDP pins all pages alike; while it is at it, no page is idle. */
static void pinned(void **state)
{
	u32 idx = make(PST_BUF_STACK), i;

	for (i = 0; i < N; i++) {
		b.page[i]->refs += 1024;
		assert_int_equal(idle(&b, idx), i < PST_BUF_BASE || i == N - 1);
	}
	b.page[idx]->refs++;
	assert_false(idle(&b, idx));
	b.page[idx]->refs--;
	for (i = 0; i < N; i++) {
		b.page[i]->refs -= 1024;
		assert_int_equal(idle(&b, idx), i < PST_BUF_BASE || i == N - 1);
	}
	pst_buf_settle(&p[0], idx);
	assert_int_equal(b.state[idx], PST_BUF_FREE);
}

/* ------------------------------------------------------------ parking and reaping */

/* @n buffers in state SENT that TCP refers to, parked in order. */
static void park_busy(struct pst_pool *pool, u32 *idx, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++) {
		idx[i] = make(PST_BUF_SENT);
		b.page[idx[i]]->refs++;
		pst_buf_settle(pool, idx[i]);
		assert_int_equal(b.state[idx[i]], PST_BUF_SENT);
	}
}

static void free_all(const u32 *idx, u32 n)
{
	while (n--)
		b.page[idx[n]]->refs = 1;
}

static void reap_in_order(void **state)
{
	u32 idx[20], i, before;

	park_busy(&p[1], idx, 20);
	free_all(idx, 20);
	assert_int_equal(parked_in(&p[1]), 20);
	pst_pool_reap(&p[1], 0);
	assert_int_equal(parked_in(&p[1]), 20);
	before = p[1].n;
	pst_pool_reap(&p[1], 5);
	assert_int_equal(parked_in(&p[1]), 15);
	for (i = 0; i < 20; i++)
		assert_int_equal(b.state[idx[i]], i < 5 ? PST_BUF_FREE : PST_BUF_SENT);
	for (i = 0; i < 5; i++)
		assert_int_equal(p[1].cache[before + i], idx[i]);
	pst_pool_reap(&p[1], 1000);
	assert_int_equal(parked_in(&p[1]), 0);
	for (i = 0; i < 20; i++)
		assert_int_equal(p[1].cache[before + i], idx[i]);
	pst_pool_reap(&p[1], 1000);
	check_free_lists();
}

/* Eight busy ones end a pass; they go to the end, so the next pass gets further. */
static void reap_passes_over(void **state)
{
	u32 idx[30], i;

	park_busy(&p[1], idx, 30);
	free_all(idx + 10, 20);		/* the first ten stay busy */
	pst_pool_reap(&p[1], 100);
	assert_int_equal(parked_in(&p[1]), 30);
	assert_int_equal(count(PST_BUF_SENT), 30);
	pst_pool_reap(&p[1], 100);	/* 2 busy, 20 idle, 6 of the 8 */
	assert_int_equal(count(PST_BUF_SENT), 10);
	assert_int_equal(parked_in(&p[1]), 10);
	/* 6, 7, then 8, 9 that were seen first in the second pass, then 0 ... 5 */
	for (i = 0; i < 10; i++) {
		static const u8 order[] = { 6, 7, 8, 9, 0, 1, 2, 3, 4, 5 };

		assert_int_equal(p[1].queue[(p[1].head + i) & p[1].mask], idx[order[i]]);
	}
	pst_pool_reap(&p[1], 3);	/* busy ones count for the budget, too */
	assert_int_equal(p[1].queue[p[1].head & p[1].mask], idx[9]);
	free_all(idx, 10);
	pst_pool_reap(&p[1], 100);
	assert_int_equal(count(PST_BUF_SENT), 0);
	check_free_lists();
}

/* Each is looked at once in a pass, however large the budget. */
static void reap_once_each(void **state)
{
	u32 idx[5];

	park_busy(&p[1], idx, 5);
	pst_pool_reap(&p[1], 0xffffffff);
	assert_int_equal(p[1].head, 5);
	assert_int_equal(p[1].tail, 10);
	free_all(idx, 5);
	pst_pool_reap(&p[1], 0xffffffff);
	assert_int_equal(p[1].head, 10);
	assert_int_equal(p[1].tail, 10);
}

static void parked_once(void **state)
{
	u32 idx;

	park_busy(&p[1], &idx, 1);
	pst_buf_settle(&p[1], idx);
	pst_buf_settle(&p[2], idx);
	pst_buf_park(&p[0], idx);
	assert_int_equal(parked_in(&p[0]) + parked_in(&p[1]) + parked_in(&p[2]), 1);
	free_all(&idx, 1);
	pst_buf_settle(&p[2], idx);	/* freed by another, still in a queue */
	assert_int_equal(b.state[idx], PST_BUF_FREE);
	assert_int_equal(b.parked[idx], 1);
	pst_pool_reap(&p[1], 10);
	assert_int_equal(b.parked[idx], 0);
	assert_int_equal(b.state[idx], PST_BUF_FREE);
	check_free_lists();
}

/* What has moved on is somebody else's: in no state but two is it touched. */
static void reap_of_others(void **state)
{
	enum pst_buf_state s;

	for (s = PST_BUF_FREE; s < PST_BUF_STATES; s++) {
		u32 idx = make(s);
		bool ends = s == PST_BUF_STACK || s == PST_BUF_SENT;

		pst_buf_park(&p[1], idx);
		pst_pool_reap(&p[1], 1);
		assert_int_equal(b.state[idx], ends ? PST_BUF_FREE : s);
		assert_int_equal(b.parked[idx], 0);
		assert_int_equal(parked_in(&p[1]), 0);
		check_free_lists();
		unmake(idx);
	}
}

/* Parked as STACK, delivered, sent, parked again: one entry does for both. */
static void parked_through_lives(void **state)
{
	u32 idx = make(PST_BUF_STACK);

	get_page(b.page[idx]);
	pst_buf_settle(&p[1], idx);
	assert_true(pst_buf_deliver(&b, idx));
	put_page(b.page[idx]);
	assert_int_equal(pst_buf_claim(&b, idx), 0);
	pst_buf_park(&p[2], idx);
	assert_int_equal(parked_in(&p[2]), 0);
	pst_pool_reap(&p[1], 10);	/* still claimed */
	assert_int_equal(b.state[idx], PST_BUF_SENT);
	assert_int_equal(parked_in(&p[1]), 1);
	put_page(b.page[idx]);
	pst_pool_reap(&p[1], 10);
	assert_int_equal(b.state[idx], PST_BUF_FREE);
}

/* The queue holds all there are, and its free-running indexes may wrap. */
static void all_parked(void **state)
{
	static u32 idx[N];
	u32 n = N - PST_BUFS_RESERVED, i;

	p[1].head = p[1].tail = 0xffffffff - 100;
	park_busy(&p[1], idx, n);
	assert_int_equal(parked_in(&p[1]), n);
	assert_int_equal(pst_buf_take(&p[0]), PST_BUF_NONE);
	assert_int_equal(pst_buf_take_for_nic(&p[0], 1), PST_BUF_NONE);
	assert_int_equal(pst_pool_level(&p[0]), 0);
	for (i = 0; i < n; i++)
		assert_int_equal(p[1].queue[(p[1].head + i) & p[1].mask], idx[i]);
	for (i = 0; i < 1000; i++)
		pst_pool_reap(&p[1], 1000);
	assert_int_equal(parked_in(&p[1]), n);
	free_all(idx, n);
	pst_pool_reap(&p[1], 0xffffffff);
	assert_int_equal(parked_in(&p[1]), 0);
	assert_int_equal(count(PST_BUF_FREE), n);
	check_free_lists();
}

/* ------------------------------------------------------------ caches */

static void cache(void **state)
{
	static u32 idx[N];
	u32 n = N - PST_BUFS_RESERVED, i;

	idx[0] = pst_buf_take(&p[0]);
	assert_int_equal(p[0].n, PST_POOL_BATCH - 1);
	assert_int_equal(b.nfree, n - PST_POOL_BATCH);
	assert_int_equal(pst_pool_level(&p[0]), n - 1);
	assert_int_equal(pst_pool_level(&p[1]), n - PST_POOL_BATCH);
	for (i = 1; i < n; i++) {
		idx[i] = pst_buf_take(&p[0]);
		assert_int_not_equal(idx[i], PST_BUF_NONE);
		if (i % 50 == 0)
			check_free_lists();
	}
	assert_int_equal(b.nfree, 0);
	assert_int_equal(p[0].n, 0);
	assert_int_equal(pst_buf_take(&p[0]), PST_BUF_NONE);
	assert_int_equal(count(PST_BUF_KERNEL), n);
	/* Spills by half. */
	for (i = 0; i < n; i++) {
		pst_buf_untake(&p[1], idx[i]);
		check_free_lists();
		assert_in_range(p[1].n, 1, PST_POOL_CACHE);
		if (i == PST_POOL_CACHE - 1)
			assert_int_equal(p[1].n, PST_POOL_CACHE);
		if (i == PST_POOL_CACHE) {
			assert_int_equal(p[1].n, PST_POOL_BATCH + 1);
			assert_int_equal(b.nfree, PST_POOL_BATCH);
		}
	}
	/* The last of a short list. */
	make(PST_BUF_KERNEL);
}

static void cache_short(void **state)
{
	u32 i, left = (N - PST_BUFS_RESERVED) % PST_POOL_BATCH;

	assert_int_not_equal(left, 0);
	for (i = 0; i < N - PST_BUFS_RESERVED - left; i++)
		pst_buf_take(&p[0]);
	assert_int_equal(p[0].n, 0);
	assert_int_equal(b.nfree, left);
	assert_int_not_equal(pst_buf_take(&p[1]), PST_BUF_NONE);
	assert_int_equal(p[1].n, left - 1);
	assert_int_equal(b.nfree, 0);
	/* What another ring has cached is not to be had. */
	assert_int_equal(pst_buf_take(&p[0]), PST_BUF_NONE);
	assert_int_equal(pst_pool_level(&p[0]), 0);
	check_free_lists();
}

static void untake_many(void **state)
{
	u32 idx[40] = { 0 }, n;

	n = pst_buf_take_many(&p[0], idx, 40);
	assert_int_equal(n, 40);
	pst_buf_untake_many(&p[0], idx, n);
	pst_buf_untake_many(&p[0], idx, 0);
	/* In the order they were in. */
	for (n = 0; n < 40; n++)
		assert_int_equal(pst_buf_take(&p[0]), idx[n]);
}

/* Below a quarter of the mark there is nothing for TX slots. */
static void take_many(void **state)
{
	static u32 idx[N], got, parked[60];

	b.low = 400;
	got = pst_buf_take_many(&p[0], idx, N);
	assert_int_equal(got, N - PST_BUFS_RESERVED - 100);
	assert_int_equal(pst_pool_level(&p[0]), 100);
	assert_true(pst_pool_low(&p[0]) && pst_pool_short(&p[0]));
	assert_int_equal(pst_buf_take_many(&p[0], idx, 1), 0);
	/* At or below the mark what is parked is looked at. */
	b.low = 0;
	park_busy(&p[0], parked, 60);
	free_all(parked, 60);
	b.low = 400;
	assert_int_equal(pst_pool_level(&p[0]), 40);
	assert_int_equal(pst_buf_take_many(&p[0], idx, 5), 0);
	assert_int_equal(pst_pool_level(&p[0]), 100);
	b.low = 396;
	assert_int_equal(pst_buf_take_many(&p[0], idx, 5), 1);
	assert_int_equal(pst_buf_take_many(&p[0], idx, 0), 0);
	check_free_lists();
}

static void levels(void **state)
{
	u32 level = pst_pool_level(&p[0]);

	b.low = level;
	assert_false(pst_pool_low(&p[0]));
	b.low = level + 1;
	assert_true(pst_pool_low(&p[0]));
	assert_false(pst_pool_short(&p[0]));
	b.low = 2 * level + 1;
	assert_false(pst_pool_short(&p[0]));
	b.low = 2 * level + 2;
	assert_true(pst_pool_short(&p[0]));
}

/* What pays for a spared buffer: the application's, or TCP's, but not the NIC's own. */
static void spared(void **state)
{
	u32 user = make(PST_BUF_USER), sent = make(PST_BUF_SENT), nic = make(PST_BUF_NIC);

	p[0].spared = true;
	pst_buf_take_back(&b, nic);
	pst_buf_untake_many(&p[0], &nic, 1);
	assert_true(p[0].spared);

	get_page(b.page[user]);		/* somebody has it still */
	assert_int_equal(pst_buf_give_back(&p[0], user), 0);
	assert_true(p[0].spared);
	put_page(b.page[user]);
	pst_pool_reap(&p[0], 1);
	assert_false(p[0].spared);

	p[0].spared = true;
	pst_buf_settle(&p[0], sent);
	assert_false(p[0].spared);

	p[0].spared = true;
	assert_int_equal(pst_buf_give_back(&p[0], make(PST_BUF_USER)), 0);
	assert_false(p[0].spared);
}

static void from_nic(void **state)
{
	u32 i, mine = 0;

	for (i = 0; i < 300; i++)
		mine += pst_buf_take_for_nic(&p[i % POOLS], i % 3) && i % 3 == 1;
	make(PST_BUF_USER);
	i = make(PST_BUF_STACK);
	b.nic[i] = 1;
	pst_bufs_from_nic(&b, 1);
	assert_int_equal(count(PST_BUF_NIC), 300 - mine);
	assert_int_equal(count(PST_BUF_STACK), 1);
	check_free_lists();
	pst_bufs_from_nic(&b, 1);
	pst_bufs_from_nic(&b, 0);
	pst_bufs_from_nic(&b, 2);
	assert_int_equal(count(PST_BUF_NIC), 0);
	check_free_lists();
}

/* ------------------------------------------------------------ pages, memory */

static void of_page(void **state)
{
	struct page foreign = { .refs = 1 };
	u32 i;

	for (i = 1; i < N; i++)
		assert_int_equal(pst_buf_of_page(&b, b.page[i]), i);
	assert_int_equal(pst_buf_of_page(&b, NULL), PST_BUF_NONE);
	for (i = 0; i < 2 * N; i++) {
		foreign.private = i;
		assert_int_equal(pst_buf_of_page(&b, &foreign), PST_BUF_NONE);
	}
	foreign.private = ~0ul;
	assert_int_equal(pst_buf_of_page(&b, &foreign), PST_BUF_NONE);
	foreign.private = 1ul << 32 | 5;
	assert_int_equal(pst_buf_of_page(&b, &foreign), PST_BUF_NONE);
	assert_ptr_equal(pst_buf_addr(&b, 5), page_address(b.page[5]));
}

/* A page TCP still refers to outlives the region, and does not name a buffer any more. */
static void outlives(void **state)
{
	struct page *page;

	make_pools(10);
	page = b.page[4];
	get_page(page);
	unmake_pools();
	assert_int_equal(page->private, 0);
	assert_int_equal(page->refs, 1);
	assert_int_equal(mock.pages, 1);
	put_page(page);
	assert_int_equal(mock.pages, 0);
}

static void smallest(void **state)
{
	u32 n;

	for (n = PST_BUFS_RESERVED; n < 8; n++) {
		make_pools(n);
		assert_int_equal(b.nfree, n - PST_BUFS_RESERVED);
		check_free_lists();
		unmake_pools();
	}
}

/* Each allocation fails in turn; nothing stays behind. */
static void no_memory(void **state)
{
	u32 i;

	for (i = 1;; i++) {
		struct pst_bufs bufs = { 0 };
		int err;

		mock.fail_alloc = i;
		mock.allocs = 0;
		err = pst_bufs_init(&bufs, 20);
		if (!err) {
			mock.fail_alloc = 0;
			pst_bufs_destroy(&bufs);
			break;
		}
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(mock.live, 0);
		assert_int_equal(mock.pages, 0);
		assert_null(bufs.page);
	}
	assert_int_equal(i, 5 + 20 + 1);
	make_pools(20);
	mock.fail_alloc = 1;
	pst_pool_destroy(&p[0]);
	assert_int_equal(pst_pool_init(&p[0], &b), -ENOMEM);
	assert_null(p[0].queue);
	unmake_pools();
}

static void killed(void **state)
{
	struct pst_bufs bufs = { 0 };
	u32 i;

	for (i = 1; i <= 20; i++) {
		mock.signal_at = i;
		assert_int_equal(pst_bufs_init(&bufs, 20), -EINTR);
		assert_int_equal(mock.pages + mock.live, 0);
	}
	mock.signal_at = 0;
}

int main(void)
{
#define P(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		P(after_init), P(rings_apart), P(arrow_take), P(arrows_and_refusals), P(foreign_indices),
		P(unclaim), P(cited_often), P(pinned),
		P(reap_in_order), P(reap_passes_over), P(reap_once_each), P(parked_once),
		P(reap_of_others), P(parked_through_lives), P(all_parked),
		P(cache), P(cache_short), P(untake_many), P(take_many), P(levels), P(spared), P(from_nic),
		P(of_page), T(outlives), T(smallest), T(no_memory), T(killed),
	};

	return cmocka_run_group_tests_name("kernel_buf", tests, NULL, NULL);
}
