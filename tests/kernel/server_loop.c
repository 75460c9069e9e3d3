// SPDX-License-Identifier: BSD-2-Clause
/* The loop of a worker of the server. */
#include <err.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include "server.h"

/* Counts what the kernel refused among the slots that have come back. */
static void look_at_sent(struct worker *w)
{
	struct netmap_ring *tx = w->p.tx;
	uint32_t end = nm_ring_next(tx, tx->tail);

	for (; w->tx_done != end; w->tx_done = nm_ring_next(tx, w->tx_done)) {
		struct netmap_slot *slot = &tx->slot[w->tx_done];

		if (slot->fd >= 0 && w->closed_in[slot->fd])
			w->closed_in[slot->fd]--;
		else if (slot->fd >= 0 && conns[slot->fd].open)
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
		if (slot->fd < FDS_MAX && slot->flags & NS_PST_ACCEPT)
			conn_begin(w, slot->fd);
		if (slot->fd >= FDS_MAX || !conns[slot->fd].open) {
			w->st.bad_fd++;
			continue;
		}
		if (slot->flags & NS_PST_ACCEPT)
			continue;
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
	if (!block)
		ioctl(w->p.fd, NIOCRXSYNC);
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

void *work(void *arg)
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
