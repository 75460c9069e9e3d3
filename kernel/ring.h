/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's view of a pair of rings. */
#ifndef PST_RING_H
#define PST_RING_H

#include <linux/cache.h>
#include <linux/list.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/wait_bit.h>
#include <net/netmap_paste.h>
#include "buf.h"

struct pst_port;
struct pst_sock;
struct pst_nicq;

/*
 * One direction.  Nothing here is readable by the application, and nothing in
 * the shared ring is believed.
 *
 *          head          tail          fill                 (RX)
 *      ----+-------------+-------------+----------------
 *   empty  | application | not shown   |  empty
 *      ----+-------------+-------------+----------------
 *
 *          sent          head          tail                 (TX)
 *      ----+-------------+-------------+----------------
 *   appl.  | held back   | application |  one slot never used
 *      ----+-------------+-------------+----------------
 */
struct pst_kring {
	struct netmap_ring *ring;
	u32 n;			/* slots */
	u32 head;		/* last legal head of the application */
	u32 tail;		/* as published */
	u32 fill;		/* RX: next slot the upcall writes */
	u32 sent;		/* TX: first slot not dealt with */
	unsigned long busy;	/* bit 0: a sync is running */
	u32 users;		/* descriptors bound to it, under port->mutex */
	bool exclusive;		/* one, that wants to stay alone */
};

struct pst_ring {
	struct pst_port *port;
	u16 id;
	u16 event_slots;		/* of the RX ring, kept for events */

	wait_queue_head_t wait;		/* poll()ers of either direction */
	struct task_struct *owner;	/* in a sync that has not published yet */

	/*
	 * lock: the unpublished part of the RX ring, the pool, the lists.
	 * Taken with bottom halves off, inside socket locks; nothing but the
	 * region's free list is locked inside it.
	 */
	spinlock_t lock;
	struct pst_pool pool;
	struct list_head waiting;	/* sockets with undelivered data */
	struct list_head arrived;	/* UDP sockets to be looked at */
	struct list_head writable;	/* sockets whose queue may move on */
	struct list_head acceptable;	/* listeners somebody has connected to */
	struct list_head closing;	/* sockets whose descriptor is to be closed */

	struct pst_kring rx;
	struct pst_sock **rx_sock;	/* [rx.n] whose data an unpublished slot has */
	u32 *tx_buf;			/* [tx.n] the own buffer of the slot */
	struct pst_sock **tx_sock;	/* [tx.n] counted; whose slot is held back */
	struct pst_kring tx;

	struct list_head nicqs;		/* NIC queues this ring serves */
	bool missed;			/* a sync came while the ring was taken */
	bool low_told;			/* the application knows that buffers are low */
	unsigned long synced;		/* jiffies of the last sync */
	unsigned long nudged;		/* @synced when housekeeping last looked */

	struct pst_ring_counters c;
} ____cacheline_aligned_in_smp;	/* neighbours are other threads' */

/* Rings of one port, [first, end). */
struct pst_rings {
	struct pst_ring *first, *end;
};

int pst_ring_init(struct pst_ring *ring, struct pst_port *port, u16 id);
void pst_ring_destroy(struct pst_ring *ring);
int pst_ring_start(struct pst_ring *ring);
void pst_ring_clear(struct pst_ring *ring, bool keep_buffers);

int pst_ring_rxsync(struct pst_ring *ring, bool busy_poll);
int pst_ring_txsync(struct pst_ring *ring, bool wait);
bool pst_ring_takeover(struct pst_ring *ring);
bool pst_ring_reap(struct pst_ring *ring, bool all);
bool pst_ring_due(struct pst_ring *ring);

void pst_ring_amend(struct pst_ring *ring, u32 i, u16 len, u16 flags);
void pst_ring_take_back(struct pst_ring *ring, u32 i, u32 buf);
void pst_ring_put_event(struct pst_ring *ring, struct pst_sock *ps, u16 flags, int err);
void pst_ring_forget(struct pst_ring *ring, struct pst_sock *ps);
void pst_ring_wake(struct pst_ring *ring);

/* Slots an event may still be written to; one is always left empty. */
static inline u32 pst_ring_event_room(const struct pst_ring *ring)
{
	const struct pst_kring *k = &ring->rx;

	return k->head > k->fill ? k->head - k->fill - 1
				 : k->n - 1 - (k->fill - k->head);
}

/*
 * The same for data.  The last slots are for events: an application that cannot answer
 * and therefore releases nothing has to learn when it can.
 */
static inline u32 pst_ring_room(const struct pst_ring *ring)
{
	u32 room = pst_ring_event_room(ring);

	return room > ring->event_slots ? room - ring->event_slots : 0;
}

/* A slot was put.  The thread that is going to publish it in this very sync knows. */
static inline void pst_ring_wake_for_slot(struct pst_ring *ring)
{
	if (READ_ONCE(ring->owner) != current)
		pst_ring_wake(ring);
}

/* Descriptors to be made or closed by the application's next sync. */
static inline bool pst_ring_has_errands(const struct pst_ring *ring)
{
	return unlikely(!list_empty(&ring->acceptable) || !list_empty(&ring->closing));
}

static inline u32 pst_kring_next(const struct pst_kring *k, u32 i)
{
	return likely(i + 1 < k->n) ? i + 1 : 0;
}

/* Slots from @from up to, not including, @to. */
static inline u32 pst_kring_span(const struct pst_kring *k, u32 from, u32 to)
{
	return to >= from ? to - from : to + k->n - from;
}

static inline bool pst_kring_enter(struct pst_kring *k)
{
	return !test_and_set_bit_lock(0, &k->busy);
}

/* Wakes pst_port_quiesce(), which waits for the bit. */
static inline void pst_kring_leave(struct pst_kring *k)
{
	clear_and_wake_up_bit(0, &k->busy);
}

/* poll(): is there a slot beyond the application's cur? */
static inline bool pst_kring_ready(const struct pst_kring *k)
{
	return READ_ONCE(k->ring->cur) != READ_ONCE(k->tail);
}

#endif /* PST_RING_H */
