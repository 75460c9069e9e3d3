// SPDX-License-Identifier: BSD-2-Clause
/*
 * fault: whichever allocation of a request fails, the request says so or does without,
 * leaves nothing behind, and works the next time.
 *
 * [debug checked timeout=240]
 *
 * fault.h tells how; syncs have faultsync.c.  With an argument only the requests whose names begin so.
 */
#include "supply.h"
#include "fault.h"

#define EXT_SIZE	(4UL << 20)

static int fd;
static void *mapping, *memory;
static struct port made;

static int run_open(void)
{
	return fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);
}

static void finish_open(bool done)
{
	if (done)
		close(fd);
}

static void prepare_fd(void)
{
	t_must((fd = open("/dev/netmap", O_RDWR | O_CLOEXEC)) >= 0);
}

static void close_fd(bool done)
{
	(void)done;
	close(fd);
}

static int request_register(const char *name, void *options)
{
	struct nmreq_register want = {
		.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 16, .nr_rx_slots = 16,
		.nr_tx_rings = 2, .nr_rx_rings = 2, .nr_extra_bufs = 8,
	};

	return port_ioctl_with(fd, NETMAP_REQ_REGISTER, name, &want, options);
}

static int run_register(void)
{
	return request_register("stack:made", NULL);
}

/* As netmap's older interface has it. */
static int run_regif(void)
{
	struct nmreq r = {
		.nr_version = NETMAP_API, .nr_name = "stack:made", .nr_flags = NR_REG_ALL_NIC,
		.nr_tx_slots = 16, .nr_rx_slots = 16, .nr_arg3 = 8,
	};

	return ioctl(fd, NIOCREGIF, &r);
}

static int run_ginfo(void)
{
	struct nmreq r = { .nr_version = NETMAP_API, .nr_name = "stack:fault" };

	return ioctl(p.fd, NIOCGINFO, &r);
}

static int run_extmem(void)
{
	static const uint32_t kept[] = { 100, 101, 102 };
	struct nmreq_opt_pst_keep keep = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_PST_KEEP,
		.nro_indexes = (uintptr_t)kept, .nro_count = 3,
	};
	struct nmreq_opt_extmem ext = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM,
		.nro_opt.nro_next = (uintptr_t)&keep,
		.nro_usrptr = (uintptr_t)memory, .nro_info.nr_memsize = EXT_SIZE,
	};

	return request_register("stack:made", &ext);
}

/* Another descriptor of a port that exists. */
static int run_join(void)
{
	struct nmreq_register want = { .nr_mode = NR_REG_ALL_NIC };

	return port_ioctl(fd, NETMAP_REQ_REGISTER, p.name, &want);
}

static int run_mmap(void)
{
	mapping = mmap(NULL, p.size, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0);
	return mapping == MAP_FAILED ? -1 : 0;
}

static void finish_mmap(bool done)
{
	if (done)
		munmap(mapping, p.size);
}

static int run_info(void)
{
	struct nmreq_port_info_get info = { 0 };

	return port_ioctl(p.fd, NETMAP_REQ_PORT_INFO_GET, p.name, &info);
}

static int run_pools(void)
{
	struct nmreq_pools_info pools = { 0 };

	return port_ioctl(p.fd, NETMAP_REQ_POOLS_INFO_GET, p.name, &pools);
}

static int run_stats(void)
{
	struct nmreq_pst_stats st = { .ring = 0 };

	return port_ioctl(p.fd, NETMAP_REQ_PST_STATS, p.name, &st);
}

static int run_list(void)
{
	struct nmreq_pst_list list = { .index = 0 };

	return port_ioctl(p.fd, NETMAP_REQ_PST_LIST, "", &list);
}

static int run_attach(void)
{
	return as_errno(paste_attach_region(p.fd, "stack:eth0", p.reg.nr_mem_id));
}

static int run_detach(void)
{
	return as_errno(paste_detach(p.fd, "stack:eth0"));
}

static void finish_attach(bool done)
{
	if (done)
		t_must(!run_detach());
}

/* A port of its own, in memory of ours. */
static void prepare_attach_extmem(void)
{
	prepare_fd();
	t_must(!run_extmem());
}

