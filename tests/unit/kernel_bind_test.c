// SPDX-License-Identifier: BSD-2-Clause
/* kernel/bind.c: wishes, choice of rings, exclusivity, netmap_ifs, extra buffers. */
#include "kernel/test.h"
#include "../../kernel/bind.c"

#define RINGS	3

static struct pst_file f[12];

static struct nmreq_register reg_of(u32 mode, u16 ringid, u64 flags)
{
	return (struct nmreq_register) {
		.nr_mode = mode, .nr_ringid = ringid, .nr_flags = flags,
		.nr_tx_slots = 16, .nr_rx_slots = 16, .nr_tx_rings = RINGS,
	};
}

static int do_bind_reg(struct pst_file *pf, struct nmreq_register *reg)
{
	int err;

	mutex_lock(&pf->mutex);
	err = pst_file_bind(pf, "stack:0", reg, NULL);
	mutex_unlock(&pf->mutex);
	if (!err)
		assert_false(pf->port->mutex.locked);
	else
		assert_null(pf->port);
	return err;
}

static int do_bind(struct pst_file *pf, u32 mode, u16 ringid, u64 flags)
{
	struct nmreq_register reg = reg_of(mode, ringid, flags);

	return do_bind_reg(pf, &reg);
}

static void unbind(struct pst_file *pf)
{
	pst_file_unbind(pf);
	memset(pf, 0, sizeof(*pf));
}

static int setup(void **state)
{
	memset(f, 0, sizeof(f));
	return mock_setup(state);
}

static int teardown(void **state)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(f); i++)
		if (f[i].port)
			unbind(&f[i]);
	return mock_teardown(state);
}

/* ------------------------------------------------------------ wishes */

static void wishes(void **state)
{
	static const struct { u32 n, slots, rings; } cases[] = {
		{ 0, 1024, 1 }, { 1, 1024, 1 }, { 15, 1024, 15 }, { 16, 16, 16 }, { 17, 17, 17 },
		{ 64, 64, 64 }, { 65, 65, 64 }, { 4096, 4096, 64 }, { 4097, 4096, 64 },
		{ 0xffff, 4096, 64 },
	};
	struct pst_port_config c;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nmreq_register reg = {
			.nr_tx_slots = cases[i].n, .nr_rx_slots = cases[i].n,
			.nr_tx_rings = cases[i].n, .nr_extra_bufs = cases[i].n,
		};

		config_from(&reg, NULL, &c);
		assert_int_equal(c.tx_slots, cases[i].slots);
		assert_int_equal(c.rx_slots, cases[i].slots);
		assert_int_equal(c.rings, cases[i].rings);
		assert_int_equal(c.extra_bufs, cases[i].n);
		reg.nr_tx_rings = 0;
		reg.nr_rx_rings = cases[i].n;
		reg.nr_tx_slots = 0xffffffff;
		reg.nr_extra_bufs = 0xffffffff;
		config_from(&reg, NULL, &c);
		assert_int_equal(c.rings, cases[i].rings);
		assert_int_equal(c.tx_slots, 4096);
		assert_int_equal(c.extra_bufs, 1000000);
	}
}

/* ------------------------------------------------------------ choice */

