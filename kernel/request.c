// SPDX-License-Identifier: GPL-2.0
/*
 * Control requests.
 *
 * Everything is copied from user space once and only the copy is looked at:
 * header, body (its size is the request's, never the caller's word), option
 * headers.  The body goes back on success, the header always.
 */
#include <linux/capability.h>
#include <linux/nospec.h>
#include <linux/nsproxy.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <net/net_namespace.h>

#include "dev.h"
#include "nic.h"
#include "port.h"
#include "region.h"
#include "sized.h"
#include "stack.h"

#define KEEP_MAX	(1U << 28)	/* indexes: a terabyte of buffers */

union body {
	struct nmreq_register reg;
	struct nmreq_port_info_get info;
	struct nmreq_vale_attach attach;
	struct nmreq_vale_detach detach;
	struct nmreq_pools_info pools;
	struct nmreq_pst_fd_reg fd_reg;
	struct nmreq_pst_stats stats;
	struct nmreq_pst_list list;
};

/* ------------------------------------------------------------ options */

/* Those of one request, copied. */
struct options {
	u32 seen;			/* of netmap's, by number */
	struct nmreq_opt_extmem __user *uext;	/* or NULL */
	struct nmreq_opt_extmem extmem;
	struct nmreq_opt_pst_keep __user *ukeep;	/* or NULL */
	struct nmreq_opt_pst_keep keep;
};

static size_t option_size(const struct nmreq_option *opt)
{
	switch (opt->nro_reqtype) {
	case NETMAP_REQ_OPT_EXTMEM:
		return sizeof(struct nmreq_opt_extmem);
	case NETMAP_REQ_OPT_CSB:
		return sizeof(struct nmreq_opt_csb);
	case NETMAP_REQ_OPT_SYNC_KLOOP_MODE:
		return sizeof(struct nmreq_opt_sync_kloop_mode);
	case NETMAP_REQ_OPT_OFFSETS:
		return sizeof(struct nmreq_opt_offsets);
	case NETMAP_REQ_OPT_PST_KEEP:
		return sizeof(struct nmreq_opt_pst_keep);
	default:
		return max_t(u64, opt->nro_size, sizeof(*opt));
	}
}

/* What follows the header, which is not looked at again.  Returns a status: positive. */
static int copy_rest(struct nmreq_option *opt, void __user *uopt, size_t size)
{
	return copy_from_user(opt + 1, uopt + sizeof(*opt), size - sizeof(*opt)) ? EFAULT : 0;
}

static int take_extmem(struct options *o, void __user *uopt)
{
	if (o->uext)
		return EINVAL;
	o->uext = uopt;
	return copy_rest(&o->extmem.nro_opt, uopt, sizeof(o->extmem));
}

static int take_keep(struct options *o, void __user *uopt)
{
	int err;

	if (o->ukeep)
		return EINVAL;
	o->ukeep = uopt;
	err = copy_rest(&o->keep.nro_opt, uopt, sizeof(o->keep));
	return err ?: o->keep.pad1 ? EINVAL : 0;
}

static int take_option(struct options *o, u16 reqtype, const struct nmreq_option *opt,
		       void __user *uopt)
{
	u32 type = opt->nro_reqtype;

	if (!type)
		return EINVAL;
	if (reqtype == NETMAP_REQ_REGISTER) {
		if (type == NETMAP_REQ_OPT_EXTMEM)
			return take_extmem(o, uopt);
		if (type == NETMAP_REQ_OPT_PST_KEEP)
			return take_keep(o, uopt);
	}
	if (type < NETMAP_REQ_OPT_MAX && o->seen & BIT(type))
		return EINVAL;
	if (type < NETMAP_REQ_OPT_MAX)
		o->seen |= BIT(type);
	return EOPNOTSUPP;
}

/*
 * Each option gets its status, and a request with one that we do not have fails.
 * The list is the caller's: every header is copied once, its length is bounded.
 */
static int take_options(struct options *o, u16 reqtype, u64 first, size_t body)
{
	size_t total = body;
	int err = 0;

	while (first) {
		struct nmreq_option __user *uopt = u64_to_user_ptr(first);
		struct nmreq_option opt;
		size_t size;
		int status;

		if (copy_from_user(&opt, uopt, sizeof(opt)))
			return -EFAULT;
		size = option_size(&opt);
		if (size > NETMAP_REQ_MAXSIZE - total)
			return -EMSGSIZE;
		total += size;
		status = take_option(o, reqtype, &opt, uopt);
		if (put_user((u32)status, &uopt->nro_status))
			return -EFAULT;
		if (status && err != -EINVAL)
			err = -status;
		first = opt.nro_next;
	}
	if (!err && o->ukeep && !o->uext)
		return -EINVAL;
	return err;
}

