// SPDX-License-Identifier: GPL-2.0
/*
 * sized: what a request may take of the system's memory.
 *
 * A wish that cannot be fulfilled must not squeeze everybody else first, and one that
 * can leaves them a share: the OOM killer cannot see whose the memory is.  Several may
 * come at a time, so each claims what it is about to allocate, for as long as that takes.
 * Meanwhile its pages may count twice, and others be refused early rather than late.
 */
#include <linux/mm.h>
#include <linux/spinlock.h>

#include "sized.h"

static DEFINE_SPINLOCK(lock);
static u64 claimed;		/* pages */

/*
 * May @pages be allocated?  They may, until pst_unclaim_pages(): true.  -ENOMEM is what
 * the request gets otherwise.
 */
bool pst_claim_pages(u64 pages)
{
	u64 share = min(totalram_pages() / 8, 1ul << (30 - PAGE_SHIFT));
	u64 available = max(si_mem_available(), 0l);
	bool ok;

	spin_lock(&lock);
	ok = claimed + pages + share <= available;
	if (ok)
		claimed += pages;
	spin_unlock(&lock);
	return ok;
}

void pst_unclaim_pages(u64 pages)
{
	spin_lock(&lock);
	claimed -= pages;
	spin_unlock(&lock);
}
