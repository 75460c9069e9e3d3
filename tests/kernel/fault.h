/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests that make allocations fail share: the injection, what may be left behind, ports, sockets, the loop.
 *
 * The kernel counts the allocations of this thread and fails the n-th (fail-nth in
 * Documentation/fault-injection).  Every request is repeated with n = 1, 2, 3 ... until it
 * gets by without meeting the n-th; what the kernel does for it in other threads and in
 * interrupts is not counted.  A program's argument is the beginning of the names of the
 * requests to make, or a number: then n = 1, 1 + number ... only.
 */
#ifndef FAULT_H
#define FAULT_H

#include <dirent.h>
#include <sys/syscall.h>
#include "port.h"
#include "supply.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP	262
#endif

#define FAULTS		"/sys/kernel/debug/"
#define POOL_BUFS	"/sys/module/paste/parameters/pool_bufs"
#define SOCKS		3
#define PROG_ALLOCS	30	/* what an empty BPF program takes at most */

static struct port p;
static int fail_nth;

/* What a request is made with; prepare() sets it up and finish() ends it. */
static int sock[SOCKS], peer[SOCKS];

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
	set(FAULTS "fail_page_alloc/ignore-gfp-highmem", "N");	/* vmalloc's */
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

/* Of attaching: vmalloc tells of its failures by a line and a stack. */
static void announce_vmalloc(void)
{
	t_announce("vmalloc error");
	t_announce("Call Trace");
	t_announce("\\+0x[0-9a-f]+/0x[0-9a-f]+ \\[paste\\]");
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

/* Is there a BPF program to load?  Each test says. */
static bool loads_program(const struct request *r);

/* paste_...() return -errno. */
static int as_errno(int err)
{
	if (err >= 0)
		return err;
	errno = -err;
	return -1;
}

static void shell(const char *format, int n)
{
	char line[512];

	snprintf(line, sizeof(line), format, n);
	t_must(system(line) == 0);
}

/* ---------------------------------------------------------------- ports */

#define EXT_SIZE	(4UL << 20)

static int fd;			/* of another port, which the request makes or is made with */
static void *memory;		/* for it, of EXT_SIZE bytes */

static void prepare_fd(void)
{
	t_must((fd = open("/dev/netmap", O_RDWR | O_CLOEXEC)) >= 0);
}

static void close_fd(bool done)
{
	(void)done;
	close(fd);
}

static void supply_memory(void)
{
	memory = supply("memfd", EXT_SIZE);
	memset(memory, 0, EXT_SIZE);
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

/* ---------------------------------------------------------------- sockets */

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

/* A bound one on loopback, and where it is. */
static int udp_bound(int family, struct sockaddr_in6 *at, socklen_t *len)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*at = (struct sockaddr_in6) { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	*len = family == AF_INET6 ? sizeof(*at) : sizeof(a4);
	if (family == AF_INET)
		memcpy(at, &a4, sizeof(a4));
	t_must(s >= 0 && !bind(s, (void *)at, *len) && !getsockname(s, (void *)at, len));
	return s;
}

static void udp_pair(int family)
{
	struct sockaddr_in6 here, there;
	socklen_t len;
	int server = udp_bound(family, &here, &len), other = udp_bound(family, &there, &len);

	t_must(!connect(other, (void *)&here, len) && !connect(server, (void *)&there, len));
	one_pair(server, other);
}

static void prepare_udp(void)
{
	udp_pair(AF_INET);
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

static void listen_on(int family)
{
	uint16_t number;

	sock[0] = tcp_listen(family, &number);
	peer[0] = tcp_connect(family, number);
	for (int i = 1; i < SOCKS; i++)
		sock[i] = peer[i] = -1;
}

static void prepare_listener(void)
{
	listen_on(AF_INET);
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

/* ---------------------------------------------------------------- the loop */

/* ENFILE: what the kernel says when it has no memory for a socket. */
static bool is_about_memory(int err)
{
	return err == ENOMEM || err == ENOBUFS || err == EAGAIN || err == ENFILE;
}

/*
 * The kernel's bpf_prog_load() says EINVAL when bpf_prog_alloc() has no memory for the program.  Nothing else
 * is to hide behind that, so it is believed only in a row of allocations of that length.
 */
static bool is_prog_alloc(const struct request *r, uint32_t n, int err)
{
	static const struct request *of;
	static uint32_t first;

	if (!loads_program(r) || err != EINVAL)
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

static void each_allocation(const struct request *r, uint32_t step)
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
		n += step;
	printf("%s: up to allocation %u in steps of %u, %.1f s\n", r->name, n, step,
	       (double)(now_ms() - start) / 1000);
	fflush(stdout);
}

static void restore(void)
{
	set(POOL_BUFS, "8192");
}

/* To be called once the sockets, files and modules that are there for good are. */
static void fault_begin(void)
{
	injection_on();
	set(POOL_BUFS, "256");
	atexit(restore);
	port_make(&p, "stack:fault", 64, 0);
}

/* All of them that the program's argument leaves. */
static void fault_all(const struct request *r, size_t n, int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : "";
	char *rest;
	uint32_t step = (uint32_t)strtoul(only, &rest, 10);

	if (step)
		only = rest;
	for (size_t i = 0; i < n; i++)
		if (!strncmp(r[i].name, only, strlen(only)))
			each_allocation(&r[i], step ?: 1);
}

#endif /* FAULT_H */
