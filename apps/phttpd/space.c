// SPDX-License-Identifier: BSD-2-Clause
/* space.c - counted buffers of a region; see space.h */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "space.h"

#define TRIES	4	/* partly used buffers looked at before another one is taken */

int space_init(struct space *s, const struct paste_region *region)
{
	const struct paste_region_info *info = paste_region_info(region);
	size_t len;

	memset(s, 0, sizeof(*s));
	s->base = (char *)paste_region_packet(region, &len) + info->buf_ofs;
	s->num = info->buf_num;
	s->limit = s->num - (s->num < 2 * SPACE_RESERVE ? s->num / 2 : SPACE_RESERVE);
	s->refs = calloc(s->num, sizeof(*s->refs));
	s->lines = calloc(s->num, sizeof(*s->lines));
	s->free = calloc(s->num, sizeof(*s->free));
	s->partial = calloc(s->num, sizeof(*s->partial));
	s->on_partial = calloc(s->num, sizeof(*s->on_partial));
	if (s->refs && s->lines && s->free && s->partial && s->on_partial)
		return 0;
	space_destroy(s);
	return -ENOMEM;
}

void space_destroy(struct space *s)
{
	free(s->refs);
	free(s->lines);
	free(s->free);
	free(s->partial);
	free(s->on_partial);
	memset(s, 0, sizeof(*s));
}

void space_set_owner(struct space *s, const struct space_owner *owner, void *ctx)
{
	s->owner = owner;
	s->ctx = ctx;
	s->nfree = 0;
	if (owner)
		return;
	for (uint32_t buf = s->num; buf-- > PASTE_REGION_FIRST_BUF;) {
		if (!s->refs[buf])
			s->free[s->nfree++] = buf;
	}
}

bool space_locate(const struct space *s, const void *data, size_t len, struct space_piece *p)
{
	uintptr_t at = (uintptr_t)data - (uintptr_t)s->base;
	uint32_t offset = at % SPACE_BUF;

	if (at / SPACE_BUF < PASTE_REGION_FIRST_BUF || at / SPACE_BUF >= s->num ||
	    len > SPACE_BUF - offset)
		return false;
	*p = (struct space_piece) { at / SPACE_BUF, offset, len };
	return true;
}

uint32_t space_take(struct space *s)
{
	uint32_t buf = 0;

	if (s->used >= s->limit)
		return 0;
	if (s->owner)
		buf = s->owner->take(s->ctx);
	else if (s->nfree)
		buf = s->free[--s->nfree];
	if (!buf)
		return 0;
	s->used++;
	s->refs[buf] = 1;
	return buf;
}

bool space_keep(struct space *s, uint32_t buf)
{
	if (!s->refs[buf]) {
		if (s->used >= s->limit || !s->owner || !s->owner->keep(s->ctx, buf))
			return false;
		s->used++;
	}
	s->refs[buf]++;
	return true;
}

void space_drop(struct space *s, uint32_t buf)
{
	if (--s->refs[buf])
		return;
	s->used--;
	if (s->owner)
		s->owner->give(s->ctx, buf);
	else
		s->free[s->nfree++] = buf;
}

/*
 * Filling. Values begin on lines of their own, so that flushing one does not touch another.
 */

bool space_room(struct space *s, const struct space_piece *last, size_t len,
		struct space_piece *p)
{
	bool goes_on = last && last->buf == s->fill && last->offset + last->len == s->fill_used;

	if (!goes_on)
		s->fill_used = (s->fill_used + SPACE_LINE - 1) & -(uint32_t)SPACE_LINE;
	if (!s->fill || s->fill_used == SPACE_BUF) {
		uint32_t buf = space_take(s);

		if (!buf)
			return false;
		if (s->fill)
			space_drop(s, s->fill);
		s->fill = buf;
		s->fill_used = 0;
	}
	if (len > SPACE_BUF - s->fill_used)
		len = SPACE_BUF - s->fill_used;
	*p = (struct space_piece) { s->fill, s->fill_used, len };
	s->fill_used += len;
	space_hold(s, s->fill);
	return true;
}

uint64_t space_bufs(const struct space *s, uint64_t len)
{
	uint32_t used = (s->fill_used + SPACE_LINE - 1) & -(uint32_t)SPACE_LINE;
	uint32_t room = s->fill ? SPACE_BUF - used : 0;

	return len > room ? (len - room + SPACE_BUF - 1) / SPACE_BUF : 0;
}

/*
 * Lines.
 */

static uint64_t mask_of(unsigned at, unsigned n)
{
	return (n == SPACE_LINES ? ~0ull : (1ull << n) - 1) << at;
}

/* The first of @n free lines in a row, or -1. */
static int find_lines(uint64_t used, unsigned n)
{
	uint64_t starts = ~used;

	for (unsigned i = 1; i < n && starts; i++)
		starts &= ~used >> i;
	return starts ? __builtin_ctzll(starts) : -1;
}

static uint32_t use_lines(struct space *s, uint32_t buf, unsigned at, unsigned n)
{
	s->lines[buf] |= mask_of(at, n);
	s->rec = buf;
	return buf * SPACE_LINES + at;
}

uint32_t space_lines(struct space *s, unsigned n)
{
	uint32_t buf;
	int at;

	for (int i = 0; i <= TRIES; i++) {
		if (!s->rec) {
			if (!s->npartial)
				break;
			s->rec = s->partial[--s->npartial];
			s->on_partial[s->rec] = false;
		}
		/* It may have been emptied and used for something else since. */
		at = s->lines[s->rec] ? find_lines(s->lines[s->rec], n) : -1;
		if (at >= 0) {
			space_hold(s, s->rec);
			return use_lines(s, s->rec, at, n);
		}
		s->rec = 0;
	}
	buf = space_take(s);
	return buf ? use_lines(s, buf, 0, n) : 0;
}

void space_free_lines(struct space *s, uint32_t line, unsigned n)
{
	uint32_t buf = line / SPACE_LINES;

	s->lines[buf] &= ~mask_of(line % SPACE_LINES, n);
	if (!s->lines[buf]) {
		if (s->rec == buf)
			s->rec = 0;
	} else if (!s->on_partial[buf]) {
		s->on_partial[buf] = true;
		s->partial[s->npartial++] = buf;
	}
	space_drop(s, buf);
}

/*
 * Recovery.
 */

bool space_found(struct space *s, uint32_t buf)
{
	if (!space_is_buf(s, buf) || s->lines[buf])
		return false;
	if (!s->refs[buf]++)
		s->used++;
	return true;
}

bool space_found_lines(struct space *s, uint32_t line, unsigned n)
{
	uint32_t buf = line / SPACE_LINES;
	uint64_t mask;

	if (!space_is_buf(s, buf) || !n || line % SPACE_LINES + n > SPACE_LINES)
		return false;
	mask = mask_of(line % SPACE_LINES, n);
	if (s->lines[buf] & mask || (s->refs[buf] && !s->lines[buf]))
		return false;
	s->lines[buf] |= mask;
	if (!s->refs[buf]++)
		s->used++;
	if (!s->on_partial[buf]) {
		s->on_partial[buf] = true;
		s->partial[s->npartial++] = buf;
	}
	return true;
}
