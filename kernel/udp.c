// SPDX-License-Identifier: GPL-2.0
/*
 * Datagrams: UDP sockets.
 *
 *   sk_data_ready (softirq, no lock)    on_data_ready: on ring->arrived, once
 *   RX sync
 *     pst_udp_pull                      before the NIC is run, and behind each burst of
 *                                       its frames, while their buffers are still STACK
 *     pst_stack_resume                  for sockets that found no room, and for errors
 *       drain                           oldest first, as many as there is room for
 *         take_datagram                 ring locked
 *           one fragment of ours        -> the slot gets the very buffer
 *           else                        -> copied, several slots if it is long
 *   TX sync
 *     send                              sock_sendmsg(): by reference, or copied when small or in
 *                                       several slots; runs of one size to one peer at once
 *
 * Why not encap_rcv, which would spare the socket's queue: it comes before socket filters, cgroup
 * programs and the LSM's say.  So UDP's own queue, accounting and drops stay as they are.
 *
 * A datagram is taken only when there is a slot for it; one that needs several and does not
 * find them waits in @rest.  UDP's queue is consumed by one at a time, the RX sync of the ring.
 *
 * The sender's address is written in front of the payload.  In place these bytes are those
 * of the frame's headers, of which the kernel has its own copy by now.
 */
#include <linux/udp.h>
#include <net/ipv6.h>
#include <net/udp.h>

#include "buf_move.h"
#include "compat.h"
#include "port.h"
#include "stack.h"

#define GSO_BYTES_MAX	64000	/* of payload in one piece, below what an IP packet holds */
#define GSO_PAGES_MAX	16	/* an skb takes so many references */

/* ------------------------------------------------------------ callbacks */

static void on_data_ready(struct sock *sk)
{
	struct pst_ring *ring;
	struct pst_sock *ps;

	rcu_read_lock();
	ps = pst_sock_of(sk);
	/* Full barrier: whoever clears the bit sees the datagram. */
	if (ps && !test_and_set_bit(PST_SOCK_ARRIVED, &ps->flags)) {
		ring = ps->ring;
		spin_lock_bh(&ring->lock);
		if (!test_bit(PST_SOCK_GONE, &ps->flags) && list_empty(&ps->arrive_node)) {
			refcount_inc(&ps->ref);
			list_add_tail(&ps->arrive_node, &ring->arrived);
			pst_port_attend(ring->port);
		}
		spin_unlock_bh(&ring->lock);
		pst_ring_wake_for_slot(ring);
	}
	rcu_read_unlock();
}

static void on_write_space(struct sock *sk)
{
	struct pst_sock *ps;

	rcu_read_lock();
	ps = pst_sock_of(sk);
	if (ps) {
		if (sock_writeable(sk))
			pst_sock_writable(ps);
		ps->write_space(sk);
	}
	rcu_read_unlock();
}

/* The next sync tells; who asks the socket itself may be first. */
static void note_error(struct pst_sock *ps)
{
	int err = sock_error(ps->sk);

	if (err)
		WRITE_ONCE(ps->err, -err);
}

static void on_error_report(struct sock *sk)
{
	struct pst_sock *ps;

	rcu_read_lock();
	ps = pst_sock_of(sk);
	if (ps) {
		note_error(ps);
		pst_sock_ready(ps);
		ps->error_report(sk);
	}
	rcu_read_unlock();
}

static void hook(struct sock *sk)
{
	WRITE_ONCE(sk->sk_data_ready, on_data_ready);
	WRITE_ONCE(sk->sk_write_space, on_write_space);
	WRITE_ONCE(sk->sk_error_report, on_error_report);
}

static int check(struct sock *sk)
{
	if (udp_sk(sk)->encap_type)
		return -EBUSY;
	return inet_sk(sk)->inet_num ? 0 : -ENOTCONN;
}

/* ------------------------------------------------------------ receiving */

