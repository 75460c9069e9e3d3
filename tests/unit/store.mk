# SPDX-License-Identifier: BSD-2-Clause
store_test_SRCS := $(addprefix ../../apps/phttpd/,store.c store_recover.c record.c space.c percent.c siphash.c) \
		   $(addprefix ../../lib/,btree.c btree_inner.c crc32c.c pm.c region_file.c region_areas.c wal.c)
store_test_CFLAGS := -I../../apps/phttpd -I../../lib \
		     $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc)
