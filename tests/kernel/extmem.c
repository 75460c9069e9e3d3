// SPDX-License-Identifier: BSD-2-Clause
/*
 * extmem: a port in memory of the application's: its layout, content and indexes that
 * outlive the port, buffers kept by request, and what is refused leaves nothing behind and
 * every byte as it was; no interface is attached when the memory is not where it was given.
 *
 * [short]
 */
#include <sched.h>
#include <sys/syscall.h>
#include "supply.h"

#define SIZE	(32UL << 20)
#define FEW	(12UL << 20)	/* where each buffer is sent several times */

struct request {
	struct nmreq_opt_extmem ext;
	struct nmreq_opt_pst_keep keep;
};

static void prepare(struct request *r, void *mem, size_t size)
{
	*r = (struct request) {
		.ext.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM,
		.ext.nro_usrptr = (uintptr_t)mem,
		.ext.nro_info.nr_memsize = size,
		.keep.nro_opt.nro_reqtype = NETMAP_REQ_OPT_PST_KEEP,
	};
}

static void keep(struct request *r, const uint32_t *idx, uint32_t n)
{
	r->ext.nro_opt.nro_next = (uintptr_t)&r->keep;
	r->keep.nro_indexes = (uintptr_t)idx;
	r->keep.nro_count = n;
}

static const struct nmreq_register some_extra = { .nr_extra_bufs = 4 };

static int try_open(struct port *p, struct request *r)
{
	return port_open_with(p, "stack:0", &some_extra, r);
}

/* What a port that was refused, or is gone, leaves as it was. */
struct left {
	unsigned long locked;	/* KiB that count as locked by this process */
	long pinned;		/* pages, of whoever's */
	long module;		/* who holds it */
};

static unsigned long locked(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long kib = ~0UL;
	char line[128];

	t_must(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "VmLck: %lu", &kib);
	fclose(f);
	return kib;
}

static long vmstat(const char *name)
{
	FILE *f = fopen("/proc/vmstat", "r");
	size_t len = strlen(name);
	char line[128];
	long n = -1;

	t_must(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && line[len] == ' ')
			n = atol(line + len);
	fclose(f);
	t_true(n >= 0);
	return n;
}

/* The kernel counts by CPU, and adds up when it is told to. */
static long pinned(void)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY);

	t_must(fd >= 0 && write(fd, "1", 1) == 1);
	close(fd);
	return vmstat("nr_foll_pin_acquired") - vmstat("nr_foll_pin_released");
}

static long module_users(void)
{
	FILE *f = fopen("/sys/module/paste/refcnt", "r");
	long n = -1;

	t_must(f && fscanf(f, "%ld", &n) == 1);
	fclose(f);
	return n;
}

static struct left left_now(void)
{
	return (struct left) { locked(), pinned(), module_users() };
}

static void nothing_left(const struct left *before)
{
	struct left now = left_now();

	t_eq(now.locked, before->locked);
	t_eq(now.pinned, before->pinned);
	t_eq(now.module, before->module);
}

/* The memory that requests are about, all of it whatever they say. */
static struct {
	char *mem;
	size_t size, hole;	/* where a page is missing, or 0 */
} given;

static void fill(char *mem, size_t size)
{
	uint64_t *word = (uint64_t *)mem;

	for (size_t i = 0; i < size / sizeof(*word); i++)
		word[i] = (i + 1) * 0x9e3779b97f4a7c15;	/* none of them 0, no two pages alike */
}

/* Memory whose content is known. */
static char *give(const char *kind, size_t size)
{
	given.mem = supply(kind, size);
	given.size = size;
	given.hole = 0;
	fill(given.mem, size);
	return given.mem;
}

static char remembered[SIZE];

static void remember(void)
{
	size_t end = given.hole ?: given.size, from = given.hole ? given.hole + 4096 : given.size;

	memcpy(remembered, given.mem, end);
	memcpy(remembered + from, given.mem + from, given.size - from);
}

static void same_from(size_t at, size_t end)
{
	if (!memcmp(remembered + at, given.mem + at, end - at))
		return;
	while (remembered[at] == given.mem[at])
		at++;
	T_FAIL("byte %zu of %zu has changed", at, given.size);
}

/* What was in it is there still. */
static void same_as_remembered(void)
{
	same_from(0, given.hole ?: given.size);
	if (given.hole)
		same_from(given.hole + 4096, given.size);
}

static void refused_to(const char *port, struct request *r, int error, const char *what)
{
	struct left before = left_now();
	struct port p;

	t_note("%s", what);
	remember();
	t_fails(error, port_open_with(&p, port, &some_extra, r));
	nothing_left(&before);
	same_as_remembered();
}

