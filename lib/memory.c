// SPDX-License-Identifier: BSD-2-Clause
/*
 * Mapped regions.  Ports of one context that use the same region share one
 * mapping, so that a buffer index means the same address in all of them.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

/* Called with the context's lock held. */
static struct nmem_d *find_region(struct nmctx *ctx, uint16_t mem_id)
{
	struct nmem_d *m = ctx->mem_descs;

	while (m && m->mem_id != mem_id)
		m = m->next;
	return m;
}

/*
 * Does the port of @d lie in the memory that was supplied?  One that exists already has its own, whatever is supplied, and
 * the request says nothing of it.  So what is written into our netmap_if, which is nobody else's, through the descriptor
 * must show in the memory.  0 or an errno.
 */
static int check_supplied(const struct nmport_d *d)
{
	uint64_t at = d->reg.nr_offset + offsetof(struct netmap_if, ni_bufs_head);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), begin = at & ~(page - 1);
	volatile uint32_t *theirs, *ours;
	uint32_t value;
	char *map;
	int same;

	if (at + sizeof(*ours) > d->extmem->nro_info.nr_memsize)
		return EBUSY;
	map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, (off_t)begin);
	if (map == MAP_FAILED)
		return errno;
	theirs = (void *)(map + (at - begin));
	ours = (void *)(uintptr_t)(d->extmem->nro_usrptr + at);
	value = *theirs;
	same = *ours == value;
	*theirs = ~value;
	same = same && *ours == ~value;
	*theirs = value;
	munmap(map, page);
	return same ? 0 : EBUSY;
}

/* A new entry for the region of @d; called with the context's lock held. */
static struct nmem_d *add_region(struct nmport_d *d)
{
	struct nmctx *ctx = d->ctx;
	struct nmem_d *m = nmctx_malloc(ctx, sizeof(*m));
	int err;

	if (!m)
		return NULL;
	memset(m, 0, sizeof(*m));
	m->mem_id = d->reg.nr_mem_id;
	if (d->extmem) {
		m->mem = (void *)(uintptr_t)d->extmem->nro_usrptr;
		m->size = d->extmem->nro_info.nr_memsize;
		m->is_extmem = 1;
	} else {
		m->mem = mmap(NULL, d->reg.nr_memsize, PROT_READ | PROT_WRITE,
			      MAP_SHARED, d->fd, 0);
		if (m->mem == MAP_FAILED) {
			err = errno;
			nmctx_free(ctx, m);
			errno = err;
			nmctx_ferror(ctx, "cannot map region %u, %llu bytes: %s",
				     d->reg.nr_mem_id,
				     (unsigned long long)d->reg.nr_memsize,
				     strerror(err));
			return NULL;
		}
		m->size = d->reg.nr_memsize;
	}
	m->next = ctx->mem_descs;
	if (m->next)
		m->next->prev = m;
	ctx->mem_descs = m;
	return m;
}

int nmi_memory_get(struct nmport_d *d)
{
	int err = d->extmem ? check_supplied(d) : 0;
	struct nmem_d *m;

	if (err) {
		errno = err;
		nmctx_ferror(d->ctx, err == EBUSY ? "%s: the port exists already, in other memory than was supplied" :
			     "%s: cannot look at the port's memory", d->hdr.nr_name);
		return -1;
	}
	nmctx_lock(d->ctx);
	m = find_region(d->ctx, d->reg.nr_mem_id);
	if (!m)
		m = add_region(d);
	if (m)
		m->refcount++;
	nmctx_unlock(d->ctx);
	if (!m)
		return -1;
	d->mem = m;
	return 0;
}

void nmi_memory_put(struct nmport_d *d)
{
	struct nmctx *ctx = d->ctx;
	struct nmem_d *m = d->mem;

	d->mem = NULL;
	nmctx_lock(ctx);
	if (--m->refcount) {
		nmctx_unlock(ctx);
		return;
	}
	if (m->prev)
		m->prev->next = m->next;
	else
		ctx->mem_descs = m->next;
	if (m->next)
		m->next->prev = m->prev;
	nmctx_unlock(ctx);

	if (!m->is_extmem)
		munmap(m->mem, m->size);
	nmctx_free(ctx, m);
}
