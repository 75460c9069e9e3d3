// SPDX-License-Identifier: BSD-2-Clause
/*
 * backend_uring.c - sockets with io_uring, as well as we can
 *
 * A round: one io_uring_enter() submits all sends of the round before and waits for completions.
 * Nothing is submitted in order to receive: accepting and receiving are multishot requests, which
 * complete again and again, the latter into buffers from a ring that the kernel picks from.
 *
 * - The ring is made for one thread (SINGLE_ISSUER) and runs the kernel's work only when this
 *   thread waits for it (DEFER_TASKRUN), so that completions come in batches.
 * - Sockets are direct descriptors: they are not in the process's descriptor table, and looking
 *   them up takes no reference. Options are inherited from the listening socket.
 * - Sends do not wait and their success is not reported (MSG_DONTWAIT, CQE_SKIP_SUCCESS), for
 *   completions of sends would end the next wait at once, and each round would cost two system
 *   calls. A silent send that has not been reported as failed or short, when the call that
 *   submitted it has returned, has taken everything.
 * - A send goes with a report instead if it is the rest of one that was short (the kernel then
 *   waits for room), or if something is to be done after it: produce more, read on, close.
 * - Where the kernel can (6.12), received data is packed into the buffers one behind the
 *   other (IOU_PBUF_RING_INC); else each completion takes a buffer. The ring is not larger than
 *   a round needs: until a receive can be stopped, a connection whose output is congested may
 *   fill all of it.
 *
 *	user_data = address of the client | kind of request; clients are aligned to 64 bytes
 *
 * A client is freed when its last request has completed. Only the silent sends are known to be over
 * without that; they end within the call that submits them.
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "conn.h"

#ifndef IORING_FEAT_RW_ATTR	/* liburing before 2.10 */
#define IORING_FEAT_RW_ATTR	(1U << 16)	/* Linux 6.14; what tells best that it is not before 6.13 */
#endif

#define SQ_ENTRIES	1024
#define CQ_ENTRIES	4096
#define IN_GROUP	0	/* number of the buffer ring */
#define IN_PACKED	8	/* buffers to receive into, packed: a power of two */
#define IN_SINGLE	128	/* same, one for each completion */
#define SPARE_SLOTS	64	/* direct descriptors for those being refused or closed */
#define MSGS		256	/* sends of several segments between two submissions */
#define BUSY_POLL_US	50	/* how long the kernel polls the device at a time */

enum kind {
	K_NOTHING,		/* failed, and nobody cares */
	K_ACCEPT,
	K_TIMER,
	K_STOP,
	K_DEVICE,		/* the device queue of the first connection */
	K_RECV,			/* from here on with a client */
	K_SILENT,		/* sends */
	K_REPORTED,
	K_MASK = 7
};

struct client {
	struct conn conn;
	unsigned slot;		/* direct descriptor */
	bool closed;		/* descriptor given up; free when nothing is under way */
	bool receiving;		/* a multishot receive is under way */
	bool cancelled;		/* it was told to stop */
	bool reported;		/* a send with a report is under way */
	bool silent;		/* on the list of silent sends */
	bool eof;		/* the end of input was seen */
	bool queued;		/* on the run queue */
	struct client *next;	/* there */
	uint32_t sending;	/* bytes of the output queue that were submitted, 0: none */
	int short_send;		/* result of a silent send that failed or was short */
	bool failed;		/* it did */
	struct client *next_sent;
	struct piece *stash;	/* input that found no room, in order, each with a count */
	unsigned stash_room;	/* entries allocated; conn.stashed are used */
};

/* The description of a send; the kernel reads it during submission. */
struct message {
	struct msghdr hdr;
	struct iovec iov[CONN_SEGS];
};