/* ------------------------------------------------------------ one by one */

/*
 * Whether the answer can go where @was came from, asked before anything is done: what is done and
 * cannot be told would have to be undone.
 */
static bool is_writable(void __user *to, const void *was, size_t size)
{
	return !copy_to_user(to, was, size);
}

/* The indexes of buffers to keep, in memory that the caller frees. */
static u32 *copy_keep(const struct nmreq_opt_pst_keep *keep)
{
	u64 pages = (keep->nro_count * sizeof(u32)) >> PAGE_SHIFT;
	u32 *idx;

	if (keep->nro_count > KEEP_MAX)
		return ERR_PTR(-EINVAL);
	if (!pst_claim_pages(pages))
		return ERR_PTR(-ENOMEM);
	idx = kvmalloc_array(keep->nro_count, sizeof(*idx), PST_GFP_SIZED);
	pst_unclaim_pages(pages);
	if (!idx)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(idx, u64_to_user_ptr(keep->nro_indexes),
			   keep->nro_count * sizeof(*idx))) {
		kvfree(idx);
		return ERR_PTR(-EFAULT);
	}
	return idx;
}

static int register_ext(struct pst_file *pf, struct nmreq_header *hdr, union body *b,
			struct options *o)
{
	struct pst_ext_config ext = {
		.addr = o->extmem.nro_usrptr,
		.size = o->extmem.nro_info.nr_memsize,
		.pools = o->extmem.nro_info,
		.nkeep = o->keep.nro_count,
	};
	u32 *keep = NULL;
	int err;

	if (!is_writable(&o->uext->nro_info, &o->extmem.nro_info, sizeof(o->extmem.nro_info)))
		return -EFAULT;
	if (ext.nkeep) {
		keep = copy_keep(&o->keep);
		if (IS_ERR(keep))
			return PTR_ERR(keep);
		ext.keep = keep;
	}
	err = pst_file_bind(pf, hdr->nr_name, &b->reg, &ext);
	kvfree(keep);
	if (err) {
		put_user((u32)-err, &o->uext->nro_opt.nro_status);
		return err;
	}
	pst_region_pools(pf->port->region, &o->extmem.nro_info);
	return copy_to_user(&o->uext->nro_info, &o->extmem.nro_info,
			    sizeof(o->extmem.nro_info)) ? -EFAULT : 0;
}

static int do_register(struct pst_file *pf, struct nmreq_header *hdr, union body *b,
		       struct options *o)
{
	if (o->uext)
		return register_ext(pf, hdr, b, o);
	return pst_file_bind(pf, hdr->nr_name, &b->reg, NULL);
}

/* The port called nr_name, counted. */
static struct pst_port *named_port(const struct nmreq_header *hdr)
{
	char canonical[NETMAP_REQ_IFNAMSIZ];
	struct pst_port *port;
	const char *member;
	int err = pst_name_parse(hdr->nr_name, canonical, &member);

	if (err)
		return ERR_PTR(err);
	port = pst_port_find(canonical);
	return port ?: ERR_PTR(-ENXIO);
}

static int do_port_info(struct pst_file *pf, struct nmreq_header *hdr, union body *b,
			struct options *o)
{
	struct pst_port *port = named_port(hdr);

	if (IS_ERR(port))
		return PTR_ERR(port);
	b->info = (struct nmreq_port_info_get) {
		.nr_memsize = port->region->size,
		.nr_tx_slots = port->tx_slots,
		.nr_rx_slots = port->rx_slots,
		.nr_tx_rings = port->nrings,
		.nr_rx_rings = port->nrings,
		.nr_mem_id = port->region->id,
	};
	pst_port_put(port);
	return 0;
}

static int do_pools_info(struct pst_file *pf, struct nmreq_header *hdr, union body *b,
			struct options *o)
{
	struct pst_port *port = named_port(hdr);

	if (IS_ERR(port))
		return PTR_ERR(port);
	pst_region_pools(port->region, &b->pools);
	pst_port_put(port);
	return 0;
}

