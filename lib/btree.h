/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The nodes above the leaves of a persistent tree: a B+tree in DRAM from the
 * lowest key a leaf may hold to the leaf's number.
 *
 * Ranges of leaves border on each other and the first one begins with 0, so every
 * key has a leaf: that with the greatest low not above it.
 */
#ifndef _LIB_BTREE_H_
#define _LIB_BTREE_H_

#include <stdint.h>

struct nmi_node;

struct nmi_inner {
	struct nmi_node *root;
	unsigned int depth;	/* levels; those of the lowest lead to leaves */
	struct nmi_node *spare;	/* list of nodes for the next insert */
	unsigned int nr_spare;
};

/* An index of @leaf alone, with low 0.  Errors: -ENOMEM. */
int nmi_inner_init(struct nmi_inner *in, uint32_t leaf);
void nmi_inner_free(struct nmi_inner *in);

/* The leaf for @key. */
uint32_t nmi_inner_find(const struct nmi_inner *in, uint64_t key);

/* Make sure that the next insert has the nodes it may need.  Errors: -ENOMEM. */
int nmi_inner_reserve(struct nmi_inner *in);

/* Add @leaf, whose @low is not there yet.  nmi_inner_reserve() comes before. */
void nmi_inner_insert(struct nmi_inner *in, uint64_t low, uint32_t leaf);

/* Take the leaf with @low, which is there and not 0, out. */
void nmi_inner_remove(struct nmi_inner *in, uint64_t low);

#endif /* _LIB_BTREE_H_ */
