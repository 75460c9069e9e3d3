/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the test programs share beyond t.h: ports opened by the bare request
 * (libraries have tests of their own), and TCP connections over loopback.
 */
#ifndef PORT_H
#define PORT_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <net/netmap_paste.h>
#include <net/netmap_user.h>
#include <paste.h>
#include "../t.h"

/* A bound and mapped descriptor.  rx and tx are its first rings. */
struct port {
	char name[NETMAP_REQ_IFNAMSIZ];
	int fd;
	char *mem;
	size_t size;
	struct netmap_if *nifp;
	struct netmap_ring *rx, *tx;
	struct nmreq_register reg;	/* as answered */
};

/* @options: a list, or NULL. */
static inline int port_ioctl_with(int fd, uint16_t type, const char *name, void *body,
				  void *options)
{
	struct nmreq_header hdr = {
		.nr_version = NETMAP_API,
		.nr_reqtype = type,
		.nr_options = (uintptr_t)options,
		.nr_body = (uintptr_t)body,
	};

	snprintf(hdr.nr_name, sizeof(hdr.nr_name), "%s", name);
	return ioctl(fd, NIOCCTRL, &hdr);
}

static inline int port_ioctl(int fd, uint16_t type, const char *name, void *body)
{
	return port_ioctl_with(fd, type, name, body, NULL);
}

static inline struct netmap_ring *port_rx(const struct port *p, uint32_t i)
{
	return NETMAP_RXRING(p->nifp, i);
}

static inline struct netmap_ring *port_tx(const struct port *p, uint32_t i)
{
	return NETMAP_TXRING(p->nifp, i);
}

/*
 * Opens @name as @want says (nr_mode 0: all rings), with @options (a list, or NULL), maps
 * it.  0, or -1 and errno.
 */
static inline int port_open_with(struct port *p, const char *name,
				 const struct nmreq_register *want, void *options)
{
	uint32_t first = 0;
	int err;

	*p = (struct port){ .fd = open("/dev/netmap", O_RDWR | O_CLOEXEC) };
	if (p->fd < 0)
		return -1;
	snprintf(p->name, sizeof(p->name), "%s", name);
	if (want)
		p->reg = *want;
	if (p->reg.nr_mode == NR_REG_DEFAULT)
		p->reg.nr_mode = NR_REG_ALL_NIC;
	if (p->reg.nr_mode == NR_REG_ONE_NIC)
		first = p->reg.nr_ringid;
	if (port_ioctl_with(p->fd, NETMAP_REQ_REGISTER, name, &p->reg, options))
		goto fail;
	p->size = p->reg.nr_memsize;
	p->mem = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	if (p->mem == MAP_FAILED)
		goto fail;
	p->nifp = NETMAP_IF(p->mem, p->reg.nr_offset);
	p->rx = port_rx(p, first);
	p->tx = port_tx(p, first);
	return 0;
fail:
	err = errno;
	close(p->fd);
	p->fd = -1;
	errno = err;
	return -1;
}

static inline int port_open(struct port *p, const char *name,
			    const struct nmreq_register *want)
{
	return port_open_with(p, name, want, NULL);
}

/* A port of @slots slots in both directions with @extra buffers; ends the test on failure. */
static inline void port_make(struct port *p, const char *name, uint32_t slots,
			     uint32_t extra)
{
	struct nmreq_register want = {
		.nr_tx_slots = slots, .nr_rx_slots = slots, .nr_extra_bufs = extra,
	};

	if (access("/dev/netmap", F_OK))
		t_skip("no /dev/netmap: the module is not loaded");
	t_must(port_open(p, name, &want) == 0);
}

static inline void port_close(struct port *p)
{
	if (p->fd < 0)
		return;
	munmap(p->mem, p->size);
	close(p->fd);
	p->fd = -1;
}

static inline int port_register(const struct port *p, int sock)
{
	struct nmreq_pst_fd_reg reg = { .fd = (uint32_t)sock };

	return port_ioctl(p->fd, NETMAP_REQ_PST_FD_REG, p->name, &reg);
}

static inline struct nmreq_pst_stats port_stats(const struct port *p)
{
	struct nmreq_pst_stats st = { .ring = 0 };

	t_ok(port_ioctl(p->fd, NETMAP_REQ_PST_STATS, p->name, &st));
	return st;
}

/* Both syncs, without waiting; what poll() said. */
static inline int port_sync(const struct port *p)
{
	struct pollfd pfd = { .fd = p->fd, .events = POLLIN | POLLOUT };

	t_ok(poll(&pfd, 1, 0));
	return pfd.revents;
}

static inline uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The first RX slot, waiting for it at most @ms (of an ordinary kernel); NULL if none comes. */
static inline struct netmap_slot *port_next(const struct port *p, int ms)
{
	uint64_t end = now_ms() + (uint64_t)ms * t_slower();

	while (nm_ring_empty(p->rx)) {
		struct pollfd pfd = { .fd = p->fd, .events = POLLIN };
		uint64_t now = now_ms();

		if (now >= end)
			return NULL;
		t_ok(poll(&pfd, 1, (int)(end - now)));
		if (pfd.revents & POLLERR)
			return NULL;
	}
	return &p->rx->slot[p->rx->head];
}

