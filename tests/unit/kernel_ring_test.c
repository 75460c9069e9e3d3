// SPDX-License-Identifier: BSD-2-Clause
/* kernel/ring.c: head and cur, releasing and publishing slots, room, syncs. */
#include "kernel/test.h"
#include "kernel/interleave.h"
#include "../../kernel/ring.c"

#define SLOTS_MAX	16
#define BUFS		200

static struct pst_port *port;
static struct pst_ring *ring;
static struct pst_region *region;
static struct sock sk[4];
static struct pst_sock ps[4];

/* What a sync calls, in order. */
static char calls[16];
static void (*during_poll)(void);
static void (*during_send)(void);
static bool pending;

static void called(char c)
{
	size_t n = strlen(calls);

	if (n + 1 < sizeof(calls))
		calls[n] = c;
}

void pst_stack_resume(struct pst_ring *r)
{
	assert_false(r->lock.locked);
	called('r');
}

void pst_nic_poll(struct pst_ring *r, bool busy_poll)
{
	assert_false(r->lock.locked);
	called(busy_poll ? 'P' : 'p');
	if (during_poll)
		during_poll();
}

void pst_stack_send(struct pst_ring *r)
{
	called('s');
	r->tx.sent = r->tx.head;
	if (during_send)
		during_send();
}

void pst_txq_push_all(struct pst_ring *r) { called('q'); }
bool pst_nic_pending(struct pst_ring *r) { return pending; }

static int create(u32 tx, u32 rx, u32 bufs)
{
	struct pst_geometry g = {
		.if_num = 1, .if_size = 64, .ring_num = 2, .slots = max(tx, rx), .bufs = bufs,
	};
	u32 i;

	port = mock_alloc(1, struct_size(port, ring, 1));
	assert_non_null(port);
	region = pst_region_create(&g);
	assert_false(IS_ERR(region));
	port->region = region;
	port->nrings = 1;
	port->tx_slots = tx;
	port->rx_slots = rx;
	ring = &port->ring[0];
	for (i = 0; i < ARRAY_SIZE(ps); i++) {
		memset(&sk[i], 0, sizeof(sk[i]));
		memset(&ps[i], 0, sizeof(ps[i]));
		ps[i].sk = &sk[i];
		ps[i].fd = 10 + i;
	}
	memset(calls, 0, sizeof(calls));
	during_poll = during_send = NULL;
	pending = false;
	return pst_ring_init(ring, port, 0);
}

static void destroy(void)
{
	pst_ring_destroy(ring);
	pst_region_destroy(region);
	mock_free(port);
}

static u32 user_buf(void)
{
	u32 buf = pst_buf_take(&ring->pool);

	assert_int_not_equal(buf, PST_BUF_NONE);
	pst_buf_show(ring->pool.bufs, buf);
	return buf;
}

static u8 state_of(u32 buf)
{
	return pst_buf_state(ring->pool.bufs, buf);
}

/* ------------------------------------------------------------ beginning */

static void init(void **state)
{
	struct netmap_ring *r;
	u32 i, j;

	assert_int_equal(create(5, 3, BUFS), 0);
	r = ring->tx.ring;
	assert_int_equal(r->num_slots, 5);
	assert_int_equal(r->nr_buf_size, 4096);
	assert_int_equal(r->dir, 0);
	assert_int_equal(r->head, 0);
	assert_int_equal(r->cur, 0);
	assert_int_equal(r->tail, 4);
	assert_ptr_equal((char *)r + r->buf_ofs, (char *)region->ctl + region->buf_ofs);
	for (i = 0; i < 5; i++) {
		assert_int_equal(state_of(r->slot[i].buf_idx), PST_BUF_USER);
		assert_int_equal(ring->tx_buf[i], r->slot[i].buf_idx);
		assert_int_equal(r->slot[i].len, 4096);
		for (j = 0; j < i; j++)
			assert_int_not_equal(r->slot[i].buf_idx, r->slot[j].buf_idx);
	}
	r = ring->rx.ring;
	assert_int_equal(r->num_slots, 3);
	assert_int_equal(r->dir, 1);
	assert_int_equal(r->tail, 0);
	assert_ptr_equal((char *)r + r->buf_ofs, (char *)region->ctl + region->buf_ofs);
	for (i = 0; i < 3; i++)
		assert_int_equal(r->slot[i].buf_idx, PST_BUF_NONE);
	assert_true(pst_kring_ready(&ring->tx));
	assert_false(pst_kring_ready(&ring->rx));
	destroy();
}

