// SPDX-License-Identifier: BSD-2-Clause
/*
 * closing: a port is closed, again and again, while other threads send to its sockets of every kind
 * and the ring is full; nobody stays on a list of a port that is gone, and nobody looks at it.
 *
 * [short debug cpus=2 brief=25]
 *
 * Its argument is the number of turns.
 */
#include <pthread.h>
#include "port.h"

#define TURNS	100	/* without an argument */
#define KINDS	3

static int sock[KINDS], peer[KINDS];
static volatile bool stop;

/* Never sleeps, so that it is in the middle of something when the port goes. */
static void *send_on(void *arg)
{
	static const char text[200];
	int s = *(int *)arg;

	while (!stop) {
		if (send(s, text, sizeof(text), MSG_DONTWAIT) < 0)
			sched_yield();
	}
	return NULL;
}

static void udp_pair(int *s, int *other)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	*s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	*other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	t_must(*s >= 0 && !bind(*s, (void *)&a, len) && !getsockname(*s, (void *)&a, &len));
	t_must(*other >= 0 && !connect(*other, (void *)&a, len));
}

static void turn(int i)
{
	static char text[1 << 16];
	struct port p;

	port_make(&p, "stack:closing", 16, 0);
	for (int k = 0; k < KINDS; k++)
		t_ok(port_register(&p, sock[k]));
	for (int k = 0; k < i % 4; k++)		/* the ring fills up, and then housekeeping comes */
		port_sync(&p);
	usleep(i % 8 ? 1000 : 70000);
	port_close(&p);
	for (int k = 0; k < KINDS; k++)		/* ordinary sockets again */
		for (int n = 0; n < 100 && recv(sock[k], text, sizeof(text), MSG_DONTWAIT) > 0; n++)
			;
}

int main(int argc, char **argv)
{
	int turns = argc > 1 ? atoi(argv[1]) : TURNS;
	pthread_t thread[KINDS];
	int s[2];

	tcp_pair(&sock[0], &peer[0]);
	udp_pair(&sock[1], &peer[1]);
	t_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	sock[2] = s[0];
	peer[2] = s[1];
	for (int k = 0; k < KINDS; k++)
		t_must(!pthread_create(&thread[k], NULL, send_on, &peer[k]));
	for (int i = 0; i < turns; i++)
		turn(i);
	stop = true;
	for (int k = 0; k < KINDS; k++)
		pthread_join(thread[k], NULL);
	return t_end();
}
