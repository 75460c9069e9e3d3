// SPDX-License-Identifier: BSD-2-Clause
/*
 * Options that travel with the register request: memory of the application's
 * own, and packet offsets.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <net/netmap_paste.h>
#include <paste_region.h>

#include "internal.h"

struct option_cleanup {
	struct nmport_cleanup_d c;
	struct nmreq_option *opt;
};

struct mapping_cleanup {
	struct nmport_cleanup_d c;
	void *base;
	size_t size;
};

static void push_cleanup(struct nmport_d *d, struct nmport_cleanup_d *c)
{
	c->next = d->clist;
	d->clist = c;
}

static void drop_option(struct nmport_cleanup_d *c, struct nmport_d *d)
{
	struct option_cleanup *oc = (struct option_cleanup *)c;

	nmreq_remove_option(&d->hdr, oc->opt);
	if ((void *)oc->opt == (void *)d->extmem)
		d->extmem = NULL;
	nmctx_free(d->ctx, oc->opt);
}

static void drop_mapping(struct nmport_cleanup_d *c, struct nmport_d *d)
{
	struct mapping_cleanup *mc = (struct mapping_cleanup *)c;

	(void)d;
	munmap(mc->base, mc->size);
}

/* Allocate a zeroed option of @size bytes and put it into the request. */
static void *add_option(struct nmport_d *d, uint32_t type, size_t size)
{
	struct option_cleanup *oc;
	struct nmreq_option *opt;

	if (d->register_done || nmreq_find_option(&d->hdr, type)) {
		errno = EINVAL;
		nmctx_ferror(d->ctx, "%s: option %s: %s", d->hdr.nr_name,
			     nmreq_option_name(type), d->register_done ?
			     "the port is open already" : "given already");
		return NULL;
	}
	oc = nmctx_malloc(d->ctx, sizeof(*oc));
	if (!oc)
		return NULL;
	opt = nmctx_malloc(d->ctx, size);
	if (!opt) {
		nmctx_free(d->ctx, oc);
		errno = ENOMEM;
		return NULL;
	}
	memset(opt, 0, size);
	opt->nro_reqtype = type;
	nmreq_push_option(&d->hdr, opt);
	oc->opt = opt;
	oc->c.cleanup = drop_option;
	push_cleanup(d, &oc->c);
	return opt;
}

int nmport_extmem(struct nmport_d *d, void *base, size_t size)
{
	struct nmreq_opt_extmem *e;

	e = add_option(d, NETMAP_REQ_OPT_EXTMEM, sizeof(*e));
	if (!e)
		return -1;
	e->nro_usrptr = (uintptr_t)base;
	e->nro_info.nr_memsize = size;
	d->extmem = e;
	return 0;
}

int nmport_extmem_from_file(struct nmport_d *d, const char *path)
{
	struct mapping_cleanup *mc;
	struct stat st;
	void *base;
	int fd, err;

	mc = nmctx_malloc(d->ctx, sizeof(*mc));
	if (!mc)
		return -1;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		err = errno;
		nmctx_ferror(d->ctx, "cannot open %s: %s", path, strerror(err));
		goto free_cleanup;
	}
	if (fstat(fd, &st)) {
		err = errno;
		nmctx_ferror(d->ctx, "cannot stat %s: %s", path, strerror(err));
		goto close_file;
	}
	mc->size = (size_t)nmi_file_size(&st);
	if (!mc->size) {
		err = EINVAL;
		nmctx_ferror(d->ctx, "%s is empty: create it with its full size",
			     path);
		goto close_file;
	}
	base = mmap(NULL, mc->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED) {
		err = errno;
		nmctx_ferror(d->ctx, "cannot map %s, %zu bytes: %s", path,
			     mc->size, strerror(err));
		goto close_file;
	}
	mc->base = base;
	mc->c.cleanup = drop_mapping;
	push_cleanup(d, &mc->c);
	if (nmport_extmem(d, base, mc->size)) {
		err = errno;
		d->clist = mc->c.next;
		goto unmap;
	}
	close(fd);
	return 0;

unmap:
	munmap(base, mc->size);
close_file:
	close(fd);
free_cleanup:
	nmctx_free(d->ctx, mc);
	errno = err;
	return -1;
}

struct nmreq_pools_info *nmport_extmem_getinfo(struct nmport_d *d)
{
	return d->extmem ? &d->extmem->nro_info : NULL;
}

static void set_pools(struct nmport_d *d, const struct paste_region_info *info)
{
	struct nmreq_pools_info *pools = nmport_extmem_getinfo(d);

	pools->nr_if_pool_objtotal = info->if_num;
	pools->nr_if_pool_objsize = info->if_size;
	pools->nr_ring_pool_objtotal = info->ring_num;
	pools->nr_ring_pool_objsize = info->ring_size;
}

/* The request does not outlive this function, so the list need not. */
static int open_keeping(struct nmport_d *d, const struct paste_region *r)
{
	uint32_t kept = paste_region_keep_list(r, NULL, 0);
	uint32_t *list = calloc((size_t)kept + 1, sizeof(*list));
	struct nmreq_opt_pst_keep keep = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_PST_KEEP,
		.nro_indexes = (uintptr_t)list,
		.nro_count = kept,
	};
	int err;

	if (!list)
		return -ENOMEM;
	paste_region_keep_list(r, list, kept);
	nmreq_push_option(&d->hdr, &keep.nro_opt);
	err = nmport_open_desc(d) ? -errno : 0;
	nmreq_remove_option(&d->hdr, &keep.nro_opt);
	free(list);
	return err;
}

int paste_region_open_port(const struct paste_region *r, struct nmport_d *d)
{
	const struct paste_region_info *info = paste_region_info(r);
	size_t len;
	void *packet = paste_region_packet(r, &len);
	int err;

	if (nmport_extmem(d, packet, len))
		return -errno;
	set_pools(d, info);
	err = open_keeping(d, r);
	if (!err && nmport_extmem_getinfo(d)->nr_buf_pool_offset != info->buf_ofs) {
		nmport_undo_open_desc(d);
		err = -EINVAL;
	}
	return err;
}

int nmport_offset(struct nmport_d *d, uint64_t initial, uint64_t max,
		  uint64_t bits, uint64_t gap)
{
	struct nmreq_opt_offsets *o;

	o = add_option(d, NETMAP_REQ_OPT_OFFSETS, sizeof(*o));
	if (!o)
		return -1;
	o->nro_initial_offset = initial;
	o->nro_max_offset = max;
	o->nro_offset_bits = (uint32_t)bits;
	o->nro_min_gap = gap;
	return 0;
}