static void no_memory(void **state)
{
	u32 i, before;

	/* Too few buffers for the slots. */
	assert_int_equal(create(6, 3, PST_BUFS_RESERVED + 5), -ENOMEM);
	assert_false(ring->lock.locked);
	destroy();
	/* Each allocation of the ring. */
	assert_int_equal(create(6, 3, BUFS), 0);
	pst_ring_destroy(ring);
	before = mock.live;
	for (i = 1;; i++) {
		memset(ring, 0, sizeof(*ring));
		mock.fail_alloc = i;
		if (!pst_ring_init(ring, port, 0))
			break;
		assert_int_equal(mock.fail_alloc, 0);
		pst_ring_destroy(ring);
		assert_int_equal(mock.live, before);
	}
	assert_true(i > 3);
	mock.fail_alloc = 0;
	destroy();
}

/* ------------------------------------------------------------ head and cur */

/*
 * Legal, by going round slot by slot: the application's are those from the kernel's head
 * on, before its tail; head moves over some of them, cur not behind head; both may stop
 * at tail.
 */
static bool legal(u32 n, u32 khead, u32 ktail, u32 head, u32 cur)
{
	bool head_seen = false;
	u32 i = khead;

	for (;;) {
		if (i == head)
			head_seen = true;
		if (head_seen && i == cur)
			return true;
		if (i == ktail)
			return false;
		i = (i + 1) % n;
	}
}

static void check_heads(struct pst_kring *k, u32 n)
{
	static const u32 wild[] = { 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff };
	u32 khead, ktail, h, c, legals = 0;

	for (khead = 0; khead < n; khead++)
	for (ktail = 0; ktail < n; ktail++)
	for (h = 0; h < 2 * n + ARRAY_SIZE(wild); h++)
	for (c = 0; c < 2 * n + ARRAY_SIZE(wild); c++) {
		u32 head = h < 2 * n ? h : wild[h - 2 * n];
		u32 cur = c < 2 * n ? c : wild[c - 2 * n];
		u32 got = 0xdead;
		u64 bad = ring->c.bad_pointers;
		bool ok = legal(n, khead, ktail, head, cur);

		k->n = n;
		k->head = khead;
		k->tail = ktail;
		k->ring->head = head;
		k->ring->cur = cur;
		k->ring->tail = 0xbeef;
		assert_int_equal(take_head(ring, k, &got), ok ? 0 : -EINVAL);
		assert_int_equal(got, ok ? head : 0xdead);
		assert_int_equal(k->ring->head, ok ? head : khead);
		assert_int_equal(k->ring->cur, ok ? cur : khead);
		assert_int_equal(k->ring->tail, ok ? 0xbeef : ktail);
		assert_int_equal(ring->c.bad_pointers, bad + !ok);
		assert_int_equal(k->head, khead);
		assert_int_equal(k->tail, ktail);
		legals += ok;
	}
	/* Of d slots (d + 1) (d + 2) / 2 pairs. */
	for (c = 0, h = 1; h <= n; h++)
		c += h * (h + 1) / 2;
	assert_int_equal(legals, n * c);
}

static void heads(void **state)
{
	u32 n;

	for (n = 3; n <= 6; n++) {
		assert_int_equal(create(n, n, BUFS), 0);
		check_heads(&ring->rx, n);
		check_heads(&ring->tx, n);
		destroy();
	}
}

/* Whatever was read is something else a moment later: the copy decides. */
static void scribble(void *p, size_t n)
{
	struct netmap_ring *r = ring->rx.ring;

	if (p == &r->head || p == &r->cur)
		*(u32 *)p = rnd(2) ? 0xdeadbeef : rnd(8);
	if ((char *)p >= (char *)r->slot && (char *)p < (char *)(r->slot + r->num_slots))
		memset(p, 0x5a + rnd(100), n);
}

/* ------------------------------------------------------------ room, spans */

