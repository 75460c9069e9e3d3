// SPDX-License-Identifier: BSD-2-Clause
/*
 * What each key and the log may have, and whether that is what recovery brings.
 *
 * The model of a key is the list of values it has had since the last commit, 0 for none; the first
 * one is committed:
 *
 *	key 7	41 | 0 | 57		deleted and put again, not committed
 *
 * A crash image has to have one of them for each key, and of the log all messages that are
 * committed and perhaps some of those that follow; with a ring, the oldest may be missing. The
 * number of a value or message says which bytes it has. When all keys are deleted then, the buffers
 * in use are those that the log names.
 *
 * The hash has 2 bits, so that nearly all keys collide.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <paste_wal.h>

#include "store_crash.h"

_Alignas(4096) char mem[MEM_LEN];

struct run t;

uint64_t rnd(uint64_t n)
{
	t.random = t.random * 6364136223846793005ull + 1442695040888963407ull;
	return (t.random >> 33) % n;
}

void complain(const char *what)
{
	if (!t.complaint)
		t.complaint = what;
}

static uint64_t weak_hash(const uint8_t secret[16], const void *key, size_t len)
{
	(void)secret;
	return (uint64_t)(((const uint8_t *)key)[len - 1] & 3) << 62;
}

size_t key_of(unsigned int i, char *key)
{
	return (size_t)sprintf(key, "%.*s%u", i % 3 * 30,
			       "a key of some length that does not end here, nor anywhere soon", i);
}

/* ------------------------------------------------------------------- content */

bool is_huge(uint64_t number)
{
	return number % 13 == 12;
}

size_t length_of(uint64_t number)
{
	static const size_t length[] = { 0, 1, 7, 64, 100, 300, 1000, 5000 };

	/* One piece more than fits into a record. */
	return is_huge(number) ? 507 * HUGE_STEP : length[number * 2654435761u / 7 % 8];
}

char byte_of(uint64_t number, size_t i)
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

/* ----------------------------------------------------------- keys and the log */

void committed_key(unsigned int i, uint64_t value)
{
	t.key[i].n = 1;
	t.key[i].value[0] = value;
}

uint64_t current(unsigned int i)
{
	return t.key[i].value[t.key[i].n - 1];
}

void all_committed(void)
{
	unsigned int i;

	for (i = 0; i < KEYS; i++)
		committed_key(i, current(i));
	t.committed = t.appended;
}

bool may_have(const struct history *h, uint64_t value)
{
	unsigned int i;

	for (i = 0; i < h->n; i++)
		if (h->value[i] == value)
			return true;
	return false;
}

/* ----------------------------------------------------------- what is in there */

struct reading {
	struct content *c;
	const struct paste_region *region;
};

uint64_t identify(const struct history *h, struct store *st, struct store_value *v)
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

uint64_t read_key(struct store *st, unsigned int i)
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

int open_store(void *image, bool ring, struct paste_region **region, struct store **st)
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

/* Without its keys the store has the buffers of the log: none is lost, none free too early. */
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

int recover(void *image, struct content *c, enum recover_how how)
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

const char *judge(int err, const struct content *c)
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
