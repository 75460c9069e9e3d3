# SPDX-License-Identifier: BSD-2-Clause
#
# Where the llhttp parser is: a library (Debian 13: libllhttp-dev), or the sources that come with
# node-llhttp (Debian 12). Sets LLHTTP_CFLAGS and one of LLHTTP_LIBS and LLHTTP_SRCS.

PKG_CONFIG ?= pkg-config

ifeq ($(shell $(PKG_CONFIG) --exists libllhttp 2>/dev/null && echo yes),yes)
LLHTTP_CFLAGS := $(shell $(PKG_CONFIG) --cflags libllhttp)
LLHTTP_LIBS := $(shell $(PKG_CONFIG) --libs libllhttp)
else ifneq ($(wildcard /usr/share/llhttp/llhttp.c),)
# Strict: else a lone CR ends a line for us and not for who passes requests on.
LLHTTP_CFLAGS := -I/usr/share/include/llhttp -DLLHTTP_STRICT_MODE=1
LLHTTP_SRCS := $(addprefix /usr/share/llhttp/,llhttp.c api.c http.c)
endif
