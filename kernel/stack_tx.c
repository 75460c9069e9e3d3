// SPDX-License-Identifier: GPL-2.0
/*
 * From ring slots into sockets.
 *
 *   pst_stack_send                      a TX sync, process context
 *     send_small                        a few bytes that TCP copies at once: done
 *     all other slots in chunks:
 *       pst_tx_open_chunk               copy the slots, then check the copies (tx_check.c)
 *       send_run                        consecutive slots of one socket, locked
 *         pst_txq_send                  TCP takes page references, no bytes
 *       send_copy                       one slot, whose bytes TCP copies
 *       control                         pause or resume delivery
 *       send_other                      sockets that are not TCP (struct pst_proto)
 *       finish_slot                     a buffer for the slot, or the refusal
 *   pst_txq_push_all                    queues of sockets that were full; again when a held
 *                                       slot has gone, for that may end its socket's congestion
 *
 * What follows in the next slot of the same socket leaves with it: slots that go by reference
 * are one call, else TCP is told that there is more.  So an answer's head and its body in a slot
 * behind it are one segment.
 *
 * A slot ends in one of these ways:
 *   sent      its buffer is SENT until acknowledged, the slot has a fresh one
 *   copied    up to TX_COPYBREAK bytes: holding a page until the peer acknowledges
 *             costs more than copying, unless they are before a larger slot of the
 *             same socket; and anything while buffers are low, so that
 *             peers that do not acknowledge cannot stop the others, or where memory is
 *             of a kind that allows nothing else.  The slot keeps its buffer
 *   queued    the socket is full: what is left of the slot moves to the socket's
 *             queue (txq.c), the slot has a fresh buffer, and an event tells that the
 *             socket is congested, another when it is not any more
 *   held      that queue is full as well: the slot stays in the ring, others pass
 *             it.  Held slots move up to the end of the handed-in part, in order
 *   refused   the slot comes back as it was, with NS_PST_REFUSED and an errno
 *   dropped   it closes a connection that has failed already: only its data is lost
 *
 * All packets that leave meanwhile are collected and handed to the NIC together
 * (batch.c).
 */
#include <linux/uio.h>
#include <net/tcp.h>

#include "compat.h"
#include "port.h"
#include "tx.h"

/* The buffer was not sent: it is the application's again, as before. */
static void disown(struct pst_bufs *bufs, const struct pst_txq_entry *e)
{
	if (e->buf == PST_BUF_NONE)
		return;
	if (e->keep)
		put_page(bufs->page[e->buf]);
	else
		pst_buf_unclaim(bufs, e->buf);
}

/* TCP has taken its own reference: what is sent is parked until that goes. */
static void release_sent(struct pst_ring *ring, const struct pst_txq_entry *e)
{
	if (e->buf == PST_BUF_NONE)
		return;
	put_page(ring->pool.bufs->page[e->buf]);
	if (!e->keep)
		pst_buf_park(&ring->pool, e->buf);
}

/* Later slots of this socket may not overtake it in this sync, though room may come. */
static void hold(struct pst_ring *ring, struct tx_slot *t)
{
	t->ps->held_in = ring->c.tx_syncs;
	t->fate = FATE_HELD;
	pst_tx_keep_held(t);
	set_bit(PST_SOCK_CONGESTED, &t->ps->flags);
	if (t->e.close)
		pst_txq_close_held(t->ps);
	ring->c.tx_held++;
}

/*
 * Something waits for write space.  TCP may have announced that already: when it has no
 * memory and nothing in flight it does so at once, and no other call will follow.
 */
static void await_space(struct pst_sock *ps)
{
	if (!pst_sock_dead(ps) && !test_bit(SOCK_NOSPACE, &ps->sk->sk_socket->flags))
		pst_sock_writable(ps);
}

