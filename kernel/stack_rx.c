// SPDX-License-Identifier: GPL-2.0
/*
 * From a socket's receive queue into ring slots.
 *
 *   data_ready / state_change                       (softirq, or the backlog)
 *   pst_stack_resume                                (a sync, for sockets that wait)
 *     pst_sock_drain          socket locked
 *       drain_queue           in-order data only
 *         take_skb            ring locked
 *           linear part, fragments, frag_list
 *             ours   -> the slot gets the very buffer, STACK -> USER
 *             other  -> copied into FREE buffers, slot marked
 *         tcp_read_done       ACKs, window, autotuning
 *       events                end of stream, error, after the last data
 *
 * What does not fit (ring full, buffers short) stays in the socket, so that TCP
 * closes its window, and the socket is put on the ring's waiting list.  Nothing
 * is dropped after TCP has acknowledged it.
 */
#include <linux/skbuff.h>
#include <net/ipv6.h>
#include <net/tcp.h>

#include "buf_move.h"
#include "nic.h"
#include "port.h"
#include "stack.h"

/* Puts the socket where the next syncs find it, unless it was forgotten. */
void pst_sock_wait(struct pst_sock *ps)
{
	struct pst_ring *ring = ps->ring;

	lockdep_assert_held(&ring->lock);
	if (!test_bit(PST_SOCK_GONE, &ps->flags) &&
	    !test_and_set_bit(PST_SOCK_WAITING, &ps->flags)) {
		refcount_inc(&ps->ref);
		list_add_tail(&ps->wait_node, &ring->waiting);
		pst_port_attend(ring->port);
	}
}

static noinline bool wait_for_room(struct pst_sock *ps, u64 *counter)
{
	++*counter;
	pst_sock_wait(ps);
	return false;
}

/* For what lies in a buffer of ours: that is not free, and is not before it was delivered. */
static __always_inline bool may_place(struct pst_sock *ps)
{
	struct pst_ring *ring = ps->ring;

	if (unlikely(!pst_ring_room(ring)))
		return wait_for_room(ps, &ring->c.rx_full);
	return true;
}

/*
 * When buffers are short the application is to give some back first; one that has no slots cannot,
 * and gets one.  Releasing a slot without its buffer, which is how to keep it, must not empty the
 * NIC's reserve: for the one that was spared of it another one has to come back first.
 */
static noinline bool may_spare(const struct pst_ring *ring)
{
	return ring->rx.fill == ring->rx.head &&
	       !(ring->pool.spared && pst_pool_reserved(&ring->pool));
}

static noinline u32 take_scarce(struct pst_sock *ps)
{
	struct pst_ring *ring = ps->ring;

	if (!may_spare(ring)) {
		wait_for_room(ps, &ring->c.rx_short);
		return PST_BUF_NONE;
	}
	if (pst_pool_reserved(&ring->pool))
		ring->pool.spared = true;
	return pst_buf_take(&ring->pool);
}

static __always_inline u32 take_buf(struct pst_sock *ps)
{
	struct pst_pool *pool = &ps->ring->pool;
	u32 buf;

	if (unlikely(!may_place(ps)))
		return PST_BUF_NONE;
	buf = unlikely(pst_pool_short(pool)) ? take_scarce(ps) : pst_buf_take(pool);
	if (unlikely(buf == PST_BUF_NONE))
		pst_sock_wait(ps);
	return buf;
}

/* Is there a slot?  If not, the socket waits.  Ring locked. */
bool pst_may_place(struct pst_sock *ps)
{
	return may_place(ps);
}

/* A free buffer when there is a slot for it, PST_BUF_NONE when the socket has to wait.  Ring locked. */
u32 pst_sock_take_buf(struct pst_sock *ps)
{
	return take_buf(ps);
}

