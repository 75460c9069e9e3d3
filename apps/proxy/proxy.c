// SPDX-License-Identifier: BSD-2-Clause
/*
 * proxy: forwards TCP connections to another server, and no byte is copied on the way.
 *
 *	proxy PORT ADDRESS SERVER-PORT [stack:eth0 ...]
 *
 * Clients may come by IPv4 and IPv6; ADDRESS says which of them leads to the server.
 *
 * For each client that connects to PORT we connect to the server, and register that socket as
 * well: to a stack port both are alike.  What is received from one is sent to the other by
 * exchanging the buffers of two slots.
 *
 *	RX slot of A           TX slot to B
 *	[ received ]  <----->  [ free ]		B takes all that A sends
 *	[ received ]  <----->  [ spare ]	B is slow: the buffer waits in B's queue, and the
 *						kernel is asked to deliver nothing more of A
 *						(NS_PST_PAUSE) until the queue is empty
 *
 * So a slow reader on either side closes the window of the other side's peer, and nobody
 * else's.  When so many read slowly that no spare is left, the longest queue is given up, and
 * its connection reset.  The end of a stream is passed on behind its data, a reset as a reset.
 *
 * Slots for a full socket stay in the TX ring when the kernel has no queue for them, and a ring
 * full of them would stop everybody.  So each side gets no more of them in a round than the
 * kernel queues, and only some when buffers are low, when it queues none.  If it is full all the
 * same and nothing moves, the connection of its first slot is reset.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libnetmap.h>
#include <netdb.h>
#include <netinet/in.h>
#include <paste.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define USAGE	"usage: proxy PORT ADDRESS SERVER-PORT [stack:IFNAME ...]"
#define FDS	65536	/* descriptors, two for each connection */
#define ROOM	4	/* TX slots that handling one RX slot may take */
#define WAIT_MAX (128 << 10)	/* bytes that wait in TCP each way, in our buffers */
#define BURST	64	/* TX slots for one side in a round: the kernel queues as many */
#define BURST_LOW 2	/* the same when buffers are low */

/* One of the two connections of a client, by its descriptor. */
static struct side {
	int peer;		/* the other one; 0: not in use */
	bool up;		/* registered: slots may name it */
	bool congested;		/* the kernel has not passed all to TCP yet */
	bool paused;		/* nothing of it is delivered */
	bool ending;		/* to be shut down behind its queue */
	bool done;		/* that has been done */
	uint32_t first, last;	/* its queue: buffers that wait to be sent to it; 0: empty */
	int waiting;		/* how many */
	uint64_t round;		/* in which it was sent */
	int burst;		/* as many slots */
	int next;		/* on a list, 0: the last one */
	bool running;		/* on the run list */
} side[FDS];

/* Family and port are in the same place in all of them. */
union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* Of a buffer in a queue: what is to be sent, and the next one. */
static struct note {
	uint16_t offset, len;
	uint32_t next;
} *note;

static struct nmport_d *port;
static struct netmap_ring *rx, *tx;
static union address server;
static int connecting;		/* epoll set of those that are not up yet */
static int run;			/* list: sides with something to do that must wait for TX slots */
static uint64_t rounds;
static int closing[FDS], nclosing;

/* The first buffer of a queue. */
static uint32_t take(struct side *s)
{
	uint32_t buf = s->first;

	s->first = note[buf].next;
	s->waiting--;
	return buf;
}

/* Nothing more is done with it. */
static void leave(int fd)
{
	while (side[fd].first)
		paste_buf_push(port->nifp, rx, take(&side[fd]));
	side[fd].peer = 0;
	closing[nclosing++] = fd;
}

/* With RST, if the other side came to such an end, or because there is no other side. */
static void reset(int fd)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	leave(fd);
}

/*
 * Descriptors are closed by the round after the one that was done with them.  What the RX ring
 * still has of them is emptied: the number may be another connection's when we come to it.
 */
static void close_all(void)
{
	for (uint32_t i = rx->head; nclosing && i != rx->tail; i = nm_ring_next(rx, i)) {
		struct netmap_slot *in = &rx->slot[i];

		if (side[in->fd].up && !side[in->fd].peer)
			in->flags = in->len = in->offset = 0;
	}
	while (nclosing) {
		int fd = closing[--nclosing];

		side[fd] = (struct side){ .running = side[fd].running, .next = side[fd].next };
		close(fd);
	}
}

/* Both sides are over. */
static void abandon(int fd)
{
	if (!side[fd].peer)
		return;
	if (side[fd].peer > 0)
		reset(side[fd].peer);
	reset(fd);
}

/* One is over, in order: the other one may have data to send, and comes to its own end. */
static void finish(int fd)
{
	if (side[fd].peer > 0)
		side[side[fd].peer].peer = -1;
	leave(fd);
}

static void pause_input(int fd, bool pause)
{
	if (fd > 0 && fd < FDS && side[fd].up && side[fd].paused != pause &&
	    !paste_tx_pause(tx, fd, pause))
		side[fd].paused = pause;
}

