// SPDX-License-Identifier: BSD-2-Clause
/*
 * kernel/request.c: headers, types, bodies, option lists, and the caller's memory, which
 * is read once, written where it says, and may fault at any copy.  Ports are real.
 */
#include "kernel/test.h"
#include "../../kernel/request.c"

static struct pst_file file;
static struct net another_net;

/* What came to the parts beyond. */
static struct {
	int err, attached, detached, registered, fd;
	char ifname[NETMAP_REQ_IFNAMSIZ];
	struct pst_rings among;
	struct pst_queues queues;
} far;

int pst_nic_attach(struct pst_port *port, const char *ifname, const struct pst_queues *want)
{
	lockdep_assert_held(&port->mutex);
	far.attached++;
	far.queues = *want;
	strscpy(far.ifname, ifname, sizeof(far.ifname));
	return far.err;
}

int pst_nic_detach(struct pst_port *port, const char *ifname)
{
	lockdep_assert_held(&port->mutex);
	far.detached++;
	strscpy(far.ifname, ifname, sizeof(far.ifname));
	return far.err;
}

bool pst_nic_is_attached(struct pst_port *port, const char *ifname)
{
	return !strcmp(ifname, far.ifname);
}

int pst_stack_register(struct pst_port *port, const struct pst_rings *among, int fd)
{
	lockdep_assert_held(&port->mutex);
	far.registered++;
	far.fd = fd;
	far.among = *among;
	return far.err;
}

/* The caller's: a header and a body with nothing behind them. */
static struct nmreq_header *hdr;
static void *body;
static size_t body_size;

static void prepare(u16 type, const char *name, const void *b, size_t size)
{
	free(body);
	body = malloc(size ?: 1);
	if (b)
		memcpy(body, b, size);
	else
		memset(body, 0, size);
	body_size = size;
	memset(hdr, 0, sizeof(*hdr));
	hdr->nr_version = NETMAP_API;
	hdr->nr_reqtype = type;
	strscpy(hdr->nr_name, name, sizeof(hdr->nr_name));
	hdr->nr_body = (uintptr_t)body;
	mock_user_reset();
	mock_user(hdr, sizeof(*hdr));
	if (size)
		mock_user(body, size);
}

static long request(void)
{
	long err = pst_request(&file, hdr);

	assert_false(file.mutex.locked);
	assert_false(mock.read_twice);
	return err;
}

static struct nmreq_register reg_small = {
	.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 16, .nr_rx_slots = 16,
};

static void bind_to_0(void)
{
	prepare(NETMAP_REQ_REGISTER, "stack:0", &reg_small, sizeof(reg_small));
	assert_int_equal(request(), 0);
	assert_non_null(file.port);
}

static void unbind(void)
{
	pst_file_unbind(&file);
	memset(&file, 0, sizeof(file));
}

static int setup(void **state)
{
	mock_setup(state);
	memset(&file, 0, sizeof(file));
	memset(&far, 0, sizeof(far));
	hdr = malloc(sizeof(*hdr));
	body = NULL;
	return 0;
}

static int teardown(void **state)
{
	if (file.port)
		unbind();
	free(hdr);
	free(body);
	return mock_teardown(state);
}

/* ------------------------------------------------------------ header */

static void versions(void **state)
{
	u32 v;

	for (v = 0; v < 65536; v++) {
		prepare(NETMAP_REQ_PORT_INFO_GET, "stack:0", NULL, sizeof(struct nmreq_port_info_get));
		hdr->nr_version = v;
		assert_int_equal(request(), v == 14 || v == 15 ? -ENXIO : -EINVAL);
	}
	prepare(NETMAP_REQ_PORT_INFO_GET, "stack:0", NULL, sizeof(struct nmreq_port_info_get));
	hdr->nr_reserved = 1;
	assert_int_equal(request(), -EINVAL);
}

static const struct { u16 type; size_t size; } known[] = {
	{ NETMAP_REQ_REGISTER, sizeof(struct nmreq_register) },
	{ NETMAP_REQ_PORT_INFO_GET, sizeof(struct nmreq_port_info_get) },
	{ NETMAP_REQ_POOLS_INFO_GET, sizeof(struct nmreq_pools_info) },
	{ NETMAP_REQ_PST_ATTACH, sizeof(struct nmreq_vale_attach) },
	{ NETMAP_REQ_PST_DETACH, sizeof(struct nmreq_vale_detach) },
	{ NETMAP_REQ_PST_FD_REG, sizeof(struct nmreq_pst_fd_reg) },
	{ NETMAP_REQ_PST_STATS, sizeof(struct nmreq_pst_stats) },
	{ NETMAP_REQ_PST_LIST, sizeof(struct nmreq_pst_list) },
};

