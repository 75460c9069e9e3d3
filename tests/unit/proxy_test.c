// SPDX-License-Identifier: BSD-2-Clause
/* apps/proxy: numbers that are used again, buffers and slots that run out, bursts; on rings that the test fills. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/mman.h>

int proxy_main(int argc, char **argv);
#define main proxy_main
#include "../../apps/proxy/proxy.c"
#undef main

#define SLOTS	256
#define BUFS	4096
#define BUF_SIZE 2048
#define HEAD	(64 << 10)	/* of a ring, before the buffers */

static struct nmport_d desc;
static char *memory;
static uint32_t spares;		/* buffers from here on are in no slot */
static int listener;

/* Both rings find the same buffers, behind them. */
static struct netmap_ring *make_ring(int n)
{
	struct netmap_ring *r = (void *)(memory + n * HEAD);

	*(uint32_t *)(uintptr_t)&r->num_slots = SLOTS;
	*(uint32_t *)(uintptr_t)&r->nr_buf_size = BUF_SIZE;
	*(int64_t *)(uintptr_t)&r->buf_ofs = (2 - n) * HEAD;
	for (uint32_t i = 0; i < SLOTS; i++)
		r->slot[i].buf_idx = 2 + (uint32_t)n * SLOTS + i;
	return r;
}

static int setup(void **state)
{
	socklen_t len = sizeof(server);

	(void)state;
	memory = mmap(NULL, 2 * HEAD + BUFS * BUF_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	note = calloc(BUFS, sizeof(*note));
	desc.nifp = calloc(1, sizeof(*desc.nifp));
	connecting = epoll_create1(EPOLL_CLOEXEC);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (memory == MAP_FAILED || !note || !desc.nifp || connecting < 0 || listener < 0)
		return -1;
	rx = make_ring(0);
	tx = make_ring(1);
	tx->tail = SLOTS - 1;
	spares = 2 + 2 * SLOTS;
	port = &desc;
	find_server("127.0.0.1", 0);
	run = nclosing = 0;
	return bind(listener, &server.any, len) || listen(listener, 64) ||
	       getsockname(listener, &server.any, &len) ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int fd = 0; fd < FDS; fd++) {
		if (side[fd].peer)
			close(fd);
		side[fd] = (struct side){ 0 };
	}
	close(connecting);
	close(listener);
	free(note);
	free(desc.nifp);
	return munmap(memory, 2 * HEAD + BUFS * BUF_SIZE);
}

/* A connection whose server has answered: the client's descriptor; the other one is its peer. */
static int established(void)
{
	int a = dup(listener), b = dup(listener);

	assert_true(a > 0 && b > 0);
	side[a] = (struct side){ .peer = b, .up = true };
	side[b] = (struct side){ .peer = a, .up = true };
	return a;
}

/* What the next sync publishes. */
static struct netmap_slot *arrives(int fd, uint16_t flags, uint16_t error, const char *text)
{
	struct netmap_slot *s = &rx->slot[rx->tail];

	s->fd = fd;
	s->flags = flags;
	s->err = error;
	s->offset = 0;
	s->len = (uint16_t)strlen(text);
	memcpy(NETMAP_BUF(rx, s->buf_idx), text, s->len);
	rx->tail = nm_ring_next(rx, rx->tail);
	assert_int_not_equal(rx->tail, rx->head);
	return s;
}

/* All that was filled in is sent. */
static void sync_tx(void)
{
	tx->tail = tx->head ? tx->head - 1 : SLOTS - 1;
}

static bool one_round(void)
{
	rounds++;
	close_all();
	learn_congestion();
	make_way();
	run_all();
	return receive_all();
}

/* Payload slots for @fd in the TX ring from @i on. */
static int sent_to(int fd, uint32_t i)
{
	int n = 0;

	for (; i != tx->head; i = nm_ring_next(tx, i))
		n += tx->slot[i].fd == fd && tx->slot[i].len > tx->slot[i].offset;
	return n;
}

/* Puts @n free buffers on the list. */
static void spare_buffers(uint32_t n)
{
	while (n--)
		paste_buf_push(desc.nifp, rx, spares++);
}

