// SPDX-License-Identifier: BSD-2-Clause
/*
 * store.c - a tree of records and a log; see store.h
 *
 * Values. The tree (paste_btree.h) maps a number to a reference to a record (record.h):
 *
 *	number	  63 ... 8   of the key's hash: SipHash-2-4 with the region's uuid as the secret
 *		   7 ... 0   any below 255 that is free: keys that collide, versions of one key
 *
 * The number 2^64 - 1 is mapped to a bound instead: no write has had a seq above it. A process
 * begins with the bound, so no seq is used twice, and a record that was to be overwritten is not
 * taken for the one that was to be written.
 *
 * A look-up takes all entries with the hash, compares keys in full, and of several records with
 * the key the one with the highest seq counts.
 *
 * One fence. A write flushes value and record, and inserts an entry beside that of the version
 * before; nothing of it waits. The fence of the commit makes all of it durable. A crash before
 * may leave the entry and not all of what it names: the record's checksums tell, recovery
 * drops the entry, and the version before is still there. Therefore the old one is deleted only
 * after the commit of the new one, and its space is free only after the next commit, when
 * that deletion is durable:
 *
 *	live --put--> superseded --commit--> removed --commit--> free
 *	  '------------delete-----------------^
 *
 * A delete must not become durable before the deletion of an older version of the key has: that
 * one would come back. If such a deletion is on its way, there is an additional commit.
 *
 * What may be torn after a crash, and how it is told from damage: store_recover.c. It does not read
 * values that were committed; each of these is read once, for its CRC, before it is first given out.
 *
 * The log (paste_wal.h) shares the buffers. It counts for itself how often it names one; in_log
 * is the one count that it has with us for each. Payload has CRCs there, so that an append has one
 * fence as well; a batch with both messages and values has two, and so has one of messages behind
 * one that replaced values, whose deletions it commits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <paste_btree.h>
#include <paste_wal.h>

#include "record.h"
#include "siphash.h"
#include "store_internal.h"

#define BOUND_STEP	65536		/* writes until it is raised */
#define BUFS_MAX	(1u << 26)	/* lines have 32 bits */
#define RING_SHARE	8	/* of a full log, this part is given up */

/* Somebody reads a record. */
struct store_value {
	struct store *st;
	uint32_t line;
	bool dead;			/* free it after the last */
	uint64_t length;
	struct record_walk walk;
	struct store_value *next;	/* in its bucket, or unused */
};

/* ------------------------------------------------------------------- entries */

static int push(struct entries *list, uint64_t number, uint64_t ref)
{
	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		struct entry *e = realloc(list->e, room * sizeof(*e));

		if (!e)
			return -ENOMEM;
		list->e = e;
		list->room = room;
	}
	list->e[list->n++] = (struct entry) { number, ref };
	return 0;
}

/* Room for @n more, so that pushing them cannot fail. */
static int reserve(struct entries *list, size_t n)
{
	while (list->room - list->n < n) {
		size_t had = list->n;

		list->n = list->room;
		if (push(list, 0, 0)) {
			list->n = had;
			return -ENOMEM;
		}
		list->n = had;
	}
	return 0;
}

/* What the tree has for one key. */
struct found {
	const struct store *st;
	const void *key;
	size_t len;
	uint64_t hash;
	uint64_t taken[4];	/* probes in use, by whatever key */
	unsigned n;			/* versions of the key */
	struct entry last;		/* the one that counts, if there is any */
	uint64_t seq;			/* its */
};

static int look(uint64_t number, uint64_t ref, void *ctx)
{
	struct found *f = ctx;
	unsigned probe = number % 256;
	struct record r;

	f->taken[probe / 64] |= 1ull << probe % 64;
	record_read(&f->st->space, record_line(ref), &r);
	if (r.key_len != f->len || memcmp(r.key, f->key, f->len))
		return 0;
	if (!f->n++ || r.seq > f->seq) {
		f->last = (struct entry) { number, ref };
		f->seq = r.seq;
	}
	return 0;
}

