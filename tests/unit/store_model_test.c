// SPDX-License-Identifier: BSD-2-Clause
/*
 * phttpd's store: random writes, reads and lives against a model.
 */
#include "store_fixture.h"

static uint32_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static uint64_t two_bits(const uint8_t secret[16], const void *key, size_t len)
{
	(void)secret;
	return (uint64_t)((const uint8_t *)key)[len - 1] << 62;
}

/* Random writes with few hash bits, against a model; each life finds what the one before had. */
static void against_a_model(void **state)
{
	enum { KEYS = 30, READERS = 4 };
	static char model[KEYS][VALUE_MAX], held[READERS][VALUE_MAX];
	static size_t len[KEYS], held_len[READERS];
	bool there[KEYS] = { false };
	struct store_value *reader[READERS] = { NULL };

	(void)state;
	store_close(st);
	cfg.hash = two_bits;
	cfg.bound_step = 50;
	assert_int_equal(open_store(), 0);
	for (int step = 0; step < 20000; step++) {
		int i = rnd(KEYS), what = rnd(100), r = rnd(READERS);
		char key[48];

		sprintf(key, "%.*s%d", i, "------------------------------", i);
		if (what < 45) {
			struct store_write *w = store_begin(st, STORE_VALUE, 0);
			size_t at = 0;
			bool created;

			len[i] = rnd(4) ? rnd(300) : rnd(VALUE_MAX);
			for (size_t b = 0; b < len[i]; b++)
				model[i][b] = rnd(256);
			while (at < len[i]) {
				size_t n = 1 + rnd(len[i] - at < 4000 ? len[i] - at : 4000);
				char *to = rnd(3) ? arrive(n) : NULL;

				if (to)
					memcpy(to, model[i] + at, n);
				assert_int_equal(store_add(w, to ? to : model[i] + at, n), 0);
				at += n;
			}
			assert_int_equal(store_put(w, key, strlen(key), &created), 0);
			assert_int_equal(created, !there[i]);
			there[i] = true;
		} else if (what < 65) {
			assert_int_equal(delete(key), there[i] ? 0 : -ENOENT);
			there[i] = false;
		} else if (what < 80) {
			if (reader[r]) {
				assert_int_equal(store_length(reader[r]), held_len[r]);
				read_value(reader[r]);
				assert_memory_equal(text, held[r], held_len[r]);
				reader[r] = NULL;
			}
			if (store_get(st, key, strlen(key), &reader[r])) {
				assert_false(there[i]);
				reader[r] = NULL;
			} else {
				assert_true(there[i]);
				held_len[r] = len[i];
				memcpy(held[r], model[i], len[i]);
			}
		} else if (what < 99) {
			store_commit(st);
		} else {
			for (r = 0; r < READERS; r++) {
				if (reader[r])
					store_done(reader[r]);
				reader[r] = NULL;
			}
			reopen();
		}
	}
	for (int r = 0; r < READERS; r++) {
		if (reader[r])
			store_done(reader[r]);
	}
	reopen();
	for (int i = 0; i < KEYS; i++) {
		char key[48];

		sprintf(key, "%.*s%d", i, "------------------------------", i);
		assert_int_equal(!!get(key), there[i]);
		if (there[i])
			assert_memory_equal(text, model[i], len[i]);
		delete(key);
	}
	assert_int_equal(reopen(), 0);		/* nothing has leaked */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(against_a_model),
	};

	return cmocka_run_group_tests_name("store, model", tests, NULL, NULL);
}
