// SPDX-License-Identifier: BSD-2-Clause
/*
 * udp: datagrams over loopback are what was sent, one by one, with their senders; also empty,
 * large, merged and cut ones, paused and under pressure; errors are events; hostile slots are refused.
 *
 * [short]
 */
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <sys/utsname.h>
#include "port.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT	103
#define UDP_GRO		104
#endif

#define MAX	65507

static struct port p;
static uint32_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % n;
}

static void fill(uint8_t *to, size_t n, uint32_t what)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)(i * 7 + i / 251 + what * 13 + what / 256);
}

/* A bound socket and where it is. */
static int udp_bound(int family, struct sockaddr_storage *at, socklen_t *len)
{
	struct sockaddr_in6 *a6 = (void *)at;
	struct sockaddr_in *a4 = (void *)at;
	int s = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), big = 4 << 20;

	memset(at, 0, sizeof(*at));
	if (family == AF_INET6)
		*a6 = (struct sockaddr_in6){ .sin6_family = family, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	else
		*a4 = (struct sockaddr_in){ .sin_family = AF_INET,
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	*len = family == AF_INET6 ? sizeof(*a6) : sizeof(*a4);
	t_must(s >= 0 && !bind(s, (void *)at, *len) && !getsockname(s, (void *)at, len));
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big));
	return s;
}

static struct nm_pst_addr addr_of(const struct sockaddr_storage *at)
{
	const struct sockaddr_in6 *a6 = (const void *)at;
	const struct sockaddr_in *a4 = (const void *)at;
	struct nm_pst_addr a = { .family = at->ss_family, .port = a4->sin_port };

	if (at->ss_family == AF_INET6)
		memcpy(a.addr, &a6->sin6_addr, 16);
	else
		memcpy(a.addr, &a4->sin_addr, 4);
	return a;
}

/*
 * The next datagram of @sock in @out, its sender in @from; its length, -1 if none comes, or
 * -1000 - err for an event.
 */
static int next_datagram(int sock, uint8_t *out, struct nm_pst_addr *from, int ms)
{
	struct netmap_slot *s;
	int got = 0;
	bool more;

	do {
		s = port_next(&p, ms);
		if (!s)
			return got ? -2 : -1;
		t_eq(s->fd, sock);
		if (s->flags & NS_PST_EVENT) {
			int err = s->err;

			paste_rx_release(p.rx);
			return -1000 - err;
		}
		t_eq(!!(s->flags & NS_PST_FROM), !got);
		if (!got && from)
			nm_pst_getaddr(NETMAP_BUF(p.rx, s->buf_idx), s, from);
		t_must(got + slot_len(s) <= MAX);
		memcpy(out + got, slot_data(p.rx, s), slot_len(s));
		got += (int)slot_len(s);
		more = s->flags & NS_PST_MORE;
		if (more)
			t_true(slot_len(s) > 0);
		paste_rx_release(p.rx);
	} while (more);
	return got;
}

/* Hands in a datagram, in as many slots as it takes; no sync. */
static void put_datagram(int sock, const uint8_t *data, uint32_t n, const struct nm_pst_addr *to)
{
	uint32_t done = 0, room, offset;

	do {
		struct netmap_slot *s = &p.tx->slot[p.tx->head];
		bool first = !done;

		t_must(!nm_ring_empty(p.tx));
		offset = first && to ? 32 + rnd(100) : rnd(30);
		room = p.tx->nr_buf_size - offset;
		if (room > n - done)
			room = n - done;
		s->fd = sock;
		s->offset = (uint16_t)offset;
		s->len = (uint16_t)(offset + room);
		s->flags = (uint16_t)((first && to ? NS_PST_TO : 0) | (done + room < n ? NS_PST_CONT : 0));
		memcpy(slot_data(p.tx, s), data + done, room);
		if (first && to)
			nm_pst_setaddr(NETMAP_BUF(p.tx, s->buf_idx), s, to);
		p.tx->head = p.tx->cur = nm_ring_next(p.tx, p.tx->head);
		done += room;
	} while (done < n);
}

static uint32_t random_size(int i)
{
	static const uint32_t edges[] = { 0, 1, 255, 256, 257, 1472, 3839, 3840, 3841, 4064, 4095, 4096,
					  4097, 8192, MAX };

	if (i < (int)(sizeof(edges) / sizeof(edges[0])))
		return edges[i];
	return rnd(2) ? rnd(1500) : rnd(MAX + 1);
}

