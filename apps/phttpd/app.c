// SPDX-License-Identifier: BSD-2-Clause
/*
 * app.c - what the requests mean
 *
 * GET / and HEAD / are the benchmark's RPC: a canned head and a body of fixed size. POST to
 * anywhere consumes a body and confirms it. POST /echo answers with the body from the buffers
 * it arrived in: it holds the pieces and sends references to them. With a store there is
 * more, and POST is something else: app_kv.c.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "app_kv.h"
#include "http.h"
#include "store.h"

/* How long "http://" is at the beginning of the target; 0: it is not absolute. */
static unsigned int scheme_len(const struct http_conn *c)
{
	static const char *const schemes[] = { "http://", "https://" };

	for (int i = 0; i < 2; i++) {
		size_t len = strlen(schemes[i]);

		if (c->target_len > len && !strncasecmp(c->target, schemes[i], len))
			return len;
	}
	return 0;
}

/*
 * An absolute target becomes what it is without its host. That ends where a path begins, or, if
 * there is none, the query, which is the root's then.
 */
static void drop_host(struct http_conn *c)
{
	const char *at = c->target, *end = at + c->target_len;
	unsigned int scheme = scheme_len(c);

	if (!scheme)
		return;
	for (at += scheme; at < end && *at != '/' && *at != '?' && *at != '#'; at++)
		;
	c->target_len = end - at;
	if (at < end && *at == '/') {
		c->target = at;
		return;
	}
	if (at < end && *at == '#')
		c->target_len = 0;
	memmove(c->target_copy + 1, at, c->target_len++);
	*c->target_copy = '/';
	c->target = c->target_copy;
}

/* Is the path of the target, without query, equal to @path? */
static bool path_is(const struct http_conn *c, const char *path)
{
	size_t have = c->target_len, len = strlen(path);

	return have >= len && !memcmp(c->target, path, len) &&
	       (have == len || c->target[len] == '?');
}

/* What the store answers, as kv_begin(): no other POST is taken than one that is stored. */
static int begin_stored(struct http_conn *c)
{
	return c->target_len && *c->target == '/' ? kv_begin(c, c->target, c->target_len) : 404;
}

int app_begin(struct http_conn *c)
{
	struct app_conn *app = &c->app;
	uint8_t method = c->parser.method;
	bool root;
	int status;

	drop_host(c);
	root = c->target_len == 1 && *c->target == '/';
	if (c->http->store && !(root && method == HTTP_GET) &&
	    !(method == HTTP_POST && path_is(c, "/echo"))) {
		status = begin_stored(c);
		if (status >= 0)
			return status;
	}
	if (method == HTTP_POST)
		app->op = path_is(c, "/echo") ? APP_ECHO : APP_POST;
	else if (method != HTTP_GET && method != HTTP_HEAD)
		return 405;
	else if (root || path_is(c, "/"))
		app->op = APP_GET;
	else
		return 404;
	return 0;
}

/* Keep a part of the body to be echoed; join it to the part before if they touch. */
static int keep(struct http_conn *c, const struct piece *p)
{
	struct app_conn *app = &c->app;

	if (app->nheld) {
		struct piece *last = &app->held[app->nheld - 1];

		if (last->buf == p->buf && last->data + last->len == p->data) {
			last->len += p->len;
			return 0;
		}
	} else if (!app->held) {
		app->held = malloc(APP_PIECES_MAX * sizeof(*app->held));
		if (!app->held)
			return 503;
	}
	if (app->nheld == APP_PIECES_MAX)
		return 413;
	if (!c->http->be->hold(c->http, p->buf))
		return 503;
	app->held[app->nheld++] = *p;
	return 0;
}

int app_body(struct http_conn *c, const struct piece *p)
{
	if (c->app.kv)
		kv_body(c, p);
	return c->app.op == APP_ECHO ? keep(c, p) : 0;
}

bool app_reply(struct http_conn *c)
{
	struct app_conn *app = &c->app;

	if (app->kv)
		return kv_reply(c);
	if (app->op == APP_ECHO) {
		http_reply(c, 200, "application/octet-stream", c->body_len);
	} else {
		const struct http *h = c->http;
		const struct http_canned *r = app->op == APP_GET ? &h->get[c->persist] :
								   &h->post[c->persist];

		http_reply_canned(c, r);
		if (r->len > r->head_len || http_is_head(c))
			return true;
		app->fill = r->body_len;
	}
	return app_more(c);
}

bool app_more(struct http_conn *c)
{
	struct app_conn *app = &c->app;

	if (app->kv)
		return kv_more(c);
	while (app->fill && !c->stalled) {
		size_t len;
		char *to = http_room(c, &len);

		if (len > app->fill)
			len = app->fill;
		memset(to, 'x', len);
		app->fill -= len;
		http_commit(c, len);
	}
	while (app->next < app->nheld && !c->stalled) {
		const struct piece *p = &app->held[app->next++];

		http_send(c, p);
		c->http->be->drop(c->http, p->buf);
	}
	return !app->fill && app->next == app->nheld;
}

void app_end(struct http_conn *c)
{
	struct app_conn *app = &c->app;

	if (app->kv)
		kv_end(c);
	if (app->held) {
		while (app->next < app->nheld)
			c->http->be->drop(c->http, app->held[app->next++].buf);
		free(app->held);
		app->held = NULL;
	}
	app->op = APP_NONE;
	app->nheld = 0;
	app->next = 0;
	app->fill = 0;
}

void app_batch(struct http *h)
{
	if (h->store)
		store_commit(h->store);
}

void app_exit(struct http *h)
{
	kv_exit(h);
}