/* What a round has left in the ring of a connection that is over goes to nobody, whoever has its number next. */
static void numbers(void **state)
{
	int busy = established(), as_busy = established(), gone = established(), client;
	uint32_t before;
	bool all;

	(void)state;
	tx->tail = 100;		/* less room than the ring has slots */
	for (int i = 0; i < 95; i++)
		arrives(i % 2 ? as_busy : busy, 0, 0, "bulk");
	arrives(side[gone].peer, NS_PST_EVENT, ECONNRESET, "");
	for (int i = 0; i < 3; i++)
		arrives(busy, 0, 0, "bulk");
	client = dup(listener);
	arrives(client, NS_PST_EVENT | NS_PST_ACCEPT, 0, "");
	arrives(client, 0, 0, "its own");
	arrives(gone, 0, 0, "secret");
	arrives(gone, NS_PST_EVENT, ECONNRESET, "");

	all = one_round();
	assert_false(all);	/* it had to stop behind the reset */
	assert_int_equal(nclosing, 2);
	sync_tx();
	before = tx->head;
	spare_buffers(1);	/* for what waits until the server has accepted */
	assert_true(one_round());
	assert_int_equal(side[client].peer, gone);	/* the same number, another connection */
	assert_int_equal(sent_to(client, before), 0);
	assert_int_equal(sent_to(busy, before), 0);
	assert_memory_equal(NETMAP_BUF(rx, side[gone].first), "its own", 7);
	assert_int_equal(side[gone].first, side[gone].last);
	assert_int_equal(nclosing, 0);
}

static int spare_count(void)
{
	int n = 0;

	for (uint32_t buf = desc.nifp->ni_bufs_head; buf; n++)
		buf = *(uint32_t *)(void *)NETMAP_BUF(rx, buf);
	return n;
}

/* When no spare is left, who has most waiting is reset, and nobody else; nothing stays in the ring. */
static void no_spares(void **state)
{
	enum { SLOW = 8, LONGEST = 3, TURNS = 4 };
	int slow[SLOW], quick = established();
	uint32_t before;

	(void)state;
	spare_buffers((TURNS - 1) * (SLOW + 2));
	for (int i = 0; i < SLOW; i++) {
		slow[i] = established();
		arrives(slow[i], NS_PST_EVENT, EAGAIN, "");	/* it does not read */
	}
	for (int turn = 1; turn <= TURNS; turn++) {
		for (int i = 0; i < SLOW; i++)
			for (int j = 0; j < (i == LONGEST ? 3 : 1); j++)
				arrives(side[slow[i]].peer, 0, 0, "to it");
		arrives(quick, 0, 0, "question");
		before = tx->head;
		assert_true(one_round());
		assert_int_equal(sent_to(side[quick].peer, before), 1);
		sync_tx();
		for (int i = 0; i < SLOW; i++)
			assert_int_equal(!side[slow[i]].peer, turn == TURNS && i == LONGEST);
	}
	/* It had three of each turn, and of what it gave back each of the others has one. */
	assert_int_equal(spare_count(), (TURNS - 1) * 3 - (SLOW - 1));
	assert_int_equal(nclosing, 2);
	assert_true(one_round());
	assert_int_equal(nclosing, 0);
}

/* The same when nobody has anything waiting: then it is the connection that wants a buffer. */
static void no_spares_at_all(void **state)
{
	int slow = established(), quick = established();
	uint32_t before;

	(void)state;
	arrives(slow, NS_PST_EVENT, EAGAIN, "");
	arrives(side[slow].peer, 0, 0, "to it");
	arrives(quick, 0, 0, "question");
	before = tx->head;
	assert_true(one_round());
	assert_int_equal(side[slow].peer, 0);
	assert_int_equal(sent_to(side[quick].peer, before), 1);
}

