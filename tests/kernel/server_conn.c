// SPDX-License-Identifier: BSD-2-Clause
/* Connections of the server: accepted, closed, and slots for what they send. */
#include <err.h>
#include "server.h"

/* The buffer of the next TX slot; a slot that came back with a buffer that is lent
 * gets a spare one.  NULL: no room. */
struct netmap_slot *tx_slot(struct worker *w)
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

void push(struct worker *w, int fd, uint32_t buf, uint16_t offset, uint16_t len, uint16_t flags)
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

int listen_on(uint16_t port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int one = 1, zero = 0, s = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, (int)o.protocol);

	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) ||
	    (o.threads > 1 && setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one))) ||
	    bind(s, (struct sockaddr *)&any, sizeof(any)) || listen(s, 4096))
		err(1, "port %u", port);
	return s;
}

void listen_by_slots(struct worker *w)
{
	int one = 1;

	setsockopt(w->listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (port_register(&w->p, w->listener))
		err(1, "the listener cannot be registered");
	w->listener = -1;
}

/* Connections go on. */
int unlisten(struct worker *w)
{
	int s = w->listening;

	w->listener = w->listening = -1;
	return close(s) ? -errno : 0;
}

/* With several threads they share the port number, and the kernel spreads the peers. */
void open_udp(struct worker *w, uint16_t port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int one = 1, zero = 0, s = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0 || s >= FDS_MAX ||
	    setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) ||
	    setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    bind(s, (struct sockaddr *)&any, sizeof(any)) || port_register(&w->p, s))
		err(1, "UDP port %u", port);
	conns[s] = (struct conn){ .open = true, .datagrams = true, .worker = w->id };
	if (s > w->max_fd)
		w->max_fd = s;
}

/* @fd is registered. */
void conn_begin(struct worker *w, int fd)
{
	conns[fd] = (struct conn) {
		.open = true, .worker = w->id, .random = 88172645463325252ull + (uint64_t)fd,
	};
	if (fd > w->max_fd)
		w->max_fd = fd;
	w->st.accepted++;
	w->st.conns++;
}

void accept_all(struct worker *w)
{
	int s, one = 1;

	while ((s = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (o.register_after)
			usleep(o.register_after * 1000);
		setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		errno = EMFILE;		/* a number there is no room for */
		if (s >= FDS_MAX || conns[s].open || port_register(&w->p, s)) {
			w->st.register_errors++;
			if (errno != ENOTCONN)	/* the peer was gone before */
				warn("connection %d is not registered", s);
			close(s);
			continue;
		}
		conn_begin(w, s);
	}
}

/* Takes the oldest received buffer out of a connection's queue. */
uint32_t unhold(struct worker *w, struct conn *c)
{
	uint32_t buf = c->held_first;

	c->held_first = notes[buf].next;
	w->held--;
	return buf;
}

/* From now on the number may come back as another connection: nothing of the old
 * one may stay in what we still have to look at. */
static void forget_conn(struct worker *w, int fd)
{
	struct netmap_ring *rx = w->p.rx;

	for (uint32_t i = rx->head; i != rx->tail; i = nm_ring_next(rx, i))
		if (rx->slot[i].fd == fd)
			rx->slot[i].fd = -1;
	while (conns[fd].held_first)
		w->spare[w->nspare++] = unhold(w, &conns[fd]);
	conns[fd].open = false;
	w->st.conns--;
}

static void close_conn(struct worker *w, int fd)
{
	struct netmap_ring *tx = w->p.tx;

	forget_conn(w, fd);
	for (uint32_t i = nm_ring_next(tx, tx->tail); i != tx->head; i = nm_ring_next(tx, i))
		if (tx->slot[i].fd == fd)
			tx->slot[i].fd = -1;
	close(fd);
}

/*
 * False: not yet.  The last of its slots to come back is that one, and the number may be another
 * connection's before it does.
 */
static bool close_by_slot(struct worker *w, int fd)
{
	struct netmap_slot *slot = conns[fd].in_ring ? NULL : tx_slot(w);

	if (!slot)
		return false;
	push(w, fd, slot->buf_idx, 0, 0, NS_PST_CLOSE);
	w->closed_in[fd]++;
	forget_conn(w, fd);
	return true;
}

static void close_later(struct worker *w, int fd)
{
	if (!conns[fd].closing)
		w->closing[w->nclosing++] = fd;
	conns[fd].closing = true;
}

void on_event(struct worker *w, const struct netmap_slot *slot)
{
	struct conn *c = &conns[slot->fd];

	w->st.events++;
	if (slot->err == EAGAIN) {
		c->congested = !(slot->flags & NS_PST_CLEAR);
		w->st.congested += c->congested;
		return;
	}
	if (w->nends < ENDS_MAX)
		w->ends[w->nends++] = slot->err;
	if (slot->err) {
		w->st.errors++;
		if (c->datagrams)
			return;
		if (!o.registered)
			return close_conn(w, slot->fd);
		c->failed = true;
		return close_later(w, slot->fd);
	}
	w->st.eos++;
	c->eos = true;
	close_later(w, slot->fd);
}

/* Closes connections that have nothing to say any more. */
void close_ended(struct worker *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->nclosing; i++) {
		int fd = w->closing[i];
		struct conn *c = &conns[fd];
		char text[64];

		if (c->open && c->failed && !close_by_slot(w, fd))
			goto later;
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
			if (o.registered && !close_by_slot(w, fd))
				goto later;
			if (c->open && !c->shut) {
				struct netmap_slot *slot = tx_slot(w);

				if (!slot)
					goto later;
				push(w, fd, slot->buf_idx, 0, 0, NS_PST_SHUT);
				c->shut = true;
			}
			if (c->open && (c->in_ring || c->congested))
				goto later;
			if (c->open)
				close_conn(w, fd);
		}
		c->closing = false;
		continue;
later:
		w->closing[n++] = fd;
	}
	w->nclosing = n;
}
