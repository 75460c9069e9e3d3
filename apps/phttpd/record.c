// SPDX-License-Identifier: BSD-2-Clause
/* record.c - records in persistent memory; see record.h */
#include <endian.h>
#include <string.h>

#include <paste_pm.h>

#include "crc32c.h"
#include "record.h"

struct head {
	uint64_t seq;
	uint64_t committed;
	uint32_t length;
	uint32_t pieces;
	uint32_t value_crc;
	uint32_t more;
	uint16_t key_len;
	uint16_t zero;
	uint32_t crc;
};

struct more {
	uint64_t seq;
	uint32_t more;
	uint32_t crc;
};

struct media_piece {
	uint32_t buf;
	uint16_t offset;
	uint16_t len;
};

_Static_assert(sizeof(struct head) == 40, "on media");
_Static_assert(sizeof(struct more) == 16, "on media");
_Static_assert(sizeof(struct media_piece) == 8, "on media");

#define PER_MORE	((SPACE_BUF - sizeof(struct more)) / sizeof(struct media_piece))

static uint32_t pieces_at(uint32_t key_len)
{
	return sizeof(struct head) + ((key_len + 7) & ~7u);
}

/* Pieces that are in the record itself. */
static uint32_t pieces_here(uint32_t key_len, uint32_t pieces)
{
	uint32_t room = (SPACE_BUF - pieces_at(key_len)) / sizeof(struct media_piece);

	return pieces < room ? pieces : room;
}

static uint32_t pieces_in_more(uint32_t left)
{
	return left < PER_MORE ? left : PER_MORE;
}

static uint32_t head_size(uint32_t key_len, uint32_t pieces)
{
	return pieces_at(key_len) +
	       pieces_here(key_len, pieces) * sizeof(struct media_piece);
}

unsigned record_lines(uint32_t key_len, uint32_t pieces)
{
	return (head_size(key_len, pieces) + SPACE_LINE - 1) / SPACE_LINE;
}

uint32_t record_bufs(uint32_t key_len, uint32_t pieces)
{
	uint32_t more = pieces - pieces_here(key_len, pieces);

	return 1 + (more + PER_MORE - 1) / PER_MORE;
}

/* The CRC of @size bytes, with the 4 bytes at @hole as zeros. */
static uint32_t crc_around(const char *p, size_t size, size_t hole)
{
	static const uint32_t zero;
	uint32_t crc = nmi_crc32c(0, p, hole);

	crc = nmi_crc32c(crc, &zero, sizeof(zero));
	hole += sizeof(zero);
	return nmi_crc32c(crc, p + hole, size - hole);
}

/* ------------------------------------------------------------------- writing */

static void encode_pieces(char *to, const struct space_piece *piece, uint32_t n)
{
	for (; n--; piece++, to += sizeof(struct media_piece)) {
		struct media_piece m = {
			.buf = htole32(piece->buf),
			.offset = htole16(piece->offset),
			.len = htole16(piece->len),
		};

		memcpy(to, &m, sizeof(m));
	}
}

static void write_flushed(char *to, const char *from, size_t len)
{
	paste_pm_write(to, from, len);
	paste_pm_flush(to, len);
}

static void free_more(struct space *s, uint32_t buf)
{
	while (buf) {
		const struct more *m = (const void *)space_at(s, buf);
		uint32_t next = le32toh(m->more);

		space_free_lines(s, buf * SPACE_LINES, SPACE_LINES);
		buf = next;
	}
}

/* The pieces that the record has no room for, last ones first. False: no space. */
static bool write_more(struct space *s, const struct record *r, const struct space_piece *piece,
		       uint32_t here, uint32_t *first)
{
	uint32_t left = r->pieces - here, next = 0;
	char text[SPACE_BUF];

	while (left) {
		uint32_t n = left % PER_MORE ? left % PER_MORE : PER_MORE;
		size_t size = sizeof(struct more) + n * sizeof(struct media_piece);
		struct more m = { .seq = htole64(r->seq), .more = htole32(next) };
		uint32_t line = space_lines(s, SPACE_LINES);

		if (!line) {
			free_more(s, next);
			return false;
		}
		left -= n;
		memcpy(text, &m, sizeof(m));
		encode_pieces(text + sizeof(m), piece + here + left, n);
		m.crc = htole32(crc_around(text, size, offsetof(struct more, crc)));
		memcpy(text, &m, sizeof(m));
		write_flushed(space_line(s, line), text, size);
		next = line / SPACE_LINES;
	}
	*first = next;
	return true;
}

uint64_t record_write(struct space *s, const struct record *r, const struct space_piece *piece)
{
	uint32_t here = pieces_here(r->key_len, r->pieces);
	uint32_t size = head_size(r->key_len, r->pieces);
	struct head h = {
		.seq = htole64(r->seq),
		.committed = htole64(r->committed),
		.length = htole32(r->length),
		.pieces = htole32(r->pieces),
		.value_crc = htole32(r->value_crc),
		.key_len = htole16(r->key_len),
	};
	char text[SPACE_BUF];
	uint32_t line, more;

	if (!write_more(s, r, piece, here, &more))
		return 0;
	line = space_lines(s, record_lines(r->key_len, r->pieces));
	if (!line) {
		free_more(s, more);
		return 0;
	}
	h.more = htole32(more);
	memcpy(text, &h, sizeof(h));
	memset(text + pieces_at(r->key_len) - 8, 0, 8);
	memcpy(text + sizeof(h), r->key, r->key_len);
	encode_pieces(text + pieces_at(r->key_len), piece, here);
	h.crc = htole32(crc_around(text, size, offsetof(struct head, crc)));
	memcpy(text, &h, sizeof(h));
	write_flushed(space_line(s, line), text, size);
	return record_ref(line, r->seq);
}

