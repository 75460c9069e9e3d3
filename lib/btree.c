// SPDX-License-Identifier: BSD-2-Clause
/*
 * The persistent B+tree: its leaves.  The nodes above them are in DRAM and made
 * anew when the tree is opened (btree_inner.c).
 *
 * Format.  Integers are little endian.  The area is made of 256-byte leaves:
 *
 *	header | leaf 1 | leaf 2 | ... | leaf N | less than a leaf, unused
 *
 *	header				leaf
 *	 0  u64 magic "PASTEtre"	 0  u64 link	the next leaf
 *	 8  u32 version	1		 8  u64 low	lowest key that belongs here
 *	12  u32 leaf	256		16  15 entries	in no order
 *	16  u64 length	of the area
 *	24  zero			entry
 *	60  u32 crc	of bytes 0-59	 0  u64 key
 *	64  unused			 8  u64 ref	0: the entry is free
 *
 *	link
 *	 0  u32 number	of the next leaf, 0: none
 *	 4  u32 check	CRC-32C of the number and, as u64, that leaf's low, which
 *			is 0 if there is none: 12 bytes in all
 *
 * N is length / 256 - 1, at most 2^32 - 1.  Keys are any, refs any but 0.  The tree
 * is the chain of leaves from leaf 1, whose low is 0; lows ascend strictly along it, so no chain has a loop.
 * Leaves outside the chain are free, whatever they hold.  Leaf 1 never is.
 *
 * The rule everything rests on: a leaf's entries are those with ref != 0 and a
 * key below the low of the next leaf.  One with another key is dead: it is as if
 * it were not there, and its slot is free.  So one store of a link decides to
 * which leaf entries belong.
 *
 *	 leaf 1			 leaf 7			 leaf 3
 *	+------+---------------+  +-----+-------------+  +-----+----------+
 *	| low 0| 3 44 ... (90) |->| 50  | 90 61 ...   |->| 400 | ...      |-> 0
 *	+------+---------------+  +-----+-------------+  +-----+----------+
 *			dead ^
 *
 * Every operation commits by one aligned store of 8 bytes:
 *
 *	insert	into a free entry: its key, then its ref
 *	put	over an old one: its ref
 *	delete	its ref := 0
 *
 * An entry does not cross a line, and the stores to a line persist in order.  So
 * an insert needs no fence between key and ref: the ref is never there without
 * the key, nor the key with the ref that was there before, which is 0.
 *
 * Split of a full leaf L, before an insert.  "!" is a fence, of what was flushed.
 *
 *	free ---------> written ! ------> in the chain ! ---> L's dead cleared
 *	      new leaf N:	 L's link := N		      ref := 0, no flush
 *	      upper half of L,	 commits: upper half
 *	      link as in L	 of L is dead
 *
 * Merge of leaf R into its left neighbour L, after a delete, when L has room:
 *
 *	in the chain -> copied ! ----------> free !
 *		R's entries into  L's link := R's
 *		L, where they	  commits: copies
 *		are dead	  are alive
 *
 * The first fence keeps the link from persisting before what it makes valid.  The
 * second one of a split keeps L's half until the link is durable; that of a merge
 * keeps R from being used again before.  What a split clears may be dead entries
 * again after a crash, which is no harm until the bound of L rises; so a merge
 * flushes all of L.
 *
 * Two entries with one key can be in a leaf after a crash: deleted in one line,
 * inserted again in another, of which the second was written back.  Neither was
 * committed, so either may be the one that counts, and it is the first.
 *
 * Recovery.
 *	1. Check the header, and in the chain all numbers, checks, lows, and that no
 *	   key is below its leaf's low: anything wrong is damage.
 *	2. Meanwhile flush all of it, then fence: if only the process died, it may
 *	   still be in caches.
 *	3. Clear the refs of dead entries and of second ones of the same key; flush
 *	   them, fence.  Otherwise, when the first one is deleted, a crash before
 *	   the commit could leave the second.
 * Only 3 stores anything, and a crash repeats it.
 *
 * Formatting makes the magic 0, then the header and leaf 1 what they have to be,
 * and then the magic, each durable before the next.
 *
 * No fingerprints of keys as in FPTree: they would take the place of an entry, and
 * make every insert write two lines, the entry's and theirs.
 */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <paste_pm.h>
#include <paste_btree.h>