static void refused(struct request *r, int error, const char *what)
{
	refused_to("stack:0", r, error, what);
}

/* All three pools are in the memory, in netmap's order, and are reported. */
static void layout(void)
{
	char *mem = supply("anon", SIZE);
	struct nmreq_pools_info *info;
	struct request r;
	struct port p;

	t_note("layout");
	prepare(&r, mem, SIZE);
	t_must(!try_open(&p, &r));
	info = &r.ext.nro_info;
	t_eq(r.ext.nro_opt.nro_status, 0);
	t_eq(info->nr_mem_id, p.reg.nr_mem_id);
	t_eq(info->nr_memsize, SIZE);
	t_eq(p.reg.nr_memsize, SIZE);
	t_eq(info->nr_buf_pool_offset + (uint64_t)info->nr_buf_pool_objtotal * 4096, SIZE);
	t_true(!memcmp(mem, p.mem, info->nr_buf_pool_offset));
	t_true((char *)p.rx - p.mem >= (long)info->nr_ring_pool_offset);
	/* The ring seen through our own mapping, and a buffer through both. */
	t_eq(((struct netmap_ring *)(mem + ((char *)p.rx - p.mem)))->num_slots, p.rx->num_slots);
	for (uint32_t i = 0; i < p.tx->num_slots; i++) {
		uint32_t idx = p.tx->slot[i].buf_idx;

		snprintf(NETMAP_BUF(p.tx, idx), 4096, "through the port");
		t_true(!strcmp(mem + info->nr_buf_pool_offset + idx * 4096UL, "through the port"));
	}
	port_close(&p);
	munmap(mem, SIZE);
}

/* What arrived is where it was, by index, for the next port; kept buffers are nobody else's. */
static void outlives(void)
{
	static const char text[] = "what arrived before";
	char *mem = give("memfd", SIZE);
	uint32_t mine[2], n, reserved[] = { 0 };
	struct nmreq_pst_stats st;
	struct netmap_slot *s;
	struct request r;
	struct port p;
	int sock, peer;

	t_note("outlives the port");
	prepare(&r, mem, SIZE);
	t_must(!try_open(&p, &r));
	port_pair(&p, &sock, &peer);
	t_eq(write(peer, text, sizeof(text)), sizeof(text));
	s = port_next(&p, 2000);
	t_must(s);
	n = s->offset;
	mine[0] = paste_rx_keep(s, paste_buf_pop(p.nifp, p.rx));
	mine[1] = paste_buf_pop(p.nifp, p.rx);
	snprintf(NETMAP_BUF(p.tx, mine[1]), 4096, "written by us");
	close(sock);
	close(peer);
	port_close(&p);

	prepare(&r, mem, SIZE);
	keep(&r, mine, 2);
	t_must(!try_open(&p, &r));
	t_true(!strcmp(NETMAP_BUF(p.tx, mine[0]) + n, text));
	t_true(!strcmp(NETMAP_BUF(p.tx, mine[1]), "written by us"));
	st = port_stats(&p);
	t_eq(st.port.buf_user, p.tx->num_slots + 2 + 4);
	for (uint32_t i = 0; i < p.tx->num_slots; i++)
		t_true(p.tx->slot[i].buf_idx != mine[0] && p.tx->slot[i].buf_idx != mine[1]);
	for (uint32_t b; (b = paste_buf_pop(p.nifp, p.rx));)
		t_true(b != mine[0] && b != mine[1]);

	/* They are ours to send: one is lent, one given away. */
	port_pair(&p, &sock, &peer);
	t_ok(paste_tx_lend(p.tx, sock, mine[0], (uint16_t)n, sizeof(text)));
	t_ok(paste_tx_swap(p.tx, sock, &mine[1], 0, 14));
	port_sync(&p);
	{
		char got[sizeof(text) + 14];

		t_eq(read_n(peer, got, sizeof(got), 2000), sizeof(got));
		t_true(!strcmp(got, text) && !strcmp(got + sizeof(text), "written by us"));
	}
	keep(&r, mine, 1);
	refused(&r, EBUSY, "keep, of a port that exists");
	close(sock);
	close(peer);
	port_close(&p);

	t_note("keep");
	fill(mem, SIZE);
	prepare(&r, mem, SIZE);
	keep(&r, reserved, 1);
	refused(&r, ERANGE, "a reserved buffer");
	mine[1] = mine[0];
	prepare(&r, mem, SIZE);
	keep(&r, mine, 2);
	refused(&r, EEXIST, "a buffer twice");
	prepare(&r, mem, SIZE);
	keep(&r, (void *)8, 2);
	refused(&r, EFAULT, "unreadable indexes");
	prepare(&r, mem, SIZE);
	keep(&r, mine, 1);
	r.keep.pad1 = 1;
	refused(&r, EINVAL, "padding");
	munmap(mem, SIZE);
}

