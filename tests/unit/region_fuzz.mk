# SPDX-License-Identifier: BSD-2-Clause
region_fuzz_test_SRCS := $(addprefix ../../apps/phttpd/,store.c store_write.c store_recover.c record.c space.c siphash.c) \
			 $(addprefix ../../lib/,btree.c btree_inner.c crc32c.c pm.c region_file.c region_areas.c wal.c) \
			 ../../apps/pastectl/region.c ../../apps/pastectl/args.c
region_fuzz_test_CFLAGS := -I../../apps/phttpd -I../../apps/pastectl -I../../lib -Wl,--wrap=getrandom
