// SPDX-License-Identifier: BSD-2-Clause
/*
 * lend: a buffer cited with NS_PST_KEEP goes out to any number of sockets, any
 * number of times, and stays the application's; the slots get their own buffers back.
 *
 * [short]
 */
#include "port.h"

#define SOCKS	50

static struct port p;

static void fill(char *to, size_t n, int seed)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (char)(i * 7 + i / 251 + (size_t)seed);
}

/* One buffer to 50 sockets, over several syncs, in lengths that are copied and not. */
static void to_many(void)
{
	static const uint16_t lens[] = { 1, 100, 256, 257, 1000, 4096 };
	uint32_t value = paste_buf_pop(p.nifp, p.rx), users = (uint32_t)port_stats(&p).port.buf_user;
	static char expected[4096], got[4096];
	int sock[SOCKS], peer[SOCKS], turns = 12;

	fill(expected, sizeof(expected), 1);
	memcpy(NETMAP_BUF(p.tx, value), expected, sizeof(expected));
	for (int i = 0; i < SOCKS; i++)
		port_pair(&p, &sock[i], &peer[i]);
	for (int turn = 0; turn < turns; turn++) {
		uint16_t len = lens[turn % 6], offset = (uint16_t)(turn % 3 * (4096 - len) / 2);
		uint32_t own[SOCKS], first = p.tx->head;

		t_note("turn %d, %u bytes", turn, len);
		for (int i = 0; i < SOCKS; i++) {
			own[i] = p.tx->slot[p.tx->head].buf_idx;
			t_must(!paste_tx_lend(p.tx, sock[i], value, offset, len));
		}
		t_ok(ioctl(p.fd, NIOCTXSYNC));
		t_true(!nm_tx_pending(p.tx));
		for (int i = 0; i < SOCKS; i++)
			t_eq(p.tx->slot[(first + (uint32_t)i) % p.tx->num_slots].buf_idx, own[i]);
		for (int i = 0; i < SOCKS && turn % 4 == 3; i++)	/* four turns later */
			for (int back = turn - 3; back <= turn; back++) {
				len = lens[back % 6];
				offset = (uint16_t)(back % 3 * (4096 - len) / 2);
				if (!t_eq(read_n(peer[i], got, len, 2000), len))
					return;
				t_true(!memcmp(got, expected + offset, len));
			}
	}
	t_note("afterwards");
	t_eq(port_stats(&p).counters.tx_lent, SOCKS * turns);
	t_eq(port_stats(&p).port.buf_user, users);
	t_true(!memcmp(NETMAP_BUF(p.tx, value), expected, sizeof(expected)));
	for (int i = 0; i < SOCKS; i++) {
		t_true(silent(peer[i], 0));
		close(sock[i]);
		close(peer[i]);
	}
	paste_buf_push(p.nifp, p.rx, value);
}

/* Lent, and given away at last while it is still on its way. */
static void given_away_in_the_end(void)
{
	uint32_t value = paste_buf_pop(p.nifp, p.rx);
	static char expected[4096], got[4096 * 3];
	int sock, peer;

	t_note("lent twice, then given");
	port_pair(&p, &sock, &peer);
	fill(expected, sizeof(expected), 9);
	memcpy(NETMAP_BUF(p.tx, value), expected, sizeof(expected));
	t_must(!paste_tx_lend(p.tx, sock, value, 0, 4096));
	t_must(!paste_tx_lend(p.tx, sock, value, 0, 4096));
	t_must(!paste_tx_swap(p.tx, sock, &value, 0, 4096));
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_eq(read_n(peer, got, sizeof(got), 2000), sizeof(got));
	for (int i = 0; i < 3; i++)
		t_true(!memcmp(got + i * 4096, expected, 4096));
	paste_buf_push(p.nifp, p.rx, value);
	close(sock);
	close(peer);
}

/* What a peer reads late comes back although the application has no socket and does not sync any more. */
static void read_when_all_is_over(void)
{
	uint32_t value = paste_buf_pop(p.nifp, p.rx);
	static char got[4096];
	uint64_t end;
	int sock, peer;

	t_note("read when all is over");
	port_pair(&p, &sock, &peer);
	t_must(!paste_tx_swap(p.tx, sock, &value, 0, 4096));
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	close(sock);
	end = now_ms() + 5000 * t_slower();
	while (port_stats(&p).port.sockets && now_ms() < end)
		usleep(10000);
	t_eq(port_stats(&p).port.sockets, 0);
	usleep(1500000);	/* nothing is due */
	t_eq(port_stats(&p).port.buf_sent, 1);
	t_eq(read_n(peer, got, sizeof(got), 2000), sizeof(got));
	close(peer);
	end = now_ms() + 5000 * t_slower();
	while (port_stats(&p).port.buf_sent && now_ms() < end)
		usleep(10000);
	t_eq(port_stats(&p).port.buf_sent, 0);
	paste_buf_push(p.nifp, p.rx, value);
}

