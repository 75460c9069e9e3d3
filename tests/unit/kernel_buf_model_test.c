// SPDX-License-Identifier: BSD-2-Clause
/*
 * kernel/buf.c against a model: random operations, by the application with any index, by
 * rings, a NIC and TCP, each with the outcome the model says.
 *
 * The model has no free lists and no queues to keep in step with: a buffer is in a state,
 * so many others refer to it, and maybe one pool looks at it again.
 */
#include "kernel/test.h"
#include "buf_move.h"
#include "trace.h"

#define POOLS	3
#define NMAX	900

enum { NOBODY = -1 };

static struct pst_bufs b;
static struct pst_pool p[POOLS];

static struct {
	u8 state;
	int refs;	/* TCP's, of packets and citations */
	int queue;	/* in this pool's queue, or NOBODY */
	bool claimed;	/* SENT, and the claim's reference is held */
	u8 nic;
} m[NMAX];
static u32 fifo[POOLS][1 << 20], head[POOLS], tail[POOLS];

void mock_trace_pst_buf(const struct pst_bufs *bufs, u32 idx, u8 from, u8 to) { }

static void model_init(u32 n)
{
	u32 i;

	for (i = 0; i < n; i++) {
		memset(&m[i], 0, sizeof(m[i]));
		m[i].queue = NOBODY;
		m[i].state = i < PST_BUF_FIRST || i == n - 1 ? PST_BUF_RESERVED : PST_BUF_FREE;
	}
	memset(head, 0, sizeof(head));
	memset(tail, 0, sizeof(tail));
}

static bool model_idle(u32 i)
{
	return !m[i].refs && !m[i].claimed;
}

static void model_park(u32 pool, u32 i)
{
	if (m[i].queue != NOBODY)
		return;
	m[i].queue = pool;
	fifo[pool][tail[pool]++] = i;
}

/* True unless it is still in use. */
static bool model_settle(u32 pool, u32 i)
{
	if (m[i].state != PST_BUF_STACK && m[i].state != PST_BUF_SENT)
		return true;
	if (model_idle(i)) {
		m[i].state = PST_BUF_FREE;
		return true;
	}
	model_park(pool, i);
	return false;
}

static void model_reap(u32 pool, u32 budget)
{
	u32 end = tail[pool], busy = 0;

	for (; head[pool] != end && budget && busy < 8; budget--) {
		u32 i = fifo[pool][head[pool]++];

		m[i].queue = NOBODY;
		busy += !model_settle(pool, i);
	}
}

/* ------------------------------------------------------------ steps */

/* A buffer in state @s, or PST_BUF_NONE; from a random place on. */
static u32 pick(u8 s)
{
	u32 from = rnd(b.n), i;

	for (i = 0; i < b.n; i++) {
		u32 idx = (from + i) % b.n;

		if (m[idx].state == s)
			return idx;
	}
	return PST_BUF_NONE;
}

/* What the application may name. */
static u32 any_index(void)
{
	switch (rnd(8)) {
	case 0:
		return rnd(4) ? b.n - 2 + rnd(4) : 0x80000000u + rnd(0x7fffffff);
	case 1:
		return rnd(3);
	case 2:
	case 3:
		return rnd(b.n);
	default:
		return pick(PST_BUF_USER);
	}
}

static int model_owned(u32 i)
{
	if (i < PST_BUF_FIRST || i >= b.n - 1)
		return -ERANGE;
	return m[i].state == PST_BUF_USER ? 0 : -EPERM;
}

static void step_take(u32 pool)
{
	u32 level = pst_pool_level(&p[pool]), idx, nic = rnd(3);
	bool for_nic = rnd(2);

	idx = for_nic ? pst_buf_take_for_nic(&p[pool], nic) : pst_buf_take(&p[pool]);
	assert_int_equal(idx == PST_BUF_NONE, level == 0);
	if (!level)
		return;
	assert_int_equal(m[idx].state, PST_BUF_FREE);
	assert_true(model_idle(idx));
	m[idx].state = for_nic ? PST_BUF_NIC : PST_BUF_KERNEL;
	m[idx].nic = nic;
}

static void step_kernel(u32 pool)
{
	u32 idx = pick(PST_BUF_KERNEL);

	if (idx == PST_BUF_NONE)
		return;
	if (rnd(4)) {
		pst_buf_show(&b, idx);
		m[idx].state = PST_BUF_USER;
	} else {
		pst_buf_untake(&p[pool], idx);
		m[idx].state = PST_BUF_FREE;
	}
}