/* To the port from @peers sockets, and back to each. */
static void echo(int family, bool connected, int peers, int rounds)
{
	static uint8_t out[MAX], in[MAX + 4096];
	struct sockaddr_storage at, peer_at[32];
	int sock, peer[32] = { 0 };
	socklen_t len;

	t_note("echo, IPv%d, %s, %d peers", family == AF_INET6 ? 6 : 4,
	       connected ? "connected" : "unconnected", peers);
	sock = udp_bound(family, &at, &len);
	for (int i = 0; i < peers; i++) {
		peer[i] = udp_bound(family, &peer_at[i], &len);
		t_ok(connect(peer[i], (void *)&at, len));
	}
	if (connected)
		t_ok(connect(sock, (void *)&peer_at[0], len));
	t_must(port_register(&p, sock) == 0);
	for (int i = 0; i < rounds && !t_failures; i++) {
		struct nm_pst_addr from = { 0 }, expected = addr_of(&peer_at[i % peers]);
		uint32_t n = random_size(i);
		int who = peer[i % peers];

		fill(out, n, (uint32_t)i);
		t_eq(send(who, out, n, 0), n);
		if (!t_eq(next_datagram(sock, in, &from, 2000), n))
			break;
		t_true(!memcmp(in, out, n));
		t_true(!memcmp(&from, &expected, sizeof(from)));

		fill(out, n, (uint32_t)i + 7777);
		put_datagram(sock, out, n, connected && n ? NULL : &expected);
		port_sync(&p);
		t_true(!nm_tx_pending(p.tx));
		if (!t_true(!silent(who, 2000)))
			break;
		t_eq(recv(who, in, sizeof(in), MSG_DONTWAIT), n);
		t_true(!memcmp(in, out, n));
	}
	for (int i = 0; i < peers; i++)
		close(peer[i]);
	close(sock);
}

/* Does this kernel's UDP take pages by reference?  From 6.5 on. */
static bool by_reference(void)
{
	int major = 0, minor = 0;
	struct utsname u;

	t_must(!uname(&u) && sscanf(u.release, "%d.%d", &major, &minor) == 2);
	return major > 6 || (major == 6 && minor >= 5);
}

/* Packets that loopback has carried; what is to be cut is one. */
static uint64_t lo_packets(void)
{
	FILE *f = fopen("/sys/class/net/lo/statistics/tx_packets", "r");
	unsigned long long n = 0;

	t_must(f && fscanf(f, "%llu", &n) == 1);
	fclose(f);
	return n;
}

/*
 * Many datagrams at once, both ways, of one size and of several: order and boundaries.  Those of
 * one size leave together, unless they cannot (@together), and larger ones without being copied,
 * if UDP can do that.
 */
static void bursts(bool together)
{
	static uint8_t out[2000], in[MAX];
	struct sockaddr_storage at, peer_at;
	struct nm_pst_addr to;
	socklen_t len;
	int sock = udp_bound(AF_INET, &at, &len), peer = udp_bound(AF_INET, &peer_at, &len), one = 1;

	t_ok(connect(peer, (void *)&at, len));
	to = addr_of(&peer_at);
	if (!together)	/* UDP does not cut datagrams without checksum */
		t_ok(setsockopt(sock, SOL_SOCKET, SO_NO_CHECK, &one, sizeof(one)));
	t_must(port_register(&p, sock) == 0);
	for (int turn = 0; turn < 12 && !t_failures; turn++) {
		uint64_t packets, bytes = 0, copied = port_stats(&p).counters.tx_copied;
		uint32_t sizes[100], n = 100;

		t_note("burst %d%s", turn, together ? "" : ", without checksums");
		for (uint32_t i = 0; i < n; i++) {
			sizes[i] = turn % 3 == 0 ? 40 : turn % 3 == 1 ? 1200 : rnd(1400);
			if (turn % 3 == 1 && i % 10 == 9)
				sizes[i] = 300;
			bytes += sizes[i];
			fill(out, sizes[i], i);
			put_datagram(sock, out, sizes[i], &to);
		}
		packets = lo_packets();
		port_sync(&p);
		packets = lo_packets() - packets;
		t_true(!nm_tx_pending(p.tx));
		if (!together)
			t_eq(packets, n);
		else if (turn % 3 < 2)
			t_le(packets, 20);
		copied = port_stats(&p).counters.tx_copied - copied;
		if (turn % 3 == 1)
			t_eq(copied, by_reference() ? 0 : bytes);
		for (uint32_t i = 0; i < n && !t_failures; i++) {
			fill(out, sizes[i], i);
			t_true(!silent(peer, 2000));
			t_eq(recv(peer, in, sizeof(in), MSG_DONTWAIT), sizes[i]);
			t_true(!memcmp(in, out, sizes[i]));
		}
		t_true(silent(peer, 0));
		for (uint32_t i = 0; i < n; i++) {
			fill(out, sizes[i], i + 5);
			t_eq(send(peer, out, sizes[i], 0), sizes[i]);
		}
		for (uint32_t i = 0; i < n && !t_failures; i++) {
			fill(out, sizes[i], i + 5);
			t_eq(next_datagram(sock, in, NULL, 2000), sizes[i]);
			t_true(!memcmp(in, out, sizes[i]));
		}
	}
	t_eq(next_datagram(sock, in, NULL, 20), -1);
	close(peer);
	close(sock);
}