/*
 * The port an attach or detach is about, counted: the one this descriptor is bound
 * to, else the one of the instance.  @ifname gets the interface, inside @canonical.
 */
static struct pst_port *nic_port(struct pst_file *pf, const struct nmreq_header *hdr,
				 u16 mem_id, bool attached, char *canonical,
				 const char **ifname)
{
	int err = pst_name_parse(hdr->nr_name, canonical, ifname);
	size_t instance;

	if (err)
		return ERR_PTR(err);
	if (!pf->port)
		return pst_port_find_for_nic(canonical, mem_id, attached);
	instance = *ifname - canonical;
	if (strncmp(pf->port->name, canonical, instance) ||
	    (mem_id && mem_id != pf->port->region->id))
		return ERR_PTR(-EINVAL);
	/* Whoever was given the descriptor may be elsewhere, where the name is another one's. */
	if (!net_eq(pf->port->net, current->nsproxy->net_ns))
		return ERR_PTR(-EXDEV);
	return pst_port_hold(pf->port);
}

/* All queues, which is also what a zeroed request says; or nr_rx_rings (0: one) of them. */
static int which_queues(const struct nmreq_register *reg, struct pst_queues *q)
{
	switch (reg->nr_mode) {
	case NR_REG_DEFAULT:
	case NR_REG_ALL_NIC:
	case NR_REG_NIC_SW:
		*q = (struct pst_queues){ 0 };
		return reg->nr_ringid ? -EINVAL : 0;
	case NR_REG_ONE_NIC:
		*q = (struct pst_queues){ reg->nr_ringid, reg->nr_rx_rings ?: 1 };
		return 0;
	default:
		return -EINVAL;
	}
}

static int do_attach(struct pst_file *pf, struct nmreq_header *hdr, union body *b,
		struct options *o)
{
	const struct nmreq_register *reg = &b->attach.reg;
	struct pst_queues queues;
	char canonical[NETMAP_REQ_IFNAMSIZ];
	struct pst_port *port;
	const char *ifname;
	int err;

	err = which_queues(reg, &queues);
	if (err)
		return err;
	port = nic_port(pf, hdr, reg->nr_mem_id, false, canonical, &ifname);
	if (IS_ERR(port))
		return PTR_ERR(port);
	mutex_lock(&port->mutex);
	err = pst_nic_attach(port, ifname, &queues);
	mutex_unlock(&port->mutex);
	pst_port_put(port);
	return err;
}

static int do_detach(struct pst_file *pf, struct nmreq_header *hdr, union body *b,
		struct options *o)
{
	char canonical[NETMAP_REQ_IFNAMSIZ];
	struct pst_port *port;
	const char *ifname;
	int err;

	port = nic_port(pf, hdr, 0, true, canonical, &ifname);
	if (IS_ERR(port))
		return PTR_ERR(port);
	mutex_lock(&port->mutex);
	err = pst_nic_detach(port, ifname);
	mutex_unlock(&port->mutex);
	pst_port_put(port);
	return err;
}

/* Only the holder of a port may put sockets on it, so the descriptor must be bound. */
static int do_fd_reg(struct pst_file *pf, struct nmreq_header *hdr, union body *b,
		struct options *o)
{
	char canonical[NETMAP_REQ_IFNAMSIZ];
	struct pst_port *port = pf->port;
	struct pst_rings among;
	const char *member;
	int err;

	if (!port)
		return -ENXIO;
	if (b->fd_reg.flags & ~PST_FD_BY_QUEUE)
		return -EINVAL;
	if (hdr->nr_name[0]) {	/* optional: the descriptor says it all */
		err = pst_name_parse(hdr->nr_name, canonical, &member);
		if (err)
			return err;
		if (strcmp(canonical, port->name))
			return -EINVAL;
	}
	if (b->fd_reg.fd > INT_MAX)
		return -EBADF;
	among.first = &port->ring[min(pf->rx_first, pf->tx_first)];
	among.end = b->fd_reg.flags & PST_FD_BY_QUEUE ?
		    &port->ring[max(pf->rx_end, pf->tx_end)] : among.first + 1;
	mutex_lock(&port->mutex);
	err = pst_stack_register(port, &among, b->fd_reg.fd);
	mutex_unlock(&port->mutex);
	return err;
}