static bool find(const struct store *st, const void *key, size_t len, struct found *f)
{
	*f = (struct found) { .st = st, .key = key, .len = len };
	if (!st->tree)
		return false;
	f->hash = HASH(st->cfg.hash(st->secret, key, len));
	paste_btree_scan(st->tree, f->hash, f->hash | (PROBES - 1), look, f);
	return f->n;
}

/* A number with the hash that no entry has. */
static bool free_number(const struct found *f, uint64_t *number)
{
	for (unsigned probe = 0; probe < PROBES; probe++) {
		if (!(f->taken[probe / 64] & 1ull << probe % 64)) {
			*number = f->hash | probe;
			return true;
		}
	}
	return false;
}

/* ------------------------------------------------------------------- readers */

static struct store_value **bucket(struct store *st, uint32_t line)
{
	return &st->reading[line % READ_BUCKETS];
}

static bool is_read(struct store *st, uint32_t line)
{
	struct store_value *v = *bucket(st, line);

	while (v && v->line != line)
		v = v->next;
	return v;
}

/* Nothing durable names the record any more. */
static void free_record(struct store *st, uint32_t line)
{
	if (!is_read(st, line)) {
		record_free_all(&st->space, line);
		return;
	}
	for (struct store_value *v = *bucket(st, line); v; v = v->next) {
		if (v->line == line)
			v->dead = true;
	}
}

/* -------------------------------------------------------------------- commit */

static void free_removed(struct store *st)
{
	for (size_t i = 0; i < st->removed.n; i++)
		free_record(st, record_line(st->removed.e[i].ref));
	st->removed.n = 0;
}

/* Room in @removed was made when they were superseded. */
static void delete_superseded(struct store *st)
{
	for (size_t i = 0; i < st->superseded.n; i++) {
		const struct entry *e = &st->superseded.e[i];

		paste_btree_delete(st->tree, e->number, NULL);
		push(&st->removed, e->number, e->ref);
	}
	st->late = st->superseded.n;
	st->superseded.n = 0;
}

static void commit(struct store *st)
{
	paste_wal_commit(st->log);
	if (st->tree)
		paste_btree_commit(st->tree);
	st->committed = st->seq;
	st->dirty = false;
	free_removed(st);
	delete_superseded(st);
}

void store_commit(struct store *st)
{
	if (!st->dirty)
		return;
	st->stats.commits++;
	commit(st);
}

/* Is an older version of a key with that hash deleted, and perhaps not durably? */
static bool comes_back(const struct store *st, uint64_t hash)
{
	for (size_t i = 0; i < st->late; i++) {
		if (HASH(st->removed.e[i].number) == hash)
			return true;
	}
	return false;
}

static void buf_freed(uint32_t buf, void *ctx)
{
	struct store *st = ctx;

	st->in_log[buf] = false;
	space_drop(&st->space, buf);
}

/* Give up the oldest messages of a log that is a ring: a part of it, or one that is longer. */
static bool shorten_log(struct store *st)
{
	struct paste_wal_stats s;
	uint64_t head, n;

	if (!st->cfg.ring)
		return false;
	paste_wal_commit(st->log);
	paste_wal_stats(st->log, &s);
	head = s.head;
	for (n = (s.tail - head - 1) / RING_SHARE; s.head == head && head != s.tail; n = 2 * n + 1) {
		paste_wal_truncate(st->log, n < s.tail - head ? head + n : s.tail - 1, buf_freed,
				   st);
		paste_wal_stats(st->log, &s);
	}
	return s.head != head;
}

bool store_reclaim(struct store *st)
{
	if (!st->superseded.n && !st->removed.n)
		return false;
	commit(st);
	if (st->removed.n)
		commit(st);
	return true;
}

static uint32_t available(const struct store *st)
{
	return st->space.limit > st->space.used ? st->space.limit - st->space.used : 0;
}

