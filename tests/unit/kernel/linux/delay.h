/* SPDX-License-Identifier: BSD-2-Clause */
#include <linux/sched.h>

/* The test's part. */
void usleep_range(unsigned long from, unsigned long to);

static inline void msleep(unsigned int ms)
{
	(void)ms;
}
