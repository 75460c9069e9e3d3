// SPDX-License-Identifier: BSD-2-Clause
/*
 * kernel/inject.c: the length of headers, in frames that end anywhere, and what becomes
 * of a frame's buffer.
 */
#include "kernel/test.h"
#include "../../kernel/inject.c"
#include "trace.h"

enum { V4 = 1, V6 = 2, VLAN = 4 };

/* A frame, well formed. */
static u8 frame[4096];
static u32 l2, l3, l4;	/* where IP, TCP and payload begin */
static u32 end;		/* where the IP packet ends */

static void make_frame(u32 what, u32 ip_words, u32 tcp_words, u32 payload)
{
	u8 *p = frame + 12;
	u32 i;

	for (i = 0; i < HEAD_MAX + 32; i += 4)
		*(u32 *)(frame + i) = rnd(0xffffffff);
	if (what & VLAN) {
		*(u16 *)p = htons(ETH_P_8021Q);
		p += 4;
	}
	*(u16 *)p = htons(what & V4 ? ETH_P_IP : ETH_P_IPV6);
	p += 2;
	l2 = p - frame;
	if (what & V4) {
		p[0] = 0x40 | ip_words;
		l3 = l2 + ip_words * 4;
		*(u16 *)(p + 2) = htons(ip_words * 4 + tcp_words * 4 + payload);
		p[6] = rnd(2) ? 0x40 : 0;	/* may not be fragmented */
		p[7] = 0;
		p[9] = IPPROTO_TCP;
	} else {
		p[0] = 0x60;
		l3 = l2 + 40;
		*(u16 *)(p + 4) = htons(tcp_words * 4 + payload);
		p[6] = IPPROTO_TCP;
	}
	l4 = l3 + tcp_words * 4;
	frame[l3 + 12] = tcp_words << 4 | rnd(16);
	end = l4 + payload;
}

/* Of the first @len bytes, with nothing readable behind them. */
static u32 headers_of(u32 len)
{
	u8 *mem = malloc(len + 2), *p;
	struct headers h;

	assert_non_null(mem);
	p = mem + 2;	/* as aligned as an skb's */
	memcpy(p, frame, len);
	read_headers(p, len, &h);
	free(mem);
	return h.payload;
}

/* With and without the right checksum, of lengths odd and even; padding does not count. */
static void checksums(void **state)
{
	static const u32 kinds[] = { V4, V6, V4 | VLAN, V6 | VLAN };
	static u8 mem[2 + HEAD_MAX] __attribute__((aligned(4)));
	u8 *head = mem + 2;	/* as aligned as an skb's */
	struct headers h;
	__wsum sum;
	u32 k, len;

	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		for (len = 1; len < 1400; len += 13) {
			u32 ips = kinds[k] & V4 ? 12 : 8;	/* where the addresses are */
			u8 *check;

			make_frame(kinds[k], 5, 8, len);
			check = frame + l3 + 16;
			memset(check, 0, 2);
			sum = csum_partial(frame + l2 + ips, l3 - l2 - ips, 0);
			sum = csum_partial(frame + l3, end - l3, sum);
			*(__sum16 *)check = csum_fold(sum + htons(end - l3) + htons(IPPROTO_TCP));
			memset(frame + end, 0xa5, 6);
			memcpy(head, frame, HEAD_MAX);
			read_headers(head, HEAD_MAX, &h);
			assert_int_equal(h.end, end);
			assert_true(checksum_is_right(head, frame, &h));
			frame[l3 + rnd(end - l3)] ^= 1 << rnd(8);
			assert_false(checksum_is_right(head, frame, &h));
		}
}

static void well_formed(void **state)
{
	static const u32 kinds[] = { V4, V6, V4 | VLAN, V6 | VLAN };
	u32 k, ip, tcp, payload, len;

	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		for (ip = 5; ip <= (kinds[k] & V4 ? 15 : 5); ip++)
			for (tcp = 5; tcp <= 15; tcp++)
				for (payload = 1; payload < 4000; payload = payload * 7 + 1) {
					make_frame(kinds[k], ip, tcp, payload);
					if (end > sizeof(frame))
						continue;
					assert_int_equal(headers_of(end), l4);
					/* What place_frame() asks for. */
					len = min(end, (u32)HEAD_MAX);
					assert_int_equal(headers_of(len), l4 <= len ? l4 : 0);
				}
}

