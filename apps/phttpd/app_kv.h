/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * app_kv.h - requests that the store answers; the functions of app.h for them
 *
 *	PUT /key	    201, or 204 if there was a value	needs --store btree
 *	GET, HEAD /key	    the value
 *	DELETE /key	    204
 *	GET /?prefix=p	    keys that begin with p, in byte order, a line each
 *	POST /anything	    append the body to the log		--store wal and btree
 *
 * A key is what follows the first '/' of the target up to a '?', percent-decoded: 1 to 1024 bytes
 * of any value. The listing has the keys encoded again, so that a line is the target but for the
 * '/'. A write for which there is no space is answered with 507 and has no effect; GET and HEAD of a
 * value whose bytes are not those that were stored, with 500.
 */
#ifndef PHTTPD_APP_KV_H
#define PHTTPD_APP_KV_H

#include <stdbool.h>

struct http;
struct http_conn;
struct piece;

/*
 * @path: of the target, without host and with its query, @len bytes from the first '/' on.
 * Returns 0 when the store answers, with op set, or a status; -1: the request is not for it.
 */
int kv_begin(struct http_conn *c, const char *path, unsigned len);
void kv_body(struct http_conn *c, const struct piece *p);
bool kv_reply(struct http_conn *c);
bool kv_more(struct http_conn *c);
void kv_end(struct http_conn *c);
void kv_exit(struct http *h);

#endif /* PHTTPD_APP_KV_H */
