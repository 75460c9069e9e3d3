// SPDX-License-Identifier: BSD-2-Clause
#include "http_mock.h"

struct http_mock m;

uint32_t rnd(void)
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

void conn_begin(void)
{
	m.out_len = 0;
	m.congested = false;
	m.stalls = 0;
	m.sends = 0;
	http_open(&m.c, &m.http);
}

void conn_end(void)
{
	http_close(&m.c);
	assert_int_equal(m.held, 0);
}

void restart(void)
{
	http_init(&m.http, &m.cfg, &mock, m.store);
	http_tick(&m.http, 784111777);
	conn_begin();
}

int setup(void **state)
{
	(void)state;
	memset(&m, 0, sizeof(m));
	m.cfg = (struct http_config) { .max_body = 1 << 20, .reply_size = 64 };
	m.room = HTTP_ROOM;
	m.hold_max = 1000;
	m.seed = 1;
	restart();
	return 0;
}

int teardown(void **state)
{
	(void)state;
	conn_end();
	http_exit(&m.http);
	store_close(m.store);
	paste_region_close(m.region);
	free(m.lent);
	free(m.out);
	return 0;
}

void reconfigure(uint64_t max_body, uint64_t reply_size)
{
	m.cfg = (struct http_config) { .max_body = max_body, .reply_size = reply_size };
	restart();
}

void drain(void)
{
	while (m.congested) {
		m.congested = false;
		if (m.c.stalled)
			http_resume(&m.c);
	}
	assert_false(m.c.stalled);
}

size_t offer(const char *data, size_t len)
{
	struct buf *b = malloc(sizeof(*b) + len);
	struct piece p;
	size_t n;

	assert_non_null(b);
	p = (struct piece) { .data = b->data, .len = len, .buf = b };
	b->refs = 1;
	memcpy(b->data, data, len);
	n = http_input(&m.c, &p);
	assert_true(n <= len);
	if (n < len)
		assert_true(m.c.stalled);
	buf_put(b);
	return len - n;
}

void feed(const char *data, size_t len)
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

void feed_text(const char *text)
{
	feed(text, strlen(text));
}

/*
 * Reading the answers.
 */

size_t answers_at;

static const char *find(const char *in, size_t len, const char *what)
{
	return memmem(in, len, what, strlen(what));
}

bool says(const struct answer *a, const char *what)
{
	return find(a->head, a->head_len, what);
}

struct answer next_answer(bool no_body)
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

struct answer first_answer(void)
{
	answers_at = 0;
	return next_answer(false);
}

void no_more_answers(void)
{
	assert_int_equal(answers_at, m.out_len);
}

struct answer ask(const char *request, int status, enum http_end ends)
{
	struct answer a;

	conn_end();
	conn_begin();
	feed_text(request);
	a = first_answer();
	if (a.status != status)
		print_error("%d instead of %d to: %s\n", a.status, status, request);
	assert_int_equal(a.status, status);
	assert_int_equal(m.c.end, ends);
	no_more_answers();
	return a;
}
