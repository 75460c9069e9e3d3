/* SPDX-License-Identifier: BSD-2-Clause */
/* The way out of a packet: netfilter's hook, qdiscs, the queues of a device and its driver. */
#ifndef _MOCK_SCH_GENERIC_H_
#define _MOCK_SCH_GENERIC_H_

#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/percpu.h>
#include <net/sock.h>

/* ------------------------------------------------------------ netfilter */

struct nf_hook_entry {
	unsigned int (*hook)(void *priv, struct sk_buff *skb, const struct nf_hook_state *state);
};

struct nf_hook_entries {
	u16 num_hook_entries;
	struct nf_hook_entry hooks[2];
};

static inline void nf_skip_egress(struct sk_buff *skb, bool skip) { skb->skips_egress = skip; }

/* ------------------------------------------------------------ qdiscs */

struct tcf_block { struct list_head chain_list; };
struct Qdisc;

struct Qdisc_class_ops {
	struct tcf_block *(*tcf_block)(struct Qdisc *q, unsigned long cl, void *extack);
};

struct Qdisc_ops {
	const char *id;
	const struct Qdisc_class_ops *cl_ops;
};

struct counts { u64 bytes; u32 packets; };

struct Qdisc {
	const struct Qdisc_ops *ops;
	unsigned long state;
	bool empty, percpu;
	spinlock_t lock;
	struct counts bstats, *cpu_bstats;
};

#define __QDISC_STATE_DEACTIVATED	1
#define qdisc_is_empty(q)		((q)->empty)
#define qdisc_is_percpu_stats(q)	((q)->percpu)
#define qdisc_lock(q)			(&(q)->lock)

static inline void _bstats_update(struct counts *c, u64 bytes, u32 packets)
{
	c->bytes += bytes;
	c->packets += packets;
}

/* ------------------------------------------------------------ the device */

#include <linux/netdev_features.h>

#define IFF_XMIT_DST_RELEASE	1
#define NETIF_F_HW_CSUM		8

typedef enum { NETDEV_TX_OK = 0, NETDEV_TX_BUSY = 0x10 } netdev_tx_t;

struct netdev_queue {
	struct Qdisc *qdisc;
	bool stopped;
	spinlock_t lock;
};

#define netif_device_present(dev)	((dev)->present)
#define netif_carrier_ok(dev)		((dev)->carrier)
#define netdev_get_tx_queue(dev, i)	(&(dev)->txq[i])
#define netif_xmit_frozen_or_stopped(q)	((q)->stopped)
#define netdev_cap_txqueue(dev, q)	((q) < (dev)->real_num_tx_queues ? (q) : 0)
#define HARD_TX_LOCK(dev, q, cpu)	((void)(cpu), spin_lock(&(q)->lock))
#define HARD_TX_UNLOCK(dev, q)		spin_unlock(&(q)->lock)
#define dev_xmit_complete(rc)		((rc) < 0x10)

/* ------------------------------------------------------------ the packet */

#define skb_is_gso(skb)			((skb)->gso)
#define skb_vlan_tag_present(skb)	((skb)->vlan)
#define skb_has_frag_list(skb)		((skb)->frag_list)
#define skb_sec_path(skb)		((skb)->sec_path)
#define skb_checksum_start_offset(skb)	((skb)->csum_start)
#define skb_set_transport_header(skb, n) ((skb)->transport = (n))
#define skb_get_queue_mapping(skb)	((skb)->queue)
#define skb_set_queue_mapping(skb, q)	((skb)->queue = (q))
#define skb_mark_not_on_list(skb)	((skb)->next = NULL)
#define skb_dst_drop(skb)		((skb)->dst = false)
#define skb_dst_force(skb)		((void)(skb))

/* The tests' part: they own what they are given from now on, but for what is BUSY. */
int nf_register_net_hook(struct net *net, const struct nf_hook_ops *ops);
void nf_unregister_net_hook(struct net *net, const struct nf_hook_ops *ops);
u16 netdev_pick_tx(struct net_device *dev, struct sk_buff *skb, struct net_device *sb);
struct sk_buff *validate_xmit_skb_list(struct sk_buff *skb, struct net_device *dev, bool *again);
int dev_queue_xmit(struct sk_buff *skb);
netdev_tx_t netdev_start_xmit(struct sk_buff *skb, struct net_device *dev,
			      struct netdev_queue *txq, bool more);

#endif
