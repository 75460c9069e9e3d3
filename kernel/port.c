// SPDX-License-Identifier: GPL-2.0
/*
 * Stack ports: names, lifetime, housekeeping.  Which lock is taken where, in which order, and how
 * a port dies: doc/locking.md, the locking chapter.
 */
#include <linux/ctype.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "deferred.h"
#include "nic.h"
#include "port.h"
#include "sized.h"
#include "stack.h"

#define PST_POOL_MIN	256u
#define PST_POOL_MAX	1048576u
#define PST_STALL_MAX	10000u

static unsigned int pool_bufs = 8192;
static unsigned int stall_ms = 50;

/* A parameter out of its range is refused, not bent: EINVAL to whoever writes it. */
static int set_pool_bufs(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, PST_POOL_MIN, PST_POOL_MAX);
}

static int set_stall_ms(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 1, PST_STALL_MAX);
}

static const struct kernel_param_ops pool_bufs_ops = {
	.set = set_pool_bufs, .get = param_get_uint,
};
module_param_cb(pool_bufs, &pool_bufs_ops, &pool_bufs, 0644);
MODULE_PARM_DESC(pool_bufs, "buffers per ring for NIC and TCP/IP, on top of slots and extra buffers (256..1048576)");

static const struct kernel_param_ops stall_ms_ops = {
	.set = set_stall_ms, .get = param_get_uint,
};
module_param_cb(stall_ms, &stall_ms_ops, &stall_ms, 0644);
MODULE_PARM_DESC(stall_ms, "milliseconds without a sync after which the module runs the NIC itself (1..10000)");

/* One queue for all housekeeping: a work item is not reentrant within a queue only. */
static struct workqueue_struct *pst_wq;

static DEFINE_MUTEX(pst_ports_lock);
static LIST_HEAD(ports);

/*
 * "stackSSS:PPP" or "pstSSS:PPP".  @canonical (NETMAP_REQ_IFNAMSIZ bytes) gets the
 * name with the prefix "stack", @member points to PPP in it.
 * -EOPNOTSUPP: a port type we do not have.  -EINVAL: malformed.
 */
int pst_name_parse(const char *name, char *canonical, const char **member)
{
	const char *rest, *p;

	if (!strncmp(name, "stack", 5))
		rest = name + 5;
	else if (!strncmp(name, "pst", 3))
		rest = name + 3;
	else
		return -EOPNOTSUPP;
	for (p = rest; *p && *p != ':'; p++)
		if (!isalnum(*p) && *p != '_')
			return -EINVAL;
	if (*p != ':')
		return -EOPNOTSUPP;	/* an interface called stack0, say */
	if (!p[1] || strlen(p + 1) >= IFNAMSIZ || p - rest >= IFNAMSIZ)
		return -EINVAL;
	if (strpbrk(p + 1, " /{}:"))
		return -EINVAL;
	snprintf(canonical, NETMAP_REQ_IFNAMSIZ, "stack%s", rest);
	*member = strchr(canonical, ':') + 1;
	return 0;
}

static struct pst_port *find_locked(const char *name)
{
	struct net *net = current->nsproxy->net_ns;
	struct pst_port *port;

	list_for_each_entry(port, &ports, node)
		if (net_eq(port->net, net) && !strcmp(port->name, name))
			return port;
	return NULL;
}

/* Counted reference, or NULL. */
struct pst_port *pst_port_find(const char *name)
{
	struct pst_port *port;

	mutex_lock(&pst_ports_lock);
	port = find_locked(name);
	if (port)
		port->opens++;
	mutex_unlock(&pst_ports_lock);
	return port;
}

/* One more reference to what the caller has one to. */
struct pst_port *pst_port_hold(struct pst_port *port)
{
	mutex_lock(&pst_ports_lock);
	port->opens++;
	mutex_unlock(&pst_ports_lock);
	return port;
}

/*
 * The port an interface called "stackSSS:IFNAME" is for: the one with region @mem_id, or
 * the only one of the instance; with @attached, the one it is attached to.  -ENXIO,
 * -ENOTUNIQ.
 */
struct pst_port *pst_port_find_for_nic(const char *name, u16 mem_id, bool attached)
{
	size_t len = strchr(name, ':') - name + 1;
	struct net *net = current->nsproxy->net_ns;
	struct pst_port *port, *found = ERR_PTR(-ENXIO);

	mutex_lock(&pst_ports_lock);
	list_for_each_entry(port, &ports, node) {
		if (!net_eq(port->net, net) || strncmp(port->name, name, len))
			continue;
		if (mem_id && port->region->id != mem_id)
			continue;
		if (attached && !pst_nic_is_attached(port, name + len))
			continue;
		if (!IS_ERR(found)) {
			found = ERR_PTR(-ENOTUNIQ);
			break;
		}
		found = port;
	}
	if (!IS_ERR(found))
		found->opens++;
	mutex_unlock(&pst_ports_lock);
	return found;
}

