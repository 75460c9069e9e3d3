/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * backend.h - the contract between a back end and the HTTP layer
 *
 * A back end (backend_epoll.c, backend_uring.c, backend_paste.c) moves bytes; the HTTP layer
 * (http.c) gives them a meaning. One thread runs one loop of one back end:
 *
 *	wait        for input, for room, for a tick of the timer, for the end
 *	input       for each run of bytes that came, in order: http_input(conn, piece)
 *	resume      for each connection that was congested and has room again: http_resume(conn)
 *	commit      http_batch(), if replies were produced
 *	send        all replies of all connections together
 *
 * A back end may do the last two for a part of a round, and go on with its input.
 *
 * Input comes as pieces. A piece is a part of one connection's byte stream where the back end
 * found it: in a packet's buffer, in a receive buffer. Pieces of a connection arrive in order
 * and are not joined together, so a request may be cut at any byte. A piece is valid until
 * http_input() returns; whoever wants (part of) it longer holds its buffer.
 *
 * Output leaves in one of two forms, which may alternate within a reply:
 *
 *	bytes       room() lends memory that will be sent, commit() says how much was written
 *	references  send() queues bytes that lie in a buffer already
 *
 * Both return true as long as the connection may go on producing. After false ("congested")
 * the HTTP layer stops: it asks for no room, takes no input, and waits for http_resume(). The
 * back end in turn calls http_input() and http_resume() only when at least HTTP_ROOM bytes of
 * room, or one reference, would be granted. So output is bounded without anybody asking "is
 * there space" in the middle of a reply, and a full ring or a slow reader stops the parser
 * at a message boundary instead of growing a queue.
 *
 * Buffers are counted. The back end owns one count while it fills or reads a buffer; hold() adds
 * one for the caller, send() one for the queue until the bytes are gone (for TCP: acknowledged,
 * where the buffer itself is handed to the stack; copied, where it is not), drop() takes
 * the caller's away. A caller may drop right after send(). hold() can say no: buffers
 * are finite, and input stops when they are all kept. The caller then copies, or gives up.
 *
 * With a store there are also the buffers of its region, which have names instead of addresses
 * (buf_of_region()). The HTTP layer sends from them under a count that it has by other means; the
 * queue's count is the back end's doing, as ever.
 *
 * Nothing that was produced leaves before http_batch() has returned: with a store it is what makes
 * the answers true.
 */
#ifndef PHTTPD_BACKEND_H
#define PHTTPD_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that a back end grants at least, in one run, when it lets the HTTP layer produce. */
#define HTTP_ROOM	512

struct http;
struct http_conn;
struct worker;

/* A buffer of the back end's; what it is only the back end knows. */
struct buf;

/* Number @idx of the region: an odd value, which no address of a buffer is. */
static inline struct buf *buf_of_region(uint32_t idx)
{
	return (struct buf *)(2 * (uintptr_t)idx + 1);
}

static inline bool buf_in_region(const struct buf *b)
{
	return (uintptr_t)b & 1;
}

static inline uint32_t buf_region_index(const struct buf *b)
{
	return (uintptr_t)b >> 1;
}

struct piece {
	char *data;		/* first byte; not terminated */
	uint32_t len;		/* bytes; input pieces are never empty */
	struct buf *buf;	/* buffer in which they lie, for hold(), send() and drop() */
};

struct backend {
	const char *name;	/* as in --backend */

	/*
	 * Serve until worker_stopping(). Called once, in the thread that serves. Returns 0 after an
	 * orderly stop, else something negative after having said on stderr what failed.
	 */
	int (*serve)(struct worker *w);

	/* Memory for output, at least HTTP_ROOM bytes; *avail says how many. Cannot fail. */
	char *(*room)(struct http_conn *c, size_t *avail);

	/* The first @len bytes of what room() gave are output. False: congested. */
	bool (*commit)(struct http_conn *c, size_t len);

	/* The bytes of @p, in a buffer that the caller holds, are output. False: congested. */
	bool (*send)(struct http_conn *c, const struct piece *p);

	/* Keep a buffer beyond http_input(). False: no more buffers can be kept now. */
	bool (*hold)(struct http *h, struct buf *b);

	/* Let go of a buffer that hold() granted. */
	void (*drop)(struct http *h, struct buf *b);
};

extern const struct backend backend_epoll;
extern const struct backend backend_uring;
extern const struct backend backend_paste;

#endif /* PHTTPD_BACKEND_H */
