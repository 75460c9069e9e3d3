// SPDX-License-Identifier: BSD-2-Clause
/* lib/port.c, lib/memory.c, lib/extmem.c: the ladder, up and down; lib/context.c. */
#define LIBNETMAP_NOTHREADSAFE	/* which takes no lock away */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <libnetmap.h>
#include <paste_region.h>

#include "mock.h"

static void open_close(void **state)
{
	struct nmport_d *d = nmport_open("stack:0@conf:rings=1");

	(void)state;
	assert_non_null(d);
	assert_int_equal(mock.cmd, NIOCCTRL);
	assert_int_equal(mock.hdr.nr_reqtype, NETMAP_REQ_REGISTER);
	assert_int_equal(mock.hdr.nr_version, 14);
	assert_int_equal(mock.hdr.nr_reserved, 0);
	assert_string_equal(mock.hdr.nr_name, "stack:0");
	assert_int_equal(mock.body.reg.nr_mode, NR_REG_ALL_NIC);
	assert_int_equal(mock.body.reg.nr_tx_rings, 1);
	assert_true(d->register_done && d->mmap_done);
	assert_int_equal(d->reg.nr_mem_id, MOCK_MEM_ID);
	assert_int_equal(d->first_tx_ring, 0);
	assert_int_equal(d->last_tx_ring, 0);
	assert_int_equal(d->first_rx_ring, 0);
	assert_int_equal(d->last_rx_ring, 0);
	assert_int_equal(NETMAP_TXRING(d->nifp, 0)->dir, 0);
	assert_int_equal(NETMAP_RXRING(d->nifp, 0)->dir, 1);
	nmport_close(d);
	nmport_close(NULL);
}

static void rings_bound(void **state)
{
	struct nmport_d *d;

	(void)state;
	mock.tx_rings = 4;
	mock.rx_rings = 3;
	d = nmport_open("stack:0");
	assert_int_equal(d->first_tx_ring, 0);
	assert_int_equal(d->last_tx_ring, 3);
	assert_int_equal(d->first_rx_ring, 0);
	assert_int_equal(d->last_rx_ring, 2);
	nmport_close(d);

	d = nmport_open("stack:0-2");
	assert_int_equal(d->first_tx_ring, 2);
	assert_int_equal(d->last_tx_ring, 2);
	assert_int_equal(d->first_rx_ring, 2);
	assert_int_equal(d->last_rx_ring, 2);
	assert_int_equal(d->cur_tx_ring, 2);
	nmport_close(d);

	d = nmport_open("stack:0/R");
	assert_true(d->first_tx_ring > d->last_tx_ring);
	assert_int_equal(d->last_rx_ring, 2);
	assert_int_equal(nmport_inject(d, "x", 1), 0);
	nmport_close(d);

	d = nmport_open("stack:0-0/T");
	assert_int_equal(d->first_tx_ring, 0);
	assert_int_equal(d->last_tx_ring, 0);
	assert_true(d->first_rx_ring > d->last_rx_ring);
	nmport_close(d);
}

static void open__each_step_fails(void **state)
{
	(void)state;
	assert_null(nmport_open("nothing"));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(mock.requests, 0);

	mock.open_err = ENOENT;
	assert_null(nmport_open("stack:0"));
	assert_int_equal(errno, ENOENT);
	mock.open_err = 0;

	mock.ioctl_err = EBUSY;
	assert_null(nmport_open("stack:0"));
	assert_int_equal(errno, EBUSY);
	assert_int_equal(mock.devices, 0);
	mock.ioctl_err = 0;

	mock.mmap_err = ENOMEM;
	assert_null(nmport_open("stack:0"));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(mock.devices, 0);
	assert_null(nmctx_get()->mem_descs);
	assert_non_null(strstr(mock.messages, "cannot map region 7"));
}

