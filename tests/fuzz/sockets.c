// SPDX-License-Identifier: BSD-2-Clause
/*
 * Steps with sockets: connections over loopback, a veth and the NIC, listeners, sockets of other
 * kinds; what peers send and how they go away; what an application may do to a registered
 * socket behind the port's back.
 */
#include <linux/sockios.h>
#include <netdb.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/un.h>
#include "fuzz.h"

#define LISTEN_BASE	7001	/* the host's clients know these */
#define LISTENERS	4
#define HOST_PORT	7100	/* of the host's server */
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP	262
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT	103
#define UDP_GRO		104
#endif

static char data[65536];

struct sock *any_sock(struct rnd *r)
{
	return &fz.sock[below(r, SOCKS)];
}

/* One that is open, if any is; with a peer, if @peer. */
static struct sock *open_sock(struct rnd *r, bool peer)
{
	uint32_t first = below(r, SOCKS);

	for (uint32_t i = 0; i < SOCKS; i++) {
		struct sock *s = &fz.sock[(first + i) % SOCKS];

		if ((peer ? s->peer : s->fd) >= 0)
			return s;
	}
	return &fz.sock[first];
}

/* A socket's, mostly. */
int any_fd(struct rnd *r)
{
	switch (below(r, 40)) {
	case 0: return (int)odd_number(r);
	case 1: return any_handle(r)->fd;
	case 2: return fz.epoll;
	case 3: return any_sock(r)->peer;
	default: return open_sock(r, false)->fd;
	}
}

void sock_close(struct sock *s)
{
	struct sock old = *s;

	*s = no_sock;
	if (old.fd >= 0)
		close(old.fd);
	if (old.peer >= 0)
		close(old.peer);
}

/* ---- new ones ---- */

static int stream(int family, int protocol)
{
	return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
}

static struct sockaddr_in in(const char *address, uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = inet_addr(address),
	};
}

