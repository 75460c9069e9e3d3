// SPDX-License-Identifier: BSD-2-Clause
/* kernel/tx_check.c: what becomes of TX slots, legal, hostile, and rewritten while they are looked at. */
#include "kernel/test.h"
#include "../../kernel/tx_check.c"
#include "kernel/ring_mock.h"

#define SLOTS	80
#define ADDRESS	sizeof(struct nm_pst_addr)
#define FD	10		/* of ps[0]; the others' follow */

static struct tx_chunk c;
static const struct pst_proto udp = { .datagrams = true, .by_reference = true };
static const struct pst_proto copied;

struct pst_sock *pst_stack_find(struct pst_port *p, int fd)
{
	if (fd < FD || fd >= FD + (int)ARRAY_SIZE(ps))
		return NULL;
	refcount_inc(&ps[fd - FD].ref);
	return &ps[fd - FD];
}

/* ps[0] and ps[1] are TCP's, ps[2] is UDP, ps[3] what is only copied. */
static void begin(void)
{
	assert_int_equal(create(SLOTS, 16, 400), 0);
	for (u32 i = 0; i < ARRAY_SIZE(ps); i++)
		ps[i].ring = ring;
	ps[2].proto = &udp;
	ps[3].proto = &copied;
	c = (struct tx_chunk) { .ring = ring };
}

static void end(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(ps); i++) {
		assert_int_equal(ps[i].ref.n, 0);
		assert_int_equal(ps[i].held, 0);
	}
	destroy();
}

static struct netmap_slot *put(u32 i, int fd, u16 offset, u16 len, u16 flags)
{
	struct netmap_slot *slot = &ring->tx.ring->slot[i];

	slot->fd = fd;
	slot->offset = offset;
	slot->len = len;
	slot->flags = flags;
	if (ring->tx.head <= i)
		ring->tx.head = i + 1;
	return slot;
}

static bool by_reference(const struct tx_slot *t)
{
	return t->e.buf != PST_BUF_NONE &&
	       (t->fate == FATE_SEND || (t->fate == FATE_OTHER && !t->e.copy));
}

static int page_refs(u32 buf)
{
	return ring->pool.bufs->page[buf]->refs;
}

/* A slot that is to be sent is what the kernel may rely on, whatever the application writes now. */
static void check(const struct tx_slot *t)
{
	const struct pst_txq_entry *e = &t->e;

	switch (t->fate) {
	case FATE_NOTHING:
		return;
	case FATE_REFUSED:
		assert_in_range(t->err, 1, 200);
		return;
	case FATE_CONTROL:
		assert_non_null(t->ps);
		assert_int_equal(e->buf, PST_BUF_NONE);
		return;
	case FATE_SEND:
	case FATE_COPY:
		assert_null(t->ps->proto);
		assert_false(e->to || e->cont);
		break;
	case FATE_OTHER:
	case FATE_LATER:
		assert_non_null(t->ps);
		break;
	default:
		fail_msg("fate %d", t->fate);
	}
	assert_true(e->offset <= e->len && e->len <= PST_BUF_SIZE);
	assert_true(!e->close || e->shut);
	assert_true(!e->to || e->offset >= ADDRESS);
	if (e->buf == PST_BUF_NONE || t->fate == FATE_LATER)
		return;
	assert_in_range(e->buf, PST_BUF_FIRST, ring->pool.bufs->n - 2);
	if (by_reference(t)) {
		/* what is cited may have been given away since, in another slot */
		assert_true(state_of(e->buf) == PST_BUF_SENT || e->keep);
		assert_in_range(page_refs(e->buf), 2, INT_MAX);
	}
}

static void open_chunk(u32 i)
{
	u32 owned = 0, span = pst_kring_span(&ring->tx, i, ring->tx.head);

	pst_tx_open_chunk(&c, i);
	assert_false(ring->lock.locked);
	assert_true(c.n <= PST_TX_CHUNK && c.n <= span);
	for (u32 k = 0; k < c.n; k++) {
		check(&c.t[k]);
		owned += by_reference(&c.t[k]) && !c.t[k].e.keep;
		assert_true(c.t[k].fate != FATE_LATER || k == c.n - 1);
	}
	assert_true(owned <= c.need && c.need <= c.nfresh);
}

