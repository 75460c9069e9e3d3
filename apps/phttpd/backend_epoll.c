// SPDX-License-Identifier: BSD-2-Clause
/*
 * backend_epoll.c - sockets with epoll, as well as we can
 *
 * A round: one epoll_wait() for all events, one recv() for each connection that became readable,
 * then, when all requests of the round are answered, one send() for each connection that has
 * answers, however many. Nothing else in the steady state:
 *
 * - Connections are registered once, edge triggered, for input and output: no epoll_ctl() while
 *   they live, and none are looked at again because they were not emptied. The kernel reports
 *   output edges only after a send that did not take everything.
 * - A recv() that returns less than was asked for has emptied the socket, so there is no second
 *   one to be told EAGAIN; after a full one the connection comes again in the next round, behind
 *   the others. Only when the peer's end of stream was reported the end itself is read.
 * - All connections are received into the same buffer, which thus stays in the cache; if
 *   somebody keeps (part of) it, another one takes its place.
 * - Time-outs and the Date need no clock: a timer descriptor ticks once a second.
 *
 * With --busy-poll the wait does not sleep. If the network device can be polled, the kernel does
 * it within epoll_wait(), else the loop spins around it; and also when that has brought nothing, for
 * then Linux 6.12 forgets the device until one of its sockets is ready again.
 */
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "conn.h"

#define EVENTS		512	/* events per epoll_wait() */
#define ACCEPTS		256	/* connections accepted per round */
#define BUSY_POLL_US	50	/* how long the kernel polls the device at a time */
#define BUSY_POLL_BUDGET 64	/* packets per poll: the device drivers' own weight */

/* Linux 6.9 and later. */
struct busy_params {
	uint32_t busy_poll_usecs;
	uint16_t busy_poll_budget;
	uint8_t prefer_busy_poll;
	uint8_t pad;
};
#define SET_BUSY_PARAMS	_IOW(0x8A, 0x01, struct busy_params)

struct client {
	struct conn conn;
	int fd;			/* -1: closed, freed when it leaves the run queue */
	bool queued;		/* on the run queue */
	struct client *next;	/* there */
	bool readable;		/* recv() may find something */
	bool hangup;		/* the peer is done: read to the end, there will be no edge */
	bool broken;		/* both directions are shut, or an error: nothing can be sent */
	bool full;		/* a send() did not take everything: wait for the output edge */
	bool eof;		/* the end of input was read */
	struct piece stash;	/* input that found no room, with a count; len 0: none */
};

struct loop {
	struct conns set;	/* first: w->private */
	struct worker *w;
	int ep;
	struct buf *in;		/* receive buffer; NULL: none to be had */
	struct client *run;	/* connections to look at in this round, in order */
	struct client **run_tail;
	bool accepting;		/* the listening socket is watched */
	bool device_polls;	/* epoll_wait() can poll the network device */
	bool quiet;		/* polling has brought nothing */
	bool starved;		/* buffers ran out in the last round */
	bool stop;
};

static struct client *client_of(struct conn *c)
{
	return (struct client *)c;
}

static void enqueue(struct loop *l, struct client *c)
{
	if (c->queued)
		return;
	c->queued = true;
	c->next = NULL;
	*l->run_tail = c;
	l->run_tail = &c->next;
}

static void client_close(struct loop *l, struct client *c)
{
	if (c->stash.len)
		buf_put(&l->set, c->stash.buf);
	conn_close(&c->conn);
	conn_discard(&c->conn);
	close(c->fd);
	worker_leave(l->w);
	c->fd = -1;
	if (!c->queued && !c->conn.dirty)
		free(c);
}

/*
 * Accepting. The listening socket is level triggered: what is left waits for the next round. If
 * the system cannot give us one more socket we stop watching until the next tick, or this would
 * spin.
 */

static void watch_listener(struct loop *l, bool on)
{
	struct epoll_event ev = { .events = on ? EPOLLIN : 0, .data.ptr = &l->w->listen_fd };

	epoll_ctl(l->ep, EPOLL_CTL_MOD, l->w->listen_fd, &ev);
	l->accepting = on;
}

/* A socket that knows its device queue shows that epoll_wait() can poll that queue. */
static void learn_device(struct loop *l, int fd)
{
	unsigned id = 0;
	socklen_t len = sizeof(id);

	if (!getsockopt(fd, SOL_SOCKET, SO_INCOMING_NAPI_ID, &id, &len) && id)
		l->device_polls = true;
}

static void accept_all(struct loop *l)
{
	for (int i = 0; i < ACCEPTS; i++) {
		struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
		int fd = accept4(l->w->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct client *c;

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM)
				watch_listener(l, false);
			if (errno == EAGAIN || !l->accepting)
				return;
			continue;	/* a connection that was reset in the meantime */
		}
		if (!worker_admit(l->w)) {
			close(fd);
			continue;
		}
		c = calloc(1, sizeof(*c));
		ev.data.ptr = c;
		if (!c || epoll_ctl(l->ep, EPOLL_CTL_ADD, fd, &ev)) {
			l->w->http.stats.refused++;
			worker_leave(l->w);
			free(c);
			close(fd);
			continue;
		}
		if (l->w->opt->busy_poll && !l->device_polls)
			learn_device(l, fd);
		c->fd = fd;
		conn_open(&c->conn, &l->set);
	}
}

