// SPDX-License-Identifier: BSD-2-Clause
/*
 * early: a thread answers what another one registers: as soon as there is a slot of a connection,
 * its number is known, in TX slots and to other calls.
 *
 * [short debug cpus=2]
 */
#include <pthread.h>
#include "port.h"

#define CONNECTIONS	2000

static struct port p;
static volatile bool stop;
static uint64_t unknown;	/* descriptors in slots that the process did not have */

/* Busy polls, and answers with what came. */
static void *answer(void *arg)
{
	(void)arg;
	while (!stop) {
		struct netmap_slot *s;

		port_sync(&p);
		while ((s = paste_rx_first(p.rx)) && !nm_ring_empty(p.tx)) {
			bool is_data = !paste_rx_is_event(s);

			if (is_data || paste_rx_accepted(p.rx, s))
				unknown += fcntl(s->fd, F_GETFD) < 0;
			if (is_data)
				port_put(&p, s->fd, slot_data(p.rx, s), (uint16_t)slot_len(s));
			paste_rx_release(p.rx);
		}
	}
	return NULL;
}

/* A question that is there before the registration. */
static void ask(int peer, uint32_t i)
{
	t_must(send(peer, &i, sizeof(i), 0) == sizeof(i));
}

static void is_answered(int peer, uint32_t i)
{
	uint32_t n = 0;

	t_eq(read_n(peer, &n, sizeof(n), 5000), sizeof(n));
	t_eq(n, i);
}

static void registered(uint32_t n)
{
	int s, peer;

	t_note("registered by the one, answered by the other");
	for (uint32_t i = 0; i < n; i++) {
		tcp_pair(&s, &peer);
		ask(peer, i);
		t_must(port_register(&p, s) == 0);
		is_answered(peer, i);
		close(peer);
		close(s);
	}
}

static void datagrams(uint32_t n)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	t_note("UDP");
	for (uint32_t i = 0; i < n; i++) {
		int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		int peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		struct sockaddr_in here = a, there = a;
		socklen_t len = sizeof(a);

		t_must(s >= 0 && !bind(s, (void *)&a, len) && !getsockname(s, (void *)&here, &len));
		t_must(peer >= 0 && !bind(peer, (void *)&a, len) && !getsockname(peer, (void *)&there, &len));
		t_must(!connect(s, (void *)&there, len) && !connect(peer, (void *)&here, len));
		ask(peer, i);
		t_must(port_register(&p, s) == 0);
		is_answered(peer, i);
		close(peer);
		close(s);
	}
}

/* Accepted by whoever syncs; answered, too. */
static void accepted(uint32_t n)
{
	uint16_t number;
	int l = tcp_listen(AF_INET, &number);

	t_note("accepted");
	t_must(port_register(&p, l) == 0);
	for (uint32_t i = 0; i < n; i++) {
		int peer = tcp_connect(AF_INET, number);

		ask(peer, i);
		port_sync(&p);
		is_answered(peer, i);
		shutdown(peer, SHUT_WR);
		close(peer);
	}
	close(l);
}

int main(void)
{
	uint32_t n = CONNECTIONS / t_slower();
	pthread_t thread;

	port_make(&p, "stack:early", 64, 0);
	t_must(!pthread_create(&thread, NULL, answer, NULL));
	registered(n);
	datagrams(n);
	accepted(n / 10);	/* their descriptors stay open */
	stop = true;
	pthread_join(thread, NULL);
	t_eq(unknown, 0);
	t_eq(port_stats(&p).counters.bad_fd, 0);
	port_close(&p);
	return t_end();
}
