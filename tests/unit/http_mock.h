/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * http_mock.h - the HTTP layer of phttpd against a back end that exists only here
 *
 * The mock keeps the contract of backend.h and checks that the HTTP layer keeps it: room is
 * asked for only when it may be, input is taken only by a connection that is not stalled, holds are
 * dropped. Pieces are allocated to the byte, so that the address sanitizer sees each access
 * beyond one. Random tests print nothing and are repeatable: seeds are constants.
 */
#ifndef HTTP_MOCK_H
#define HTTP_MOCK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <paste_region.h>

#include "http.h"
#include "store.h"

#define N(array)	(sizeof(array) / sizeof((array)[0]))
#define TEST(f)		cmocka_unit_test_setup_teardown(f, setup, teardown)

#define GET	"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

struct buf {
	int refs;
	char data[];
};

struct http_mock {
	struct http http;
	struct http_config cfg;
	struct paste_region *region;
	struct store *store;	/* NULL: none */
	struct http_conn c;
	char *out;		/* everything sent */
	size_t out_len, out_room;
	char *lent;		/* what room() gave, exactly as large as it said */
	size_t lent_len;
	size_t room;		/* how large that is */
	bool congested;		/* commit() or send() returned false */
	unsigned congest;	/* they do so once in this many calls, 0: never */
	unsigned stalls;	/* how often they did */
	int held;		/* hold() minus drop() */
	int hold_max;		/* hold() refuses from here on */
	unsigned sends;		/* references sent */
	uint32_t seed;
};

extern struct http_mock m;

/* A server with defaults; tests change m.* and call conn_begin(). */
int setup(void **state);
int teardown(void **state);

/* Begin a connection; what was sent before is forgotten. */
void conn_begin(void);
void conn_end(void);

/* Begin with another configuration, or with what is in m.cfg and m.store. */
void reconfigure(uint64_t max_body, uint64_t reply_size);
void restart(void);

uint32_t rnd(void);

/* Let a stalled connection go on until it stalls no more. */
void drain(void);

/* One piece arrives. Returns what was not consumed because the connection is stalled. */
size_t offer(const char *data, size_t len);

/* The same, and the rest again and again, as a reader that catches up makes it possible. */
void feed(const char *data, size_t len);
void feed_text(const char *text);

/*
 * Reading the answers.
 */

struct answer {
	int status;
	const char *head;	/* from the status line to the empty line */
	size_t head_len;
	const char *body;
	size_t body_len;
};

extern size_t answers_at;	/* where in m.out next_answer() goes on */

/* Take the next answer from the output; with @no_body, one to HEAD. */
struct answer next_answer(bool no_body);
struct answer first_answer(void);
void no_more_answers(void);

/* The one answer to @request, which ends the connection if @ends. */
struct answer ask(const char *request, int status, enum http_end ends);

bool says(const struct answer *a, const char *what);

#endif