#include "btree.h"
#include "crc32c.h"

#define MAGIC		0x6572744554534150ull	/* "PASTEtre" */
#define VERSION		1
#define LEAF		256
#define ENTRIES		15
#define FIRST		1u
/* A leaf that a delete leaves with at most so many entries looks for company. */
#define FEW		3

struct header {
	uint64_t magic;
	uint32_t version;
	uint32_t leaf;
	uint64_t length;
	uint8_t zero[36];
	uint32_t crc;
};

struct entry {
	uint64_t key;
	uint64_t ref;
};

struct leaf {
	uint64_t link;
	uint64_t low;
	struct entry entry[ENTRIES];
};

_Static_assert(sizeof(struct header) == PASTE_PM_LINE, "on media");
_Static_assert(sizeof(struct leaf) == LEAF, "on media");

struct paste_btree {
	char *area;
	uint64_t leaves;	/* all that fit, numbers 1 to leaves */
	uint64_t *used;		/* bit map of leaves in the chain; bit 0 is set */
	uint64_t search;	/* word of used; those before it are full */
	struct nmi_inner inner;
	bool dirty;		/* flushed something since the last commit */
	struct paste_btree_stats stats;
};

/* ------------------------------------------------------------------- leaves */

static struct leaf *leaf_at(const struct paste_btree *t, uint32_t n)
{
	return (void *)(t->area + (uint64_t)n * LEAF);
}

static uint64_t key_of(const struct entry *e)
{
	return le64toh(e->key);
}

static uint64_t low_of(const struct leaf *l)
{
	return le64toh(l->low);
}

static uint32_t next_of(const struct leaf *l)
{
	return (uint32_t)le64toh(l->link);
}

/* A link, in the format's order, to leaf @number with @low; 0 and 0: the end. */
static uint64_t make_link(uint32_t number, uint64_t low)
{
	uint32_t le_number = htole32(number);
	uint64_t le_low = htole64(low);
	uint32_t crc = nmi_crc32c(0, &le_number, sizeof(le_number));

	crc = nmi_crc32c(crc, &le_low, sizeof(le_low));
	return htole64((uint64_t)crc << 32 | number);
}

static struct entry *find_entry(struct leaf *l, uint64_t key)
{
	uint64_t le_key = htole64(key);
	unsigned int i;

	for (i = 0; i < ENTRIES; i++)
		if (l->entry[i].key == le_key && l->entry[i].ref)
			return &l->entry[i];
	return NULL;
}

static struct entry *free_entry(struct leaf *l)
{
	unsigned int i;

	for (i = 0; i < ENTRIES; i++)
		if (!l->entry[i].ref)
			return &l->entry[i];
	return NULL;
}

static unsigned int count(const struct leaf *l)
{
	unsigned int i, n = 0;

	for (i = 0; i < ENTRIES; i++)
		n += l->entry[i].ref != 0;
	return n;
}

/* Entries with keys @from to @to, ascending, as they are in the leaf; how many. */
static unsigned int sort(const struct leaf *l, uint64_t from, uint64_t to, struct entry *out)
{
	unsigned int i, j, n = 0;

	for (i = 0; i < ENTRIES; i++) {
		const struct entry *e = &l->entry[i];

		if (!e->ref || key_of(e) < from || key_of(e) > to)
			continue;
		for (j = n++; j && key_of(&out[j - 1]) > key_of(e); j--)
			out[j] = out[j - 1];
		out[j] = *e;
	}
	return n;
}

/* ------------------------------------------------------------- free leaves */

static void mark_used(struct paste_btree *t, uint32_t n)
{
	t->used[n / 64] |= 1ull << n % 64;
	t->stats.leaves++;
}

static void mark_free(struct paste_btree *t, uint32_t n)
{
	t->used[n / 64] &= ~(1ull << n % 64);
	t->stats.leaves--;
	if (n / 64 < t->search)
		t->search = n / 64;
}

/* The first free leaf, or 0. */
static uint32_t find_free(struct paste_btree *t)
{
	uint64_t n;

	if (t->stats.leaves == t->leaves)
		return 0;
	while (!~t->used[t->search])
		t->search++;
	n = t->search * 64 + (unsigned int)__builtin_ctzll(~t->used[t->search]);
	return (uint32_t)n;
}

/* ------------------------------------------------------ splitting, merging */

