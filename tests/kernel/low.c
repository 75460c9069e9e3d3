// SPDX-License-Identifier: BSD-2-Clause
/*
 * low: an application that holds too many buffers is told so by an event, if it has asked for
 * that, and by another one when it has given enough of them back.  A sync that finds too few
 * buffers does as much as it can.
 *
 * [short]
 */
#include "port.h"

#define POOL	"/sys/module/paste/parameters/pool_bufs"

#define PAIRS	4

static struct port p;
static int sock[PAIRS], peer[PAIRS];

static void set_pool(const char *n)
{
	int fd = open(POOL, O_WRONLY);

	t_must(fd >= 0 && write(fd, n, strlen(n)) == (ssize_t)strlen(n));
	close(fd);
}

/* Releases all slots; the flags of an event of no socket among them, or 0. */
static uint16_t low_event(void)
{
	uint16_t flags = 0;

	for (; !nm_ring_empty(p.rx); paste_rx_release(p.rx)) {
		const struct netmap_slot *s = &p.rx->slot[p.rx->head];

		if (s->err != ENOBUFS)
			continue;	/* of congestion */
		t_true(!flags);
		t_eq(s->fd, -1);
		t_eq(s->buf_idx, 0);
		flags = s->flags;
	}
	return flags;
}

/* Sends to peers that do not read: every slot takes a buffer, until there is none. */
static uint16_t hold(void)
{
	static const char data[4000];
	uint16_t flags = 0;

	for (int i = 0; i < 1000 && !flags; i++) {
		if (!nm_ring_empty(p.tx))
			port_put(&p, sock[i % PAIRS], data, sizeof(data));
		port_sync(&p);
		flags = low_event();
	}
	return flags;
}

/*
 * The same until there are few left, fewer than the slots of the sync that follows: that takes
 * nearly all of them.
 */
static void hold_at_once(void)
{
	static const char data[4000];

	for (int i = 0; port_stats(&p).port.buf_free > 28 && t_true(!nm_ring_empty(p.tx)); i++) {
		port_put(&p, sock[i % PAIRS], data, sizeof(data));
		port_sync(&p);
	}
	t_eq(port_stats(&p).counters.tx_nobuf, 0);
	for (int i = 0; !nm_ring_empty(p.tx); i++)
		port_put(&p, sock[i % PAIRS], data, sizeof(data));
	port_sync(&p);
	t_eq(port_stats(&p).counters.tx_nobuf, 1);
}

/* Then who has a slot that he has not released gets no other one. */
static void not_received(void)
{
	t_eq(port_stats(&p).counters.rx_short, 0);
	t_eq(write(peer[0], "a", 1), 1);
	t_true(!!port_next(&p, 2000));
	t_eq(write(peer[1], "b", 1), 1);
	t_must(port_arrived(peer[1]));
	port_sync(&p);
	t_eq(nm_ring_space(p.rx), 1);
	t_le(1, port_stats(&p).counters.rx_short);
	paste_rx_release(p.rx);
	t_true(!!port_next(&p, 2000));
	paste_rx_release(p.rx);
}

/* They read it all. */
static uint16_t release(void)
{
	static char data[65536];
	uint16_t flags = 0;

	for (int quiet = 0; quiet < 20 && !flags; quiet++) {
		for (int i = 0; i < PAIRS; i++)
			while (recv(peer[i], data, sizeof(data), MSG_DONTWAIT) > 0)
				quiet = 0;
		port_sync(&p);
		flags = low_event();
		usleep(1000);
	}
	return flags;
}

/*
 * While buffers are low nothing is queued: the slot that closes is held in the ring.  A peer that never
 * reads is given up after TCP_LINGER2 nevertheless, and others have the ring.
 */
static void closed_though_low(void)
{
	static const char data[4000];
	int fd, other, one = 1, space = (int)nm_ring_space(p.tx);
	uint64_t start, end;

	port_pair(&p, &fd, &other);
	t_ok(setsockopt(fd, IPPROTO_TCP, TCP_LINGER2, &one, sizeof(one)));
	for (int held = 0; held < 20; held++) {		/* and it stays */
		if ((int)nm_ring_space(p.tx) == space) {
			port_put(&p, fd, data, sizeof(data));
			held = 0;
		}
		port_sync(&p);
		low_event();
		if (held)
			usleep(10000);
	}
	t_true(p.rx->flags & NR_PST_LOW);
	t_must(!paste_tx_close(p.tx, fd));
	start = now_ms();
	end = start + 6000 * t_slower();
	while (fcntl(fd, F_GETFD) >= 0 && now_ms() < end) {
		port_sync(&p);
		low_event();
		usleep(10000);
	}
	t_fails(EBADF, fcntl(fd, F_GETFD));
	t_le(900, now_ms() - start);
	port_sync(&p);
	t_eq(nm_ring_space(p.tx), space);
	close(other);
}

static void set_fin_timeout(const char *seconds)
{
	int fd = open("/proc/sys/net/ipv4/tcp_fin_timeout", O_WRONLY);

	t_must(fd >= 0 && write(fd, seconds, strlen(seconds)) == (ssize_t)strlen(seconds));
	close(fd);
}

/* The same of a Unix socket whose peer reads, slowly: it gets everything. */
static void closed_for_a_slow_reader(void)
{
	static char data[4000];
	int s[2], space = (int)nm_ring_space(p.tx), small = 4608;
	uint64_t end = now_ms() + 20000 * t_slower();
	size_t sent = 0, got = 0;
	ssize_t n;

	set_fin_timeout("3");
	t_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	t_ok(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));	/* one slot or two at a time */
	t_ok(port_register(&p, s[0]));
	while ((int)nm_ring_space(p.tx) > space - 12) {
		port_put(&p, s[0], data, sizeof(data));
		sent += sizeof(data);
		port_sync(&p);
		low_event();
	}
	t_true(p.rx->flags & NR_PST_LOW);
	t_must(!paste_tx_close(p.tx, s[0]));
	do {
		port_sync(&p);
		low_event();
		usleep(10000);
		/* For each that is read one of those that are held goes. */
		n = recv(s[1], data, sizeof(data), MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		if (n > 0 && (int)nm_ring_space(p.tx) < space)
			usleep(400000);
	} while (n && now_ms() < end);
	t_eq(n, 0);
	t_eq(got, sent);
	t_fails(EBADF, fcntl(s[0], F_GETFD));
	close(s[1]);
	set_fin_timeout("60");
}

int main(void)
{
	if (access(POOL, F_OK))
		t_skip("the module is not loaded");
	set_pool("256");
	port_make(&p, "stack:low", 64, 0);
	set_pool("8192");
	for (int i = 0; i < PAIRS; i++)
		port_pair(&p, &sock[i], &peer[i]);

	t_note("who has not asked");
	t_eq(hold(), 0);
	t_true(p.rx->flags & NR_PST_LOW);
	t_note("a close while buffers are low");
	closed_though_low();
	closed_for_a_slow_reader();
	t_eq(release(), 0);
	t_note("short of buffers for one sync");
	hold_at_once();
	not_received();
	t_eq(release(), 0);
	t_true(!nm_tx_pending(p.tx));
	t_note("who has");
	p.rx->flags |= NR_PST_TELL_LOW;
	for (int i = 0; i < 3; i++) {
		t_eq(hold(), NS_PST_EVENT);
		t_eq(hold(), 0);	/* not again */
		t_eq(release(), NS_PST_EVENT | NS_PST_CLEAR);
	}
	for (int i = 0; i < PAIRS; i++) {
		close(sock[i]);
		close(peer[i]);
	}
	port_close(&p);
	return t_end();
}
