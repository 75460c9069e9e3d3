// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/region_file.c: layouts, refusals, the mapping, the kept set.  A device is a
 * file of which fstat() says otherwise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <cmocka.h>

#include <paste_region.h>
#include "../../lib/crc32c.h"

#define PAGE 4096ull

static struct {
	int calloc, mmap;	/* the n-th from now fails */
	int fallocate, ftruncate, flock, fstat;	/* fails with this errno */
	int random;		/* bytes getrandom() gives; -1: what is asked */
	int dax;		/* MAP_SYNC works */
	const char *device;	/* the file is one, of so many bytes */
} mock;

static char path[] = "/tmp/region_test.XXXXXX";
static struct paste_region *region;

void *__real_calloc(size_t n, size_t size);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t ofs);
int __real_ftruncate(int fd, off_t size);
int __real_flock(int fd, int op);
int __real_fstat(int fd, struct stat *st);
FILE *__real_fopen(const char *name, const char *mode);

void *__wrap_calloc(size_t n, size_t size);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t ofs);
int __wrap_posix_fallocate(int fd, off_t ofs, off_t size);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_flock(int fd, int op);
int __wrap_fstat(int fd, struct stat *st);
ssize_t __wrap_getrandom(void *buf, size_t n, unsigned int flags);
FILE *__wrap_fopen(const char *name, const char *mode);

void *__wrap_calloc(size_t n, size_t size)
{
	if (mock.calloc && !--mock.calloc)
		return NULL;
	return __real_calloc(n, size);
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t ofs)
{
	if (fd >= 0 && flags & MAP_SYNC) {
		if (!mock.dax) {
			errno = EOPNOTSUPP;
			return MAP_FAILED;
		}
		flags = MAP_SHARED;
	}
	if (fd >= 0 && mock.mmap && !--mock.mmap) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(addr, len, prot, flags, fd, ofs);
}

/* The file grows; blocks are not needed here. */
int __wrap_posix_fallocate(int fd, off_t ofs, off_t size)
{
	struct stat st;

	if (mock.fallocate)
		return mock.fallocate;
	assert_int_equal(ofs, 0);
	assert_int_equal(__real_fstat(fd, &st), 0);
	return st.st_size < size ? __real_ftruncate(fd, size) : 0;
}

static int failing(int err)
{
	errno = err;
	return -1;
}

int __wrap_ftruncate(int fd, off_t size)
{
	return mock.ftruncate ? failing(mock.ftruncate) : __real_ftruncate(fd, size);
}

int __wrap_flock(int fd, int op)
{
	return mock.flock ? failing(mock.flock) : __real_flock(fd, op);
}

int __wrap_fstat(int fd, struct stat *st)
{
	int ret = mock.fstat ? failing(mock.fstat) : __real_fstat(fd, st);

	if (!ret && mock.device) {
		st->st_mode = (st->st_mode & ~(mode_t)S_IFMT) | S_IFCHR;
		st->st_rdev = makedev(252, 3);
		st->st_size = 0;
	}
	return ret;
}

ssize_t __wrap_getrandom(void *buf, size_t n, unsigned int flags)
{
	static unsigned char next;

	(void)flags;
	memset(buf, ++next, n);
	return mock.random < 0 ? (ssize_t)n : mock.random;
}

FILE *__wrap_fopen(const char *name, const char *mode)
{
	if (!mock.device)
		return __real_fopen(name, mode);
	assert_string_equal(name, "/sys/dev/char/252:3/size");
	return *mock.device ? fmemopen((void *)(uintptr_t)mock.device,
				       strlen(mock.device), "r") : NULL;
}

static const struct paste_region_layout small = {
	.log_size = 2 * PAGE, .tree_size = PAGE, .if_num = 1, .if_size = 100,
	.ring_num = 2, .ring_size = 1000, .buf_num = 70,
};

/* 2 superblocks, 2 log, 1 tree, 1 of ifs, 1 of rings, 70 buffers */
#define SMALL_LEN	(77 * PAGE)

static int setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	memset(&mock, 0, sizeof(mock));
	mock.random = -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	paste_region_close(region);
	region = NULL;
	unlink(path);
	memcpy(path + strlen(path) - 6, "XXXXXX", 7);
	return 0;
}

static int create(uint64_t size, bool replace)
{
	struct paste_region_layout l = small;

	l.size = size;
	l.replace = replace;
	return paste_region_create(path, &l);
}

static int reopen(unsigned int flags)
{
	paste_region_close(region);
	region = NULL;
	return paste_region_open(path, flags, &region);
}