/* Cut anywhere: the answer is there as soon as the headers are. */
static void truncated(void **state)
{
	static const u32 kinds[] = { V4, V6, V4 | VLAN, V6 | VLAN };
	u32 k, ip, tcp, len;

	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		for (ip = 5; ip <= (kinds[k] & V4 ? 15 : 5); ip += 2)
			for (tcp = 5; tcp <= 15; tcp++) {
				make_frame(kinds[k], ip, tcp, 100);
				for (len = ETH_HLEN; len <= end; len++)
					assert_int_equal(headers_of(len), len < l4 ? 0 : l4);
			}
}

/* No payload: also when Ethernet pads, with or without IP options. */
static void no_payload(void **state)
{
	static const u32 kinds[] = { V4, V6, V4 | VLAN, V6 | VLAN };
	u32 k, tcp, pad;

	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		for (tcp = 5; tcp <= 15; tcp++)
			for (pad = 0; pad < 60; pad++) {
				make_frame(kinds[k], 5, tcp, 0);
				assert_int_equal(headers_of(end + pad), 0);
				make_frame(kinds[k], 5, tcp, 1);
				assert_int_equal(headers_of(end + pad), l4);
			}
}

static void fragments(void **state)
{
	u32 bit;

	for (bit = 0; bit < 16; bit++) {
		make_frame(V4, 5, 5, 100);
		*(u16 *)(frame + l2 + 6) = htons(1u << bit);
		/* 15 is reserved, 14 says may not be fragmented. */
		assert_int_equal(headers_of(end), bit >= 14 ? l4 : 0);
	}
}

static void other_protocols(void **state)
{
	u32 i, good = 0;

	for (i = 0; i < 256; i++) {
		make_frame(V4, 5, 5, 100);
		frame[l2 + 9] = i;
		*(u16 *)(frame + l3 + 4) = 0;	/* no length of a datagram */
		assert_int_equal(headers_of(end), i == IPPROTO_TCP ? l4 : 0);
		make_frame(V6, 5, 5, 100);
		*(u16 *)(frame + l3 + 4) = 0;
		frame[l2 + 6] = i;	/* extension headers, too: not in place */
		assert_int_equal(headers_of(end), i == IPPROTO_TCP ? l4 : 0);
	}
	for (i = 0; i < 65536; i++) {
		make_frame(V4, 5, 5, 10);
		*(u16 *)(frame + 12) = i;
		good += !!headers_of(end);
	}
	assert_in_range(good, 1, 3);	/* IPv4; if the noise looks like it, the others */
	make_frame(V4 | VLAN, 5, 5, 100);
	*(u16 *)(frame + 16) = htons(ETH_P_8021Q);	/* two tags */
	assert_int_equal(headers_of(end), 0);
}

/* The same frame with UDP in it. */
static void make_datagram(u32 what, u32 ip_words, u32 payload)
{
	make_frame(what, ip_words, 2, payload);
	frame[what & V4 ? l2 + 9 : l2 + 6] = IPPROTO_UDP;
	*(u16 *)(frame + l3 + 4) = htons(8 + payload);
}

/* Found when the headers are there and the two lengths agree; else it is for UDP to judge. */
static void datagrams(void **state)
{
	static const u32 kinds[] = { V4, V6, V4 | VLAN, V6 | VLAN };
	u32 k, ip, payload, len;

	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		for (ip = 5; ip <= (kinds[k] & V4 ? 15 : 5); ip++)
			for (payload = 0; payload < 1400; payload = payload * 3 + 1) {
				make_datagram(kinds[k], ip, payload);
				for (len = ETH_HLEN; len <= min(end, (u32)HEAD_MAX); len++)
					assert_int_equal(headers_of(len), payload && len >= l4 ? l4 : 0);
				*(u16 *)(frame + l3 + 4) = htons(8 + payload - 1);
				assert_int_equal(headers_of(min(end, (u32)HEAD_MAX)), 0);
				*(u16 *)(frame + l3 + 4) = htons(8 + payload + 1);
				assert_int_equal(headers_of(min(end, (u32)HEAD_MAX)), 0);
			}
}

