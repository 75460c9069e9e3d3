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

int main(void)
{
	struct nmreq_register r;
	long before = available_kb();
	int fd;

	for (int turn = 0; turn < 2; turn++) {
		fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			t_skip("no /dev/netmap: the module is not loaded");
		r = turn ? (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC, .nr_tx_rings = 64 } :
			   (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC, .nr_extra_bufs = 0xffffffff };
		t_note(turn ? "64 rings of 8192 buffers" : "a million extra buffers and more");
		t_fails(ENOMEM, port_ioctl(fd, NETMAP_REQ_REGISTER, "stack:big", &r));
		close(fd);
	}
	t_le(before - 50000, available_kb());
	return t_end();
}
