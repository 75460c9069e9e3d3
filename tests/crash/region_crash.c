// SPDX-License-Identifier: BSD-2-Clause
/*
 * Creation of a region under crashes: over nothing, over a torn creation and over
 * another region.  And a fuzzer for superblocks.
 *
 * What is in the memory before a creation is a region whose log and tree areas
 * hold a pattern, so that one that is half overwritten can be told.  An image is
 *
 *	before the creation's first fence	the old content, or torn
 *	until it returns			torn, or the new region
 *	then					the new region
 *
 * where old and new are whole: sizes, uuid in both copies, areas.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <paste_pm.h>
#include <paste_region.h>

#include "../../lib/crc32c.h"
#include "mutation.h"

#define PAGE	4096
#define MEM_LEN	(10 * PAGE)	/* superblocks, log and tree, ifs, rings, 3 buffers */

static _Alignas(PAGE) char mem[MEM_LEN];

static const struct paste_region_layout layouts[] = {
	{ .log_size = PAGE, .tree_size = PAGE, .if_num = 1, .ring_num = 1,
	  .ring_size = 512, .replace = true },
	{ .log_size = PAGE, .tree_size = 2 * PAGE, .if_num = 2, .ring_num = 2,
	  .ring_size = 512, .replace = true },
};

static struct {
	uint64_t random;
	struct recorder *r;
	bool was_region;		/* old is what the memory held */
	struct paste_region_info old;
	uint64_t new_log_ofs;
	const struct paste_region_layout *layout;
	bool fenced, returned;
	const char *complaint;
	jmp_buf dead;
	unsigned int kill;
} t;

static uint64_t rnd(uint64_t n)
{
	t.random = t.random * 6364136223846793005ull + 1442695040888963407ull;
	return (t.random >> 33) % n;
}

static bool all(const char *p, size_t len, char c)
{
	while (len--)
		if (*p++ != c)
			return false;
	return true;
}

static bool areas_hold(const struct paste_region *r, char c)
{
	size_t log_len, tree_len;
	const char *log = paste_region_log(r, &log_len);
	const char *tree = paste_region_tree(r, &tree_len);

	return all(log, log_len, c) && all(tree, tree_len, c);
}

static const char *judge_region(const struct paste_region *r)
{
	const struct paste_region_info *info = paste_region_info(r);

	if (t.was_region && !memcmp(info, &t.old, sizeof(*info))) {
		if (t.fenced)
			return "the old region comes back";
		return areas_hold(r, 'x') ? NULL : "the old region is half overwritten";
	}
	if (info->tree_len != t.layout->tree_size)
		return "neither the old nor the new region";
	return areas_hold(r, 0) ? NULL : "the new region is not empty";
}

static int check(void *image, size_t len, void *ctx)
{
	struct paste_region *r;
	const char *wrong = NULL;
	int err;

	(void)ctx;
	err = paste_region_attach(image, len, &r);
	if (!err) {
		wrong = judge_region(r);
		paste_region_close(r);
	} else if (t.returned) {
		wrong = "a region that was created is refused";
	} else if (err == -EMEDIUMTYPE) {
		if (t.was_region || t.fenced)
			wrong = "a torn creation looks like nothing";
	} else if (err != -EUCLEAN) {
		wrong = "a torn creation looks like damage";
	}
	if (wrong && !t.complaint)
		t.complaint = wrong;
	return !!t.complaint;
}

static void hook(struct recorder *r, void *ctx)
{
	recorder_images(r, 60, rnd(1 << 20), check, ctx);
	if (t.kill && !--t.kill)
		longjmp(t.dead, 1);
}

/* The first store, the first fence; later the first fence has taken effect. */
static void count_calls(struct recorder *r, void *ctx)
{
	unsigned int *calls = ctx;

	t.fenced = ++*calls > 2;
	hook(r, NULL);
}

static void create(void)
{
	unsigned int calls = 0;
	int err;

	t.fenced = t.returned = false;
	recorder_mark(t.r, 1, count_calls, &calls);
	err = paste_region_format(mem, MEM_LEN, t.layout);
	if (err && !t.complaint)
		t.complaint = "creation fails";
	t.returned = t.fenced = true;
	recorder_mark(t.r, 1, hook, NULL);
	recorder_images(t.r, 100, rnd(1 << 20), check, NULL);
}

/* Another process looks at what one that died has left. */
static void open_again(void)
{
	struct paste_region *r;
	int err = paste_region_attach(mem, MEM_LEN, &r);

	if (!err) {
		t.returned = t.fenced = true;
		recorder_images(t.r, 100, rnd(1 << 20), check, NULL);
		paste_region_close(r);
	} else if (err != -EUCLEAN && !t.complaint) {
		t.complaint = "death of the creator leaves damage";
	}
}

/* Fill the areas durably, so that the next creation has something to lose. */
static void use_region(void)
{
	struct paste_region *r;
	size_t len;
	char *area;

	t.was_region = false;
	if (paste_region_attach(mem, MEM_LEN, &r))
		return;
	t.was_region = true;
	t.old = *paste_region_info(r);
	area = paste_region_log(r, &len);
	memset(area, 'x', len);
	area = paste_region_tree(r, &len);
	memset(area, 'x', len);
	paste_region_close(r);
}

