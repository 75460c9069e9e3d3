// SPDX-License-Identifier: BSD-2-Clause
/*
 * backend_paste.c - connections by slots of a stack port
 *
 * A round: one poll() sends what was produced, runs the NIC and TCP for all connections, and
 * brings new slots; each RX slot is a piece, in the buffer that the NIC wrote; each answer is
 * written straight into a TX slot's buffer. A long round hands its answers over in parts, each
 * by a TX sync, so that clients work while we do, and a very long one ends early. There are no other system calls in the steady
 * state.
 *
 * Rings. A thread has ring i of the port. RX slots are released when their piece is consumed,
 * TX slots are handed over by the next poll(), or by hand_over() before it; until then the last
 * one may still grow, so that answers to pipelined requests share a slot.
 *
 *	ring full    when fewer than TX_RESERVE TX slots are free no piece is taken: RX slots stay,
 *	             TCP closes its windows, and the next poll() waits for slots
 *	congested    the kernel says (NS_PST_EVENT, EAGAIN) that a socket is full, or one connection
 *	             produced BURST slots in this round (BURST_LOW when buffers are few):
 *	             it stalls. The kernel is asked to deliver nothing more of it
 *	             (NS_PST_PAUSE); the pieces that are in the ring already are kept by
 *	             swapping extra buffers into their slots, or, when these are few,
 *	             copied aside (spilled), up to SPILL_MAX bytes
 *
 * Which buffers are whose: paste_bufs.h. With --copy the region is not the port's, and the store copies
 * as it does for sockets.
 *
 * The listener is registered: new connections are slots, too. The end of a connection: if it is not
 * congested, its last slot closes it. Otherwise, or when the rest of the input has to be
 * awaited, that slot shuts sending down in order, and the descriptor is closed once the kernel has all.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <libnetmap.h>
#include <paste.h>

#include "conn.h"
#include "paste_bufs.h"
#include "store.h"

#define TX_RESERVE	64	/* free TX slots below which no input is taken */
#define BURST		32	/* TX slots a connection may fill in a round */
#define BURST_LOW	2	/* the same when the kernel has few buffers */
#define PART		24	/* TX slots handed over together, if there is more to answer */
#define ROUND		(512ul * 1024)	/* bytes of answers after which the next round begins */
#define RX_SLOTS	1024	/* of a ring: also the pieces that may have to be kept */
#define HELD_MAX	1024	/* pieces that unfinished requests may keep: the rest is the store's */
#define PORT_MIN	(5 * RX_SLOTS)	/* slots of two rings, spare buffers, NIC and TCP */

/* A piece kept until its connection goes on. */
struct stashed {
	struct piece piece;
	struct stashed *next;
};

struct client {
	struct conn conn;
	int fd;
	uint32_t burst;		/* TX slots filled in round @round */
	uint64_t round;
	bool congested;		/* the kernel has not taken all of its output */
	bool shut;		/* sending is shut down, or going to be with the next poll */
	bool eof;		/* end of the peer's stream */
	bool paused;		/* the kernel delivers nothing of it */
	bool queued;		/* on the run queue */
	struct client *next;	/* there */
	uint64_t shut_round;	/* when sending was shut down */
	struct stashed *stash, **stash_tail;
};

struct loop {
	struct conns set;	/* first: w->private */
	struct worker *w;
	struct nmport_d *port;
	struct netmap_ring *rx, *tx;
	struct client **client;	/* by descriptor */
	int clients;		/* size of that array */
	struct paste_bufs bufs;
	uint32_t held;		/* pieces kept by requests */
	uint64_t round;
	uint32_t tail;		/* the TX ring's, when it was last crowded */
	uint32_t handed;	/* the TX ring's head at the last poll() or hand_over() */
	size_t in_round;	/* bytes of answers to the input of this round */
	int last_fd;		/* whose answer the last TX slot has, -1: none that may grow */
	struct client *run;	/* connections with something to do besides input */
	struct client **run_tail;
	int rare;		/* epoll set: timer, end. poll() asks it, not both */
	bool stop;
};

static struct loop *loop_of(const struct http_conn *hc)
{
	return worker_of(hc->http)->private;
}

static struct client *client_of(struct http_conn *hc)
{
	return (struct client *)((char *)hc - offsetof(struct conn, http));
}

/* Whom a slot names, or NULL. */
static struct client *client_at(const struct loop *l, int fd)
{
	return fd >= 0 && fd < l->clients ? l->client[fd] : NULL;
}

