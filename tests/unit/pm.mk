# SPDX-License-Identifier: BSD-2-Clause
# Includes lib/pm.c, to try each way to flush.
pm_test_SRCS := ../../lib/crc32c.c
pm_test: ../../lib/pm.c
