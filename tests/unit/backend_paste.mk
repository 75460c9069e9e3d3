# SPDX-License-Identifier: BSD-2-Clause
include ../../apps/phttpd/llhttp.mk
backend_paste_test_SRCS := $(addprefix ../../apps/phttpd/,http.c app.c app_kv.c store.c store_write.c store_recover.c record.c space.c \
	percent.c siphash.c conn.c worker.c paste_bufs.c backend_epoll.c) $(LIBSRCS) $(LLHTTP_SRCS)
backend_paste_test_CFLAGS := -I../../apps/phttpd -I../../lib $(LLHTTP_CFLAGS) -DHAVE_PASTE \
	$(if $(LLHTTP_SRCS),-Wno-unused-parameter) $(if $(LLHTTP_LIBS),-Wl$(comma)--no-as-needed $(LLHTTP_LIBS))
backend_paste_test: ../../apps/phttpd/backend_paste.c
