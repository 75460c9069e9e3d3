// SPDX-License-Identifier: BSD-2-Clause
/*
 * Steps with everything around: processes that inherit or are handed descriptors and get killed,
 * duplicates, links that go down, move or vanish, module parameters, limits.
 */
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include "fuzz.h"
#include "links.h"

int shell(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	return system(line);
}

/* ---- the other namespace ---- */

static void make_veth(void)
{
	told->veth = true;
	link_veth("fz0", "fz1", fz.space);
	link_address("fz0", -1, "10.98.0.1", 24);
	link_change("fz0", -1, true, 0, -1);
	link_address("fz0", -1, "fd98::1", 64);
	link_address("fz1", fz.space, "10.98.0.2", 24);
	link_address("fz1", fz.space, "fd98::2", 64);
	link_checksums("fz1", fz.space);
	link_change("fz1", fz.space, true, 0, -1);
}

static void set_parameter(const char *name, uint32_t value)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/paste/parameters/%s", name);
	f = fopen(path, "w");
	if (!f)
		return;
	fprintf(f, "%u", value);
	fclose(f);
}

/* Once: what lasts over all epochs. */
void world_make(void)
{
	/* orphans with unacknowledged data give up within seconds; huge pages for memory of ours */
	shell("modprobe -qa sctp tls; ip netns add fz; ip -n fz link set lo up;"
	      "sysctl -qw vm.nr_hugepages=16;"
	      "for in in '' 'ip netns exec fz'; do $in sysctl -qw net.ipv4.tcp_orphan_retries=2"
	      " net.ipv4.tcp_fin_timeout=2; done");
}

void world_end(void)
{
	shell("sysctl -qw net.ipv4.tcp_orphan_retries=0 net.ipv4.tcp_fin_timeout=60 "
	      "vm.nr_hugepages=0; ip netns del fz");
}

/* In the player.  Small ports mostly: a large one takes long to make, and is not short of anything.
 */
void world_begin(struct rnd *r)
{
	set_parameter("pool_bufs", once_in(r, 10) ? 8192 : 256 + below(r, 500));
	fz.space = open("/run/netns/fz", O_RDONLY | O_CLOEXEC);
	if (once_in(r, 2))
		make_veth();
}

/* By the parent: all as the runner wants to find it. */
void world_tidy(void)
{
	int space = open("/run/netns/fz", O_RDONLY | O_CLOEXEC);

	set_parameter("pool_bufs", 8192);
	set_parameter("stall_ms", 50);
	if (told->veth) {
		link_delete("fz0", -1);
		link_delete("fz1", space);
	}
	if (told->nic) {
		link_change("eth0", -1, true, 1500, -1);
		link_address("eth0", -1, "10.77.0.2", 24);
		link_address("eth0", -1, "fd77::2", 64);
		route_default("10.77.0.1");
	}
	close(space);
}

/* ---- links ---- */

static void step_veth(struct rnd *r)
{
	switch (below(r, 6)) {
	case 0: link_delete("fz0", -1); break;
	case 1: make_veth(); break;
	case 2: link_change("fz0", -1, false, 0, fz.space); break;
	case 3:
		link_change("fz0", -1, false, 0, -1);
		link_change("fz0", -1, true, 0, -1);
		break;
	case 4:
		link_change("fz0", -1, true, once_in(r, 2) ? 9000 : 1000 + below(r, 1000), -1);
		break;
	default: link_change("fz1", fz.space, once_in(r, 2), 0, -1);
	}
}

static void step_nic(struct rnd *r)
{
	told->nic = true;
	switch (below(r, 4)) {
	case 0: link_change("eth0", -1, false, 0, -1);	/* fallthrough */
	case 1:
		link_change("eth0", -1, true, 0, -1);
		link_address("eth0", -1, "10.77.0.2", 24);
		break;
	case 2: link_change("eth0", -1, false, 0, -1); break;
	default: link_change("eth0", -1, true, 1000 + below(r, 600), -1);
	}
}

static void step_parameters(struct rnd *r)
{
	set_parameter("pool_bufs", once_in(r, 20) ? odd_number(r) : 256 + below(r, 500));
	set_parameter("stall_ms", once_in(r, 3) ? 0 : below(r, 60));
}

static void step_limits(struct rnd *r)
{
	struct rlimit files = { 64 + below(r, 1000), 4096 },
		      locked = { below(r, 64) << 20, RLIM_INFINITY };

	setrlimit(once_in(r, 2) ? RLIMIT_NOFILE : RLIMIT_MEMLOCK, once_in(r, 2) ? &files : &locked);
}