/* A refused lending must not leave the lent buffer where the next reply is written. */
static void refused(void)
{
	uint32_t value = paste_buf_pop(p.nifp, p.rx);
	size_t room;

	t_note("lent to a socket that is gone");
	for (uint32_t i = 0; i < p.tx->num_slots; i++) {
		t_must(!paste_tx_lend(p.tx, 999, value, 0, 1000));
		t_ok(ioctl(p.fd, NIOCTXSYNC));
	}
	t_true(paste_tx_refusal(p.tx) == -EBADF);
	t_true(paste_tx_room(p.tx, &room) != NETMAP_BUF(p.tx, value));
	/* lending again works, and puts the slots in order */
	for (uint32_t i = 0; i < p.tx->num_slots; i++)
		p.tx->slot[i].flags = 0;
	paste_buf_push(p.nifp, p.rx, value);
}

/* Sends whole buffers to peers that do not read until so many are free; they pay in @drain. */
static void use_up(uint32_t left, int *drain, int *sink, int *n)
{
	int big = 1 << 22, on = *n ? *n - 1 : 0;
	uint64_t before = ~0ull, now;

	while ((now = port_stats(&p).port.buf_free) > left) {
		if (now >= before) {	/* that one is full */
			t_must(++on < 16);
		}
		if (on >= *n) {
			port_pair(&p, &drain[on], &sink[on]);
			setsockopt(drain[on], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
			*n = on + 1;
		}
		before = now;
		paste_tx_commit(p.tx, drain[on], 4096);
		t_ok(ioctl(p.fd, NIOCTXSYNC));
	}
}

/*
 * Buffers are low, the slot's own one is in another slot, and a lending that TCP copies:
 * whatever becomes of the slot, the kernel must not stumble.
 */
static void without_own_buffer(void)
{
	uint32_t cited = paste_buf_pop(p.nifp, p.rx), reserve = (uint32_t)port_stats(&p).port.buf_low - 1;
	int sock, peer, drain[16], sink[16], n = 0;
	uint32_t own;
	char text[100] = "";

	t_note("short of buffers, own buffer given away");
	memset(NETMAP_BUF(p.tx, cited), 'c', 100);
	port_pair(&p, &sock, &peer);
	use_up(reserve, drain, sink, &n);
	t_must(n);
	/* from here on TCP copies; the second slot's own buffer goes out by the first */
	own = p.tx->slot[nm_ring_next(p.tx, p.tx->head)].buf_idx;
	t_must(!paste_tx_swap(p.tx, drain[n - 1], &own, 0, 4096));
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_le(port_stats(&p).port.buf_free, reserve);
	t_must(!paste_tx_lend(p.tx, sock, cited, 0, 100));
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	/* the peers go, the buffers come back, the slot is sent if it was not */
	while (n--) {
		close(sink[n]);
		close(drain[n]);
	}
	for (int i = 0; i < 100 && nm_tx_pending(p.tx); i++) {
		port_sync(&p);
		usleep(10000);
	}
	t_true(!nm_tx_pending(p.tx));
	t_eq(read_n(peer, text, 100, 1000), 100);
	t_true(text[0] == 'c' && text[99] == 'c');
	close(sock);
	close(peer);
}

/* What is done with a slot whose buffer was exchanged, so that the new one stays in it. */
enum use { COPIED, REFUSED, WITHOUT_PAYLOAD };

static void use_swapped(enum use use, int sock, uint32_t *buf)
{
	struct netmap_slot *slot = &p.tx->slot[p.tx->head];

	t_must(!paste_tx_swap(p.tx, use == REFUSED ? 999 : sock, buf, 0, 100));
	if (use == WITHOUT_PAYLOAD) {
		slot->len = 0;
		slot->flags |= NS_PST_RESUME;
	}
	t_ok(ioctl(p.fd, NIOCTXSYNC));
}

/* It is the slot's own from then on. */
static void swapped_before(enum use use)
{
	static const char *const uses[] = { "copied", "refused", "without payload" };

	uint32_t value = paste_buf_pop(p.nifp, p.rx), buf = paste_buf_pop(p.nifp, p.rx), put = buf;
	uint32_t users = (uint32_t)port_stats(&p).port.buf_user, first = p.tx->head;
	static char got[256 * 100];
	int sock, peer;

	t_note("lent by a slot whose buffer was exchanged, %s", uses[use]);
	port_pair(&p, &sock, &peer);
	use_swapped(use, sock, &buf);
	t_eq(p.tx->slot[first].buf_idx, put);
	while (p.tx->head != first) {
		port_put(&p, sock, got, 100);
		t_ok(ioctl(p.fd, NIOCTXSYNC));
	}
	t_must(!paste_tx_lend(p.tx, sock, value, 0, 1000));
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_eq(p.tx->slot[first].buf_idx, put);
	t_eq(port_stats(&p).port.buf_user, users);
	while (read_n(peer, got, sizeof(got), 100) == sizeof(got))
		;
	paste_buf_push(p.nifp, p.rx, value);
	paste_buf_push(p.nifp, p.rx, buf);
	close(sock);
	close(peer);
}

int main(void)
{
	int pool;

	port_make(&p, "stack:lend", 64, 8);
	to_many();
	given_away_in_the_end();
	refused();
	swapped_before(COPIED);
	swapped_before(REFUSED);
	swapped_before(WITHOUT_PAYLOAD);
	read_when_all_is_over();
	port_close(&p);

	t_must((pool = open("/sys/module/paste/parameters/pool_bufs", O_WRONLY)) >= 0);
	t_must(write(pool, "256", 3) == 3);
	port_make(&p, "stack:lend", 64, 8);
	t_must(write(pool, "8192", 4) == 4);
	without_own_buffer();
	port_close(&p);
	return t_end();
}
