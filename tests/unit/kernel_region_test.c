// SPDX-License-Identifier: BSD-2-Clause
/* kernel/region.c: layout, netmap_ifs, mappings. */
#include "kernel/test.h"
#include "../../kernel/region.c"

static const struct pst_geometry geometry = {
	.if_num = 5, .if_size = 150, .ring_num = 4, .slots = 100, .bufs = 20,
};

static void layout(void **state)
{
	struct pst_region *r = pst_region_create(&geometry);
	size_t ring = sizeof(struct netmap_ring) + 100 * sizeof(struct netmap_slot);
	u32 i;

	assert_false(IS_ERR(r));
	assert_true(r->if_size >= 150 && r->ring_size >= ring);
	assert_true(r->ring_ofs >= 5 * r->if_size && !(r->ring_ofs % PAGE_SIZE));
	assert_true(r->buf_ofs >= r->ring_ofs + 4 * r->ring_size && !(r->buf_ofs % PAGE_SIZE));
	assert_int_equal(r->size, r->buf_ofs + 20 * PAGE_SIZE);
	for (i = 0; i < 4; i++) {
		struct netmap_ring *p = pst_region_ring(r, i);

		assert_int_equal((uintptr_t)p % 128, 0);
		assert_int_equal(pst_region_offset(r, p), r->ring_ofs + i * r->ring_size);
		memset(p, 0xff, ring);
	}
	pst_region_destroy(r);
}

static void ifs(void **state)
{
	struct pst_region *r = pst_region_create(&geometry);
	struct netmap_if *nifp[5];
	u32 i;

	for (i = 0; i < 5; i++) {
		nifp[i] = pst_region_if_get(r);
		assert_int_equal(pst_region_offset(r, nifp[i]), i * r->if_size);
		memset(nifp[i], 0xff, 150);
	}
	assert_null(pst_region_if_get(r));
	pst_region_if_put(r, nifp[3]);
	pst_region_if_put(r, nifp[1]);
	assert_ptr_equal(pst_region_if_get(r), nifp[1]);
	for (i = 0; i < 150; i++)
		assert_int_equal(((u8 *)nifp[1])[i], 0);
	assert_ptr_equal(pst_region_if_get(r), nifp[3]);
	assert_null(pst_region_if_get(r));
	pst_region_destroy(r);
}

static void numbers(void **state)
{
	struct pst_region *a = pst_region_create(&geometry), *b = pst_region_create(&geometry);
	u16 id = a->id;

	assert_int_equal(a->id, 2);
	assert_int_equal(b->id, 3);
	pst_region_destroy(a);
	a = pst_region_create(&geometry);
	assert_int_equal(a->id, id);
	pst_region_destroy(a);
	pst_region_destroy(b);
}

static void no_memory(void **state)
{
	struct pst_region *r;
	u32 i;

	for (i = 1;; i++) {
		mock.fail_alloc = i;
		r = pst_region_create(&geometry);
		if (!IS_ERR(r))
			break;
		assert_int_equal(PTR_ERR(r), -ENOMEM);
		if (mock.live || mock.pages)
			fail_msg("allocation %u", i);
	}
	/* itself, its number, bitmap, rings, five tables, 20 pages */
	assert_int_equal(i, 4 + 5 + 20 + 1);
	mock.fail_alloc = 0;
	pst_region_destroy(r);
}

/* ------------------------------------------------------------ mappings */

#define BASE	0x10000000ul

static struct { unsigned long addr, pfn, size; } map[64];
static u32 nmaps, fail_map;

int remap_pfn_range(struct vm_area_struct *vma, unsigned long addr, unsigned long pfn,
		    unsigned long size, unsigned long prot)
{
	assert_true(nmaps < ARRAY_SIZE(map));
	map[nmaps].addr = addr;
	map[nmaps].pfn = pfn;
	map[nmaps++].size = size;
	return fail_map && nmaps == fail_map ? -ENOMEM : 0;
}