static int run_attach_extmem(void)
{
	return as_errno(paste_attach(fd, "stack:eth0"));
}

/* Two queues on either side, for chosen ones; its peer is not used. */
static void prepare_veth(void)
{
	static bool there;

	if (there)
		return;
	there = true;
	shell("q='numrxqueues 2 numtxqueues 2'; ip link add fault0 $q type veth peer name fault1 $q && "
	      "ip link set fault0 up && ip link set fault%d up", 1);
}

static int run_attach_queue(void)
{
	return as_errno(paste_attach_queues(p.fd, "stack:fault0", 1, 1));
}

static void finish_attach_queue(bool done)
{
	if (done)
		t_must(!paste_detach(p.fd, "stack:fault0"));
}

/* The other queue is another port's: the program is there already. */
static void prepare_attach_beside(void)
{
	prepare_veth();
	t_must(!run_attach_queue());
	prepare_fd();
	t_must(!run_register());
}

static int run_attach_beside(void)
{
	return as_errno(paste_attach_queues(fd, "stack:fault0", 0, 1));
}

static void finish_attach_beside(bool done)
{
	close_fd(done);
	finish_attach_queue(true);
}

static void prepare_detach(void)
{
	t_must(!run_attach());
}

static void finish_detach(bool done)
{
	finish_attach(!done);
}

/* Connections that have something to tell already. */
static void prepare_pairs(void)
{
	for (int i = 0; i < SOCKS; i++) {
		tcp_pair(&sock[i], &peer[i]);
		t_must(write(peer[i], "early", 5) == 5);
	}
}

static int run_fd_reg(void)
{
	return port_register(&p, sock[0]);
}

/* A connection of @proto, which the lab's kernels have. */
static void prepare_inet(int proto)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, proto);
	int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, proto);
	socklen_t len = sizeof(a);
	int server;

	t_must(l >= 0 && other >= 0);
	t_must(!bind(l, (void *)&a, len) && !listen(l, 1) && !getsockname(l, (void *)&a, &len));
	t_must(!connect(other, (void *)&a, len));
	server = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	t_must(server >= 0);
	close(l);
	one_pair(server, other);
}

static void prepare_ipv6(void)
{
	uint16_t number;
	int l = tcp_listen(AF_INET6, &number), other = tcp_connect(AF_INET6, number);
	int server = accept4(l, NULL, NULL, SOCK_CLOEXEC);

	t_must(server >= 0);
	close(l);
	one_pair(server, other);
}

static void prepare_mptcp(void)
{
	prepare_inet(IPPROTO_MPTCP);
}

static void prepare_sctp(void)
{
	prepare_inet(IPPROTO_SCTP);
}

static int run_fd_reg_by_queue(void)
{
	struct nmreq_pst_fd_reg r = { .fd = (uint32_t)sock[0], .flags = PST_FD_BY_QUEUE };

	return port_ioctl(p.fd, NETMAP_REQ_PST_FD_REG, "", &r);
}

/* What came before the registration is there; a refused socket has kept it. */
static void finish_fd_reg(bool done)
{
	char text[8];

	if (done)
		t_eq(port_collect(&p, sock[0], text, 5, 2000), 5);
	else
		t_eq(read_n(sock[0], text, 5, 2000), 5);
	close_pairs(done);
}

static void finish_listener(bool done)
{
	int conn = done ? accepted() : accept(sock[0], NULL, NULL);

	t_true(conn >= 0);
	close(conn);
	close_pairs(done);
}

/* The table of sockets has to grow for a number beyond its end.  It never shrinks: the port is a new one. */
static void prepare_growth(void)
{
	int high;

	port_make(&made, "stack:made", 16, 0);
	prepare_pairs();
	t_must(!port_register(&made, sock[1]));
	high = fcntl(sock[0], F_DUPFD_CLOEXEC, 100);
	t_must(high >= 100);
	close(sock[0]);
	sock[0] = high;
}

static int run_growth(void)
{
	return port_register(&made, sock[0]);
}

