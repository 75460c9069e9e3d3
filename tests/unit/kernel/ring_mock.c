// SPDX-License-Identifier: BSD-2-Clause
#include "ring_mock.h"

struct pst_port *port;
struct pst_ring *ring;
struct pst_region *region;
struct sock sk[4];
struct pst_sock ps[4];

char calls[16];
void (*during_poll)(void);
void (*during_send)(void);
bool pending;

static void called(char c)
{
	size_t n = strlen(calls);

	if (n + 1 < sizeof(calls))
		calls[n] = c;
}

void pst_stack_resume(struct pst_ring *r)
{
	assert_false(r->lock.locked);
	called('r');
}

void pst_nic_poll(struct pst_ring *r, bool busy_poll)
{
	assert_false(r->lock.locked);
	called(busy_poll ? 'P' : 'p');
	if (during_poll)
		during_poll();
}

void pst_stack_send(struct pst_ring *r)
{
	called('s');
	r->tx.sent = r->tx.head;
	if (during_send)
		during_send();
}

void pst_txq_push_all(struct pst_ring *r) { called('q'); }
bool pst_nic_due(struct pst_ring *r) { return pending; }

int create(u32 tx, u32 rx, u32 bufs)
{
	struct pst_geometry g = {
		.if_num = 1, .if_size = 64, .ring_num = 2, .slots = max(tx, rx), .bufs = bufs,
	};
	u32 i;

	port = mock_alloc(1, struct_size(port, ring, 1));
	assert_non_null(port);
	region = pst_region_create(&g);
	assert_false(IS_ERR(region));
	port->region = region;
	port->nrings = 1;
	port->tx_slots = tx;
	port->rx_slots = rx;
	ring = &port->ring[0];
	for (i = 0; i < ARRAY_SIZE(ps); i++) {
		memset(&sk[i], 0, sizeof(sk[i]));
		memset(&ps[i], 0, sizeof(ps[i]));
		ps[i].sk = &sk[i];
		ps[i].fd = 10 + i;
	}
	memset(calls, 0, sizeof(calls));
	during_poll = during_send = NULL;
	pending = false;
	return pst_ring_init(ring, port, 0);
}

void destroy(void)
{
	pst_ring_destroy(ring);
	pst_region_destroy(region);
	mock_free(port);
}

u32 user_buf(void)
{
	u32 buf = pst_buf_take(&ring->pool);

	assert_int_not_equal(buf, PST_BUF_NONE);
	pst_buf_show(ring->pool.bufs, buf);
	return buf;
}

u8 state_of(u32 buf)
{
	return pst_buf_state(ring->pool.bufs, buf);
}
