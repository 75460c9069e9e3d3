// SPDX-License-Identifier: BSD-2-Clause
/*
 * Ports: the ladder of libnetmap.h, a function per rung and its undo beneath.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

/* A descriptor and the request as it was before the kernel answered it. */
struct port {
	struct nmport_d d;
	struct nmreq_register asked;	/* valid while d.register_done */
};

static struct port *port_of(struct nmport_d *d)
{
	return (struct port *)d;	/* d is the first member */
}

static void forget_rings(struct nmport_d *d)
{
	d->nifp = NULL;
	d->first_tx_ring = d->first_rx_ring = 1;
	d->last_tx_ring = d->last_rx_ring = 0;
	d->cur_tx_ring = d->cur_rx_ring = 0;
}

static struct nmport_d *new_port(struct nmctx *ctx)
{
	struct port *port = nmctx_malloc(ctx, sizeof(*port));
	struct nmport_d *d;

	if (!port)
		return NULL;
	memset(port, 0, sizeof(*port));
	d = &port->d;
	d->ctx = ctx;
	d->fd = -1;
	nmreq_header_init(&d->hdr, NETMAP_REQ_REGISTER, &d->reg);
	forget_rings(d);
	return d;
}

struct nmport_d *nmport_new(void)
{
	return new_port(nmctx_get());
}

void nmport_delete(struct nmport_d *d)
{
	nmport_undo_parse(d);
	nmctx_free(d->ctx, port_of(d));
}

int nmport_parse(struct nmport_d *d, const char *portspec)
{
	const char *p = portspec;
	int err;

	if (!nmreq_header_decode(&p, &d->hdr, d->ctx) &&
	    !nmreq_register_decode(&p, &d->reg, d->ctx) &&
	    !nmreq_options_decode(p, nmi_port_options, d, d->ctx))
		return 0;
	err = errno;
	nmport_undo_parse(d);
	errno = err;
	return -1;
}

void nmport_undo_parse(struct nmport_d *d)
{
	struct nmport_cleanup_d *c;

	while (d->clist) {
		c = d->clist;
		d->clist = c->next;
		c->cleanup(c, d);
		nmctx_free(d->ctx, c);
	}
	nmreq_header_init(&d->hdr, NETMAP_REQ_REGISTER, &d->reg);
	memset(&d->reg, 0, sizeof(d->reg));
}

struct nmport_d *nmport_prepare(const char *portspec)
{
	struct nmport_d *d = nmport_new();
	int err;

	if (!d)
		return NULL;
	if (nmport_parse(d, portspec)) {
		err = errno;
		nmport_delete(d);
		errno = err;
		return NULL;
	}
	return d;
}

void nmport_undo_prepare(struct nmport_d *d)
{
	nmport_delete(d);
}

/* Say which options the kernel did not take. */
static void report_options(struct nmport_d *d)
{
	struct nmreq_option *opt;

	nmreq_foreach_option(&d->hdr, opt)
		if (opt->nro_status)
			nmctx_ferror(d->ctx, "%s: option %s: %s", d->hdr.nr_name,
				     nmreq_option_name(opt->nro_reqtype),
				     strerror((int)opt->nro_status));
}

int nmport_register(struct nmport_d *d)
{
	struct port *port = port_of(d);
	int fd, err;

	if (d->register_done) {
		errno = EINVAL;
		nmctx_ferror(d->ctx, "%s: registered already", d->hdr.nr_name);
		return -1;
	}
	fd = nmi_open_device(d->ctx);
	if (fd < 0)
		return -1;
	port->asked = d->reg;
	if (ioctl(fd, NIOCCTRL, &d->hdr)) {
		err = errno;
		report_options(d);
		errno = err;
		nmctx_ferror(d->ctx, "cannot open port %s: %s", d->hdr.nr_name,
			     strerror(err));
		d->reg = port->asked;
		close(fd);
		errno = err;
		return -1;
	}
	if (d->ctx->verbose && d->reg.nr_extra_bufs < port->asked.nr_extra_bufs)
		nmctx_ferror(d->ctx, "%s: %u extra buffers instead of %u",
			     d->hdr.nr_name, d->reg.nr_extra_bufs,
			     port->asked.nr_extra_bufs);
	d->fd = fd;
	d->register_done = 1;
	return 0;
}

void nmport_undo_register(struct nmport_d *d)
{
	if (!d->register_done)
		return;
	close(d->fd);
	d->fd = -1;
	d->reg = port_of(d)->asked;
	d->register_done = 0;
}

