// SPDX-License-Identifier: BSD-2-Clause
/*
 * fulllog: a full log (paste_wal(3)) is back-pressure: messages that find no room stay in their slots,
 * TCP's window closes, and the peer waits; a checkpoint gives buffers back, and it goes on, byte by byte.
 *
 * [short]
 */
#include <paste_wal.h>
#include "port.h"

#define TOTAL	(4 << 20)	/* bytes */
#define RECORDS	64
#define SPARES	(RECORDS + 1)
#define SMALL	(64 << 10)	/* of the sockets' own buffers, bytes */

static _Alignas(64) char area[8192 + 64 * RECORDS];
static struct port p;
static struct paste_wal *wal;
static struct paste_wal_piece logged[RECORDS];
static uint32_t nlogged, spare[SPARES], nspares;
static size_t sent, received;
static int peer;

static char byte_at(size_t n)
{
	return (char)(n * 2654435761u >> 24);
}

static void peer_writes(void)
{
	char some[8192];
	ssize_t n;

	do {
		size_t len = TOTAL - sent < sizeof(some) ? TOTAL - sent : sizeof(some);

		for (size_t i = 0; i < len; i++)
			some[i] = byte_at(sent + i);
		n = len ? send(peer, some, len, MSG_DONTWAIT) : 0;
		if (n > 0)
			sent += (size_t)n;
	} while (n > 0);
}

/* False when the log is full: the slot stays. */
static bool log_slot(struct netmap_slot *s)
{
	struct paste_wal_piece piece = { s->buf_idx, s->offset, (uint32_t)slot_len(s) };
	int64_t seq = paste_wal_append(wal, &piece, 1, 0);

	if (seq == -ENOSPC)
		return false;
	t_must(seq > 0 && nspares);
	logged[nlogged++] = piece;
	paste_rx_keep(s, spare[--nspares]);
	return true;
}

/* What has come, as far as there is room. */
static bool log_all(void)
{
	port_sync(&p);
	while (!nm_ring_empty(p.rx)) {
		if (!log_slot(&p.rx->slot[p.rx->head]))
			return false;
		paste_rx_release(p.rx);
	}
	return true;
}

static void freed(uint32_t buf, void *ctx)
{
	(void)ctx;
	spare[nspares++] = buf;
}

/* What was logged is as it was sent, and is not needed any more. */
static void checkpoint(void)
{
	uint64_t upto = paste_wal_commit(wal);

	for (uint32_t i = 0; i < nlogged; i++) {
		const char *bytes = NETMAP_BUF(p.rx, logged[i].buf) + logged[i].offset;

		for (uint32_t k = 0; k < logged[i].len; k++, received++)
			t_must(bytes[k] == byte_at(received));
	}
	nlogged = 0;
	t_ok(paste_wal_truncate(wal, upto, freed, NULL));
	t_eq(nspares, SPARES);
}

/* With the log full the peer is held up: for so long nothing moves. */
static void wait_full(void)
{
	uint64_t end = now_ms() + 5000 * t_slower(), still = now_ms();
	size_t before = sent;

	while (now_ms() < still + 200 && now_ms() < end) {
		t_true(!log_all());
		peer_writes();
		if (sent != before) {
			before = sent;
			still = now_ms();
		}
		usleep(5000);
	}
	t_true(now_ms() < end);
}

int main(void)
{
	uint16_t number;
	int l = tcp_listen(AF_INET, &number), s, size = SMALL, waits = 0;
	uint64_t end = now_ms() + 60000 * t_slower();
	struct paste_wal_bufs bufs = { .stride = 4096 };

	port_make(&p, "stack:fulllog", 64, SPARES);
	bufs.base = NETMAP_BUF(p.rx, 0);
	bufs.num = (uint32_t)((p.mem + p.size - (char *)bufs.base) / bufs.stride);
	t_must(!paste_wal_format(area, sizeof(area)) &&
	       !paste_wal_open(area, sizeof(area), &bufs, PASTE_WAL_CRC, NULL, NULL, &wal));
	while (nspares < SPARES)
		spare[nspares++] = paste_buf_pop(p.nifp, p.rx);
	t_must(!setsockopt(l, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	peer = tcp_connect(AF_INET, number);
	t_must(!setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	s = accept(l, NULL, NULL);
	t_must(s >= 0 && !port_register(&p, s));
	while (received < TOTAL && now_ms() < end) {
		peer_writes();
		if (!log_all()) {
			wait_full();
			waits += sent < TOTAL;
			checkpoint();
		} else if (sent == TOTAL && nm_ring_empty(p.rx)) {
			checkpoint();
		}
	}
	t_eq(received, TOTAL);
	t_le(5, waits);
	paste_wal_close(wal);
	return t_end();
}