/* The loopback address of @family. */
static socklen_t loopback(int family, struct sockaddr_storage *a)
{
	if (family == AF_INET) {
		*(struct sockaddr_in *)a = in("127.0.0.1", 0);
		return sizeof(struct sockaddr_in);
	}
	*(struct sockaddr_in6 *)a = (struct sockaddr_in6) {
		.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	return sizeof(struct sockaddr_in6);
}

static void connect_pair(struct sock *s, int listener, int peer, const struct sockaddr *a,
			 socklen_t len)
{
	struct pollfd pfd = { .fd = listener, .events = POLLIN };

	if (listen(listener, 4) == 0 && (connect(peer, a, len) == 0 || errno == EINPROGRESS) &&
	    poll(&pfd, 1, 200) > 0)
		s->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	s->peer = peer;
}

void step_pair(struct rnd *r)
{
	static const int protocols[] = { 0, 0, 0, 0, 0, 0, 0, 0, IPPROTO_MPTCP, IPPROTO_SCTP };
	int family = once_in(r, 3) ? AF_INET6 : AF_INET, protocol = pick(r, protocols);
	struct sock *s = any_sock(r);
	struct sockaddr_storage a = { 0 };
	socklen_t len = loopback(family, &a);
	int l = stream(family, protocol), peer = stream(family, protocol), small = 4096;

	sock_close(s);
	if (once_in(r, 4))
		setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	if (once_in(r, 6))
		setsockopt(l, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	if (bind(l, (void *)&a, len) == 0 && getsockname(l, (void *)&a, &len) == 0)
		connect_pair(s, l, peer, (void *)&a, len);
	else if (peer >= 0)
		close(peer);
	if (l >= 0)
		close(l);
	fz.newest = s;
}

/* A socket of the other namespace, or -1. */
static int socket_there(int family, int type)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd = -1;

	if (setns(fz.space, CLONE_NEWNET) == 0)
		fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setns(here, CLONE_NEWNET);
	close(here);
	return fd;
}

/* The peer is in the other namespace: its data comes by the veth. */
static void step_veth_pair(struct rnd *r)
{
	struct sockaddr_in a = in("10.98.0.1", 0);
	struct sock *s = any_sock(r);
	socklen_t len = sizeof(a);
	int l, peer;

	sock_close(s);
	if (fz.space < 0)
		return;
	peer = socket_there(AF_INET, SOCK_STREAM);
	l = stream(AF_INET, 0);
	if (bind(l, (void *)&a, len) == 0 && getsockname(l, (void *)&a, &len) == 0)
		connect_pair(s, l, peer, (void *)&a, len);
	else if (peer >= 0)
		close(peer);
	close(l);
}

/* To the host's server, by the NIC; without one it is refused, which is a state as well. */
static void step_host(struct rnd *r)
{
	struct sockaddr_in a = in("10.77.0.1", HOST_PORT);
	struct sock *s = any_sock(r);
	struct pollfd pfd = { .events = POLLOUT };

	sock_close(s);
	s->fd = pfd.fd = stream(AF_INET, 0);
	connect(s->fd, (void *)&a, sizeof(a));
	if (!once_in(r, 4))
		poll(&pfd, 1, 100);
}

static void step_listen(struct rnd *r)
{
	struct sock *s = any_sock(r);
	struct sockaddr_in a = in("0.0.0.0", (uint16_t)(LISTEN_BASE + below(r, LISTENERS)));
	int one = 1;

	sock_close(s);
	s->fd = stream(AF_INET, once_in(r, 10) ? IPPROTO_MPTCP : 0);
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (once_in(r, 2))
		setsockopt(s->fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bind(s->fd, (void *)&a, sizeof(a)) == 0)
		listen(s->fd, (int)below(r, 20));
}

/* Into one of our listeners, and perhaps out again at once. */
static void step_knock(struct rnd *r)
{
	static const char *const ways[] = { "127.0.0.1", "10.77.0.2", "10.98.0.1" };
	struct sockaddr_in a = in(pick(r, ways), (uint16_t)(LISTEN_BASE + below(r, LISTENERS)));
	struct linger abort_it = { 1, 0 };
	struct sock *s = any_sock(r);
	int fd = stream(AF_INET, 0);

	connect(fd, (void *)&a, sizeof(a));
	if (once_in(r, 2))
		(void)!write(fd, data, below(r, 3000));
	if (once_in(r, 3)) {
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it));
		close(fd);
		return;
	}
	if (s->peer >= 0)
		close(s->peer);
	s->peer = fd;
}

static void step_accept(struct rnd *r)
{
	struct sock *l = any_sock(r), *s = any_sock(r);
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | (once_in(r, 2) ? SOCK_CLOEXEC : 0));

	if (fd < 0)
		return;
	if (s == l) {
		close(fd);
		return;
	}
	sock_close(s);
	s->fd = fd;
}

static void step_other_kind(struct rnd *r)
{
	static const struct {
		int family, type, protocol;
	} kinds[] = {		/* those that can be registered oftener */
		{ AF_INET, SOCK_DGRAM, 0 },
		{ AF_INET6, SOCK_DGRAM, 0 },
		{ AF_UNIX, SOCK_STREAM, 0 },
		{ AF_UNIX, SOCK_STREAM, 0 },
		{ AF_UNIX, SOCK_STREAM, 0 },
		{ AF_UNIX, SOCK_SEQPACKET, 0 },
		{ AF_INET, SOCK_RAW, IPPROTO_TCP },
		{ AF_NETLINK, SOCK_RAW, 0 },
		{ AF_PACKET, SOCK_RAW, 0 },
		{ AF_INET, SOCK_STREAM, IPPROTO_SCTP },
		{ AF_INET, SOCK_STREAM, IPPROTO_MPTCP },
		{ AF_INET, SOCK_STREAM, 0 },
		{ AF_INET6, SOCK_STREAM, 0 },
	};
	struct sock *s = any_sock(r);
	uint32_t i = below(r, sizeof(kinds) / sizeof(*kinds));
	int two[2];

	sock_close(s);
	if (kinds[i].family == AF_UNIX &&
	    socketpair(AF_UNIX, kinds[i].type | SOCK_NONBLOCK, 0, two) == 0)
		*s = (struct sock){ .fd = two[0], .peer = two[1] };
	else
		s->fd = socket(kinds[i].family, kinds[i].type | SOCK_NONBLOCK, kinds[i].protocol);
	if (s->peer >= 0)
		fz.newest = s;
}

