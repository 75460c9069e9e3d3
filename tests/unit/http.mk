# SPDX-License-Identifier: BSD-2-Clause
include ../../apps/phttpd/llhttp.mk
HTTP_TESTS := $(basename $(wildcard http_*_test.c))
HTTP_SRCS := http_mock.c $(addprefix ../../apps/phttpd/,http.c app.c app_kv.c store.c store_write.c store_recover.c record.c space.c \
	     percent.c siphash.c) $(addprefix ../../lib/,btree.c btree_inner.c crc32c.c pm.c \
	     region_file.c region_areas.c wal.c) $(LLHTTP_SRCS)
HTTP_CFLAGS := -I../../apps/phttpd -I../../lib $(LLHTTP_CFLAGS) $(if $(LLHTTP_SRCS),-Wno-unused-parameter) \
	       $(if $(LLHTTP_LIBS),-Wl$(comma)--no-as-needed $(LLHTTP_LIBS))

$(foreach t,$(HTTP_TESTS),$(eval $(t)_SRCS := $(HTTP_SRCS))$(eval $(t)_CFLAGS := $(HTTP_CFLAGS)))
$(HTTP_TESTS): http_mock.h