/* Who sent it, as recvfrom() says. */
static void fill_sender(const struct sock *sk, struct sk_buff *skb, struct nm_pst_addr *a)
{
	memset(a, 0, sizeof(*a));
	a->family = sk->sk_family;
	a->port = (__force u16)udp_hdr(skb)->source;
	if (sk->sk_family == AF_INET) {
		memcpy(a->addr, &ip_hdr(skb)->saddr, sizeof(ip_hdr(skb)->saddr));
#if IS_ENABLED(CONFIG_IPV6)
	} else if (skb->protocol == htons(ETH_P_IP)) {
		ipv6_addr_set_v4mapped(ip_hdr(skb)->saddr, (struct in6_addr *)a->addr);
	} else {
		memcpy(a->addr, &ipv6_hdr(skb)->saddr, sizeof(a->addr));
		a->scope = ipv6_iface_scope_id(&ipv6_hdr(skb)->saddr, inet6_iif(skb));
#endif
	}
}

/* The fragment that is exactly [@start, @end), or NULL; *@pos: where @skb begins. */
static const skb_frag_t *find_frag(const struct sk_buff *skb, u32 *pos, u32 start, u32 end)
{
	const struct skb_shared_info *si = skb_shinfo(skb);
	const skb_frag_t *found = NULL;
	const struct sk_buff *sub;
	int i;

	*pos += skb_headlen(skb);
	for (i = 0; i < si->nr_frags && *pos <= start; i++) {
		if (*pos == start && skb_frag_size(&si->frags[i]) == end - start)
			return &si->frags[i];
		*pos += skb_frag_size(&si->frags[i]);
	}
	skb_walk_frags(skb, sub) {
		if (found || *pos > start)
			break;
		found = find_frag(sub, pos, start, end);
	}
	return found;
}

/* [@start, @end) of @skb where it lies.  Not while others may read it: they would see changes. */
static bool take_in_place(struct pst_sock *ps, struct sk_buff *skb, u32 start, u32 end)
{
	struct pst_ring *ring = ps->ring;
	struct pst_bufs *bufs = ring->pool.bufs;
	const skb_frag_t *frag;
	struct nm_pst_addr sender;
	u32 buf, off, pos = 0;

	if (start == end || skb_cloned(skb))
		return false;
	frag = find_frag(skb, &pos, start, end);
	if (!frag)
		return false;
	off = skb_frag_off(frag);
	if (off < sizeof(sender) || off + end - start > PST_BUF_SIZE)
		return false;
	buf = pst_buf_of_page(bufs, skb_frag_page(frag));
	if (buf == PST_BUF_NONE || !pst_buf_deliver(bufs, buf))
		return false;
	fill_sender(ps->sk, skb, &sender);
	memcpy(pst_buf_addr(bufs, buf) + off - sizeof(sender), &sender, sizeof(sender));
	pst_ring_put(ring, ps, buf, off, off + end - start, NS_PST_FROM);
	ring->c.rx_in_place += end - start;
	return true;
}

/* What fits a buffer of [@at, @end), of a datagram that begins at @start; false: no buffer. */
static bool take_copy(struct pst_sock *ps, struct sk_buff *skb, u32 start, u32 *at, u32 end)
{
	struct pst_ring *ring = ps->ring;
	struct pst_bufs *bufs = ring->pool.bufs;
	u32 n = min_t(u32, end - *at, PST_BUF_SIZE - PST_COPY_OFFSET);
	u32 buf = pst_sock_take_buf(ps);
	struct nm_pst_addr sender;
	u16 flags = NS_PST_COPIED;
	void *to;

	if (buf == PST_BUF_NONE)
		return false;
	to = pst_buf_addr(bufs, buf) + PST_COPY_OFFSET;
	if (*at == start) {
		flags |= NS_PST_FROM;
		fill_sender(ps->sk, skb, &sender);
		memcpy(to - sizeof(sender), &sender, sizeof(sender));
	}
	if (*at + n < end)
		flags |= NS_PST_MORE;
	WARN_ON_ONCE(pst_copy_out(bufs, skb, *at, to, n));	/* within the skb: cannot fail */
	pst_buf_show(bufs, buf);
	pst_ring_put(ring, ps, buf, PST_COPY_OFFSET, PST_COPY_OFFSET + n, flags);
	ring->c.rx_copied += n;
	*at += n;
	return true;
}

