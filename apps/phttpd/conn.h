/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn.h - what the socket back ends share: buffers, output queues, time-outs
 *
 * Buffers. A thread has a pool of counted buffers of BUF_SIZE bytes, allocated as needed up to
 * BUF_MAX, for receiving and for sending. Whoever keeps bytes keeps a count on their buffer.
 *
 * Output. The answers of all connections of a round are written one behind the other into
 * the thread's current output buffer (as the kernel does with its page fragments), so a round
 * of small answers touches few cache lines and allocates nothing. Each connection has a short
 * queue of references into such buffers, or into those that the HTTP layer holds:
 *
 *	output buffer  [ A A A | B B | A | C C C C |      free      ]
 *	connection A     ^seg 0        ^seg 1              (next: the current output buffer)
 *
 * A connection that does not drain keeps its buffers, at most CONN_OUT_MAX + BUF_SIZE bytes in
 * CONN_SEGS segments, and is not read from. When half of the pool is in use a connection gets
 * room only if its queue is empty. If the pool runs dry nevertheless, those who need a buffer wait,
 * and of those who keep some, the one that has made no progress for longest is closed
 * ("starved") if that is CONN_PATIENCE or more.
 */
#ifndef PHTTPD_CONN_H
#define PHTTPD_CONN_H

#include <sys/uio.h>

#include "space.h"
#include "worker.h"

#define BUF_SIZE	65536		/* bytes of data in a buffer */
#define BUF_MAX		1024		/* buffers of a thread */
#define CONN_OUT_MAX	(256 << 10)	/* bytes queued that make a connection congested */
#define CONN_SEGS	16		/* entries of its queue; a power of two */
#define CONN_PATIENCE	3		/* seconds without progress until buffers may be taken */
#define CONN_LINGER	2		/* seconds a lingering connection may take to end */

struct buf {
	uint32_t refs;		/* counts; 0: on the free list */
	struct buf *next;	/* on the free list */
	_Alignas(64) char data[BUF_SIZE];
};

struct conn {
	struct http_conn http;
	struct conns *set;		/* of the thread */

	struct conn_list *list;		/* the list it is on: idle or linger */
	struct conn *prev, *next;	/* there; NULL at the ends */
	uint32_t stamp;			/* worker's @now when it last made progress */

	unsigned stashed;		/* pieces of input kept by the back end, for want of room */
	bool dirty;			/* on the dirty list */
	struct conn *dirty_next;
	uint32_t out_bytes;		/* bytes in the queue */
	uint32_t seg_first;		/* index of its first entry, free running */
	uint32_t seg_count;		/* entries in use */
	struct piece seg[CONN_SEGS];	/* ring of references; each has a count on its buffer */
};

/* Connections in the order of their last progress: the first is the oldest. */
struct conn_list {
	struct conn *first, *last;
};

/* The connections and buffers of a thread. */
struct conns {
	struct worker *w;
	struct space *region;		/* buffers of the store, or NULL */
	struct conn_list idle;		/* all that are open */
	struct conn_list linger;	/* those whose end is near */
	struct conn *dirty;		/* those with output of this round, in order */
	struct conn **dirty_tail;
	struct buf *out;		/* current output buffer, one count is ours */
	uint32_t out_used;		/* bytes written there */
	struct buf *free;
	unsigned allocated;		/* buffers that exist */
	unsigned used;			/* of these, not on the free list */
	bool starved;			/* somebody asked for a buffer in vain */
};

/* Returns 0 or -errno. */
int conns_init(struct conns *set, struct worker *w);
void conns_destroy(struct conns *set);

/* A buffer with one count, or NULL; an additional count; one count less, also of the region's. */
struct buf *buf_get(struct conns *set);
static inline struct buf *buf_hold(struct conns *set, struct buf *b)
{
	if (buf_in_region(b))
		space_hold(set->region, buf_region_index(b));
	else
		b->refs++;
	return b;
}
void buf_put(struct conns *set, struct buf *b);

/*
 * A connection begins (its memory is the back end's), made progress, is to end soon, ended. The
 * output queue stays after conn_close(), since the kernel may still read from it; conn_discard()
 * empties it.
 */
void conn_open(struct conn *c, struct conns *set);
void conn_touch(struct conn *c);
void conn_linger(struct conn *c);
void conn_close(struct conn *c);
void conn_discard(struct conn *c);

/* Get a new output buffer. */
bool conns_renew(struct conns *set);

/* May the HTTP layer produce output for it, as backend.h promises? */
static inline bool conn_ready(struct conn *c)
{
	struct conns *set = c->set;

	if (c->seg_count) {
		if (c->seg_count == CONN_SEGS || c->out_bytes >= CONN_OUT_MAX ||
		    set->used >= BUF_MAX / 2)
			return false;
	}
	return (set->out && BUF_SIZE - set->out_used >= HTTP_ROOM) || conns_renew(set);
}

/* Take the next connection with new output off the dirty list; NULL: none. */
struct conn *conns_dirty(struct conns *set);
void conn_set_dirty(struct conn *c);

/* The head of the queue as an I/O vector; returns the entries used. */
int conn_iov(const struct conn *c, struct iovec *iov, int max);

/* @len bytes of the queue were sent. */
void conn_sent(struct conn *c, size_t len);

/* Any connection that is not closed yet, or NULL: for whoever closes all. */
struct conn *conns_any(const struct conns *set);

/*
 * The next connection whose time is over, or NULL; the caller closes it. conns_victim() is the
 * one to close when buffers have run out, or NULL.
 */
struct conn *conns_expired(struct conns *set);
struct conn *conns_victim(struct conns *set);

/* Verbs of struct backend. */
char *conn_room(struct http_conn *hc, size_t *avail);
bool conn_commit(struct http_conn *hc, size_t len);
bool conn_send(struct http_conn *hc, const struct piece *p);
bool conn_hold(struct http *h, struct buf *b);
void conn_drop(struct http *h, struct buf *b);

#endif /* PHTTPD_CONN_H */
