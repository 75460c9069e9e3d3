// SPDX-License-Identifier: BSD-2-Clause
/* include/net/netmap_user.h: ring arithmetic and the nm_open() family. */
#define NETMAP_WITH_LIBS
#define D(fmt, ...) do { } while (0)	/* quiet: failures are the point here */
#include <net/netmap_user.h>

#include "mock.h"

/* A ring of five slots and four buffers of 64 bytes behind it. */
static union {
	struct netmap_ring ring;
	char bytes[1024];
} small;

static struct netmap_ring *small_ring(uint32_t head, uint32_t tail)
{
	memset(&small, 0, sizeof(small));
	small.ring.num_slots = 5;
	small.ring.nr_buf_size = 64;
	small.ring.buf_ofs = 512;
	small.ring.head = small.ring.cur = head;
	small.ring.tail = tail;
	return &small.ring;
}

static void ring__next_wraps(void **state)
{
	struct netmap_ring *r = small_ring(0, 0);

	(void)state;
	assert_int_equal(nm_ring_next(r, 0), 1);
	assert_int_equal(nm_ring_next(r, 3), 4);
	assert_int_equal(nm_ring_next(r, 4), 0);
}

static void ring__space_everywhere(void **state)
{
	uint32_t head, space;

	(void)state;
	for (head = 0; head < 5; head++) {
		for (space = 0; space < 5; space++) {
			struct netmap_ring *r = small_ring(head, (head + space) % 5);

			assert_int_equal(nm_ring_space(r), space);
			assert_int_equal(nm_ring_empty(r), space == 0);
			/* a TX ring with all four slots back: nothing pending */
			assert_int_equal(nm_tx_pending(r), space != 4);
		}
	}
}

static void ring__buffers(void **state)
{
	struct netmap_ring *r = small_ring(0, 0);
	struct netmap_slot slot = { .buf_idx = 2 };

	(void)state;
	assert_ptr_equal(NETMAP_BUF(r, 0), small.bytes + 512);
	assert_ptr_equal(NETMAP_BUF(r, 3), small.bytes + 512 + 3 * 64);
	assert_int_equal(NETMAP_BUF_IDX(r, NETMAP_BUF(r, 3)), 3);
	slot.ptr = 0x1122334455667788;
	assert_ptr_equal(NETMAP_BUF_OFFSET(r, &slot), NETMAP_BUF(r, 2));
	r->offset_mask = 0xff;
	NETMAP_WOFFSET(r, &slot, 0x305);
	assert_int_equal(NETMAP_ROFFSET(r, &slot), 5);
	assert_int_equal(slot.ptr, 0x1122334455667705);
	assert_ptr_equal(NETMAP_BUF_OFFSET(r, &slot), NETMAP_BUF(r, 2) + 5);
	slot.flags = 0x12ff;
	assert_int_equal(NS_RFRAGS(&slot), 0x12);
}

static void pkt_copy(void **state)
{
	static const size_t lengths[] = { 0, 1, 63, 64, 65, 128, 960, 1024, 1500 };
	char from[2048], to[2048];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(from); i++)
		from[i] = (char)(i * 7);
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		n = lengths[i];
		memset(to, 0, sizeof(to));
		nm_pkt_copy(from, to, n);
		assert_memory_equal(from, to, n);
		assert_int_equal(to[n], 0);
	}
}

static void kloop(void **state)
{
	struct nm_csb_atok a = { 0 };
	struct nm_csb_ktoa k = { .hwcur = 3, .hwtail = 4 };
	uint32_t hwcur, hwtail;

	(void)state;
	nm_sync_kloop_appl_write(&a, 2, 1);
	assert_int_equal(a.cur, 2);
	assert_int_equal(a.head, 1);
	nm_sync_kloop_appl_read(&k, &hwtail, &hwcur);
	assert_int_equal(hwcur, 3);
	assert_int_equal(hwtail, 4);
}

