// SPDX-License-Identifier: GPL-2.0
/*
 * What a full socket still has to send.
 *
 *   TX slot --socket full--> queue (PST_TXQ_MAX slots) --write space--> TCP
 *
 * A socket with something queued, or held in the ring, is congested, and its application is
 * told so; the next slots of the socket go behind the queue.  Each entry holds a page reference,
 * so its buffer is in use until TCP has it.  Everything here runs with the socket
 * locked; the queue is made when it is first needed.
 *
 *   pst_txq_send      entries to TCP, by reference
 *   pst_txq_add       one entry behind the others
 *   pst_txq_push_all  what TCP takes now, of all sockets that have room
 *   on write space    the socket goes to its ring's list; the next sync pushes, or the
 *                     port's housekeeping when no sync comes
 */
#include <linux/bvec.h>
#include <linux/cred.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <net/tcp.h>

#include "compat.h"
#include "port.h"
#include "stack.h"

/* The stack has what it needs of @e: drop our reference, and the buffer if given. */
static void release_entry(struct pst_ring *ring, const struct pst_txq_entry *e)
{
	if (e->buf == PST_BUF_NONE)
		return;
	put_page(ring->pool.bufs->page[e->buf]);
	if (!e->keep)
		pst_buf_settle(&ring->pool, e->buf);
}

/* As shutdown(fd, SHUT_WR) does, at this place of the stream.  Socket locked. */
void pst_txq_shut(struct sock *sk)
{
	if (sk->sk_shutdown & SEND_SHUTDOWN)
		return;
	sk->sk_shutdown |= SEND_SHUTDOWN;
	sk->sk_prot->shutdown(sk, SEND_SHUTDOWN);
	sk->sk_state_change(sk);
}

/*
 * Sends @n entries, of which only the last may shut; the number of bytes taken, or an
 * error if none were.
 */
int pst_txq_send(struct pst_sock *ps, struct pst_txq_entry *e[], u32 n, bool more)
{
	struct pst_ring *ring = ps->ring;
	struct bio_vec bv[PST_TX_CHUNK] __uninitialized;
	bool shut = e[n - 1]->shut;
	size_t bytes = 0;
	int sent = 0;
	u32 i;

	if (e[n - 1]->buf == PST_BUF_NONE)	/* nothing but the shutdown */
		n--;
	for (i = 0; i < n; i++) {
		bvec_set_page(&bv[i], ring->pool.bufs->page[e[i]->buf],
			      e[i]->len - e[i]->offset, e[i]->offset);
		bytes += bv[i].bv_len;
	}
	if (n)
		sent = pst_send_pages(ps->sk, bv, n, bytes, shut || more);
	if (unlikely(pst_tcp_passing(ps->sk, sent)))
		sent = pst_send_pages(ps->sk, bv, n, bytes, shut || more);
	if (sent > 0) {
		ring->c.tx_bytes += sent;
		if (unlikely(!(ps->sk->sk_route_caps & NETIF_F_SG)))
			ring->c.tx_copied += sent;
	}
	if (shut && sent == bytes)
		pst_txq_shut(ps->sk);
	return sent;
}

static struct pst_txq_entry *txq_at(struct pst_txq *q, u32 i)
{
	return &q->e[i % PST_TXQ_MAX];
}

static bool is_heir(const struct pst_txq *q)
{
	return !(current->flags & PF_KTHREAD) && !pid_has_task(q->sender.tgid, PIDTYPE_TGID) &&
	       uid_eq(current_euid(), q->cred->euid) && gid_eq(current_egid(), q->cred->egid);
}

/*
 * The peer of a Unix socket may be told who sends.  So what waits is sent by the process that gave
 * it, in its own syncs, and not by housekeeping; and a queue is of one process at a time.  When
 * that has ended, another one of the same user that has the port goes on.
 */
static bool goes_as_caller(const struct pst_sock *ps)
{
	return !ps->proto || !ps->proto->as_caller || !pst_txq_len(ps) ||
	       pst_owned_by_caller(&ps->txq->sender) || is_heir(ps->txq);
}

static void forget_sender(struct pst_txq *q)
{
	pst_owner_destroy(&q->sender);
	put_cred(q->cred);
}

static void note_sender(struct pst_txq *q)
{
	forget_sender(q);
	pst_owner_init(&q->sender);
	q->cred = get_current_cred();
}

/* As long as a closed socket waits for its peer; which may never read. */
static unsigned long close_by(const struct pst_sock *ps)
{
	int other = READ_ONCE(sock_net(ps->sk)->ipv4.sysctl_tcp_fin_timeout);

	return jiffies + (ps->proto ? max(other, HZ) : tcp_fin_time(ps->sk));
}

