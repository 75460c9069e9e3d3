// SPDX-License-Identifier: BSD-2-Clause
/*
 * mmap: what may be mapped can be, once or often, in whole or in part; nothing else;
 * mappings survive fork and the descriptor, and the port lives as long as they do.
 *
 * [short]
 */
#include "port.h"

#define RW	(PROT_READ | PROT_WRITE)

static struct port p;
static int sock, peer;

static void *map(size_t size, int prot, int flags, size_t offset)
{
	return mmap(NULL, size, prot, flags, p.fd, (off_t)offset);
}

/* Bytes go in and out. */
static void works(const char *what)
{
	char text[600], back[600];

	t_note("%s: echo", what);
	memset(text, what[0], sizeof(text));
	t_eq(write(peer, text, sizeof(text)), sizeof(text));
	t_eq(port_collect(&p, sock, back, sizeof(back), 1000), sizeof(back));
	t_true(!memcmp(text, back, sizeof(back)));
	port_put(&p, sock, text, sizeof(text));
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_eq(read_n(peer, back, sizeof(back), 1000), sizeof(back));
	t_true(!memcmp(text, back, sizeof(back)));
}

static void refused(void)
{
	int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);

	t_note("a descriptor without a port");
	t_fails(EINVAL, (long)mmap(NULL, 4096, RW, MAP_SHARED, fd, 0));
	close(fd);
	t_note("places and kinds");
	t_fails(EINVAL, (long)map(p.size + 4096, RW, MAP_SHARED, 0));
	t_fails(EINVAL, (long)map(4096, RW, MAP_SHARED, p.size));
	t_fails(EINVAL, (long)map(8192, RW, MAP_SHARED, p.size - 4096));
	t_fails(EINVAL, (long)map(4096, RW, MAP_SHARED, (size_t)1 << 46));
	t_fails(EINVAL, (long)map(p.size, RW, MAP_SHARED, 4096));
	t_fails(EINVAL, (long)map(p.size, RW, MAP_PRIVATE, 0));
	t_fails(EINVAL, (long)map(4096, PROT_READ, MAP_PRIVATE, 0));
	works("after refusals");
}

static void parts(void)
{
	size_t last = p.size - 4096, ring = (size_t)((char *)p.rx - p.mem);
	const struct netmap_ring *rx;
	char *whole = map(p.size, RW, MAP_SHARED, 0), *part;

	t_note("a second mapping");
	t_must(whole != MAP_FAILED);
	p.mem[last] = 'x';
	t_eq(whole[last], 'x');
	whole[last] = 'y';
	t_eq(p.mem[last], 'y');
	part = map(4096, RW, MAP_SHARED, last);
	t_must(part != MAP_FAILED);
	t_eq(part[0], 'y');
	t_ok(munmap(part, 4096));

	t_note("for reading only");
	part = map(4096, PROT_READ, MAP_SHARED, ring & ~(size_t)4095);
	t_must(part != MAP_FAILED);
	rx = (void *)(part + ring % 4096);
	works("two mappings");
	t_eq(rx->head, p.rx->head);
	t_eq(rx->num_slots, p.rx->num_slots);
	t_ok(munmap(part, 4096));
	t_ok(munmap(whole, p.size));
	works("after unmapping the second");

	t_note("mprotect");
	t_ok(mprotect(p.mem, p.size, PROT_READ));
	t_true(!(port_sync(&p) & POLLERR));
	t_ok(mprotect(p.mem, p.size, RW));
	works("after mprotect");
	t_ok(mprotect(p.mem + last, 4096, PROT_NONE));
	works("with a page protected");
	t_ok(mprotect(p.mem + last, 4096, RW));
}

/* What is not mapped works on: the kernel has its own. */
static void unmapped(void)
{
	t_note("not mapped at all");
	t_ok(munmap(p.mem, p.size));
	t_eq(write(peer, "later", 5), 5);
	t_must(port_arrived(peer));
	t_ok(ioctl(p.fd, NIOCRXSYNC));
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_true(port_sync(&p) & POLLIN);
	t_true((p.mem = map(p.size, RW, MAP_SHARED, 0)) != MAP_FAILED);
	p.nifp = NETMAP_IF(p.mem, p.reg.nr_offset);
	p.rx = port_rx(&p, 0);
	p.tx = port_tx(&p, 0);
	t_eq(slot_len(port_next(&p, 100)), 5);
	t_true(!memcmp(slot_data(p.rx, port_next(&p, 100)), "later", 5));
	paste_rx_release(p.rx);
	works("mapped again");
}

static void child_ends(pid_t pid)
{
	int status = -1;

	t_ok(waitpid(pid, &status, 0));
	t_eq(status, 0);
}

/* The child sees and writes the same memory; the parent goes on, whatever becomes of it. */
static void forked(void)
{
	char back[8] = "";
	size_t room;
	pid_t pid;

	t_note("fork");
	t_eq(write(peer, "for it", 6), 6);
	t_true(port_next(&p, 1000) != NULL);
	pid = fork();
	if (!pid) {
		struct netmap_slot *slot = port_next(&p, 0);

		if (!slot || memcmp(slot_data(p.rx, slot), "for it", 6))
			_exit(1);
		memcpy(paste_tx_room(p.tx, &room), "child", 5);
		paste_tx_commit(p.tx, sock, 5);
		_exit(0);
	}
	child_ends(pid);
	paste_rx_release(p.rx);
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_eq(read_n(peer, back, 5, 1000), 5);
	t_true(!memcmp(back, "child", 5));
	works("after a child");

	pid = fork();
	if (!pid) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	works("beside a child that becomes another program");
	child_ends(pid);
	pid = fork();
	if (!pid)
		raise(SIGKILL);
	waitpid(pid, NULL, 0);
	works("after a child that was killed");
}

/* The memory stays, and with it the port. */
static void outlives_descriptor(void)
{
	struct nmreq_pst_stats st = { 0 };
	int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);

	t_note("descriptor closed, memory mapped");
	t_eq(write(peer, "unread", 6), 6);
	t_true(port_next(&p, 1000) != NULL);
	t_ok(close(p.fd));
	for (size_t i = 0; i < p.size; i += 4096)
		*(volatile char *)&p.mem[i] = p.mem[i];
	t_true(!memcmp(slot_data(p.rx, &p.rx->slot[p.rx->head]), "unread", 6));
	t_eq(write(peer, "more", 4), 4);
	t_ok(port_ioctl(fd, NETMAP_REQ_PST_STATS, p.name, &st));
	t_ok(munmap(p.mem, p.size / 2 & ~(size_t)4095));
	t_ok(port_ioctl(fd, NETMAP_REQ_PST_STATS, p.name, &st));
	t_ok(munmap(p.mem, p.size));
	t_note("descriptor closed, memory unmapped");
	t_fails(ENXIO, port_ioctl(fd, NETMAP_REQ_PST_STATS, p.name, &st));
	close(fd);
}

int main(void)
{
	port_make(&p, "stack:map", 64, 10);
	port_pair(&p, &sock, &peer);
	works("at first");
	refused();
	parts();
	unmapped();
	forked();
	outlives_descriptor();
	return t_end();
}