/* First and last bound ring of @n offsets; unchanged when none is. */
static void find_rings(const ssize_t *ofs, uint32_t n, uint16_t *first,
		       uint16_t *last)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (!ofs[i])
			continue;
		if (*first > *last)
			*first = (uint16_t)i;
		*last = (uint16_t)i;
	}
}

int nmport_mmap(struct nmport_d *d)
{
	struct netmap_if *nifp;
	uint32_t tx, rx;

	if (!d->register_done || d->mmap_done) {
		errno = EINVAL;
		nmctx_ferror(d->ctx, "%s: %s", d->hdr.nr_name, d->mmap_done ?
			     "mapped already" : "not registered");
		return -1;
	}
	if (nmi_memory_get(d))
		return -1;
	nifp = NETMAP_IF(d->mem->mem, d->reg.nr_offset);
	tx = nifp->ni_tx_rings + nifp->ni_host_tx_rings;
	rx = nifp->ni_rx_rings + nifp->ni_host_rx_rings;
	find_rings(nifp->ring_ofs, tx, &d->first_tx_ring, &d->last_tx_ring);
	find_rings(nifp->ring_ofs + tx, rx, &d->first_rx_ring, &d->last_rx_ring);
	d->cur_tx_ring = d->first_tx_ring;
	d->cur_rx_ring = d->first_rx_ring;
	d->nifp = nifp;
	d->mmap_done = 1;
	return 0;
}

void nmport_undo_mmap(struct nmport_d *d)
{
	if (!d->mmap_done)
		return;
	nmi_memory_put(d);
	forget_rings(d);
	d->mmap_done = 0;
}

int nmport_open_desc(struct nmport_d *d)
{
	int err;

	if (nmport_register(d))
		return -1;
	if (nmport_mmap(d)) {
		err = errno;
		nmport_undo_register(d);
		errno = err;
		return -1;
	}
	return 0;
}

void nmport_undo_open_desc(struct nmport_d *d)
{
	nmport_undo_mmap(d);
	nmport_undo_register(d);
}

struct nmport_d *nmport_open(const char *portspec)
{
	struct nmport_d *d = nmport_prepare(portspec);
	int err;

	if (!d)
		return NULL;
	if (nmport_open_desc(d)) {
		err = errno;
		nmport_undo_prepare(d);
		errno = err;
		return NULL;
	}
	return d;
}

void nmport_close(struct nmport_d *d)
{
	if (!d)
		return;
	nmport_undo_open_desc(d);
	nmport_undo_prepare(d);
}

struct nmport_d *nmport_clone(struct nmport_d *d)
{
	struct nmport_d *c;

	if (d->extmem && !d->register_done) {
		errno = EINVAL;
		nmctx_ferror(d->ctx, "%s: its memory has no region number before it is registered",
			     d->hdr.nr_name);
		return NULL;
	}
	c = new_port(d->ctx);
	if (!c)
		return NULL;
	memcpy(c->hdr.nr_name, d->hdr.nr_name, sizeof(c->hdr.nr_name));
	c->reg = d->register_done ? port_of(d)->asked : d->reg;
	c->reg.nr_mem_id = d->reg.nr_mem_id;
	return c;
}

int nmport_inject(struct nmport_d *d, const void *buf, size_t size)
{
	uint32_t i, rings = (uint32_t)d->last_tx_ring + 1 - d->first_tx_ring;
	const char *src = buf;

	for (i = 0; i < rings; i++) {
		struct netmap_ring *ring = NETMAP_TXRING(d->nifp, d->cur_tx_ring);
		size_t left = size, room = ring->nr_buf_size;
		uint32_t head = ring->head, slots;

		slots = size ? (uint32_t)((size + room - 1) / room) : 1;
		if (nm_ring_space(ring) < slots) {
			if (d->cur_tx_ring++ == d->last_tx_ring)
				d->cur_tx_ring = d->first_tx_ring;
			continue;
		}
		for (; slots; slots--, head = nm_ring_next(ring, head)) {
			struct netmap_slot *slot = &ring->slot[head];
			size_t n = left < room ? left : room;

			nm_pkt_copy(src, NETMAP_BUF_OFFSET(ring, slot), n);
			slot->len = (uint16_t)n;
			slot->flags = slots > 1 ? NS_MOREFRAG : 0;
			src += n;
			left -= n;
		}
		ring->head = ring->cur = head;	/* (A) */
		return (int)size;
	}
	return 0;
}
