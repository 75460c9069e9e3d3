/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef _MOCK_NETDEV_LOCK_H_
#define _MOCK_NETDEV_LOCK_H_

#include <linux/netdevice.h>

/* Named in compat.h, called by nobody here. */
void netdev_lock_ops(struct net_device *dev);
void netdev_unlock_ops(struct net_device *dev);

#endif