/* Name of the @n-th port of the caller's namespace.  -ENOENT. */
int pst_port_nth_name(u32 n, char *name)
{
	struct net *net = current->nsproxy->net_ns;
	struct pst_port *port;
	int err = -ENOENT;

	mutex_lock(&pst_ports_lock);
	list_for_each_entry(port, &ports, node)
		if (net_eq(port->net, net) && !n--) {
			strscpy(name, port->name, NETMAP_REQ_IFNAMSIZ);
			err = 0;
			break;
		}
	mutex_unlock(&pst_ports_lock);
	return err;
}

/*
 * A ring whose application has not synced for a while is run by us; but one that
 * sleeps in poll() is woken first, and only if that does not help.  True if there is
 * something left to do.
 */
static bool look_after(struct pst_ring *ring, unsigned long stall)
{
	unsigned long synced = READ_ONCE(ring->synced);

	if (time_before(jiffies, synced + stall) ||
	    (wq_has_sleeper(&ring->wait) && ring->nudged != synced)) {
		ring->nudged = synced;
		if (!pst_ring_due(ring))
			return false;
		pst_ring_wake(ring);
		return true;
	}
	return pst_ring_takeover(ring) || pst_ring_due(ring);
}

/*
 * Buffers are out while nobody syncs: they may be in packets that wait for an idle CPU to free
 * them.  Or for a peer, so that it is asked less and less often.
 */
static void free_deferred(struct pst_port *port)
{
	if (port->deferred_pause && time_before(jiffies, port->deferred_next))
		return;
	pst_deferred_free();
	port->deferred_pause = port->deferred_pause ? min(2 * port->deferred_pause, 16ul * HZ) : HZ;
	port->deferred_next = jiffies + port->deferred_pause;
}

/*
 * What no event announces: buffers that TCP has let go of, sockets that were
 * closed, a NIC that waits for buffers, and an application that does not come.
 */
static void housekeeping(struct work_struct *work)
{
	struct pst_port *port = container_of(to_delayed_work(work), struct pst_port,
					     housekeeping);
	unsigned long stall = msecs_to_jiffies(READ_ONCE(stall_ms));
	bool again = false, parked = false, left = false;
	u32 i;

	for (i = 0; i < port->nrings; i++) {
		struct pst_ring *ring = &port->ring[i];
		bool due = look_after(ring, stall), idle, out;

		/* While we run the ring ourselves that is as good as a sync. */
		idle = !due && time_after(jiffies, READ_ONCE(ring->synced) + stall);
		out = pst_ring_reap(ring, idle);
		parked |= out;
		left |= out && idle;
		if (pst_ring_has_errands(ring))
			pst_ring_wake(ring);
		again |= due;
	}
	if (left)
		free_deferred(port);
	else
		port->deferred_pause = 0;
	if (mutex_trylock(&port->mutex)) {
		pst_nic_sweep(port);
		pst_stack_sweep(port);
		pst_listeners_sweep(port);
		mutex_unlock(&port->mutex);
	} else {
		again = true;
	}
	if (again)
		queue_delayed_work(pst_wq, &port->housekeeping, msecs_to_jiffies(10));
	else if (port->nsocks || READ_ONCE(port->nnics) || parked)
		queue_delayed_work(pst_wq, &port->housekeeping, HZ);
}

/* Something may have to be looked at although the application does not come. */
void pst_port_attend(struct pst_port *port)
{
	unsigned long delay = msecs_to_jiffies(READ_ONCE(stall_ms));

	if (!delayed_work_pending(&port->housekeeping))
		queue_delayed_work(pst_wq, &port->housekeeping, delay);
	else if (time_after(port->housekeeping.timer.expires, jiffies + delay))
		mod_delayed_work(pst_wq, &port->housekeeping, delay);
}

/* A device goes away; under RTNL, inside which port->mutex may not be taken. */
void pst_port_attend_all(void)
{
	struct pst_port *port;

	mutex_lock(&pst_ports_lock);
	list_for_each_entry(port, &ports, node)
		mod_delayed_work(pst_wq, &port->housekeeping, 0);
	mutex_unlock(&pst_ports_lock);
}

/* Waits for all syncs to end and keeps new ones out. */
void pst_port_quiesce(struct pst_port *port)
{
	u32 i;

	lockdep_assert_held(&port->mutex);
	for (i = 0; i < port->nrings; i++) {
		wait_on_bit_lock(&port->ring[i].tx.busy, 0, TASK_UNINTERRUPTIBLE);
		wait_on_bit_lock(&port->ring[i].rx.busy, 0, TASK_UNINTERRUPTIBLE);
	}
}

