// SPDX-License-Identifier: BSD-2-Clause
/*
 * limits: a port's memory is charged to the control group of who opens it, and fails with
 * ENOMEM beyond its limit; attaching honours RLIMIT_MEMLOCK; module parameters out of range
 * are refused.  Nothing is left behind.
 *
 * [short]
 */
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include "port.h"

#define ROOT	"/tmp/cgroup"
#define GROUP	ROOT "/paste"
#define PARAM	"/sys/module/paste/parameters/"

/* 0, or the errno of opening or writing. */
static int set(const char *file, const char *value)
{
	int fd = open(file, O_WRONLY), e = 0;

	if (fd < 0)
		return errno;
	if (write(fd, value, strlen(value)) < 0)
		e = errno;
	close(fd);
	return e;
}

static long get(const char *file)
{
	FILE *f = fopen(file, "r");
	long n = -1;

	t_must(f && fscanf(f, "%ld", &n) == 1);
	fclose(f);
	return n;
}

static void in_group(void (*what)(void))
{
	int status = -1;
	pid_t child = fork();

	if (!child) {
		t_must(!set(GROUP "/cgroup.procs", "0"));
		what();
		exit(t_end());
	}
	t_ok(waitpid(child, &status, 0));
	t_eq(status, 0);
}

/* 8192 buffers and more, which are the group's while the port is there. */
static void charged(void)
{
	long before = get(GROUP "/memory.current"), with;
	struct port p;

	port_make(&p, "stack:charged", 64, 0);
	with = get(GROUP "/memory.current");
	t_le(before + 8192 * 4096L, with);
	port_close(&p);
	for (int i = 0; i < 50 && get(GROUP "/memory.current") > before + (1 << 20); i++)
		usleep(100000);
	t_le(get(GROUP "/memory.current"), before + (2 << 20));
}

static void too_much(void)
{
	struct port p;

	for (int i = 0; i < 5; i++)
		t_fails(ENOMEM, port_open(&p, "stack:too-much", NULL));
}

static void control_group(void)
{
	mkdir(ROOT, 0755);
	t_must(!mount("cgroup2", ROOT, "cgroup2", 0, NULL));
	t_eq(set(ROOT "/cgroup.subtree_control", "+memory"), 0);	/* all kernels of the lab have it */
	t_must(!mkdir(GROUP, 0755));
	t_note("charged to the group");
	in_group(charged);
	t_note("beyond the group's limit");
	t_must(!set(GROUP "/memory.max", "16777216"));
	in_group(too_much);
	t_le(get(GROUP "/memory.current"), 4 << 20);
	t_note("within it again");
	t_must(!set(GROUP "/memory.max", "max"));
	in_group(charged);
	t_ok(rmdir(GROUP));
	t_ok(umount(ROOT));
	t_ok(rmdir(ROOT));
}

/* All privileges that attaching needs, but not the one that frees from the limit. */
static void without_ipc_lock(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	t_must(!syscall(SYS_capget, &h, d));
	d[CAP_IPC_LOCK / 32].effective &= ~(1u << CAP_IPC_LOCK % 32);
	t_must(!syscall(SYS_capset, &h, d));
}

static void memlock(void)
{
	struct rlimit small = { 1 << 20, 1 << 30 }, large = { 1 << 30, 1 << 30 };
	struct rlimit enough = { 0, 1 << 30 };
	int status = -1;
	struct port p;
	pid_t child;

	t_note("attaching and RLIMIT_MEMLOCK");
	port_make(&p, "stack:memlock", 64, 0);
	enough.rlim_cur = p.size + (64 << 10);
	child = fork();
	if (!child) {
		without_ipc_lock();
		for (int i = 0; i < 3; i++) {
			t_must(!setrlimit(RLIMIT_MEMLOCK, &small));
			t_eq(paste_attach(p.fd, "stack:eth0"), -ENOBUFS);
			t_eq(port_stats(&p).port.nics, 0);
			t_eq(port_stats(&p).port.buf_nic, 0);
			t_must(!setrlimit(RLIMIT_MEMLOCK, &large));
			t_eq(paste_attach(p.fd, "stack:eth0"), 0);
			t_eq(paste_detach(p.fd, "stack:eth0"), 0);
		}
		/* What the region needs is enough, zero copy or not, and again at once. */
		t_must(!setrlimit(RLIMIT_MEMLOCK, &enough));
		for (int i = 0; i < 5; i++) {
			t_eq(paste_attach(p.fd, "stack:eth0"), 0);
			t_eq(paste_detach(p.fd, "stack:eth0"), 0);
		}
		exit(t_end());
	}
	t_ok(waitpid(child, &status, 0));
	t_eq(status, 0);
	port_close(&p);
}

static void parameters(void)
{
	static const char *const bad_pool[] = { "0", "255", "1048577", "-1", "4294967552", "x" };
	static const char *const bad_stall[] = { "0", "10001", "-50", "x" };

	t_note("module parameters");
	for (size_t i = 0; i < sizeof(bad_pool) / sizeof(*bad_pool); i++)
		t_true(set(PARAM "pool_bufs", bad_pool[i]) != 0);
	for (size_t i = 0; i < sizeof(bad_stall) / sizeof(*bad_stall); i++)
		t_true(set(PARAM "stall_ms", bad_stall[i]) != 0);
	t_eq(get(PARAM "pool_bufs"), 8192);
	t_eq(get(PARAM "stall_ms"), 50);
	t_eq(set(PARAM "pool_bufs", "256"), 0);
	t_eq(set(PARAM "stall_ms", "10000"), 0);
	t_eq(get(PARAM "pool_bufs"), 256);
	t_eq(set(PARAM "pool_bufs", "8192"), 0);
	t_eq(set(PARAM "stall_ms", "50"), 0);
}

int main(void)
{
	if (access("/dev/netmap", F_OK))
		t_skip("no /dev/netmap: the module is not loaded");
	parameters();
	memlock();
	control_group();
	return t_end();
}
