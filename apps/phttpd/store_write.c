// SPDX-License-Identifier: BSD-2-Clause
/*
 * store_write.c - what a write collects before it is put or appended
 *
 * Pieces of buffers, each with a count on its buffer: bytes that lie in the region stay where they
 * are, others are copied into buffers of the store. A value is flushed as it comes; its record, and
 * the fence, are store.c's. Writes that have ended are used again.
 *
 *	idle --store_begin--> collecting --store_put, store_append, store_abort--> idle
 *	                       '-store_add-^
 */
#include <errno.h>
#include <stdlib.h>

#include <paste_pm.h>

#include "crc32c.h"
#include "record.h"
#include "store_internal.h"

#define PIECES_KEPT	256	/* room for so many pieces a write keeps for the next one */
#define SMALL		256	/* bytes that are not worth a buffer, once there is one */

struct store_write *store_begin(struct store *st, enum store_kind kind, uint64_t most)
{
	struct store_write *w = st->idle;

	if (w) {
		st->idle = w->next;
	} else {
		w = calloc(1, sizeof(*w));
		if (!w)
			return NULL;
		w->st = st;
		w->other = st->writes;
		st->writes = w;
	}
	w->kind = kind;
	w->crc = 0;
	w->length = 0;
	w->most = most;
	w->short_of_space = false;
	w->n = 0;
	return w;
}

static void free_pieces(struct store_write *w)
{
	free(w->piece);
	free(w->wal);
	w->piece = NULL;
	w->wal = NULL;
	w->room = 0;
}

void store_release(struct store_write *w)
{
	if (w->room > PIECES_KEPT)	/* what a client once sent is not to be held for good */
		free_pieces(w);
	w->next = w->st->idle;
	w->st->idle = w;
}

void store_abort(struct store_write *w)
{
	for (uint32_t i = 0; i < w->n; i++)
		space_drop(&w->st->space, w->piece[i].buf);
	store_release(w);
}

static int grow(struct store_write *w)
{
	uint32_t room = w->room ? 2 * w->room : 16;
	struct paste_wal_piece *wal;
	struct space_piece *piece;

	if (w->n < w->room)
		return 0;
	piece = realloc(w->piece, room * sizeof(*piece));
	if (!piece)
		return -ENOMEM;
	w->piece = piece;
	wal = realloc(w->wal, room * sizeof(*wal));
	if (!wal)
		return -ENOMEM;
	w->wal = wal;
	w->room = room;
	return 0;
}

static struct space_piece *last_piece(struct store_write *w)
{
	return w->n ? &w->piece[w->n - 1] : NULL;
}

/* Append a piece that comes with a count, which goes if it only makes the last one longer. */
static void add_piece(struct store_write *w, const struct space_piece *p)
{
	struct space_piece *last = last_piece(w);

	if (w->n && last->buf == p->buf && last->offset + last->len == p->offset) {
		last->len += p->len;
		space_drop(&w->st->space, p->buf);
	} else {
		w->piece[w->n++] = *p;
	}
}

/* What the log appends it flushes itself. */
static void account(struct store_write *w, const void *data, size_t len)
{
	if (w->kind == STORE_VALUE)
		w->crc = nmi_crc32c(w->crc, data, len);
	w->length += len;
}

/* Buffers for the rest of it, if that is copied, @len bytes at least, and for the record. */
static uint64_t needed(const struct store_write *w, size_t len)
{
	uint64_t rest = w->most > w->length + len ? w->most - w->length : len;
	uint64_t pieces, bufs = space_bufs(&w->st->space, rest);

	pieces = w->n + bufs + 1;
	if (w->kind == STORE_MESSAGE)
		return pieces <= w->st->log_max ? bufs : UINT32_MAX;
	return bufs + record_bufs(STORE_KEY_MAX, pieces);
}

static int copy(struct store_write *w, const char *data, size_t len)
{
	struct space *s = &w->st->space;

	while (len) {
		struct space_piece p;
		int err = grow(w);

		if (err)
			return err;
		while (!space_room(s, last_piece(w), len, &p)) {
			if (store_reclaim(w->st))
				continue;
			w->short_of_space = true;
			if (!store_make_room(w->st, needed(w, len)))
				return -ENOSPC;
		}
		/* The log reads it again, for its CRC: it should still be in the cache then. */
		if (w->kind == STORE_VALUE)
			paste_pm_copy_nt(store_bytes(s, &p), data, p.len);
		else
			paste_pm_write(store_bytes(s, &p), data, p.len);
		account(w, data, p.len);
		w->st->stats.copied += p.len;
		data += p.len;
		len -= p.len;
		add_piece(w, &p);
	}
	return 0;
}

static int keep(struct store_write *w, const char *data, const struct space_piece *p)
{
	struct space *s = &w->st->space;

	if (!space_keep(s, p->buf) && !(store_reclaim(w->st) && space_keep(s, p->buf)))
		return copy(w, data, p->len);
	if (w->kind == STORE_VALUE)
		paste_pm_flush(data, p->len);
	account(w, data, p->len);
	add_piece(w, p);
	return 0;
}

int store_add(struct store_write *w, const void *data, size_t len)
{
	struct space_piece p;
	int err;

	if (len > UINT32_MAX - w->length)
		return -EFBIG;
	err = grow(w);
	if (err)
		return err;
	if (space_locate(&w->st->space, data, len, &p) && (!w->n || len >= SMALL) &&
	    !w->short_of_space)
		err = keep(w, data, &p);
	else
		err = copy(w, data, len);
	if (err == -ENOSPC)
		w->st->stats.full++;
	return err;
}

void store_free_writes(struct store *st)
{
	struct store_write *w = st->writes;

	while (w) {
		struct store_write *next = w->other;

		free_pieces(w);
		free(w);
		w = next;
	}
}
