// SPDX-License-Identifier: BSD-2-Clause
/* include/paste.h, lib/paste.c, lib/explain.c: requests, slots, sentences. */
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>
#include <libnetmap.h>
#include <paste.h>

#include "mock.h"

static void requests(void **state)
{
	struct nmreq_port_info_get info;
	struct nmreq_pst_stats stats;
	char name[NETMAP_REQ_IFNAMSIZ], long_name[100];
	int fd = paste_control();

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(paste_attach(fd, "stack:eth0"), 0);
	assert_int_equal(mock.cmd, NIOCCTRL);
	assert_int_equal(mock.hdr.nr_reqtype, NETMAP_REQ_PST_ATTACH);
	assert_string_equal(mock.hdr.nr_name, "stack:eth0");
	assert_int_equal(mock.body.attach.reg.nr_mode, NR_REG_NIC_SW);
	assert_int_equal(mock.body.attach.reg.nr_mem_id, 0);
	assert_int_equal(paste_attach_region(fd, "stack:eth0", 12), 0);
	assert_int_equal(mock.body.attach.reg.nr_mem_id, 12);

	assert_int_equal(paste_detach(fd, "stack:eth0"), 0);
	assert_int_equal(mock.hdr.nr_reqtype, NETMAP_REQ_PST_DETACH);

	assert_int_equal(paste_register(fd, 33), 0);
	assert_int_equal(mock.hdr.nr_reqtype, NETMAP_REQ_PST_FD_REG);
	assert_string_equal(mock.hdr.nr_name, "");
	assert_int_equal(mock.body.fd_reg.fd, 33);
	assert_int_equal(mock.body.fd_reg.flags, 0);

	memset(&stats, 0xff, sizeof(stats));
	assert_int_equal(paste_stats(fd, "stack:0", 2, &stats), 0);
	assert_int_equal(mock.hdr.nr_reqtype, NETMAP_REQ_PST_STATS);
	assert_int_equal(mock.body.stats.ring, 2);
	assert_int_equal(stats.rings, 3);
	assert_int_equal(stats.counters.rx_syncs, 0);

	assert_int_equal(paste_list(fd, 4, name), 0);
	assert_int_equal(mock.hdr.nr_reqtype, NETMAP_REQ_PST_LIST);
	assert_int_equal(mock.body.list.index, 4);
	assert_int_equal(strlen(name), NETMAP_REQ_IFNAMSIZ - 1);

	assert_int_equal(paste_info(fd, "stack:0", &info), 0);
	assert_int_equal(info.nr_mem_id, MOCK_MEM_ID);

	memset(long_name, 'a', sizeof(long_name));
	long_name[64] = '\0';
	mock.requests = 0;
	assert_int_equal(paste_detach(fd, long_name), -EINVAL);
	assert_int_equal(mock.requests, 0);
	long_name[63] = '\0';
	assert_int_equal(paste_detach(fd, long_name), 0);
	close(fd);
}

static void requests__errors(void **state)
{
	static const int errors[] = { EBADF, ENOTSOCK, EPROTONOSUPPORT, ENOTCONN,
				      EBUSY, EOPNOTSUPP, ENXIO };
	struct nmreq_pst_stats stats;
	char name[NETMAP_REQ_IFNAMSIZ] = "before";
	int fd = paste_control();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		mock.ioctl_err = errors[i];
		errno = E2BIG;
		assert_int_equal(paste_register(fd, 33), -errors[i]);
		assert_int_equal(paste_attach(fd, "stack:eth0"), -errors[i]);
		assert_int_equal(paste_stats(fd, "stack:0", 0, &stats), -errors[i]);
		assert_int_equal(paste_list(fd, 0, name), -errors[i]);
		assert_int_equal(errno, E2BIG);
	}
	assert_string_equal(name, "before");
	close(fd);
	mock.open_err = ENOENT;
	assert_int_equal(paste_control(), -ENOENT);
	assert_int_equal(errno, E2BIG);
}

static void receive(void **state)
{
	struct nmport_d *d = nmport_open("stack:0");
	struct netmap_ring *r = NETMAP_RXRING(d->nifp, 0);
	struct netmap_slot *slot;
	uint32_t spare, own;
	size_t len;

	(void)state;
	assert_null(paste_rx_first(r));
	r->slot[0].fd = 5;
	r->slot[0].offset = 66;
	r->slot[0].len = 100;
	r->slot[1].flags = NS_PST_EVENT;
	r->slot[1].buf_idx = 0;
	r->slot[1].len = 0;
	r->tail = 2;

	slot = paste_rx_first(r);
	assert_ptr_equal(slot, &r->slot[0]);
	assert_false(paste_rx_is_event(slot));
	assert_ptr_equal(paste_rx_data(r, slot, &len),
			 NETMAP_BUF(r, slot->buf_idx) + 66);
	assert_int_equal(len, 34);
	own = slot->buf_idx;
	spare = 40;
	assert_int_equal(paste_rx_keep(slot, spare), own);
	assert_int_equal(slot->buf_idx, 40);
	assert_true(slot->flags & NS_BUF_CHANGED);
	paste_rx_release(r);

	slot = paste_rx_first(r);
	assert_true(paste_rx_is_event(slot));
	paste_rx_data(r, slot, &len);
	assert_int_equal(len, 0);
	paste_rx_release(r);
	assert_null(paste_rx_first(r));
	assert_int_equal(r->cur, 2);
	r->head = r->cur = 7;
	paste_rx_release(r);
	assert_int_equal(r->head, 0);
	nmport_close(d);
}

