// SPDX-License-Identifier: BSD-2-Clause
/*
 * listeners: a port that has many of them is closed at once, for they go together: one by one each would take a grace
 * period, and there are none to wait for with one CPU.
 *
 * [cpus=2]
 */
#include "port.h"

#define LISTENERS	150

static int l[LISTENERS];

/* A port with @n listeners: how long closing it takes, in ms. */
static uint64_t closing_takes(int n)
{
	uint64_t start;
	uint16_t number;
	struct port p;

	port_make(&p, "stack:many", 64, 0);
	for (int i = 0; i < n; i++) {
		l[i] = tcp_listen(AF_INET, &number);
		t_must(!port_register(&p, l[i]));
	}
	start = now_ms();
	port_close(&p);
	start = now_ms() - start;
	for (int i = 0; i < n; i++) {
		char ulp[16];
		socklen_t len = sizeof(ulp);

		t_ok(getsockopt(l[i], SOL_TCP, TCP_ULP, ulp, &len));
		t_eq(len, 0);	/* an ordinary one */
		close(l[i]);
	}
	return start;
}

int main(void)
{
	uint64_t one = closing_takes(1);

	t_le(closing_takes(LISTENERS), 20 * one + 300 * (uint64_t)t_slower());
	return t_end();
}