/* Into persistent memory the copy goes past the caches: a fence makes it durable. */
int pst_copy_out(const struct pst_bufs *bufs, const struct sk_buff *skb, u32 off,
		 void *to, u32 len)
{
	struct skb_seq_state st;
	const u8 *data;
	u32 done = 0, n;

	if (likely(!bufs->ext || !bufs->ext->device))
		return skb_copy_bits(skb, off, to, len);
	skb_prepare_seq_read((struct sk_buff *)skb, off, off + len, &st);
	while ((n = skb_seq_read(done, &data, &st))) {
		n = min(n, len - done);		/* what it gives goes on to the end of the fragment */
		memcpy_flushcache(to + done, data, n);
		done += n;
	}
	return done == len ? 0 : -EFAULT;
}

/* Copies @len bytes of @skb at @off into as many buffers as it takes. */
static u32 take_copy(struct pst_sock *ps, const struct sk_buff *skb, u32 off, u32 len)
{
	struct pst_ring *ring = ps->ring;
	struct pst_bufs *bufs = ring->pool.bufs;
	u32 done = 0;

	while (done < len) {
		u32 n = min_t(u32, len - done, PST_BUF_SIZE - PST_COPY_OFFSET);
		u32 buf = take_buf(ps);

		if (buf == PST_BUF_NONE)
			break;
		if (pst_copy_out(bufs, skb, off + done, pst_buf_addr(bufs, buf) + PST_COPY_OFFSET, n)) {
			pst_buf_untake(&ring->pool, buf);
			break;
		}
		pst_buf_show(bufs, buf);
		pst_ring_put(ring, ps, buf, PST_COPY_OFFSET, PST_COPY_OFFSET + n, NS_PST_COPIED);
		ring->c.rx_copied += n;
		done += n;
	}
	return done;
}

/* One fragment, or the part of it from @fo on; @off is its place in @skb. */
static __always_inline u32 take_frag(struct pst_sock *ps, const struct sk_buff *skb,
				     const skb_frag_t *frag, u32 fo, u32 off, u32 len)
{
	struct pst_ring *ring = ps->ring;
	struct pst_bufs *bufs = ring->pool.bufs;
	struct page *page = skb_frag_page(frag);
	u32 po = skb_frag_off(frag) + fo;
	u32 buf = PST_BUF_NONE;

	if (likely(po + len <= PST_BUF_SIZE))
		buf = pst_buf_of_page(bufs, page);
	if (buf == PST_BUF_NONE)
		return take_copy(ps, skb, off, len);
	if (unlikely(!may_place(ps)))
		return 0;
	if (unlikely(!pst_buf_deliver(bufs, buf)))
		return take_copy(ps, skb, off, len);
	pst_ring_put(ring, ps, buf, po, po + len, 0);
	ring->c.rx_in_place += len;
	return len;
}

/* Returns how much of [@off, @off + @len) was taken. */
static noinline u32 take_bytes(struct pst_sock *ps, const struct sk_buff *skb, u32 off, u32 len)
{
	const struct skb_shared_info *si = skb_shinfo(skb);
	u32 start = skb_headlen(skb);
	u32 left = len, n, got;
	const struct sk_buff *sub;
	int i;

	if (off < start) {
		n = min(left, start - off);
		got = take_copy(ps, skb, off, n);
		left -= got;
		off += got;
		if (got < n)
			return len - left;
	}
	for (i = 0; i < si->nr_frags && left; i++) {
		u32 size = skb_frag_size(&si->frags[i]);

		if (off < start + size) {
			n = min(left, start + size - off);
			got = take_frag(ps, skb, &si->frags[i], off - start, off, n);
			left -= got;
			off += got;
			if (got < n)
				return len - left;
		}
		start += size;
	}
	skb_walk_frags(skb, sub) {
		if (!left)
			break;
		if (off < start + sub->len) {
			n = min(left, start + sub->len - off);
			got = take_bytes(ps, sub, off - start, n);
			left -= got;
			off += got;
			if (got < n)
				break;
		}
		start += sub->len;
	}
	return len - left;
}

/* Is it another ring's sync that brings the packet, from that ring's NIC queues? */
static bool is_cross(const struct pst_ring *ring)
{
	const struct pst_ring *injecting = this_cpu_read(pst_injecting);

	return injecting && injecting != ring;
}

