// SPDX-License-Identifier: BSD-2-Clause
/*
 * letgo: sockets outlive their port: once it is closed connections, datagram sockets and listeners
 * are ordinary ones, and what the port had not taken is read from them, in order.
 *
 * [short debug]
 */
#include "port.h"

#define BULK	(3 << 20)
#define PIECE	1000
#define PIECES	400		/* more than the ring holds, in however few packets they come */

static struct port p;
static uint8_t sent[BULK], got[BULK];

/* No two places of the stream look alike for long. */
static void fill(uint8_t *to, size_t n)
{
	uint32_t x = 1;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		to[i] = (uint8_t)(x >> 24);
	}
}

static void make(void)
{
	port_make(&p, "stack:letgo", 64, 0);
}

static bool write_all(int s, const uint8_t *from, size_t n)
{
	for (ssize_t r; n; from += r, n -= (size_t)r) {
		r = send(s, from, n, MSG_NOSIGNAL);
		if (r <= 0)
			return false;
	}
	return true;
}

/*
 * More than buffers hold, there and back, by calls that sleep: they are woken by data and by room
 * for it.  The peer's end is another process.
 */
static void bulk(int s, int peer)
{
	pid_t child = fork();
	int status;

	if (!child) {
		usleep(100000);		/* until the other one sleeps */
		if (read_n(peer, got, BULK, 20000) != BULK || memcmp(sent, got, BULK))
			_exit(1);
		usleep(100000);
		_exit(write_all(peer, got, BULK) ? 0 : 2);
	}
	t_must(child > 0);
	t_true(write_all(s, sent, BULK));
	memset(got, 0, BULK);
	t_eq(recv(s, got, 1, 0), 1);
	t_eq(read_n(s, got + 1, BULK - 1, 20000), BULK - 1);
	t_true(!memcmp(sent, got, BULK));
	t_must(waitpid(child, &status, 0) == child);
	t_eq(status, 0);
}

/* By the slots of @q, both ways. */
static void by_slots(const struct port *q, int s, int peer)
{
	char text[64];

	t_eq(write(peer, "question", 8), 8);
	t_eq(port_collect(q, s, text, 8, 2000), 8);
	t_true(!memcmp(text, "question", 8));
	port_put(q, s, "answer", 6);
	t_ok(ioctl(q->fd, NIOCTXSYNC));
	t_eq(read_n(peer, text, 6, 2000), 6);
	t_true(!memcmp(text, "answer", 6));
}

/* Idle connections, of which one then becomes another port's. */
static void connections(void)
{
	int s[3], peer[3];
	struct port other;

	t_note("connections");
	make();
	for (int i = 0; i < 3; i++) {
		port_pair(&p, &s[i], &peer[i]);
		by_slots(&p, s[i], peer[i]);
	}
	port_close(&p);
	bulk(s[0], peer[0]);
	bulk(s[1], peer[1]);
	t_note("another port's");
	port_make(&other, "stack:other", 64, 0);
	t_ok(port_register(&other, s[2]));
	by_slots(&other, s[2], peer[2]);
	t_ok(port_register(&other, s[0]));
	by_slots(&other, s[0], peer[0]);
	port_close(&other);
	bulk(s[2], peer[2]);
	for (int i = 0; i < 3; i++) {
		close(s[i]);
		close(peer[i]);
	}
}

/*
 * Data that did not fit into the ring, and the end of the stream behind it.  What the port took,
 * into slots read or not, is not given back.
 */
