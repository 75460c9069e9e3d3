// SPDX-License-Identifier: BSD-2-Clause
/*
 * fault: whichever allocation of a request fails, the request says so or does without,
 * leaves nothing behind, and works the next time.
 *
 * [debug checked timeout=240]
 *
 * The kernel counts the allocations of this thread and fails the n-th (fail-nth in
 * Documentation/fault-injection).  Every request is repeated with n = 1, 2, 3 ... until it
 * gets by without meeting the n-th; what the kernel does for it in other threads and in
 * interrupts is not counted.  With an argument only the requests whose names begin so.
 */
#include <dirent.h>
#include <sched.h>
#include <sys/syscall.h>
#include "supply.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP	262
#endif

#define FAULTS		"/sys/kernel/debug/"
#define POOL_BUFS	"/sys/module/paste/parameters/pool_bufs"
#define EXT_SIZE	(4UL << 20)
#define SOCKS		3
#define BYTES		6000		/* each way on each connection of a sync */
#define PROG_ALLOCS	30	/* what an empty BPF program takes at most */

static struct port p;
static int fail_nth;

/* What a request is made with; prepare() sets it up and finish() ends it. */
static int fd, sock[SOCKS], peer[SOCKS];
static void *mapping, *memory;
static uint64_t failed_before;		/* what a counter was */
static char sent[SOCKS][2][BYTES];

/* ---------------------------------------------------------------- injection */

static void set(const char *file, const char *value)
{
	int f = open(file, O_WRONLY | O_CLOEXEC);

	t_must(f >= 0 && write(f, value, strlen(value)) > 0);
	close(f);
}

/* All allocations, without a word in the log for each. */
static void injection_on(void)
{
	char name[64];

	set(FAULTS "failslab/verbose", "0");
	set(FAULTS "failslab/ignore-gfp-wait", "N");
	set(FAULTS "fail_page_alloc/verbose", "0");
	set(FAULTS "fail_page_alloc/ignore-gfp-wait", "N");
	set(FAULTS "fail_page_alloc/min-order", "0");
	snprintf(name, sizeof(name), "/proc/self/task/%ld/fail-nth", syscall(SYS_gettid));
	fail_nth = open(name, O_RDWR | O_CLOEXEC);
	t_must(fail_nth >= 0);
}

/* From now on, until disarm(), the @n-th allocation of this thread fails. */
static void arm(uint32_t n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	t_must(pwrite(fail_nth, text, (size_t)len, 0) == len);
}

/* True if one has failed. */
static bool disarm(void)
{
	char left[16] = "";

	t_must(pread(fail_nth, left, sizeof(left) - 1, 0) > 0);
	t_must(pwrite(fail_nth, "0", 1, 0) == 1);
	return atoi(left) == 0;
}

/* ---------------------------------------------------------------- what may be left behind */

struct state {
	long module;			/* descriptors, mappings and ports hold it */
	int fds;			/* of this process */
	struct nmreq_pst_stats st;
};