/* Socket full: queue @t, or hold it back in the ring.  Socket locked. */
static void queue_or_hold(struct pst_ring *ring, struct tx_slot *t)
{
	struct pst_sock *ps = t->ps;

	if (ps->held_in != ring->c.tx_syncs && pst_txq_add(ps, &t->e)) {
		t->fate = FATE_QUEUED;
		ring->c.tx_queued++;
		return;
	}
	disown(ring->pool.bufs, &t->e);
	hold(ring, t);
}

/* May TCP have it at once, or is there something before it? */
static bool goes_first(const struct pst_ring *ring, const struct pst_sock *ps)
{
	return !pst_txq_len(ps) && ps->held_in != ring->c.tx_syncs;
}

/* All of it is TCP's: nothing more comes or goes.  Socket locked. */
static void begin_close(struct pst_sock *ps)
{
	set_bit(PST_SOCK_CLOSING, &ps->flags);
	pst_sock_close(ps);
}

/* The connection has failed; who wants to close it does not care. */
static void refuse_or_close(struct tx_slot *t, int err)
{
	if (!t->e.close)
		return pst_tx_refuse(t, err);
	t->fate = FATE_DROPPED;
	begin_close(t->ps);
}

/* What the send returned, for @n slots that own their buffers. */
static void conclude(struct pst_ring *ring, struct tx_slot *t, u32 n, int sent)
{
	bool full = sent == -EAGAIN;
	u32 i;

	for (i = 0; i < n; i++) {
		int len = t[i].e.len - t[i].e.offset;

		if (unlikely(sent < 0 && !full)) {
			ring->c.tx_failed++;
			disown(ring->pool.bufs, &t[i].e);
			refuse_or_close(&t[i], sent);
		} else if (likely(!full && sent >= len)) {
			sent -= len;
			if (unlikely(t[i].e.close))
				begin_close(t[i].ps);
		} else {
			if (!full)
				t[i].e.offset += sent;
			full = true;
			queue_or_hold(ring, &t[i]);
		}
	}
	if (unlikely(full))
		await_space(t->ps);
}

/* Somebody may keep the socket locked for long: then what was collected goes first. */
static void lock_for_send(struct pst_batch *batch, struct sock *sk)
{
	if (unlikely(sock_owned_by_user_nocheck(sk)))
		pst_batch_flush(batch);
	lock_sock(sk);
}

/* The same of slots that have been checked, for the one before @t. */
static bool goes_on_in(const struct tx_chunk *c, const struct tx_slot *t,
		       const struct pst_sock *ps)
{
	return t < c->t + c->n && t->ps == ps && t->e.buf != PST_BUF_NONE &&
	       (t->fate == FATE_COPY || t->fate == FATE_SEND);
}

/* @n slots of one socket; only the last may shut. */
static void send_run(struct tx_chunk *c, struct tx_slot *t, u32 n)
{
	struct pst_ring *ring = c->ring;
	struct pst_txq_entry *e[PST_TX_CHUNK] __uninitialized;
	struct pst_sock *ps = t->ps;
	int sent = -EAGAIN;
	u32 i;

	for (i = 0; i < n; i++)
		e[i] = &t[i].e;
	lock_for_send(c->batch, ps->sk);
	if (unlikely(pst_sock_dead(ps)))
		sent = -EPIPE;
	else if (likely(goes_first(ring, ps)))
		sent = pst_txq_send(ps, e, n, goes_on_in(c, t + n, ps));
	if (unlikely(sent < 0 && sent != -EAGAIN))
		pst_sock_failed(ps, sent);
	conclude(ring, t, n, sent);
	pst_sock_tell(ps);
	release_sock(ps->sk);
}

/* What TCP did not copy needs its buffer after all, and the slot a fresh one. */
static void keep_rest(struct tx_chunk *c, struct tx_slot *t)
{
	struct pst_pool *pool = &c->ring->pool;
	int err;

	if (!c->copy_all && c->need == c->nfresh && c->nfresh < PST_TX_CHUNK) {
		spin_lock_bh(&c->ring->lock);
		c->nfresh += pst_buf_take_many(pool, c->fresh + c->nfresh, 1);
		spin_unlock_bh(&c->ring->lock);
	}
	if (c->copy_all || c->need == c->nfresh)
		return hold(c->ring, t);
	err = pst_tx_own(c->ring->pool.bufs, &t->e);
	if (unlikely(err))	/* another thread was faster */
		return pst_tx_refuse_buffer(c->ring, t, err);
	c->need++;
	queue_or_hold(c->ring, t);
}