/* Would @n buffers become free if the log gave all its messages up? */
static bool log_has(const struct store *st, uint64_t n)
{
	struct paste_wal_stats s;

	paste_wal_stats(st->log, &s);
	if (s.tail - s.head < n)
		return false;
	for (uint32_t buf = PASTE_REGION_FIRST_BUF; n && buf < st->space.num; buf++)
		n -= st->in_log[buf] && st->space.refs[buf] == 1;
	return !n;
}

bool store_make_room(struct store *st, uint64_t n)
{
	if (!st->cfg.ring || available(st) >= n || !log_has(st, n - available(st)))
		return false;
	while (available(st) < n && shorten_log(st))
		;
	return available(st) >= n;
}

/* -------------------------------------------------------------------- writes */

int store_raise_bound(struct store *st)
{
	uint64_t bound = st->seq + st->cfg.bound_step;
	int err = paste_btree_put(st->tree, BOUND, bound, NULL);

	if (err)
		return err;
	commit(st);
	st->bound = bound;
	return 0;
}

/* Write the record and its entry. -ENOBUFS: there is no space for the record. */
static int insert(struct store *st, struct store_write *w, struct found *f)
{
	struct record r = {
		.length = w->length,
		.pieces = w->n,
		.value_crc = w->crc,
		.key_len = f->len,
		.key = f->key,
	};
	uint64_t number, ref;
	int err = st->seq == st->bound ? store_raise_bound(st) : 0;

	if (err)
		return err;
	r.seq = st->seq + 1;
	r.committed = st->committed;
	if (reserve(&st->superseded, 1) ||
	    reserve(&st->removed, st->superseded.n + 2))
		return -ENOMEM;
	if (!free_number(f, &number))
		return -ENOSPC;
	ref = record_write(&st->space, &r, w->piece);
	if (!ref)
		return -ENOBUFS;
	/* Whether it gets an entry or not: the next record may lie there, and must not be taken for it. */
	st->seq++;
	err = paste_btree_insert(st->tree, number, ref);
	if (err)
		record_free(&st->space, record_line(ref));
	else
		store_trust(st, record_line(ref));
	return err;
}

int store_put(struct store_write *w, const void *key, size_t len, bool *created)
{
	struct store *st = w->st;
	struct found f;
	int err;

	find(st, key, len, &f);
	err = insert(st, w, &f);
	if ((err == -ENOSPC || err == -ENOBUFS) && store_reclaim(st)) {
		find(st, key, len, &f);
		err = insert(st, w, &f);
	}
	if (err == -ENOBUFS)
		err = store_make_room(st, record_bufs(len, w->n)) ? insert(st, w, &f) : -ENOSPC;
	if (err) {
		if (err == -ENOBUFS)	/* the owner of the buffers has none */
			err = -ENOSPC;
		st->stats.full += err == -ENOSPC;
		store_abort(w);
		return err;
	}
	if (f.n)
		push(&st->superseded, f.last.number, f.last.ref);
	st->stats.keys += !f.n;
	st->stats.stored += w->length;
	st->dirty = true;
	*created = !f.n;
	store_release(w);
	return 0;
}

int store_append(struct store_write *w)
{
	struct store *st = w->st;
	int64_t seq;

	for (uint32_t i = 0; i < w->n; i++)
		w->wal[i] = (struct paste_wal_piece) {
			w->piece[i].buf, w->piece[i].offset, w->piece[i].len
		};
	do {
		seq = paste_wal_append(st->log, w->wal, w->n, 0);
	} while (seq == -ENOSPC && shorten_log(st));
	if (seq < 0) {
		st->stats.full++;
		store_abort(w);
		return (int)seq;
	}
	for (uint32_t i = 0; i < w->n; i++) {
		uint32_t buf = w->piece[i].buf;

		if (st->in_log[buf])
			space_drop(&st->space, buf);
		st->in_log[buf] = true;
	}
	st->stats.stored += w->length;
	st->dirty = true;
	store_release(w);
	return 0;
}