static long read_long(const char *file)
{
	char text[32] = "";
	int f = open(file, O_RDONLY | O_CLOEXEC);

	t_must(f >= 0 && read(f, text, sizeof(text) - 1) > 0);
	close(f);
	return atol(text);
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	t_must(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* What is in the RX ring is nobody's, and its buffers are the port's again. */
static void empty_ring(void)
{
	port_sync(&p);
	while (!nm_ring_empty(p.rx))
		paste_rx_release(p.rx);
	port_sync(&p);
}

/*
 * With what is on its way back to the port let in: from TCP for example, or from us, when housekeeping
 * was in the ring and the sync did nothing.
 */
static struct state state_now(void)
{
	struct state s;

	for (int i = 0; i < 100; i++) {
		uint64_t syncs = port_stats(&p).counters.rx_syncs;

		empty_ring();
		s = (struct state) {
			.module = read_long("/sys/module/paste/refcnt"), .fds = count_fds(),
			.st = port_stats(&p),
		};
		if (s.st.counters.rx_syncs - syncs >= 2 && !s.st.port.buf_stack && !s.st.port.buf_sent)
			break;
		usleep(10000);
	}
	return s;
}

static void same_state(const struct state *a, const struct state *b)
{
	t_eq(b->module, a->module);
	t_eq(b->fds, a->fds);
	t_eq(b->st.port.buf_user, a->st.port.buf_user);
	t_eq(b->st.port.buf_free + b->st.port.buf_nic, a->st.port.buf_free + a->st.port.buf_nic);
	t_eq(b->st.port.buf_stack, a->st.port.buf_stack);
	t_eq(b->st.port.buf_sent, a->st.port.buf_sent);
	t_eq(b->st.port.sockets, a->st.port.sockets);
	t_eq(b->st.port.nics, a->st.port.nics);
}

/* ---------------------------------------------------------------- requests */

/*
 * run() is what allocations fail in: -1 and errno, or anything else.  prepare() comes before it; finish()
 * after it, with whether it succeeded, and undoes both.  NULL: nothing to do.
 */
struct request {
	const char *name;
	void (*prepare)(void);
	int (*run)(void);
	void (*finish)(bool done);
};

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

/* paste_...() return -errno. */
static int as_errno(int err)
{
	if (err >= 0)
		return err;
	errno = -err;
	return -1;
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

static void prepare_detach(void)
{
	t_must(!run_attach());
}

static void finish_detach(bool done)
{
	finish_attach(!done);
}

static void close_pairs(bool done)
{
	(void)done;
	for (int i = 0; i < SOCKS; i++) {
		close(sock[i]);
		close(peer[i]);
	}
	/* the port notices when it looks for their slots */
	for (int i = 0; i < 300 && port_stats(&p).port.sockets; i++) {
		empty_ring();
		usleep(10000);
	}
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

/* The same of another kind of socket. */
static void one_pair(int server, int other)
{
	sock[0] = server;
	peer[0] = other;
	for (int i = 1; i < SOCKS; i++)
		sock[i] = peer[i] = -1;
	t_must(write(peer[0], "early", 5) == 5);
}

static void prepare_unix(void)
{
	int s[2];

	t_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	one_pair(s[0], s[1]);
}

static void prepare_udp(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(a);

	t_must(server >= 0 && other >= 0);
	t_must(!bind(server, (void *)&a, len) && !getsockname(server, (void *)&a, &len));
	t_must(!connect(other, (void *)&a, len) && !getsockname(other, (void *)&a, &len));
	t_must(!connect(server, (void *)&a, len));
	one_pair(server, other);
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

static void prepare_listener(void)
{
	uint16_t number;

	sock[0] = tcp_listen(AF_INET, &number);
	peer[0] = tcp_connect(AF_INET, number);
	for (int i = 1; i < SOCKS; i++)
		sock[i] = peer[i] = -1;
}

/* The connection that waits comes by a slot, once it can, or by accept(). */
static int accepted(void)
{
	struct netmap_slot *s = port_next(&p, 3000);
	int conn = -1;

	if (s && t_true(paste_rx_accepted(p.rx, s))) {
		conn = s->fd;
		paste_rx_release(p.rx);
	}
	return conn;
}

static void finish_listener(bool done)
{
	int conn = done ? accepted() : accept(sock[0], NULL, NULL);

	t_true(conn >= 0);
	close(conn);
	close_pairs(done);
}

/* A sync that has a connection to accept, and its first bytes to show. */
static void prepare_accept(void)
{
	prepare_listener();
	t_must(!port_register(&p, sock[0]));
	t_must(write(peer[0], "early", 5) == 5);
	failed_before = port_stats(&p).counters.accept_failed;
}

static int run_sync(void)
{
	struct pollfd pfd = { .fd = p.fd, .events = POLLIN | POLLOUT };

	return poll(&pfd, 1, 0) < 0 || pfd.revents & POLLERR ? -1 : 0;
}

/* A sync does what it can, and the rest later; a connection it had to give up is closed and counted. */
static void finish_accept(bool done)
{
	bool lost = port_stats(&p).counters.accept_failed != failed_before;
	char text[8];
	int conn;

	t_true(done);
	if (lost && !silent(peer[0], 100)) {
		t_le(read(peer[0], text, 1), 0);
		close_pairs(done);
		return;
	}
	conn = accepted();
	if (t_true(conn >= 0))
		t_eq(port_collect(&p, conn, text, 5, 3000), 5);
	close(conn);
	close_pairs(done);
}

/* Data both ways on several connections, as much as one sync takes. */
static void fill_sent(void)
{
	for (int i = 0; i < SOCKS; i++)
		for (int k = 0; k < BYTES; k++) {
			sent[i][0][k] = (char)(k * 7 + i);
			sent[i][1][k] = (char)(k * 11 + i);
		}
}

static void put_reply(int i)
{
	port_put(&p, sock[i], sent[i][1], BYTES / 2);
	port_put(&p, sock[i], sent[i][1] + BYTES / 2, BYTES / 2);
}

static void prepare_sync(void)
{
	for (int i = 0; i < SOCKS; i++) {
		port_pair(&p, &sock[i], &peer[i]);
		t_must(write(peer[i], sent[i][0], BYTES) == BYTES);
		put_reply(i);
	}
}

/*
 * Each of the first @n connections has all its bytes, in order; the only event is that of congestion: a
 * send without memory waits as one to a full socket does.
 */
static void collect_streams(int n)
{
	static char got[SOCKS][BYTES];
	size_t have[SOCKS] = { 0 }, all = 0;
	struct netmap_slot *s;

	while (all < (size_t)n * BYTES && (s = port_next(&p, 3000))) {
		size_t len = slot_len(s);
		int i = 0;

		while (i < n && sock[i] != s->fd)
			i++;
		t_must(i < n && have[i] + len <= BYTES);
		if (s->flags & NS_PST_EVENT)
			t_eq(s->err, EAGAIN);
		memcpy(got[i] + have[i], slot_data(p.rx, s), len);
		have[i] += len;
		all += len;
		paste_rx_release(p.rx);
	}
	for (int i = 0; i < n; i++) {
		t_eq(have[i], BYTES);
		t_true(!memcmp(got[i], sent[i][0], BYTES));
	}
}

static void finish_sync(bool done)
{
	static char got[BYTES];

	t_true(done);
	collect_streams(SOCKS);
	for (int i = 0; i < SOCKS; i++) {
		t_eq(read_n(peer[i], got, BYTES, 3000), BYTES);
		t_true(!memcmp(got, sent[i][1], BYTES));
	}
	close_pairs(done);
}

/* The five bytes that came early; a send without memory waits as one to a full socket does. */
static void collect_early(char *text)
{
	int n;

	do
		n = port_collect(&p, sock[0], text, 5, 3000);
	while (n == -1000 - EAGAIN);
	t_eq(n, 5);
}

/* A stream that only copies. */
static void prepare_unix_sync(void)
{
	prepare_unix();
	t_must(!port_register(&p, sock[0]));
	put_reply(0);
}

static void finish_unix_sync(bool done)
{
	static char got[BYTES];

	t_true(done);
	collect_early(got);
	for (int i = 0; i < 100 && silent(peer[0], 10); i++)
		port_sync(&p);
	t_eq(read_n(peer[0], got, BYTES, 3000), BYTES);
	t_true(!memcmp(got, sent[0][1], BYTES));
	close_pairs(done);
}

/* A datagram that finds no memory is refused, as sendto() would say. */
static void prepare_udp_sync(void)
{
	prepare_udp();
	t_must(!port_register(&p, sock[0]));
	failed_before = port_stats(&p).counters.tx_failed;
	port_put(&p, sock[0], sent[0][1], BYTES / 4);
}

static void finish_udp_sync(bool done)
{
	static char got[BYTES];

	t_true(done);
	collect_early(got);
	if (port_stats(&p).counters.tx_failed == failed_before) {
		t_eq(recv(peer[0], got, BYTES, 0), BYTES / 4);
		t_true(!memcmp(got, sent[0][1], BYTES / 4));
	}
	close_pairs(done);
}

/* A sync that closes: what comes before the close is not lost, and the descriptor goes, if not at once. */
static void prepare_closing_sync(void)
{
	uint32_t slot = p.tx->head;

	for (int i = 1; i < SOCKS; i++)
		sock[i] = peer[i] = -1;
	port_pair(&p, &sock[0], &peer[0]);
	failed_before = port_stats(&p).counters.closed;
	port_put(&p, sock[0], sent[0][1], BYTES / 2);
	p.tx->slot[slot].flags |= NS_PST_CLOSE;
}

static void finish_closing_sync(bool done)
{
	static char got[BYTES];

	t_true(done);
	for (int i = 0; i < 300 && port_stats(&p).counters.closed == failed_before; i++) {
		empty_ring();
		usleep(10000);
	}
	t_eq(port_stats(&p).counters.closed, failed_before + 1);
	t_fails(EBADF, fcntl(sock[0], F_GETFD));
	sock[0] = -1;
	t_eq(read_n(peer[0], got, BYTES / 2, 3000), BYTES / 2);
	t_true(!memcmp(got, sent[0][1], BYTES / 2));
	t_true(!silent(peer[0], 3000));
	t_eq(read(peer[0], got, 1), 0);
	close_pairs(done);
}

/* ---------------------------------------------------------------- a NIC with a peer */

/*
 * The peer of one connection through an attached veth is a process in a network namespace of
 * its own; a byte in its pipe has it send and expect a stream, and it answers with a byte.
 */
static int to_peer, from_peer, by_nic;

static void shell(const char *format, int n)
{
	char line[512];

	snprintf(line, sizeof(line), format, n);
	t_must(system(line) == 0);
}

static void peer_process(int in, int out, uint16_t number)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(number) };
	static char got[BYTES];
	char c = 0;
	int s;

	t_must(!unshare(CLONE_NEWNET) && write(out, &c, 1) == 1 && read(in, &c, 1) == 1);
	shell("ip addr add 10.98.0.2/24 dev fault%d; ip link set fault1 up; ethtool -K fault1 tx off > /dev/null", 1);
	inet_pton(AF_INET, "10.98.0.1", &a.sin_addr);
	s = socket(AF_INET, SOCK_STREAM, 0);
	t_must(s >= 0 && !connect(s, (void *)&a, sizeof(a)));
	while (read(in, &c, 1) == 1) {
		t_must(write(s, sent[0][0], BYTES) == BYTES);
		c = read_n(s, got, BYTES, 20000) == BYTES && !memcmp(got, sent[0][1], BYTES);
		t_must(write(out, &c, 1) == 1);
	}
	exit(t_end());
}

static int listen_any(uint16_t *number)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	t_must(l >= 0 && !bind(l, (void *)&a, len) && !listen(l, 1) && !getsockname(l, (void *)&a, &len));
	*number = ntohs(a.sin_port);
	return l;
}

static void nic_with_peer(void)
{
	int in[2], out[2], l;
	uint16_t number;
	pid_t pid;
	char c;

	l = listen_any(&number);
	t_must(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	pid = fork();
	if (!pid) {
		close(in[1]);
		close(p.fd);	/* its end is not to be the port's */
		peer_process(in[0], out[1], number);
	}
	close(in[0]);
	close(out[1]);
	to_peer = in[1];
	from_peer = out[0];
	t_must(read(from_peer, &c, 1) == 1);
	shell("ip link add fault0 type veth peer name fault1 netns %d && ip addr add 10.98.0.1/24 dev fault0 && "
	      "ip link set fault0 up && ethtool -K fault0 tx off > /dev/null", pid);
	t_must(!as_errno(paste_attach_region(p.fd, "stack:fault0", p.reg.nr_mem_id)));
	t_must(write(to_peer, &c, 1) == 1);
	by_nic = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	close(l);
	t_must(by_nic >= 0 && !port_register(&p, by_nic));
}

static void prepare_nic_sync(void)
{
	char c = 0;

	if (!to_peer)
		nic_with_peer();
	sock[0] = by_nic;
	t_must(write(to_peer, &c, 1) == 1);
	usleep(20000);			/* for frames to be there */
	put_reply(0);
}

/* What was dropped for want of memory comes again. */
static void finish_nic_sync(bool done)
{
	char ok = 0;

	t_true(done);
	collect_streams(1);
	for (int i = 0; i < 100 && poll(&(struct pollfd) { .fd = from_peer, .events = POLLIN }, 1, 100) == 0; i++)
		port_sync(&p);
	t_must(read(from_peer, &ok, 1) == 1);
	t_true(ok);
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
	{ "FD_REG of a Unix stream", prepare_unix, run_fd_reg, finish_fd_reg },
	{ "FD_REG of an MPTCP socket", prepare_mptcp, run_fd_reg, finish_fd_reg },
	{ "FD_REG of an SCTP socket", prepare_sctp, run_fd_reg, finish_fd_reg },
	{ "FD_REG of a UDP socket", prepare_udp, run_fd_reg, finish_fd_reg },
	{ "FD_REG of a listener", prepare_listener, run_fd_reg, finish_listener },
	{ "sync", prepare_sync, run_sync, finish_sync },
	{ "sync of a Unix stream", prepare_unix_sync, run_sync, finish_unix_sync },
	{ "sync of a UDP socket", prepare_udp_sync, run_sync, finish_udp_sync },
	{ "sync that accepts", prepare_accept, run_sync, finish_accept },
	{ "sync that closes", prepare_closing_sync, run_sync, finish_closing_sync },
	{ "REGISTER in memory of the application", prepare_fd, run_extmem, close_fd },
	{ "REGISTER", prepare_fd, run_register, close_fd },
	{ "NIOCREGIF", prepare_fd, run_regif, close_fd },
	{ "DETACH", prepare_detach, run_detach, finish_detach },
	{ "ATTACH", NULL, run_attach, finish_attach },
	{ "ATTACH of a port in memory of the application", prepare_attach_extmem, run_attach_extmem, close_fd },
	{ "close", prepare_close, run_close, finish_close },
	{ "sync with a NIC", prepare_nic_sync, run_sync, finish_nic_sync },	/* its connection stays */
};

/* ---------------------------------------------------------------- the loop */

static bool is_about_memory(int err)
{
	return err == ENOMEM || err == ENOBUFS || err == EAGAIN;
}

/*
 * The kernel's bpf_prog_load() says EINVAL when bpf_prog_alloc() has no memory for the program.  Nothing else
 * is to hide behind that, so it is believed only in a row of allocations of that length.
 */
static bool is_prog_alloc(const struct request *r, uint32_t n, int err)
{
	static const struct request *of;
	static uint32_t first;

	if ((r->run != run_attach && r->run != run_attach_extmem) || err != EINVAL)
		return false;
	if (of != r) {
		of = r;
		first = n;
	}
	return n - first < PROG_ALLOCS;
}

/* Once, with the @n-th allocation failing; false if there were fewer. */
static bool once(const struct request *r, uint32_t n)
{
	struct state before = state_now(), after;
	bool failed, done;
	int err;

	if (r->prepare)
		r->prepare();
	arm(n);
	done = r->run() != -1;
	err = errno;
	failed = disarm();
	t_note("%s, allocation %u fails: %s", r->name, n, done ? "done all the same" : strerror(err));
	if (!done)
		t_true(failed && (is_about_memory(err) || is_prog_alloc(r, n, err)));
	if (r->finish)
		r->finish(done);
	after = state_now();
	same_state(&before, &after);
	return failed;
}

static void each_allocation(const struct request *r)
{
	uint64_t start = now_ms();
	uint32_t n = 1;

	/* caches are filled by the first use, and what is made once is made */
	if (r->prepare)
		r->prepare();
	t_true(r->run() != -1);
	if (r->finish)
		r->finish(true);
	while (once(r, n))
		n++;
	printf("%s: %u allocations, %.1f s\n", r->name, n - 1, (double)(now_ms() - start) / 1000);
	fflush(stdout);
}

static void restore(void)
{
	set(POOL_BUFS, "8192");
}

int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : "";

	system("modprobe -q sctp");
	injection_on();
	/* vmalloc tells of its failures by a line and a stack */
	t_announce("vmalloc error");
	t_announce("Call Trace");
	t_announce("\\+0x[0-9a-f]+/0x[0-9a-f]+ \\[paste\\]");
	set(POOL_BUFS, "256");
	atexit(restore);
	memory = supply("memfd", EXT_SIZE);
	memset(memory, 0, EXT_SIZE);
	fill_sent();
	port_make(&p, "stack:fault", 64, 0);
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
		if (!strncmp(requests[i].name, only, strlen(only)))
			each_allocation(&requests[i]);
	if (to_peer) {
		close(to_peer);
		close(by_nic);
		wait(NULL);
	}
	port_close(&p);
	return t_end();
}