static void choice(void **state)
{
	static const struct {
		u32 mode;
		u16 ringid;
		u64 flags;
		int err;
		u16 tx_first, tx_end, rx_first, rx_end;
	} cases[] = {
		{ NR_REG_ALL_NIC, 0, 0, 0, 0, 3, 0, 3 },
		{ NR_REG_ALL_NIC, 77, 0, 0, 0, 3, 0, 3 },	/* not looked at */
		{ NR_REG_NIC_SW, 0, 0, 0, 0, 3, 0, 3 },
		{ NR_REG_ONE_NIC, 0, 0, 0, 0, 1, 0, 1 },
		{ NR_REG_ONE_NIC, 2, 0, 0, 2, 3, 2, 3 },
		{ NR_REG_ONE_NIC, 3, 0, -EINVAL, 0, 0, 0, 0 },
		{ NR_REG_ONE_NIC, 0xffff, 0, -EINVAL, 0, 0, 0, 0 },
		{ NR_REG_ALL_NIC, 0, NR_RX_RINGS_ONLY, 0, 0, 0, 0, 3 },
		{ NR_REG_ALL_NIC, 0, NR_TX_RINGS_ONLY, 0, 0, 3, 0, 0 },
		{ NR_REG_ONE_NIC, 1, NR_RX_RINGS_ONLY, 0, 1, 1, 1, 2 },
		{ NR_REG_ONE_NIC, 1, NR_TX_RINGS_ONLY, 0, 1, 2, 1, 1 },
		{ NR_REG_ALL_NIC, 0, NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY, 0, 0, 0, 0, 0 },
		{ NR_REG_DEFAULT, 0, 0, -EINVAL, 0, 0, 0, 0 },
		{ NR_REG_SW, 0, 0, -EOPNOTSUPP, 0, 0, 0, 0 },
		{ NR_REG_ONE_SW, 0, 0, -EOPNOTSUPP, 0, 0, 0, 0 },
		{ NR_REG_NULL, 0, 0, -EOPNOTSUPP, 0, 0, 0, 0 },
		{ NR_REG_PIPE_MASTER, 0, 0, -EINVAL, 0, 0, 0, 0 },
		{ 9, 0, 0, -EINVAL, 0, 0, 0, 0 },
		{ 0xffffffff, 0, 0, -EINVAL, 0, 0, 0, 0 },
		{ NR_REG_ALL_NIC, 0, NR_MONITOR_TX, -EOPNOTSUPP, 0, 0, 0, 0 },
		{ NR_REG_ALL_NIC, 0, NR_MONITOR_RX | 1, -EOPNOTSUPP, 0, 0, 0, 0 },
		{ NR_REG_ALL_NIC, 0, NR_ZCOPY_MON, -EOPNOTSUPP, 0, 0, 0, 0 },
		{ NR_REG_ALL_NIC, 0, 1, -EINVAL, 0, 0, 0, 0 },
		{ NR_REG_ALL_NIC, 0, 1ull << 63, -EINVAL, 0, 0, 0, 0 },
		{ NR_REG_ALL_NIC, 0, NR_ACCEPT_VNET_HDR | NR_DO_RX_POLL | NR_NO_TX_POLL, 0,
		  0, 3, 0, 3 },
	};
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		int err = do_bind(&f[0], cases[i].mode, cases[i].ringid, cases[i].flags);
		struct netmap_if *nifp;

		if (err != cases[i].err)
			fail_msg("case %u: %d", i, err);
		if (err) {
			assert_int_equal(mock.live + mock.pages, 0);
			continue;
		}
		assert_int_equal(f[0].tx_first, cases[i].tx_first);
		assert_int_equal(f[0].tx_end, cases[i].tx_end);
		assert_int_equal(f[0].rx_first, cases[i].rx_first);
		assert_int_equal(f[0].rx_end, cases[i].rx_end);
		nifp = f[0].nifp;
		assert_string_equal(nifp->ni_name, "stack:0");
		assert_int_equal(nifp->ni_tx_rings, RINGS);
		assert_int_equal(nifp->ni_rx_rings, RINGS);
		assert_int_equal(nifp->ni_host_rx_rings, 1);
		for (j = 0; j < RINGS; j++) {
			bool tx = j >= cases[i].tx_first && j < cases[i].tx_end;
			bool rx = j >= cases[i].rx_first && j < cases[i].rx_end;
			struct pst_ring *r = &f[0].port->ring[j];

			assert_ptr_equal((char *)nifp + nifp->ring_ofs[j],
					 tx ? (void *)r->tx.ring : (void *)nifp);
			assert_ptr_equal((char *)nifp + nifp->ring_ofs[RINGS + 1 + j],
					 rx ? (void *)r->rx.ring : (void *)nifp);
		}
		assert_int_equal(nifp->ring_ofs[RINGS], 0);
		assert_int_equal(nifp->ring_ofs[2 * RINGS + 1], 0);
		unbind(&f[0]);
	}
}