static int do_map(struct pst_region *r, unsigned long page, unsigned long pages)
{
	struct vm_area_struct vma = {
		.vm_start = BASE, .vm_end = BASE + pages * PAGE_SIZE, .vm_pgoff = page,
		.vm_flags = VM_SHARED,
	};

	nmaps = 0;
	return pst_region_mmap(r, &vma);
}

static unsigned long frame_at(struct pst_region *r, size_t ofs)
{
	return ofs < r->buf_ofs ? (unsigned long)((char *)r->ctl + ofs) / PAGE_SIZE :
				  r->bufs.page[(ofs - r->buf_ofs) / PAGE_SIZE]->pfn;
}

/* Every page once, in order, the right one. */
static void check_map(struct pst_region *r, unsigned long page, unsigned long pages)
{
	unsigned long done = 0, i, j;

	assert_int_equal(do_map(r, page, pages), 0);
	for (i = 0; i < nmaps; i++) {
		assert_int_equal(map[i].addr, BASE + done * PAGE_SIZE);
		assert_true(map[i].size && !(map[i].size % PAGE_SIZE));
		for (j = 0; j < map[i].size / PAGE_SIZE; j++, done++)
			assert_int_equal(map[i].pfn + j, frame_at(r, (page + done) * PAGE_SIZE));
	}
	assert_int_equal(done, pages);
}

static void mappings(void **state)
{
	unsigned long gap, from, pages, all;
	struct pst_region *r;
	u32 i;

	for (gap = 0; gap < 3; gap++) {
		mock_pfn_gap(gap);
		r = pst_region_create(&geometry);
		all = r->size / PAGE_SIZE;
		for (from = 0; from <= all; from++) {
			for (pages = 0; pages <= all - from; pages++)
				check_map(r, from, pages);
			assert_int_equal(do_map(r, from, all - from + 1), -EINVAL);
			assert_int_equal(nmaps, 0);
		}
		assert_int_equal(do_map(r, all + 1, 1), -EINVAL);
		assert_int_equal(do_map(r, ~0ul >> PAGE_SHIFT, 2), -EINVAL);
		check_map(r, 0, all);
		assert_int_equal(nmaps, gap == 1 ? 2 : 21);	/* adjacent ones in one go */
		fail_map = 2;
		assert_int_equal(do_map(r, 0, all), -ENOMEM);
		fail_map = 0;
		/* No page references, on which the counts depend. */
		for (i = 0; i < r->bufs.n; i++)
			assert_int_equal(r->bufs.page[i]->refs, 1);
		pst_region_destroy(r);
	}
}

static void private_mapping(void **state)
{
	struct pst_region *r = pst_region_create(&geometry);
	struct vm_area_struct vma = { .vm_start = BASE, .vm_end = BASE + PAGE_SIZE };

	assert_int_equal(pst_region_mmap(r, &vma), -EINVAL);
	pst_region_destroy(r);
}

static struct page **inserted;

int vm_insert_pages(struct vm_area_struct *vma, unsigned long addr, struct page **page,
		    unsigned long *n)
{
	assert_int_equal(*n, 20);
	assert_int_equal(addr, BASE);
	inserted = page;
	*n = 0;
	return 0;
}

