# SPDX-License-Identifier: BSD-2-Clause
# Includes lib/pm.c, to try each way to flush. Compiled as the library is: what sanitizers add is no part of it.
pm_instructions_test_SRCS := ../../lib/crc32c.c
pm_instructions_test_CFLAGS := -fno-sanitize=all -O2
pm_instructions_test: ../../lib/pm.c