/* Take the older versions of the key that wait for a commit along. */
static void remove_superseded(struct store *st, const struct found *f)
{
	size_t left = 0;

	for (size_t i = 0; i < st->superseded.n; i++) {
		struct entry *e = &st->superseded.e[i];
		struct record r;

		record_read(&st->space, record_line(e->ref), &r);
		if (r.key_len == f->len && !memcmp(r.key, f->key, f->len)) {
			paste_btree_delete(st->tree, e->number, NULL);
			push(&st->removed, e->number, e->ref);
		} else {
			st->superseded.e[left++] = *e;
		}
	}
	st->superseded.n = left;
}

int store_delete(struct store *st, const void *key, size_t len)
{
	struct found f;

	if (!find(st, key, len, &f))
		return -ENOENT;
	while (comes_back(st, f.hash))
		commit(st);
	if (reserve(&st->removed, st->superseded.n + 1))
		return -ENOMEM;
	remove_superseded(st, &f);
	paste_btree_delete(st->tree, f.last.number, NULL);
	push(&st->removed, f.last.number, f.last.ref);
	st->stats.keys--;
	st->dirty = true;
	return 0;
}

/* -------------------------------------------------------------------- reading */

static bool is_sound(struct store *st, uint32_t line)
{
	if (st->sound[line / SPACE_LINES] & 1ull << line % SPACE_LINES)
		return true;
	if (!record_check_value(&st->space, line))
		return false;
	store_trust(st, line);
	return true;
}

int store_get(struct store *st, const void *key, size_t len, struct store_value **out)
{
	struct store_value *v;
	struct record r;
	struct found f;

	if (!find(st, key, len, &f))
		return -ENOENT;
	if (!is_sound(st, record_line(f.last.ref))) {
		st->stats.damaged++;
		return -EBADMSG;
	}
	v = st->unused;
	if (v)
		st->unused = v->next;
	else
		v = malloc(sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->st = st;
	v->line = record_line(f.last.ref);
	v->dead = false;
	record_read(&st->space, v->line, &r);
	v->length = r.length;
	record_walk(&st->space, v->line, &v->walk);
	v->next = *bucket(st, v->line);
	*bucket(st, v->line) = v;
	*out = v;
	return 0;
}

void store_done(struct store_value *v)
{
	struct store *st = v->st;
	struct store_value **at = bucket(st, v->line);

	while (*at != v)
		at = &(*at)->next;
	*at = v->next;
	if (v->dead && !is_read(st, v->line))
		record_free_all(&st->space, v->line);
	v->next = st->unused;
	st->unused = v;
}

uint64_t store_length(const struct store_value *v)
{
	return v->length;
}

bool store_next(struct store_value *v, struct space_piece *p)
{
	return record_next(&v->walk, p);
}

struct listing {
	const struct store *st;
	const void *prefix;
	size_t len;
	struct store_key *key;
	size_t n, room;
};

static int note_key(uint64_t number, uint64_t ref, void *ctx)
{
	struct listing *l = ctx;
	struct record r;

	if (number == BOUND)
		return 0;
	record_read(&l->st->space, record_line(ref), &r);
	if (r.key_len < l->len || memcmp(r.key, l->prefix, l->len))
		return 0;
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 256;
		struct store_key *key = realloc(l->key, room * sizeof(*key));

		if (!key)
			return -ENOMEM;
		l->key = key;
		l->room = room;
	}
	l->key[l->n++] = (struct store_key) { r.key, r.key_len };
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct store_key *x = a, *y = b;
	int order = memcmp(x->key, y->key, x->len < y->len ? x->len : y->len);

	return order ? order : (x->len > y->len) - (x->len < y->len);
}

ssize_t store_list(struct store *st, const void *prefix, size_t len, struct store_key **out)
{
	struct listing l = { .st = st, .prefix = prefix, .len = len };
	size_t i, n = 0;

	if (st->tree && paste_btree_scan(st->tree, 0, UINT64_MAX, note_key, &l)) {
		free(l.key);
		return -ENOMEM;
	}
	if (l.n)
		qsort(l.key, l.n, sizeof(*l.key), compare);
	for (i = 0; i < l.n; i++) {	/* several versions may be there until the commit */
		if (!n || compare(&l.key[i], &l.key[n - 1]))
			l.key[n++] = l.key[i];
	}
	*out = l.key;
	return (ssize_t)n;
}

