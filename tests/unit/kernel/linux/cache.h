/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef _MOCK_CACHE_H_
#define _MOCK_CACHE_H_

#define SMP_CACHE_BYTES	64
/* The mocks' memory is not aligned, and nobody measures. */
#define ____cacheline_aligned_in_smp

#endif
