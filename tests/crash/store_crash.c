// SPDX-License-Identifier: BSD-2-Clause
/*
 * The store of phttpd under crashes: random writes, a model of what each key and the log may
 * have, and recovery of every crash image against it.
 *
 * The model of a key is the list of values it has had since the last commit, 0 for none; the first
 * one is committed:
 *
 *	key 7	41 | 0 | 57		deleted and put again, not committed
 *
 * A crash image has to have one of them for each key, and of the log all messages that are
 * committed and perhaps some of those that follow; with a ring, the oldest may be missing. The
 * number of a value or message says which bytes it has. When all keys are deleted then, the buffers in
 * use are those that the log names.
 *
 * Bytes arrive in buffers of the region, several values in one, written and not flushed as by a
 * NIC, or elsewhere, to be copied. The test is the owner of the buffers and writes to those that
 * are given back at once. The process may also die alone, anywhere, and memory stays.
 *
 * The hash has 2 bits, so that nearly all keys collide.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <paste_btree.h>
#include <paste_pm.h>
#include <paste_region.h>
#include <paste_wal.h>

#include "mutation.h"
#include "store.h"

#define BUFS		60
#define LOG_RECORDS	64
#define LOG_LEN		(8192 + LOG_RECORDS * 64)
#define TREE_LEN	4096
#define MEM_LEN		(8192 + LOG_LEN + TREE_LEN + 2 * 4096 + BUFS * 4096)
#define KEYS		12
#define HISTORY		16
#define MESSAGES	200		/* of a run */
#define READERS		3
#define STEPS		30
#define SEEDS		200
#define HUGE_STEP	256		/* bytes of a piece of a huge value */

struct history {
	unsigned int n;		/* at least 1 */
	uint64_t value[HISTORY];
};

static _Alignas(4096) char mem[MEM_LEN];

static struct {
	uint64_t random;
	struct recorder *r;
	struct paste_region *region;
	struct store *store;
	bool ring;
	uint32_t limit;			/* buffers that the store may have */
	bool logging;			/* mostly */
	struct history key[KEYS];
	unsigned int hot;		/* first of the keys used most */
	unsigned int in_flight;		/* the key of this operation; KEYS: none */
	uint64_t message[MESSAGES];	/* appended, in order */
	unsigned int appended, committed;	/* of these */
	uint64_t next;			/* number of the next value or message */
	bool appending;			/* the last of these may not be there */
	bool crashed;			/* what is not committed need not be there */
	struct {
		struct store_value *v;
		uint64_t value;
	} reader[READERS];
	bool kept[BUFS];		/* the store's */
	uint32_t packet, packet_used;	/* being received into, bytes */
	const char *complaint;
	unsigned int save;		/* number of the image to go on with */
	char saved[MEM_LEN];
	jmp_buf dead;
	unsigned int kill;		/* in the hook so many hooks from now; 0: never */
	unsigned int step;
} t;

static uint64_t rnd(uint64_t n)
{
	t.random = t.random * 6364136223846793005ull + 1442695040888963407ull;
	return (t.random >> 33) % n;
}

static void complain(const char *what)
{
	if (!t.complaint)
		t.complaint = what;
}

static uint64_t weak_hash(const uint8_t secret[16], const void *key, size_t len)
{
	(void)secret;
	return (uint64_t)(((const uint8_t *)key)[len - 1] & 3) << 62;
}

static size_t key_of(unsigned int i, char *key)
{
	return (size_t)sprintf(key, "%.*s%u", i % 3 * 30,
			       "a key of some length that does not end here, nor anywhere soon", i);
}

/* ------------------------------------------------------------------- content */

static bool is_huge(uint64_t number)
{
	return number % 13 == 12;
}

static size_t length_of(uint64_t number)
{
	static const size_t length[] = { 0, 1, 7, 64, 100, 300, 1000, 5000 };

	/* One piece more than fits into a record. */
	return is_huge(number) ? 507 * HUGE_STEP : length[number * 2654435761u / 7 % 8];
}