/* As if all of it had been refused by the sockets. */
static void close_chunk(void)
{
	struct pst_bufs *bufs = ring->pool.bufs;

	for (u32 i = 0; i < c.n; i++) {
		struct tx_slot *t = &c.t[i];

		if (by_reference(t) && t->e.keep)
			put_page(bufs->page[t->e.buf]);
		else if (by_reference(t))
			pst_buf_unclaim(bufs, t->e.buf);
		if (!t->ps)
			continue;
		t->ps->held -= t->held;
		t->ps->ref.n--;
	}
	spin_lock_bh(&ring->lock);
	pst_buf_untake_many(&ring->pool, c.fresh, c.nfresh);
	spin_unlock_bh(&ring->lock);
}

/* One slot alone, the first one: its fate, and what @refused says if it is that. */
static void one(enum fate fate, int err)
{
	open_chunk(0);
	assert_int_equal(c.n, 1);
	assert_int_equal(c.t[0].fate, fate);
	if (fate == FATE_REFUSED)
		assert_int_equal(c.t[0].err, err);
}

static void legal_tcp(void **state)
{
	u32 buf;

	begin();
	buf = put(0, FD, 10, 4096, 0)->buf_idx;
	one(FATE_SEND, 0);
	assert_ptr_equal(c.t[0].ps, &ps[0]);
	assert_int_equal(state_of(buf), PST_BUF_SENT);
	close_chunk();
	assert_int_equal(state_of(buf), PST_BUF_USER);
	put(0, FD, 0, TX_COPYBREAK, 0);
	one(FATE_COPY, 0);
	assert_int_equal(state_of(buf), PST_BUF_USER);
	close_chunk();
	put(0, FD, 0, 5, NS_PST_KEEP);
	one(FATE_SEND, 0);
	assert_int_equal(state_of(buf), PST_BUF_USER);
	assert_int_equal(page_refs(buf), 2);
	assert_int_equal(c.need, 0);
	close_chunk();
	assert_int_equal(page_refs(buf), 1);
	put(0, FD, 0, 1000, NS_PST_CLOSE);
	one(FATE_SEND, 0);
	assert_true(c.t[0].e.close && c.t[0].e.shut);
	close_chunk();
	put(0, FD, 7, 7, NS_PST_SHUT)->buf_idx = 12345678;	/* no payload: not looked at */
	one(FATE_SEND, 0);
	assert_int_equal(c.t[0].e.buf, PST_BUF_NONE);
	close_chunk();
	put(0, FD, 7, 7, NS_PST_REFUSED);
	one(FATE_NOTHING, 0);
	close_chunk();
	put(0, FD, 0, 0, NS_PST_PAUSE);
	one(FATE_CONTROL, 0);
	assert_true(c.t[0].pause);
	close_chunk();
	put(0, FD, 0, 0, NS_PST_RESUME);
	one(FATE_CONTROL, 0);
	assert_false(c.t[0].pause);
	close_chunk();
	end();
}

/* A small head of what goes on in the next slot goes with it, and only then. */
static void head_and_body(void **state)
{
	begin();
	put(0, FD, 0, 100, 0);
	put(1, FD, 0, 3000, 0);
	put(2, FD, 0, 100, 0);
	put(3, FD + 1, 0, 3000, 0);
	open_chunk(0);
	assert_int_equal(c.n, 4);
	assert_int_equal(c.t[0].fate, FATE_SEND);
	assert_int_equal(c.t[1].fate, FATE_SEND);
	assert_int_equal(c.t[2].fate, FATE_COPY);
	assert_int_equal(c.t[3].fate, FATE_SEND);
	assert_int_equal(ps[0].ref.n, 3);
	close_chunk();
	end();
}