/* Right, wrong, and none, which is UDP's business. */
static void datagram_checksums(void **state)
{
	static const u32 kinds[] = { V4, V6, V4 | VLAN, V6 | VLAN };
	static u8 mem[2 + HEAD_MAX] __attribute__((aligned(4)));
	u8 *head = mem + 2;	/* as aligned as an skb's */
	struct headers h;
	u32 k, len;

	for (k = 0; k < ARRAY_SIZE(kinds); k++)
		for (len = 1; len < 1400; len += 13) {
			u32 ips = kinds[k] & V4 ? 12 : 8;	/* where the addresses are */
			__wsum sum;

			make_datagram(kinds[k], 5, len);
			memset(frame + l3 + 6, 0, 2);
			memcpy(head, frame, HEAD_MAX);
			read_headers(head, HEAD_MAX, &h);
			assert_int_equal(h.payload, l4);
			assert_false(checksum_is_right(head, frame, &h));
			sum = csum_partial(frame + l2 + ips, l3 - l2 - ips, 0);
			sum = csum_partial(frame + l3, end - l3, sum);
			*(__sum16 *)(frame + l3 + 6) = csum_fold(sum + htons(end - l3) + htons(IPPROTO_UDP));
			memcpy(head, frame, HEAD_MAX);
			assert_true(checksum_is_right(head, frame, &h));
			frame[l4 + rnd(len)] ^= 1 << rnd(8);
			assert_false(checksum_is_right(head, frame, &h));
		}
}

/* Lengths that do not fit each other. */
static void lengths(void **state)
{
	u32 total;

	for (total = 0; total < 65536; total += 1 + (total > 300) * 101) {
		make_frame(V4, 5, 5, 100);
		*(u16 *)(frame + l2 + 2) = htons(total);
		assert_int_equal(headers_of(end), total > 40 ? l4 : 0);
		make_frame(V6, 5, 5, 100);
		*(u16 *)(frame + l2 + 4) = htons(total);
		assert_int_equal(headers_of(end), total > 20 ? l4 : 0);
	}
}

/* Noise that looks like TCP: nothing outside is read, the answer is inside. */
static void noise(void **state)
{
	u32 i;

	for (i = 0; i < 100000; i++) {
		static const u32 kinds[] = { V4, V6, V4 | VLAN, V6 | VLAN };
		u32 len = ETH_HLEN + rnd(HEAD_MAX - ETH_HLEN + 1), l, j;

		make_frame(kinds[rnd(4)], 5 + rnd(11), rnd(16), rnd(100));
		for (j = rnd(4); j; j--)
			frame[12 + rnd(60)] = rnd(256);
		l = headers_of(len);
		assert_true(!l || (l >= ETH_HLEN && l <= len));
	}
}

/* ------------------------------------------------------------ buffers */

#define BUFS	64

static struct pst_bufs b;
static struct pst_ring *ring;
static struct pst_nic *nic;
static struct pst_nicq *q;
static struct socket sock;
static struct net_device dev;
static struct xdp_desc desc[PST_XSK_RING];
static u32 producer, consumer;
static struct sk_buff *got[64];
static u32 ngot, merged, lists;
static bool keep;

void mock_trace_pst_buf(const struct pst_bufs *bufs, u32 idx, u8 from, u8 to) { }

static void receive(struct sk_buff *skb)
{
	assert_ptr_equal(skb->dev, &dev);
	assert_int_equal(skb->queue, 3);
	assert_false(ring->lock.locked);
	if (keep)
		got[ngot] = skb;
	else
		kfree_skb(skb);
	ngot++;
}

void netif_receive_skb(struct sk_buff *skb)
{
	assert_false(q->napi.scheduled);	/* what is merged would be overtaken */
	receive(skb);
}

