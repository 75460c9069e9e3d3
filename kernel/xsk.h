/* SPDX-License-Identifier: GPL-2.0 */
/* AF_XDP sockets and the XDP program, as seen from inside the kernel. */
#ifndef PST_XSK_H
#define PST_XSK_H

#include <linux/if_xdp.h>
#include <linux/in.h>
#include <linux/list.h>
#include <linux/netdev_features.h>
#include <linux/types.h>

struct bpf_map;
struct file;
struct net_device;
struct page;
struct pst_region;
struct socket;

#define PST_XSK_RING	1024	/* entries of the RX and the fill ring */

/* A ring of AF_XDP, mapped into the kernel.  Layout: linux/if_xdp.h. */
struct pst_xring {
	u32 *producer, *consumer, *flags;
	void *desc;
	void *va;
	u32 npages;
	struct page **page;
};

struct pst_xsk {
	struct file *file;
	struct socket *sock;
	struct pst_xring rx;	/* we consume */
	struct pst_xring fill;	/* we produce */
	u32 rx_cons;
	u32 fill_prod;
};

/*
 * Steering: which packets of a device are redirected into AF_XDP.  Shared by the ports that
 * have queues of it.
 */
struct pst_xdp {
	struct list_head node;
	struct net_device *dev;
	u64 queues;		/* taken by somebody; a bit for each number % 64 */
	bool skb_mode;		/* the program runs on packets, not in the driver */
	netdev_features_t stripped;	/* of PST_TAG_STRIPPING: not wanted while we are there */
	struct file *link;	/* program attached to the device while held */
	struct file *xsks;	/* map: queue -> socket */
	struct bpf_map *ports;	/* map: pst_steer_key() -> queues on which it is ours */
};

/* Offloads by which VLAN tags are taken out of frames. */
#define PST_TAG_STRIPPING	(NETIF_F_HW_VLAN_CTAG_RX | NETIF_F_HW_VLAN_STAG_RX)

/* What is steered: TCP by local port (network order), and behind those UDP the same. */
#define PST_STEER_KEYS	(2 * 65536)
#define PST_STEER_UDP	65536

static inline u32 pst_steer_key(u8 ip_proto, __be16 lport)
{
	return (__force u16)lport + (ip_proto == IPPROTO_UDP ? PST_STEER_UDP : 0);
}

int pst_xsk_open(struct pst_xsk *xsk, struct net_device *dev, u16 queue,
		 struct pst_region *region, const struct pst_xsk *shared, u16 mode);
void pst_xsk_close(struct pst_xsk *xsk);

struct pst_xdp *pst_xdp_get(struct net_device *dev, u64 queues);
void pst_xdp_put(struct pst_xdp *xdp, u64 queues);
int pst_xdp_add_queue(struct pst_xdp *xdp, u32 queue, struct pst_xsk *xsk);
void pst_xdp_steer(struct pst_xdp *xdp, u64 queues, u32 key, bool on);

#endif /* PST_XSK_H */