static uint32_t tx_free(const struct loop *l)
{
	return nm_ring_space(l->tx);
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
 * Output. While @last_fd says whose the slot before @head is, that one is filled and not handed
 * over yet, so it may grow as long as it belongs to the connection at hand.
 */

static struct netmap_slot *last_slot(const struct loop *l)
{
	uint32_t i = l->tx->head;

	return &l->tx->slot[i ? i - 1 : l->tx->num_slots - 1];
}

static bool may_grow(const struct loop *l, const struct client *c)
{
	return l->last_fd == c->fd && l->tx->nr_buf_size - last_slot(l)->len >= HTTP_ROOM;
}

/*
 * TX slots a connection may fill in a round. When buffers are few, those for a full socket are not
 * queued but stay in the ring until its peer reads.
 */
static uint32_t burst(const struct loop *l)
{
	return l->rx->flags & NR_PST_LOW ? BURST_LOW : BURST;
}

/* One more slot was filled: may the connection go on? */
static bool count_slot(struct loop *l, struct client *c)
{
	if (c->round != l->round) {
		c->round = l->round;
		c->burst = 0;
	}
	if (++c->burst >= burst(l) || tx_free(l) < 2) {
		enqueue(l, c);
		return false;
	}
	return !c->congested;
}

static char *paste_room(struct http_conn *hc, size_t *avail)
{
	struct loop *l = loop_of(hc);
	struct client *c = client_of(hc);

	if (may_grow(l, c)) {
		struct netmap_slot *s = last_slot(l);

		*avail = l->tx->nr_buf_size - s->len;
		return NETMAP_BUF(l->tx, s->buf_idx) + s->len;
	}
	return paste_tx_room(l->tx, avail);
}

static bool paste_commit(struct http_conn *hc, size_t len)
{
	struct loop *l = loop_of(hc);
	struct client *c = client_of(hc);

	l->in_round += len;
	if (may_grow(l, c)) {
		last_slot(l)->len += len;
		return !c->congested;
	}
	paste_tx_commit(l->tx, c->fd, len);
	l->last_fd = c->fd;
	return count_slot(l, c);
}

static bool paste_send(struct http_conn *hc, const struct piece *p)
{
	struct loop *l = loop_of(hc);
	struct client *c = client_of(hc);
	uint32_t idx = buf_region_index(p->buf);
	size_t room;

	l->in_round += p->len;
	if (paste_bufs_is_aside(p->buf)) {
		memcpy(paste_tx_room(l->tx, &room), p->data, p->len);
		paste_tx_commit(l->tx, c->fd, p->len);
	} else {
		paste_tx_lend(l->tx, c->fd, idx, p->data - NETMAP_BUF(l->tx, idx), p->len);
		paste_bufs_lend(&l->bufs, idx);
	}
	l->last_fd = -1;
	return count_slot(l, c);
}

static uint32_t produced(const struct loop *l)
{
	uint32_t head = l->tx->head;

	return head >= l->handed ? head - l->handed : head + l->tx->num_slots - l->handed;
}

/* What was produced leaves now, not with the next poll(). */
static void hand_over(struct loop *l)
{
	http_batch(&l->w->http);
	ioctl(l->port->fd, NIOCTXSYNC, NULL);
	l->handed = l->tx->head;
	l->last_fd = -1;
}

/* After a poll(): nothing is lent any more as far as we go, but by slots that the kernel holds back. */
static void settle_lent(struct loop *l)
{
	uint32_t before = l->bufs.nlent, i;

	if (!before)
		return;
	for (i = nm_ring_next(l->tx, l->tx->tail); i != l->tx->head; i = nm_ring_next(l->tx, i))
		if (l->tx->slot[i].flags & NS_PST_KEEP)
			paste_bufs_lend(&l->bufs, l->tx->slot[i].buf_idx);
	paste_bufs_sent(&l->bufs, before);
}

/* Shut sending down behind what was produced. */
static void shut(struct loop *l, struct client *c)
{
	if (c->shut)
		return;
	if (paste_tx_shut(l->tx, c->fd)) {
		enqueue(l, c);
		return;
	}
	l->last_fd = -1;
	c->shut = true;
	c->shut_round = l->round;
	enqueue(l, c);
}

/* Have the kernel deliver, or not. Without a free slot the next round tries again. */
static void pause_input(struct loop *l, struct client *c, bool pause)
{
	if (c->paused == pause)
		return;
	if (paste_tx_pause(l->tx, c->fd, pause)) {
		enqueue(l, c);
		return;
	}
	l->last_fd = -1;
	c->paused = pause;
}

/*
 * Buffers, for the HTTP layer.
 */

static bool paste_hold(struct http *h, struct buf *b)
{
	struct loop *l = worker_of(h)->private;

	if (l->held >= HELD_MAX || !paste_bufs_hold(&l->bufs, b))
		return false;
	l->held++;
	return true;
}

static void paste_drop(struct http *h, struct buf *b)
{
	struct loop *l = worker_of(h)->private;

	paste_bufs_drop(&l->bufs, b);
	l->held--;
}

/*
 * Connections.
 */

static bool stash(struct loop *l, struct client *c, const struct piece *p)
{
	struct stashed *s = malloc(sizeof(*s));

	if (!s)
		return false;
	*s = (struct stashed) { .piece = *p };
	if (!(l->bufs.spare < SPARE_LOW ? paste_bufs_copy_aside(&l->bufs, &s->piece) :
					  paste_bufs_hold(&l->bufs, p->buf))) {
		free(s);
		return false;
	}
	if (!c->conn.stashed++)
		c->stash_tail = &c->stash;
	*c->stash_tail = s;
	c->stash_tail = &s->next;
	return true;
}

/* Drop the first piece. */
static void unstash(struct loop *l, struct client *c)
{
	struct stashed *s = c->stash;

	paste_bufs_drop(&l->bufs, s->piece.buf);
	c->stash = s->next;
	c->conn.stashed--;
	free(s);
}

/* Its descriptor is closed, or going to be. */
static void client_forget(struct loop *l, struct client *c)
{
	while (c->conn.stashed)
		unstash(l, c);
	conn_close(&c->conn);
	l->client[c->fd] = NULL;
	worker_leave(l->w);
	c->fd = -1;
	if (!c->queued)
		free(c);
}

/*
 * What was produced goes first: once closed, the number may be another connection's at any time, of
 * another thread, and slots that name it would be sent there.
 */
static void client_close(struct loop *l, struct client *c)
{
	int fd = c->fd;

	client_forget(l, c);
	if (produced(l))
		hand_over(l);
	close(fd);
}

/* Have the kernel close it behind what was produced, with the last slot of it if possible. */
static void close_behind(struct loop *l, struct client *c)
{
	if (l->last_fd == c->fd) {
		last_slot(l)->flags |= NS_PST_CLOSE;
	} else if (paste_tx_close(l->tx, c->fd)) {
		enqueue(l, c);
		return;
	}
	l->last_fd = -1;
	client_forget(l, c);
}

/* Offer input to the HTTP layer. False: what it did not take could not be kept. */
static bool feed(struct loop *l, struct client *c, struct piece p)
{
	size_t n = 0;

	if (!c->conn.stashed && !c->conn.http.stalled) {
		n = http_input(&c->conn.http, &p);
		if (c->conn.http.progress) {
			c->conn.http.progress = false;
			conn_touch(&c->conn);
		}
	}
	if (n == p.len)
		return true;
	p.data += n;
	p.len -= n;
	pause_input(l, c, true);
	return stash(l, c, &p);
}

/* Everything is answered as far as possible: what is next for the connection? */
static void settle(struct loop *l, struct client *c)
{
	struct http_conn *http = &c->conn.http;

	if (c->eof && !http->stalled && !c->conn.stashed && http->end == HTTP_OPEN)
		http_eof(http);
	if (http->end == HTTP_OPEN)
		return;
	if (c->shut)
		enqueue(l, c);
	else if (!c->congested && (c->eof || http->end == HTTP_CLOSE))
		close_behind(l, c);
	else
		shut(l, c);
}

/*
 * Sending is shut down. The poll() after that has handed the last slots over, and if it told of no
 * congestion TCP has it all, so that nothing is lost by closing.
 */
static void finish(struct loop *l, struct client *c)
{
	if (c->congested)
		return;		/* the kernel will tell */
	if (l->round < c->shut_round + 2)
		enqueue(l, c);
	else if (c->eof || c->conn.http.end == HTTP_CLOSE)
		client_close(l, c);
	else if (c->conn.list != &l->set.linger)	/* what still comes does not prolong it */
		conn_linger(&c->conn);
}

/* A connection's turn: room may have come, or its end. */
static void resume(struct loop *l, struct client *c)
{
	struct http_conn *http = &c->conn.http;

	if (c->shut) {
		finish(l, c);
		return;
	}
	if (c->congested)
		return;		/* the kernel will tell */
	if (tx_free(l) < TX_RESERVE) {
		enqueue(l, c);
		return;
	}
	if (http->stalled)
		http_resume(http);
	while (c->conn.stashed && !http->stalled) {
		struct piece *p = &c->stash->piece;
		size_t n = http_input(http, p);

		if (n < p->len) {
			p->data += n;
			p->len -= n;
			break;
		}
		unstash(l, c);
	}
	if (!c->conn.stashed && !http->stalled)
		pause_input(l, c, false);
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
		if (c->fd >= 0)
			resume(l, c);
		else
			free(c);
	}
}

