// SPDX-License-Identifier: BSD-2-Clause
/*
 * unreachable: what a living TCP connection learns of ICMP (IP_RECVERR) is not its end: nothing is refused, no failure is
 * told, the stream has no gap, whichever way its bytes go; the end in order is told as that.
 *
 * [short debug]
 */
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include "port.h"

static struct port p;

/* What the peer expects next. */
static uint32_t expected(int peer)
{
	int on = 1, off = TCP_REPAIR_OFF_NO_WP, queue = TCP_RECV_QUEUE;
	uint32_t seq = 0;
	socklen_t len = sizeof(seq);

	t_must(!setsockopt(peer, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)));
	t_must(!setsockopt(peer, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)));
	t_must(!getsockopt(peer, IPPROTO_TCP, TCP_QUEUE_SEQ, &seq, &len));
	t_must(!setsockopt(peer, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)));
	return seq;
}

static uint16_t checksum(const void *data, size_t n)
{
	const uint16_t *w = data;
	uint32_t sum = 0;

	for (; n; n -= 2)
		sum += *w++;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* What @sock has sent is answered by ICMP: the host is unreachable.  The error is pending then. */
static void unreachable(int sock, int peer)
{
	struct {
		struct icmphdr icmp;
		struct iphdr ip;
		uint16_t from, to;
		uint32_t seq;
	} m = {
		.icmp = { .type = ICMP_DEST_UNREACH, .code = ICMP_HOST_UNREACH },
		.ip = { .version = 4, .ihl = 5, .tot_len = htons(40), .ttl = 64, .protocol = IPPROTO_TCP,
			.saddr = htonl(INADDR_LOOPBACK), .daddr = htonl(INADDR_LOOPBACK) },
		.seq = htonl(expected(peer)),
	};
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in from = { 0 }, to = { 0 };
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	struct pollfd pfd = { .fd = sock };
	socklen_t len = sizeof(from);

	t_must(raw >= 0);
	t_must(!getsockname(sock, (struct sockaddr *)&from, &len));
	t_must(!getsockname(peer, (struct sockaddr *)&to, &len));
	m.from = from.sin_port;
	m.to = to.sin_port;
	m.ip.check = checksum(&m.ip, sizeof(m.ip));
	m.icmp.checksum = checksum(&m, sizeof(m));
	t_eq(sendto(raw, &m, sizeof(m), 0, (struct sockaddr *)&a, sizeof(a)), sizeof(m));
	close(raw);
	t_must(poll(&pfd, 1, 5000 * (int)t_slower()) == 1 && pfd.revents & POLLERR);
}

static void registered(int *sock, int *peer)
{
	int on = 1;

	port_pair(&p, sock, peer);
	t_must(!setsockopt(*sock, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)));
}

/* @n bytes that go on at @at of the stream, in slots of at most @size; none may be refused. */
static void put(int sock, size_t at, size_t n, size_t size)
{
	char data[4096];

	while (n) {
		struct netmap_slot *s = &p.tx->slot[p.tx->head];
		size_t m = n < size ? n : size;

		for (size_t i = 0; i < m; i++)
			data[i] = (char)((at + i) * 7 + (at + i) / 251);
		port_put(&p, sock, data, (uint16_t)m);
		port_sync(&p);
		t_true(!(s->flags & NS_PST_REFUSED));
		at += m;
		n -= m;
	}
}

static void arrives(int peer, size_t at, size_t n)
{
	static char got[1 << 20];

	t_must(n <= sizeof(got));
	t_eq(read_n(peer, got, n, 20000), n);
	for (size_t i = 0; i < n; i++)
		if (got[i] != (char)((at + i) * 7 + (at + i) / 251)) {
			T_FAIL("byte %zu is wrong", at + i);
			return;
		}
}

/* The error finds the socket with nothing queued: slots of @size bytes. */
static void goes_on(size_t size)
{
	int sock, peer;
	char got[8];

	t_note("an error, then slots of %zu bytes", size);
	registered(&sock, &peer);
	put(sock, 0, 10, 10);
	t_must(port_arrived(sock));
	unreachable(sock, peer);
	put(sock, 10, 3 * size, size);
	arrives(peer, 0, 10 + 3 * size);
	t_true(!port_next(&p, 50));
	t_eq(send(peer, "question", 8, 0), 8);
	t_eq(port_collect(&p, sock, got, 8, 2000), 8);
	close(sock);
	close(peer);
}