static void room(void **state)
{
	u32 n, head, fill, i;

	assert_int_equal(create(SLOTS_MAX, SLOTS_MAX, BUFS), 0);
	for (n = 2; n <= SLOTS_MAX; n++)
		for (head = 0; head < n; head++)
			for (fill = 0; fill < n; fill++) {
				struct pst_kring *k = &ring->rx;
				u32 used = 0, room = 0;

				for (i = head; i != fill; i = (i + 1) % n)
					used++;
				k->n = n;
				k->head = head;
				k->fill = k->tail = fill;
				assert_int_equal(pst_ring_event_room(ring), n - 1 - used);
				for (i = 0; i < n; i++) {
					ring->event_slots = i;
					assert_int_equal(pst_ring_room(ring),
							 used + i < n ? n - 1 - used - i : 0);
				}
				ring->event_slots = 0;
				assert_int_equal(pst_kring_span(k, head, fill), used);
				assert_int_equal(pst_kring_next(k, fill), (fill + 1) % n);
				/* As many can be put as there is room for. */
				ring->lock.locked = true;
				for (; pst_ring_room(ring); room++)
					pst_ring_put(ring, &ps[0], PST_BUF_NONE, 1, 2, 3);
				ring->lock.locked = false;
				assert_int_equal(room, n - 1 - used);
				assert_int_equal((k->fill + 1) % n, head);
			}
	ring->rx.n = SLOTS_MAX;
	destroy();
}

static void put(void **state)
{
	struct netmap_slot *slot;

	assert_int_equal(create(4, 4, BUFS), 0);
	ring->rx.head = ring->rx.tail = ring->rx.fill = 3;
	slot = ring->rx.ring->slot;
	memset(slot, 0xff, 4 * sizeof(*slot));
	ring->lock.locked = true;
	pst_ring_put(ring, &ps[1], 7, 66, 77, NS_PST_COPIED);
	pst_ring_put_event(ring, &ps[2], NS_PST_CLEAR, EAGAIN);
	ring->lock.locked = false;
	assert_int_equal(slot[3].buf_idx, 7);
	assert_int_equal(slot[3].offset, 66);
	assert_int_equal(slot[3].len, 77);
	assert_int_equal(slot[3].flags, NS_PST_COPIED);
	assert_int_equal(slot[3].fd, 11);
	assert_int_equal(slot[3].err, 0);
	assert_int_equal(slot[0].buf_idx, PST_BUF_NONE);
	assert_int_equal(slot[0].flags, NS_PST_EVENT | NS_PST_CLEAR);
	assert_int_equal(slot[0].fd, 12);
	assert_int_equal(slot[0].len, 0);
	assert_int_equal(slot[0].offset, 0);
	assert_int_equal(slot[0].err, EAGAIN);
	assert_ptr_equal(ring->rx_sock[3], &ps[1]);
	assert_ptr_equal(ring->rx_sock[0], &ps[2]);
	assert_int_equal(ring->rx.fill, 1);
	assert_int_equal(ring->rx.ring->tail, 0);	/* not shown */
	assert_int_equal(ring->c.rx_events, 1);
	destroy();
}

/* ------------------------------------------------------------ release */

/* What an RX slot may hold when it is given back. */
enum held { GOOD, EVENT, TWICE, OF_KERNEL, OF_NIC, FREE, BASE, LAST, WILD, HELD };