static void refused(int err, uint64_t *counter)
{
	uint64_t before = *counter;
	u32 buf = ring->tx.ring->slot[0].buf_idx;

	c.open_next = NULL;
	one(FATE_REFUSED, err);
	assert_int_equal(*counter, before + 1);
	if (buf == ring->tx_buf[0])
		assert_int_equal(state_of(buf), PST_BUF_USER);
	close_chunk();
}

static void hostile_places_and_flags(void **state)
{
	static const u16 places[][2] = {
		{ 1, 0 }, { 4096, 10 }, { 65535, 0 }, { 0, 4097 }, { 0, 65535 }, { 65535, 65535 },
	};
	static const u16 flags[] = { NS_FORWARD, NS_NO_LEARN, NS_INDIRECT, NS_MOREFRAG, NS_TXMON, 0x80 };
	static const u16 control[] = {
		NS_PST_PAUSE | NS_PST_RESUME, NS_PST_PAUSE | NS_PST_SHUT, NS_PST_RESUME | NS_PST_CLOSE,
		NS_PST_PAUSE | NS_PST_KEEP, NS_PST_PAUSE | NS_PST_TO, NS_PST_RESUME | NS_PST_CONT,
	};
	u32 i;

	begin();
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		put(0, FD, places[i][0], places[i][1], 0);
		refused(EMSGSIZE, &ring->c.bad_place);
	}
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		put(0, FD, 0, 1000, flags[i] | NS_PST_SHUT);
		refused(EINVAL, &ring->c.bad_flags);
	}
	for (i = 0; i < ARRAY_SIZE(control); i++) {
		put(0, FD, 5, 5, control[i]);
		refused(EINVAL, &ring->c.bad_flags);
	}
	put(0, FD, 0, 5, NS_PST_PAUSE);
	refused(EINVAL, &ring->c.bad_flags);
	put(0, FD, 100, 1000, NS_PST_TO);	/* for datagrams only */
	refused(EINVAL, &ring->c.bad_flags);
	put(0, FD, 0, 1000, NS_PST_CONT);
	refused(EINVAL, &ring->c.bad_flags);
	end();
}

static void hostile_sockets(void **state)
{
	static const int fds[] = { -1, INT_MIN, INT_MAX, 0, FD - 1, FD + ARRAY_SIZE(ps) };
	u32 i;

	begin();
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		put(0, fds[i], 0, 1000, 0);
		refused(EBADF, &ring->c.bad_fd);
	}
	put(0, FD, 0, 1000, 0);
	set_bit(SOCK_DEAD, &sk[0].flags);
	refused(EBADF, &ring->c.bad_fd);
	sk[0].flags = 0;
	set_bit(PST_SOCK_GONE, &ps[0].flags);
	refused(EBADF, &ring->c.bad_fd);
	ps[0].flags = 0;
	set_bit(PST_SOCK_CLOSING, &ps[0].flags);
	refused(EBADF, &ring->c.bad_fd);
	end();
}

static void hostile_buffers(void **state)
{
	static const u16 flags[] = { 0, NS_PST_KEEP, NS_PST_SHUT };
	u32 n = 400, unused;

	begin();
	spin_lock_bh(&ring->lock);
	unused = pst_buf_take(&ring->pool);
	pst_buf_untake(&ring->pool, unused);
	spin_unlock_bh(&ring->lock);
	for (u32 i = 0; i < 2 * ARRAY_SIZE(flags); i++) {
		const u32 outside[] = { 0, PST_BUF_BASE, n - 1, n, U32_MAX };
		u16 len = i % 2 ? 1000 : 10;

		for (u32 k = 0; k < ARRAY_SIZE(outside); k++) {
			put(0, FD, 0, len, flags[i / 2])->buf_idx = outside[k];
			refused(ERANGE, &ring->c.bad_index);
		}
		put(0, FD, 0, len, flags[i / 2])->buf_idx = unused;
		refused(EPERM, &ring->c.bad_owner);
	}
	end();
}

