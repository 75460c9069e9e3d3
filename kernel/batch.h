/* SPDX-License-Identifier: GPL-2.0 */
/* Packets of one sync leave together. */
#ifndef PST_BATCH_H
#define PST_BATCH_H

#include <linux/netfilter.h>
#include <linux/skbuff.h>

struct pst_nic;
struct pst_ring;

/* On the stack of the syncing thread. */
struct pst_batch {
	struct pst_ring *ring;
	struct task_struct *owner;
	struct pst_nic *nic;		/* whose packets are collected; NULL = none */
	struct sk_buff *first, **tail;	/* packets, touched by owner with bottom halves off */
	u32 n;				/* how many */
	bool open;			/* the hook collects */
	u64 queues;			/* that they go to, by number % 64 */
};

void pst_batch_begin(struct pst_batch *batch, struct pst_ring *ring);
void pst_batch_flush(struct pst_batch *batch);
void pst_batch_end(struct pst_batch *batch);

int pst_batch_hook(struct pst_nic *nic);
void pst_batch_unhook(struct pst_nic *nic);

#endif /* PST_BATCH_H */