/* A side gets so many slots in a round; the rest follows in order, and others are not kept waiting. */
static void bursts(void **state)
{
	const struct { uint32_t flags; int burst; } turn[] = { { NR_PST_LOW, BURST_LOW }, { 0, BURST } };
	int bulk = established(), quick = established(), to = side[bulk].peer;
	char text[16];

	(void)state;
	spare_buffers(2 * BURST);
	for (int t = 0; t < 2; t++) {
		int arrived = turn[t].burst + BURST_LOW + 1, sent = 0;

		rx->flags = turn[t].flags;
		for (int i = 0; i < arrived; i++) {
			snprintf(text, sizeof(text), "%d", i);
			arrives(bulk, 0, 0, text);
		}
		arrives(quick, 0, 0, "question");
		for (int round = 0; sent < arrived; round++) {
			uint32_t before = tx->head;
			int n = arrived - sent < turn[t].burst ? arrived - sent : turn[t].burst;

			assert_true(one_round());
			assert_int_equal(sent_to(to, before), n);
			assert_int_equal(sent_to(side[quick].peer, before), !round);
			assert_int_equal(atoi(NETMAP_BUF(tx, tx->slot[before].buf_idx)), sent);
			sent += n;
			assert_int_equal(run != 0, sent < arrived);
			sync_tx();
		}
		assert_false(side[bulk].paused);
	}
}

/* What the kernel says of congestion counts for what waits as well, though it comes behind other slots. */
static void congestion_first(void **state)
{
	int slow = established(), other = established();
	uint32_t before;

	(void)state;
	spare_buffers(BURST);
	rx->flags = NR_PST_LOW;
	for (int i = 0; i < 2 * BURST_LOW; i++)
		arrives(slow, 0, 0, "to it");
	assert_true(one_round());
	sync_tx();
	arrives(other, 0, 0, "bulk");
	arrives(side[slow].peer, NS_PST_EVENT, EAGAIN, "");
	before = tx->head;
	assert_true(one_round());
	assert_int_equal(sent_to(side[slow].peer, before), 0);
	arrives(side[slow].peer, NS_PST_EVENT | NS_PST_CLEAR, EAGAIN, "");
	assert_true(one_round());
	assert_int_equal(sent_to(side[slow].peer, before), BURST_LOW);
}

/* A ring full of what nobody takes: the first one is reset, the others and who comes go on. */
static void full_ring(void **state)
{
	int slow[SLOTS] = { 0 }, n = 0, quick = established();
	uint32_t before;

	(void)state;
	spare_buffers(SLOTS);
	rx->flags = NR_PST_LOW;
	for (; nm_ring_space(tx) > ROOM; n++) {
		slow[n] = established();
		arrives(slow[n], 0, 0, "to it");
		one_round();
	}
	arrives(quick, 0, 0, "question");
	assert_false(one_round());
	assert_int_equal(side[slow[0]].peer, 0);
	assert_int_not_equal(side[slow[1]].peer, 0);
	assert_int_equal(nclosing, 2);
	tx->tail = nm_ring_next(tx, tx->tail);	/* its slot came back */
	before = tx->head;
	assert_true(one_round());
	assert_int_not_equal(side[slow[1]].peer, 0);
	assert_int_equal(sent_to(side[quick].peer, before), 1);
}

/* Both kinds of addresses lead to our socket, and to the server: here they are one. */
static void families(void **state)
{
	const char *const address[] = { "127.0.0.1", "::1" };
	int s = listen_on(0);
	struct pollfd p = { .fd = s, .events = POLLIN };
	union address own = { 0 };
	socklen_t len = sizeof(own);

	(void)state;
	assert_int_equal(getsockname(s, &own.any, &len), 0);
	for (int i = 0; i < (own.any.sa_family == AF_INET6 ? 2 : 1); i++) {
		int client = dup(listener), accepted;

		find_server(address[i], ntohs(own.in.sin_port));
		assert_int_equal(server.any.sa_family, i ? AF_INET6 : AF_INET);
		on_client(client);
		assert_true(side[client].peer > 0);
		assert_int_equal(poll(&p, 1, 10000), 1);
		accepted = accept(s, NULL, NULL);
		assert_true(accepted >= 0);
		close(accepted);
	}
	close(s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(numbers), T(no_spares), T(no_spares_at_all), T(bursts), T(congestion_first), T(full_ring),
		T(families),
	};

	return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