static void transmit(void **state)
{
	struct nmport_d *d = nmport_open("stack:0");
	struct netmap_ring *r = NETMAP_TXRING(d->nifp, 0);
	uint32_t buf = 50, own = r->slot[1].buf_idx, lent = r->slot[2].buf_idx;
	size_t room = 0;
	void *p;

	(void)state;
	r->slot[0].flags = NS_PST_REFUSED;
	r->slot[0].err = EBADF;
	assert_int_equal(paste_tx_refusal(r), -EBADF);
	p = paste_tx_room(r, &room);
	assert_ptr_equal(p, NETMAP_BUF(r, r->slot[0].buf_idx));
	assert_int_equal(room, MOCK_BUF_SIZE);
	memcpy(p, "reply", 5);
	paste_tx_commit(r, 9, 5);
	assert_int_equal(r->slot[0].fd, 9);
	assert_int_equal(r->slot[0].offset, 0);
	assert_int_equal(r->slot[0].len, 5);
	assert_int_equal(r->slot[0].flags, 0);
	assert_int_equal(r->slot[0].err, 0);
	assert_int_equal(paste_tx_refusal(r), 0);

	assert_int_equal(paste_tx_swap(r, 9, &buf, 10, 20), 0);
	assert_int_equal(buf, own);
	assert_int_equal(r->slot[1].buf_idx, 50);
	assert_int_equal(r->slot[1].offset, 10);
	assert_int_equal(r->slot[1].len, 30);
	assert_int_equal(r->slot[1].flags, NS_BUF_CHANGED);

	assert_int_equal(paste_tx_lend(r, 8, 51, 3, 4), 0);
	assert_int_equal(r->slot[2].buf_idx, 51);
	assert_int_not_equal(lent, 51);
	assert_int_equal(r->slot[2].offset, 3);
	assert_int_equal(r->slot[2].len, 7);
	assert_int_equal(r->slot[2].flags, NS_PST_KEEP);
	assert_int_equal(r->cur, 3);

	while (paste_tx_room(r, &room))
		paste_tx_commit(r, 9, 1);
	assert_int_equal(r->head, MOCK_SLOTS - 1);
	buf = 52;
	assert_int_equal(paste_tx_swap(r, 9, &buf, 0, 1), -EAGAIN);
	assert_int_equal(buf, 52);
	assert_int_equal(paste_tx_lend(r, 9, 52, 0, 1), -EAGAIN);
	assert_int_equal(paste_tx_refusal(r), 0);
	nmport_close(d);
}

static void extra_buffers(void **state)
{
	struct nmport_d *d = nmport_prepare("stack:0");
	struct netmap_ring *r;
	uint32_t got[4], i;

	(void)state;
	d->reg.nr_extra_bufs = 3;
	assert_int_equal(nmport_open_desc(d), 0);
	r = NETMAP_RXRING(d->nifp, 0);
	for (i = 0; i < 3; i++) {
		got[i] = paste_buf_pop(d->nifp, r);
		assert_int_not_equal(got[i], 0);
	}
	assert_int_equal(paste_buf_pop(d->nifp, r), 0);
	for (i = 0; i < 3; i++)
		paste_buf_push(d->nifp, r, got[i]);
	assert_int_equal(paste_buf_pop(d->nifp, r), got[2]);
	assert_int_equal(paste_buf_pop(d->nifp, r), got[1]);
	assert_int_equal(paste_buf_pop(d->nifp, r), got[0]);
	nmport_close(d);
}