/*
 * Sending.
 */

static ssize_t send_queue(struct client *c)
{
	struct conn *conn = &c->conn;
	struct iovec iov[CONN_SEGS];
	struct msghdr msg = { .msg_iov = iov };
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL;

	if (conn->http.end != HTTP_OPEN)
		flags |= MSG_MORE;	/* FIN follows: one packet */
	if (conn->seg_count == 1) {
		const struct piece *p = &conn->seg[conn->seg_first % CONN_SEGS];

		return send(c->fd, p->data, p->len, flags);
	}
	msg.msg_iovlen = conn_iov(conn, iov, CONN_SEGS);
	return sendmsg(c->fd, &msg, flags);
}

/* Send what is queued. Returns false if the connection was closed. */
static bool transmit(struct loop *l, struct client *c)
{
	size_t want = c->conn.out_bytes;
	ssize_t n;

	do {
		n = send_queue(c);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN) {
		l->w->http.stats.resets++;
		client_close(l, c);
		return false;
	}
	if (n > 0)
		conn_sent(&c->conn, n);
	c->full = n < (ssize_t)want;
	return true;
}

/* Everything is sent: end the connection if the HTTP layer is done with it. */
static void settle(struct loop *l, struct client *c)
{
	if (c->conn.http.end == HTTP_OPEN) {
		if (c->conn.http.stalled || c->stash.len || c->readable)
			enqueue(l, c);
	} else if (c->conn.http.end == HTTP_CLOSE || c->eof) {
		client_close(l, c);
	} else {
		if (c->conn.list != &l->set.linger) {
			shutdown(c->fd, SHUT_WR);
			conn_linger(&c->conn);
		}
		if (c->readable)
			enqueue(l, c);
	}
}

static void transmit_all(struct loop *l)
{
	struct conn *conn;

	http_batch(&l->w->http);
	while ((conn = conns_dirty(&l->set))) {
		struct client *c = client_of(conn);

		if (c->fd < 0) {
			if (!c->queued)
				free(c);
		} else if (!c->full && transmit(l, c) && !c->full) {
			settle(l, c);
		}
	}
}

/*
 * Receiving.
 */

/* Offer input to the HTTP layer; what it does not take is kept. */
static void feed(struct client *c, struct piece p)
{
	size_t n = http_input(&c->conn.http, &p);

	if (c->conn.http.progress) {
		c->conn.http.progress = false;
		conn_touch(&c->conn);
	}
	if (n < p.len) {
		c->stash = (struct piece) {
			.data = p.data + n,
			.len = p.len - n,
			.buf = buf_hold(c->conn.set, p.buf),
		};
		c->conn.stashed = 1;
	}
}

static void feed_stash(struct loop *l, struct client *c)
{
	struct piece p = c->stash;

	c->stash.len = 0;
	c->conn.stashed = 0;
	feed(c, p);
	buf_put(&l->set, p.buf);
}

/* Returns false if the connection was closed. */
static bool receive(struct loop *l, struct client *c)
{
	ssize_t n;

	if (!l->in || l->in->refs > 1) {	/* none, or kept by somebody */
		if (l->in)
			buf_put(&l->set, l->in);
		l->in = buf_get(&l->set);
		if (!l->in)
			return true;
	}
	n = recv(c->fd, l->in->data, BUF_SIZE, MSG_DONTWAIT);
	if (n > 0) {
		c->readable = n == BUF_SIZE || c->hangup;
		feed(c, (struct piece) { .data = l->in->data, .len = n, .buf = l->in });
	} else if (n == 0) {
		c->readable = false;
		c->eof = true;
	} else if (errno == EAGAIN) {
		c->readable = false;
	} else if (errno != EINTR) {
		l->w->http.stats.resets++;
		client_close(l, c);
		return false;
	}
	return true;
}

/* One connection's turn in a round. */
static void serve(struct loop *l, struct client *c)
{
	struct http_conn *http = &c->conn.http;

	if (c->full) {			/* sent before, so it is not on the dirty list */
		if (!c->broken)
			return;
		client_close(l, c);
		return;
	}
	if (http->end == HTTP_OPEN && !conn_ready(&c->conn)) {
		enqueue(l, c);		/* no buffer: again in the next round */
		return;
	}
	if (http->stalled)
		http_resume(http);
	if (!http->stalled) {
		if (c->stash.len)
			feed_stash(l, c);
		else if (c->readable && !receive(l, c))
			return;
	}
	if (c->eof && !http->stalled && !c->stash.len && http->end != HTTP_CLOSE)
		http_eof(http);
	if (!c->conn.seg_count)
		settle(l, c);
}

/*
 * Waiting.
 */

