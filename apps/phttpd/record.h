/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * record.h - a key and where its value lies, in persistent memory
 *
 * Integers are little endian. A record begins on a line (64 bytes) of a buffer of the region and
 * ends in the same buffer:
 *
 *	 0  u64 seq		number of the write, ascending
 *	 8  u64 committed	writes up to this number were durable when this one was made
 *	16  u32 length		bytes of the value
 *	20  u32 pieces		of it
 *	24  u32 value CRC	CRC-32C of the value
 *	28  u32 more		buffer with further pieces, 0: none
 *	32  u16 key length	1 to 1024
 *	34  u16 zero
 *	36  u32 crc		CRC-32C of the record, with this field 0
 *	40  key, then zeros up to a multiple of 8
 *	    pieces: as many of them as fit into what is left of 4096 bytes for a record at
 *	    the beginning of its buffer, in the order of the value
 *
 * If there are more pieces they are in buffers of their own, 510 in each but the last:
 *
 *	 0  u64 seq		as in the record
 *	 8  u32 more		the next such buffer, 0: none
 *	12  u32 crc		CRC-32C of all that is used here, with this field 0
 *	16  pieces
 *
 *	piece
 *	 0  u32 buffer
 *	 4  u16 offset		of its first byte in the buffer
 *	 6  u16 length		1 to 4096
 *
 * A record is valid if
 *
 *	its crc is right, over all of it up to its last piece here, and it ends in its buffer
 *	the key has 1 to 1024 bytes, and bytes 34 and 35 are 0
 *	all pieces lie in buffers of the region, each in one, and together have the length of
 *	the value; one of no bytes has no piece
 *	there are as many further buffers as it takes, each with the record's seq and a right
 *	crc, over what is used of it, and the last one names no other
 *
 * A buffer with records, or further pieces, has nothing else, and no line is used twice. Pieces of
 * many values may lie in one buffer.
 *
 * Lines are numbered through: line 64 * i is the first of buffer i. A reference to a record,
 * which is what the tree holds, is its line in the upper 32 bits and those of its seq below.
 */
#ifndef PHTTPD_RECORD_H
#define PHTTPD_RECORD_H

#include "space.h"

#define RECORD_KEY_MAX	1024

/* What a record says. */
struct record {
	uint64_t seq;
	uint64_t committed;
	uint32_t length;
	uint32_t pieces;
	uint32_t value_crc;
	uint32_t more;
	uint16_t key_len;
	const char *key;	/* in the region */
};

/* A walk over the pieces of a record that is known to be valid. */
struct record_walk {
	const struct space *space;
	const char *at;		/* the next piece */
	uint32_t here;		/* pieces before the next buffer */
	uint32_t left;		/* pieces to come */
	uint32_t more;		/* the next buffer */
};

static inline uint64_t record_ref(uint32_t line, uint64_t seq)
{
	return (uint64_t)line << 32 | (uint32_t)seq;
}

static inline uint32_t record_line(uint64_t ref)
{
	return ref >> 32;
}

/* Lines that a record with such a key and so many pieces begins with. */
unsigned record_lines(uint32_t key_len, uint32_t pieces);

/* Buffers that record_write() takes, at most. */
uint32_t record_bufs(uint32_t key_len, uint32_t pieces);

/*
 * Write a record for @r, whose key lies anywhere, with @piece[r->pieces]; @r->more is not looked
 * at. What it takes is flushed, and durable after a fence. Returns its reference, or 0: no space.
 */
uint64_t record_write(struct space *s, const struct record *r, const struct space_piece *piece);

/* Read a record that is known to be valid. */
void record_read(const struct space *s, uint32_t line, struct record *r);

/*
 * Is there a whole record with that reference? Then *@r is what it says. All it names is checked
 * to exist; the value's bytes are not looked at: record_check_value().
 * @budget: bytes that values may have in all, as no two share one; the value's are taken off.
 *          It bounds what records that were not written by us can make recovery read.
 */
bool record_check(const struct space *s, uint64_t ref, struct record *r, uint64_t *budget);

/* Has the value of a record that is there the right CRC? */
bool record_check_value(const struct space *s, uint32_t line);

/* Count all that a record takes; false: it contradicts another one. */
bool record_found(struct space *s, uint32_t line);

/* Give back what a record takes: itself, and its value as well. */
void record_free(struct space *s, uint32_t line);
void record_free_all(struct space *s, uint32_t line);

void record_walk(const struct space *s, uint32_t line, struct record_walk *w);
bool record_next(struct record_walk *w, struct space_piece *p);

#endif /* PHTTPD_RECORD_H */
