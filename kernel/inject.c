// SPDX-License-Identifier: GPL-2.0
/*
 * From the NIC's frames into the kernel's TCP/IP.
 *
 *   pst_inject                     inside an RX sync, bottom halves off
 *     per frame: make_skb
 *       first 128 bytes copied     the headers, parsed in kernel memory only
 *       rest                       a fragment: the page itself, STACK
 *     netif_receive_skb            or GRO, when the next frame continues this one
 *     netif_receive_skb_list       a burst's datagrams: one route lookup for those alike
 *     ... upcalls into stack_rx.c
 *     pst_udp_pull                 datagrams
 *     settle                       what no upcall took
 *
 * A frame without payload, of another protocol, or received while buffers are short
 * is copied whole and its buffer is free at once.
 *
 * GRO pays for bulk (one upcall for many segments) and costs about 800 instructions
 * for a packet that merges with nothing.  So it is used only for runs of frames of
 * one flow within a batch; it is flushed before a packet goes around it, to keep
 * the order.
 */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/busy_poll.h>
#include <net/gro.h>
#include <net/ip6_checksum.h>

#include "buf_move.h"
#include "compat.h"
#include "nic.h"
#include "stack.h"

#define GRO_MIN	512	/* bytes of a frame worth merging with the next */
#define HEAD_MAX	128	/* bytes copied into the skb's linear part */
#define HEAD_ROOM	512	/* allocated: of this size heads are page fragments, not slab objects */

/* A descriptor of the RX ring, checked. */
struct frame {
	u32 buf;
	u32 off;	/* of the frame in the buffer */
	u32 len;
	bool datagram;	/* UDP with a payload; known once it is an skb */
};

DEFINE_PER_CPU(struct pst_ring *, pst_injecting);

struct burst {
	struct pst_nicq *q;
	bool gro_open;
	struct list_head datagrams;	/* that the stack has not been given yet */
	u32 n;			/* in place[] */
	u32 place[64];		/* buffers injected in place */
};

/* Where things are in a frame: offsets in bytes from its start. */
struct headers {
	u32 ip;
	u32 l4;		/* TCP or UDP */
	u32 payload;	/* 0: no payload behind headers that are known */
	u32 end;	/* of the IP packet; there may be padding behind it */
	bool v6;
	u8 proto;	/* of l4 */
};

/* A datagram that fills its IP packet; others are for UDP to look at. */
static void read_udp(const u8 *p, u32 len, struct headers *h)
{
	const struct udphdr *udp = (const void *)(p + h->l4);

	if (len >= h->l4 + sizeof(*udp) && h->l4 + sizeof(*udp) < h->end &&
	    ntohs(udp->len) == h->end - h->l4)
		h->payload = h->l4 + sizeof(*udp);
}

/* Reads the headers at @p, of which @len bytes are readable. */
static void read_headers(const u8 *p, u32 len, struct headers *h)
{
	__be16 proto = ((const struct ethhdr *)p)->h_proto;

	h->payload = 0;
	h->ip = ETH_HLEN;
	if (proto == htons(ETH_P_8021Q)) {
		if (len < h->ip + VLAN_HLEN)
			return;
		proto = ((const struct vlan_ethhdr *)p)->h_vlan_encapsulated_proto;
		h->ip += VLAN_HLEN;
	}
	h->v6 = proto == htons(ETH_P_IPV6);
	if (proto == htons(ETH_P_IP)) {
		const struct iphdr *ip = (const void *)(p + h->ip);

		if (len < h->ip + sizeof(*ip) || ip_is_fragment(ip) || ip->ihl < 5)
			return;
		h->proto = ip->protocol;
		h->end = h->ip + ntohs(ip->tot_len);
		h->l4 = h->ip + ip->ihl * 4;
	} else if (h->v6) {
		const struct ipv6hdr *ip6 = (const void *)(p + h->ip);

		if (len < h->ip + sizeof(*ip6))
			return;
		h->proto = ip6->nexthdr;
		h->l4 = h->ip + sizeof(*ip6);
		h->end = h->l4 + ntohs(ip6->payload_len);
	} else {
		return;
	}
	if (h->proto != IPPROTO_TCP) {
		if (h->proto == IPPROTO_UDP)
			read_udp(p, len, h);
		return;
	}
	if (len < h->l4 + sizeof(struct tcphdr))
		return;
	len = min(len, h->end - 1);	/* at least a byte of payload */
	if (((const struct tcphdr *)(p + h->l4))->doff >= 5 &&
	    h->l4 + ((const struct tcphdr *)(p + h->l4))->doff * 4 <= len)
		h->payload = h->l4 + ((const struct tcphdr *)(p + h->l4))->doff * 4;
}

/*
 * The verdict a NIC would have given, which AF_XDP does not pass on: here all bytes lie in
 * one piece, which is cheaper than the protocol's own way over header and fragment.  @p: headers in
 * kernel memory; @data: the frame.  A wrong sum is left to the protocol, which counts it;
 * and so is a UDP datagram without one.
 */