static size_t size_of(u32 type)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].type == type)
			return known[i].size;
	return 0;
}

/* Unknown types do not touch the body; known ones read, and write, exactly their own. */
static void types(void **state)
{
	u32 type;

	for (type = 0; type < 65536; type++) {
		size_t size = size_of(type);
		long want = type && type <= NETMAP_REQ_PST_FD_REG ? -EOPNOTSUPP : -EINVAL;

		prepare(type, "netmap:eth0", NULL, size);
		mock.copies = 0;
		if (!size) {
			assert_int_equal(request(), want);
			assert_int_equal(mock.copies, 3);
			continue;
		}
		want = type == NETMAP_REQ_PST_LIST ? -ENOENT :
		       type == NETMAP_REQ_PST_FD_REG ? -ENXIO : -EOPNOTSUPP;
		assert_int_equal(request(), want);
		assert_int_equal(mock.copies, 5);
		hdr->nr_body = 0;
		mock_user_reset();
		mock_user(hdr, sizeof(*hdr));
		assert_int_equal(request(), -EINVAL);
		/* One byte short, or in part elsewhere. */
		hdr->nr_body = (uintptr_t)body;
		mock_user_reset();
		mock_user(hdr, sizeof(*hdr));
		mock_user(body, size - 1);
		assert_int_equal(request(), -EFAULT);
		hdr->nr_body = ~0ull;
		mock_user_reset();
		mock_user(hdr, sizeof(*hdr));
		assert_int_equal(request(), -EFAULT);
	}
}

static void name_without_end(void **state)
{
	prepare(NETMAP_REQ_PORT_INFO_GET, "", NULL, sizeof(struct nmreq_port_info_get));
	memset(hdr->nr_name, 'x', sizeof(hdr->nr_name));
	memcpy(hdr->nr_name, "stack:", 6);
	assert_int_equal(request(), -EINVAL);
	assert_int_equal(hdr->nr_name[NETMAP_REQ_IFNAMSIZ - 1], '\0');	/* goes back, too */
}

static void header_faults(void **state)
{
	prepare(NETMAP_REQ_PST_LIST, "", NULL, sizeof(struct nmreq_pst_list));
	mock_user_reset();
	assert_int_equal(request(), -EFAULT);
	mock_user(hdr, sizeof(*hdr) - 1);
	assert_int_equal(request(), -EFAULT);
}

/* ------------------------------------------------------------ options */

#define OPTS	400
#define OPT_SIZE sizeof(struct nmreq_opt_extmem)

static struct nmreq_option *opt[OPTS];
static u32 nopts;

/* One more at the end of the list; whatever its type, as long as the longest we have. */
static struct nmreq_option *add_option(u32 type, u64 size)
{
	struct nmreq_opt_extmem *longest = calloc(1, sizeof(*longest));
	struct nmreq_option *o = &longest->nro_opt;
	uint64_t *link = nopts ? &opt[nopts - 1]->nro_next : &hdr->nr_options;

	assert_true(nopts < OPTS);
	*o = (struct nmreq_option) { 0, type, 0x55, size };
	*link = (uintptr_t)o;
	opt[nopts++] = o;
	if (nopts < 200)
		mock_user(o, OPT_SIZE);
	return o;
}

static void forget_options(void)
{
	while (nopts)
		free(opt[--nopts]);
}

static void info_request(void)
{
	forget_options();
	prepare(NETMAP_REQ_PORT_INFO_GET, "stack:0", NULL, sizeof(struct nmreq_port_info_get));
}

