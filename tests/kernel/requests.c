// SPDX-License-Identifier: BSD-2-Clause
/*
 * requests: control requests that are malformed, of another version, for things
 * that do not exist, at the wrong time, or whose answer cannot be written, get the
 * errno of the contract, and change nothing.
 *
 * [short]
 */
#include <sched.h>
#include "port.h"

static int ctl;

static struct nmreq_header header(uint16_t type, const char *name, void *body)
{
	struct nmreq_header h = {
		.nr_version = NETMAP_API, .nr_reqtype = type, .nr_body = (uintptr_t)body,
	};

	snprintf(h.nr_name, sizeof(h.nr_name), "%s", name);
	return h;
}

static int fresh(void)
{
	int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);

	t_must(fd >= 0);
	return fd;
}

/* REGISTER on a descriptor of its own, which is closed again. */
static int reg(const char *name, struct nmreq_register *r)
{
	int fd = fresh(), ret = port_ioctl(fd, NETMAP_REQ_REGISTER, name, r), err = errno;

	close(fd);
	errno = err;
	return ret;
}

static void headers(void)
{
	static const uint16_t versions[] = { 0, 1, 11, 12, 13, 16, 0x7fff, 0xffff };
	struct nmreq_pst_list list = { 0 };
	struct nmreq_header h;
	char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (unsigned int i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		t_note("version %u", versions[i]);
		h = header(NETMAP_REQ_PST_LIST, "", &list);
		h.nr_version = versions[i];
		t_fails(EINVAL, ioctl(ctl, NIOCCTRL, &h));
	}
	t_note("reserved field");
	h = header(NETMAP_REQ_PST_LIST, "", &list);
	h.nr_reserved = 1;
	t_fails(EINVAL, ioctl(ctl, NIOCCTRL, &h));

	t_note("request types");
	for (uint32_t type = 0; type < 65536; type += type < 64 ? 1 : type >= 0x3ff0 && type < 0x4040 ? 1 : 97) {
		struct nmreq_register r[8] = { { 0 } };

		if ((type >= NETMAP_REQ_REGISTER && type <= NETMAP_REQ_PORT_INFO_GET) ||
		    type == NETMAP_REQ_POOLS_INFO_GET || (type >= NETMAP_REQ_PST_ATTACH && type <= NETMAP_REQ_PST_FD_REG) ||
		    type == NETMAP_REQ_PST_STATS || type == NETMAP_REQ_PST_LIST)
			continue;
		h = header((uint16_t)type, "stack:x", r);
		t_note("request type %u", type);
		t_fails(type > 0 && type < 19 ? EOPNOTSUPP : EINVAL, ioctl(ctl, NIOCCTRL, &h));
	}

	t_note("pointers");
	t_fails(EFAULT, ioctl(ctl, NIOCCTRL, page));
	t_true(ioctl(ctl, NIOCCTRL, NULL) == -1);
	t_fails(EFAULT, ioctl(ctl, NIOCCTRL, (void *)-4096l));
	t_fails(EFAULT, ioctl(ctl, NIOCREGIF, page));
	t_fails(EFAULT, ioctl(ctl, NIOCGINFO, page));
	for (int type = NETMAP_REQ_PST_STATS; type <= NETMAP_REQ_PST_LIST; type++) {
		h = header((uint16_t)type, "stack:x", page);
		t_fails(EFAULT, ioctl(ctl, NIOCCTRL, &h));
		h = header((uint16_t)type, "stack:x", NULL);
		t_fails(EINVAL, ioctl(ctl, NIOCCTRL, &h));
		h = header((uint16_t)type, "stack:x", (void *)0xffff888000000000ul);
		t_fails(EFAULT, ioctl(ctl, NIOCCTRL, &h));
	}
	/* a body that ends at an unmapped page, one byte too short */
	char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	t_must(two != MAP_FAILED && !munmap(two + 4096, 4096));
	h = header(NETMAP_REQ_REGISTER, "stack:x", two + 4096 - sizeof(struct nmreq_register) + 1);
	t_fails(EFAULT, ioctl(ctl, NIOCCTRL, &h));
	t_note("other ioctls");
	t_fails(EOPNOTSUPP, ioctl(ctl, NIOCCONFIG, two));
	t_true(ioctl(ctl, 0xdeadbeef, two) == -1);
	t_true(ioctl(ctl, _IO('i', 152), two) == -1);
	munmap(two, 4096);
	munmap(page, 4096);
}