/* Who was in the table still is. */
static void finish_growth(bool done)
{
	char text[8];

	t_eq(port_stats(&made).port.sockets, done ? 2 : 1);
	port_put(&made, sock[1], "late", 4);
	port_sync(&made);
	t_eq(read_n(peer[1], text, 4, 2000), 4);
	if (done) {
		port_put(&made, sock[0], "late", 4);
		port_sync(&made);
		t_eq(read_n(peer[0], text, 4, 2000), 4);
	}
	port_close(&made);
	close_pairs(done);
}

/* Closing cannot fail: all of a port goes with its last descriptor. */
static void prepare_close(void)
{
	prepare_fd();
	t_must(!run_register());
	tcp_pair(&sock[0], &peer[0]);
	t_must(!port_ioctl(fd, NETMAP_REQ_PST_FD_REG, "", &(struct nmreq_pst_fd_reg) { .fd = (uint32_t)sock[0] }));
	t_must(!as_errno(paste_attach(fd, "stack:eth0")));
	t_must(write(peer[0], "early", 5) == 5);
}

static int run_close(void)
{
	return close(fd);
}

static void finish_close(bool done)
{
	t_true(done);
	close(sock[0]);
	close(peer[0]);
}

static bool loads_program(const struct request *r)
{
	return r->run == run_attach || r->run == run_attach_queue || r->run == run_attach_extmem;
}

static const struct request requests[] = {
	{ "open", NULL, run_open, finish_open },
	{ "PORT_INFO_GET", NULL, run_info, NULL },
	{ "POOLS_INFO_GET", NULL, run_pools, NULL },
	{ "STATS", NULL, run_stats, NULL },
	{ "NIOCGINFO", NULL, run_ginfo, NULL },
	{ "LIST", NULL, run_list, NULL },
	{ "mmap", NULL, run_mmap, finish_mmap },
	{ "REGISTER of a port that exists", prepare_fd, run_join, close_fd },
	{ "FD_REG", prepare_pairs, run_fd_reg, finish_fd_reg },
	{ "FD_REG by queue", prepare_pairs, run_fd_reg_by_queue, finish_fd_reg },
	{ "FD_REG of an IPv6 socket", prepare_ipv6, run_fd_reg, finish_fd_reg },
	{ "FD_REG of a Unix stream", prepare_unix, run_fd_reg, finish_fd_reg },
	{ "FD_REG of an MPTCP socket", prepare_mptcp, run_fd_reg, finish_fd_reg },
	{ "FD_REG of an SCTP socket", prepare_sctp, run_fd_reg, finish_fd_reg },
	{ "FD_REG of a UDP socket", prepare_udp, run_fd_reg, finish_fd_reg },
	{ "FD_REG of a listener", prepare_listener, run_fd_reg, finish_listener },
	{ "FD_REG of a high number", prepare_growth, run_growth, finish_growth },
	{ "REGISTER in memory of the application", prepare_fd, run_extmem, close_fd },
	{ "REGISTER", prepare_fd, run_register, close_fd },
	{ "NIOCREGIF", prepare_fd, run_regif, close_fd },
	{ "DETACH", prepare_detach, run_detach, finish_detach },
	{ "ATTACH", NULL, run_attach, finish_attach },
	{ "ATTACH of a queue", prepare_veth, run_attach_queue, finish_attach_queue },
	{ "ATTACH of a queue beside another port's", prepare_attach_beside, run_attach_beside,
	  finish_attach_beside },
	{ "ATTACH of a port in memory of the application", prepare_attach_extmem, run_attach_extmem,
	  close_fd },
	{ "close", prepare_close, run_close, finish_close },
};

int main(int argc, char **argv)
{
	system("modprobe -q sctp");
	/* vmalloc tells of its failures by a line and a stack */
	t_announce("vmalloc error");
	t_announce("Call Trace");
	t_announce("\\+0x[0-9a-f]+/0x[0-9a-f]+ \\[paste\\]");
	memory = supply("memfd", EXT_SIZE);
	memset(memory, 0, EXT_SIZE);
	fault_begin();
	fault_all(requests, sizeof(requests) / sizeof(*requests), argc, argv);
	system("ip link del fault0 2> /dev/null");
	port_close(&p);
	return t_end();
}
