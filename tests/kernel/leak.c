// SPDX-License-Identifier: BSD-2-Clause
/*
 * leak: 200 ports of many sizes are opened, used and closed, every tenth with a NIC, every
 * tenth in memory of the application's, some with sockets open and data under way: memory
 * comes back.
 *
 * [timeout=180]
 */
#include "supply.h"

#define POOL_BUFS "/sys/module/paste/parameters/pool_bufs"
#define OWN_SIZE (32UL << 20)
#define CPU_LISTS "/proc/sys/vm/percpu_pagelist_high_fraction"

static long free_kb(void)
{
	long best = 0;

	/* what RCU and workqueues free comes a little later */
	for (int i = 0; i < 10; i++) {
		char line[256];
		long kb = 0;
		FILE *f = fopen("/proc/meminfo", "r");

		if (!t_true(f != NULL))
			return best;
		while (fgets(line, sizeof(line), f))
			if (sscanf(line, "MemFree: %ld", &kb) == 1)
				break;
		fclose(f);
		best = kb > best ? kb : best;
		usleep(100000);
	}
	return best;
}

static void use(struct port *p, int i)
{
	char data[20000] = "";
	int sock[4], peer[4];

	for (int k = 0; k < 4; k++) {
		port_pair(p, &sock[k], &peer[k]);
		t_ok(send(peer[k], data, sizeof(data), MSG_DONTWAIT));
	}
	port_sync(p);
	while (nm_ring_space(p->tx) > 1) {
		port_put(p, sock[i % 4], data, 1000);
		if (nm_ring_space(p->tx) % 7 == 0)
			port_put(p, 1000, data, 10);
	}
	port_sync(p);
	if (i % 3 == 0)
		port_close(p);		/* before its sockets */
	for (int k = 0; k < 4; k++) {
		close(i % 2 ? sock[k] : peer[k]);
		close(i % 2 ? peer[k] : sock[k]);
	}
}

static void one(int i)
{
	static const uint16_t slots[] = { 16, 1000, 17, 64, 4096 };
	struct nmreq_register want = {
		.nr_tx_slots = slots[i % 5], .nr_rx_slots = slots[i % 3],
		.nr_tx_rings = (uint16_t)(1 + i % 4), .nr_extra_bufs = (uint32_t)(i % 7 * 50),
	};
	struct nmreq_opt_extmem own = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM, .nro_info.nr_memsize = OWN_SIZE,
	};
	bool is_own = i % 10 == 5;
	struct port p;
	char name[32];
	void *mem;

	t_note("port %d", i);
	if (is_own)
		own.nro_usrptr = (uintptr_t)(mem = supply("memfd", OWN_SIZE));
	snprintf(name, sizeof(name), "stack%d:%d", i % 3, i);
	t_must(!port_open_with(&p, name, &want, is_own ? &own : NULL));
	if (i % 10 == 0 || i % 20 == 5) {
		snprintf(name, sizeof(name), "stack%d:eth0", i % 3);
		t_ok(paste_attach_region(p.fd, name, p.reg.nr_mem_id));
		if (i % 20 == 0)
			t_ok(paste_detach(p.fd, name));
	}
	use(&p, i);
	port_close(&p);
	if (is_own)
		munmap(mem, OWN_SIZE);
}

static void set(const char *parameter, const char *value)
{
	int fd = open(parameter, O_WRONLY);

	t_must(write(fd, value, strlen(value)) > 0);
	close(fd);
}

static void restore(void)
{
	set(POOL_BUFS, "8192");
	set(CPU_LISTS, "0");
}

int main(void)
{
	long before, after;

	if (access("/dev/netmap", F_OK))
		t_skip("no /dev/netmap: the module is not loaded");
	set(POOL_BUFS, "1024");		/* it is the allocator that would take the time */
	set(CPU_LISTS, "1000000");	/* MemFree lacks what CPUs keep for themselves, tens of MB by default */
	atexit(restore);
	for (int i = 0; i < 60; i++)	/* caches fill */
		one(i);
	before = free_kb();
	for (int i = 0; i < 200; i++)
		one(i);
	after = free_kb();
	t_note("free memory");
	printf("%ld kB before, %ld kB after\n", before, after);
	/* ten buffers for each port would show */
	t_le(before - 8000, after);
	return t_end();
}
