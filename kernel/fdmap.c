// SPDX-License-Identifier: GPL-2.0
/* Registered sockets by descriptor number, see fdmap.h.  All calls under port->mutex. */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "fdmap.h"
#include "sized.h"

#define FDTAB_MIN	64u

static struct pst_fdtab *tab_of(const struct pst_fdmap *map)
{
	return rcu_dereference_protected(map->tab, true);
}

/* Makes room for number @fd (not negative): setting it cannot fail then.  -ENOMEM. */
int pst_fdmap_reserve(struct pst_fdmap *map, int fd)
{
	struct pst_fdtab *old = tab_of(map), *tab;
	u32 n;

	if (old && fd < old->n)
		return 0;
	n = max_t(u32, FDTAB_MIN, roundup_pow_of_two((u32)fd + 1));
	tab = kvzalloc(struct_size(tab, sock, n), PST_GFP_SIZED);
	if (!tab)
		return -ENOMEM;
	tab->n = n;
	if (old)
		memcpy(tab->sock, old->sock, old->n * sizeof(*tab->sock));
	rcu_assign_pointer(map->tab, tab);
	if (old)
		kvfree_rcu(old, rcu);
	return 0;
}

/* Who read the old entry may use it until the end of its RCU section. */
void pst_fdmap_set(struct pst_fdmap *map, int fd, struct pst_sock *ps)
{
	rcu_assign_pointer(tab_of(map)->sock[fd], ps);
}

/* The first socket from number *@fd on, which is updated; NULL: no more. */
struct pst_sock *pst_fdmap_next(struct pst_fdmap *map, int *fd)
{
	const struct pst_fdtab *tab = tab_of(map);

	for (; tab && *fd < tab->n; ++*fd) {
		struct pst_sock *ps = rcu_dereference_protected(tab->sock[*fd], true);

		if (ps)
			return ps;
	}
	return NULL;
}

/* Nobody reads it any more. */
void pst_fdmap_destroy(struct pst_fdmap *map)
{
	kvfree(tab_of(map));
}
