// SPDX-License-Identifier: BSD-2-Clause
/*
 * The recorder itself, on sequences whose images can be counted by hand: what it
 * forgets to show no other test can find.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <paste_pm.h>
#include "recorder.h"

/* Three lines of eight words. */
static _Alignas(64) uint64_t mem[3][8];

/* The images seen, each as the decimal digits of the first words of the lines. */
static unsigned int seen[256], nr_seen;

static int note(void *image, size_t len, void *ctx)
{
	uint64_t (*m)[8] = image;

	(void)ctx;
	assert_int_equal(len, sizeof(mem));
	seen[nr_seen++] = (unsigned int)(m[0][0] * 100 + m[1][0] * 10 + m[2][0]);
	return 0;
}

static bool saw(unsigned int image)
{
	unsigned int i;

	for (i = 0; i < nr_seen; i++)
		if (seen[i] == image)
			return true;
	return false;
}

static void look(struct recorder *r, unsigned int bound)
{
	nr_seen = 0;
	assert_int_equal(recorder_images(r, bound, 1, note, NULL), 0);
}

static struct recorder *begin(void)
{
	memset(mem, 0, sizeof(mem));
	return recorder_start(mem, sizeof(mem));
}

/* Each line any prefix, independently of the others. */
static void prefixes(void **state)
{
	struct recorder *r = begin();
	unsigned int a, b;

	(void)state;
	look(r, 100);
	assert_int_equal(nr_seen, 1);
	paste_pm_store64(&mem[0][0], 1);
	paste_pm_store64(&mem[1][0], 1);
	paste_pm_store64(&mem[0][0], 2);
	look(r, 100);
	assert_int_equal(nr_seen, 6);
	for (a = 0; a <= 2; a++)
		for (b = 0; b <= 1; b++)
			assert_true(saw(a * 100 + b * 10));
	recorder_stop(r);
}

/* A flush promises nothing before a fence, a fence nothing without a flush. */
static void flush_and_fence(void **state)
{
	struct recorder *r = begin();

	(void)state;
	paste_pm_store64(&mem[0][0], 1);
	paste_pm_store64(&mem[1][0], 1);
	paste_pm_flush(&mem[0][0], 8);
	look(r, 100);
	assert_int_equal(nr_seen, 4);
	paste_pm_store64(&mem[0][0], 2);
	paste_pm_fence();
	look(r, 100);
	assert_int_equal(nr_seen, 4);
	assert_true(saw(100) && saw(200) && saw(110) && saw(210));
	paste_pm_fence();
	look(r, 100);
	assert_int_equal(nr_seen, 4);
	paste_pm_persist(mem, sizeof(mem));
	look(r, 100);
	assert_int_equal(nr_seen, 1);
	assert_true(saw(210));
	recorder_stop(r);
}

/* Words are whole, and in order; loose bytes come one by one. */
static void units(void **state)
{
	struct recorder *r = begin();
	char bytes[21] = "abcdefghijklmnopqrst";

	(void)state;
	paste_pm_write((char *)mem + 6, bytes, 20);	/* 2 bytes, 2 words, 2 bytes */
	look(r, 100);
	assert_int_equal(nr_seen, 7);
	paste_pm_persist(mem, 64);
	paste_pm_zero(mem, 64);
	look(r, 100);
	assert_int_equal(nr_seen, 9);
	recorder_stop(r);
}

/* Without order in a line, and without a flush. */
static void non_temporal(void **state)
{
	static const uint64_t words[2] = { 1, 1 };
	bool first_alone = false, second_alone = false;
	struct recorder *r = begin();
	unsigned int i;

	(void)state;
	for (i = 0; i < 50; i++) {
		paste_pm_zero(mem, 16);
		paste_pm_persist(mem, 16);
		paste_pm_copy_nt(mem, words, 16);
		look(r, 100);
		assert_int_equal(nr_seen, 3);
		first_alone |= seen[1] == 100;
		second_alone |= seen[1] == 0;
		paste_pm_fence();
		look(r, 100);
		assert_int_equal(nr_seen, 1);
		assert_true(saw(100));
	}
	assert_true(first_alone && second_alone);
	recorder_stop(r);
}

/* More than the bound: none, all, one lost and one kept are among the sample. */
static void samples(void **state)
{
	struct recorder *r = begin();
	unsigned int i;

	(void)state;
	for (i = 1; i <= 9; i++) {
		paste_pm_store64(&mem[0][0], i);
		paste_pm_store64(&mem[1][0], i);
		paste_pm_store64(&mem[2][0], i);
	}
	look(r, 100);
	assert_int_equal(nr_seen, 100);
	assert_true(saw(0) && saw(999));
	assert_true(saw(99) && saw(909) && saw(990));
	assert_true(saw(900) && saw(90) && saw(9));
	recorder_stop(r);
}