static void refused_options(void **state)
{
	u32 type, i;

	for (type = 0; type < 40; type++) {
		info_request();
		add_option(type, 0);
		assert_int_equal(request(), type ? -EOPNOTSUPP : -EINVAL);
		assert_int_equal(opt[0]->nro_status, type ? EOPNOTSUPP : EINVAL);
	}
	/* All types there are, and two nobody knows. */
	info_request();
	for (type = 1; type < NETMAP_REQ_OPT_MAX + 2; type++)
		add_option(type, 0);
	add_option(0xffffffff, 0);
	assert_int_equal(request(), -EOPNOTSUPP);
	for (i = 0; i < nopts; i++)
		assert_int_equal(opt[i]->nro_status, EOPNOTSUPP);
	/* Twice: the second one is wrong, and that is the answer, whatever follows. */
	for (type = 1; type < NETMAP_REQ_OPT_MAX; type++) {
		info_request();
		add_option(type, 0);
		add_option(type, 0);
		add_option(type % 5 + 1, 0);
		assert_int_equal(request(), -EINVAL);
		assert_int_equal(opt[0]->nro_status, EOPNOTSUPP);
		assert_int_equal(opt[1]->nro_status, EINVAL);
		assert_int_equal(opt[2]->nro_status, EOPNOTSUPP);
	}
	forget_options();
}

/* The request is not carried out. */
static void options_forbid(void **state)
{
	prepare(NETMAP_REQ_REGISTER, "stack:0", &reg_small, sizeof(reg_small));
	add_option(NETMAP_REQ_OPT_CSB, 0);
	assert_int_equal(request(), -EOPNOTSUPP);
	assert_null(file.port);
	assert_memory_equal(body, &reg_small, sizeof(reg_small));
	forget_options();
}

/* Memory that cannot be had, given twice, or buffers to keep in memory that is not given. */
static void extmem_refused(void **state)
{
	prepare(NETMAP_REQ_REGISTER, "stack:0", &reg_small, sizeof(reg_small));
	add_option(NETMAP_REQ_OPT_EXTMEM, 0);
	assert_int_equal(request(), -EFAULT);
	assert_int_equal(opt[0]->nro_status, EFAULT);
	assert_null(file.port);
	forget_options();

	prepare(NETMAP_REQ_REGISTER, "stack:0", &reg_small, sizeof(reg_small));
	add_option(NETMAP_REQ_OPT_EXTMEM, 0);
	add_option(NETMAP_REQ_OPT_EXTMEM, 0);
	assert_int_equal(request(), -EINVAL);
	assert_int_equal(opt[1]->nro_status, EINVAL);
	forget_options();

	prepare(NETMAP_REQ_REGISTER, "stack:0", &reg_small, sizeof(reg_small));
	add_option(NETMAP_REQ_OPT_PST_KEEP, 0);
	assert_int_equal(request(), -EINVAL);
	assert_null(file.port);
	forget_options();
}

/* Body and options together are 4096 bytes at most. */
static void too_long(void **state)
{
	static const struct { u32 type; size_t size; } fixed[] = {
		{ NETMAP_REQ_OPT_EXTMEM, sizeof(struct nmreq_opt_extmem) },
		{ NETMAP_REQ_OPT_CSB, sizeof(struct nmreq_opt_csb) },
		{ NETMAP_REQ_OPT_SYNC_KLOOP_MODE, sizeof(struct nmreq_opt_sync_kloop_mode) },
		{ NETMAP_REQ_OPT_OFFSETS, sizeof(struct nmreq_opt_offsets) },
	};
	size_t room = NETMAP_REQ_MAXSIZE - sizeof(struct nmreq_port_info_get);
	u64 size;
	u32 i;

	for (size = room - 2; size < room + 3; size++) {
		info_request();
		add_option(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, size);
		assert_int_equal(request(), size <= room ? -EOPNOTSUPP : -EMSGSIZE);
		assert_int_equal(opt[0]->nro_status, size <= room ? EOPNOTSUPP : 0x55);
	}
	for (size = 1ull << 31; size; size <<= 1) {
		info_request();
		add_option(77, size);
		assert_int_equal(request(), -EMSGSIZE);
		opt[0]->nro_size = ~0ull - (size - 1);
		assert_int_equal(pst_request(&file, hdr), -EMSGSIZE);
	}
	/* Sizes that add up; those of known options are known. */
	for (i = 0; i < ARRAY_SIZE(fixed); i++) {
		info_request();
		add_option(fixed[i].type, ~0ull);
		add_option(77, room - fixed[i].size);
		assert_int_equal(request(), -EOPNOTSUPP);
		info_request();
		add_option(fixed[i].type, 0);
		add_option(77, room - fixed[i].size + 1);
		assert_int_equal(request(), -EMSGSIZE);
		assert_int_equal(opt[0]->nro_status, EOPNOTSUPP);
		assert_int_equal(opt[1]->nro_status, 0x55);
	}
	/* The header alone counts, so the list ends some time. */
	info_request();
	for (i = 0; i < room / sizeof(struct nmreq_option); i++)
		add_option(77, i % 3);
	assert_int_equal(request(), -EOPNOTSUPP);
	add_option(77, 0);
	mock_user_reset();
	mock_user(NULL, ~0ul);
	assert_int_equal(request(), -EMSGSIZE);
	forget_options();
}

