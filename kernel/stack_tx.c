// SPDX-License-Identifier: GPL-2.0
/*
 * From ring slots into sockets.
 *
 *   pst_stack_send                      a TX sync, process context
 *     send_small                        a few bytes that TCP copies at once: done
 *     all other slots in chunks:
 *       check_slot                      copy the slot, then check the copy
 *       send_run                        consecutive slots of one socket, locked
 *         pst_txq_send                  TCP takes page references, no bytes
 *       send_copy                       one slot, whose bytes TCP copies
 *       control                         pause or resume delivery
 *       send_other                      sockets that are not TCP (struct pst_proto)
 *       finish_slot                     a buffer for the slot, or the refusal
 *   pst_txq_push_all                    queues of sockets that were full
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

#include "batch.h"
#include "buf_move.h"
#include "compat.h"
#include "port.h"
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
};

struct tx_chunk {
	struct pst_ring *ring;
	struct pst_batch *batch;
	u32 n;			/* slots in t[] */
	u32 nfresh;		/* buffers in fresh[] */
	u32 need;		/* of these, how many the slots in t[] may need */
	bool copy_all;		/* buffers are low, or not for TCP to refer to */
	struct tx_slot *open_next;	/* goes on with a datagram of open_fd; or NULL */
	int open_fd;
	bool open_bad;		/* and is to be refused, as what was before it */
	u32 fresh[PST_TX_CHUNK];
	struct tx_slot t[PST_TX_CHUNK];
};

static void refuse(struct tx_slot *t, int err)
{
	t->fate = FATE_REFUSED;
	t->err = -err;
}

static void refuse_buffer(struct pst_ring *ring, struct tx_slot *t, int err)
{
	if (err == -ERANGE)
		ring->c.bad_index++;
	else
		ring->c.bad_owner++;
	refuse(t, err);
}

static __always_inline void read_slot(struct netmap_slot *s, const struct netmap_slot *shared)
{
	s->buf_idx = READ_ONCE(shared->buf_idx);
	s->len = READ_ONCE(shared->len);
	s->flags = READ_ONCE(shared->flags);
	s->ptr = READ_ONCE(shared->ptr);
}

/* Makes the buffer ours, or holds on to it if it is only cited. */
static int own(struct pst_bufs *bufs, const struct pst_txq_entry *e)
{
	return e->keep ? pst_buf_cite(bufs, e->buf) : pst_buf_claim(bufs, e->buf);
}

/* The same for slot @t, if there is a fresh buffer for it; what is cited gives way to its own. */
static int own_for(struct tx_chunk *c, struct tx_slot *t)
{
	if (unlikely(!t->e.keep && c->need == c->nfresh)) {
		t->fate = FATE_LATER;
		return 0;
	}
	c->need += !t->e.keep;
	return own(c->ring->pool.bufs, &t->e);
}

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

/* Pausing and resuming go alone. */
static void check_control(struct tx_chunk *c, struct tx_slot *t, const struct netmap_slot *s)
{
	u16 what = s->flags & (NS_PST_PAUSE | NS_PST_RESUME | NS_PST_SHUT | NS_PST_CLOSE |
			       NS_PST_KEEP | NS_PST_TO | NS_PST_CONT);

	if ((what != NS_PST_PAUSE && what != NS_PST_RESUME) || s->offset != s->len) {
		c->ring->c.bad_flags++;
		return refuse(t, -EINVAL);
	}
	t->fate = FATE_CONTROL;
	t->pause = what == NS_PST_PAUSE;
	t->e.buf = PST_BUF_NONE;
}

/*
 * Datagrams in several slots: where the next slot belongs to.  One of them refused has
 * those behind it refused, or they went as a datagram of their own.
 */
static void note_open(struct tx_chunk *c, struct tx_slot *t, const struct netmap_slot *s)
{
	c->open_next = s->flags & NS_PST_CONT ? t + 1 : NULL;
	c->open_fd = s->fd;
	c->open_bad = t->fate == FATE_REFUSED;
}

/* Before it was known what socket it is. */
static void refuse_early(struct tx_chunk *c, struct tx_slot *t, const struct netmap_slot *s,
			 int err)
{
	refuse(t, err);
	note_open(c, t, s);
}

/* How a slot of a socket that is not TCP goes. */
static void check_buffer(struct tx_chunk *c, struct tx_slot *t, const struct netmap_slot *s)
{
	u32 len = s->len - s->offset;
	int err = 0;

	t->fate = FATE_OTHER;
	t->e.copy = !t->ps->proto->by_reference || c->copy_all || t->part ||
		    (len <= TX_COPYBREAK && !t->e.keep);
	if (!len && !t->e.to) {
		t->e.buf = PST_BUF_NONE;
		t->e.copy = true;
	} else if (t->e.copy) {
		err = pst_buf_owned(c->ring->pool.bufs, s->buf_idx);
	} else {
		err = own_for(c, t);
	}
	if (err)
		refuse_buffer(c->ring, t, err);
}