static char byte_of(uint64_t number, size_t i)
{
	uint64_t h = (number + 1) * 0x9e3779b97f4a7c15ull;

	return (char)(h >> i % 8 * 8 ^ i * 131 ^ i >> 8);
}

static bool is_content(uint64_t number, const char *data, size_t from, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (data[i] != byte_of(number, from + i))
			return false;
	return true;
}

/* -------------------------------------------------------- the other's buffers */

static uint32_t take(void *ctx)
{
	uint32_t buf;

	(void)ctx;
	for (buf = PASTE_REGION_FIRST_BUF; buf < BUFS; buf++)
		if (!t.kept[buf] && buf != t.packet) {
			t.kept[buf] = true;
			return buf;
		}
	return 0;
}

static bool keep(void *ctx, uint32_t buf)
{
	(void)ctx;
	if (t.kept[buf])
		complain("a buffer is kept twice");
	t.kept[buf] = true;
	return true;
}

/* The next packet comes at once. */
static void give(void *ctx, uint32_t buf)
{
	static const char packet[64] = "the next packet";
	char *at = paste_region_buf(t.region, buf);

	(void)ctx;
	t.kept[buf] = false;
	if (buf == t.packet)
		return;
	paste_pm_write(at + rnd(63) * 64, packet, sizeof(packet));
}

static const struct space_owner owner = { take, keep, give };

/* ----------------------------------------------------------- what is in there */

struct content {
	uint64_t value[KEYS];
	uint64_t message[MESSAGES];
	unsigned int messages;
	bool logged[BUFS];		/* buffers that messages lie in */
};

/* Does a recovered image tell what it has, or is it emptied besides? */
enum recover_how { LOOK, DELETE, EMPTY };

struct reading {
	struct content *c;
	const struct paste_region *region;
};

/* Which of the values of the key is it? UINT64_MAX: none. */
static uint64_t identify(const struct history *h, struct store *st, struct store_value *v)
{
	static char data[1 << 18];
	struct space_piece p;
	size_t len = 0;
	unsigned int i;

	while (store_next(v, &p) && len + p.len <= sizeof(data)) {
		memcpy(data + len, store_bytes(store_space(st), &p), p.len);
		len += p.len;
	}
	if (len != store_length(v))
		return UINT64_MAX;
	for (i = 0; i < h->n; i++)
		if (h->value[i] && length_of(h->value[i]) == len &&
		    is_content(h->value[i], data, 0, len))
			return h->value[i];
	return UINT64_MAX;
}

static uint64_t read_key(struct store *st, unsigned int i)
{
	struct store_value *v;
	char key[80];
	size_t len = key_of(i, key);
	int err = store_get(st, key, len, &v);
	uint64_t value;

	if (err)
		return err == -ENOENT ? 0 : UINT64_MAX;
	value = identify(&t.key[i], st, v);
	store_done(v);
	return value;
}

static bool is_message(const struct paste_region *region, const struct paste_wal_message *m,
		       uint64_t number, size_t len)
{
	size_t at = 0;
	uint32_t i;

	if (length_of(number) != len)
		return false;
	for (i = 0; i < m->n; i++) {
		const struct paste_wal_piece *p = &m->pieces[i];
		char *buf = paste_region_buf(region, p->buf);

		if (!is_content(number, buf + p->offset, at, p->len))
			return false;
		at += p->len;
	}
	return true;
}

/* Which message is it? One that may follow the one before. */
static int note_message(const struct paste_wal_message *m, void *ctx)
{
	struct reading *rd = ctx;
	unsigned int i, k;
	size_t len = 0;

	for (i = 0; i < m->n; i++) {
		len += m->pieces[i].len;
		rd->c->logged[m->pieces[i].buf] = true;
	}
	/* In order, so it is behind the one before. */
	k = rd->c->messages ? (unsigned int)rd->c->message[rd->c->messages - 1] + 1 : 0;
	while (k < t.appended && !is_message(rd->region, m, t.message[k], len) &&
	       !rd->c->messages)
		k++;
	if (k >= t.appended || !is_message(rd->region, m, t.message[k], len)) {
		complain("the log has what was never appended, or in no order");
		return -EIO;
	}
	rd->c->message[rd->c->messages++] = k;
	return 0;
}