/* It finds bytes in the socket's queue, and is not told as the end of them. */
static void congested(void)
{
	int sock, peer, size = 4096;
	struct netmap_slot *s = NULL;
	size_t sent = 0;

	t_note("an error while congested");
	registered(&sock, &peer);
	t_must(!setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	for (; !s && sent < 1000000; sent += 4000) {
		put(sock, sent, 4000, 4000);
		s = port_next(&p, 0);
	}
	t_must(s && s->err == EAGAIN && !(s->flags & NS_PST_CLEAR));
	paste_rx_release(p.rx);
	unreachable(sock, peer);
	put(sock, sent, 4000, 4000);
	for (int i = 0; i < 100 && !(s = port_next(&p, 100)); i++)
		port_sync(&p);
	t_must(s);
	t_eq(s->err, EAGAIN);
	t_true(s->flags & NS_PST_CLEAR);
	paste_rx_release(p.rx);
	arrives(peer, 0, sent + 4000);
	close(sock);
	close(peer);
}

/* Nor is it told with the end of either stream, nor as what ended the connection. */
static void ends(bool ours_first)
{
	int sock, peer;
	char got[1];

	t_note("an error, then the ends, %s first", ours_first ? "ours" : "the peer's");
	registered(&sock, &peer);
	put(sock, 0, 10, 10);
	unreachable(sock, peer);
	arrives(peer, 0, 10);
	if (!ours_first) {
		t_ok(shutdown(peer, SHUT_WR));
		t_eq(port_collect(&p, sock, got, 1, 5000), -1000);
	}
	port_tell(&p, sock, NS_PST_SHUT);
	t_true(!silent(peer, 5000));
	t_eq(recv(peer, got, 1, 0), 0);
	if (ours_first) {
		t_ok(shutdown(peer, SHUT_WR));
		t_eq(port_collect(&p, sock, got, 1, 5000), -1000);
	}
	t_eq(port_collect(&p, sock, got, 1, 5000), -1000 - ENOTCONN);
	close(sock);
	close(peer);
}

/* The error comes behind our own end; @late: and is found by bytes, which are refused, as ever. */
static void behind_end(bool late)
{
	struct netmap_slot *s;
	int sock, peer;
	char got[1];

	t_note("an error behind our end%s", late ? ", and more bytes" : "");
	registered(&sock, &peer);
	port_tell(&p, sock, NS_PST_SHUT);
	unreachable(sock, peer);
	if (late) {
		s = &p.tx->slot[p.tx->head];
		port_put(&p, sock, "late", 4);
		port_sync(&p);
		t_true(s->flags & NS_PST_REFUSED);
		t_eq(s->err, EPIPE);
		t_true(!port_next(&p, 50));
	}
	t_true(!silent(peer, 20000));
	t_eq(recv(peer, got, 1, 0), 0);
	t_ok(shutdown(peer, SHUT_WR));
	t_eq(port_collect(&p, sock, got, 1, 5000), -1000);
	t_eq(port_collect(&p, sock, got, 1, 5000), -1000 - ENOTCONN);
	close(sock);
	close(peer);
}

/* What does end it is told: the peer's reset. */
static void reset(void)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	int sock, peer;
	char got[1];

	t_note("an error, then a reset");
	registered(&sock, &peer);
	put(sock, 0, 10, 10);
	unreachable(sock, peer);
	t_ok(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
	close(peer);
	t_eq(port_collect(&p, sock, got, 1, 5000), -1000 - ECONNRESET);
	close(sock);
}

int main(void)
{
	port_make(&p, "stack:t", 128, 0);
	goes_on(10);
	goes_on(4000);
	congested();
	ends(false);
	ends(true);
	behind_end(false);
	behind_end(true);
	reset();
	port_close(&p);
	return t_end();
}
