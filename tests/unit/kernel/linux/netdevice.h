/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets, of a linear part and one fragment, and devices; how they leave is in net/sch_generic.h. */
#ifndef _MOCK_NETDEVICE_H_
#define _MOCK_NETDEVICE_H_

#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <linux/if_ether.h>

#define IFNAMSIZ	16
#define VLAN_HLEN	4
#define NETIF_F_SG	1

struct vlan_ethhdr {
	u8 h_dest[ETH_ALEN], h_source[ETH_ALEN];
	__be16 h_vlan_proto, h_vlan_TCI, h_vlan_encapsulated_proto;
} __attribute__((packed));

struct sk_buff;
struct net_device;

struct net_device_ops {
	u16 (*ndo_select_queue)(struct net_device *dev, struct sk_buff *skb, struct net_device *sb);
};

struct net_device {
	char name[IFNAMSIZ];
	const struct net_device_ops *netdev_ops;
	bool running, present, carrier;
	u32 priv_flags, features, wanted_features;
	u32 real_num_tx_queues, real_num_rx_queues;
	int type, reg_state, ifindex;
	struct netdev_queue *txq;
	void *tcx_egress;
	struct nf_hook_entries *nf_hooks_egress;
	struct net *net;	/* NULL: mock_net */
};

#define netif_running(dev)	((dev)->running)
#define dev_net(dev)	((dev)->net ?: &mock_net)

struct napi_struct { bool scheduled; unsigned int napi_id; unsigned long state; };
enum { NAPI_STATE_NO_BUSY_POLL };
#define netif_napi_add(dev, napi, poll)	((void)(dev), (void)(napi), (void)(poll))
#define netif_napi_del(napi)		((void)(napi))
#define napi_enable(napi)		((void)(napi))
#define napi_disable(napi)		((void)(napi))
struct nf_hook_state;
struct nf_hook_ops {
	unsigned int (*hook)(void *priv, struct sk_buff *skb, const struct nf_hook_state *state);
	void *priv;
	struct net_device *dev;
	int pf, hooknum, priority;
};
struct sk_buff_head { int none; };
union bpf_attr;

struct sk_buff {
	union {
		struct list_head list;
		struct sk_buff *next;
	};
	struct net_device *dev;
	__be16 protocol;
	u16 queue;
	u8 ip_summed;		/* CHECKSUM_* */
	bool redirected;
	u8 *head, *data;	/* linear part */
	u32 len, size;		/* with the fragment; of the memory at head */
	u32 data_len, truesize;	/* what the source adds to them */
	struct page *page;	/* reference held, or NULL */
	u32 frag_off, frag_len;

	/* What the way out looks at. */
	struct sock *sk;
	bool gso, encapsulation, vlan, frag_list, sec_path;
	bool dst, skips_egress;
	u32 csum_start, transport;
	unsigned int sender_cpu;
};

#define CHECKSUM_NONE		0
#define CHECKSUM_UNNECESSARY	1
#define CHECKSUM_PARTIAL	3
#define NET_IP_ALIGN	2	/* so that every header is aligned */

struct sk_buff *napi_alloc_skb(struct napi_struct *napi, u32 size);
void kfree_skb(struct sk_buff *skb);
void skb_put_data(struct sk_buff *skb, const void *p, u32 n);
void __skb_put(struct sk_buff *skb, u32 n);
void __skb_trim(struct sk_buff *skb, u32 len);
void skb_fill_page_desc_noacc(struct sk_buff *skb, int i, struct page *page, int off, int len);
__be16 eth_type_trans(struct sk_buff *skb, struct net_device *dev);
#define skb_record_rx_queue(skb, q)	((skb)->queue = (q))
#define skb_mark_napi_id(skb, napi)	((void)(skb), (void)(napi))

/* The tests' part: they own what they are given from now on. */
void netif_receive_skb(struct sk_buff *skb);
void netif_receive_skb_list(struct list_head *skbs);
void napi_gro_receive(struct napi_struct *napi, struct sk_buff *skb);
bool napi_schedule_prep(struct napi_struct *napi);
void napi_complete_done(struct napi_struct *napi, int work);

#define ARPHRD_ETHER	1
enum { NETREG_REGISTERED, NETREG_UNREGISTERING };

struct notifier_block {
	int (*notifier_call)(struct notifier_block *nb, unsigned long event, void *ptr);
};
enum { NETDEV_UP, NETDEV_UNREGISTER, NETDEV_FEAT_CHANGE };
#define NOTIFY_DONE	0
#define netdev_notifier_info_to_dev(ptr)	((struct net_device *)(ptr))

/* The tests' part. */
int register_netdevice_notifier(struct notifier_block *nb);
void unregister_netdevice_notifier(struct notifier_block *nb);
__attribute__((format(printf, 2, 3)))
void netdev_warn(const struct net_device *dev, const char *fmt, ...);
__attribute__((format(printf, 2, 3)))
void netdev_info(const struct net_device *dev, const char *fmt, ...);

struct net_device *dev_get_by_name(struct net *net, const char *name);
void dev_put(struct net_device *dev);

/* Named in compat.h, called by nobody here. */
struct net_device *alloc_netdev_dummy(int priv);
void free_netdev(struct net_device *dev);
bool dev_nit_active_rcu(struct net_device *dev);

extern void (*mock_rtnl)(void);	/* waiting for it */
#define rtnl_lock()	do { if (mock_rtnl) mock_rtnl(); } while (0)
#define rtnl_unlock()	do { } while (0)

#endif
