// SPDX-License-Identifier: GPL-2.0
/*
 * What the application put in TX slots, checked.
 *
 *   pst_tx_open_chunk             as many slots as there are fresh buffers for, up to a chunk
 *     guess_need                  how many of them will want one
 *     check_slot                  copies the slot, then checks the copy: its fate
 *       check_control             pause or resume
 *       check_other               sockets that are not TCP
 *     leave_for_next              a datagram whose end is not in the chunk
 *
 * The application can change a slot at any time.  So nothing but the copy is looked at from here
 * on, and a buffer is the kernel's, or held on to, before anything is done with it.
 */
#include "port.h"
#include "tx.h"

/* Takes the slot's buffer if there is a fresh one for it; what is cited gives way to its own. */
static int own_for(struct tx_chunk *c, struct tx_slot *t)
{
	if (unlikely(!t->e.keep && c->need == c->nfresh)) {
		t->fate = FATE_LATER;
		return 0;
	}
	c->need += !t->e.keep;
	return pst_tx_own(c->ring->pool.bufs, &t->e);
}

/* Pausing and resuming go alone. */
static void check_control(struct tx_chunk *c, struct tx_slot *t, const struct netmap_slot *s)
{
	u16 what = s->flags & (NS_PST_PAUSE | NS_PST_RESUME | NS_PST_SHUT | NS_PST_CLOSE |
			       NS_PST_KEEP | NS_PST_TO | NS_PST_CONT);

	if ((what != NS_PST_PAUSE && what != NS_PST_RESUME) || s->offset != s->len) {
		c->ring->c.bad_flags++;
		return pst_tx_refuse(t, -EINVAL);
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
	pst_tx_refuse(t, err);
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
		pst_tx_refuse_buffer(c->ring, t, err);
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
		pst_tx_refuse(t, -EINVAL);
	} else if (t->e.to && (s->offset < sizeof(struct nm_pst_addr) || goes_on)) {
		c->ring->c.bad_place++;
		pst_tx_refuse(t, -EMSGSIZE);
	} else {
		check_buffer(c, t, s);
	}
	note_open(c, t, s);
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

	pst_tx_read(&s, &ring->tx.ring->slot[i]);
	t->fate = FATE_NOTHING;
	t->e = (struct pst_txq_entry){
		.buf = s.buf_idx,
		.offset = s.offset,
		.len = s.len,
		.keep = s.flags & NS_PST_KEEP,
		.close = s.flags & NS_PST_CLOSE,
		.shut = s.flags & (NS_PST_CLOSE | NS_PST_SHUT),
	};
	t->held = *held;
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
		   (!t->e.keep && pst_tx_worth_copying(ring, i, s.len - s.offset, s.fd))) {
		t->fate = FATE_COPY;
		err = pst_buf_owned(ring->pool.bufs, s.buf_idx);
	} else {
		err = own_for(c, t);
	}
	if (unlikely(err))
		pst_tx_refuse_buffer(ring, t, err);
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
				!pst_tx_worth_copying(ring, i, len, READ_ONCE(slot->fd));
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
		pst_tx_keep_held(&c->t[--c->n]);
		ring->tx_sock[i] = c->t[c->n].ps;	/* with its reference */
	}
}

/* As many slots from @i on as there are fresh buffers for, up to a chunk. */
void pst_tx_open_chunk(struct tx_chunk *c, u32 i)
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
