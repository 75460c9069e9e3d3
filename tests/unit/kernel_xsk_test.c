// SPDX-License-Identifier: BSD-2-Clause
/*
 * kernel/xsk.c: what the process can have a hand in while an AF_XDP socket is made in it: the
 * offsets of the rings, the socket's descriptor.
 */
#include "kernel/test.h"
#include "../../kernel/xsk.c"

#define FD	7

/* Where the rings of any kernel so far have it. */
static const struct xdp_ring_offset usual = { .consumer = 128, .desc = 384, .flags = 256 };

static struct xdp_mmap_offsets offsets;
static struct xdp_sock xs;
static struct socket sock;
static struct file file;
static struct file *installed;
static int mapped, pinned, released;
static bool kept;		/* another thread takes the descriptor it finds */
static bool closing;		/* and closes it when its owner is just about to */
static struct net_device dev;
static struct pst_region region;

/* ------------------------------------------------------------ behind xsk.c */

static int setsockopt_xdp(struct socket *s, int level, int name, sockptr_t val, u32 len) { return 0; }

static int getsockopt_xdp(struct socket *s, int level, int name, sockopt_t *opt)
{
	assert_int_equal(opt->iter_out.kv.iov_len, sizeof(offsets));
	memcpy(opt->iter_out.kv.iov_base, &offsets, sizeof(offsets));
	return 0;
}

static const struct proto_ops ops = {
	.setsockopt = setsockopt_xdp, .getsockopt_iter = getsockopt_xdp,
};

int sock_create(int family, int type, int protocol, struct socket **res)
{
	sock = (struct socket) { .sk = &xs.sk, .ops = &ops };
	*res = &sock;
	return 0;
}

struct file *sock_alloc_file(struct socket *s, int flags, const char *name)
{
	file.count = 1;
	s->file = &file;
	return &file;
}

/* A pinnable mapping's, or the socket's, whose release waits until the process is in user space again. */
void fput(struct file *f)
{
	if (f != &file)
		mock_free(f);
	else
		f->count--;
}

/* Releases the socket if it is the last. */
void __fput_sync(struct file *f)
{
	assert_ptr_equal(f, &file);
	if (closing)
		fput(f);
	released += !--f->count;
}

int get_unused_fd_flags(int flags) { return FD; }

void fd_install(unsigned int fd, struct file *f)
{
	assert_int_equal(fd, FD);
	installed = f;
	if (kept)
		get_file(f);
}

int close_fd(unsigned int fd)
{
	assert_int_equal(fd, FD);
	fput(installed);
	return 0;
}

struct file *pst_region_pinnable(struct pst_region *r) { return mock_alloc(1, sizeof(struct file)); }
int kernel_bind(struct socket *s, void *addr, int len) { return 0; }

unsigned long vm_mmap(struct file *f, unsigned long addr, unsigned long len, unsigned long prot,
		      unsigned long flag, unsigned long offset)
{
	mapped++;
	return 0x10000;
}

int vm_munmap(unsigned long addr, size_t len)
{
	mapped--;
	return 0;
}

int pin_user_pages_fast(unsigned long addr, int n, unsigned int flags, struct page **page)
{
	pinned += n;
	return n;
}

void unpin_user_pages(struct page **page, unsigned long n) { pinned -= n; }

/* ------------------------------------------------------------ the tests' own */

static int setup(void **state)
{
	mock_setup(state);
	offsets.rx = offsets.fr = usual;
	released = 0;
	kept = closing = false;
	region.bufs.n = 100;
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(mapped + pinned, 0);
	return mock_teardown(state);
}

static int opened(struct pst_xsk *xsk)
{
	return pst_xsk_open(xsk, &dev, 0, &region, NULL, XDP_ZEROCOPY);
}

/* Inside the ring's first page, before the descriptors, which follow there. */
static void offsets_checked(void **state)
{
	static const struct xdp_ring_offset good[] = {
		{ 0, 128, 384, 256 }, { 0, 4, 16, 8 }, { 4088, 4084, 4096, 4092 },
	}, bad[] = {
		{ 384, 128, 384, 256 }, { 381, 128, 384, 256 }, { 2, 128, 384, 256 },
		{ 0, 384, 384, 256 }, { 0, 1ull << 40, 384, 256 }, { -8ull, 128, 384, 256 },
		{ 0, 128, 384, 384 }, { 0, 128, 384, -4ull }, { 0, 128, 384, 257 },
		{ 0, 128, 4104, 256 }, { 0, 128, 388, 256 }, { 0, 0, 0, 0 }, { 0, 0, 2, 0 },
		{ 0, 128, -(u64)PST_XSK_RING * 8, 256 }, { 0, 128, U64_MAX, 256 },
	};
	struct pst_xsk xsk;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		offsets.rx = offsets.fr = good[i];
		assert_int_equal(opened(&xsk), 0);
		assert_ptr_equal(xsk.fill.producer, (char *)xsk.fill.va + good[i].producer);
		assert_ptr_equal(xsk.fill.desc, (char *)xsk.fill.va + good[i].desc);
		pst_xsk_close(&xsk);
	}
	for (i = 0; i < 2 * ARRAY_SIZE(bad); i++) {
		offsets.rx = i & 1 ? usual : bad[i / 2];
		offsets.fr = i & 1 ? bad[i / 2] : usual;
		released = 0;
		assert_int_equal(opened(&xsk), -EFAULT);
		assert_int_equal(released, 1);
		assert_null(xsk.file);
	}
}

static void must_open(struct pst_xsk *xsk)
{
	if (opened(xsk) || !xsk->file)
		abort();
}

/* At once, and not before whoever has the file too has closed it. */
static void closed(void **state)
{
	struct pst_xsk first, second = {};

	must_open(&first);
	pst_xsk_close(&first);
	assert_int_equal(released, 1);
	pst_xsk_close(&first);
	assert_int_equal(released, 1);

	must_open(&first);
	second.sock = &sock;
	assert_int_equal(bind_xsk(&second, &dev, 1, &first, 0), 0);
	pst_xsk_close(&first);
	assert_int_equal(released, 2);

	must_open(&first);
	kept = true;
	second.sock = &sock;
	assert_int_equal(bind_xsk(&second, &dev, 1, &first, 0), 0);
	pst_xsk_close(&first);
	assert_int_equal(released, 2);
	assert_int_equal(file.count, 1);

	must_open(&first);
	assert_int_equal(bind_xsk(&second, &dev, 1, &first, 0), 0);
	closing = true;
	pst_xsk_close(&first);
	assert_int_equal(released, 3);
}

#define N(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { N(offsets_checked), N(closed) };

	return cmocka_run_group_tests_name("kernel_xsk", tests, NULL, NULL);
}