/* A page that holds these bytes and cannot be written any more. */
static void *read_only(const void *data, size_t size)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	t_must(page != MAP_FAILED);
	memcpy(page, data, size);
	t_must(!mprotect(page, 4096, PROT_READ));
	return page;
}

/* The request fails with its body in read-only memory, and with its header there. */
static void untold(int fd, uint16_t type, const char *name, void *body, size_t size)
{
	struct nmreq_header h = header(type, name, read_only(body, size)), *page;

	t_note("request %u, body in read-only memory", type);
	t_fails(EFAULT, ioctl(fd, NIOCCTRL, &h));
	munmap((void *)(uintptr_t)h.nr_body, 4096);
	h.nr_body = (uintptr_t)body;
	page = read_only(&h, sizeof(h));
	t_note("request %u, header in read-only memory", type);
	t_fails(EFAULT, ioctl(fd, NIOCCTRL, page));
	munmap(page, 4096);
}

/* Whose answer cannot be told: nothing is done, and the descriptor is as good as before. */
static void answers(void)
{
	struct nmreq_register r = { .nr_mode = NR_REG_ALL_NIC, .nr_extra_bufs = 3 };
	struct nmreq old = { .nr_version = NETMAP_API, .nr_name = "stack:untold" }, *page;
	struct nmreq_vale_attach at = { .reg.nr_mode = NR_REG_NIC_SW };
	struct nmreq_port_info_get info;
	struct nmreq_vale_detach de = { 0 };
	struct nmreq_pst_fd_reg sock = { 0 };
	struct nmreq_pst_list list = { 0 };
	int fd = fresh(), s, peer;
	struct port a;

	untold(fd, NETMAP_REQ_REGISTER, "stack:untold", &r, sizeof(r));
	page = read_only(&old, sizeof(old));
	t_note("netmap's older request in read-only memory");
	t_fails(EFAULT, ioctl(fd, NIOCREGIF, page));
	munmap(page, 4096);
	t_fails(ENOENT, port_ioctl(ctl, NETMAP_REQ_PST_LIST, "", &list));
	t_fails(ENXIO, port_ioctl(ctl, NETMAP_REQ_PORT_INFO_GET, "stack:untold", &info));
	t_fails(ENXIO, ioctl(fd, NIOCTXSYNC));
	t_ok(port_ioctl(fd, NETMAP_REQ_REGISTER, "stack:untold", &r));
	close(fd);

	t_must(!port_open(&a, "stack:untold", NULL));
	tcp_pair(&s, &peer);
	sock.fd = (uint32_t)s;
	untold(a.fd, NETMAP_REQ_PST_FD_REG, a.name, &sock, sizeof(sock));
	t_eq(port_stats(&a).port.sockets, 0);
	t_ok(port_register(&a, s));
	untold(a.fd, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at, sizeof(at));
	t_eq(port_stats(&a).port.nics, 0);
	t_eq(port_stats(&a).port.buf_nic, 0);
	if (!t_ok(port_ioctl(a.fd, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at))) {
		untold(a.fd, NETMAP_REQ_PST_DETACH, "stack:eth0", &de, sizeof(de));
		t_eq(port_stats(&a).port.nics, 1);
		t_ok(port_ioctl(a.fd, NETMAP_REQ_PST_DETACH, "stack:eth0", &de));
	}
	close(s);
	close(peer);
	port_close(&a);
}