/* What the sender cut and the receiver merges comes one by one. */
static void merged(bool gro)
{
	static uint8_t out[20000], in[MAX];
	struct sockaddr_storage at, peer_at;
	int size = 1000, one = 1, rest = 20000 - 17;
	socklen_t len;
	int sock = udp_bound(AF_INET, &at, &len), peer = udp_bound(AF_INET, &peer_at, &len);

	t_note("UDP_SEGMENT at the sender, %s UDP_GRO", gro ? "with" : "without");
	t_ok(connect(peer, (void *)&at, len));
	if (gro)
		t_ok(setsockopt(sock, IPPROTO_UDP, UDP_GRO, &one, sizeof(one)));
	t_ok(setsockopt(peer, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)));
	t_must(port_register(&p, sock) == 0);
	fill(out, sizeof(out), 3);
	t_eq(send(peer, out, (size_t)rest, 0), rest);
	for (int at_ = 0; at_ < rest && !t_failures; at_ += size) {
		int n = rest - at_ < size ? rest - at_ : size;

		t_eq(next_datagram(sock, in, NULL, 2000), n);
		t_true(!memcmp(in, out + at_, (size_t)n));
	}
	t_eq(next_datagram(sock, in, NULL, 20), -1);
	close(peer);
	close(sock);
}

/* A paused socket delivers nothing, its neighbour does; resumed, it has all of it, in order. */
static void pause_and_resume(void)
{
	struct sockaddr_storage at, other_at, peer_at;
	struct nm_pst_addr to;
	uint8_t in[4096];
	socklen_t len;
	int sock = udp_bound(AF_INET, &at, &len), other = udp_bound(AF_INET, &other_at, &len);
	int peer = udp_bound(AF_INET, &peer_at, &len);

	t_note("paused and resumed");
	to = addr_of(&peer_at);
	t_must(port_register(&p, sock) == 0 && port_register(&p, other) == 0);
	for (int turn = 0; turn < 3; turn++) {
		t_eq(sendto(peer, "before", 6, 0, (void *)&at, len), 6);
		t_eq(next_datagram(sock, in, NULL, 2000), 6);
		port_tell(&p, sock, NS_PST_PAUSE);
		for (int i = 0; i < 5; i++) {
			in[0] = (uint8_t)i;
			t_eq(sendto(peer, in, 10, 0, (void *)&at, len), 10);
			t_eq(sendto(peer, in, 20, 0, (void *)&other_at, len), 20);
			t_eq(next_datagram(other, in, NULL, 2000), 20);
			t_eq(in[0], i);
		}
		t_eq(next_datagram(sock, in, NULL, 50), -1);
		put_datagram(sock, (const uint8_t *)"out", 3, &to);	/* which pauses nothing else */
		port_sync(&p);
		t_eq(read_n(peer, in, 3, 2000), 3);
		port_tell(&p, sock, NS_PST_RESUME);
		for (int i = 0; i < 5; i++) {
			t_eq(next_datagram(sock, in, NULL, 2000), 10);
			t_eq(in[0], i);
		}
		t_eq(next_datagram(sock, in, NULL, 20), -1);
	}
	close(peer);
	close(other);
	close(sock);
}