static void refusals(void **state)
{
	struct nmreq_register reg = reg_of(NR_REG_ALL_NIC, 0, 0);
	struct nmreq_register got;
	int err;

	mock.netdev = "0";
	assert_int_equal(do_bind(&f[0], NR_REG_ALL_NIC, 0, 0), -EINVAL);
	mock.netdev = "1";
	reg.nr_mem_id = 1;
	assert_int_equal(do_bind_reg(&f[0], &reg), -EINVAL);
	got = reg_of(NR_REG_ALL_NIC, 0, 0);
	assert_int_equal(do_bind_reg(&f[0], &got), 0);
	assert_int_equal(got.nr_memsize, f[0].port->region->size);
	assert_int_equal(got.nr_offset, pst_region_offset(f[0].port->region, f[0].nifp));
	assert_int_equal(got.nr_rx_rings, RINGS);
	reg.nr_mem_id = got.nr_mem_id;
	assert_int_equal(do_bind_reg(&f[1], &reg), 0);
	assert_int_not_equal(reg.nr_offset, got.nr_offset);
	mutex_lock(&f[0].mutex);
	err = pst_file_bind(&f[0], "stack:0", &reg, NULL);
	assert_int_equal(err, -EBUSY);
	mutex_unlock(&f[0].mutex);
	mutex_lock(&f[2].mutex);
	assert_int_equal(pst_file_bind(&f[2], "stack:/", &reg, NULL), -EINVAL);
	assert_int_equal(pst_file_bind(&f[2], "netmap:x", &reg, NULL), -EOPNOTSUPP);
	mutex_unlock(&f[2].mutex);
	/* Wishes are for who makes the port; the second one gets what there is. */
	assert_int_equal(reg.nr_tx_slots, 16);
	unbind(&f[0]);
	assert_non_null(f[1].port);
	pst_file_unbind(&f[0]);		/* not bound: nothing */
}

/* There are so many netmap_ifs, and they come back. */
static void many_descriptors(void **state)
{
	u32 i, room = 2 * RINGS + 2;

	for (i = 0; i < room; i++)
		assert_int_equal(do_bind(&f[i], NR_REG_ALL_NIC, 0, 0), 0);
	assert_int_equal(do_bind(&f[room], NR_REG_ALL_NIC, 0, 0), -ENOMEM);
	assert_int_equal(f[0].port->opens, room);
	unbind(&f[3]);
	assert_int_equal(do_bind(&f[room], NR_REG_ONE_NIC, 1, 0), 0);
	assert_int_equal(f[0].port->ring[1].tx.users, room);
	assert_int_equal(f[0].port->ring[0].tx.users, room - 1);
}

/* ------------------------------------------------------------ exclusivity */

static void exclusive(void **state)
{
	const u64 X = NR_EXCLUSIVE;

	assert_int_equal(do_bind(&f[0], NR_REG_ONE_NIC, 0, X), 0);
	assert_int_equal(do_bind(&f[1], NR_REG_ONE_NIC, 0, 0), -EBUSY);
	assert_int_equal(do_bind(&f[1], NR_REG_ONE_NIC, 0, X), -EBUSY);
	assert_int_equal(do_bind(&f[1], NR_REG_ALL_NIC, 0, 0), -EBUSY);
	assert_int_equal(do_bind(&f[1], NR_REG_ONE_NIC, 0, NR_RX_RINGS_ONLY), -EBUSY);
	assert_int_equal(do_bind(&f[1], NR_REG_ONE_NIC, 0, NR_TX_RINGS_ONLY), -EBUSY);
	/* All or nothing: the others were not taken on the way. */
	assert_int_equal(f[0].port->ring[1].tx.users, 0);
	assert_int_equal(f[0].port->opens, 1);
	assert_int_equal(do_bind(&f[1], NR_REG_ONE_NIC, 1, X), 0);
	assert_int_equal(do_bind(&f[2], NR_REG_ONE_NIC, 2, 0), 0);
	assert_int_equal(do_bind(&f[3], NR_REG_ONE_NIC, 2, 0), 0);
	assert_int_equal(do_bind(&f[4], NR_REG_ONE_NIC, 2, X), -EBUSY);
	unbind(&f[2]);
	assert_int_equal(do_bind(&f[4], NR_REG_ONE_NIC, 2, X), -EBUSY);
	unbind(&f[3]);
	assert_int_equal(do_bind(&f[4], NR_REG_ONE_NIC, 2, X), 0);
	unbind(&f[0]);
	assert_int_equal(do_bind(&f[0], NR_REG_ONE_NIC, 0, 0), 0);
	assert_int_equal(do_bind(&f[2], NR_REG_ONE_NIC, 0, 0), 0);
}

