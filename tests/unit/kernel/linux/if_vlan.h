/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef _MOCK_IF_VLAN_H_
#define _MOCK_IF_VLAN_H_

#include <linux/netdevice.h>

#define NETIF_F_HW_VLAN_CTAG_RX	0x100

static inline bool vlan_uses_dev(const struct net_device *dev)
{
	return false;
}

#endif
