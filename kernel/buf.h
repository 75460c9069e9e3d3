/* SPDX-License-Identifier: GPL-2.0 */
/* Who owns a buffer.  The state table is at the head of buf.c. */
#ifndef PST_BUF_H
#define PST_BUF_H

#include <linux/cache.h>
#include <linux/mm.h>
#include <linux/spinlock.h>
#include "extmem.h"

enum pst_buf_state {
	PST_BUF_RESERVED,	/* never handed out */
	PST_BUF_FREE,
	PST_BUF_NIC,
	PST_BUF_STACK,
	PST_BUF_USER,
	PST_BUF_SENT,
	PST_BUF_KERNEL,
	PST_BUF_SETTLING,
	PST_BUF_STATES,
};

/*
 * Index 0 means "no buffer".  1 and the last one are nobody's: their page counts show
 * what an idle page's is, see idle() in buf.c.
 */
#define PST_BUF_NONE	0
#define PST_BUF_BASE	1
#define PST_BUF_FIRST	2
#define PST_BUFS_RESERVED 3

/* One buffer is one page: a page count then tells about one buffer only. */
#define PST_BUF_SIZE	PAGE_SIZE

/* All buffers of a region. */
struct pst_bufs {
	u32 n;			/* number of buffers, reserved ones included */
	u32 low;		/* low-water mark, see pst_pool_short() */
	struct page **page;	/* [n]; ext's if there is one */
	struct pst_extmem *ext;	/* the application's memory, or NULL */
	u32 ext_first;		/* number of buffer 0's page in it */
	u8 *state;		/* [n] enum pst_buf_state */
	u8 *parked;		/* [n] 1 while in some pool's parked queue */
	u8 *nic;		/* [n] which NIC holds it, in state NIC */

	/* Written by all rings, once per PST_POOL_BATCH buffers; the above is only read. */
	spinlock_t lock ____cacheline_aligned_in_smp;	/* protects free[] and nfree */
	u32 nfree;
	u32 *free;		/* [n] stack of FREE buffers */
};

#define PST_POOL_CACHE	256
#define PST_POOL_BATCH	128

/*
 * A ring's share: a cache of FREE buffers, and the buffers that wait for the
 * kernel's TCP/IP to drop its references.  Protected by the ring's lock.
 */
struct pst_pool {
	struct pst_bufs *bufs;
	u32 n;				/* buffers in cache[] */
	u32 mask;			/* size of queue[] - 1 */
	u32 head, tail;			/* parked: queue[head..tail) */
	bool spared;			/* one of the NIC's reserve was given, and none has come back since */
	u32 *queue;
	u32 cache[PST_POOL_CACHE];
};

int pst_bufs_init(struct pst_bufs *bufs, u32 n);
int pst_bufs_init_ext(struct pst_bufs *bufs, u32 n, struct pst_extmem *ext, u32 first);
int pst_bufs_keep(struct pst_bufs *bufs, const u32 *keep, u32 n);
void pst_bufs_destroy(struct pst_bufs *bufs);
void pst_bufs_count(struct pst_bufs *bufs, u32 *count);

u64 pst_pool_size(u32 n);
int pst_pool_init(struct pst_pool *pool, struct pst_bufs *bufs);
void pst_pool_destroy(struct pst_pool *pool);
void pst_pool_fill(struct pst_pool *pool);
void pst_pool_adopt_busy(struct pst_pool *pool);

void pst_buf_untake(struct pst_pool *pool, u32 idx);
u32 pst_buf_take_many(struct pst_pool *pool, u32 *buf, u32 want);
void pst_buf_untake_many(struct pst_pool *pool, const u32 *buf, u32 n);
int pst_buf_claim(struct pst_bufs *bufs, u32 idx);
void pst_buf_unclaim(struct pst_bufs *bufs, u32 idx);
int pst_buf_cite(struct pst_bufs *bufs, u32 idx);
int pst_buf_give_back(struct pst_pool *pool, u32 idx);
void pst_buf_settle(struct pst_pool *pool, u32 idx);
void pst_buf_park(struct pst_pool *pool, u32 idx);
void pst_pool_reap(struct pst_pool *pool, u32 budget);
void pst_bufs_from_nic(struct pst_bufs *bufs, u8 nic);

static inline enum pst_buf_state pst_buf_state(const struct pst_bufs *bufs, u32 idx)
{
	return READ_ONCE(bufs->state[idx]);
}

static inline void *pst_buf_addr(const struct pst_bufs *bufs, u32 idx)
{
	return page_address(bufs->page[idx]);
}

/*
 * Index of a page, PST_BUF_NONE if it is not one of ours.  page->private of
 * any page may hold anything, so the answer is checked against our own table.
 */
static inline u32 pst_buf_of_page(const struct pst_bufs *bufs, const struct page *page)
{
	unsigned long idx;

	if (unlikely(!page))	/* memory of a device, not of ours */
		return PST_BUF_NONE;
	if (unlikely(bufs->ext))
		idx = (unsigned long)pst_extmem_find(bufs->ext, page) - bufs->ext_first;
	else
		idx = page_private(page);
	if (idx < bufs->n && bufs->page[idx] == page)
		return idx;
	return PST_BUF_NONE;
}

/* Nobody but us and the application may refer to these buffers. */
static inline bool pst_bufs_copy_only(const struct pst_bufs *bufs)
{
	return unlikely(bufs->ext) && bufs->ext->copy_only;
}

/* FREE buffers at hand; buffers cached by other rings do not count. */
static inline u32 pst_pool_level(const struct pst_pool *pool)
{
	return READ_ONCE(pool->bufs->nfree) + pool->n;
}

/* Below low: frames are copied, their buffers go back to the NIC at once. */
static inline bool pst_pool_low(const struct pst_pool *pool)
{
	return pst_pool_level(pool) < pool->bufs->low;
}

/* Below half of it: none is given to an application that has slots to release. */
static inline bool pst_pool_short(const struct pst_pool *pool)
{
	return pst_pool_level(pool) < pool->bufs->low / 2;
}

/* What is left is the NIC's, or the host would be deaf. */
static inline bool pst_pool_reserved(const struct pst_pool *pool)
{
	return pst_pool_level(pool) <= pool->bufs->low / 4;
}

#endif /* PST_BUF_H */
