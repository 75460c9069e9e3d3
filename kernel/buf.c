// SPDX-License-Identifier: GPL-2.0
/*
 * Buffer ownership.
 *
 * A buffer is a page, named by its index.  It has one owner at a time:
 *
 *   state   owner                         leaves by
 *   FREE    the region's free list or a   take         -> KERNEL
 *           ring's cache of it            take_for_nic -> NIC
 *   KERNEL  a sync or an upcall, on the   show         -> USER    it is in a slot now
 *           way to somebody else          untake       -> FREE
 *   NIC     fill ring or driver           to_stack     -> STACK   frame injected in place
 *                                         take_back    -> KERNEL  frame copied
 *   STACK   kernel TCP/IP, received       deliver      -> USER    the upcall took it out
 *                                         settle       -> FREE    dropped by the stack
 *   USER    the application, in a slot    claim        -> SENT    TX slot sent
 *           or by index alone             give_back    -> FREE    RX slot released; SENT
 *                                                                 while still in use
 *                                         cite         -> USER    TX slot with KEEP
 *   SENT    kernel TCP/IP until the last  settle       -> FREE
 *           reference goes                unclaim      -> USER    the send was refused
 *   SETTLING  settle or give_back, which  settle       -> FREE, or back where it came
 *           look at the page count just                  from
 *           now                           give_back    -> FREE or SENT
 *
 * Nobody holds two states' rights at once, whichever rings and CPUs are at work:
 *   - the application can name any index at any time, so a buffer is USER only while
 *     it may use it, and what it hands in is taken by compare-and-exchange;
 *   - STACK and SENT, and USER when it is given back, end in one place (decide), through a
 *     state of its own (SETTLING) in which it looks whether the buffer is in use.  The
 *     rivals, deliver, claim and unclaim, are compare-and-exchanges too.
 *
 * On close every buffer falls back to the page allocator with the region, or to the
 * application whose memory it is; pages the stack still refers to live on until it lets go.
 * The next port in that memory finds those SENT.
 *
 * Whether somebody still refers to a page is told by its reference count: a page
 * nobody uses has the same count as two reserved pages, those of buffer 1 and of the
 * last one, which are never handed out.  AF_XDP pins all pages of a region alike, one
 * after the other; while it does, or lets go, the two differ and no page is idle.
 * The application's own memory is judged by extmem.c.
 * A buffer that is not idle when its owner gives it up is parked in a queue of the
 * ring and looked at again by later syncs.  It is in one such queue at most
 * (parked[]), which bounds them.
 *
 * The fast path does not park received buffers: what the upcall delivers belongs
 * to the application, and the page count is looked at when it comes back.
 */
#include <linux/delay.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/log2.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#define UNPIN_TRIES	50	/* of 20 ms, for somebody else to unpin */

#define CREATE_TRACE_POINTS
#include "buf_move.h"
#include "sized.h"

/*
 * AF_XDP pins the first reserved page before the others and the last one after them, and
 * the counts are read the other way round: a pinning that comes in between cannot make
 * up for references to the page.
 */
static __always_inline bool idle(const struct pst_bufs *bufs, u32 idx)
{
	int last, count;

	if (unlikely(bufs->ext)) {
		if (bufs->ext->copy_only)
			return true;
		if (!bufs->ext->device)
			return pst_extmem_idle(bufs->ext, bufs->page[idx]);
	}
	last = page_ref_count(bufs->page[bufs->n - 1]);
	smp_rmb();	/* while AF_XDP pins pages in order, the last is behind ... */
	count = page_ref_count(bufs->page[idx]);
	smp_rmb();	/* ... and the first is ahead of this one */
	return count == last && count == page_ref_count(bufs->page[PST_BUF_BASE]);
}

