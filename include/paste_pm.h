/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stores to persistent memory, and when they are durable.
 *
 * A store to mapped persistent memory reaches the CPU's cache first.  It may
 * become durable at any time from then on, and has to be only after a flush of
 * its cache line and a later fence:
 *
 *	paste_pm_write(p, ...)	in the cache; perhaps durable, perhaps not
 *	paste_pm_flush(p, ...)	on its way
 *	paste_pm_fence()	durable: everything this thread flushed before
 *
 * Flush and fence are two verbs so that many flushes share one fence.
 *
 * What a crash leaves, and all that may be relied on: every 64-byte line,
 * independently of the others, holds some prefix of the stores made to it, and
 * at least those that were flushed before the last fence.  A store of an
 * aligned 8 byte word is there or not there; nothing larger is atomic, and the
 * lines are in no order.  So what validates (a checksum, a pointer) goes into
 * the line of what it validates, after it, or is stored after a fence.
 *
 * All of it applies to one thread: a fence does not wait for what another
 * thread has flushed.  Nothing here can fail.  The functions work on any
 * memory; on memory that is not persistent they only cost time.
 */
#ifndef _PASTE_PM_H_
#define _PASTE_PM_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that are flushed together. */
#define PASTE_PM_LINE	64

/*
 * Copy @len bytes by ordinary stores in ascending order, aligned 8 byte words
 * where the destination has them.  Not durable before flush and fence.  The
 * ranges do not overlap.
 */
void paste_pm_write(void *dst, const void *src, size_t len);

/*
 * Store one word atomically and after all stores before it (release).  @dst is
 * 8 byte aligned.  Not durable before flush and fence.
 */
void paste_pm_store64(uint64_t *dst, uint64_t v);

/* As paste_pm_write(), of zeros. */
void paste_pm_zero(void *dst, size_t len);

/*
 * Start to write back the lines that [@p, @p + @len) touches, with every store
 * made to them so far.  Done after a fence.
 */
void paste_pm_flush(const void *p, size_t len);

/* Wait until everything this thread has flushed, or copied by _nt, is durable. */
void paste_pm_fence(void);

/* paste_pm_flush() and paste_pm_fence(). */
void paste_pm_persist(const void *p, size_t len);

/*
 * Copy @len bytes past the cache: durable after a fence, without a flush.  The
 * words arrive in any order.  For data that will not be read soon.
 */
void paste_pm_copy_nt(void *dst, const void *src, size_t len);

/*
 * How lines are flushed: "clwb", "clflushopt", "clflush", "eadr" (not at all)
 * or "none" (an architecture this file has no instructions for: fences order
 * stores, and nothing is promised about durability).  A constant string.
 */
const char *paste_pm_method(void);

/*
 * Say that the platform writes its caches back when power fails (eADR): flushes
 * become nothing and fences remain.  Off until called; not to be called while
 * another thread uses these functions.
 */
void paste_pm_set_eadr(bool on);

/*
 * Make each fence take @ns nanoseconds longer, by spinning, to imitate slower
 * memory in experiments.  0, the default, takes nothing.
 */
void paste_pm_set_latency(unsigned int ns);

#ifdef __cplusplus
}
#endif

#endif /* _PASTE_PM_H_ */
