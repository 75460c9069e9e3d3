// SPDX-License-Identifier: BSD-2-Clause
/* See mock.h. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <libnetmap.h>

#include "mock.h"

#define PAGE		4096	/* the one with the netmap_if is the first */
#define IF_OFS		128
#define RING_OFS	4096
#define RING_SIZE	1024
#define BUF_OFS		(64 * 1024)
#define REGION_SIZE	(BUF_OFS + MOCK_BUFS * MOCK_BUF_SIZE)

struct mock mock;

static char region[REGION_SIZE] __attribute__((aligned(4096)));
static char is_device[1024];	/* by descriptor */

int __real_open(const char *path, int flags, ...);
int __real_close(int fd);
int __real_ioctl(int fd, unsigned long cmd, ...);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t ofs);
int __real_munmap(void *addr, size_t len);
void *__real_calloc(size_t n, size_t size);

int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int fd);
int __wrap_ioctl(int fd, unsigned long cmd, ...);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t ofs);
int __wrap_munmap(void *addr, size_t len);
void *__wrap_calloc(size_t n, size_t size);

void *mock_region(void)
{
	return mock.extmem ? (void *)(uintptr_t)mock.extmem : region;
}

/* Rings of both directions, of which the mode binds some. */
static void lay_out(uint32_t mode, uint16_t ringid, uint64_t flags,
		    uint32_t extra)
{
	uint32_t rings[2] = { mock.tx_rings, mock.rx_rings }, dir, i, n = 0;
	struct netmap_if *nifp = (void *)((char *)mock_region() + IF_OFS);
	uint32_t buf = 2;

	memset(mock_region(), 0, REGION_SIZE);
	nifp->ni_tx_rings = rings[0];
	nifp->ni_rx_rings = rings[1];
	nifp->ni_host_tx_rings = 1;
	nifp->ni_host_rx_rings = 1;
	for (dir = 0; dir < 2; dir++, n++) {
		for (i = 0; i < rings[dir]; i++, n++) {
			size_t ofs = RING_OFS + n * RING_SIZE;
			struct netmap_ring *r = (void *)((char *)mock_region() + ofs);
			int bound = mode != NR_REG_ONE_NIC || i == ringid;

			if (flags & (dir ? NR_TX_RINGS_ONLY : NR_RX_RINGS_ONLY))
				bound = 0;
			if (mode == NR_REG_SW)
				bound = 0;
			nifp->ring_ofs[n] = bound ? (ssize_t)(ofs - IF_OFS) : 0;
			r->buf_ofs = (int64_t)(BUF_OFS - ofs);
			r->num_slots = MOCK_SLOTS;
			r->nr_buf_size = MOCK_BUF_SIZE;
			r->ringid = (uint16_t)i;
			r->dir = (uint16_t)dir;
			r->tail = dir ? 0 : MOCK_SLOTS - 1;
			for (uint32_t s = 0; s < MOCK_SLOTS; s++)
				r->slot[s].buf_idx = buf++;
		}
	}
	for (i = 0; i < extra; i++, buf++) {
		uint32_t *next = (void *)((char *)mock_region() + BUF_OFS +
					  buf * MOCK_BUF_SIZE);

		*next = nifp->ni_bufs_head;
		nifp->ni_bufs_head = buf;
	}
}

static void answer_legacy(struct nmreq *req)
{
	lay_out(req->nr_flags & NR_REG_MASK, req->nr_ringid & NETMAP_RING_MASK,
		req->nr_flags, req->nr_arg3);
	req->nr_offset = IF_OFS;
	req->nr_memsize = REGION_SIZE;
	req->nr_arg2 = mock.mem_id;
}

static void answer_options(struct nmreq_header *hdr)
{
	struct nmreq_opt_extmem *ext = (void *)nmreq_find_option(hdr, NETMAP_REQ_OPT_EXTMEM);
	struct nmreq_opt_pst_keep *keep = (void *)nmreq_find_option(hdr, NETMAP_REQ_OPT_PST_KEEP);

	if (ext)
		ext->nro_info.nr_buf_pool_offset = mock.buf_ofs;
	mock.nkept = keep ? keep->nro_count : 0;
	if (mock.nkept && mock.nkept <= 4)
		memcpy(mock.kept, (void *)(uintptr_t)keep->nro_indexes, 4 * mock.nkept);
}

