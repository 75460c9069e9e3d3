// SPDX-License-Identifier: GPL-2.0
/*
 * Attaching NICs.
 *
 * Attach (process context, port->mutex; the order is the order of trust)
 *   1. XDP program and maps, unless another port has queues of the device already; it
 *      passes everything while the port map is empty
 *   2. an AF_XDP socket for every RX queue that is ours, zero copy if the driver can, else copy
 *   3. fill rings get buffers
 *   4. syncs kept out: queues on their rings' lists; egress hook
 *   5. the port map learns the ports of the sockets registered so far
 *
 * Detach, in phases, each naming what is over after it
 *   1. hook removed, program dropped   nothing is collected; redirecting ends when the
 *      (or told that the queues are    kernel gets to it, at the latest in 3, and falls
 *      not ours any more)              back to the normal path
 *   2. syncs kept out, lists changed   nobody polls the queues
 *   3. AF_XDP sockets released         the driver has its normal rings back
 *   4. buffers back                    once AF_XDP's deferred work has unpinned the
 *                                      memory; only then the NIC cannot write it
 *
 * Queue q, counted from the first one attached, is polled by the sync of ring q modulo the
 * number of rings; when that does not come, by the port's housekeeping.  A queue's socket wakes the ring's waiters.
 *
 * The device going down and up again keeps the attachment: drivers keep the socket.
 * When it goes away (notifier, under RTNL), or is made to hide VLAN tags, the port's housekeeping
 * detaches.
 */
#include <linux/delay.h>
#include <linux/etherdevice.h>
#include <linux/if_xdp.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <net/busy_poll.h>
#include <net/sock.h>

#include "batch.h"
#include "buf_move.h"
#include "compat.h"
#include "nic.h"
#include "sized.h"
#include "stack.h"

/* ------------------------------------------------------------ data path */

/*
 * How many buffers the NIC may be given.  Nearly all of the last ones are for it, or the whole
 * host would be deaf; but when buffers are low it has to do with few, or there were none to
 * deliver and to answer with.
 */
static u32 refill_quota(const struct pst_nicq *q, const struct pst_pool *pool)
{
	/* What the NIC has: all it was given but for what came back. */
	u32 has = q->xsk.fill_prod - q->xsk.rx_cons;
	u32 level = pst_pool_level(pool), low = pool->bufs->low;
	u32 want = max(level < low ? 0 : level - low + 1,
		       has < PST_NICQ_MIN ? PST_NICQ_MIN - has : 0);

	return min(want, level < low / 4 ? 0 : level - low / 4);
}

static void refill(struct pst_nicq *q)
{
	struct pst_xring *fill = &q->xsk.fill;
	struct pst_pool *pool = &q->ring->pool;
	/* AF_XDP has read what lies before its consumer. */
	u32 level = q->xsk.fill_prod - smp_load_acquire(fill->consumer);
	u64 *desc = fill->desc;
	u32 n, buf;

	if (level < q->fill_target) {
		spin_lock_bh(&q->ring->lock);
		for (n = min(q->fill_target - level, refill_quota(q, pool)); n; n--) {
			buf = pst_buf_take_for_nic(pool, q->nic->id);
			if (buf == PST_BUF_NONE)
				break;
			desc[q->xsk.fill_prod++ & (PST_XSK_RING - 1)] = (u64)buf * PST_BUF_SIZE;
		}
		spin_unlock_bh(&q->ring->lock);
		smp_store_release(fill->producer, q->xsk.fill_prod);	/* behind descriptors */
		smp_mb();	/* and before asking whether the driver had found none */
	}
	if (READ_ONCE(*fill->flags) & XDP_RING_NEED_WAKEUP) {
		struct msghdr msg = {};

		q->ring->c.nic_wakeups++;
		sock_recvmsg(q->xsk.sock, &msg, MSG_DONTWAIT);
	}
}

/* Runs the driver here and now, so that a poll(…, 0) loop needs no interrupt. */
static void run_driver(struct pst_nicq *q)
{
#ifdef CONFIG_NET_RX_BUSY_POLL
	unsigned int id = pst_sock_napi_id(q->xsk.sock->sk);

	if (id)
		napi_busy_loop(id, NULL, NULL, true, BUSY_POLL_BUDGET);
#endif
}

