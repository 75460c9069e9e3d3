// SPDX-License-Identifier: BSD-2-Clause
/* kernel/fdmap.c: any number may be asked for, sockets are found while it grows. */
#include <limits.h>

#include "kernel/test.h"
#include "../../kernel/fdmap.c"

static struct pst_sock *sock(int fd)
{
	return (struct pst_sock *)((uintptr_t)fd * 8 + 8);
}

static void set(struct pst_fdmap *map, int fd)
{
	assert_int_equal(pst_fdmap_reserve(map, fd), 0);
	pst_fdmap_set(map, fd, sock(fd));
}

static void any_number(void **state)
{
	static const int fds[] = { -1, INT_MIN, INT_MAX, 0, 63, 64 };
	struct pst_fdmap map = { };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(fds); i++)
		assert_null(pst_fdmap_get(&map, fds[i]));
	set(&map, 3);
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		assert_null(pst_fdmap_get(&map, fds[i]));
	assert_ptr_equal(pst_fdmap_get(&map, 3), sock(3));
	pst_fdmap_destroy(&map);
}

static void grows(void **state)
{
	static const int fds[] = { 0, 5, 63, 64, 1000, 65535, 65536 };
	struct pst_fdmap map = { };
	struct pst_sock *ps;
	u32 i, j;
	int fd;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		set(&map, fds[i]);
		for (j = 0; j <= i; j++)
			assert_ptr_equal(pst_fdmap_get(&map, fds[j]), sock(fds[j]));
	}
	pst_fdmap_set(&map, 63, NULL);
	assert_null(pst_fdmap_get(&map, 63));
	for (fd = 0, i = 0; (ps = pst_fdmap_next(&map, &fd)); fd++, i++) {
		i += fds[i] == 63;
		assert_int_equal(fd, fds[i]);
		assert_ptr_equal(ps, sock(fd));
	}
	assert_int_equal(i, ARRAY_SIZE(fds));
	pst_fdmap_destroy(&map);
}

static void no_memory(void **state)
{
	struct pst_fdmap map = { };

	set(&map, 1);
	mock.fail_alloc = 1;
	assert_int_equal(pst_fdmap_reserve(&map, 64), -ENOMEM);
	assert_ptr_equal(pst_fdmap_get(&map, 1), sock(1));
	pst_fdmap_destroy(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(any_number),
		T(grows),
		T(no_memory),
	};

	return cmocka_run_group_tests_name("kernel_fdmap", tests, NULL, NULL);
}