/* ---- datagrams ---- */

static struct nm_pst_addr slot_address(const char *address, uint16_t port)
{
	struct nm_pst_addr a = { .family = strchr(address, ':') ? AF_INET6 : AF_INET,
				 .port = htons(port) };

	inet_pton(a.family, address, a.addr);
	return a;
}

static socklen_t socket_address(const struct nm_pst_addr *a, struct sockaddr_storage *to)
{
	struct sockaddr_in6 *to6 = (void *)to;
	struct sockaddr_in *to4 = (void *)to;

	*to = (struct sockaddr_storage){ .ss_family = a->family };
	to4->sin_port = a->port;	/* at the same place in both */
	if (a->family == AF_INET)
		memcpy(&to4->sin_addr, a->addr, sizeof(to4->sin_addr));
	else
		memcpy(&to6->sin6_addr, a->addr, sizeof(to6->sin6_addr));
	return a->family == AF_INET ? sizeof(*to4) : sizeof(*to6);
}

/* Binds @fd to @a, whose port is filled in. */
static void bind_to(int fd, struct nm_pst_addr *a)
{
	struct sockaddr_storage at;
	socklen_t len = socket_address(a, &at);

	bind(fd, (void *)&at, len);
	if (getsockname(fd, (void *)&at, &len) == 0)
		a->port = ((struct sockaddr_in *)&at)->sin_port;
}

static void connect_to(int fd, const struct nm_pst_addr *a)
{
	struct sockaddr_storage to;
	socklen_t len = socket_address(a, &to);

	connect(fd, (void *)&to, len);
}

/* What decides in how many pieces datagrams leave and come, and whether errors do. */
static void udp_options(struct rnd *r, int fd)
{
	static const int sizes[] = { 1, 100, 512, 1200, 1400, 4000 };
	int one = 1, small = 4096, size = pick(r, sizes);

	if (once_in(r, 4))
		setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof(one));
	if (once_in(r, 5))
		setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size));
	if (once_in(r, 8))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	if (once_in(r, 8))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	if (once_in(r, 6))
		setsockopt(fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one));
	if (once_in(r, 6))
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof(one));
}

/* Both bound, the peer connected, ours sometimes; over loopback or the veth. */
void step_udp_pair(struct rnd *r)
{
	static const struct {
		const char *ours, *theirs;
		bool veth;
	} ways[] = {
		{ "127.0.0.1", "127.0.0.1", false },
		{ "::1", "::1", false },
		{ "::ffff:127.0.0.1", "::ffff:127.0.0.1", false },
		{ "10.98.0.1", "10.98.0.2", true },
		{ "fd98::1", "fd98::2", true },
	};
	uint32_t way = below(r, sizeof(ways) / sizeof(*ways));
	struct nm_pst_addr ours = slot_address(ways[way].ours, 0), any = { .family = ours.family };
	struct sock *s = any_sock(r);
	int type = SOCK_DGRAM | SOCK_NONBLOCK;

	sock_close(s);
	if (ways[way].veth && fz.space < 0)
		return;
	s->to = slot_address(ways[way].theirs, 0);
	s->fd = socket(ours.family, type | SOCK_CLOEXEC, 0);
	s->peer = ways[way].veth ? socket_there(ours.family, SOCK_DGRAM) :
				   socket(ours.family, type | SOCK_CLOEXEC, 0);
	if (once_in(r, 3)) {
		bind_to(s->fd, &any);
		ours.port = any.port;
	} else {
		bind_to(s->fd, &ours);
	}
	bind_to(s->peer, &s->to);
	connect_to(s->peer, &ours);
	if (once_in(r, 2))
		connect_to(s->fd, &s->to);
	udp_options(r, s->fd);
	udp_options(r, s->peer);
	for (uint32_t n = below(r, 5); n; n--)	/* before it is registered */
		send(s->peer, data, below(r, 3000), MSG_DONTWAIT | MSG_NOSIGNAL);
	fz.newest = s;
}

