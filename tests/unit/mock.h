/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A netmap device in user space, put in by the linker (--wrap) under open, ioctl,
 * mmap, munmap, close and calloc: it answers requests, lays out a region with
 * rings, fails where it is told to, and counts what has to be undone.
 */
#ifndef _MOCK_H_
#define _MOCK_H_

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>
#include <net/netmap_paste.h>

#define MOCK_SLOTS	8	/* per ring */
#define MOCK_BUF_SIZE	256	/* bytes */
#define MOCK_BUFS	64
#define MOCK_MEM_ID	7

struct mock {
	/* what to do */
	int open_err;		/* errno, 0 = succeed; of the device alone */
	int ioctl_err;
	int mmap_err;		/* of the region alone */
	int calloc_err;
	uint32_t opt_status;	/* for each option of a failing request */
	uint32_t tx_rings, rx_rings;
	uint16_t mem_id;
	const void *extmem;	/* lay the region out there */
	uint64_t buf_ofs;	/* what supplied memory's buffers are said to begin at */

	/* what happened */
	int devices;		/* open descriptors of the device */
	int maps;		/* mappings of the region */
	int requests;
	unsigned long cmd;	/* of the last request */
	struct nmreq_header hdr;
	uint32_t kept[4], nkept;	/* of NETMAP_REQ_OPT_PST_KEEP */
	union {
		struct nmreq_register reg;
		struct nmreq_vale_attach attach;
		struct nmreq_pst_fd_reg fd_reg;
		struct nmreq_pst_stats stats;
		struct nmreq_pst_list list;
		struct nmreq legacy;
	} body;
	char messages[2048];	/* of the library's context */
};

extern struct mock mock;

/* For cmocka: a device that succeeds, with one ring pair; messages are kept. */
int mock_setup(void **state);
/* For cmocka: everything must have been undone. */
int mock_teardown(void **state);

/* The region, as the fake kernel sees it. */
void *mock_region(void);

#endif