void netif_receive_skb_list(struct list_head *skbs)
{
	struct list_head *p, *next;

	assert_false(q->napi.scheduled);
	lists++;
	for (p = skbs->next; p != skbs; p = next) {
		next = p->next;
		receive(container_of(p, struct sk_buff, list));
	}
}

void napi_gro_receive(struct napi_struct *napi, struct sk_buff *skb)
{
	assert_true(napi->scheduled);
	merged++;
	receive(skb);
}

static int setup(void **state)
{
	mock_setup(state);
	assert_int_equal(pst_bufs_init(&b, BUFS), 0);
	ring = mock_alloc(1, sizeof(*ring));
	assert_int_equal(pst_pool_init(&ring->pool, &b), 0);
	nic = mock_alloc(1, struct_size(nic, queue, 1));
	nic->dev = &dev;
	q = &nic->queue[0];
	q->nic = nic;
	q->ring = ring;
	q->id = 3;
	q->xsk.rx.desc = desc;
	q->xsk.sock = &sock;
	q->xsk.rx.producer = &producer;
	q->xsk.rx.consumer = &consumer;
	q->xsk.rx_cons = producer = consumer = 0xfffffff0;	/* wraps soon */
	ngot = merged = lists = 0;
	keep = true;
	return 0;
}

static int teardown(void **state)
{
	pst_pool_destroy(&ring->pool);
	mock_free(ring);
	mock_free(nic);
	pst_bufs_destroy(&b);
	return mock_teardown(state);
}

/* A frame arrives, as made; the buffer it is in. */
static u32 arrive(u32 off, u32 len)
{
	u32 buf = pst_buf_take_for_nic(&ring->pool, 0);
	u32 i = producer++ & (PST_XSK_RING - 1);

	if ((u64)off + len <= PST_BUF_SIZE)
		memcpy((char *)pst_buf_addr(&b, buf) + off, frame, len);
	desc[i] = (struct xdp_desc) { .addr = (u64)buf * PST_BUF_SIZE + off, .len = len };
	return buf;
}

static void in_place(void **state)
{
	u32 buf;

	make_frame(V4, 5, 8, 300);
	buf = arrive(256, end);
	assert_int_equal(pst_inject(q, 64), 1);
	assert_int_equal(ngot, 1);
	assert_int_equal(got[0]->len, end);
	assert_ptr_equal(got[0]->page, b.page[buf]);
	assert_int_equal(got[0]->frag_off, 256 + l4);
	assert_int_equal(got[0]->frag_len, 300);
	assert_memory_equal(got[0]->data, frame, l4);
	assert_int_equal(pst_buf_state(&b, buf), PST_BUF_STACK);
	assert_int_equal(b.parked[buf], 1);	/* still in a socket, perhaps */
	assert_int_equal(consumer, producer);
	kfree_skb(got[0]);
	pst_pool_reap(&ring->pool, 10);
	assert_int_equal(pst_buf_state(&b, buf), PST_BUF_FREE);

	keep = false;		/* dropped at once */
	buf = arrive(256, end);
	assert_int_equal(pst_inject(q, 64), 1);
	assert_int_equal(pst_buf_state(&b, buf), PST_BUF_FREE);
	assert_int_equal(pst_inject(q, 64), 0);
	assert_int_equal(ring->c.nic_in_place, 2);
	assert_int_equal(ring->c.nic_frames, 2);
}

/* Copied whole, the buffer free at once: pure ACK, padded, short of buffers, long headers. */
static void copied(void **state)
{
	static const struct { u32 what, ip, tcp, payload, pad; bool low; } cases[] = {
		{ V4, 5, 5, 0, 6, false }, { V6, 5, 8, 0, 0, false }, { V4, 5, 5, 500, 0, true },
		{ V4, 15, 15, 500, 0, false }, { V6 | VLAN, 5, 15, 80, 0, false },
		{ V4, 5, 5, 0, 500, false },
	};
	u32 i, buf;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		make_frame(cases[i].what, cases[i].ip, cases[i].tcp, cases[i].payload);
		b.low = cases[i].low ? 1000 : 0;
		ngot = 0;
		buf = arrive(0, end + cases[i].pad);
		assert_int_equal(pst_inject(q, 64), 1);
		assert_int_equal(ngot, 1);
		assert_int_equal(got[0]->len, end + cases[i].pad);
		if (l4 > HEAD_MAX || cases[i].low || !cases[i].payload) {
			assert_null(got[0]->page);
			assert_memory_equal(got[0]->data, frame, end + cases[i].pad);
			assert_int_equal(pst_buf_state(&b, buf), PST_BUF_FREE);
			kfree_skb(got[0]);
		} else {
			kfree_skb(got[0]);
			pst_pool_reap(&ring->pool, 10);
		}
		assert_int_equal(pst_buf_state(&b, buf), PST_BUF_FREE);
	}
	assert_int_equal(ring->c.nic_recycled, 1);
}

