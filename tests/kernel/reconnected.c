// SPDX-License-Identifier: BSD-2-Clause
/*
 * reconnected: a registered socket that is disconnected, connect(AF_UNSPEC), and connected anew: nothing of the first
 * connection, queued or held, goes to the second, which the port has nothing to do with until it is registered.
 *
 * [short debug]
 */
#include "port.h"

static struct port p;

static void connect_anew(int sock, int *peer)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	uint16_t number;
	int l = tcp_listen(AF_INET, &number);

	a.sin_port = htons(number);
	t_ok(connect(sock, &none, sizeof(none)));
	t_must(!connect(sock, (struct sockaddr *)&a, sizeof(a)));
	*peer = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	t_must(*peer >= 0);
	close(l);
}

/* As many slots as the socket, its queue and half of the ring take. */
static void fill(int sock)
{
	static char old[4000];

	while (nm_ring_space(p.tx) > p.tx->num_slots / 2) {
		port_put(&p, sock, old, sizeof(old));
		port_sync(&p);
	}
	while (!nm_ring_empty(p.rx))	/* congestion */
		paste_rx_release(p.rx);
}

static void new_stream(int sock, int peer)
{
	char got[8];

	port_put(&p, sock, "answer", 6);
	port_sync(&p);
	t_eq(read_n(peer, got, 6, 2000), 6);
	t_true(!memcmp(got, "answer", 6));
	t_eq(send(peer, "question", 8, 0), 8);
	t_eq(port_collect(&p, sock, got, 8, 2000), 8);
	t_ok(shutdown(peer, SHUT_WR));
	t_eq(port_collect(&p, sock, got, 8, 2000), -1000);
}

static void congested(void)
{
	int sock, peer, other;
	char got[8];

	t_note("congested");
	tcp_pair(&peer, &sock);
	t_must(!port_register(&p, sock));
	fill(sock);
	connect_anew(sock, &other);
	for (int i = 0; i < 20 || nm_tx_pending(p.tx); i++) {
		t_must(i < 2000);
		port_sync(&p);
		t_must(silent(other, 1));
	}
	t_true(!port_next(&p, 50));

	t_note("unregistered");
	t_eq(send(other, "as ever", 7, 0), 7);
	t_eq(read_n(sock, got, 7, 5000), 7);
	t_eq(send(sock, "as ever", 7, 0), 7);
	t_eq(read_n(other, got, 7, 5000), 7);
	t_must(!port_register(&p, sock));
	new_stream(sock, other);
	close(sock);
	close(peer);
	close(other);
}

/* What has been told of the first connection is not of the second. */
static void ended(void)
{
	int sock, peer, other;
	char got[8];

	t_note("ended");
	tcp_pair(&peer, &sock);
	t_must(!port_register(&p, sock));
	t_ok(shutdown(peer, SHUT_WR));
	t_eq(port_collect(&p, sock, got, 8, 2000), -1000);
	connect_anew(sock, &other);
	t_must(!port_register(&p, sock));	/* at once */
	new_stream(sock, other);
	close(sock);
	close(peer);
	close(other);
}

int main(void)
{
	port_make(&p, "stack:t", 256, 0);
	congested();
	ended();
	port_close(&p);
	return t_end();
}
