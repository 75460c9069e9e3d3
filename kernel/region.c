// SPDX-License-Identifier: GPL-2.0
/*
 * Region memory and its mappings.
 *
 * Two ways to map it:
 *  - the application's, by page frame number.  It takes no page references, so
 *    fork and further mappings leave the page counts alone, on which buf.c
 *    depends.  The mapping holds the file, the file the port, the port the region.
 *  - a pinnable one of the buffers alone, which lives only while AF_XDP pins its
 *    memory (nic.c) and is never seen by the application.
 */
#include <linux/anon_inodes.h>
#include <linux/idr.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "region.h"
#include <net/netmap.h>

static DEFINE_IDA(region_ids);

struct pst_region *pst_region_create(const struct pst_geometry *g)
{
	struct pst_region *region;
	int err;

	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region)
		return ERR_PTR(-ENOMEM);
	/* 1 is netmap's global region, which we do not have. */
	err = ida_alloc_range(&region_ids, 2, U16_MAX, GFP_KERNEL);
	if (err < 0)
		goto err_free;
	region->id = err;
	region->if_num = g->if_num;
	region->if_size = ALIGN(g->if_size, 64);
	region->ring_num = g->ring_num;
	region->ring_size = ALIGN(sizeof(struct netmap_ring) +
				  g->slots * sizeof(struct netmap_slot), 128);
	region->ring_ofs = PAGE_ALIGN((size_t)region->if_num * region->if_size);
	region->buf_ofs = region->ring_ofs +
			  PAGE_ALIGN((size_t)region->ring_num * region->ring_size);
	region->size = region->buf_ofs + (size_t)g->bufs * PST_BUF_SIZE;

	err = -ENOMEM;
	region->if_used = bitmap_zalloc(g->if_num, GFP_KERNEL_ACCOUNT);
	if (!region->if_used)
		goto err_ida;
	BUILD_BUG_ON(PST_BUF_SIZE > U16_MAX);	/* a slot's len must hold it */
	region->ctl = vmalloc_user(region->buf_ofs);
	if (!region->ctl)
		goto err_bitmap;
	err = pst_bufs_init(&region->bufs, g->bufs);
	if (err)
		goto err_ctl;
	return region;

err_ctl:
	vfree(region->ctl);
err_bitmap:
	bitmap_free(region->if_used);
err_ida:
	ida_free(&region_ids, region->id);
err_free:
	kfree(region);
	return ERR_PTR(err);
}

void pst_region_destroy(struct pst_region *region)
{
	pst_bufs_destroy(&region->bufs);
	vfree(region->ctl);
	bitmap_free(region->if_used);
	ida_free(&region_ids, region->id);
	kfree(region);
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
	}
	return 0;
}

static int pinnable_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct pst_region *region = file->private_data;
	unsigned long n = vma_pages(vma);

	if (vma->vm_pgoff || n != region->bufs.n)
		return -EINVAL;
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
	nifp = region->ctl + i * region->if_size;
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