static void parse__well_formed(void **state)
{
	static const struct {
		const char *spec, *name;
		uint32_t flags;
		uint16_t ring, mem;
	} cases[] = {
		{ "netmap:eth0", "eth0", NR_REG_ALL_NIC, 0, 0 },
		{ "netmap:eth0-3", "eth0", NR_REG_ONE_NIC, 3, 0 },
		{ "netmap:eth0^", "eth0", NR_REG_SW, 0, 0 },
		{ "netmap:eth0*", "eth0", NR_REG_NIC_SW, 0, 0 },
		{ "netmap:eth0{2", "eth0", NR_REG_PIPE_MASTER, 2, 0 },
		{ "netmap:eth0}2", "eth0", NR_REG_PIPE_SLAVE, 2, 0 },
		{ "vale0:x/xzt", "vale0:x", NR_REG_ALL_NIC | NR_EXCLUSIVE |
		  NR_ZCOPY_MON | NR_MONITOR_TX, 0, 0 },
		{ "vale:x/rRT@4", "vale:x", NR_REG_ALL_NIC | NR_MONITOR_RX |
		  NR_RX_RINGS_ONLY | NR_TX_RINGS_ONLY, 0, 4 },
		{ "pst:0", "pst:0", NR_REG_ALL_NIC, 0, 0 },
		{ "pst1:0-1@65535", "pst1:0", NR_REG_ONE_NIC, 1, 65535 },
		{ "stack:0", "stack:0", NR_REG_ALL_NIC, 0, 0 },
		{ "stack:web-4094/x", "stack:web", NR_REG_ONE_NIC | NR_EXCLUSIVE,
		  4094, 0 },
		{ "stack:eth0.100", "stack:eth0.100", NR_REG_ALL_NIC, 0, 0 },
		{ "stack:123456789", "stack:123456789", NR_REG_ALL_NIC, 0, 0 },
		{ "stack:0@3/x", "stack:0", NR_REG_ALL_NIC | NR_EXCLUSIVE, 0, 3 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nm_desc d = { 0 };

		assert_int_equal(nm_parse(cases[i].spec, &d, d.msg), 0);
		assert_string_equal(d.req.nr_name, cases[i].name);
		assert_int_equal(d.req.nr_flags, cases[i].flags);
		assert_int_equal(d.req.nr_ringid, cases[i].ring);
		assert_int_equal(d.req.nr_arg2, cases[i].mem);
	}
}

static void parse__errors(void **state)
{
	static const char *const bad[] = {
		"netmap:", "netmap0:eth0", "stack:", "stack.1:0", "stack:0-",
		"stack:0-4095", "stack:0-x", "stack:0{", "stack:0}a", "stack:0/",
		"stack:0/q", "stack:0@", "stack:0@0", "stack:0@65536",
		"stack:0@1@2", "stack:0/x/x", "stack:0^1", "stack:1234567890",
		"stack:0@conf:rings=1", "netmap:1234567890123456",
	}, *const other[] = { "", "eth0", "pcap:eth0", "netmap", "stack" };
	struct nm_desc d;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&d, 0, sizeof(d));
		errno = 0;
		assert_int_equal(nm_parse(bad[i], &d, d.msg), -1);
		assert_int_equal(errno, EINVAL);
		assert_true(d.msg[0]);
		assert_string_equal(d.req.nr_name, "");
	}
	for (i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		errno = EIO;
		assert_int_equal(nm_parse(other[i], &d, d.msg), -1);
		assert_int_equal(errno, 0);
	}
}

static void open_close(void **state)
{
	struct nmreq req = { .nr_arg3 = 5, .nr_tx_slots = 9 };
	struct nm_desc *d;

	(void)state;
	d = nm_open("stack:0", &req, NETMAP_NO_TX_POLL, NULL);
	assert_non_null(d);
	assert_true(IS_NETMAP_DESC(d));
	assert_int_equal(NETMAP_FD(d), d->fd);
	assert_int_equal(mock.cmd, NIOCREGIF);
	assert_string_equal(mock.body.legacy.nr_name, "stack:0");
	assert_int_equal(mock.body.legacy.nr_version, 14);
	assert_int_equal(mock.body.legacy.nr_cmd, 0);
	assert_int_equal(mock.body.legacy.nr_flags, NR_REG_ALL_NIC);
	assert_int_equal(mock.body.legacy.nr_ringid, NETMAP_NO_TX_POLL);
	assert_int_equal(mock.body.legacy.nr_arg3, 5);
	assert_int_equal(mock.body.legacy.nr_tx_slots, 9);
	assert_int_equal(d->req.nr_arg2, MOCK_MEM_ID);
	assert_ptr_equal(d->mem, mock_region());
	assert_int_equal(d->first_rx_ring, 0);
	assert_int_equal(d->last_rx_ring, 0);
	assert_ptr_equal(d->some_ring, NETMAP_RXRING(d->nifp, 0));
	assert_ptr_equal(d->buf_start, NETMAP_BUF(d->some_ring, 0));
	assert_int_equal(nm_mmap(d, NULL), EINVAL);
	assert_int_equal(nm_close(d), 0);
	assert_int_equal(nm_close(NULL), EINVAL);
}

