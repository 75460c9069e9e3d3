/* SPDX-License-Identifier: BSD-2-Clause */
#include <linux/netdevice.h>
#include_next <linux/netfilter.h>
