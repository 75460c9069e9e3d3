// SPDX-License-Identifier: BSD-2-Clause
/*
 * server: an application on a stack port that can be told to behave in many ways,
 * for tests/net, whose scripts start it and talk to it by lines.  [not a test]
 *
 *	--port NAME		stack:0
 *	--attach stack:IF	interface to attach
 *	--listen N		TCP port, 7; IPv4 and IPv6
 *	--tx-slots N --rx-slots N --extra N
 *	--threads N		as many rings, each with a thread, a descriptor and
 *				a listener (SO_REUSEPORT)
 *	--wait poll|select|epoll
 *	--busy			never sleeps in it
 *	--mode MODE		as below
 *	--register-after MS	pause between accept and register
 *	--exclusive
 *	--memory KIND		of ours, see supply.h; --memory-size MB, 128
 *
 * Modes, which may be changed at any time:
 *	echo	received buffers are sent back; those for a client that does not read
 *		are kept while there are spare ones, so that others can go on
 *	copy	the same bytes, copied into slots of random lengths and offsets
 *	keep	received buffers are lent to the echo (NS_PST_KEEP) and kept for a
 *		while; then their content must be what it was
 *	lend	every byte received is answered by VALUE_SIZE bytes of one buffer that
 *		is lent again and again
 *	sink	nothing is sent before the end of stream, then "bytes crc\n"
 *	source	a line "GET bytes\n" is answered by as many, the last four being the
 *		CRC of the others
 *	hold	nothing is released: buffers are kept while there are spare ones for
 *		the slots, then the slots stay
 *	slow	echo, a slot a millisecond
 *	stall	no call to the port at all
 *
 * The first line on stdout is {"pid": ...}.  Then a line is answered by one:
 *	mode MODE | stats | counters | attach NAME | detach NAME | quit
 *
 * Each thread (worker) owns its descriptor, rings, sockets and lists.
 */
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include "port.h"
#include "supply.h"

#define FDS_MAX		8192
#define VALUE_SIZE	1000
#define KEEP_MAX	64	/* buffers under way in mode keep, per thread */
#define IN_RING_MAX	64	/* slots of one connection in the TX ring, so that it leaves room */

enum mode { ECHO_, COPY, KEEP, LEND, SINK, SOURCE, HOLD, SLOW, STALL, QUIT };

static const char *const mode_names[] = {
	"echo", "copy", "keep", "lend", "sink", "source", "hold", "slow", "stall",
};

struct conn {
	bool open;
	uint32_t worker;	/* whose it is */
	bool eos;		/* the peer has ended its stream */
	bool closing;		/* on the worker's closing list */
	bool congested;		/* told so, until told otherwise */
	bool shut;		/* we have ended our stream */
	uint32_t in_ring;	/* its slots that were handed in and have not come back */
	uint32_t held_first, held_last;	/* received buffers that we keep, see note[] */
	uint64_t rx;
	uint32_t crc;		/* of what was received */
	uint64_t left;		/* source: bytes still to send */
	uint32_t out_crc;
	uint64_t random;
	uint32_t owed;		/* lend: replies */
	char line[64];
	uint32_t line_len;
};

/* What we know of a buffer of ours with received data in it. */
struct note {
	int fd;
	uint16_t offset, len;
	uint32_t crc;
	uint32_t next;		/* buffer that the same connection received next, or 0 */
};

struct stats {
	uint64_t conns, accepted, register_errors, rx_bytes, tx_bytes, events;
	uint64_t eos, congested, errors, refused, refused_fd, refused_pipe;
	uint64_t held, kept, spare, corrupt, bad_fd, max_batch, copied_slots;
	uint64_t loops, low, lost_buffers;
};

struct worker {
	uint32_t id;
	pthread_t thread;
	struct port p;
	int listener;
	int kick;		/* eventfd: look at the mode */
	int epoll;
	uint32_t epoll_events;
	uint32_t *spare;	/* buffers of ours that nobody uses */
	uint32_t nspare;
	uint32_t held;		/* buffers in the queues of connections */
	uint32_t kept[KEEP_MAX];	/* buffers lent by mode keep, a ring */
	uint32_t kept_first, kept_n;
	uint32_t value;		/* the buffer that mode lend lends */
	uint32_t tx_done;	/* slots before it have been looked at after the sync */
	int *closing;
	uint32_t nclosing;
	uint32_t random;
	bool owing;		/* some connection has something to be sent */
	int max_fd;
	struct stats st;
};