/* A list without end ends. */
static void loops(void **state)
{
	u32 i, len;

	for (len = 1; len < 10; len++)
		for (i = 0; i < len; i++) {
			u32 j;

			info_request();
			for (j = 0; j < len; j++)
				add_option(j + 1, 0);
			opt[len - 1]->nro_next = (uintptr_t)opt[i];
			mock.copies = 0;
			assert_int_equal(pst_request(&file, hdr), -EMSGSIZE);
			assert_in_range(mock.copies, 2, 3 + 2 * NETMAP_REQ_MAXSIZE / 24);
		}
	forget_options();
}

/* ------------------------------------------------------------ faults */

/* Each copy of a request fails in turn: EFAULT, nothing leaks, what fails early does nothing. */
static void each_copy_faults(void **state)
{
	u32 i;

	for (i = 1;; i++) {
		long err;

		prepare(NETMAP_REQ_REGISTER, "stack:0", &reg_small, sizeof(reg_small));
		mock.fail_copy = i;
		err = request();
		if (!err)
			break;
		assert_int_equal(err, -EFAULT);
		if (i < 5) {	/* header and body, both ways */
			assert_null(file.port);
			assert_int_equal(mock.live, 0);
		} else {
			unbind();	/* done, but could not be told */
		}
	}
	assert_int_equal(i, 7);
	mock.fail_copy = 0;
	unbind();

	for (i = 1;; i++) {
		long err;

		info_request();
		add_option(1, 0);
		add_option(2, 0);
		add_option(2, 0);
		mock.fail_copy = i;
		err = request();
		if (err == -EINVAL)
			break;
		assert_int_equal(err, -EFAULT);
	}
	assert_int_equal(i, 4 + 3 * 2 + 1 + 1);
	mock.fail_copy = 0;
	/* A list that leads nowhere. */
	info_request();
	add_option(1, 0)->nro_next = 0x1000;
	assert_int_equal(request(), -EFAULT);
	assert_int_equal(opt[0]->nro_status, EOPNOTSUPP);
	info_request();
	hdr->nr_options = ~0ull;
	assert_int_equal(request(), -EFAULT);
	forget_options();
}

static void each_allocation_fails(void **state)
{
	u32 i;

	for (i = 1;; i++) {
		long err;

		prepare(NETMAP_REQ_REGISTER, "stack:0", &reg_small, sizeof(reg_small));
		mock.fail_alloc = i + (i > 60) * 8000;	/* not each page of thousands */
		err = request();
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		assert_memory_equal(body, &reg_small, sizeof(reg_small));
		assert_int_equal(mock.live + mock.pages, 0);
	}
	mock.fail_alloc = 0;
	assert_true(i > 60);
}

/* ------------------------------------------------------------ requests */

static void info(void **state)
{
	struct nmreq_register *reg;
	struct nmreq_port_info_get *info;
	struct nmreq_pools_info *pools;
	struct nmreq_pst_stats *stats;
	u64 size;

	bind_to_0();
	reg = body;
	size = reg->nr_memsize;
	assert_int_equal(size, file.port->region->size);
	prepare(NETMAP_REQ_PORT_INFO_GET, "pst:0", NULL, sizeof(*info));
	assert_int_equal(request(), 0);
	info = body;
	assert_int_equal(info->nr_memsize, size);
	assert_int_equal(info->nr_tx_slots, 16);
	assert_int_equal(info->nr_tx_rings, 1);
	assert_int_equal(info->nr_mem_id, file.port->region->id);

	prepare(NETMAP_REQ_POOLS_INFO_GET, "stack:0", NULL, sizeof(*pools));
	assert_int_equal(request(), 0);
	pools = body;
	assert_int_equal(pools->nr_memsize, size);
	assert_int_equal(pools->nr_buf_pool_objsize, 4096);
	assert_int_equal(pools->nr_buf_pool_offset + 4096ull * pools->nr_buf_pool_objtotal, size);

	prepare(NETMAP_REQ_PST_STATS, "stack:0", NULL, sizeof(*stats));
	assert_int_equal(request(), 0);
	stats = body;
	assert_int_equal(stats->rings, 1);
	assert_int_equal(stats->port.buf_user, 16);
	stats->ring = 1;
	mock_user_reset();
	mock_user(hdr, sizeof(*hdr));
	mock_user(body, sizeof(*stats));
	assert_int_equal(request(), -EINVAL);
	((struct nmreq_pst_stats *)body)->ring = 0xffffffff;
	assert_int_equal(pst_request(&file, hdr), -EINVAL);
	prepare(NETMAP_REQ_PST_STATS, "stack:1", NULL, sizeof(*stats));
	assert_int_equal(request(), -ENXIO);
	prepare(NETMAP_REQ_PST_STATS, "eth0", NULL, sizeof(*stats));
	assert_int_equal(request(), -EOPNOTSUPP);

	assert_int_equal(file.port->opens, 1);	/* all put */
}

