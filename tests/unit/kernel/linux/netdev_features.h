/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef _MOCK_NETDEV_FEATURES_H_
#define _MOCK_NETDEV_FEATURES_H_

typedef unsigned long long netdev_features_t;

#define NETIF_F_HW_VLAN_CTAG_RX	0x100
#define NETIF_F_HW_VLAN_STAG_RX	0x200

#endif
