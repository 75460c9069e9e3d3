/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PST_DEFERRED_H
#define PST_DEFERRED_H

void pst_deferred_free(void);
int pst_deferred_init(void);
void pst_deferred_exit(void);

#endif