static int poll_events(struct loop *l, struct epoll_event *ev)
{
#ifdef SYS_epoll_pwait2
	if (l->device_polls && !l->quiet) {
		/* The kernel polls the device only on the way to sleep, however short. */
		static const struct timespec nap = { .tv_nsec = 1 };

		return (int)syscall(SYS_epoll_pwait2, l->ep, ev, EVENTS, &nap, NULL, 0);
	}
#endif
	return epoll_wait(l->ep, ev, EVENTS, 0);
}

static int wait_events(struct loop *l, struct epoll_event *ev)
{
	int n;

	if (l->run)
		return epoll_wait(l->ep, ev, EVENTS, l->starved ? 1 : 0);
	if (!l->w->opt->busy_poll)
		return epoll_wait(l->ep, ev, EVENTS, -1);
	n = poll_events(l, ev);
	l->quiet = n == 0;
	return n;
}

static void tick(struct loop *l)
{
	struct conn *conn;

	worker_tick(l->w);
	if (!l->accepting)
		watch_listener(l, true);
	while ((conn = conns_expired(&l->set)))
		client_close(l, client_of(conn));
}

/* Without buffers we wait for those that drain, and end one that does not. */
static void starve(struct loop *l)
{
	struct conn *victim;

	l->starved = l->set.starved;
	l->set.starved = false;
	if (!l->starved)
		return;
	victim = conns_victim(&l->set);
	if (victim)
		client_close(l, client_of(victim));
}

static void dispatch(struct loop *l, const struct epoll_event *ev, bool *accept, bool *ticked)
{
	struct client *c = ev->data.ptr;

	if (ev->data.ptr == &l->w->listen_fd) {
		*accept = true;
	} else if (ev->data.ptr == &l->w->timer_fd) {
		*ticked = true;
	} else if (ev->data.ptr == &l->w->stop_fd) {
		l->stop = true;
	} else {
		if (ev->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			c->readable = true;
		if (ev->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			c->hangup = true;
		if (ev->events & (EPOLLHUP | EPOLLERR))
			c->broken = true;
		if (c->full && (ev->events & EPOLLOUT) && !c->broken)
			conn_set_dirty(&c->conn);
		enqueue(l, c);
	}
}

/* Connections that wait for output room send first: their answers are of an earlier round. */
static void drain(struct loop *l)
{
	struct conn *conn;

	while ((conn = conns_dirty(&l->set))) {
		struct client *c = client_of(conn);

		if (transmit(l, c) && !c->full)
			settle(l, c);
	}
}

static void run_all(struct loop *l)
{
	struct client *c = l->run, *next;

	l->run = NULL;
	l->run_tail = &l->run;
	for (; c; c = next) {
		next = c->next;
		c->queued = false;
		if (c->fd >= 0)
			serve(l, c);
		else if (!c->conn.dirty)
			free(c);
	}
}

static int add(struct loop *l, int *fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = fd };

	return epoll_ctl(l->ep, EPOLL_CTL_ADD, *fd, &ev);
}

static int loop_open(struct loop *l, struct worker *w)
{
	struct busy_params busy = {
		.busy_poll_usecs = BUSY_POLL_US,
		.busy_poll_budget = BUSY_POLL_BUDGET,
		.prefer_busy_poll = 1,
	};

	l->w = w;
	l->run_tail = &l->run;
	l->accepting = true;
	if (conns_init(&l->set, w))
		return worker_fail("buffers", ENOMEM);
	l->ep = epoll_create1(EPOLL_CLOEXEC);
	if (l->ep < 0)
		return worker_fail("epoll_create1", errno);
	if (w->opt->busy_poll)
		ioctl(l->ep, SET_BUSY_PARAMS, &busy);	/* before 6.9: the socket option */
	if (add(l, &w->listen_fd) || add(l, &w->timer_fd) || add(l, &w->stop_fd))
		return worker_fail("epoll_ctl", errno);
	return 0;
}

static void loop_close(struct loop *l)
{
	struct conn *conn;

	while ((conn = conns_any(&l->set)))
		client_close(l, client_of(conn));
	run_all(l);		/* frees */
	if (l->in)
		buf_put(&l->set, l->in);
	conns_destroy(&l->set);
	if (l->ep >= 0)
		close(l->ep);
}

static int backend_serve(struct worker *w)
{
	struct loop l = { .ep = -1 };
	int err = loop_open(&l, w);

	while (!err && !l.stop) {
		struct epoll_event ev[EVENTS];
		bool accept = false, ticked = false;
		int n = wait_events(&l, ev);

		if (n < 0 && errno != EINTR) {
			err = worker_fail("epoll_wait", errno);
			break;
		}
		for (int i = 0; i < n; i++)
			dispatch(&l, &ev[i], &accept, &ticked);
		drain(&l);
		run_all(&l);
		transmit_all(&l);
		if (accept)
			accept_all(&l);
		if (ticked)
			tick(&l);
		starve(&l);
	}
	loop_close(&l);
	return err;
}

const struct backend backend_epoll = {
	.name = "epoll",
	.serve = backend_serve,
	.room = conn_room,
	.commit = conn_commit,
	.send = conn_send,
	.hold = conn_hold,
	.drop = conn_drop,
};