static void release(u32 from, u32 n)
{
	struct netmap_ring *r = ring->rx.ring;
	enum held held[SLOTS_MAX] = { 0 };
	u32 buf[SLOTS_MAX] = { 0 }, good = PST_BUF_NONE, i, index = 0, owner = 0;
	u32 of_nic = pst_buf_take_for_nic(&ring->pool, 1), of_kernel = pst_buf_take(&ring->pool);
	u32 freed = pst_buf_take(&ring->pool);
	u64 bad_index = ring->c.bad_index, bad_owner = ring->c.bad_owner;

	pst_buf_untake(&ring->pool, freed);
	for (i = 0; i < n; i++) {
		struct netmap_slot *slot = &r->slot[(from + i) % r->num_slots];

		held[i] = rnd(HELD);
		if (held[i] == TWICE && good == PST_BUF_NONE)
			held[i] = GOOD;
		switch (held[i]) {
		case GOOD: buf[i] = good = user_buf(); break;
		case EVENT: buf[i] = PST_BUF_NONE; break;
		case TWICE: buf[i] = good; owner++; break;
		case OF_KERNEL: buf[i] = of_kernel; owner++; break;
		case OF_NIC: buf[i] = of_nic; owner++; break;
		case FREE: buf[i] = freed; break;
		case BASE: buf[i] = PST_BUF_BASE; index++; break;
		case LAST: buf[i] = BUFS - 1; index++; break;
		default: buf[i] = BUFS + rnd(2) * rnd(0x7fffffff); index++;
		}
		slot->buf_idx = buf[i];
		slot->flags = slot->err = 0;
		ring->rx_sock[(from + i) % r->num_slots] = NULL;
	}
	/* What was free when it was chosen may have been taken for a good one since. */
	for (i = 0; i < n; i++)
		if (held[i] == FREE) {
			if (state_of(freed) == PST_BUF_USER)
				held[i] = EVENT;
			else
				owner++;
			if (held[i] == EVENT)
				r->slot[(from + i) % r->num_slots].buf_idx = buf[i] = PST_BUF_NONE;
		}
	ring->rx.head = from;
	ring->rx.tail = ring->rx.fill = (from + n) % r->num_slots;
	release_slots(ring, ring->rx.tail);
	assert_int_equal(ring->rx.head, ring->rx.tail);
	assert_false(ring->lock.locked);
	for (i = 0; i < n; i++) {
		struct netmap_slot *slot = &r->slot[(from + i) % r->num_slots];
		bool refused = held[i] != GOOD && held[i] != EVENT;

		assert_int_equal(slot->buf_idx, PST_BUF_NONE);
		assert_int_equal(slot->flags, refused ? NS_PST_REFUSED : 0);
		assert_int_equal(slot->err, !refused ? 0 : held[i] >= BASE ? ERANGE : EPERM);
		if (held[i] == GOOD)
			assert_int_equal(state_of(buf[i]), PST_BUF_FREE);
	}
	assert_int_equal(ring->c.bad_index - bad_index, index);
	assert_int_equal(ring->c.bad_owner - bad_owner, owner);
	assert_int_equal(state_of(of_nic), PST_BUF_NIC);
	assert_int_equal(state_of(of_kernel), PST_BUF_KERNEL);
	pst_buf_untake(&ring->pool, of_nic);
	pst_buf_untake(&ring->pool, of_kernel);
}

static void releases(void **state)
{
	u32 n, from, num, round;

	for (n = 3; n <= 6; n++) {
		assert_int_equal(create(n, n, BUFS), 0);
		for (round = 0; round < 100; round++)
			for (from = 0; from < n; from++)
				for (num = 0; num < n; num++)
					release(from, num);
		destroy();
	}
}

/* A buffer TCP still refers to is not free yet, but not the application's either. */
static void release_in_use(void **state)
{
	u32 buf;

	assert_int_equal(create(4, 4, BUFS), 0);
	buf = user_buf();
	get_page(region->bufs.page[buf]);
	ring->rx.ring->slot[0].buf_idx = buf;
	ring->rx.tail = ring->rx.fill = ring->rx.ring->tail = 1;
	ring->rx.ring->head = ring->rx.ring->cur = 1;
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_int_equal(state_of(buf), PST_BUF_SENT);
	put_page(region->bufs.page[buf]);
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_int_equal(state_of(buf), PST_BUF_FREE);
	destroy();
}

/* ------------------------------------------------------------ publish */

/* Why a slot is withdrawn. */
static void kill_slot(u32 i, u32 why)
{
	if (why == 0)
		ring->rx_sock[i] = NULL;
	else
		ring->rx_sock[i] = &ps[why];	/* 1: closed, 2: unregistered */
}

