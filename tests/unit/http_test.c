// SPDX-License-Identifier: BSD-2-Clause
/*
 * http_test.c - the HTTP layer of phttpd against a back end that exists only here
 *
 * The mock keeps the contract of backend.h and checks that the HTTP layer keeps it: room is
 * asked for only when it may be, input is taken only by a connection that is not stalled, holds are
 * dropped. Pieces are allocated to the byte, so that the address sanitizer sees each access
 * beyond one. Random tests print nothing and are repeatable: seeds are constants.
 *
 * Run by: make -C apps/phttpd check
 */
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

struct buf {
	int refs;
	char data[];
};

static struct {
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
} m;

static uint32_t rnd(void)
{
	m.seed = m.seed * 1664525 + 1013904223;
	return m.seed >> 8;
}

static void emit(const char *data, size_t len)
{
	if (m.out_len + len > m.out_room) {
		char *out = realloc(m.out, 2 * (m.out_len + len));

		assert_non_null(out);
		m.out = out;
		m.out_room = 2 * (m.out_len + len);
	}
	memcpy(m.out + m.out_len, data, len);
	m.out_len += len;
}

static bool go_on(void)
{
	if (m.congest && rnd() % m.congest == 0) {
		m.congested = true;
		m.stalls++;
	}
	return !m.congested;
}

static char *mock_room(struct http_conn *c, size_t *avail)
{
	assert_ptr_equal(c, &m.c);
	assert_false(m.congested);
	free(m.lent);
	m.lent_len = m.room;
	m.lent = malloc(m.room);
	*avail = m.room;
	return m.lent;
}

static bool mock_commit(struct http_conn *c, size_t len)
{
	assert_ptr_equal(c, &m.c);
	assert_non_null(m.lent);
	assert_true(len <= m.lent_len);
	emit(m.lent, len);
	free(m.lent);
	m.lent = NULL;
	return go_on();
}

static bool mock_send(struct http_conn *c, const struct piece *p)
{
	assert_ptr_equal(c, &m.c);
	assert_false(m.congested);
	if (buf_in_region(p->buf))
		assert_true(store_space(m.store)->refs[buf_region_index(p->buf)] > 0);
	else
		assert_true(p->buf->refs > 0);
	emit(p->data, p->len);
	m.sends++;
	return go_on();
}

static bool mock_hold(struct http *h, struct buf *b)
{
	assert_ptr_equal(h, &m.http);
	if (m.held >= m.hold_max)
		return false;
	m.held++;
	b->refs++;
	return true;
}

static void buf_put(struct buf *b)
{
	if (--b->refs == 0)
		free(b);
}

static void mock_drop(struct http *h, struct buf *b)
{
	assert_ptr_equal(h, &m.http);
	m.held--;
	buf_put(b);
}

static const struct backend mock = {
	.name = "mock",
	.room = mock_room,
	.commit = mock_commit,
	.send = mock_send,
	.hold = mock_hold,
	.drop = mock_drop,
};

/* Begin a connection; what was sent before is forgotten. */
static void begin(void)
{
	m.out_len = 0;
	m.congested = false;
	m.stalls = 0;
	m.sends = 0;
	http_open(&m.c, &m.http);
}

static void end(void)
{
	http_close(&m.c);
	assert_int_equal(m.held, 0);
}

/* A server with defaults; tests change m.* and call begin(). */
static int setup(void **state)
{
	(void)state;
	memset(&m, 0, sizeof(m));
	m.cfg = (struct http_config) { .max_body = 1 << 20, .reply_size = 64 };
	m.room = HTTP_ROOM;
	m.hold_max = 1000;
	m.seed = 1;
	http_init(&m.http, &m.cfg, &mock, m.store);
	http_tick(&m.http, 784111777);
	begin();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	end();
	http_exit(&m.http);
	store_close(m.store);
	paste_region_close(m.region);
	free(m.lent);
	free(m.out);
	return 0;
}

static void reconfigure(uint64_t max_body, uint64_t reply_size)
{
	m.cfg = (struct http_config) { .max_body = max_body, .reply_size = reply_size };
	http_init(&m.http, &m.cfg, &mock, m.store);
	http_tick(&m.http, 784111777);
	begin();
}

/* Let a stalled connection go on until it stalls no more. */
static void drain(void)
{
	while (m.congested) {
		m.congested = false;
		if (m.c.stalled)
			http_resume(&m.c);
	}
	assert_false(m.c.stalled);
}

/* One piece arrives. Returns what was not consumed because the connection is stalled. */
static size_t offer(const char *data, size_t len)
{
	struct buf *b = malloc(sizeof(*b) + len);
	struct piece p = { .data = b->data, .len = len, .buf = b };
	size_t n;

	b->refs = 1;
	memcpy(b->data, data, len);
	n = http_input(&m.c, &p);
	assert_true(n <= len);
	if (n < len)
		assert_true(m.c.stalled);
	buf_put(b);
	return len - n;
}

/* The same, and the rest again and again, as a reader that catches up makes it possible. */
static void feed(const char *data, size_t len)
{
	while (len) {
		size_t left;

		drain();
		left = offer(data, len);
		data += len - left;
		len = left;
	}
	drain();
}

static void feed_text(const char *text)
{
	feed(text, strlen(text));
}

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

static size_t answers_at;	/* where in m.out next_answer() goes on */

