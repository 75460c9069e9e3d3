// SPDX-License-Identifier: BSD-2-Clause
/* paste_bufs.c - buffers of a stack port: kept, spare, lent, copied aside (see paste_bufs.h) */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "paste_bufs.h"

#define SPILL_MAX	(128u << 20) /* bytes copied aside for all connections of a thread */

/* A piece that was copied aside, at this (even) address. */
struct spill {
	uint32_t refs;
	uint32_t size;		/* bytes, at most a slot's */
	char data[];
};

/* NULL for a buffer of the port's. */
static struct spill *spill_of(struct buf *buf)
{
	return buf_in_region(buf) ? NULL : (struct spill *)buf;
}

bool paste_bufs_is_aside(const struct buf *buf)
{
	return !buf_in_region(buf);
}

int paste_bufs_init(struct paste_bufs *b, uint32_t n)
{
	b->refs = calloc(n, sizeof(*b->refs));
	b->was_lent = calloc(n, sizeof(*b->was_lent));
	b->clean = calloc(n, sizeof(*b->clean));
	b->used = calloc(n, sizeof(*b->used));
	return b->refs && b->was_lent && b->clean && b->used ? 0 : -ENOMEM;
}

void paste_bufs_destroy(struct paste_bufs *b)
{
	free(b->refs);
	free(b->was_lent);
	free(b->clean);
	free(b->used);
	free(b->lent);
}

void paste_bufs_push(struct paste_bufs *b, uint32_t idx)
{
	b->spare++;
	if (b->was_lent[idx])
		b->used[b->nused++] = idx;
	else
		b->clean[b->nclean++] = idx;
}

uint32_t paste_bufs_pop(struct paste_bufs *b)
{
	uint32_t idx = b->nused ? b->used[--b->nused] : b->clean[--b->nclean];

	b->spare--;
	b->was_lent[idx] = false;
	return idx;
}

uint32_t paste_bufs_pop_clean(struct paste_bufs *b)
{
	if (!b->nclean)
		return 0;
	b->spare--;
	return b->clean[--b->nclean];
}

static bool keep(struct paste_bufs *b, uint32_t idx)
{
	if (b->refs[idx]) {
		b->refs[idx]++;
		return true;
	}
	/* First time: it is in the RX slot at hand and must not go back with it. */
	if (idx != b->in_slot || !b->spare)
		return false;
	b->refs[idx] = 1;
	return true;
}

static void unkeep(struct paste_bufs *b, uint32_t idx)
{
	if (!--b->refs[idx] && idx != b->in_slot)
		paste_bufs_push(b, idx);
}

bool paste_bufs_hold(struct paste_bufs *b, struct buf *buf)
{
	struct spill *spill = spill_of(buf);

	if (!spill)
		return keep(b, buf_region_index(buf));
	spill->refs++;
	return true;
}

void paste_bufs_drop(struct paste_bufs *b, struct buf *buf)
{
	struct spill *spill = spill_of(buf);

	if (!spill) {
		unkeep(b, buf_region_index(buf));
	} else if (!--spill->refs) {
		b->spilled -= spill->size;
		free(spill);
	}
}

bool paste_bufs_copy_aside(struct paste_bufs *b, struct piece *p)
{
	struct spill *spill;

	if (b->spilled + p->len > SPILL_MAX)
		return false;
	spill = malloc(sizeof(*spill) + p->len);
	if (!spill)
		return false;
	*spill = (struct spill) { .refs = 1, .size = p->len };
	p->data = memcpy(spill->data, p->data, p->len);
	p->buf = (struct buf *)spill;
	b->spilled += p->len;
	return true;
}

void paste_bufs_lend(struct paste_bufs *b, uint32_t idx)
{
	if (b->nlent == b->lent_size) {
		uint32_t size = b->lent_size ? 2 * b->lent_size : 1024;
		uint32_t *lent = realloc(b->lent, size * sizeof(*lent));

		if (!lent)
			abort();	/* could neither send nor tell */
		b->lent = lent;
		b->lent_size = size;
	}
	b->lent[b->nlent++] = idx;
	b->refs[idx]++;
	b->was_lent[idx] = true;
}

void paste_bufs_sent(struct paste_bufs *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		unkeep(b, b->lent[i]);
	b->nlent -= n;
	memmove(b->lent, b->lent + n, b->nlent * sizeof(*b->lent));
}

static uint32_t store_take(void *ctx)
{
	struct paste_bufs *b = ctx;
	uint32_t idx = b->spare > SPARE_LOW ? paste_bufs_pop_clean(b) : 0;

	if (idx)
		b->refs[idx] = 1;
	return idx;
}

static bool store_keep(void *ctx, uint32_t idx)
{
	struct paste_bufs *b = ctx;

	return (b->refs[idx] || b->spare > SPARE_LOW) && keep(b, idx);
}

static void store_give(void *ctx, uint32_t idx)
{
	unkeep(ctx, idx);
}

const struct space_owner paste_bufs_for_store = {
	.take = store_take,
	.keep = store_keep,
	.give = store_give,
};
