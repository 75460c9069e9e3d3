// SPDX-License-Identifier: GPL-2.0
/*
 * Rings: reading what the application wrote, publishing what arrived.
 *
 * Kernel half of the ordering drawn in include/net/netmap.h.  Every field of the
 * shared ring is read once, checked, and only the copy is used.
 *
 * RX sync                                   TX sync (stack_tx.c does the slots)
 *   1. take head (B), give buffers back       1. take head (B)
 *   2. let waiting sockets move on, pull      2. each slot to its socket
 *      datagrams                              3. fresh buffers, tail (C)
 *   3. run the NIC queues of the ring
 *   4. withdraw slots of closed sockets,
 *      publish the rest (C)
 *
 * An RX slot outside [head, tail) of the application holds no buffer: what is
 * given back goes to the free list at once, and a delivery brings its own.
 */
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/jiffies.h>
#include <linux/timekeeping.h>
#include <linux/wait_bit.h>

#include "buf_move.h"
#include "nic.h"
#include "port.h"
#include "ring.h"
#include "sized.h"
#include "stack.h"

/* The application can write all of it, so that another one gets it anew. */
static void write_header(const struct pst_ring *ring, const struct pst_kring *k)
{
	struct pst_region *region = ring->port->region;

	memset(k->ring, 0, sizeof(*k->ring));
	k->ring->buf_ofs = region->buf_ofs - pst_region_offset(region, k->ring);
	k->ring->num_slots = k->n;
	k->ring->nr_buf_size = PST_BUF_SIZE;
	k->ring->ringid = ring->id;
	k->ring->dir = k == &ring->rx;
}

int pst_ring_init(struct pst_ring *ring, struct pst_port *port, u16 id)
{
	struct pst_region *region = port->region;
	int err;

	ring->port = port;
	ring->id = id;
	init_waitqueue_head(&ring->wait);
	spin_lock_init(&ring->lock);
	INIT_LIST_HEAD(&ring->waiting);
	INIT_LIST_HEAD(&ring->arrived);
	INIT_LIST_HEAD(&ring->writable);
	INIT_LIST_HEAD(&ring->acceptable);
	INIT_LIST_HEAD(&ring->closing);
	INIT_LIST_HEAD(&ring->nicqs);
	ring->tx.ring = pst_region_ring(region, id);
	ring->tx.n = port->tx_slots;
	write_header(ring, &ring->tx);
	ring->rx.ring = pst_region_ring(region, port->nrings + id);
	ring->rx.n = port->rx_slots;
	write_header(ring, &ring->rx);
	ring->rx_sock = kvcalloc(port->rx_slots, sizeof(*ring->rx_sock), PST_GFP_SIZED);
	ring->tx_buf = kvcalloc(port->tx_slots, sizeof(*ring->tx_buf), PST_GFP_SIZED);
	ring->tx_sock = kvcalloc(port->tx_slots, sizeof(*ring->tx_sock), PST_GFP_SIZED);
	if (!ring->rx_sock || !ring->tx_buf || !ring->tx_sock)
		return -ENOMEM;
	ring->event_slots = min(port->rx_slots / 8, 64u);
	err = pst_pool_init(&ring->pool, &region->bufs);
	if (err)
		return err;
	return pst_ring_start(ring);
}

/* Gives every TX slot that has none its first buffer; -ENOMEM: not all of them have one. */
int pst_ring_start(struct pst_ring *ring)
{
	struct pst_kring *k = &ring->tx;
	int err = 0;
	u32 i;

	spin_lock_bh(&ring->lock);
	for (i = 0; i < k->n; i++) {
		u32 buf = ring->tx_buf[i];

		if (buf == PST_BUF_NONE)
			buf = pst_buf_take(&ring->pool);
		if (buf == PST_BUF_NONE) {
			err = -ENOMEM;
			continue;	/* others may have theirs */
		}
		pst_buf_show(ring->pool.bufs, buf);
		ring->tx_buf[i] = buf;
		k->ring->slot[i].buf_idx = buf;
		k->ring->slot[i].len = PST_BUF_SIZE;
	}
	spin_unlock_bh(&ring->lock);
	k->tail = k->n - 1;
	k->ring->tail = k->tail;
	return err;
}

