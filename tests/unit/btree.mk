# SPDX-License-Identifier: BSD-2-Clause
btree_test_SRCS := $(addprefix ../../lib/,btree.c btree_inner.c crc32c.c pm.c)
btree_test_CFLAGS := $(addprefix -Wl$(comma)--wrap=,malloc calloc paste_pm_flush paste_pm_fence)