/*
 * Where to divide full leaf @l because of @key: half of it, but at the end of the
 * tree behind it, for ascending keys.
 */
static uint64_t split_low(const struct leaf *l, uint64_t key)
{
	struct entry e[ENTRIES];

	sort(l, 0, UINT64_MAX, e);
	if (!next_of(l) && key > key_of(&e[ENTRIES - 1]))
		return key;
	return key_of(&e[(ENTRIES + 1) / 2]);
}

/* What the new leaf is to be: @l's entries from @low on. */
static void upper_half(const struct leaf *l, uint64_t low, struct leaf *out)
{
	unsigned int i, n = 0;

	memset(out, 0, sizeof(*out));
	out->link = l->link;
	out->low = htole64(low);
	for (i = 0; i < ENTRIES; i++)
		if (key_of(&l->entry[i]) >= low)
			out->entry[n++] = l->entry[i];
}

static void set_link(struct leaf *l, uint64_t link)
{
	paste_pm_store64(&l->link, link);
	paste_pm_flush(&l->link, sizeof(l->link));
}

/* Divide full leaf @left; in *@out the part for @key. */
static int split(struct paste_btree *t, struct leaf *left, uint64_t key,
		 struct leaf **out)
{
	uint64_t low = split_low(left, key);
	uint32_t n = find_free(t);
	struct leaf image, *right;
	unsigned int i;

	if (!n)
		return -ENOSPC;
	if (nmi_inner_reserve(&t->inner))
		return -ENOMEM;
	right = leaf_at(t, n);
	upper_half(left, low, &image);
	paste_pm_write(right, &image, sizeof(image));
	paste_pm_flush(right, sizeof(image));
	paste_pm_fence();

	set_link(left, make_link(n, low));
	paste_pm_fence();

	for (i = 0; i < ENTRIES; i++)
		if (key_of(&left->entry[i]) >= low)
			paste_pm_store64(&left->entry[i].ref, 0);
	nmi_inner_insert(&t->inner, low, n);
	mark_used(t, n);
	t->stats.splits++;
	*out = key < low ? left : right;
	return 0;
}

/* Join leaf number @n, the one after @left, to @left, which has room. */
static void merge(struct paste_btree *t, struct leaf *left, uint32_t n)
{
	struct leaf *right = leaf_at(t, n);
	struct entry *to;
	unsigned int i;

	for (i = 0; i < ENTRIES; i++) {
		if (!right->entry[i].ref)
			continue;
		to = free_entry(left);
		paste_pm_write(to, &right->entry[i], sizeof(*to));
	}
	paste_pm_flush(left, sizeof(*left));
	paste_pm_fence();

	set_link(left, right->link);
	paste_pm_fence();

	nmi_inner_remove(&t->inner, low_of(right));
	mark_free(t, n);
	t->stats.merges++;
}

/* Join leaf @l with a neighbour if it has few entries. */
static void shrink(struct paste_btree *t, struct leaf *l)
{
	unsigned int n = count(l);
	struct leaf *left;

	if (n > FEW)
		return;
	if (next_of(l) && n + count(leaf_at(t, next_of(l))) <= ENTRIES) {
		merge(t, l, next_of(l));
		return;
	}
	if (!low_of(l))
		return;
	left = leaf_at(t, nmi_inner_find(&t->inner, low_of(l) - 1));
	if (n + count(left) <= ENTRIES)
		merge(t, left, next_of(left));
}

/* --------------------------------------------------------------- operations */

static struct leaf *leaf_for(const struct paste_btree *t, uint64_t key)
{
	return leaf_at(t, nmi_inner_find(&t->inner, key));
}

static void set_ref(struct paste_btree *t, struct entry *e, uint64_t ref)
{
	paste_pm_store64(&e->ref, htole64(ref));
	paste_pm_flush(e, sizeof(*e));
	t->dirty = true;
}

/* @key is not in leaf @l, which is the one for it. */
static int add(struct paste_btree *t, struct leaf *l, uint64_t key, uint64_t ref)
{
	struct entry *e = free_entry(l);
	int err;

	if (!e) {
		err = split(t, l, key, &l);
		if (err)
			return err;
		e = free_entry(l);
	}
	paste_pm_store64(&e->key, htole64(key));
	set_ref(t, e, ref);
	t->stats.entries++;
	return 0;
}