static void clear_indexes(const struct pst_ring *ring, struct pst_kring *k)
{
	k->head = k->tail = k->fill = k->sent = 0;
	write_header(ring, k);
}

/* What no application has seen goes nowhere. */
static void drop_unpublished(struct pst_ring *ring)
{
	struct pst_kring *k = &ring->rx;
	u32 i;

	spin_lock_bh(&ring->lock);
	for (i = k->tail; i != k->fill; i = pst_kring_next(k, i))
		pst_buf_give_back(&ring->pool, READ_ONCE(k->ring->slot[i].buf_idx));
	spin_unlock_bh(&ring->lock);
}

/*
 * The buffer that slot @i had from us, if it is still there and the application's: KERNEL from now
 * on, so that no other slot has it.
 */
static u32 keep_own(struct pst_ring *ring, u32 i)
{
	u32 buf = ring->tx_buf[i];

	if (READ_ONCE(ring->tx.ring->slot[i].buf_idx) == buf && buf >= PST_BUF_FIRST &&
	    buf < ring->pool.bufs->n - 1 &&
	    pst_buf_move(ring->pool.bufs, buf, PST_BUF_USER, PST_BUF_KERNEL))
		return buf;
	return PST_BUF_NONE;
}

/*
 * As new, for the next application, once pst_ring_start() has followed; with @keep_buffers TX slots
 * keep those that are theirs.  Syncs are kept out, and no socket has the ring any more.
 */
void pst_ring_clear(struct pst_ring *ring, bool keep_buffers)
{
	u32 i;

	drop_unpublished(ring);
	clear_indexes(ring, &ring->rx);
	memset(ring->rx.ring->slot, 0, ring->rx.n * sizeof(struct netmap_slot));
	clear_indexes(ring, &ring->tx);
	for (i = 0; i < ring->tx.n; i++) {
		if (ring->tx_sock[i])
			pst_sock_put(ring->tx_sock[i]);
		ring->tx_sock[i] = NULL;
		ring->tx_buf[i] = keep_buffers ? keep_own(ring, i) : PST_BUF_NONE;
		ring->tx.ring->slot[i] = (struct netmap_slot){ .len = PST_BUF_SIZE };
	}
	ring->low_told = false;
	ring->pool.spared = false;
}

void pst_ring_destroy(struct pst_ring *ring)
{
	u32 i;

	for (i = 0; ring->tx_sock && i < ring->tx.n; i++)
		if (ring->tx_sock[i])
			pst_sock_put(ring->tx_sock[i]);
	kvfree(ring->tx_sock);
	pst_pool_destroy(&ring->pool);
	kvfree(ring->rx_sock);
	kvfree(ring->tx_buf);
}

/*
 * Takes the application's head; cur is looked at only to refuse nonsense, since
 * poll() reads it afresh.  A ring with illegal indexes is put back to the last
 * legal ones and this sync does nothing: -EINVAL.
 */
static int take_head(struct pst_ring *ring, struct pst_kring *k, u32 *new_head)
{
	u32 head = READ_ONCE(k->ring->head);
	u32 cur = READ_ONCE(k->ring->cur);
	u32 owned = pst_kring_span(k, k->head, k->tail);

	if (unlikely(head >= k->n || cur >= k->n ||
		     pst_kring_span(k, k->head, head) > owned ||
		     pst_kring_span(k, head, cur) > pst_kring_span(k, head, k->tail))) {
		ring->c.bad_pointers++;
		WRITE_ONCE(k->ring->head, k->head);
		WRITE_ONCE(k->ring->cur, k->head);
		WRITE_ONCE(k->ring->tail, k->tail);
		return -EINVAL;
	}
	smp_rmb(); /* (B) head before slots */
	*new_head = head;
	return 0;
}