static void publish_one(u32 n, u32 tail, u32 num, u32 dead)
{
	struct pst_kring *k = &ring->rx;
	u32 buf[SLOTS_MAX], i, want = 0, slots = ring->c.rx_slots;
	u64 batches = ring->c.rx_batches, stale = ring->c.rx_stale;

	k->n = n;
	k->tail = k->fill = k->ring->tail = tail;
	k->head = tail;
	ring->lock.locked = true;
	for (i = 0; i < num; i++) {
		u32 at = k->fill;

		if (i % 3 == 2) {
			buf[i] = PST_BUF_NONE;
			pst_ring_put_event(ring, &ps[0], 0, i);
		} else {
			buf[i] = user_buf();
			pst_ring_put(ring, &ps[0], buf[i], i, 100 + i, 0);
		}
		if (dead >> i & 1)
			kill_slot(at, rnd(3));
	}
	ring->lock.locked = false;
	ring->owner = current;
	publish(ring);
	assert_null(ring->owner);
	assert_false(ring->lock.locked);
	for (i = 0; i < num; i++) {
		u32 at = (tail + want) % n;

		if (dead >> i & 1) {
			if (buf[i])
				assert_int_equal(state_of(buf[i]), PST_BUF_FREE);
			continue;
		}
		assert_int_equal(k->ring->slot[at].buf_idx, buf[i]);
		if (buf[i]) {
			assert_int_equal(k->ring->slot[at].offset, i);
			assert_int_equal(k->ring->slot[at].len, 100 + i);
			assert_int_equal(state_of(buf[i]), PST_BUF_USER);
			assert_int_equal(pst_buf_give_back(&ring->pool, buf[i]), 0);
		} else {
			assert_int_equal(k->ring->slot[at].err, i);
		}
		assert_ptr_equal(ring->rx_sock[at], &ps[0]);
		want++;
	}
	assert_int_equal(k->tail, (tail + want) % n);
	assert_int_equal(k->fill, k->tail);
	assert_int_equal(k->ring->tail, k->tail);
	assert_int_equal(ring->c.rx_slots - slots, want);
	assert_int_equal(ring->c.rx_batches - batches, want > 0);
	assert_int_equal(ring->c.rx_stale - stale, num - want);
	assert_true(ring->c.rx_batch_max >= want);
}

static void publishes(void **state)
{
	u32 n, tail, num, dead;

	for (n = 3; n <= 6; n++) {
		assert_int_equal(create(n, n, BUFS), 0);
		sk[1].flags = BIT(SOCK_DEAD);
		ps[2].flags = BIT(PST_SOCK_GONE);
		for (tail = 0; tail < n; tail++)
			for (num = 0; num < n; num++)
				for (dead = 0; dead < 1u << num; dead++)
					publish_one(n, tail, num, dead);
		assert_int_equal(ring->c.rx_batch_max, n - 1);
		destroy();
	}
}

/* forget() takes out the unpublished slots of one socket, and no others. */
static void forget(void **state)
{
	u32 i;

	assert_int_equal(create(6, 6, BUFS), 0);
	ring->lock.locked = true;
	ring->rx.head = 2;
	ring->rx.tail = ring->rx.fill = 4;	/* 2, 3 are published */
	ring->rx_sock[2] = ring->rx_sock[3] = &ps[1];
	for (i = 0; i < 3; i++)
		pst_ring_put_event(ring, &ps[i % 2], 0, 0);
	pst_ring_forget(ring, &ps[1]);
	ring->lock.locked = false;
	assert_ptr_equal(ring->rx_sock[2], &ps[1]);
	assert_ptr_equal(ring->rx_sock[3], &ps[1]);
	assert_ptr_equal(ring->rx_sock[4], &ps[0]);
	assert_null(ring->rx_sock[5]);
	assert_ptr_equal(ring->rx_sock[0], &ps[0]);
	publish(ring);
	assert_int_equal(ring->rx.tail, 0);
	assert_int_equal(ring->c.rx_stale, 1);
	destroy();
}

/* What the application wrote into a slot that it had not been shown. */
static void publish_overwritten(void **state)
{
	u32 mine, nic;

	assert_int_equal(create(6, 6, BUFS), 0);
	mine = user_buf();
	nic = pst_buf_take_for_nic(&ring->pool, 1);
	ring->lock.locked = true;
	pst_ring_put(ring, &ps[0], mine, 0, 1, 0);
	pst_ring_put(ring, &ps[0], mine, 0, 1, 0);
	pst_ring_put(ring, &ps[0], mine, 0, 1, 0);
	pst_ring_forget(ring, &ps[0]);
	ring->lock.locked = false;
	ring->rx.ring->slot[0].buf_idx = nic;
	ring->rx.ring->slot[1].buf_idx = 0xffffffff;
	publish(ring);
	assert_int_equal(state_of(nic), PST_BUF_NIC);
	assert_int_equal(state_of(mine), PST_BUF_FREE);
	destroy();
}

/* ------------------------------------------------------------ syncs */

