// SPDX-License-Identifier: BSD-2-Clause
/*
 * heirs: a server that is killed while another descriptor keeps its port leaves nothing to the next
 * one: no slot, no socket, no buffer is missing, and what it did not send is not sent.
 *
 * [short]
 */
#include "port.h"

#define EXTRA	1000
#define LIVES	6

static const char name[] = "stack:heirs";

/* Keeps the port as `pastectl hold` does: a descriptor without rings, which gets no buffers either. */
static int hold(void)
{
	struct nmreq_register reg = {
		.nr_mode = NR_REG_ALL_NIC, .nr_flags = NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY,
		.nr_tx_slots = 256, .nr_rx_slots = 256, .nr_extra_bufs = 8,
	};
	int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);

	t_must(fd >= 0 && !port_ioctl(fd, NETMAP_REQ_REGISTER, name, &reg));
	t_eq(reg.nr_extra_bufs, 0);
	return fd;
}

static struct nmreq_pst_stats stats(int fd)
{
	struct nmreq_pst_stats st = { .ring = 0 };

	t_ok(port_ioctl(fd, NETMAP_REQ_PST_STATS, name, &st));
	return st;
}

/* What netmap says is constant, and whoever maps the ring can write. */
static void spoil(struct netmap_ring *r)
{
	*(int64_t *)(uintptr_t)&r->buf_ofs += 4096;
	*(uint32_t *)(uintptr_t)&r->num_slots = 3;
	*(uint32_t *)(uintptr_t)&r->nr_buf_size = 1;
	*(uint16_t *)(uintptr_t)&r->ringid = 5;
}

/* Takes all extra buffers off the list, has slots of every kind on their way, and waits to be killed. */
static void live(uint16_t number, int ready)
{
	int l = tcp_listen(AF_INET, &number), fd, keep;
	struct netmap_slot *s;
	struct port p;

	port_make(&p, name, 256, EXTRA);
	t_eq(p.reg.nr_extra_bufs, EXTRA);
	p.nifp->ni_bufs_head = 0;	/* it knows them by heart */
	p.rx->flags = NR_PST_TELL_LOW;
	fd = tcp_connect(AF_INET, number);
	keep = accept(l, NULL, NULL);
	t_must(!port_register(&p, keep));
	t_must(write(fd, "question", 8) == 8);
	s = port_next(&p, 2000);	/* published, never taken */
	t_must(s && slot_len(s) == 8);
	t_must(write(fd, "another one", 11) == 11);
	port_put(&p, keep, "not sent", 8);
	spoil(p.tx);
	spoil(p.rx);
	t_must(write(ready, "r", 1) == 1);
	for (;;)
		pause();
}

static void live_and_die(void)
{
	int ends[2], status;
	pid_t child;
	char c;

	t_must(!pipe2(ends, O_CLOEXEC));
	child = fork();
	t_must(child >= 0);
	if (!child) {
		live(0, ends[1]);
		_exit(1);
	}
	close(ends[1]);
	t_true(read(ends[0], &c, 1) == 1);
	close(ends[0]);
	kill(child, SIGKILL);
	t_must(waitpid(child, &status, 0) == child);
}

/* An ordinary server on what is left. */
static void inherit(void)
{
	int sock, peer;
	struct port p;
	char text[16];

	port_make(&p, name, 256, EXTRA);
	t_eq(p.reg.nr_extra_bufs, EXTRA);
	t_true(nm_ring_empty(p.rx));
	t_eq(p.rx->flags & NR_PST_TELL_LOW, 0);
	t_eq(nm_ring_space(p.tx), p.tx->num_slots - 1);
	port_pair(&p, &sock, &peer);
	t_true(!port_next(&p, 50));
	t_true(silent(peer, 50));
	t_must(write(peer, "mine", 4) == 4);
	t_eq(port_collect(&p, sock, text, 4, 1000), 4);
	t_true(!memcmp(text, "mine", 4));
	for (int i = 0; i < 1000; i++) {	/* through all slots of the ring */
		port_put(&p, sock, "answer", 6);
		port_sync(&p);
		t_must(read_n(peer, text, 6, 1000) == 6 && !memcmp(text, "answer", 6));
	}
	close(sock);
	close(peer);
	port_close(&p);
}

/* @before, when the rings of others that are gone have come to rest. */
static void the_same(int fd, const struct nmreq_pst_stats *before)
{
	struct nmreq_pst_stats now;
	uint64_t end = now_ms() + 3000 * t_slower();

	do {
		now = stats(fd);
		usleep(20000);
	} while (now_ms() < end && (now.port.buf_free != before->port.buf_free || now.port.sockets));
	t_eq(now.port.buf_free, before->port.buf_free);
	t_eq(now.port.buf_user, before->port.buf_user);
	t_eq(now.port.sockets, 0);
}

/* A socket that outlives its server is an ordinary one again. */
static void let_go(void)
{
	int sock, peer;
	struct port p;
	char text[8];

	port_make(&p, name, 256, 0);
	port_pair(&p, &sock, &peer);
	port_close(&p);
	t_must(write(peer, "later", 5) == 5);
	t_eq(read_n(sock, text, sizeof(text), 300), 5);
	close(sock);
	close(peer);
}

int main(void)
{
	struct nmreq_pst_stats before;
	int fd;

	if (access("/dev/netmap", F_OK))
		t_skip("no /dev/netmap: the module is not loaded");
	signal(SIGPIPE, SIG_IGN);
	fd = hold();
	before = stats(fd);
	for (int i = 0; i < LIVES; i++) {
		t_note("life %d", i);
		live_and_die();
		the_same(fd, &before);
	}
	t_note("an heir");
	live_and_die();
	inherit();
	the_same(fd, &before);
	t_note("a socket that lives on");
	let_go();
	the_same(fd, &before);
	close(fd);
	return t_end();
}
