// SPDX-License-Identifier: BSD-2-Clause
/*
 * reserve: an application that keeps all it can get, by slots released without their buffer or by
 * lending in place of buffers that are with TCP, leaves the NIC its last buffers.  One that gives
 * another buffer for each goes on to receive.
 *
 * [short debug]
 */
#include "port.h"

#define POOL	"/sys/module/paste/parameters/pool_bufs"
#define SLOTS	64

static struct port p;
static int sock, peer;

static void set_pool(const char *n)
{
	int fd = open(POOL, O_WRONLY);

	t_must(fd >= 0 && write(fd, n, strlen(n)) == (ssize_t)strlen(n));
	close(fd);
}

static void make(const char *name)
{
	set_pool("1024");
	port_make(&p, name, SLOTS, 0);
	set_pool("8192");
	port_pair(&p, &sock, &peer);
}

static void end(void)
{
	close(sock);
	close(peer);
	port_close(&p);
}

static uint64_t left(void)
{
	struct nmreq_pst_stats s = port_stats(&p);

	/* One that has no slots gets one of the reserve. */
	t_le(s.port.buf_low / 4, s.port.buf_free + 1);
	return s.port.buf_free;
}

/* Every slot is released without its buffer. */
static void by_receiving(void)
{
	static const char data[64];
	uint64_t before;
	uint32_t n = 0;

	make("stack:r");
	before = left();
	for (int quiet = 0; quiet < 50;) {
		struct netmap_slot *s;

		while (send(peer, data, sizeof(data), MSG_DONTWAIT) > 0 && ++n % 64)
			;
		port_sync(&p);
		for (quiet++; !nm_ring_empty(p.rx); quiet = 0) {
			s = &p.rx->slot[p.rx->head];
			if (!(s->flags & NS_PST_EVENT)) {
				s->buf_idx = 0;
				s->flags = NS_BUF_CHANGED;
			}
			paste_rx_release(p.rx);
		}
		left();
	}
	t_le(left(), before / 2);	/* it did keep some */
	end();
}

/* Once buffers are as few as can be, each slot is released with a buffer that was kept before. */
static void by_exchanging(void)
{
	static const char data[64];
	static uint32_t kept[1024];
	uint32_t n = 0, exchanged = 0;

	make("stack:x");
	while (exchanged < 200) {
		struct netmap_slot *s;

		while (send(peer, data, sizeof(data), MSG_DONTWAIT) > 0)
			;
		s = port_next(&p, 2000);
		t_must(s);
		if (!(s->flags & NS_PST_EVENT)) {
			uint32_t other = 0;

			if (left() < port_stats(&p).port.buf_low / 4)
				other = kept[exchanged++];
			kept[n++ % 1024] = s->buf_idx;
			s->buf_idx = other;
			s->flags = NS_BUF_CHANGED;
		}
		paste_rx_release(p.rx);
	}
	end();
}

/* Slots whose own buffer another slot has sent: @n of them lend @value and get another own one. */
static void lend_without_own(uint32_t value, uint32_t n)
{
	uint64_t end = now_ms() + 2000 * t_slower();
	static char text[SLOTS * 4096];
	uint32_t i = p.tx->head;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t buf = p.tx->slot[(i + n + k) % SLOTS].buf_idx;

		t_must(!paste_tx_swap(p.tx, sock, &buf, 0, 4096));
	}
	port_sync(&p);
	for (uint32_t k = 0; k < n; k++)
		t_must(!paste_tx_lend(p.tx, sock, value, 0, 1));
	port_sync(&p);
	while (recv(peer, text, sizeof(text), MSG_DONTWAIT) > 0)
		;
	while (nm_tx_pending(p.tx) && now_ms() < end) {
		port_sync(&p);
		while (recv(peer, text, sizeof(text), MSG_DONTWAIT) > 0)
			;
	}
	t_must(!nm_tx_pending(p.tx));
}

static void by_lending(void)
{
	uint32_t value;
	uint64_t before;

	make("stack:t");
	before = left();
	value = p.tx->slot[SLOTS - 1].buf_idx;	/* of the slot that is never filled in */
	for (int turn = 0; turn < 200; turn++) {
		lend_without_own(value, SLOTS / 2 - 2);
		left();
	}
	t_le(left(), before / 2);
	end();
}

int main(void)
{
	if (access(POOL, F_OK))
		t_skip("the module is not loaded");
	t_note("receiving");
	by_receiving();
	t_note("exchanging");
	by_exchanging();
	t_note("lending");
	by_lending();
	return t_end();
}
