/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of kernel/ include first. */
#ifndef _KERNEL_TEST_H_
#define _KERNEL_TEST_H_

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <linux/types.h>

#define T(f) cmocka_unit_test_setup_teardown(f, mock_setup, mock_teardown)

/* The same numbers in every run. */
static inline u32 rnd(u32 n)
{
	static u64 x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (x >> 32) % n;
}

#endif