static bool checksum_is_right(const u8 *p, const u8 *data, const struct headers *h)
{
	u32 len = h->end - h->l4;
	const struct iphdr *ip;
	__wsum sum;

	if (h->proto == IPPROTO_UDP && !((const struct udphdr *)(p + h->l4))->check)
		return false;
	sum = csum_partial(data + h->l4, len, 0);

	if (h->v6) {
		const struct ipv6hdr *ip6 = (const void *)(p + h->ip);

		return !csum_ipv6_magic(&ip6->saddr, &ip6->daddr, len, h->proto, sum);
	}
	ip = (const void *)(p + h->ip);
	return !csum_tcpudp_magic(ip->saddr, ip->daddr, len, h->proto, sum);
}

/* Takes the next descriptor; false for one that names nothing we gave the NIC. */
static __always_inline bool read_frame(struct pst_nicq *q, u32 i, struct frame *f)
{
	struct pst_bufs *bufs = q->ring->pool.bufs;
	const struct xdp_desc *desc = q->xsk.rx.desc;
	u64 addr;

	desc += i & (PST_XSK_RING - 1);
	addr = READ_ONCE(desc->addr);
	f->len = READ_ONCE(desc->len);
	f->datagram = false;
	f->buf = addr / PST_BUF_SIZE;
	f->off = addr % PST_BUF_SIZE;
	if (unlikely(addr / PST_BUF_SIZE >= bufs->n ||
		     pst_buf_state(bufs, f->buf) != PST_BUF_NIC)) {
		q->ring->c.nic_bad++;
		return false;
	}
	if (unlikely(f->len < ETH_HLEN || f->len > PST_BUF_SIZE - f->off))
		f->len = 0;	/* nothing to deliver, but a buffer to take back */
	return true;
}

static const u8 *frame_data(struct pst_nicq *q, const struct frame *f)
{
	return pst_buf_addr(q->ring->pool.bufs, f->buf) + f->off;
}

/* Does the next frame continue this flow?  A guess, for the choice of GRO only. */
static bool same_flow(const u8 *a, const u8 *b, u32 blen)
{
	/* IPv4 from addresses to ports, IPv6 the same. */
	if (blen < 60 || ((const struct ethhdr *)a)->h_proto !=
	    ((const struct ethhdr *)b)->h_proto)
		return false;
	if (((const struct ethhdr *)a)->h_proto == htons(ETH_P_IP))
		return !memcmp(a + ETH_HLEN + 12, b + ETH_HLEN + 12, 12);
	return !memcmp(a + ETH_HLEN + 8, b + ETH_HLEN + 8, 36);
}

/* The whole frame in memory of the kernel. */
static struct sk_buff *copy_frame(struct pst_nicq *q, const struct frame *f)
{
	struct sk_buff *skb = napi_alloc_skb(&q->napi, f->len);

	if (likely(skb))
		skb_put_data(skb, frame_data(q, f), f->len);
	return skb;
}

/*
 * As skb_add_rx_frag(), for a page that is the application's and accounted to it: the socket
 * pays for the payload only, and TCP stays on its fast path more often.
 */
static __always_inline void add_payload(struct sk_buff *skb, struct page *page, u32 off, u32 len)
{
	skb_fill_page_desc_noacc(skb, 0, page, off, len);
	skb->len += len;
	skb->data_len += len;
	skb->truesize += len;
}

/*
 * The first bytes of a frame, as a constant number of them wherever that many lie in the
 * buffer; those behind a short frame's end are trimmed off again.
 */
static __always_inline void copy_head(struct sk_buff *skb, const u8 *data, const struct frame *f)
{
	u32 head = min_t(u32, f->len, HEAD_MAX);

	if (likely(f->off <= PST_BUF_SIZE - HEAD_MAX))
		memcpy(skb->data, data, HEAD_MAX);
	else
		memcpy(skb->data, data, head);
	__skb_put(skb, head);
}

/* Headers in memory of the kernel, payload where it is; NULL if that cannot be. */
static struct sk_buff *place_frame(struct burst *b, struct frame *f)
{
	struct pst_nicq *q = b->q;
	struct pst_bufs *bufs = q->ring->pool.bufs;
	struct page *page = bufs->page[f->buf];
	struct sk_buff *skb;
	const u8 *data = frame_data(q, f);
	struct headers h;

	skb = napi_alloc_skb(&q->napi, HEAD_ROOM);
	if (unlikely(!skb))
		return NULL;
	copy_head(skb, data, f);
	read_headers(skb->data, skb->len, &h);
	if (!h.payload) {
		if (skb->len == f->len)
			return skb;	/* that was all of it */
		kfree_skb(skb);
		return NULL;
	}
	if (likely(h.end <= f->len) && checksum_is_right(skb->data, data, &h))
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	/* Give back to the fragment what is payload. */
	__skb_trim(skb, h.payload);
	get_page(page);
	add_payload(skb, page, f->off + h.payload, f->len - h.payload);
	pst_buf_to_stack(bufs, f->buf);
	b->place[b->n++] = f->buf;
	q->ring->c.nic_in_place++;
	f->datagram = h.proto == IPPROTO_UDP;
	return skb;
}

