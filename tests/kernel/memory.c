// SPDX-License-Identifier: BSD-2-Clause
/*
 * memory: a request for more memory than there is, or that would leave others less than
 * their share (for buffers, or to look after memory and lists that it only claims to bring),
 * fails with ENOMEM; it does not send the kernel's OOM killer after anybody,
 * and leaves no memory taken.  Small ports are made where memory is short, too.
 */
#include "port.h"
#include "supply.h"

#define SUPPLIED	(4UL << 20)

static long meminfo_kb(const char *what)
{
	char line[256], format[64];
	long kb = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	t_must(f);
	snprintf(format, sizeof(format), "%s: %%ld", what);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, format, &kb) == 1)
			break;
	fclose(f);
	return kb;
}

static long available_kb(void)
{
	return meminfo_kb("MemAvailable");
}

/* What a port has to leave others: paste(4). */
static long share_kb(void)
{
	long eighth = meminfo_kb("MemTotal") / 8;

	return eighth < 1 << 20 ? eighth : 1 << 20;
}

static int make(int fd, uint16_t rings, uint64_t extra)
{
	struct nmreq_register r = {
		.nr_mode = NR_REG_ALL_NIC,
		.nr_tx_rings = rings,
		.nr_rx_rings = rings,
		.nr_tx_slots = 16,
		.nr_rx_slots = 16,
		.nr_extra_bufs = (uint32_t)extra,
	};

	return port_ioctl(fd, NETMAP_REQ_REGISTER, "stack:big", &r);
}

static int device(void)
{
	int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		t_skip("no /dev/netmap: the module is not loaded");
	return fd;
}

static void refused(uint16_t rings, uint64_t extra)
{
	int fd = device();

	t_fails(ENOMEM, make(fd, rings, extra));
	close(fd);
}

/*
 * Memory and a list of what to keep in it, both said to be larger than they can be: it is
 * refused for what looking after them would take, before anything is found missing.
 */
static void supplied(uint64_t pages, uint32_t nkeep, int error)
{
	struct nmreq_opt_pst_keep keep = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_PST_KEEP,
		.nro_indexes = 1UL << 40,
		.nro_count = nkeep,
	};
	struct nmreq_opt_extmem ext = {
		.nro_opt = {
			.nro_next = nkeep ? (uintptr_t)&keep : 0,
			.nro_reqtype = NETMAP_REQ_OPT_EXTMEM,
		},
		.nro_usrptr = 1UL << 40,
		.nro_info.nr_memsize = pages << 12,
	};
	struct nmreq_register r = { .nr_mode = NR_REG_ALL_NIC };
	struct nmreq_header h = {
		.nr_version = NETMAP_API,
		.nr_reqtype = NETMAP_REQ_REGISTER,
		.nr_name = "stack:big",
		.nr_options = (uintptr_t)&ext,
		.nr_body = (uintptr_t)&r,
	};
	int fd = device();

	t_fails(error, ioctl(fd, NIOCCTRL, &h));
	close(fd);
}

/* A large port is made; what is left is the others'. */
static void granted(uint64_t extra)
{
	int fd = device();

	t_ok(make(fd, 1, extra));
	t_le(share_kb(), available_kb());
	close(fd);
}

/* Most of memory is a process's, as that of a store on tmpfs is. */
static void short_of_memory(void)
{
	struct nmreq_opt_extmem ext = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM, .nro_info.nr_memsize = SUPPLIED,
	};
	static const struct nmreq_register small = { .nr_tx_slots = 16, .nr_rx_slots = 16 };
	void *supplied_memory = supply("memfd", SUPPLIED), *others;
	size_t size = (size_t)(available_kb() - share_kb() / 2) << 10;
	int fd = device();
	struct port p = { .fd = -1 };

	others = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	t_must(others != MAP_FAILED);
	t_le(available_kb(), share_kb());
	t_ok(make(fd, 1, 0));
	close(fd);
	ext.nro_usrptr = (uintptr_t)supplied_memory;
	if (t_ok(port_open_with(&p, "stack:big", &small, &ext)) == 0)
		port_close(&p);
	munmap(others, size);
	munmap(supplied_memory, SUPPLIED);
}

int main(void)
{
	int pool = open("/sys/module/paste/parameters/pool_bufs", O_WRONLY);
	long before = available_kb();

	t_note("a million extra buffers and more");
	refused(1, 0xffffffff);
	t_note("64 rings of 8192 buffers");
	refused(64, 0);
	t_must(pool >= 0 && write(pool, "256", 3) == 3);
	t_note("buffers that fit, and what 64 rings need to look after so many, which does not");
	refused(64, (uint64_t)(available_kb() - share_kb()) / 4 * 995 / 1000 - 64 * (256 + 32));
	t_note("what would leave others half of their share");
	refused(1, (uint64_t)(available_kb() - share_kb() / 2) / 4);
	t_note("supplied memory that is not there");
	supplied(1000, 0, EFAULT);
	supplied((uint64_t)available_kb() * 3 / 4 * 1024 / 8, 0, ENOMEM);
	t_note("a list that is not there");
	supplied(1000, 100, EFAULT);
	supplied(1000, (uint32_t)available_kb() * 15 / 16 * 1024 / 4, ENOMEM);
	t_note("what leaves them more");
	granted((uint64_t)(available_kb() - share_kb() * 3 / 2) / 4);
	t_note("small ports, where others have the rest");
	short_of_memory();
	t_must(write(pool, "8192", 4) == 4);
	/* Freed pages wait in lists of the CPUs for a while. */
	for (int i = 0; i < 200 && available_kb() < before - 50000; i++)
		usleep(100000);
	t_le(before - 50000, available_kb());
	return t_end();
}