static void rxsync(void **state)
{
	assert_int_equal(create(4, 4, BUFS), 0);
	jiffies = 777;
	assert_int_equal(pst_ring_rxsync(ring, true), 0);
	assert_string_equal(calls, "rP");
	assert_int_equal(ring->synced, 777);
	assert_int_equal(ring->c.rx_syncs, 1);
	assert_int_equal(ring->rx.busy, 0);

	memset(calls, 0, sizeof(calls));
	ring->rx.ring->head = 1;	/* there is none */
	jiffies = 888;
	assert_int_equal(pst_ring_rxsync(ring, false), -EINVAL);
	assert_string_equal(calls, "");
	assert_int_equal(ring->synced, 777);
	assert_int_equal(ring->rx.ring->head, 0);
	assert_int_equal(ring->rx.busy, 0);
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_string_equal(calls, "rp");
	destroy();
}

static u32 arrived;

static void frame(void)
{
	arrived = user_buf();
	spin_lock_bh(&ring->lock);
	pst_ring_put(ring, &ps[0], arrived, 0, 10, 0);
	spin_unlock_bh(&ring->lock);
	pst_ring_wake_for_slot(ring);	/* us: not woken */
}

/* Round and round: what arrives is published, what is released is free. */
static void rxsync_laps(void **state)
{
	struct netmap_ring *r;
	u32 i;

	assert_int_equal(create(4, 5, BUFS), 0);
	r = ring->rx.ring;
	ring->wait.sleepers = 1;
	during_poll = frame;
	for (i = 0; i < 23; i++) {
		assert_int_equal(pst_ring_rxsync(ring, false), 0);
		assert_int_equal(r->tail, (i + 1) % 5);
		assert_true(pst_kring_ready(&ring->rx));
		assert_int_equal(r->slot[i % 5].buf_idx, arrived);
		assert_int_equal(ring->rx.head, i % 5);
		if (i)
			assert_int_equal(r->slot[(i + 4) % 5].buf_idx, PST_BUF_NONE);
		r->head = r->cur = (i + 1) % 5;
		assert_false(pst_kring_ready(&ring->rx));
	}
	assert_int_equal(ring->wait.woken, 0);
	assert_int_equal(ring->c.rx_slots, 23);
	destroy();
}

/* The application changes everything as soon as it was read. */
static void rxsync_scribbled(void **state)
{
	u32 counts[PST_BUF_STATES], i, j, sum;

	for (i = 0; i < 2000; i++) {
		assert_int_equal(create(3, 5, 30), 0);
		during_poll = rnd(2) ? frame : NULL;
		mock.was_read = scribble;
		for (j = 0; j < 10; j++) {
			ring->rx.ring->head = rnd(6);
			ring->rx.ring->cur = rnd(6);
			pst_ring_rxsync(ring, false);
			assert_in_range(ring->rx.head, 0, 4);
			assert_in_range(ring->rx.tail, 0, 4);
			assert_int_equal(ring->rx.fill, ring->rx.tail);
			if (pst_ring_room(ring) < 2 || pst_pool_level(&ring->pool) < 3)
				during_poll = NULL;
		}
		mock.was_read = NULL;
		pst_bufs_count(&region->bufs, counts);
		for (sum = j = 0; j < PST_BUF_STATES; j++)
			sum += counts[j];
		assert_int_equal(sum, 30);
		assert_int_equal(counts[PST_BUF_FREE], pst_pool_level(&ring->pool));
		destroy();
	}
}

static void txsync(void **state)
{
	struct netmap_ring *r;
	u32 i;

	assert_int_equal(create(4, 4, BUFS), 0);
	r = ring->tx.ring;
	for (i = 0; i < 12; i++) {
		r->head = r->cur = i % 4;
		memset(calls, 0, sizeof(calls));
		assert_int_equal(pst_ring_txsync(ring), 0);
		assert_string_equal(calls, "s");
		assert_int_equal(ring->tx.head, i % 4);
		/* One slot is never used. */
		assert_int_equal(r->tail, (i + 3) % 4);
		assert_int_equal(ring->tx.tail, r->tail);
	}
	r->head = (r->tail + 1) % 4 == r->head ? r->tail : r->head;
	assert_int_equal(pst_ring_txsync(ring), -EINVAL);	/* cur behind head */
	assert_int_equal(ring->c.bad_pointers, 1);
	assert_int_equal(ring->tx.busy, 0);
	destroy();
}