static struct options {
	const char *port, *attach, *wait, *memory;
	uint32_t listen, tx_slots, rx_slots, extra, threads, register_after, megabytes;
	bool busy, exclusive;
} o = { .port = "stack:0", .wait = "poll", .listen = 7, .threads = 1, .megabytes = 128 };

static enum mode mode;
static struct conn conns[FDS_MAX];
static struct worker *workers;
static uint32_t crc_table[256];
static bool *lent;		/* by index: cited by a slot or the value */
static struct note *notes;	/* by index */

/* ------------------------------------------------------------ small things */

static void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
		crc_table[i] = c;
	}
}

/* As zlib's: start with 0. */
static uint32_t crc_add(uint32_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (n--)
		crc = crc_table[(crc ^ *p++) & 255] ^ (crc >> 8);
	return ~crc;
}

static uint32_t random_below(struct worker *w, uint32_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 17;
	w->random ^= w->random << 5;
	return w->random % n;
}

static enum mode current_mode(void)
{
	return __atomic_load_n(&mode, __ATOMIC_RELAXED);
}

/* The buffer of the next TX slot; a slot that came back with a buffer that is lent
 * gets a spare one.  NULL: no room. */
static struct netmap_slot *tx_slot(struct worker *w)
{
	struct netmap_ring *tx = w->p.tx;
	struct netmap_slot *slot = &tx->slot[tx->head];

	if (nm_ring_empty(tx))
		return NULL;
	if (lent[slot->buf_idx]) {
		if (!w->nspare)
			return NULL;
		slot->buf_idx = w->spare[--w->nspare];
		w->st.lost_buffers++;
	}
	return slot;
}

/*
 * Should more be sent to this connection now?  Without spare buffers to put aside
 * what it sends there is no choice: RX slots must be released, or the news that it
 * is no longer congested finds no room.
 */
static bool may_send(const struct worker *w, const struct conn *c)
{
	return (!c->congested && c->in_ring < IN_RING_MAX) || (!w->nspare && !c->left && !c->owed);
}

static void push(struct worker *w, int fd, uint32_t buf, uint16_t offset, uint16_t len, uint16_t flags)
{
	paste_tx_push(w->p.tx, fd, buf, offset, (uint16_t)(offset + len), flags);
	w->st.tx_bytes += len;
	conns[fd].in_ring++;
}

static void put_text(struct worker *w, int fd, const char *text)
{
	struct netmap_slot *slot = tx_slot(w);
	size_t len = strlen(text);

	memcpy(NETMAP_BUF(w->p.tx, slot->buf_idx), text, len);
	push(w, fd, slot->buf_idx, 0, (uint16_t)len, 0);
}

/* ------------------------------------------------------------ connections */

static int listen_on(uint16_t port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int one = 1, zero = 0, s = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) ||
	    (o.threads > 1 && setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one))) ||
	    bind(s, (struct sockaddr *)&any, sizeof(any)) || listen(s, 4096))
		err(1, "TCP port %u", port);
	return s;
}

