/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts fences, those of paste_pm_persist() among them, for a test that is linked with --wrap of
 * both functions.
 */
#ifndef FENCES_H
#define FENCES_H

#include <paste_pm.h>

static unsigned int fences;

void __real_paste_pm_fence(void);
void __wrap_paste_pm_fence(void);
void __real_paste_pm_persist(const void *p, size_t len);
void __wrap_paste_pm_persist(const void *p, size_t len);

void __wrap_paste_pm_fence(void)
{
	fences++;
	__real_paste_pm_fence();
}

void __wrap_paste_pm_persist(const void *p, size_t len)
{
	fences++;
	__real_paste_pm_persist(p, len);
}

#endif /* FENCES_H */