void pst_port_resume(struct pst_port *port)
{
	u32 i;

	for (i = 0; i < port->nrings; i++) {
		pst_kring_leave(&port->ring[i].rx);
		pst_kring_leave(&port->ring[i].tx);
		pst_ring_wake(&port->ring[i]);
	}
}

/* What the former application had, in its slots or by index alone. */
static void reclaim(struct pst_port *port)
{
	struct pst_bufs *bufs = &port->region->bufs;
	struct pst_ring *ring = &port->ring[0];
	u32 i;

	for (i = PST_BUF_FIRST; i < bufs->n - 1; i++) {
		if (pst_buf_state(bufs, i) != PST_BUF_USER)
			continue;
		spin_lock_bh(&ring->lock);
		pst_buf_give_back(&ring->pool, i);
		spin_unlock_bh(&ring->lock);
		cond_resched();
	}
}

/*
 * Everybody who was bound to a ring has gone, but the port lives, with its NICs: as far as the
 * next application goes it is new.  Sockets are let go as when the port dies, and what
 * was in the rings, or kept, comes back; but for memory that the application supplied: what in
 * there is still needed, by a log for example, only an application can tell.
 * -ENOMEM: not all TX slots have a buffer; to be tried again.
 */
int pst_port_renew(struct pst_port *port)
{
	bool keep = port->region->bufs.ext;
	int err = 0;
	u32 i;

	lockdep_assert_held(&port->mutex);
	if (!port->stale)
		return 0;
	pst_listeners_unregister_all(port);
	pst_stack_unregister_all(port);
	pst_port_quiesce(port);
	for (i = 0; i < port->nrings; i++)
		pst_ring_clear(&port->ring[i], keep);
	if (!keep)
		reclaim(port);
	for (i = 0; i < port->nrings; i++)
		err = pst_ring_start(&port->ring[i]) ?: err;
	port->stale = err;
	pst_port_resume(port);
	pst_port_attend(port);	/* TCP may still have some of it */
	return err;
}

struct pst_nic *pst_port_first_nic(struct pst_port *port)
{
	/* Syncs are kept out while it changes. */
	return rcu_dereference_check(port->first_nic, true);
}

static void port_free(struct pst_port *port)
{
	u32 i;

	for (i = 0; i < port->nrings; i++)
		pst_ring_destroy(&port->ring[i]);
	if (port->region)
		pst_region_destroy(port->region);
	kvfree(port->steer);
	pst_fdmap_destroy(&port->socks);
	put_net(port->net);
	kvfree(port);
}

/* No socket is left that a sync would come across. */
static bool forgot_all(const struct pst_ring *ring)
{
	return list_empty(&ring->waiting) && list_empty(&ring->arrived) &&
	       list_empty(&ring->writable) && list_empty(&ring->acceptable) &&
	       list_empty(&ring->closing);
}

static void port_destroy(struct pst_port *port)
{
	u32 i;

	mutex_lock(&port->mutex);
	pst_nic_detach_all(port);
	pst_listeners_unregister_all(port);
	pst_stack_unregister_all(port);
	mutex_unlock(&port->mutex);
	synchronize_rcu();	/* callbacks of sockets that are not TCP use ring and port */
	cancel_delayed_work_sync(&port->housekeeping);
	for (i = 0; i < port->nrings; i++)
		WARN_ON_ONCE(!forgot_all(&port->ring[i]));
	port_free(port);
}

void pst_port_put(struct pst_port *port)
{
	bool last;

	mutex_lock(&pst_ports_lock);
	last = !--port->opens;
	if (last)
		list_del(&port->node);
	mutex_unlock(&pst_ports_lock);
	if (last)
		port_destroy(port);
}

/*
 * Pages that will be allocated for @cfg, about: buffers, unless the application brings
 * them; a buffer's share of all tables; any ring's pool may have all.
 */
static u64 pages_for(const struct pst_port_config *cfg, u32 bufs)
{
	u64 n = cfg->ext ? cfg->ext->size >> PAGE_SHIFT : bufs;
	u64 tables;

	if (!n || n > INT_MAX)
		return 0;	/* pst_extmem_pin() refuses that */
	tables = n * (cfg->ext ? 32 : 16) + cfg->rings * pst_pool_size(n);
	return (cfg->ext ? 0 : n) + (tables >> PAGE_SHIFT);
}

/* Buffers for NIC and TCP once rings and application have theirs; some may not be back yet. */
static u32 pool_of(struct pst_bufs *bufs, u32 taken)
{
	u32 count[PST_BUF_STATES], n;

	pst_bufs_count(bufs, count);
	n = count[PST_BUF_FREE] + count[PST_BUF_SENT];
	return n - min(n, taken);
}

