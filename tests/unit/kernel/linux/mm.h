/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory: allocations that fail when they are told to, and counted pages. */
#ifndef _MOCK_MM_H_
#define _MOCK_MM_H_

#include <linux/types.h>

#define PAGE_SHIFT	12
#define PAGE_SIZE	4096ul
#define PAGE_ALIGN(x)	ALIGN(x, PAGE_SIZE)

enum { GFP_KERNEL, GFP_KERNEL_ACCOUNT, __GFP_ZERO, __GFP_NOWARN, __GFP_RETRY_MAYFAIL };

#define kzalloc(size, gfp)	mock_alloc(1, size)
#define kvzalloc(size, gfp)	mock_alloc(1, size)
#define kvcalloc(n, size, gfp)	mock_alloc(n, size)
#define __vmalloc(size, gfp)	mock_alloc(1, size)
#define kcalloc(n, size, gfp)	mock_alloc(n, size)
#define kvmalloc_array(n, size, gfp) mock_alloc(n, size)
#define vmap(pages, n, flags, prot) mock_alloc(n, PAGE_SIZE)
#define vunmap(p)		mock_free(p)
#define kfree(p)		mock_free(p)
#define kvfree(p)		mock_free(p)
#define vfree(p)		mock_free(p)

/* A page: a reference count; its memory is there once somebody looks at it. */
struct page {
	int refs;
	unsigned long private, pfn;
	void *mem;
};

/* Only small ones, unmapped. */
struct folio {
	struct page page;
	int _pincount;
};

#define page_folio(page)	((struct folio *)(page))
#define folio_nr_pages(folio)	1
#define GUP_PIN_COUNTING_BIAS	1024
#define folio_mapcount(folio)	0
#define folio_test_large(folio)	false
#define folio_ref_count(folio)	((folio)->page.refs)
#define atomic_read(p)		(*(p))

struct page *mock_page_alloc(void);
void mock_page_free(struct page *page);
void *mock_page_address(struct page *page);

#define si_mem_available()	(mock.mem_available ?: LONG_MAX)
#define totalram_pages()	(mock.mem_total)
#define alloc_page(gfp)		mock_page_alloc()
#define page_address(page)	mock_page_address(page)
#define page_to_pfn(page)	((page)->pfn)
#define vmalloc_to_pfn(p)	((unsigned long)(p) / PAGE_SIZE)
#define page_private(page)	((page)->private)
#define set_page_private(page, v) ((page)->private = (v))

static inline int page_ref_count(const struct page *page)
{
	mock_step("page_ref_count");
	return page->refs;
}

static inline void get_page(struct page *page)
{
	mock_step("get_page");
	page->refs++;
}

static inline void put_page(struct page *page)
{
	mock_step("put_page");
	WARN_ON_ONCE(page->refs < 1);
	if (!--page->refs)
		mock_page_free(page);
}

struct bio_vec {
	struct page *bv_page;
	u32 bv_len, bv_offset;
};

static inline void bvec_set_page(struct bio_vec *bv, struct page *page, u32 len, u32 offset)
{
	*bv = (struct bio_vec) { page, len, offset };
}

/* The tests' part. */
#define FOLL_WRITE	1
#define FOLL_LONGTERM	2
int pin_user_pages_fast(unsigned long addr, int n, unsigned int flags, struct page **page);
void unpin_user_pages(struct page **page, unsigned long n);

/* Mappings. */
#define VM_SHARED	8
#define VM_DONTCOPY	0x20000
#define VM_DONTEXPAND	0x40000
#define vm_flags_set(vma, flags)	((vma)->vm_flags |= (flags))

struct vm_area_struct {
	unsigned long vm_start, vm_end, vm_pgoff, vm_flags, vm_page_prot;
};

static inline unsigned long vma_pages(const struct vm_area_struct *vma)
{
	return (vma->vm_end - vma->vm_start) / PAGE_SIZE;
}

int remap_pfn_range(struct vm_area_struct *vma, unsigned long addr, unsigned long pfn,
		    unsigned long size, unsigned long prot);
int vm_insert_pages(struct vm_area_struct *vma, unsigned long addr, struct page **page,
		    unsigned long *n);

#endif
