// SPDX-License-Identifier: BSD-2-Clause
/*
 * congested: the end of congestion is told when TCP has all of it, what is held in the ring included: who closes then
 * loses nothing.  When the connection fails it is not told.
 *
 * [short debug]
 */
#include "port.h"

#define SLOTS	256
#define HELD	180
#define QUEUE	64	/* slots: what the kernel takes of a full socket */

static struct port p;

static uint32_t held(void)
{
	return p.tx->num_slots - 1 - nm_ring_space(p.tx);
}

/* Slots of @size bytes until the socket's queue is full and at least HELD are held in the ring; the bytes. */
static size_t fill(int sock, uint16_t size)
{
	static char data[4096];
	size_t n = 0;

	for (int i = 0; i < 100000 && held() < HELD; i++) {
		while (!nm_ring_empty(p.tx) && held() < HELD) {
			port_put(&p, sock, data, size);
			n += size;
		}
		port_sync(&p);
		for (; !nm_ring_empty(p.rx); paste_rx_release(p.rx))
			;
	}
	t_must(held() >= HELD);
	return n;
}

/* Is the end of congestion among what has come? */
static bool cleared(void)
{
	bool clear = false;

	for (; !nm_ring_empty(p.rx); paste_rx_release(p.rx)) {
		struct netmap_slot *s = &p.rx->slot[p.rx->head];

		t_true(s->flags & NS_PST_EVENT);
		t_eq(s->err, EAGAIN);
		clear = s->flags & NS_PST_CLEAR;
		if (clear)
			t_eq(held(), 0);
	}
	return clear;
}

/* All that comes without a sync. */
static size_t read_all(int peer)
{
	static char buf[1 << 16];
	size_t got = 0;

	for (int quiet = 0; quiet < 20; quiet++) {
		ssize_t n = recv(peer, buf, sizeof(buf), MSG_DONTWAIT);

		t_must(n >= 0 || errno == EAGAIN);
		if (n > 0) {
			got += (size_t)n;
			quiet = 0;
		} else {
			usleep(1000);
		}
	}
	return got;
}

/* At the first word that it is over the socket is closed; the peer gets all @want bytes. */
static void close_when_clear(int sock, int peer, size_t want)
{
	static char rest[1 << 20];
	uint64_t end = now_ms() + 20000 * t_slower();
	bool over = false;
	size_t got = 0;

	while (!over && now_ms() < end) {
		got += read_all(peer);
		port_sync(&p);
		over = cleared();
	}
	t_true(over);
	close(sock);
	got += read_n(peer, rest, sizeof(rest), 5000);	/* to the end */
	t_eq(got, want);
	close(peer);
}

/* The socket takes what the queue has at once, but not what the ring has as well. */
static void try(int sock, int peer, uint16_t size)
{
	int room = QUEUE * size;

	t_ok(setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)));
	close_when_clear(sock, peer, fill(sock, size));
}

static void of_tcp(uint16_t size)
{
	int sock, peer;

	port_make(&p, "stack:c", SLOTS, 0);
	port_pair(&p, &sock, &peer);
	try(sock, peer, size);
	port_close(&p);
}

static void of_unix(void)
{
	int s[2];

	t_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	port_make(&p, "stack:c", SLOTS, 0);
	t_ok(port_register(&p, s[0]));
	try(s[0], s[1], 2000);
	port_close(&p);
}

/* The peer resets the connection: what waits is lost, and nobody is told that TCP has it. */
static void failed(void)
{
	struct linger reset = { .l_onoff = 1 };
	uint64_t end = now_ms() + 10000 * t_slower();
	int sock, peer, err = 0;

	port_make(&p, "stack:c", SLOTS, 0);
	port_pair(&p, &sock, &peer);
	fill(sock, 2500);
	t_ok(setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)));
	close(peer);
	while ((held() || !err) && now_ms() < end) {
		usleep(1000);
		port_sync(&p);
		for (; !nm_ring_empty(p.rx); paste_rx_release(p.rx)) {
			struct netmap_slot *s = &p.rx->slot[p.rx->head];

			t_true(!(s->flags & NS_PST_CLEAR));
			if (s->err != EAGAIN)
				err = s->err;
		}
	}
	t_eq(held(), 0);
	t_eq(err, ECONNRESET);
	close(sock);
	port_close(&p);
}

int main(void)
{
	t_note("by reference");
	of_tcp(2500);
	t_note("copied");
	of_tcp(200);
	t_note("Unix");
	of_unix();
	t_note("reset");
	failed();
	return t_end();
}
