// SPDX-License-Identifier: BSD-2-Clause
/*
 * Contexts: where messages, memory and locking come from.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

static pthread_mutex_t library_mutex = PTHREAD_MUTEX_INITIALIZER;

static void print_error(struct nmctx *ctx, const char *sentence)
{
	(void)ctx;
	fprintf(stderr, "%s\n", sentence);
}

static void library_lock(struct nmctx *ctx, int lock)
{
	(void)ctx;
	if (lock)
		pthread_mutex_lock(&library_mutex);
	else
		pthread_mutex_unlock(&library_mutex);
}

static struct nmctx initial = {
	.error = print_error,
	.lock = library_lock,
};

static struct nmctx *current = &initial;

int nmctx_threadsafe = 1;

struct nmctx *nmctx_get(void)
{
	return current;
}

struct nmctx *nmctx_set_default(struct nmctx *ctx)
{
	struct nmctx *old = current;

	current = ctx;
	return old;
}

void nmctx_set_threadsafe(void)
{
	current->lock = library_lock;
}

void nmctx_ferror(struct nmctx *ctx, const char *fmt, ...)
{
	char sentence[512];
	int saved = errno;
	va_list ap;

	if (ctx->error) {
		va_start(ap, fmt);
		vsnprintf(sentence, sizeof(sentence), fmt, ap);
		va_end(ap);
		ctx->error(ctx, sentence);
	}
	errno = saved;
}

void *nmctx_malloc(struct nmctx *ctx, size_t size)
{
	void *p = ctx->malloc ? ctx->malloc(ctx, size) : malloc(size);

	if (!p) {
		errno = ENOMEM;
		nmctx_ferror(ctx, "out of memory (%zu bytes)", size);
	}
	return p;
}

void nmctx_free(struct nmctx *ctx, void *p)
{
	if (ctx->free)
		ctx->free(ctx, p);
	else
		free(p);
}

void nmctx_lock(struct nmctx *ctx)
{
	if (ctx->lock)
		ctx->lock(ctx, 1);
}

void nmctx_unlock(struct nmctx *ctx)
{
	if (ctx->lock)
		ctx->lock(ctx, 0);
}
