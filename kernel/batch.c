// SPDX-License-Identifier: GPL-2.0
/*
 * One doorbell for many sockets' packets.
 *
 * Each socket's send would go down to the driver by itself and ring the NIC's
 * doorbell.  During a sync, packets of the attached NIC are taken aside where
 * netfilter's egress hook sees them, which is after IP, neighbour, netfilter and
 * before tc and the qdisc, and are handed to the driver in one go, all but the
 * last with xmit_more.
 *
 * That passes by tc and the qdisc.  It is done only while these would change
 * nothing (may_go_directly), asked when the batch is complete:
 *   - the device is up, running, and nobody captures its packets;
 *   - no tc program or filter on egress, no other netfilter egress hook;
 *   - the qdisc of the queue is pfifo_fast or fq_codel (below mq or alone), has
 *     no filter and nothing queued; its byte and packet counters are kept;
 *   - the driver's queue is not stopped.
 * Otherwise (HTB, fq with pacing, netem, tcpdump ...), and if a queue stops halfway,
 * the packets go on to tc and the qdisc as ever, a moment later.
 *
 * The hook finds the batch through a per-CPU pointer; the syncing thread does not
 * migrate meanwhile.  Packets of other threads on its CPU are left alone, but while it is
 * preempted they send what it has taken aside first: both may be of one connection.
 * Packets that a softirq sends on top of the syncing thread are taken along.  Another CPU
 * may overtake, as it may with any driver's queues.
 */
#include <linux/if_packet.h>
#include <linux/netdevice.h>
#include <linux/netfilter_netdev.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/rtnetlink.h>
#include <net/pkt_cls.h>
#include <net/pkt_sched.h>
#include <net/sch_generic.h>

#include "batch.h"
#include "compat.h"
#include "nic.h"
#include "port.h"
#include "ring.h"

#define BATCH_MAX	256	/* packets taken aside before they go anyway */

#ifdef CONFIG_NETFILTER_EGRESS

static DEFINE_PER_CPU(struct pst_batch *, current_batch);

/* Filters on the qdisc would see the packet; reading the list needs only RCU. */
static bool has_filters(struct Qdisc *q)
{
	const struct Qdisc_class_ops *cops = q->ops->cl_ops;
	struct tcf_block *block;

	if (!cops || !cops->tcf_block)
		return false;
	block = cops->tcf_block(q, 0, NULL);
	return block && !list_empty(&block->chain_list);
}

static bool qdisc_transparent(struct Qdisc *q)
{
	if (strcmp(q->ops->id, "pfifo_fast") && strcmp(q->ops->id, "fq_codel"))
		return false;
	return !test_bit(__QDISC_STATE_DEACTIVATED, &q->state) &&
	       qdisc_is_empty(q) && !has_filters(q);
}

static unsigned int collect(void *priv, struct sk_buff *skb, const struct nf_hook_state *state);

/* Every port that has queues of the device has a hook there. */
static bool hooks_are_ours(const struct nf_hook_entries *hooks)
{
	u32 i;

	if (unlikely(!hooks))
		return false;
	for (i = 0; i < hooks->num_hook_entries; i++)
		if (hooks->hooks[i].hook != collect)
			return false;
	return true;
}

/*
 * Under rcu_read_lock_bh().  Of the TX queues only those are looked at that the packets go to:
 * the others are other rings'.
 */
static bool may_go_directly(const struct pst_batch *batch)
{
	struct net_device *dev = batch->nic->dev;
	u32 i;

	if (!netif_running(dev) || !netif_device_present(dev) || !netif_carrier_ok(dev))
		return false;
	if (!hooks_are_ours(rcu_dereference_bh(dev->nf_hooks_egress)))
		return false;
	if (pst_has_egress_programs(dev) || pst_is_captured(dev))
		return false;
	for (i = 0; i < dev->real_num_tx_queues; i++) {
		struct netdev_queue *txq = netdev_get_tx_queue(dev, i);

		if (!(batch->queues >> (i & 63) & 1))
			continue;
		if (netif_xmit_frozen_or_stopped(txq) ||
		    !qdisc_transparent(rcu_dereference_bh(txq->qdisc)))
			return false;
	}
	return true;
}

/* As netdev_core_pick_tx(), which is not ours to call. */
static u16 pick_queue(struct net_device *dev, struct sk_buff *skb)
{
#ifdef CONFIG_XPS
	if (skb->sender_cpu - 1 >= nr_cpu_ids)
		skb->sender_cpu = raw_smp_processor_id() + 1;
#endif
	if (dev->real_num_tx_queues == 1)
		return 0;
	if (dev->netdev_ops->ndo_select_queue)
		return netdev_cap_txqueue(dev, dev->netdev_ops->ndo_select_queue(dev, skb, NULL));
	return netdev_pick_tx(dev, skb, NULL);
}

