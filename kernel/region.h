/* SPDX-License-Identifier: GPL-2.0 */
/* The memory of a port: what the application maps. */
#ifndef PST_REGION_H
#define PST_REGION_H

#include <linux/bitmap.h>
#include <linux/mm_types.h>
#include <net/netmap.h>
#include "buf.h"

struct file;
struct netmap_if;
struct netmap_ring;

/*
 *   0             ring_ofs               buf_ofs
 *   | netmap_if 0 | netmap_if 1 ... | ring 0 | ring 1 ... | buffer 0 | 1 | ...
 *   '----- ctl: one virtually contiguous allocation ------'  pages, one each
 */
struct pst_region {
	u16 id;			/* nr_mem_id: unique among living regions */
	u32 if_num;		/* descriptors that may be bound at a time */
	u32 if_size;		/* bytes of one netmap_if, with its ring_ofs[] */
	u32 ring_num;
	u32 ring_size;		/* bytes of one ring, with its slots */
	size_t ring_ofs;	/* offset of ring 0 */
	size_t buf_ofs;		/* offset of buffer 0 */
	size_t size;		/* bytes in all */
	void *ctl;		/* [0, buf_ofs) */
	struct pst_extmem *ext;	/* in which all of it lies, or NULL */
	unsigned long *if_used;	/* bitmap of netmap_ifs in use */
	struct pst_bufs bufs;
};

struct pst_geometry {
	u32 if_num;
	u32 if_size;
	u32 ring_num;
	u32 slots;		/* of the longest ring */
	u32 bufs;		/* reserved ones included */
};

/* Memory of the application's, see struct nmreq_opt_extmem. */
struct pst_ext_config {
	u64 addr, size;
	struct nmreq_pools_info pools;
	const u32 *keep;	/* buffers that are the application's from the start */
	u32 nkeep;
};

struct pst_region *pst_region_create(const struct pst_geometry *g);
struct pst_region *pst_region_create_ext(const struct pst_geometry *g,
					 const struct pst_ext_config *cfg);
void pst_region_pools(const struct pst_region *region, struct nmreq_pools_info *pools);
void pst_region_destroy(struct pst_region *region);
int pst_region_mmap(struct pst_region *region, struct vm_area_struct *vma);
struct file *pst_region_pinnable(struct pst_region *region);

struct netmap_if *pst_region_if_get(struct pst_region *region);
void pst_region_if_put(struct pst_region *region, struct netmap_if *nifp);
struct netmap_ring *pst_region_ring(struct pst_region *region, u32 i);

static inline size_t pst_region_offset(const struct pst_region *region, const void *p)
{
	return p - region->ctl;
}

#endif /* PST_REGION_H */
