// SPDX-License-Identifier: BSD-2-Clause
/*
 * Steps with rings, as an application uses them and as none should: slots taken, sent, answered,
 * extra buffers; and syncs in all ways.
 */
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include "fuzz.h"

static void keep_extra(struct handle *h, uint32_t *idx, bool swap)
{
	if (swap && h->nextra) {
		uint32_t i = h->nextra - 1, old = *idx;

		*idx = h->extra[i];
		h->extra[i] = old;
	}
}

/* A connection that the port accepted becomes one of ours, sometimes. */
static void adopt(struct rnd *r, int fd)
{
	struct sock *s = any_sock(r);

	told->accepted += sock_kind(fd) == 0;
	if (fd <= 2 || once_in(r, 3))
		return;
	sock_close(s);
	s->fd = fd;
}

void step_take(struct rnd *r)
{
	struct handle *h = bound_handle(r);
	struct netmap_ring *ring = h->rx[below(r, RINGS)];
	uint32_t n = below(r, 2) ? h->rx_slots : below(r, 20);

	if (!ring)
		ring = h->rx[0];
	if (!ring)
		return;
	GUARDED(
		volatile struct netmap_ring *v = ring;
		uint32_t head = v->head % h->rx_slots;

		for (uint32_t i = 0; i < n && head != v->tail; i++) {
			struct netmap_slot *slot = &ring->slot[head];
			uint32_t idx = slot->buf_idx;

			told->datagrams_in += !!(slot->flags & NS_PST_FROM);
			if (slot->flags & NS_PST_ACCEPT)
				adopt(r, slot->fd);
			else if (slot->flags & NS_PST_EVENT && slot->err == 0 && once_in(r, 2))
				shutdown(slot->fd, SHUT_WR);
			if (once_in(r, 3)) {
				keep_extra(h, &idx, idx > 1);
				slot->buf_idx = idx;
			}
			head = head + 1 == h->rx_slots ? 0 : head + 1;
		}
		v->head = head;
		v->cur = once_in(r, 8) ? v->tail : head;
		if (once_in(r, 16))
			v->flags ^= NR_PST_TELL_LOW;
	);
}

/* What came back of the @n slots before @head that name UDP sockets, and was not refused. */
static void count_sent(const struct handle *h, const struct netmap_ring *ring, uint32_t head,
		       uint32_t n)
{
	while (n--) {
		head = (head ? head : h->tx_slots) - 1;
		told->datagrams_out += !(ring->slot[head].flags & NS_PST_REFUSED) &&
				       sock_to(ring->slot[head].fd);
	}
}

/* A sync; have all @n slots been taken, they are looked at. */
static void sync_sent(struct rnd *r, const struct handle *h, struct netmap_ring *ring, uint32_t n)
{
	if (sync_handle(h, (int)below(r, 3), 0) < 0)
		return;
	GUARDED(
		volatile struct netmap_ring *v = ring;
		uint32_t head = v->head % h->tx_slots;

		if (v->tail == (head ? head : h->tx_slots) - 1)
			count_sent(h, ring, head, n);
	);
}

/* A UDP socket's slot mostly says where to, and now and then goes on in the next one. */
static void address_slot(struct rnd *r, const struct handle *h, struct netmap_slot *slot,
			 const struct nm_pst_addr *to)
{
	if (!once_in(r, 4) && slot->buf_idx < h->nbufs && slot->len + sizeof(*to) <= 4096) {
		slot->offset += (uint16_t)sizeof(*to);
		slot->len += (uint16_t)sizeof(*to);
		nm_pst_setaddr(h->bufs + slot->buf_idx * 4096UL, slot, to);
		slot->flags |= NS_PST_TO;
	}
	if (once_in(r, 6))
		slot->flags |= NS_PST_CONT;
}

