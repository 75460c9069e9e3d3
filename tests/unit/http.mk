# SPDX-License-Identifier: BSD-2-Clause
include ../../apps/phttpd/llhttp.mk
http_test_SRCS := ../../apps/phttpd/http.c ../../apps/phttpd/app.c $(LLHTTP_SRCS)
http_test_CFLAGS := -I../../apps/phttpd $(LLHTTP_CFLAGS) $(if $(LLHTTP_SRCS),-Wno-unused-parameter) \
		    $(if $(LLHTTP_LIBS),-Wl$(comma)--no-as-needed $(LLHTTP_LIBS))