/*
 * Has TCP copy bytes @offset to @len of @buf; how many it took, or an error if none: as
 * tcp_sendmsg(), and -EAGAIN when something goes before them.  @more: they are not to leave
 * before what follows, data or a FIN.  Socket locked.
 */
static __always_inline int copy_to_tcp(struct pst_ring *ring, struct pst_sock *ps, u32 buf,
				       u32 offset, u32 len, bool more)
{
	struct msghdr msg = {
		.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0),
	};
	struct kvec kv = {
		.iov_base = pst_buf_addr(ring->pool.bufs, buf) + offset,
		.iov_len = len - offset,
	};
	int sent = -EAGAIN;

	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, &kv, 1, kv.iov_len);
	if (unlikely(pst_sock_dead(ps))) {
		sent = -EPIPE;
	} else if (likely(goes_first(ring, ps))) {
		sent = tcp_sendmsg_locked(ps->sk, &msg, kv.iov_len);
		if (unlikely(pst_tcp_passing(ps->sk, sent)))
			sent = tcp_sendmsg_locked(ps->sk, &msg, kv.iov_len);
	}
	if (likely(sent > 0)) {
		ring->c.tx_bytes += sent;
		ring->c.tx_copied += sent;
	} else if (unlikely(sent != -EAGAIN)) {
		ring->c.tx_failed++;
		pst_sock_failed(ps, sent);
	}
	return sent;
}

static void send_copy(struct tx_chunk *c, struct tx_slot *t)
{
	struct pst_sock *ps = t->ps;
	int sent;

	lock_for_send(c->batch, ps->sk);
	sent = copy_to_tcp(c->ring, ps, t->e.buf, t->e.offset, t->e.len,
			   t->e.shut || goes_on_in(c, t + 1, ps));
	if (likely(sent > 0))
		t->e.offset += sent;
	if (unlikely(sent < 0 && sent != -EAGAIN)) {
		refuse_or_close(t, sent);
	} else if (unlikely(t->e.offset != t->e.len)) {
		keep_rest(c, t);
		await_space(ps);
	} else if (unlikely(t->e.shut)) {
		pst_txq_shut(ps->sk);
		if (t->e.close)
			begin_close(ps);
	}
	pst_sock_tell(ps);
	release_sock(ps->sk);
}

static void control(struct tx_slot *t)
{
	struct pst_sock *ps = t->ps;

	pst_sock_lock(ps);
	if (t->pause) {
		set_bit(PST_SOCK_PAUSED, &ps->flags);
	} else if (!test_bit(PST_SOCK_GONE, &ps->flags)) {
		clear_bit(PST_SOCK_PAUSED, &ps->flags);
		if (ps->proto)
			pst_sock_ready(ps);
		else
			pst_sock_drain(ps);
	}
	pst_sock_unlock(ps);
}

/* Slots of one socket from @t on, at most @max; @whole: those that are whole datagrams. */
static u32 gather_other(struct tx_slot *t, u32 max, struct pst_txq_entry *e[], u32 *whole)
{
	u32 n = 0;

	*whole = 0;
	do {
		e[n] = &t[n].e;
		if (!t[n++].e.cont)
			*whole = n;
	} while (n < max && t[n].fate == FATE_OTHER && t[n].ps == t->ps && !t[n - 1].e.close);
	return n;
}

static void sent_other(struct tx_slot *t)
{
	t->fate = t->e.copy ? FATE_COPY : FATE_SEND;
	t->ps->passed++;
	if (t->e.close)
		begin_close(t->ps);
}

