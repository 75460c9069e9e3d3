# SPDX-License-Identifier: BSD-2-Clause
# Names are to be had at run time, and the store's files begin with space.c and end with siphash.c: that tells their flushes
# from the library's.
store_crash_SRCS := $(addprefix ../../apps/phttpd/,space.c record.c store.c store_recover.c siphash.c)
store_crash_CFLAGS := -I../../apps/phttpd -I../../lib -rdynamic
store_full_crash_SRCS := $(store_crash_SRCS)
store_full_crash_CFLAGS := -I../../apps/phttpd -I../../lib