struct loop {
	struct conns set;	/* first: w->private */
	struct worker *w;
	struct io_uring ring;
	struct io_uring_buf_ring *in_ring;
	unsigned in_count;	/* buffers in it when complete */
	unsigned in_missing;	/* numbers without a buffer, because there was none */
	unsigned in_added;	/* added and not yet published */
	bool packed;		/* IOU_PBUF_RING_INC */
	struct buf *in[IN_SINGLE];	/* by number; NULL: missing */
	uint32_t in_used[IN_SINGLE];	/* bytes consumed, if packed */
	struct client *run;	/* connections to look at in this round, in order */
	struct client **run_tail;
	struct client *sent;	/* those with a silent send */
	bool accepting;		/* a multishot accept is under way */
	bool device_asked;	/* K_DEVICE was submitted */
	bool device_polls;	/* the kernel can poll the network device while it waits */
	unsigned device;	/* its queue, as the kernel told */
	bool starved;		/* buffers ran out in the last round */
	bool stop;
	unsigned clients;	/* that exist, closed ones included */
	unsigned nmsgs;		/* entries of @msg in use, until the next submission */
	struct message msg[MSGS];
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

/*
 * Submission.
 */

/* Among what has to leave to make room there may be answers of this round. */
static struct io_uring_sqe *get_sqe(struct loop *l)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&l->ring))) {
		int n;

		http_batch(&l->w->http);
		n = io_uring_submit(&l->ring);

		if (n < 0 && n != -EINTR && n != -EAGAIN && n != -EBUSY) {
			worker_say("io_uring_enter", -n);
			abort();	/* the ring is broken, and we are deep in it */
		}
	}
	return sqe;
}

static uint64_t tag(struct client *c, enum kind kind)
{
	return (uintptr_t)c | kind;
}

static void arm_accept(struct loop *l)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	io_uring_prep_multishot_accept_direct(sqe, l->w->listen_fd, NULL, NULL, 0);
	io_uring_sqe_set_data64(sqe, K_ACCEPT);
	l->accepting = true;
}

static void arm_poll(struct loop *l, int fd, enum kind kind)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	io_uring_prep_poll_multishot(sqe, fd, POLLIN);
	io_uring_sqe_set_data64(sqe, kind);
}

static void arm_recv(struct loop *l, struct client *c)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	io_uring_prep_recv_multishot(sqe, (int)c->slot, NULL, 0, 0);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT);
	sqe->buf_group = IN_GROUP;
	io_uring_sqe_set_data64(sqe, tag(c, K_RECV));
	c->receiving = true;
	c->cancelled = false;
}

static void cancel(struct loop *l, uint64_t which)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	io_uring_prep_cancel64(sqe, which, 0);
	io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
	io_uring_sqe_set_data64(sqe, K_NOTHING);
}

static void pause_recv(struct loop *l, struct client *c)
{
	if (c->receiving && !c->cancelled) {
		cancel(l, tag(c, K_RECV));
		c->cancelled = true;
	}
}

/* Submit the output queue of a connection. */
static void submit_send(struct loop *l, struct client *c, enum kind kind)
{
	struct conn *conn = &c->conn;
	int flags = MSG_NOSIGNAL | MSG_WAITALL | (kind == K_SILENT ? MSG_DONTWAIT : 0) |
		    (conn->http.end != HTTP_OPEN ? MSG_MORE : 0);	/* FIN follows: one packet */
	struct io_uring_sqe *sqe;

	sqe = get_sqe(l);
	if (conn->seg_count == 1 || l->nmsgs == MSGS) {	/* too many: the first, now */
		struct piece *p = &conn->seg[conn->seg_first % CONN_SEGS];

		c->sending = p->len;
		io_uring_prep_send(sqe, (int)c->slot, p->data, p->len, flags);
	} else {
		struct message *m = &l->msg[l->nmsgs++];

		m->hdr = (struct msghdr) { .msg_iov = m->iov };
		m->hdr.msg_iovlen = conn_iov(conn, m->iov, CONN_SEGS);
		c->sending = conn->out_bytes;
		io_uring_prep_sendmsg(sqe, (int)c->slot, &m->hdr, flags);
	}
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE |
			       (kind == K_SILENT ? IOSQE_CQE_SKIP_SUCCESS : 0));
	io_uring_sqe_set_data64(sqe, tag(c, kind));
	if (kind == K_REPORTED) {
		c->reported = true;
	} else {
		c->silent = true;
		c->failed = false;
		c->next_sent = l->sent;
		l->sent = c;
	}
}

/*
 * The end of a connection.
 */

static void submit_shutdown(struct loop *l, unsigned slot, int how)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	io_uring_prep_shutdown(sqe, (int)slot, how);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS);
	io_uring_sqe_set_data64(sqe, K_NOTHING);
}

/*
 * Kernels before 6.13 may keep a direct descriptor's file for as long as requests on others are
 * under way that were made before. Its peer is to see the end now.
 */
