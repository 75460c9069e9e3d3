# SPDX-License-Identifier: BSD-2-Clause
store_fences_test_SRCS = $(STORE_SRCS)
store_fences_test_CFLAGS := -I../../apps/phttpd -I../../lib \
			    $(addprefix -Wl$(comma)--wrap=,paste_pm_fence paste_pm_persist)
store_fences_test: fences.h