/* A slot of a socket that is not TCP, or with a flag that is not for TCP. */
static void check_other(struct tx_chunk *c, struct tx_slot *t, const struct netmap_slot *s)
{
	const struct pst_proto *proto = t->ps->proto;
	u16 wrong = proto && proto->datagrams ? NS_PST_SHUT : NS_PST_TO | NS_PST_CONT;
	bool goes_on = c->open_next == t && c->open_fd == s->fd;

	t->e.to = s->flags & NS_PST_TO;
	t->e.cont = s->flags & NS_PST_CONT;
	t->part = t->e.cont || goes_on;
	if (s->flags & wrong || (t->e.cont && t->e.close) || (goes_on && c->open_bad)) {
		c->ring->c.bad_flags++;
		refuse(t, -EINVAL);
	} else if (t->e.to && (s->offset < sizeof(struct nm_pst_addr) || goes_on)) {
		c->ring->c.bad_place++;
		refuse(t, -EMSGSIZE);
	} else {
		check_buffer(c, t, s);
	}
	note_open(c, t, s);
}

/*
 * Bytes of the slot after @i, if it goes on with the socket's stream.  A guess: should nothing come
 * of that slot, TCP sends by itself, a moment later, what it held back because of it.
 */
static __always_inline u32 bytes_behind(const struct pst_ring *ring, u32 i, u32 fd)
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
static __always_inline bool worth_copying(const struct pst_ring *ring, u32 i, u32 len, u32 fd)
{
	return len <= TX_COPYBREAK && bytes_behind(ring, i, fd) <= TX_COPYBREAK;
}

/*
 * Slot @i.  @held: the socket for which it was held back by an earlier sync, if it was; its
 * reference is ours from now on.  @last: that of the slot before.
 */
static void check_slot(struct tx_chunk *c, u32 i, struct tx_slot *t, struct pst_sock **held,
		       struct pst_sock *last)
{
	struct pst_ring *ring = c->ring;
	struct netmap_slot s;
	int err = 0;

	read_slot(&s, &ring->tx.ring->slot[i]);
	t->fate = FATE_NOTHING;
	t->e = (struct pst_txq_entry){
		.buf = s.buf_idx,
		.offset = s.offset,
		.len = s.len,
		.keep = s.flags & NS_PST_KEEP,
		.close = s.flags & NS_PST_CLOSE,
		.shut = s.flags & (NS_PST_CLOSE | NS_PST_SHUT),
	};
	t->ps = *held;		/* the number may be another socket's by now */
	*held = NULL;
	if (unlikely(s.flags & ~NS_PST_TX_FLAGS)) {
		ring->c.bad_flags++;
		return refuse_early(c, t, &s, -EINVAL);
	}
	if (unlikely(s.len > PST_BUF_SIZE || s.offset > s.len)) {
		ring->c.bad_place++;
		return refuse_early(c, t, &s, -EMSGSIZE);
	}
	if (unlikely(s.offset == s.len &&
		     !(s.flags & (NS_PST_SHUT | NS_PST_CLOSE | NS_PST_PAUSE | NS_PST_RESUME |
				  NS_PST_TO | NS_PST_CONT))))
		return;
	if (likely(!t->ps)) {
		if (last && last->fd == s.fd && !pst_sock_dead(last)) {
			t->ps = last;
			refcount_inc(&last->ref);
		} else {
			t->ps = pst_stack_find(ring->port, s.fd);
		}
	}
	if (unlikely(!t->ps || pst_sock_dead(t->ps) ||
		     test_bit(PST_SOCK_CLOSING, &t->ps->flags))) {
		ring->c.bad_fd++;
		return refuse_early(c, t, &s, -EBADF);
	}
	if (unlikely(s.flags & (NS_PST_PAUSE | NS_PST_RESUME)))
		return check_control(c, t, &s);
	if (unlikely(t->ps->proto || s.flags & (NS_PST_TO | NS_PST_CONT)))
		return check_other(c, t, &s);
	t->fate = FATE_SEND;
	if (unlikely(s.offset == s.len)) {	/* SHUT alone: no buffer */
		t->e.buf = PST_BUF_NONE;
	} else if (unlikely(c->copy_all) ||
		   (!t->e.keep && worth_copying(ring, i, s.len - s.offset, s.fd))) {
		t->fate = FATE_COPY;
		err = pst_buf_owned(ring->pool.bufs, s.buf_idx);
	} else {
		err = own_for(c, t);
	}
	if (unlikely(err))
		refuse_buffer(ring, t, err);
}

