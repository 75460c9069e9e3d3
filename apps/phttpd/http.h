/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * http.h - HTTP/1.1 over pieces: what a back end calls, and the state of a connection
 *
 * No system calls here, no clock, no sockets: input comes through http_input(), output goes
 * through the verbs of struct backend, time through http_tick(). See backend.h for the contract
 * and http.c for the rules of the protocol that are implemented.
 */
#ifndef PHTTPD_HTTP_H
#define PHTTPD_HTTP_H

#include <time.h>
#include <llhttp.h>

#include "app.h"
#include "backend.h"

#define HTTP_HEAD_MAX	8192	/* bytes of request line and headers, else 431 */
#define HTTP_TARGET_MAX	4096	/* bytes of request target, else 414: a key of 1024, encoded */
#define HTTP_DATE_LEN	29	/* bytes of "Sun, 06 Nov 1994 08:49:37 GMT" */

struct app_kv;
struct store;

enum store_mode {
	STORE_NONE,		/* what is posted is forgotten */
	STORE_WAL,		/* it is logged */
	STORE_BTREE		/* as well, and there are values by key */
};

/* What the command line decides; shared by all threads, constant. */
struct http_config {
	enum store_mode store;
	bool copy;		/* values are copied out of the store as well as into it */
	uint64_t max_body;	/* bytes of a request's body, else 413 */
	uint64_t reply_size;	/* bytes of body in the answer to GET / */
};

/* Counters of a thread, free running, written by that thread alone. */
struct http_stats {
	uint64_t connections;	/* accepted and served */
	uint64_t refused;	/* accepted and closed at once: --max-connections, no memory */
	uint64_t requests;	/* answered, errors included */
	uint64_t errors;	/* of these, answered with a status of 400 and up */
	uint64_t bytes_in;	/* consumed */
	uint64_t bytes_out;	/* produced for sending */
	uint64_t batches;	/* rounds of the loop in which at least one answer was begun */
	uint64_t timeouts;	/* connections closed because nothing happened in them */
	uint64_t resets;	/* connections that ended with an error of the transport */
	uint64_t starved;	/* connections closed to get buffers back, see backend_*.c */
	uint64_t stored;	/* these five are the store's: see struct store_stats */
	uint64_t copied;
	uint64_t commits;
	uint64_t full;
	uint64_t damaged;
};

/* Does the connection go on after an answer, and must the client be told? */
enum http_persist {
	HTTP_PERSIST,		/* HTTP/1.1: goes without saying */
	HTTP_PERSIST_10,	/* HTTP/1.0 that asked for it: "Connection: keep-alive" */
	HTTP_NO_PERSIST,	/* "Connection: close" */
	HTTP_PERSIST_KINDS
};

/* A finished answer, of which only the date changes. */
struct http_canned {
	uint16_t head_len;	/* bytes of status line and headers, with the empty line */
	uint16_t len;		/* bytes of @text: with the body if it is short, else head_len */
	uint64_t body_len;	/* bytes of body, whether in @text or not */
	char text[HTTP_ROOM];
};

/* HTTP state of a thread. */
struct http {
	const struct http_config *cfg;
	const struct backend *be;
	struct store *store;	/* NULL: none */
	struct app_kv *idle_kv;	/* app_kv.c: not in use */
	size_t listed;		/* app_kv.c: bytes that listings hold */
	struct http_stats stats;
	uint64_t batch_mark;	/* stats.requests at the last http_batch() */
	char date[HTTP_DATE_LEN + 1];				/* now, for the Date header */
	struct http_canned get[HTTP_PERSIST_KINDS];		/* answers to GET / */
	struct http_canned post[HTTP_PERSIST_KINDS];		/* answers to POST */
};

/* What the back end is to do with the connection, when all output has been sent. */
enum http_end {
	HTTP_OPEN = 0,		/* keep it */
	HTTP_CLOSE,		/* close it */
	HTTP_LINGER		/* shut down sending; close at the end of input or after a while:
				 * closing with input unread resets, and a reset can overtake and
				 * destroy the answer */
};

/* Headers that matter here; the parser itself knows Connection, Content-Length, Upgrade. */
enum http_header {
	HTTP_H_OTHER,
	HTTP_H_HOST,
	HTTP_H_EXPECT,
	HTTP_H_TRANSFER_ENCODING
};