/*
 * All datagrams of @skb (with UDP_GRO several) from ps->rest_at on, in as many slots as it
 * takes.  False: room or buffers have run out, the socket waits.  Ring locked.
 */
static bool take_skb(struct pst_sock *ps, struct sk_buff *skb)
{
	u32 size = skb_is_gso(skb) ? skb_shinfo(skb)->gso_size : skb->len;
	u32 at = ps->rest_at;

	do {
		u32 start = size ? at / size * size : 0;
		u32 end = min(start + size, skb->len);

		ps->rest_at = at;
		if (!pst_may_place(ps))
			return false;
		if (at == start && take_in_place(ps, skb, start, end))
			at = end;
		else if (!take_copy(ps, skb, start, &at, end))
			return false;
	} while (at < skb->len);
	ps->rest_at = 0;
	return true;
}

/* A datagram that is what was sent, or NULL. */
static struct sk_buff *next_datagram(struct pst_sock *ps)
{
	struct sock *sk = ps->sk;
	struct sk_buff *skb = ps->rest;
	bool intact;
	int off, err;

	if (unlikely(skb)) {
		ps->rest = NULL;
		return skb;
	}
	/* Asked for nothing, UDP may busy-poll. */
	while (!skb_queue_empty_lockless(&udp_sk(sk)->reader_queue) ||
	       !skb_queue_empty_lockless(&sk->sk_receive_queue)) {
		off = 0;
		skb = __skb_recv_udp(sk, MSG_DONTWAIT, &off, &err);
		if (unlikely(!skb)) {
			if (err == -EAGAIN)
				break;
			WRITE_ONCE(ps->err, -err);	/* that was the socket's error */
			spin_lock_bh(&ps->ring->lock);
			pst_sock_wait(ps);
			spin_unlock_bh(&ps->ring->lock);
			continue;
		}
		skb->dev = NULL;	/* UDP has kept other things there */
		local_bh_disable();
		intact = !skb_checksum_complete(skb);
		if (unlikely(!intact)) {
			__UDPX_INC_STATS(sk, UDP_MIB_CSUMERRORS);
			__UDPX_INC_STATS(sk, UDP_MIB_INERRORS);
		} else {
			__UDPX_INC_STATS(sk, UDP_MIB_INDATAGRAMS);
		}
		local_bh_enable();
		if (likely(intact))
			return skb;
		pst_udp_drops_inc(sk);
		kfree_skb(skb);
	}
	return NULL;
}

/* A guess, so that nothing is taken out of the queue in vain; if not, the socket waits. */
static bool has_room(struct pst_sock *ps)
{
	struct pst_ring *ring = ps->ring;
	bool room = pst_ring_room(ring);

	if (unlikely(!room)) {
		spin_lock_bh(&ring->lock);
		room = pst_may_place(ps);
		spin_unlock_bh(&ring->lock);
	}
	return room;
}

static void drain(struct pst_sock *ps)
{
	struct pst_ring *ring = ps->ring;
	struct sk_buff *skb;

	while (!test_bit(PST_SOCK_PAUSED, &ps->flags) && has_room(ps) &&
	       (skb = next_datagram(ps))) {
		bool taken;

		spin_lock_bh(&ring->lock);
		/* Once it is gone its slots have been withdrawn. */
		taken = !test_bit(PST_SOCK_GONE, &ps->flags) && take_skb(ps, skb);
		spin_unlock_bh(&ring->lock);
		if (unlikely(!taken)) {
			ps->rest = skb;
			break;
		}
		consume_skb(skb);
	}
}

static struct pst_sock *next_arrived(struct pst_ring *ring)
{
	struct pst_sock *ps;

	spin_lock_bh(&ring->lock);
	ps = list_first_entry_or_null(&ring->arrived, struct pst_sock, arrive_node);
	if (ps)
		list_del_init(&ps->arrive_node);
	spin_unlock_bh(&ring->lock);
	return ps;	/* with the list's reference */
}