static __always_inline u32 take_skb(struct pst_sock *ps, const struct sk_buff *skb, u32 off,
				    u32 len)
{
	const struct skb_shared_info *si = skb_shinfo(skb);
	struct pst_ring *ring = ps->ring;
	u32 got;

	spin_lock_bh(&ring->lock);
	if (unlikely(is_cross(ring)))
		ring->c.rx_cross++;
	/* The common packet: one fragment, all of it. */
	if (likely(!off && si->nr_frags == 1 && len == skb_frag_size(&si->frags[0])))
		got = take_frag(ps, skb, &si->frags[0], 0, 0, len);
	else
		got = take_bytes(ps, skb, off, len);
	if (unlikely(got < len))
		pst_sock_wait(ps);
	spin_unlock_bh(&ring->lock);
	return got;
}

/* As tcp_recv_skb(): the packet that goes on at @seq is nearly always the first one. */
static __always_inline struct sk_buff *next_skb(struct sock *sk, u32 seq, u32 *off)
{
	struct sk_buff *skb = skb_peek(&sk->sk_receive_queue);

	if (unlikely(!skb))
		return NULL;
	*off = seq - TCP_SKB_CB(skb)->seq;
	if (likely(*off < skb->len && !(TCP_SKB_CB(skb)->tcp_flags & TCPHDR_SYN)))
		return skb;
	return tcp_recv_skb(sk, seq, off);
}

/*
 * Urgent data is in line, as with SO_OOBINLINE, which is the application's and may be off: a mark that
 * waits for recv(MSG_OOB) would keep TCP off its fast path, and the next mark take the byte out of the
 * stream.  TCP calls us for each mark, before it sees another one.
 */
static void forget_urgent(struct tcp_sock *tp)
{
	if (unlikely(tp->urg_data))
		WRITE_ONCE(tp->urg_data, 0);
}

/*
 * TCP leaves the freeing of a packet that came on another CPU to that CPU's next receive softirq,
 * which may be long in coming; until then its buffers would not be free.
 */
static __always_inline void free_here(struct sk_buff *skb)
{
	if (unlikely(skb->alloc_cpu != raw_smp_processor_id()))
		skb->alloc_cpu = raw_smp_processor_id();
}

/*
 * What tcp_read_sock() does, with a quarter of its queue walks: TCP is told once per
 * packet what was taken (acknowledgements, window and autotuning are its own).
 */
static void drain_queue(struct pst_sock *ps)
{
	struct sock *sk = ps->sk;
	struct tcp_sock *tp = tcp_sk(sk);
	struct sk_buff *skb;
	u32 off, len, got;

	while ((skb = next_skb(sk, tp->copied_seq, &off))) {
		len = skb->len - off;
		if (unlikely(!len)) {	/* a FIN and nothing else: have it eaten */
			tcp_read_done(sk, 1);
			break;
		}
		got = take_skb(ps, skb, off, len);
		free_here(skb);
		if (likely(got))
			tcp_read_done(sk, got);
		if (unlikely(got < len))
			break;
	}
}

/*
 * Who closes by a slot cannot read what still comes; left in the queue it would be answered by a
 * reset, and that would take with it what the peer has not got yet.  Socket locked.
 */
void pst_sock_discard(struct sock *sk)
{
	struct sk_buff *skb;
	u32 off;

	while ((skb = tcp_recv_skb(sk, tcp_sk(sk)->copied_seq, &off))) {
		free_here(skb);
		tcp_read_done(sk, max(skb->len - off, 1u));	/* a FIN alone is eaten as well */
	}
}

/* An event slot; if there is no room, the socket waits for it. */
bool pst_sock_put_event(struct pst_sock *ps, u16 flags, int err)
{
	struct pst_ring *ring = ps->ring;
	bool room;

	spin_lock_bh(&ring->lock);
	/* Ends leave half of the reserve to the end of congestion, which others await. */
	room = pst_ring_event_room(ring) > (err == EAGAIN ? 0 : ring->event_slots / 2);
	if (room) {
		pst_ring_put_event(ring, ps, flags, err);
	} else {
		ring->c.rx_full++;
		pst_sock_wait(ps);
	}
	spin_unlock_bh(&ring->lock);
	return room;
}

