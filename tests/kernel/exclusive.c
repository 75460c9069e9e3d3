// SPDX-License-Identifier: BSD-2-Clause
/*
 * exclusive: who may bind which rings: NR_EXCLUSIVE keeps others out, and only from
 * its rings; descriptors for one direction, and several on one ring, each do their part.
 *
 * [short]
 */
#include "port.h"

static struct port make(const char *name, uint32_t mode, uint16_t ring, uint64_t flags)
{
	struct nmreq_register want = {
		.nr_mode = mode, .nr_ringid = ring, .nr_flags = flags,
		.nr_tx_rings = 2, .nr_rx_rings = 2, .nr_tx_slots = 32, .nr_rx_slots = 32,
	};
	struct port p;

	if (port_open(&p, name, &want))
		p.fd = -errno;
	return p;
}

static void exclusive(void)
{
	struct port a, b, c;

	t_note("a ring of its own");
	a = make("stack:x", NR_REG_ONE_NIC, 0, NR_EXCLUSIVE);
	t_must(a.fd >= 0);
	t_eq(make("stack:x", NR_REG_ONE_NIC, 0, 0).fd, -EBUSY);
	t_eq(make("stack:x", NR_REG_ONE_NIC, 0, NR_EXCLUSIVE).fd, -EBUSY);
	t_eq(make("stack:x", NR_REG_ALL_NIC, 0, 0).fd, -EBUSY);
	t_eq(make("pst:x", NR_REG_ALL_NIC, 0, NR_EXCLUSIVE).fd, -EBUSY);
	t_note("the other ring is free");
	b = make("stack:x", NR_REG_ONE_NIC, 1, 0);
	t_must(b.fd >= 0);
	c = make("stack:x", NR_REG_ONE_NIC, 1, 0);
	t_must(c.fd >= 0);
	t_eq(make("stack:x", NR_REG_ONE_NIC, 1, NR_EXCLUSIVE).fd, -EBUSY);
	port_close(&b);
	t_eq(make("stack:x", NR_REG_ONE_NIC, 1, NR_EXCLUSIVE).fd, -EBUSY);
	port_close(&c);
	b = make("stack:x", NR_REG_ONE_NIC, 1, NR_EXCLUSIVE);
	t_must(b.fd >= 0);
	t_note("another port is another matter");
	c = make("stack:y", NR_REG_ALL_NIC, 0, NR_EXCLUSIVE);
	t_must(c.fd >= 0);
	port_close(&c);
	t_note("given back");
	port_close(&a);
	a = make("stack:x", NR_REG_ONE_NIC, 0, 0);
	t_must(a.fd >= 0);
	port_close(&a);
	port_close(&b);
}

static struct port directed(uint64_t flags)
{
	struct nmreq_register want = {
		.nr_mode = NR_REG_ALL_NIC, .nr_flags = flags, .nr_tx_slots = 32, .nr_rx_slots = 32,
	};
	struct port p;

	t_must(!port_open(&p, "stack:d", &want));
	return p;
}

/* One descriptor receives, another sends, of one ring; a third does both. */
static void directions(void)
{
	struct port rx = directed(NR_RX_RINGS_ONLY), tx = directed(NR_TX_RINGS_ONLY), both = directed(0);
	struct pollfd pfd;
	char back[8];
	int sock, peer;

	t_note("directions");
	port_pair(&rx, &sock, &peer);
	t_eq(write(peer, "data", 4), 4);
	pfd = (struct pollfd){ .fd = tx.fd, .events = POLLIN | POLLOUT };
	t_eq(poll(&pfd, 1, 100), 1);
	t_eq(pfd.revents, POLLOUT);
	t_true(nm_ring_empty(rx.rx));
	pfd = (struct pollfd){ .fd = rx.fd, .events = POLLIN | POLLOUT };
	t_eq(poll(&pfd, 1, 1000), 1);
	t_eq(pfd.revents, POLLIN);
	t_true(!nm_ring_empty(rx.rx));
	t_true(both.rx->tail == rx.rx->tail);
	port_put(&tx, sock, "reply", 5);
	pfd.events = POLLIN;
	t_eq(poll(&pfd, 1, 0), 1);
	t_true(silent(peer, 100));		/* not its ring */
	t_ok(ioctl(tx.fd, NIOCTXSYNC));
	t_eq(read_n(peer, back, 5, 1000), 5);
	t_note("the third");
	paste_rx_release(both.rx);
	port_put(&both, sock, "more", 4);
	t_true(port_sync(&both) & POLLOUT);
	t_eq(read_n(peer, back, 4, 1000), 4);
	t_true(nm_ring_empty(rx.rx));
	t_note("a descriptor for sending registers a socket");
	port_close(&rx);
	close(sock);
	close(peer);
	port_pair(&tx, &sock, &peer);
	t_eq(write(peer, "again", 5), 5);
	t_true(port_next(&both, 1000) != NULL);
	port_close(&both);
	port_put(&tx, sock, "last", 4);
	t_ok(ioctl(tx.fd, NIOCTXSYNC));
	t_eq(read_n(peer, back, 4, 1000), 4);
	port_close(&tx);
}

/* Sockets go to the ring of the descriptor that registers them. */
static void rings(void)
{
	struct port a = make("stack:r", NR_REG_ONE_NIC, 0, 0), b = make("stack:r", NR_REG_ONE_NIC, 1, 0);
	static char sent[3000], got[3000];
	int sock[2], peer[2];
	char text[8];

	t_note("two rings");
	t_must(a.fd >= 0 && b.fd >= 0);
	t_true(a.rx != b.rx);
	port_pair(&a, &sock[0], &peer[0]);
	port_pair(&b, &sock[1], &peer[1]);
	t_eq(write(peer[0], "zero", 4), 4);
	t_eq(write(peer[1], "one!", 4), 4);
	t_eq(port_collect(&b, sock[1], text, 4, 1000), 4);
	t_true(!memcmp(text, "one!", 4));
	t_eq(port_collect(&a, sock[0], text, 4, 1000), 4);
	t_true(!memcmp(text, "zero", 4));
	t_note("a socket of the other ring may be sent to all the same, small and by reference");
	for (int i = 0; i < 2; i++) {
		size_t n = i ? sizeof(sent) : 5;

		memset(sent, 'a' + i, sizeof(sent));
		port_put(&a, sock[1], sent, (uint16_t)n);
		t_ok(ioctl(a.fd, NIOCTXSYNC));
		t_true(!(a.tx->slot[i].flags & NS_PST_REFUSED));
		t_eq(read_n(peer[1], got, n, 1000), n);
		t_true(!memcmp(sent, got, n));
	}
	t_note("and shut");
	port_put(&a, sock[1], "end", 3);
	a.tx->slot[2].flags = NS_PST_SHUT;
	t_ok(ioctl(a.fd, NIOCTXSYNC));
	t_eq(read_n(peer[1], got, 3, 1000), 3);
	t_true(!silent(peer[1], 1000) && !read(peer[1], got, 1));
	port_close(&a);
	t_eq(write(peer[1], "on", 2), 2);
	t_eq(port_collect(&b, sock[1], text, 2, 1000), 2);
	port_close(&b);
}

int main(void)
{
	if (access("/dev/netmap", F_OK))
		t_skip("no /dev/netmap: the module is not loaded");
	exclusive();
	directions();
	rings();
	return t_end();
}