/* Only whether: pst_inject() orders what it reads itself. */
static bool has_frames(const struct pst_nicq *q)
{
	return READ_ONCE(*q->xsk.rx.producer) != q->xsk.rx_cons;
}

/* Do frames wait? */
static bool pending(struct pst_ring *ring)
{
	struct pst_nicq *q;

	list_for_each_entry(q, &ring->nicqs, node)
		if (has_frames(q))
			return true;
	return false;
}

/*
 * Has the driver stopped for want of buffers, although there are some for it?  It looks before it
 * says so, which may be after refill() has asked; nothing wakes it then, and no frame us.
 */
static bool is_starved(const struct pst_nicq *q)
{
	return READ_ONCE(*q->xsk.fill.flags) & XDP_RING_NEED_WAKEUP &&
	       netif_running(q->nic->dev) &&
	       (READ_ONCE(*q->xsk.fill.consumer) != q->xsk.fill_prod ||
		refill_quota(q, &q->ring->pool));
}

/* For housekeeping: would pst_nic_poll() help?  Only inside the ring's RX sync. */
bool pst_nic_due(struct pst_ring *ring)
{
	struct pst_nicq *q;

	list_for_each_entry(q, &ring->nicqs, node)
		if (has_frames(q) || is_starved(q))
			return true;
	return false;
}

/*
 * Injects what the queues have; what TCP answers by itself leaves together.  When buffers are low
 * frames are copied, and their buffers go back at once: the next burst's data may not have them.
 */
static void inject_all(struct pst_ring *ring)
{
	struct pst_batch batch;
	struct pst_nicq *q;

	pst_batch_begin(&batch, ring);
	list_for_each_entry(q, &ring->nicqs, node) {
		u32 budget = PST_XSK_RING;

		while (budget && has_frames(q)) {
			budget -= pst_inject(q, min(budget, 64u));
			if (unlikely(pst_pool_low(&ring->pool)))
				refill(q);
		}
	}
	pst_batch_end(&batch);
}

/* Everything the ring's NIC queues have.  Only inside the ring's RX sync. */
void pst_nic_poll(struct pst_ring *ring, bool busy_poll)
{
	struct pst_nicq *q;

	if (busy_poll)
		list_for_each_entry(q, &ring->nicqs, node)
			run_driver(q);
	if (pending(ring))
		inject_all(ring);
	list_for_each_entry(q, &ring->nicqs, node)
		refill(q);
}

/*
 * AF_XDP has frames for the queue.  Softirq.  (An entry in the socket's wait queue:
 * AF_XDP does not go through sk_data_ready.)
 */
static int on_frames(wait_queue_entry_t *entry, unsigned int mode, int flags, void *key)
{
	struct pst_nicq *q = container_of(entry, struct pst_nicq, frames);

	pst_ring_wake(q->ring);
	pst_port_attend(q->nic->port);
	return 0;
}

/* ------------------------------------------------------------ attach */

static int no_poll(struct napi_struct *napi, int budget)
{
	return 0;
}

static int nicq_open(struct pst_nicq *q, const struct pst_nicq *first, u16 mode)
{
	struct pst_nic *nic = q->nic;
	int err;

	err = pst_xsk_open(&q->xsk, nic->dev, q->id, nic->port->region,
			   first ? &first->xsk : NULL, mode);
	if (err)
		return err;
	q->dummy = pst_dummy_netdev_alloc();
	if (!q->dummy) {
		pst_xsk_close(&q->xsk);
		return -ENOMEM;
	}
	/* Nobody is to find it by its id: it only merges and allocates. */
	set_bit(NAPI_STATE_NO_BUSY_POLL, &q->napi.state);
	netif_napi_add(q->dummy, &q->napi, no_poll);
	napi_enable(&q->napi);

	init_waitqueue_func_entry(&q->frames, on_frames);
	add_wait_queue(sk_sleep(q->xsk.sock->sk), &q->frames);
	refill(q);
	return 0;
}