/* Descriptors that name nothing of ours, or no frame. */
static void bad_descriptors(void **state)
{
	static const struct { u32 off, len; } bad[] = {
		{ 0, 0 }, { 0, 13 }, { 4000, 97 }, { 4095, 14 }, { 0, 4097 }, { 1, 0xffffffff },
	};
	static const u64 addr[] = {
		0, 4096, BUFS * 4096ull, (BUFS - 1) * 4096ull, 1ull << 44 | 5 << 12, ~0ull,
		(1ull << 32) * 4096 + 5 * 4096,
	};
	u32 i, buf;

	make_frame(V4, 5, 5, 100);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		buf = arrive(bad[i].off, bad[i].len);
		assert_int_equal(pst_inject(q, 64), 1);
		assert_int_equal(pst_buf_state(&b, buf), PST_BUF_FREE);
		assert_int_equal(ring->c.nic_dropped, i + 1);
	}
	for (i = 0; i < ARRAY_SIZE(addr); i++) {
		desc[producer++ & (PST_XSK_RING - 1)] =
			(struct xdp_desc) { .addr = addr[i], .len = 60 };
		assert_int_equal(pst_inject(q, 64), 1);
		assert_int_equal(ring->c.nic_bad, i + 1);
	}
	buf = arrive(0, end);
	pst_buf_untake(&ring->pool, buf);	/* not the NIC's any more */
	assert_int_equal(pst_inject(q, 64), 1);
	assert_int_equal(ring->c.nic_bad, i + 1);
	assert_int_equal(ngot, 0);
	assert_int_equal(pst_pool_level(&ring->pool), BUFS - PST_BUFS_RESERVED);
}

/* The same buffer twice in a batch: the second descriptor is bad. */
static void twice(void **state)
{
	u32 buf;

	make_frame(V4, 5, 5, 100);
	keep = false;
	buf = arrive(0, end);
	desc[producer & (PST_XSK_RING - 1)] = desc[(producer - 1) & (PST_XSK_RING - 1)];
	producer++;
	assert_int_equal(pst_inject(q, 64), 2);
	assert_int_equal(pst_buf_state(&b, buf), PST_BUF_FREE);
	assert_int_equal(pst_pool_level(&ring->pool), BUFS - PST_BUFS_RESERVED);
}

static void no_memory(void **state)
{
	u32 buf;

	make_frame(V4, 5, 5, 100);
	keep = false;
	mock.fail_alloc = 1;	/* the head; the copy then succeeds */
	buf = arrive(0, end);
	assert_int_equal(pst_inject(q, 64), 1);
	assert_int_equal(ngot, 1);
	assert_int_equal(ring->c.nic_in_place, 0);
	assert_int_equal(pst_buf_state(&b, buf), PST_BUF_FREE);

	b.low = 1000;
	mock.fail_alloc = 1;	/* the copy */
	buf = arrive(0, end);
	assert_int_equal(pst_inject(q, 64), 1);
	assert_int_equal(ngot, 1);
	assert_int_equal(ring->c.nic_dropped, 1);
	assert_int_equal(pst_buf_state(&b, buf), PST_BUF_FREE);
}

/* A frame of flow @flow, the same one each time. */
static void arrive_of(u32 what, u32 flow, u32 payload)
{
	make_frame(what, 5, 8, payload);
	memset(frame + l2 + (what == V4 ? 12 : 8), flow, what == V4 ? 12 : 36);
	frame[l3 + 12] = 8 << 4;
	arrive(0, end);
}