static void names(void)
{
	static const struct { const char *name; int err; } bad[] = {
		{ "", EOPNOTSUPP }, { "stack", EOPNOTSUPP }, { "stack:", EINVAL }, { "pst:", EINVAL },
		{ ":0", EOPNOTSUPP }, { "stac:0", EOPNOTSUPP }, { "vale0:1", EOPNOTSUPP },
		{ "netmap:eth0", EOPNOTSUPP }, { "eth0", EOPNOTSUPP }, { "stack eth0", 0 },
		{ "stack:a b", EINVAL }, { "stack:a/b", EINVAL }, { "stack:a{1", EINVAL }, { "stack:a}1", EINVAL },
		{ "stack:a:b", EINVAL }, { "stack-1:a", EINVAL }, { "stack!:a", EINVAL }, { "stack.x:a", EINVAL },
		{ "stack:0123456789abcdef", EINVAL }, { "stack0123456789abcdef:0", EINVAL },
		{ "stack:eth0", EINVAL }, { "stack1:eth0", EINVAL }, { "stack:lo", EINVAL },
	};
	static const char *const good[] = {
		"stack:0", "pst:0", "stack1:0", "stack_a9:0", "stack:0123456789abcde", "stack:a.b", "pst0123456789abc:x",
	};
	struct nmreq_header h;
	struct nmreq_register r;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		r = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC };
		t_note("name \"%s\"", bad[i].name);
		if (bad[i].err)
			t_fails(bad[i].err, reg(bad[i].name, &r));
		else
			t_true(reg(bad[i].name, &r) == -1);
	}
	for (unsigned int i = 0; i < sizeof(good) / sizeof(*good); i++) {
		r = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC };
		t_note("name \"%s\"", good[i]);
		t_ok(reg(good[i], &r));
	}
	t_note("a name without end");
	r = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC };
	h = header(NETMAP_REQ_REGISTER, "", &r);
	memset(h.nr_name, 'x', sizeof(h.nr_name));
	t_fails(EOPNOTSUPP, ioctl(ctl, NIOCCTRL, &h));
	memcpy(h.nr_name, "stack:", 6);
	t_fails(EINVAL, ioctl(ctl, NIOCCTRL, &h));
	t_note("bytes that are no text");
	for (int c = 1; c < 256; c += 7) {
		char name[16];

		r = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC };
		snprintf(name, sizeof(name), "stack%c:0", c);
		(void)reg(name, &r);
		snprintf(name, sizeof(name), "stack:%c%c", c, c);
		r = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC };
		(void)reg(name, &r);
	}
}

static void options(void)
{
	struct nmreq_register r = { .nr_mode = NR_REG_ALL_NIC };
	struct nmreq_option o[3];
	struct nmreq_opt_extmem ext;
	struct nmreq_header h;
	int want;

	t_note("options");
	for (uint32_t type = 0; type < 12; type++) {
		memset(&ext, 0, sizeof(ext));
		ext.nro_opt.nro_reqtype = type;
		ext.nro_opt.nro_status = 12345;
		h = header(NETMAP_REQ_REGISTER, "stack:x", &r);
		h.nr_options = (uintptr_t)&ext;
		t_note("option %u", type);
		/* Those that are there have nothing to work with. */
		want = type && type != NETMAP_REQ_OPT_EXTMEM ? EOPNOTSUPP : EINVAL;
		t_fails(want, ioctl(ctl, NIOCCTRL, &h));
		t_eq(ext.nro_opt.nro_status, want);
	}
	t_note("an option twice");
	memset(o, 0, sizeof(o));
	o[0] = (struct nmreq_option){ .nro_next = (uintptr_t)&o[1], .nro_reqtype = NETMAP_REQ_OPT_CSB };
	o[1] = (struct nmreq_option){ .nro_reqtype = NETMAP_REQ_OPT_CSB };
	h = header(NETMAP_REQ_REGISTER, "stack:x", &r);
	h.nr_options = (uintptr_t)&o[0];
	t_fails(EINVAL, ioctl(ctl, NIOCCTRL, &h));
	t_note("a list of options that is a circle");
	o[1].nro_next = (uintptr_t)&o[0];
	t_true(ioctl(ctl, NIOCCTRL, &h) == -1);
	o[0].nro_next = (uintptr_t)&o[0];
	o[0].nro_reqtype = 999;
	t_fails(EMSGSIZE, ioctl(ctl, NIOCCTRL, &h));
	t_note("options that are not there");
	h.nr_options = 8;
	t_fails(EFAULT, ioctl(ctl, NIOCCTRL, &h));
	h.nr_options = (uintptr_t)0xffff888000000000ul;
	t_fails(EFAULT, ioctl(ctl, NIOCCTRL, &h));
	o[0] = (struct nmreq_option){ .nro_next = 16, .nro_reqtype = NETMAP_REQ_OPT_CSB };
	h.nr_options = (uintptr_t)&o[0];
	t_fails(EFAULT, ioctl(ctl, NIOCCTRL, &h));
	t_note("an option of absurd size");
	o[0] = (struct nmreq_option){ .nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, .nro_size = UINT64_MAX };
	h.nr_options = (uintptr_t)&o[0];
	t_fails(EMSGSIZE, ioctl(ctl, NIOCCTRL, &h));
}