static unsigned int hooks;

static void count_hook(struct recorder *r, void *ctx)
{
	(void)ctx;
	hooks++;
	/* Verbs of a hook are not recorded. */
	paste_pm_fence();
	look(r, 100);
}

static void marks(void **state)
{
	struct recorder *r = begin();

	(void)state;
	recorder_mark(r, 2, count_hook, NULL);
	hooks = 0;
	paste_pm_store64(&mem[0][0], 1);
	assert_int_equal(hooks, 0);
	paste_pm_store64(&mem[0][0], 2);
	assert_int_equal(hooks, 1);
	assert_int_equal(nr_seen, 3);
	paste_pm_persist(mem, 64);	/* the hook sees what is about to be durable */
	assert_int_equal(hooks, 2);
	assert_int_equal(nr_seen, 3);
	look(r, 100);
	assert_int_equal(nr_seen, 1);
	recorder_stop(r);
}

static int nested(void *image, size_t len, void *ctx)
{
	struct recorder *r = recorder_start(image, len);
	uint64_t *word = image;

	(void)ctx;
	paste_pm_store64(&word[1], 1);
	nr_seen = 0;
	recorder_images(r, 100, 1, note, NULL);
	assert_int_equal(nr_seen, 2);
	paste_pm_persist(image, 64);
	recorder_stop(r);
	return 7;
}

/* What happens to an image is none of the outer recorder's business. */
static void recorders_in_recorders(void **state)
{
	struct recorder *r = begin();

	(void)state;
	paste_pm_store64(&mem[0][0], 1);
	paste_pm_flush(mem, 64);
	assert_int_equal(recorder_images(r, 100, 1, nested, NULL), 7);
	look(r, 100);
	assert_int_equal(nr_seen, 2);
	recorder_stop(r);
}

static void persist_line(unsigned int i)
{
	paste_pm_store64(&mem[i][0], 1);
	paste_pm_persist(&mem[i][0], 8);
}

static void suppression(void **state)
{
	struct recorder_site site[64];
	struct recorder *r;
	size_t i, n, both = 0;

	(void)state;
	n = recorder_sites(site, 64);
	r = begin();
	persist_line(0);
	assert_int_equal(recorder_sites(site, 64), n + 1);
	persist_line(1);
	assert_int_equal(recorder_sites(site, 64), n + 1);
	assert_int_equal(site[n].what, RECORDER_FLUSH | RECORDER_FENCE);
	for (i = 0; i < n; i++)
		both += site[i].address == site[n].address;
	assert_int_equal(both, 0);

	recorder_suppress(site[n].address, RECORDER_FLUSH);
	persist_line(2);
	look(r, 100);
	assert_int_equal(nr_seen, 2);
	paste_pm_fence();
	look(r, 100);
	assert_int_equal(nr_seen, 2);
	recorder_suppress(site[n].address, RECORDER_FENCE);
	persist_line(2);
	look(r, 100);
	assert_int_equal(nr_seen, 3);
	paste_pm_fence();
	look(r, 100);
	assert_int_equal(nr_seen, 1);
	recorder_suppress(NULL, 0);
	recorder_stop(r);
}

/* How many images there are after a line was persisted in two calls, one in the other. */
static unsigned int images_of_calls(const char *outer, const char *inner)
{
	struct recorder *r = begin();

	recorder_call(outer);
	recorder_call(inner);
	persist_line(0);
	recorder_return(inner);
	recorder_return(outer);
	look(r, 100);
	recorder_stop(r);
	return nr_seen;
}

static void suppressed_calls(void **state)
{
	static const char place[3];
	struct recorder_site site[64];
	size_t n = recorder_sites(site, 64);

	(void)state;
	assert_int_equal(images_of_calls(&place[0], &place[1]), 1);
	assert_in_range(recorder_sites(site, 64), n + 2, n + 3);
	assert_ptr_equal(site[n].address, &place[0]);
	assert_int_equal(site[n].what, RECORDER_CALL);
	recorder_suppress(&place[0], RECORDER_CALL);
	assert_int_equal(images_of_calls(&place[0], &place[1]), 2);
	assert_int_equal(images_of_calls(&place[1], &place[0]), 2);
	assert_int_equal(images_of_calls(&place[0], &place[0]), 2);
	assert_int_equal(images_of_calls(&place[1], &place[2]), 1);
	recorder_suppress(NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefixes),
		cmocka_unit_test(flush_and_fence),
		cmocka_unit_test(units),
		cmocka_unit_test(non_temporal),
		cmocka_unit_test(samples),
		cmocka_unit_test(marks),
		cmocka_unit_test(recorders_in_recorders),
		cmocka_unit_test(suppression),
		cmocka_unit_test(suppressed_calls),
	};

	return cmocka_run_group_tests_name("recorder_crash", tests, NULL, NULL);
}