static void steps_and_undos(void **state)
{
	struct nmport_d *d = nmport_new();

	(void)state;
	assert_int_equal(d->fd, -1);
	assert_int_equal(nmport_mmap(d), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(nmport_parse(d, "stack:0@5@conf:rings=2"), 0);
	d->reg.nr_extra_bufs = 3;

	assert_int_equal(nmport_register(d), 0);
	assert_int_equal(d->reg.nr_mem_id, MOCK_MEM_ID);
	assert_int_equal(nmport_register(d), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(nmport_mmap(d), 0);
	assert_int_equal(nmport_mmap(d), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(nmport_open_desc(d), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(nmport_extmem(d, mock_region(), 4096), -1);
	assert_int_equal(errno, EINVAL);

	nmport_undo_mmap(d);
	assert_null(d->nifp);
	assert_int_equal(mock.maps, 0);
	nmport_undo_mmap(d);
	nmport_undo_register(d);
	assert_int_equal(d->fd, -1);
	assert_int_equal(d->reg.nr_mem_id, 5);	/* the request again */
	assert_int_equal(d->reg.nr_tx_rings, 2);
	nmport_undo_register(d);

	assert_int_equal(nmport_open_desc(d), 0);	/* once more */
	nmport_undo_open_desc(d);
	nmport_undo_parse(d);
	assert_int_equal(d->reg.nr_tx_rings, 0);
	assert_string_equal(d->hdr.nr_name, "");
	assert_int_equal(d->hdr.nr_reqtype, NETMAP_REQ_REGISTER);
	nmport_delete(d);
}

static void register__failure_restores(void **state)
{
	struct nmport_d *d = nmport_prepare("stack:0@5");
	char memory[16];

	(void)state;
	assert_int_equal(nmport_extmem(d, memory, sizeof(memory)), 0);
	mock.ioctl_err = EOPNOTSUPP;
	mock.opt_status = EOPNOTSUPP;
	assert_int_equal(nmport_register(d), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(d->fd, -1);
	assert_int_equal(d->reg.nr_mem_id, 5);
	assert_non_null(strstr(mock.messages, "option extmem"));
	nmport_undo_prepare(d);
}

static void one_mapping_per_region(void **state)
{
	struct nmport_d *a = nmport_open("stack:0"), *b, *c;

	(void)state;
	b = nmport_clone(a);
	assert_non_null(b);
	assert_int_equal(b->fd, -1);
	assert_false(b->register_done);
	assert_int_equal(b->reg.nr_mem_id, MOCK_MEM_ID);
	assert_int_equal(b->hdr.nr_body, (uintptr_t)&b->reg);
	b->reg.nr_mode = NR_REG_ONE_NIC;
	assert_int_equal(nmport_open_desc(b), 0);
	assert_int_equal(mock.maps, 1);
	assert_ptr_equal(a->mem, b->mem);
	assert_int_equal(a->mem->refcount, 2);

	mock.mem_id = 8;	/* another region: another mapping */
	c = nmport_open("stack:1");
	assert_int_equal(mock.maps, 2);
	assert_ptr_not_equal(c->mem, a->mem);

	nmport_close(a);
	assert_int_equal(mock.maps, 2);
	nmport_close(b);
	assert_int_equal(mock.maps, 1);
	nmport_close(c);
}

static void extmem(void **state)
{
	static char memory[1 << 17] __attribute__((aligned(4096)));
	struct nmport_d *d = nmport_prepare("stack:0"), *c;

	(void)state;
	assert_null(nmport_extmem_getinfo(d));
	assert_int_equal(nmport_extmem(d, memory, sizeof(memory)), 0);
	nmport_extmem_getinfo(d)->nr_buf_pool_objtotal = 10;
	assert_int_equal(nmport_extmem(d, memory, sizeof(memory)), -1);
	assert_int_equal(errno, EINVAL);
	assert_null(nmport_clone(d));
	assert_int_equal(errno, EINVAL);

	mock.extmem = memory;
	assert_int_equal(nmport_open_desc(d), 0);
	assert_int_equal(mock.maps, 0);
	assert_ptr_equal(d->mem->mem, memory);
	assert_int_equal(d->mem->size, sizeof(memory));
	assert_int_equal(d->mem->is_extmem, 1);
	assert_true((char *)d->nifp > memory);
	c = nmport_clone(d);
	assert_non_null(c);
	assert_null(c->extmem);
	assert_int_equal(c->hdr.nr_options, 0);
	assert_int_equal(nmport_open_desc(c), 0);
	assert_ptr_equal(c->mem, d->mem);
	nmport_close(c);
	nmport_close(d);
}

/* A port that exists has its memory already: what was supplied is not taken for it, whatever is in there. */
static void extmem_of_a_port_that_exists(void **state)
{
	static char memory[1 << 17] __attribute__((aligned(4096)));
	static char other[sizeof(memory)] __attribute__((aligned(4096)));
	struct nmport_d *d, *first;

	(void)state;
	for (int i = 0; i < 4; i++) {
		d = nmport_prepare("stack:0");
		memset(memory, i == 1 ? 0xff : 0, sizeof(memory));
		if (i == 2)	/* as an earlier life has left it, the same to the last bit */
			memcpy(memory, mock_region(), 4096);
		assert_int_equal(nmport_extmem(d, memory, i == 3 ? 64 : sizeof(memory)), 0);
		assert_int_equal(nmport_open_desc(d), -1);
		assert_int_equal(errno, EBUSY);
		assert_non_null(strstr(mock.messages, "exists already"));
		assert_null(d->nifp);
		assert_int_equal(mock.maps, 0);
		assert_int_equal(mock.devices, 0);
		*mock.messages = 0;
		nmport_undo_prepare(d);
	}
	/* Nor if this process has the port already, in memory that it supplied. */
	mock.extmem = memory;
	first = nmport_prepare("stack:0");
	assert_int_equal(nmport_extmem(first, memory, sizeof(memory)), 0);
	assert_int_equal(nmport_open_desc(first), 0);
	d = nmport_prepare("stack:0");
	assert_int_equal(nmport_extmem(d, other, sizeof(other)), 0);
	assert_int_equal(nmport_open_desc(d), -1);
	assert_int_equal(errno, EBUSY);
	assert_non_null(strstr(mock.messages, "exists already"));
	*mock.messages = 0;
	nmport_undo_prepare(d);
	nmport_close(first);

	mock.mmap_err = ENOMEM;
	d = nmport_prepare("stack:0");
	assert_int_equal(nmport_extmem(d, memory, sizeof(memory)), 0);
	assert_int_equal(nmport_open_desc(d), -1);
	assert_int_equal(errno, ENOMEM);
	nmport_undo_prepare(d);
}

/* Memory that is a file's, mapped until the specification is forgotten. */
static void extmem_from_file(void **state)
{
	char path[] = "/tmp/port_test.XXXXXX", word[5] = "";
	struct nmport_d *d = nmport_prepare("stack:0");
	int fd = mkstemp(path);
	void *base;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(nmport_extmem_from_file(d, path), -1);
	assert_int_equal(errno, EINVAL);
	assert_non_null(strstr(mock.messages, "is empty"));
	assert_int_equal(nmport_extmem_from_file(d, "/nonexistent"), -1);
	assert_int_equal(errno, ENOENT);
	assert_null(d->clist);
	assert_null(nmport_extmem_getinfo(d));

	assert_int_equal(ftruncate(fd, 8192), 0);
	assert_int_equal(nmport_extmem_from_file(d, path), 0);
	base = (void *)(uintptr_t)d->extmem->nro_usrptr;
	assert_int_equal(nmport_extmem_getinfo(d)->nr_memsize, 8192);
	memcpy((char *)base + 4096, "word", 4);
	assert_int_equal(pread(fd, word, 4, 4096), 4);
	assert_string_equal(word, "word");
	assert_int_equal(nmport_extmem_from_file(d, path), -1);	/* twice */
	assert_int_equal(errno, EINVAL);
	assert_ptr_equal((void *)(uintptr_t)d->extmem->nro_usrptr, base);

	nmport_undo_parse(d);
	assert_null(nmport_extmem_getinfo(d));
	assert_int_equal(msync(base, 8192, MS_ASYNC), -1);
	assert_int_equal(errno, ENOMEM);	/* it is not mapped any more */
	nmport_delete(d);
	close(fd);
	unlink(path);
}

static void offset(void **state)
{
	struct nmport_d *d = nmport_prepare("stack:0");
	struct nmreq_opt_offsets *o;

	(void)state;
	assert_int_equal(nmport_offset(d, 2, 64, 16, 8), 0);
	o = (void *)nmreq_find_option(&d->hdr, NETMAP_REQ_OPT_OFFSETS);
	assert_non_null(o);
	assert_int_equal(o->nro_initial_offset, 2);
	assert_int_equal(o->nro_max_offset, 64);
	assert_int_equal(o->nro_offset_bits, 16);
	assert_int_equal(o->nro_min_gap, 8);
	assert_int_equal(nmport_offset(d, 2, 64, 16, 8), -1);
	assert_int_equal(errno, EINVAL);
	nmport_undo_parse(d);
	assert_int_equal(d->hdr.nr_options, 0);

	assert_int_equal(nmport_parse(d, "stack:0"), 0);
	assert_int_equal(nmport_register(d), 0);
	assert_int_equal(nmport_offset(d, 2, 64, 16, 8), -1);
	assert_int_equal(errno, EINVAL);
	assert_non_null(strstr(mock.messages, "open already"));
	nmport_close(d);
}

/* A port in a region: its memory, its pools, its kept buffers; elsewhere is refused. */
static void region_port(void **state)
{
	static char memory[1 << 20] __attribute__((aligned(4096)));
	static const struct paste_region_layout layout = {
		.log_size = 4096, .tree_size = 4096, .if_num = 3, .ring_num = 5, .replace = true,
	};
	struct nmreq_pools_info *pools;
	struct paste_region *r;
	struct nmport_d *d;
	size_t len;

	(void)state;
	assert_int_equal(paste_region_format(memory, sizeof(memory), &layout), 0);
	assert_int_equal(paste_region_attach(memory, sizeof(memory), &r), 0);
	assert_int_equal(paste_region_keep(r, 9), 0);
	assert_int_equal(paste_region_keep(r, 7), 0);
	mock.extmem = paste_region_packet(r, &len);
	mock.buf_ofs = paste_region_info(r)->buf_ofs;

	d = nmport_prepare("stack:0");
	d->reg.nr_extra_bufs = 2;
	assert_int_equal(paste_region_open_port(r, d), 0);
	assert_ptr_equal(d->mem->mem, mock.extmem);
	pools = nmport_extmem_getinfo(d);
	assert_int_equal(pools->nr_memsize, len);
	assert_int_equal(pools->nr_if_pool_objtotal, 3);
	assert_int_equal(pools->nr_if_pool_objsize, paste_region_info(r)->if_size);
	assert_int_equal(pools->nr_ring_pool_objtotal, 5);
	assert_int_equal(pools->nr_ring_pool_objsize, paste_region_info(r)->ring_size);
	assert_int_equal(mock.nkept, 2);
	assert_int_equal(mock.kept[0], 7);
	assert_int_equal(mock.kept[1], 9);
	assert_null(nmreq_find_option(&d->hdr, NETMAP_REQ_OPT_PST_KEEP));
	nmport_close(d);

	d = nmport_prepare("stack:0");
	mock.buf_ofs += 4096;
	assert_int_equal(paste_region_open_port(r, d), -EINVAL);
	assert_false(d->register_done);
	nmport_close(d);
	d = nmport_prepare("stack:0");
	mock.ioctl_err = EBUSY;
	assert_int_equal(paste_region_open_port(r, d), -EBUSY);
	nmport_close(d);
	paste_region_close(r);
}

static void inject(void **state)
{
	struct nmport_d *d = nmport_open("stack:0");
	struct netmap_ring *r = NETMAP_TXRING(d->nifp, 0);
	char packet[3 * MOCK_BUF_SIZE];

	(void)state;
	memset(packet, 'p', sizeof(packet));
	assert_int_equal(nmport_inject(d, packet, 64), 64);
	assert_int_equal(r->head, 1);
	assert_int_equal(r->slot[0].len, 64);
	assert_memory_equal(NETMAP_BUF(r, r->slot[0].buf_idx), packet, 64);
	assert_int_equal(nmport_inject(d, packet, MOCK_BUF_SIZE + 1),
			 MOCK_BUF_SIZE + 1);
	assert_int_equal(r->slot[1].flags, NS_MOREFRAG);
	assert_int_equal(r->slot[1].len, MOCK_BUF_SIZE);
	assert_int_equal(r->slot[2].flags, 0);
	assert_int_equal(r->slot[2].len, 1);
	assert_int_equal(nmport_inject(d, packet, sizeof(packet)), (int)sizeof(packet));
	assert_int_equal(r->cur, 6);
	assert_int_equal(nmport_inject(d, packet, sizeof(packet)), 0);
	assert_int_equal(r->cur, 6);
	nmport_close(d);
}

static int allocations_left;
static int allocated;

static void *failing_malloc(struct nmctx *ctx, size_t size)
{
	(void)ctx;
	if (!allocations_left--)
		return NULL;
	allocated++;
	return malloc(size);
}

static void counting_free(struct nmctx *ctx, void *p)
{
	(void)ctx;
	allocated -= p != NULL;
	free(p);
}

/* Fail the first allocation, the second, ... until all goes through. */
static void open__each_allocation_fails(void **state)
{
	struct nmctx ctx = { .malloc = failing_malloc, .free = counting_free };
	struct nmctx *old = nmctx_set_default(&ctx);
	char path[] = "/tmp/port_test.XXXXXX", spec[128];
	int n, fd = mkstemp(path);
	struct nmport_d *d = NULL;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 17), 0);
	snprintf(spec, sizeof(spec),
		 "stack:0@conf:rings=1@offset=1@extmem:file=%s", path);
	mock.extmem = mmap(NULL, 1 << 17, PROT_READ | PROT_WRITE, MAP_SHARED,
			   fd, 0);
	nmport_enable_option("offset");
	for (n = 0; !d; n++) {
		allocations_left = n;
		d = nmport_open(spec);
		if (!d) {
			assert_int_equal(errno, ENOMEM);
			assert_int_equal(allocated, 0);
			assert_int_equal(mock.devices, 0);
			assert_null(ctx.mem_descs);
		}
	}
	assert_true(n > 6);
	nmport_close(d);
	assert_int_equal(allocated, 0);
	nmport_disable_option("offset");
	munmap((void *)(uintptr_t)mock.extmem, 1 << 17);
	close(fd);
	unlink(path);
	assert_null(ctx.mem_descs);
	assert_ptr_equal(nmctx_set_default(old), &ctx);
}

static char said[1024];
static int locked;

static void keep_sentence(struct nmctx *ctx, const char *sentence)
{
	(void)ctx;
	snprintf(said, sizeof(said), "%s", sentence);
	errno = 0;	/* as a hook may leave it */
}

static void note_lock(struct nmctx *ctx, int lock)
{
	assert_non_null(ctx->error);
	locked += lock ? 1 : -1;
}

static void context_hooks(void **state)
{
	struct nmctx ctx = {
		.error = keep_sentence, .malloc = failing_malloc,
		.free = counting_free, .lock = note_lock,
	};
	char name[600];
	void *p;

	(void)state;
	errno = EXDEV;
	nmctx_ferror(&ctx, "%s: %d", "port", 7);
	assert_string_equal(said, "port: 7");
	assert_int_equal(errno, EXDEV);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	nmctx_ferror(&ctx, "%s", name);
	assert_int_equal(strlen(said), 511);	/* cut, not overrun */

	allocations_left = 1;
	p = nmctx_malloc(&ctx, 24);
	assert_non_null(p);
	assert_int_equal(allocated, 1);
	assert_null(nmctx_malloc(&ctx, 24));
	assert_int_equal(errno, ENOMEM);
	assert_string_equal(said, "out of memory (24 bytes)");
	nmctx_free(&ctx, p);
	assert_int_equal(allocated, 0);

	nmctx_lock(&ctx);
	assert_int_equal(locked, 1);
	nmctx_unlock(&ctx);
	assert_int_equal(locked, 0);
}

static void context_without_hooks(void **state)
{
	struct nmctx ctx = { 0 };
	char *p;

	(void)state;
	nmctx_ferror(&ctx, "nobody hears it");
	p = nmctx_malloc(&ctx, 24);
	assert_non_null(p);
	memset(p, 1, 24);
	nmctx_free(&ctx, p);
	nmctx_lock(&ctx);
	nmctx_lock(&ctx);
	nmctx_unlock(&ctx);
}

static void *lock_and_note(void *ctx)
{
	nmctx_lock(ctx);
	__atomic_store_n(&locked, 1, __ATOMIC_RELEASE);
	nmctx_unlock(ctx);
	return NULL;
}

/* A program for netmap's library sets this variable, which asks for the lock that all have here. */
static void threadsafe(void **state)
{
	struct nmctx ctx = { .error = keep_sentence };
	struct nmctx *old = nmctx_set_default(&ctx);
	pthread_t thread;

	(void)state;
	nmctx_threadsafe = 1;
	nmctx_set_threadsafe();
	assert_non_null(ctx.lock);
	assert_ptr_equal(old->lock, ctx.lock);
	locked = 0;
	nmctx_lock(&ctx);
	assert_int_equal(pthread_create(&thread, NULL, lock_and_note, &ctx), 0);
	usleep(50000);
	assert_int_equal(__atomic_load_n(&locked, __ATOMIC_ACQUIRE), 0);
	nmctx_unlock(&ctx);
	pthread_join(thread, NULL);
	assert_int_equal(locked, 1);
	assert_ptr_equal(nmctx_set_default(old), &ctx);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, mock_setup, mock_teardown)
	const struct CMUnitTest tests[] = {
		T(open_close), T(rings_bound), T(open__each_step_fails),
		T(steps_and_undos), T(register__failure_restores),
		T(one_mapping_per_region), T(extmem), T(extmem_of_a_port_that_exists), T(extmem_from_file), T(offset),
		T(region_port), T(inject), T(open__each_allocation_fails), T(context_hooks),
		T(context_without_hooks), T(threadsafe),
	};

	return cmocka_run_group_tests_name("port", tests, NULL, NULL);
}
