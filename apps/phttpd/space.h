/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * space.h - the buffers of a region that the store has, counted
 *
 * A buffer may hold the end of one value and the beginning of the next, or dozens of small
 * records: each of them has a count on it, and so has each reply on its way from it. The
 * counts are in DRAM; recovery makes them anew. With the last one the buffer goes back to its
 * owner: the port that receives into the region, or, when there is none, a free list here.
 *
 * The store never has more than space.limit buffers, so that what the port needs to receive and
 * send is not eaten up by values: a full store refuses writes and goes on serving.
 *
 * Three kinds of use:
 *
 *	kept	   a packet's buffer, as it arrived
 *	filled	   bytes copied one behind the other, of one value after another
 *	records	   in units of lines of 64 bytes; lines[] has a bit for each that is used
 */
#ifndef PHTTPD_SPACE_H
#define PHTTPD_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <paste_region.h>

#define SPACE_BUF	PASTE_REGION_BUF_SIZE
#define SPACE_LINE	64
#define SPACE_LINES	(SPACE_BUF / SPACE_LINE)

/* Buffers, or half of a small region, that values never take: for rings, NIC and TCP. */
#define SPACE_RESERVE	8192

/* Bytes in a buffer. */
struct space_piece {
	uint32_t buf;
	uint16_t offset;
	uint16_t len;
};

/* Who has the buffers that the store does not have. */
struct space_owner {
	/* A buffer that nobody reads or writes any more; 0: none to be had. */
	uint32_t (*take)(void *ctx);

	/* Leave @buf, which has just been received into, to the store. False: not now. */
	bool (*keep)(void *ctx, uint32_t buf);

	/* The store needs @buf, taken or kept, no longer. Replies may still be leaving from it. */
	void (*give)(void *ctx, uint32_t buf);
};

struct space {
	char *base;		/* of buffer 0 */
	uint32_t num;		/* buffers in the region */
	uint32_t limit;		/* as many may be used */
	uint32_t used;		/* have a count */
	uint32_t *refs;		/* counts, by buffer */
	uint64_t *lines;	/* in buffers of records: those that are used */
	const struct space_owner *owner;
	void *ctx;		/* for its functions */

	uint32_t *free;		/* without another owner: the buffers without a count */
	uint32_t nfree;

	uint32_t fill;		/* being filled, with a count of ours; 0: none */
	uint32_t fill_used;	/* bytes of it */

	uint32_t rec;		/* where records are put first; 0: anywhere */
	uint32_t *partial;	/* a stack of buffers that may have free lines */
	uint32_t npartial;
	bool *on_partial;	/* is on it */
};

/* All buffers of @region, none used. Returns 0 or -ENOMEM. */
int space_init(struct space *s, const struct paste_region *region);
void space_destroy(struct space *s);

/* Who has the unused buffers from now on; NULL: the free list, made anew. */
void space_set_owner(struct space *s, const struct space_owner *owner, void *ctx);

static inline char *space_at(const struct space *s, uint32_t buf)
{
	return s->base + (size_t)buf * SPACE_BUF;
}

/* Is there such a buffer? */
static inline bool space_is_buf(const struct space *s, uint32_t buf)
{
	return buf >= PASTE_REGION_FIRST_BUF && buf < s->num;
}

/* Does [@data, @data + @len) lie in one buffer? Then *p says where. */
bool space_locate(const struct space *s, const void *data, size_t len, struct space_piece *p);

/* A buffer of its own, with one count; 0: none, or none may be used. */
uint32_t space_take(struct space *s);

/* One more count on a buffer that was received into, or has counts. False: it must not be kept. */
bool space_keep(struct space *s, uint32_t buf);

/* One count more on a buffer that has some; one less. */
static inline void space_hold(struct space *s, uint32_t buf)
{
	s->refs[buf]++;
}
void space_drop(struct space *s, uint32_t buf);

/*
 * Up to @len bytes of room for copying, at least one, with a count; @p continues @last, the piece
 * before of the same value, if that is possible. False: none.
 */
bool space_room(struct space *s, const struct space_piece *last, size_t len,
		struct space_piece *p);

/* Buffers that it takes to copy @len bytes in, at most. */
uint64_t space_bufs(const struct space *s, uint64_t len);

/*
 * @n free lines, one behind the other, in one buffer, with a count on it: the number of the first,
 * counted through the region, or 0. And back.
 */
uint32_t space_lines(struct space *s, unsigned n);
void space_free_lines(struct space *s, uint32_t line, unsigned n);

static inline char *space_line(const struct space *s, uint32_t line)
{
	return s->base + (size_t)line * SPACE_LINE;
}

/*
 * For recovery: something lies there. Counts a buffer of payload, or lines of records; false:
 * it contradicts what was found before.
 */
bool space_found(struct space *s, uint32_t buf);
bool space_found_lines(struct space *s, uint32_t line, unsigned n);

#endif /* PHTTPD_SPACE_H */