static void read_log(struct paste_region *region, struct content *c)
{
	struct reading rd = { c, region };
	const struct paste_region_info *info = paste_region_info(region);
	const struct paste_wal_bufs bufs = {
		(char *)paste_region_buf(region, 2) - 2 * 4096, 4096, info->buf_num
	};
	struct paste_wal *wal;
	_Alignas(64) char area[LOG_LEN];	/* to be opened once more, perhaps within itself */
	size_t len;

	memcpy(area, paste_region_log(region, &len), LOG_LEN);
	c->messages = 0;
	if (paste_wal_open(area, LOG_LEN, &bufs, 0, note_message, &rd, &wal))
		complain("the log cannot be read");
	else
		paste_wal_close(wal);
}

static void read_all(struct paste_region *region, struct store *st, struct content *c)
{
	struct store_key *key;
	unsigned int i, n = 0;
	ssize_t listed;

	memset(c, 0, sizeof(*c));
	for (i = 0; i < KEYS; i++) {
		c->value[i] = read_key(st, i);
		n += c->value[i] != 0;
	}
	listed = store_list(st, "", 0, &key);
	free(key);
	if (listed != n)
		complain("the listing is of other keys");
	read_log(region, c);
}

static int open_store(void *image, bool ring, struct paste_region **region, struct store **st)
{
	const struct store_config cfg = {
		.values = true, .ring = ring, .hash = weak_hash, .bound_step = 7,
	};
	const char *part;
	int err = paste_region_attach(image, MEM_LEN, region);

	if (err)
		return err;
	err = store_open(*region, &cfg, st, &part);
	if (err)
		paste_region_close(*region);
	else
		store_space(*st)->limit = BUFS;
	return err;
}

/* Without its keys the store has the buffers of the log, and no other: none is lost, none free too early. */
static void delete_all(struct store *st, const bool logged[BUFS])
{
	uint32_t buf[BUFS], n;
	bool used[BUFS] = { false };
	unsigned int i;

	for (i = 0; i < KEYS; i++) {
		char key[80];
		size_t len = key_of(i, key);

		store_delete(st, key, len);
	}
	store_commit(st);
	n = store_used(st, buf, BUFS);
	for (i = 0; i < n && n <= BUFS; i++)
		used[buf[i]] = true;
	if (memcmp(used, logged, BUFS))
		complain("a buffer is counted wrongly");
}

/* Empty messages take the place of all others, and without them it has none. */
static void empty_log(struct store *st)
{
	unsigned int i;

	for (i = 0; i < LOG_RECORDS; i++)
		if (store_append(store_begin(st, STORE_MESSAGE, 0)))
			complain("a ring is full");
	if (store_used(st, NULL, 0))
		complain("a buffer is lost");
}

static int recover(void *image, struct content *c, enum recover_how how)
{
	struct paste_region *region;
	struct store *st;
	int err = open_store(image, t.ring || how == EMPTY, &region, &st);

	if (err)
		return err;
	read_all(region, st, c);
	if (how != LOOK)
		delete_all(st, c->logged);
	if (how == EMPTY)
		empty_log(st);
	store_close(st);
	paste_region_close(region);
	return 0;
}

static bool may_have(const struct history *h, uint64_t value)
{
	unsigned int i;

	for (i = 0; i < h->n; i++)
		if (h->value[i] == value)
			return true;
	return false;
}

static const char *judge(int err, const struct content *c)
{
	unsigned int i;

	if (err)
		return "recovery refuses a legal image";
	for (i = 0; i < KEYS; i++)
		if (!may_have(&t.key[i], c->value[i]))
			return "a key has what it must not have";
	if (c->messages ? c->message[c->messages - 1] + 1 < t.committed : t.committed && !t.ring)
		return "a committed message is lost";
	if (!t.ring && c->messages && c->message[0])
		return "the oldest message is lost";
	return NULL;
}

/* -------------------------------------------------------------- crash images */

