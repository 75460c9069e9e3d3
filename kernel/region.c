// SPDX-License-Identifier: GPL-2.0
/*
 * Region memory and its mappings.
 *
 * Two ways to map it:
 *  - the application's, by page frame number.  It takes no page references, so
 *    fork and further mappings leave the page counts alone, on which buf.c
 *    depends.  The mapping holds the file, the file the port, the port the region.
 *  - a pinnable one of the buffers alone, which lives only while AF_XDP pins its
 *    memory (xsk.c) and is never seen by the application.  Memory the application
 *    supplied has no need of it.
 */
#include <linux/anon_inodes.h>
#include <linux/idr.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "region.h"
#include "sized.h"

static DEFINE_IDA(region_ids);

static struct pst_region *region_alloc(const struct pst_geometry *g)
{
	struct pst_region *region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	int id;

	if (!region)
		return ERR_PTR(-ENOMEM);
	/* 1 is netmap's global region, which we do not have. */
	id = ida_alloc_range(&region_ids, 2, U16_MAX, GFP_KERNEL);
	if (id < 0) {
		kfree(region);
		return ERR_PTR(id);
	}
	region->id = id;
	region->if_num = g->if_num;
	region->if_size = ALIGN(g->if_size, 64);
	region->ring_num = g->ring_num;
	region->ring_size = ALIGN(sizeof(struct netmap_ring) +
				  g->slots * sizeof(struct netmap_slot), 128);
	return region;
}

/* The place of everything, from its number and size. */
static void lay_out(struct pst_region *region, u32 bufs)
{
	BUILD_BUG_ON(PST_BUF_SIZE > U16_MAX);	/* a slot's len must hold it */
	region->ring_ofs = PAGE_ALIGN((size_t)region->if_num * region->if_size);
	region->buf_ofs = region->ring_ofs +
			  PAGE_ALIGN((size_t)region->ring_num * region->ring_size);
	region->size = region->buf_ofs + (size_t)bufs * PST_BUF_SIZE;
}

/* Once it is known that the memory holds so many interfaces: the number is the application's. */
static int alloc_if_used(struct pst_region *region)
{
	region->if_used = kvcalloc(BITS_TO_LONGS(region->if_num), sizeof(long), PST_GFP_SIZED);
	return region->if_used ? 0 : -ENOMEM;
}

struct pst_region *pst_region_create(const struct pst_geometry *g)
{
	struct pst_region *region = region_alloc(g);
	int err;

	if (IS_ERR(region))
		return region;
	lay_out(region, g->bufs);
	err = alloc_if_used(region);
	if (err)
		goto err_destroy;
	err = -ENOMEM;
	region->ctl = __vmalloc(region->buf_ofs, PST_GFP_SIZED | __GFP_ZERO);
	if (!region->ctl)
		goto err_destroy;
	err = pst_bufs_init(&region->bufs, g->bufs);
	if (err)
		goto err_destroy;
	return region;

err_destroy:
	pst_region_destroy(region);
	return ERR_PTR(err);
}

/*
 * What the application wants of a pool, where 0 means what the port needs.  Less than
 * that is -ENOMEM, as netmap has it; what cannot be counted on 32 bits, too.
 */
static int take_wish(u32 *n, u32 want, u32 align)
{
	if (!want)
		return 0;
	if (want < *n || want > 1U << 30)
		return -ENOMEM;
	*n = ALIGN(want, align);
	return 0;
}

static int take_wishes(struct pst_region *region, const struct nmreq_pools_info *pools)
{
	int err;

	if (pools->nr_buf_pool_objsize && pools->nr_buf_pool_objsize != PST_BUF_SIZE)
		return -EINVAL;
	err = take_wish(&region->if_num, pools->nr_if_pool_objtotal, 1);
	if (!err)
		err = take_wish(&region->if_size, pools->nr_if_pool_objsize, 64);
	if (!err)
		err = take_wish(&region->ring_num, pools->nr_ring_pool_objtotal, 1);
	if (!err)
		err = take_wish(&region->ring_size, pools->nr_ring_pool_objsize, 128);
	return err;
}

/* All that is left becomes buffers. */
static int carve(struct pst_region *region, const struct pst_geometry *g,
		 const struct pst_ext_config *cfg)
{
	u64 size = (u64)region->ext->npages << PAGE_SHIFT;
	u32 bufs;
	int err;

	lay_out(region, 0);
	if (region->buf_ofs > size)
		return -ENOMEM;
	err = alloc_if_used(region);
	if (err)
		return err;
	bufs = (size - region->buf_ofs) / PST_BUF_SIZE;
	if (bufs < cfg->pools.nr_buf_pool_objtotal || bufs < cfg->nkeep ||
	    bufs - cfg->nkeep < g->bufs)
		return -ENOMEM;
	pst_extmem_set_bufs(region->ext, region->buf_ofs >> PAGE_SHIFT);
	/* An earlier port of another geometry may have had buffers here. */
	if (pst_extmem_in_use(region->ext, region->buf_ofs >> PAGE_SHIFT))
		return -EBUSY;
	region->size += (size_t)bufs * PST_BUF_SIZE;
	region->ctl = vmap(region->ext->page, region->buf_ofs >> PAGE_SHIFT, VM_MAP, PAGE_KERNEL);
	if (!region->ctl)
		return -ENOMEM;
	err = pst_bufs_init_ext(&region->bufs, bufs, region->ext, region->buf_ofs >> PAGE_SHIFT);
	if (!err)
		err = pst_bufs_keep(&region->bufs, cfg->keep, cfg->nkeep);
	if (!err)	/* a refusal leaves the memory as it was */
		memset(region->ctl, 0, region->buf_ofs);
	return err;
}