static void fill_slot(struct rnd *r, struct handle *h, struct netmap_slot *slot, bool flagged)
{
	static const uint16_t flags[] = {
		NS_PST_SHUT,   NS_PST_CLOSE, NS_PST_PAUSE,
		NS_PST_RESUME, NS_PST_KEEP,  NS_PST_KEEP | NS_PST_SHUT,
		NS_PST_KEEP,   NS_REPORT,    NS_PST_PAUSE | NS_PST_RESUME,
		NS_PST_TO,     NS_PST_CONT,  NS_PST_TO | NS_PST_CONT,
		NS_MOREFRAG,
	};
	const struct nm_pst_addr *to;

	slot->fd = any_fd(r);
	slot->offset = (uint16_t)(once_in(r, 2) ? 0 : below(r, 200));
	slot->len = (uint16_t)(slot->offset +
			       below(r, once_in(r, 2) ? 300 : 4096 - slot->offset));
	slot->flags = flagged && once_in(r, 4) ? pick(r, flags) : 0;
	if (h->nextra && (slot->flags & NS_PST_KEEP || once_in(r, 4))) {
		if (slot->flags & NS_PST_KEEP)
			slot->buf_idx = h->extra[below(r, h->nextra)];
		else
			keep_extra(h, &slot->buf_idx, true);
	}
	to = sock_to(slot->fd);
	if (to && h->bufs)
		address_slot(r, h, slot, to);
}

/*
 * As the slot before it: of the same socket, length and peer, which may leave with it, or as the
 * next part of its datagram.
 */
static void repeat_slot(struct rnd *r, const struct handle *h, struct netmap_slot *slot,
			const struct netmap_slot *before)
{
	const struct nm_pst_addr *to = sock_to(before->fd);

	slot->fd = before->fd;
	slot->offset = before->offset;
	slot->len = before->len;
	slot->flags = 0;
	if (before->flags & NS_PST_CONT) {
		slot->flags = once_in(r, 2) ? NS_PST_CONT : 0;
	} else if (to && before->flags & NS_PST_TO && slot->buf_idx < h->nbufs &&
		   slot->offset >= sizeof(*to) && slot->offset <= 4096) {
		nm_pst_setaddr(h->bufs + slot->buf_idx * 4096UL, slot, to);
		slot->flags = NS_PST_TO;
	}
}

void step_send(struct rnd *r)
{
	struct handle *h = bound_handle(r);
	struct netmap_ring *ring = h->tx[below(r, RINGS)];
	uint32_t n = once_in(r, 4) ? h->tx_slots : below(r, 20), runs = 1 + below(r, 20), done = 0;
	bool flagged = once_in(r, 3);

	if (!ring)
		ring = h->tx[0];
	if (!ring)
		return;
	GUARDED(
		volatile struct netmap_ring *v = ring;
		struct netmap_slot *before = NULL;
		uint32_t head = v->head % h->tx_slots;

		for (uint32_t i = 0; i < n && head != v->tail; i++) {
			struct netmap_slot *slot = &ring->slot[head];

			if (before && !once_in(r, runs))
				repeat_slot(r, h, slot, before);
			else
				fill_slot(r, h, slot, flagged);
			before = slot;
			head = head + 1 == h->tx_slots ? 0 : head + 1;
			done++;
		}
		v->head = v->cur = head;
	);
	sync_sent(r, h, ring, done);
}

/* What has come goes back in the buffers it came in, as with an application that answers. */
void step_answer(struct rnd *r)
{
	struct handle *h = bound_handle(r);
	uint32_t i = below(r, RINGS), n = 0;
	struct netmap_ring *rx = h->rx[i] ? h->rx[i] : h->rx[0];
	struct netmap_ring *tx = h->tx[i] ? h->tx[i] : h->tx[0];

	if (!rx || !tx)
		return;
	GUARDED(
		volatile struct netmap_ring *vrx = rx, *vtx = tx;
		uint32_t in = vrx->head % h->rx_slots, out = vtx->head % h->tx_slots;

		while (in != vrx->tail && out != vtx->tail) {
			struct netmap_slot *from = &rx->slot[in], *to = &tx->slot[out];
			uint16_t flags = from->flags;
			uint32_t buf = from->buf_idx;

			in = in + 1 == h->rx_slots ? 0 : in + 1;
			if (flags & NS_PST_EVENT) {
				if (flags & NS_PST_ACCEPT)
					adopt(r, from->fd);
				continue;
			}
			told->datagrams_in += !!(flags & NS_PST_FROM);
			to->fd = from->fd;
			to->offset = from->offset;
			to->len = from->len;
			to->flags = (uint16_t)(NS_BUF_CHANGED |
					       (flags & NS_PST_FROM ? NS_PST_TO : 0) |
					       (flags & NS_PST_MORE ? NS_PST_CONT : 0));
			from->buf_idx = to->buf_idx;
			from->flags = NS_BUF_CHANGED;
			to->buf_idx = buf;
			out = out + 1 == h->tx_slots ? 0 : out + 1;
			n++;
		}
		vrx->head = vrx->cur = in;
		vtx->head = vtx->cur = out;
	);
	sync_sent(r, h, tx, n);
}

