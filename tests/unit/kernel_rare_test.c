// SPDX-License-Identifier: BSD-2-Clause
/* Rare interleavings and malformed frames that earlier versions got wrong. */
#include "test.h"
#include "interleave.h"
#include "../../kernel/inject.c"
#include "trace.h"

#define N	10
#define X	2

static struct pst_bufs b;
static struct pst_pool p;

void mock_trace_pst_buf(const struct pst_bufs *bufs, u32 idx, u8 from, u8 to) { }

/* ------------------------------------------------------------ buf.c: idle() */

/*
 * If idle() read the count of the buffer before those of the two reserved pages and AF_XDP
 * pinned the whole region in between, a buffer with exactly 1024 (GUP_PIN_COUNTING_BIAS)
 * references, of NS_PST_KEEP slots, would look idle and be freed while TCP sends from it.
 */
static void cited_1024_times(void)
{
	u32 i;

	for (i = 0; i < N; i++)
		b.page[i]->refs = 1;
	b.page[X]->refs += 1024;
	b.state[X] = PST_BUF_SENT;
	b.parked[X] = 0;
	p.n = p.head = p.tail = 0;
}

static void settles(void)
{
	pst_buf_settle(&p, X);
}

static void pins(void)
{
	u32 i;

	for (i = 0; i < N; i++) {
		mock_step("pin");
		b.page[i]->refs += 1024;
	}
}

static void unpins(void)
{
	u32 i;

	for (i = 0; i < N; i++) {
		mock_step("unpin");
		b.page[i]->refs -= 1024;
	}
}

static void pins_and_unpins(void)
{
	pins();
	unpins();
}

static void still_sent(void)
{
	il_check(b.state[X] == PST_BUF_SENT);
}

static void idle_while_pinning(void **state)
{
	const struct interleave once = { cited_1024_times, { settles, pins }, still_sent };
	const struct interleave twice = { cited_1024_times, { settles, pins_and_unpins }, still_sent };

	assert_int_equal(pst_bufs_init(&b, N), 0);
	assert_int_equal(pst_pool_init(&p, &b), 0);
	b.nfree = 0;
	interleave(&once, 4);
	interleave(&twice, 4);
	cited_1024_times();
	b.page[X]->refs = 1;
	pst_pool_destroy(&p);
	pst_bufs_destroy(&b);
}

/* ------------------------------------------------------------ inject.c: read_headers() */

/*
 * "0 for anything that is not TCP": an IP or TCP header that says it is shorter than it
 * can be is taken for one, and the linear part ends inside the headers.  The stack drops
 * such packets.
 */
static void headers_too_short(void **state)
{
	static u8 mem[130] __attribute__((aligned(4)));
	u8 *frame = mem + 2;
	struct headers h;
	u32 words;

	frame[12] = 8;			/* IPv4 */
	frame[ETH_HLEN + 3] = 100;
	frame[ETH_HLEN + 9] = IPPROTO_TCP;
	for (words = 0; words < 5; words++) {
		frame[ETH_HLEN] = 0x45;
		frame[ETH_HLEN + 20 + 12] = words << 4;
		read_headers(frame, 114, &h);
		assert_int_equal(h.payload, 0);
		memset(frame + ETH_HLEN + 12, 0x50, 80);
		frame[ETH_HLEN] = 0x40 | words;
		read_headers(frame, 114, &h);
		assert_int_equal(h.payload, 0);
	}
}

/* ------------------------------------------------------------ inject.c: read_frame() */

/*
 * A frame is read, and its buffer found to be the NIC's, before the one before it is dealt
 * with.  The same buffer in two neighbouring descriptors, both copied, must not be freed
 * twice.
 * (It takes a driver that does so.)
 */
static void descriptor_twice(void **state)
{
	static u32 producer = 2, consumer;
	static struct sock sk;
	static struct socket sock = { .sk = &sk };
	static struct xdp_desc desc[PST_XSK_RING];
	struct pst_ring *ring = mock_alloc(1, sizeof(*ring));
	struct pst_nic *nic = mock_alloc(1, struct_size(nic, queue, 1));
	struct pst_nicq *q = &nic->queue[0];
	u32 buf;

	assert_int_equal(pst_bufs_init(&b, N), 0);
	assert_int_equal(pst_pool_init(&ring->pool, &b), 0);
	q->nic = nic;
	q->ring = ring;
	q->xsk.rx.desc = desc;
	q->xsk.sock = &sock;
	q->xsk.rx.producer = &producer;
	q->xsk.rx.consumer = &consumer;
	buf = pst_buf_take_for_nic(&ring->pool, 0);
	desc[0] = desc[1] = (struct xdp_desc) { .addr = buf * PST_BUF_SIZE, .len = 60 };
	pst_inject(q, 64);
	assert_int_equal(ring->c.nic_bad, 1);
	assert_int_equal(pst_pool_level(&ring->pool), N - PST_BUFS_RESERVED);
	pst_pool_destroy(&ring->pool);
	pst_bufs_destroy(&b);
	mock_free(ring);
	mock_free(nic);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(idle_while_pinning, mock_setup),
		cmocka_unit_test_setup(headers_too_short, mock_setup),
		cmocka_unit_test_setup(descriptor_twice, mock_setup),
	};

	return cmocka_run_group_tests_name("kernel_rare", tests, NULL, NULL);
}