static void registers(void)
{
	struct nmreq_register r;
	struct port a, b;
	int fd;

	t_note("modes");
	for (uint32_t mode = 0; mode < 20; mode++) {
		r = (struct nmreq_register){ .nr_mode = mode };
		if (mode == NR_REG_ALL_NIC || mode == NR_REG_NIC_SW || mode == NR_REG_ONE_NIC)
			t_ok(reg("stack:m", &r));
		else
			t_true(reg("stack:m", &r) == -1 && (errno == EINVAL || errno == EOPNOTSUPP));
	}
	t_note("flags");
	for (int bit = 0; bit < 64; bit++) {
		uint64_t flag = 1ull << bit;

		r = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC, .nr_flags = flag };
		if (flag & (NR_EXCLUSIVE | NR_RX_RINGS_ONLY | NR_TX_RINGS_ONLY | NR_ACCEPT_VNET_HDR | NR_DO_RX_POLL | NR_NO_TX_POLL)) {
			t_ok(reg("stack:f", &r));
		} else {
			t_note("flag %#llx", (unsigned long long)flag);
			t_true(reg("stack:f", &r) == -1 && (errno == EINVAL || errno == EOPNOTSUPP));
		}
	}
	t_note("ring number out of range");
	r = (struct nmreq_register){ .nr_mode = NR_REG_ONE_NIC, .nr_ringid = 1 };
	t_fails(EINVAL, reg("stack:r", &r));
	r = (struct nmreq_register){ .nr_mode = NR_REG_ONE_NIC, .nr_ringid = 0xffff, .nr_tx_rings = 4 };
	t_fails(EINVAL, reg("stack:r", &r));
	t_note("wishes that are cut");
	r = (struct nmreq_register){
		.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 1, .nr_rx_slots = 0xffffffff, .nr_extra_bufs = 3,
	};
	t_ok(reg("stack:w", &r));
	t_eq(r.nr_tx_slots, 1024);
	t_eq(r.nr_rx_slots, 4096);
	t_eq(r.nr_extra_bufs, 3);
	r = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 16, .nr_rx_slots = 16, .nr_tx_rings = 0xffff };
	t_ok(reg("stack:w", &r));
	t_eq(r.nr_tx_rings, 64);
	t_eq(r.nr_rx_rings, 64);
	t_note("bound twice");
	t_must(!port_open(&a, "stack:twice", NULL));
	r = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC };
	t_fails(EBUSY, port_ioctl(a.fd, NETMAP_REQ_REGISTER, "stack:twice", &r));
	t_fails(EBUSY, port_ioctl(a.fd, NETMAP_REQ_REGISTER, "stack:other", &r));
	t_note("region of another port");
	r = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC, .nr_mem_id = (uint16_t)(a.reg.nr_mem_id + 1) };
	t_fails(EINVAL, reg("stack:twice", &r));
	r.nr_mem_id = a.reg.nr_mem_id;
	t_ok(reg("stack:twice", &r));

	t_note("exclusive");
	r = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC, .nr_flags = NR_EXCLUSIVE };
	t_fails(EBUSY, reg("stack:twice", &r));
	port_close(&a);
	t_must(!port_open(&a, "stack:excl", &r));
	r = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC };
	t_fails(EBUSY, reg("stack:excl", &r));
	t_fails(EBUSY, reg("pst:excl", &r));
	port_close(&a);
	t_ok(reg("stack:excl", &r));

	t_note("another name of the same port");
	t_must(!port_open(&a, "stack:alias", NULL));
	t_must(!port_open(&b, "pst:alias", NULL));
	t_eq(a.reg.nr_mem_id, b.reg.nr_mem_id);
	port_close(&b);
	t_must(!port_open(&b, "stack1:alias", NULL));
	t_true(a.reg.nr_mem_id != b.reg.nr_mem_id);
	port_close(&b);
	port_close(&a);

	t_note("requests on a descriptor that is not bound");
	fd = fresh();
	t_fails(ENXIO, ioctl(fd, NIOCTXSYNC));
	t_fails(ENXIO, ioctl(fd, NIOCRXSYNC));
	t_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	struct pollfd pfd = { .fd = fd, .events = POLLIN | POLLOUT };
	t_eq(poll(&pfd, 1, 0), 1);
	t_true(pfd.revents & POLLERR);
	close(fd);

	t_note("more descriptors than the port has room for");
	struct port many[8];
	int n = 0;

	while (n < 8 && !port_open(&many[n], "stack:many", NULL))
		n++;
	t_le(2, n);
	t_true(n == 8 || errno == ENOMEM);
	while (n)
		port_close(&many[--n]);
}

