// SPDX-License-Identifier: BSD-2-Clause
/*
 * app_kv.c - requests that the store answers; see app_kv.h
 *
 * A write is done when its request is complete, and answered at once: the answer leaves after
 * the batch's commit. What a request needs beyond its connection is in a struct app_kv, of which
 * the thread keeps those that are not in use.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_kv.h"
#include "http.h"
#include "percent.h"
#include "store.h"

#define INLINE_MAX	256	/* bytes of a value that are copied behind the head of the answer,
				 * as the kernel does with small slots */
#define SAID_MAX	10	/* lines about damaged values; the rest is only counted */
#define LIST_MAX	(64u << 20)	/* bytes of listings held for all connections of a thread */

enum kv_op {
	KV_PUT = APP_KV,
	KV_GET,
	KV_DELETE,
	KV_LIST,
	KV_APPEND
};

struct app_kv {
	struct store_write *write;	/* KV_PUT, KV_APPEND: not yet done */
	struct store_value *value;	/* KV_GET */
	struct space_piece part;	/* of the value, what was not sent yet */
	char *list;			/* KV_LIST: text, @list_len of http.listed; NULL: none needed */
	size_t list_len, list_sent;
	struct app_kv *next;		/* not in use */
	uint16_t key_len;
	char key[STORE_KEY_MAX];
};

static bool serves_values(const struct http *h)
{
	return h->cfg->store == STORE_BTREE;
}

static struct app_kv *begin(struct http_conn *c, enum kv_op op)
{
	struct app_kv *kv = c->http->idle_kv;

	if (kv) {
		c->http->idle_kv = kv->next;
	} else {
		kv = malloc(sizeof(*kv));
		if (!kv)
			return NULL;
	}
	kv->write = NULL;
	kv->value = NULL;
	kv->part.len = 0;
	kv->list = NULL;
	kv->key_len = 0;
	c->app.kv = kv;
	c->app.op = op;
	return kv;
}

/* Decode @len bytes of a target. Returns 0 or a status. */
static int decode(struct app_kv *kv, const char *text, size_t len)
{
	ssize_t n = percent_decode(text, len, kv->key, sizeof(kv->key));

	if (n < 0)
		return n == -EINVAL ? 400 : 414;
	kv->key_len = n;
	return 0;
}

/* A chunked body says not before its end how long it is. */
static uint64_t longest_body(const struct http_conn *c)
{
	if (c->parser.flags & F_CHUNKED)
		return c->http->cfg->max_body;
	return c->parser.flags & F_CONTENT_LENGTH ? c->parser.content_length : 0;
}

static int begin_write(struct http_conn *c, enum kv_op op, enum store_kind kind)
{
	struct app_kv *kv = begin(c, op);

	if (kv)
		kv->write = store_begin(c->http->store, kind, longest_body(c));
	return kv && kv->write ? 0 : 503;
}

/*
 * The text of a listing: a copy, since keys may be gone before all of it is sent. Clients that do
 * not read make us hold it, so there is a limit.
 */
static int render(struct http_conn *c, const struct store_key *key, size_t n)
{
	struct app_kv *kv = c->app.kv;
	size_t len = 0;
	char *to;

	for (size_t i = 0; i < n; i++)
		len += percent_encoded(key[i].key, key[i].len) + 1;
	kv->list_len = len;
	kv->list_sent = 0;
	if (!len || http_is_head(c))
		return 0;
	if (len > LIST_MAX - c->http->listed)
		return 503;
	kv->list = to = malloc(len);
	if (!to)
		return 503;
	c->http->listed += len;
	for (size_t i = 0; i < n; i++) {
		to = percent_encode(key[i].key, key[i].len, to);
		*to++ = '\n';
	}
	return 0;
}

static int begin_list(struct http_conn *c, const char *prefix, size_t len)
{
	struct app_kv *kv = begin(c, KV_LIST);
	const char *more = memchr(prefix, '&', len);
	struct store_key *key;
	ssize_t n;
	int status;

	if (!kv)
		return 503;
	status = decode(kv, prefix, more ? (size_t)(more - prefix) : len);
	if (status)
		return status;
	n = store_list(c->http->store, kv->key, kv->key_len, &key);
	if (n < 0)
		return 503;
	status = render(c, key, n);
	free(key);
	return status;
}

/* For who can store it again. */
static void say_damaged(const struct store *st, const struct app_kv *kv)
{
	char key[3 * STORE_KEY_MAX];
	struct store_stats stats;

	store_stats(st, &stats);
	if (stats.damaged > SAID_MAX)
		return;
	fprintf(stderr, "phttpd: /%.*s: the value is damaged, and not sent%s\n",
		(int)(percent_encode(kv->key, kv->key_len, key) - key), key,
		stats.damaged == SAID_MAX ? "; no more is said of such" : "");
}

static int begin_get(struct http_conn *c, const char *key, size_t len)
{
	struct app_kv *kv = begin(c, KV_GET);
	int status, err;

	if (!kv)
		return 503;
	status = decode(kv, key, len);
	if (status)
		return status;
	err = store_get(c->http->store, kv->key, kv->key_len, &kv->value);
	if (err == -EBADMSG) {
		say_damaged(c->http->store, kv);
		return 500;
	}
	return !err ? 0 : err == -ENOENT ? 404 : 503;
}

/* PUT and DELETE: done when the request is complete. */
static int begin_change(struct http_conn *c, const char *key, size_t len)
{
	int status;

	if (c->parser.method == HTTP_PUT)
		status = begin_write(c, KV_PUT, STORE_VALUE);
	else
		status = begin(c, KV_DELETE) ? 0 : 503;
	return status ? status : decode(c->app.kv, key, len);
}

