/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * app.h - what the requests mean; app_kv.c has those that a store answers
 *
 * http.c calls these in the order of a request's life: app_begin() when its headers are there,
 * app_body() for each run of body bytes, app_reply() when it is complete, app_more() as often as
 * the answer had to stop because the connection was congested, app_end() after the answer or when
 * the connection is lost, whatever the state.
 */
#ifndef PHTTPD_APP_H
#define PHTTPD_APP_H

#include <stdbool.h>
#include <stdint.h>

#include "backend.h"

#define APP_PIECES_MAX	64	/* pieces an echoed body may lie in, else 413 */

enum app_op {
	APP_NONE,		/* nothing to do: answered with an error */
	APP_GET,		/* GET /, HEAD / */
	APP_POST,		/* consume the body */
	APP_ECHO,		/* POST /echo: answer with the body, from the buffers it came in */
	APP_KV			/* from here on for the store: see app_kv.c */
};

struct app_kv;

struct app_conn {
	uint8_t op;		/* enum app_op */
	uint8_t next;		/* index into @held: the first that was not sent */
	uint8_t nheld;		/* entries used in @held */
	uint64_t fill;		/* bytes of the fixed body that are still to be produced */
	struct piece *held;	/* the body to echo: APP_PIECES_MAX entries, or NULL; each holds
				 * its buffer from @next on */
	struct app_kv *kv;	/* what the store has to do with it, or NULL */
};

/* Headers are complete. Returns 0, or the status to answer with after the body. */
int app_begin(struct http_conn *c);

/* Body bytes. Returns 0, or the status to answer with at once; the connection then ends. */
int app_body(struct http_conn *c, const struct piece *p);

/* Produce the answer, as far as the connection is not stalled. Returns true when complete. */
bool app_reply(struct http_conn *c);

/* Go on producing it. Returns true when complete. */
bool app_more(struct http_conn *c);

/* Forget the request. */
void app_end(struct http_conn *c);

/* The answers of a batch are about to leave: what they say has to be true from now on. */
void app_batch(struct http *h);

/* The thread ends; it has no connections any more. */
void app_exit(struct http *h);

#endif /* PHTTPD_APP_H */
