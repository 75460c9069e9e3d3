// SPDX-License-Identifier: BSD-2-Clause
/*
 * The write-ahead log.
 *
 * Format.  Integers are little endian.  The area is made of 64-byte lines:
 *
 *	    0	header, written once		 64	root, copy 0
 *	 4096	root, copy 1			8192	slot 0, slot 1, ...
 *
 *	header				root
 *	 0  u64 magic "PASTEwal"	 0  u64 head	oldest live record
 *	 8  u32 version	1		 8  u64 start	first record of this epoch
 *	12  u32 line	64		16  u64 epoch	times it was opened
 *	16  u64 length	of the area	24  zero
 *	24  u64 slots			60  u32 crc
 *	32  zero
 *	60  u32 crc			crc is CRC-32C of bytes 0 to 59
 *
 * A root is valid if its crc is right, head and start are from 1 to 2^62 - 1, epoch is at most
 * that, and start is not more than slots beyond head.
 *
 *	record, number seq in slot seq % slots; numbers begin with 1
 *	 0  u64 seq		32  u32 buf	index of the buffer
 *	 8  u64 epoch		36  u32 offset	first byte of the piece in it
 *	16  u64 tag		40  u32 len	its bytes
 *	24  u64 durable		44  u32 flags	1 first, 2 last piece of a message,
 *	48  u32 payload CRC			4 payload CRC is valid, 8 no piece
 *	52  zero		60  u32 crc
 *
 * durable is a number up to which records were committed when this one was
 * written.  Record seq is there if its crc and seq are right and
 *
 *	seq <  start	its epoch is less than the root's
 *	seq >= start	its epoch is the root's
 *
 * so that no record an earlier recovery has not accepted can come back.
 *
 * A message is a run of records, the first with flag 1 and no other, the last with
 * flag 2 and no other, and all with its tag; one with both is all of it.  The
 * message's number is that of its last record, whose tag counts.  A record that is
 * there is valid in such a run if
 *
 *	no flag above 8 is set; and
 *	with flag 8	1 and 2 are set: a message without bytes.  Fields of the
 *			piece, and flag 4, say nothing
 *	without it	buf is below the number of buffers, and offset + len are
 *			not beyond the size of one; len may be 0
 *	with flag 4	payload CRC is CRC-32C of the piece's bytes.  Without it
 *			that field says nothing, and nobody reads the bytes
 *
 * How many buffers there are, and of which size, is not in the log: who opens it says.
 *
 *	 head		start			tail
 *	--[--- accepted ---|--- this epoch ------)-----------------> seq
 *	   all there	     there up to tail,	   stale or torn or empty
 *	   or damage	     durable up to a
 *			     commit
 *
 * Commit.  Payload and records are flushed by append and share one fence, so a
 * crash may leave a record without its payload: the payload CRC tells.  Without
 * payload CRCs append leaves the record's last word, with its crc, as it was, and
 * commit writes it after a first fence: the bytes that validate come after the
 * bytes they validate.
 *
 * Recovery.
 *	1. The root is copy 0, or copy 1 if 0 is not valid.  When they differ, one
 *	   is from an update that was interrupted, and nothing has followed from it:
 *	   either will do.
 *	2. tail is the end of the last whole message that can be reached from head
 *	   by valid records.
 *	3. If tail < start, or any record of this epoch, wherever it is, says by
 *	   its durable field that tail was committed, the log is damaged.
 *	4. If only the process died, the header's magic, the root and the records
 *	   accepted may still be in caches: flush them, fence.  (What else there is
 *	   was flushed before its record, or before the magic, was written.)
 *	5. Write the root with epoch + 1 and start = tail.
 * A crash before 5 repeats it.  Afterwards the records behind tail are stale.
 *
 * Root updates.  First the copy that was not chosen at open, then the other, each
 * durable before the next step, so one copy is whole at any time.  Truncation
 * reports buffers, and open replays, after both: damage to one copy cannot bring
 * back what was given up.
 *
 * Formatting makes the header's magic 0, everything else what it has to be, and
 * then the magic, each durable before the next.
 */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <paste_pm.h>
#include <paste_wal.h>

#include "crc32c.h"

#define MAGIC		0x6c61774554534150ull	/* "PASTEwal" */
#define VERSION		1
#define LINE		64
#define ROOT0_OFS	64
#define ROOT1_OFS	4096
#define SLOTS_OFS	8192
/* Numbers stay below, so that a sequence number is a positive int64_t. */
#define NUMBER_MAX	(UINT64_MAX >> 2)

