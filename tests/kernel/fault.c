// SPDX-License-Identifier: BSD-2-Clause
/*
 * fault: whichever allocation of a request fails, the request says so or does without,
 * leaves nothing behind, and works the next time.
 *
 * [debug checked timeout=240]
 *
 * fault.h tells how; requests about NICs have faultnic.c and faultqueue.c, syncs have faultsync.c.  With an argument
 * only the requests whose names begin so.
 */
#include "fault.h"

static void *mapping;
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

static int run_register_one(void)
{
	struct nmreq_register want = {
		.nr_mode = NR_REG_ONE_NIC, .nr_ringid = 1, .nr_tx_slots = 16, .nr_rx_slots = 16,
		.nr_tx_rings = 2, .nr_rx_rings = 2,
	};

	return port_ioctl(fd, NETMAP_REQ_REGISTER, "stack:made", &want);
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

static void prepare_udp6(void)
{
	udp_pair(AF_INET6);
}

static void prepare_listener6(void)
{
	listen_on(AF_INET6);
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

/* Closing cannot fail: the last descriptor takes the port with it, its sockets are ordinary ones then. */
static void register_with_made(void)
{
	prepare_fd();
	t_must(!run_register());
	t_must(!port_ioctl(fd, NETMAP_REQ_PST_FD_REG, "", &(struct nmreq_pst_fd_reg) { .fd = (uint32_t)sock[0] }));
}

#define PREPARE_CLOSE(what)			\
static void prepare_close_ ## what(void)	\
{						\
	prepare_ ## what();			\
	register_with_made();			\
}
PREPARE_CLOSE(unix)
PREPARE_CLOSE(mptcp)
PREPARE_CLOSE(sctp)
PREPARE_CLOSE(udp)
PREPARE_CLOSE(listener)

static int run_close(void)
{
	return close(fd);
}

/* What came before may have been the port's already. */
static void finish_close(bool done)
{
	char text[16] = "";
	ssize_t n;

	t_true(done);
	t_eq(send(peer[0], "late", 4, 0), 4);
	do
		n = silent(sock[0], 3000) ? 0 : recv(sock[0], text, sizeof(text), 0);
	while (n == 5);
	t_must(n >= 4);
	t_true(!memcmp(text + n - 4, "late", 4));
	t_eq(send(sock[0], "answer", 6, 0), 6);
	t_eq(read_n(peer[0], text, 6, 3000), 6);
	close_pairs(done);
}

static void finish_close_listener(bool done)
{
	t_true(done);
	finish_listener(false);
}

static bool loads_program(const struct request *r)
{
	(void)r;
	return false;
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
	{ "FD_REG of an IPv6 UDP socket", prepare_udp6, run_fd_reg, finish_fd_reg },
	{ "FD_REG of a listener", prepare_listener, run_fd_reg, finish_listener },
	{ "FD_REG of an IPv6 listener", prepare_listener6, run_fd_reg, finish_listener },
	{ "FD_REG of a high number", prepare_growth, run_growth, finish_growth },
	{ "REGISTER in memory of the application", prepare_fd, run_extmem, close_fd },
	{ "REGISTER", prepare_fd, run_register, close_fd },
	{ "REGISTER of one ring", prepare_fd, run_register_one, close_fd },
	{ "NIOCREGIF", prepare_fd, run_regif, close_fd },
	{ "close with a Unix stream", prepare_close_unix, run_close, finish_close },
	{ "close with an MPTCP socket", prepare_close_mptcp, run_close, finish_close },
	{ "close with an SCTP socket", prepare_close_sctp, run_close, finish_close },
	{ "close with a UDP socket", prepare_close_udp, run_close, finish_close },
	{ "close with a listener", prepare_close_listener, run_close, finish_close_listener },
};

int main(int argc, char **argv)
{
	system("modprobe -q sctp");
	supply_memory();
	fault_begin();
	fault_all(requests, sizeof(requests) / sizeof(*requests), argc, argv);
	port_close(&p);
	return t_end();
}