static void list(void **state)
{
	struct nmreq_pst_list l = { 0 };

	prepare(NETMAP_REQ_PST_LIST, "", &l, sizeof(l));
	assert_int_equal(request(), -ENOENT);
	bind_to_0();
	prepare(NETMAP_REQ_PST_LIST, "nothing", &l, sizeof(l));
	assert_int_equal(request(), 0);
	assert_string_equal(hdr->nr_name, "stack:0");
	l.index = 1;
	prepare(NETMAP_REQ_PST_LIST, "", &l, sizeof(l));
	assert_int_equal(request(), -ENOENT);
	l.index = 0;
	l.pad1 = 1;
	prepare(NETMAP_REQ_PST_LIST, "", &l, sizeof(l));
	assert_int_equal(request(), -EINVAL);
}

static long attach(const char *name, u32 mode, u16 ringid, u16 mem_id)
{
	struct nmreq_vale_attach a = {
		.reg = { .nr_mode = mode, .nr_ringid = ringid, .nr_mem_id = mem_id },
	};

	prepare(NETMAP_REQ_PST_ATTACH, name, &a, sizeof(a));
	return request();
}

static void attaches(void **state)
{
	u32 mode;
	u16 id;

	assert_int_equal(attach("stack:eth0", NR_REG_NIC_SW, 0, 0), -ENXIO);
	bind_to_0();
	id = file.port->region->id;
	for (mode = 0; mode < 20; mode++)
		assert_int_equal(attach("pst:eth0", mode, 0, 0),
				 mode == NR_REG_DEFAULT || mode == NR_REG_ALL_NIC ||
				 mode == NR_REG_NIC_SW || mode == NR_REG_ONE_NIC ? 0 : -EINVAL);
	assert_int_equal(far.attached, 4);
	assert_int_equal(attach("stack:eth0", NR_REG_ONE_NIC, 3, 0), 0);
	assert_int_equal(far.queues.first, 3);
	assert_int_equal(far.queues.n, 1);
	assert_int_equal(attach("stack:eth0", NR_REG_NIC_SW, 0, 0), 0);
	assert_int_equal(far.queues.n, 0);
	assert_string_equal(far.ifname, "eth0");
	assert_int_equal(attach("stack:eth0", NR_REG_NIC_SW, 1, 0), -EINVAL);
	assert_int_equal(attach("stack:eth0", NR_REG_NIC_SW, 0, id), 0);
	assert_int_equal(attach("stack:eth0", NR_REG_NIC_SW, 0, id + 1), -EINVAL);
	assert_int_equal(attach("stackx:eth0", NR_REG_NIC_SW, 0, 0), -EINVAL);
	assert_int_equal(attach("eth0", NR_REG_NIC_SW, 0, 0), -EOPNOTSUPP);
	far.err = -EBUSY;
	assert_int_equal(attach("stack:eth0", NR_REG_NIC_SW, 0, 0), -EBUSY);
	far.err = 0;
	prepare(NETMAP_REQ_PST_DETACH, "stack:eth1", NULL, sizeof(struct nmreq_vale_detach));
	assert_int_equal(request(), 0);
	assert_int_equal(far.detached, 1);
	assert_string_equal(far.ifname, "eth1");
	assert_int_equal(file.port->opens, 1);
	assert_false(file.port->mutex.locked);
}