/* Socket full.  A datagram of several slots is never torn: it is held back as it is. */
static void wait_other(struct tx_chunk *c, struct tx_slot *t)
{
	if (t->part)
		hold(c->ring, t);
	else if (t->e.copy && t->e.buf != PST_BUF_NONE)
		keep_rest(c, t);
	else
		queue_or_hold(c->ring, t);
}

static void fail_other(struct tx_chunk *c, struct tx_slot *t, int err)
{
	c->ring->c.tx_failed++;
	if (!t->e.copy)
		disown(c->ring->pool.bufs, &t->e);
	if (pst_one_message(t->ps, err))
		return pst_tx_refuse(t, err);
	pst_sock_failed(t->ps, err);
	refuse_or_close(t, err);
}

/* Slots of a socket that is not TCP; how many of @max were dealt with. */
static u32 send_other(struct tx_chunk *c, struct tx_slot *t, u32 max)
{
	struct pst_txq_entry *e[PST_TX_CHUNK] __uninitialized;
	struct pst_sock *ps = t->ps;
	u32 i = 0, n, whole;
	bool full = false;

	n = gather_other(t, max, e, &whole);
	pst_sock_lock(ps);
	while (i < whole) {
		int err = 0;
		u32 done = 0;

		if (pst_sock_dead(ps))
			err = -EPIPE;
		else if (!goes_first(c->ring, ps))
			err = -EAGAIN;
		else
			done = ps->proto->send(ps, e + i, whole - i, &err);
		while (done--)
			sent_other(&t[i++]);
		if (err == -EAGAIN) {
			full = true;
			while (i < whole)
				wait_other(c, &t[i++]);
		} else if (err) {
			/* One message, but all of a stream. */
			do {
				fail_other(c, &t[i++], err);
			} while (i < whole && (!pst_one_message(ps, err) || t[i - 1].e.cont));
		}
	}
	for (; i < n; i++) {	/* the end of it is missing */
		c->ring->c.bad_flags++;
		pst_tx_refuse(&t[i], -EINVAL);
	}
	/* Not every protocol says when there is space; and when all went, congestion is over. */
	if (test_bit(PST_SOCK_CONGESTED, &ps->flags) && (!full || pst_txq_len(ps)))
		pst_sock_retry(ps);
	pst_sock_tell(ps);
	pst_sock_unlock(ps);
	return n;
}

static void send_chunk(struct tx_chunk *c)
{
	struct tx_slot *t, *end = c->t + c->n;
	u32 n;

	for (t = c->t; t < end; t += n) {
		n = 1;
		if (t->fate == FATE_COPY) {
			send_copy(c, t);
		} else if (unlikely(t->fate == FATE_OTHER)) {
			n = send_other(c, t, end - t);
		} else if (t->fate == FATE_CONTROL) {
			control(t);
		} else if (t->fate == FATE_SEND) {
			while (t + n < end && t[n].fate == FATE_SEND &&
			       t[n].ps == t->ps && !t[n - 1].e.shut)
				n++;
			send_run(c, t, n);
		}
	}
}

/* A buffer for a slot: one that was taken for it, see own_for(), or any but the NIC's reserve. */
static u32 fresh_buf(struct tx_chunk *c, bool taken)
{
	struct pst_pool *pool = &c->ring->pool;
	u32 buf;

	if (WARN_ON_ONCE(taken && !c->nfresh))
		taken = false;
	if (taken)
		buf = c->fresh[--c->nfresh];
	else
		buf = pst_pool_reserved(pool) ? PST_BUF_NONE : pst_buf_take(pool);
	if (buf != PST_BUF_NONE)
		pst_buf_show(c->ring->pool.bufs, buf);
	return buf;
}

/* What was only cited gives way to the slot's own buffer, if that is still there. */
static bool put_own_back(struct pst_ring *ring, u32 i)
{
	if (pst_buf_owned(ring->pool.bufs, ring->tx_buf[i]))
		return false;
	ring->tx.ring->slot[i].buf_idx = ring->tx_buf[i];
	return true;
}