static void nicq_close(struct pst_nicq *q)
{
	if (!q->dummy)
		return;
	remove_wait_queue(sk_sleep(q->xsk.sock->sk), &q->frames);
	pst_xsk_close(&q->xsk);
	napi_disable(&q->napi);
	netif_napi_del(&q->napi);
	pst_dummy_netdev_free(q->dummy);
	q->dummy = NULL;
}

static void close_queues(struct pst_nic *nic)
{
	u32 i = nic->nqueues;

	/* The first socket owns the memory: it goes last. */
	while (i--)
		nicq_close(&nic->queue[i]);
}

/* AF_XDP pins and unpins pages in their order, so the last one tells of all. */
static struct folio *last_folio(const struct pst_port *port)
{
	const struct pst_bufs *bufs = &port->region->bufs;

	return page_folio(bufs->page[bufs->n - 1]);
}

static int pins_of(const struct pst_port *port)
{
	return pst_folio_pins(last_folio(port));
}

/* What one registration adds to that: one pin for each buffer in the folio. */
static int pins_of_one(const struct pst_port *port)
{
	const struct pst_bufs *bufs = &port->region->bufs;
	struct folio *folio = last_folio(port);
	u32 n = min_t(u32, bufs->n, folio_nr_pages(folio));
	int pins = 0;
	u32 i;

	for (i = bufs->n - n; i < bufs->n; i++)
		pins += page_folio(bufs->page[i]) == folio;
	return pins;
}

/*
 * Waits until AF_XDP has let go of the memory, which shows in the pins going back to
 * @others; false if it does not.
 */
static bool is_unpinned(const struct pst_port *port, int others)
{
	int tries = 0;

	/* The unpinning is deferred work of AF_XDP; nothing announces its end. */
	while (pins_of(port) > others && tries++ < 2000)
		usleep_range(1000, 2000);
	return pins_of(port) <= others;
}

/* Takes the buffers back, once they are nobody else's. */
static void reclaim(struct pst_nic *nic, int others)
{
	if (!is_unpinned(nic->port, others)) {
		netdev_warn(nic->dev, "paste: still in use; its buffers stay out of use until the port closes\n");
		nic->port->lost_nics |= BIT_ULL(nic->id);
		return;
	}
	pst_bufs_from_nic(&nic->port->region->bufs, nic->id);
}

/* Copy mode would fail for the same reason. */
static bool is_about_memory(int err)
{
	return err == -ENOMEM || err == -ENOBUFS || err == -EFAULT || err == -ESRCH;
}

/*
 * The queue that registers the memory.  What an earlier registration was charged with is given
 * back a moment after its pins.
 */
static int open_first(struct pst_nic *nic, u16 mode)
{
	int tries = 0, err;

	for (;;) {
		err = nicq_open(&nic->queue[0], NULL, mode);
		if (err != -ENOBUFS || tries++ == 10)
			return err;
		usleep_range(1000, 2000);
	}
}

/* @others: pins that the memory had before. */
static int open_queues(struct pst_nic *nic, int others)
{
	u32 i;
	int err;

	nic->zero_copy = true;
	err = open_first(nic, XDP_ZEROCOPY);
	if (err && !is_about_memory(err) && err != -EPERM) {
		netdev_info(nic->dev, "paste: no AF_XDP zero copy (error %d), copying\n", err);
		nic->zero_copy = false;
		/* RLIMIT_MEMLOCK need not be enough for the same memory twice. */
		is_unpinned(nic->port, others);
		err = open_first(nic, XDP_COPY);
	}
	for (i = 1; !err && i < nic->nqueues; i++)
		err = nicq_open(&nic->queue[i], &nic->queue[0], 0);
	for (i = 0; !err && i < nic->nqueues; i++)
		err = pst_xdp_add_queue(nic->xdp, nic->queue[i].id, &nic->queue[i].xsk);
	return err;
}

/* All attached NICs, for the notifier; under all_nics_lock. */
static LIST_HEAD(all_nics);
static DEFINE_SPINLOCK(all_nics_lock);

static struct pst_nic *find_nic(struct pst_port *port, const char *ifname)
{
	struct pst_nic *nic;

	list_for_each_entry(nic, &port->nics, node)
		if (!strcmp(nic->dev->name, ifname))
			return nic;
	return NULL;
}

