/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A B+tree in persistent memory: from keys of 8 bytes to references of 8 bytes.
 *
 * A key is a number, or a hash whose collisions are the caller's; a reference is
 * the caller's as well, say the index, offset and length of a packet buffer, and
 * is not 0.  One batch of requests, as a server with poll() sees it:
 *
 *	poll()
 *	for each request:  paste_btree_put()	flushes, seldom waits
 *	paste_btree_commit()			one fence for all of them
 *	replies are filled in			they acknowledge
 *	poll()					sends them
 *
 * What is promised:
 *  - an operation is there after any crash once paste_btree_commit() has
 *    returned;
 *  - one that is not committed is there after a crash in its entirety or not at
 *    all: each key has, whatever the others have, what one of its operations since
 *    the last commit gave it, or what it had then;
 *  - what a tree says after it was opened is committed;
 *  - an error leaves the tree as it was.
 *
 * The caller's part: the memory a reference names.  It is durable before the
 * operation that stores the reference, for the entry may be so at any time from
 * then on (or has a checksum that tells), and is not used for something else
 * before the commit of the put or delete that returned the reference.  A tree
 * belongs to one thread at a time.
 *
 * Fences, which are the expensive part: find and scan none; insert, put and delete
 * none, unless they divide or join leaves, which takes two and happens once in
 * several operations; commit one.  An insert flushes one line.
 *
 * Leaves take 256 bytes of the area each and hold up to 15 entries; the nodes
 * above them are in DRAM, some 30 bytes per leaf.  A leaf with fewer than 4
 * entries is joined with a neighbour that has room.  So keys in random order fill
 * leaves to seven tenths, ascending ones entirely, and the worst order of deletes
 * leaves about a quarter.
 *
 * Not promised: that damage is always noticed.  What holds the tree together is
 * protected by checksums and damage to it refused with -EBADMSG; an entry is not.
 *
 * The design is that of FPTree (Oukid, Lasperas, Nica, Willhalm, Lehner: FPTree: A
 * Hybrid SCM-DRAM Persistent and Concurrent B-Tree for Storage Class Memory,
 * SIGMOD 2016), with another way to divide leaves, which needs no log; see
 * lib/btree.c.
 *
 * Functions return negative errnos and print nothing.
 */
#ifndef _PASTE_BTREE_H_
#define _PASTE_BTREE_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The smallest area, with one leaf; each of the others takes 256 bytes. */
#define PASTE_BTREE_MIN	512

struct paste_btree;

/*
 * Make @len bytes at @area, 64 byte aligned, an empty tree, durably.  What they
 * held is lost.  Takes the same time whatever @len is.  A crash on the way leaves
 * no tree.  A part of @len that is no whole leaf, and what exceeds a tebibyte, is
 * not used.
 * Errors: -EINVAL not aligned, or less than PASTE_BTREE_MIN bytes.
 */
int paste_btree_format(void *area, size_t len);

/*
 * Recover the tree in @area and open it: read all leaves, flush what a process
 * that died may have left in caches, and build the nodes above them.  The time is
 * linear in the leaves; see struct paste_btree_stats.  @area stays the caller's
 * and stays valid until paste_btree_close().
 *
 * @len: as it was formatted
 * @out: the tree; unchanged on error
 *
 * Errors: -EMEDIUMTYPE no tree here, or its formatting was interrupted;
 * -EPROTONOSUPPORT another version; -EOVERFLOW formatted with another length;
 * -EBADMSG damaged; -EINVAL misaligned or too short; -ENOMEM.
 * The area is as it was after any of them.
 */
int paste_btree_open(void *area, size_t len, struct paste_btree **out);

/* Free the handle; what is not committed may be lost.  NULL is allowed. */
void paste_btree_close(struct paste_btree *tree);

/*
 * Wait until everything done so far is durable: one fence, and none when nothing
 * was done.
 */
void paste_btree_commit(struct paste_btree *tree);

/*
 * Insert @key with @ref.
 * Errors: -EEXIST the key is there; -EINVAL @ref is 0; -ENOSPC the leaf is full
 * and no other is free; -ENOMEM.
 */
int paste_btree_insert(struct paste_btree *tree, uint64_t key, uint64_t ref);

/*
 * Insert @key with @ref, or give it this reference if it is there.
 * @old: the reference it had, 0: none; may be NULL
 * Errors: as paste_btree_insert(), without -EEXIST.
 */
int paste_btree_put(struct paste_btree *tree, uint64_t key, uint64_t ref,
		    uint64_t *old);

/*
 * Delete @key.
 * @old: the reference it had; may be NULL
 * Errors: -ENOENT no such key.
 */
int paste_btree_delete(struct paste_btree *tree, uint64_t key, uint64_t *old);

/*
 * Look @key up.
 * @ref: its reference; may be NULL
 * Errors: -ENOENT no such key.
 */
int paste_btree_find(const struct paste_btree *tree, uint64_t key, uint64_t *ref);

/* An entry found by paste_btree_scan(); a return other than 0 ends the scan. */
typedef int paste_btree_scan_fn(uint64_t key, uint64_t ref, void *ctx);

/*
 * Call @fn for each entry with a key from @from to @to, inclusive, ascending.
 * @fn may look things up in the tree and must not change it.
 * Returns 0, or what @fn returned to end the scan.
 */
int paste_btree_scan(const struct paste_btree *tree, uint64_t from, uint64_t to,
		     paste_btree_scan_fn *fn, void *ctx);

struct paste_btree_stats {
	uint64_t entries;
	uint64_t leaves;	/* in use */
	uint64_t leaves_free;	/* leaves + leaves_free: all that fit in the area */
	uint32_t depth;		/* levels of nodes above the leaves */
	/* since it was opened */
	uint64_t splits;	/* leaves divided, */
	uint64_t merges;	/* and joined; two fences each */
	/* when it was opened */
	uint64_t recovery_leaves;	/* visited */
	uint64_t recovery_dropped;	/* copies of entries that a crash had left */
	uint64_t recovery_ns;		/* nanoseconds it took */
};

void paste_btree_stats(const struct paste_btree *tree,
		       struct paste_btree_stats *stats);

#ifdef __cplusplus
}
#endif

#endif /* _PASTE_BTREE_H_ */