/* Of the option, its status can be written, but not what follows: that is in a page that is read-only. */
static void answer_cannot_be_told(char *mem)
{
	size_t at = 4096 - offsetof(struct nmreq_opt_extmem, nro_info);
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct request *r = (struct request *)(page + at);

	t_must(page != MAP_FAILED);
	prepare(r, mem, SIZE);
	t_must(!mprotect(page + 4096, 4096, PROT_READ));
	refused(r, EFAULT, "an answer that cannot be written");
	munmap(page, 8192);
}

static void bad_memory(void)
{
	struct left before = left_now(), with_port;
	char *mem = give("memfd", SIZE), *twice;
	struct port p;
	struct request r;
	int fd;

	prepare(&r, mem + 8, SIZE - 8);
	refused(&r, EINVAL, "misaligned");
	prepare(&r, mem, 4095);
	refused(&r, EINVAL, "less than a page");
	prepare(&r, mem, 1UL << 20);
	refused(&r, ENOMEM, "too small");
	prepare(&r, mem, SIZE);
	r.ext.nro_info.nr_buf_pool_objsize = 2048;
	refused(&r, EINVAL, "buffers of another size");
	prepare(&r, mem, SIZE);
	r.ext.nro_info.nr_buf_pool_objtotal = SIZE / 4096;
	refused(&r, ENOMEM, "more buffers than fit");
	prepare(&r, mem, SIZE);
	r.ext.nro_info.nr_ring_pool_objsize = 100;
	refused(&r, ENOMEM, "rings that hold no ring");
	prepare(&r, mem, SIZE);
	r.ext.nro_info.nr_if_pool_objtotal = UINT32_MAX;
	r.ext.nro_info.nr_if_pool_objsize = UINT32_MAX;
	refused(&r, ENOMEM, "sizes that overflow");
	prepare(&r, mem, SIZE);
	r.ext.nro_info.nr_if_pool_objtotal = 1U << 30;
	refused(&r, ENOMEM, "more interfaces than fit");
	prepare(&r, (void *)(1UL << 40), SIZE);
	refused(&r, EFAULT, "nothing there");
	prepare(&r, (void *)-4096UL, SIZE);
	refused(&r, EINVAL, "beyond the end");
	prepare(&r, mem, UINT64_MAX);
	refused(&r, EINVAL, "all there is");

	answer_cannot_be_told(mem);

	given.hole = SIZE / 2;
	t_must(!munmap(mem + given.hole, 4096));
	prepare(&r, mem, SIZE);
	refused(&r, EFAULT, "a hole");
	munmap(mem, SIZE);

	mem = give("anon", SIZE);
	t_must(!mprotect(mem + SIZE / 2, 4096, PROT_READ));
	prepare(&r, mem, SIZE);
	refused(&r, EFAULT, "read-only in one place");
	munmap(mem, SIZE);

	fd = memfd_create("twice", MFD_CLOEXEC);
	t_must(!ftruncate(fd, SIZE / 2));
	twice = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 2; i++)
		t_must(mmap(twice + (size_t)i * SIZE / 2, SIZE / 2, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED);
	given.mem = twice;
	fill(twice + SIZE / 2, SIZE / 2);
	prepare(&r, twice, SIZE);
	refused(&r, EINVAL, "the same pages twice");

	t_note("another port's");
	prepare(&r, twice, SIZE / 2);
	t_must(!try_open(&p, &r));
	with_port = left_now();
	t_eq(with_port.locked - before.locked, SIZE / 2 / 1024);
	t_eq(with_port.pinned - before.pinned, SIZE / 2 / 4096);
	t_true(with_port.module > before.module);
	prepare(&r, twice + SIZE / 2, SIZE / 2);
	refused_to("stack:1", &r, EBUSY, "other addresses of another port's");
	t_eq(r.ext.nro_opt.nro_status, EBUSY);
	prepare(&r, p.mem, SIZE / 2);
	refused_to("stack:1", &r, EFAULT, "another port's mapping");
	nothing_left(&with_port);
	port_close(&p);

	t_note("shrinks under us");
	prepare(&r, twice, SIZE / 2);
	t_must(!try_open(&p, &r));
	t_must(!ftruncate(fd, 0));
	{
		char got[600] = "", *data = memset(malloc(600), 'x', 600);
		int sock, peer;

		port_pair(&p, &sock, &peer);
		t_eq(write(peer, data, 600), 600);
		t_eq(port_collect(&p, sock, got, 600, 2000), 600);
		t_true(!memcmp(got, data, 600));
		port_put(&p, sock, data, 600);
		port_sync(&p);
		t_eq(read_n(peer, got, 600, 2000), 600);
		close(sock);
		close(peer);
		free(data);
	}
	t_note("unmapped: no NIC may write there");
	munmap(twice, SIZE);
	if (!access("/sys/class/net/eth0", F_OK))
		t_eq(paste_attach(p.fd, "stack:eth0"), -EFAULT);
	port_close(&p);
	nothing_left(&before);
	close(fd);
}

