# SPDX-License-Identifier: BSD-2-Clause
counters_test_SRCS := ../../apps/pastectl/counters.c