/*
 * A region in the application's memory, in netmap's layout.  @g: what the port needs, and
 * in g->bufs the least it can live with.  -ENOMEM: too small; others: pst_extmem_pin(),
 * take_wishes(), pst_bufs_keep().
 */
struct pst_region *pst_region_create_ext(const struct pst_geometry *g,
					 const struct pst_ext_config *cfg)
{
	struct pst_region *region = region_alloc(g);
	int err;

	if (IS_ERR(region))
		return region;
	err = take_wishes(region, &cfg->pools);
	if (err)
		goto err_destroy;
	region->ext = pst_extmem_pin(cfg->addr, cfg->size);
	if (IS_ERR(region->ext)) {
		err = PTR_ERR(region->ext);
		region->ext = NULL;
		goto err_destroy;
	}
	err = carve(region, g, cfg);
	if (err)
		goto err_destroy;
	return region;

err_destroy:
	pst_region_destroy(region);
	return ERR_PTR(err);
}

void pst_region_destroy(struct pst_region *region)
{
	pst_bufs_destroy(&region->bufs);
	if (region->ext) {
		vunmap(region->ctl);
		pst_extmem_unpin(region->ext);
	} else {
		vfree(region->ctl);
	}
	kvfree(region->if_used);
	ida_free(&region_ids, region->id);
	kfree(region);
}

void pst_region_pools(const struct pst_region *region, struct nmreq_pools_info *pools)
{
	*pools = (struct nmreq_pools_info) {
		.nr_memsize = region->size,
		.nr_mem_id = region->id,
		.nr_if_pool_objtotal = region->if_num,
		.nr_if_pool_objsize = region->if_size,
		.nr_ring_pool_offset = region->ring_ofs,
		.nr_ring_pool_objtotal = region->ring_num,
		.nr_ring_pool_objsize = region->ring_size,
		.nr_buf_pool_offset = region->buf_ofs,
		.nr_buf_pool_objtotal = region->bufs.n,
		.nr_buf_pool_objsize = PST_BUF_SIZE,
	};
}

static unsigned long region_pfn(struct pst_region *region, size_t ofs)
{
	if (ofs < region->buf_ofs)
		return vmalloc_to_pfn(region->ctl + ofs);
	return page_to_pfn(region->bufs.page[(ofs - region->buf_ofs) / PAGE_SIZE]);
}

/* Maps everything now, in runs of adjacent frames: no faults on the data path. */
int pst_region_mmap(struct pst_region *region, struct vm_area_struct *vma)
{
	unsigned long addr = vma->vm_start;
	size_t ofs = (size_t)vma->vm_pgoff << PAGE_SHIFT;
	size_t left = vma->vm_end - vma->vm_start;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (ofs > region->size || left > region->size - ofs)
		return -EINVAL;
	while (left) {
		unsigned long pfn = region_pfn(region, ofs);
		size_t run = PAGE_SIZE;
		int err;

		while (run < left &&
		       region_pfn(region, ofs + run) == pfn + run / PAGE_SIZE)
			run += PAGE_SIZE;
		err = remap_pfn_range(vma, addr, pfn, run, vma->vm_page_prot);
		if (err)
			return err;
		addr += run;
		ofs += run;
		left -= run;
		cond_resched();
	}
	return 0;
}

/*
 * Once: the mapping may outlive the region, if another thread moves it, and with it the file, to
 * which remap_file_pages() would come back.
 */
static int pinnable_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct pst_region *region = xchg(&file->private_data, NULL);
	unsigned long n = vma_pages(vma);

	if (!region || vma->vm_pgoff || n != region->bufs.n)
		return -EINVAL;
	pst_vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND);
	return vm_insert_pages(vma, vma->vm_start, region->bufs.page, &n);
}

static const struct file_operations pinnable_fops = {
	.owner = THIS_MODULE,
	.mmap = pinnable_mmap,
};

/* A file to vm_mmap() the buffers from; the caller keeps the region alive. */
struct file *pst_region_pinnable(struct pst_region *region)
{
	return anon_inode_getfile("[paste-umem]", &pinnable_fops, region, O_RDWR);
}

struct netmap_if *pst_region_if_get(struct pst_region *region)
{
	u32 i = find_first_zero_bit(region->if_used, region->if_num);
	struct netmap_if *nifp;

	if (i == region->if_num)
		return NULL;
	__set_bit(i, region->if_used);
	nifp = region->ctl + (size_t)i * region->if_size;
	memset(nifp, 0, region->if_size);
	return nifp;
}

void pst_region_if_put(struct pst_region *region, struct netmap_if *nifp)
{
	__clear_bit(pst_region_offset(region, nifp) / region->if_size,
		    region->if_used);
}

struct netmap_ring *pst_region_ring(struct pst_region *region, u32 i)
{
	return region->ctl + region->ring_ofs + (size_t)i * region->ring_size;
}