/* All buffers or nothing, and once: a file may live longer than its region. */
static void pinnable(void **state)
{
	struct pst_region *r = pst_region_create(&geometry);
	struct vm_area_struct vma = { .vm_start = BASE };
	struct file *file = NULL;
	unsigned long pages, ofs;

	for (pages = 0; pages < 30; pages++)
		for (ofs = 0; ofs < 3; ofs++) {
			file = pst_region_pinnable(r);
			assert_false(IS_ERR(file));
			vma.vm_end = BASE + pages * PAGE_SIZE;
			vma.vm_pgoff = ofs;
			vma.vm_flags = VM_SHARED;
			inserted = NULL;
			assert_int_equal(file->f_op->mmap(file, &vma),
					 pages == 20 && !ofs ? 0 : -EINVAL);
			assert_ptr_equal(inserted, pages == 20 && !ofs ? r->bufs.page : NULL);
			if (inserted)
				assert_int_equal(vma.vm_flags, VM_SHARED | VM_DONTCOPY | VM_DONTEXPAND);
			inserted = NULL;
			vma.vm_end = BASE + 20 * PAGE_SIZE;
			vma.vm_pgoff = 0;
			assert_int_equal(file->f_op->mmap(file, &vma), -EINVAL);
			assert_null(inserted);
			mock_free(file);
		}
	mock.fail_alloc = 1;
	assert_int_equal(PTR_ERR(pst_region_pinnable(r)), -ENOMEM);
	pst_region_destroy(r);
}

/* ------------------------------------------------------------ supplied memory */

#define EXT_PAGES	100

static struct page *supplied_page[EXT_PAGES];

struct pst_extmem *pst_extmem_pin(u64 addr, u64 size)
{
	struct pst_extmem *ext = kzalloc(sizeof(*ext), GFP_KERNEL);
	u32 i;

	if (!ext)
		return ERR_PTR(-ENOMEM);
	*ext = (struct pst_extmem) { .page = supplied_page };
	for (i = 0; i < size / PAGE_SIZE; i++) {
		supplied_page[i] = mock_page_alloc();
		if (!supplied_page[i]) {
			pst_extmem_unpin(ext);
			return ERR_PTR(-ENOMEM);
		}
		ext->npages++;
	}
	return ext;
}

void pst_extmem_unpin(struct pst_extmem *ext)
{
	u32 i;

	for (i = 0; i < ext->npages; i++)
		put_page(ext->page[i]);
	kfree(ext);
}

u32 pst_extmem_find(const struct pst_extmem *ext, const struct page *page)
{
	u32 i;

	for (i = 0; i < ext->npages; i++)
		if (ext->page[i] == page)
			return i;
	return U32_MAX;
}

static void ext_layout(void **state)
{
	struct pst_ext_config cfg = { .size = EXT_PAGES * PAGE_SIZE };
	struct pst_region *r = pst_region_create_ext(&geometry, &cfg);
	u32 first, i;

	assert_false(IS_ERR(r));
	first = r->buf_ofs / PAGE_SIZE;
	assert_int_equal(r->size, EXT_PAGES * PAGE_SIZE);
	assert_int_equal(r->bufs.n, EXT_PAGES - first);
	for (i = 0; i < r->bufs.n; i++) {
		assert_ptr_equal(r->bufs.page[i], supplied_page[first + i]);
		assert_int_equal(pst_buf_of_page(&r->bufs, supplied_page[first + i]), i);
	}
	/* Pages that are not buffers, and those of others. */
	assert_int_equal(pst_buf_of_page(&r->bufs, supplied_page[0]), PST_BUF_NONE);
	assert_int_equal(pst_buf_of_page(&r->bufs, supplied_page[first - 1]), PST_BUF_NONE);
	assert_int_equal(pst_buf_of_page(&r->bufs, NULL), PST_BUF_NONE);
	pst_region_destroy(r);
}