/* The slot is done: its own buffer goes back into it, or a fresh one. */
static void renew_slot(struct tx_chunk *c, u32 i, const struct tx_slot *t)
{
	struct pst_ring *ring = c->ring;
	struct netmap_slot *slot = &ring->tx.ring->slot[i];
	u32 buf;

	ring->c.tx_slots++;
	slot->flags = 0;
	if (t->e.buf == PST_BUF_NONE) {	/* it needed no buffer, but has one */
		if (t->e.keep)
			put_own_back(ring, i);
		else
			ring->tx_buf[i] = READ_ONCE(slot->buf_idx);
		return;
	}
	if ((t->fate == FATE_COPY || t->fate == FATE_DROPPED) && !t->e.keep) {
		ring->tx_buf[i] = t->e.buf;	/* not used up: now the slot's own */
		return;
	}
	slot->len = PST_BUF_SIZE;
	slot->flags = NS_BUF_CHANGED;
	if (t->e.keep) {
		ring->c.tx_lent++;
		if (put_own_back(ring, i))
			return;
	}
	buf = fresh_buf(c, !t->e.keep);
	if (buf == PST_BUF_NONE)
		return;		/* cited while its own is elsewhere: stays */
	ring->tx_buf[i] = buf;
	slot->buf_idx = buf;
}

/* What the application finds in the slot afterwards. */
static void finish_slot(struct tx_chunk *c, u32 i, struct tx_slot *t)
{
	struct pst_ring *ring = c->ring;
	struct netmap_slot *slot = &ring->tx.ring->slot[i];

	switch (t->fate) {
	case FATE_NOTHING:
		if (!t->e.keep)
			ring->tx_buf[i] = t->e.buf;	/* whatever it is, put_own_back() looks */
		break;
	case FATE_LATER:
	case FATE_HELD:
		slot->offset = t->e.offset;
		pst_tx_keep_held(t);
		ring->tx_sock[i] = t->ps;	/* with its reference */
		t->ps = NULL;
		break;
	case FATE_REFUSED:
		slot->flags |= NS_PST_REFUSED;
		slot->err = t->err;
		if (t->e.keep)
			put_own_back(ring, i);
		else if (t->e.buf != PST_BUF_NONE)
			ring->tx_buf[i] = t->e.buf;
		break;
	case FATE_SEND:
		release_sent(c->ring, &t->e);
		fallthrough;
	default:
		renew_slot(c, i, t);
	}
}

/*
 * Slot @i is dealt with: it belongs before the held ones, which keep their order.
 */
static void pass_held(struct pst_ring *ring, u32 i)
{
	struct pst_kring *k = &ring->tx;
	struct netmap_slot *slot = k->ring->slot;
	struct netmap_slot s = slot[i];
	u32 buf = ring->tx_buf[i];

	while (i != k->sent) {
		u32 prev = i ? i - 1 : k->n - 1;

		slot[i] = slot[prev];
		ring->tx_buf[i] = ring->tx_buf[prev];
		ring->tx_sock[i] = ring->tx_sock[prev];
		i = prev;
	}
	slot[i] = s;
	ring->tx_buf[i] = buf;
	ring->tx_sock[i] = NULL;
	k->sent = pst_kring_next(k, k->sent);
}

/* Returns the first slot the chunk has not dealt with. */
static u32 close_chunk(struct tx_chunk *c, u32 i)
{
	struct pst_ring *ring = c->ring;
	struct pst_kring *k = &ring->tx;
	struct tx_slot *t, *end = c->t + c->n;

	spin_lock_bh(&ring->lock);
	for (t = c->t; t < end; t++, i = pst_kring_next(k, i)) {
		finish_slot(c, i, t);
		if (t->fate == FATE_LATER)
			break;
		if (t->fate == FATE_HELD)
			continue;
		if (likely(k->sent == i))
			k->sent = pst_kring_next(k, i);
		else
			pass_held(ring, i);
	}
	pst_buf_untake_many(&ring->pool, c->fresh, c->nfresh);
	spin_unlock_bh(&ring->lock);
	for (t = c->t; t < end; t++) {
		if (!t->ps)
			continue;
		if (unlikely(t->held)) {
			pst_sock_unhold(t->ps);
			c->unheld = true;
		}
		pst_sock_put(t->ps);
	}
	return i;
}