/*
 * What follows the last byte: end of stream, the error, or one after the other.  While
 * there are bytes in the socket the socket waits, whoever noticed the end first.  But an
 * application that has paused it learns at once that it has failed.
 */
static void tell_end(struct pst_sock *ps)
{
	bool failed = ps->err && ps->err != ENOTCONN;
	bool eos = (ps->sk->sk_shutdown & RCV_SHUTDOWN) && !failed &&
		   !test_bit(PST_SOCK_EOS_TOLD, &ps->flags);
	bool end = ps->err && !test_bit(PST_SOCK_ERR_TOLD, &ps->flags);
	bool paused = test_bit(PST_SOCK_PAUSED, &ps->flags);

	if (!eos && !end)
		return;
	if (!skb_queue_empty(&ps->sk->sk_receive_queue) && !(failed && paused)) {
		if (paused)
			return;		/* resuming comes here again */
		spin_lock_bh(&ps->ring->lock);
		pst_sock_wait(ps);
		spin_unlock_bh(&ps->ring->lock);
		return;
	}
	if (eos) {
		if (!pst_sock_put_event(ps, 0, 0))
			return;
		set_bit(PST_SOCK_EOS_TOLD, &ps->flags);
	}
	if (end && pst_sock_put_event(ps, 0, ps->err))
		set_bit(PST_SOCK_ERR_TOLD, &ps->flags);
}

/* Who it is that connected, as accept() tells. */
static void fill_accepted(struct nm_pst_accepted *a, const struct sock *sk)
{
	union {
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} peer = { };

	BUILD_BUG_ON(sizeof(peer) != sizeof(a->peer));
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6) {
		peer.in6.sin6_family = AF_INET6;
		peer.in6.sin6_port = inet_sk(sk)->inet_dport;
		peer.in6.sin6_addr = sk->sk_v6_daddr;
		peer.in6.sin6_scope_id = ipv6_iface_scope_id(&sk->sk_v6_daddr,
							     sk->sk_bound_dev_if);
	}
#endif
	if (sk->sk_family == AF_INET) {
		peer.in.sin_family = AF_INET;
		peer.in.sin_port = inet_sk(sk)->inet_dport;
		peer.in.sin_addr.s_addr = inet_sk(sk)->inet_daddr;
	}
	a->local_port = (__force u16)inet_sk(sk)->inet_sport;
	a->addrlen = sk->sk_family == AF_INET6 ? sizeof(peer.in6) : sizeof(peer.in);
	memcpy(a->peer, &peer, sizeof(a->peer));
}

/* The first slot of a connection that was accepted; false: it has to wait. */
static bool tell_new(struct pst_sock *ps)
{
	struct pst_ring *ring = ps->ring;
	struct pst_bufs *bufs = ring->pool.bufs;
	u32 buf;

	spin_lock_bh(&ring->lock);
	buf = take_buf(ps);
	if (buf != PST_BUF_NONE) {
		fill_accepted(pst_buf_addr(bufs, buf), ps->sk);
		pst_buf_show(bufs, buf);
		pst_ring_put(ring, ps, buf, 0, sizeof(struct nm_pst_accepted),
			     NS_PST_EVENT | NS_PST_ACCEPT);
		ring->c.rx_events++;
		clear_bit(PST_SOCK_NEW, &ps->flags);
	}
	spin_unlock_bh(&ring->lock);
	return buf != PST_BUF_NONE;
}

/* What the application knows of congestion, brought up to date. */
void pst_sock_tell_congestion(struct pst_sock *ps)
{
	bool congested = test_bit(PST_SOCK_CONGESTED, &ps->flags);

	if (likely(congested == test_bit(PST_SOCK_CONG_TOLD, &ps->flags)))
		return;
	if (pst_sock_put_event(ps, congested ? 0 : NS_PST_CLEAR, EAGAIN))
		change_bit(PST_SOCK_CONG_TOLD, &ps->flags);
}