/* For who holds no port's mutex; the answer may be out of date. */
bool pst_nic_is_attached(struct pst_port *port, const char *ifname)
{
	struct pst_nic *nic;
	bool found = false;

	spin_lock(&all_nics_lock);
	list_for_each_entry(nic, &all_nics, all_node)
		found |= nic->port == port && !strcmp(nic->dev->name, ifname);
	spin_unlock(&all_nics_lock);
	return found;
}

/* One by which no buffer goes, see pst_bufs_from_nic(); 64: there is none. */
static u8 free_id(struct pst_port *port)
{
	u64 used = port->lost_nics;
	struct pst_nic *nic;

	list_for_each_entry(nic, &port->nics, node)
		used |= BIT_ULL(nic->id);
	return ~used ? __ffs64(~used) : 64;
}

static void enlist(struct pst_nic *nic)
{
	struct pst_port *port = nic->port;
	u32 i;

	pst_port_quiesce(port);
	for (i = 0; i < nic->nqueues; i++)
		list_add_tail(&nic->queue[i].node, &nic->queue[i].ring->nicqs);
	list_add_tail(&nic->node, &port->nics);
	spin_lock(&all_nics_lock);
	list_add(&nic->all_node, &all_nics);
	spin_unlock(&all_nics_lock);
	port->nnics++;
	rcu_assign_pointer(port->first_nic,
			   list_first_entry(&port->nics, struct pst_nic, node));
	pst_port_resume(port);
}

static void hide_from_notifier(struct pst_nic *nic)
{
	spin_lock(&all_nics_lock);
	list_del(&nic->all_node);
	spin_unlock(&all_nics_lock);
}

static void delist(struct pst_nic *nic)
{
	struct pst_port *port = nic->port;
	u32 i;

	pst_port_quiesce(port);
	for (i = 0; i < nic->nqueues; i++)
		list_del(&nic->queue[i].node);
	list_del(&nic->node);
	port->nnics--;
	rcu_assign_pointer(port->first_nic,
			   list_first_entry_or_null(&port->nics, struct pst_nic, node));
	pst_port_resume(port);
}

/*
 * The queues of @dev that @want means, in @q; -EINVAL: it has no such queues, or they are
 * beyond those that a port can have to itself (see xdp.c).
 */
static int choose_queues(const struct net_device *dev, const struct pst_queues *want,
			 struct pst_queues *q)
{
	u32 n = READ_ONCE(dev->real_num_rx_queues);

	*q = *want;
	if (!want->n) {
		q->first = 0;
		q->n = n;
		return 0;
	}
	return want->first + want->n <= min(n, 64u) ? 0 : -EINVAL;
}

/* Buffers for each of @n queues' fill rings. */
static u32 share_of(const struct pst_port *port, u32 n)
{
	u32 spare = READ_ONCE(port->region->bufs.nfree) / 2;

	return min_t(u32, PST_NICQ_FILL, spare / n);
}

static struct pst_nic *nic_alloc(struct pst_port *port, struct net_device *dev,
				 const struct pst_queues *q, u32 fill_target)
{
	struct pst_nic *nic = kvzalloc(struct_size(nic, queue, q->n), PST_GFP_SIZED);
	u32 i;

	if (!nic)
		return NULL;
	nic->port = port;
	nic->dev = dev;
	nic->id = free_id(port);
	nic->nqueues = q->n;
	nic->queues = q->n < 64 ? GENMASK_ULL(q->first + q->n - 1, q->first) : U64_MAX;
	for (i = 0; i < q->n; i++) {
		nic->queue[i].nic = nic;
		nic->queue[i].id = q->first + i;
		nic->queue[i].ring = &port->ring[i % port->nrings];
		nic->queue[i].fill_target = fill_target;
	}
	return nic;
}

/*
 * Was there something for the notifier before it could find the device?  RTNL, since one that moves
 * is still in its old namespace while the notifier is called, and for some time after.
 */
static bool has_left(const struct net_device *dev, const struct net *net)
{
	bool left;

	rtnl_lock();
	left = dev->reg_state != NETREG_REGISTERED || !net_eq(dev_net(dev), net) ||
	       dev->wanted_features & PST_TAG_STRIPPING;
	rtnl_unlock();
	return left;
}

