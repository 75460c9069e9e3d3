// SPDX-License-Identifier: BSD-2-Clause
/*
 * crowded: the last slot of the RX ring, which is to tell of a connection that is being accepted, is taken by another one's bytes
 * in that moment: it is told of when there is a slot again, once, before its own bytes, and nothing is lost.
 *
 * [short debug cpus=2]
 */
#include <pthread.h>
#include <stdatomic.h>
#include "port.h"

#define SLOTS	16
#define ROOM	13	/* of these, one stays free and two are for events */
#define TRIES	3000
#define ENOUGH	20	/* times that it has happened */

static struct port p;
static int sock, filler;	/* the other connection, and its peer */
static uint8_t sent, got;	/* its bytes are 0, 1, 2 ... */
static atomic_int delay = -1;	/* when the next byte is to come, in microseconds; -1: it has */

static void send_byte(void)
{
	t_must(write(filler, &sent, 1) == 1);
	sent++;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void *disturb(void *arg)
{
	for (;;) {
		int us = atomic_load(&delay);
		uint64_t end = now_us() + (uint64_t)us;

		if (us == -2)
			return arg;
		if (us == -1)
			continue;
		while (now_us() < end)
			;
		send_byte();
		atomic_store(&delay, -1);
	}
}

/* The first slot: of the other connection, then its bytes go on; or of @fd, which is learnt by the slot that tells of it. */
static void take(const struct netmap_slot *s, int *fd, int *bytes)
{
	if (paste_rx_accepted(p.rx, s)) {
		t_eq(*fd, -1);
		*fd = s->fd;
	} else if (s->fd == sock) {
		for (size_t i = 0; i < slot_len(s); i++, got++)
			t_eq((uint8_t)slot_data(p.rx, s)[i], got);
	} else {
		t_eq(s->fd, *fd);
		t_eq(slot_len(s), 1);
		++*bytes;
	}
	paste_rx_release(p.rx);
}

static bool is_told_of(void)
{
	for (uint32_t i = p.rx->head; i != p.rx->tail; i = nm_ring_next(p.rx, i))
		if (paste_rx_accepted(p.rx, &p.rx->slot[i]))
			return true;
	return false;
}

/* True: the connection was accepted, and there was no slot to tell of it. */
static bool one(uint16_t number, int us)
{
	uint64_t before = port_stats(&p).counters.accepted;
	int fd = -1, bytes = 0, peer;
	bool crowded_out;

	while (nm_ring_space(p.rx) < ROOM) {
		send_byte();
		port_sync(&p);
	}
	peer = tcp_connect(AF_INET, number);
	t_must(write(peer, "x", 1) == 1);
	take(port_next(&p, 0), &fd, &bytes);
	atomic_store(&delay, us);
	port_sync(&p);
	while (atomic_load(&delay) != -1)
		;
	crowded_out = port_stats(&p).counters.accepted != before && !is_told_of();
	while (!bytes) {
		struct netmap_slot *s = port_next(&p, 2000);

		if (!t_true(s))
			break;
		take(s, &fd, &bytes);
	}
	t_eq(port_stats(&p).counters.accepted, before + 1);
	close(fd);
	close(peer);
	return crowded_out;
}

int main(void)
{
	int l, times = 0, tries;
	pthread_t thread;
	uint16_t number;

	port_make(&p, "stack:crowded", SLOTS, 0);
	port_pair(&p, &sock, &filler);
	l = tcp_listen(AF_INET, &number);
	t_must(port_register(&p, l) == 0);
	t_must(!pthread_create(&thread, NULL, disturb, NULL));
	for (tries = 0; tries < TRIES && times < ENOUGH; tries++)
		times += one(number, tries * 7 % 300);
	atomic_store(&delay, -2);
	pthread_join(thread, NULL);
	printf("crowded out %d times of %d\n", times, tries);
	close(l);
	port_close(&p);
	return t_end();
}