static void run_later(int fd)
{
	if (!side[fd].running) {
		side[fd].running = true;
		side[fd].next = run;
		run = fd;
	}
}

/* May one more TX slot be for it in this round? */
static bool may_send(struct side *s)
{
	if (s->round != rounds) {
		s->round = rounds;
		s->burst = 0;
	}
	return s->burst < (rx->flags & NR_PST_LOW ? BURST_LOW : BURST);
}

/* Sends @buf to @fd, and returns the buffer that the slot had. */
static uint32_t send_buf(int fd, uint32_t buf, uint16_t offset, uint16_t len)
{
	side[fd].burst++;
	paste_tx_swap(tx, fd, &buf, offset, len);
	return buf;
}

/* Sends what waits for @fd, then lets its peer go on. */
static void send_queue(int fd)
{
	struct side *s = &side[fd];

	if (!s->up || s->congested)
		return;		/* there will be an event */
	while (s->first && may_send(s) && nm_ring_space(tx) > ROOM) {
		uint32_t buf = take(s);

		buf = send_buf(fd, buf, note[buf].offset, note[buf].len);
		paste_buf_push(port->nifp, rx, buf);
	}
	if (s->first || nm_ring_space(tx) < ROOM) {
		run_later(fd);
		return;
	}
	if (s->ending && !s->done)
		s->done = !paste_tx_shut(tx, fd);
	pause_input(s->peer, false);
}

static void run_all(void)
{
	int fd = run;

	run = 0;
	while (fd) {
		int next = side[fd].next;

		side[fd].running = false;
		if (side[fd].peer)
			send_queue(fd);
		fd = next;
	}
}

/* A TCP socket, not blocking, that does not take all buffers when its peer is slow. */
static int make_socket(int family)
{
	int size = WAIT_MAX, s = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (s >= 0) {
		setsockopt(s, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	}
	return s;
}

/* A client is there: connect to the server, without waiting for it. */
static void on_client(int fd)
{
	struct epoll_event ev = { .events = EPOLLOUT };
	int s = make_socket(server.any.sa_family);

	side[fd] = (struct side){ .peer = s < 0 ? -1 : s, .up = true };
	if (s < 0) {
		abandon(fd);
		return;
	}
	side[s] = (struct side){ .peer = fd };
	ev.data.fd = s;
	if ((connect(s, &server.any, sizeof(server)) && errno != EINPROGRESS) ||
	    epoll_ctl(connecting, EPOLL_CTL_ADD, s, &ev))
		abandon(fd);
}

/* The server has accepted, or refused. */
static void on_connected(void)
{
	struct epoll_event ev[64];
	int n = epoll_wait(connecting, ev, 64, 0);

	for (int i = 0; i < n; i++) {
		int fd = ev[i].data.fd;

		epoll_ctl(connecting, EPOLL_CTL_DEL, fd, NULL);
		if (paste_register(port->fd, fd)) {
			abandon(fd);
			continue;
		}
		side[fd].up = true;
		send_queue(fd);
	}
}

static void on_event(int fd, const struct netmap_slot *in)
{
	int peer = side[fd].peer;

	if (in->err == EAGAIN) {
		side[fd].congested = !(in->flags & NS_PST_CLEAR);
		send_queue(fd);
	} else if (in->err == ENOTCONN) {
		finish(fd);
	} else if (in->err) {
		abandon(fd);
	} else if (peer > 0) {		/* end of stream */
		side[peer].ending = true;
		send_queue(peer);
	}
}

/* There are more slow readers than buffers for them: who has most of these gives them back. */
static void give_up_longest(int fd)
{
	for (int i = 0; i < FDS; i++)
		if (side[i].waiting > side[fd].waiting)
			fd = i;
	abandon(fd);
}

/* What came from @fd goes to its peer, at once or by its queue. */
static void on_data(int fd, struct netmap_slot *in)
{
	int peer = side[fd].peer;
	struct side *to = &side[peer > 0 ? peer : 0];
	uint32_t buf = in->buf_idx, spare;

	if (peer < 0)
		return;			/* nobody reads it any more */
	if (to->up && !to->congested && !to->first && may_send(to)) {
		paste_rx_keep(in, send_buf(peer, buf, in->offset, (uint16_t)(in->len - in->offset)));
		return;
	}
	pause_input(fd, true);
	if (!port->nifp->ni_bufs_head)
		give_up_longest(peer);
	if (!side[fd].peer)
		return;
	spare = paste_buf_pop(port->nifp, rx);
	note[buf] = (struct note){ in->offset, (uint16_t)(in->len - in->offset), 0 };
	paste_rx_keep(in, spare);
	if (to->first)
		note[to->last].next = buf;
	else
		to->first = buf;
	to->last = buf;
	to->waiting++;
	if (to->up && !to->congested)
		run_later(peer);
}

/* Of all that came, before anything is sent: what was sent to these would stay in the ring. */
static void learn_congestion(void)
{
	for (uint32_t i = rx->head; i != rx->tail; i = nm_ring_next(rx, i)) {
		struct netmap_slot *in = &rx->slot[i];

		if (paste_rx_is_event(in) && in->err == EAGAIN && side[in->fd].peer)
			side[in->fd].congested = !(in->flags & NS_PST_CLEAR);
	}
}

/* Of the slots behind one that has to stay: tells of congestion, which is what it waits for. */
static void look_ahead(uint32_t i)
{
	for (; i != rx->tail; i = nm_ring_next(rx, i)) {
		struct netmap_slot *in = &rx->slot[i];

		if (!(in->flags & NS_PST_EVENT) || in->err != EAGAIN || nm_ring_space(tx) <= ROOM)
			continue;
		if (side[in->fd].peer)
			on_event(in->fd, in);
		in->flags = 0;		/* dealt with: a slot without data */
	}
}

/*
 * There is no room and nothing has moved since the last poll(): all that is in the TX ring waits for
 * peers that do not read.  The first of them gives way.
 */
static void make_way(void)
{
	static uint32_t last;
	bool stuck = nm_ring_space(tx) <= ROOM && tx->tail == last;

	last = tx->tail;
	for (uint32_t i = nm_ring_next(tx, last); stuck && i != tx->head; i = nm_ring_next(tx, i)) {
		int fd = tx->slot[i].fd;

		if (fd > 0 && fd < FDS && side[fd].peer) {
			abandon(fd);
			return;
		}
	}
}

/* Returns false if it had to stop early, for want of TX slots. */
static bool receive_all(void)
{
	struct netmap_slot *in;

	while ((in = paste_rx_first(rx)) && nm_ring_space(tx) > ROOM) {
		int fd = in->fd;

		if (paste_rx_accepted(rx, in))
			on_client(fd);
		else if (side[fd].peer && paste_rx_is_event(in))
			on_event(fd, in);
		else if (side[fd].peer && in->len > in->offset)
			on_data(fd, in);
		paste_rx_release(rx);
	}
	look_ahead(rx->head);
	rx->cur = rx->tail;	/* woken by slots that we have not seen, or by TX slots */
	return !in;
}

/* For IPv6, and IPv4 with it; where there is no IPv6 for IPv4.  Its connections inherit its options. */
static int listen_on(uint16_t tcp_port)
{
	union address all = { .in6 = { .sin6_family = AF_INET6, .sin6_port = htons(tcp_port) } };
	int one = 1, zero = 0, s = make_socket(AF_INET6);

	if (s < 0) {
		all.any.sa_family = AF_INET;
		s = make_socket(AF_INET);
	} else if (setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero))) {
		err(1, "IPV6_V6ONLY");
	}
	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(s, &all.any, sizeof(all)) || listen(s, 1024))
		err(1, "TCP port %u", tcp_port);
	return s;
}