static void submit_close(struct loop *l, unsigned slot)
{
	struct io_uring_sqe *sqe;

	if (!(l->ring.features & IORING_FEAT_RW_ATTR))
		submit_shutdown(l, slot, SHUT_RDWR);
	sqe = get_sqe(l);
	io_uring_prep_close_direct(sqe, slot);
	io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
	io_uring_sqe_set_data64(sqe, K_NOTHING);
}

static void client_free(struct loop *l, struct client *c)
{
	if (c->receiving || c->reported || c->silent || c->queued || c->conn.dirty)
		return;
	conn_discard(&c->conn);
	free(c);
	l->clients--;
}

static void client_close(struct loop *l, struct client *c)
{
	pause_recv(l, c);
	if (c->reported)
		cancel(l, tag(c, K_REPORTED));
	submit_close(l, c->slot);

	for (unsigned i = 0; i < c->conn.stashed; i++)
		buf_put(&l->set, c->stash[i].buf);
	free(c->stash);
	c->conn.stashed = 0;
	c->closed = true;
	conn_close(&c->conn);
	worker_leave(l->w);
	client_free(l, c);
}

static void client_reset(struct loop *l, struct client *c)
{
	l->w->http.stats.resets++;
	client_close(l, c);
}

/* Everything is sent: end the connection if the HTTP layer is done with it. */
static void settle(struct loop *l, struct client *c)
{
	struct conn *conn = &c->conn;

	if (conn->http.end == HTTP_OPEN) {
		if (conn->http.stalled || conn->stashed || (!c->receiving && !c->eof))
			enqueue(l, c);
	} else if (conn->http.end == HTTP_CLOSE || c->eof) {
		client_close(l, c);
	} else {
		if (conn->list != &l->set.linger) {
			submit_shutdown(l, c->slot, SHUT_WR);
			conn_linger(conn);
		}
		if (!c->receiving)
			enqueue(l, c);
	}
}

/*
 * Sending.
 */

static bool silent_will_do(const struct client *c)
{
	return c->receiving && !c->conn.stashed && !c->conn.http.stalled &&
	       c->conn.http.end == HTTP_OPEN;
}

static void transmit_all(struct loop *l)
{
	struct conn *conn;

	http_batch(&l->w->http);
	while ((conn = conns_dirty(&l->set))) {
		struct client *c = client_of(conn);

		if (c->closed)
			client_free(l, c);
		else if (!c->sending && conn->seg_count)
			submit_send(l, c, silent_will_do(c) ? K_SILENT : K_REPORTED);
	}
}

/* The submitted part of the output is over, with @res: bytes or -errno. */
static void sent(struct loop *l, struct client *c, int res)
{
	bool all = res == (int)c->sending;

	c->sending = 0;
	if (res < 0 && res != -EAGAIN && res != -EINTR) {
		client_reset(l, c);
		return;
	}
	if (res > 0)
		conn_sent(&c->conn, res);
	if (!all)
		submit_send(l, c, K_REPORTED);
	else if (c->conn.seg_count)
		conn_set_dirty(&c->conn);	/* produced in the meantime */
	else
		settle(l, c);
}

/*
 * Silent sends are over when submission is complete, and all that failed have been reported when
 * no completions are held back. Returns the number of completions looked at; those that come
 * later are for the next round.
 */
static unsigned sent_all(struct loop *l)
{
	unsigned head, seen = 0, ready = io_uring_cq_ready(&l->ring);
	struct client *c = l->sent, *next;
	struct io_uring_cqe *cqe;

	if (!c)
		return ready;
	io_uring_for_each_cqe(&l->ring, head, cqe) {
		if (seen++ == ready)
			break;
		if ((cqe->user_data & K_MASK) == K_SILENT) {
			struct client *failed = (void *)(uintptr_t)(cqe->user_data & ~K_MASK);

			failed->failed = true;
			failed->short_send = cqe->res;
		}
	}
	if (io_uring_sq_ready(&l->ring) || io_uring_cq_has_overflow(&l->ring))
		return ready;
	l->sent = NULL;
	for (; c; c = next) {
		next = c->next_sent;
		c->silent = false;
		if (c->closed)
			client_free(l, c);
		else
			sent(l, c, c->failed ? c->short_send : (int)c->sending);
	}
	return ready;
}

/*
 * Receiving.
 */