static void accept_all(struct worker *w)
{
	int s, one = 1;

	while ((s = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (o.register_after)
			usleep(o.register_after * 1000);
		setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (s >= FDS_MAX || conns[s].open || port_register(&w->p, s)) {
			w->st.register_errors++;
			close(s);
			continue;
		}
		conns[s] = (struct conn){ .open = true, .worker = w->id, .random = 88172645463325252ull + (uint64_t)s };
		if (s > w->max_fd)
			w->max_fd = s;
		w->st.accepted++;
		w->st.conns++;
	}
}

/* Takes the oldest received buffer out of a connection's queue. */
static uint32_t unhold(struct worker *w, struct conn *c)
{
	uint32_t buf = c->held_first;

	c->held_first = notes[buf].next;
	w->held--;
	return buf;
}

/* From now on the number may come back as another connection: nothing of the old
 * one may stay in what we still have to look at. */
static void close_conn(struct worker *w, int fd)
{
	struct netmap_ring *rx = w->p.rx, *tx = w->p.tx;

	for (uint32_t i = rx->head; i != rx->tail; i = nm_ring_next(rx, i))
		if (rx->slot[i].fd == fd)
			rx->slot[i].fd = -1;
	while (conns[fd].held_first)
		w->spare[w->nspare++] = unhold(w, &conns[fd]);
	for (uint32_t i = nm_ring_next(tx, tx->tail); i != tx->head; i = nm_ring_next(tx, i))
		if (tx->slot[i].fd == fd)
			tx->slot[i].fd = -1;
	conns[fd].open = false;
	w->st.conns--;
	close(fd);
}

static void on_event(struct worker *w, const struct netmap_slot *slot)
{
	struct conn *c = &conns[slot->fd];

	w->st.events++;
	if (slot->err == EAGAIN) {
		c->congested = !(slot->flags & NS_PST_CLEAR);
		w->st.congested += c->congested;
		return;
	}
	if (slot->err) {
		w->st.errors++;
		close_conn(w, slot->fd);
		return;
	}
	w->st.eos++;
	c->eos = true;
	if (!c->closing)
		w->closing[w->nclosing++] = slot->fd;
	c->closing = true;
}

/* Closes connections that have nothing to say any more. */
static void close_ended(struct worker *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->nclosing; i++) {
		int fd = w->closing[i];
		struct conn *c = &conns[fd];
		char text[64];

		if (c->open && c->eos) {
			if (c->held_first || c->left || c->owed)
				goto later;
			if (current_mode() == SINK && c->rx != UINT64_MAX) {
				if (!tx_slot(w))
					goto later;
				snprintf(text, sizeof(text), "%llu %u\n", (unsigned long long)c->rx, c->crc);
				put_text(w, fd, text);
				c->rx = UINT64_MAX;
			}
			if (!c->shut) {
				struct netmap_slot *slot = tx_slot(w);

				if (!slot)
					goto later;
				push(w, fd, slot->buf_idx, 0, 0, NS_PST_SHUT);
				c->shut = true;
			}
			if (c->in_ring || c->congested)
				goto later;
			close_conn(w, fd);
		}
		c->closing = false;
		continue;
later:
		w->closing[n++] = fd;
	}
	w->nclosing = n;
}

/* ------------------------------------------------------------ modes */

/* Sends a buffer of ours; what was in the slot is spare now. */
static bool send_buffer(struct worker *w, int fd, uint32_t buf, uint16_t offset, uint16_t len)
{
	struct netmap_slot *slot = tx_slot(w);

	if (!slot)
		return false;
	w->spare[w->nspare++] = slot->buf_idx;
	push(w, fd, buf, offset, len, NS_BUF_CHANGED);
	return true;
}

/* Keeps the buffer of an RX slot, while there are spare ones; 0 if not. */
static uint32_t take_buffer(struct worker *w, struct netmap_slot *slot)
{
	struct note n = {
		.fd = slot->fd, .offset = slot->offset, .len = (uint16_t)slot_len(slot),
	};
	uint32_t buf;

	if (!w->nspare)
		return 0;
	n.crc = crc_add(0, slot_data(w->p.rx, slot), n.len);
	buf = paste_rx_keep(slot, w->spare[--w->nspare]);
	notes[buf] = n;
	return buf;
}

static bool on_slot_hold(struct worker *w, struct netmap_slot *slot)
{
	struct conn *c = &conns[slot->fd];
	uint32_t buf = take_buffer(w, slot);

	if (!buf)
		return false;
	if (c->held_first)
		notes[c->held_last].next = buf;
	else
		c->held_first = buf;
	c->held_last = buf;
	w->held++;
	w->owing = true;
	return true;
}

static bool on_slot_echo(struct worker *w, struct netmap_slot *slot)
{
	struct conn *c = &conns[slot->fd];
	struct netmap_slot *out;
	uint32_t buf;

	if (c->held_first || !may_send(w, c))
		return on_slot_hold(w, slot);
	out = tx_slot(w);
	if (!out)
		return false;
	buf = out->buf_idx;
	push(w, slot->fd, slot->buf_idx, slot->offset, (uint16_t)slot_len(slot), NS_BUF_CHANGED);
	slot->buf_idx = buf;
	slot->flags = NS_BUF_CHANGED;
	return true;
}

/* Advances slot->offset by what has been taken, so a later call goes on from there. */
static bool on_slot_copy(struct worker *w, struct netmap_slot *slot)
{
	while (slot_len(slot)) {
		struct netmap_slot *out = tx_slot(w);
		uint16_t n = (uint16_t)(1 + random_below(w, random_below(w, 4) ? 3000 : 30)), at;

		if (!out)
			return false;
		if (n > slot_len(slot))
			n = (uint16_t)slot_len(slot);
		at = (uint16_t)random_below(w, w->p.tx->nr_buf_size - n + 1);
		memcpy(NETMAP_BUF(w->p.tx, out->buf_idx) + at, slot_data(w->p.rx, slot), n);
		push(w, slot->fd, out->buf_idx, at, n, 0);
		slot->offset += n;
	}
	return true;
}

