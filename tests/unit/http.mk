# SPDX-License-Identifier: BSD-2-Clause
include ../../apps/phttpd/llhttp.mk
http_test_SRCS := $(addprefix ../../apps/phttpd/,http.c app.c app_kv.c store.c store_recover.c record.c space.c \
		  percent.c siphash.c) $(addprefix ../../lib/,btree.c btree_inner.c crc32c.c pm.c \
		  region_file.c wal.c) $(LLHTTP_SRCS)
http_test_CFLAGS := -I../../apps/phttpd -I../../lib $(LLHTTP_CFLAGS) $(if $(LLHTTP_SRCS),-Wno-unused-parameter) \
		    $(if $(LLHTTP_LIBS),-Wl$(comma)--no-as-needed $(LLHTTP_LIBS))