static bool grow_table(struct loop *l, int fd)
{
	int n = fd < 512 ? 1024 : 2 * fd;
	struct client **table;

	if (fd < l->clients)
		return true;
	table = realloc(l->client, n * sizeof(*table));
	if (!table)
		return false;
	memset(table + l->clients, 0, (n - l->clients) * sizeof(*table));
	l->client = table;
	l->clients = n;
	return true;
}

/* A new connection, registered already. */
static void on_connection(struct loop *l, int fd)
{
	struct client *c = NULL;

	if (!worker_admit(l->w)) {
		close(fd);
		return;
	}
	if (grow_table(l, fd))
		c = calloc(1, sizeof(*c));
	if (!c) {
		l->w->http.stats.refused++;
		worker_leave(l->w);
		close(fd);
		return;
	}
	c->fd = fd;
	l->client[fd] = c;
	conn_open(&c->conn, &l->set);
}

/*
 * Slots.
 */

static void on_event(struct loop *l, struct client *c, const struct netmap_slot *s)
{
	if (s->err == EAGAIN) {
		c->congested = !(s->flags & NS_PST_CLEAR);
		if (!c->congested) {
			conn_touch(&c->conn);	/* the peer reads */
			enqueue(l, c);
		}
	} else if (s->err) {
		if (s->err != ENOTCONN)		/* that is the end in order */
			l->w->http.stats.resets++;
		client_close(l, c);
	} else {
		c->eof = true;
		settle(l, c);
	}
}

