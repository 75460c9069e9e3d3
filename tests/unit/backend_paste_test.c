// SPDX-License-Identifier: BSD-2-Clause
/* phttpd's paste back end on rings of plain memory: descriptors that are closed, buffers that are lent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <cmocka.h>

static int fake_ioctl(int fd, unsigned long request, void *arg);
#define ioctl fake_ioctl
#include "../../apps/phttpd/backend_paste.c"
#undef ioctl

#define SLOTS	1024
#define BUFS	6000
#define SPARE	3000	/* the first of the spare ones */

static _Alignas(4096) char memory[2][65536 + BUFS * 4096ul];
static struct options opt;
static struct worker w;
static struct loop l;
static struct nmport_d port;

static int syncs;

/* NIOCTXSYNC: the kernel has dealt with all slots. */
static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)arg;
	assert_int_equal(request, NIOCTXSYNC);
	syncs++;
	l.tx->tail = l.tx->head ? l.tx->head - 1 : SLOTS - 1;
	return 0;
}

static struct netmap_ring *make_ring(int which, uint32_t first)
{
	struct netmap_ring *r = (void *)memory[which];

	memset(r, 0, 65536);
	r->num_slots = SLOTS;
	r->nr_buf_size = 4096;
	r->buf_ofs = 65536;
	for (uint32_t i = 0; i < SLOTS; i++)
		r->slot[i].buf_idx = first + i;
	return r;
}

static int setup(void **state)
{
	(void)state;
	opt = (struct options) { .max_connections = 100,
				 .http = { .max_body = 1 << 20, .reply_size = 64 } };
	w = (struct worker) { .opt = &opt, .private = &l };
	l = (struct loop) { .w = &w, .port = &port, .last_fd = -1, .run_tail = &l.run };
	http_init(&w.http, &opt.http, &backend_paste, NULL);
	http_tick(&w.http, 0);
	assert_int_equal(conns_init(&l.set, &w), 0);
	l.rx = make_ring(0, 10);
	l.tx = make_ring(1, 10 + SLOTS);
	l.tx->tail = SLOTS - 1;
	assert_int_equal(paste_bufs_init(&l.bufs, BUFS), 0);
	for (uint32_t i = SPARE; i < BUFS; i++)
		paste_bufs_push(&l.bufs, i);
	return 0;
}

static int teardown(void **state)
{
	struct conn *conn;

	(void)state;
	while ((conn = conns_any(&l.set)))
		client_close(&l, client_of(&conn->http));
	run_all(&l);
	conns_destroy(&l.set);
	free(l.client);
	paste_bufs_destroy(&l.bufs);
	return 0;
}

/* The kernel publishes a slot. */
static void receive(int fd, uint16_t flags, int err, const char *data)
{
	struct netmap_slot *s = &l.rx->slot[l.rx->tail];

	s->fd = fd;
	s->flags = flags;
	s->err = err;
	s->len = s->offset = 0;
	if (data) {
		s->len = strlen(data);
		memcpy(NETMAP_BUF(l.rx, s->buf_idx), data, s->len);
	}
	l.rx->tail = nm_ring_next(l.rx, l.rx->tail);
}

/* Slots that name @fd and that the kernel has not been given yet. */
static uint32_t unsent(int fd)
{
	uint32_t n = 0, i;

	for (i = l.handed; i != l.tx->head; i = nm_ring_next(l.tx, i))
		n += l.tx->slot[i].fd == fd;
	return n;
}