static void unread(bool end)
{
	int s, peer, big = 4 << 20;
	size_t taken, left;

	t_note("unread data%s", end ? " and end of stream" : "");
	make();
	port_pair(&p, &s, &peer);
	t_ok(setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big)));
	for (int i = 0; i < PIECES; i++)
		t_must(write(peer, sent + i * PIECE, PIECE) == PIECE);
	if (end)
		t_ok(shutdown(peer, SHUT_WR));
	t_must(port_arrived(peer));
	port_sync(&p);
	for (int i = 0; i < 5; i++)	/* some are the application's, the others not yet */
		paste_rx_release(p.rx);
	port_sync(&p);
	taken = port_stats(&p).counters.rx_copied;
	t_le(1, port_stats(&p).counters.rx_full);
	t_le(1, taken);
	left = PIECES * PIECE - taken;
	t_must(left > 0 && left < PIECES * PIECE);
	port_close(&p);
	memset(got, 0, left);
	t_eq(read_n(s, got, left, 2000), left);
	t_true(!memcmp(got, sent + taken, left));
	if (end) {
		t_eq(recv(s, got, 1, MSG_DONTWAIT), 0);
		t_true(write_all(s, sent, 1000));
		t_eq(read_n(peer, got, 1000, 2000), 1000);
		t_true(!memcmp(got, sent, 1000));
	} else {
		t_fails(EAGAIN, recv(s, got, 1, MSG_DONTWAIT));
		bulk(s, peer);
	}
	close(s);
	close(peer);
}

/* What was sent by slots arrives, though its buffers' port is gone. */
static void under_way(void)
{
	size_t n = 10 * 4000;
	int s, peer;

	t_note("sent, not read");
	make();
	port_pair(&p, &s, &peer);
	for (size_t at = 0; at < n; at += 4000)
		port_put(&p, s, sent + at, 4000);
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_true(!nm_tx_pending(p.tx));
	t_eq(port_stats(&p).counters.tx_queued, 0);
	port_close(&p);
	t_true(write_all(s, sent + n, 1000));
	t_eq(read_n(peer, got, n + 1000, 2000), n + 1000);
	t_true(!memcmp(got, sent, n + 1000));
	bulk(s, peer);
	close(s);
	close(peer);
}

