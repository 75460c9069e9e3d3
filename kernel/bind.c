// SPDX-License-Identifier: GPL-2.0
/*
 * Binding a descriptor to a port: which rings, which netmap_if, extra buffers.
 */
#include <linux/netdevice.h>
#include <linux/nospec.h>
#include <linux/nsproxy.h>

#include "buf_move.h"
#include "dev.h"
#include "port.h"
#include "region.h"

/* Out-of-range wishes are brought into range, 0 means the default: netmap's rule. */
static u32 wish(u32 n, u32 def, u32 min, u32 max)
{
	return n < min ? def : n > max ? max : n;
}

static void config_from(const struct nmreq_register *reg, const struct pst_ext_config *ext,
			struct pst_port_config *cfg)
{
	cfg->rings = wish(max(reg->nr_tx_rings, reg->nr_rx_rings), 1, 1, PST_RINGS_MAX);
	cfg->tx_slots = wish(reg->nr_tx_slots, PST_SLOTS_DEF, PST_SLOTS_MIN, PST_SLOTS_MAX);
	cfg->rx_slots = wish(reg->nr_rx_slots, PST_SLOTS_DEF, PST_SLOTS_MIN, PST_SLOTS_MAX);
	cfg->extra_bufs = min_t(u32, reg->nr_extra_bufs, 1000000);
	cfg->ext = ext;
}

static int choose_rings(struct pst_file *pf, const struct pst_port *port,
			const struct nmreq_register *reg)
{
	u16 first = 0, end = port->nrings;

	switch (reg->nr_mode) {
	case NR_REG_ALL_NIC:
	case NR_REG_NIC_SW:	/* there are no host rings: same as ALL_NIC */
		break;
	case NR_REG_ONE_NIC:
		if (reg->nr_ringid >= port->nrings)
			return -EINVAL;
		first = array_index_nospec(reg->nr_ringid, port->nrings);
		end = first + 1;
		break;
	case NR_REG_SW:
	case NR_REG_ONE_SW:
	case NR_REG_NULL:
		return -EOPNOTSUPP;
	default:
		return -EINVAL;
	}
	pf->tx_first = pf->rx_first = first;
	pf->tx_end = pf->rx_end = end;
	if (reg->nr_flags & NR_RX_RINGS_ONLY)
		pf->tx_end = pf->tx_first;
	if (reg->nr_flags & NR_TX_RINGS_ONLY)
		pf->rx_end = pf->rx_first;
	return 0;
}

/* All or nothing: -EBUSY when a ring is exclusively somebody else's. */
static int claim_rings(struct pst_file *pf, struct pst_port *port)
{
	bool excl = pf->flags & NR_EXCLUSIVE;
	u32 i;

	for (i = pf->tx_first; i < pf->tx_end; i++)
		if (port->ring[i].tx.exclusive || (excl && port->ring[i].tx.users))
			return -EBUSY;
	for (i = pf->rx_first; i < pf->rx_end; i++)
		if (port->ring[i].rx.exclusive || (excl && port->ring[i].rx.users))
			return -EBUSY;
	for (i = pf->tx_first; i < pf->tx_end; i++) {
		port->ring[i].tx.users++;
		port->ring[i].tx.exclusive = excl;
	}
	for (i = pf->rx_first; i < pf->rx_end; i++) {
		port->ring[i].rx.users++;
		port->ring[i].rx.exclusive = excl;
	}
	return 0;
}

static bool has_rings(const struct pst_file *pf)
{
	return pf->tx_first < pf->tx_end || pf->rx_first < pf->rx_end;
}

static bool in_use(const struct pst_port *port)
{
	u32 i;

	for (i = 0; i < port->nrings; i++)
		if (port->ring[i].tx.users || port->ring[i].rx.users)
			return true;
	return false;
}

static void yield_rings(struct pst_file *pf, struct pst_port *port)
{
	u32 i;

	for (i = pf->tx_first; i < pf->tx_end; i++) {
		port->ring[i].tx.users--;
		port->ring[i].tx.exclusive = false;
	}
	for (i = pf->rx_first; i < pf->rx_end; i++) {
		port->ring[i].rx.users--;
		port->ring[i].rx.exclusive = false;
	}
}

static void fill_netmap_if(struct pst_file *pf, struct pst_port *port)
{
	struct netmap_if *nifp = pf->nifp;
	u32 i;

	strscpy(nifp->ni_name, port->name, sizeof(nifp->ni_name));
	nifp->ni_flags = NI_PRIV_MEM;
	nifp->ni_tx_rings = nifp->ni_rx_rings = port->nrings;
	/* netmap reports one host ring each even where there is none. */
	nifp->ni_host_tx_rings = nifp->ni_host_rx_rings = 1;
	for (i = pf->tx_first; i < pf->tx_end; i++)
		nifp->ring_ofs[i] = (void *)port->ring[i].tx.ring - (void *)nifp;
	for (i = pf->rx_first; i < pf->rx_end; i++)
		nifp->ring_ofs[port->nrings + 1 + i] =
			(void *)port->ring[i].rx.ring - (void *)nifp;
}

/* A list through the first word of each buffer; never into the NIC's reserve. */
static u32 give_extra(struct pst_file *pf, struct pst_port *port, u32 want)
{
	struct pst_ring *ring = &port->ring[min(pf->tx_first, pf->rx_first)];
	struct pst_bufs *bufs = &port->region->bufs;
	u32 got, head = PST_BUF_NONE;

	for (got = 0; got < want; got++) {
		u32 buf = PST_BUF_NONE;

		spin_lock_bh(&ring->lock);
		if (pst_pool_level(&ring->pool) > 2 * bufs->low)
			buf = pst_buf_take(&ring->pool);
		spin_unlock_bh(&ring->lock);
		if (buf == PST_BUF_NONE)
			break;
		*(u32 *)pst_buf_addr(bufs, buf) = head;
		pst_buf_show(bufs, buf);
		head = buf;
		cond_resched();
	}
	pf->nifp->ni_bufs_head = head;
	return got;
}