static void check_note(struct worker *w, uint32_t buf)
{
	const struct note *n = &notes[buf];

	if (crc_add(0, NETMAP_BUF(w->p.rx, buf) + n->offset, n->len) != n->crc)
		w->st.corrupt++;
}

static void drop_oldest_kept(struct worker *w)
{
	uint32_t buf = w->kept[w->kept_first];

	check_note(w, buf);
	lent[buf] = false;
	w->spare[w->nspare++] = buf;
	w->kept_first = (w->kept_first + 1) % KEEP_MAX;
	w->kept_n--;
}

static bool on_slot_keep(struct worker *w, struct netmap_slot *slot)
{
	int fd = slot->fd;
	uint32_t buf;

	if (w->kept_n == KEEP_MAX) {
		if (nm_tx_pending(w->p.tx))	/* ours until its slot is back */
			return false;
		drop_oldest_kept(w);
	}
	if (!tx_slot(w))
		return false;
	buf = take_buffer(w, slot);
	if (!buf)
		return false;
	lent[buf] = true;
	w->kept[(w->kept_first + w->kept_n++) % KEEP_MAX] = buf;
	push(w, fd, buf, notes[buf].offset, notes[buf].len, NS_PST_KEEP);
	return true;
}

static void on_slot_source(struct worker *w, struct netmap_slot *slot)
{
	struct conn *c = &conns[slot->fd];
	const char *p = slot_data(w->p.rx, slot);

	for (size_t i = 0; i < slot_len(slot); i++) {
		if (p[i] != '\n') {
			if (c->line_len < sizeof(c->line) - 1)
				c->line[c->line_len++] = p[i];
			continue;
		}
		c->line[c->line_len] = '\0';
		c->line_len = 0;
		if (sscanf(c->line, "GET %lu", &c->left) == 1)
			c->out_crc = 0;
	}
	w->owing = true;
}

/* One slot of a source's answer; false when there is no room. */
static bool source_slot(struct worker *w, int fd)
{
	struct netmap_slot *slot = tx_slot(w);
	struct conn *c = &conns[fd];
	uint64_t *data;
	uint32_t n = w->p.tx->nr_buf_size;

	if (!slot)
		return false;
	data = (void *)NETMAP_BUF(w->p.tx, slot->buf_idx);
	if (c->left <= 4) {
		memcpy(data, &c->out_crc, 4);
		push(w, fd, slot->buf_idx, 0, (uint16_t)c->left, 0);
		c->left = 0;
		return true;
	}
	if (n > c->left - 4)
		n = (uint32_t)(c->left - 4);
	for (uint32_t i = 0; i * 8 < n; i++) {
		c->random ^= c->random << 13;
		c->random ^= c->random >> 7;
		c->random ^= c->random << 17;
		data[i] = c->random;
	}
	c->out_crc = crc_add(c->out_crc, data, n);
	c->left -= n;
	push(w, fd, slot->buf_idx, 0, (uint16_t)n, 0);
	return true;
}

/* What hold has kept, one buffer. */
static bool held_slot(struct worker *w, int fd)
{
	struct conn *c = &conns[fd];
	uint32_t buf = c->held_first;

	check_note(w, buf);
	if (!send_buffer(w, fd, buf, notes[buf].offset, notes[buf].len))
		return false;
	unhold(w, c);
	return true;
}

/* What connections are owed, a slot each in turn.  False: no room in the ring. */
static bool send_owed(struct worker *w, enum mode m)
{
	bool more = true, later = false;

	while (w->owing && more) {
		more = later = false;
		for (int fd = 0; fd <= w->max_fd; fd++) {
			struct conn *c = &conns[fd];
			bool held = c->held_first && m != HOLD;

			if (!c->open || c->worker != w->id || (!c->left && !c->owed && !held))
				continue;
			if (!may_send(w, c)) {
				later = true;
				continue;
			}
			if (held && !held_slot(w, fd))
				return false;
			if (c->left && !source_slot(w, fd))
				return false;
			if (c->owed) {
				if (!tx_slot(w))
					return false;
				push(w, fd, w->value, 0, VALUE_SIZE, NS_PST_KEEP);
				c->owed--;
			}
			more |= c->left || c->owed || (held && c->held_first);
		}
	}
	w->owing = later || (m == HOLD && w->held);
	return true;
}

