# SPDX-License-Identifier: BSD-2-Clause
# The program is included by the test, whose rings nobody syncs but itself.
proxy_test_SRCS := $(LIBSRCS)
proxy_test: ../../apps/proxy/proxy.c
