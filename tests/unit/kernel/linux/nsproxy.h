/* SPDX-License-Identifier: BSD-2-Clause */
#include <linux/capability.h>
#include <linux/sched.h>