static void answer_control(struct nmreq_header *hdr)
{
	void *body = (void *)(uintptr_t)hdr->nr_body;

	switch (hdr->nr_reqtype) {
	case NETMAP_REQ_REGISTER: {
		struct nmreq_register *reg = body;

		answer_options(hdr);
		lay_out(reg->nr_mode, reg->nr_ringid, reg->nr_flags,
			reg->nr_extra_bufs);
		reg->nr_offset = IF_OFS;
		reg->nr_memsize = REGION_SIZE;
		reg->nr_mem_id = mock.mem_id;
		reg->nr_tx_rings = (uint16_t)mock.tx_rings;
		reg->nr_rx_rings = (uint16_t)mock.rx_rings;
		break;
	}
	case NETMAP_REQ_PORT_INFO_GET:
		((struct nmreq_port_info_get *)body)->nr_mem_id = mock.mem_id;
		break;
	case NETMAP_REQ_PST_STATS:
		((struct nmreq_pst_stats *)body)->rings = 3;
		break;
	case NETMAP_REQ_PST_LIST:
		memset(hdr->nr_name, 'x', sizeof(hdr->nr_name));
		break;
	}
}

static size_t body_size(uint16_t type)
{
	switch (type) {
	case NETMAP_REQ_REGISTER: return sizeof(struct nmreq_register);
	case NETMAP_REQ_PST_ATTACH: return sizeof(struct nmreq_vale_attach);
	case NETMAP_REQ_PST_FD_REG: return sizeof(struct nmreq_pst_fd_reg);
	case NETMAP_REQ_PST_STATS: return sizeof(struct nmreq_pst_stats);
	case NETMAP_REQ_PST_LIST: return sizeof(struct nmreq_pst_list);
	}
	return 0;
}

int __wrap_open(const char *path, int flags, ...)
{
	int fd;

	if (strcmp(path, NETMAP_DEVICE_NAME))
		return __real_open(path, flags);
	if (mock.open_err) {
		errno = mock.open_err;
		return -1;
	}
	fd = __real_open("/dev/null", O_RDWR);
	assert_true(fd >= 0 && fd < (int)sizeof(is_device));
	is_device[fd] = 1;
	mock.devices++;
	return fd;
}

int __wrap_close(int fd)
{
	assert_true(fd >= 0 && fd < (int)sizeof(is_device));
	mock.devices -= is_device[fd];
	is_device[fd] = 0;
	return __real_close(fd);
}

int __wrap_ioctl(int fd, unsigned long cmd, ...)
{
	struct nmreq_header *hdr;
	va_list ap;
	void *arg;

	(void)fd;
	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	mock.requests++;
	mock.cmd = cmd;
	if (cmd == NIOCREGIF) {
		memcpy(&mock.body.legacy, arg, sizeof(mock.body.legacy));
		if (!mock.ioctl_err)
			answer_legacy(arg);
	} else if (cmd == NIOCCTRL) {
		hdr = arg;
		mock.hdr = *hdr;
		memcpy(&mock.body, (void *)(uintptr_t)hdr->nr_body,
		       body_size(hdr->nr_reqtype));
		if (mock.ioctl_err) {
			struct nmreq_option *opt;

			nmreq_foreach_option(hdr, opt)
				opt->nro_status = mock.opt_status;
		} else {
			answer_control(hdr);
		}
	}
	if (mock.ioctl_err) {
		errno = mock.ioctl_err;
		return -1;
	}
	return 0;
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t ofs)
{
	if (fd < 0 || !is_device[fd])
		return __real_mmap(addr, len, prot, flags, fd, ofs);
	if (mock.mmap_err) {
		errno = mock.mmap_err;
		return MAP_FAILED;
	}
	assert_int_equal(flags, MAP_SHARED);
	assert_int_equal(prot, PROT_READ | PROT_WRITE);
	mock.maps++;
	if (len == PAGE)
		return (char *)mock_region() + ofs;
	assert_int_equal(len, REGION_SIZE);
	return region;
}

int __wrap_munmap(void *addr, size_t len)
{
	if (addr != mock_region() || len != PAGE) {
		if (addr != region)
			return __real_munmap(addr, len);
		assert_int_equal(len, REGION_SIZE);
	}
	mock.maps--;
	return 0;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return mock.calloc_err ? NULL : __real_calloc(n, size);
}

static void keep_message(struct nmctx *ctx, const char *sentence)
{
	size_t len = strlen(mock.messages);

	(void)ctx;
	snprintf(mock.messages + len, sizeof(mock.messages) - len, "%s\n",
		 sentence);
}

int mock_setup(void **state)
{
	(void)state;
	mock = (struct mock){ .tx_rings = 1, .rx_rings = 1,
			      .mem_id = MOCK_MEM_ID };
	nmctx_get()->error = keep_message;
	return 0;
}

int mock_teardown(void **state)
{
	(void)state;
	assert_int_equal(mock.devices, 0);
	assert_int_equal(mock.maps, 0);
	assert_null(nmctx_get()->mem_descs);
	return 0;
}