/* A frame: in place, with a packet or two that refer to it, or copied. */
static void step_nic(u32 pool)
{
	u32 idx = pick(PST_BUF_NIC);

	if (idx == PST_BUF_NONE)
		return;
	if (rnd(4)) {
		int refs = 1 + (rnd(8) == 0);

		b.page[idx]->refs += refs;
		m[idx].refs += refs;
		pst_buf_to_stack(&b, idx);
		m[idx].state = PST_BUF_STACK;
	} else {
		pst_buf_untake(&p[pool], idx);
		m[idx].state = PST_BUF_FREE;
	}
}

static void step_deliver(void)
{
	u32 idx = rnd(4) ? pick(PST_BUF_STACK) : PST_BUF_FIRST + rnd(b.n - 3);

	if (idx == PST_BUF_NONE)
		return;
	assert_int_equal(pst_buf_deliver(&b, idx), m[idx].state == PST_BUF_STACK);
	if (m[idx].state == PST_BUF_STACK)
		m[idx].state = PST_BUF_USER;
}

static void step_settle(u32 pool)
{
	u32 idx = rnd(2) ? pick(PST_BUF_STACK) : PST_BUF_FIRST + rnd(b.n - 3);

	/* Whoever has claimed it and not sent yet holds it, settles come from others. */
	if (idx == PST_BUF_NONE)
		return;
	pst_buf_settle(&p[pool], idx);
	model_settle(pool, idx);
}

static void step_claim(void)
{
	u32 idx = any_index();
	int err = pst_buf_claim(&b, idx);

	assert_int_equal(err, model_owned(idx));
	if (!err) {
		m[idx].state = PST_BUF_SENT;
		m[idx].claimed = true;
	}
}

/* What was claimed is sent, queued and sent, or refused. */
static void step_claimed(u32 pool)
{
	u32 from = rnd(b.n), i, idx = PST_BUF_NONE;

	for (i = 0; i < b.n && idx == PST_BUF_NONE; i++)
		if (m[(from + i) % b.n].claimed)
			idx = (from + i) % b.n;
	if (idx == PST_BUF_NONE)
		return;
	m[idx].claimed = false;
	if (!rnd(4)) {
		pst_buf_unclaim(&b, idx);
		m[idx].state = PST_BUF_USER;
		return;
	}
	if (rnd(4)) {
		get_page(b.page[idx]);
		m[idx].refs++;
	}
	put_page(b.page[idx]);
	if (m[idx].refs && rnd(2)) {
		pst_buf_park(&p[pool], idx);
		model_park(pool, idx);
	} else {
		pst_buf_settle(&p[pool], idx);
		model_settle(pool, idx);
	}
}

static void step_cite(void)
{
	u32 idx = any_index();
	int err = pst_buf_cite(&b, idx);

	assert_int_equal(err, model_owned(idx));
	assert_int_equal(err, pst_buf_owned(&b, idx));
	if (!err)
		m[idx].refs++;
}

static void step_give_back(u32 pool)
{
	u32 idx = any_index();
	int want = model_owned(idx);

	assert_int_equal(pst_buf_give_back(&p[pool], idx), want);
	if (!want) {
		m[idx].state = PST_BUF_SENT;
		model_settle(pool, idx);
	}
}

/* TCP lets go of something. */
static void step_let_go(void)
{
	u32 from = rnd(b.n), i;

	for (i = 0; i < b.n; i++) {
		u32 idx = (from + i) % b.n;

		if (m[idx].refs) {
			m[idx].refs--;
			return put_page(b.page[idx]);
		}
	}
}

static void step_reap(u32 pool)
{
	u32 budget = rnd(4) ? 256 : rnd(10);

	pst_pool_reap(&p[pool], budget);
	model_reap(pool, budget);
}

static void step_detach(void)
{
	u32 nic = rnd(3), i;

	pst_bufs_from_nic(&b, nic);
	for (i = 0; i < b.n; i++)
		if (m[i].state == PST_BUF_NIC && m[i].nic == nic)
			m[i].state = PST_BUF_FREE;
}

/* All that TCP and the rings use, and shown or put back. */
static void step_take_many(u32 pool)
{
	u32 buf[32], want = rnd(33), i, n;

	if (pst_pool_level(&p[pool]) <= b.low)
		model_reap(pool, 1024);
	n = pst_buf_take_many(&p[pool], buf, want);
	for (i = 0; i < n; i++)
		assert_int_equal(m[buf[i]].state, PST_BUF_FREE);
	if (n < want)
		assert_true(pst_pool_level(&p[pool]) <= b.low / 4);
	while (n && rnd(3)) {
		pst_buf_show(&b, buf[--n]);
		m[buf[n]].state = PST_BUF_USER;
	}
	pst_buf_untake_many(&p[pool], buf, n);
}