static void publish_tail(struct pst_kring *k, u32 tail)
{
	k->tail = tail;
	smp_store_release(&k->ring->tail, tail); /* (C) slots before tail */
}

/* The counter that tells why the application's buffer was refused. */
static void count_refusal(struct pst_ring *ring, int err)
{
	if (err == -ERANGE)
		ring->c.bad_index++;
	else
		ring->c.bad_owner++;
}

/* RX step 1.  A slot without a buffer (an event) gives none back. */
static void release_slots(struct pst_ring *ring, u32 head)
{
	struct pst_kring *k = &ring->rx;
	u32 i;

	if (k->head == head)
		return;
	spin_lock_bh(&ring->lock);
	for (i = k->head; i != head; i = pst_kring_next(k, i)) {
		struct netmap_slot *slot = &k->ring->slot[i];
		u32 buf = READ_ONCE(slot->buf_idx);
		int err;

		if (buf == PST_BUF_NONE)
			continue;
		slot->buf_idx = PST_BUF_NONE;
		err = pst_buf_give_back(&ring->pool, buf);
		if (unlikely(err)) {
			count_refusal(ring, err);
			slot->flags = NS_PST_REFUSED;
			slot->err = -err;
		}
	}
	k->head = head;
	spin_unlock_bh(&ring->lock);
}

/*
 * What the application has asked to be told of its buffers (NR_PST_TELL_LOW), if it is not
 * what it was told last: the mark, and half as much again for the end of it.
 */
static bool low_untold(const struct pst_ring *ring)
{
	const struct pst_pool *pool = &ring->pool;
	u32 mark = ring->low_told ? pool->bufs->low + pool->bufs->low / 2 : pool->bufs->low;

	return unlikely((pst_pool_level(pool) < mark) != ring->low_told) &&
	       (ring->low_told || READ_ONCE(ring->rx.ring->flags) & NR_PST_TELL_LOW);
}

/* An event that is no socket's, behind all that is being published. */
static void tell_low(struct pst_ring *ring)
{
	u32 i = ring->rx.fill;

	if (!low_untold(ring) || !pst_ring_event_room(ring))
		return;
	ring->rx.ring->slot[i] = (struct netmap_slot){
		.flags = NS_PST_EVENT | (ring->low_told ? NS_PST_CLEAR : 0),
		.fd = -1,
		.err = ENOBUFS,
	};
	ring->rx.fill = pst_kring_next(&ring->rx, i);
	ring->low_told = !ring->low_told;
	ring->c.rx_events++;
}

/*
 * RX step 4.  A socket that was closed since its data was put here must not
 * speak through its number, which may belong to another one by now: its slots
 * are taken out and the others move up.
 */
static void publish(struct pst_ring *ring)
{
	struct pst_kring *k = &ring->rx;
	struct netmap_slot *slots = k->ring->slot;
	u32 from, to, fresh;
	bool late;

	spin_lock_bh(&ring->lock);
	to = k->tail;
	for (from = k->tail; from != k->fill; from = pst_kring_next(k, from)) {
		struct pst_sock *ps = ring->rx_sock[from];

		if (unlikely(!ps || pst_sock_dead(ps))) {
			u32 buf = READ_ONCE(slots[from].buf_idx);

			ring->c.rx_stale++;
			if (buf != PST_BUF_NONE)
				pst_buf_give_back(&ring->pool, buf);
			continue;
		}
		if (unlikely(to != from)) {
			slots[to] = slots[from];
			ring->rx_sock[to] = ps;
		}
		to = pst_kring_next(k, to);
	}
	k->fill = to;
	tell_low(ring);
	fresh = pst_kring_span(k, k->tail, k->fill);
	publish_tail(k, k->fill);
	WRITE_ONCE(ring->owner, NULL);	/* what comes now must wake us */
	late = !list_empty(&ring->arrived);
	spin_unlock_bh(&ring->lock);
	if (unlikely(late))	/* and so must datagrams that came too late to be pulled */
		pst_ring_wake(ring);

	if (fresh) {
		ring->c.rx_batches++;
		ring->c.rx_slots += fresh;
		if (fresh > ring->c.rx_batch_max)
			ring->c.rx_batch_max = fresh;
	}
}

