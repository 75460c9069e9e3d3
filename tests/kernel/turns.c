// SPDX-License-Identifier: BSD-2-Clause
/*
 * turns: sockets whose peers do not read keep nobody waiting: who has room again goes on with the
 * next sync, however many others are still full.
 *
 * [short]
 */
#include <sys/ioctl.h>
#include "port.h"

#define FULL	5
#define PIECE	4000
#define WAITING	40	/* slots; the kernel takes 64 */

static struct port p;
static char data[PIECE];

/* Until so much waits outside the protocol that not all of it has room a moment later. */
static void fill(int sock)
{
	uint64_t queued = port_stats(&p).counters.tx_queued + WAITING;

	for (int i = 0; i < 4000 && port_stats(&p).counters.tx_queued < queued; i++) {
		port_put(&p, sock, data, PIECE);
		t_ok(ioctl(p.fd, NIOCTXSYNC));
	}
	t_le(queued, port_stats(&p).counters.tx_queued);
}

/* What TCP has of it, all: far less than waits outside. */
static void read_some(int sock, int peer)
{
	static char text[1 << 16];
	int left = 1;

	for (int tries = 200; left && tries--; usleep(100)) {
		while (recv(peer, text, sizeof(text), MSG_DONTWAIT) > 0)
			;
		t_ok(ioctl(sock, TIOCOUTQ, &left));
	}
	t_eq(left, 0);
}

int main(void)
{
	int s[FULL][2], sock, peer;
	uint64_t sent;

	port_make(&p, "stack:turns", 512, 0);
	for (int i = 0; i < FULL; i++) {
		t_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s[i]));
		t_must(port_register(&p, s[i][0]) == 0);
		fill(s[i][0]);
	}
	port_pair(&p, &sock, &peer);
	fill(sock);
	port_sync(&p);		/* housekeeping, which sends as well, stays away for stall_ms */
	sent = port_stats(&p).counters.tx_bytes;
	read_some(sock, peer);
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_le(sent + 1, port_stats(&p).counters.tx_bytes);
	port_close(&p);
	return t_end();
}