/* What has arrived.  Only inside the ring's RX sync, bottom halves on or off. */
void pst_udp_pull(struct pst_ring *ring)
{
	struct pst_sock *ps;
	u32 turns = 0;

	while (!list_empty(&ring->arrived) && turns++ < ring->rx.n && (ps = next_arrived(ring))) {
		clear_bit(PST_SOCK_ARRIVED, &ps->flags);
		smp_mb__after_atomic();	/* as in on_data_ready(): see what it has queued */
		if (!pst_sock_dead(ps) && !test_bit(PST_SOCK_CLOSING, &ps->flags))
			drain(ps);
		pst_sock_put(ps);
	}
}

static void tell(struct pst_sock *ps)
{
	int err = xchg(&ps->err, 0);

	if (err && !pst_sock_put_event(ps, 0, err))
		cmpxchg(&ps->err, 0, err);	/* again, unless there is a newer one */
}

/* ------------------------------------------------------------ sending */

union peer {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* The address before the payload of @e, of which the application may change any byte. */
static int read_peer(const struct pst_bufs *bufs, const struct pst_txq_entry *e,
		     struct nm_pst_addr *a)
{
	memcpy(a, pst_buf_addr(bufs, e->buf) + e->offset - sizeof(*a), sizeof(*a));
	if (a->family != AF_INET && a->family != AF_INET6)
		return -EAFNOSUPPORT;
	if (memchr_inv(a->pad1, 0, sizeof(a->pad1)))
		return -EINVAL;
	if (a->family == AF_INET && (a->scope || memchr_inv(a->addr + 4, 0, 12)))
		return -EINVAL;
	return 0;
}

static int peer_of(const struct nm_pst_addr *a, union peer *p)
{
	memset(p, 0, sizeof(*p));
	p->sa.sa_family = a->family;
	p->in.sin_port = (__force __be16)a->port;
	if (a->family == AF_INET) {
		memcpy(&p->in.sin_addr, a->addr, sizeof(p->in.sin_addr));
		return sizeof(p->in);
	}
	memcpy(&p->in6.sin6_addr, a->addr, sizeof(p->in6.sin6_addr));
	p->in6.sin6_scope_id = a->scope;
	return sizeof(p->in6);
}

/* @n entries as one message; with @gso_size cut into datagrams of that size on the way. */
static int send_message(struct pst_sock *ps, struct socket *sock, struct pst_txq_entry *e[],
			u32 n, const struct nm_pst_addr *to, u16 gso_size)
{
	struct pst_bufs *bufs = ps->ring->pool.bufs;
	struct {
		struct cmsghdr h;
		u16 size;
	} __aligned(sizeof(long)) control = { };
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	bool copy = e[0]->copy || !PST_UDP_BY_REFERENCE;
	union {
		struct kvec kv[PST_TX_CHUNK];
		struct bio_vec bv[PST_TX_CHUNK];
	} pieces __uninitialized;
	struct kvec *kv = pieces.kv;
	struct bio_vec *bv = pieces.bv;
	union peer peer;
	size_t bytes = 0;
	u32 i;
	int r;

	for (i = 0; i < n; i++) {
		u32 len = e[i]->len - e[i]->offset;

		if (copy) {
			kv[i].iov_base = pst_buf_addr(bufs, e[i]->buf) + e[i]->offset;
			kv[i].iov_len = len;
		} else {
			bvec_set_page(&bv[i], bufs->page[e[i]->buf], len, e[i]->offset);
		}
		bytes += len;
	}
	if (copy) {
		iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, kv, n, bytes);
	} else {
		iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, bv, n, bytes);
		msg.msg_flags |= PST_UDP_BY_REFERENCE;
	}
	if (to) {
		msg.msg_namelen = peer_of(to, &peer);
		msg.msg_name = &peer;
	}
	if (gso_size) {
		control.h.cmsg_level = SOL_UDP;
		control.h.cmsg_type = UDP_SEGMENT;
		control.h.cmsg_len = CMSG_LEN(sizeof(u16));
		control.size = gso_size;
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	r = sock_sendmsg(sock, &msg);
	if (r >= 0) {
		ps->ring->c.tx_bytes += bytes;
		if (copy)
			ps->ring->c.tx_copied += bytes;
	}
	return r < 0 ? r : 0;
}