/* Tells what pst_sock_tell() has found there is to tell.  Socket locked. */
void __pst_sock_tell(struct pst_sock *ps)
{
	/* pst_ring_forget() may have been there already; a new one is told of first. */
	if (pst_sock_dead(ps) || ps->flags & (BIT(PST_SOCK_CLOSING) | BIT(PST_SOCK_NEW)))
		return;
	pst_sock_tell_congestion(ps);
	if (ps->proto)
		ps->proto->tell(ps);
	else if (ps->err || (ps->sk->sk_shutdown & RCV_SHUTDOWN))
		tell_end(ps);
	pst_ring_wake_for_slot(ps->ring);
}

/* Socket locked, by a bottom half or by its owner. */
void pst_sock_drain(struct pst_sock *ps)
{
	unsigned long flags = READ_ONCE(ps->flags);

	/* The registered application has closed it: nobody to deliver to. */
	if (unlikely(sock_flag(ps->sk, SOCK_DEAD) || flags & BIT(PST_SOCK_RECONNECTED)))
		return;
	if (unlikely(flags & BIT(PST_SOCK_CLOSING)))
		return pst_sock_discard(ps->sk);
	forget_urgent(tcp_sk(ps->sk));
	if (unlikely(flags & BIT(PST_SOCK_NEW)) && !tell_new(ps))
		return;
	if (likely(!(flags & BIT(PST_SOCK_PAUSED))))
		drain_queue(ps);
	pst_sock_tell(ps);
	pst_ring_wake_for_slot(ps->ring);
}

/* One that is pulled has something for the next sync.  Any context, under RCU. */
void pst_sock_ready(struct pst_sock *ps)
{
	struct pst_ring *ring = ps->ring;

	spin_lock_bh(&ring->lock);
	pst_sock_wait(ps);
	spin_unlock_bh(&ring->lock);
	pst_ring_wake(ring);
}

static void pull(struct pst_sock *ps)
{
	if (pst_sock_dead(ps) || test_bit(PST_SOCK_CLOSING, &ps->flags))
		return;
	ps->proto->drain(ps);
	__pst_sock_tell(ps);
}

static struct pst_sock *next_waiting(struct pst_ring *ring, struct list_head *turn)
{
	struct pst_sock *ps;

	spin_lock_bh(&ring->lock);
	ps = list_first_entry_or_null(turn, struct pst_sock, wait_node);
	if (ps) {
		list_del(&ps->wait_node);
		clear_bit(PST_SOCK_WAITING, &ps->flags);
	}
	spin_unlock_bh(&ring->lock);
	return ps;	/* with the list's reference */
}

/* False: it waits again, and for a slot, so others would wait as well. */
static bool resume(struct pst_sock *ps)
{
	pst_sock_lock(ps);
	if (unlikely(ps->proto))
		pull(ps);
	else if (!test_bit(PST_SOCK_GONE, &ps->flags))
		pst_sock_drain(ps);
	pst_sock_unlock(ps);
	return !test_bit(PST_SOCK_WAITING, &ps->flags) || pst_ring_room(ps->ring);
}

/*
 * Room or buffers may have come back: each waiting socket once, oldest first.
 * One that still cannot move puts itself at the end again.
 */
void pst_stack_resume(struct pst_ring *ring)
{
	bool go_on = pst_ring_event_room(ring);
	struct pst_sock *ps;
	LIST_HEAD(turn);
	u32 turns = 0;

	if (likely(list_empty(&ring->waiting)) || !go_on)
		return;
	spin_lock_bh(&ring->lock);
	list_splice_init(&ring->waiting, &turn);
	spin_unlock_bh(&ring->lock);
	while (go_on && turns++ < ring->rx.n && (ps = next_waiting(ring, &turn))) {
		go_on = resume(ps);
		pst_sock_put(ps);
	}
	spin_lock_bh(&ring->lock);
	list_splice(&turn, &ring->waiting);
	spin_unlock_bh(&ring->lock);
}
