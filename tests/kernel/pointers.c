// SPDX-License-Identifier: BSD-2-Clause
/*
 * pointers: a sync with an illegal head or cur does nothing, says so (EINVAL, or
 * POLLERR from poll()), is counted, and puts the ring back; the next one works.  So it is
 * with each number of slots that the application can have of either ring.
 *
 * [short]
 */
#include "port.h"

#define SLOTS		16
#define FOR_DATA	(SLOTS - 1 - SLOTS / 8)		/* slots of the RX ring */
#define DATA		4000

static struct port p;
static int sock, peer;
static unsigned int handed;	/* slots to the socket that is full */

/* Is @head, @cur legal for a ring whose application owns [@h, @t)? */
static bool legal(uint32_t h, uint32_t t, uint32_t head, uint32_t cur)
{
	uint32_t space = (t + SLOTS - h) % SLOTS;

	return head < SLOTS && cur < SLOTS && (head + SLOTS - h) % SLOTS <= space &&
	       (cur + SLOTS - h) % SLOTS <= space &&
	       (cur + SLOTS - h) % SLOTS >= (head + SLOTS - h) % SLOTS;
}

/* A sync that finds housekeeping in the ring does nothing, and comes again: not so one that has looked. */
static int sync_with(struct netmap_ring *r, unsigned long sync, uint32_t head, uint32_t cur)
{
	int result = 0;

	for (int i = 0; i < 100 && !result; i++) {
		r->head = head;
		r->cur = cur;
		result = ioctl(p.fd, sync);
		if (!result)
			usleep(200);
	}
	return result;
}

/* The same by poll(): what it says. */
static int poll_with(struct netmap_ring *r, short events, uint32_t head, uint32_t cur)
{
	struct pollfd pfd = { .fd = p.fd, .events = events };

	for (int i = 0; i < 100 && !(pfd.revents & POLLERR); i++) {
		if (i)
			usleep(200);
		r->head = head;
		r->cur = cur;
		t_ok(poll(&pfd, 1, 0));
	}
	return pfd.revents;
}

static void try(struct netmap_ring *r, unsigned long sync, uint32_t head, uint32_t cur)
{
	uint32_t h = r->head, t = r->tail;
	struct nmreq_pst_stats before, after;

	if (legal(h, t, head, cur))
		return;
	t_note("%s ring, head %u tail %u: head = %#x, cur = %#x", sync == NIOCTXSYNC ? "TX" : "RX", h, t, head, cur);
	before = port_stats(&p);
	t_fails(EINVAL, sync_with(r, sync, head, cur));
	t_eq(r->head, h);
	t_eq(r->cur, h);
	t_eq(r->tail, t);
	t_true(poll_with(r, sync == NIOCTXSYNC ? POLLOUT : POLLIN, head, cur) & POLLERR);
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

/* Every illegal pair when the application has @rx slots of the RX ring and @tx of the TX ring. */
static void look(uint32_t rx, uint32_t tx)
{
	t_must(nm_ring_space(p.rx) == rx && nm_ring_space(p.tx) == tx);
	try_all(p.rx, NIOCRXSYNC);
	try_all(p.tx, NIOCTXSYNC);
	t_must(nm_ring_space(p.rx) == rx && nm_ring_space(p.tx) == tx);
}

static void sync_until(uint32_t rx)
{
	uint64_t end = now_ms() + 3000 * t_slower();

	do
		port_sync(&p);
	while (nm_ring_space(p.rx) < rx && now_ms() < end);
}

/* @n slots of ten bytes each. */
static void receive(uint32_t n)
{
	for (uint32_t i = 1; i <= n; i++) {
		t_eq(write(peer, "0123456789", 10), 10);
		sync_until(i);
	}
}

static void check_received(uint32_t n)
{
	char text[SLOTS * 10];

	t_note("stream after %u slots", n);
	t_eq(port_collect(&p, sock, text, n * 10, 1000), n * 10);
	for (uint32_t i = 0; i < n; i++)
		t_true(!memcmp(text + i * 10, "0123456789", 10));
}

/* The rings go on by a slot or more, so that each level is at another place. */
static void answer(void)
{
	char text[3];

	port_put(&p, sock, "abc", 3);
	port_sync(&p);
	t_eq(read_n(peer, text, 3, 1000), 3);
}

/*
 * Slots for @full until @tx are left of the ring.  It is a Unix socket whose peer does not read; one
 * of TCP's would move on by itself now and then.
 */
static void jam(int full, uint32_t tx)
{
	static const char data[DATA];

	while (nm_ring_space(p.tx) > tx) {
		t_must(handed < 1000);
		port_put(&p, full, data, DATA);
		handed++;
		port_sync(&p);
	}
}

/* All of what was handed in. */
static void unjam(int reader)
{
	static char text[DATA];
	uint64_t end = now_ms() + 10000 * t_slower();
	size_t got = 0;

	while (got < (size_t)handed * DATA && now_ms() < end) {
		ssize_t n = recv(reader, text, sizeof(text), MSG_DONTWAIT);

		if (n > 0)
			got += (size_t)n;
		else
			port_sync(&p);
	}
	t_eq(got, handed * DATA);
}

int main(void)
{
	int ended, other, s[2];
	char c;

	port_make(&p, "stack:pointers", SLOTS, 0);
	port_pair(&p, &sock, &peer);
	port_pair(&p, &ended, &other);
	t_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) && !port_register(&p, s[0]));
	t_must(p.rx->num_slots == SLOTS && p.tx->num_slots == SLOTS);
	for (uint32_t n = 0; n <= FOR_DATA; n++) {
		receive(n);
		look(n, SLOTS - 1);
		check_received(n);
		answer();
	}
	/* the last slots are for an end and for a congestion */
	receive(FOR_DATA);
	close(other);
	sync_until(FOR_DATA + 1);
	look(FOR_DATA + 1, SLOTS - 1);
	jam(s[0], SLOTS - 2);
	look(SLOTS - 1, SLOTS - 2);
	check_received(FOR_DATA);
	t_eq(port_collect(&p, ended, &c, 1, 1000), -1000);
	t_eq(port_collect(&p, s[0], &c, 1, 1000), -1000 - EAGAIN);
	port_sync(&p);		/* they are the kernel's again */
	for (uint32_t n = SLOTS - 1; n--; ) {
		jam(s[0], n);
		look(0, n);
	}
	unjam(s[1]);
	port_close(&p);
	return t_end();
}
