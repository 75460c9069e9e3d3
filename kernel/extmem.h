/* SPDX-License-Identifier: GPL-2.0 */
/* Memory that the application supplied. */
#ifndef PST_EXTMEM_H
#define PST_EXTMEM_H

#include <linux/list.h>
#include <linux/types.h>

struct folio;
struct mm_struct;
struct page;

/* A buffer that is never handed out: who pins all has pinned it, and few others refer to it. */
struct pst_mark {
	struct folio *folio;
	int pages;			/* of the memory that are in it */
	int bufs;			/* and how many of those are buffers */
};

struct pst_extmem {
	struct list_head node;		/* of all there are */
	struct mm_struct *mm;		/* where it is mapped at addr; the struct alone is held */
	unsigned long addr;
	u32 npages;
	bool device;			/* a device's pages, not the page allocator's */
	bool copy_only;			/* not for NICs or TCP to refer to */
	struct page **page;		/* [npages] pinned */
	struct pst_mark first, last;	/* of the buffers */
	u32 bits;			/* log2 of the entries of index[] */
	u32 *index;			/* hash of a page -> its number + 1, 0 = empty */
	unsigned long *unlisted;	/* by page: see pst_extmem_idle_new() */
	atomic_t nunlisted;
};

struct pst_extmem *pst_extmem_pin(u64 addr, u64 size);
void pst_extmem_unpin(struct pst_extmem *ext);
u32 pst_extmem_find(const struct pst_extmem *ext, const struct page *page);
void pst_extmem_set_bufs(struct pst_extmem *ext, u32 first);
bool pst_extmem_idle(struct pst_extmem *ext, struct page *page);
bool pst_extmem_idle_new(struct pst_extmem *ext, struct page *page);
bool pst_extmem_in_use(struct pst_extmem *ext, u32 n);
int pst_extmem_in_mm(struct pst_extmem *ext, int (*fn)(void *arg), void *arg);

#endif /* PST_EXTMEM_H */