/* One may have the senders, another the receivers. */
static void exclusive_directions(void **state)
{
	const u64 X = NR_EXCLUSIVE;

	assert_int_equal(do_bind(&f[0], NR_REG_ALL_NIC, 0, X | NR_TX_RINGS_ONLY), 0);
	assert_int_equal(do_bind(&f[1], NR_REG_ALL_NIC, 0, NR_TX_RINGS_ONLY), -EBUSY);
	assert_int_equal(do_bind(&f[1], NR_REG_ALL_NIC, 0, X | NR_RX_RINGS_ONLY), 0);
	assert_int_equal(do_bind(&f[2], NR_REG_ONE_NIC, 1, NR_RX_RINGS_ONLY), -EBUSY);
	unbind(&f[1]);
	assert_int_equal(do_bind(&f[2], NR_REG_ONE_NIC, 1, NR_RX_RINGS_ONLY), 0);
	/* None at all is never in anybody's way. */
	assert_int_equal(do_bind(&f[3], NR_REG_ALL_NIC, 0,
				 X | NR_RX_RINGS_ONLY | NR_TX_RINGS_ONLY), 0);
}

/* Random binds and unbinds against who has what. */
static void exclusive_model(void **state)
{
	struct { bool tx[RINGS], rx[RINGS], excl, bound; } m[8] = { 0 };
	u32 step, i, r;

	assert_int_equal(do_bind(&f[8], NR_REG_ALL_NIC, 0,	/* keeps the port */
				 NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY), 0);
	for (step = 0; step < 5000; step++) {
		u32 me = rnd(7), ring = rnd(RINGS), dirs = rnd(3);
		bool all = rnd(3) == 0, excl = rnd(3) == 0, busy = false;
		bool tx[RINGS], rx[RINGS];
		int err;

		if (m[me].bound) {
			unbind(&f[me]);
			memset(&m[me], 0, sizeof(m[me]));
			continue;
		}
		for (r = 0; r < RINGS; r++) {
			tx[r] = (all || r == ring) && dirs != 1;
			rx[r] = (all || r == ring) && dirs != 2;
			for (i = 0; i < 8; i++)
				busy |= ((tx[r] && m[i].tx[r]) || (rx[r] && m[i].rx[r])) &&
					(excl || m[i].excl);
		}
		err = do_bind(&f[me], all ? NR_REG_ALL_NIC : NR_REG_ONE_NIC, ring,
			      (excl ? NR_EXCLUSIVE : 0) | (dirs == 1 ? NR_RX_RINGS_ONLY : 0) |
			      (dirs == 2 ? NR_TX_RINGS_ONLY : 0));
		assert_int_equal(err, busy ? -EBUSY : 0);
		if (err)
			continue;
		memcpy(m[me].tx, tx, sizeof(tx));
		memcpy(m[me].rx, rx, sizeof(rx));
		m[me].excl = excl;
		m[me].bound = true;
	}
}

/* ------------------------------------------------------------ extra buffers */

static u32 users(struct pst_port *port)
{
	u32 c[PST_BUF_STATES];

	pst_bufs_count(&port->region->bufs, c);
	return c[PST_BUF_USER];
}

static u32 *word_of(struct pst_port *port, u32 buf)
{
	return pst_buf_addr(&port->region->bufs, buf);
}