/* Back to the normal path, past the netfilter hooks it has been through. */
static void send_normally(struct sk_buff *skb)
{
	nf_skip_egress(skb, true);
	dev_queue_xmit(skb);
}

/* The queue's qdisc would have counted them. */
static void count_qdisc(struct netdev_queue *txq, u32 bytes, u32 packets)
{
	struct Qdisc *q = rcu_dereference_bh(txq->qdisc);

	if (qdisc_is_percpu_stats(q)) {
		_bstats_update(this_cpu_ptr(q->cpu_bstats), bytes, packets);
	} else {
		spin_lock(qdisc_lock(q));
		_bstats_update(&q->bstats, bytes, packets);
		spin_unlock(qdisc_lock(q));
	}
}

/*
 * Would validate_xmit_skb_list() do nothing, on a device that checksums anything and
 * gathers?  True of a small TCP or UDP packet; whatever is unusual goes through it.
 */
static bool is_plain(const struct sk_buff *skb)
{
	return !skb_is_gso(skb) &&
	       skb->ip_summed == CHECKSUM_PARTIAL && !skb->encapsulation &&
	       !skb_vlan_tag_present(skb) && !skb_has_frag_list(skb) &&
	       !skb_sec_path(skb) && skb->sk && sk_fullsock(skb->sk) &&
	       (skb->sk->sk_protocol == IPPROTO_TCP || skb->sk->sk_protocol == IPPROTO_UDP) &&
	       !pst_sock_validates(skb->sk);
}

static void empty(struct pst_batch *batch)
{
	batch->first = NULL;
	batch->tail = &batch->first;
	batch->n = 0;
	batch->queues = 0;
}

/* Takes the first one out; the batch is to be emptied when they are all out. */
static struct sk_buff *next_packet(struct pst_batch *batch)
{
	struct sk_buff *skb = batch->first;

	if (skb) {
		batch->first = skb->next;
		skb_mark_not_on_list(skb);
	}
	return skb;
}

/* Segments, checksums, linearises as the device needs; one list in the end. */
static struct sk_buff *validate_all(struct pst_batch *batch, struct net_device *dev)
{
	const netdev_features_t want = NETIF_F_SG | NETIF_F_HW_CSUM;
	bool able = (dev->features & want) == want, again = false;
	struct sk_buff *first = NULL, **tail = &first, *skb;

	while ((skb = next_packet(batch))) {
		if (likely(able && is_plain(skb))) {
			skb_set_transport_header(skb, skb_checksum_start_offset(skb));
			*tail = skb;
			tail = &skb->next;
			continue;
		}
		*tail = validate_xmit_skb_list(skb, dev, &again);
		while (*tail)
			tail = &(*tail)->next;
	}
	return first;
}

/* Hands packets of one queue to the driver; returns what it did not take. */
static struct sk_buff *xmit_queue(struct net_device *dev, struct netdev_queue *txq,
				  struct sk_buff *skb)
{
	u16 queue = skb_get_queue_mapping(skb);
	u32 bytes = 0, packets = 0;

	HARD_TX_LOCK(dev, txq, smp_processor_id());
	while (skb && skb_get_queue_mapping(skb) == queue &&
	       queue < dev->real_num_tx_queues && !netif_xmit_frozen_or_stopped(txq)) {
		struct sk_buff *next = skb->next;
		bool more = next && skb_get_queue_mapping(next) == queue;
		u32 len = skb->len;

		skb_mark_not_on_list(skb);
		if (!dev_xmit_complete(netdev_start_xmit(skb, dev, txq, more))) {
			skb->next = next;
			break;
		}
		bytes += len;
		packets++;
		skb = next;
	}
	HARD_TX_UNLOCK(dev, txq);
	count_qdisc(txq, bytes, packets);
	return skb;
}

static void flush_normally(struct pst_batch *batch)
{
	struct sk_buff *skb;

	while ((skb = next_packet(batch)))
		send_normally(skb);
}