static void hold_all(void) { ring->tx.sent = 1; }

/* What is held back is not the application's, nor the slot before it. */
static void txsync_held(void **state)
{
	struct netmap_ring *r;

	assert_int_equal(create(4, 4, BUFS), 0);
	r = ring->tx.ring;
	during_send = hold_all;
	r->head = r->cur = 3;
	assert_int_equal(pst_ring_txsync(ring), 0);
	assert_int_equal(r->tail, 0);		/* only slot 3 is left */
	assert_true(pst_kring_ready(&ring->tx));
	r->head = r->cur = 0;
	assert_int_equal(pst_ring_txsync(ring), 0);
	assert_int_equal(r->tail, 0);
	assert_false(pst_kring_ready(&ring->tx));
	assert_true(pst_ring_due(ring));	/* there is something to go on with */
	r->head = r->cur = 1;
	assert_int_equal(pst_ring_txsync(ring), -EINVAL);
	destroy();
}

static void again(void)
{
	char before[sizeof(calls)];

	strcpy(before, calls);
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_false(pst_ring_takeover(ring));
	assert_string_equal(calls, before);
}

static void again_tx(void)
{
	u64 before = ring->c.tx_syncs;

	assert_int_equal(pst_ring_txsync(ring), 0);
	assert_int_equal(ring->c.tx_syncs, before);
}

/* One sync at a time and direction. */
static void nested(void **state)
{
	assert_int_equal(create(4, 4, BUFS), 0);
	during_poll = again;
	assert_int_equal(pst_ring_rxsync(ring, true), 0);
	assert_int_equal(ring->c.rx_syncs, 1);
	during_send = again_tx;
	assert_int_equal(pst_ring_txsync(ring), 0);
	assert_int_equal(ring->c.tx_syncs, 1);
	assert_int_equal(ring->rx.busy, 0);
	assert_int_equal(ring->tx.busy, 0);
	destroy();
}

/* A ring that goes away lets go of the sockets whose slots it holds back. */
static void destroyed_while_held(void **state)
{
	assert_int_equal(create(6, 6, BUFS), 0);
	ps[1].ref.n = ps[2].ref.n = 2;
	ring->tx_sock[0] = ring->tx_sock[3] = &ps[1];
	ring->tx_sock[5] = &ps[2];
	destroy();
	assert_int_equal(ps[1].ref.n, 0);
	assert_int_equal(ps[2].ref.n, 1);
}

static void stamps(void **state)
{
	struct netmap_ring *r;

	assert_int_equal(create(4, 4, BUFS), 0);
	r = ring->rx.ring;
	region->bufs.low = BUFS;
	r->flags = NR_FORWARD;
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_int_equal(r->flags, NR_FORWARD | NR_PST_LOW);
	assert_int_equal(r->ts.tv_sec, 0);
	region->bufs.low = 10;
	r->flags |= NR_TIMESTAMP;
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_int_equal(r->flags, NR_FORWARD | NR_TIMESTAMP);
	assert_int_equal(r->ts.tv_sec, 1234567890);
	assert_int_equal(r->ts.tv_usec, 987654);
	destroy();
}

/* Only who asks is told, once each way, and the end not before there are half as many again. */
static void tells_low(void **state)
{
	struct netmap_ring *r;
	u32 level;

	assert_int_equal(create(4, 8, BUFS), 0);
	r = ring->rx.ring;
	level = pst_pool_level(&ring->pool);
	region->bufs.low = level + 1;
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_int_equal(r->tail, 0);
	assert_false(pst_ring_due(ring));
	r->flags |= NR_PST_TELL_LOW;
	assert_true(pst_ring_due(ring));
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_false(pst_ring_due(ring));
	assert_int_equal(r->tail, 1);
	assert_int_equal(r->slot[0].flags, NS_PST_EVENT);
	assert_int_equal(r->slot[0].fd, -1);
	assert_int_equal(r->slot[0].err, ENOBUFS);
	assert_int_equal(r->slot[0].buf_idx, PST_BUF_NONE);
	region->bufs.low = level;
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_int_equal(r->tail, 1);
	region->bufs.low = level / 2;
	r->head = r->cur = 1;
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_int_equal(r->tail, 2);
	assert_int_equal(r->slot[1].flags, NS_PST_EVENT | NS_PST_CLEAR);
	assert_int_equal(r->slot[1].err, ENOBUFS);
	assert_int_equal(ring->c.rx_events, 2);
	destroy();
}