/* ---- descriptors and processes ---- */

static void step_dup(struct rnd *r)
{
	struct handle *h = any_handle(r), *other = any_handle(r);
	struct sock *s = any_sock(r), *t = any_sock(r);

	switch (below(r, 4)) {
	case 0:		/* the same open file under two numbers */
		if (h == other)
			break;
		handle_forget(other);
		other->fd = dup(h->fd);
		other->reg = h->reg;
		memcpy(other->name, h->name, sizeof(h->name));
		break;
	case 1:		/* a socket's number becomes another file, without close() */
		if (s->fd >= 0 && t->fd >= 0)
			dup2(s->fd, t->fd);
		break;
	case 2:
		if (s->fd >= 0)
			dup2(fz.epoll, s->fd);
		break;
	default:	/* closing the registered one leaves another reference */
		if (s->fd >= 0 && t->fd < 0)
			t->fd = dup(s->fd);
	}
}

static void helper_end(pid_t *pid)
{
	if (*pid > 0) {
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
	}
	*pid = 0;
}

void helpers_end(void)
{
	for (uint32_t i = 0; i < HELPERS; i++)
		helper_end(&fz.helper[i]);
}

/* At the end of an epoch nobody may be left who has inherited: who goes takes its child along. */
static void go_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
}

/* Has a child of its own.  True in the parent. */
static bool help_more(void)
{
	pid_t parent = getpid();

	if (fork())
		return true;
	go_with(parent);
	return false;
}

/* A child that does something with what it has inherited until it is killed or is through. */
static void help(struct rnd r)
{
	bool first = true;	/* its children have none, or they would be many */

	for (uint32_t n = below(&r, 30); n; n--) {
		struct handle *h = any_handle(&r);
		struct nmreq_pst_fd_reg reg = { .fd = (uint32_t)any_fd(&r) };

		switch (below(&r, 8)) {
		case 0: port_ioctl(h->fd, NETMAP_REQ_PST_FD_REG, "", &reg); break;
		case 1: close(any_sock(&r)->fd); break;
		case 2: reserve(h->place, PLACE); break;
		case 3: usleep(below(&r, 20000)); break;
		case 4:
			if (first)
				first = help_more();
			break;
		default: sync_handle(h, (int)below(&r, 3), (int)below(&r, 3));
		}
	}
	if (once_in(&r, 3))
		execl("/bin/sleep", "sleep", "100", (char *)NULL);
	if (once_in(&r, 2))
		pause();
	_exit(0);
}

static void step_fork(struct rnd *r)
{
	pid_t *pid = &fz.helper[below(r, HELPERS)];
	struct rnd theirs = { rnd64(r) };
	pid_t player = getpid();

	helper_end(pid);
	*pid = fork();
	if (!*pid) {
		go_with(player);
		help(theirs);
	}
}

static void step_kill(struct rnd *r)
{
	helper_end(&fz.helper[below(r, HELPERS)]);
}

/* Through a unix socket: in flight for a while, or into another number. */
static void step_pass(struct rnd *r)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } control = { 0 };
	struct iovec iov = { "x", 1 };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct handle *h = any_handle(r);
	int fd = once_in(r, 3) ? any_fd(r) : h->fd;
	char byte;

	if (once_in(r, 2)) {
		control.h = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.h), &fd, sizeof(fd));
		sendmsg(fz.pipe[0], &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		return;
	}
	iov.iov_base = &byte;
	if (recvmsg(fz.pipe[1], &m, MSG_DONTWAIT) <= 0 || m.msg_controllen < sizeof(struct cmsghdr))
		return;
	memcpy(&fd, CMSG_DATA(&control.h), sizeof(fd));
	if (h->fd < 0 && once_in(r, 2)) {
		h->fd = fd;
		h->reg = (struct nmreq_register){ 0 };
	} else {
		close(fd);
	}
}

const struct step world_steps[] = {
	{ "veth", 3, step_veth },
	{ "nic", 1, step_nic },
	{ "parameters", 2, step_parameters },
	{ "limits", 2, step_limits },
	{ "dup", 5, step_dup },
	{ "fork", 5, step_fork },
	{ "kill", 3, step_kill },
	{ "pass", 5, step_pass },
	{ NULL, 0, NULL },
};