/* Two UDP sockets, connected to each other. */
static void udp_pair(int *s, int *peer)
{
	struct sockaddr_in a[2];
	int fd[2];

	for (int i = 0; i < 2; i++) {
		socklen_t len = sizeof(a[i]);

		a[i] = (struct sockaddr_in){ .sin_family = AF_INET,
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		t_must(fd[i] >= 0 && !bind(fd[i], (void *)&a[i], len) &&
		       !getsockname(fd[i], (void *)&a[i], &len));
	}
	for (int i = 0; i < 2; i++)
		t_must(!connect(fd[i], (void *)&a[!i], sizeof(a[i])));
	*s = fd[0];
	*peer = fd[1];
}

/* A reader that sleeps is woken by a datagram, and its answer arrives. */
static void udp_echo(int s, int peer)
{
	pid_t child = fork();
	char text[64];

	if (!child) {
		usleep(100000);
		_exit(send(peer, "question", 8, 0) == 8 ? 0 : 1);
	}
	t_eq(read_n(s, text, 8, 2000), 8);
	t_true(!memcmp(text, "question", 8));
	t_eq(send(s, "answer", 6, 0), 6);
	t_eq(read_n(peer, text, 6, 2000), 6);
	t_true(!memcmp(text, "answer", 6));
	t_must(waitpid(child, NULL, 0) == child);
}

static void datagrams(bool large)
{
	uint32_t n = large ? 12 : 200, size = large ? 30000 : 100, first = 0, taken, big = 4 << 20;
	int s, peer;

	t_note("%s datagrams", large ? "large" : "small");
	make();
	udp_pair(&s, &peer);
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	t_must(port_register(&p, s) == 0);
	for (uint32_t i = 0; i < n; i++) {
		memcpy(sent, &i, sizeof(i));
		t_must(send(peer, sent, size, 0) == (ssize_t)size);
	}
	/* a sync that finds housekeeping in the ring does nothing */
	for (int i = 0; i < 100 && !port_stats(&p).counters.rx_full; i++)
		port_sync(&p);
	taken = (uint32_t)((port_stats(&p).counters.rx_copied + size - 1) / size);
	t_le(1, port_stats(&p).counters.rx_full);
	t_must(taken > 0 && taken < n);
	port_close(&p);
	for (uint32_t i = taken; i < n; i++) {
		t_eq(recv(s, got, BULK, MSG_DONTWAIT), size);
		memcpy(&first, got, sizeof(first));
		t_eq(first, i);
		t_true(!memcmp(got + sizeof(i), sent + sizeof(i), size - sizeof(i)));
	}
	t_fails(EAGAIN, recv(s, got, BULK, MSG_DONTWAIT));
	udp_echo(s, peer);
	close(s);
	close(peer);
	fill(sent, sizeof(sent));
}

/* Who waits in the socket itself, while the port has it, is woken by what the port has not taken. */
static void sleeper(bool tcp)
{
	int s, peer, status;
	pid_t child;

	t_note("somebody sleeps in a %s socket", tcp ? "TCP" : "UDP");
	make();
	if (tcp)
		tcp_pair(&s, &peer);
	else
		udp_pair(&s, &peer);
	t_must(port_register(&p, s) == 0);
	port_tell(&p, s, NS_PST_PAUSE);
	child = fork();
	if (!child) {
		struct pollfd pfd = { .fd = s, .events = POLLIN };
		uint64_t start = now_ms();

		port_close(&p);		/* the parent's is the last */
		/* At the end of its time it would look once more, and find the data. */
		_exit(poll(&pfd, 1, 5000 * t_slower()) == 1 &&
		      now_ms() - start < 3000 * t_slower() ? 0 : 1);
	}
	t_must(child > 0);
	usleep(100000 * (unsigned int)t_slower());	/* until it sleeps */
	t_eq(send(peer, "later", 5, 0), 5);
	usleep(100000);
	port_close(&p);
	t_must(waitpid(child, &status, 0) == child);
	t_eq(status, 0);
	t_eq(read_n(s, got, 5, 2000), 5);
	close(s);
	close(peer);
}

/* A listener, a connection it gave the port, one that waited, and one that comes later. */
static void listener(void)
{
	int l, peer[3], s[3] = { -1, -1, -1 };
	struct netmap_slot *slot;
	uint16_t number;

	t_note("listener");
	make();
	l = tcp_listen(AF_INET, &number);
	t_must(port_register(&p, l) == 0);
	peer[0] = tcp_connect(AF_INET, number);
	slot = port_next(&p, 2000);
	t_must(slot && paste_rx_accepted(p.rx, slot));
	s[0] = slot->fd;
	paste_rx_release(p.rx);
	by_slots(&p, s[0], peer[0]);
	peer[1] = tcp_connect(AF_INET, number);		/* no sync meets it */
	t_eq(write(peer[1], sent, 1000), 1000);
	port_close(&p);

	s[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	t_must(s[1] >= 0);
	t_eq(read_n(s[1], got, 1000, 2000), 1000);
	t_true(!memcmp(got, sent, 1000));
	t_must(!fork() ? (usleep(100000), _exit(tcp_connect(AF_INET, number) < 0), 0) : 1);
	s[2] = accept4(l, NULL, NULL, SOCK_CLOEXEC);	/* sleeps */
	t_true(s[2] >= 0);
	t_must(wait(NULL) > 0);
	close(s[2]);
	peer[2] = tcp_connect(AF_INET, number);
	s[2] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	t_must(s[2] >= 0);
	t_ok(fcntl(s[0], F_SETFL, fcntl(s[0], F_GETFL) & ~O_NONBLOCK));
	for (int i = 0; i < 3; i++) {
		bulk(s[i], peer[i]);
		close(s[i]);
		close(peer[i]);
	}
	close(l);
}

int main(void)
{
	fill(sent, sizeof(sent));
	connections();
	unread(false);
	unread(true);
	under_way();
	datagrams(false);
	datagrams(true);
	listener();
	sleeper(true);
	sleeper(false);
	return t_end();
}