static const char *find(const char *in, size_t len, const char *what)
{
	return memmem(in, len, what, strlen(what));
}

static bool says(const struct answer *a, const char *what)
{
	return find(a->head, a->head_len, what);
}

/* Take the next answer from the output; with @no_body, one to HEAD. */
static struct answer next_answer(bool no_body)
{
	struct answer a = { .head = m.out + answers_at };
	size_t left = m.out_len - answers_at;
	const char *stop = find(a.head, left, "\r\n\r\n"), *length;

	assert_non_null(stop);
	a.head_len = stop + 4 - a.head;
	assert_memory_equal(a.head, "HTTP/1.1 ", 9);
	a.status = atoi(a.head + 9);
	if (a.status != 100) {
		length = find(a.head, a.head_len, "Content-Length: ");
		assert_true(!length == (a.status == 204));
		assert_true(says(&a, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
		if (!no_body && length)
			a.body_len = atoll(length + 16);
	}
	a.body = a.head + a.head_len;
	assert_true(a.head_len + a.body_len <= left);
	answers_at += a.head_len + a.body_len;
	return a;
}

static struct answer first_answer(void)
{
	answers_at = 0;
	return next_answer(false);
}

static void no_more_answers(void)
{
	assert_int_equal(answers_at, m.out_len);
}

/* The one answer to @request, which ends the connection if @ends. */
static struct answer ask(const char *request, int status, enum http_end ends)
{
	struct answer a;

	end();
	begin();
	feed_text(request);
	a = first_answer();
	if (a.status != status)
		print_error("%d instead of %d to: %s\n", a.status, status, request);
	assert_int_equal(a.status, status);
	assert_int_equal(m.c.end, ends);
	no_more_answers();
	return a;
}

/*
 * Requests that are fine.
 */

#define GET	"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void get__default_reply(void **state)
{
	struct answer a = ask(GET, 200, HTTP_OPEN);

	(void)state;
	assert_int_equal(a.body_len, 64);
	assert_int_equal(m.out_len, 156);
	assert_false(says(&a, "Connection:"));
	assert_int_equal(m.http.stats.requests, 1);
	assert_int_equal(m.http.stats.errors, 0);
	assert_int_equal(m.http.stats.bytes_in, strlen(GET));
	assert_int_equal(m.http.stats.bytes_out, 156);
}

static void get__reply_sizes(void **state)
{
	static const size_t sizes[] = { 0, 1, 59, 419, 420, 421, 512, 513, 5000, 1 << 20 };

	(void)state;
	for (size_t i = 0; i < N(sizes); i++) {
		struct answer a;

		reconfigure(0, sizes[i]);
		feed_text(GET GET);
		for (int j = 0; j < 2; j++) {
			a = j ? next_answer(false) : first_answer();
			assert_int_equal(a.status, 200);
			assert_int_equal(a.body_len, sizes[i]);
			for (size_t k = 0; k < a.body_len; k++)
				assert_int_equal(a.body[k], 'x');
		}
		no_more_answers();
	}
}

static void get__forms_of_target(void **state)
{
	(void)state;
	ask("GET /?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", 200, HTTP_OPEN);
	ask("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 200, HTTP_OPEN);
	ask("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", 200, HTTP_OPEN);
	ask("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", 404, HTTP_OPEN);
	ask("GET // HTTP/1.1\r\nHost: a\r\n\r\n", 404, HTTP_OPEN);
	ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 404, HTTP_OPEN);
}

static void head__no_body(void **state)
{
	struct answer a;

	(void)state;
	feed_text("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
		  "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n" GET);
	answers_at = 0;
	a = next_answer(true);
	assert_int_equal(a.status, 200);
	assert_true(says(&a, "Content-Length: 64\r\n"));
	assert_int_equal(next_answer(true).status, 404);
	assert_int_equal(next_answer(false).body_len, 64);
	no_more_answers();

	reconfigure(0, 1 << 20);
	feed_text("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
	answers_at = 0;
	assert_true(says(&(struct answer){ .head = m.out, .head_len = m.out_len },
			 "Content-Length: 1048576\r\n"));
	next_answer(true);
	no_more_answers();
}

static void post__body_consumed(void **state)
{
	static char body[3000];
	size_t left = 1 << 20;

	(void)state;
	assert_int_equal(ask("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
			     200, HTTP_OPEN).body_len, 64);
	ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 200, HTTP_OPEN);
	ask("POST / HTTP/1.1\r\nHost: a\r\n\r\n", 200, HTTP_OPEN);

	/* Far larger than any piece; no answer before its end. */
	begin();
	feed_text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n");
	while (left) {
		size_t n = left < sizeof(body) ? left : sizeof(body);

		assert_int_equal(m.out_len, 0);
		feed(body, n);
		left -= n;
	}
	feed_text(GET);
	assert_int_equal(first_answer().status, 200);
	assert_int_equal(next_answer(false).status, 200);
	no_more_answers();
}

static void post__chunked(void **state)
{
	(void)state;
	ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "5\r\nhello\r\n0\r\n\r\n", 200, HTTP_OPEN);
	ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n"
	    "5;name=value\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Trailer: b\r\nHost: c\r\n\r\n",
	    200, HTTP_OPEN);
	ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400,
	    HTTP_LINGER);
}

static void get__body_ignored(void **state)
{
	(void)state;
	feed_text("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" GET);
	assert_int_equal(first_answer().status, 200);
	assert_int_equal(next_answer(false).status, 200);
	no_more_answers();
}