/* In two slots, the second one has it no more; citing gives it away neither time. */
static void same_buffer_twice(void **state)
{
	begin();
	put(1, FD, 0, 1000, 0)->buf_idx = put(0, FD, 0, 1000, 0)->buf_idx;
	open_chunk(0);
	assert_int_equal(c.t[0].fate, FATE_SEND);
	assert_int_equal(c.t[1].fate, FATE_REFUSED);
	assert_int_equal(c.t[1].err, EPERM);
	close_chunk();
	put(0, FD, 0, 1000, NS_PST_KEEP);
	put(1, FD, 0, 1000, NS_PST_KEEP);
	open_chunk(0);
	assert_int_equal(c.t[1].fate, FATE_SEND);
	assert_int_equal(page_refs(c.t[0].e.buf), 3);
	close_chunk();
	end();
}

static void no_fresh_buffer(void **state)
{
	u32 taken[400] = { 0 }, n = 0, buf;

	begin();
	spin_lock_bh(&ring->lock);
	while ((buf = pst_buf_take(&ring->pool)) != PST_BUF_NONE)
		taken[n++] = buf;
	assert_int_not_equal(n, 0);
	pst_buf_untake(&ring->pool, taken[--n]);
	spin_unlock_bh(&ring->lock);
	put(0, FD + 1, 0, 10, 0);	/* needs none */
	put(1, FD, 0, 1000, 0);
	put(2, FD, 0, 1000, NS_PST_KEEP);	/* nor does that */
	buf = put(3, FD, 0, 1000, 0)->buf_idx;
	put(4, FD, 0, 10, 0);
	open_chunk(0);
	assert_int_equal(c.n, 4);
	assert_int_equal(c.t[2].fate, FATE_SEND);
	assert_int_equal(c.t[3].fate, FATE_LATER);
	assert_int_equal(state_of(buf), PST_BUF_USER);
	assert_int_equal(ring->c.tx_nobuf, 1);
	close_chunk();
	region->bufs.low = 400;		/* so low that none is asked for */
	open_chunk(0);
	assert_int_equal(c.n, 5);
	assert_int_equal(c.t[3].fate, FATE_COPY);
	assert_int_equal(c.nfresh, 0);
	close_chunk();
	spin_lock_bh(&ring->lock);
	pst_buf_untake_many(&ring->pool, taken, n);
	spin_unlock_bh(&ring->lock);
	end();
}

/* Slots that an earlier sync left go to the socket they were for, whose number may be another's by now. */
static void held(void **state)
{
	begin();
	put(0, FD + 1, 0, 1000, 0);
	ring->tx_sock[0] = pst_stack_find(port, FD);
	ps[0].held = 1;
	one(FATE_SEND, 0);
	assert_ptr_equal(c.t[0].ps, &ps[0]);
	assert_true(c.t[0].held);
	assert_null(ring->tx_sock[0]);
	close_chunk();
	end();
}

static void legal_others(void **state)
{
	begin();
	put(0, FD + 2, ADDRESS, 1000, NS_PST_TO);
	one(FATE_OTHER, 0);
	assert_true(c.t[0].e.to && !c.t[0].e.copy && !c.t[0].part);
	close_chunk();
	put(0, FD + 2, ADDRESS, ADDRESS, NS_PST_TO);	/* an empty datagram */
	one(FATE_OTHER, 0);
	assert_int_not_equal(c.t[0].e.buf, PST_BUF_NONE);
	close_chunk();
	put(0, FD + 2, 0, 0, NS_PST_CLOSE);
	one(FATE_OTHER, 0);
	assert_int_equal(c.t[0].e.buf, PST_BUF_NONE);
	close_chunk();
	put(0, FD + 3, 0, 4096, NS_PST_SHUT);
	one(FATE_OTHER, 0);
	assert_true(c.t[0].e.copy && c.t[0].e.shut);
	close_chunk();
	end();
}