int kv_begin(struct http_conn *c, const char *path, unsigned len)
{
	static const char prefix[] = "/?prefix=";
	const size_t prefix_len = sizeof(prefix) - 1;
	const char *query = memchr(path, '?', len);
	size_t key_len = (query ? (size_t)(query - path) : len) - 1;

	if (c->parser.method == HTTP_POST)
		return begin_write(c, KV_APPEND, STORE_MESSAGE);
	if (!serves_values(c->http))
		return -1;
	if (c->parser.method == HTTP_PUT || c->parser.method == HTTP_DELETE)
		return key_len ? begin_change(c, path + 1, key_len) : -1;
	if (c->parser.method != HTTP_GET && c->parser.method != HTTP_HEAD)
		return -1;
	if (key_len)
		return begin_get(c, path + 1, key_len);
	if (len >= prefix_len && !memcmp(path, prefix, prefix_len))
		return begin_list(c, path + prefix_len, len - prefix_len);
	return -1;
}

/* Without space the rest of the body is read all the same, and the connection goes on. */
void kv_body(struct http_conn *c, const struct piece *p)
{
	struct app_kv *kv = c->app.kv;
	int err;

	if (!kv->write)
		return;
	err = store_add(kv->write, p->data, p->len);
	if (!err)
		return;
	store_abort(kv->write);
	kv->write = NULL;
	c->status = err == -ENOMEM ? 503 : err == -EFBIG ? 413 : 507;
}

static bool reply_status(struct http_conn *c, int err, int good)
{
	switch (err) {
	case 0:
		http_reply(c, good, NULL, 0);
		break;
	case -ENOENT:
		http_reply_error(c, 404);
		break;
	case -ENOSPC:
	case -EMSGSIZE:
		http_reply_error(c, 507);
		break;
	default:
		http_reply_error(c, 503);
	}
	return true;
}

static bool reply_put(struct http_conn *c, struct app_kv *kv)
{
	bool created = false;
	int err = store_put(kv->write, kv->key, kv->key_len, &created);

	kv->write = NULL;
	return reply_status(c, err, created ? 201 : 204);
}

static bool reply_append(struct http_conn *c, struct app_kv *kv)
{
	int err = store_append(kv->write);

	kv->write = NULL;
	if (err)
		return reply_status(c, err, 0);
	http_reply_canned(c, &c->http->post[c->persist]);
	return true;
}

/* A small value goes where the head went. */
static void send_inline(struct http_conn *c, struct app_kv *kv, size_t len)
{
	const struct space *s = store_space(c->http->store);
	struct space_piece p;
	size_t avail;
	char *to = http_room(c, &avail);

	while (store_next(kv->value, &p)) {
		memcpy(to, store_bytes(s, &p), p.len);
		to += p.len;
	}
	http_commit(c, len);
}

static bool reply_get(struct http_conn *c, struct app_kv *kv)
{
	uint64_t len = store_length(kv->value);

	http_reply(c, 200, "application/octet-stream", len);
	if (http_is_head(c) || !len)
		return true;
	if (len <= INLINE_MAX && !c->stalled) {
		send_inline(c, kv, len);
		return true;
	}
	return kv_more(c);
}

bool kv_reply(struct http_conn *c)
{
	struct app_kv *kv = c->app.kv;

	switch ((enum kv_op)c->app.op) {
	case KV_PUT:
		return reply_put(c, kv);
	case KV_GET:
		return reply_get(c, kv);
	case KV_DELETE:
		return reply_status(c, store_delete(c->http->store, kv->key, kv->key_len), 204);
	case KV_LIST:
		http_reply(c, 200, "text/plain", kv->list_len);
		return http_is_head(c) || kv_more(c);
	case KV_APPEND:
		return reply_append(c, kv);
	}
	return true;
}

/* Bytes that are copied into the output, as far as it goes. */
static size_t copy_out(struct http_conn *c, const char *data, size_t len)
{
	size_t avail;
	char *to = http_room(c, &avail);

	if (len > avail)
		len = avail;
	memcpy(to, data, len);
	http_commit(c, len);
	return len;
}

static bool more_list(struct http_conn *c, struct app_kv *kv)
{
	while (kv->list_sent < kv->list_len && !c->stalled)
		kv->list_sent += copy_out(c, kv->list + kv->list_sent,
					  kv->list_len - kv->list_sent);
	return kv->list_sent == kv->list_len;
}

static bool more_value(struct http_conn *c, struct app_kv *kv)
{
	const struct space *s = store_space(c->http->store);

	while (kv->part.len || store_next(kv->value, &kv->part)) {
		size_t n = kv->part.len;

		if (c->stalled)
			return false;
		if (c->http->cfg->copy)
			n = copy_out(c, store_bytes(s, &kv->part), n);
		else
			http_send(c, &(struct piece) {
				.data = store_bytes(s, &kv->part),
				.len = n,
				.buf = buf_of_region(kv->part.buf),
			});
		kv->part.offset += n;
		kv->part.len -= n;
	}
	return true;
}

bool kv_more(struct http_conn *c)
{
	return c->app.op == KV_LIST ? more_list(c, c->app.kv) : more_value(c, c->app.kv);
}

void kv_end(struct http_conn *c)
{
	struct app_kv *kv = c->app.kv;

	if (kv->write)
		store_abort(kv->write);
	if (kv->value)
		store_done(kv->value);
	if (kv->list) {
		c->http->listed -= kv->list_len;
		free(kv->list);
	}
	kv->next = c->http->idle_kv;
	c->http->idle_kv = kv;
	c->app.kv = NULL;
}

void kv_exit(struct http *h)
{
	struct app_kv *kv;

	while ((kv = h->idle_kv)) {
		h->idle_kv = kv->next;
		free(kv);
	}
}
