// SPDX-License-Identifier: BSD-2-Clause
/*
 * The store of phttpd under crashes while its tree is full: a write that was refused (507) has changed
 * nothing, whatever the next one puts where its record was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <paste_region.h>

#include "recorder.h"
#include "store.h"

#define MEM_LEN		(1 << 20)
#define IMAGES		2000

static _Alignas(4096) char mem[MEM_LEN];

/* What is being looked for in the images. */
static struct {
	uint64_t key;
	const char *refused;		/* the value that it must not have */
	unsigned int images;
} t;

/* The key's number, so that a test can choose its leaf. */
static uint64_t first_bytes(const uint8_t secret[16], const void *key, size_t len)
{
	uint64_t n;

	(void)secret;
	assert_int_equal(len, sizeof(n));
	memcpy(&n, key, sizeof(n));
	return be64toh(n);
}

static void open_in(void *image, struct paste_region **region, struct store **store)
{
	const struct store_config cfg = { .values = true, .hash = first_bytes };
	const char *part;

	assert_int_equal(paste_region_attach(image, MEM_LEN, region), 0);
	assert_int_equal(store_open(*region, &cfg, store, &part), 0);
}

static int put(struct store *st, uint64_t n, const char *value)
{
	size_t len = strlen(value);
	struct store_write *w = store_begin(st, STORE_VALUE, len);
	uint64_t key = htobe64(n);
	bool created;

	assert_non_null(w);
	if (len)
		assert_int_equal(store_add(w, value, len), 0);
	return store_put(w, &key, sizeof(key), &created);
}

static int delete(struct store *st, uint64_t n)
{
	uint64_t key = htobe64(n);

	return store_delete(st, &key, sizeof(key));
}

/* What the writes before have freed is free. */
static void settle(struct store *st)
{
	store_commit(st);
	store_commit(st);
}

/* Keys from @from on, @step apart, until there is no room for one: that one. */
static uint64_t fill(struct store *st, uint64_t from, uint64_t step)
{
	int err;

	for (;; from += step) {
		err = put(st, from, "x");
		store_commit(st);
		if (err)
			break;
	}
	assert_int_equal(err, -ENOSPC);
	settle(st);
	return from;
}

static struct store *full_store(struct paste_region **region, uint64_t *no_room)
{
	const struct paste_region_layout l = {
		.size = MEM_LEN, .log_size = 16384, .tree_size = 4096, .if_num = 1, .ring_num = 1,
	};
	struct store *st;

	memset(mem, 0, sizeof(mem));
	assert_int_equal(paste_region_format(mem, MEM_LEN, &l), 0);
	open_in(mem, region, &st);
	*no_room = fill(st, 512, 512);
	return st;
}

static int check(void *image, size_t len, void *ctx)
{
	struct paste_region *region;
	struct space_piece p;
	struct store_value *v;
	struct store *st;
	uint64_t key = htobe64(t.key);

	(void)len;
	(void)ctx;
	t.images++;
	open_in(image, &region, &st);
	if (!store_get(st, &key, sizeof(key), &v)) {
		assert_false(store_next(v, &p) &&
			     !memcmp(store_bytes(store_space(st), &p), t.refused, strlen(t.refused)));
		store_done(v);
	}
	store_close(st);
	paste_region_close(region);
	return 0;
}

static void check_images(struct recorder *r)
{
	t.images = 0;
	assert_int_equal(recorder_images(r, IMAGES, 1, check, NULL), 0);
	assert_in_range(t.images, 10, IMAGES);
	recorder_stop(r);
}

/* The next record lies there, of another key: it is not taken for damaged. */
static void another_key(void **state)
{
	static const char *const values[][2] = { { "refused", "taken" }, { "", "" } };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct paste_region *region;
		uint64_t no_room;
		struct store *st = full_store(&region, &no_room);
		struct recorder *r;

		assert_int_equal(delete(st, 100 * 512), 0);	/* room in another leaf */
		settle(st);
		r = recorder_start(mem, MEM_LEN);
		t.key = no_room;
		t.refused = "refused";
		assert_int_equal(put(st, no_room, values[i][0]), -ENOSPC);
		assert_int_equal(put(st, 100 * 512, values[i][1]), 0);
		check_images(r);
		store_close(st);
		paste_region_close(region);
	}
}

/* The same of the same key: it does not have the value that was refused. */
static void same_key(void **state)
{
	struct paste_region *region;
	uint64_t no_room;
	struct store *st = full_store(&region, &no_room);
	struct recorder *r;

	(void)state;
	no_room = fill(st, 40 * 512 + 256, 512);	/* of a leaf that had room */
	r = recorder_start(mem, MEM_LEN);
	t.key = no_room;
	t.refused = "refused";
	assert_int_equal(put(st, no_room, "refused"), -ENOSPC);
	assert_int_equal(delete(st, no_room - 256), 0);
	store_commit(st);
	assert_int_equal(put(st, no_room, "taken"), 0);
	check_images(r);
	store_close(st);
	paste_region_close(region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_key),
		cmocka_unit_test(same_key),
	};

	return cmocka_run_group_tests_name("store_full_crash", tests, NULL, NULL);
}