#define REC_FIRST	1u
#define REC_LAST	2u
#define REC_CRC		4u
#define REC_NONE	8u

struct header {
	uint64_t magic;
	uint32_t version;
	uint32_t line;
	uint64_t length;
	uint64_t slots;
	uint8_t zero[28];
	uint32_t crc;
};

struct root {
	uint64_t head;
	uint64_t start;
	uint64_t epoch;
	uint8_t zero[36];
	uint32_t crc;
};

struct record {
	uint64_t seq;
	uint64_t epoch;
	uint64_t tag;
	uint64_t durable;
	uint32_t buf;
	uint32_t offset;
	uint32_t len;
	uint32_t flags;
	uint32_t payload_crc;
	uint32_t zero[2];
	uint32_t crc;
};

/* The record's last word, which validates it. */
#define SEAL_OFS	56

_Static_assert(sizeof(struct header) == LINE, "on media");
_Static_assert(sizeof(struct root) == LINE, "on media");
_Static_assert(sizeof(struct record) == LINE, "on media");

struct paste_wal {
	char *area;
	uint64_t slots;
	struct paste_wal_bufs bufs;
	bool crc;		/* of payload, in what is appended */
	uint32_t *refs;		/* pieces of live messages, by buffer */

	uint64_t head, start, epoch;	/* as in the root */
	unsigned int copy;	/* of the root, chosen at open and written last */
	uint64_t tail;		/* number of the next record */
	uint64_t committed;	/* number of the last durable record */

	uint64_t messages, bytes, commits, full;
};

/* A CRC over all of a line but its last word. */
static uint32_t line_crc(const void *line)
{
	return nmi_crc32c(0, line, LINE - sizeof(uint32_t));
}

static struct record *slot(const struct paste_wal *wal, uint64_t seq)
{
	return (void *)(wal->area + SLOTS_OFS + seq % wal->slots * LINE);
}

static char *payload(const struct paste_wal *wal, const struct paste_wal_piece *p)
{
	return (char *)wal->bufs.base + (uint64_t)p->buf * wal->bufs.stride + p->offset;
}

static bool is_piece(const struct paste_wal *wal, const struct paste_wal_piece *p)
{
	return p->buf < wal->bufs.num && p->offset <= wal->bufs.stride &&
	       p->len <= wal->bufs.stride - p->offset;
}

static bool is_area(const void *area, size_t len)
{
	return (uintptr_t)area % LINE == 0 && len >= PASTE_WAL_MIN;
}

/* -------------------------------------------------------------------- roots */

static struct root *root(char *area, unsigned int copy)
{
	return (void *)(area + (copy ? ROOT1_OFS : ROOT0_OFS));
}

static void encode_root(struct root *r, uint64_t head, uint64_t start, uint64_t epoch)
{
	memset(r, 0, sizeof(*r));
	r->head = htole64(head);
	r->start = htole64(start);
	r->epoch = htole64(epoch);
	r->crc = htole32(line_crc(r));
}

static void write_roots(struct paste_wal *wal, uint64_t head, uint64_t start,
			uint64_t epoch)
{
	struct root r, *first = root(wal->area, !wal->copy);
	struct root *second = root(wal->area, wal->copy);

	encode_root(&r, head, start, epoch);
	paste_pm_write(first, &r, sizeof(r));
	paste_pm_persist(first, sizeof(r));
	paste_pm_write(second, &r, sizeof(r));
	paste_pm_persist(second, sizeof(r));
	wal->start = start;
	wal->epoch = epoch;
}

/* A valid copy in host order. */
static bool read_root(const struct paste_wal *wal, unsigned int copy, struct root *r)
{
	memcpy(r, root(wal->area, copy), sizeof(*r));
	if (le32toh(r->crc) != line_crc(r))
		return false;
	r->head = le64toh(r->head);
	r->start = le64toh(r->start);
	r->epoch = le64toh(r->epoch);
	if (!r->head || r->head > NUMBER_MAX || !r->start ||
	    r->start > NUMBER_MAX || r->epoch > NUMBER_MAX)
		return false;
	return r->start <= r->head || r->start - r->head <= wal->slots;
}