static void on_data(struct loop *l, struct client *c, struct netmap_slot *s)
{
	struct piece p = { .buf = buf_of_region(s->buf_idx) };
	size_t len;
	bool ok;

	p.data = paste_rx_data(l->rx, s, &len);
	p.len = len;
	l->bufs.in_slot = s->buf_idx;
	ok = feed(l, c, p);
	l->bufs.in_slot = 0;
	if (l->bufs.refs[s->buf_idx])
		paste_rx_keep(s, paste_bufs_pop(&l->bufs));
	if (!ok) {
		l->w->http.stats.starved++;
		client_close(l, c);
	} else if (c->conn.http.end != HTTP_OPEN) {
		settle(l, c);
	}
}

/*
 * Who is congested is said in the RX ring, perhaps behind slots that wait for room. Those whose turn
 * comes first are to know it: what they would produce might stay in the TX ring, and fill it.
 */
static void learn_congestion(struct loop *l)
{
	for (uint32_t i = l->rx->head; i != l->rx->tail; i = nm_ring_next(l->rx, i)) {
		const struct netmap_slot *s = &l->rx->slot[i];
		struct client *c = client_at(l, s->fd);

		if (c && paste_rx_is_event(s) && s->err == EAGAIN)
			c->congested = !(s->flags & NS_PST_CLEAR);
	}
}

/*
 * What the kernel holds back after a poll() is in everybody's way. When that is half of the ring, who
 * has waited longest for its peer has to give way. When there is no room for input and nothing moves,
 * at once, and without having been told: the word of its congestion may find no room either.
 */
static void make_way(struct loop *l)
{
	bool stuck = tx_free(l) < TX_RESERVE && l->tx->tail == l->tail;
	struct client *victim = NULL;

	l->tail = l->tx->tail;
	for (uint32_t i = nm_ring_next(l->tx, l->tx->tail); i != l->tx->head;
	     i = nm_ring_next(l->tx, i)) {
		struct client *c = client_at(l, l->tx->slot[i].fd);

		if (c && (c->congested || stuck) && (!victim || c->conn.stamp < victim->conn.stamp))
			victim = c;
	}
	if (victim && (stuck || l->w->now - victim->conn.stamp >= CONN_PATIENCE)) {
		l->w->http.stats.starved++;
		client_close(l, victim);
	}
}

/*
 * Takes the RX slots that there is room to answer. After many the rest is for the next round: only a
 * poll() brings acknowledgements to TCP, which takes its own delay in that for the network's and,
 * if it is long, sends many small packets.
 */
