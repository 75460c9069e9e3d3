# SPDX-License-Identifier: BSD-2-Clause
# Its names are to be had at run time: that tells the store's flushes from the library's.
store_crash_SRCS := $(addprefix ../../apps/phttpd/,space.c record.c store.c store_recover.c siphash.c)
store_crash_CFLAGS := -I../../apps/phttpd -I../../lib -rdynamic
