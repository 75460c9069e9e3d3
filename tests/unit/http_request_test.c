// SPDX-License-Identifier: BSD-2-Clause
/* Requests that are fine and those that are not: answers, ends of connections, limits. */
#include "http_mock.h"

/*
 * Requests that are fine.
 */

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
	ask("GET http://a?x=/b HTTP/1.1\r\nHost: a\r\n\r\n", 200, HTTP_OPEN);
	ask("GET http://a:80?/b HTTP/1.1\r\nHost: a\r\n\r\n", 200, HTTP_OPEN);
	ask("GET hTTpS://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 200, HTTP_OPEN);
	ask("GET https://a/x HTTP/1.1\r\nHost: a\r\n\r\n", 404, HTTP_OPEN);
	ask("GET http://a/x?/ HTTP/1.1\r\nHost: a\r\n\r\n", 404, HTTP_OPEN);
	ask("DELETE http://a?x=/b HTTP/1.1\r\nHost: a\r\n\r\n", 405, HTTP_OPEN);
	assert_int_equal(ask("POST http://a?/echo HTTP/1.1\r\nHost: a\r\n"
			     "Content-Length: 2\r\n\r\nab", 200, HTTP_OPEN).body_len, 64);
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

	feed_text("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n\x01");
	next_answer(true);
	a = next_answer(false);		/* to no HEAD any more */
	assert_int_equal(a.status, 400);
	assert_true(a.body_len > 0);
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
	conn_begin();
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
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
				    "Transfer-Encoding: chunked\t\r\n\r\n" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\t\r\n"
				    "Content-Length: 5\r\n\r\n" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
				    "Transfer-Encoding: chunked\r\n\r\n" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" },
		/* What ends a line for us only hides a length, or a request, from who passes it on. */
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nX:\rZContent-Length: 5\r\n\r\nhello" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nX:\rZTransfer-Encoding: chunked\r\n"
				    "\r\n5\r\nhello\r\n0\r\n\r\n" },
		{ 400, HTTP_LINGER, "GET / HTTP/1.1\r\nX:\rZHost: a\r\n\r\n" },
		{ 400, HTTP_LINGER, "GET / HTTP/1.1\r\nHost: a\r\n\rZ" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
				    "\r\n5\rZhello\r\n0\r\n\r\n" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
				    "\r\n5\r\nhelloXX0\r\n\r\n" },
		{ 400, HTTP_LINGER, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
				    "\r\n5\r\nhello\r\n0\r\n\rZ" },
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
		conn_end();
		conn_begin();
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

/* Blanks around a value are not part of it, however many, wherever it is cut; those within are. */
static void header__blanks(void **state)
{
	static const struct {
		int status;
		const char *line;
		int blanks;
		const char *rest;
	} cases[] = {
		{ 200, "Transfer-Encoding: chunked", 1, "" },
		{ 200, "Transfer-Encoding:  \t chunked", 13, "" },	/* 20: what is kept of it */
		{ 200, "Transfer-Encoding:chunked", 14, "" },
		{ 200, "Transfer-Encoding: chunked", 248, "" },	/* 255: what is counted */
		{ 200, "Transfer-Encoding: chunked", 249, "" },
		{ 200, "Transfer-Encoding: chunked", 8000, "" },
		{ 501, "Transfer-Encoding: chunked", 1, "x" },
		{ 501, "Transfer-Encoding: chunked", 13, "x" },
		{ 501, "Transfer-Encoding: chunked", 248, "x" },
		{ 501, "Transfer-Encoding: chunked", 249, "x " },
		{ 501, "Transfer-Encoding: chunked", 8000, "x" },
		{ 501, "Transfer-Encoding: ", 20, "" },
		{ 501, "Transfer-Encoding: chun", 1, "ked" },
		{ 200, "Expect: 100-continue", 1, "" },
		{ 200, "Expect: 100-continue", 8, "" },
		{ 200, "Expect: 100-continue", 9, "" },
		{ 200, "Expect:\t100-continue", 8000, "" },
		{ 417, "Expect: 100-continue", 1, "x" },
		{ 417, "Expect: 100-continue", 8000, "x\t" },
		{ 417, "Expect: 100-", 1, "continue" },
		{ 417, "Expect: ", 20, "" },
	};
	static const size_t steps[] = { 1, 2, 7, 1 << 20 };
	char *text = malloc(HTTP_HEAD_MAX + 200), *to;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		size_t len;

		to = stpcpy(text, "GET / HTTP/1.1\r\nHost: a\r\n");
		to = stpcpy(to, cases[i].line);
		for (int b = 0; b < cases[i].blanks; b++)
			*to++ = b & 1 ? '\t' : ' ';
		to = stpcpy(to, cases[i].rest);
		to = stpcpy(to, "\r\nX: y\r\n\r\n");
		if (*cases[i].line == 'T' && cases[i].status == 200)
			to = stpcpy(to, "1\r\na\r\n0\r\n\r\n");
		len = to - text;
		for (size_t s = 0; s < N(steps); s++) {
			conn_end();
			conn_begin();
			for (size_t at = 0; at < len; at += steps[s])
				feed(text + at, len - at < steps[s] ? len - at : steps[s]);
			assert_int_equal(first_answer().status, cases[i].status);
			no_more_answers();
			assert_int_equal(m.c.end, cases[i].status == 501 ? HTTP_LINGER : HTTP_OPEN);
		}
	}
	free(text);
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
	conn_begin();
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
	conn_end();
	conn_begin();
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
	conn_begin();
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

		conn_end();
		conn_begin();
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
		TEST(header__blanks),
		TEST(limit__target),
		TEST(limit__head),
		TEST(limit__body),
		TEST(limit__chunk_overhead),
		TEST(batch__counts_rounds_with_answers),
		TEST(progress__heads_and_bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