static void receive_all(struct loop *l)
{
	struct netmap_slot *s;

	l->in_round = 0;
	while (l->in_round < ROUND && (s = paste_rx_first(l->rx)) && tx_free(l) >= TX_RESERVE) {
		if (produced(l) >= PART)
			hand_over(l);
		struct client *c = client_at(l, s->fd);

		if (paste_rx_accepted(l->rx, s))
			on_connection(l, s->fd);
		else if (c && paste_rx_is_event(s))
			on_event(l, c, s);
		else if (c)
			on_data(l, c, s);
		paste_rx_release(l->rx);
	}
}

/*
 * Opening. Thread 0's port call creates the rings of all, so the others wait for their turn.
 */

/* The port's memory is the region's, and what the store has in there is not the kernel's. */
static int open_in_region(struct loop *l)
{
	struct paste_region *memory = l->w->opt->memory;
	const struct space *s = store_space(l->w->opt->store);
	uint32_t used = s->used;
	int err;

	if (s->num - s->limit < PORT_MIN) {
		fprintf(stderr, "phttpd: %u buffers in the region are too few for a port: make it "
			"one of %d\n", s->num, 2 * PORT_MIN);
		return -ENOSPC;
	}
	for (uint32_t buf = 0; buf < s->num; buf++) {
		if (s->refs[buf])
			paste_region_keep(memory, buf);
	}
	/* What the store may still take, and what pieces may have to be kept besides. */
	l->port->reg.nr_extra_bufs = (s->limit > used ? s->limit - used : 0) + 2 * RX_SLOTS;
	err = paste_region_open_port(memory, l->port);
	if (err == -EINVAL)
		fprintf(stderr, "phttpd: the port has its buffers elsewhere than the region\n");
	return err;
}

static bool in_place(const struct loop *l)
{
	return l->w->opt->store && !l->w->opt->http.copy;
}

static int open_desc(struct loop *l)
{
	if (in_place(l))
		return open_in_region(l);
	/* The call that makes the port sizes it for all. */
	l->port->reg.nr_extra_bufs = 2 * RX_SLOTS;
	return nmport_open_desc(l->port) ? -errno : 0;
}

static int open_port(struct loop *l)
{
	static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
	static bool attached;
	const struct options *opt = l->w->opt;
	char name[96];
	int err;

	snprintf(name, sizeof(name), "stack:phttpd-%u/x@conf:rings=%u,slots=%d", l->w->id,
		 opt->threads, RX_SLOTS);
	pthread_mutex_lock(&turn);
	l->port = nmport_prepare(name);
	err = l->port ? open_desc(l) : -ENOMEM;	/* the name has no error */
	if (err && l->port) {
		nmport_close(l->port);
		l->port = NULL;
	}
	if (!err && opt->interface && !attached) {
		snprintf(name, sizeof(name), "stack:%s", opt->interface);
		err = paste_attach(l->port->fd, name);
		attached = !err;
		if (err)
			fprintf(stderr, "phttpd: %s: %s\n", name,
				paste_strerror(NETMAP_REQ_PST_ATTACH, err));
	}
	pthread_mutex_unlock(&turn);
	return err;
}

/* The extra buffers: all of them from the port's list into ours. */
static int collect_spare(struct loop *l)
{
	uint32_t n = l->port->reg.nr_memsize / l->rx->nr_buf_size, idx;

	if (paste_bufs_init(&l->bufs, n))
		return -ENOMEM;
	while ((idx = paste_buf_pop(l->port->nifp, l->rx)))
		paste_bufs_push(&l->bufs, idx);
	return 0;
}

/*
 * What the store has in the region from an earlier life is kept already; and perhaps still on its way to a
 * client of then.
 */
static void serve_store(struct loop *l)
{
	struct space *s = store_space(l->w->opt->store);

	for (uint32_t idx = 0; idx < s->num; idx++)
		if (s->refs[idx]) {
			l->bufs.refs[idx] = 1;
			l->bufs.was_lent[idx] = true;
		}
	space_set_owner(s, &paste_bufs_for_store, &l->bufs);
}

static int watch(struct loop *l, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(l->rare, EPOLL_CTL_ADD, fd, &ev);
}

/* A port that was there already has rings of the size that others chose. */
static int check_rings(const struct loop *l)
{
	if (l->tx->num_slots >= 2 * TX_RESERVE)
		return 0;
	fprintf(stderr, "phttpd: the port has rings of %u slots, too few: give it %d or more\n", l->tx->num_slots,
		2 * TX_RESERVE);
	return -1;
}

