// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that the application supplied: pinned for as long as the port lives, so
 * neither munmap() nor truncate() takes it away under us.
 *
 * Its pages have owners besides us, which decides three things:
 *
 *  - page->private is not ours: a page is looked up in a hash of our own.
 *  - A page is idle when it has no references but those that can be explained:
 *    pins (ours, AF_XDP's), mappings, the page cache.  Who maps it, forks or unmaps
 *    may change the explanation at any time; it is read before and after the count.
 *    A large folio has one count for all its pages, so its buffers are busy together.
 *    A small one has its pins in that count, each as GUP_PIN_COUNTING_BIAS references, which
 *    TCP may have as well: only what the first and the last buffer show are pins.
 *  - A device's pages (DAX) have no such explanation that holds on all kernels; they
 *    are all alike, and compared with reserved ones as our own are (buf.c).
 *
 * Some memory is for copying into and out of only, because nobody may refer to it for
 * long (files on a DAX mount: truncate() waits for us as it is) or because busy buffers
 * cannot be told from others (device-DAX of large pages).
 *
 * AF_XDP registers memory by user address, so that is done in the address space
 * that supplied it, whoever attaches the NIC; it must still be mapped there.
 */
#include <linux/cred.h>
#include <linux/hash.h>
#include <linux/kthread.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "extmem.h"
#include "sized.h"

#define PIN_CHUNK	1024	/* pages pinned between looks for a signal */
#define PIN_REFS	((int)GUP_PIN_COUNTING_BIAS)	/* that a pin of a small page is */

static DEFINE_MUTEX(extmems_lock);
static LIST_HEAD(extmems);

/* ---------------------------------------------------------------- lookup */

/* Number of @page in @ext, or U32_MAX. */
u32 pst_extmem_find(const struct pst_extmem *ext, const struct page *page)
{
	u32 mask = (1U << ext->bits) - 1;
	u32 h = hash_ptr(page, ext->bits);
	u32 i;

	for (; (i = ext->index[h]); h = (h + 1) & mask)
		if (ext->page[i - 1] == page)
			return i - 1;
	return U32_MAX;
}

static int build_index(struct pst_extmem *ext)
{
	u32 mask, i;

	ext->bits = order_base_2(2 * ext->npages);
	mask = (1U << ext->bits) - 1;
	ext->index = kvcalloc(mask + 1, sizeof(*ext->index), PST_GFP_SIZED);
	if (!ext->index)
		return -ENOMEM;
	for (i = 0; i < ext->npages; i++) {
		u32 h = hash_ptr(ext->page[i], ext->bits);

		for (; ext->index[h]; h = (h + 1) & mask)
			if (ext->page[ext->index[h] - 1] == ext->page[i])
				return -EINVAL;	/* the range has it twice */
		ext->index[h] = i + 1;
		if (!(i % PIN_CHUNK))
			cond_resched();
	}
	return 0;
}

/* ---------------------------------------------------------------- idle? */

/* The pins of a small one are not among these. */
static int explained(struct folio *folio)
{
	int n = pst_folio_mapcount(folio);

	if (folio_test_large(folio))
		n += pst_folio_pins(folio);
	if (folio_test_anon(folio))
		return n + (folio_test_swapcache(folio) ? folio_nr_pages(folio) : 0);
	if (folio->mapping)
		n += folio_nr_pages(folio) + folio_test_private(folio);
	return n;
}

/* Counts the others in @n; false: the explanation has changed meanwhile. */
static bool unexplained(struct folio *folio, int *n)
{
	int before = explained(folio);

	smp_rmb();	/* a reference explained now must not be counted before ... */
	*n = folio_ref_count(folio) - before;
	smp_rmb();	/* ... nor one counted be explained by what came later */
	return explained(folio) == before;
}

/*
 * How often every buffer is pinned, by what this one shows.
 * A large folio's pins are those of all its pages.
 */
static int pins_of_all(const struct pst_mark *mark)
{
	int n;

	if (folio_test_large(mark->folio))
		return 1 + (pst_folio_pins(mark->folio) - mark->pages) / mark->bufs;
	return unexplained(mark->folio, &n) ? n / PIN_REFS : 0;
}

/*
 * The references of a small folio that nothing explains are as many as some pins, more than ours.
 * Are they pins?  As far as all buffers have them; who pins only some is taken for a user.
 */
static bool are_pins(const struct pst_extmem *ext, struct folio *folio, int others)
{
	int last = pins_of_all(&ext->last);
	int n;

	smp_rmb();	/* while somebody pins all pages in order, the last is behind ... */
	if (!unexplained(folio, &n) || n % PIN_REFS > others)
		return false;
	smp_rmb();	/* ... and the first is ahead of this one */
	return n / PIN_REFS <= min(last, pins_of_all(&ext->first));
}

static bool idle_but_for(const struct pst_extmem *ext, struct folio *folio, int others)
{
	int n;

	if (!unexplained(folio, &n))
		return false;
	if (folio_test_large(folio))
		return n <= others;
	if (n <= PIN_REFS + others)	/* nothing but our pin, which it has */
		return true;
	return n % PIN_REFS <= others && are_pins(ext, folio, others);
}

static bool is_on_no_list(struct folio *folio)
{
	return !folio_test_lru(folio) && !folio_test_hugetlb(folio);
}

/* Put there in between?  Then the reference that was taken for the lists' is somebody else's. */
static bool idle_unlisted(const struct pst_extmem *ext, struct folio *folio)
{
	return is_on_no_list(folio) && idle_but_for(ext, folio, 1) && is_on_no_list(folio);
}

/* Of a page that was on no list when the port was made: it is now, or is still to be put there. */
static noinline bool idle_or_unlisted(struct pst_extmem *ext, struct page *page, bool idle)
{
	struct folio *folio = page_folio(page);
	u32 i = pst_extmem_find(ext, page);

	if (i == U32_MAX || !test_bit(i, ext->unlisted))
		return idle;
	if (is_on_no_list(folio))
		return idle_unlisted(ext, folio);
	if (test_and_clear_bit(i, ext->unlisted))
		atomic_dec(&ext->nunlisted);
	return idle;
}

/* Does nobody use this page, of which all users but pins and mappings come by us? */
bool pst_extmem_idle(struct pst_extmem *ext, struct page *page)
{
	bool idle = idle_but_for(ext, page_folio(page), 0);

	if (likely(!atomic_read(&ext->nunlisted)))
		return idle;
	return idle_or_unlisted(ext, page, idle);
}

/*
 * The same of a page that may just have been made, before it is a buffer: who is to put it on the
 * kernel's lists refers to it.  That may take as long as a CPU has no other pages to put there, so
 * such pages are remembered.
 */
bool pst_extmem_idle_new(struct pst_extmem *ext, struct page *page)
{
	struct folio *folio = page_folio(page);
	u32 i;

	if (idle_but_for(ext, folio, 0))
		return true;
	if (!idle_unlisted(ext, folio))
		return false;
	i = pst_extmem_find(ext, page);
	if (i != U32_MAX && !test_and_set_bit(i, ext->unlisted))
		atomic_inc(&ext->nunlisted);
	return true;
}

/*
 * Does somebody still use one of the first @n pages?  Of a device's, and of parts of huge ones,
 * that is not known.
 */
bool pst_extmem_in_use(struct pst_extmem *ext, u32 n)
{
	u32 i;

	if (ext->device || ext->copy_only)
		return false;
	for (i = 0; i < n; i++)
		if (!folio_test_large(page_folio(ext->page[i])) &&
		    !pst_extmem_idle_new(ext, ext->page[i]))
			return true;
	return false;
}

/* Which pages share the folio of number @i, where buffers begin at @first. */
static void set_mark(struct pst_mark *mark, const struct pst_extmem *ext, u32 i, u32 first)
{
	u32 j;

	*mark = (struct pst_mark) { .folio = page_folio(ext->page[i]) };
	for (j = 0; j < ext->npages; j++) {
		if (page_folio(ext->page[j]) == mark->folio) {
			mark->pages++;
			mark->bufs += j >= first;
		}
		if (!(j % PIN_CHUNK))
			cond_resched();
	}
}

/* All pages from number @first on are buffers, of which the first and the last are reserved. */
void pst_extmem_set_bufs(struct pst_extmem *ext, u32 first)
{
	set_mark(&ext->first, ext, first, first);
	set_mark(&ext->last, ext, ext->npages - 1, first);
}

/* ---------------------------------------------------------------- life */

static int pin_pages(struct pst_extmem *ext, unsigned int flags)
{
	u32 done = 0;

	while (done < ext->npages) {
		int n = min_t(u32, ext->npages - done, PIN_CHUNK);

		n = pin_user_pages_fast(ext->addr + (unsigned long)done * PAGE_SIZE, n,
					FOLL_WRITE | flags, ext->page + done);
		if (n > 0)
			done += n;
		else if (fatal_signal_pending(current))
			n = -EINTR;
		if (n <= 0) {
			if (done)
				unpin_user_pages(ext->page, done);
			return n ?: -EFAULT;
		}
		cond_resched();
	}
	return 0;
}

/* What we cannot tell busy from idle is refused here rather than found out later. */
static int check_pages(struct pst_extmem *ext)
{
	u32 i;

	ext->device = is_zone_device_page(ext->page[0]);
	for (i = 0; i < ext->npages; i++) {
		struct folio *folio = page_folio(ext->page[i]);

		if (is_zone_device_page(ext->page[i]) != ext->device)
			return -EINVAL;
		if (!folio_test_large(folio))
			continue;
		if (ext->device)
			ext->copy_only = true;
		else if (!pst_large_folios())
			return -EOPNOTSUPP;
	}
	return 0;
}

/* Is some of it another port's already?  If not, it is ours from now on. */
static int enlist(struct pst_extmem *ext)
{
	const struct pst_extmem *other;
	int err = 0;
	u32 i;

	mutex_lock(&extmems_lock);
	list_for_each_entry(other, &extmems, node)
		for (i = 0; i < ext->npages && !err; i++)
			if (pst_extmem_find(other, ext->page[i]) != U32_MAX)
				err = -EBUSY;
	if (!err)
		list_add(&ext->node, &extmems);
	mutex_unlock(&extmems_lock);
	return err;
}

static void free_extmem(struct pst_extmem *ext)
{
	kvfree(ext->unlisted);
	kvfree(ext->index);
	kvfree(ext->page);
	mmdrop(ext->mm);
	kfree(ext);
}

/*
 * Pins [@addr, @addr + @size) of the caller; a last, incomplete page is left out.
 * -EINVAL: not on a page boundary, less than a page, more than 2^31 pages, or pages
 * twice in it; -EFAULT: not all mapped and writable; -EBUSY: another port's;
 * -EOPNOTSUPP: huge pages on a kernel that does not let us tell whether they are busy;
 * -ENOMEM: also RLIMIT_MEMLOCK.
 */
struct pst_extmem *pst_extmem_pin(u64 addr, u64 size)
{
	struct pst_extmem *ext;
	int err;

	if (addr % PAGE_SIZE || size < PAGE_SIZE || size >> PAGE_SHIFT > INT_MAX ||
	    addr + size < addr || !access_ok((void __user *)(unsigned long)addr, size))
		return ERR_PTR(-EINVAL);
	ext = kzalloc(sizeof(*ext), GFP_KERNEL_ACCOUNT);
	if (!ext)
		return ERR_PTR(-ENOMEM);
	ext->addr = addr;
	ext->npages = size >> PAGE_SHIFT;
	ext->mm = current->mm;
	mmgrab(ext->mm);
	err = -ENOMEM;
	ext->page = kvcalloc(ext->npages, sizeof(*ext->page), PST_GFP_SIZED);
	ext->unlisted = kvcalloc(BITS_TO_LONGS(ext->npages), sizeof(long), PST_GFP_SIZED);
	if (!ext->page || !ext->unlisted)
		goto err_free;
	err = account_locked_vm(ext->mm, ext->npages, true);
	if (err)
		goto err_free;
	err = pin_pages(ext, FOLL_LONGTERM);
	if (err == -EOPNOTSUPP) {	/* a file on a DAX mount */
		ext->copy_only = true;
		err = pin_pages(ext, 0);
	}
	if (err)
		goto err_account;
	err = check_pages(ext);
	if (!err)
		err = build_index(ext);
	if (!err)
		err = enlist(ext);
	if (err)
		goto err_unpin;
	return ext;

err_unpin:
	unpin_user_pages(ext->page, ext->npages);
err_account:
	account_locked_vm(ext->mm, ext->npages, false);
err_free:
	free_extmem(ext);
	return ERR_PTR(err);
}

/* What the application finds in its memory afterwards includes what devices wrote. */
void pst_extmem_unpin(struct pst_extmem *ext)
{
	mutex_lock(&extmems_lock);
	list_del(&ext->node);
	mutex_unlock(&extmems_lock);
	unpin_user_pages_dirty_lock(ext->page, ext->npages, true);
	account_locked_vm(ext->mm, ext->npages, false);
	free_extmem(ext);
}

/* ---------------------------------------------------------------- its address space */

struct errand {
	struct work_struct work;
	struct mm_struct *mm;
	const struct cred *cred;
	unsigned long memlock;
	int (*fn)(void *arg);
	void *arg;
	int err;
};

/* The worker's RLIMIT_MEMLOCK becomes @limit; what it was. */
static unsigned long swap_memlock(unsigned long limit)
{
	unsigned long old;

	task_lock(current->group_leader);
	old = rlimit(RLIMIT_MEMLOCK);
	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = limit;
	task_unlock(current->group_leader);
	return old;
}

static void run_errand(struct work_struct *work)
{
	struct errand *e = container_of(work, struct errand, work);
	const struct cred *mine = override_creds(e->cred);
	unsigned long memlock = swap_memlock(e->memlock);

	kthread_use_mm(e->mm);
	e->err = e->fn(e->arg);
	kthread_unuse_mm(e->mm);
	swap_memlock(memlock);
	revert_creds(mine);
}

/* fn(@arg) where @ext is mapped, by the caller's rights and limits.  -ESRCH: that process is gone. */
int pst_extmem_in_mm(struct pst_extmem *ext, int (*fn)(void *arg), void *arg)
{
	struct errand e = {
		.mm = ext->mm, .cred = current_cred(), .memlock = rlimit(RLIMIT_MEMLOCK),
		.fn = fn, .arg = arg,
	};

	if (current->mm == ext->mm)
		return fn(arg);
	if (!mmget_not_zero(ext->mm))
		return -ESRCH;
	INIT_WORK_ONSTACK(&e.work, run_errand);
	queue_work(pst_unbound_wq, &e.work);
	flush_work(&e.work);
	destroy_work_on_stack(&e.work);
	mmput(ext->mm);
	return e.err;
}
