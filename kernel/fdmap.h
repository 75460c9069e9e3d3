/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Registered sockets by descriptor number: an array, as the process's own table is, since
 * every slot that is sent looks here.  Changed under port->mutex, read under RCU; it grows
 * to the highest number ever registered, in powers of two, and never shrinks.
 */
#ifndef PST_FDMAP_H
#define PST_FDMAP_H

#include <linux/nospec.h>
#include <linux/rcupdate.h>
#include <linux/types.h>

struct pst_sock;

struct pst_fdtab {
	struct rcu_head rcu;
	u32 n;
	struct pst_sock __rcu *sock[];
};

struct pst_fdmap {
	struct pst_fdtab __rcu *tab;	/* NULL until the first socket */
};

int pst_fdmap_reserve(struct pst_fdmap *map, int fd);
void pst_fdmap_set(struct pst_fdmap *map, int fd, struct pst_sock *ps);
struct pst_sock *pst_fdmap_next(struct pst_fdmap *map, int *fd);
void pst_fdmap_destroy(struct pst_fdmap *map);

/* Under RCU, for any number at all; NULL if there is none. */
static inline struct pst_sock *pst_fdmap_get(const struct pst_fdmap *map, int fd)
{
	const struct pst_fdtab *tab = rcu_dereference_check(map->tab, true);

	if (unlikely(!tab || (u32)fd >= tab->n))
		return NULL;
	return rcu_dereference_check(tab->sock[array_index_nospec(fd, tab->n)], true);
}

#endif /* PST_FDMAP_H */