/* Datagrams that UDP has dropped since the socket is there. */
static uint32_t drops(int sock)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(info);

	t_ok(getsockopt(sock, SOL_SOCKET, SO_MEMINFO, info, &len));
	return info[SK_MEMINFO_DROPS];
}

#define GRO_SIZE	1000
#define GRO_PARTS	20

/* Message @i as the application gets it; with @gro in its parts. Its number, or -1 if none comes. */
static int next_message(int sock, bool gro, const uint32_t *sizes, int ms)
{
	static uint8_t in[MAX + 4096], expected[MAX + 4096];
	uint32_t what;
	int n;

	n = next_datagram(sock, in, NULL, ms);
	if (n == -1)
		return -1;
	t_must(n >= (int)sizeof(what));
	memcpy(&what, in, sizeof(what));
	t_must(what < 400);
	fill(expected, sizes[what], what);
	memcpy(expected, &what, sizeof(what));
	for (uint32_t at = 0;;) {
		uint32_t left = sizes[what] - at, part = gro && left > GRO_SIZE ? GRO_SIZE : left;

		if (!t_eq(n, part) || !t_true(!memcmp(in, expected + at, part)))
			return -2;
		at += part;
		if (at == sizes[what])
			return (int)what;
		/* Half of the times the application is slower, or wants none for a while. */
		if (what % 4 == 1 && at == 3 * GRO_SIZE) {
			port_tell(&p, sock, NS_PST_PAUSE);
			usleep(1000);
			port_sync(&p);
			port_tell(&p, sock, NS_PST_RESUME);
		}
		n = next_datagram(sock, in, NULL, 2000);
	}
}

/*
 * More than the ring has slots for, and more than the socket may hold: each datagram comes whole and
 * in order or not at all, and those that do not are UDP's drops.
 */
static void pressure(bool gro)
{
	static uint8_t out[MAX];
	struct sockaddr_storage at, peer_at;
	uint32_t sizes[400] = { 0 }, got = 0, sent = 0, users;
	int size = GRO_SIZE, one = 1, room = gro ? 300000 : 200000, last = -1, n;
	struct port big = p;
	socklen_t len;
	int sock = udp_bound(AF_INET, &at, &len), peer = udp_bound(AF_INET, &peer_at, &len);

	t_note("pressure, %s", gro ? "UDP_GRO" : "several slots");
	port_make(&p, "stack1:t", 16, 0);
	users = (uint32_t)port_stats(&p).port.buf_user;
	t_ok(connect(peer, (void *)&at, len));
	t_ok(setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)));
	if (gro) {
		t_ok(setsockopt(sock, IPPROTO_UDP, UDP_GRO, &one, sizeof(one)));
		t_ok(setsockopt(peer, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)));
	}
	t_must(port_register(&p, sock) == 0);
	while (sent < 400 && !t_failures) {
		for (int i = 0; i < 50; i++, sent++) {
			sizes[sent] = gro ? GRO_PARTS * GRO_SIZE - rnd(900) :
				      sent % 7 ? 4 + rnd(20000) : MAX;
			fill(out, sizes[sent], sent);
			memcpy(out, &sent, sizeof(sent));
			t_eq(send(peer, out, sizes[sent], 0), sizes[sent]);
			if (i % 9 == 0)
				port_sync(&p);
		}
		while ((n = next_message(sock, gro, sizes, 50)) >= 0) {
			t_true(n > last);
			last = n;
			got++;
		}
	}
	t_le(1, drops(sock));
	t_le(80, got);
	t_eq(got + drops(sock), sent);

	t_note("pressure, %s: closed with a rest", gro ? "UDP_GRO" : "several slots");
	t_eq(send(peer, out, sizes[399], 0), sizes[399]);
	t_eq(send(peer, out, sizes[399], 0), sizes[399]);
	port_sync(&p);
	close(sock);
	for (int i = 0; i < 50 && port_next(&p, 10); i++)
		paste_rx_release(p.rx);
	port_sync(&p);
	t_eq(port_stats(&p).port.buf_user, users);
	port_close(&p);
	close(peer);
	p = big;
}

