// SPDX-License-Identifier: BSD-2-Clause
/*
 * endpoint: TCP connections, one after the other, that do as they are told, for tests/net/peer.py, in one of three
 * ways that must look the same from outside.  [not a test]
 *
 *	endpoint WAY PORT [IFNAME [4|6]]
 *
 * WAY	socket		socket calls, the module has nothing to do with it
 *	port		the connection is registered with a stack port after accept()
 *	listener	the listener is registered, the connection comes as an event
 *
 * It listens on PORT, over IPv4 or IPv6, IFNAME is attached to the stack port, "ready" is the first line.  What
 * arrives is read at once and put aside, unless paused.  Commands, each answered by one line:
 *
 *	connect PORT		begins a connection to PORT of the peer (peer.py) behind IFNAME
 *	accept			waits for the connection
 *	read N			waits for N bytes in all: what has come since the last read, in hex
 *	write N			N bytes "abc...z" over and over, handed in as fast as it goes
 *	echo 0|1		from now on what arrives is sent back at once
 *	pause | resume		nothing more is read: by a slot or by leaving it
 *	hold | release		the same, but slots come and are kept until there are no more; what the socket takes then
 *				is bounded
 *	shut			no more will be sent
 *	close			closes: close(), or a slot in the way listener
 *	end			waits for the end: "eos" of the stream, errno's name, "over" (both ends), "none"
 *	next			forgets the connection, with a reset
 *	quit
 */
#include "port.h"

#define WAIT_MS		5000

static bool by_port, by_listener, paused, held, echo, eos, over;
static int listener, conn = -1, connecting = -1, failed;
static int family = AF_INET;
static const char *ifname = "eth0";
static struct port p;
static char got[1 << 20];
static size_t ngot, out_left, out_at;

/* ---- through the port ---- */

static struct netmap_slot *tx_next(void)
{
	while (nm_ring_empty(p.tx)) {
		struct pollfd pfd = { .fd = p.fd, .events = POLLOUT };

		t_must(poll(&pfd, 1, WAIT_MS) == 1);
	}
	return &p.tx->slot[p.tx->head];
}

/* A slot without payload, sent. */
static void tell(uint16_t flag)
{
	struct netmap_slot *slot = tx_next();

	paste_tx_push(p.tx, conn, slot->buf_idx, 0, 0, flag);
	port_sync(&p);
}

static void port_write(const char *data, size_t n)
{
	struct netmap_slot *slot = tx_next();

	memcpy(NETMAP_BUF(p.tx, slot->buf_idx), data, n);
	paste_tx_push(p.tx, conn, slot->buf_idx, 0, (uint16_t)n, 0);
}

static void on_bytes(const char *data, size_t n)
{
	t_must(ngot + n <= sizeof(got));
	memcpy(got + ngot, data, n);
	ngot += n;
	if (!echo)
		return;
	if (by_port)
		port_write(data, n);
	else if (conn >= 0)
		t_ok(send(conn, data, n, MSG_NOSIGNAL));
}

static void on_event(const struct netmap_slot *slot)
{
	if (slot->flags & NS_PST_ACCEPT) {
		conn = slot->fd;
	} else if (slot->fd == conn && slot->err != EAGAIN) {
		eos |= slot->err == 0;
		over |= slot->err == ENOTCONN;
		if (slot->err && slot->err != ENOTCONN)
			failed = slot->err;
	}
}

static void port_walk(void)
{
	while (!nm_ring_empty(p.rx)) {
		struct netmap_slot *slot = &p.rx->slot[p.rx->head];

		if (slot->flags & NS_PST_EVENT)
			on_event(slot);
		else
			on_bytes(slot_data(p.rx, slot), slot_len(slot));
		paste_rx_release(p.rx);
	}
}

/* ---- through the socket ---- */

static void socket_read(void)
{
	char data[65536];
	ssize_t n = recv(conn, data, sizeof(data), MSG_DONTWAIT);

	if (n > 0)
		on_bytes(data, (size_t)n);
	else if (n == 0)
		eos = true;
	else if (errno != EAGAIN)
		failed = errno;
}