static struct pst_port *port_create(const char *name, const struct pst_port_config *cfg)
{
	u32 wanted = READ_ONCE(pool_bufs);
	u32 slots = cfg->rings * (cfg->tx_slots + cfg->rx_slots);
	u32 pool = (cfg->ext ? PST_POOL_MIN : wanted) * cfg->rings;
	struct pst_geometry g = {
		.if_num = 2 * cfg->rings + 2,
		.if_size = sizeof(struct netmap_if) + (2 * cfg->rings + 2) * sizeof(ssize_t),
		.ring_num = 2 * cfg->rings,
		.slots = max(cfg->tx_slots, cfg->rx_slots),
		.bufs = PST_BUFS_RESERVED + pool + cfg->extra_bufs + slots,
	};
	u64 pages = pages_for(cfg, g.bufs);
	struct pst_port *port;
	int err = -ENOMEM;
	u32 i;

	if (!pst_claim_pages(pages))
		return ERR_PTR(-ENOMEM);
	port = kvzalloc(struct_size(port, ring, cfg->rings), PST_GFP_SIZED);
	if (!port)
		goto err_unclaim;
	port->net = get_net(current->nsproxy->net_ns);
	strscpy(port->name, name, sizeof(port->name));
	port->opens = 1;
	mutex_init(&port->mutex);
	INIT_LIST_HEAD(&port->nics);
	INIT_LIST_HEAD(&port->listeners);
	INIT_DELAYED_WORK(&port->housekeeping, housekeeping);
	port->tx_slots = cfg->tx_slots;
	port->rx_slots = cfg->rx_slots;
	port->steer = kvcalloc(PST_STEER_KEYS, sizeof(*port->steer), GFP_KERNEL_ACCOUNT);
	if (!port->steer)
		goto err_free;
	port->region = cfg->ext ? pst_region_create_ext(&g, cfg->ext) : pst_region_create(&g);
	if (IS_ERR(port->region)) {
		err = PTR_ERR(port->region);
		port->region = NULL;
		goto err_free;
	}
	pool = pool_of(&port->region->bufs, slots + cfg->extra_bufs);
	port->region->bufs.low = min(pool, wanted * cfg->rings) / 16;
	port->nrings = cfg->rings;
	for (i = 0; i < cfg->rings; i++) {
		err = pst_ring_init(&port->ring[i], port, i);
		if (err)
			goto err_free;
	}
	if (cfg->ext)
		pst_pool_adopt_busy(&port->ring[0].pool);
	pst_unclaim_pages(pages);
	return port;

err_free:
	port_free(port);
err_unclaim:
	pst_unclaim_pages(pages);
	return ERR_PTR(err);
}

/* One made without knowing which buffers to keep may have handed them out. */
static struct pst_port *existing(struct pst_port *port, const struct pst_port_config *cfg)
{
	if (!cfg->ext || !cfg->ext->nkeep)
		return port;
	pst_port_put(port);
	return ERR_PTR(-EBUSY);
}

/* The port called @name, created when it does not exist; counted reference. */
struct pst_port *pst_port_open(const char *name, const struct pst_port_config *cfg)
{
	struct pst_port *port = pst_port_find(name), *made;

	if (port)
		return existing(port, cfg);
	/* Not under the lock, which the netdevice notifier takes: it allocates a lot. */
	made = port_create(name, cfg);
	if (IS_ERR(made))
		return made;
	mutex_lock(&pst_ports_lock);
	port = find_locked(name);
	if (port) {
		port->opens++;
	} else {
		port = made;
		list_add_tail(&port->node, &ports);
	}
	mutex_unlock(&pst_ports_lock);
	if (port == made)
		return port;
	port_free(made);
	return existing(port, cfg);
}

int pst_port_init(void)
{
	pst_wq = alloc_workqueue("paste", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return pst_wq ? 0 : -ENOMEM;
}

void pst_port_exit(void)
{
	destroy_workqueue(pst_wq);
}

void pst_port_counters(struct pst_port *port, struct pst_port_counters *c)
{
	u32 count[PST_BUF_STATES];
	struct pst_nic *nic;

	pst_bufs_count(&port->region->bufs, count);
	mutex_lock(&port->mutex);
	*c = (struct pst_port_counters) {
		.buf_total = port->region->bufs.n - PST_BUFS_RESERVED,
		.buf_free = count[PST_BUF_FREE],
		.buf_nic = count[PST_BUF_NIC],
		.buf_stack = count[PST_BUF_STACK],
		.buf_user = count[PST_BUF_USER],
		.buf_sent = count[PST_BUF_SENT] + count[PST_BUF_SETTLING] +
			    count[PST_BUF_KERNEL],
		.buf_low = port->region->bufs.low,
		.sockets = port->nsocks,
		.nics = port->nnics,
	};
	list_for_each_entry(nic, &port->nics, node)
		c->nic_zero_copy += nic->zero_copy;
	mutex_unlock(&port->mutex);
}
