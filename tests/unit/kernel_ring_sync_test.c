// SPDX-License-Identifier: BSD-2-Clause
/* kernel/ring.c: syncs, and housekeeping in their place. */
#include "kernel/interleave.h"
#include "kernel/ring_mock.h"

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

/* Whatever was read is something else a moment later: the copy decides. */
static void scribble(void *p, size_t n)
{
	struct netmap_ring *r = ring->rx.ring;

	if (p == &r->head || p == &r->cur)
		*(u32 *)p = rnd(2) ? 0xdeadbeef : rnd(8);
	if ((char *)p >= (char *)r->slot && (char *)p < (char *)(r->slot + r->num_slots))
		memset(p, 0x5a + rnd(100), n);
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
		assert_int_equal(pst_ring_txsync(ring, false), 0);
		assert_string_equal(calls, "s");
		assert_int_equal(ring->tx.head, i % 4);
		/* One slot is never used. */
		assert_int_equal(r->tail, (i + 3) % 4);
		assert_int_equal(ring->tx.tail, r->tail);
	}
	r->head = (r->tail + 1) % 4 == r->head ? r->tail : r->head;
	assert_int_equal(pst_ring_txsync(ring, false), -EINVAL);	/* cur behind head */
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
	assert_int_equal(pst_ring_txsync(ring, false), 0);
	assert_int_equal(r->tail, 0);		/* only slot 3 is left */
	assert_true(pst_kring_ready(&ring->tx));
	r->head = r->cur = 0;
	assert_int_equal(pst_ring_txsync(ring, false), 0);
	assert_int_equal(r->tail, 0);
	assert_false(pst_kring_ready(&ring->tx));
	assert_true(pst_ring_due(ring));	/* there is something to go on with */
	r->head = r->cur = 1;
	assert_int_equal(pst_ring_txsync(ring, false), -EINVAL);
	destroy();
}

static void again(void)
{
	char before[sizeof(calls)];

	memcpy(before, calls, sizeof(before));
	assert_int_equal(pst_ring_rxsync(ring, false), 0);
	assert_false(pst_ring_takeover(ring));
	assert_string_equal(calls, before);
}

static void again_tx(void)
{
	u64 before = ring->c.tx_syncs;

	assert_int_equal(pst_ring_txsync(ring, false), 0);
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
	assert_int_equal(pst_ring_txsync(ring, false), 0);
	assert_int_equal(ring->c.tx_syncs, 1);
	assert_int_equal(ring->rx.busy, 0);
	assert_int_equal(ring->tx.busy, 0);
	destroy();
}

/* An ioctl has its turn when the ring is free again, unless its caller is killed. */
static void waits(void **state)
{
	assert_int_equal(create(4, 4, BUFS), 0);
	ring->tx.ring->head = ring->tx.ring->cur = 1;
	pst_kring_enter(&ring->tx);
	mock_bit_wait = -EINTR;
	assert_int_equal(pst_ring_txsync(ring, true), -EINTR);
	assert_int_equal(ring->tx.head, 0);
	mock_bit_wait = 1;
	assert_int_equal(pst_ring_txsync(ring, true), 0);
	assert_int_equal(mock_bit_wait, 0);
	assert_int_equal(ring->tx.head, 1);
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
		T(rxsync), T(rxsync_laps), T(rxsync_scribbled), T(txsync), T(txsync_held),
		T(nested), T(waits), T(destroyed_while_held), T(stamps), T(tells_low), T(takeover),
		T(wakes), T(recall),
	};

	return cmocka_run_group_tests_name("kernel_ring_sync", tests, NULL, NULL);
}