static void hostile_others(void **state)
{
	begin();
	put(0, FD + 2, 0, 1000, NS_PST_SHUT);
	refused(EINVAL, &ring->c.bad_flags);
	put(0, FD + 2, 0, 1000, NS_PST_CONT | NS_PST_CLOSE);
	refused(EINVAL, &ring->c.bad_flags);
	put(0, FD + 2, ADDRESS - 1, 1000, NS_PST_TO);
	refused(EMSGSIZE, &ring->c.bad_place);
	put(0, FD + 3, 100, 1000, NS_PST_TO);
	refused(EINVAL, &ring->c.bad_flags);
	put(0, FD + 3, 0, 1000, NS_PST_CONT);
	refused(EINVAL, &ring->c.bad_flags);
	put(0, FD + 3, 0, 1000, 0)->buf_idx = U32_MAX;
	refused(ERANGE, &ring->c.bad_index);
	end();
}

/* A datagram in several slots is refused from the first one that is wrong on, to its end and not beyond. */
static void datagram_in_parts(void **state)
{
	begin();
	put(0, FD + 2, 0, 1000, NS_PST_CONT);
	put(1, FD + 2, 100, 4000, NS_PST_CONT | NS_PST_TO);	/* an address in the middle */
	put(2, FD + 2, 0, 4000, NS_PST_CONT);
	put(3, FD + 2, 0, 4000, 0);
	put(4, FD + 2, 0, 1000, 0);
	open_chunk(0);
	assert_int_equal(c.n, 5);
	assert_int_equal(c.t[0].fate, FATE_OTHER);
	assert_true(c.t[0].part);
	assert_int_equal(c.t[1].fate, FATE_REFUSED);
	assert_int_equal(c.t[2].fate, FATE_REFUSED);
	assert_int_equal(c.t[3].fate, FATE_REFUSED);
	assert_int_equal(c.t[4].fate, FATE_OTHER);
	assert_false(c.t[4].part);
	close_chunk();
	end();
}

/* One that does not end in the chunk waits for the next one, with those that came before it dealt with. */
static void datagram_over_the_edge(void **state)
{
	u32 i;

	begin();
	for (i = 0; i < 10; i++)
		put(i, FD, 0, 1000, 0);
	for (; i < 40; i++)
		put(i, FD + 2, 0, 1000, i < 39 ? NS_PST_CONT : 0);
	open_chunk(0);
	assert_int_equal(c.n, 10);
	for (i = 10; i < PST_TX_CHUNK; i++)
		assert_ptr_equal(ring->tx_sock[i], &ps[2]);
	assert_int_equal(ps[2].held, PST_TX_CHUNK - 10);
	close_chunk();
	open_chunk(10);
	assert_int_equal(c.n, 30);
	for (i = 0; i < c.n; i++) {
		assert_int_equal(c.t[i].fate, FATE_OTHER);
		assert_true(c.t[i].part);
	}
	close_chunk();
	end();
}

/* Longer than a chunk: the rest of it is refused, and it is known where it ends. */
static void datagram_too_long(void **state)
{
	u32 i;

	begin();
	for (i = 0; i < 40; i++)
		put(i, FD + 2, 0, 1000, i < 39 ? NS_PST_CONT : 0);
	put(40, FD + 2, 0, 1000, 0);
	open_chunk(0);
	assert_int_equal(c.n, PST_TX_CHUNK);
	assert_true(c.open_bad);
	close_chunk();
	open_chunk(PST_TX_CHUNK);
	assert_int_equal(c.n, 9);
	for (i = 0; i < 8; i++)
		assert_int_equal(c.t[i].fate, FATE_REFUSED);
	assert_int_equal(c.t[8].fate, FATE_OTHER);
	close_chunk();
	end();
}

/* ------------------------------------------------------------ at random */

static u16 any_place(void)
{
	static const u16 edges[] = { 0, 1, ADDRESS - 1, ADDRESS, 256, 257, 4095, 4096, 4097, 65535 };

	return rnd(2) ? edges[rnd(ARRAY_SIZE(edges))] : rnd(4200);
}