/* Buffers of our own: taken out of the list, put back, or a list of nonsense. */
void step_extra(struct rnd *r)
{
	struct handle *h = bound_handle(r);
	struct netmap_if *nifp = (struct netmap_if *)(h->place + h->reg.nr_offset);

	if (!h->bufs)
		return;
	GUARDED(
		if (once_in(r, 6)) {
			nifp->ni_bufs_head = once_in(r, 2) ? odd_number(r) : below(r, h->nbufs);
		} else if (once_in(r, 2)) {
			while (h->nextra < EXTRA && nifp->ni_bufs_head &&
			       nifp->ni_bufs_head < h->nbufs) {
				uint32_t b = nifp->ni_bufs_head;

				h->extra[h->nextra++] = b;
				nifp->ni_bufs_head = *(uint32_t *)(h->bufs + b * 4096UL);
			}
		} else {
			while (h->nextra) {
				uint32_t b = h->extra[--h->nextra];

				if (b >= h->nbufs)
					continue;
				*(uint32_t *)(h->bufs + b * 4096UL) = nifp->ni_bufs_head;
				nifp->ni_bufs_head = b;
			}
		}
	);
}

/* ---- syncs ---- */

/* @way 0: TXSYNC, 1: RXSYNC, else poll for at most @ms. */
int sync_handle(const struct handle *h, int way, int ms)
{
	struct pollfd pfd = { .fd = h->fd, .events = POLLIN | POLLOUT };

	if (h->fd < 0)
		return -1;
	switch (way) {
	case 0: return ioctl(h->fd, NIOCTXSYNC);
	case 1: return ioctl(h->fd, NIOCRXSYNC);
	default: return poll(&pfd, 1, ms);
	}
}

void step_sync(struct rnd *r)
{
	struct handle *h = bound_handle(r);

	for (uint32_t n = 1 + below(r, 4); n; n--)
		sync_handle(h, (int)below(r, 4), (int)below(r, 2));
}

void step_wait(struct rnd *r)
{
	struct timeval tv = { .tv_usec = below(r, 5000) };
	uint64_t events = rnd64(r) & (EPOLLIN | EPOLLOUT | EPOLLET | EPOLLONESHOT);
	struct epoll_event ev = { .events = (uint32_t)events };
	struct handle *h = bound_handle(r);
	struct pollfd all[HANDLES];
	fd_set set;

	switch (below(r, 4)) {
	case 0:
		if (h->fd < 0 || h->fd >= FD_SETSIZE)
			break;
		FD_ZERO(&set);
		FD_SET(h->fd, &set);
		select(h->fd + 1, &set, once_in(r, 2) ? &set : NULL, NULL, &tv);
		break;
	case 1:
		epoll_ctl(fz.epoll, (int)(1 + below(r, 3)), h->fd, &ev);
		epoll_wait(fz.epoll, &ev, 1, (int)below(r, 5));
		break;
	case 2:
		for (uint32_t i = 0; i < HANDLES; i++)
			all[i] = (struct pollfd){ .fd = fz.handle[i].fd,
						  .events = (short)below(r, 8) };
		poll(all, HANDLES, (int)below(r, 20));
		break;
	default:
		epoll_wait(fz.epoll, &ev, 1, (int)below(r, 5));
	}
}
