/* SPDX-License-Identifier: GPL-2.0 */
/* TX slots on their way: what tx_check.c finds them to be, and stack_tx.c does with them. */
#ifndef PST_TX_H
#define PST_TX_H

#include "batch.h"
#include "buf_move.h"
#include "stack.h"

#define TX_COPYBREAK	256	/* bytes */

enum fate {
	FATE_NOTHING, FATE_CONTROL, FATE_SEND, FATE_COPY, FATE_QUEUED, FATE_HELD, FATE_REFUSED,
	FATE_DROPPED,
	FATE_LATER,	/* no fresh buffer for it now */
	FATE_OTHER,	/* of a socket that is not TCP, see send_other() */
};

/* A slot on its way. */
struct tx_slot {
	struct pst_sock *ps;	/* counted, or NULL */
	struct pst_txq_entry e;
	u8 fate;
	bool pause;		/* FATE_CONTROL: or resume */
	u16 err;
	bool part;		/* FATE_OTHER: of several, which go together */
	bool held;		/* one of ps->held */
};

/* Slots that are dealt with together. */
struct tx_chunk {
	struct pst_ring *ring;
	struct pst_batch *batch;
	u32 n;			/* slots in t[] */
	u32 nfresh;		/* buffers in fresh[] */
	u32 need;		/* of these, how many the slots in t[] may need */
	bool copy_all;		/* buffers are low, or not for TCP to refer to */
	bool unheld;		/* slots that were held in the ring are dealt with, of this chunk or before */
	struct tx_slot *open_next;	/* goes on with a datagram of open_fd; or NULL */
	int open_fd;
	bool open_bad;		/* and is to be refused, as what was before it */
	u32 fresh[PST_TX_CHUNK];
	struct tx_slot t[PST_TX_CHUNK];
};

static inline void pst_tx_refuse(struct tx_slot *t, int err)
{
	t->fate = FATE_REFUSED;
	t->err = -err;
}

static inline void pst_tx_refuse_buffer(struct pst_ring *ring, struct tx_slot *t, int err)
{
	if (err == -ERANGE)
		ring->c.bad_index++;
	else
		ring->c.bad_owner++;
	pst_tx_refuse(t, err);
}

/* The slot stays in the ring. */
static inline void pst_tx_keep_held(struct tx_slot *t)
{
	if (!t->held)
		atomic_inc(&t->ps->held);
	t->held = true;
}

static __always_inline void pst_tx_read(struct netmap_slot *s, const struct netmap_slot *shared)
{
	s->buf_idx = READ_ONCE(shared->buf_idx);
	s->len = READ_ONCE(shared->len);
	s->flags = READ_ONCE(shared->flags);
	s->ptr = READ_ONCE(shared->ptr);
}

/* Makes the buffer ours, or holds on to it if it is only cited. */
static inline int pst_tx_own(struct pst_bufs *bufs, const struct pst_txq_entry *e)
{
	return e->keep ? pst_buf_cite(bufs, e->buf) : pst_buf_claim(bufs, e->buf);
}

/*
 * Bytes of the slot after @i, if it goes on with the socket's stream.  A guess: should nothing come
 * of that slot, TCP sends by itself, a moment later, what it held back because of it.
 */
static __always_inline u32 pst_tx_bytes_behind(const struct pst_ring *ring, u32 i, u32 fd)
{
	const struct pst_kring *k = &ring->tx;
	u32 next = pst_kring_next(k, i);
	const struct netmap_slot *slot = &k->ring->slot[next];
	u32 len = READ_ONCE(slot->len), offset = READ_ONCE(slot->offset);

	return next != k->head && READ_ONCE(slot->fd) == fd && len > offset ? len - offset : 0;
}

/*
 * Is it worth copying @len bytes in slot @i?  Not the head of an answer whose body is in the next
 * slot: it goes with that one by one call, and a call is more than what copying saves.
 */
static __always_inline bool pst_tx_worth_copying(const struct pst_ring *ring, u32 i, u32 len,
						 u32 fd)
{
	return len <= TX_COPYBREAK && pst_tx_bytes_behind(ring, i, fd) <= TX_COPYBREAK;
}

void pst_tx_open_chunk(struct tx_chunk *c, u32 i);

#endif /* PST_TX_H */
