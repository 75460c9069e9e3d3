// SPDX-License-Identifier: BSD-2-Clause
/* kernel/ring.c: head and cur, room, slots released and published. */
#include "kernel/test.h"
#include "../../kernel/ring.c"
#include "kernel/ring_mock.h"

#define SLOTS_MAX	16

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(init), T(no_memory), T(heads), T(room), T(put), T(releases),
		T(release_in_use), T(publishes), T(forget), T(publish_overwritten),
	};

	return cmocka_run_group_tests_name("kernel_ring_slots", tests, NULL, NULL);
}