/* Give the kernel a buffer under number @id, the one it had if nobody keeps it. */
static void provide(struct loop *l, unsigned id)
{
	struct buf *b = l->in[id];

	if (!b || b->refs > 1) {
		if (b)
			buf_put(&l->set, b);
		else
			l->in_missing--;
		b = l->in[id] = buf_get(&l->set);
		if (!b) {
			l->in_missing++;
			return;
		}
	}
	l->in_used[id] = 0;
	io_uring_buf_ring_add(l->in_ring, b->data, BUF_SIZE, id,
			      io_uring_buf_ring_mask(l->in_count), (int)l->in_added++);
}

static void provide_missing(struct loop *l)
{
	for (unsigned id = 0; l->in_missing && id < l->in_count; id++) {
		if (!l->in[id])
			provide(l, id);
	}
}

/* Keep input for later, joined to what was kept last if it follows in the same buffer. */
static bool keep(struct client *c, struct piece p)
{
	if (c->conn.stashed) {
		struct piece *last = &c->stash[c->conn.stashed - 1];

		if (last->buf == p.buf && last->data + last->len == p.data) {
			last->len += p.len;
			return true;
		}
	}
	if (c->conn.stashed == c->stash_room) {
		unsigned room = c->stash_room ? 2 * c->stash_room : 4;
		struct piece *bigger = realloc(c->stash, room * sizeof(*bigger));

		if (!bigger)
			return false;
		c->stash = bigger;
		c->stash_room = room;
	}
	buf_hold(c->conn.set, p.buf);
	c->stash[c->conn.stashed++] = p;
	return true;
}

/* Offer input to the HTTP layer; returns how much it took. */
static size_t feed(struct client *c, const struct piece *p)
{
	size_t n = http_input(&c->conn.http, p);

	if (c->conn.http.progress) {
		c->conn.http.progress = false;
		conn_touch(&c->conn);
	}
	return n;
}

static void feed_stash(struct loop *l, struct client *c)
{
	struct conn *conn = &c->conn;
	unsigned i;

	if (!conn->stashed)
		return;
	for (i = 0; i < conn->stashed && !conn->http.stalled; i++) {
		struct piece *p = &c->stash[i];
		size_t n = feed(c, p);

		p->data += n;
		p->len -= n;
		if (p->len)
			break;
		buf_put(&l->set, p->buf);
	}
	conn->stashed -= i;
	memmove(c->stash, c->stash + i, conn->stashed * sizeof(*c->stash));
}

/* Input arrived. */
static void deliver(struct loop *l, struct client *c, struct piece p)
{
	struct conn *conn = &c->conn;
	size_t n = 0;

	if (!conn->stashed && !conn->http.stalled &&
	    (conn->http.end != HTTP_OPEN || conn_ready(conn)))
		n = feed(c, &p);
	if (n < p.len) {
		p.data += n;
		p.len -= n;
		if (!keep(c, p)) {
			client_reset(l, c);
			return;
		}
		pause_recv(l, c);
	}
	if (!conn->seg_count)
		settle(l, c);
}

static void received(struct loop *l, struct client *c, const struct io_uring_cqe *cqe)
{
	bool used_up = false;
	struct piece p = { .len = cqe->res };
	unsigned id = 0;

	if (!(cqe->flags & IORING_CQE_F_MORE))
		c->receiving = false;
	if (cqe->flags & IORING_CQE_F_BUFFER) {
		id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
		p.buf = l->in[id];
		p.data = p.buf->data + l->in_used[id];
		if (cqe->flags & IORING_CQE_F_BUF_MORE)
			l->in_used[id] += cqe->res > 0 ? cqe->res : 0;
		else
			used_up = true;
	}
	if (c->closed) {
		client_free(l, c);
	} else if (cqe->res > 0) {
		deliver(l, c, p);
	} else if (cqe->res == -ENOBUFS || cqe->res == -ECANCELED || cqe->res == -EINTR) {
		enqueue(l, c);		/* receives again when it may */
	} else if (cqe->res < 0) {
		client_reset(l, c);
	} else {
		c->eof = true;
		enqueue(l, c);
	}
	if (used_up)
		provide(l, id);
}