/* What the first recovery has found, and no buffer lost. */
static int check_again(void *image, size_t len, void *ctx)
{
	static struct content c;

	(void)len;
	if (recover(image, &c, rnd(8) ? DELETE : EMPTY))
		complain("recovery does not survive its own crash");
	else if (memcmp(&c, ctx, sizeof(c)))
		complain("a second recovery brings something else");
	return !!t.complaint;
}

static void crash_again(struct recorder *r, void *ctx)
{
	recorder_images(r, 4, rnd(1 << 20), check_again, ctx);
}

static void crash_in_recovery(char *image, struct content *first)
{
	static struct content c;
	struct recorder *r = recorder_start(image, MEM_LEN);

	recorder_mark(r, 5, crash_again, first);
	if (recover(image, &c, LOOK) || memcmp(&c, first, sizeof(c)))
		complain("recovery is not repeatable");
	recorder_images(r, 6, rnd(1 << 20), check_again, first);
	recorder_stop(r);
}

static int check(void *image, size_t len, void *ctx)
{
	static _Alignas(4096) char copy[MEM_LEN];
	static struct content c;
	bool twice = rnd(8) == 0;
	const char *wrong;
	int err;

	(void)ctx;
	if (t.complaint)
		return 1;
	if (twice)
		memcpy(copy, image, len);
	if (t.save && !--t.save)
		memcpy(t.saved, image, len);
	err = recover(image, &c, rnd(8) ? DELETE : EMPTY);
	wrong = judge(err, &c);
	if (wrong)
		complain(wrong);
	if (!t.complaint && twice) {
		memcpy(image, copy, len);
		crash_in_recovery(image, &c);
	}
	return !!t.complaint;
}

static void hook(struct recorder *r, void *ctx)
{
	recorder_images(r, 4, rnd(1 << 20), check, ctx);
	if (t.kill && !--t.kill)
		longjmp(t.dead, 1);
}

/* ----------------------------------------------------------------- operations */

static void committed_key(unsigned int i, uint64_t value)
{
	t.key[i].n = 1;
	t.key[i].value[0] = value;
}

static uint64_t current(unsigned int i)
{
	return t.key[i].value[t.key[i].n - 1];
}

static void all_committed(void)
{
	unsigned int i;

	for (i = 0; i < KEYS; i++)
		committed_key(i, current(i));
	t.committed = t.appended;
}

/* What is in live memory after a death; messages that had returned are there. */
static void look_at_log(void)
{
	static _Alignas(4096) char copy[MEM_LEN];
	static struct content c;
	const char *wrong;

	memcpy(copy, mem, MEM_LEN);
	wrong = judge(recover(copy, &c, DELETE), &c);
	if (wrong)
		complain(wrong);
	if (t.appending && (!c.messages || c.message[c.messages - 1] + 1 < t.appended))
		t.appended--;
	else if (!t.ring && c.messages != t.appended && !t.crashed)
		complain("a message was lost without a crash");
	if (t.crashed)
		t.appended = c.messages ? (unsigned int)c.message[c.messages - 1] + 1 :
					  t.ring ? t.committed : 0;
	t.appending = t.crashed = false;
}

/* Open live memory; what is found is committed. */
static void open_live(void)
{
	uint32_t used[BUFS];
	uint64_t value;
	uint32_t i, n;

	t.kill = 0;
	look_at_log();
	if (open_store(mem, t.ring, &t.region, &t.store)) {
		complain("recovery fails");
		return;
	}
	store_space(t.store)->limit = t.limit;
	t.committed = t.appended;
	for (i = 0; i < KEYS; i++) {
		value = read_key(t.store, i);
		if (!may_have(&t.key[i], value))
			complain("a key has what it must not have");
		committed_key(i, value);
	}
	memset(t.kept, 0, sizeof(t.kept));
	n = store_used(t.store, used, BUFS);
	for (i = 0; i < n; i++)
		t.kept[used[i]] = true;
	t.packet = t.packet_used = 0;
	t.in_flight = KEYS;
	space_set_owner(store_space(t.store), &owner, NULL);
}

static void restart_recorder(void)
{
	t.r = recorder_start(mem, MEM_LEN);
	recorder_mark(t.r, 3 + (unsigned int)rnd(200), hook, NULL);
}