struct http_conn {
	struct http *http;	/* state of the thread that serves the connection */

	/* For the back end: read after each call into this layer. */
	enum http_end end;
	bool stalled;		/* congested: takes no input until http_resume() */
	bool progress;		/* a head or part of a body arrived: not idle. Cleared outside */

	/* The request being read. */
	llhttp_t parser;
	const struct piece *piece;	/* being parsed, NULL outside of http_input() */
	uintptr_t mark;		/* address from which @seen counts; maybe before the piece */
	uint32_t seen;		/* bytes since the target began or since the last body byte: what
				 * a client can make us read without getting anywhere */
	uint64_t body_len;	/* body bytes so far */
	uint16_t status;	/* the error to answer at the end of the request, 0: none */
	bool in_head;		/* target seen, end of headers not yet */
	bool in_body;		/* end of headers seen, end of message not yet */
	bool paused;		/* the parser has to be resumed */
	bool unread;		/* bytes behind the last request were not consumed */
	bool replying;		/* an answer is begun and not complete */
	enum http_persist persist;

	/* The header line being read: name and value may be cut anywhere. */
	bool in_name;		/* the name, not yet the value */
	uint8_t header;		/* enum http_header, valid in the value */
	uint8_t hosts;		/* Host lines seen */
	uint8_t encodings;	/* Transfer-Encoding lines seen */
	bool expect;		/* Expect: 100-continue */
	uint8_t value_seen;	/* bytes of the value so far, saturating */
	uint8_t value_len;	/* of these, up to the last that is no blank */
	uint32_t name_len;	/* bytes of the name so far */
	const char *name;	/* in the piece, or its first bytes in @name_copy if it was cut */
	char name_copy[20];
	char value_copy[20];	/* first bytes of the value, if it matters */

	struct app_conn app;	/* what the request means */

	uint16_t target_len;
	const char *target;	/* in the piece, or in @target_copy if the head was cut */
	char target_copy[HTTP_TARGET_MAX];	/* last: not cleared for a new connection */
};

/*
 * Prepare a thread's state; http_tick() must follow before the first request.
 * @store: what keeps things, NULL with STORE_NONE; it stays the caller's
 */
void http_init(struct http *h, const struct http_config *cfg, const struct backend *be,
	       struct store *store);

/* Free what the thread's state has collected; its connections are closed. */
void http_exit(struct http *h);

/* It is @now: call about once a second. */
void http_tick(struct http *h, time_t now);

/* A connection begins. */
void http_open(struct http_conn *c, struct http *h);

/*
 * Bytes arrived. Returns how many were consumed: less than @p->len only if the connection is
 * stalled now; the rest is to be offered again after http_resume(). Bytes that arrive after the
 * HTTP layer decided to end the connection are consumed and forgotten.
 */
size_t http_input(struct http_conn *c, const struct piece *p);

/* Room again: continue a stalled connection. It may stall once more. */
void http_resume(struct http_conn *c);

/* No more input will come; all that came was consumed. */
void http_eof(struct http_conn *c);

/* The connection is gone: give back what it holds. */
void http_close(struct http_conn *c);

/* The answers produced since the last call are about to leave. Before none of them may. */
void http_batch(struct http *h);

/*
 * For app.c: begin an answer, with its status line and headers (and a canned answer's body, as far
 * as it fits). The body follows through http_room(), http_commit() and http_send(), which
 * app_more() may call while the connection is not stalled.
 */
void http_reply(struct http_conn *c, int status, const char *type, uint64_t body_len);
void http_reply_canned(struct http_conn *c, const struct http_canned *r);

/* Answer with an error, body and all. */
void http_reply_error(struct http_conn *c, int status);

static inline char *http_room(struct http_conn *c, size_t *avail)
{
	return c->http->be->room(c, avail);
}

static inline void http_commit(struct http_conn *c, size_t len)
{
	c->http->stats.bytes_out += len;
	c->stalled = !c->http->be->commit(c, len);
}

static inline void http_send(struct http_conn *c, const struct piece *p)
{
	c->http->stats.bytes_out += p->len;
	c->stalled = !c->http->be->send(c, p);
}

static inline bool http_is_head(const struct http_conn *c)
{
	return c->parser.method == HTTP_HEAD;
}

#endif /* PHTTPD_HTTP_H */