/*
 * Waits until all that @peer, a TCP socket, has sent has been acknowledged, for at most 2 s (of an ordinary
 * kernel): over loopback it arrives at once only while ksoftirqd has nothing to do.
 */
static inline bool port_arrived(int peer)
{
	uint64_t end = now_ms() + 2000 * t_slower();
	int unacknowledged;

	do
		t_ok(ioctl(peer, SIOCOUTQ, &unacknowledged));
	while (unacknowledged && now_ms() < end);
	return !unacknowledged;
}

/* Waits at most @ms (of an ordinary kernel) until @n RX slots are there. */
static inline bool port_has(const struct port *p, uint32_t n, int ms)
{
	uint64_t end = now_ms() + (uint64_t)ms * t_slower();

	while (nm_ring_space(p->rx) < n && now_ms() < end)
		port_sync(p);
	return nm_ring_space(p->rx) >= n;
}

static inline char *slot_data(const struct netmap_ring *r, const struct netmap_slot *s)
{
	return NETMAP_BUF(r, s->buf_idx) + s->offset;
}

static inline size_t slot_len(const struct netmap_slot *s)
{
	return s->len > s->offset ? (size_t)(s->len - s->offset) : 0;
}

/*
 * Collects what arrives for @sock, up to @max bytes or until nothing comes for
 * @ms, into @out, releasing the slots.  The number of bytes; -errno + -1000 for an
 * event (so -1000 is the end of stream) if it is the first that comes.  Slots of
 * other sockets fail the test.
 */
static inline int port_collect(const struct port *p, int sock, char *out, size_t max, int ms)
{
	struct netmap_slot *s;
	size_t got = 0;

	while (got < max && (s = port_next(p, ms))) {
		size_t n = slot_len(s);

		t_eq(s->fd, sock);
		if (s->flags & NS_PST_EVENT) {
			if (got)
				break;
			paste_rx_release(p->rx);
			return -1000 - s->err;
		}
		t_must(got + n <= max);
		memcpy(out + got, slot_data(p->rx, s), n);
		got += n;
		paste_rx_release(p->rx);
	}
	return (int)got;
}

/* Hands @n bytes to the next TX slot, copied into its buffer; no sync. */
static inline void port_put(const struct port *p, int sock, const void *data, uint16_t n)
{
	size_t room;
	char *to = paste_tx_room(p->tx, &room);

	t_must(to && n <= room);
	memcpy(to, data, n);
	paste_tx_commit(p->tx, sock, n);
}

/* Hands in a slot without payload, NS_PST_PAUSE or NS_PST_RESUME, which must be taken. */
static inline void port_tell(const struct port *p, int sock, uint16_t what)
{
	struct netmap_slot *s = &p->tx->slot[p->tx->head];

	s->fd = sock;
	s->offset = s->len = 0;
	s->flags = what;
	p->tx->head = p->tx->cur = nm_ring_next(p->tx, p->tx->head);
	port_sync(p);
	t_true(!(s->flags & NS_PST_REFUSED));
}

/* A listening socket on loopback (@family AF_INET or AF_INET6); its port in @port. */
static inline int tcp_listen(int family, uint16_t *port)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *a = family == AF_INET6 ? (void *)&a6 : (void *)&a4;
	socklen_t len = family == AF_INET6 ? sizeof(a6) : sizeof(a4);
	int s = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	t_must(s >= 0 && !bind(s, a, len) && !listen(s, 1024) && !getsockname(s, a, &len));
	*port = ntohs(family == AF_INET6 ? a6.sin6_port : a4.sin_port);
	return s;
}

static inline int tcp_connect(int family, uint16_t port)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT,
				   .sin6_port = htons(port) };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(port) };
	int s = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	t_must(s >= 0);
	t_must(!connect(s, family == AF_INET6 ? (void *)&a6 : (void *)&a4,
			family == AF_INET6 ? sizeof(a6) : sizeof(a4)));
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return s;
}

/* A TCP connection over loopback: the server's end, to be registered, and the peer's. */
static inline void tcp_pair(int *server, int *peer)
{
	uint16_t port;
	int l = tcp_listen(AF_INET, &port), one = 1;

	*peer = tcp_connect(AF_INET, port);
	*server = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	t_must(*server >= 0);
	setsockopt(*server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(l);
}

/* The same, registered. */
static inline void port_pair(const struct port *p, int *server, int *peer)
{
	tcp_pair(server, peer);
	t_must(port_register(p, *server) == 0);
}

/* Reads exactly @n bytes of an ordinary socket within @ms; what came. */
static inline size_t read_n(int s, void *buf, size_t n, int ms)
{
	uint64_t end = now_ms() + (uint64_t)ms * t_slower();
	size_t got = 0;

	while (got < n) {
		struct pollfd pfd = { .fd = s, .events = POLLIN };
		uint64_t now = now_ms();
		ssize_t r;

		if (now >= end || poll(&pfd, 1, (int)(end - now)) <= 0)
			break;
		r = read(s, (char *)buf + got, n - got);
		if (r <= 0)
			break;
		got += (size_t)r;
	}
	return got;
}

/* True when nothing can be read from @s for @ms (end of stream counts as something). */
static inline bool silent(int s, int ms)
{
	struct pollfd pfd = { .fd = s, .events = POLLIN };

	return poll(&pfd, 1, ms) == 0;
}

#endif /* PORT_H */
