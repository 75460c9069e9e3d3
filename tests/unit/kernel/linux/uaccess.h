/* SPDX-License-Identifier: BSD-2-Clause */
/* The caller's memory.  mock.c fails these where it is told to, and counts what is read. */
#ifndef _MOCK_UACCESS_H_
#define _MOCK_UACCESS_H_

#include <linux/types.h>

unsigned long copy_from_user(void *to, const void *from, unsigned long n);
unsigned long copy_to_user(void *to, const void *from, unsigned long n);

#define put_user(v, p) ({							\
	typeof(*(p)) _v = (v);							\
	copy_to_user(p, &_v, sizeof(_v)) ? -EFAULT : 0; })
#define u64_to_user_ptr(x)	((void *)(uintptr_t)(x))

#endif