static u16 any_flags(void)
{
	static const u16 legal[] = {
		NS_PST_KEEP, NS_PST_TO, NS_PST_CONT, NS_PST_CLOSE, NS_PST_SHUT, NS_PST_PAUSE,
		NS_PST_RESUME, NS_BUF_CHANGED, NS_REPORT, NS_PST_REFUSED,
	};
	u16 flags = 0;

	if (!rnd(20))
		return rnd(65536);
	while (rnd(2))
		flags |= legal[rnd(ARRAY_SIZE(legal))];
	return flags;
}

/* As the application would write any of its slots, or another one. */
static void scribble(void)
{
	struct netmap_slot *slot = &ring->tx.ring->slot[rnd(SLOTS)];

	switch (rnd(5)) {
	case 0: slot->buf_idx = rnd(4) ? ring->tx_buf[rnd(SLOTS)] : rnd(500); break;
	case 1: slot->len = any_place(); break;
	case 2: slot->offset = any_place(); break;
	case 3: slot->flags = any_flags(); break;
	default: slot->fd = rnd(8) ? FD + (int)rnd(ARRAY_SIZE(ps)) : (int)rnd(UINT_MAX);
	}
}

static void another_cpu(const char *what)
{
	if (!rnd(4))
		scribble();
}

static u64 refusals(void)
{
	return ring->c.bad_flags + ring->c.bad_place + ring->c.bad_fd + ring->c.bad_index +
	       ring->c.bad_owner;
}

/* What the sockets hold is what is in the chunk and what is held in the ring. */
static void check_references(void)
{
	int refs[ARRAY_SIZE(ps)] = { 0 };
	u32 i;

	for (i = 0; i < c.n; i++)
		if (c.t[i].ps)
			refs[c.t[i].ps - ps]++;
	for (i = 0; i < SLOTS; i++)
		if (ring->tx_sock[i])
			refs[ring->tx_sock[i] - ps]++;
	for (i = 0; i < ARRAY_SIZE(ps); i++)
		assert_int_equal(ps[i].ref.n, refs[i]);
}

/* Every slot from @i on, chunk after chunk; where the next ones begin. */
static u32 sync_all(u32 i)
{
	c.open_next = NULL;
	c.n = 0;
	while (i != ring->tx.head) {
		u64 before = refusals();
		u32 bad = 0;

		mock.step = another_cpu;
		open_chunk(i);
		mock.step = NULL;
		assert_true(c.n);
		for (u32 k = 0; k < c.n; k++)
			bad += c.t[k].fate == FATE_REFUSED;
		assert_int_equal(refusals() - before, bad);
		check_references();
		close_chunk();
		i = (i + c.n) % SLOTS;
	}
	return i;
}

static void random_slots(void **state)
{
	u32 i = 0, n;

	begin();
	for (int round = 0; round < 5000; round++) {
		for (n = rnd(SLOTS); n; n--)
			scribble();
		region->bufs.low = rnd(8) ? 0 : 400;
		ps[rnd(2)].flags = rnd(8) ? 0 : BIT(PST_SOCK_CLOSING);
		ring->tx.head = (i + rnd(SLOTS)) % SLOTS;
		i = sync_all(i);
		for (n = 0; n < SLOTS; n++) {
			assert_null(ring->tx_sock[n]);
			assert_int_equal(state_of(ring->tx_buf[n]), PST_BUF_USER);
			assert_int_equal(page_refs(ring->tx_buf[n]), 1);
		}
	}
	assert_in_range(refusals(), 1000, U64_MAX);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(legal_tcp),
		T(head_and_body),
		T(hostile_places_and_flags),
		T(hostile_sockets),
		T(hostile_buffers),
		T(same_buffer_twice),
		T(no_fresh_buffer),
		T(held),
		T(legal_others),
		T(hostile_others),
		T(datagram_in_parts),
		T(datagram_over_the_edge),
		T(datagram_too_long),
		T(random_slots),
	};

	return cmocka_run_group_tests_name("kernel_tx_check", tests, NULL, NULL);
}