static void stamp(struct pst_ring *ring)
{
	struct netmap_ring *shared = ring->rx.ring;
	u32 flags = READ_ONCE(shared->flags);
	u32 new = flags & ~NR_PST_LOW;

	if (unlikely(pst_pool_low(&ring->pool)))
		new |= NR_PST_LOW;
	if (unlikely(new != flags))
		WRITE_ONCE(shared->flags, new);
	if (flags & NR_TIMESTAMP) {
		struct timespec64 now;

		ktime_get_real_ts64(&now);
		shared->ts.tv_sec = now.tv_sec;
		shared->ts.tv_usec = now.tv_nsec / NSEC_PER_USEC;
	}
}

/* True while buffers are parked. */
static bool parked(struct pst_ring *ring)
{
	return READ_ONCE(ring->pool.head) != READ_ONCE(ring->pool.tail);
}

/* Looks after some of the parked buffers. */
static void reap(struct pst_ring *ring)
{
	if (likely(!parked(ring)))
		return;
	spin_lock_bh(&ring->lock);
	pst_pool_reap(&ring->pool, 256);
	spin_unlock_bh(&ring->lock);
}

/*
 * The same for housekeeping; @all that are parked now, if nobody syncs the ring: a server that was
 * killed leaves thousands.  True if there still are any.
 */
bool pst_ring_reap(struct pst_ring *ring, bool all)
{
	u32 end = READ_ONCE(ring->pool.tail);

	do {
		reap(ring);
		cond_resched();
	} while (all && (s32)(end - READ_ONCE(ring->pool.head)) > 0);
	return parked(ring);
}

/* Everything a ring does about input, whoever asks for it. */
static void run_input(struct pst_ring *ring, bool busy_poll)
{
	reap(ring);
	pst_stack_resume(ring);
	pst_udp_pull(ring);
	pst_nic_poll(ring, busy_poll);
}

/* The application may have been turned away meanwhile: have it come again. */
static void leave_and_recall(struct pst_ring *ring)
{
	pst_kring_leave(&ring->rx);
	smp_mb__after_atomic();	/* leaving before looking; pairs with enter_or_note() */
	if (READ_ONCE(ring->missed)) {
		WRITE_ONCE(ring->missed, false);
		pst_ring_wake(ring);
	}
}

/*
 * A sync that finds the ring taken leaves a note for housekeeping, and tries once more in
 * case that was too late.  (A second thread of the application is its own business.)
 */
static bool enter_or_note(struct pst_ring *ring)
{
	if (likely(pst_kring_enter(&ring->rx)))
		return true;
	WRITE_ONCE(ring->missed, true);
	smp_mb();	/* noting before trying again; pairs with leave_and_recall() */
	return pst_kring_enter(&ring->rx);
}

/* 0, or -EINVAL for illegal head or cur.  Skipped when another thread is in it. */
int pst_ring_rxsync(struct pst_ring *ring, bool busy_poll)
{
	struct pst_kring *k = &ring->rx;
	u32 head;
	int err;

	if (!enter_or_note(ring))
		return 0;
	ring->c.rx_syncs++;
	err = take_head(ring, k, &head);
	if (likely(!err)) {
		WRITE_ONCE(ring->owner, current);
		release_slots(ring, head);
		run_input(ring, busy_poll);
		publish(ring);
		stamp(ring);
		ring->synced = jiffies;
	}
	pst_kring_leave(k);
	return err;
}

/*
 * 0, or -EINVAL for illegal head or cur.  When another thread is in it, or a NIC comes or goes,
 * it is skipped; with @wait it waits its turn: -EINTR when the caller is being killed.
 */