static uint16_t port_number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || !n || n > UINT16_MAX)
		errx(2, "%s is not a port", text);
	return (uint16_t)n;
}

static void find_server(const char *address, uint16_t tcp_port)
{
	const struct addrinfo wanted = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;

	if (getaddrinfo(address, NULL, &wanted, &found))
		errx(2, "%s is not an address", address);
	memcpy(&server, found->ai_addr, found->ai_addrlen);
	server.in.sin_port = htons(tcp_port);
	freeaddrinfo(found);
}

int main(int argc, char **argv)
{
	struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
	struct rlimit files = { FDS, FDS };
	uint16_t tcp_port;
	int e;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		puts(USAGE);
		return 0;
	}
	if (argc < 4)
		errx(2, USAGE);
	tcp_port = port_number(argv[1]);
	find_server(argv[2], port_number(argv[3]));

	setrlimit(RLIMIT_NOFILE, &files);	/* as many as may be, and not more */

	/* Small rings bound what one slow connection can leave with us; spare buffers keep it. */
	port = nmport_prepare("stack:proxy@conf:slots=256");
	if (port)
		port->reg.nr_extra_bufs = 4096;
	if (!port || nmport_open_desc(port))
		err(1, "stack:proxy");
	rx = NETMAP_RXRING(port->nifp, port->first_rx_ring);
	tx = NETMAP_TXRING(port->nifp, port->first_tx_ring);
	note = calloc(port->reg.nr_memsize / rx->nr_buf_size, sizeof(*note));
	connecting = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 4; i < argc; i++) {
		e = paste_attach(port->fd, argv[i]);
		if (e)
			errx(1, "%s: %s", argv[i], paste_strerror(NETMAP_REQ_PST_ATTACH, e));
	}
	e = paste_register(port->fd, listen_on(tcp_port));
	if (e || !note || connecting < 0)
		errx(1, "cannot start: %s", strerror(e ? -e : errno));

	p[0].fd = port->fd;
	p[1].fd = connecting;
	while (poll(p, 2, nclosing ? 0 : -1) >= 0 || errno == EINTR) {
		bool all;

		rounds++;
		close_all();
		learn_congestion();
		make_way();
		run_all();
		on_connected();
		all = receive_all();
		p[0].events = POLLIN | (all && !run ? 0 : POLLOUT);
		tx->cur = tx->tail;	/* woken by more than there are now, if at all */
	}
	err(1, "poll");
}