static void end_reading(unsigned int i)
{
	struct history h = { .n = 1, .value = { t.reader[i].value } };

	if (!t.reader[i].v)
		return;
	if (identify(&h, t.store, t.reader[i].v) != t.reader[i].value)
		complain("a value changed while it was read");
	store_done(t.reader[i].v);
	t.reader[i].v = NULL;
}

/* The handle goes; memory stays as it is. */
static void forget(void)
{
	unsigned int i;

	if (!t.store)
		return;
	space_set_owner(store_space(t.store), NULL, NULL);
	for (i = 0; i < READERS; i++) {
		if (t.reader[i].v)
			store_done(t.reader[i].v);
		t.reader[i].v = NULL;
	}
	store_close(t.store);
	paste_region_close(t.region);
	t.store = NULL;
}

/* A process is killed: what has returned is there. */
static void restart(void)
{
	struct history before[KEYS];
	unsigned int i, in_flight = t.in_flight;

	memcpy(before, t.key, sizeof(before));
	forget();
	open_live();
	for (i = 0; i < KEYS && !t.complaint; i++)
		if (i != in_flight && current(i) != before[i].value[before[i].n - 1])
			complain("a write was lost without a crash");
}

/* The power fails: go on with an image. */
static void op_crash(void)
{
	forget();
	t.save = 1 + (unsigned int)rnd(10);
	if (!recorder_images(t.r, 10, rnd(1 << 20), check, NULL) && t.save)
		recorder_images(t.r, t.save, rnd(1 << 20), check, NULL);
	recorder_stop(t.r);
	if (!t.save)
		memcpy(mem, t.saved, MEM_LEN);
	t.save = 0;
	t.crashed = true;
	restart_recorder();
	open_live();
}

static void op_commit(void)
{
	store_commit(t.store);
	all_committed();
}

static int add(struct store_write *w, char *at, uint64_t number, size_t from, size_t len)
{
	char data[4096];
	size_t i;

	for (i = 0; i < len; i++)
		data[i] = byte_of(number, from + i);
	if (!at)
		return store_add(w, data, len);
	paste_pm_write(at, data, len);
	return store_add(w, at, len);
}

/* Bytes @from on come in a packet, behind others if there is room. Returns how many, or -errno. */
static int receive(struct store_write *w, uint64_t number, size_t from, size_t left)
{
	uint32_t buf, room = 4096 - t.packet_used;
	size_t len = 1 + rnd(room && room < left ? room : left);
	int err;

	if (!t.packet || room < 64 || rnd(8) == 0) {
		for (buf = PASTE_REGION_FIRST_BUF + (uint32_t)rnd(20);
		     buf < BUFS && (t.kept[buf] || buf == t.packet); buf++)
			;
		if (buf == BUFS)
			return -ENOSPC;
		t.packet = buf;
		t.packet_used = (uint32_t)rnd(100);
	}
	if (len > 4096 - t.packet_used)
		len = 4096 - t.packet_used;
	err = add(w, (char *)paste_region_buf(t.region, t.packet) + t.packet_used, number, from,
		  len);
	t.packet_used += (uint32_t)len;
	return err ? err : (int)len;
}

static int add_some(struct store_write *w, uint64_t number, size_t len)
{
	bool in_place = rnd(3);
	size_t at = 0;

	while (at < len) {
		size_t n = 1 + rnd(len - at < 4096 ? len - at : 4096);
		int got = in_place ? receive(w, number, at, len - at) :
				     add(w, NULL, number, at, n);

		if (got < 0)
			return got;
		at += in_place ? (size_t)got : n;
	}
	return 0;
}

/* In turn from one of many buffers, so that no two pieces touch. */
static int add_huge(struct store_write *w, uint64_t number)
{
	uint32_t buf[33], n = 0, i;
	int err = 0;

	t.packet = 0;
	for (i = PASTE_REGION_FIRST_BUF; i < BUFS && n < 33; i++)
		if (!t.kept[i])
			buf[n++] = i;
	if (n < 33)
		return -ENOSPC;
	for (i = 0; i < 507 && !err; i++)
		err = add(w, (char *)paste_region_buf(t.region, buf[i % 32]) + i / 32 * HUGE_STEP,
			  number, i * HUGE_STEP, HUGE_STEP);
	return err;
}