/* What came before registration is delivered; a number that is used again is another socket. */
static void before_and_after(void)
{
	struct sockaddr_storage at, peer_at;
	uint8_t in[4096];
	socklen_t len;
	int sock = udp_bound(AF_INET, &at, &len), peer = udp_bound(AF_INET, &peer_at, &len), again;

	t_note("before registration, and after close");
	t_ok(connect(peer, (void *)&at, len));
	t_eq(send(peer, "first", 5, 0), 5);
	t_must(port_register(&p, sock) == 0);
	t_fails(EBUSY, port_register(&p, sock));
	t_eq(next_datagram(sock, in, NULL, 2000), 5);
	t_eq(send(peer, "stale", 5, 0), 5);
	close(sock);
	again = udp_bound(AF_INET, &at, &len);
	t_eq(again, sock);
	t_ok(connect(peer, (void *)&at, len));
	t_must(port_register(&p, again) == 0);
	t_eq(send(peer, "news", 4, 0), 4);
	t_eq(next_datagram(again, in, NULL, 2000), 4);
	t_true(!memcmp(in, "news", 4));
	t_eq(next_datagram(again, in, NULL, 20), -1);
	close(again);
	close(peer);
}

static void errors(void)
{
	struct sockaddr_storage at, peer_at;
	uint8_t in[4096];
	socklen_t len;
	int sock = udp_bound(AF_INET, &at, &len), peer = udp_bound(AF_INET, &peer_at, &len);

	t_note("port unreachable");
	t_ok(connect(sock, (void *)&peer_at, len));
	t_must(port_register(&p, sock) == 0);
	close(peer);
	put_datagram(sock, (const uint8_t *)"hello", 5, NULL);
	port_sync(&p);
	t_true(!(p.tx->slot[(p.tx->head + p.tx->num_slots - 1) % p.tx->num_slots].flags & NS_PST_REFUSED));
	t_eq(next_datagram(sock, in, NULL, 2000), -1000 - ECONNREFUSED);
	t_note("and goes on");
	peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	t_must(peer >= 0 && !bind(peer, (void *)&peer_at, len));
	put_datagram(sock, (const uint8_t *)"hello", 5, NULL);
	port_sync(&p);
	t_eq(read_n(peer, in, 5, 2000), 5);
	t_ok(connect(peer, (void *)&at, len));
	t_eq(send(peer, "you", 3, 0), 3);
	t_eq(next_datagram(sock, in, NULL, 2000), 3);
	close(peer);
	close(sock);
}

/* One slot with these contents: comes back refused with @err. */
static void refused(const char *what, int sock, uint16_t flags, uint16_t offset, uint16_t end,
		    const struct nm_pst_addr *to, int err)
{
	struct netmap_slot *s = &p.tx->slot[p.tx->head];

	t_note("hostile: %s", what);
	s->fd = sock;
	s->flags = flags;
	s->offset = offset;
	s->len = end;
	if (to && offset >= sizeof(*to) && offset <= p.tx->nr_buf_size)
		nm_pst_setaddr(NETMAP_BUF(p.tx, s->buf_idx), s, to);
	p.tx->head = p.tx->cur = nm_ring_next(p.tx, p.tx->head);
	port_sync(&p);
	t_true(s->flags & NS_PST_REFUSED);
	t_eq(s->err, err);
}

