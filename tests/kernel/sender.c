// SPDX-License-Identifier: BSD-2-Clause
/*
 * sender: the peer of a Unix socket is told who sent what came by slots: the process that filled
 * them in, also for what a full socket left over while that process was away.
 *
 * [short]
 */
#include <sys/un.h>
#include "port.h"

#define PIECE	4000

static struct port p;
static char data[PIECE];

/* Reads all there is, at most @max bytes; how many.  All of them have to be from this process. */
static size_t read_all(int peer, size_t max)
{
	static char text[PIECE];
	size_t got = 0;

	for (;;) {
		union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(struct ucred))]; } control;
		struct iovec iov = { text, max - got < PIECE ? max - got : PIECE };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
				      .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(peer, &msg, MSG_DONTWAIT);
		struct ucred cred;

		if (n <= 0)
			return got;
		t_must(CMSG_FIRSTHDR(&msg) && CMSG_FIRSTHDR(&msg)->cmsg_type == SCM_CREDENTIALS);
		memcpy(&cred, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(cred));
		t_eq(cred.pid, getpid());
		t_eq(cred.uid, getuid());
		got += (size_t)n;
	}
}

int main(void)
{
	int s[2], one = 1;
	size_t put = 0, got = 0;

	port_make(&p, "stack:sender", 512, 0);
	t_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	t_must(!setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
	t_ok(port_register(&p, s[0]));
	while (!port_stats(&p).counters.tx_queued) {
		t_must(put < 100 * PIECE);
		port_put(&p, s[0], data, PIECE);
		t_ok(ioctl(p.fd, NIOCTXSYNC));
		put += PIECE;
	}

	t_note("room comes while nobody syncs");
	for (int i = 0; i < 5; i++) {
		got += read_all(s[1], 8 * PIECE);
		usleep(100000 * t_slower());	/* longer than stall_ms */
	}
	t_note("and now we do");
	for (uint64_t end = now_ms() + 5000 * t_slower(); got < put && now_ms() < end; usleep(1000)) {
		got += read_all(s[1], put);
		port_sync(&p);
	}
	t_eq(got, put);
	port_close(&p);
	return t_end();
}
