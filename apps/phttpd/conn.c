// SPDX-License-Identifier: BSD-2-Clause
/* conn.c - buffers, output queues and time-outs of the socket back ends; see conn.h */
#include <errno.h>
#include <stdlib.h>

#include "conn.h"
#include "store.h"

static struct conn *conn_of(struct http_conn *hc)
{
	return (struct conn *)((char *)hc - offsetof(struct conn, http));
}

/*
 * Buffers.
 */

struct buf *buf_get(struct conns *set)
{
	struct buf *b = set->free;

	if (b) {
		set->free = b->next;
	} else {
		if (set->allocated < BUF_MAX)
			b = aligned_alloc(_Alignof(struct buf), sizeof(*b));
		if (!b) {
			set->starved = true;
			return NULL;
		}
		set->allocated++;
	}
	set->used++;
	b->refs = 1;
	return b;
}

void buf_put(struct conns *set, struct buf *b)
{
	if (buf_in_region(b)) {
		space_drop(set->region, buf_region_index(b));
	} else if (--b->refs == 0) {
		b->next = set->free;
		set->free = b;
		set->used--;
	} else if (b == set->out && b->refs == 1) {
		set->out_used = 0;	/* nobody but us: begin again, the lines are warm */
	}
}

/* Half of the buffers are for input and output on their way, whatever the application keeps. */
bool conn_hold(struct http *h, struct buf *b)
{
	struct conns *set = worker_of(h)->private;

	if (set->used >= BUF_MAX / 2)
		return false;
	buf_hold(set, b);
	return true;
}

void conn_drop(struct http *h, struct buf *b)
{
	buf_put(worker_of(h)->private, b);
}

/*
 * Lists.
 */

static void list_add(struct conn_list *list, struct conn *c)
{
	c->list = list;
	c->next = NULL;
	c->prev = list->last;
	if (list->last)
		list->last->next = c;
	else
		list->first = c;
	list->last = c;
	c->stamp = c->set->w->now;
}

static void list_del(struct conn *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		c->list->first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	else
		c->list->last = c->prev;
}

void conn_open(struct conn *c, struct conns *set)
{
	http_open(&c->http, &set->w->http);
	c->set = set;
	c->stashed = 0;
	c->dirty = false;
	c->out_bytes = 0;
	c->seg_first = 0;
	c->seg_count = 0;
	list_add(&set->idle, c);
}

/* Once per second is enough; within a second the order does not matter. */
void conn_touch(struct conn *c)
{
	if (c->stamp == c->set->w->now || c->list != &c->set->idle)
		return;
	list_del(c);
	list_add(&c->set->idle, c);
}

void conn_linger(struct conn *c)
{
	list_del(c);
	list_add(&c->set->linger, c);
}

static void seg_drop(struct conn *c)
{
	buf_put(c->set, c->seg[c->seg_first++ % CONN_SEGS].buf);
	c->seg_count--;
}

void conn_close(struct conn *c)
{
	http_close(&c->http);
	list_del(c);
}

void conn_discard(struct conn *c)
{
	while (c->seg_count)
		seg_drop(c);
	c->out_bytes = 0;
}

struct conn *conns_any(const struct conns *set)
{
	return set->idle.first ? set->idle.first : set->linger.first;
}

struct conn *conns_expired(struct conns *set)
{
	unsigned idle = set->w->opt->idle_timeout;
	struct conn *c = set->linger.first;

	if (c && set->w->now - c->stamp > CONN_LINGER)
		return c;
	c = set->idle.first;
	if (c && idle && set->w->now - c->stamp > idle) {
		set->w->http.stats.timeouts++;
		return c;
	}
	return NULL;
}

struct conn *conns_victim(struct conns *set)
{
	for (struct conn *c = set->idle.first; c; c = c->next) {
		if (set->w->now - c->stamp < CONN_PATIENCE)
			break;
		if (c->seg_count || c->stashed || c->http.app.held) {
			set->w->http.stats.starved++;
			return c;
		}
	}
	return NULL;
}

/*
 * Output.
 */

bool conns_renew(struct conns *set)
{
	if (set->out)
		buf_put(set, set->out);
	set->out = buf_get(set);
	set->out_used = 0;
	return set->out;
}

void conn_set_dirty(struct conn *c)
{
	struct conns *set = c->set;

	if (c->dirty)
		return;
	c->dirty = true;
	c->dirty_next = NULL;
	*set->dirty_tail = c;
	set->dirty_tail = &c->dirty_next;
}

struct conn *conns_dirty(struct conns *set)
{
	struct conn *c = set->dirty;

	if (c) {
		set->dirty = c->dirty_next;
		if (!set->dirty)
			set->dirty_tail = &set->dirty;
		c->dirty = false;
	}
	return c;
}

/* Append a reference, or make the last one longer. */
static bool append(struct conn *c, char *data, size_t len, struct buf *buf)
{
	struct piece *last = &c->seg[(c->seg_first + c->seg_count - 1) % CONN_SEGS];

	if (c->seg_count && last->buf == buf && last->data + last->len == data) {
		last->len += len;
	} else {
		c->seg[(c->seg_first + c->seg_count++) % CONN_SEGS] = (struct piece) {
			.data = data,
			.len = len,
			.buf = buf_hold(c->set, buf),
		};
	}
	c->out_bytes += len;
	conn_set_dirty(c);
	return conn_ready(c);
}

char *conn_room(struct http_conn *hc, size_t *avail)
{
	struct conns *set = conn_of(hc)->set;

	*avail = BUF_SIZE - set->out_used;
	return set->out->data + set->out_used;
}

bool conn_commit(struct http_conn *hc, size_t len)
{
	struct conn *c = conn_of(hc);
	struct conns *set = c->set;
	char *data = set->out->data + set->out_used;

	set->out_used += len;
	return append(c, data, len, set->out);
}

bool conn_send(struct http_conn *hc, const struct piece *p)
{
	return append(conn_of(hc), p->data, p->len, p->buf);
}

int conn_iov(const struct conn *c, struct iovec *iov, int max)
{
	int n = 0;

	for (; n < max && (unsigned)n < c->seg_count; n++) {
		const struct piece *p = &c->seg[(c->seg_first + n) % CONN_SEGS];

		iov[n] = (struct iovec) { .iov_base = p->data, .iov_len = p->len };
	}
	return n;
}

void conn_sent(struct conn *c, size_t len)
{
	c->out_bytes -= len;
	while (len) {
		struct piece *p = &c->seg[c->seg_first % CONN_SEGS];

		if (len < p->len) {
			p->data += len;
			p->len -= len;
			break;
		}
		len -= p->len;
		seg_drop(c);
	}
	conn_touch(c);
}

int conns_init(struct conns *set, struct worker *w)
{
	*set = (struct conns) { .w = w };
	set->dirty_tail = &set->dirty;
	w->private = set;
	if (w->http.store)
		set->region = store_space(w->http.store);
	set->out = buf_get(set);
	return set->out ? 0 : -ENOMEM;
}

void conns_destroy(struct conns *set)
{
	struct buf *b;

	if (set->out)
		buf_put(set, set->out);
	while ((b = set->free)) {
		set->free = b->next;
		free(b);
	}
}