void store_stats(const struct store *st, struct store_stats *stats)
{
	struct paste_wal_stats log;

	paste_wal_stats(st->log, &log);
	*stats = st->stats;
	stats->messages = log.tail - log.head;
}

struct space *store_space(struct store *st)
{
	return &st->space;
}

uint32_t store_used(const struct store *st, uint32_t *out, uint32_t n)
{
	uint32_t found = 0;

	for (uint32_t buf = 0; buf < st->space.num && found < n; buf++) {
		if (st->space.refs[buf])
			out[found++] = buf;
	}
	return st->space.used;
}

/* -------------------------------------------------------------------- opening */

static int note_message(const struct paste_wal_message *m, void *ctx)
{
	struct store *st = ctx;

	for (uint32_t i = 0; i < m->n; i++) {
		uint32_t buf = m->pieces[i].buf;

		if (!space_is_buf(&st->space, buf))
			return -EBADMSG;
		if (st->in_log[buf])
			continue;
		st->in_log[buf] = true;
		space_found(&st->space, buf);
	}
	return 0;
}

static uint64_t default_hash(const uint8_t secret[16], const void *key, size_t len)
{
	return siphash(secret, key, len);
}

int store_open(struct paste_region *region, const struct store_config *cfg, struct store **out,
	       const char **part)
{
	struct store *st = calloc(1, sizeof(*st));
	struct paste_wal_stats log;
	int err;

	*part = "the store";
	if (!st)
		return -ENOMEM;
	st->cfg = *cfg;
	if (!st->cfg.hash)
		st->cfg.hash = default_hash;
	if (!st->cfg.bound_step)
		st->cfg.bound_step = BOUND_STEP;
	memcpy(st->secret, paste_region_info(region)->uuid, sizeof(st->secret));
	err = paste_region_info(region)->buf_num > BUFS_MAX ? -EFBIG : 0;
	if (!err)
		err = space_init(&st->space, region);
	if (err)
		goto fail;
	st->in_log = calloc(st->space.num, sizeof(*st->in_log));
	st->sound = calloc(st->space.num, sizeof(*st->sound));
	err = st->in_log && st->sound ? 0 : -ENOMEM;
	if (err)
		goto fail;
	*part = "its log";
	err = paste_region_open_log(region, PASTE_WAL_CRC, note_message, st, &st->log);
	if (err)
		goto fail;
	paste_wal_stats(st->log, &log);
	st->log_max = log.slots;
	*part = "its tree";
	if (cfg->values || !paste_region_tree_unused(region))
		err = paste_region_open_tree(region, &st->tree);
	if (err)
		goto fail;
	*part = "its values";
	err = st->tree ? store_recover_values(st) : 0;
	if (err)
		goto fail;
	space_set_owner(&st->space, NULL, NULL);
	*out = st;
	return 0;
fail:
	store_close(st);
	return err;
}

void store_close(struct store *st)
{
	struct store_value *v;

	if (!st)
		return;
	store_free_writes(st);
	while ((v = st->unused)) {
		st->unused = v->next;
		free(v);
	}
	paste_btree_close(st->tree);
	paste_wal_close(st->log);
	free(st->superseded.e);
	free(st->removed.e);
	free(st->in_log);
	free(st->sound);
	space_destroy(&st->space);
	free(st);
}

const char *store_strerror(int err)
{
	switch (err < 0 ? -err : err) {
	case EBADMSG:
		return "damaged: something that must be there is not";
	case EMEDIUMTYPE:
		return "something else is there";
	case EPROTONOSUPPORT:
		return "of another version than this program's";
	case EOVERFLOW:
		return "made for another size than the region has for it";
	case EFBIG:
		return "the region has more than 256 GiB of buffers";
	case EINVAL:
		return "the region has too little room for it";
	default:
		return strerror(err < 0 ? -err : err);
	}
}