static void open__rings_bound(void **state)
{
	struct nm_desc *d;

	(void)state;
	mock.tx_rings = mock.rx_rings = 3;
	d = nm_open("stack:0-2", NULL, 0, NULL);
	assert_int_equal(d->first_tx_ring, 2);
	assert_int_equal(d->last_tx_ring, 2);
	assert_int_equal(d->first_rx_ring, 2);
	assert_int_equal(d->last_rx_ring, 2);
	nm_close(d);
	d = nm_open("stack:0/T", NULL, 0, NULL);
	assert_int_equal(d->last_tx_ring, 2);
	assert_true(d->first_rx_ring > d->last_rx_ring);
	assert_ptr_equal(d->some_ring, NETMAP_TXRING(d->nifp, 0));
	assert_null(nm_nextpkt(d, &d->hdr));
	nm_close(d);
	d = nm_open("netmap:eth0^", NULL, 0, NULL);
	assert_null(d->some_ring);
	assert_int_equal(nm_inject(d, "x", 1), 0);
	nm_close(d);
}

static void open__each_step_fails(void **state)
{
	(void)state;
	errno = EIO;
	assert_null(nm_open("pcap:x", NULL, 0, NULL));
	assert_int_equal(errno, 0);
	assert_null(nm_open("stack:", NULL, 0, NULL));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(mock.requests, 0);

	mock.calloc_err = 1;
	assert_null(nm_open("stack:0", NULL, 0, NULL));
	mock.calloc_err = 0;
	assert_int_equal(errno, ENOMEM);

	mock.open_err = EACCES;
	assert_null(nm_open("stack:0", NULL, 0, NULL));
	assert_int_equal(errno, EACCES);
	mock.open_err = 0;

	mock.ioctl_err = EBUSY;
	assert_null(nm_open("stack:0", NULL, 0, NULL));
	assert_int_equal(errno, EBUSY);
	assert_int_equal(mock.devices, 0);
	mock.ioctl_err = 0;

	mock.mmap_err = EAGAIN;
	assert_null(nm_open("stack:0", NULL, 0, NULL));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(mock.devices, 0);
}

static void open__with_parent(void **state)
{
	struct nmreq req = { .nr_arg1 = 1, .nr_arg3 = 6, .nr_rx_rings = 2 };
	struct nm_desc *parent = nm_open("stack:0-0", &req, 0, NULL), *d;

	(void)state;
	assert_non_null(parent);
	d = nm_open("stack:0-1", NULL, NM_OPEN_ARG2, parent);
	assert_non_null(d);
	assert_int_equal(mock.body.legacy.nr_arg1, 4);
	assert_int_equal(mock.body.legacy.nr_arg2, MOCK_MEM_ID);
	assert_int_equal(mock.body.legacy.nr_arg3, 0);
	assert_int_equal(mock.body.legacy.nr_ringid, 1);
	assert_int_equal(mock.maps, 1);		/* borrowed */
	assert_int_equal(d->done_mmap, 0);
	assert_ptr_equal(d->mem, parent->mem);
	nm_close(d);
	assert_int_equal(mock.maps, 1);

	d = nm_open(NULL, NULL, NM_OPEN_IFNAME | NM_OPEN_ARG1 | NM_OPEN_ARG3 |
		    NM_OPEN_RING_CFG, parent);
	assert_string_equal(mock.body.legacy.nr_name, "stack:0");
	assert_int_equal(mock.body.legacy.nr_flags, NR_REG_ONE_NIC);
	assert_int_equal(mock.body.legacy.nr_arg1, 1);
	assert_int_equal(mock.body.legacy.nr_arg3, 6);
	assert_int_equal(mock.body.legacy.nr_rx_rings, 2);
	nm_close(d);

	mock.mem_id = 9;	/* another region is not borrowed */
	d = nm_open("stack:1", NULL, NM_OPEN_NO_MMAP, parent);
	assert_null(d->mem);
	assert_int_equal(nm_mmap(d, parent), 0);
	assert_int_equal(mock.maps, 2);
	nm_close(d);
	nm_close(parent);
}