static uint64_t file_len(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* Write @len bytes at @ofs of the file. */
static void poke(uint64_t ofs, const void *p, size_t len)
{
	int fd = open(path, O_RDWR);

	assert_int_equal(pwrite(fd, p, len, (off_t)ofs), len);
	close(fd);
}

/* Change a byte at @ofs by @by, in both copies and with the right checksum if @seal. */
static void change(unsigned int ofs, int by, bool seal)
{
	unsigned char sb[128];
	uint32_t crc;
	int fd = open(path, O_RDONLY);

	assert_int_equal(pread(fd, sb, 128, 0), 128);
	close(fd);
	sb[ofs] = (unsigned char)(sb[ofs] + by);
	crc = nmi_crc32c(0, sb, 124);
	if (seal)
		memcpy(sb + 124, &crc, 4);
	poke(0, sb, 128);
	if (seal)
		poke(PAGE, sb, 128);
}

static void create_and_open(void **state)
{
	const struct paste_region_info *i;
	uint8_t uuid[16];
	size_t len;
	char *p;

	(void)state;
	unlink(path);
	assert_int_equal(create(0, false), 0);
	assert_int_equal(file_len(), SMALL_LEN);
	assert_int_equal(reopen(0), 0);
	i = paste_region_info(region);
	assert_int_equal(i->size, SMALL_LEN);
	assert_int_equal(i->log_ofs, 2 * PAGE);
	assert_int_equal(i->log_len, 2 * PAGE);
	assert_int_equal(i->tree_ofs, 4 * PAGE);
	assert_int_equal(i->tree_len, PAGE);
	assert_int_equal(i->packet_ofs, 5 * PAGE);
	assert_int_equal(i->packet_len, 72 * PAGE);
	assert_int_equal(i->buf_ofs, 2 * PAGE);
	assert_int_equal(i->if_size, 128);
	assert_int_equal(i->ring_size, 1024);
	assert_int_equal(i->buf_num, 70);
	assert_int_equal(i->buf_size, 4096);
	assert_int_equal(i->uuid[6] & 0xf0, 0x40);
	assert_int_equal(i->uuid[8] & 0xc0, 0x80);
	memcpy(uuid, i->uuid, 16);
	assert_false(paste_region_is_dax(region));

	p = paste_region_packet(region, &len);
	assert_int_equal(len, 72 * PAGE);
	assert_ptr_equal(paste_region_buf(region, 2), p + 4 * PAGE);
	assert_ptr_equal(paste_region_buf(region, 69), p + 71 * PAGE);
	assert_null(paste_region_buf(region, 0));
	assert_null(paste_region_buf(region, 1));
	assert_null(paste_region_buf(region, 70));
	assert_null(paste_region_buf(region, UINT32_MAX));
	assert_ptr_equal(paste_region_log(region, &len), p - 3 * PAGE);
	assert_int_equal(len, 2 * PAGE);
	assert_ptr_equal(paste_region_tree(region, &len), p - PAGE);
	assert_int_equal(len, PAGE);

	memcpy(paste_region_buf(region, 33), "stays", 6);
	assert_int_equal(reopen(0), 0);
	assert_string_equal(paste_region_buf(region, 33), "stays");
	assert_memory_equal(paste_region_info(region)->uuid, uuid, 16);
}

static void defaults(void **state)
{
	const struct paste_region_layout none = { 0 };
	const struct paste_region_info *i;

	(void)state;
	assert_int_equal(paste_region_create(path, &none), 0);
	assert_int_equal(reopen(0), 0);
	i = paste_region_info(region);
	assert_int_equal(i->log_len, 4 << 20);
	assert_int_equal(i->tree_len, 16 << 20);
	assert_int_equal(i->if_num, 8);
	assert_int_equal(i->ring_num, 16);
	assert_int_equal(i->ring_size, 33024);
	assert_int_equal(i->buf_num, 16384);
	assert_int_equal(i->size, file_len());
}

/* What is asked for has to fit; what is not asked for fills the rest. */
static void sizes(void **state)
{
	struct paste_region_layout l = small;

	(void)state;
	assert_int_equal(create(SMALL_LEN - PAGE, false), -EINVAL);
	assert_int_equal(create(UINT64_MAX, false), -EINVAL);
	assert_int_equal(create(UINT64_MAX - PAGE, false), -EINVAL);
	assert_int_equal(create(PAGE, false), -EINVAL);
	assert_int_equal(file_len(), 0);
	assert_int_equal(create(SMALL_LEN + 1, false), 0);
	assert_int_equal(file_len(), SMALL_LEN + PAGE);
	assert_int_equal(create(SMALL_LEN, true), 0);
	assert_int_equal(file_len(), SMALL_LEN);
	l.replace = true;
	l.size = SMALL_LEN + 5 * PAGE;
	l.buf_num = 0;
	assert_int_equal(paste_region_create(path, &l), 0);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(paste_region_info(region)->buf_num, 75);
	paste_region_close(region);
	region = NULL;

	l.size = 0;
	l.buf_num = 2;
	assert_int_equal(paste_region_create(path, &l), -EINVAL);
	l.buf_num = 3;
	assert_int_equal(paste_region_create(path, &l), 0);
	l.log_size = UINT64_MAX;
	assert_int_equal(paste_region_create(path, &l), -EINVAL);
	l.log_size = UINT64_MAX / 2;
	assert_int_equal(paste_region_create(path, &l), -EINVAL);
	l.log_size = 0;
	l.tree_size = UINT64_MAX / 2;
	assert_int_equal(paste_region_create(path, &l), -EINVAL);
	l.tree_size = 0;
	l.if_num = l.if_size = UINT32_MAX;
	assert_int_equal(paste_region_create(path, &l), -EINVAL);
	l.if_size = UINT32_MAX - 128;
	l.ring_num = UINT32_MAX;
	l.ring_size = UINT32_MAX - 128;
	assert_int_equal(paste_region_create(path, &l), -EINVAL);
}

/* Of a region that could not be made nothing is left, if nothing was there before. */
static void nothing_left(void **state)
{
	struct paste_region_layout l = small;

	(void)state;
	assert_int_equal(unlink(path), 0);
	l.size = PAGE;
	assert_int_equal(paste_region_create(path, &l), -EINVAL);
	assert_int_equal(access(path, F_OK), -1);
	l.size = 0;
	mock.mmap = 1;
	assert_int_equal(paste_region_create(path, &l), -ENOMEM);
	assert_int_equal(access(path, F_OK), -1);
	mock.mmap = 0;
	assert_int_equal(paste_region_create(path, &l), 0);
	assert_int_equal(access(path, F_OK), 0);
}

static void existing_content(void **state)
{
	(void)state;
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(create(0, false), 0);
	assert_int_equal(create(0, false), -EEXIST);
	assert_int_equal(create(0, true), 0);
	/* An interrupted creation is nobody's content. */
	poke(0, "PASTEnew", 8);
	assert_int_equal(reopen(0), -EUCLEAN);
	assert_int_equal(create(0, false), 0);
	/* Some other file. */
	assert_int_equal(truncate(path, 0), 0);
	poke(0, "#!", 2);
	assert_int_equal(create(0, false), -EEXIST);
	assert_int_equal(file_len(), 2);
	poke(0, "\0\0", 2);
	poke(PAGE, "x", 1);
	assert_int_equal(create(0, false), -EEXIST);
	mock.mmap = 1;
	assert_int_equal(create(0, false), -ENOMEM);
}

static void refusals(void **state)
{
	(void)state;
	assert_int_equal(reopen(0), -EMEDIUMTYPE);
	assert_int_equal(truncate(path, 5000), 0);
	assert_int_equal(reopen(0), -EMEDIUMTYPE);
	assert_int_equal(truncate(path, 8192), 0);
	assert_int_equal(reopen(0), -EMEDIUMTYPE);
	assert_int_equal(create(0, false), 0);
	assert_int_equal(reopen(2), -EINVAL);
	assert_int_equal(reopen(PASTE_REGION_DAX), -EOPNOTSUPP);

	change(0, 1, false);		/* magic of A alone */
	assert_int_equal(reopen(0), -EBADMSG);
	change(0, -1, false);
	change(17, 1, false);		/* A alone */
	assert_int_equal(reopen(0), -EBADMSG);
	change(17, -1, false);
	change(8, 1, true);
	assert_int_equal(reopen(0), -EPROTONOSUPPORT);
	change(8, -1, true);
	change(12, 1, true);
	assert_int_equal(reopen(0), -EBADMSG);
	change(12, -1, true);
	change(120, 1, true);		/* flags */
	assert_int_equal(reopen(0), -EBADMSG);
	change(120, -1, true);
	assert_int_equal(reopen(0), 0);
	paste_region_close(region);
	region = NULL;
	assert_int_equal(truncate(path, SMALL_LEN + PAGE), 0);
	assert_int_equal(reopen(0), -EOVERFLOW);
	assert_int_equal(truncate(path, SMALL_LEN - PAGE), 0);
	assert_int_equal(reopen(0), -EOVERFLOW);
	assert_null(region);
}

/* A checksum that is wrong in both copies. */
static void wrong_checksum(void **state)
{
	(void)state;
	assert_int_equal(create(0, false), 0);
	poke(20, "x", 1);
	poke(PAGE + 20, "x", 1);
	assert_int_equal(reopen(0), -EBADMSG);
}

/* Right checksum, areas that do not fit. */
static void impossible_layouts(void **state)
{
	static const unsigned int field[] = {
		33, 40, 41, 47, 49, 57, 63, 65, 73, 79, 81, 89, 95, 97, 105, 113, 115, 116,
	};
	unsigned int i;

	(void)state;
	assert_int_equal(create(0, false), 0);
	for (i = 0; i < sizeof(field) / sizeof(field[0]); i++) {
		change(field[i], 0x80, true);
		if (!reopen(0))
			fail_msg("byte %u changed and not refused", field[i]);
		change(field[i], -0x80, true);
	}
	assert_int_equal(reopen(0), 0);
}

static void locked(void **state)
{
	struct paste_region *second;

	(void)state;
	assert_int_equal(create(0, false), 0);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(paste_region_open(path, 0, &second), -EBUSY);
	assert_int_equal(create(0, true), -EBUSY);
	assert_int_equal(reopen(0), 0);
	paste_region_close(region);
	region = NULL;
	mock.flock = EINTR;
	assert_int_equal(reopen(0), -EINTR);
}

static void device(void **state)
{
	struct paste_region_layout l = small;

	(void)state;
	assert_int_equal(truncate(path, SMALL_LEN), 0);
	mock.device = "315392\n";	/* SMALL_LEN */
	l.buf_num = 0;
	l.size = SMALL_LEN - PAGE;
	assert_int_equal(paste_region_create(path, &l), -EINVAL);
	l.size = 0;
	assert_int_equal(paste_region_create(path, &l), 0);
	assert_int_equal(paste_region_create(path, &l), -EEXIST);
	mock.dax = 1;
	assert_int_equal(reopen(PASTE_REGION_DAX), 0);
	assert_true(paste_region_is_dax(region));
	assert_int_equal(paste_region_info(region)->buf_num, 70);
	mock.device = "no number";
	assert_int_equal(reopen(0), -ENODEV);
	mock.device = "";
	assert_int_equal(reopen(0), -ENODEV);
	assert_int_equal(paste_region_create(path, &l), -ENODEV);
}

static void system_errors(void **state)
{
	(void)state;
	assert_int_equal(paste_region_open("/nonexistent", 0, &region), -ENOENT);
	assert_int_equal(paste_region_create("/nonexistent/x", &small), -ENOENT);
	assert_int_equal(paste_region_open("/dev/null", 0, &region), -ENODEV);
	mock.fallocate = ENOSPC;
	assert_int_equal(create(0, false), -ENOSPC);
	mock.fallocate = 0;
	mock.random = 3;
	assert_int_equal(create(0, false), -EIO);
	mock.random = -1;
	mock.mmap = 2;		/* the first looks at what is there */
	assert_int_equal(create(0, false), -ENOMEM);
	assert_int_equal(create(0, false), 0);
	mock.ftruncate = EPERM;
	assert_int_equal(truncate(path, SMALL_LEN + PAGE), 0);
	assert_int_equal(create(0, true), -EPERM);
	assert_int_equal(truncate(path, SMALL_LEN), 0);
	mock.fstat = EIO;
	assert_int_equal(reopen(0), -EIO);
	mock.fstat = 0;
	mock.mmap = 1;
	assert_int_equal(reopen(0), -ENOMEM);
	mock.calloc = 1;
	assert_int_equal(reopen(0), -ENOMEM);
	mock.calloc = 2;
	assert_int_equal(reopen(0), -ENOMEM);
	mock.calloc = 0;
	assert_int_equal(reopen(0), 0);
	paste_region_close(NULL);
}

static void not_a_file(void **state)
{
	int pipe_[2];
	char name[64];

	(void)state;
	assert_int_equal(pipe(pipe_), 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", pipe_[0]);
	assert_int_equal(paste_region_open(name, 0, &region), -ENODEV);
	close(pipe_[0]);
	close(pipe_[1]);
}

static void plain_memory(void **state)
{
	struct paste_region_layout l = small;
	char *mem = aligned_alloc(PAGE, SMALL_LEN);
	size_t len;

	(void)state;
	assert_non_null(mem);
	memset(mem, 'j', SMALL_LEN);
	assert_int_equal(paste_region_attach(mem, SMALL_LEN, &region), -EMEDIUMTYPE);
	assert_int_equal(paste_region_format(mem, SMALL_LEN, &l), -EEXIST);
	l.replace = true;
	assert_int_equal(paste_region_format(mem + 64, SMALL_LEN - PAGE, &l), -EINVAL);
	assert_int_equal(paste_region_format(mem, SMALL_LEN - 64, &l), -EINVAL);
	assert_int_equal(paste_region_format(mem, 0, &l), -EINVAL);
	assert_int_equal(paste_region_format(mem, PAGE, &l), -EINVAL);
	l.size = SMALL_LEN - PAGE;
	assert_int_equal(paste_region_format(mem, SMALL_LEN, &l), -EINVAL);
	l.size = SMALL_LEN;
	mock.random = 0;
	assert_int_equal(paste_region_format(mem, SMALL_LEN, &l), -EIO);
	mock.random = -1;
	assert_int_equal(paste_region_format(mem, SMALL_LEN, &l), 0);
	assert_int_equal(paste_region_attach(mem + 64, SMALL_LEN, &region), -EINVAL);
	assert_int_equal(paste_region_attach(mem, SMALL_LEN - PAGE, &region), -EOVERFLOW);
	assert_int_equal(paste_region_attach(mem, PAGE, &region), -EMEDIUMTYPE);
	assert_int_equal(paste_region_attach(mem, SMALL_LEN, &region), 0);
	assert_false(paste_region_is_dax(region));
	assert_ptr_equal(paste_region_log(region, &len), mem + 2 * PAGE);
	assert_int_equal(mem[2 * PAGE] | mem[5 * PAGE - 1], 0);
	assert_int_equal(mem[5 * PAGE], 'j');
	paste_region_close(region);
	region = NULL;
	free(mem);
}

static void kept_set(void **state)
{
	uint32_t list[8] = { 0 };

	(void)state;
	assert_int_equal(create(0, false), 0);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(paste_region_keep_list(region, list, 8), 0);
	assert_int_equal(paste_region_keep(region, 0), -ERANGE);
	assert_int_equal(paste_region_keep(region, 1), -ERANGE);
	assert_int_equal(paste_region_keep(region, 70), -ERANGE);
	assert_int_equal(paste_region_release(region, 70), -ERANGE);
	assert_int_equal(paste_region_release(region, 1), -ERANGE);
	assert_int_equal(paste_region_release(region, 2), -ENOENT);
	assert_int_equal(paste_region_keep(region, 69), 0);
	assert_int_equal(paste_region_keep(region, 2), 0);
	assert_int_equal(paste_region_keep(region, 64), 0);
	assert_int_equal(paste_region_keep(region, 63), 0);
	assert_int_equal(paste_region_keep(region, 64), -EEXIST);
	assert_true(paste_region_kept(region, 64));
	assert_false(paste_region_kept(region, 65));
	assert_false(paste_region_kept(region, 70));
	assert_false(paste_region_kept(region, UINT32_MAX));
	assert_int_equal(paste_region_keep_list(region, NULL, 0), 4);
	assert_int_equal(paste_region_keep_list(region, list, 3), 4);
	assert_int_equal(list[0], 2);
	assert_int_equal(list[1], 63);
	assert_int_equal(list[2], 64);
	assert_int_equal(list[3], 0);
	assert_int_equal(paste_region_release(region, 63), 0);
	assert_int_equal(paste_region_keep_list(region, list, 8), 3);
	assert_int_equal(list[1], 64);
	assert_int_equal(list[2], 69);
	assert_int_equal(reopen(0), 0);
	assert_int_equal(paste_region_keep_list(region, list, 8), 0);
}

/* Each has a sentence of its own, whatever its sign. */
static void explanations(void **state)
{
	static const int errs[] = {
		EMEDIUMTYPE, EUCLEAN, EBADMSG, EPROTONOSUPPORT, EOVERFLOW, EBUSY, EEXIST,
		EOPNOTSUPP, ENODEV, EINVAL, ENOENT,
	};
	unsigned int i, j;

	(void)state;
	for (i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
		assert_string_equal(paste_region_strerror(errs[i]),
				    paste_region_strerror(-errs[i]));
		for (j = 0; j < i; j++)
			assert_string_not_equal(paste_region_strerror(errs[i]),
						paste_region_strerror(errs[j]));
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(create_and_open), T(defaults), T(sizes), T(nothing_left), T(existing_content), T(refusals),
		T(wrong_checksum), T(impossible_layouts), T(locked), T(device),
		T(system_errors), T(not_a_file), T(plain_memory), T(kept_set),
		T(explanations),
	};

	return cmocka_run_group_tests_name("region_file", tests, NULL, NULL);
}