static struct sk_buff *make_skb(struct burst *b, struct frame *f)
{
	struct pst_ring *ring = b->q->ring;
	struct sk_buff *skb;

	if (unlikely(pst_pool_low(&ring->pool))) {
		ring->c.nic_recycled++;
		return copy_frame(b->q, f);
	}
	skb = place_frame(b, f);
	return likely(skb) ? skb : copy_frame(b->q, f);
}

static void end_merging(struct burst *b)
{
	if (b->gro_open)
		napi_complete_done(&b->q->napi, 0);
	b->gro_open = false;
}

/* What is held back goes to the stack before what comes behind it, so that the order stays. */
static void deliver_datagrams(struct burst *b)
{
	if (!list_empty(&b->datagrams))
		netif_receive_skb_list(&b->datagrams);
	INIT_LIST_HEAD(&b->datagrams);
}

static void deliver(struct burst *b, struct sk_buff *skb, const struct frame *f, bool gro)
{
	struct pst_nicq *q = b->q;
	struct net_device *dev = q->nic->dev;

	skb->dev = dev;
	skb_record_rx_queue(skb, q->id);
	skb_mark_napi_id(skb, &q->napi);
	skb->protocol = eth_type_trans(skb, dev);
	if (q->nic->skb_mode)
		pst_skb_set_redirected(skb);
	if (gro && !b->gro_open) {
		deliver_datagrams(b);
		b->gro_open = napi_schedule_prep(&q->napi);
	}
	if (gro && b->gro_open) {
		q->ring->c.nic_merged++;
		napi_gro_receive(&q->napi, skb);
		return;
	}
	end_merging(b);
	if (f->datagram) {
		list_add_tail(&skb->list, &b->datagrams);
		return;
	}
	deliver_datagrams(b);
	netif_receive_skb(skb);
}

/*
 * Buffers that went nowhere, and those no upcall took: dropped, out of order,
 * waiting in a socket, or with somebody who reads packets.
 */
static void settle(struct burst *b, const u32 *unused, u32 nunused)
{
	struct pst_ring *ring = b->q->ring;
	u32 i;

	spin_lock(&ring->lock);
	for (i = 0; i < b->n; i++)
		if (pst_buf_state(ring->pool.bufs, b->place[i]) == PST_BUF_STACK)
			pst_buf_settle(&ring->pool, b->place[i]);
	for (i = 0; i < nunused; i++)
		pst_buf_untake(&ring->pool, unused[i]);
	spin_unlock(&ring->lock);
}

/* As if the driver had received them: SO_INCOMING_NAPI_ID tells the queue. */
static void take_driver_id(struct pst_nicq *q)
{
	unsigned int id = pst_sock_napi_id(q->xsk.sock->sk);

	if (unlikely(q->napi.napi_id != id))
		pst_napi_set_id(&q->napi, id);
}

/* Injects up to @budget (at most 64) frames; how many there were. */
u32 pst_inject(struct pst_nicq *q, u32 budget)
{
	struct pst_xring *rx = &q->xsk.rx;
	struct pst_bufs *bufs = q->ring->pool.bufs;
	/* AF_XDP's producer before its descriptors. */
	u32 avail = smp_load_acquire(rx->producer) - q->xsk.rx_cons;
	u32 n = min(avail, budget), i, nunused = 0, unused[64] __uninitialized;
	struct burst b __uninitialized;
	struct frame cur, next;
	bool have, have_next, run = false;

	if (!n)
		return 0;
	b.q = q;
	b.gro_open = false;
	b.n = 0;
	INIT_LIST_HEAD(&b.datagrams);
	local_bh_disable();
	take_driver_id(q);
	this_cpu_write(pst_injecting, q->ring);
	have = read_frame(q, q->xsk.rx_cons, &cur);
	for (i = 0; i < n; i++, have = have_next, cur = next) {
		struct sk_buff *skb;
		bool follows;
		u32 placed;

		have_next = i + 1 < n && read_frame(q, q->xsk.rx_cons + i + 1, &next);
		if (unlikely(!have))
			continue;
		if (unlikely(pst_buf_state(bufs, cur.buf) != PST_BUF_NIC)) {
			q->ring->c.nic_bad++;	/* the frame before had it as well */
			continue;
		}
		follows = cur.len >= GRO_MIN && have_next &&
			  same_flow(frame_data(q, &cur), frame_data(q, &next), next.len);
		placed = b.n;
		skb = likely(cur.len) ? make_skb(&b, &cur) : NULL;
		if (b.n == placed) {
			pst_buf_take_back(bufs, cur.buf);
			unused[nunused++] = cur.buf;
		}
		if (likely(skb))
			deliver(&b, skb, &cur, run || follows);
		else
			q->ring->c.nic_dropped++;
		run = follows;
	}
	end_merging(&b);
	deliver_datagrams(&b);
	this_cpu_write(pst_injecting, NULL);
	pst_udp_pull(q->ring);
	settle(&b, unused, nunused);
	local_bh_enable();

	q->xsk.rx_cons += n;
	smp_store_release(rx->consumer, q->xsk.rx_cons);	/* descriptors are read */
	q->ring->c.nic_frames += n;
	return n;
}
