/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists. */
#ifndef _MOCK_LIST_H_
#define _MOCK_LIST_H_

#include <linux/types.h>

struct list_head { struct list_head *next, *prev; };

#define LIST_HEAD(l)	struct list_head l = { &(l), &(l) }

static inline void INIT_LIST_HEAD(struct list_head *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list_head *l) { return l->next == l; }

static inline void list_add_tail(struct list_head *n, struct list_head *l)
{
	n->next = l;
	n->prev = l->prev;
	l->prev->next = n;
	l->prev = n;
}

static inline void list_add(struct list_head *n, struct list_head *l) { list_add_tail(n, l->next); }

static inline void list_del(struct list_head *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	n->next = n->prev = NULL;
}

static inline void list_splice_init(struct list_head *from, struct list_head *to)
{
	if (list_empty(from))
		return;
	from->prev->next = to->next;
	to->next->prev = from->prev;
	from->next->prev = to;
	to->next = from->next;
	INIT_LIST_HEAD(from);
}

#define list_for_each_entry(p, l, m)						\
	for (p = container_of((l)->next, typeof(*p), m); &p->m != (l);		\
	     p = container_of(p->m.next, typeof(*p), m))
#define list_for_each_entry_safe(p, q, l, m)					\
	for (p = container_of((l)->next, typeof(*p), m),			\
	     q = container_of(p->m.next, typeof(*p), m); &p->m != (l);		\
	     p = q, q = container_of(p->m.next, typeof(*p), m))
#define list_first_entry(l, type, m)	container_of((l)->next, type, m)
#define list_first_entry_or_null(l, type, m) (list_empty(l) ? NULL : list_first_entry(l, type, m))

#endif