static void inject(void **state)
{
	struct nm_desc *d;
	char packet[2 * MOCK_BUF_SIZE] = { 0 };
	int i;

	(void)state;
	mock.tx_rings = 2;
	d = nm_open("netmap:eth0", NULL, 0, NULL);
	assert_int_equal(nm_inject(d, packet, sizeof(packet)), (int)sizeof(packet));
	assert_int_equal(NETMAP_TXRING(d->nifp, 0)->slot[0].flags, NS_MOREFRAG);
	assert_int_equal(NETMAP_TXRING(d->nifp, 0)->slot[1].flags, 0);
	for (i = 0; i < 12; i++)	/* 5 more in ring 0, 7 in ring 1 */
		assert_int_equal(nm_inject(d, packet, 10), 10);
	assert_int_equal(nm_ring_space(NETMAP_TXRING(d->nifp, 1)), 0);
	assert_int_equal(nm_inject(d, packet, 10), 0);
	assert_int_equal(nm_inject(d, packet, 0), 0);
	nm_close(d);
}

/* @n packets of growing length into an RX ring, as the kernel would. */
static void arrive(struct nm_desc *d, uint16_t ring, uint32_t n)
{
	struct netmap_ring *r = NETMAP_RXRING(d->nifp, ring);

	for (; n--; r->tail = nm_ring_next(r, r->tail))
		r->slot[r->tail].len = (uint16_t)(ring * 100 + r->tail);
}

static unsigned int more, calls;

static void count(unsigned char *arg, const struct nm_pkthdr *hdr,
		  const unsigned char *buf)
{
	assert_string_equal((char *)arg, "arg");
	assert_ptr_equal(buf, hdr->buf);
	assert_ptr_equal(buf, NETMAP_BUF(hdr->d->some_ring, hdr->slot->buf_idx));
	assert_int_equal(hdr->len, hdr->slot->len);
	more += (unsigned int)hdr->flags;
	calls++;
}

static void dispatch(void **state)
{
	unsigned char arg[] = "arg";
	struct nm_desc *d;

	(void)state;
	mock.rx_rings = 3;
	d = nm_open("netmap:eth0", NULL, 0, NULL);
	assert_int_equal(nm_dispatch(d, -1, count, arg), 0);
	arrive(d, 0, 2);
	arrive(d, 2, 3);
	calls = more = 0;
	assert_int_equal(nm_dispatch(d, 3, count, arg), 3);
	assert_int_equal(calls, 3);
	assert_int_equal(more, 2);	/* all but the last */
	assert_int_equal(nm_dispatch(d, 0, count, arg), 2);
	assert_int_equal(calls, 5);
	assert_true(nm_ring_empty(NETMAP_RXRING(d->nifp, 2)));
	assert_int_equal(d->st.ps_recv, 5);
	nm_close(d);
}

static void nextpkt(void **state)
{
	struct nm_pkthdr hdr = { 0 };
	struct nm_desc *d;
	uint32_t i;

	(void)state;
	mock.rx_rings = 2;
	d = nm_open("netmap:eth0", NULL, 0, NULL);
	for (i = 0; i < 3; i++) {	/* wraps: 3 x 5 packets in 8 slots */
		uint32_t n;

		arrive(d, 1, 5);
		for (n = 0; n < 5; n++) {
			unsigned char *buf = nm_nextpkt(d, &hdr);

			assert_ptr_equal(buf, hdr.buf);
			assert_int_equal(hdr.caplen, 100 + (i * 5 + n) % 8);
			assert_ptr_equal(hdr.d, d);
		}
		assert_null(nm_nextpkt(d, &hdr));
	}
	nm_close(d);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, mock_setup, mock_teardown)
	const struct CMUnitTest tests[] = {
		T(ring__next_wraps), T(ring__space_everywhere), T(ring__buffers),
		T(pkt_copy), T(kloop), T(parse__well_formed), T(parse__errors),
		T(open_close), T(open__rings_bound), T(open__each_step_fails),
		T(open__with_parent), T(inject), T(dispatch), T(nextpkt),
	};

	return cmocka_run_group_tests_name("user", tests, NULL, NULL);
}