/* Bottom halves off. */
static void flush_directly(struct pst_batch *batch)
{
	struct net_device *dev = batch->nic->dev;
	struct pst_ring *ring = batch->ring;
	struct sk_buff *skb;
	u64 stopped = 0;	/* queues whose qdisc has some: not to be overtaken */

	ring->c.direct_packets += batch->n;
	skb = validate_all(batch, dev);
	while (skb) {
		u16 queue = skb_get_queue_mapping(skb);

		if (likely(!(stopped >> (queue & 63) & 1))) {
			ring->c.direct_batches++;
			skb = xmit_queue(dev, netdev_get_tx_queue(dev, queue), skb);
		}
		while (skb && skb_get_queue_mapping(skb) == queue) {
			struct sk_buff *next = skb->next;

			stopped |= 1ULL << (queue & 63);
			skb_mark_not_on_list(skb);
			send_normally(skb);
			skb = next;
		}
	}
}

/* Bottom halves off. */
static void flush(struct pst_batch *batch)
{
	bool open = batch->open;

	if (!batch->n)
		return;
	batch->open = false;	/* what send_normally() sends is not for us */
	if (likely(may_go_directly(batch)))
		flush_directly(batch);
	else
		flush_normally(batch);
	empty(batch);
	batch->open = open;
}

static unsigned int collect(void *priv, struct sk_buff *skb,
			    const struct nf_hook_state *state)
{
	struct pst_batch *batch = this_cpu_read(current_batch);
	struct net_device *dev = skb->dev;

	if (!batch || batch->nic != priv)
		return NF_ACCEPT;
	if (unlikely(batch->owner != current)) {	/* preempted: not to be overtaken */
		flush(batch);
		return NF_ACCEPT;
	}
	if (!batch->open)
		return NF_ACCEPT;
	/* As the core does below this hook; the route must not outlive RCU. */
	if (dev->priv_flags & IFF_XMIT_DST_RELEASE)
		skb_dst_drop(skb);
	else
		skb_dst_force(skb);
	skb_set_queue_mapping(skb, pick_queue(dev, skb));
	batch->queues |= 1ULL << (skb_get_queue_mapping(skb) & 63);
	skb_mark_not_on_list(skb);
	*batch->tail = skb;
	batch->tail = &skb->next;
	if (++batch->n >= BATCH_MAX)
		flush(batch);
	return NF_STOLEN;
}

/* From here to pst_batch_end() the thread stays on its CPU (it may sleep). */
void pst_batch_begin(struct pst_batch *batch, struct pst_ring *ring)
{
	struct pst_nic *nic = pst_port_first_nic(ring->port);

	batch->nic = NULL;
	if (!nic || !nic->batching)
		return;
	migrate_disable();
	rcu_read_lock_bh();
	if (!this_cpu_read(current_batch)) {
		batch->ring = ring;
		batch->owner = current;
		batch->nic = nic;
		batch->open = true;
		empty(batch);
		this_cpu_write(current_batch, batch);
	}
	rcu_read_unlock_bh();
	if (!batch->nic)
		migrate_enable();
}

/* Hands over what there is so far. */
void pst_batch_flush(struct pst_batch *batch)
{
	if (!batch->nic)
		return;
	rcu_read_lock_bh();
	flush(batch);
	rcu_read_unlock_bh();
}

void pst_batch_end(struct pst_batch *batch)
{
	if (!batch->nic)
		return;
	rcu_read_lock_bh();
	this_cpu_write(current_batch, NULL);
	flush(batch);
	rcu_read_unlock_bh();
	migrate_enable();
}

int pst_batch_hook(struct pst_nic *nic)
{
	int err;

	nic->egress = (struct nf_hook_ops) {
		.hook = collect,
		.priv = nic,
		.dev = nic->dev,
		.pf = NFPROTO_NETDEV,
		.hooknum = NF_NETDEV_EGRESS,
		.priority = INT_MAX,	/* after everybody else's */
	};
	rtnl_lock();	/* the device stays in its namespace */
	err = nf_register_net_hook(dev_net(nic->dev), &nic->egress);
	rtnl_unlock();
	nic->batching = !err;
	return err;
}

void pst_batch_unhook(struct pst_nic *nic)
{
	if (nic->batching) {
		rtnl_lock();	/* likewise, or netfilter would not find the hook */
		nf_unregister_net_hook(dev_net(nic->dev), &nic->egress);
		rtnl_unlock();
	}
	nic->batching = false;
}

#else /* !CONFIG_NETFILTER_EGRESS: every packet takes the normal path */

void pst_batch_begin(struct pst_batch *batch, struct pst_ring *ring) { batch->nic = NULL; }
void pst_batch_flush(struct pst_batch *batch) { }
void pst_batch_end(struct pst_batch *batch) { }
int pst_batch_hook(struct pst_nic *nic) { return -EOPNOTSUPP; }
void pst_batch_unhook(struct pst_nic *nic) { }

#endif
