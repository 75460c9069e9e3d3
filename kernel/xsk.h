/* SPDX-License-Identifier: GPL-2.0 */
/* AF_XDP sockets and the XDP program, as seen from inside the kernel. */
#ifndef PST_XSK_H
#define PST_XSK_H

#include <linux/if_xdp.h>
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

/* Steering: which packets of the device are redirected into AF_XDP. */
struct pst_xdp {
	struct file *link;	/* program attached to the device while held */
	struct file *xsks;	/* map: queue -> socket */
	struct bpf_map *ports;	/* local TCP port -> ours */
};

int pst_xsk_open(struct pst_xsk *xsk, struct net_device *dev, u16 queue,
		 struct pst_region *region, const struct pst_xsk *shared, u16 mode);
void pst_xsk_close(struct pst_xsk *xsk);

int pst_xdp_open(struct pst_xdp *xdp, struct net_device *dev, u32 queues,
		 bool *skb_mode);
int pst_xdp_add_queue(struct pst_xdp *xdp, u32 queue, struct pst_xsk *xsk);
int pst_xdp_steer(struct pst_xdp *xdp, __be16 lport, bool on);
void pst_xdp_close(struct pst_xdp *xdp);

#endif /* PST_XSK_H */
