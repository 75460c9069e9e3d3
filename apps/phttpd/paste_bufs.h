/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * paste_bufs.h - the buffers of a stack port that one thread of the paste back end looks after
 *
 * Buffers kept (hold) are named by index; refs[] counts. An index whose last count goes becomes a
 * spare one again. A slot that lends one has a count until the kernel has dealt with the slot;
 * from then on the kernel looks after what is on its way to a client: such a buffer is not written
 * to before it has been with the kernel again, so it is the first to be swapped into a slot.
 *
 *	    received		     kept: refs > 0
 *	RX slot <--------------------- spare, lent before  <---.
 *	   |  ^----------------------- spare, clean  <--.      | last count goes
 *	   '--------> kept ------------------------------'------'
 *				spare, clean ----> taken by the store, to be written to
 *
 * With a store the port lies in its region. The store keeps buffers as anybody else, one count for
 * all that it has in one, and leaves at least SPARE_LOW spare ones.
 *
 * What struct buf is here: a buffer of the port's, named as one of a region (which it is if there
 * is a store), or a piece that was copied aside.
 */
#ifndef PHTTPD_PASTE_BUFS_H
#define PHTTPD_PASTE_BUFS_H

#include "backend.h"
#include "space.h"

#define SPARE_LOW	1024u	/* spare buffers below which input is copied aside: an RX ring full */

struct paste_bufs {
	uint32_t *refs;		/* by buffer: counts of hold(), and of slots that lend it */
	bool *was_lent;		/* by buffer: may be on its way to a client, as far as we know */
	uint32_t *lent;		/* buffers of slots that the kernel may not have dealt with */
	uint32_t nlent, lent_size;
	uint32_t spare;		/* buffers that are ours and nobody keeps: both stacks */
	uint32_t *clean, nclean;	/* of these: were not lent */
	uint32_t *used, nused;		/* were */
	uint64_t spilled;	/* bytes copied aside */
	uint32_t in_slot;	/* buffer of the RX slot at hand, 0: none */
};

/* For buffers 0 to @n - 1, none of which is spare yet. 0 or -ENOMEM; to be destroyed in any case. */
int paste_bufs_init(struct paste_bufs *b, uint32_t n);
void paste_bufs_destroy(struct paste_bufs *b);

void paste_bufs_push(struct paste_bufs *b, uint32_t idx);

/* A spare buffer that goes into an RX slot, and so to the kernel. There must be one. */
uint32_t paste_bufs_pop(struct paste_bufs *b);

/* A spare buffer that may be written to, 0: there is none. */
uint32_t paste_bufs_pop_clean(struct paste_bufs *b);

/* One count more, or less, of what http_hold() and http_drop() are about. */
bool paste_bufs_hold(struct paste_bufs *b, struct buf *buf);
void paste_bufs_drop(struct paste_bufs *b, struct buf *buf);

/* The piece lies in a copy of its own now, with one count. False if it cannot be had. */
bool paste_bufs_copy_aside(struct paste_bufs *b, struct piece *p);
bool paste_bufs_is_aside(const struct buf *buf);

/* A slot lends buffer @idx; the kernel has dealt with the first @n that did. */
void paste_bufs_lend(struct paste_bufs *b, uint32_t idx);
void paste_bufs_sent(struct paste_bufs *b, uint32_t n);

/* For the store; the context is a struct paste_bufs. */
extern const struct space_owner paste_bufs_for_store;

#endif /* PHTTPD_PASTE_BUFS_H */
