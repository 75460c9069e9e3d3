/* SPDX-License-Identifier: GPL-2.0 */
/* NICs attached to a port. */
#ifndef PST_NIC_H
#define PST_NIC_H

#include <linux/if_xdp.h>
#include <linux/list.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/percpu.h>
#include "batch.h"
#include "port.h"
#include "xsk.h"

struct sock;

#define PST_NICQ_FILL	512	/* buffers in a fill ring, if there are enough; the driver's
				 * own ring holds more
				 */
#define PST_NICQ_MIN	128	/* with the NIC in all, however short buffers are: some
				 * drivers take 64 at a time or none
				 */

/* One RX queue. */
struct pst_nicq {
	struct pst_nic *nic;
	struct pst_ring *ring;		/* whose sync polls it */
	struct list_head node;		/* ring->nicqs, while syncs are kept out */
	u16 id;
	u32 fill_target;		/* buffers kept in the fill ring */
	struct pst_xsk xsk;
	wait_queue_entry_t frames;	/* in the AF_XDP socket's wait queue */
	struct net_device *dummy;	/* carries napi */
	struct napi_struct napi;	/* ours alone: GRO and skb caches; has the driver's id */
} ____cacheline_aligned_in_smp;	/* neighbours are other rings' */

struct pst_nic {
	struct pst_port *port;
	struct list_head node;		/* port->nics, under port->mutex */
	struct list_head all_node;	/* for the notifier */
	bool gone;			/* the device leaves, or hides VLAN tags: to be detached */
	u8 id;				/* unique within the port, see pst_bufs.nic */
	struct net_device *dev;		/* reference held */
	bool zero_copy;
	bool skb_mode;			/* XDP runs on packets, not in the driver */
	bool batching;			/* egress hook is registered */
	struct nf_hook_ops egress;
	struct pst_xdp *xdp;
	u64 queues;			/* ours, as in struct pst_xdp */
	u32 nqueues;
	struct pst_nicq queue[];
};

/* Queues of a NIC: @n from @first on; n = 0: all. */
struct pst_queues {
	u16 first, n;
};

int pst_nic_attach(struct pst_port *port, const char *ifname, const struct pst_queues *want);
int pst_nic_detach(struct pst_port *port, const char *ifname);
bool pst_nic_is_attached(struct pst_port *port, const char *ifname);
void pst_nic_detach_all(struct pst_port *port);
void pst_nic_sweep(struct pst_port *port);

int pst_nic_steer(struct pst_port *port, u32 key);
void pst_nic_unsteer(struct pst_port *port, u32 key);

struct pst_ring *pst_nic_ring_for(struct pst_port *port, const struct pst_rings *among,
				  const struct sock *sk);
void pst_nic_poll(struct pst_ring *ring, bool busy_poll);
bool pst_nic_due(struct pst_ring *ring);
u32 pst_inject(struct pst_nicq *q, u32 budget);

/* The ring whose sync injects packets on this CPU just now, or NULL.  Bottom halves off. */
DECLARE_PER_CPU(struct pst_ring *, pst_injecting);

int pst_nic_init(void);
void pst_nic_exit(void);

#endif /* PST_NIC_H */