static void extra(void **state)
{
	struct nmreq_register reg = reg_of(NR_REG_ALL_NIC, 0, 0);
	struct pst_port *port;
	u32 buf, n = 0, in_slots;

	assert_int_equal(do_bind(&f[1], NR_REG_ALL_NIC, 0, 0), 0);
	port = f[1].port;
	assert_int_equal(f[1].nifp->ni_bufs_head, 0);
	in_slots = users(port);
	reg.nr_extra_bufs = 50;
	assert_int_equal(do_bind_reg(&f[0], &reg), 0);
	assert_int_equal(reg.nr_extra_bufs, 50);
	assert_int_equal(users(port), in_slots + 50);
	for (buf = f[0].nifp->ni_bufs_head; buf; buf = *word_of(port, buf), n++)
		assert_int_equal(pst_buf_owned(&port->region->bufs, buf), 0);
	assert_int_equal(n, 50);
	unbind(&f[0]);
	assert_int_equal(users(port), in_slots);
	/* As many as can be spared. */
	reg.nr_extra_bufs = 0xffffffff;
	assert_int_equal(do_bind_reg(&f[0], &reg), 0);
	assert_true(reg.nr_extra_bufs > 1000);
	assert_false(pst_pool_low(&port->ring[0].pool));
	assert_int_equal(users(port), in_slots + reg.nr_extra_bufs);
	unbind(&f[0]);
	assert_int_equal(users(port), in_slots);
}

/* The list that comes back is what the application made of it. */
static void extra_spoilt(void **state)
{
	struct nmreq_register reg;
	struct pst_port *port;
	u32 how, i, in_slots;

	assert_int_equal(do_bind(&f[1], NR_REG_ALL_NIC, 0, 0), 0);
	port = f[1].port;
	for (how = 0; how < 8; how++) {
		u32 a, b, n = port->region->bufs.n, sent;

		in_slots = users(port);
		reg = reg_of(NR_REG_ALL_NIC, 0, 0);
		reg.nr_extra_bufs = 20;
		assert_int_equal(do_bind_reg(&f[0], &reg), 0);
		a = f[0].nifp->ni_bufs_head;
		b = *word_of(port, a);
		sent = pst_buf_take(&port->ring[0].pool);
		switch (how) {
		case 0: *word_of(port, a) = a; break;			/* a loop */
		case 1: *word_of(port, a) = n; break;
		case 2: *word_of(port, b) = 0xffffffff; break;
		case 3: *word_of(port, a) = PST_BUF_BASE; break;
		case 4: *word_of(port, a) = n - 1; break;
		case 5: *word_of(port, a) = sent; break;		/* not its own */
		case 6: f[0].nifp->ni_bufs_head = 0; break;
		case 7: f[0].nifp->ni_bufs_head = sent; break;
		}
		*word_of(port, sent) = b;
		unbind(&f[0]);
		assert_int_equal(pst_buf_state(&port->region->bufs, sent), PST_BUF_KERNEL);
		pst_buf_untake(&port->ring[0].pool, sent);
		/* What was on the list up to there is free. */
		assert_int_equal(users(port), in_slots + 20 - (how == 2 ? 2 : how > 5 ? 0 : 1));
		for (i = PST_BUF_FIRST; i < n - 1; i++)	/* tidy up */
			if (pst_buf_state(&port->region->bufs, i) == PST_BUF_USER &&
			    users(port) > in_slots) {
				u32 j, r, slot = 0;

				for (r = 0; r < RINGS; r++)
					for (j = 0; j < 16; j++)
						slot |= port->ring[r].tx_buf[j] == i;
				if (!slot)
					pst_buf_give_back(&port->ring[0].pool, i);
			}
		assert_int_equal(users(port), in_slots);
	}
}