static int do_stats(struct pst_file *pf, struct nmreq_header *hdr, union body *b,
		struct options *o)
{
	struct pst_port *port = named_port(hdr);
	u32 ring = b->stats.ring;

	if (IS_ERR(port))
		return PTR_ERR(port);
	if (ring >= port->nrings) {
		pst_port_put(port);
		return -EINVAL;
	}
	ring = array_index_nospec(ring, port->nrings);
	b->stats.rings = port->nrings;
	b->stats.counters = port->ring[ring].c;
	pst_port_counters(port, &b->stats.port);
	pst_port_put(port);
	return 0;
}

static int do_list(struct pst_file *pf, struct nmreq_header *hdr, union body *b,
		struct options *o)
{
	if (b->list.pad1)
		return -EINVAL;
	return pst_port_nth_name(b->list.index, hdr->nr_name);
}

/* ------------------------------------------------------------ dispatch */

struct request {
	size_t body;
	int (*run)(struct pst_file *pf, struct nmreq_header *hdr, union body *b,
		   struct options *o);
};

static const struct request requests[] = {
	[NETMAP_REQ_REGISTER] = { sizeof(struct nmreq_register), do_register },
	[NETMAP_REQ_PORT_INFO_GET] = { sizeof(struct nmreq_port_info_get), do_port_info },
	[NETMAP_REQ_POOLS_INFO_GET] = { sizeof(struct nmreq_pools_info), do_pools_info },
	[NETMAP_REQ_PST_ATTACH] = { sizeof(struct nmreq_vale_attach), do_attach },
	[NETMAP_REQ_PST_DETACH] = { sizeof(struct nmreq_vale_detach), do_detach },
	[NETMAP_REQ_PST_FD_REG] = { sizeof(struct nmreq_pst_fd_reg), do_fd_reg },
};

static const struct request own_requests[] = {
	[NETMAP_REQ_PST_STATS - NETMAP_REQ_PST_STATS] = {
		sizeof(struct nmreq_pst_stats), do_stats },
	[NETMAP_REQ_PST_LIST - NETMAP_REQ_PST_STATS] = {
		sizeof(struct nmreq_pst_list), do_list },
};

/* -EOPNOTSUPP for what netmap has and we have not; -EINVAL for what nobody has. */
static const struct request *find_request(u16 type)
{
	u32 own = type - NETMAP_REQ_PST_STATS;

	if (type >= NETMAP_REQ_PST_STATS && own < ARRAY_SIZE(own_requests))
		return &own_requests[own];
	if (!type || type >= ARRAY_SIZE(requests))
		return ERR_PTR(-EINVAL);
	if (!requests[type].run)
		return ERR_PTR(-EOPNOTSUPP);
	return &requests[type];
}

/* What is copied from the caller. */
struct call {
	union body body;
	struct options options;
};

static int run_request(struct pst_file *pf, struct nmreq_header *hdr)
{
	const struct request *req;
	void __user *ubody = u64_to_user_ptr(hdr->nr_body);
	struct call *call;
	int err;

	if (hdr->nr_version < NETMAP_MIN_API || hdr->nr_version > NETMAP_MAX_API ||
	    hdr->nr_reserved)
		return -EINVAL;
	hdr->nr_name[NETMAP_REQ_IFNAMSIZ - 1] = '\0';
	req = find_request(hdr->nr_reqtype);
	if (IS_ERR(req))
		return PTR_ERR(req);
	if (!hdr->nr_body)
		return -EINVAL;
	call = kzalloc(sizeof(*call), GFP_KERNEL);
	if (!call)
		return -ENOMEM;
	err = -EFAULT;
	if (copy_from_user(&call->body, ubody, req->body) ||
	    !is_writable(ubody, &call->body, req->body))
		goto out;
	err = take_options(&call->options, hdr->nr_reqtype, hdr->nr_options, req->body);
	if (err)
		goto out;
	err = req->run(pf, hdr, &call->body, &call->options);
	if (!err && copy_to_user(ubody, &call->body, req->body))
		err = -EFAULT;
out:
	kfree(call);
	return err;
}

/* NIOCCTRL. */
long pst_request(struct pst_file *pf, void __user *arg)
{
	struct nmreq_header hdr;
	long err;

	if (copy_from_user(&hdr, arg, sizeof(hdr)) || !is_writable(arg, &hdr, sizeof(hdr)))
		return -EFAULT;
	mutex_lock(&pf->mutex);
	err = run_request(pf, &hdr);
	mutex_unlock(&pf->mutex);
	if (copy_to_user(arg, &hdr, sizeof(hdr)))
		err = -EFAULT;
	return err;
}

