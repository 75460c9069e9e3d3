# SPDX-License-Identifier: BSD-2-Clause
# Commits are sites by who has asked for them, so the functions have to be there as they are written.
store_crash_SRCS := $(addprefix ../../apps/phttpd/,space.c record.c store.c store_write.c store_recover.c siphash.c)
store_crash_CFLAGS := -I../../apps/phttpd -I../../lib \
		      $(addprefix -Wl$(comma)--wrap=,paste_wal_commit paste_btree_commit)
store_crash_PARTS := store_model.c store_live.c store_ops.c
store_crash: store_crash.h
store_full_crash_SRCS := $(store_crash_SRCS)
store_full_crash_CFLAGS := -I../../apps/phttpd -I../../lib