/* What TCP still sends goes by way of SENT. */
static void extra_in_use(void **state)
{
	struct nmreq_register reg = reg_of(NR_REG_ALL_NIC, 0, 0);
	struct pst_port *port;
	u32 buf;

	reg.nr_extra_bufs = 1;
	assert_int_equal(do_bind(&f[1], NR_REG_ALL_NIC, 0, 0), 0);
	assert_int_equal(do_bind_reg(&f[0], &reg), 0);
	port = f[0].port;
	buf = f[0].nifp->ni_bufs_head;
	assert_int_equal(pst_buf_cite(&port->region->bufs, buf), 0);
	unbind(&f[0]);
	assert_int_equal(pst_buf_state(&port->region->bufs, buf), PST_BUF_SENT);
	put_page(port->region->bufs.page[buf]);
	pst_pool_reap(&port->ring[0].pool, 10);
	assert_int_equal(pst_buf_state(&port->region->bufs, buf), PST_BUF_FREE);
}

/* The last one with rings goes, one without them stays: the next finds the port as new. */
static void renewed(void **state)
{
	struct nmreq_register reg = reg_of(NR_REG_ALL_NIC, 0, 0);
	static u32 taken[100000];
	u32 in_slots, sent[16] = {}, n = 0, i;
	struct pst_port *port;
	struct pst_ring *ring;

	reg.nr_extra_bufs = 20;
	assert_int_equal(do_bind(&f[1], NR_REG_ALL_NIC, 0, NR_RX_RINGS_ONLY | NR_TX_RINGS_ONLY), 0);
	port = f[1].port;
	ring = &port->ring[1];
	in_slots = users(port);
	assert_int_equal(do_bind_reg(&f[0], &reg), 0);
	assert_int_equal(do_bind(&f[2], NR_REG_ONE_NIC, 1, 0), 0);
	f[0].nifp->ni_bufs_head = 0;
	ring->tx.ring->head = ring->tx.ring->cur = 5;
	unbind(&f[0]);
	assert_int_equal(users(port), in_slots + 20);	/* there is still somebody */
	assert_int_equal(ring->tx.ring->head, 5);
	unbind(&f[2]);
	assert_int_equal(users(port), in_slots);
	assert_int_equal(ring->tx.ring->head, 0);
	assert_int_equal(ring->tx.ring->tail, ring->tx.n - 1);

	/* Nothing left for its TX slots: to be tried again by who binds next. */
	assert_int_equal(do_bind(&f[0], NR_REG_ALL_NIC, 0, 0), 0);
	assert_int_equal(ring->tx.n, ARRAY_SIZE(sent));
	for (i = 0; i < RINGS; i++)
		while (n < ARRAY_SIZE(taken) &&
		       (taken[n] = pst_buf_take(&port->ring[i].pool)) != PST_BUF_NONE)
			n++;
	for (i = 0; i < ring->tx.n; i++) {	/* and none that comes back */
		sent[i] = ring->tx_buf[i];
		assert_int_equal(pst_buf_claim(&port->region->bufs, sent[i]), 0);
	}
	unbind(&f[0]);
	assert_int_equal(do_bind(&f[0], NR_REG_ALL_NIC, 0, 0), -ENOMEM);
	assert_int_equal(do_bind(&f[2], NR_REG_ALL_NIC, 0, NR_RX_RINGS_ONLY | NR_TX_RINGS_ONLY), 0);
	pst_buf_untake_many(&ring->pool, taken, n);
	assert_int_equal(do_bind(&f[0], NR_REG_ALL_NIC, 0, 0), 0);
	for (i = 0; i < ring->tx.n; i++)
		assert_int_equal(pst_buf_owned(&port->region->bufs, ring->tx.ring->slot[i].buf_idx), 0);
	assert_int_equal(users(port), in_slots);
	for (i = 0; i < ring->tx.n; i++) {
		pst_buf_unclaim(&port->region->bufs, sent[i]);
		assert_int_equal(pst_buf_give_back(&ring->pool, sent[i]), 0);
	}
}

int main(void)
{
#define B(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		B(wishes), B(choice), B(refusals), B(many_descriptors),
		B(exclusive), B(exclusive_directions), B(exclusive_model),
		B(extra), B(extra_spoilt), B(extra_in_use), B(renewed),
	};

	return cmocka_run_group_tests_name("kernel_bind", tests, NULL, NULL);
}