static const char *run(uint64_t seed)
{
	static unsigned int i;

	memset(&t, 0, sizeof(t));
	memset(mem, 0, sizeof(mem));
	t.random = seed * 0x9e3779b97f4a7c15ull;
	for (i = 0; i < 6 && !t.complaint; i++) {
		use_region();
		t.layout = &layouts[i % 2];
		t.kill = rnd(2) ? 0 : 1 + (unsigned int)rnd(8);
		t.r = recorder_start(mem, MEM_LEN);
		if (setjmp(t.dead)) {
			recorder_resume(t.r);
			open_again();
		} else {
			create();
		}
		recorder_stop(t.r);
	}
	return t.complaint;
}

static void crash_anywhere(void **state)
{
	unsigned long before = recorder_image_count();
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= 20; seed++) {
		const char *complaint = run(seed);

		if (complaint)
			fail_msg("seed %lu: %s", (unsigned long)seed, complaint);
	}
	printf("# 20 seeds, %lu images\n", recorder_image_count() - before);
}

MUTATION_FILE(region_file);

static const struct mutation_part parts[] = { MUTATION_PART(region_file) };
#define PARTS	(sizeof(parts) / sizeof(parts[0]))

static void every_flush_and_fence_counts(void **state)
{
	unsigned int survivors, mutants, calls;

	(void)state;
	assert_int_equal(mutation_unseen(parts, PARTS, &calls), 0);
	mutants = mutation_run(run, 40, parts, PARTS, &survivors);
	printf("# %u calls, %u mutants\n", calls, mutants);
	assert_true(calls > 0);
	assert_int_equal(survivors, 0);
}

/* --------------------------------------------------------------------- fuzz */

static void make_region(void)
{
	struct paste_region_layout layout = layouts[0];

	memset(mem, 0, sizeof(mem));
	assert_int_equal(paste_region_format(mem, MEM_LEN, &layout), 0);
}

static char *copy_of_region(void)
{
	char *image = aligned_alloc(PAGE, MEM_LEN);

	assert_non_null(image);
	return memcpy(image, mem, MEM_LEN);
}

static void damaged_bytes(void **state)
{
	unsigned int i, n, refused = 0;
	struct paste_region *r;
	struct paste_region_info info;

	(void)state;
	make_region();
	assert_int_equal(paste_region_attach(mem, MEM_LEN, &r), 0);
	info = *paste_region_info(r);
	paste_region_close(r);
	for (i = 1; i <= 20000; i++) {
		char *image = copy_of_region();

		t.random = i;
		for (n = 1 + (unsigned int)rnd(4); n; n--)
			image[rnd(2) * PAGE + rnd(128)] = (char)rnd(256);
		if (paste_region_attach(image, MEM_LEN, &r)) {
			refused++;
		} else {
			assert_memory_equal(paste_region_info(r), &info, sizeof(info));
			paste_region_close(r);
		}
		free(image);
	}
	printf("# %u of %u refused\n", refused, i - 1);
	assert_true(refused);
}

/* A 4 byte word from offset 8 on becomes something interesting, in both copies. */
static void forge(char *image)
{
	static const uint32_t words[] = {
		0, 1, 2, 3, 63, 64, 128, 4095, PAGE, 2 * PAGE, 3 * PAGE, 4 * PAGE,
		MEM_LEN, MEM_LEN - PAGE, 0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff,
	};
	unsigned int n;
	uint32_t crc;

	for (n = 1 + (unsigned int)rnd(3); n; n--)
		memcpy(image + 8 + 4 * rnd(29), &words[rnd(sizeof(words) / 4)], 4);
	crc = nmi_crc32c(0, image, 124);
	memcpy(image + 124, &crc, sizeof(crc));
	memcpy(image + PAGE, image, 128);
}

/* Both ends of everything a region says it has. */
static void touch(struct paste_region *r)
{
	const struct paste_region_info *info = paste_region_info(r);
	void *(*area[])(const struct paste_region *, size_t *) = {
		paste_region_log, paste_region_tree, paste_region_packet,
	};
	uint32_t bufs[] = { 2, 3, info->buf_num - 1, info->buf_num, UINT32_MAX };
	unsigned int i;
	size_t len = 0;
	char *p;

	for (i = 0; i < 3; i++) {
		p = area[i](r, &len);
		p[0]++;
		p[len - 1]++;
	}
	for (i = 0; i < 5; i++) {
		p = paste_region_buf(r, bufs[i]);
		assert_int_equal(paste_region_keep(r, bufs[i]),
				 !p ? -ERANGE : i == 2 && bufs[2] < 4 ? -EEXIST : 0);
		if (!p)
			continue;
		p[0]++;
		p[info->buf_size - 1]++;
	}
}

static void forged_superblocks(void **state)
{
	unsigned int i, read = 0;
	struct paste_region *r;

	(void)state;
	make_region();
	for (i = 1; i <= 50000; i++) {
		char *image = copy_of_region();

		t.random = i;
		forge(image);
		if (!paste_region_attach(image, MEM_LEN, &r)) {
			read++;
			touch(r);
			paste_region_close(r);
		}
		free(image);
	}
	printf("# %u of %u read\n", read, i - 1);
	assert_true(read);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crash_anywhere),
		cmocka_unit_test(every_flush_and_fence_counts),
		cmocka_unit_test(damaged_bytes),
		cmocka_unit_test(forged_superblocks),
	};

	return cmocka_run_group_tests_name("region_crash", tests, NULL, NULL);
}