/* Entries of the datagram that begins at e[0]. */
static u32 entries_of_one(struct pst_txq_entry *e[], u32 n)
{
	u32 i = 1;

	while (i < n && e[i - 1]->cont)
		i++;
	return i;
}

/* As many of @n datagrams as may go in one piece: of one slot each, to one peer, of one size. */
static u32 entries_alike(const struct pst_sock *ps, struct pst_txq_entry *e[], u32 n,
			 const struct nm_pst_addr *to)
{
	const struct pst_bufs *bufs = ps->ring->pool.bufs;
	u32 size = e[0]->len - e[0]->offset, bytes = size, len = size, i;
	struct nm_pst_addr a;

	if (!e[0]->copy)
		n = min_t(u32, n, GSO_PAGES_MAX);
	if (!size || size >= ps->gso_limit || e[0]->cont)
		return 1;
	for (i = 1; i < n && len == size; i++) {
		len = e[i]->len - e[i]->offset;
		bytes += len;
		if (!len || len > size || bytes > GSO_BYTES_MAX || e[i]->cont ||
		    e[i]->to != e[0]->to || e[i]->copy != e[0]->copy)
			break;
		if (to && (read_peer(bufs, e[i], &a) || memcmp(&a, to, sizeof(a))))
			break;
	}
	return i;
}

/* The first datagram and those that go with it; how many entries that was, or an error. */
static int send_some(struct pst_sock *ps, struct socket *sock, struct pst_txq_entry *e[], u32 n)
{
	struct nm_pst_addr addr, *to = NULL;
	u32 alike;
	int err;

	if (unlikely(e[0]->buf == PST_BUF_NONE && e[0]->close))
		return 1;	/* closes, and has nothing to send */
	if (e[0]->to) {
		err = read_peer(ps->ring->pool.bufs, e[0], &addr);
		if (err)
			return err;
		to = &addr;
	}
	alike = entries_alike(ps, e, n, to);
	if (alike > 1) {
		err = send_message(ps, sock, e, alike, to, e[0]->len - e[0]->offset);
		if (!err)
			return alike;
		/* Larger than the path's MTU, or IPsec, or no checksum: then one by one. */
		if (err != -EMSGSIZE && err != -EINVAL && err != -EIO)
			return err;
		ps->gso_limit = e[0]->len - e[0]->offset;
	}
	alike = entries_of_one(e, n);
	return send_message(ps, sock, e, alike, to, 0) ?: alike;
}

static u32 send(struct pst_sock *ps, struct pst_txq_entry *e[], u32 n, int *err)
{
	struct udp_sock *up = udp_sk(ps->sk);
	struct socket *sock;
	struct file *file;
	u32 done = 0;
	int r;

	file = pst_sock_file(ps, &sock);
	if (!file) {
		*err = -EPIPE;
		return 0;
	}
	/* Else the first message would fail in the place of the one that caused it. */
	if (unlikely(READ_ONCE(ps->sk->sk_err)))
		note_error(ps);
	while (done < n) {
		/* What the application has corked itself would become part of ours. */
		if (unlikely(READ_ONCE(up->pending) || pst_udp_corked(ps->sk)))
			r = -EBUSY;
		else
			r = send_some(ps, sock, e + done, n - done);
		if (r < 0) {
			*err = r;
			break;
		}
		done += r;
	}
	fput(file);
	return done;
}

const struct pst_proto pst_udp = {
	.steer = IPPROTO_UDP,
	.datagrams = true,
	.by_reference = PST_UDP_BY_REFERENCE,
	.check = check,
	.hook = hook,
	.drain = drain,
	.send = send,
	.tell = tell,
};
