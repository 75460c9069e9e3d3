// SPDX-License-Identifier: BSD-2-Clause
/* pastectl region: what it says of whole and of damaged regions, its status, and that it changes none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include <paste_btree.h>
#include <paste_region.h>
#include <paste_wal.h>

#include "../../apps/pastectl/region.h"

#define MESSAGES	3

static char path[64];
static int file;
static char said[4096];		/* on stdout and stderr */

/* Runs "pastectl region WORD PATH"; returns its status. */
static int region(const char *word)
{
	char name[16], *argv[] = { name, path, NULL };
	int saved[2] = { dup(1), dup(2) }, status;
	const char *why;
	FILE *to = tmpfile();
	ssize_t n;

	if (!to || saved[0] < 0 || saved[1] < 0)
		abort();
	snprintf(name, sizeof(name), "%s", word);
	fflush(stdout);
	dup2(fileno(to), 1);
	dup2(fileno(to), 2);
	status = region_command(2, argv, &why);
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], 1 + i);
		close(saved[i]);
	}
	n = pread(fileno(to), said, sizeof(said) - 1, 0);
	assert_true(n >= 0);
	said[n] = 0;
	fclose(to);
	return status;
}

/* The same of a word that only looks: not a byte of the file is another one then. */
static int look(const char *word)
{
	size_t len = (size_t)lseek(file, 0, SEEK_END);
	char *before = malloc(len), *now = mmap(NULL, len, PROT_READ, MAP_SHARED, file, 0);
	int status;

	if (!before || now == MAP_FAILED)
		abort();
	memcpy(before, now, len);
	status = region(word);
	assert_int_equal(lseek(file, 0, SEEK_END), len);
	if (memcmp(before, now, len))
		fail_msg("%s has changed the region", word);
	munmap(now, len);
	free(before);
	return status;
}

static void says(const char *text)
{
	if (!strstr(said, text))
		fail_msg("'%s' is not in: %s", text, said);
}

