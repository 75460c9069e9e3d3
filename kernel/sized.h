/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PST_SIZED_H
#define PST_SIZED_H

#include <linux/mm.h>

/* For memory that a request sizes: the request fails, nobody is killed for its sake. */
#define PST_GFP_SIZED	(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

bool pst_claim_pages(u64 pages);
void pst_unclaim_pages(u64 pages);

#endif