static bool on_slot(struct worker *w, struct netmap_slot *slot, enum mode m)
{
	struct conn *c = &conns[slot->fd];
	uint32_t n = (uint32_t)slot_len(slot);
	const char *data = slot_data(w->p.rx, slot);
	bool done = true;
	uint32_t crc;

	crc = m == SINK ? crc_add(c->crc, data, n) : 0;
	switch (m) {
	case COPY:	/* what another mode has left goes first */
		done = c->held_first ? on_slot_hold(w, slot) : on_slot_copy(w, slot);
		break;
	case KEEP:
		done = c->held_first ? on_slot_hold(w, slot) : on_slot_keep(w, slot);
		break;
	case LEND:
		c->owed += n;
		w->owing = true;
		break;
	case SINK:
		c->crc = crc;
		c->rx += n;
		break;
	case SOURCE:
		on_slot_source(w, slot);
		break;
	case HOLD:
		done = on_slot_hold(w, slot);
		break;
	case SLOW:
		usleep(1000);
		/* fallthrough */
	default:
		done = on_slot_echo(w, slot);
	}
	if (done)
		w->st.rx_bytes += n;
	return done;
}

/* ------------------------------------------------------------ the loop */

/* Counts what the kernel refused among the slots that have come back. */
static void look_at_sent(struct worker *w)
{
	struct netmap_ring *tx = w->p.tx;
	uint32_t end = nm_ring_next(tx, tx->tail);

	for (; w->tx_done != end; w->tx_done = nm_ring_next(tx, w->tx_done)) {
		struct netmap_slot *slot = &tx->slot[w->tx_done];

		if (slot->fd >= 0 && conns[slot->fd].open)
			conns[slot->fd].in_ring--;
		if (!(slot->flags & NS_PST_REFUSED))
			continue;
		w->st.refused++;
		w->st.refused_fd += slot->err == EBADF;
		w->st.refused_pipe += slot->err == EPIPE || slot->err == ECONNRESET;
		slot->flags = 0;
	}
}

/* Walks over the received slots; true when something waits for room in the TX ring. */
static bool walk(struct worker *w, enum mode m)
{
	struct netmap_ring *rx = w->p.rx, *tx = w->p.tx;
	uint32_t i, n = 0;
	bool blocked = false;

	w->st.low += !!(rx->flags & NR_PST_LOW);
	if (!send_owed(w, m))
		blocked = true;
	for (i = rx->head; i != rx->tail && !blocked; i = nm_ring_next(rx, i), n++) {
		struct netmap_slot *slot = &rx->slot[i];

		if (m == SLOW && n == 20)
			break;
		/* what we have seen, so that close_conn() looks at the rest only */
		rx->head = rx->cur = i;
		if (slot->fd < 0)
			continue;
		if (slot->fd >= FDS_MAX || !conns[slot->fd].open) {
			w->st.bad_fd++;
			continue;
		}
		if (slot->flags & NS_PST_EVENT) {
			on_event(w, slot);
			continue;
		}
		w->st.copied_slots += !!(slot->flags & NS_PST_COPIED);
		if (!on_slot(w, slot, m)) {
			blocked = m != HOLD;
			break;
		}
	}
	if (n > w->st.max_batch)
		w->st.max_batch = n;
	if (!send_owed(w, m))
		blocked = true;
	rx->head = i;
	rx->cur = m == SLOW ? i : rx->tail;
	close_ended(w);
	/* Room that is there does not help us, or we would have used it. */
	tx->cur = tx->tail;
	return blocked || w->nclosing || (w->owing && m != HOLD);
}

static void wait_select(struct worker *w, short events, bool block, bool *command, bool *conn)
{
	struct timeval zero = { 0, 0 };
	fd_set in, out;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(w->p.fd, &in);
	if (events & POLLOUT)
		FD_SET(w->p.fd, &out);
	if (w->listener >= 0)
		FD_SET(w->listener, &in);
	FD_SET(w->kick, &in);
	if (select(FD_SETSIZE, &in, &out, NULL, block ? NULL : &zero) < 0)
		err(1, "select");
	*command = FD_ISSET(w->kick, &in);
	*conn = w->listener >= 0 && FD_ISSET(w->listener, &in);
}