static int setup(void **state)
{
	(void)state;
	file = memfd_create("region", MFD_CLOEXEC);
	assert_true(file >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	assert_int_equal(region("create"), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(file);
	return 0;
}

/* Some messages, each with a commit of its own, so that the later tell of the earlier; some keys. */
static void fill(void)
{
	const struct paste_region_info *info;
	struct paste_region *r;
	struct paste_wal *wal;
	struct paste_btree *tree;
	void *area;
	size_t len;

	assert_int_equal(paste_region_open(path, 0, &r), 0);
	info = paste_region_info(r);
	area = paste_region_log(r, &len);
	assert_int_equal(paste_wal_format(area, len), 0);
	assert_int_equal(paste_wal_open(area, len, &(struct paste_wal_bufs) {
				 (char *)paste_region_packet(r, &(size_t) { 0 }) + info->buf_ofs,
				 info->buf_size, info->buf_num
			 }, PASTE_WAL_CRC, NULL, NULL, &wal), 0);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		assert_true(paste_wal_append(wal, &(struct paste_wal_piece) { 5 + i, 0, 10 }, 1,
					     0) > 0);
		paste_wal_commit(wal);
	}
	paste_wal_close(wal);
	area = paste_region_tree(r, &len);
	assert_int_equal(paste_btree_format(area, len), 0);
	assert_int_equal(paste_btree_open(area, len, &tree), 0);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(paste_btree_insert(tree, i, i + 1), 0);
	paste_btree_commit(tree);
	paste_btree_close(tree);
	paste_region_close(r);
}

static uint64_t log_at, tree_at;

static void find_areas(void)
{
	struct paste_region *r;

	assert_int_equal(paste_region_open(path, 0, &r), 0);
	log_at = paste_region_info(r)->log_ofs;
	tree_at = paste_region_info(r)->tree_ofs;
	paste_region_close(r);
}

static void flip(uint64_t at)
{
	char c;

	assert_int_equal(pread(file, &c, 1, (off_t)at), 1);
	c ^= 1;
	assert_int_equal(pwrite(file, &c, 1, (off_t)at), 1);
}

/* While the byte there is another, check says so, about that part alone. */
static void damage(uint64_t at, const char *part, const char *other)
{
	flip(at);
	assert_int_equal(look("check"), 1);
	says(part);
	says("damaged");
	says(other);
	assert_null(strstr(said, "Bad message"));
	assert_null(strstr(said, "recovered"));
	assert_int_equal(look("show"), 0);	/* it looks at the region, not at what is in there */
	flip(at);
	assert_int_equal(look("check"), 0);
}

static void new_one(void **state)
{
	(void)state;
	assert_int_equal(look("check"), 0);
	says("log         none\n");
	says("tree        none\n");
	assert_int_equal(look("show"), 0);
	says("not persistent memory\n");
}

static void whole(void **state)
{
	(void)state;
	fill();
	assert_int_equal(look("check"), 0);
	says("log         3 messages, 3 pieces, 30 bytes\n");
	says("tree        100 entries in ");
	says("recovered   in ");
	assert_int_equal(look("show"), 0);
	says("not persistent memory\n");
}

/* What a crash may leave, and recovery would mend: of the log, then of the tree. */
static void not_recovered(void **state)
{
	static const uint64_t twice[2] = { 99, 1 };	/* the last key is there already */

	(void)state;
	fill();
	find_areas();
	flip(log_at + 64);				/* a copy of the root */
	assert_int_equal(look("check"), 0);
	says("log         3 messages");
	flip(log_at + 8192 + 3 * 64);			/* the last record */
	assert_int_equal(look("check"), 0);
	says("log         2 messages");
	/* The last entry, a free one, of the last leaf. */
	assert_int_equal(pwrite(file, twice, sizeof(twice), (off_t)tree_at + 7 * 256 + 15 * 16),
			 sizeof(twice));
	assert_int_equal(look("check"), 0);
	says("tree        100 entries");
	assert_int_equal(look("show"), 0);
}

static void damaged(void **state)
{
	(void)state;
	fill();
	find_areas();
	damage(log_at + 8, "log: ", "tree        100 entries");		/* header */
	damage(log_at + 8192 + 2 * 64, "log: ", "tree        100 entries");	/* record 2 */
	damage(tree_at + 8, "tree: ", "log         3 messages");
}

/* The word that says what it is: not the same as nothing. */
static void without_a_beginning(void **state)
{
	static const uint64_t zero;
	const uint64_t *area;

	(void)state;
	fill();
	find_areas();
	for (int i = 0; i < 2; i++) {
		area = i ? &tree_at : &log_at;
		flip(*area);
		assert_int_equal(look("check"), 1);
		says(i ? "tree: neither new nor what it should be" :
			 "log: neither new nor what it should be");
		assert_int_equal(pwrite(file, &zero, 8, (off_t)*area), 8);
		assert_int_equal(look("check"), 1);
		says("lost its beginning");
	}
}

/* Formatting was interrupted, with the first word outstanding: as good as new. */
static void half_formatted(void **state)
{
	static const char text[] = "something";

	(void)state;
	find_areas();
	assert_int_equal(pwrite(file, text, sizeof(text), (off_t)log_at + 8), sizeof(text));
	assert_int_equal(pwrite(file, text, sizeof(text), (off_t)tree_at + 8), sizeof(text));
	assert_int_equal(look("check"), 0);
	says("log         none\n");
	says("tree        none\n");
}

static void no_region(void **state)
{
	(void)state;
	flip(8);
	assert_int_equal(look("show"), 1);
	assert_int_equal(look("check"), 1);
	says(path);
	flip(8);
	assert_int_equal(region("nonsense"), 2);
	snprintf(path, sizeof(path), "/nonexistent/region");
	assert_int_equal(region("show"), 1);
	says("/nonexistent/region: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(new_one),
		TEST(whole),
		TEST(not_recovered),
		TEST(damaged),
		TEST(without_a_beginning),
		TEST(half_formatted),
		TEST(no_region),
	};

	return cmocka_run_group_tests_name("pastectl region", tests, NULL, NULL);
}
