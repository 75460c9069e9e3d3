// SPDX-License-Identifier: BSD-2-Clause
/*
 * low: an application that holds too many buffers is told so by an event, if it has asked for
 * that, and by another one when it has given enough of them back.
 *
 * [short]
 */
#include "port.h"

#define POOL	"/sys/module/paste/parameters/pool_bufs"

static struct port p;
static int sock, peer;

static void set_pool(const char *n)
{
	int fd = open(POOL, O_WRONLY);

	t_must(fd >= 0 && write(fd, n, strlen(n)) == (ssize_t)strlen(n));
	close(fd);
}

/* The flags of an event of no socket in the slots [@from, tail), or 0. */
static uint16_t low_event(uint32_t from)
{
	for (uint32_t i = from; i != p.rx->tail; i = nm_ring_next(p.rx, i)) {
		const struct netmap_slot *s = &p.rx->slot[i];

		if (s->flags & NS_PST_EVENT) {
			t_eq(s->fd, -1);
			t_eq(s->err, ENOBUFS);
			t_eq(s->buf_idx, 0);
			return s->flags;
		}
	}
	return 0;
}

/* Each byte that arrives takes a buffer, and none is released; the event's flags, or 0. */
static uint16_t hold(void)
{
	uint16_t flags = 0;

	for (int i = 0; i < 600 && !flags; i++) {
		uint32_t from = p.rx->tail;

		if (send(peer, "x", 1, MSG_DONTWAIT) != 1)
			break;
		port_sync(&p);
		flags = low_event(from);
	}
	return flags;
}

static uint16_t release(void)
{
	uint16_t flags = 0;

	for (int i = 0; i < 20 && !flags; i++) {
		p.rx->head = p.rx->cur = p.rx->tail;
		port_sync(&p);
		flags = low_event(p.rx->head);
	}
	return flags;
}

int main(void)
{
	if (access(POOL, F_OK))
		t_skip("the module is not loaded");
	set_pool("256");
	port_make(&p, "stack:low", 1024, 0);
	set_pool("8192");
	port_pair(&p, &sock, &peer);

	t_note("who has not asked");
	t_eq(hold(), 0);
	t_true(p.rx->flags & NR_PST_LOW);
	t_eq(release(), 0);
	t_note("who has");
	p.rx->flags |= NR_PST_TELL_LOW;
	for (int i = 0; i < 3; i++) {
		t_eq(hold(), NS_PST_EVENT);
		t_eq(low_event(p.rx->tail), 0);
		t_eq(release(), NS_PST_EVENT | NS_PST_CLEAR);
	}
	close(sock);
	close(peer);
	port_close(&p);
	return t_end();
}
