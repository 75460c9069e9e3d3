// SPDX-License-Identifier: BSD-2-Clause
/*
 * reuse: when a descriptor number is closed and comes back as another connection,
 * nothing that was on its way from or to the old one shows up in the new one.
 *
 * [short debug cpus=2 queues=2]
 */
#include <pthread.h>
#include "port.h"

static struct port p;

/* Closes @sock and makes another registered connection under the same number. */
static void again(int sock, int *peer)
{
	int s;

	t_must(!close(sock));
	tcp_pair(&s, peer);
	if (s != sock) {
		t_must(*peer != sock || (*peer = dup(*peer)) >= 0);
		t_must(dup3(s, sock, O_CLOEXEC) == sock);
		close(s);
	}
	t_must(port_register(&p, sock) == 0);
}

static void check_fresh(int sock, int peer, const char *what)
{
	char text[64];

	t_note("%s", what);
	t_true(silent(peer, 50));
	t_eq(write(peer, "fresh", 5), 5);
	t_eq(port_collect(&p, sock, text, sizeof(text), 300), 5);
	t_true(!memcmp(text, "fresh", 5));
	port_put(&p, sock, "reply", 5);
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_eq(read_n(peer, text, 5, 1000), 5);
	t_true(!memcmp(text, "reply", 5));
	t_true(silent(peer, 50));
}

/* Fills @sock, whose peer does not read, until the kernel holds slots of it back for good. */
static void congest(int sock)
{
	static char old[4096];
	int stuck = 0;

	memset(old, 'O', sizeof(old));
	for (int i = 0; i < 10000 && stuck < 10; i++) {
		while (nm_ring_space(p.tx) > 50)
			port_put(&p, sock, old, sizeof(old));
		t_ok(ioctl(p.fd, NIOCTXSYNC));
		stuck = nm_tx_pending(p.tx) ? stuck + 1 : 0;
		if (stuck)
			usleep(10000);
	}
	t_true(nm_tx_pending(p.tx));
	t_le(1, port_stats(&p).counters.tx_held);
}

static void make(int *sock, int *peer)
{
	port_make(&p, "stack:reuse", 64, 0);
	port_pair(&p, sock, peer);
}

static void end(int sock, int peer, int old_peer)
{
	port_close(&p);
	close(sock);
	close(peer);
	close(old_peer);
}

static void *close_it(void *sock)
{
	close((int)(intptr_t)sock);
	return NULL;
}

/* A number is free before the close() in another thread that freed it has returned. */
static void beside_close(void)
{
	int fresh, peer, sock = 100, other, old, busy = 0;
	pthread_t thread;

	t_note("number used again beside close()");
	port_make(&p, "stack:reuse", 64, 0);
	for (int i = 0; i < 500; i++) {
		tcp_pair(&other, &old);
		t_must(dup3(other, sock, O_CLOEXEC) == sock);
		close(other);
		t_must(!port_register(&p, sock));
		tcp_pair(&fresh, &peer);
		t_must(!pthread_create(&thread, NULL, close_it, (void *)(intptr_t)sock));
		while ((other = fcntl(fresh, F_DUPFD_CLOEXEC, sock)) != sock)
			close(other);
		busy += port_register(&p, sock) != 0;
		pthread_join(thread, NULL);
		close(fresh);
		close(sock);
		close(peer);
		close(old);
	}
	t_eq(busy, 0);
	port_close(&p);
}

int main(void)
{
	int sock, peer, old;
	char text[64];

	/* received, not yet published */
	make(&sock, &old);
	t_eq(write(old, "stale", 5), 5);
	usleep(20000);
	again(sock, &peer);
	check_fresh(sock, peer, "data received before close");
	end(sock, peer, old);

	/* end of stream and error, not yet published */
	make(&sock, &old);
	shutdown(old, SHUT_WR);
	usleep(20000);
	again(sock, &peer);
	check_fresh(sock, peer, "end of stream before close");
	end(sock, peer, old);

	make(&sock, &old);
	t_eq(write(old, "stale", 5), 5);
	setsockopt(old, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
	close(old);
	usleep(20000);
	again(sock, &peer);
	check_fresh(sock, peer, "reset before close");
	end(sock, peer, -1);

	/* the RX ring full, more waiting in the socket */
	make(&sock, &old);
	for (int i = 0; i < 200; i++)
		t_eq(write(old, "stale", 5), 5);
	usleep(20000);
	again(sock, &peer);
	check_fresh(sock, peer, "full RX ring before close");
	end(sock, peer, old);

	/* in the socket's queue and held back in the ring */
	make(&sock, &old);
	congest(sock);
	again(sock, &peer);
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	check_fresh(sock, peer, "slots held back in the TX ring before close");
	end(sock, peer, old);

	/* congestion event not yet published */
	make(&sock, &old);
	congest(sock);
	again(sock, &peer);
	t_ok(ioctl(p.fd, NIOCRXSYNC));
	t_note("event of the old connection");
	t_true(nm_ring_empty(p.rx));
	end(sock, peer, old);

	/* closed, and the number stays free: its slots are refused, others go on */
	make(&sock, &old);
	congest(sock);
	close(sock);
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_note("held slots of a closed socket");
	t_true(!nm_tx_pending(p.tx));
	tcp_pair(&sock, &peer);
	t_must(!port_register(&p, sock));
	t_true(silent(peer, 50));
	end(sock, peer, old);

	/*
	 * The socket lives on under another number: the registration goes with its own.  As with a close()
	 * that has given the number away and is not through when another thread registers what came by it.
	 */
	make(&sock, &old);
	int other = fcntl(sock, F_DUPFD_CLOEXEC, 200);
	int s2, peer2;
	close(sock);
	tcp_pair(&s2, &peer2);
	t_must(peer2 != sock || (peer2 = dup(peer2)) >= 0);
	t_must(s2 == sock || dup3(s2, sock, O_CLOEXEC) == sock);
	t_note("number used again while a duplicate is open");
	t_ok(port_register(&p, sock));
	t_eq(write(old, "stale", 5), 5);
	t_eq(write(peer2, "fresh", 5), 5);
	t_eq(port_collect(&p, sock, text, sizeof(text), 300), 5);
	t_true(!memcmp(text, "fresh", 5));
	t_eq(read_n(other, text, 5, 1000), 5);
	t_true(!memcmp(text, "stale", 5));
	t_eq(port_stats(&p).port.sockets, 1);
	close(other);
	end(sock, peer2, old);
	beside_close();
	return t_end();
}