/* ------------------------------------------------------------ comparison */

static void compare(void)
{
	static u8 seen[NMAX];
	u32 counts[PST_BUF_STATES], sum = 0, i, j;

	memset(seen, 0, sizeof(seen));
	for (i = 0; i < b.nfree; i++)
		assert_int_equal(seen[b.free[i]]++, 0);
	for (i = 0; i < POOLS; i++) {
		assert_in_range(p[i].n, 0, PST_POOL_CACHE);
		for (j = 0; j < p[i].n; j++)
			assert_int_equal(seen[p[i].cache[j]]++, 0);
		assert_int_equal(p[i].tail - p[i].head, tail[i] - head[i]);
		for (j = 0; j < tail[i] - head[i]; j++)
			assert_int_equal(p[i].queue[(p[i].head + j) & p[i].mask],
					 fifo[i][head[i] + j]);
	}
	for (i = 0; i < b.n; i++) {
		assert_int_equal(b.state[i], m[i].state);
		assert_int_equal(b.page[i]->refs, 1 + m[i].refs + m[i].claimed);
		assert_int_equal(b.parked[i], m[i].queue != NOBODY);
		assert_int_equal(seen[i], m[i].state == PST_BUF_FREE);
		/* Nothing is lost: somebody has it, or will look at it. */
		if (m[i].state == PST_BUF_SENT && !m[i].claimed)
			assert_true(b.parked[i]);
	}
	pst_bufs_count(&b, counts);
	for (i = 0; i < PST_BUF_STATES; i++)
		sum += counts[i];
	assert_int_equal(sum, b.n);
	assert_int_equal(counts[PST_BUF_RESERVED], PST_BUFS_RESERVED);
	assert_int_equal(counts[PST_BUF_SETTLING], 0);
}

static void one_step(void)
{
	u32 pool = rnd(POOLS);

	switch (rnd(13)) {
	case 0: case 1: return step_take(pool);
	case 2: return step_kernel(pool);
	case 3: return step_nic(pool);
	case 4: return step_deliver();
	case 5: return step_settle(pool);
	case 6: return step_claim();
	case 7: return step_claimed(pool);
	case 8: return step_cite();
	case 9: return step_give_back(pool);
	case 10: return step_let_go();
	case 11: return rnd(200) ? step_reap(pool) : step_detach();
	case 12: return rnd(4) ? step_let_go() : step_take_many(pool);
	}
}

/* Everybody lets go of everything: all buffers are FREE again. */
static void wind_down(void)
{
	u32 i;

	for (i = PST_BUF_FIRST; i < b.n - 1; i++) {
		if (m[i].claimed)
			pst_buf_unclaim(&b, i);
		while (b.page[i]->refs > 1)
			put_page(b.page[i]);
		if (b.state[i] == PST_BUF_KERNEL || b.state[i] == PST_BUF_NIC)
			pst_buf_untake(&p[0], i);
		else if (b.state[i] == PST_BUF_USER)
			assert_int_equal(pst_buf_give_back(&p[1], i), 0);
		else if (b.state[i] == PST_BUF_STACK && !b.parked[i])
			pst_buf_settle(&p[2], i);
	}
	for (i = 0; i < POOLS; i++)
		pst_pool_reap(&p[i], 0xffffffff);
	model_init(b.n);
	compare();
}

static void run(u32 n, u32 low, u32 steps, u32 each)
{
	u32 i;

	assert_int_equal(pst_bufs_init(&b, n), 0);
	b.low = low;
	for (i = 0; i < POOLS; i++) {
		memset(&p[i], 0, sizeof(p[i]));
		assert_int_equal(pst_pool_init(&p[i], &b), 0);
		p[i].head = p[i].tail = -rnd(2000);	/* they wrap some time */
	}
	model_init(n);
	for (i = 0; i < steps; i++) {
		one_step();
		if (i % each == 0)
			compare();
	}
	compare();
	wind_down();
	for (i = 0; i < POOLS; i++)
		pst_pool_destroy(&p[i]);
	pst_bufs_destroy(&b);
}

/* Few buffers: every one is in everybody's way. */
static void few(void **state)
{
	u32 i;

	for (i = 0; i < 20; i++)
		run(4 + i, 0, 5000, 1);
}

static void some(void **state)
{
	run(100, 40, 100000, 10);
}

/* Enough for caches to be filled and spilled. */
static void many(void **state)
{
	run(NMAX, 100, 300000, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = { T(few), T(some), T(many) };

	return cmocka_run_group_tests_name("kernel_buf_model", tests, NULL, NULL);
}
