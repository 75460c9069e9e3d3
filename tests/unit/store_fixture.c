// SPDX-License-Identifier: BSD-2-Clause
#include "store_fixture.h"

_Alignas(4096) char mem[LEN];
struct paste_region *region;
struct store *st;
struct store_config cfg;
bool kept[BUFS];
uint32_t packet;
int fail_alloc;
static uint32_t packet_used;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool fails(void)
{
	return fail_alloc && !--fail_alloc;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

/* -------------------------------------------------------- the owner of buffers */

static uint32_t take(void *ctx)
{
	(void)ctx;
	for (uint32_t buf = PASTE_REGION_FIRST_BUF; buf < BUFS; buf++) {
		if (!kept[buf] && buf != packet) {
			kept[buf] = true;
			return buf;
		}
	}
	return 0;
}

static bool keep(void *ctx, uint32_t buf)
{
	(void)ctx;
	assert_false(kept[buf]);
	kept[buf] = true;
	return true;
}

static void give(void *ctx, uint32_t buf)
{
	(void)ctx;
	assert_true(kept[buf]);
	kept[buf] = false;
	if (buf != packet)
		memset(paste_region_buf(region, buf), 0xdd, 4096);
}

static const struct space_owner owner = { take, keep, give };

char *arrive(size_t len)
{
	char *at;

	if (!packet || packet_used + len > 4096) {
		for (packet = PASTE_REGION_FIRST_BUF; kept[packet]; packet++)
			assert_true(packet + 1 < BUFS);
		packet_used = 0;
	}
	at = (char *)paste_region_buf(region, packet) + packet_used;
	packet_used += len;
	return at;
}

int open_store(void)
{
	const char *part;
	uint32_t used[BUFS], n;
	int err = store_open(region, &cfg, &st, &part);

	if (err)
		return err;
	store_space(st)->limit = BUFS;
	memset(kept, 0, sizeof(kept));
	n = store_used(st, used, BUFS);
	for (uint32_t i = 0; i < n; i++)
		kept[used[i]] = true;
	packet = 0;
	space_set_owner(store_space(st), &owner, NULL);
	return 0;
}

uint32_t reopen(void)
{
	store_commit(st);
	store_close(st);
	st = NULL;
	assert_int_equal(open_store(), 0);
	return store_space(st)->used;
}

int setup(void **state)
{
	static const struct paste_region_layout layout = {
		.size = LEN, .log_size = LOG_LEN, .tree_size = TREE_LEN, .if_num = 1,
		.if_size = 64, .ring_num = 1, .ring_size = 128,
	};

	(void)state;
	memset(mem, 0, sizeof(mem));
	assert_int_equal(paste_region_format(mem, LEN, &layout), 0);
	assert_int_equal(paste_region_attach(mem, LEN, &region), 0);
	cfg = (struct store_config) { .values = true };
	assert_int_equal(open_store(), 0);
	return 0;
}

int teardown(void **state)
{
	(void)state;
	store_close(st);
	paste_region_close(region);
	return 0;
}

/* ------------------------------------------------------------------ short words */

int put(const char *key, const void *value, size_t len)
{
	struct store_write *w = store_begin(st, STORE_VALUE, 0);
	bool created;
	int err = len ? store_add(w, value, len) : 0;

	if (err) {
		store_abort(w);
		return err;
	}
	err = store_put(w, key, strlen(key), &created);
	return err ? err : created;
}

int put_text(const char *key, const char *value)
{
	return put(key, value, strlen(value));
}

int delete(const char *key)
{
	return store_delete(st, key, strlen(key));
}

char text[VALUE_MAX + 1];

const char *read_value(struct store_value *v)
{
	struct space_piece p;
	size_t len = 0;

	while (store_next(v, &p)) {
		memcpy(text + len, store_bytes(store_space(st), &p), p.len);
		len += p.len;
	}
	assert_int_equal(len, store_length(v));
	text[len] = 0;
	store_done(v);
	return text;
}

const char *get(const char *key)
{
	struct store_value *v;
	int err = store_get(st, key, strlen(key), &v);

	assert_true(!err || err == -ENOENT);
	return err ? NULL : read_value(v);
}

const char *list(const char *prefix)
{
	struct store_key *key = NULL;
	ssize_t n = store_list(st, prefix, strlen(prefix), &key);

	text[0] = 0;
	for (ssize_t i = 0; i < n; i++)
		sprintf(text + strlen(text), "%s%.*s", i ? " " : "", (int)key[i].len, key[i].key);
	free(key);
	return text;
}

int write_long(enum store_kind kind, size_t len, uint64_t most, bool in_place)
{
	static char elsewhere[1400];
	struct store_write *w = store_begin(st, kind, most);
	bool created;
	int err = 0;

	for (size_t at = 0; at < len && !err; at += sizeof(elsewhere)) {
		size_t n = len - at < sizeof(elsewhere) ? len - at : sizeof(elsewhere);

		if (in_place)
			packet = 0;	/* each in a buffer of its own */
		err = store_add(w, in_place ? arrive(n) : elsewhere, n);
	}
	if (err)
		store_abort(w);
	else
		err = kind == STORE_VALUE ? store_put(w, "long", 4, &created) : store_append(w);
	return err;
}
