// SPDX-License-Identifier: BSD-2-Clause
/*
 * attach: a process without privileges that was handed a descriptor can use the port,
 * but neither attach nor detach a device, nor open the device file itself; with some of the
 * privileges it cannot either.  What else stands in the way of attaching, interfaces,
 * buffers, descriptors, is told by its errno and leaves nothing behind.
 *
 * [short]
 */
#include <grp.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include "port.h"

static struct port p;

static void as_nobody(void)
{
	int sock, peer;
	char text[4];

	t_must(!setgroups(0, NULL) && !setgid(65534) && !setuid(65534));
	t_note("as nobody");
	t_fails(EACCES, open("/dev/netmap", O_RDWR));
	t_eq(paste_attach(p.fd, "stack:eth0"), -EPERM);
	t_eq(paste_detach(p.fd, "stack:eth0"), -EPERM);
	port_pair(&p, &sock, &peer);
	t_eq(write(peer, "data", 4), 4);
	t_eq(port_collect(&p, sock, text, 4, 1000), 4);
	port_put(&p, sock, "data", 4);
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_eq(read_n(peer, text, 4, 1000), 4);
	exit(t_end());
}

/* @what, in a process of its own. */
static void in_child(void (*what)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		what();
		exit(t_end());
	}
	t_ok(waitpid(pid, &status, 0));
	t_eq(status, 0);
}

static void try(void)
{
	in_child(as_nobody);
}

static void drop(unsigned int cap)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	t_must(!syscall(SYS_capget, &h, d));
	d[cap / 32].effective &= ~(1u << cap % 32);
	t_must(!syscall(SYS_capset, &h, d));
}

/* Attaching fails with @error, and nothing is attached. */
static void cannot(const char *ifname, int error)
{
	uint64_t nics = port_stats(&p).port.nics;

	t_eq(paste_attach(p.fd, ifname), -error);
	t_eq(port_stats(&p).port.nics, nics);
}

static void without_net_raw(void)
{
	t_note("without CAP_NET_RAW");
	drop(CAP_NET_RAW);
	cannot("stack:eth0", EPERM);
}

/* CAP_SYS_ADMIN has in it what CAP_BPF has. */
static void without_bpf(void)
{
	t_note("without CAP_BPF");
	drop(CAP_SYS_ADMIN);
	t_eq(paste_attach(p.fd, "stack:eth0"), 0);
	t_eq(paste_detach(p.fd, "stack:eth0"), 0);
	drop(CAP_BPF);
	cannot("stack:eth0", EPERM);
}

static void without_net_admin(void)
{
	t_note("without CAP_NET_ADMIN");
	drop(CAP_NET_ADMIN);
	cannot("stack:eth0", EPERM);
	t_eq(paste_detach(p.fd, "stack:eth0"), -EPERM);
}

/* Some are needed for the moment; when there are not so many, those there are come back. */
static void descriptors(void)
{
	int first = dup(0), spare = 0, err;
	struct rlimit old, few;

	t_note("descriptors");
	t_must(first >= 0 && !close(first) && !getrlimit(RLIMIT_NOFILE, &old));
	few = old;
	do {
		few.rlim_cur = (rlim_t)first + (rlim_t)spare;
		t_must(!setrlimit(RLIMIT_NOFILE, &few));
		err = paste_attach(p.fd, "stack:eth0");
		t_eq(port_stats(&p).port.nics, !err);
		t_eq(port_stats(&p).port.buf_nic > 0, !err);
		for (int i = 0; i < spare; i++)
			t_fails(EBADF, fcntl(first + i, F_GETFD));
	} while (err == -EMFILE && ++spare < 20);
	t_eq(err, 0);
	t_le(2, spare);
	t_ok(setrlimit(RLIMIT_NOFILE, &old));
	t_eq(paste_detach(p.fd, "stack:eth0"), 0);
}