static void hostile(void)
{
	struct sockaddr_storage at, peer_at;
	struct nm_pst_addr good, bad;
	socklen_t len;
	int sock = udp_bound(AF_INET, &at, &len), peer = udp_bound(AF_INET, &peer_at, &len);
	int tcp, tcp_peer;
	uint32_t first;

	good = addr_of(&peer_at);
	t_must(port_register(&p, sock) == 0);
	refused("no address on an unconnected socket", sock, 0, 64, 80, NULL, EDESTADDRREQ);
	refused("address before the buffer", sock, NS_PST_TO, 31, 80, NULL, EMSGSIZE);
	refused("shutdown", sock, NS_PST_SHUT, 64, 80, &good, EINVAL);
	refused("pause with an address", sock, NS_PST_PAUSE | NS_PST_TO, 64, 64, &good, EINVAL);
	refused("goes on and closes", sock, NS_PST_TO | NS_PST_CONT | NS_PST_CLOSE, 64, 80, &good, EINVAL);
	refused("goes on, but does not", sock, NS_PST_TO | NS_PST_CONT, 64, 80, &good, EINVAL);
	refused("outside the buffer", sock, NS_PST_TO, 64, 4097, &good, EMSGSIZE);
	bad = good;
	bad.family = AF_UNIX;
	refused("family", sock, NS_PST_TO, 64, 80, &bad, EAFNOSUPPORT);
	bad.family = AF_UNSPEC;
	refused("no family", sock, NS_PST_TO, 64, 80, &bad, EAFNOSUPPORT);
	bad.family = AF_INET6;
	refused("family of another socket", sock, NS_PST_TO, 64, 80, &bad, EAFNOSUPPORT);
	bad = good;
	bad.pad1[7] = 1;
	refused("reserved bytes", sock, NS_PST_TO, 64, 80, &bad, EINVAL);
	bad = good;
	bad.addr[4] = 1;
	refused("more than an IPv4 address", sock, NS_PST_TO, 64, 80, &bad, EINVAL);
	bad = good;
	bad.scope = 1;
	refused("scope of an IPv4 address", sock, NS_PST_TO, 64, 80, &bad, EINVAL);
	bad = good;
	bad.port = 0;
	refused("port 0", sock, NS_PST_TO, 64, 80, &bad, EINVAL);

	t_note("one slot of a datagram refused: all of it");
	first = p.tx->head;
	for (int i = 0; i < 4; i++) {
		struct netmap_slot *s = &p.tx->slot[p.tx->head];

		s->fd = sock;
		s->offset = 64;
		s->len = i == 1 ? 5000 : 80;
		s->flags = (uint16_t)((i ? 0 : NS_PST_TO) | (i < 3 ? NS_PST_CONT : 0));
		nm_pst_setaddr(NETMAP_BUF(p.tx, s->buf_idx), s, &good);
		p.tx->head = p.tx->cur = nm_ring_next(p.tx, p.tx->head);
	}
	port_sync(&p);
	for (uint32_t i = 0; i < 4; i++)
		t_true(p.tx->slot[(first + i) % p.tx->num_slots].flags & NS_PST_REFUSED);

	t_note("too long a datagram: refused to its end");
	first = p.tx->head;
	for (int i = 0; i < 40; i++) {
		struct netmap_slot *s = &p.tx->slot[p.tx->head];

		s->fd = sock;
		s->offset = 64;
		s->len = 80;
		s->flags = (uint16_t)((i ? 0 : NS_PST_TO) | (i < 39 ? NS_PST_CONT : 0));
		nm_pst_setaddr(NETMAP_BUF(p.tx, s->buf_idx), s, &good);
		p.tx->head = p.tx->cur = nm_ring_next(p.tx, p.tx->head);
	}
	port_sync(&p);
	for (uint32_t i = 0; i < 40; i++)
		t_true(p.tx->slot[(first + i) % p.tx->num_slots].flags & NS_PST_REFUSED);

	tcp_pair(&tcp, &tcp_peer);
	t_must(port_register(&p, tcp) == 0);
	refused("address for TCP", tcp, NS_PST_TO, 64, 80, &good, EINVAL);
	refused("datagram for TCP", tcp, NS_PST_CONT, 64, 80, &good, EINVAL);
	t_true(silent(tcp_peer, 20));
	t_true(silent(peer, 20));
	close(tcp);
	close(tcp_peer);

	t_note("and the socket is none the worse");
	put_datagram(sock, (const uint8_t *)"hello", 5, &good);
	port_sync(&p);
	t_true(!silent(peer, 2000));
	close(peer);
	close(sock);
}

static void not_registered(void)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);

	t_note("what cannot be registered");
	t_fails(ENOTCONN, port_register(&p, sock));
	t_fails(EPROTONOSUPPORT, port_register(&p, raw));
	close(raw);
	close(sock);
}

