// SPDX-License-Identifier: BSD-2-Clause
/* See mock.h. */
#include <stdio.h>
#include <stdlib.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "test.h"

struct mock mock;
struct net mock_net;
struct nsproxy mock_nsproxy = { &mock_net };
struct task_struct mock_task = { .nsproxy = &mock_nsproxy };
unsigned long jiffies;
int mock_bit_wait;
void (*mock_meanwhile)(void);
void (*mock_rtnl)(void);

static unsigned long pfn, pfn_gap;

int mock_setup(void **state)
{
	(void)state;
	memset(&mock, 0, sizeof(mock));
	mock_net.refs = 0;
	mock_user_reset();
	mock_pfn_gap(1);
	return 0;
}

int mock_teardown(void **state)
{
	(void)state;
	if (mock.warnings || mock.live || mock.pages || mock.devs || mock_net.refs)
		fail_msg("warnings %d; left: allocations %d, pages %d, devices %d, "
			 "namespaces %d", mock.warnings, mock.live, mock.pages, mock.devs,
			 mock_net.refs);
	return 0;
}

void mock_warn(const char *file, int line, const char *what)
{
	mock.warnings++;
	fprintf(stderr, "# %s:%d: %s\n", file, line, what);
}

/* Is this the one that fails? */
static bool fails(unsigned int *at)
{
	return *at && !--*at;
}

/* ------------------------------------------------------------ memory */