static struct store_write *begin_write(enum store_kind kind, uint64_t number, int *err)
{
	struct store_write *w = store_begin(t.store, kind, length_of(number));

	*err = is_huge(number) ? add_huge(w, number) : add_some(w, number, length_of(number));
	if (*err)
		store_abort(w);
	return w;
}

/* In the model before it is done: an image may have it meanwhile. */
static void begin_change(unsigned int i, uint64_t value)
{
	if (t.key[i].n == HISTORY)
		op_commit();
	t.key[i].value[t.key[i].n++] = value;
	t.in_flight = i;
}

/* Often one of two, so that things happen to a key again. */
static unsigned int some_key(void)
{
	return (unsigned int)(rnd(2) ? rnd(KEYS) : t.hot + rnd(2));
}

static void op_put(void)
{
	unsigned int i = some_key();
	uint64_t number = ++t.next, was;
	struct store_write *w;
	bool created;
	char key[80];
	size_t len = key_of(i, key);
	int err;

	w = begin_write(STORE_VALUE, number, &err);
	if (err) {
		if (err != -ENOSPC)
			complain("a value is refused");
		return;
	}
	begin_change(i, number);
	was = t.key[i].value[t.key[i].n - 2];
	err = store_put(w, key, len, &created);
	if (err) {
		t.key[i].n--;
		if (err != -ENOSPC)
			complain("put fails");
	} else if (created == (was != 0)) {
		complain("put knows another key");
	}
	t.in_flight = KEYS;
}

static void op_delete(void)
{
	unsigned int i = some_key();
	uint64_t was;
	char key[80];
	size_t len = key_of(i, key);

	begin_change(i, 0);
	was = t.key[i].value[t.key[i].n - 2];
	if (store_delete(t.store, key, len) != (was ? 0 : -ENOENT))
		complain("delete fails");
	t.in_flight = KEYS;
}

static void op_append(void)
{
	uint64_t number = ++t.next * 8 + 4;	/* lengths that tell one from the other */
	struct store_write *w;
	int err;

	if (t.appended == MESSAGES || is_huge(number) || length_of(number) < 8)
		return;
	w = begin_write(STORE_MESSAGE, number, &err);
	if (err)
		return;
	t.message[t.appended++] = number;
	t.appending = true;
	err = store_append(w);
	if (err)
		t.appended--;
	if (err && err != -ENOSPC)
		complain("append fails");
	t.appending = false;
}

static void op_read(void)
{
	unsigned int r = (unsigned int)rnd(READERS), i = (unsigned int)rnd(KEYS);
	char key[80];
	size_t len = key_of(i, key);
	int err;

	end_reading(r);
	err = store_get(t.store, key, len, &t.reader[r].v);
	if (err)
		t.reader[r].v = NULL;
	else
		t.reader[r].value = current(i);
	if (err && err != -ENOENT)
		complain("a value is taken for a damaged one");
}

static void step(void)
{
	unsigned int what = (unsigned int)rnd(100);

	if (t.logging && rnd(4))
		op_append();
	else if (what < 30)
		op_put();
	else if (what < 52)
		op_delete();
	else if (what < 64)
		op_append();
	else if (what < 72)
		op_read();
	else if (what < 86)
		op_commit();
	else if (what < 91)
		restart();
	else
		op_crash();
}

