// SPDX-License-Identifier: BSD-2-Clause
/* Input in pieces of all sizes, readers that are slow, noise: the answers are the same. */
#include "http_mock.h"

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
	"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\t \r\n"
	"Transfer-Encoding: chunked \t\r\n\r\n1\r\na\r\n0\r\n\r\n" GET,
	"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100- continue \r\n\r\n" GET,
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET,
	"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nAccept: */*\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhellooo",
};

/* The output of script @i in one piece. */
static char *expected(size_t i, size_t *len)
{
	char *out;

	conn_end();
	conn_begin();
	m.congest = 0;
	feed_text(scripts[i]);
	out = malloc(m.out_len);
	assert_non_null(out);
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
				conn_end();
				conn_begin();
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
			conn_end();
			conn_begin();
			m.congest = congest;
			for (size_t at = 0; at < len; at++)
				feed(scripts[i] + at, 1);
			assert_int_equal(m.out_len, want_len);
			assert_memory_equal(m.out, want, want_len);

			conn_end();
			conn_begin();
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
		conn_end();
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
		conn_end();
		conn_begin();
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(expect__continue),
		TEST(expect__refused),
		TEST(expect__congested),
		TEST(cut__at_every_byte),
		TEST(cut__into_bytes_and_congested),
		TEST(cut__pipeline_at_random),
		TEST(slow__stops_at_once),
		TEST(slow__long_reply_in_steps),
		TEST(slow__close_after_reply),
		TEST(noise__mutated_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