/* The port is the descriptor's, not one that is called so where the caller is. */
static void attaches_from_elsewhere(void **state)
{
	struct nsproxy there = { &another_net };
	struct pst_file bound, other;

	bind_to_0();
	bound = file;
	memset(&file, 0, sizeof(file));
	mock_task.nsproxy = &there;
	bind_to_0();
	other = file;
	file = bound;
	far.attached = far.detached = 0;
	assert_int_equal(attach("stack:eth0", 0, 0, 0), -EXDEV);
	prepare(NETMAP_REQ_PST_DETACH, "stack:eth0", NULL, sizeof(struct nmreq_vale_detach));
	assert_int_equal(request(), -EXDEV);
	assert_int_equal(far.attached + far.detached, 0);
	file = other;
	assert_int_equal(attach("stack:eth0", 0, 0, 0), 0);
	assert_int_equal(file.port->opens, 1);
	mock_task.nsproxy = &mock_nsproxy;
	assert_int_equal(attach("stack:eth0", 0, 0, 0), -EXDEV);
	pst_file_unbind(&file);
	assert_int_equal(another_net.refs, 0);
	file = bound;
	assert_int_equal(file.port->opens, 1);
}

/* By a descriptor that is not bound: the instance's only port. */
static void attaches_unbound(void **state)
{
	struct pst_file bound;
	u16 id;

	bind_to_0();
	id = file.port->region->id;
	bound = file;
	memset(&file, 0, sizeof(file));
	assert_int_equal(attach("stack:eth0", 0, 0, 0), 0);
	assert_int_equal(attach("stack:eth0", 0, 0, id), 0);
	assert_int_equal(attach("stack:eth0", 0, 0, id + 1), -ENXIO);
	assert_int_equal(attach("stackx:eth0", 0, 0, 0), -ENXIO);
	prepare(NETMAP_REQ_PST_DETACH, "stack:eth1", NULL, sizeof(struct nmreq_vale_detach));
	assert_int_equal(request(), -ENXIO);
	prepare(NETMAP_REQ_PST_DETACH, "stack:eth0", NULL, sizeof(struct nmreq_vale_detach));
	assert_int_equal(request(), 0);
	assert_int_equal(far.detached, 1);
	file = bound;
	assert_int_equal(file.port->opens, 1);
}

static long register_fd(const char *name, u32 fd, u32 flags)
{
	struct nmreq_pst_fd_reg r = { fd, flags };

	prepare(NETMAP_REQ_PST_FD_REG, name, &r, sizeof(r));
	return request();
}

static void registers_fd(void **state)
{
	assert_int_equal(register_fd("", 3, 0), -ENXIO);
	bind_to_0();
	assert_int_equal(register_fd("", 3, 0), 0);
	assert_int_equal(far.fd, 3);
	assert_ptr_equal(far.among.first, &file.port->ring[0]);
	assert_ptr_equal(far.among.end, &file.port->ring[1]);
	assert_int_equal(register_fd("pst:0", 0x7fffffff, 0), 0);
	assert_int_equal(far.fd, 0x7fffffff);
	assert_int_equal(far.registered, 2);
	assert_int_equal(register_fd("", 0x80000000, 0), -EBADF);
	assert_int_equal(register_fd("", 0xffffffff, 0), -EBADF);
	assert_int_equal(register_fd("", 3, PST_FD_BY_QUEUE << 1), -EINVAL);
	assert_int_equal(register_fd("stack:1", 3, 0), -EINVAL);
	assert_int_equal(register_fd("eth0", 3, 0), -EOPNOTSUPP);
	assert_int_equal(far.registered, 2);
	far.err = -ENOTSOCK;
	assert_int_equal(register_fd("", 3, 0), -ENOTSOCK);
	far.err = 0;
}

/* ------------------------------------------------------------ legacy */

static long legacy(unsigned int cmd, struct nmreq *req)
{
	struct nmreq *user = malloc(sizeof(*user));
	long err;

	assert_non_null(user);
	*user = *req;
	mock_user_reset();
	mock_user(user, sizeof(*user));
	err = pst_request_legacy(&file, cmd, user);
	assert_false(mock.read_twice);
	assert_false(file.mutex.locked);
	*req = *user;
	free(user);
	return err;
}

static struct nmreq old(const char *name, u32 flags)
{
	struct nmreq req = {
		.nr_version = NETMAP_API, .nr_flags = flags, .nr_tx_slots = 16, .nr_rx_slots = 16,
	};