void *mock_alloc(size_t n, size_t size)
{
	size_t bytes = (n * size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
	void *p;

	mock.allocs++;
	if (fails(&mock.fail_alloc))
		return NULL;
	/* Whole pages are aligned, as vmalloc()'s are. */
	p = n * size == bytes ? aligned_alloc(PAGE_SIZE, bytes) : malloc(n * size);
	assert_non_null(p);
	memset(p, 0, n * size);
	mock.live++;
	return p;
}

void mock_free(void *p)
{
	if (p)
		mock.live--;
	free(p);
}

void mock_pfn_gap(unsigned long gap)
{
	pfn = 1000000;
	pfn_gap = gap;
}

struct page *mock_page_alloc(void)
{
	struct page *page;

	mock.allocs++;
	if (fails(&mock.fail_alloc))
		return NULL;
	page = calloc(1, sizeof(*page));
	assert_non_null(page);
	page->refs = 1;
	page->pfn = pfn;
	pfn += pfn_gap;
	mock.pages++;
	return page;
}

void mock_page_free(struct page *page)
{
	WARN_ON_ONCE(page->private);
	mock.pages--;
	free(page->mem);
	free(page);
}

void *mock_page_address(struct page *page)
{
	if (!page->mem)
		page->mem = calloc(1, PAGE_SIZE);
	return page->mem;
}

bool mock_signal_pending(void)
{
	return fails(&mock.signal_at);
}

void mock_lock(bool *locked)
{
	mock_step("lock");
	while (*locked) {
		mock_relax();
		if (!mock.relax)
			return;
	}
	*locked = true;
}

void mock_unlock(bool *locked)
{
	WARN_ON_ONCE(!*locked);
	*locked = false;
}

/* ------------------------------------------------------------ files, numbers */

struct file *anon_inode_getfile(const char *name, const struct file_operations *fops,
				void *priv, int flags)
{
	struct file *file = mock_alloc(1, sizeof(*file));

	(void)name;
	(void)flags;
	if (!file)
		return ERR_PTR(-ENOMEM);
	*file = (struct file) { .f_op = fops, .private_data = priv, .count = 1 };
	return file;
}

int ida_alloc_range(struct ida *ida, u32 min, u32 max, int gfp)
{
	(void)gfp;
	mock.allocs++;
	if (fails(&mock.fail_alloc))
		return -ENOMEM;
	for (; min <= max; min++)
		if (!ida->used[min]) {
			ida->used[min] = true;
			mock.live++;
			return min;
		}
	return -ENOSPC;
}

void ida_free(struct ida *ida, u32 id)
{
	WARN_ON_ONCE(!ida->used[id]);
	ida->used[id] = false;
	mock.live--;
}

/* ------------------------------------------------------------ the caller's memory */

struct range { uintptr_t from, to; };

static struct range user[256], seen[1024];
static unsigned int nuser, nseen;

void mock_user_reset(void)
{
	nuser = nseen = 0;
	mock.read_twice = false;
}

void mock_user(const void *p, size_t n)
{
	assert_true(nuser < ARRAY_SIZE(user));
	user[nuser++] = (struct range) { (uintptr_t)p, (uintptr_t)p + n };
}

static bool faults(const void *p, size_t n)
{
	unsigned int i;

	mock.copies++;
	if (fails(&mock.fail_copy))
		return true;
	for (i = 0; i < nuser; i++)
		if ((uintptr_t)p >= user[i].from && (uintptr_t)p <= user[i].to &&
		    n <= user[i].to - (uintptr_t)p)
			return false;
	return true;
}

unsigned long copy_from_user(void *to, const void *from, unsigned long n)
{
	uintptr_t p = (uintptr_t)from;
	unsigned int i;

	if (faults(from, n))
		return n;
	for (i = 0; i < nseen; i++)
		if (p < seen[i].to && p + n > seen[i].from)
			mock.read_twice = true;
	assert_true(nseen < ARRAY_SIZE(seen));
	seen[nseen++] = (struct range) { p, p + n };
	memcpy(to, from, n);
	return 0;
}

unsigned long copy_to_user(void *to, const void *from, unsigned long n)
{
	if (faults(to, n))
		return n;
	memcpy(to, from, n);
	return 0;
}

/* ------------------------------------------------------------ packets */

static struct net_device the_dev;

struct net_device *dev_get_by_name(struct net *net, const char *name)
{
	if (net != &mock_net || !mock.netdev || strcmp(name, mock.netdev))
		return NULL;
	mock.devs++;
	return &the_dev;
}

void dev_put(struct net_device *dev)
{
	WARN_ON_ONCE(dev != &the_dev);
	mock.devs--;
}

struct sk_buff *napi_alloc_skb(struct napi_struct *napi, u32 size)
{
	struct sk_buff *skb = mock_alloc(1, sizeof(*skb));

	(void)napi;
	if (!skb)
		return NULL;
	skb->head = malloc(size + NET_IP_ALIGN);
	assert_non_null(skb->head);
	skb->size = size;
	skb->data = skb->head + NET_IP_ALIGN;
	return skb;
}

void kfree_skb(struct sk_buff *skb)
{
	if (skb->page)
		put_page(skb->page);
	free(skb->head);
	mock_free(skb);
}

void skb_put_data(struct sk_buff *skb, const void *p, u32 n)
{
	assert_true(skb->len + n <= skb->size);
	memcpy(skb->data + skb->len, p, n);
	skb->len += n;
}

void __skb_put(struct sk_buff *skb, u32 n)
{
	assert_true(skb->len + n <= skb->size);
	skb->len += n;
}

void __skb_trim(struct sk_buff *skb, u32 len)
{
	assert_true(!skb->page && len <= skb->len);
	skb->len = len;
}

void skb_fill_page_desc_noacc(struct sk_buff *skb, int i, struct page *page, int off, int len)
{
	assert_true(!skb->page && !i && off >= 0 && len > 0 && off + len <= PAGE_SIZE);
	skb->page = page;
	skb->frag_off = off;
	skb->frag_len = len;
}

__be16 eth_type_trans(struct sk_buff *skb, struct net_device *dev)
{
	assert_ptr_equal(skb->dev, dev);
	return ((const struct ethhdr *)skb->data)->h_proto;
}

bool napi_schedule_prep(struct napi_struct *napi)
{
	bool was = napi->scheduled;

	napi->scheduled = true;
	return !was;
}

void napi_complete_done(struct napi_struct *napi, int work)
{
	assert_int_equal(work, 0);
	WARN_ON_ONCE(!napi->scheduled);
	napi->scheduled = false;
}
