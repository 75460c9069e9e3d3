# SPDX-License-Identifier: BSD-2-Clause
STORE_TESTS := store_test store_log_test store_damage_test store_model_test
STORE_SRCS := $(addprefix ../../apps/phttpd/,store.c store_write.c store_recover.c record.c space.c percent.c siphash.c) \
	      $(addprefix ../../lib/,btree.c btree_inner.c crc32c.c pm.c region_file.c region_areas.c wal.c)
STORE_CFLAGS := -I../../apps/phttpd -I../../lib \
		$(addprefix -Wl$(comma)--wrap=,malloc calloc realloc)

$(foreach t,$(STORE_TESTS),$(eval $(t)_SRCS := store_fixture.c $(STORE_SRCS))$(eval $(t)_CFLAGS := $(STORE_CFLAGS)))
$(STORE_TESTS): store_fixture.h