/* To and from the host, by the NIC: it echoes, and sends to the listeners' numbers by itself. */
static void step_udp_host(struct rnd *r)
{
	bool six = once_in(r, 2);
	struct nm_pst_addr ours = slot_address(six ? "fd77::2" : "10.77.0.2", 0);
	struct sock *s = any_sock(r);
	int one = 1;

	sock_close(s);
	s->to = slot_address(six ? "fd77::1" : "10.77.0.1", HOST_PORT);
	s->fd = socket(ours.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (once_in(r, 2))
		ours.port = htons((uint16_t)(LISTEN_BASE + below(r, LISTENERS)));
	if (once_in(r, 3))
		memset(ours.addr, 0, sizeof(ours.addr));
	if (once_in(r, 2))
		setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (once_in(r, 2))
		setsockopt(s->fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	bind_to(s->fd, &ours);
	if (once_in(r, 2))
		connect_to(s->fd, &s->to);
	udp_options(r, s->fd);
	fz.newest = s;
}

/* Where datagrams of @fd go; NULL if it is none of our UDP sockets. */
const struct nm_pst_addr *sock_to(int fd)
{
	for (uint32_t i = 0; fd >= 0 && i < SOCKS; i++)
		if (fz.sock[i].fd == fd && fz.sock[i].to.family)
			return &fz.sock[i].to;
	return NULL;
}

const char *const sock_kinds[KINDS] = { "TCP", "UDP", "MPTCP", "SCTP", "Unix" };

/* KINDS if it is none. */
uint32_t sock_kind(int fd)
{
	static const int protocols[KINDS] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_MPTCP, IPPROTO_SCTP, 0 };
	socklen_t len = sizeof(int);
	uint32_t i = 0;
	int protocol;

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len))
		return KINDS;
	while (i < KINDS && protocols[i] != protocol)
		i++;
	return i;
}

/* ---- what peers do ---- */

static void step_peer_sends(struct rnd *r)
{
	uint32_t many = 1 + below(r, 4);

	while (many--) {
		struct sock *s = open_sock(r, true);
		size_t n = once_in(r, 3) ? below(r, sizeof(data)) : below(r, 3000);

		send(s->peer, data, n,
		     MSG_DONTWAIT | MSG_NOSIGNAL | (once_in(r, 20) ? MSG_OOB : 0) |
			     (once_in(r, 10) ? MSG_MORE : 0));
	}
}

static void step_peer_reads(struct rnd *r)
{
	struct sock *s = open_sock(r, true);
	uint32_t many = once_in(r, 2) ? 1 : 100;

	while (many-- && recv(s->peer, data, once_in(r, 2) ? sizeof(data) : 100, MSG_DONTWAIT) > 0)
		told->datagrams_back += s->to.family != 0;
}

static void end(struct rnd *r, int *fd)
{
	struct linger abort_it = { 1, 0 };

	switch (below(r, 5)) {
	case 0: shutdown(*fd, SHUT_WR); return;
	case 1: shutdown(*fd, (int)below(r, 3)); return;
	case 2:
		setsockopt(*fd, SOL_SOCKET, SO_LINGER, &abort_it,
			   sizeof(abort_it));
		/* fallthrough */
	default:
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
	}
}

static void step_peer_ends(struct rnd *r)
{
	end(r, &open_sock(r, true)->peer);
}

/* ---- what the application does to its sockets ---- */

static void step_end(struct rnd *r)
{
	end(r, &open_sock(r, false)->fd);
}

static void step_use(struct rnd *r)
{
	struct sock *s = open_sock(r, false);
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	switch (below(r, 8)) {
	case 0:
	case 1:
		recv(s->fd, data, below(r, 5000), MSG_DONTWAIT | (once_in(r, 4) ? MSG_PEEK : 0));
		break;
	case 2: case 3: send(s->fd, data, below(r, 5000), MSG_DONTWAIT | MSG_NOSIGNAL); break;
	case 4: sendfile(s->fd, any_sock(r)->fd, NULL, 4096); break;
	case 5:
		if (fcntl(fz.pipe[0], F_GETFD) >= 0)
			splice(s->fd, NULL, fz.pipe[1], NULL, 4096, SPLICE_F_NONBLOCK);
		break;
	case 6: connect(s->fd, &none, sizeof(none)); break;	/* disconnects */
	default: listen(s->fd, 4);
	}
}

