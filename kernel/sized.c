// SPDX-License-Identifier: GPL-2.0
/*
 * sized: what a request may take of the system's memory.
 *
 * A wish that cannot be fulfilled must not squeeze everybody else first, and one that
 * can leaves them a share: the OOM killer cannot see whose the memory is.  Several may
 * come at a time, so each claims what it is about to allocate, for as long as that takes.
 * Meanwhile its pages may count twice: one that would do without the others' claims waits
 * for these to end.
 *
 * What is available includes what only user space can have (ZONE_MOVABLE); where that is
 * most of it, a claim may still be granted that leaves the kernel too little.
 */
#include <linux/mm.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "sized.h"

#define CLAIM_WAIT	HZ	/* pages are zeroed within that, or somebody is in no hurry */

static DEFINE_SPINLOCK(lock);
static DECLARE_WAIT_QUEUE_HEAD(ended);	/* a claim has */
static u64 claimed;		/* pages */

/*
 * What a claim of @pages leaves to others: an eighth of memory, 1 GiB at most, and no more
 * than eight times what it takes itself; where memory is short small ones are not why.
 */
static u64 others_share(u64 pages)
{
	return min3((u64)totalram_pages() / 8, 1ull << (30 - PAGE_SHIFT), 8 * pages);
}

/* 0: claimed.  -EAGAIN: when other claims have ended. */
static int try_claim(u64 pages)
{
	u64 needed = pages + others_share(pages);
	u64 available;
	int err = 0;

	spin_lock(&lock);
	/* Here, or it could be from before a claim that has ended meanwhile. */
	available = max(si_mem_available(), 0l);
	if (claimed + needed <= available)
		claimed += pages;
	else
		err = needed <= available ? -EAGAIN : -ENOMEM;
	spin_unlock(&lock);
	return err;
}

/*
 * May @pages be allocated?  They may, until pst_unclaim_pages(): true.  -ENOMEM is what
 * the request gets otherwise.  May sleep.
 */
bool pst_claim_pages(u64 pages)
{
	int err = -ENOMEM;

	wait_event_killable_timeout(ended, (err = try_claim(pages)) != -EAGAIN, CLAIM_WAIT);
	return !err;
}

void pst_unclaim_pages(u64 pages)
{
	spin_lock(&lock);
	claimed -= pages;
	spin_unlock(&lock);
	wake_up_all(&ended);
}