/*
 * The common answer: a few bytes, nothing before them that waits, a socket that takes them
 * all.  Such a slot needs no other buffer and no chunk.  False: slot @i, or what is left of
 * it, is for a chunk to deal with.
 */
static bool send_small(struct pst_ring *ring, struct pst_batch *batch, u32 i)
{
	struct netmap_slot *slot = &ring->tx.ring->slot[i];
	struct netmap_slot s;
	struct pst_sock *ps;
	int sent = -EAGAIN;
	u32 behind;

	pst_tx_read(&s, slot);
	behind = pst_tx_bytes_behind(ring, i, s.fd);
	if (s.flags || s.len <= s.offset || s.len - s.offset > TX_COPYBREAK ||
	    behind > TX_COPYBREAK || s.len > PST_BUF_SIZE || ring->tx_sock[i] ||
	    pst_buf_owned(ring->pool.bufs, s.buf_idx))
		return false;
	ps = pst_stack_find(ring->port, s.fd);
	if (unlikely(!ps))
		return false;
	if (unlikely(ps->proto)) {
		pst_sock_put(ps);
		return false;
	}
	lock_for_send(batch, ps->sk);
	if (likely(!pst_sock_dead(ps) && !test_bit(PST_SOCK_CLOSING, &ps->flags)))
		sent = copy_to_tcp(ring, ps, s.buf_idx, s.offset, s.len, behind);
	pst_sock_tell(ps);
	release_sock(ps->sk);
	pst_sock_put(ps);

	if (unlikely(sent == -EAGAIN))
		return false;
	ring->tx_buf[i] = s.buf_idx;
	if (unlikely(sent < 0)) {
		slot->flags = NS_PST_REFUSED;
		slot->err = -sent;
		return true;
	}
	if (unlikely(sent < s.len - s.offset)) {
		slot->offset = s.offset + sent;
		return false;
	}
	ring->c.tx_slots++;
	return true;
}

/* Small answers from slot @i on; the first slot that is none, or has to be held back. */
static u32 send_smalls(struct pst_ring *ring, struct pst_batch *batch, u32 i)
{
	struct pst_kring *k = &ring->tx;

	while (i != k->head && i == k->sent && send_small(ring, batch, i)) {
		i = pst_kring_next(k, i);
		k->sent = i;
	}
	return i;
}

/* Everything the application has handed in and what full sockets still owe. */
void pst_stack_send(struct pst_ring *ring)
{
	struct pst_kring *k = &ring->tx;
	struct tx_chunk c __uninitialized;	/* 2 KiB, of little use to most syncs */
	struct pst_batch batch;
	u32 i = k->sent, from;
	u64 before = ring->c.tx_slots;

	if (i == k->head && list_empty(&ring->writable))
		return;
	pst_batch_begin(&batch, ring);
	pst_txq_push_all(ring);
	c.ring = ring;
	c.batch = &batch;
	c.open_next = NULL;
	c.n = 0;
	c.unheld = false;
	do {
		from = i;
		i = send_smalls(ring, &batch, i);
		if (i == k->head)
			break;
		pst_tx_open_chunk(&c, i);
		send_chunk(&c);
		i = close_chunk(&c, i);
	} while (i != k->head && i != from);
	if (unlikely(c.unheld && !list_empty(&ring->writable))) {
		pst_batch_flush(&batch);	/* as lock_for_send() */
		pst_txq_push_all(ring);
	}
	pst_batch_end(&batch);

	if (ring->c.tx_slots != before) {
		ring->c.tx_batches++;
		ring->c.tx_batch_max = max(ring->c.tx_batch_max, ring->c.tx_slots - before);
	}
	if (k->sent != k->head)
		pst_port_attend(ring->port);
}