/* Attaching @p fails with @error, every time, and changes nothing. */
static void cannot_attach(struct port *p, int error)
{
	for (int i = 0; i < 3; i++) {
		t_eq(paste_attach(p->fd, "stack:eth0"), -error);
		t_eq(port_stats(p).port.nics, 0);
		t_eq(port_stats(p).port.buf_nic, 0);
	}
}

/* The port itself does not mind. */
static void still_serves(struct port *p)
{
	int sock, peer;
	char got[8];

	port_pair(p, &sock, &peer);
	t_eq(write(peer, "question", 8), 8);
	t_eq(port_collect(p, sock, got, 8, 2000), 8);
	t_true(!memcmp(got, "question", 8));
	port_put(p, sock, "answer", 6);
	port_sync(p);
	t_eq(read_n(peer, got, 6, 2000), 6);
	close(sock);
	close(peer);
}

static void map_at(char *mem, size_t size, int flags, int fd, size_t offset)
{
	t_must(mmap(mem, size, PROT_READ | PROT_WRITE, MAP_FIXED | flags, fd, (off_t)offset) == mem);
}

/*
 * Other memory where the region was, all of it or a page of its buffers: no NIC may write
 * there.  With the region back in its place one is attached.
 */
static void replaced(void)
{
	int fd = memfd_create("replaced", MFD_CLOEXEC), anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
	static const size_t from[] = { 0, SIZE / 2, SIZE - 4096 };
	struct left before = left_now();
	struct request r;
	struct port p;
	char *mem;

	t_must(!ftruncate(fd, SIZE));
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	t_must(mem != MAP_FAILED);
	prepare(&r, mem, SIZE);
	t_must(!try_open(&p, &r));
	for (int i = 0; i < 3; i++) {
		size_t size = i ? 4096 : SIZE;
		char *other = mem + from[i];

		t_note("other memory where the region was: %zu bytes", size);
		map_at(other, size, anonymous, -1, 0);
		memset(other, 'o', size);
		cannot_attach(&p, EFAULT);
		still_serves(&p);
		for (size_t k = 0; k < size; k += 4096)
			if (!t_true(other[k] == 'o' && !memcmp(other + k, other + k + 1, 4095)))
				break;
		map_at(other, size, MAP_SHARED, fd, from[i]);
	}
	t_note("the pages of the region in another order");
	map_at(mem + SIZE / 2, 4096, MAP_SHARED, fd, SIZE / 2 + 4096);
	map_at(mem + SIZE / 2 + 4096, 4096, MAP_SHARED, fd, SIZE / 2);
	cannot_attach(&p, EFAULT);
	t_note("the region is back");
	map_at(mem, SIZE, MAP_SHARED, fd, 0);
	t_eq(paste_attach(p.fd, "stack:eth0"), 0);
	t_eq(paste_detach(p.fd, "stack:eth0"), 0);
	still_serves(&p);
	port_close(&p);
	munmap(mem, SIZE);
	close(fd);
	nothing_left(&before);
}

/* The process that gave its memory is gone, but not its port. */
static void orphaned(void)
{
	struct left before = left_now();
	static struct port *p;
	int status;
	pid_t child;

	t_note("the process that gave the memory is gone");
	p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t_must(p != MAP_FAILED);
	/* A child that shares our table of descriptors, but not our memory. */
	child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	t_must(child >= 0);
	if (!child) {
		struct request r;

		prepare(&r, supply("anon", SIZE), SIZE);
		_exit(try_open(p, &r) ? 1 : 0);
	}
	t_must(waitpid(child, &status, 0) == child && !status);
	p->mem = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	t_must(p->mem != MAP_FAILED);
	p->nifp = NETMAP_IF(p->mem, p->reg.nr_offset);
	p->rx = port_rx(p, 0);
	p->tx = port_tx(p, 0);
	cannot_attach(p, ESRCH);
	still_serves(p);
	port_close(p);
	munmap(p, sizeof(*p));
	nothing_left(&before);
}