static int choose_root(struct paste_wal *wal)
{
	struct root r;

	wal->copy = 0;
	if (!read_root(wal, 0, &r)) {
		wal->copy = 1;
		if (!read_root(wal, 1, &r))
			return -EBADMSG;
	}
	wal->head = r.head;
	wal->start = r.start;
	wal->epoch = r.epoch;
	return 0;
}

/* ------------------------------------------------------------------- format */

int paste_wal_format(void *area, size_t len)
{
	struct header h = {
		.magic = htole64(MAGIC),
		.version = htole32(VERSION),
		.line = htole32(LINE),
		.length = htole64(len),
	};
	uint64_t *magic = area;
	char *a = area;
	struct root r;

	if (!is_area(area, len))
		return -EINVAL;
	h.slots = htole64((len - SLOTS_OFS) / LINE);
	h.crc = htole32(line_crc(&h));
	encode_root(&r, 1, 1, 0);

	paste_pm_store64(magic, 0);
	paste_pm_persist(magic, sizeof(*magic));

	paste_pm_write(magic + 1, (char *)&h + sizeof(*magic), sizeof(h) - sizeof(*magic));
	paste_pm_zero(a + LINE, len - LINE);
	paste_pm_write(root(a, 0), &r, sizeof(r));
	paste_pm_write(root(a, 1), &r, sizeof(r));
	paste_pm_persist(a, len);

	paste_pm_store64(magic, h.magic);
	paste_pm_persist(magic, sizeof(*magic));
	return 0;
}

static int check_header(struct paste_wal *wal, size_t len)
{
	struct header h;

	memcpy(&h, wal->area, sizeof(h));
	if (h.magic != htole64(MAGIC))
		return -EMEDIUMTYPE;
	if (le32toh(h.crc) != line_crc(&h))
		return -EBADMSG;
	if (h.version != htole32(VERSION))
		return -EPROTONOSUPPORT;
	if (le64toh(h.length) != len)
		return -EOVERFLOW;
	wal->slots = (len - SLOTS_OFS) / LINE;
	if (h.line != htole32(LINE) || le64toh(h.slots) != wal->slots)
		return -EBADMSG;
	return 0;
}

/* ----------------------------------------------------------------- recovery */

/* Record @seq in host order, if it is there in its entirety. */
static bool read_record(const struct paste_wal *wal, uint64_t seq, struct record *r)
{
	memcpy(r, slot(wal, seq), sizeof(*r));
	if (le64toh(r->seq) != seq || le32toh(r->crc) != line_crc(r))
		return false;
	r->seq = le64toh(r->seq);
	r->epoch = le64toh(r->epoch);
	r->tag = le64toh(r->tag);
	r->durable = le64toh(r->durable);
	r->buf = le32toh(r->buf);
	r->offset = le32toh(r->offset);
	r->len = le32toh(r->len);
	r->flags = le32toh(r->flags);
	r->payload_crc = le32toh(r->payload_crc);
	return seq < wal->start ? r->epoch < wal->epoch : r->epoch == wal->epoch;
}

static struct paste_wal_piece piece_of(const struct record *r)
{
	return (struct paste_wal_piece){ r->buf, r->offset, r->len };
}

/* Record @r, which is there, is valid: @first says whether a message has to begin with it. */
static bool is_next(const struct paste_wal *wal, const struct record *r, bool first)
{
	struct paste_wal_piece p = piece_of(r);

	if (r->flags & ~(REC_FIRST | REC_LAST | REC_CRC | REC_NONE) ||
	    !(r->flags & REC_FIRST) == first)
		return false;
	if (r->flags & REC_NONE)
		return r->flags & REC_FIRST && r->flags & REC_LAST;
	if (!is_piece(wal, &p))
		return false;
	return !(r->flags & REC_CRC) ||
	       r->payload_crc == nmi_crc32c(0, payload(wal, &p), p.len);
}

/* Step 2: set the tail.  Returns the pieces of the longest message. */
static uint32_t find_tail(struct paste_wal *wal)
{
	uint64_t seq, longest = 0;
	struct record r;

	wal->tail = wal->head;
	for (seq = wal->head; seq - wal->head < wal->slots; seq++) {
		if (!read_record(wal, seq, &r) || !is_next(wal, &r, seq == wal->tail))
			break;
		if (!(r.flags & REC_LAST))
			continue;
		if (seq + 1 - wal->tail > longest)
			longest = seq + 1 - wal->tail;
		wal->tail = seq + 1;
	}
	return (uint32_t)longest;
}