int paste_btree_insert(struct paste_btree *t, uint64_t key, uint64_t ref)
{
	struct leaf *l = leaf_for(t, key);

	if (!ref)
		return -EINVAL;
	if (find_entry(l, key))
		return -EEXIST;
	return add(t, l, key, ref);
}

int paste_btree_put(struct paste_btree *t, uint64_t key, uint64_t ref, uint64_t *old)
{
	struct leaf *l = leaf_for(t, key);
	struct entry *e = find_entry(l, key);
	uint64_t was = e ? le64toh(e->ref) : 0;
	int err = 0;

	if (!ref)
		return -EINVAL;
	if (e)
		set_ref(t, e, ref);
	else
		err = add(t, l, key, ref);
	if (!err && old)
		*old = was;
	return err;
}

int paste_btree_delete(struct paste_btree *t, uint64_t key, uint64_t *old)
{
	struct leaf *l = leaf_for(t, key);
	struct entry *e = find_entry(l, key);

	if (!e)
		return -ENOENT;
	if (old)
		*old = le64toh(e->ref);
	set_ref(t, e, 0);
	t->stats.entries--;
	shrink(t, l);
	return 0;
}

int paste_btree_find(const struct paste_btree *t, uint64_t key, uint64_t *ref)
{
	struct entry *e = find_entry(leaf_for(t, key), key);

	if (!e)
		return -ENOENT;
	if (ref)
		*ref = le64toh(e->ref);
	return 0;
}

int paste_btree_scan(const struct paste_btree *t, uint64_t from, uint64_t to,
		     paste_btree_scan_fn *fn, void *ctx)
{
	uint32_t number = nmi_inner_find(&t->inner, from);
	struct entry e[ENTRIES];
	unsigned int i, n;
	int ret;

	for (; number && low_of(leaf_at(t, number)) <= to; number = next_of(leaf_at(t, number))) {
		n = sort(leaf_at(t, number), from, to, e);
		for (i = 0; i < n; i++) {
			ret = fn(key_of(&e[i]), le64toh(e[i].ref), ctx);
			if (ret)
				return ret;
		}
	}
	return 0;
}

void paste_btree_commit(struct paste_btree *t)
{
	if (!t->dirty)
		return;
	paste_pm_fence();
	t->dirty = false;
}

void paste_btree_stats(const struct paste_btree *t, struct paste_btree_stats *stats)
{
	*stats = t->stats;
	stats->leaves_free = t->leaves - t->stats.leaves;
	stats->depth = t->inner.depth;
}

/* ------------------------------------------------------------------- format */

static bool is_area(const void *area, size_t len)
{
	return (uintptr_t)area % PASTE_PM_LINE == 0 && len >= PASTE_BTREE_MIN;
}

static uint32_t header_crc(const struct header *h)
{
	return nmi_crc32c(0, h, sizeof(*h) - sizeof(h->crc));
}

int paste_btree_format(void *area, size_t len)
{
	struct header h = {
		.magic = htole64(MAGIC),
		.version = htole32(VERSION),
		.leaf = htole32(LEAF),
		.length = htole64(len),
	};
	struct leaf first = { .link = make_link(0, 0) };
	uint64_t *magic = area;

	if (!is_area(area, len))
		return -EINVAL;
	h.crc = htole32(header_crc(&h));

	paste_pm_store64(magic, 0);
	paste_pm_persist(magic, sizeof(*magic));

	paste_pm_write(magic + 1, (char *)&h + sizeof(*magic), sizeof(h) - sizeof(*magic));
	paste_pm_write((char *)area + (size_t)FIRST * LEAF, &first, sizeof(first));
	paste_pm_persist(area, LEAF + sizeof(first));

	paste_pm_store64(magic, h.magic);
	paste_pm_persist(magic, sizeof(*magic));
	return 0;
}

static int check_header(const void *area, size_t len)
{
	struct header h;

	memcpy(&h, area, sizeof(h));
	if (h.magic != htole64(MAGIC))
		return -EMEDIUMTYPE;
	if (le32toh(h.crc) != header_crc(&h))
		return -EBADMSG;
	if (h.version != htole32(VERSION))
		return -EPROTONOSUPPORT;
	if (le64toh(h.length) != len)
		return -EOVERFLOW;
	if (h.leaf != htole32(LEAF))
		return -EBADMSG;
	return 0;
}

/* ----------------------------------------------------------------- recovery */