bool pst_txq_add(struct pst_sock *ps, const struct pst_txq_entry *e)
{
	if (!ps->txq) {
		ps->txq = kzalloc(sizeof(*ps->txq), GFP_KERNEL_ACCOUNT);
		if (!ps->txq)
			return false;
	}
	if (pst_txq_len(ps) == PST_TXQ_MAX || !goes_as_caller(ps))
		return false;
	if (!pst_txq_len(ps))
		note_sender(ps->txq);
	*txq_at(ps->txq, ps->txq->tail++) = *e;
	set_bit(PST_SOCK_CONGESTED, &ps->flags);
	if (e->close) {
		ps->close_by = close_by(ps);
		set_bit(PST_SOCK_CLOSING, &ps->flags);
	}
	return true;
}

/* How far the peer has come: in the queue, and in what was copied while there is none. */
static u32 progress(const struct pst_sock *ps)
{
	if (pst_txq_len(ps))
		return ps->txq->head;
	return ps->proto ? ps->passed : tcp_sk(ps->sk)->snd_una;
}

/*
 * The slot that closes is held in the ring, as there is no room in the queue or, while everything
 * is copied, none is used.  Each time that the peer has moved on, it has as long again.  Socket
 * locked.
 */
void pst_txq_close_held(struct pst_sock *ps)
{
	u32 at = progress(ps);

	if (test_bit(PST_SOCK_CLOSE_HELD, &ps->flags) && at == ps->close_at)
		return;
	ps->close_at = at;
	ps->close_by = close_by(ps);
	set_bit(PST_SOCK_CLOSE_HELD, &ps->flags);
}

static void txq_pop(struct pst_sock *ps)
{
	release_entry(ps->ring, txq_at(ps->txq, ps->txq->head++));
}

/* The connection is over; what waits cannot be sent.  Socket locked. */
void pst_txq_drop(struct pst_sock *ps)
{
	if (!pst_txq_len(ps))
		return;
	set_bit(PST_SOCK_TORN, &ps->flags);
	spin_lock_bh(&ps->ring->lock);
	while (pst_txq_len(ps)) {
		ps->ring->c.tx_failed++;
		txq_pop(ps);
	}
	spin_unlock_bh(&ps->ring->lock);
}

/* Nobody uses the socket any more; its queue is empty. */
void pst_txq_free(struct pst_sock *ps)
{
	if (ps->txq)
		forget_sender(ps->txq);
	kfree(ps->txq);
}

/* Of the first @n entries, @sent bytes are gone. */
static void txq_advance(struct pst_sock *ps, u32 n, size_t sent)
{
	spin_lock_bh(&ps->ring->lock);
	while (n--) {
		struct pst_txq_entry *e = txq_at(ps->txq, ps->txq->head);
		u32 len = e->len - e->offset;

		if (sent < len) {
			e->offset += sent;
			break;
		}
		sent -= len;
		txq_pop(ps);
	}
	spin_unlock_bh(&ps->ring->lock);
}

/* The front of the queue, which is not empty, up to an entry that shuts; at most a chunk. */
static u32 txq_front(struct pst_sock *ps, struct pst_txq_entry *e[])
{
	u32 n = 0;

	do {
		e[n] = txq_at(ps->txq, ps->txq->head + n);
	} while (!e[n++]->shut && n < PST_TX_CHUNK && n < pst_txq_len(ps));
	return n;
}

/* The message at the front cannot be sent.  The end of the stream behind it remains. */
static void refuse_front(struct pst_sock *ps)
{
	struct pst_txq_entry *e = txq_at(ps->txq, ps->txq->head);

	ps->ring->c.tx_failed++;
	if (e->shut && !e->close) {
		release_entry(ps->ring, e);
		e->buf = PST_BUF_NONE;
	} else {
		txq_pop(ps);
	}
}

/* Its slot is long gone, so an event has to tell. */
static void tell_refused(struct pst_sock *ps, int err)
{
	if (ps->proto->datagrams)
		return pst_sock_failed(ps, err);
	ps->message_err = -err;
	pst_sock_ready(ps);
}