/* Step 3. */
static bool is_damaged(const struct paste_wal *wal)
{
	struct record r;
	uint64_t seq;

	if (wal->tail < wal->start)
		return true;
	for (seq = wal->tail; seq - wal->head < wal->slots; seq++)
		if (read_record(wal, seq, &r) && r.durable >= wal->tail)
			return true;
	return false;
}

/* Steps 4 and 5. */
static void accept(struct paste_wal *wal)
{
	struct record r;
	uint64_t seq;

	for (seq = wal->head; seq < wal->tail; seq++) {
		read_record(wal, seq, &r);
		if (!(r.flags & REC_NONE))
			wal->refs[r.buf]++;
		paste_pm_flush(slot(wal, seq), LINE);
	}
	paste_pm_flush(wal->area, sizeof(struct header));
	paste_pm_flush(root(wal->area, wal->copy), sizeof(struct root));
	paste_pm_fence();
	write_roots(wal, wal->head, wal->tail, wal->epoch + 1);
	wal->committed = wal->tail - 1;
}

/* @pieces has room for the longest message. */
static int replay_all(const struct paste_wal *wal, struct paste_wal_piece *pieces,
		      paste_wal_replay_fn *replay, void *ctx)
{
	struct paste_wal_message m = { .pieces = pieces };
	struct record r;
	uint64_t seq;
	int err;

	for (seq = wal->head; seq < wal->tail; seq++) {
		read_record(wal, seq, &r);
		if (!(r.flags & REC_NONE))
			pieces[m.n++] = piece_of(&r);
		if (!(r.flags & REC_LAST))
			continue;
		m.seq = seq;
		m.tag = r.tag;
		err = replay(&m, ctx);
		if (err)
			return err;
		m.n = 0;
	}
	return 0;
}

static int recover(struct paste_wal *wal, size_t len, paste_wal_replay_fn *replay,
		   void *ctx)
{
	struct paste_wal_piece *pieces = NULL;
	uint32_t longest;
	int err;

	err = check_header(wal, len);
	if (!err)
		err = choose_root(wal);
	if (err)
		return err;
	longest = find_tail(wal);
	if (is_damaged(wal))
		return -EBADMSG;
	if (replay && longest) {
		pieces = calloc(longest, sizeof(*pieces));
		if (!pieces)
			return -ENOMEM;
	}
	accept(wal);
	if (pieces)
		err = replay_all(wal, pieces, replay, ctx);
	free(pieces);
	return err;
}

int paste_wal_open(void *area, size_t len, const struct paste_wal_bufs *bufs,
		   unsigned int flags, paste_wal_replay_fn *replay, void *ctx,
		   struct paste_wal **out)
{
	struct paste_wal *wal;
	int err;

	if (!is_area(area, len) || flags & ~PASTE_WAL_CRC)
		return -EINVAL;
	wal = calloc(1, sizeof(*wal));
	if (!wal)
		return -ENOMEM;
	wal->area = area;
	wal->bufs = *bufs;
	wal->crc = flags & PASTE_WAL_CRC;
	wal->refs = calloc(bufs->num, sizeof(*wal->refs));
	err = wal->refs || !bufs->num ? recover(wal, len, replay, ctx) : -ENOMEM;
	if (err)
		paste_wal_close(wal);
	else
		*out = wal;
	return err;
}

void paste_wal_close(struct paste_wal *wal)
{
	if (!wal)
		return;
	free(wal->refs);
	free(wal);
}

/* -------------------------------------------------------- append and commit */

/* Everything of a record but what makes it this piece of this message. */
static struct record begin_record(const struct paste_wal *wal, uint64_t seq, uint64_t tag)
{
	return (struct record){
		.seq = htole64(seq),
		.epoch = htole64(wal->epoch),
		.tag = htole64(tag),
		.durable = htole64(wal->committed),
	};
}

static void set_piece(const struct paste_wal *wal, struct record *r,
		      const struct paste_wal_piece *p)
{
	r->buf = htole32(p->buf);
	r->offset = htole32(p->offset);
	r->len = htole32(p->len);
	if (wal->crc)
		r->payload_crc = htole32(nmi_crc32c(0, payload(wal, p), p->len));
}