/* Every error of every request has words of its own, whatever its sign. */
static void sentences(void **state)
{
	static const struct { uint16_t request; int err; } told[] = {
		{ 0, ENOENT }, { 0, EACCES },
		{ NETMAP_REQ_REGISTER, EBUSY }, { NETMAP_REQ_REGISTER, ENOMEM },
		{ NETMAP_REQ_REGISTER, EINVAL }, { NETMAP_REQ_REGISTER, EOPNOTSUPP },
		{ NETMAP_REQ_REGISTER, ENXIO }, { NETMAP_REQ_REGISTER, EFAULT },
		{ NETMAP_REQ_PST_ATTACH, EPERM }, { NETMAP_REQ_PST_ATTACH, EBUSY },
		{ NETMAP_REQ_PST_ATTACH, EINVAL }, { NETMAP_REQ_PST_ATTACH, ENOMEM },
		{ NETMAP_REQ_PST_ATTACH, ENXIO }, { NETMAP_REQ_PST_ATTACH, ENOTUNIQ },
		{ NETMAP_REQ_PST_ATTACH, EOPNOTSUPP },
		{ NETMAP_REQ_PST_ATTACH, ENOSPC }, { NETMAP_REQ_PST_ATTACH, EXDEV },
		{ NETMAP_REQ_PST_DETACH, ENXIO }, { NETMAP_REQ_PST_DETACH, ENOTUNIQ },
		{ NETMAP_REQ_PST_FD_REG, ENOSPC }, { NETMAP_REQ_PST_FD_REG, EINVAL },
		{ NETMAP_REQ_PST_FD_REG, EBADF }, { NETMAP_REQ_PST_FD_REG, ENOTSOCK },
		{ NETMAP_REQ_PST_FD_REG, EPROTONOSUPPORT },
		{ NETMAP_REQ_PST_FD_REG, ENOTCONN }, { NETMAP_REQ_PST_FD_REG, EBUSY },
		{ NETMAP_REQ_PST_FD_REG, ENXIO }, { NETMAP_REQ_PST_FD_REG, ENOMEM },
		{ NETMAP_REQ_PST_FD_REG, EOPNOTSUPP },
		{ NETMAP_REQ_PST_STATS, ENXIO }, { NETMAP_REQ_PST_STATS, EINVAL },
		{ NETMAP_REQ_PST_LIST, ENOENT },
	};
	size_t i, j, n = sizeof(told) / sizeof(told[0]);

	(void)state;
	for (i = 0; i < n; i++) {
		const char *s = paste_strerror(told[i].request, told[i].err);

		assert_ptr_equal(s, paste_strerror(told[i].request, -told[i].err));
		assert_true(strlen(s) > 20);
		assert_null(strchr(s, '\n'));
		for (j = 0; j < i; j++)
			assert_ptr_not_equal(s, paste_strerror(told[j].request,
							       told[j].err));
	}
	assert_non_null(strstr(paste_strerror(NETMAP_REQ_POOLS_INFO_GET, EINVAL),
			       "not well formed"));
	assert_string_equal(paste_strerror(NETMAP_REQ_REGISTER, EXDEV),
			    strerror(EXDEV));
	assert_string_equal(paste_strerror(0, EINVAL), strerror(EINVAL));
	assert_string_equal(paste_strerror(1, 100000), "unknown error");
}

/* The requests that a heading of the manual's ERRORS names; a heading that names none: 0. */
static size_t requests_of(const char *heading, uint16_t *request)
{
	static const struct { const char *name; uint16_t request; } names[] = {
		{ "NETMAP_REQ_REGISTER", NETMAP_REQ_REGISTER },
		{ "NETMAP_REQ_PST_ATTACH", NETMAP_REQ_PST_ATTACH },
		{ "NETMAP_REQ_PST_DETACH", NETMAP_REQ_PST_DETACH },
		{ "NETMAP_REQ_PST_FD_REG", NETMAP_REQ_PST_FD_REG },
		{ "Any request", NETMAP_REQ_REGISTER },
		{ "Any request", NETMAP_REQ_POOLS_INFO_GET },
	};
	size_t n = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strstr(heading, names[i].name))
			request[n++] = names[i].request;
	return n;
}

static int errno_of(const char *name, size_t len)
{
	for (int err = 1; err < 200; err++) {
		const char *s = strerrorname_np(err);

		if (s && strlen(s) == len && !memcmp(s, name, len))
			return err;
	}
	return 0;
}

/* What paste(4) says of paste_strerror(): each error it lists of a request has a sentence of ours. */
static void sentences__manual(void **state)
{
	FILE *f = fopen("../../doc/man/paste.4", "r");
	size_t nrequests = 0, seen = 0;
	bool errors = false;
	uint16_t request[8];
	char line[512];

	(void)state;
	assert_non_null(f);
	if (!f)		/* for the analyzer */
		return;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, ".SH ", 4))
			errors = !strncmp(line + 4, "ERRORS", 6);
		if (errors && !strncmp(line, ".SS ", 4))
			nrequests = requests_of(line, request);
		if (!errors || strncmp(line, ".B", 2))
			continue;
		for (char *p = strchr(line, 'E'); p; p = strchr(p, 'E')) {
			size_t len = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ2");
			int err = errno_of(p, len);

			for (size_t i = 0; err && i < nrequests; i++, seen++)
				if (!strcmp(paste_strerror(request[i], err), strerrordesc_np(err)))
					fail_msg("no sentence for %.*s of request %u", (int)len, p, request[i]);
			p += len;
		}
	}
	fclose(f);
	assert_true(seen > 40);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, mock_setup, mock_teardown)
	const struct CMUnitTest tests[] = {
		T(requests), T(requests__errors), T(receive), T(transmit),
		T(extra_buffers), T(sentences), T(sentences__manual),
	};

	return cmocka_run_group_tests_name("paste", tests, NULL, NULL);
}