/* A request and a reset in one batch: the answer does not wait for who has the number next. */
static void closed_with_an_answer(void **state)
{
	int fd = open("/dev/null", O_RDWR), other = open("/dev/null", O_RDWR);

	(void)state;
	on_connection(&l, fd);
	on_connection(&l, other);
	receive(fd, 0, 0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	receive(other, 0, 0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	receive(fd, NS_PST_EVENT, ECONNRESET, NULL);
	l.handed = l.tx->head;
	receive_all(&l);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_null(l.client[fd]);
	assert_int_equal(unsent(fd), 0);
}

/* A slot that is held back keeps its own buffer lent, and no other. */
static void lent_beside_a_held_slot(void **state)
{
	uint32_t held = 100, spare = l.bufs.spare, i;
	int fd = open("/dev/null", O_RDWR);

	(void)state;
	on_connection(&l, fd);
	l.bufs.refs[held] = 1;
	for (i = 0; i < 100000; i++) {
		uint32_t idx = paste_bufs_pop(&l.bufs);

		/* The held one moves up behind what is new, and the kernel is through with the rest. */
		if (i)
			l.tx->head = l.tx->head ? l.tx->head - 1 : SLOTS - 1;
		l.bufs.refs[idx] = 1;
		paste_tx_lend(l.tx, fd, idx, 0, 4096);
		paste_bufs_lend(&l.bufs, idx);
		if (!i)
			paste_bufs_lend(&l.bufs, held);
		paste_tx_lend(l.tx, fd, held, 0, 4096);
		l.tx->tail = l.tx->head >= 2 ? l.tx->head - 2 : l.tx->head + SLOTS - 2;
		assert_true(nm_tx_pending(l.tx));
		settle_lent(&l);
		paste_bufs_drop(&l.bufs, buf_of_region(idx));	/* replaced by another */
	}
	assert_int_equal(l.bufs.spare, spare);
	assert_int_equal(l.bufs.nlent, 1);
	assert_int_equal(l.bufs.refs[held], 2);
	l.tx->tail = l.tx->head ? l.tx->head - 1 : SLOTS - 1;
	settle_lent(&l);
	assert_int_equal(l.bufs.nlent, 0);
	assert_int_equal(l.bufs.refs[held], 1);
}

/* The end, with @nifp to give buffers back to; instead of teardown(). */
static void stop(struct netmap_if *nifp)
{
	l.port = nmport_new();
	l.port->nifp = nifp;
	l.rx = l.tx;		/* both are of one port */
	l.rare = -1;
	syncs = 0;
	loop_close(&l);
}

/* What the last round has answered leaves, also when it closes its connection and nobody else is there. */
static void stopped_with_answers(void **state)
{
	static const char *const requests[] = {
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	};
	struct netmap_if nifp = { 0 };

	for (int i = 0; i < 2; i++) {
		int fd = open("/dev/null", O_RDWR);

		setup(state);
		on_connection(&l, fd);
		receive(fd, 0, 0, requests[i]);
		l.handed = l.tx->head;
		receive_all(&l);
		http_batch(&w.http);
		assert_true(unsent(fd) > 0);
		stop(&nifp);
		assert_int_equal(unsent(fd), 0);
		assert_int_equal(syncs, 1);
	}
}

/* What TCP may still send is not written to when its last count has gone, not by the list of buffers given back either. */
static void stopped_while_lent(void **state)
{
	uint32_t idx, buf, last = 0, n = 0, spare;
	struct netmap_if nifp = { 0 };
	int fd = open("/dev/null", O_RDWR);
	char *data;

	(void)state;
	idx = paste_bufs_pop(&l.bufs);
	spare = l.bufs.spare;
	data = NETMAP_BUF(l.tx, idx);
	memset(data, 'v', 4096);
	on_connection(&l, fd);
	l.bufs.refs[idx] = 1;
	paste_tx_lend(l.tx, fd, idx, 0, 4096);
	paste_bufs_lend(&l.bufs, idx);
	l.tx->tail = l.tx->head ? l.tx->head - 1 : SLOTS - 1;
	settle_lent(&l);
	paste_bufs_drop(&l.bufs, buf_of_region(idx));
	assert_int_equal(l.bufs.spare, spare + 1);
	stop(&nifp);
	for (int i = 0; i < 4096; i++)
		assert_int_equal(data[i], 'v');
	while ((buf = paste_buf_pop(&nifp, l.tx))) {
		assert_int_not_equal(buf, last);
		assert_int_not_equal(buf, idx);
		last = buf;
		n++;
	}
	assert_int_equal(n, spare);
}

/* A port of somebody else's making: input is taken only with 64 slots to answer in, so rings have more. */
static void small_rings(void **state)
{
	(void)state;
	l.tx->num_slots = 64;
	assert_int_equal(check_rings(&l), -1);
	l.tx->num_slots = 128;
	l.tx->tail = 127;
	assert_int_equal(check_rings(&l), 0);
	on_connection(&l, 100);
	receive(100, 0, 0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	l.handed = l.tx->head;
	receive_all(&l);
	assert_int_equal(unsent(100), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(closed_with_an_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(lent_beside_a_held_slot, setup, teardown),
		cmocka_unit_test(stopped_with_answers),
		cmocka_unit_test_setup(stopped_while_lent, setup),
		cmocka_unit_test_setup_teardown(small_rings, setup, teardown),
	};

	return cmocka_run_group_tests_name("backend_paste", tests, NULL, NULL);
}