/* Without payload CRCs commit adds the seal. */
static void write_record(struct paste_wal *wal, uint64_t seq, struct record *r)
{
	struct record *s = slot(wal, seq);

	if (!wal->crc) {
		paste_pm_write(s, r, SEAL_OFS);
		return;
	}
	r->crc = htole32(line_crc(r));
	paste_pm_write(s, r, sizeof(*r));
	paste_pm_flush(s, sizeof(*s));
}

static void append_piece(struct paste_wal *wal, const struct paste_wal_piece *p,
			 uint32_t flags, uint64_t tag)
{
	struct record r = begin_record(wal, wal->tail, tag);

	r.flags = htole32(flags | (wal->crc ? REC_CRC : 0));
	set_piece(wal, &r, p);
	paste_pm_flush(payload(wal, p), p->len);
	write_record(wal, wal->tail++, &r);
	wal->refs[p->buf]++;
	wal->bytes += p->len;
}

static void append_nothing(struct paste_wal *wal, uint64_t tag)
{
	struct record r = begin_record(wal, wal->tail, tag);

	r.flags = htole32(REC_FIRST | REC_LAST | REC_NONE);
	write_record(wal, wal->tail++, &r);
}

int64_t paste_wal_append(struct paste_wal *wal,
			 const struct paste_wal_piece *pieces, uint32_t n,
			 uint64_t tag)
{
	uint32_t i, records = n ? n : 1;

	for (i = 0; i < n; i++)
		if (!is_piece(wal, &pieces[i]))
			return -ERANGE;
	if (records > wal->slots)
		return -EMSGSIZE;
	if (records > wal->slots - (wal->tail - wal->head)) {
		wal->full++;
		return -ENOSPC;
	}
	for (i = 0; i < n; i++)
		append_piece(wal, &pieces[i], (i ? 0 : REC_FIRST) |
			     (i == n - 1 ? REC_LAST : 0), tag);
	if (!n)
		append_nothing(wal, tag);
	wal->messages++;
	return (int64_t)(wal->tail - 1);
}

/* After a fence for payload: validate the records that were appended. */
static void seal_records(struct paste_wal *wal)
{
	uint64_t seq, seal;
	struct record r;

	for (seq = wal->committed + 1; seq < wal->tail; seq++) {
		char *line = (char *)slot(wal, seq);

		memcpy(&r, line, SEAL_OFS);
		r.zero[1] = 0;
		r.crc = htole32(line_crc(&r));
		memcpy(&seal, (char *)&r + SEAL_OFS, sizeof(seal));
		paste_pm_store64((uint64_t *)(line + SEAL_OFS), seal);
		paste_pm_flush(line, LINE);
	}
}

uint64_t paste_wal_commit(struct paste_wal *wal)
{
	if (wal->committed == wal->tail - 1)
		return wal->committed;
	if (!wal->crc) {
		paste_pm_fence();
		seal_records(wal);
	}
	paste_pm_fence();
	wal->committed = wal->tail - 1;
	wal->commits++;
	return wal->committed;
}

/* --------------------------------------------------------------- truncation */

/* The number behind the last whole message up to @upto. */
static uint64_t new_head(const struct paste_wal *wal, uint64_t upto)
{
	uint64_t seq, head = wal->head;

	for (seq = wal->head; seq <= upto; seq++)
		if (le32toh(slot(wal, seq)->flags) & REC_LAST)
			head = seq + 1;
	return head;
}

int paste_wal_truncate(struct paste_wal *wal, uint64_t upto,
		       paste_wal_freed_fn *freed, void *ctx)
{
	uint64_t head;

	if (upto > wal->committed)
		return -EINVAL;
	head = new_head(wal, upto);
	if (head == wal->head)
		return 0;
	write_roots(wal, head, wal->start, wal->epoch);
	for (; wal->head < head; wal->head++) {
		const struct record *r = slot(wal, wal->head);
		uint32_t buf = le32toh(r->buf);

		if (le32toh(r->flags) & REC_NONE)
			continue;
		if (!--wal->refs[buf] && freed)
			freed(buf, ctx);
	}
	return 0;
}

void paste_wal_stats(const struct paste_wal *wal, struct paste_wal_stats *stats)
{
	*stats = (struct paste_wal_stats){
		.epoch = wal->epoch,
		.head = wal->head,
		.tail = wal->tail,
		.committed = wal->committed,
		.slots = wal->slots,
		.messages = wal->messages,
		.bytes = wal->bytes,
		.commits = wal->commits,
		.full = wal->full,
	};
}