/* A receiver that does not: the sender's buffer fills, slots wait, the rest of the port goes on. */
static void full(void)
{
	struct sockaddr_storage at, peer_at;
	static uint8_t out[60000], in[MAX];
	struct nm_pst_addr to;
	socklen_t len;
	int sock = udp_bound(AF_INET, &at, &len), peer = udp_bound(AF_INET, &peer_at, &len);
	int small = 1, n = 0, sent = 30, big = 16 << 20;
	bool told = false, cleared = false;
	uint64_t end;

	t_note("a full send buffer");
	setsockopt(peer, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	to = addr_of(&peer_at);
	t_must(port_register(&p, sock) == 0);
	t_ok(setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
	/* What waits in it is charged to us (netem's delay would not be). */
	system("tc qdisc add dev lo root tbf rate 2mbit burst 9000 limit 500000");
	for (int i = 0; i < sent; i++) {
		fill(out, 2000, (uint32_t)i);
		put_datagram(sock, out, 2000, &to);
		if (i == 20) {	/* and a large one, in several slots */
			fill(out, 4200, 99);
			put_datagram(sock, out, 4200, &to);
		}
	}
	port_sync(&p);
	end = now_ms() + 20000;
	while (n < sent + 1 && now_ms() < end && !t_failures) {
		struct netmap_slot *s = port_next(&p, 10);
		ssize_t r;

		if (s) {
			t_true(s->flags & NS_PST_EVENT);
			t_eq(s->err, EAGAIN);
			if (s->flags & NS_PST_CLEAR)
				cleared = true;
			else
				told = true;
			paste_rx_release(p.rx);
		}
		port_sync(&p);
		while ((r = recv(peer, in, sizeof(in), MSG_DONTWAIT)) >= 0) {
			int size = n == 21 ? 4200 : 2000;

			t_eq(r, size);
			fill(out, (size_t)size, n == 21 ? 99 : (uint32_t)(n > 21 ? n - 1 : n));
			t_true(!memcmp(in, out, (size_t)size));
			n++;
		}
	}
	system("tc qdisc del dev lo root");
	t_eq(n, sent + 1);
	t_true(told);
	while (!cleared && now_ms() < end) {
		struct netmap_slot *s = port_next(&p, 10);

		if (s) {
			cleared = s->flags & NS_PST_CLEAR;
			paste_rx_release(p.rx);
		}
	}
	t_true(cleared);
	t_true(!nm_tx_pending(p.tx));
	close(peer);
	close(sock);
}

/* By a slot, behind its datagram or without one: then nothing is sent. */
static void closed(bool connected, bool with_data)
{
	struct sockaddr_storage at, peer_at;
	struct netmap_slot *s;
	struct nm_pst_addr to;
	socklen_t len;
	int sock = udp_bound(AF_INET, &at, &len), peer = udp_bound(AF_INET, &peer_at, &len);
	uint8_t in[64];

	t_note("closed by a slot, %s, %s data", connected ? "connected" : "unconnected",
	       with_data ? "with" : "without");
	to = addr_of(&peer_at);
	if (connected)
		t_ok(connect(sock, (void *)&peer_at, len));
	t_must(port_register(&p, sock) == 0);
	s = &p.tx->slot[p.tx->head];
	if (with_data) {
		put_datagram(sock, (const uint8_t *)"last", 4, &to);
		s->flags |= NS_PST_CLOSE;
	} else {
		t_must(!paste_tx_close(p.tx, sock));
	}
	port_sync(&p);
	t_true(!(s->flags & NS_PST_REFUSED));
	t_fails(EBADF, fcntl(sock, F_GETFD));
	if (with_data)
		t_eq(read_n(peer, in, 4, 2000), 4);
	t_true(silent(peer, 20));
	close(peer);
}

int main(void)
{
	uint32_t users;

	port_make(&p, "stack:t", 256, 64);
	users = (uint32_t)port_stats(&p).port.buf_user;
	echo(AF_INET, false, 1, 100);
	echo(AF_INET, false, 32, 200);
	echo(AF_INET, true, 1, 100);
	echo(AF_INET6, false, 8, 100);
	echo(AF_INET6, true, 1, 60);
	bursts(true);
	bursts(false);
	merged(false);
	merged(true);
	pause_and_resume();
	pressure(false);
	pressure(true);
	before_and_after();
	errors();
	hostile();
	not_registered();
	full();
	for (int i = 0; i < 4; i++)
		closed(i & 1, i & 2);
	t_note("buffers come back");
	for (int i = 0; i < 100 && port_stats(&p).port.buf_sent; i++) {
		port_sync(&p);
		usleep(20000);
	}
	t_eq(port_stats(&p).port.buf_user, users);
	t_eq(port_stats(&p).port.buf_sent, 0);
	t_eq(port_stats(&p).port.buf_stack, 0);
	port_close(&p);
	return t_end();
}
