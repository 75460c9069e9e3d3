// SPDX-License-Identifier: BSD-2-Clause
/*
 * memory: a request for more memory than there is fails with ENOMEM; it does not send
 * the kernel's OOM killer after anybody, and leaves no memory taken.
 */
#include "port.h"

static long available_kb(void)
{
	char line[256];
	long kb = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	t_must(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %ld", &kb) == 1)
			break;
	fclose(f);
	return kb;
}

static void refused(uint16_t rings, uint64_t extra)
{
	struct nmreq_register r = {
		.nr_mode = NR_REG_ALL_NIC,
		.nr_tx_rings = rings,
		.nr_rx_rings = rings,
		.nr_tx_slots = 16,
		.nr_rx_slots = 16,
		.nr_extra_bufs = (uint32_t)extra,
	};
	int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		t_skip("no /dev/netmap: the module is not loaded");
	t_fails(ENOMEM, port_ioctl(fd, NETMAP_REQ_REGISTER, "stack:big", &r));
	close(fd);
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
	refused(64, (uint64_t)available_kb() / 4 * 995 / 1000 - 64 * (256 + 32));
	t_must(write(pool, "8192", 4) == 4);
	t_le(before - 50000, available_kb());
	return t_end();
}
