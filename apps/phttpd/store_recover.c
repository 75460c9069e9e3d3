// SPDX-License-Identifier: BSD-2-Clause
/*
 * store_recover.c - the values of a store after a restart; see store.c
 *
 * Which records may be torn? Each says up to which seq writes were committed when it was made. D
 * is the highest of these. A record that is not whole although its seq (which the entry
 * has as well, 32 bits of it) is not above D, or is beyond the bound, is damage, and refused.
 * One between D and the bound may be torn; only of these recovery reads the values.
 *
 * Nothing else in the region is believed either: values that together would have more bytes than
 * there are, lines that two records have, a record that belongs to another hash are damage.
 *
 * Recovery.
 *	1. Log and tree recover by themselves.
 *	2. Read the records of all entries and find D.
 *	3. Drop entries whose record is above D and torn.
 *	4. Of each key drop all versions but the last. Count the buffers in use.
 *	5. Raise the bound. Commit.
 * If only the process died, records above D that are whole are on their way to be durable: they
 * were flushed before their entries were written, and the tree has waited for that with a
 * fence, before it let us read any. So an older version may be dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"
#include "store_internal.h"

/* An entry and its record, while they are judged. */
struct candidate {
	struct entry e;
	struct record r;
	bool whole;
};

struct recovery {
	struct store *st;
	struct candidate *c;
	size_t n, room;
	uint64_t durable;	/* D */
	uint64_t budget;	/* bytes of values that there can still be */
};

static int note_entry(uint64_t number, uint64_t ref, void *ctx)
{
	struct recovery *v = ctx;
	struct candidate *c;

	if (number == BOUND) {
		v->st->seq = ref;
		return ref > BOUND_MAX ? -EBADMSG : 0;
	}
	if (v->n == v->room) {
		size_t room = v->room ? 2 * v->room : 1024;

		c = realloc(v->c, room * sizeof(*c));
		if (!c)
			return -ENOMEM;
		v->c = c;
		v->room = room;
	}
	c = &v->c[v->n++];
	c->e = (struct entry) { number, ref };
	c->whole = record_check(&v->st->space, ref, &c->r, &v->budget);
	if (c->whole && c->r.committed > v->durable)
		v->durable = c->r.committed;
	return 0;
}

/* How far a record's seq is above D, from what the entry has of it. */
static int32_t above(const struct recovery *v, uint64_t ref)
{
	return (int32_t)((uint32_t)ref - (uint32_t)v->durable);
}

/* No write had that seq. */
static bool is_beyond(const struct recovery *v, uint64_t ref)
{
	return v->st->seq < v->durable || (uint32_t)above(v, ref) > v->st->seq - v->durable;
}

/* Step 3. */
static int judge(struct recovery *v)
{
	struct store *st = v->st;

	for (size_t i = 0; i < v->n; i++) {
		struct candidate *c = &v->c[i];
		uint32_t line = record_line(c->e.ref);

		if (above(v, c->e.ref) <= 0 || is_beyond(v, c->e.ref)) {
			if (!c->whole)
				return -EBADMSG;
		} else if (!c->whole || !record_check_value(&st->space, line)) {
			c->whole = false;
			continue;
		} else {
			store_trust(st, line);
		}
		if (c->r.seq > st->seq || c->e.number % 256 >= PROBES ||
		    HASH(st->cfg.hash(st->secret, c->r.key, c->r.key_len)) != HASH(c->e.number))
			return -EBADMSG;
	}
	return 0;
}

/* Of the versions of a key only the last stays whole. Those of one hash are neighbours. */
static void choose_versions(struct recovery *v)
{
	for (size_t i = 0; i < v->n; i++) {
		struct candidate *a = &v->c[i];

		for (size_t j = i + 1; a->whole && j < v->n &&
		     HASH(v->c[j].e.number) == HASH(a->e.number); j++) {
			struct candidate *b = &v->c[j];

			if (!b->whole || a->r.key_len != b->r.key_len ||
			    memcmp(a->r.key, b->r.key, a->r.key_len))
				continue;
			if (a->r.seq < b->r.seq)
				a->whole = false;
			else
				b->whole = false;
		}
	}
}

static int adopt(struct recovery *v)
{
	struct store *st = v->st;

	for (size_t i = 0; i < v->n; i++) {
		if (!v->c[i].whole)
			continue;
		if (!record_found(&st->space, record_line(v->c[i].e.ref)))
			return -EBADMSG;
		st->stats.keys++;
	}
	for (size_t i = 0; i < v->n; i++) {
		if (!v->c[i].whole)
			paste_btree_delete(st->tree, v->c[i].e.number, NULL);
	}
	st->committed = st->seq;
	return store_raise_bound(st);
}

int store_recover_values(struct store *st)
{
	struct recovery v = {
		.st = st,
		.budget = (uint64_t)st->space.num * SPACE_BUF,
	};
	int err = paste_btree_scan(st->tree, 0, UINT64_MAX, note_entry, &v);

	if (!err)
		err = judge(&v);
	if (!err) {
		choose_versions(&v);
		err = adopt(&v);
	}
	free(v.c);
	return err;
}