static void information(void)
{
	struct nmreq_port_info_get info;
	struct nmreq_pools_info pools = { 0 };
	struct nmreq_pst_stats st = { 0 };
	struct nmreq_pst_list list = { 0 };
	struct nmreq_header h;
	struct port a;

	t_note("ports that do not exist");
	t_fails(ENXIO, port_ioctl(ctl, NETMAP_REQ_PORT_INFO_GET, "stack:none", &info));
	t_fails(ENXIO, port_ioctl(ctl, NETMAP_REQ_POOLS_INFO_GET, "stack:none", &pools));
	t_fails(ENXIO, port_ioctl(ctl, NETMAP_REQ_PST_STATS, "stack:none", &st));
	t_fails(ENOENT, port_ioctl(ctl, NETMAP_REQ_PST_LIST, "", &list));
	list.index = 0xffffffff;
	t_fails(ENOENT, port_ioctl(ctl, NETMAP_REQ_PST_LIST, "", &list));
	list = (struct nmreq_pst_list){ .pad1 = 1 };
	t_fails(EINVAL, port_ioctl(ctl, NETMAP_REQ_PST_LIST, "", &list));

	t_note("a port that exists");
	t_must(!port_open(&a, "pst:info", &(struct nmreq_register){ .nr_tx_slots = 20, .nr_rx_slots = 30, .nr_tx_rings = 2 }));
	t_ok(port_ioctl(ctl, NETMAP_REQ_PORT_INFO_GET, "stack:info", &info));
	t_eq(info.nr_tx_slots, 20);
	t_eq(info.nr_rx_slots, 30);
	t_eq(info.nr_tx_rings, 2);
	t_eq(info.nr_rx_rings, 2);
	t_eq(info.nr_memsize, a.reg.nr_memsize);
	t_eq(info.nr_mem_id, a.reg.nr_mem_id);
	t_ok(port_ioctl(ctl, NETMAP_REQ_POOLS_INFO_GET, "stack:info", &pools));
	t_eq(pools.nr_buf_pool_objsize, 4096);
	st.ring = 1;
	t_ok(port_ioctl(ctl, NETMAP_REQ_PST_STATS, "stack:info", &st));
	t_eq(st.rings, 2);
	st.ring = 2;
	t_fails(EINVAL, port_ioctl(ctl, NETMAP_REQ_PST_STATS, "stack:info", &st));
	st.ring = 0xffffffff;
	t_fails(EINVAL, port_ioctl(ctl, NETMAP_REQ_PST_STATS, "stack:info", &st));
	list = (struct nmreq_pst_list){ 0 };
	h = header(NETMAP_REQ_PST_LIST, "", &list);
	t_ok(ioctl(ctl, NIOCCTRL, &h));
	t_true(!strcmp(h.nr_name, "stack:info"));
	port_close(&a);
}

/* A listener, a datagram and a Unix socket that belong elsewhere, where the port does not. */
static void others_namespace(const struct port *p)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), udp, tcp, pair[2];
	struct sockaddr_in any = { .sin_family = AF_INET };
	uint64_t known = port_stats(p).port.sockets;

	t_must(home >= 0 && !unshare(CLONE_NEWNET));
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	t_must(udp >= 0 && !bind(udp, (void *)&any, sizeof(any)));
	t_must(tcp >= 0 && !bind(tcp, (void *)&any, sizeof(any)) && !listen(tcp, 1));
	t_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	t_fails(EXDEV, port_register(p, udp));	/* the port is where it was opened */
	t_eq(paste_attach(p->fd, "stack:eth0"), -EXDEV);
	t_eq(paste_detach(p->fd, "stack:eth0"), -EXDEV);
	t_must(!setns(home, CLONE_NEWNET));
	t_fails(EXDEV, port_register(p, udp));
	t_fails(EXDEV, port_register(p, tcp));
	t_fails(EXDEV, port_register(p, pair[0]));
	t_eq(port_stats(p).port.sockets, known);
	close(udp);
	close(tcp);
	close(pair[0]);
	close(pair[1]);
	close(home);
}

