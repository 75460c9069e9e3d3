// SPDX-License-Identifier: BSD-2-Clause
/*
 * pollonly: a server of short connections needs no system call but poll(): one that may make no
 * other accepts, reads, answers and closes.
 *
 * [short]
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "port.h"

#define CONNECTIONS	100

static struct port p;

/* Any other system call kills the process. */
static void nothing_but_poll(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_poll, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	t_must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

/* What has arrived goes back, and the connection is closed behind it. */
static void answer(const struct netmap_slot *in)
{
	struct netmap_slot *out = &p.tx->slot[p.tx->head];
	uint16_t len = (uint16_t)slot_len(in);

	memcpy(NETMAP_BUF(p.tx, out->buf_idx), slot_data(p.rx, in), len);
	out->fd = in->fd;
	out->offset = 0;
	out->len = len;
	out->flags = NS_PST_CLOSE;
	p.tx->head = p.tx->cur = nm_ring_next(p.tx, p.tx->head);
}

static void serve(void)
{
	struct pollfd poll_for = { .fd = p.fd, .events = POLLIN };
	int answered = 0;

	nothing_but_poll();
	while (answered < CONNECTIONS) {
		if (poll(&poll_for, 1, 5000) != 1)
			_exit(1);
		while (!nm_ring_empty(p.rx) && !nm_ring_empty(p.tx)) {
			const struct netmap_slot *in = &p.rx->slot[p.rx->head];

			if (!(in->flags & NS_PST_EVENT)) {
				answer(in);
				answered++;
			}
			p.rx->head = p.rx->cur = nm_ring_next(p.rx, p.rx->head);
		}
		poll_for.events = nm_ring_empty(p.tx) ? POLLIN | POLLOUT : POLLIN;
	}
	poll(&poll_for, 1, 0);	/* the last answers leave, and their connections are closed */
	_exit(0);
}

int main(void)
{
	uint16_t number;
	int l = tcp_listen(AF_INET, &number), status;
	pid_t server = fork();

	if (!server) {
		port_make(&p, "stack:pollonly", 64, 0);
		t_must(!port_register(&p, l));
		serve();
	}
	close(l);
	for (int i = 0; i < CONNECTIONS; i++) {
		int s = tcp_connect(AF_INET, number);
		char back[16];

		t_must(write(s, "question", 8) == 8);
		t_eq(read_n(s, back, sizeof(back), 5000), 8);	/* and the end */
		t_true(!memcmp(back, "question", 8));
		close(s);
	}
	t_must(waitpid(server, &status, 0) == server);
	t_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return t_end();
}