/* ------------------------------------------------------------ legacy */

static int legacy_to_register(const struct nmreq *old, struct nmreq_register *reg)
{
	u32 mode = old->nr_flags & NR_REG_MASK;

	*reg = (struct nmreq_register) {
		.nr_tx_slots = old->nr_tx_slots,
		.nr_rx_slots = old->nr_rx_slots,
		.nr_tx_rings = old->nr_tx_rings,
		.nr_rx_rings = old->nr_rx_rings,
		.nr_mem_id = old->nr_arg2,
		.nr_ringid = old->nr_ringid & NETMAP_RING_MASK,
		.nr_extra_bufs = old->nr_arg3,
		.nr_flags = old->nr_flags & ~NR_REG_MASK,
	};
	if (mode == NR_REG_DEFAULT) {
		if (old->nr_ringid & NETMAP_SW_RING)
			mode = NR_REG_SW;
		else if (old->nr_ringid & NETMAP_HW_RING)
			mode = NR_REG_ONE_NIC;
		else
			mode = NR_REG_ALL_NIC;
	} else if (mode == NR_REG_PIPE_MASTER || mode == NR_REG_PIPE_SLAVE) {
		return -EOPNOTSUPP;
	}
	reg->nr_mode = mode;
	if (old->nr_ringid & NETMAP_NO_TX_POLL)
		reg->nr_flags |= NR_NO_TX_POLL;
	if (old->nr_ringid & NETMAP_DO_RX_POLL)
		reg->nr_flags |= NR_DO_RX_POLL;
	return 0;
}

static void register_to_legacy(const struct nmreq_register *reg, struct nmreq *old)
{
	old->nr_offset = reg->nr_offset;
	old->nr_memsize = reg->nr_memsize;
	old->nr_tx_slots = reg->nr_tx_slots;
	old->nr_rx_slots = reg->nr_rx_slots;
	old->nr_tx_rings = reg->nr_tx_rings;
	old->nr_rx_rings = reg->nr_rx_rings;
	old->nr_arg2 = reg->nr_mem_id;
	old->nr_arg3 = reg->nr_extra_bufs;
}

static int legacy_register(struct pst_file *pf, struct nmreq *old)
{
	struct nmreq_register reg;
	int err = legacy_to_register(old, &reg);

	if (!err)
		err = pst_file_bind(pf, old->nr_name, &reg, NULL);
	if (!err)
		register_to_legacy(&reg, old);
	return err;
}

static int legacy_info(struct pst_file *pf, struct nmreq *old)
{
	struct nmreq_header hdr = {};
	union body b = {};
	int err;

	strscpy(hdr.nr_name, old->nr_name, sizeof(hdr.nr_name));
	err = do_port_info(pf, &hdr, &b, NULL);
	if (err)
		return err;
	old->nr_memsize = b.info.nr_memsize;
	old->nr_tx_slots = b.info.nr_tx_slots;
	old->nr_rx_slots = b.info.nr_rx_slots;
	old->nr_tx_rings = b.info.nr_tx_rings;
	old->nr_rx_rings = b.info.nr_rx_rings;
	old->nr_arg2 = b.info.nr_mem_id;
	return 0;
}

/* NIOCREGIF and NIOCGINFO, as nm_open() uses them; VALE's commands we have not. */
long pst_request_legacy(struct pst_file *pf, unsigned int cmd, void __user *arg)
{
	struct nmreq old;
	long err;

	if (copy_from_user(&old, arg, sizeof(old)) || !is_writable(arg, &old, sizeof(old)))
		return -EFAULT;
	old.nr_name[sizeof(old.nr_name) - 1] = '\0';
	if (old.nr_version < NETMAP_MIN_API)
		return -EINVAL;
	if (cmd == NIOCREGIF && old.nr_cmd)
		return old.nr_cmd > NETMAP_VNET_HDR_GET ? -EINVAL : -EOPNOTSUPP;
	mutex_lock(&pf->mutex);
	err = cmd == NIOCREGIF ? legacy_register(pf, &old) : legacy_info(pf, &old);
	mutex_unlock(&pf->mutex);
	if (copy_to_user(arg, &old, sizeof(old)))
		err = -EFAULT;
	return err;
}