static void sockets(void)
{
	struct nmreq_pst_fd_reg r = { 0 };
	struct port a;
	int s, peer, udp, fd, listener, pair[2];
	uint16_t tcp_port;

	t_must(!port_open(&a, "stack:socks", NULL));
	t_note("what is no connected, bound or listening socket of a kind we know");
	r.fd = 0xffffffff;
	t_fails(EBADF, port_ioctl(a.fd, NETMAP_REQ_PST_FD_REG, a.name, &r));
	r.fd = 0x7fffffff;
	t_fails(EBADF, port_ioctl(a.fd, NETMAP_REQ_PST_FD_REG, a.name, &r));
	t_fails(EBADF, port_register(&a, 1000));
	fd = open("/dev/null", O_RDWR);
	t_fails(ENOTSOCK, port_register(&a, fd));
	t_fails(ENOTSOCK, port_register(&a, a.fd));
	close(fd);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	t_fails(ENOTCONN, port_register(&a, udp));
	close(udp);
	t_must(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
	t_fails(EPROTONOSUPPORT, port_register(&a, pair[0]));
	close(pair[0]);
	close(pair[1]);
	s = socket(AF_INET, SOCK_STREAM, 0);
	t_fails(ENOTCONN, port_register(&a, s));
	close(s);

	t_note("of another network namespace");
	others_namespace(&a);

	t_note("registered twice");
	listener = tcp_listen(AF_INET, &tcp_port);
	t_ok(port_register(&a, listener));
	t_fails(EBUSY, port_register(&a, listener));
	close(listener);
	tcp_pair(&s, &peer);
	t_ok(port_register(&a, s));
	t_fails(EBUSY, port_register(&a, s));
	fd = dup(s);
	t_fails(EBUSY, port_register(&a, fd));
	close(fd);
	struct port b;
	t_must(!port_open(&b, "stack:socks2", NULL));
	t_fails(EBUSY, port_register(&b, s));
	port_close(&b);
	t_ok(write(peer, "x", 1));
	t_true(port_next(&a, 1000) != NULL);

	t_note("padding, other names, other descriptors");
	r = (struct nmreq_pst_fd_reg){ .fd = (uint32_t)peer, .flags = 2 };
	t_fails(EINVAL, port_ioctl(a.fd, NETMAP_REQ_PST_FD_REG, a.name, &r));
	r.flags = 0;
	t_fails(EINVAL, port_ioctl(a.fd, NETMAP_REQ_PST_FD_REG, "stack:other", &r));
	t_true(port_ioctl(a.fd, NETMAP_REQ_PST_FD_REG, "netmap:x", &r) == -1);
	t_fails(ENXIO, port_ioctl(ctl, NETMAP_REQ_PST_FD_REG, a.name, &r));
	t_ok(port_ioctl(a.fd, NETMAP_REQ_PST_FD_REG, "pst:socks", &r));
	close(s);
	close(peer);
	port_close(&a);
}

static void attaches(void)
{
	struct nmreq_vale_attach at = { 0 };
	struct nmreq_vale_detach de = { 0 };
	struct port a, b;

	t_note("attach without a port");
	t_fails(ENXIO, port_ioctl(ctl, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
	t_must(!port_open(&a, "stack:att", NULL));
	t_note("attach");
	t_fails(ENXIO, port_ioctl(a.fd, NETMAP_REQ_PST_ATTACH, "stack:nosuch0", &at));
	t_fails(EOPNOTSUPP, port_ioctl(a.fd, NETMAP_REQ_PST_ATTACH, "stack:lo", &at));
	t_fails(EINVAL, port_ioctl(a.fd, NETMAP_REQ_PST_ATTACH, "stack1:eth0", &at));
	at.reg.nr_ringid = 1;
	t_fails(EINVAL, port_ioctl(a.fd, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
	at = (struct nmreq_vale_attach){ .reg.nr_mode = NR_REG_SW };
	t_fails(EINVAL, port_ioctl(a.fd, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
	t_note("queues that the interface has not");
	at = (struct nmreq_vale_attach){ .reg = { .nr_mode = NR_REG_ONE_NIC, .nr_ringid = 64 } };
	t_fails(EINVAL, port_ioctl(a.fd, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
	at.reg.nr_ringid = 0;
	at.reg.nr_rx_rings = 65;
	t_fails(EINVAL, port_ioctl(a.fd, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
	at.reg.nr_ringid = 65535;
	at.reg.nr_rx_rings = 65535;
	t_fails(EINVAL, port_ioctl(a.fd, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
	at = (struct nmreq_vale_attach){ .reg.nr_mem_id = 0xffff };
	t_fails(EINVAL, port_ioctl(a.fd, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
	t_note("detach what is not attached");
	t_fails(ENXIO, port_ioctl(a.fd, NETMAP_REQ_PST_DETACH, "stack:eth0", &de));
	t_fails(ENXIO, port_ioctl(a.fd, NETMAP_REQ_PST_DETACH, "stack:nosuch0", &de));
	t_note("two ports of the instance: which one?");
	t_must(!port_open(&b, "stack:att2", NULL));
	at = (struct nmreq_vale_attach){ 0 };
	t_fails(ENOTUNIQ, port_ioctl(ctl, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
	at.reg.nr_mem_id = 0xffff;
	t_fails(ENXIO, port_ioctl(ctl, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
	t_note("twice, and by two ports");
	at = (struct nmreq_vale_attach){ .reg.nr_mode = NR_REG_NIC_SW, .reg.nr_mem_id = a.reg.nr_mem_id };
	if (!t_ok(port_ioctl(ctl, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at))) {
		at = (struct nmreq_vale_attach){ 0 };
		t_fails(EBUSY, port_ioctl(a.fd, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
		t_fails(EBUSY, port_ioctl(b.fd, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
		t_fails(ENXIO, port_ioctl(b.fd, NETMAP_REQ_PST_DETACH, "stack:eth0", &de));
		t_ok(port_ioctl(a.fd, NETMAP_REQ_PST_DETACH, "pst:eth0", &de));
		t_ok(port_ioctl(b.fd, NETMAP_REQ_PST_ATTACH, "stack:eth0", &at));
	}
	port_close(&b);
	port_close(&a);
}

static void legacy(void)
{
	struct nmreq r = { .nr_version = NETMAP_API, .nr_name = "stack:leg" };
	int fd = fresh();

	t_note("legacy requests");
	r.nr_version = 11;
	t_fails(EINVAL, ioctl(fd, NIOCREGIF, &r));
	r.nr_version = NETMAP_API;
	for (uint16_t cmd = 1; cmd < 20; cmd++) {
		r.nr_cmd = cmd;
		t_true(ioctl(fd, NIOCREGIF, &r) == -1 && (errno == EINVAL || errno == EOPNOTSUPP));
	}
	r.nr_cmd = 0;
	t_fails(ENXIO, ioctl(fd, NIOCGINFO, &r));
	r.nr_arg3 = 5;
	t_ok(ioctl(fd, NIOCREGIF, &r));
	t_eq(r.nr_arg3, 5);
	t_eq(r.nr_tx_slots, 1024);
	t_fails(EBUSY, ioctl(fd, NIOCREGIF, &r));
	t_ok(ioctl(ctl, NIOCGINFO, &r));
	close(fd);
}

int main(void)
{
	/* small ports, or 64 rings would take 2 GB */
	int pool = open("/sys/module/paste/parameters/pool_bufs", O_WRONLY);

	ctl = open("/dev/netmap", O_RDWR | O_CLOEXEC);
	if (ctl < 0)
		t_skip("no /dev/netmap: the module is not loaded");
	t_must(write(pool, "256", 3) == 3);
	headers();
	answers();
	names();
	options();
	registers();
	information();
	sockets();
	attaches();
	legacy();
	close(ctl);
	t_must(write(pool, "8192", 4) == 4);
	return t_end();
}