static int loop_open(struct loop *l, struct worker *w)
{
	int err;

	l->w = w;
	l->last_fd = -1;
	l->run_tail = &l->run;
	if (conns_init(&l->set, w))
		return worker_fail("buffers", ENOMEM);
	err = open_port(l);
	if (err) {
		fprintf(stderr, "phttpd: cannot open a stack port: %s\n", paste_strerror(NETMAP_REQ_REGISTER, err));
		return -1;
	}
	l->rare = epoll_create1(EPOLL_CLOEXEC);
	if (l->rare < 0 || watch(l, w->timer_fd) || watch(l, w->stop_fd))
		return worker_fail("epoll", errno);
	l->tx = NETMAP_TXRING(l->port->nifp, l->port->first_tx_ring);
	l->rx = NETMAP_RXRING(l->port->nifp, l->port->first_rx_ring);
	if (check_rings(l))
		return -1;
	if (collect_spare(l))
		return worker_fail("buffers", ENOMEM);
	if (in_place(l))
		serve_store(l);
	err = paste_register(l->port->fd, w->listen_fd);
	return err ? worker_fail("cannot register the listening socket", -err) : 0;
}

/* What was answered leaves, also to who has no client any more because its answer was the last one. */
static void close_clients(struct loop *l)
{
	struct conn *conn;

	if (produced(l))
		hand_over(l);
	while ((conn = conns_any(&l->set)))
		client_close(l, client_of(&conn->http));
	run_all(l);		/* frees */
}

static void loop_close(struct loop *l)
{
	uint32_t idx;

	if (l->tx)
		close_clients(l);
	conns_destroy(&l->set);
	if (in_place(l))
		space_set_owner(store_space(l->w->opt->store), NULL, NULL);
	/* Other threads' ports may live on. The list is written into the buffers, so clients that wait for one keep it out. */
	while ((idx = paste_bufs_pop_clean(&l->bufs)))
		paste_buf_push(l->port->nifp, l->rx, idx);
	free(l->client);
	paste_bufs_destroy(&l->bufs);
	if (l->rare >= 0)
		close(l->rare);
	if (l->port)
		nmport_close(l->port);
}

static void tick(struct loop *l)
{
	struct conn *conn;

	worker_tick(l->w);
	while ((conn = conns_expired(&l->set)))
		client_close(l, client_of(&conn->http));
}

/* The tick and the end: rare enough for a set of their own. */
static void serve_rare(struct loop *l)
{
	struct epoll_event ev[2];
	int n = epoll_wait(l->rare, ev, 2, 0);

	for (int i = 0; i < n; i++) {
		if (ev[i].data.fd == l->w->timer_fd)
			tick(l);
		else
			l->stop = true;
	}
}

/* One poll() and what came of it. Returns 0, or -1 after a message. */
static int serve_round(struct loop *l)
{
	struct pollfd fds[] = {
		{ .fd = l->port->fd, .events = POLLIN },
		{ .fd = l->rare, .events = POLLIN },
	};
	bool again = l->run || !nm_ring_empty(l->rx), crowded;

	/* What waits for TX slots sleeps until there are some. */
	if (tx_free(l) < TX_RESERVE)
		fds[0].events |= POLLOUT;
	if (poll(fds, 2, l->w->opt->busy_poll ? 0 : again ? 1 : -1) < 0 && errno != EINTR)
		return worker_fail("poll", errno);
	if (fds[0].revents & POLLERR)
		return worker_fail("port", EIO);
	l->round++;
	l->handed = l->tx->head;
	l->last_fd = -1;
	settle_lent(l);
	crowded = tx_free(l) < l->tx->num_slots / 2;
	if (l->run || crowded)
		learn_congestion(l);
	if (crowded)
		make_way(l);
	run_all(l);
	receive_all(l);
	http_batch(&l->w->http);
	if (fds[1].revents)
		serve_rare(l);
	return 0;
}

static int backend_serve(struct worker *w)
{
	struct loop l = { .w = w, .rare = -1 };
	int err = loop_open(&l, w);

	while (!err && !l.stop)
		err = serve_round(&l);
	loop_close(&l);
	return err;
}

const struct backend backend_paste = {
	.name = "paste",
	.serve = backend_serve,
	.room = paste_room,
	.commit = paste_commit,
	.send = paste_send,
	.hold = paste_hold,
	.drop = paste_drop,
};
