/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets, of a linear part and one fragment, and devices, which have none. */
#ifndef _MOCK_NETDEVICE_H_
#define _MOCK_NETDEVICE_H_

#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <linux/if_ether.h>

#define IFNAMSIZ	16
#define VLAN_HLEN	4

struct vlan_ethhdr {
	u8 h_dest[ETH_ALEN], h_source[ETH_ALEN];
	__be16 h_vlan_proto, h_vlan_TCI, h_vlan_encapsulated_proto;
} __attribute__((packed));

struct net_device {
	char name[IFNAMSIZ];
	void *tcx_egress;
};

struct napi_struct { bool scheduled; unsigned int napi_id; };
struct nf_hook_ops { int none; };
struct sk_buff_head { int none; };
union bpf_attr;

struct sk_buff {
	struct list_head list;
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
};

#define CHECKSUM_NONE		0
#define CHECKSUM_UNNECESSARY	1
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

struct net_device *dev_get_by_name(struct net *net, const char *name);
void dev_put(struct net_device *dev);

/* Named in compat.h, called by nobody here. */
struct net_device *alloc_netdev_dummy(int priv);
void free_netdev(struct net_device *dev);
bool dev_nit_active_rcu(struct net_device *dev);

#endif
