// SPDX-License-Identifier: BSD-2-Clause
/*
 * pointers: a sync with an illegal head or cur does nothing, says so (EINVAL, or
 * POLLERR from poll()), is counted, and puts the ring back; the next one works.
 *
 * [short]
 */
#include "port.h"

#define SLOTS	16

static struct port p;
static int sock, peer;

/* Is @head, @cur legal for a ring whose application owns [@h, @t)? */
static bool legal(uint32_t h, uint32_t t, uint32_t head, uint32_t cur)
{
	uint32_t space = (t + SLOTS - h) % SLOTS;

	return head < SLOTS && cur < SLOTS && (head + SLOTS - h) % SLOTS <= space &&
	       (cur + SLOTS - h) % SLOTS <= space &&
	       (cur + SLOTS - h) % SLOTS >= (head + SLOTS - h) % SLOTS;
}

static void try(struct netmap_ring *r, unsigned long sync, uint32_t head, uint32_t cur)
{
	uint32_t h = r->head, t = r->tail;
	struct nmreq_pst_stats before, after;
	struct pollfd pfd = { .fd = p.fd, .events = sync == NIOCTXSYNC ? POLLOUT : POLLIN };

	if (legal(h, t, head, cur))
		return;
	t_note("%s ring, head %u tail %u: head = %#x, cur = %#x", sync == NIOCTXSYNC ? "TX" : "RX", h, t, head, cur);
	before = port_stats(&p);
	r->head = head;
	r->cur = cur;
	t_fails(EINVAL, ioctl(p.fd, sync));
	t_eq(r->head, h);
	t_eq(r->cur, h);
	t_eq(r->tail, t);
	r->head = head;
	r->cur = cur;
	t_eq(poll(&pfd, 1, 0), 1);
	t_true(pfd.revents & POLLERR);
	t_eq(r->head, h);
	t_eq(r->tail, t);
	after = port_stats(&p);
	t_eq(after.counters.bad_pointers, before.counters.bad_pointers + 2);
	t_eq(after.counters.tx_slots, before.counters.tx_slots);
	t_ok(ioctl(p.fd, sync));
}

static void try_all(struct netmap_ring *r, unsigned long sync)
{
	static const uint32_t wild[] = { SLOTS, SLOTS + 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff };
	unsigned int i, j;

	for (i = 0; i < SLOTS; i++)
		for (j = 0; j < SLOTS; j++)
			try(r, sync, i, j);
	for (i = 0; i < 6; i++)
		for (j = 0; j < 6; j++) {
			try(r, sync, wild[i], wild[j]);
			try(r, sync, r->head, wild[j]);
			try(r, sync, wild[i], r->tail);
		}
}

int main(void)
{
	char text[64];

	port_make(&p, "stack:pointers", SLOTS, 0);
	port_pair(&p, &sock, &peer);
	t_must(p.rx->num_slots == SLOTS && p.tx->num_slots == SLOTS);
	/* at several fill levels and places of the rings */
	for (int turn = 0; turn < 20; turn++) {
		int n = turn % 7;

		for (int i = 0; i < n; i++) {
			t_eq(write(peer, "0123456789", 10), 10);
			port_put(&p, sock, "abc", 3);
		}
		port_sync(&p);
		if (turn % 4 == 1) {
			try_all(p.rx, NIOCRXSYNC);
			try_all(p.tx, NIOCTXSYNC);
		}
		t_note("stream after turn %d", turn);
		t_eq(port_collect(&p, sock, text, (size_t)n * 10, 1000), n * 10);
		t_eq(read_n(peer, text, (size_t)n * 3, 1000), n * 3);
	}
	port_close(&p);
	return t_end();
}