/* ip link ... */
__attribute__((format(printf, 1, 2)))
static void ip_link(const char *fmt, ...)
{
	char line[128] = "ip link ";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + strlen(line), sizeof(line) - strlen(line), fmt, ap);
	va_end(ap);
	t_eq(system(line), 0);
}

/* One more than there may be, and another one. */
static void too_many(void)
{
	char name[32];

	t_note("more interfaces than there may be");
	for (int i = 0; i < 5; i++) {
		ip_link("add many%d type veth peer name many%db", i, i);
		ip_link("set many%d up", i);
		ip_link("set many%db up", i);
	}
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "stack:many%d%s", i / 2, i % 2 ? "b" : "");
		if (i < 8)
			t_eq(paste_attach(p.fd, name), 0);
		else
			cannot(name, ENOSPC);
	}
	t_note("one less");
	t_eq(paste_detach(p.fd, "stack:many0"), 0);
	t_eq(paste_attach(p.fd, name), 0);
	cannot("stack:many0", ENOSPC);
	port_close(&p);
	for (int i = 0; i < 5; i++)
		ip_link("del many%d", i);
	port_make(&p, "stack:priv", 64, 0);
}

/* A driver that cannot take the program leaves it to the stack. */
static void on_packets(void)
{
	static const char *const how[] = {
		"mtu 9000 type veth peer name oddb mtu 9000",
		"numrxqueues 1 type veth peer name oddb numtxqueues 2",
	};

	t_note("a veth with a large MTU, or fewer RX queues than the other end has for TX");
	for (int i = 0; i < 2; i++) {
		ip_link("add odd %s", how[i]);
		ip_link("set odd up");
		ip_link("set oddb up");
		t_eq(paste_attach(p.fd, "stack:odd"), 0);
		t_eq(paste_detach(p.fd, "stack:odd"), 0);
		ip_link("del odd");
	}
}

static void pool_bufs(const char *n)
{
	FILE *f = fopen("/sys/module/paste/parameters/pool_bufs", "w");

	t_must(f && fputs(n, f) > 0 && !fclose(f));
}

/* 128 for each queue of the interface, of those that no other one has. */
static void too_few_buffers(void)
{
	struct nmreq_vale_attach one = {
		.reg.nr_mode = NR_REG_ONE_NIC, .reg.nr_rx_rings = 1,
	};

	t_note("too few buffers");
	t_announce("too few buffers for 4 queues");
	pool_bufs("512");
	port_close(&p);
	port_make(&p, "stack:priv", 64, 0);
	pool_bufs("8192");
	ip_link("add few numrxqueues 4 type veth peer name fewb");
	ip_link("set few up");
	ip_link("set fewb up");
	for (int i = 0; i < 3; i++)
		cannot("stack:few", ENOBUFS);
	t_eq(port_stats(&p).port.buf_nic, 0);
	t_note("enough for one of the queues");
	t_ok(port_ioctl(p.fd, NETMAP_REQ_PST_ATTACH, "stack:few", &one));
	t_eq(paste_detach(p.fd, "stack:few"), 0);
	ip_link("del few");
}

int main(void)
{
	port_make(&p, "stack:priv", 64, 0);
	try();
	t_eq(port_stats(&p).port.nics, 0);
	t_eq(paste_attach(p.fd, "stack:eth0"), 0);
	try();
	t_eq(port_stats(&p).port.nics, 1);
	t_eq(paste_detach(p.fd, "stack:eth0"), 0);
	t_note("interfaces that cannot be");
	t_eq(paste_attach(p.fd, "stack:lo"), -EOPNOTSUPP);
	t_eq(paste_attach(p.fd, "stack:eth99"), -ENXIO);
	in_child(without_net_raw);
	in_child(without_bpf);
	in_child(without_net_admin);
	descriptors();
	on_packets();
	too_many();
	too_few_buffers();
	port_close(&p);
	return t_end();
}