	strscpy(req.nr_name, name, sizeof(req.nr_name));
	return req;
}

static void legacy_requests(void **state)
{
	struct nmreq req = old("stack:0", NR_REG_ALL_NIC);
	u32 i;

	assert_int_equal(legacy(NIOCGINFO, &req), -ENXIO);
	for (i = 0; i < 20; i++) {
		req = old("stack:0", NR_REG_ALL_NIC);
		req.nr_version = i;
		req.nr_cmd = 1;
		assert_int_equal(legacy(NIOCREGIF, &req), i < 14 ? -EINVAL : -EOPNOTSUPP);
	}
	for (i = 1; i < 20; i++) {
		req = old("stack:0", NR_REG_ALL_NIC);
		req.nr_cmd = i;
		assert_int_equal(legacy(NIOCREGIF, &req), i <= 12 ? -EOPNOTSUPP : -EINVAL);
	}
	for (i = 1; i <= 3; i++) {
		req = old("stack:0", NR_REG_ALL_NIC);
		mock.fail_copy = i;
		assert_int_equal(legacy(NIOCREGIF, &req), -EFAULT);
		mock.fail_copy = 0;
		if (i == 3)
			unbind();
		assert_null(file.port);
	}
	req = old("stack:0", NR_REG_ALL_NIC);
	req.nr_arg3 = 4;
	req.nr_ringid = NETMAP_NO_TX_POLL | NETMAP_DO_RX_POLL;
	assert_int_equal(legacy(NIOCREGIF, &req), 0);
	assert_int_equal(req.nr_memsize, file.port->region->size);
	assert_int_equal(req.nr_arg3, 4);
	assert_int_equal(file.flags, NR_NO_TX_POLL | NR_DO_RX_POLL);
	req = old("pst:0", 0);
	assert_int_equal(legacy(NIOCGINFO, &req), 0);
	assert_int_equal(req.nr_memsize, file.port->region->size);
	assert_int_equal(req.nr_tx_rings, 1);
	/* A name without end is cut. */
	memset(req.nr_name, 'x', sizeof(req.nr_name));
	memcpy(req.nr_name, "stack:", 6);
	assert_int_equal(legacy(NIOCGINFO, &req), -ENXIO);
}

static void legacy_modes(void **state)
{
	static const struct { u32 flags; u16 ringid; long err; } cases[] = {
		{ NR_REG_DEFAULT, 0, 0 }, { NR_REG_DEFAULT, NETMAP_HW_RING, 0 },
		{ NR_REG_DEFAULT, NETMAP_HW_RING | 1, -EINVAL },
		{ NR_REG_DEFAULT, NETMAP_SW_RING, -EOPNOTSUPP },
		{ NR_REG_PIPE_MASTER, 0, -EOPNOTSUPP }, { NR_REG_PIPE_SLAVE, 0, -EOPNOTSUPP },
		{ NR_REG_ONE_NIC, 0, 0 }, { NR_REG_ONE_NIC, 1, -EINVAL },
		{ NR_REG_NIC_SW, 0, 0 }, { NR_REG_SW, 0, -EOPNOTSUPP },
		{ NR_REG_NULL, 0, -EOPNOTSUPP }, { 15, 0, -EINVAL },
		{ NR_REG_ALL_NIC | 0x10, 0, -EINVAL },
		{ NR_REG_ALL_NIC | NR_MONITOR_TX, 0, -EOPNOTSUPP },
		{ NR_REG_ALL_NIC | NR_EXCLUSIVE, 0, 0 },
	};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nmreq req = old("stack:0", cases[i].flags);

		req.nr_ringid = cases[i].ringid;
		assert_int_equal(legacy(NIOCREGIF, &req), cases[i].err);
		if (!cases[i].err)
			unbind();
	}
}

int main(void)
{
#define Q(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		Q(versions), Q(types), Q(name_without_end), Q(header_faults),
		Q(refused_options), Q(options_forbid), Q(extmem_refused), Q(too_long), Q(loops),
		Q(each_copy_faults), Q(each_allocation_fails),
		Q(info), Q(list), Q(attaches), Q(attaches_unbound), Q(attaches_from_elsewhere),
		Q(registers_fd),
		Q(legacy_requests), Q(legacy_modes),
	};

	return cmocka_run_group_tests_name("kernel_request", tests, NULL, NULL);
}
