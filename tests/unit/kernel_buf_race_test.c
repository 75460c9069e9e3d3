// SPDX-License-Identifier: BSD-2-Clause
/*
 * kernel/buf.c: rivals for one buffer, in every order (kernel/interleave.h).
 *
 * Each pool belongs to a ring, whose lock keeps other CPUs off, so an operation has a
 * pool of its own.  What a buffer can be claimed by meanwhile:
 *
 *   RX upcall     deliver                          TCP           put_page
 *   application   claim, cite, give_back           inject        settle
 *   stack_tx.c    unclaim, put_page + park         other rings   reap what they parked once
 */
#include "kernel/test.h"
#include "kernel/interleave.h"
#include "buf_move.h"
#include "trace.h"

#define N	7	/* buffers 2..5 can be had */
#define X	2	/* the one they want */
#define Y	3
#define Z	4
#define POOLS	4

static struct pst_bufs b;
static struct pst_pool p[POOLS];

/* Who may use X now, by its own knowledge. */
static int owners;

void mock_trace_pst_buf(const struct pst_bufs *bufs, u32 idx, u8 from, u8 to) { }

static int setup(void **state)
{
	u32 i;

	mock_setup(state);
	assert_int_equal(pst_bufs_init(&b, N), 0);
	for (i = 0; i < POOLS; i++) {
		memset(&p[i], 0, sizeof(p[i]));
		assert_int_equal(pst_pool_init(&p[i], &b), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	u32 i;

	for (i = 0; i < POOLS; i++)
		pst_pool_destroy(&p[i]);
	for (i = 0; i < b.n; i++)
		b.page[i]->refs = 1;	/* after a failure */
	pst_bufs_destroy(&b);
	return mock_teardown(state);
}

/* All FREE, but X, which is taken out. */
static void reset(enum pst_buf_state x, int refs)
{
	u32 i;

	owners = 0;
	b.lock.locked = false;
	b.nfree = 0;
	for (i = 0; i < N; i++) {
		b.page[i]->refs = 1;
		b.parked[i] = 0;
		b.nic[i] = 0;
		if (i >= PST_BUF_FIRST && i < N - 1)
			b.state[i] = PST_BUF_FREE;
		if (i > X && i < N - 1)
			b.free[b.nfree++] = i;
	}
	b.state[X] = x;
	b.page[X]->refs = 1 + refs;
	for (i = 0; i < POOLS; i++)
		p[i].n = p[i].head = p[i].tail = 0;
}

static void parked_in(u32 pool)
{
	pst_buf_park(&p[pool], X);
}

static u32 times_free(u32 idx)
{
	u32 n = 0, i, j;

	for (i = 0; i < b.nfree; i++)
		n += b.free[i] == idx;
	for (i = 0; i < POOLS; i++)
		for (j = 0; j < p[i].n; j++)
			n += p[i].cache[j] == idx;
	return n;
}

static u32 times_parked(u32 idx)
{
	u32 n = 0, i, j;

	for (i = 0; i < POOLS; i++)
		for (j = p[i].head; j != p[i].tail; j++)
			n += p[i].queue[j & p[i].mask] == idx;
	return n;
}

/* Nothing is going on: every buffer is in one place. */
static void consistent(void)
{
	u32 i;

	for (i = 0; i < N; i++) {
		u8 s = b.state[i];

		il_check(s != PST_BUF_SETTLING && s < PST_BUF_STATES);
		il_check(times_free(i) == (s == PST_BUF_FREE));
		il_check(times_parked(i) == b.parked[i]);
		if (s == PST_BUF_STACK || s == PST_BUF_SENT)
			il_check(b.parked[i]);	/* or it is lost */
		il_check(b.page[i]->refs >= 1);
	}
	il_check(!b.lock.locked);
	il_check(!owners);
}

/* All have let go of it, so that after a last look it is FREE, or @state. */
static void ends_as(enum pst_buf_state state)
{
	u32 i;

	consistent();
	il_check(b.page[X]->refs == 1);
	for (i = 0; i < POOLS; i++)
		pst_pool_reap(&p[i], 100);
	consistent();
	il_check(b.state[X] == state);
	for (i = 0; i < POOLS; i++)
		il_check(p[i].head == p[i].tail);
}

static void ends_free(void) { ends_as(PST_BUF_FREE); }
static void ends_with_user(void) { ends_as(PST_BUF_USER); }

static void settle_0(void) { pst_buf_settle(&p[0], X); }
static void settle_1(void) { pst_buf_settle(&p[1], X); }
static void settle_2(void) { pst_buf_settle(&p[2], X); }
static void reap_1(void) { pst_pool_reap(&p[1], 10); }
static void tcp_put(void) { put_page(b.page[X]); }

/* X is ours alone. */
static void gain(void) { owners++; il_check(owners == 1); }
static void lose(void) { il_check(owners == 1); owners--; }

#define RUN(limit, ...) do {							\
	const struct interleave il = { __VA_ARGS__ };				\
	unsigned long runs = interleave(&il, limit);				\
										\
	total += runs;								\
	if (getenv("VERBOSE"))							\
		fprintf(stderr, "# %s: %lu schedules\n", __func__, runs);	\
} while (0)

static unsigned long total;

/* ------------------------------------------------------------ settle, settle */

static void stack_idle(void) { reset(PST_BUF_STACK, 0); }
static void stack_busy(void) { reset(PST_BUF_STACK, 1); }
static void sent_idle(void) { reset(PST_BUF_SENT, 0); }
static void sent_busy(void) { reset(PST_BUF_SENT, 1); }
static void stack_parked(void) { stack_busy(); parked_in(1); }
static void sent_parked(void) { sent_busy(); parked_in(1); }

static void settle_settle(void **state)
{
	RUN(9, stack_idle, { settle_0, settle_1 }, ends_free);
	RUN(9, sent_idle, { settle_0, settle_1 }, ends_free);
	RUN(3, stack_idle, { settle_0, settle_1, settle_2 }, ends_free);
	RUN(4, stack_busy, { settle_0, settle_1, tcp_put }, ends_free);
	RUN(4, sent_busy, { settle_0, settle_1, tcp_put }, ends_free);
}

static void settle_reap(void **state)
{
	RUN(4, stack_parked, { settle_0, reap_1, tcp_put }, ends_free);
	RUN(4, sent_parked, { settle_0, reap_1, tcp_put }, ends_free);
	RUN(2, sent_parked, { settle_0, reap_1, tcp_put, settle_2 }, ends_free);
}

/* What a settle parks the other pool's reap may be just looking at. */
static void reap_reap(void) { reap_1(); reap_1(); }
static void settle_reap_0(void) { settle_0(); pst_pool_reap(&p[0], 10); }

static void reap_while_parked_anew(void **state)
{
	RUN(3, sent_parked, { settle_reap_0, reap_reap, tcp_put }, ends_free);
}

/* ------------------------------------------------------------ deliver */

/* stack_rx.c: true if the application got the very buffer. */
static bool upcall(void)
{
	bool got = pst_buf_deliver(&b, X);

	if (got)
		gain();
	put_page(b.page[X]);	/* the packet is freed after its bytes were taken */
	return got;
}

static void upcall_keeps(void)
{
	if (upcall())
		il_check(pst_buf_owned(&b, X) == 0);
}

static void upcall_and_release(void)
{
	if (!upcall())
		return;
	il_check(pst_buf_owned(&b, X) == 0);
	lose();
	il_check(pst_buf_give_back(&p[0], X) == 0);
}

static void delivered_or_free(void)
{
	bool delivered = owners;

	owners = 0;
	ends_as(delivered ? PST_BUF_USER : PST_BUF_FREE);
}

static void deliver_settle(void **state)
{
	RUN(9, stack_busy, { upcall_keeps, settle_1 }, delivered_or_free);
	RUN(9, stack_busy, { upcall_and_release, settle_1 }, ends_free);
	RUN(4, stack_parked, { upcall_keeps, reap_1, settle_2 }, delivered_or_free);
	RUN(3, stack_parked, { upcall_and_release, reap_1, settle_2 }, ends_free);
}

/* Two pieces of the stream in one buffer, on two sockets' CPUs: one gets it. */
static void stack_two(void) { reset(PST_BUF_STACK, 2); }
static void upcall_a(void) { upcall(); }
static void upcall_b(void) { upcall(); }

static void deliver_deliver(void **state)
{
	RUN(6, stack_two, { upcall_a, upcall_b, settle_2 }, delivered_or_free);
}

/* ------------------------------------------------------------ the application, twice */

static void user(void) { reset(PST_BUF_USER, 0); }
static void user_parked(void) { user(); parked_in(1); }	/* delivered since */

/* Sent: TCP has its reference when ours goes. */
static void send_by(u32 pool)
{
	if (pst_buf_claim(&b, X))
		return;
	gain();
	il_check(b.page[X]->refs >= 2);
	get_page(b.page[X]);
	lose();
	put_page(b.page[X]);
	pst_buf_park(&p[pool], X);
	put_page(b.page[X]);	/* acknowledged */
}

/* Queued outside TCP, and settled when TCP has it. */
static void queue_by(u32 pool)
{
	if (pst_buf_claim(&b, X))
		return;
	gain();
	get_page(b.page[X]);
	lose();
	put_page(b.page[X]);
	pst_buf_settle(&p[pool], X);
	put_page(b.page[X]);
}

/* Refused by TCP: the application has it as before. */
static void refused_by(void)
{
	if (pst_buf_claim(&b, X))
		return;
	gain();
	lose();
	pst_buf_unclaim(&b, X);
}

static void send_0(void) { send_by(0); }
static void send_2(void) { send_by(2); }
static void queue_0(void) { queue_by(0); }
static void queue_2(void) { queue_by(2); }
static void give_0(void) { pst_buf_give_back(&p[0], X); }
static void give_2(void) { pst_buf_give_back(&p[2], X); }

static void user_or_free(void)
{
	ends_as(b.state[X] == PST_BUF_USER ? PST_BUF_USER : PST_BUF_FREE);
}

static void claim_claim(void **state)
{
	RUN(4, user, { send_0, send_2 }, ends_free);
	RUN(4, user, { queue_0, send_2 }, ends_free);
	RUN(4, user, { refused_by, send_2 }, user_or_free);
	RUN(3, user_parked, { send_0, queue_2, reap_1 }, ends_free);
}

static void give_back_twice(void **state)
{
	RUN(9, user, { give_0, give_2 }, ends_free);
	RUN(3, user_parked, { give_0, give_2, reap_1 }, ends_free);
	RUN(3, user_parked, { give_0, send_2, reap_1 }, ends_free);
	RUN(3, user_parked, { give_0, refused_by, reap_1 }, user_or_free);
}

/* Nobody else names it: what was not sent is still the application's. */
static void refused_then_sent(void)
{
	refused_by();
	il_check(pst_buf_owned(&b, X) == 0);
	il_check(pst_buf_claim(&b, X) == 0);
	gain();
	lose();
	pst_buf_unclaim(&b, X);
	il_check(pst_buf_give_back(&p[0], X) == 0);
}

static void unclaim_reap(void **state)
{
	RUN(9, user_parked, { refused_by, reap_1 }, ends_with_user);
	RUN(4, user_parked, { refused_then_sent, reap_1 }, ends_free);
	RUN(3, user_parked, { refused_then_sent, reap_1, settle_2 }, ends_free);
}

static void send_reap(void **state)
{
	RUN(4, user_parked, { send_0, reap_1 }, ends_free);
	RUN(4, user_parked, { queue_0, reap_1 }, ends_free);
	RUN(3, user_parked, { send_0, reap_1, settle_2 }, ends_free);
	RUN(3, user_parked, { queue_0, reap_1, settle_2 }, ends_free);
}

/* ------------------------------------------------------------ cite */

/* Once cited it is not used for anything else until TCP lets go. */
static void cite(void)
{
	if (pst_buf_cite(&b, X))
		return;
	il_check(b.page[X]->refs >= 2);
	for (int i = 0; i < 4; i++) {
		mock_step("cited");
		il_check(b.state[X] == PST_BUF_USER || b.state[X] == PST_BUF_SENT ||
			 b.state[X] == PST_BUF_SETTLING);
	}
	put_page(b.page[X]);
}

/* Given back, and if that made it free, used for a new slot. */
static void give_and_show(void)
{
	u32 idx;

	if (pst_buf_give_back(&p[0], X))
		return;
	idx = pst_buf_take(&p[0]);
	il_check(idx != PST_BUF_NONE);
	if (idx != X)
		return pst_buf_untake(&p[0], idx);
	gain();
	lose();
	pst_buf_show(&b, idx);
}

static void cite_give_back(void **state)
{
	RUN(9, user, { cite, give_0 }, ends_free);
	RUN(6, user, { cite, give_and_show }, user_or_free);
	RUN(3, user_parked, { cite, give_0, reap_1 }, ends_free);
	RUN(3, user_parked, { cite, give_and_show, reap_1 }, user_or_free);
	RUN(3, user_parked, { cite, send_0, reap_1 }, ends_free);
	RUN(3, user, { cite, cite, give_0 }, ends_free);
	RUN(4, user, { cite, refused_by }, ends_with_user);
}

/* ------------------------------------------------------------ round and round */

/* Delivered, released, taken for the NIC, received again, delivered again. */
static void ring_0(void)
{
	u32 idx;

	if (upcall()) {
		lose();
		il_check(pst_buf_give_back(&p[0], X) == 0);
	}
	idx = pst_buf_take_for_nic(&p[0], 1);
	il_check(idx != PST_BUF_NONE);
	if (idx != X)
		return pst_buf_untake(&p[0], idx);
	gain();
	get_page(b.page[X]);
	lose();
	pst_buf_to_stack(&b, X);
	upcall();
	if (owners) {
		lose();
		il_check(pst_buf_give_back(&p[0], X) == 0);
	} else {
		pst_buf_settle(&p[0], X);
	}
}

/* A look that began long ago may end in another life of the buffer. */
static void lives(void **state)
{
	RUN(4, stack_parked, { ring_0, reap_1 }, ends_free);
	RUN(3, stack_parked, { ring_0, reap_1, settle_2 }, ends_free);
}

/* ------------------------------------------------------------ the free list */

static void with_nic(void)
{
	reset(PST_BUF_NIC, 0);
	b.nfree = 1;
	b.free[0] = Z + 1;
	b.state[Y] = b.state[Z] = PST_BUF_NIC;
	b.nic[X] = b.nic[Y] = 1;
	b.nic[Z] = 2;
}

static void detach(void) { pst_bufs_from_nic(&b, 1); }

static void take_some(u32 pool)
{
	u32 i, idx[3];

	for (i = 0; i < 3; i++) {
		idx[i] = i == 1 ? pst_buf_take_for_nic(&p[pool], 3) : pst_buf_take(&p[pool]);
		il_check(idx[i] != Z);
		if (idx[i] == X)
			gain();
	}
	for (i = 0; i < 3; i++) {
		if (idx[i] == X)
			lose();
		if (idx[i] != PST_BUF_NONE)
			pst_buf_untake(&p[pool], idx[i]);
	}
}

static void take_0(void) { take_some(0); }
static void take_1(void) { take_some(1); }

static void nic_gone(void)
{
	il_check(b.state[Z] == PST_BUF_NIC);
	il_check(b.state[Y] == PST_BUF_FREE);
	ends_free();
}

static void detach_take(void **state)
{
	RUN(2, with_nic, { detach, take_0, take_1 }, nic_gone);
}

int main(void)
{
#define R(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		R(settle_settle), R(settle_reap), R(reap_while_parked_anew),
		R(deliver_settle), R(deliver_deliver),
		R(claim_claim), R(give_back_twice), R(unclaim_reap), R(send_reap),
		R(cite_give_back), R(lives), R(detach_take),
	};
	int failed = cmocka_run_group_tests_name("kernel_buf_race", tests, NULL, NULL);

	printf("# %lu schedules\n", total);
	return failed;
}