/*
 * Attaches interface @ifname of the caller's namespace, or some of its queues, to @port.
 * -ENXIO: no such interface; -EINVAL: no such queues; -EPERM: needs CAP_NET_ADMIN there; -EBUSY: attached
 * already, a queue is another port's, or the device has an XDP program; -ENOSPC: PST_NICS_MAX are attached;
 * -ENOBUFS: the port has too few buffers for so many queues;
 * -EOPNOTSUPP: the device can neither do XDP nor has Ethernet frames, or has VLANs and takes their
 * tags out of the frames whatever it is told; what AF_XDP, BPF and the driver say.
 */
int pst_nic_attach(struct pst_port *port, const char *ifname, const struct pst_queues *want)
{
	struct net *net = current->nsproxy->net_ns;
	struct pst_queues queues;
	struct net_device *dev;
	struct pst_nic *nic;
	u32 fill_target;
	int err, key;
	int others = pins_of(port);

	lockdep_assert_held(&port->mutex);
	dev = dev_get_by_name(net, ifname);
	if (!dev)
		return -ENXIO;
	err = -EPERM;
	if (!ns_capable(net->user_ns, CAP_NET_ADMIN))
		goto err_dev;
	err = -EOPNOTSUPP;
	if (pst_bufs_copy_only(&port->region->bufs)) {
		netdev_warn(dev, "paste: %s is in memory no NIC may write to (file on a DAX mount, or device-DAX not of 4 KiB): leave it unattached\n",
			    port->name);
		goto err_dev;
	}
	err = -EBUSY;
	if (find_nic(port, ifname))
		goto err_dev;
	err = -ENOSPC;
	if (port->nnics == PST_NICS_MAX || free_id(port) == 64)
		goto err_dev;
	err = -EOPNOTSUPP;
	if (dev->type != ARPHRD_ETHER)
		goto err_dev;
	err = choose_queues(dev, want, &queues);
	if (err)
		goto err_dev;
	err = -ENOBUFS;
	fill_target = share_of(port, queues.n);
	if (fill_target < PST_NICQ_MIN) {
		netdev_warn(dev, "paste: too few buffers for %u queues: raise pool_bufs or use fewer (ethtool -L)\n",
			    queues.n);
		goto err_dev;
	}
	err = -ENOMEM;
	nic = nic_alloc(port, dev, &queues, fill_target);
	if (!nic)
		goto err_dev;

	nic->xdp = pst_xdp_get(dev, nic->queues);
	err = PTR_ERR_OR_ZERO(nic->xdp);
	if (err)
		goto err_free;
	nic->skb_mode = nic->xdp->skb_mode;
	err = open_queues(nic, others);
	if (err)
		goto err_queues;
	err = pst_batch_hook(nic);
	if (err == -ENOMEM)
		goto err_queues;
	if (err)
		netdev_info(dev, "paste: no egress hook, packets leave one by one\n");
	enlist(nic);
	if (has_left(dev, net))
		WRITE_ONCE(nic->gone, true);
	for (key = 0; key < PST_STEER_KEYS; key++)
		if (port->steer[key])
			pst_xdp_steer(nic->xdp, nic->queues, key, true);
	netdev_info(dev, "paste: attached to %s, %u queue(s), %s, XDP in %s mode\n",
		    port->name, nic->nqueues, nic->zero_copy ? "zero copy" : "copy mode",
		    nic->skb_mode ? "skb" : "driver");
	pst_port_attend(port);	/* it may be gone, a queue be starved already */
	return 0;

err_queues:
	pst_xdp_put(nic->xdp, nic->queues);
	close_queues(nic);
	reclaim(nic, others);
err_free:
	kvfree(nic);
err_dev:
	dev_put(dev);
	return err;
}

/* ------------------------------------------------------------ detach */

static void detach(struct pst_nic *nic)
{
	struct pst_port *port = nic->port;
	struct net_device *dev = nic->dev;
	int others;

	hide_from_notifier(nic);	/* it would be told of what pst_xdp_put() restores */
	pst_batch_unhook(nic);
	pst_xdp_put(nic->xdp, nic->queues);
	delist(nic);
	others = pins_of(port) - pins_of_one(port);
	close_queues(nic);
	reclaim(nic, others);
	netdev_info(dev, "paste: detached from %s\n", port->name);
	kvfree(nic);
	dev_put(dev);
}

