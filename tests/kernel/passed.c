// SPDX-License-Identifier: BSD-2-Clause
/*
 * passed: a port opened by root and passed over a Unix socket serves a process without
 * privileges: it maps it, registers its own listener, and its connections are accepted and
 * closed by its own syncs only, in its own table of descriptors; over loopback and through a NIC.
 *
 * [short]
 */
#include <grp.h>
#include "far.h"

static void send_fd(int to, int fd)
{
	char data = 'x', space[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { &data, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = space, .msg_controllen = sizeof(space),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	t_must(sendmsg(to, &msg, 0) == 1);
}

static int receive_fd(int from)
{
	char data, space[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &data, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = space, .msg_controllen = sizeof(space),
	};
	int fd;

	t_must(recvmsg(from, &msg, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void put(int to, uint16_t n)
{
	t_must(write(to, &n, sizeof(n)) == sizeof(n));
}

static uint16_t get(int from)
{
	uint16_t n = 0;

	t_must(read(from, &n, sizeof(n)) == sizeof(n));
	return n;
}

/*
 * The process without privileges.  It serves one connection, when told to.
 */
static void serve(int unix_sock, bool by_nic)
{
	struct port p = { .name = "stack:passed", .fd = receive_fd(unix_sock) };
	int l, fd;
	struct netmap_slot *s;
	uint16_t number;
	char data[8];

	t_must(!setgroups(0, NULL) && !setgid(65534) && !setuid(65534));
	t_fails(EACCES, open("/dev/netmap", O_RDWR));
	p.size = get(unix_sock) * 4096UL;
	p.mem = mmap(NULL, p.size, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0);
	t_must(p.mem != MAP_FAILED);
	p.nifp = NETMAP_IF(p.mem, get(unix_sock));
	p.rx = port_rx(&p, 0);
	p.tx = port_tx(&p, 0);
	l = by_nic ? far_listen(&number) : tcp_listen(AF_INET, &number);
	t_ok(port_register(&p, l));
	put(unix_sock, number);

	get(unix_sock);			/* the parent has polled in vain */
	s = port_next(&p, 2000);
	t_must(s && paste_rx_accepted(p.rx, s));
	fd = s->fd;
	t_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	paste_rx_release(p.rx);
	t_eq(port_collect(&p, fd, data, 4, 2000), 4);
	port_put(&p, fd, "echo", 4);
	t_ok(paste_tx_close(p.tx, fd));
	put(unix_sock, 0);
	get(unix_sock);			/* the parent has synced; fd is still ours */
	t_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	port_sync(&p);
	t_fails(EBADF, fcntl(fd, F_GETFD));
	t_eq(port_stats(&p).port.sockets, 1);
	exit(t_end());
}

static void idle(int in, int out)
{
	char c;

	(void)out;
	t_eq(read(in, &c, 1), 0);
}

/* @far: where connections come from, through a NIC; NULL: loopback. */
static void pass_on(const struct far *far)
{
	int pair[2], status = -1, peer;
	uint16_t number;
	char data[4];
	struct port p;
	pid_t child;

	t_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	child = fork();		/* before the port is there: it comes by the socket alone */
	t_must(child >= 0);
	if (!child) {
		close(pair[0]);
		serve(pair[1], far);
	}
	close(pair[1]);
	port_make(&p, "stack:passed", 64, 0);
	if (far)
		t_must(!paste_attach(p.fd, "stack:passed0"));
	send_fd(pair[0], p.fd);
	put(pair[0], (uint16_t)(p.size / 4096));
	put(pair[0], (uint16_t)p.reg.nr_offset);
	number = get(pair[0]);

	t_note("a connection is not for the process that has merely opened the port");
	peer = far ? far_connected(far, number) : tcp_connect(AF_INET, number);
	t_eq(write(peer, "data", 4), 4);
	t_true(!port_next(&p, 200));
	t_eq(port_stats(&p).counters.accepted, 0);
	put(pair[0], 0);

	t_note("nor does its sync close what the other one has");
	get(pair[0]);
	port_sync(&p);
	t_eq(read_n(peer, data, 4, 2000), 4);
	put(pair[0], 0);
	t_ok(waitpid(child, &status, 0));
	t_eq(status, 0);
	t_eq(read(peer, data, 1), 0);
	close(peer);
	t_true(port_stats(&p).counters.closed == 1);
	if (far)
		t_le(2, port_stats(&p).counters.nic_frames);
	port_close(&p);
}

int main(void)
{
	struct far far;

	pass_on(NULL);
	far = far_make("passed", idle);
	far_go(&far);
	pass_on(&far);
	far_end(&far);
	return t_end();
}