/* A run of one flow is merged with the frame that ends it; nothing else is. */
static void merging(void **state)
{
	static const struct { u8 flows[8]; u32 payload, merged; } cases[] = {
		{ "ababab", 1000, 0 }, { "a", 1000, 0 }, { "aa", 1000, 2 },
		{ "abbbab", 1000, 3 }, { "aabb", 1000, 4 }, { "aaaaa", 100, 0 },
		{ "aaAAaA", 1000, 4 },	/* IPv4 and IPv6 */
	};
	u32 i, j;

	keep = false;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		merged = ngot = 0;
		for (j = 0; cases[i].flows[j]; j++)
			arrive_of(cases[i].flows[j] == 'A' ? V6 : V4, cases[i].flows[j],
				  cases[i].payload);
		assert_int_equal(pst_inject(q, 64), j);
		assert_int_equal(ngot, j);
		assert_int_equal(merged, cases[i].merged);
		assert_false(q->napi.scheduled);
		assert_int_equal(pst_pool_level(&ring->pool), BUFS - PST_BUFS_RESERVED);
	}
}

/* Datagrams go as a list, and before what comes behind them; the order stays. */
static void listing(void **state)
{
	static const struct { const char *frames; u32 lists; } cases[] = {
		{ "uuuu", 1 }, { "u", 1 }, { "ttt", 0 }, { "tuut", 1 }, { "utut", 2 },
		{ "uuTTu", 2 },		/* T: merged */
	};
	u32 i, j, n;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		ngot = lists = 0;
		for (n = 0; cases[i].frames[n]; n++) {
			if (cases[i].frames[n] == 'u')
				make_datagram(V4, 5, 20);
			else
				make_frame(V4, 5, 8, cases[i].frames[n] == 'T' ? 1000 : 20);
			frame[0] = n;
			arrive(256, end);
		}
		assert_int_equal(pst_inject(q, 64), n);
		assert_int_equal(ngot, n);
		assert_int_equal(lists, cases[i].lists);
		for (j = 0; j < n; j++) {
			assert_int_equal(got[j]->data[0], j);
			kfree_skb(got[j]);
		}
		pst_pool_reap(&ring->pool, 64);
		assert_int_equal(pst_pool_level(&ring->pool), BUFS - PST_BUFS_RESERVED);
	}
}

/* So close to the buffer's end that a whole head would reach beyond it. */
static void at_the_end(void **state)
{
	u32 off;

	make_frame(V4, 5, 5, 10);
	for (off = PST_BUF_SIZE - HEAD_MAX - 1; off <= PST_BUF_SIZE - end; off++) {
		ngot = 0;
		arrive(off, end);
		assert_int_equal(pst_inject(q, 64), 1);
		assert_int_equal(ngot, 1);
		assert_int_equal(got[0]->len, end);
		assert_memory_equal(got[0]->data, frame, l4);
		kfree_skb(got[0]);
		pst_pool_reap(&ring->pool, 1);
	}
}

static void budget(void **state)
{
	u32 i;

	keep = false;
	make_frame(V4, 5, 8, 100);
	for (i = 0; i < 50; i++)
		arrive(0, end);
	assert_int_equal(pst_inject(q, 20), 20);
	assert_int_equal(pst_inject(q, 20), 20);
	assert_int_equal(pst_inject(q, 20), 10);
	assert_int_equal(pst_inject(q, 20), 0);
	assert_int_equal(ngot, 50);
	assert_int_equal(pst_pool_level(&ring->pool), BUFS - PST_BUFS_RESERVED);
}

int main(void)
{
#define I(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(well_formed), T(truncated), T(no_payload), T(fragments), T(other_protocols),
		T(datagrams), T(datagram_checksums), T(lengths), T(noise), T(checksums),
		I(in_place), I(copied), I(bad_descriptors), I(twice), I(no_memory), I(merging),
		I(listing), I(at_the_end), I(budget),
	};

	return cmocka_run_group_tests_name("kernel_inject", tests, NULL, NULL);
}