/* The limit on locked memory holds for those it is meant for. */
static void limits(void)
{
	char *mem = give("memfd", SIZE);
	pid_t child;
	int status;

	t_note("RLIMIT_MEMLOCK");
	remember();
	child = fork();
	t_must(child >= 0);
	if (!child) {
		struct rlimit small = { 1 << 20, 1 << 20 };
		struct request r;
		struct port p;

		prepare(&r, mem, SIZE);
		setrlimit(RLIMIT_MEMLOCK, &small);
		if (chmod("/dev/netmap", 0666) || setuid(65534))
			_exit(1);
		_exit(try_open(&p, &r) == -1 && errno == ENOMEM ? 0 : 2);
	}
	t_must(waitpid(child, &status, 0) == child);
	chmod("/dev/netmap", 0600);
	t_eq(status, 0);
	same_as_remembered();
	munmap(mem, SIZE);
}

/* A child has the memory too; the port is the parent's, and its buffers still come back. */
static void forked(void)
{
	static char data[4096];
	char *mem = supply("memfd", FEW), got[4096];
	struct request r;
	struct port p;
	int sock, peer;
	pid_t child;

	t_note("fork");
	prepare(&r, mem, FEW);
	t_must(!try_open(&p, &r));
	port_pair(&p, &sock, &peer);
	child = fork();
	t_must(child >= 0);
	if (!child) {
		memset(mem + FEW / 2, 1, FEW / 2);
		pause();
	}
	usleep(100000);
	for (int i = 0; i < 3 * (int)(FEW / 4096); i++) {
		port_put(&p, sock, data, sizeof(data));
		port_sync(&p);
		if (!t_eq(read_n(peer, got, sizeof(got), 2000), sizeof(got)))
			break;
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(sock);
	close(peer);
	port_close(&p);
	munmap(mem, FEW);
}

/*
 * Another descriptor keeps the port when its server goes.  What is in memory that was supplied may be
 * needed yet: its buffers are nobody else's.
 */
static void held(void)
{
	static const struct nmreq_register no_rings = {
		.nr_flags = NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY,
	};
	static const char text[] = "logged, not yet kept";
	char *mem = supply("memfd", FEW);
	struct netmap_slot *s;
	char answer[sizeof(text)];
	struct port holder, p;
	struct request r;
	int sock, peer;
	uint64_t user;
	uint32_t idx;

	t_note("held");
	prepare(&r, mem, FEW);
	t_must(!port_open_with(&holder, "stack:0", &no_rings, &r));
	t_must(!port_open(&p, "stack:0", NULL));
	port_pair(&p, &sock, &peer);
	t_eq(write(peer, text, sizeof(text)), sizeof(text));
	s = port_next(&p, 2000);
	t_must(s);
	user = port_stats(&p).port.buf_user;	/* that one, and those in TX slots */
	idx = p.tx->slot[0].buf_idx;		/* it is to be sent, but the application dies */
	p.tx->slot[0].buf_idx = s->buf_idx;
	paste_rx_keep(s, idx);
	paste_rx_release(p.rx);
	port_sync(&p);
	port_close(&p);
	close(sock);
	close(peer);
	t_must(!port_open(&p, "stack:0", NULL));
	t_true(nm_ring_empty(p.rx));
	t_eq(port_stats(&p).port.buf_user, user);
	for (uint32_t i = 0; i < p.tx->num_slots; i++)
		for (uint32_t j = 0; j < i; j++)
			t_must(p.tx->slot[i].buf_idx != p.tx->slot[j].buf_idx);
	port_pair(&p, &sock, &peer);
	for (uint32_t i = 0; i < p.tx->num_slots; i++) {	/* all of them are the application's */
		port_put(&p, sock, text, sizeof(text));
		port_sync(&p);
		t_must(read_n(peer, answer, sizeof(answer), 1000) == sizeof(answer));
	}
	t_eq(port_stats(&p).counters.bad_owner, 0);
	close(sock);
	close(peer);
	port_close(&p);
	port_close(&holder);
	munmap(mem, FEW);
}

int main(void)
{
	if (access("/dev/netmap", F_OK))
		t_skip("no /dev/netmap: the module is not loaded");
	layout();
	outlives();
	bad_memory();
	replaced();
	orphaned();
	limits();
	forked();
	held();
	return t_end();
}
