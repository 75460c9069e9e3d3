# SPDX-License-Identifier: BSD-2-Clause
# Tests of kernel/*.c: each includes or links the source it tests and links some others,
# all compiled unchanged against the headers in kernel/ (see kernel/mock.h).
.DEFAULT_GOAL := check

KERNEL_CFLAGS := -Ikernel -I../../kernel -D__KERNEL__ -fno-strict-aliasing	\
		 -Wno-unused-parameter -Wno-sign-compare
KERNEL_MOCK := kernel/mock.c kernel/others.c
K := ../../kernel

kernel_buf_test_SRCS := $(KERNEL_MOCK)
kernel_buf_model_test_SRCS := $(KERNEL_MOCK) $(K)/buf.c
kernel_buf_race_test_SRCS := $(KERNEL_MOCK) kernel/interleave.c $(K)/buf.c
kernel_ring_slots_test_SRCS := $(KERNEL_MOCK) kernel/ring_mock.c $(K)/buf.c $(K)/region.c
kernel_ring_sync_test_SRCS := $(KERNEL_MOCK) kernel/ring_mock.c kernel/interleave.c $(K)/buf.c $(K)/region.c $(K)/ring.c
kernel_region_test_SRCS := $(KERNEL_MOCK) $(K)/buf.c
kernel_port_test_SRCS := $(KERNEL_MOCK) $(K)/buf.c $(K)/region.c $(K)/ring.c $(K)/sized.c
kernel_request_test_SRCS := $(KERNEL_MOCK) $(K)/bind.c $(K)/buf.c $(K)/port.c $(K)/region.c $(K)/ring.c $(K)/sized.c
kernel_bind_test_SRCS := $(KERNEL_MOCK) $(K)/buf.c $(K)/port.c $(K)/region.c $(K)/ring.c $(K)/sized.c
kernel_rare_test_SRCS := $(KERNEL_MOCK) kernel/interleave.c $(K)/buf.c
kernel_fdmap_test_SRCS := $(KERNEL_MOCK)
kernel_batch_test_SRCS := $(KERNEL_MOCK)
kernel_nic_test_SRCS := $(KERNEL_MOCK) $(K)/buf.c
kernel_tx_check_test_SRCS := $(KERNEL_MOCK) kernel/ring_mock.c $(K)/buf.c $(K)/region.c $(K)/ring.c
kernel_txq_test_SRCS := $(KERNEL_MOCK) $(K)/buf.c
kernel_xsk_test_SRCS := $(KERNEL_MOCK)
kernel_inject_test_SRCS := $(KERNEL_MOCK) $(K)/buf.c

KERNEL_TESTS := $(basename $(wildcard kernel_*_test.c))
$(foreach t,$(KERNEL_TESTS),$(eval $(t)_CFLAGS := $(KERNEL_CFLAGS)))
$(KERNEL_TESTS): $(wildcard kernel/*.[ch] kernel/*/*.h $(K)/*.[ch])
