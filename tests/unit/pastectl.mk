# SPDX-License-Identifier: BSD-2-Clause
pastectl_test_SRCS := ../../apps/pastectl/region.c ../../apps/pastectl/args.c $(addprefix ../../lib/,btree.c btree_inner.c crc32c.c pm.c region_file.c region_areas.c wal.c)