static void step_option(struct rnd *r)
{
	static const struct {
		int level, name;
	} options[] = {
		{ SOL_SOCKET, SO_RCVBUF },	   { SOL_SOCKET, SO_SNDBUF },
		{ SOL_SOCKET, SO_KEEPALIVE },	   { SOL_SOCKET, SO_OOBINLINE },
		{ SOL_SOCKET, SO_RCVLOWAT },	   { SOL_SOCKET, SO_BUSY_POLL },
		{ SOL_SOCKET, SO_ZEROCOPY },	   { SOL_SOCKET, SO_MARK },
		{ SOL_SOCKET, SO_PRIORITY },	   { SOL_SOCKET, SO_MAX_PACING_RATE },
		{ IPPROTO_TCP, TCP_NODELAY },	   { IPPROTO_TCP, TCP_CORK },
		{ IPPROTO_TCP, TCP_QUICKACK },	   { IPPROTO_TCP, TCP_MAXSEG },
		{ IPPROTO_TCP, TCP_WINDOW_CLAMP }, { IPPROTO_TCP, TCP_REPAIR },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT }, { IPPROTO_TCP, TCP_LINGER2 },
		{ IPPROTO_TCP, TCP_DEFER_ACCEPT }, { IPPROTO_TCP, TCP_NOTSENT_LOWAT },
		{ IPPROTO_TCP, TCP_FASTOPEN },	   { IPPROTO_TCP, TCP_SAVE_SYN },
		{ IPPROTO_TCP, TCP_INQ },	   { IPPROTO_UDP, UDP_CORK },
		{ IPPROTO_UDP, UDP_ENCAP },	   { IPPROTO_UDP, UDP_NO_CHECK6_TX },
		{ IPPROTO_UDP, UDP_SEGMENT },	   { IPPROTO_UDP, UDP_GRO },
		{ IPPROTO_IP, IP_RECVERR },	   { IPPROTO_IP, IP_PKTINFO },
		{ IPPROTO_IP, IP_MTU_DISCOVER },   { IPPROTO_IPV6, IPV6_RECVERR },
		{ IPPROTO_IPV6, IPV6_MTU_DISCOVER },
	};
	static const char *const ulps[] = { "tls", "tls", "tls", "paste" };
	static const char *const congestion[] = { "cubic", "reno" };
	uint32_t i = below(r, sizeof(options) / sizeof(*options));
	int value = once_in(r, 2) ? (int)below(r, 2) : (int)odd_number(r), fd = any_fd(r);
	const char *word;

	switch (below(r, 9)) {
	case 0:
		word = pick(r, ulps);
		setsockopt(fd, IPPROTO_TCP, TCP_ULP, word, (socklen_t)strlen(word));
		break;
	case 1:
		word = pick(r, congestion);
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, word, (socklen_t)strlen(word));
		break;
	case 2: ioctl(fd, SIOCINQ, &value); break;
	case 3:		/* becomes an IPv4 socket, if its peer's address is mapped */
		value = AF_INET;
		setsockopt(fd, IPPROTO_IPV6, IPV6_ADDRFORM, &value, sizeof(value));
		break;
	default: setsockopt(fd, options[i].level, options[i].name, &value, sizeof(value));
	}
}

const struct step socket_steps[] = {
	{ "pair", 26, step_pair },
	{ "veth-pair", 10, step_veth_pair },
	{ "host", 8, step_host },
	{ "udp-pair", 16, step_udp_pair },
	{ "udp-host", 8, step_udp_host },
	{ "listen", 8, step_listen },
	{ "knock", 10, step_knock },
	{ "accept", 8, step_accept },
	{ "other-kind", 14, step_other_kind },
	{ "peer-sends", 50, step_peer_sends },
	{ "peer-reads", 30, step_peer_reads },
	{ "peer-ends", 8, step_peer_ends },
	{ "end", 8, step_end },
	{ "use", 6, step_use },
	{ "option", 8, step_option },
	{ NULL, 0, NULL },
};