/* One connection's turn, for other reasons than input. */
static void serve(struct loop *l, struct client *c)
{
	struct conn *conn = &c->conn;
	struct http_conn *http = &conn->http;

	if (http->end == HTTP_OPEN && !conn_ready(conn)) {
		if (!conn->seg_count)
			enqueue(l, c);		/* no buffer: again in the next round */
		return;
	}
	if (http->stalled)
		http_resume(http);
	feed_stash(l, c);
	if (!http->stalled && !conn->stashed) {
		if (c->eof && http->end != HTTP_CLOSE)
			http_eof(http);
		else if (!c->eof && !c->receiving && http->end != HTTP_CLOSE) {
			if (l->in_missing < l->in_count)
				arm_recv(l, c);
			else
				enqueue(l, c);
		}
	}
	if (!conn->seg_count)
		settle(l, c);
}

static void run_all(struct loop *l)
{
	struct client *c = l->run, *next;

	l->run = NULL;
	l->run_tail = &l->run;
	for (; c; c = next) {
		next = c->next;
		c->queued = false;
		if (c->closed)
			client_free(l, c);
		else
			serve(l, c);
	}
}

/*
 * Accepting. A multishot accept ends with an error when the system or the table of direct
 * descriptors cannot take one more; the next tick tries again.
 */

/* A socket that knows its device queue shows that the kernel can poll that queue. */
static void learn_device(struct loop *l, unsigned slot)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	io_uring_prep_cmd_sock(sqe, SOCKET_URING_OP_GETSOCKOPT, (int)slot, SOL_SOCKET,
			       SO_INCOMING_NAPI_ID, &l->device, sizeof(l->device));
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data64(sqe, K_DEVICE);
	l->device_asked = true;
}

static void accepted(struct loop *l, const struct io_uring_cqe *cqe)
{
	struct client *c = NULL;

	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		l->accepting = false;
		if (cqe->res >= 0 && !l->stop)
			arm_accept(l);
	}
	if (cqe->res < 0)
		return;
	if (!l->stop && worker_admit(l->w)) {
		c = aligned_alloc(64, (sizeof(*c) + 63) & ~63ul);
		if (!c) {
			l->w->http.stats.refused++;
			worker_leave(l->w);
		}
	}
	if (!c) {
		submit_close(l, (unsigned)cqe->res);
		return;
	}
	memset(c, 0, sizeof(*c));
	l->clients++;
	c->slot = cqe->res;
	conn_open(&c->conn, &l->set);
	arm_recv(l, c);
	if (l->w->opt->busy_poll && !l->device_asked)
		learn_device(l, c->slot);
}

/*
 * The loop.
 */

static void tick(struct loop *l)
{
	struct conn *conn;

	worker_tick(l->w);
	if (!l->accepting && !l->stop)
		arm_accept(l);
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

static void reap(struct loop *l, unsigned ready)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&l->ring, head, cqe) {
		struct client *c = (void *)(uintptr_t)(cqe->user_data & ~K_MASK);

		if (n == ready)
			break;
		n++;
		switch (cqe->user_data & K_MASK) {
		case K_ACCEPT:
			accepted(l, cqe);
			break;
		case K_TIMER:
			tick(l);
			if (!(cqe->flags & IORING_CQE_F_MORE))
				arm_poll(l, l->w->timer_fd, K_TIMER);
			break;
		case K_STOP:
			l->stop = true;
			break;
		case K_DEVICE:
			l->device_polls = cqe->res >= 0 && l->device;
			break;
		case K_RECV:
			received(l, c, cqe);
			break;
		case K_REPORTED:
			c->reported = false;
			if (c->closed)
				client_free(l, c);
			else
				sent(l, c, cqe->res);
			break;
		}
	}
	io_uring_cq_advance(&l->ring, n);
}

/* Submit everything and wait. Returns 0 or -errno. */
static int submit_wait(struct loop *l)
{
	static struct __kernel_timespec nap = { .tv_nsec = 1000000 };
	static struct __kernel_timespec device_nap = { .tv_nsec = 1000 };
	struct io_uring_cqe *cqe;
	int n;

	io_uring_buf_ring_advance(l->in_ring, (int)l->in_added);
	l->in_added = 0;
	if (l->run && l->starved)
		n = io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &nap, NULL);
	else if (!l->run && !l->w->opt->busy_poll)
		n = io_uring_submit_and_wait(&l->ring, 1);
	else if (!l->run && l->device_polls)	/* the kernel polls the device on the way to sleep */
		n = io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &device_nap, NULL);
	else
		n = io_uring_submit_and_get_events(&l->ring);
	if (!io_uring_sq_ready(&l->ring))
		l->nmsgs = 0;
	if (n < 0 && n != -EINTR && n != -ETIME && n != -EAGAIN && n != -EBUSY)
		return n;
	return 0;
}

