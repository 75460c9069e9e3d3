// SPDX-License-Identifier: BSD-2-Clause
/*
 * segments: what is sent to one socket in consecutive slots of a sync leaves in one segment, small
 * pieces and large ones, a small one before a large one without being copied; and nothing of it
 * stays behind when a slot after it is refused.
 *
 * [short]
 */
#include <stddef.h>
#include "port.h"

#define BIG	2000	/* sent by reference, of small ones there is a copy */

static struct port p;
static char data[BIG], got[8 * BIG];

/* The C library's struct ends with its base. */
struct info {
	struct tcp_info base;
	uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
	uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
};

_Static_assert(offsetof(struct info, data_segs_out) == 156, "as in linux/tcp.h");

/* Segments with data that @sock has sent. */
static uint32_t segments(int sock)
{
	struct info info = { 0 };
	socklen_t len = sizeof(info);

	t_must(!getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &len));
	return info.data_segs_out;
}

/* Slots of these sizes, the last being 0, arrive whole, and as one segment. */
static void in_one(const uint16_t *sizes)
{
	int sock, peer;
	size_t all = 0;

	port_pair(&p, &sock, &peer);
	for (int i = 0; sizes[i]; all += sizes[i++])
		port_put(&p, sock, data, sizes[i]);
	port_sync(&p);
	t_eq(read_n(peer, got, all, 2000), all);
	t_eq(segments(sock), 1);
	close(sock);
	close(peer);
}

/* The head of an answer is not copied when its body is behind it. */
static void by_reference(void)
{
	uint64_t copied = port_stats(&p).counters.tx_copied;
	int sock, peer;

	port_pair(&p, &sock, &peer);
	port_put(&p, sock, data, 100);
	port_put(&p, sock, data, BIG);
	port_sync(&p);
	t_eq(read_n(peer, got, 100 + BIG, 2000), 100 + BIG);
	t_eq(port_stats(&p).counters.tx_copied, copied);
	close(sock);
	close(peer);
}

/* Slots of two sockets in turn are two streams; each leaves at once. */
static void in_turns(void)
{
	int sock[2], peer[2];

	for (int i = 0; i < 2; i++)
		port_pair(&p, &sock[i], &peer[i]);
	for (int i = 0; i < 4; i++)
		port_put(&p, sock[i % 2], data, 100);
	port_sync(&p);
	for (int i = 0; i < 2; i++) {
		t_eq(read_n(peer[i], got, 200, 2000), 200);
		close(sock[i]);
		close(peer[i]);
	}
}

/* The slot behind it names no buffer of ours. */
static void then_refused(uint16_t size)
{
	int sock, peer;
	uint32_t i;

	port_pair(&p, &sock, &peer);
	port_put(&p, sock, data, size);
	i = p.tx->head;
	port_put(&p, sock, data, 100);
	p.tx->slot[i].buf_idx = 0;
	port_sync(&p);
	t_true(p.tx->slot[i].flags & NS_PST_REFUSED);
	t_eq(read_n(peer, got, size, 2000), size);
	close(sock);
	close(peer);
}

int main(void)
{
	static const uint16_t sizes[][6] = {
		{ 100, 100, 100 }, { 100, BIG }, { BIG, 100 }, { 100, BIG, BIG, 100 }, { 200, 1, BIG, 1, 1 },
	};

	port_make(&p, "stack:segments", 64, 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		in_one(sizes[i]);
	by_reference();
	in_turns();
	then_refused(100);
	then_refused(BIG);
	port_close(&p);
	return t_end();
}
