// SPDX-License-Identifier: BSD-2-Clause
/*
 * attach: a process without privileges that was handed a descriptor can use the port,
 * but neither attach nor detach a device, nor open the device file itself.
 *
 * [short]
 */
#include <grp.h>
#include "port.h"

static struct port p;

static void as_nobody(void)
{
	int sock, peer;
	char text[4];

	t_must(!setgroups(0, NULL) && !setgid(65534) && !setuid(65534));
	t_note("as nobody");
	t_fails(EACCES, open("/dev/netmap", O_RDWR));
	t_eq(paste_attach(p.fd, "stack:eth0"), -EPERM);
	t_eq(paste_detach(p.fd, "stack:eth0"), -EPERM);
	port_pair(&p, &sock, &peer);
	t_eq(write(peer, "data", 4), 4);
	t_eq(port_collect(&p, sock, text, 4, 1000), 4);
	port_put(&p, sock, "data", 4);
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_eq(read_n(peer, text, 4, 1000), 4);
	exit(t_end());
}

static void try(void)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		as_nobody();
	t_ok(waitpid(pid, &status, 0));
	t_eq(status, 0);
}

int main(void)
{
	port_make(&p, "stack:priv", 64, 0);
	try();
	t_eq(port_stats(&p).port.nics, 0);
	t_eq(paste_attach(p.fd, "stack:eth0"), 0);
	try();
	t_eq(port_stats(&p).port.nics, 1);
	t_eq(paste_detach(p.fd, "stack:eth0"), 0);
	t_note("interfaces that cannot be");
	t_eq(paste_attach(p.fd, "stack:lo"), -EOPNOTSUPP);
	t_eq(paste_attach(p.fd, "stack:eth99"), -ENXIO);
	port_close(&p);
	return t_end();
}