/* ---- both ---- */

static void pump(void)
{
	char data[4096];

	while (out_left && conn >= 0) {
		size_t n = out_left < sizeof(data) ? out_left : sizeof(data);
		ssize_t sent = (ssize_t)n;

		for (size_t i = 0; i < n; i++)
			data[i] = (char)('a' + (out_at + i) % 26);
		if (by_port && nm_ring_empty(p.tx))
			return;
		if (by_port)
			port_write(data, n);
		else
			sent = send(conn, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0) {
			if (errno != EAGAIN)
				failed = errno;
			return;
		}
		out_left -= (size_t)sent;
		out_at += (size_t)sent;
	}
}

/* One round of the application's life; true when a command is there. */
static bool live(int ms)
{
	struct pollfd pfd[2] = { { .fd = 0, .events = POLLIN } };
	bool socket_ends = eos || failed;

	pump();
	if (by_port)
		pfd[1] = (struct pollfd){ .fd = held ? -1 : p.fd, .events = POLLIN };
	else
		pfd[1] = (struct pollfd) {
			.fd = paused || held || socket_ends ? -1 : conn,
			.events = (short)(POLLIN | (out_left ? POLLOUT : 0)),
		};
	t_ok(poll(pfd, 2, held ? 5 : ms));	/* with slots at hand the port would not wait */
	if (by_port && held)
		port_sync(&p);
	else if (by_port)
		port_walk();
	else if (conn >= 0 && pfd[1].revents & (POLLIN | POLLHUP | POLLERR))
		socket_read();
	if (by_port && p.tx->head != nm_ring_next(p.tx, p.tx->tail))
		port_sync(&p);
	return pfd[0].revents;
}

#define LIVE_UNTIL(condition, ms) do {						\
		for (uint64_t end_ = now_ms() + (ms); !(condition) && now_ms() < end_;)	\
			live(10);						\
	} while (0)

/* The address of the peer: .9 and ::9 of the network of IFNAME. */
static void do_connect(uint16_t port)
{
	int net = 77 + atoi(ifname + 3);
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	char text[32];

	snprintf(text, sizeof(text), family == AF_INET6 ? "fd%d::9" : "10.%d.0.9", net);
	t_must(inet_pton(family, text, family == AF_INET6 ? (void *)&a6.sin6_addr : &a4.sin_addr) == 1);
	connecting = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	t_must(connecting >= 0);
	t_fails(EINPROGRESS, connect(connecting, family == AF_INET6 ? (void *)&a6 : (void *)&a4,
				     family == AF_INET6 ? sizeof(a6) : sizeof(a4)));
}

/* -1 while the connection is neither there nor refused. */
static int connected(void)
{
	struct pollfd pfd = { .fd = connecting, .events = POLLOUT };
	socklen_t len = sizeof(failed);
	int s = connecting;

	if (poll(&pfd, 1, 0) <= 0)
		return -1;
	connecting = -1;
	t_ok(getsockopt(s, SOL_SOCKET, SO_ERROR, &failed, &len));
	if (!failed)
		return s;
	close(s);
	return -1;
}

static bool accepted(void)
{
	int one = 1, in_line = !by_port;

	if (conn >= 0 || failed)
		return true;
	if (connecting >= 0)
		conn = connected();
	else if (!by_listener)
		conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (conn < 0)
		return false;
	setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(conn, SOL_SOCKET, SO_OOBINLINE, &in_line, sizeof(in_line));
	if (by_port)
		t_must(port_register(&p, conn) == 0);
	return true;
}

static void do_read(size_t n)
{
	LIVE_UNTIL(ngot >= n || failed, WAIT_MS);
	putchar('=');
	for (size_t i = 0; i < ngot; i++)
		printf("%02x", (unsigned char)got[i]);
	putchar('\n');
	ngot = 0;
}

