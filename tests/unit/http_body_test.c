// SPDX-License-Identifier: BSD-2-Clause
/* Bodies that are kept: sent back, stored. */
#include "http_mock.h"

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
		conn_end();
		conn_begin();
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

	conn_begin();
	m.hold_max = 1;
	feed_text("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
	feed("x", 1);
	feed("x", 1);
	assert_int_equal(first_answer().status, 503);
	assert_int_equal(m.held, 0);
}

/* Connections lost at any point of an echo give back what they hold (conn_end() checks). */
static void echo__lost(void **state)
{
	static const char text[] = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
				   "123456789";

	(void)state;
	m.congest = 1;
	for (size_t len = 1; len < sizeof(text); len++) {
		conn_end();
		conn_begin();
		for (size_t i = 0; i < len; i++)
			offer(text + i, 1);
	}
	assert_true(m.c.stalled);
}

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
	conn_end();
	http_exit(&m.http);
	m.cfg.store = mode;
	restart();
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

/* A host alone, with a query or not, is the root: a slash in the query begins no key. */
static void store__target_without_path(void **state)
{
	static const char *const rest[] = { "", "?", "?/b", "?x=/b", "?x=/b#/b", "#/b", "#?/b" };
	char request[100];
	struct answer a;

	(void)state;
	use_store(STORE_BTREE);
	ask(REQUEST("PUT", "http://a/b") BODY2, 201, HTTP_OPEN);
	for (size_t i = 0; i < N(rest); i++) {
		for (size_t cut = 0; cut < 2; cut++) {
			conn_end();
			conn_begin();
			sprintf(request, REQUEST("DELETE", "http://a%s") "\r\n", rest[i]);
			for (const char *at = request; cut && *at; at++)
				feed(at, 1);
			if (!cut)
				feed_text(request);
			assert_int_equal(first_answer().status, *rest[i] == '#' ? 400 : 405);
			a = ask(REQUEST("GET", "/b") "\r\n", 200, HTTP_OPEN);
			assert_int_equal(a.body_len, 2);
		}
	}
	a = ask(REQUEST("GET", "http://a?prefix=b") "\r\n", 200, HTTP_OPEN);
	assert_int_equal(a.body_len, 2);
	assert_memory_equal(a.body, "b\n", 2);
	a = ask(REQUEST("GET", "http://a?x=/b") "\r\n", 200, HTTP_OPEN);
	assert_int_equal(a.body_len, 64);
}

static uint64_t stored_bytes(void)
{
	struct store_stats s;

	store_stats(m.store, &s);
	return s.stored;
}

/* An answer of 200 to a POST says that it is in the log, so it is, or the answer is another one. */
static void post_anywhere(enum store_mode mode)
{
	static const struct {
		const char *request;
		int status;
	} posts[] = {
		{ REQUEST("POST", "https://a/log") BODY2, 200 },
		{ REQUEST("POST", "HTTP://a") BODY2, 200 },
		{ REQUEST("POST", "*") BODY2, 404 },
		{ REQUEST("POST", "ftp://a/log") BODY2, 404 },
	};

	use_store(mode);
	for (size_t i = 0; i < N(posts); i++) {
		uint64_t stored = stored_bytes();

		ask(posts[i].request, posts[i].status, HTTP_OPEN);
		assert_int_equal(stored_bytes() - stored, posts[i].status == 200 ? 2 : 0);
	}
}

static void store__post_anywhere(void **state)
{
	(void)state;
	post_anywhere(STORE_BTREE);
	ask(REQUEST("PUT", "https://a/k") BODY2, 201, HTTP_OPEN);
	assert_int_equal(ask(REQUEST("GET", "/k") "\r\n", 200, HTTP_OPEN).body_len, 2);
	ask(REQUEST("PUT", "ftp://a/k") BODY2, 404, HTTP_OPEN);
}

static void store__log_alone_post_anywhere(void **state)
{
	(void)state;
	post_anywhere(STORE_WAL);
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
	conn_begin();
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
	conn_begin();
	feed_text(REQUEST("PUT", "/k") "Content-Length: 30000\r\n\r\n");
	feed(body, sizeof(body));
	assert_true(store_space(m.store)->used > used);
	conn_end();
	conn_begin();
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
		conn_end();
		conn_begin();
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
		TEST(echo__from_the_buffers),
		TEST(echo__chunks_of_one_piece),
		TEST(echo__adjacent_pieces),
		TEST(echo__limits),
		TEST(echo__lost),
		TEST(store__statuses),
		TEST(store__target_without_path),
		TEST(store__post_anywhere),
		TEST(store__log_alone_post_anywhere),
		TEST(store__log_alone),
		TEST(store__one_commit_per_batch),
		TEST(store__full),
		TEST(store__lost),
		TEST(store__cut_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