static void wait_epoll(struct worker *w, short events, bool block, bool *command, bool *conn)
{
	struct epoll_event ev[3];
	uint32_t want = EPOLLIN | (events & POLLOUT ? EPOLLOUT : 0);
	int i, n;

	if (w->epoll < 0) {
		w->epoll = epoll_create1(EPOLL_CLOEXEC);
		ev[0] = (struct epoll_event){ .events = want, .data.fd = w->p.fd };
		ev[1] = (struct epoll_event){ .events = EPOLLIN, .data.fd = w->kick };
		ev[2] = (struct epoll_event){ .events = EPOLLIN, .data.fd = w->listener };
		if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->p.fd, &ev[0]) ||
		    epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->kick, &ev[1]) ||
		    (w->listener >= 0 && epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->listener, &ev[2])))
			err(1, "epoll");
	} else if (want != w->epoll_events) {
		ev[0] = (struct epoll_event){ .events = want, .data.fd = w->p.fd };
		if (epoll_ctl(w->epoll, EPOLL_CTL_MOD, w->p.fd, &ev[0]))
			err(1, "epoll");
	}
	w->epoll_events = want;
	/* epoll asks the port again only after a wakeup, so that is no sync. */
	ioctl(w->p.fd, NIOCTXSYNC);
	n = epoll_wait(w->epoll, ev, 3, block ? -1 : 0);
	for (i = 0; i < n; i++) {
		*command |= ev[i].data.fd == w->kick;
		*conn |= ev[i].data.fd == w->listener;
	}
}

static void wait_poll(struct worker *w, short events, bool block, bool *command, bool *conn)
{
	struct pollfd pfd[3] = {
		{ .fd = w->p.fd, .events = events },
		{ .fd = w->kick, .events = POLLIN },
		{ .fd = w->listener, .events = POLLIN },
	};

	if (poll(pfd, 3, block ? -1 : 0) < 0 && errno != EINTR)
		err(1, "poll");
	if (pfd[0].revents & POLLERR)
		errx(1, "POLLERR on the port");
	*command = pfd[1].revents;
	*conn = pfd[2].revents;
}

static void obey(struct worker *w);

static void *work(void *arg)
{
	struct worker *w = arg;

	for (;;) {
		enum mode m = current_mode();
		bool command = false, conn = false, block = !o.busy;
		short events = POLLIN;

		if (m == QUIT)
			break;
		w->st.loops++;
		if (m == STALL) {
			struct pollfd pfd = { .fd = w->kick, .events = POLLIN };

			if (poll(&pfd, 1, -1) == 1)
				obey(w);
			continue;
		}
		if (walk(w, m))
			events |= POLLOUT;
		if (w->st.low && w->p.rx->flags & NR_PST_LOW)
			w->st.low++;
		if (!strcmp(o.wait, "select"))
			wait_select(w, events, block, &command, &conn);
		else if (!strcmp(o.wait, "epoll"))
			wait_epoll(w, events, block, &command, &conn);
		else
			wait_poll(w, events, block, &command, &conn);
		look_at_sent(w);
		if (command)
			obey(w);
		if (conn)
			accept_all(w);
	}
	return NULL;
}

/* ------------------------------------------------------------ commands */

static void print_stats(void)
{
	struct stats t = { 0 };

#define ADD(f)	t.f += s->f
	for (uint32_t i = 0; i < o.threads; i++) {
		struct worker *w = &workers[i];
		struct stats *s = &w->st;

		s->held = w->held;
		s->kept = w->kept_n;
		s->spare = w->nspare;
		ADD(conns); ADD(accepted); ADD(register_errors); ADD(rx_bytes); ADD(tx_bytes);
		ADD(events); ADD(eos); ADD(congested); ADD(errors); ADD(refused); ADD(refused_fd);
		ADD(refused_pipe); ADD(held); ADD(kept); ADD(spare); ADD(corrupt); ADD(bad_fd);
		ADD(copied_slots); ADD(loops); ADD(low); ADD(lost_buffers);
		if (s->max_batch > t.max_batch)
			t.max_batch = s->max_batch;
	}
#undef ADD
#define P(f)	printf("\"" #f "\": %llu, ", (unsigned long long)t.f)
	putchar('{');
	P(conns); P(accepted); P(register_errors); P(rx_bytes); P(tx_bytes); P(events); P(eos);
	P(congested); P(errors); P(refused); P(refused_fd); P(refused_pipe); P(held); P(kept);
	P(spare); P(corrupt); P(bad_fd); P(max_batch); P(copied_slots); P(loops); P(low);
	P(lost_buffers);
#undef P
	printf("\"mode\": \"%s\", \"per_thread\": [", mode < QUIT ? mode_names[mode] : "quit");
	for (uint32_t i = 0; i < o.threads; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)workers[i].st.rx_bytes);
	printf("]}\n");
}