int pst_ring_txsync(struct pst_ring *ring, bool wait)
{
	struct pst_kring *k = &ring->tx;
	u32 head;
	int err;

	if (unlikely(!pst_kring_enter(k))) {
		if (!wait)
			return 0;
		err = wait_on_bit_lock(&k->busy, 0, TASK_KILLABLE);
		if (err)
			return err;
	}
	ring->c.tx_syncs++;
	err = take_head(ring, k, &head);
	if (likely(!err)) {
		k->head = head;
		pst_stack_send(ring);
		/* One slot stays with the kernel: a full ring is not an empty one. */
		publish_tail(k, k->sent ? k->sent - 1 : k->n - 1);
	}
	pst_kring_leave(k);
	return err;
}

static bool owes(struct pst_ring *ring)
{
	return !list_empty(&ring->waiting) || !list_empty(&ring->writable) ||
	       !list_empty(&ring->arrived) ||
	       READ_ONCE(ring->tx.sent) != READ_ONCE(ring->tx.head);
}

/* Is there something a sync would do?  A guess: frames count if nobody polls now. */
bool pst_ring_due(struct pst_ring *ring)
{
	bool due = owes(ring) || low_untold(ring);

	if (!due && pst_kring_enter(&ring->rx)) {
		due = pst_nic_due(ring);
		leave_and_recall(ring);
	}
	return due;
}

/*
 * The application did not sync for a while: do its part, but for publishing.  False
 * if there is nothing to do, or if it is in a sync right now.
 */
bool pst_ring_takeover(struct pst_ring *ring)
{
	bool due;

	if (!pst_kring_enter(&ring->rx))
		return false;
	due = owes(ring) || pst_nic_due(ring);
	if (due) {
		ring->c.stalls++;
		pst_txq_push_all(ring);
		run_input(ring, false);
	}
	leave_and_recall(ring);
	if (due)
		pst_ring_wake(ring);
	return due;
}

/* There may be something to sync for. */
void pst_ring_wake(struct pst_ring *ring)
{
	if (!wq_has_sleeper(&ring->wait))
		return;
	ring->c.rx_wakeups++;
	wake_up_interruptible_poll(&ring->wait, EPOLLIN | EPOLLRDNORM |
						EPOLLOUT | EPOLLWRNORM);
}

/* Slot @i, put in this sync, is longer than it was said to be. */
void pst_ring_amend(struct pst_ring *ring, u32 i, u16 len, u16 flags)
{
	struct netmap_slot *slot = &ring->rx.ring->slot[i];

	spin_lock_bh(&ring->lock);
	slot->len = len;
	slot->flags |= flags;
	spin_unlock_bh(&ring->lock);
}

/* Slot @i with @buf, put in this sync, is nothing after all. */
void pst_ring_take_back(struct pst_ring *ring, u32 i, u32 buf)
{
	struct pst_kring *k = &ring->rx;

	spin_lock_bh(&ring->lock);
	if (likely(k->fill == pst_kring_next(k, i))) {
		pst_buf_give_back(&ring->pool, buf);
		k->ring->slot[i].buf_idx = PST_BUF_NONE;
		k->fill = i;
	} else {
		ring->rx_sock[i] = NULL;	/* publish() withdraws it */
	}
	spin_unlock_bh(&ring->lock);
}

void pst_ring_put_event(struct pst_ring *ring, struct pst_sock *ps, u16 flags, int err)
{
	u32 i = ring->rx.fill;

	pst_ring_put(ring, ps, PST_BUF_NONE, 0, 0, NS_PST_EVENT | flags);
	ring->rx.ring->slot[i].err = err;
	ring->c.rx_events++;
}

/* @ps goes away: its unpublished slots are withdrawn by the next publish(). */
void pst_ring_forget(struct pst_ring *ring, struct pst_sock *ps)
{
	struct pst_kring *k = &ring->rx;
	u32 i;

	lockdep_assert_held(&ring->lock);
	for (i = k->tail; i != k->fill; i = pst_kring_next(k, i))
		if (ring->rx_sock[i] == ps)
			ring->rx_sock[i] = NULL;
}