/* The list is the application's: a bad index ends it, and so does its length. */
static void take_extra_back(struct pst_file *pf, struct pst_port *port)
{
	struct pst_ring *ring = &port->ring[min(pf->tx_first, pf->rx_first)];
	struct pst_bufs *bufs = &port->region->bufs;
	u32 buf = READ_ONCE(pf->nifp->ni_bufs_head), left = bufs->n;
	int err = 0;

	while (!err && buf < bufs->n && left--) {
		u32 next = READ_ONCE(*(u32 *)pst_buf_addr(bufs, array_index_nospec(buf, bufs->n)));

		spin_lock_bh(&ring->lock);
		err = pst_buf_give_back(&ring->pool, buf);
		spin_unlock_bh(&ring->lock);
		buf = next;
		cond_resched();
	}
}

static void report(const struct pst_file *pf, const struct pst_port *port,
		   struct nmreq_register *reg)
{
	reg->nr_offset = pst_region_offset(port->region, pf->nifp);
	reg->nr_memsize = port->region->size;
	reg->nr_tx_slots = port->tx_slots;
	reg->nr_rx_slots = port->rx_slots;
	reg->nr_tx_rings = reg->nr_rx_rings = port->nrings;
	reg->nr_host_tx_rings = reg->nr_host_rx_rings = 0;
	reg->nr_mem_id = port->region->id;
}

static int bind_to(struct pst_file *pf, struct pst_port *port, struct nmreq_register *reg)
{
	int err;

	lockdep_assert_held(&port->mutex);
	if (reg->nr_mem_id && reg->nr_mem_id != port->region->id)
		return -EINVAL;
	pf->flags = reg->nr_flags;
	err = choose_rings(pf, port, reg);
	if (err)
		return err;
	if (has_rings(pf)) {
		err = pst_port_renew(port);
		if (err)
			return err;
	}
	pf->nifp = pst_region_if_get(port->region);
	if (!pf->nifp)
		return -ENOMEM;
	err = claim_rings(pf, port);
	if (err) {
		pst_region_if_put(port->region, pf->nifp);
		pf->nifp = NULL;
		return err;
	}
	fill_netmap_if(pf, port);
	if (!has_rings(pf))	/* all buffers are of those who have */
		reg->nr_extra_bufs = 0;
	reg->nr_extra_bufs = give_extra(pf, port, reg->nr_extra_bufs);
	report(pf, port, reg);
	return 0;
}

#define REG_FLAGS	(NR_EXCLUSIVE | NR_RX_RINGS_ONLY | NR_TX_RINGS_ONLY | \
			 NR_ACCEPT_VNET_HDR | NR_DO_RX_POLL | NR_NO_TX_POLL)

/*
 * -EBUSY: bound already, or rings in exclusive use, or a port that exists is to keep
 * buffers; -EINVAL: malformed name, name of an interface, ring, memory id or flags;
 * -EOPNOTSUPP: a port type or mode we do not have; -ENOMEM: memory, or more descriptors
 * on the port than it has room for.  @ext, if any, has errors of its own, see region.c;
 * as in netmap it is ignored when the port exists already.
 */
int pst_file_bind(struct pst_file *pf, const char *name, struct nmreq_register *reg,
		  const struct pst_ext_config *ext)
{
	char canonical[NETMAP_REQ_IFNAMSIZ];
	struct pst_port_config cfg;
	struct pst_port *port;
	struct net_device *dev;
	const char *member;
	int err;

	lockdep_assert_held(&pf->mutex);
	if (pf->port)
		return -EBUSY;
	err = pst_name_parse(name, canonical, &member);
	if (err)
		return err;
	if (reg->nr_flags & ~REG_FLAGS)
		return reg->nr_flags & (NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON) ?
		       -EOPNOTSUPP : -EINVAL;
	dev = dev_get_by_name(current->nsproxy->net_ns, member);
	if (dev) {	/* that name is for attaching it */
		dev_put(dev);
		return -EINVAL;
	}
	config_from(reg, ext, &cfg);
	port = pst_port_open(canonical, &cfg);
	if (IS_ERR(port))
		return PTR_ERR(port);
	mutex_lock(&port->mutex);
	err = bind_to(pf, port, reg);
	mutex_unlock(&port->mutex);
	if (err) {
		pst_port_put(port);
		return err;
	}
	if (ext)
		pst_port_attend(port);	/* TCP may still have buffers of an earlier port's */
	smp_store_release(&pf->port, port);	/* rings before port: bound_port() */
	return 0;
}

void pst_file_unbind(struct pst_file *pf)
{
	struct pst_port *port = pf->port;

	if (!port)
		return;
	mutex_lock(&port->mutex);
	if (has_rings(pf))
		take_extra_back(pf, port);
	yield_rings(pf, port);
	port->stale |= has_rings(pf) && !in_use(port);
	/* If it is about to die, that is all the same; if not after all, who binds next does it. */
	if (READ_ONCE(port->opens) > 1)
		pst_port_renew(port);
	pst_region_if_put(port->region, pf->nifp);
	mutex_unlock(&port->mutex);
	pst_port_put(port);
}