static int alloc_pages_of(struct pst_bufs *bufs)
{
	u32 i;

	for (i = 0; i < bufs->n; i++) {
		struct page *page = alloc_page(PST_GFP_SIZED | __GFP_ZERO);

		if (!page)
			return -ENOMEM;
		set_page_private(page, i);
		bufs->page[i] = page;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static int alloc_tables(struct pst_bufs *bufs, u32 n)
{
	spin_lock_init(&bufs->lock);
	bufs->n = n;
	bufs->state = kvzalloc(n, PST_GFP_SIZED);
	bufs->parked = kvzalloc(n, PST_GFP_SIZED);
	bufs->nic = kvzalloc(n, PST_GFP_SIZED);
	bufs->free = kvcalloc(n, sizeof(*bufs->free), PST_GFP_SIZED);
	return bufs->state && bufs->parked && bufs->nic && bufs->free ? 0 : -ENOMEM;
}

/* Memory of the application's may have been an earlier port's, from which TCP still sends. */
static bool still_sent(const struct pst_bufs *bufs, u32 idx)
{
	if (!bufs->ext || idle(bufs, idx))
		return false;
	return bufs->ext->device || !pst_extmem_idle_new(bufs->ext, bufs->page[idx]);
}

/* Puts buffers [@from, @to) on the list, the lowest index on top. */
static void list_range(struct pst_bufs *bufs, u32 from, u32 to)
{
	while (to-- > from) {
		if (bufs->state[to] == PST_BUF_USER)
			continue;
		if (unlikely(still_sent(bufs, to))) {
			bufs->state[to] = PST_BUF_SENT;
			continue;
		}
		bufs->state[to] = PST_BUF_FREE;
		bufs->free[bufs->nfree++] = to;
	}
}

/* Rings take runs from the top: each is whole cache lines of state[] and the like. */
static void list_free(struct pst_bufs *bufs)
{
	u32 whole = min_t(u32, SMP_CACHE_BYTES, bufs->n - 1);

	BUILD_BUG_ON(PST_POOL_BATCH % SMP_CACHE_BYTES);
	BUILD_BUG_ON(PST_BUF_FIRST > SMP_CACHE_BYTES);
	bufs->nfree = 0;
	list_range(bufs, PST_BUF_FIRST, whole);
	list_range(bufs, whole, bufs->n - 1);
}

int pst_bufs_init(struct pst_bufs *bufs, u32 n)
{
	int err = alloc_tables(bufs, n);

	if (!err) {
		bufs->page = kvcalloc(n, sizeof(*bufs->page), PST_GFP_SIZED);
		err = bufs->page ? alloc_pages_of(bufs) : -ENOMEM;
	}
	if (err)
		pst_bufs_destroy(bufs);
	else
		list_free(bufs);
	return err;
}

/*
 * AF_XDP may still be letting go of what it pinned for an earlier port, of a device's pages one
 * after the other: until it is through, none of them would be idle.
 */
static void await_unpinning(const struct pst_bufs *bufs)
{
	int tries = UNPIN_TRIES;

	while (bufs->ext->device && tries-- && page_ref_count(bufs->page[PST_BUF_BASE]) !=
					       page_ref_count(bufs->page[bufs->n - 1]))
		msleep(20);
}

/* The buffers are the pages of @ext from number @first on.  Their content stays. */
int pst_bufs_init_ext(struct pst_bufs *bufs, u32 n, struct pst_extmem *ext, u32 first)
{
	int err = alloc_tables(bufs, n);

	bufs->ext = ext;
	bufs->ext_first = first;
	bufs->page = ext->page + first;
	if (err) {
		pst_bufs_destroy(bufs);
		return err;
	}
	await_unpinning(bufs);
	list_free(bufs);
	return 0;
}

/*
 * These are the application's from the start.  Before anything is taken.
 * -ERANGE: no such buffer; -EEXIST: named twice.
 */
int pst_bufs_keep(struct pst_bufs *bufs, const u32 *keep, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++) {
		if (keep[i] < PST_BUF_FIRST || keep[i] >= bufs->n - 1)
			return -ERANGE;
		if (bufs->state[keep[i]] == PST_BUF_USER)
			return -EEXIST;
		bufs->state[keep[i]] = PST_BUF_USER;
	}
	list_free(bufs);
	return 0;
}

void pst_bufs_destroy(struct pst_bufs *bufs)
{
	u32 i;

	if (!bufs->ext) {
		for (i = 0; bufs->page && i < bufs->n && bufs->page[i]; i++) {
			set_page_private(bufs->page[i], 0);
			put_page(bufs->page[i]);
		}
		kvfree(bufs->page);
	}
	kvfree(bufs->state);
	kvfree(bufs->parked);
	kvfree(bufs->nic);
	kvfree(bufs->free);
	memset(bufs, 0, sizeof(*bufs));
}

/* Buffers by state, by looking at each: exact when nothing moves. */
void pst_bufs_count(struct pst_bufs *bufs, u32 *count)
{
	u32 i;

	memset(count, 0, PST_BUF_STATES * sizeof(*count));
	for (i = 0; i < bufs->n; i++)
		count[READ_ONCE(bufs->state[i])]++;
}

/* Bytes that a pool takes: any of the region's @n buffers may be parked in it. */
u64 pst_pool_size(u32 n)
{
	return roundup_pow_of_two(n) * sizeof(u32);
}

int pst_pool_init(struct pst_pool *pool, struct pst_bufs *bufs)
{
	u32 size = roundup_pow_of_two(bufs->n);

	pool->queue = kvzalloc(pst_pool_size(bufs->n), PST_GFP_SIZED);
	if (!pool->queue)
		return -ENOMEM;
	pool->bufs = bufs;
	pool->mask = size - 1;
	return 0;
}

void pst_pool_destroy(struct pst_pool *pool)
{
	kvfree(pool->queue);
}

/* From the region's list into the cache, which is empty. */
void pst_pool_fill(struct pst_pool *pool)
{
	struct pst_bufs *bufs = pool->bufs;
	u32 n;

	spin_lock(&bufs->lock);
	n = min_t(u32, PST_POOL_BATCH, bufs->nfree);
	bufs->nfree -= n;
	memcpy(pool->cache, bufs->free + bufs->nfree, n * sizeof(u32));
	spin_unlock(&bufs->lock);
	pool->n = n;
}

static void cache_spill(struct pst_pool *pool)
{
	struct pst_bufs *bufs = pool->bufs;

	pool->n -= PST_POOL_BATCH;
	spin_lock(&bufs->lock);
	if (WARN_ON_ONCE(bufs->nfree + PST_POOL_BATCH > bufs->n))
		bufs->nfree = 0;	/* never: a buffer would be free twice */
	memcpy(bufs->free + bufs->nfree, pool->cache + pool->n,
	       PST_POOL_BATCH * sizeof(u32));
	bufs->nfree += PST_POOL_BATCH;
	spin_unlock(&bufs->lock);
}

/*
 * Fresh buffers for @want TX slots, as far as there are any that the NIC does not
 * need more: below a quarter of the mark answers wait until peers acknowledge.
 */
u32 pst_buf_take_many(struct pst_pool *pool, u32 *buf, u32 want)
{
	u32 n = 0;

	if (unlikely(pst_pool_level(pool) <= pool->bufs->low))
		pst_pool_reap(pool, 1024);
	while (n < want && pst_pool_level(pool) > pool->bufs->low / 4) {
		buf[n] = pst_buf_take(pool);
		if (buf[n] == PST_BUF_NONE)
			break;
		n++;
	}
	return n;
}

static __always_inline void put_free(struct pst_pool *pool, u32 idx)
{
	pst_buf_set_state(pool->bufs, idx, PST_BUF_FREE);
	if (unlikely(pool->n == PST_POOL_CACHE))
		cache_spill(pool);
	pool->cache[pool->n++] = idx;
}

/* KERNEL -> FREE: taken, and never shown to anybody who took a reference. */
void pst_buf_untake(struct pst_pool *pool, u32 idx)
{
	put_free(pool, idx);
}

void pst_buf_untake_many(struct pst_pool *pool, const u32 *buf, u32 n)
{
	while (n)
		put_free(pool, buf[--n]);
}

/*
 * USER -> SENT for an index that came from the application, any number at all.
 * On success the caller holds a page reference, so that nobody takes the buffer
 * for idle before the stack has its own; it ends with put_page() and settle().
 * -ERANGE: no such buffer.  -EPERM: not the application's.
 */
int pst_buf_claim(struct pst_bufs *bufs, u32 idx)
{
	if (unlikely(idx < PST_BUF_FIRST || idx >= bufs->n - 1))
		return -ERANGE;
	idx = array_index_nospec(idx, bufs->n);
	if (unlikely(READ_ONCE(bufs->state[idx]) != PST_BUF_USER))
		return -EPERM;
	get_page(bufs->page[idx]);
	if (unlikely(!pst_buf_move(bufs, idx, PST_BUF_USER, PST_BUF_SENT))) {
		put_page(bufs->page[idx]);
		return -EPERM;
	}
	return 0;
}

/* SENT -> USER: the application gets back what could not be sent. */
void pst_buf_unclaim(struct pst_bufs *bufs, u32 idx)
{
	/* A settle that looks at it right now finds it in use and puts SENT back. */
	while (!pst_buf_move(bufs, idx, PST_BUF_SENT, PST_BUF_USER))
		cpu_relax();
	put_page(bufs->page[idx]);
}

/* As claim, but the buffer stays the application's. */
int pst_buf_cite(struct pst_bufs *bufs, u32 idx)
{
	if (unlikely(idx < PST_BUF_FIRST || idx >= bufs->n - 1))
		return -ERANGE;
	idx = array_index_nospec(idx, bufs->n);
	if (unlikely(READ_ONCE(bufs->state[idx]) != PST_BUF_USER))
		return -EPERM;
	get_page(bufs->page[idx]);
	/* Given back in between?  Then whoever took it may not have seen our reference. */
	smp_mb__after_atomic();
	if (unlikely(READ_ONCE(bufs->state[idx]) != PST_BUF_USER)) {
		put_page(bufs->page[idx]);
		return -EPERM;
	}
	return 0;
}

static __always_inline void park(struct pst_pool *pool, u32 idx)
{
	if (xchg(&pool->bufs->parked[idx], 1))
		return;
	pool->queue[pool->tail++ & pool->mask] = idx;
}

/* What was not idle when the port was made comes back as what it has sent itself. */
void pst_pool_adopt_busy(struct pst_pool *pool)
{
	u32 i;

	for (i = PST_BUF_FIRST; i < pool->bufs->n - 1; i++)
		if (pst_buf_state(pool->bufs, i) == PST_BUF_SENT)
			park(pool, i);
}

/* As settle, for a buffer that somebody surely refers to. */
void pst_buf_park(struct pst_pool *pool, u32 idx)
{
	park(pool, idx);
}

/*
 * SETTLING ends: FREE if nobody refers to the buffer, else @busy, for a later reap.  True
 * unless it was parked.  (What the NIC gives back to be given to it again is untaken: that
 * pays for nothing.)
 */
static __always_inline bool decide(struct pst_pool *pool, u32 idx, enum pst_buf_state busy)
{
	if (likely(idle(pool->bufs, idx))) {
		put_free(pool, idx);
		pool->spared = false;
		return true;
	}
	pst_buf_set_state(pool->bufs, idx, busy);
	park(pool, idx);
	return false;
}

/*
 * USER -> FREE for an index that came from the application, as claim and settle in
 * one; SENT while the stack, or a packet capture, still refers to it.
 */
int pst_buf_give_back(struct pst_pool *pool, u32 idx)
{
	struct pst_bufs *bufs = pool->bufs;

	if (unlikely(idx < PST_BUF_FIRST || idx >= bufs->n - 1))
		return -ERANGE;
	idx = array_index_nospec(idx, bufs->n);
	if (unlikely(!pst_buf_move(bufs, idx, PST_BUF_USER, PST_BUF_SETTLING)))
		return -EPERM;
	decide(pool, idx, PST_BUF_SENT);
	return 0;
}

/*
 * STACK or SENT -> FREE, now if nobody refers to it, else by a later reap.  In another
 * state it has moved on and is somebody else's business.  True unless it was parked.
 */
static __always_inline bool settle(struct pst_pool *pool, u32 idx)
{
	struct pst_bufs *bufs = pool->bufs;
	u8 from = READ_ONCE(bufs->state[idx]);

	if (unlikely(from != PST_BUF_STACK && from != PST_BUF_SENT))
		return true;
	if (unlikely(!pst_buf_move(bufs, idx, from, PST_BUF_SETTLING)))
		return true;
	return decide(pool, idx, from);
}

void pst_buf_settle(struct pst_pool *pool, u32 idx)
{
	settle(pool, idx);
}

/*
 * A parked buffer may have moved on since: delivered, perhaps claimed and parked
 * again.  The mark is cleared before the state is read, so whoever parks it anew
 * either finds the mark and leaves the buffer to us, or queues it again.
 */
static bool reap_one(struct pst_pool *pool, u32 idx)
{
	smp_store_mb(pool->bufs->parked[idx], 0);	/* pairs with pst_buf_park() */
	return settle(pool, idx);
}

/*
 * Look at parked buffers, oldest first.  They mostly come back in order; some
 * peers acknowledge late, so a few busy ones are passed over, not many.
 */
void pst_pool_reap(struct pst_pool *pool, u32 budget)
{
	u32 left = pool->tail - pool->head;
	u32 busy = 0;

	while (left-- && budget-- && busy < 8)
		if (!reap_one(pool, pool->queue[pool->head++ & pool->mask]))
			busy++;
}

/* NIC -> FREE for all that NIC @nic held, after AF_XDP has let go of it. */
void pst_bufs_from_nic(struct pst_bufs *bufs, u8 nic)
{
	u32 idx;

	for (idx = PST_BUF_FIRST; idx < bufs->n - 1; idx++) {
		/* State before owner; pairs with set_state(). */
		if (smp_load_acquire(&bufs->state[idx]) != PST_BUF_NIC ||
		    bufs->nic[idx] != nic)
			continue;
		spin_lock_bh(&bufs->lock);
		pst_buf_set_state(bufs, idx, PST_BUF_FREE);
		bufs->free[bufs->nfree++] = idx;
		spin_unlock_bh(&bufs->lock);
	}
}
