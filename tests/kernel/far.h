/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process in a network namespace of its own, behind a veth: for tests whose packets have to come through a NIC.
 * NAME0 is here and 10.98.0.1, NAME1 there and 10.98.0.2.  It has a pipe from the test and one back.
 */
#ifndef FAR_H
#define FAR_H

#include <sched.h>
#include "port.h"

struct far {
	pid_t pid;
	int to, from;
};

/* @there: to be done there, with its ends of the pipes, once far_go() has been said. */
static inline struct far far_make(const char *name, void (*there)(int in, int out))
{
	char line[512], c = 0;
	int in[2], out[2];
	struct far far;

	t_must(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	far.pid = fork();
	t_must(far.pid >= 0);
	if (!far.pid) {
		close(in[1]);
		close(out[0]);
		t_must(!unshare(CLONE_NEWNET) && write(out[1], &c, 1) == 1 && read(in[0], &c, 1) == 1);
		snprintf(line, sizeof(line), "ip addr add 10.98.0.2/24 dev %s1; ip link set %s1 up; "
			 "ethtool -K %s1 tx off > /dev/null", name, name, name);
		t_must(!system(line) && write(out[1], &c, 1) == 1 && read(in[0], &c, 1) == 1);
		there(in[0], out[1]);
		exit(t_end());
	}
	close(in[0]);
	close(out[1]);
	far.to = in[1];
	far.from = out[0];
	t_must(read(far.from, &c, 1) == 1);
	snprintf(line, sizeof(line), "ip link add %s0 type veth peer name %s1 netns %d && ip addr add 10.98.0.1/24 dev %s0 && "
		 "ip link set %s0 up && ethtool -K %s0 tx off > /dev/null", name, name, far.pid, name, name, name);
	t_must(!system(line) && write(far.to, &c, 1) == 1 && read(far.from, &c, 1) == 1);
	return far;
}

/* It may begin, or go on. */
static inline void far_go(const struct far *far)
{
	t_must(write(far->to, "", 1) == 1);
}

/* A socket that connects to @number here. */
static inline int far_connect(uint16_t number)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(number) };
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, "10.98.0.1", &a.sin_addr);
	t_must(s >= 0 && !connect(s, (void *)&a, sizeof(a)));
	return s;
}

/* The same in this process, which stays here. */
static inline int far_connected(const struct far *far, uint16_t number)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there, s;
	char name[64];

	snprintf(name, sizeof(name), "/proc/%d/ns/net", far->pid);
	there = open(name, O_RDONLY | O_CLOEXEC);
	t_must(home >= 0 && there >= 0 && !setns(there, CLONE_NEWNET));
	s = far_connect(number);
	t_must(!setns(home, CLONE_NEWNET));
	close(home);
	close(there);
	return s;
}

/* It has nothing more to do, and has ended well. */
static inline void far_end(const struct far *far)
{
	int status = -1;

	close(far->to);
	t_ok(waitpid(far->pid, &status, 0));
	t_eq(status, 0);
	close(far->from);
}

/* For it, here. */
static inline int far_listen(uint16_t *number)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	t_must(l >= 0 && !bind(l, (void *)&a, len) && !listen(l, 1) && !getsockname(l, (void *)&a, &len));
	*number = ntohs(a.sin_port);
	return l;
}

#endif /* FAR_H */