static int setup_failed(int err)
{
	struct utsname u;

	if (err == -EPERM)
		fprintf(stderr, "phttpd: io_uring is not permitted here "
			"(see sysctl kernel.io_uring_disabled)\n");
	else if ((err == -EINVAL || err == -ENOSYS) && !uname(&u))
		fprintf(stderr, "phttpd: io_uring: kernel %s lacks features that 6.1 has\n",
			u.release);
	else
		worker_say("io_uring", -err);
	return err;
}

static int setup_buffers(struct loop *l)
{
	int err;

	l->packed = true;
	l->in_count = IN_PACKED;
	l->in_ring = io_uring_setup_buf_ring(&l->ring, l->in_count, IN_GROUP,
					     IOU_PBUF_RING_INC, &err);
	if (!l->in_ring) {		/* before Linux 6.12 */
		l->packed = false;
		l->in_count = IN_SINGLE;
		l->in_ring = io_uring_setup_buf_ring(&l->ring, l->in_count, IN_GROUP, 0, &err);
	}
	if (!l->in_ring)
		return err;
	l->in_missing = l->in_count;
	provide_missing(l);
	return l->in_missing ? -ENOMEM : 0;
}

/* Direct descriptors; the kernel wants no more than the limit of open files. */
static unsigned table_size(const struct options *opt)
{
	unsigned n = opt->max_connections + SPARE_SLOTS;
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < n)
		n = limit.rlim_cur;
	return n;
}

/* The error text has been printed when this returns one. */
static int loop_open(struct loop *l, struct worker *w)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL |
			 IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	int err;

	l->w = w;
	l->run_tail = &l->run;
	l->ring.ring_fd = -1;
	if (conns_init(&l->set, w))
		return worker_fail("buffers", ENOMEM);
	err = io_uring_queue_init_params(SQ_ENTRIES, &l->ring, &p);
	if (err) {
		l->ring.ring_fd = -1;
		return setup_failed(err);
	}
	io_uring_register_ring_fd(&l->ring);	/* cheaper calls; not essential */
	err = io_uring_register_files_sparse(&l->ring, table_size(w->opt));
	if (err)
		return worker_fail("io_uring: table of connections", -err);
	err = setup_buffers(l);
	if (err)
		return err == -EINVAL ? setup_failed(err) :
					worker_fail("io_uring: receive buffers", -err);
	if (w->opt->busy_poll) {
		struct io_uring_napi napi = {
			.busy_poll_to = BUSY_POLL_US,
			.prefer_busy_poll = 1,
		};

		io_uring_register_napi(&l->ring, &napi);	/* Linux 6.9; else we spin */
	}
	arm_accept(l);
	arm_poll(l, w->timer_fd, K_TIMER);
	arm_poll(l, w->stop_fd, K_STOP);
	return 0;
}

static void loop_close(struct loop *l)
{
	struct conn *conn;

	l->stop = true;			/* who is accepted from here on is closed at once */
	if (l->ring.ring_fd >= 0) {
		if (l->accepting)
			cancel(l, K_ACCEPT);
		while ((conn = conns_any(&l->set)))
			client_close(l, client_of(conn));
		run_all(l);
		/* Buffers are the kernel's until the last request has completed. */
		while ((l->clients || l->accepting) && !submit_wait(l))
			reap(l, sent_all(l));
		io_uring_queue_exit(&l->ring);
	}
	for (unsigned id = 0; id < l->in_count; id++) {
		if (l->in[id])
			buf_put(&l->set, l->in[id]);
	}
	conns_destroy(&l->set);
}

static int backend_serve(struct worker *w)
{
	struct loop *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return worker_fail("io_uring", ENOMEM);
	err = loop_open(l, w);
	while (!err && !l->stop) {
		transmit_all(l);
		err = submit_wait(l);
		if (err) {
			worker_say("io_uring_enter", -err);
			break;
		}
		reap(l, sent_all(l));
		run_all(l);
		provide_missing(l);
		starve(l);
	}
	if (!err)
		transmit_all(l);
	loop_close(l);
	free(l);
	return err;
}

const struct backend backend_uring = {
	.name = "uring",
	.serve = backend_serve,
	.room = conn_room,
	.commit = conn_commit,
	.send = conn_send,
	.hold = conn_hold,
	.drop = conn_drop,
};