static void do_end(void)
{
	LIVE_UNTIL(eos || over || failed, 1000);
	if (failed)
		puts(strerrorname_np(failed));
	else
		puts(over ? "over" : eos ? "eos" : "none");
	failed = 0;
	eos = over = false;
}

static void do_close(void)
{
	if (by_listener)
		tell(NS_PST_CLOSE);
	else
		close(conn);
	conn = -1;
}

static void do_hold(bool on)
{
	int bytes = 65536;	/* as it is now, and does not grow to megabytes; the kernel doubles it */

	held = on;
	setsockopt(conn, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

/* All as it was at the start. */
static void do_next(void)
{
	struct linger abort_it = { 1, 0 };

	if (conn >= 0) {
		setsockopt(conn, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it));
		close(conn);
	}
	if (connecting >= 0)
		close(connecting);
	conn = connecting = -1;
	paused = held = echo = eos = over = false;
	failed = 0;
	ngot = out_left = out_at = 0;
}

/* False: no more commands. */
static bool obey(void)
{
	char line[128];
	unsigned long n = 0;
	char word[32] = "";

	if (!fgets(line, sizeof(line), stdin) || sscanf(line, "%31s %lu", word, &n) < 1 ||
	    !strcmp(word, "quit"))
		return false;
	if (!strcmp(word, "read")) {
		do_read(n);
		return true;
	}
	if (!strcmp(word, "end")) {
		do_end();
		return true;
	}
	if (!strcmp(word, "accept")) {
		LIVE_UNTIL(accepted(), WAIT_MS);
		if (failed) {
			puts(strerrorname_np(failed));
			return true;
		}
	} else if (!strcmp(word, "connect")) {
		do_connect((uint16_t)n);
	} else if (!strcmp(word, "write")) {
		out_left += n;
		live(0);
	} else if (!strcmp(word, "echo")) {
		echo = n;
	} else if (!strcmp(word, "pause") || !strcmp(word, "resume")) {
		paused = word[0] == 'p';
		if (by_port)
			tell(paused ? NS_PST_PAUSE : NS_PST_RESUME);
	} else if (!strcmp(word, "hold") || !strcmp(word, "release")) {
		do_hold(word[0] == 'h');
	} else if (!strcmp(word, "shut")) {
		if (by_port)
			tell(NS_PST_SHUT);
		else
			t_ok(shutdown(conn, SHUT_WR));
	} else if (!strcmp(word, "close")) {
		do_close();
	} else if (!strcmp(word, "next")) {
		do_next();
	} else {
		return false;
	}
	puts(conn >= 0 || strcmp(word, "accept") ? "ok" : "nobody came");
	return true;
}

static void listen_on(uint16_t port)
{
	struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, in_line = !by_listener;

	listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	t_must(listener >= 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(listener, SOL_SOCKET, SO_OOBINLINE, &in_line, sizeof(in_line));
	setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	t_must(!bind(listener, family == AF_INET6 ? (void *)&any6 : (void *)&any,
		     family == AF_INET6 ? sizeof(any6) : sizeof(any)) && !listen(listener, 5));
}

int main(int argc, char **argv)
{
	char name[32];

	t_must(argc >= 3);
	setvbuf(stdout, NULL, _IOLBF, 0);
	setvbuf(stdin, NULL, _IONBF, 0);
	by_listener = !strcmp(argv[1], "listener");
	by_port = by_listener || !strcmp(argv[1], "port");
	if (argc > 3)
		ifname = argv[3];
	if (argc > 4 && atoi(argv[4]) == 6)
		family = AF_INET6;
	listen_on((uint16_t)atoi(argv[2]));
	if (by_port) {
		snprintf(name, sizeof(name), "stack:%s", argv[1]);
		port_make(&p, name, 256, 0);
		snprintf(name, sizeof(name), "stack:%s", ifname);
		t_must(!paste_attach_region(p.fd, name, p.reg.nr_mem_id));
	}
	if (by_listener)
		t_must(port_register(&p, listener) == 0);
	puts("ready");
	while (!live(-1) || obey())
		;
	return t_end();
}