/* -ENXIO: no such interface attached. */
int pst_nic_detach(struct pst_port *port, const char *ifname)
{
	struct pst_nic *nic;

	lockdep_assert_held(&port->mutex);
	if (!ns_capable(port->net->user_ns, CAP_NET_ADMIN))
		return -EPERM;
	nic = find_nic(port, ifname);
	if (!nic)
		return -ENXIO;
	detach(nic);
	return 0;
}

void pst_nic_detach_all(struct pst_port *port)
{
	lockdep_assert_held(&port->mutex);
	while (!list_empty(&port->nics))
		detach(list_first_entry(&port->nics, struct pst_nic, node));
}

/* ------------------------------------------------------------ steering */

/* Packets with this key (pst_steer_key(); 0: none) come through the attached NICs from now on. */
int pst_nic_steer(struct pst_port *port, u32 key)
{
	struct pst_nic *nic;

	lockdep_assert_held(&port->mutex);
	if (!key)
		return 0;
	if (port->steer[key] == U16_MAX)
		return -ENOSPC;
	if (port->steer[key]++)
		return 0;
	list_for_each_entry(nic, &port->nics, node)
		pst_xdp_steer(nic->xdp, nic->queues, key, true);
	return 0;
}

void pst_nic_unsteer(struct pst_port *port, u32 key)
{
	struct pst_nic *nic;

	lockdep_assert_held(&port->mutex);
	if (!key || --port->steer[key])
		return;
	list_for_each_entry(nic, &port->nics, node)
		pst_xdp_steer(nic->xdp, nic->queues, key, false);
}

/*
 * Of the rings @among, the one that serves the queue which @sk's last packet came from; the
 * first one if that is none of them, or not known.
 */
struct pst_ring *pst_nic_ring_for(struct pst_port *port, const struct pst_rings *among,
				  const struct sock *sk)
{
	unsigned int id = pst_sock_napi_id(sk);
	struct pst_nic *nic;
	u32 i;

	lockdep_assert_held(&port->mutex);
	if (!id || among->end - among->first < 2)
		return among->first;
	list_for_each_entry(nic, &port->nics, node)
		for (i = 0; i < nic->nqueues; i++)
			if (pst_sock_napi_id(nic->queue[i].xsk.sock->sk) == id &&
			    nic->queue[i].ring >= among->first &&
			    nic->queue[i].ring < among->end)
				return nic->queue[i].ring;
	return among->first;
}

/* ------------------------------------------------------------ devices that go */

/* Detaches what goes away.  From the port's housekeeping. */
void pst_nic_sweep(struct pst_port *port)
{
	struct pst_nic *nic, *next;

	lockdep_assert_held(&port->mutex);
	list_for_each_entry_safe(nic, next, &port->nics, node)
		if (READ_ONCE(nic->gone))
			detach(nic);
}

static int on_netdev_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	struct net_device *dev = netdev_notifier_info_to_dev(ptr);
	struct pst_nic *nic;
	bool ours = false;

	/* The first is also sent when the device moves to another namespace. */
	if (event != NETDEV_UNREGISTER &&
	    !(event == NETDEV_FEAT_CHANGE && dev->wanted_features & PST_TAG_STRIPPING))
		return NOTIFY_DONE;
	spin_lock(&all_nics_lock);
	list_for_each_entry(nic, &all_nics, all_node)
		if (nic->dev == dev && !nic->gone) {
			WRITE_ONCE(nic->gone, true);
			ours = true;
		}
	spin_unlock(&all_nics_lock);
	if (ours && event == NETDEV_FEAT_CHANGE)
		netdev_warn(dev, "paste: is made to take VLAN tags out of the frames: detaching\n");
	if (ours)
		pst_port_attend_all();
	return NOTIFY_DONE;
}

static struct notifier_block notifier = { .notifier_call = on_netdev_event };

int pst_nic_init(void)
{
	return register_netdevice_notifier(&notifier);
}

void pst_nic_exit(void)
{
	unregister_netdevice_notifier(&notifier);
}