/* Not TCP: the same by entries, until the queue is empty (0), the socket is full (-EAGAIN) or has failed. */
static int push_pulled(struct pst_sock *ps)
{
	struct pst_txq_entry *e[PST_TX_CHUNK] __uninitialized;

	while (pst_txq_len(ps)) {
		u32 n = txq_front(ps, e), done;
		bool refused;
		int err = 0;

		done = ps->proto->send(ps, e, n, &err);
		refused = err && err != -EAGAIN && pst_one_message(ps, err);
		spin_lock_bh(&ps->ring->lock);
		while (done--)
			txq_pop(ps);
		if (refused)
			refuse_front(ps);
		spin_unlock_bh(&ps->ring->lock);
		if (refused)
			tell_refused(ps, err);
		else if (err)
			return err;
	}
	return 0;
}

/* The same for TCP. */
static int push_tcp(struct pst_sock *ps)
{
	struct pst_txq_entry *e[PST_TX_CHUNK] __uninitialized;

	while (pst_txq_len(ps)) {
		u32 n = txq_front(ps, e);
		int sent = pst_txq_send(ps, e, n, false);

		if (sent < 0)
			return sent;
		txq_advance(ps, n, sent);
	}
	return 0;
}

/* A stream that has failed, or what waited of it: that it waits no more is not the end of congestion. */
static bool has_lost(const struct pst_sock *ps)
{
	return test_bit(PST_SOCK_TORN, &ps->flags) ||
	       (ps->err && !(ps->proto && ps->proto->datagrams));
}

/* Socket locked by us. */
static void push(struct pst_sock *ps)
{
	int err = !goes_as_caller(ps) ? -EAGAIN : ps->proto ? push_pulled(ps) : push_tcp(ps);

	if (err == -EAGAIN) {
		if (ps->proto)	/* not all of them tell when there is space */
			pst_sock_retry(ps);
		return;
	}
	if (err) {	/* which is told; that what waited has gone is not */
		pst_txq_drop(ps);
		pst_sock_failed(ps, err);
	} else if (!atomic_read(&ps->held) && !has_lost(ps)) {
		clear_bit(PST_SOCK_CONGESTED, &ps->flags);
	}
	if (test_bit(PST_SOCK_CLOSING, &ps->flags)) {
		pst_sock_close(ps);
		pst_ring_wake(ps->ring);
	}
}

/* The next sync is to try, or housekeeping.  Socket locked, or under RCU. */
void pst_sock_retry(struct pst_sock *ps)
{
	struct pst_ring *ring = ps->ring;

	spin_lock_bh(&ring->lock);
	if (!test_bit(PST_SOCK_GONE, &ps->flags) &&
	    !test_and_set_bit(PST_SOCK_WRITABLE, &ps->flags)) {
		refcount_inc(&ps->ref);
		list_add_tail(&ps->write_node, &ring->writable);
		pst_port_attend(ring->port);
	}
	spin_unlock_bh(&ring->lock);
}

/* The socket has write space.  Any context, socket locked, or under RCU. */
void pst_sock_writable(struct pst_sock *ps)
{
	if (!test_bit(PST_SOCK_CONGESTED, &ps->flags))
		return;
	pst_sock_retry(ps);
	pst_ring_wake(ps->ring);
}

/* A slot that was held in a ring is dealt with: was it what the application waits for?  TX sync. */
void pst_sock_unhold(struct pst_sock *ps)
{
	if (!atomic_dec_and_test(&ps->held) || !test_bit(PST_SOCK_CONGESTED, &ps->flags))
		return;
	pst_sock_retry(ps);
	pst_ring_wake(ps->ring);
}

static struct pst_sock *next_writable(struct pst_ring *ring, struct list_head *turn)
{
	struct pst_sock *ps;

	spin_lock_bh(&ring->lock);
	ps = list_first_entry_or_null(turn, struct pst_sock, write_node);
	if (ps) {
		list_del(&ps->write_node);
		clear_bit(PST_SOCK_WRITABLE, &ps->flags);
	}
	spin_unlock_bh(&ring->lock);
	return ps;	/* with the list's reference */
}

/* One turn for each: who lists itself again is still full, or has no memory to send with. */
void pst_txq_push_all(struct pst_ring *ring)
{
	struct pst_sock *ps;
	LIST_HEAD(turn);

	if (likely(list_empty(&ring->writable)))
		return;
	spin_lock_bh(&ring->lock);
	list_splice_init(&ring->writable, &turn);
	spin_unlock_bh(&ring->lock);
	while ((ps = next_writable(ring, &turn))) {
		pst_sock_lock(ps);
		if (!pst_sock_dead(ps)) {
			push(ps);
			pst_sock_tell(ps);
		}
		pst_sock_unlock(ps);
		pst_sock_put(ps);
	}
}