/* The greatest key that belongs into leaf @l, whose link is right. */
static uint64_t high_of(const struct paste_btree *t, const struct leaf *l)
{
	return next_of(l) ? low_of(leaf_at(t, next_of(l))) - 1 : UINT64_MAX;
}

static bool is_link_right(const struct paste_btree *t, const struct leaf *l)
{
	uint32_t next = next_of(l);
	uint64_t low;

	if (!next)
		return l->link == make_link(0, 0);
	if (next > t->leaves)
		return false;
	low = low_of(leaf_at(t, next));
	return l->link == make_link(next, low) && low > low_of(l);
}

/* Entry @i of @l, which is not free, is dead or the second one of its key. */
static bool is_superfluous(const struct leaf *l, unsigned int i, uint64_t high)
{
	unsigned int j;

	if (key_of(&l->entry[i]) > high)
		return true;
	for (j = 0; j < i; j++)
		if (l->entry[j].ref && l->entry[j].key == l->entry[i].key)
			return true;
	return false;
}

static int check_leaf(struct paste_btree *t, const struct leaf *l)
{
	uint64_t high;
	unsigned int i;

	if (!is_link_right(t, l))
		return -EBADMSG;
	high = high_of(t, l);
	for (i = 0; i < ENTRIES; i++) {
		if (!l->entry[i].ref)
			continue;
		if (key_of(&l->entry[i]) < low_of(l))
			return -EBADMSG;
		if (is_superfluous(l, i, high))
			t->stats.recovery_dropped++;
		else
			t->stats.entries++;
	}
	return 0;
}

/* Steps 1 and 2 of recovery.  A link that is right leads to a greater low. */
static int read_chain(struct paste_btree *t)
{
	struct leaf *l = leaf_at(t, FIRST);
	uint32_t n;
	int err;

	if (low_of(l))
		return -EBADMSG;
	t->used[0] = 1;
	mark_used(t, FIRST);
	for (;;) {
		err = check_leaf(t, l);
		if (err)
			return err;
		paste_pm_flush(l, sizeof(*l));
		n = next_of(l);
		if (!n)
			break;
		if (nmi_inner_reserve(&t->inner))
			return -ENOMEM;
		l = leaf_at(t, n);
		nmi_inner_insert(&t->inner, low_of(l), n);
		mark_used(t, n);
	}
	paste_pm_flush(t->area, sizeof(struct header));
	paste_pm_fence();
	t->stats.recovery_leaves = t->stats.leaves;
	return 0;
}

static void drop_superfluous(const struct paste_btree *t, struct leaf *l)
{
	uint64_t high = high_of(t, l);
	unsigned int i;

	for (i = 0; i < ENTRIES; i++) {
		if (!l->entry[i].ref || !is_superfluous(l, i, high))
			continue;
		paste_pm_store64(&l->entry[i].ref, 0);
		paste_pm_flush(&l->entry[i], sizeof(l->entry[i]));
	}
}

/* Step 3. */
static void repair(struct paste_btree *t)
{
	uint32_t n;

	if (!t->stats.recovery_dropped)
		return;
	for (n = FIRST; n; n = next_of(leaf_at(t, n)))
		drop_superfluous(t, leaf_at(t, n));
	paste_pm_fence();
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int recover(struct paste_btree *t)
{
	uint64_t begin = now_ns();
	int err;

	t->used = calloc(t->leaves / 64 + 1, sizeof(*t->used));
	if (!t->used || nmi_inner_init(&t->inner, FIRST))
		return -ENOMEM;
	err = read_chain(t);
	if (err)
		return err;
	repair(t);
	t->stats.recovery_ns = now_ns() - begin;
	return 0;
}

int paste_btree_open(void *area, size_t len, struct paste_btree **out)
{
	struct paste_btree *t;
	int err;

	if (!is_area(area, len))
		return -EINVAL;
	err = check_header(area, len);
	if (err)
		return err;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->area = area;
	t->leaves = len / LEAF - 1;
	if (t->leaves > UINT32_MAX)
		t->leaves = UINT32_MAX;
	err = recover(t);
	if (err) {
		paste_btree_close(t);
		return err;
	}
	*out = t;
	return 0;
}

void paste_btree_close(struct paste_btree *t)
{
	if (!t)
		return;
	nmi_inner_free(&t->inner);
	free(t->used);
	free(t);
}
