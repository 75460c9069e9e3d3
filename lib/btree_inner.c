// SPDX-License-Identifier: BSD-2-Clause
/*
 * The nodes above the leaves: see btree.h.
 *
 *	            low  0 | 500 | 900		level 2
 *	                /      |      \
 *	 low 0|40|300      500|777      900|..	level 1, children are leaves
 *
 * low[i] is the lowest of child i, exactly; so a node's low[0] is that of its
 * entry in the parent, and that of the leftmost nodes is 0.
 *
 * Insert divides full nodes on the way down, and so never has to come back up.
 * Remove joins a node that gets sparse with a neighbour if both fit in one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "btree.h"

#define FAN	64

union child {
	struct nmi_node *node;
	uint32_t leaf;
};

struct nmi_node {
	unsigned int n;		/* children, at least 1 */
	uint64_t low[FAN];
	union child child[FAN];
};

static struct nmi_node *take_spare(struct nmi_inner *in)
{
	struct nmi_node *node = in->spare;

	in->spare = node->child[0].node;
	in->nr_spare--;
	node->n = 0;
	return node;
}

static int add_spare(struct nmi_inner *in)
{
	struct nmi_node *node = malloc(sizeof(*node));

	if (!node)
		return -ENOMEM;
	node->child[0].node = in->spare;
	in->spare = node;
	in->nr_spare++;
	return 0;
}

/* One node of each level may be divided, and there may be a new root. */
int nmi_inner_reserve(struct nmi_inner *in)
{
	while (in->nr_spare < in->depth + 1)
		if (add_spare(in))
			return -ENOMEM;
	return 0;
}

/* The child for @key.  No branch depends on a comparison. */
static unsigned int child_for(const struct nmi_node *node, uint64_t key)
{
	unsigned int i = 0, n = node->n;

	while (n > 1) {
		unsigned int half = n / 2;

		i += node->low[i + half] <= key ? half : 0;
		n -= half;
	}
	return i;
}

uint32_t nmi_inner_find(const struct nmi_inner *in, uint64_t key)
{
	const struct nmi_node *node = in->root;
	unsigned int level;

	for (level = in->depth; level > 1; level--)
		node = node->child[child_for(node, key)].node;
	return node->child[child_for(node, key)].leaf;
}

static void put_child(struct nmi_node *node, unsigned int i, uint64_t low,
		      union child child)
{
	unsigned int after = node->n++ - i;

	memmove(&node->low[i + 1], &node->low[i], after * sizeof(node->low[0]));
	memmove(&node->child[i + 1], &node->child[i], after * sizeof(node->child[0]));
	node->low[i] = low;
	node->child[i] = child;
}

static void drop_child(struct nmi_node *node, unsigned int i)
{
	unsigned int after = --node->n - i;

	memmove(&node->low[i], &node->low[i + 1], after * sizeof(node->low[0]));
	memmove(&node->child[i], &node->child[i + 1], after * sizeof(node->child[0]));
}

/* Move the children of @from that begin with number @first to the end of @to. */
static void move_children(struct nmi_node *to, struct nmi_node *from, unsigned int first)
{
	unsigned int n = from->n - first;

	memcpy(&to->low[to->n], &from->low[first], n * sizeof(to->low[0]));
	memcpy(&to->child[to->n], &from->child[first], n * sizeof(to->child[0]));
	to->n += n;
	from->n = first;
}

/* Divide child @i because of @low; unevenly at its end, for ascending keys. */
static void divide_child(struct nmi_inner *in, struct nmi_node *parent,
			 unsigned int i, uint64_t low)
{
	struct nmi_node *left = parent->child[i].node;
	struct nmi_node *right = take_spare(in);

	move_children(right, left, low > left->low[FAN - 1] ? FAN - 1 : FAN / 2);
	put_child(parent, i + 1, right->low[0], (union child){ .node = right });
}

static void grow(struct nmi_inner *in)
{
	struct nmi_node *root = take_spare(in);

	put_child(root, 0, in->root->low[0], (union child){ .node = in->root });
	in->root = root;
	in->depth++;
}

void nmi_inner_insert(struct nmi_inner *in, uint64_t low, uint32_t leaf)
{
	struct nmi_node *node;
	unsigned int level, i;

	if (in->root->n == FAN)
		grow(in);
	node = in->root;
	for (level = in->depth; level > 1; level--) {
		i = child_for(node, low);
		if (node->child[i].node->n == FAN) {
			divide_child(in, node, i, low);
			i = child_for(node, low);
		}
		node = node->child[i].node;
	}
	put_child(node, child_for(node, low) + 1, low, (union child){ .leaf = leaf });
}

/* Make one of children @i and @i + 1, if there are both and they fit. */
static void join_children(struct nmi_node *parent, unsigned int i)
{
	struct nmi_node *left, *right;

	if (i + 1 >= parent->n)
		return;
	left = parent->child[i].node;
	right = parent->child[i + 1].node;
	if (left->n + right->n > FAN)
		return;
	move_children(left, right, 0);
	drop_child(parent, i + 1);
	free(right);
}

static void node_remove(struct nmi_node *node, unsigned int level, uint64_t low)
{
	unsigned int i = child_for(node, low);
	struct nmi_node *child;

	if (level == 1) {
		drop_child(node, i);
		return;
	}
	child = node->child[i].node;
	node_remove(child, level - 1, low);
	if (!child->n) {
		free(child);
		drop_child(node, i);
		return;
	}
	node->low[i] = child->low[0];
	if (child->n < FAN / 4) {
		join_children(node, i);
		if (i)
			join_children(node, i - 1);
	}
}

void nmi_inner_remove(struct nmi_inner *in, uint64_t low)
{
	struct nmi_node *root;

	node_remove(in->root, in->depth, low);
	while (in->depth > 1 && in->root->n == 1) {
		root = in->root;
		in->root = root->child[0].node;
		in->depth--;
		free(root);
	}
}

int nmi_inner_init(struct nmi_inner *in, uint32_t leaf)
{
	memset(in, 0, sizeof(*in));
	if (add_spare(in))
		return -ENOMEM;
	in->root = take_spare(in);
	in->depth = 1;
	put_child(in->root, 0, 0, (union child){ .leaf = leaf });
	return 0;
}

static void free_nodes(struct nmi_node *node, unsigned int level)
{
	unsigned int i;

	for (i = 0; level > 1 && i < node->n; i++)
		free_nodes(node->child[i].node, level - 1);
	free(node);
}

void nmi_inner_free(struct nmi_inner *in)
{
	if (in->root)
		free_nodes(in->root, in->depth);
	while (in->spare)
		free(take_spare(in));
}