/* The module's: those of the port, those of the rings added up. */
static int print_counters(void)
{
	struct nmreq_pst_stats st = { 0 };
	uint64_t sum[sizeof(st.counters) / 8] = { 0 };
	size_t i;

	for (uint32_t ring = 0; !ring || ring < st.rings; ring++) {
		const uint64_t *c = (const uint64_t *)&st.counters;

		if (paste_stats(workers[0].p.fd, workers[0].p.name, ring, &st))
			return -1;
		for (i = 0; i < sizeof(sum) / 8; i++)
			sum[i] += c[i];
	}
	putchar('{');
	i = 0;
#define X(name, text)	printf("\"%s\": %llu, ", #name, (unsigned long long)sum[i++]);
	PST_RING_COUNTERS(X)
#undef X
#define X(name, text)	printf("\"%s\": %llu, ", #name, (unsigned long long)st.port.name);
	PST_PORT_COUNTERS(X)
#undef X
	printf("\"rings\": %u}\n", st.rings);
	return 0;
}

static void set_mode(enum mode m)
{
	__atomic_store_n(&mode, m, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < o.threads; i++)
		eventfd_write(workers[i].kick, 1);
}

static enum mode mode_of(const char *name)
{
	for (enum mode m = 0; m < QUIT; m++)
		if (!strcmp(name, mode_names[m]))
			return m;
	errx(2, "no mode %s", name);
}

static void command(char *line)
{
	char *arg = strchr(line, ' ');
	int e = 0;

	if (arg)
		*arg++ = '\0';
	if (!strcmp(line, "stats"))
		return print_stats();
	if (!strcmp(line, "counters")) {
		if (print_counters())
			printf("{\"error\": \"no counters\"}\n");
		return;
	}
	if (!strcmp(line, "mode"))
		set_mode(mode_of(arg));
	else if (!strcmp(line, "attach"))
		e = paste_attach(workers[0].p.fd, arg);
	else if (!strcmp(line, "detach"))
		e = paste_detach(workers[0].p.fd, arg);
	else if (!strcmp(line, "quit"))
		return set_mode(QUIT);
	else
		e = -EINVAL;
	if (e)
		printf("{\"error\": \"%s\"}\n", strerrorname_np(-e));
	else
		printf("{\"ok\": true}\n");
}

/* Lines come from the main thread through a pipe to the first worker: so they are
 * obeyed between two rounds of its loop. */
static int line_pipe[2];

static void obey(struct worker *w)
{
	static char text[4096];
	static size_t n;
	eventfd_t value;
	char *end;
	ssize_t r;

	eventfd_read(w->kick, &value);
	if (w->id)
		return;
	while ((r = read(line_pipe[0], text + n, sizeof(text) - n)) > 0) {
		n += (size_t)r;
		while ((end = memchr(text, '\n', n))) {
			*end++ = '\0';
			command(text);
			n -= (size_t)(end - text);
			memmove(text, end, n);
		}
	}
}

static void *read_lines(void *arg)
{
	char data[1024];
	ssize_t n;

	(void)arg;
	while ((n = read(0, data, sizeof(data))) > 0) {
		if (write(line_pipe[1], data, (size_t)n) != n)
			break;
		eventfd_write(workers[0].kick, 1);
	}
	return NULL;
}

/* ------------------------------------------------------------ start and end */

/* The first worker makes the port, in the memory asked for. */
static void open_port(struct worker *w, const struct nmreq_register *want)
{
	struct nmreq_opt_extmem ext = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM,
		.nro_info.nr_memsize = (uint64_t)o.megabytes << 20,
	};
	bool supplied = o.memory && !w->id;

	if (supplied)
		ext.nro_usrptr = (uintptr_t)supply(o.memory, ext.nro_info.nr_memsize);
	if (port_open_with(&w->p, o.port, want, supplied ? &ext : NULL))
		err(1, "%s", o.port);
}