static void upgrade__ignored(void **state)
{
	(void)state;
	feed_text("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" GET);
	assert_int_equal(first_answer().status, 200);
	assert_int_equal(next_answer(false).status, 200);
	no_more_answers();
}

/*
 * The end of connections.
 */

static void persist__close_and_keep_alive(void **state)
{
	struct answer a;

	(void)state;
	a = ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, HTTP_CLOSE);
	assert_true(says(&a, "\r\nConnection: close\r\n"));
	a = ask("GET / HTTP/1.0\r\n\r\n", 200, HTTP_CLOSE);
	assert_true(says(&a, "\r\nConnection: close\r\n"));
	a = ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, HTTP_OPEN);
	assert_true(says(&a, "\r\nConnection: keep-alive\r\n"));
	a = ask("GET /x HTTP/1.0\r\n\r\n", 404, HTTP_CLOSE);
	ask("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", 200, HTTP_CLOSE);
}

/* What follows a last request is not answered, and makes the connection linger. */
static void persist__input_after_close(void **state)
{
	(void)state;
	ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET, 200, HTTP_LINGER);
	ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, HTTP_CLOSE);
	feed_text(GET);
	assert_int_equal(m.c.end, HTTP_LINGER);
	first_answer();
	no_more_answers();
}

static void persist__end_of_input(void **state)
{
	(void)state;
	feed_text("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
	assert_int_equal(m.held, 1);
	http_eof(&m.c);
	assert_int_equal(m.c.end, HTTP_CLOSE);
	assert_int_equal(m.out_len, 0);
}

/*
 * Requests that are not fine.
 */

static void error__each_status(void **state)
{
	static const struct {
		int status;
		enum http_end ends;
		const char *request;
	} cases[] = {
		/* the connection goes on */
		{ 404, HTTP_OPEN, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 404, HTTP_OPEN, "GET * HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 405, HTTP_OPEN, "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 405, HTTP_OPEN, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" },
		{ 405, HTTP_OPEN, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 417, HTTP_OPEN, "GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n" },
		/* it ends */
		{ 405, HTTP_LINGER, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 400, HTTP_LINGER, "GET / HTTP/1.1\r\n\r\n" },
		{ 400, HTTP_LINGER, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" },
		{ 400, HTTP_LINGER, "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n" },
		{ 400, HTTP_LINGER, "GET / HTTP/1.1\r\nHost : a\r\n\r\n" },
		{ 400, HTTP_LINGER, "GET / HTTP/1.1\r\nHost: a\r\nA\x01: b\r\n\r\n" },
		{ 400, HTTP_LINGER, "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n" },
		{ 400, HTTP_LINGER, "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 400, HTTP_LINGER, "\x16\x03\x01\x02\x01" },
		{ 400, HTTP_LINGER, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n" },
		{ 400, HTTP_LINGER, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
				    "Content-Length: 2\r\n\r\n" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "
				    "99999999999999999999999\r\n\r\n" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
				    "Transfer-Encoding: chunked\r\n\r\n" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
				    "Transfer-Encoding: chunked\r\n\r\n" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" },
		{ 413, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\n"
				    "Content-Length: 1048577\r\n\r\n" },
		{ 417, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n"
				    "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n" },
		{ 501, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\n"
				    "Transfer-Encoding: gzip\r\n\r\n" },
		{ 501, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\n"
				    "Transfer-Encoding: gzip, chunked\r\n\r\n" },
		{ 501, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\n"
				    "Transfer-Encoding: gzip\r\nExpect: x\r\n\r\n" },
		{ 501, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\n"
				    "Transfer-Encoding: chunkedchunkedchunkedchunked\r\n\r\n" },
		{ 501, HTTP_LINGER, "BREW / HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 505, HTTP_LINGER, "GET / HTTP/3.0\r\nHost: a\r\n\r\n" },
		{ 505, HTTP_LINGER, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		uint64_t errors = m.http.stats.errors;
		struct answer a = ask(cases[i].request, cases[i].status, cases[i].ends);

		assert_int_equal(m.http.stats.errors, errors + 1);
		assert_int_equal(says(&a, "\r\nConnection: close\r\n"),
				 cases[i].ends == HTTP_LINGER);
		assert_int_equal(says(&a, "\r\nAllow: GET, HEAD, POST\r\n"), a.status == 405);
		assert_true(a.body_len > 0);

		/* It is the same in single bytes, and requests before it are answered first. */
		end();
		begin();
		feed_text(GET);
		for (const char *at = cases[i].request; *at; at++)
			feed(at, 1);
		assert_int_equal(first_answer().status, 200);
		assert_int_equal(next_answer(false).status, cases[i].status);
		no_more_answers();
		if (cases[i].ends == HTTP_OPEN) {
			feed_text(GET);
			assert_int_equal(next_answer(false).status, 200);
		}
	}
}

/* A header without a value does not run into the next one. */
static void header__empty_values(void **state)
{
	(void)state;
	ask("GET / HTTP/1.1\r\nX:\r\nHost: a\r\n\r\n", 200, HTTP_OPEN);
	ask("GET / HTTP/1.1\r\nHost:\r\nX:\r\n\r\n", 200, HTTP_OPEN);
	ask("GET / HTTP/1.1\r\nHost: a\r\nExpect:\r\n\r\n", 417, HTTP_OPEN);
	ask("GET / HTTP/1.1\r\nHos:\r\nt: a\r\n\r\n", 400, HTTP_LINGER);
}

/*
 * Limits.
 */

static char *target_of(size_t len)
{
	char *text = malloc(len + 100), *to;

	to = stpcpy(text, "GET /");
	memset(to, 'a', len - 1);
	stpcpy(to + len - 1, " HTTP/1.1\r\nHost: a\r\n\r\n");
	return text;
}

static void limit__target(void **state)
{
	char *ok = target_of(HTTP_TARGET_MAX), *over = target_of(HTTP_TARGET_MAX + 1);

	(void)state;
	ask(ok, 404, HTTP_OPEN);
	ask(over, 414, HTTP_LINGER);
	begin();
	for (size_t i = 0; over[i]; i++)
		feed(over + i, 1);
	assert_int_equal(first_answer().status, 414);
	free(ok);
	free(over);
}

/* Send a head of @len bytes, counted from the target, in pieces of @step. */
static int head_of(size_t len, size_t step, const char *line)
{
	char *text = malloc(len + 200), *to = text;
	int status;

	to = stpcpy(to, "GET / HTTP/1.1\r\nHost: a\r\n");
	while (to - text + strlen(line) < len - 10)
		to = stpcpy(to, line);
	to = stpcpy(to, "A: ");
	while ((size_t)(to - text) < len)
		*to++ = 'b';
	stpcpy(to, "\r\n\r\n");
	end();
	begin();
	len = strlen(text);
	for (size_t at = 0; at < len; at += step)
		feed(text + at, len - at < step ? len - at : step);
	status = first_answer().status;
	no_more_answers();
	free(text);
	return status;
}

static void limit__head(void **state)
{
	static const size_t steps[] = { 1, 7, 1000, 1 << 20 };

	(void)state;
	for (size_t i = 0; i < N(steps); i++) {
		assert_int_equal(head_of(HTTP_HEAD_MAX - 16, steps[i], "X: y\r\n"), 200);
		assert_int_equal(head_of(HTTP_HEAD_MAX + 16, steps[i], "X: y\r\n"), 431);
		assert_int_equal(head_of(HTTP_HEAD_MAX + 16, steps[i], "X:                y\r\n"),
				 431);
		assert_int_equal(head_of(60000, steps[i], "X: y\r\n"), 431);
	}

	/* A long value that never comes to an end. */
	begin();
	feed_text("GET / HTTP/1.1\r\nA: ");
	for (int i = 0; i < HTTP_HEAD_MAX; i++)
		feed(" ", 1);
	assert_int_equal(first_answer().status, 431);
}

static void limit__body(void **state)
{
	(void)state;
	reconfigure(10, 64);
	ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789", 200,
	    HTTP_OPEN);
	ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413, HTTP_LINGER);
	ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "5\r\nabcde\r\n5\r\nabcde\r\n0\r\n\r\n", 200, HTTP_OPEN);
	ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "5\r\nabcde\r\n6\r\nabcdef", 413, HTTP_LINGER);
	ask("DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "5\r\nabcde\r\n6\r\nabcdef", 413, HTTP_LINGER);
}

/* Framing and trailers without body bytes do not go on for ever. */
static void limit__chunk_overhead(void **state)
{
	static const char *const floods[] = { "5;ext=", "0\r\nTrailer: ", "00000" };

	(void)state;
	for (size_t i = 0; i < N(floods); i++) {
		size_t n = 0;

		end();
		begin();
		feed_text("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
			  "1\r\na\r\n");
		feed_text(floods[i]);
		while (m.c.end == HTTP_OPEN && n++ < 1000)
			feed_text("0000000000000000000000000000000000000000");
		assert_int_equal(m.c.end, HTTP_LINGER);
		assert_in_range(first_answer().status, 400, 431);
		assert_true(n < 1000);
	}
}

/*
 * Expect: 100-continue.
 */

#define EXPECT	"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n"

static void expect__continue(void **state)
{
	(void)state;
	feed_text(EXPECT);
	assert_int_equal(first_answer().status, 100);
	no_more_answers();
	feed_text("abc" GET);
	assert_int_equal(next_answer(false).status, 200);
	assert_int_equal(next_answer(false).status, 200);
	no_more_answers();

	/* No body, no invitation; HTTP/1.0 does not know it. */
	ask("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", 200, HTTP_OPEN);
	ask("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na", 200,
	    HTTP_CLOSE);
}

/* A body that is not wanted is not asked for; whether it comes nevertheless nobody knows. */
static void expect__refused(void **state)
{
	(void)state;
	ask("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
	    405, HTTP_LINGER);
	ask("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n",
	    413, HTTP_LINGER);
}

static void expect__congested(void **state)
{
	(void)state;
	m.congest = 1;		/* always */
	feed_text(EXPECT "abc" EXPECT "abc");
	assert_int_equal(first_answer().status, 100);
	assert_int_equal(next_answer(false).status, 200);
	assert_int_equal(next_answer(false).status, 100);
	assert_int_equal(next_answer(false).status, 200);
	no_more_answers();
	assert_int_equal(m.stalls, 4);
}

/*
 * Cuts. Whatever the pieces, the answers are the same.
 */

static const char *const scripts[] = {
	GET,
	"\r\n\r\n" GET,
	"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" GET,
	"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\nDELETE / HTTP/1.1\r\nHost: a\r\n\r\n" GET,
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world" GET,
	"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world" GET,
	"POST /echo HTTP/1.1\r\nhOST: a\r\nTRANSFER-encoding: chunked\r\n\r\n"
	"3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nT: u\r\n\r\n" GET,
	EXPECT "abc" GET,
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET,
	"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nAccept: */*\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhellooo",
};

/* The output of script @i in one piece. */
static char *expected(size_t i, size_t *len)
{
	char *out;

	end();
	begin();
	m.congest = 0;
	feed_text(scripts[i]);
	out = malloc(m.out_len);
	memcpy(out, m.out, m.out_len);
	*len = m.out_len;
	return out;
}

static void cut__at_every_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(scripts); i++) {
		size_t want_len, len = strlen(scripts[i]);
		char *want = expected(i, &want_len);

		for (size_t first = 1; first < len; first++) {
			for (size_t second = first; second < len; second++) {
				end();
				begin();
				feed(scripts[i], first);
				feed(scripts[i] + first, second - first);
				feed(scripts[i] + second, len - second);
				assert_int_equal(m.out_len, want_len);
				assert_memory_equal(m.out, want, want_len);
			}
		}
		free(want);
	}
}

static void cut__into_bytes_and_congested(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(scripts); i++) {
		size_t want_len, len = strlen(scripts[i]);
		char *want = expected(i, &want_len);

		for (unsigned congest = 0; congest < 3; congest++) {
			end();
			begin();
			m.congest = congest;
			for (size_t at = 0; at < len; at++)
				feed(scripts[i] + at, 1);
			assert_int_equal(m.out_len, want_len);
			assert_memory_equal(m.out, want, want_len);

			end();
			begin();
			feed(scripts[i], len);
			assert_int_equal(m.out_len, want_len);
			assert_memory_equal(m.out, want, want_len);
		}
		free(want);
	}
}

/* Hundreds of pipelined requests, cut at random, with congestion at random. */
static void cut__pipeline_at_random(void **state)
{
	enum { REQUESTS = 300, ROUNDS = 100 };
	static const struct {
		const char *text;
		int status;
		bool head;
	} kinds[] = {
		{ GET, 200, false },
		{ "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, true },
		{ "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 404, false },
		{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n1234567", 200, false },
		{ "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n1234567", 200,
		  false },
		{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "3\r\nabc\r\n0\r\n\r\n", 200, false },
	};
	static char text[REQUESTS * 100];
	unsigned stalls = 0;

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		int order[REQUESTS];
		char *to = text;
		size_t at, len;

		m.seed = round;
		reconfigure(1 << 20, round % 3 ? 64 : 3000);
		m.congest = round % 7;
		for (int i = 0; i < REQUESTS; i++) {
			order[i] = rnd() % N(kinds);
			to = stpcpy(to, kinds[order[i]].text);
		}
		len = to - text;
		for (at = 0; at < len;) {
			size_t n = 1 + rnd() % (round % 2 ? 40 : 2000);

			if (n > len - at)
				n = len - at;
			feed(text + at, n);
			at += n;
		}
		answers_at = 0;
		for (int i = 0; i < REQUESTS; i++) {
			struct answer a = next_answer(kinds[order[i]].head);

			assert_int_equal(a.status, kinds[order[i]].status);
		}
		no_more_answers();
		assert_int_equal(m.http.stats.requests, REQUESTS);
		assert_int_equal(m.http.stats.bytes_in, len);
		assert_int_equal(m.http.stats.bytes_out, m.out_len);
		assert_int_equal(m.held, 0);
		stalls += m.stalls;
		end();
	}
	assert_true(stalls > 1000);
}

/*
 * Slow readers.
 */

/* Nothing is produced and nothing consumed while a connection is congested. */
static void slow__stops_at_once(void **state)
{
	size_t len = strlen(GET), out;

	(void)state;
	m.congest = 1;
	assert_int_equal(offer(GET GET GET, 3 * len), 2 * len);
	out = m.out_len;
	assert_int_equal(offer(GET GET, 2 * len), 2 * len);
	assert_int_equal(m.out_len, out);
	drain();
	assert_int_equal(m.out_len, out);
	assert_int_equal(offer(GET GET, 2 * len), len);
	assert_int_equal(m.out_len, 2 * out);
	drain();
}

static void slow__long_reply_in_steps(void **state)
{
	size_t len = strlen(GET), before = 0;
	int steps = 0;

	(void)state;
	reconfigure(0, 100000);
	m.congest = 1;
	m.room = 2000;
	assert_int_equal(offer(GET GET, 2 * len), len);
	while (m.c.stalled) {
		assert_true(m.out_len > before);
		assert_true(m.out_len - before <= m.room);
		before = m.out_len;
		m.congested = false;
		http_resume(&m.c);
		steps++;
	}
	assert_int_equal(steps, 51);
	first_answer();
	no_more_answers();
	assert_int_equal(offer(GET, len), 0);
	drain();
	next_answer(false);
	no_more_answers();
}

/* The decision to close waits for the end of the answer. */
static void slow__close_after_reply(void **state)
{
	(void)state;
	reconfigure(0, 5000);
	m.congest = 1;
	feed_text("");
	offer("GET / HTTP/1.0\r\n\r\n", 18);
	while (m.c.stalled) {
		assert_int_equal(m.c.end, HTTP_OPEN);
		m.congested = false;
		http_resume(&m.c);
	}
	assert_int_equal(m.c.end, HTTP_CLOSE);
	assert_int_equal(first_answer().body_len, 5000);
}

/*
 * Echo: holding pieces and sending references.
 */

static void echo__from_the_buffers(void **state)
{
	static char body[64 * 1448];
	struct answer a;

	(void)state;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = rnd();
	for (unsigned congest = 0; congest < 3; congest++) {
		end();
		begin();
		m.congest = congest;
		feed_text("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 92672\r\n\r\n");
		for (int i = 0; i < 64; i++)
			feed(body + i * 1448, 1448);
		a = first_answer();
		assert_int_equal(a.status, 200);
		assert_int_equal(a.body_len, sizeof(body));
		assert_memory_equal(a.body, body, sizeof(body));
		assert_int_equal(m.sends, 64);
		assert_int_equal(m.held, 0);
		no_more_answers();
	}
}

/* Chunks in one piece are parts of one buffer, but not adjacent: one reference each. */
static void echo__chunks_of_one_piece(void **state)
{
	struct answer a;

	(void)state;
	feed_text("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n");
	a = first_answer();
	assert_int_equal(a.body_len, 6);
	assert_memory_equal(a.body, "abcdef", 6);
	assert_int_equal(m.sends, 3);
	no_more_answers();
}

/* Buffers that touch in memory are still two; runs that touch in one buffer are one. */
static void echo__adjacent_pieces(void **state)
{
	static char memory[] = "aabbcc";
	struct buf bufs[2] = { { .refs = 10 }, { .refs = 10 } };
	struct answer a;

	(void)state;
	feed_text("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
	for (int i = 0; i < 3; i++) {
		struct piece p = { .data = memory + 2 * i, .len = 2, .buf = &bufs[i > 1] };

		assert_int_equal(m.held, i == 2 ? 1 : i);
		assert_int_equal(http_input(&m.c, &p), 2);
	}
	a = first_answer();
	assert_memory_equal(a.body, memory, 6);
	assert_int_equal(m.sends, 2);
	assert_int_equal(bufs[0].refs, 10);
	assert_int_equal(bufs[1].refs, 10);
}

static void echo__limits(void **state)
{
	(void)state;
	feed_text("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
	for (int i = 0; i < APP_PIECES_MAX; i++)
		feed("x", 1);
	assert_int_equal(m.out_len, 0);
	feed("x", 1);
	assert_int_equal(first_answer().status, 413);
	assert_int_equal(m.c.end, HTTP_LINGER);
	assert_int_equal(m.held, 0);

	begin();
	m.hold_max = 1;
	feed_text("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
	feed("x", 1);
	feed("x", 1);
	assert_int_equal(first_answer().status, 503);
	assert_int_equal(m.held, 0);
}

/* Connections lost at any point of an echo give back what they hold (end() checks). */
static void echo__lost(void **state)
{
	static const char text[] = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
				   "123456789";

	(void)state;
	m.congest = 1;
	for (size_t len = 1; len < sizeof(text); len++) {
		end();
		begin();
		for (size_t i = 0; i < len; i++)
			offer(text + i, 1);
	}
	assert_true(m.c.stalled);
}

/*
 * The rest.
 */

static void batch__counts_rounds_with_answers(void **state)
{
	(void)state;
	http_batch(&m.http);
	assert_int_equal(m.http.stats.batches, 0);
	feed_text(GET GET);
	http_batch(&m.http);
	http_batch(&m.http);
	assert_int_equal(m.http.stats.batches, 1);
	feed_text(GET);
	http_batch(&m.http);
	assert_int_equal(m.http.stats.batches, 2);
}

static void progress__heads_and_bodies(void **state)
{
	(void)state;
	feed_text("GET / HTTP/1.1\r\nHost: a\r\n");
	assert_false(m.c.progress);
	feed_text("\r\n");
	assert_true(m.c.progress);
	m.c.progress = false;
	feed_text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
	m.c.progress = false;
	feed_text("a");
	assert_true(m.c.progress);
}

/* Noise: nothing but the contract is checked, by the mock and the sanitizers. */
static void noise__mutated_requests(void **state)
{
	static const char alphabet[] = "\r\n :;0123456789abcdefGETPOSTHEADHTTP/1.1,\0\xff";
	char text[600];

	(void)state;
	m.congest = 3;
	for (unsigned round = 0; round < 40000; round++) {
		size_t at = 0, len = 0;

		m.seed = round;
		end();
		begin();
		while (len < 400) {
			const char *s = scripts[rnd() % N(scripts)];

			len = stpncpy(text + len, s, sizeof(text) - len) - text;
			if (len == sizeof(text))
				break;
		}
		for (unsigned i = rnd() % 8; i; i--)
			text[rnd() % len] = alphabet[rnd() % (sizeof(alphabet) - 1)];
		while (at < len) {
			size_t n = 1 + rnd() % (len - at);

			feed(text + at, n);
			at += n;
		}
	}
}

#define TEST(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)

/*
 * With a store.
 */

#define REGION_LEN	(4 << 20)

static _Alignas(4096) char region[REGION_LEN];

static void use_store(enum store_mode mode)
{
	static const struct paste_region_layout layout = {
		.size = REGION_LEN, .log_size = 12288, .tree_size = 65536, .replace = true
	};
	const struct store_config cfg = { .values = mode == STORE_BTREE };
	const char *part;

	assert_int_equal(paste_region_format(region, REGION_LEN, &layout), 0);
	assert_int_equal(paste_region_attach(region, REGION_LEN, &m.region), 0);
	assert_int_equal(store_open(m.region, &cfg, &m.store, &part), 0);
	end();
	http_exit(&m.http);
	m.cfg.store = mode;
	http_init(&m.http, &m.cfg, &mock, m.store);
	http_tick(&m.http, 784111777);
	begin();
}

#define REQUEST(method, target) method " " target " HTTP/1.1\r\nHost: a\r\n"
#define BODY2	"Content-Length: 2\r\n\r\nab"

static void store__statuses(void **state)
{
	struct answer a;

	(void)state;
	use_store(STORE_BTREE);
	ask(REQUEST("GET", "/k") "\r\n", 404, HTTP_OPEN);
	ask(REQUEST("DELETE", "/k") "\r\n", 404, HTTP_OPEN);
	a = ask(REQUEST("PUT", "/k") BODY2, 201, HTTP_OPEN);
	assert_true(says(&a, "Content-Length: 0\r\n"));
	a = ask(REQUEST("PUT", "/k?x=y") BODY2, 204, HTTP_OPEN);
	assert_false(says(&a, "Content-Length"));
	a = ask(REQUEST("GET", "http://host/%6b") "\r\n", 200, HTTP_OPEN);
	assert_int_equal(a.body_len, 2);
	assert_memory_equal(a.body, "ab", 2);
	ask(REQUEST("PUT", "/a%2Fb%00") BODY2, 201, HTTP_OPEN);
	a = ask(REQUEST("GET", "/?prefix=") "\r\n", 200, HTTP_OPEN);
	assert_true(says(&a, "Content-Type: text/plain\r\n"));
	assert_int_equal(a.body_len, 9);
	assert_memory_equal(a.body, "a/b%00\nk\n", 9);
	a = ask(REQUEST("GET", "/?prefix=%6b&x=y") "\r\n", 200, HTTP_OPEN);
	assert_int_equal(a.body_len, 2);
	a = ask(REQUEST("GET", "/") "\r\n", 200, HTTP_OPEN);
	assert_int_equal(a.body_len, 64);
	ask(REQUEST("POST", "/anything") BODY2, 200, HTTP_OPEN);
	a = ask(REQUEST("POST", "/echo") BODY2, 200, HTTP_OPEN);
	assert_int_equal(a.body_len, 2);
	ask(REQUEST("PUT", "/%zz") BODY2, 400, HTTP_OPEN);
	ask(REQUEST("GET", "/%") "\r\n", 400, HTTP_OPEN);
	a = ask(REQUEST("PUT", "/") BODY2, 405, HTTP_OPEN);
	assert_true(says(&a, "\r\nAllow: GET, HEAD, POST, PUT, DELETE\r\n"));
	ask(REQUEST("OPTIONS", "/k") "\r\n", 405, HTTP_OPEN);
	ask(REQUEST("DELETE", "/k") "\r\n", 204, HTTP_OPEN);
	ask(REQUEST("GET", "/k") "\r\n", 404, HTTP_OPEN);
}

static void store__log_alone(void **state)
{
	struct store_stats s;

	(void)state;
	use_store(STORE_WAL);
	ask(REQUEST("POST", "/x") BODY2, 200, HTTP_OPEN);
	ask(REQUEST("POST", "/x") "Content-Length: 0\r\n\r\n", 200, HTTP_OPEN);
	ask(REQUEST("PUT", "/k") BODY2, 405, HTTP_OPEN);
	ask(REQUEST("DELETE", "/k") "\r\n", 405, HTTP_OPEN);
	ask(REQUEST("GET", "/k") "\r\n", 404, HTTP_OPEN);
	store_stats(m.store, &s);
	assert_int_equal(s.messages, 2);
	assert_int_equal(s.stored, 2);
	for (int i = 0; i < 62; i++)
		ask(REQUEST("POST", "/x") BODY2, 200, HTTP_OPEN);
	ask(REQUEST("POST", "/x") BODY2, 507, HTTP_OPEN);
}

/* Commits are http_batch()'s doing, one for all, and none for nothing. */
static void store__one_commit_per_batch(void **state)
{
	struct store_stats s;

	(void)state;
	use_store(STORE_BTREE);
	feed_text(REQUEST("PUT", "/a") BODY2 REQUEST("PUT", "/b") BODY2 REQUEST("DELETE", "/a")
		  "\r\n" REQUEST("POST", "/x") BODY2);
	store_stats(m.store, &s);
	assert_int_equal(s.commits, 0);
	http_batch(&m.http);
	http_batch(&m.http);
	feed_text(REQUEST("GET", "/b") "\r\n");
	http_batch(&m.http);
	store_stats(m.store, &s);
	assert_int_equal(s.commits, 1);
}

/* No space: the body is read to its end, the connection goes on, nothing has changed. */
static void store__full(void **state)
{
	static char body[100000];
	char head[100];

	(void)state;
	use_store(STORE_BTREE);
	ask(REQUEST("PUT", "/k") BODY2, 201, HTTP_OPEN);
	store_space(m.store)->limit = 10;
	begin();
	sprintf(head, REQUEST("PUT", "/k") "Content-Length: %zu\r\n\r\n", sizeof(body));
	feed_text(head);
	feed(body, sizeof(body));
	assert_int_equal(first_answer().status, 507);
	assert_int_equal(m.c.end, HTTP_OPEN);
	assert_int_equal(ask(REQUEST("GET", "/k") "\r\n", 200, HTTP_OPEN).body_len, 2);
	assert_true(store_space(m.store)->used < 5);
}

/* A connection that is lost in the middle of a body leaves nothing behind. */
static void store__lost(void **state)
{
	static char body[20000];
	uint32_t used;

	(void)state;
	use_store(STORE_BTREE);
	ask(REQUEST("PUT", "/k") BODY2, 201, HTTP_OPEN);
	used = store_space(m.store)->used;
	begin();
	feed_text(REQUEST("PUT", "/k") "Content-Length: 30000\r\n\r\n");
	feed(body, sizeof(body));
	assert_true(store_space(m.store)->used > used);
	end();
	begin();
	assert_in_range(store_space(m.store)->used, used, used + 1);	/* one to be filled */
	ask(REQUEST("GET", "/k") "\r\n", 200, HTTP_OPEN);
}

/* Pipelines of everything in random pieces, congested now and then, against a model. */
static void store__cut_at_random(void **state)
{
	enum { KEYS = 8, REQUESTS = 40, MAX = 9000 };
	static char model[KEYS][MAX], stream[REQUESTS * (MAX + 200)];
	static struct { int status; size_t len; uint32_t sum; } expect[REQUESTS];
	size_t len[KEYS];
	bool there[KEYS] = { false };

	(void)state;
	use_store(STORE_BTREE);
	for (int round = 0; round < 60; round++) {
		size_t at = 0, fed = 0;

		for (int i = 0; i < REQUESTS; i++) {
			int k = rnd() % KEYS, what = rnd() % 4;

			expect[i].status = there[k] ? 204 : what < 2 ? 201 : 404;
			expect[i].len = SIZE_MAX;	/* whatever */
			if (what < 2) {
				len[k] = rnd() % 3 ? rnd() % 600 : rnd() % MAX;
				for (size_t b = 0; b < len[k]; b++)
					model[k][b] = rnd();
				at += sprintf(stream + at, REQUEST("PUT", "/key%d")
					      "Content-Length: %zu\r\n\r\n", k, len[k]);
				memcpy(stream + at, model[k], len[k]);
				at += len[k];
				there[k] = true;
			} else if (what == 2) {
				at += sprintf(stream + at, REQUEST("DELETE", "/key%d") "\r\n", k);
				there[k] = false;
			} else {
				at += sprintf(stream + at, REQUEST("GET", "/key%d") "\r\n", k);
				expect[i].status = there[k] ? 200 : 404;
				if (there[k]) {
					expect[i].len = len[k];
					expect[i].sum = 0;
					for (size_t b = 0; b < len[k]; b++)
						expect[i].sum = expect[i].sum * 31 + model[k][b];
				}
			}
		}
		end();
		begin();
		m.congest = 1 + rnd() % 4;
		m.room = HTTP_ROOM + rnd() % 3000;
		while (fed < at) {
			size_t n = 1 + rnd() % (rnd() % 3 ? 5000 : 30);

			if (n > at - fed)
				n = at - fed;
			feed(stream + fed, n);
			fed += n;
			if (rnd() % 8 == 0)
				http_batch(&m.http);
		}
		http_batch(&m.http);
		answers_at = 0;
		for (int i = 0; i < REQUESTS; i++) {
			struct answer a = next_answer(false);
			uint32_t sum = 0;

			assert_int_equal(a.status, expect[i].status);
			if (expect[i].len == SIZE_MAX)
				continue;
			assert_int_equal(a.body_len, expect[i].len);
			for (size_t b = 0; b < a.body_len; b++)
				sum = sum * 31 + a.body[b];
			assert_int_equal(sum, expect[i].sum);
		}
	}
	m.congest = 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(get__default_reply),
		TEST(get__reply_sizes),
		TEST(get__forms_of_target),
		TEST(head__no_body),
		TEST(post__body_consumed),
		TEST(post__chunked),
		TEST(get__body_ignored),
		TEST(upgrade__ignored),
		TEST(persist__close_and_keep_alive),
		TEST(persist__input_after_close),
		TEST(persist__end_of_input),
		TEST(error__each_status),
		TEST(header__empty_values),
		TEST(limit__target),
		TEST(limit__head),
		TEST(limit__body),
		TEST(limit__chunk_overhead),
		TEST(expect__continue),
		TEST(expect__refused),
		TEST(expect__congested),
		TEST(cut__at_every_byte),
		TEST(cut__into_bytes_and_congested),
		TEST(cut__pipeline_at_random),
		TEST(slow__stops_at_once),
		TEST(slow__long_reply_in_steps),
		TEST(slow__close_after_reply),
		TEST(echo__from_the_buffers),
		TEST(echo__chunks_of_one_piece),
		TEST(echo__adjacent_pieces),
		TEST(echo__limits),
		TEST(echo__lost),
		TEST(batch__counts_rounds_with_answers),
		TEST(progress__heads_and_bodies),
		TEST(noise__mutated_requests),
		TEST(store__statuses),
		TEST(store__log_alone),
		TEST(store__one_commit_per_batch),
		TEST(store__full),
		TEST(store__lost),
		TEST(store__cut_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