/* ------------------------------------------------------------------- reading */

void record_read(const struct space *s, uint32_t line, struct record *r)
{
	const char *at = space_line(s, line);
	struct head h;

	memcpy(&h, at, sizeof(h));
	*r = (struct record) {
		.seq = le64toh(h.seq),
		.committed = le64toh(h.committed),
		.length = le32toh(h.length),
		.pieces = le32toh(h.pieces),
		.value_crc = le32toh(h.value_crc),
		.more = le32toh(h.more),
		.key_len = le16toh(h.key_len),
		.key = at + sizeof(h),
	};
}

void record_walk(const struct space *s, uint32_t line, struct record_walk *w)
{
	struct record r;

	record_read(s, line, &r);
	*w = (struct record_walk) {
		.space = s,
		.at = space_line(s, line) + pieces_at(r.key_len),
		.here = pieces_here(r.key_len, r.pieces),
		.left = r.pieces,
		.more = r.more,
	};
}

bool record_next(struct record_walk *w, struct space_piece *p)
{
	struct media_piece m;

	if (!w->left)
		return false;
	if (!w->here) {
		const struct more *more = (const void *)space_at(w->space, w->more);

		w->at = (const char *)(more + 1);
		w->here = pieces_in_more(w->left);
		w->more = le32toh(more->more);
	}
	memcpy(&m, w->at, sizeof(m));
	*p = (struct space_piece) { le32toh(m.buf), le16toh(m.offset), le16toh(m.len) };
	w->at += sizeof(m);
	w->here--;
	w->left--;
	return true;
}

/* Are the buffers with further pieces there, @left of them in all? */
static bool check_more(const struct space *s, const struct record *r, uint32_t left)
{
	uint32_t buf = r->more;

	for (; left && space_is_buf(s, buf); left -= pieces_in_more(left)) {
		const char *at = space_at(s, buf);
		size_t size = sizeof(struct more) +
			      pieces_in_more(left) * sizeof(struct media_piece);
		struct more m;

		memcpy(&m, at, sizeof(m));
		if (le64toh(m.seq) != r->seq ||
		    le32toh(m.crc) != crc_around(at, size, offsetof(struct more, crc)))
			return false;
		buf = le32toh(m.more);
	}
	return !left && !buf;
}

static bool check_pieces(const struct space *s, uint32_t line, const struct record *r)
{
	struct record_walk w;
	struct space_piece p;
	uint64_t sum = 0;

	record_walk(s, line, &w);
	while (record_next(&w, &p)) {
		if (!space_is_buf(s, p.buf) || !p.len || p.offset + p.len > SPACE_BUF)
			return false;
		sum += p.len;
	}
	return sum == r->length;
}

bool record_check(const struct space *s, uint64_t ref, struct record *r, uint64_t *budget)
{
	uint32_t line = record_line(ref), in_buf = SPACE_BUF - line % SPACE_LINES * SPACE_LINE;
	const char *at = space_line(s, line);
	struct head h;
	uint32_t size;

	if (!space_is_buf(s, line / SPACE_LINES))
		return false;
	memcpy(&h, at, sizeof(h));
	record_read(s, line, r);
	if (!r->key_len || r->key_len > RECORD_KEY_MAX || (uint32_t)r->seq != (uint32_t)ref)
		return false;
	size = head_size(r->key_len, r->pieces);
	if (size > in_buf || h.zero ||
	    le32toh(h.crc) != crc_around(at, size, offsetof(struct head, crc)))
		return false;
	if (r->pieces > r->length || r->length > *budget)
		return false;
	*budget -= r->length;
	return check_more(s, r, r->pieces - pieces_here(r->key_len, r->pieces)) &&
	       check_pieces(s, line, r);
}

bool record_check_value(const struct space *s, uint32_t line)
{
	struct record_walk w;
	struct space_piece p;
	struct record r;
	uint32_t crc = 0;

	record_read(s, line, &r);
	record_walk(s, line, &w);
	while (record_next(&w, &p))
		crc = nmi_crc32c(crc, space_at(s, p.buf) + p.offset, p.len);
	return crc == r.value_crc;
}

/* --------------------------------------------------------------- all of one */

bool record_found(struct space *s, uint32_t line)
{
	struct record_walk w;
	struct space_piece p;
	struct record r;
	uint32_t more;

	record_read(s, line, &r);
	if (!space_found_lines(s, line, record_lines(r.key_len, r.pieces)))
		return false;
	for (more = r.more; more; more = le32toh(((struct more *)space_at(s, more))->more)) {
		if (!space_found_lines(s, more * SPACE_LINES, SPACE_LINES))
			return false;
	}
	record_walk(s, line, &w);
	while (record_next(&w, &p)) {
		if (!space_found(s, p.buf))
			return false;
	}
	return true;
}

void record_free(struct space *s, uint32_t line)
{
	struct record r;

	record_read(s, line, &r);
	free_more(s, r.more);
	space_free_lines(s, line, record_lines(r.key_len, r.pieces));
}

void record_free_all(struct space *s, uint32_t line)
{
	struct record_walk w;
	struct space_piece p;

	record_walk(s, line, &w);
	while (record_next(&w, &p))
		space_drop(s, p.buf);
	record_free(s, line);
}