static void worker_open(struct worker *w)
{
	struct nmreq_register want = {
		.nr_tx_slots = o.tx_slots, .nr_rx_slots = o.rx_slots,
		.nr_tx_rings = (uint16_t)o.threads, .nr_rx_rings = (uint16_t)o.threads,
		.nr_extra_bufs = o.extra + 1,
		.nr_flags = o.exclusive ? NR_EXCLUSIVE : 0,
	};
	uint32_t bufs, b;

	if (o.threads > 1) {
		want.nr_mode = NR_REG_ONE_NIC;
		want.nr_ringid = (uint16_t)w->id;
	}
	open_port(w, &want);
	bufs = (uint32_t)(w->p.reg.nr_memsize / w->p.tx->nr_buf_size);
	if (!lent) {
		lent = calloc(bufs, sizeof(*lent));
		notes = calloc(bufs, sizeof(*notes));
	}
	w->spare = calloc(bufs, sizeof(*w->spare));
	w->closing = calloc(FDS_MAX, sizeof(int));
	w->random = 2463534242u + w->id;
	w->epoll = -1;
	while ((b = paste_buf_pop(w->p.nifp, w->p.rx)))
		w->spare[w->nspare++] = b;
	if (!w->nspare)
		errx(1, "no buffer of our own");
	w->value = w->spare[--w->nspare];
	lent[w->value] = true;
	for (int i = 0; i < VALUE_SIZE; i++)
		NETMAP_BUF(w->p.tx, w->value)[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[i % 36];
	w->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->listener = o.listen ? listen_on((uint16_t)o.listen) : -1;
}

/* In order: connections closed, buffers given back. */
static void worker_end(struct worker *w)
{
	for (int fd = 0; fd <= w->max_fd; fd++)
		while (conns[fd].open && conns[fd].worker == w->id && conns[fd].held_first)
			w->spare[w->nspare++] = unhold(w, &conns[fd]);
	while (w->kept_n)
		drop_oldest_kept(w);
	w->spare[w->nspare++] = w->value;
	while (w->nspare)
		paste_buf_push(w->p.nifp, w->p.rx, w->spare[--w->nspare]);
}

static const struct option long_options[] = {
	{ "port", 1, NULL, 'p' }, { "attach", 1, NULL, 'a' }, { "listen", 1, NULL, 'l' },
	{ "tx-slots", 1, NULL, 't' }, { "rx-slots", 1, NULL, 'r' }, { "extra", 1, NULL, 'e' },
	{ "threads", 1, NULL, 'n' }, { "wait", 1, NULL, 'w' }, { "busy", 0, NULL, 'b' },
	{ "mode", 1, NULL, 'm' }, { "register-after", 1, NULL, 'g' }, { "exclusive", 0, NULL, 'x' },
	{ "memory", 1, NULL, 'M' }, { "memory-size", 1, NULL, 'S' },
	{ NULL, 0, NULL, 0 },
};

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		const char *value = optarg ? optarg : "";
		uint32_t n = (uint32_t)strtoul(value, NULL, 0);

		switch (c) {
		case 'p': o.port = optarg; break;
		case 'a': o.attach = optarg; break;
		case 'l': o.listen = n; break;
		case 't': o.tx_slots = n; break;
		case 'r': o.rx_slots = n; break;
		case 'e': o.extra = n; break;
		case 'n': o.threads = n; break;
		case 'w': o.wait = optarg; break;
		case 'b': o.busy = true; break;
		case 'm': mode = mode_of(value); break;
		case 'g': o.register_after = n; break;
		case 'x': o.exclusive = true; break;
		case 'M': o.memory = optarg; break;
		case 'S': o.megabytes = n; break;
		default: exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct rlimit files = { FDS_MAX, FDS_MAX };
	pthread_t reader;
	int e;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(argc, argv);
	crc_init();
	setrlimit(RLIMIT_NOFILE, &files);
	if (pipe2(line_pipe, O_NONBLOCK | O_CLOEXEC))
		err(1, "pipe");
	workers = calloc(o.threads, sizeof(*workers));
	for (uint32_t i = 0; i < o.threads; i++) {
		workers[i].id = i;
		worker_open(&workers[i]);
	}
	e = o.attach ? paste_attach(workers[0].p.fd, o.attach) : 0;
	if (e)
		errx(1, "cannot attach %s: %s", o.attach, strerror(-e));
	printf("{\"pid\": %d, \"tx_slots\": %u, \"rx_slots\": %u, \"rings\": %u, \"extra\": %u, \"mem_id\": %u}\n",
	       getpid(), workers[0].p.reg.nr_tx_slots, workers[0].p.reg.nr_rx_slots,
	       workers[0].p.reg.nr_tx_rings, workers[0].p.reg.nr_extra_bufs, workers[0].p.reg.nr_mem_id);

	for (uint32_t i = 0; i < o.threads; i++)
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	pthread_create(&reader, NULL, read_lines, NULL);
	for (uint32_t i = 0; i < o.threads; i++)
		pthread_join(workers[i].thread, NULL);
	for (uint32_t i = 0; i < o.threads; i++)
		worker_end(&workers[i]);
	print_stats();
	fflush(stdout);
	/* everything else goes with the process */
	_exit(0);
}