static const char *run(uint64_t seed)
{
	static const struct paste_region_layout layout = {
		.size = MEM_LEN, .log_size = LOG_LEN, .tree_size = TREE_LEN,
		.if_num = 1, .if_size = 64, .ring_num = 1, .ring_size = 128,
	};
	unsigned int i;

	memset(&t, 0, sizeof(t));
	memset(mem, 0, sizeof(mem));
	t.random = seed * 0x9e3779b97f4a7c15ull;
	t.in_flight = KEYS;
	t.ring = rnd(2);
	t.limit = rnd(3) ? BUFS : 4 + (uint32_t)rnd(12);
	t.logging = rnd(4) == 0;
	t.hot = (unsigned int)rnd(KEYS - 1);
	for (i = 0; i < KEYS; i++)
		committed_key(i, 0);
	if (paste_region_format(mem, MEM_LEN, &layout))
		return "no region";
	restart_recorder();
	t.kill = rnd(4) ? 0 : 1 + (unsigned int)rnd(10);
	if (setjmp(t.dead))
		recorder_resume(t.r);
	open_live();
	for (; t.step < STEPS && !t.complaint; t.step++) {
		t.kill = rnd(5) ? 0 : 1 + (unsigned int)rnd(10);
		if (setjmp(t.dead)) {
			recorder_resume(t.r);
			restart();
		} else {
			step();
		}
	}
	forget();
	recorder_stop(t.r);
	return t.complaint;
}

static void crash_anywhere(void **state)
{
	unsigned long before = recorder_image_count();
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= SEEDS; seed++) {
		const char *complaint = run(seed);

		if (complaint)
			fail_msg("seed %lu, step %u: %s", (unsigned long)seed, t.step,
				 complaint);
	}
	printf("# %d seeds, %lu images\n", SEEDS,
	       recorder_image_count() - before);
}

/*
 * Those of the library have tests of their own; of it the store has the commits: those of the tree by
 * the place that asks for one, and all of the log's and all of the tree's. The one of shorten_log() is
 * about numbers only: truncation, which follows, has fences of its own.
 */
uint64_t __real_paste_wal_commit(struct paste_wal *wal);
uint64_t __wrap_paste_wal_commit(struct paste_wal *wal);
void __real_paste_btree_commit(struct paste_btree *tree);
void __wrap_paste_btree_commit(struct paste_btree *tree);

uint64_t __wrap_paste_wal_commit(struct paste_wal *wal)
{
	uint64_t seq;

	recorder_call((const void *)__real_paste_wal_commit);
	seq = __real_paste_wal_commit(wal);
	recorder_return((const void *)__real_paste_wal_commit);
	return seq;
}

static uintptr_t commit;	/* of store.c */

/* It is commit() that calls; the place is the call of that. The Makefile keeps frames as they are written. */
#pragma GCC diagnostic ignored "-Wframe-address"
void __wrap_paste_btree_commit(struct paste_btree *tree)
{
	const void *place = __builtin_return_address(1);

	commit = mutation_target(place);
	recorder_call(place);
	recorder_call((const void *)__real_paste_btree_commit);
	__real_paste_btree_commit(tree);
	recorder_return((const void *)__real_paste_btree_commit);
	recorder_return(place);
}

MUTATION_FILE(space);
MUTATION_FILE(record);
MUTATION_FILE(store);
MUTATION_FILE(store_recover);

static const struct mutation_part parts[] = {
	MUTATION_PART(space), MUTATION_PART(record), MUTATION_PART(store), MUTATION_PART(store_recover)
};
#define PARTS	(sizeof(parts) / sizeof(parts[0]))
#define STORE	2	/* of these */

static unsigned int commits(void)
{
	unsigned int n = 0;
	const char *at;

	for (at = parts[STORE].begin + 5; at < parts[STORE].end; at++)
		n += mutation_target(at) == commit;
	return n;
}

static void every_flush_and_fence_counts(void **state)
{
	unsigned int survivors, mutants, calls;

	(void)state;
	assert_int_equal(mutation_unseen(parts, PARTS, &calls), 0);
	mutants = mutation_run(run, 300, parts, PARTS, &survivors);
	printf("# %u calls, %u mutants\n", calls, mutants);
	/* Each call is a flush; besides, the calls of commit(), and the two functions. */
	assert_true(commits() > 0);
	assert_int_equal(mutants, calls + commits() + 2);
	assert_int_equal(survivors, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crash_anywhere),
		cmocka_unit_test(every_flush_and_fence_counts),
	};

	return cmocka_run_group_tests_name("store_crash", tests, NULL, NULL);
}
