/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef _MOCK_CAPABILITY_H_
#define _MOCK_CAPABILITY_H_

#include_next <linux/capability.h>
#include <linux/types.h>

/* The test's part. */
bool mock_capable(int cap);
#define ns_capable(ns, cap)	mock_capable(cap)

#endif