/* Pools as wished: larger is done, smaller is refused. */
static void ext_wishes(void **state)
{
	struct pst_ext_config cfg = { .size = EXT_PAGES * PAGE_SIZE };
	struct nmreq_pools_info got;
	struct pst_region *r;

	cfg.pools.nr_if_pool_objtotal = 7;
	cfg.pools.nr_if_pool_objsize = 200;
	cfg.pools.nr_ring_pool_objtotal = 6;
	cfg.pools.nr_ring_pool_objsize = 9000;
	cfg.pools.nr_buf_pool_objsize = PAGE_SIZE;
	cfg.pools.nr_buf_pool_objtotal = 50;
	r = pst_region_create_ext(&geometry, &cfg);
	assert_false(IS_ERR(r));
	pst_region_pools(r, &got);
	assert_int_equal(got.nr_if_pool_objtotal, 7);
	assert_int_equal(got.nr_if_pool_objsize, 256);
	assert_int_equal(got.nr_ring_pool_objtotal, 6);
	assert_int_equal(got.nr_ring_pool_objsize, 9088);
	assert_true(got.nr_buf_pool_objtotal >= 50);
	pst_region_destroy(r);

	cfg.pools.nr_buf_pool_objtotal = EXT_PAGES;
	assert_int_equal(PTR_ERR(pst_region_create_ext(&geometry, &cfg)), -ENOMEM);
	cfg.pools.nr_buf_pool_objtotal = 0;
	cfg.pools.nr_buf_pool_objsize = 2048;
	assert_int_equal(PTR_ERR(pst_region_create_ext(&geometry, &cfg)), -EINVAL);
	cfg.pools.nr_buf_pool_objsize = 0;
	cfg.pools.nr_ring_pool_objtotal = 3;
	assert_int_equal(PTR_ERR(pst_region_create_ext(&geometry, &cfg)), -ENOMEM);
	cfg.pools.nr_ring_pool_objtotal = ~0u;
	assert_int_equal(PTR_ERR(pst_region_create_ext(&geometry, &cfg)), -ENOMEM);
	memset(&cfg.pools, 0, sizeof(cfg.pools));
	cfg.size = 22 * PAGE_SIZE;
	assert_int_equal(PTR_ERR(pst_region_create_ext(&geometry, &cfg)), -ENOMEM);
	cfg.size = PAGE_SIZE;
	assert_int_equal(PTR_ERR(pst_region_create_ext(&geometry, &cfg)), -ENOMEM);
}

static void ext_keep(void **state)
{
	u32 keep[] = { 5, PST_BUF_FIRST, 40 }, i, free;
	struct pst_ext_config cfg = { .size = EXT_PAGES * PAGE_SIZE, .keep = keep, .nkeep = 3 };
	struct pst_region *r = pst_region_create_ext(&geometry, &cfg);

	assert_false(IS_ERR(r));
	free = r->bufs.nfree;
	assert_int_equal(free, r->bufs.n - PST_BUFS_RESERVED - 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(pst_buf_state(&r->bufs, keep[i]), PST_BUF_USER);
	for (i = 0; i < free; i++) {
		u32 b = r->bufs.free[i];

		assert_true(b != keep[0] && b != keep[1] && b != keep[2]);
		assert_int_equal(pst_buf_state(&r->bufs, b), PST_BUF_FREE);
	}
	pst_region_destroy(r);

	keep[2] = 5;
	assert_int_equal(PTR_ERR(pst_region_create_ext(&geometry, &cfg)), -EEXIST);
	keep[2] = PST_BUF_BASE;
	assert_int_equal(PTR_ERR(pst_region_create_ext(&geometry, &cfg)), -ERANGE);
	keep[2] = ~0u;
	assert_int_equal(PTR_ERR(pst_region_create_ext(&geometry, &cfg)), -ERANGE);
}

static void ext_no_memory(void **state)
{
	struct pst_ext_config cfg = { .size = EXT_PAGES * PAGE_SIZE };
	struct pst_region *r;
	u32 i;

	for (i = 1;; i++) {
		mock.fail_alloc = i;
		r = pst_region_create_ext(&geometry, &cfg);
		if (!IS_ERR(r))
			break;
		assert_int_equal(PTR_ERR(r), -ENOMEM);
	}
	assert_true(i > EXT_PAGES + 6);
	mock.fail_alloc = 0;
	pst_region_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(layout), T(ifs), T(numbers), T(no_memory), T(mappings), T(private_mapping),
		T(pinnable), T(ext_layout), T(ext_wishes), T(ext_keep), T(ext_no_memory),
	};

	return cmocka_run_group_tests_name("kernel_region", tests, NULL, NULL);
}
