# SPDX-License-Identifier: BSD-2-Clause
# Includes lib/crc32c.c, to try it without the instruction.
wal_test_SRCS := ../../lib/pm.c ../../lib/wal.c
wal_test_CFLAGS := $(addprefix -Wl$(comma)--wrap=,calloc paste_pm_fence paste_pm_persist)
wal_test: ../../lib/crc32c.c fences.h
