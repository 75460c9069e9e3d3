/* SPDX-License-Identifier: BSD-2-Clause */
/* store_internal.h - what store.c, store_write.c and store_recover.c share */
#ifndef PHTTPD_STORE_INTERNAL_H
#define PHTTPD_STORE_INTERNAL_H

#include <paste_btree.h>
#include <paste_wal.h>

#include "store.h"

#define PROBES		255	/* entries with one hash */
#define HASH(number)	((number) & ~255ull)
#define BOUND		UINT64_MAX	/* the number of the entry that has the bound */
#define BOUND_MAX	(UINT64_MAX >> 1)
#define READ_BUCKETS	256	/* a power of two */

/* An entry of the tree. */
struct entry {
	uint64_t number;
	uint64_t ref;
};

struct entries {
	struct entry *e;
	size_t n, room;
};

struct store {
	struct space space;
	struct store_config cfg;
	uint8_t secret[16];
	struct paste_btree *tree;	/* NULL: none */
	struct paste_wal *log;
	uint64_t log_max;		/* pieces it has room for */
	uint64_t seq;			/* of the last write */
	uint64_t committed;		/* and of the last that is durable */
	uint64_t bound;			/* seq does not exceed it */
	bool dirty;			/* a commit has something to do */
	struct entries superseded;	/* to be deleted after the commit */
	struct entries removed;		/* deleted, to be freed after the commit */
	size_t late;			/* of these: deleted after the commit of their successors */
	bool *in_log;			/* by buffer */
	uint64_t *sound;		/* by buffer, a bit for each line: see store_trust() */
	struct store_value *reading[READ_BUCKETS];	/* by line */
	struct store_write *writes;	/* all there are */
	struct store_write *idle;	/* of these, to be used again */
	struct store_value *unused;
	struct store_stats stats;
};

struct store_write {
	struct store *st;
	enum store_kind kind;
	uint32_t crc;
	uint32_t length;
	uint64_t most;			/* bytes it may have in the end */
	bool short_of_space;		/* what comes is copied, which takes least */
	uint32_t n, room;
	struct space_piece *piece;	/* each with a count on its buffer */
	struct paste_wal_piece *wal;	/* for append, @room entries */
	struct store_write *next;	/* that is idle */
	struct store_write *other;	/* in the list of all */
};

/*
 * The value of the record that begins on that line is known to be what was stored: it was written, or
 * its CRC looked at, in this life. Never taken back: what comes to begin there is written in this life.
 */
static inline void store_trust(struct store *st, uint32_t line)
{
	st->sound[line / SPACE_LINES] |= 1ull << line % SPACE_LINES;
}

/* Something was missing: make what was replaced and deleted free. False: there is nothing. */
bool store_reclaim(struct store *st);

/*
 * Let a log that is a ring give up messages until @n buffers are available: none of them if all
 * would not do, or if what is short is the owner's.
 */
bool store_make_room(struct store *st, uint64_t n);

/* The write has ended; its pieces' counts are somebody else's now. */
void store_release(struct store_write *w);

/* All there are, when the store is closed. */
void store_free_writes(struct store *st);

/* Raise the bound, durably, before it is exceeded. */
int store_raise_bound(struct store *st);

/*
 * Find what the tree has, drop what a crash has left in part, count what is in use; all of it
 * durable when this returns.
 * Errors: -EBADMSG damaged, -ENOMEM; those of paste_btree_put().
 */
int store_recover_values(struct store *st);

#endif /* PHTTPD_STORE_INTERNAL_H */