/* Later slots of this socket may not overtake it in this sync, though room may come. */
static void hold(struct pst_ring *ring, struct tx_slot *t)
{
	t->ps->held_in = ring->c.tx_syncs;
	t->fate = FATE_HELD;
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
		return refuse(t, err);
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

/* The connection is over: the event may have to carry the reason. */
static void note_failure(struct pst_sock *ps, int sent)
{
	if (sent != -EPIPE && !ps->err)
		ps->err = -sent;
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
		note_failure(ps, sent);
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
	err = own(c->ring->pool.bufs, &t->e);
	if (unlikely(err))	/* another thread was faster */
		return refuse_buffer(c->ring, t, err);
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
	if (unlikely(pst_sock_dead(ps)))
		sent = -EPIPE;
	else if (likely(goes_first(ring, ps)))
		sent = tcp_sendmsg_locked(ps->sk, &msg, kv.iov_len);
	if (likely(sent > 0)) {
		ring->c.tx_bytes += sent;
		ring->c.tx_copied += sent;
	} else if (unlikely(sent != -EAGAIN)) {
		ring->c.tx_failed++;
		note_failure(ps, sent);
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
	if (t->ps->proto->datagrams)
		return refuse(t, err);
	note_failure(t->ps, err);
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
			/* One datagram, but all of a stream. */
			do {
				fail_other(c, &t[i++], err);
			} while (i < whole && (!ps->proto->datagrams || t[i - 1].e.cont));
		}
	}
	for (; i < n; i++) {	/* the end of it is missing */
		c->ring->c.bad_flags++;
		refuse(&t[i], -EINVAL);
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

/* A buffer for a slot: one that was taken for it, see own_for(), or any. */
static u32 fresh_buf(struct tx_chunk *c, bool taken)
{
	u32 buf;

	if (WARN_ON_ONCE(taken && !c->nfresh))
		taken = false;
	buf = taken ? c->fresh[--c->nfresh] : pst_buf_take(&c->ring->pool);
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

/* How many of @n slots from @i on will want a fresh buffer; a guess, they may change. */
static u32 guess_need(const struct pst_ring *ring, u32 i, u32 n)
{
	u32 need = 0;

	for (; n--; i = pst_kring_next(&ring->tx, i)) {
		const struct netmap_slot *slot = &ring->tx.ring->slot[i];
		u32 len = READ_ONCE(slot->len) - READ_ONCE(slot->offset);
		u16 flags = READ_ONCE(slot->flags);

		need += flags ? !(flags & NS_PST_KEEP) :
				!worth_copying(ring, i, len, READ_ONCE(slot->fd));
	}
	return need;
}

/*
 * What the chunk, whose next slot would be @i, has of a datagram without its end waits for the
 * next one; unless it is all there is in this one, then it is too long.
 */
static void leave_for_next(struct tx_chunk *c, u32 i)
{
	struct pst_ring *ring = c->ring;
	struct tx_slot *t = c->t + c->n;

	while (t > c->t && t[-1].fate == FATE_OTHER && t[-1].e.cont && t[-1].ps == c->t[c->n - 1].ps)
		t--;
	if (t == c->t) {
		c->open_bad = true;
		return;
	}
	c->open_next = NULL;
	while (c->t + c->n > t) {
		i = i ? i - 1 : ring->tx.n - 1;
		ring->tx_sock[i] = c->t[--c->n].ps;	/* with its reference */
	}
}

/* As many slots from @i on as there are fresh buffers for, up to a chunk. */
static void open_chunk(struct tx_chunk *c, u32 i)
{
	struct pst_ring *ring = c->ring;
	struct pst_kring *k = &ring->tx;
	u32 n = min_t(u32, PST_TX_CHUNK, pst_kring_span(k, i, k->head));
	u32 want = guess_need(ring, i, n);
	struct pst_sock *last = NULL;

	c->open_next = c->open_next == c->t + c->n ? c->t : NULL;
	c->need = 0;
	c->nfresh = 0;
	c->copy_all = pst_pool_low(&ring->pool) || pst_bufs_copy_only(ring->pool.bufs);
	if (want && !c->copy_all) {
		spin_lock_bh(&ring->lock);
		c->nfresh = pst_buf_take_many(&ring->pool, c->fresh, want);
		spin_unlock_bh(&ring->lock);
		if (unlikely(c->nfresh < want))
			ring->c.tx_nobuf++;
	}
	for (c->n = 0; c->n < n; i = pst_kring_next(k, i)) {
		struct tx_slot *t = &c->t[c->n++];

		check_slot(c, i, t, &ring->tx_sock[i], last);
		last = t->ps;
		if (unlikely(t->fate == FATE_LATER))
			break;
	}
	if (unlikely(c->n && c->t[c->n - 1].fate == FATE_OTHER && i != k->head))
		leave_for_next(c, i);
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
	for (t = c->t; t < end; t++)
		if (t->ps)
			pst_sock_put(t->ps);
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

	read_slot(&s, slot);
	behind = bytes_behind(ring, i, s.fd);
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
	do {
		from = i;
		i = send_smalls(ring, &batch, i);
		if (i == k->head)
			break;
		open_chunk(&c, i);
		send_chunk(&c);
		i = close_chunk(&c, i);
	} while (i != k->head && i != from);
	pst_batch_end(&batch);

	if (ring->c.tx_slots != before) {
		ring->c.tx_batches++;
		ring->c.tx_batch_max = max(ring->c.tx_batch_max, ring->c.tx_slots - before);
	}
	if (k->sent != k->head)
		pst_port_attend(ring->port);
}