/* ------------------------------------------------------------ housekeeping's part */

static void takeover(void **state)
{
	assert_int_equal(create(4, 4, BUFS), 0);
	ring->wait.sleepers = 1;
	assert_false(pst_ring_due(ring));
	assert_false(pst_ring_takeover(ring));	/* nothing to do */
	assert_string_equal(calls, "");
	assert_int_equal(ring->c.stalls, 0);
	assert_int_equal(ring->wait.woken, 0);

	pending = true;
	assert_true(pst_ring_due(ring));
	during_poll = frame;
	assert_true(pst_ring_takeover(ring));
	assert_string_equal(calls, "qrp");
	assert_int_equal(ring->c.stalls, 1);
	assert_true(ring->wait.woken);
	/* Nothing is published but by a sync. */
	assert_int_equal(ring->rx.tail, 0);
	assert_int_equal(ring->rx.fill, 1);
	during_poll = NULL;
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_int_equal(ring->rx.ring->tail, 1);

	pending = false;
	list_add_tail(&ps[0].wait_node, &ring->waiting);
	assert_true(pst_ring_due(ring));
	list_del(&ps[0].wait_node);
	list_add_tail(&ps[0].write_node, &ring->writable);
	assert_true(pst_ring_due(ring));
	list_del(&ps[0].write_node);
	assert_false(pst_ring_due(ring));

	ring->rx.busy = 1;
	pending = true;
	assert_false(pst_ring_due(ring));
	assert_false(pst_ring_takeover(ring));
	ring->rx.busy = 0;
	destroy();
}

static void wakes(void **state)
{
	assert_int_equal(create(4, 4, BUFS), 0);
	pst_ring_wake(ring);
	assert_int_equal(ring->c.rx_wakeups, 0);
	ring->wait.sleepers = 1;
	pst_ring_wake(ring);
	pst_ring_wake_for_slot(ring);
	assert_int_equal(ring->c.rx_wakeups, 2);
	assert_int_equal(ring->wait.woken, 2);
	ring->owner = current;
	pst_ring_wake_for_slot(ring);
	assert_int_equal(ring->wait.woken, 2);
	ring->owner = NULL;
	destroy();
}

/*
 * An application that comes to poll() while housekeeping has the ring: it syncs, or it is
 * woken to come again.  It waits before it looks.
 */
static void recall_setup(void)
{
	ring->wait.woken = 0;
	ring->wait.sleepers = 0;
	ring->missed = false;
	ring->rx.busy = 0;
	ring->c.rx_syncs = 0;
}

static void application(void)
{
	ring->wait.sleepers = 1;
	pst_ring_rxsync(ring, false);
}

static void housekeeper_looks(void) { pst_ring_due(ring); }
static void housekeeper_works(void) { pst_ring_takeover(ring); }

static void recall_end(void)
{
	il_check(ring->c.rx_syncs || ring->wait.woken);
	il_check(!ring->rx.busy);
	il_check(!ring->lock.locked);
}

static void recall(void **state)
{
	const struct interleave looks = {
		recall_setup, { application, housekeeper_looks }, recall_end };
	const struct interleave works = {
		recall_setup, { application, housekeeper_works }, recall_end };
	const struct interleave both = {
		recall_setup, { application, housekeeper_works, housekeeper_looks }, recall_end };

	assert_int_equal(create(4, 4, BUFS), 0);
	interleave(&looks, 9);
	interleave(&works, 4);
	interleave(&both, 3);
	pending = true;
	memset(calls, 'x', sizeof(calls) - 1);	/* of no interest */
	interleave(&works, 3);
	destroy();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(init), T(no_memory), T(heads), T(room), T(put), T(releases),
		T(release_in_use), T(publishes), T(forget), T(publish_overwritten),
		T(rxsync), T(rxsync_laps), T(rxsync_scribbled), T(txsync), T(txsync_held),
		T(nested), T(destroyed_while_held), T(stamps), T(tells_low), T(takeover), T(wakes), T(recall),
	};

	return cmocka_run_group_tests_name("kernel_ring", tests, NULL, NULL);
}
