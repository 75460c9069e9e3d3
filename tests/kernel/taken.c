// SPDX-License-Identifier: BSD-2-Clause
/*
 * taken: a socket that a sockmap has is not registered, and one that is registered gets into no
 * sockmap and cannot become a listener; each is free again when the other lets go of it.
 *
 * [short]
 */
#include <linux/bpf.h>
#include <sys/syscall.h>
#include "port.h"

static struct port p;
static int map;

static int bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static void make_map(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_SOCKMAP, .key_size = 4, .value_size = 4, .max_entries = 1,
	};

	map = bpf(BPF_MAP_CREATE, &attr);
	if (map < 0)
		t_skip("this kernel has no sockmaps: %s", strerror(errno));
}

static int put_in_map(int sock)
{
	uint32_t key = 0, value = (uint32_t)sock;
	union bpf_attr attr = {
		.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)&value,
	};

	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

static void empty_map(void)
{
	uint32_t key = 0;
	union bpf_attr attr = { .map_fd = (uint32_t)map, .key = (uintptr_t)&key };

	t_ok(bpf(BPF_MAP_DELETE_ELEM, &attr));
}

/* Bytes come and go by the port. */
static void serves(int sock, int peer)
{
	char got[8];

	t_eq(send(peer, "question", 8, 0), 8);
	t_eq(port_collect(&p, sock, got, 8, 2000), 8);
	t_true(!memcmp(got, "question", 8));
	port_put(&p, sock, "answer", 6);
	port_sync(&p);
	t_eq(read_n(peer, got, 6, 2000), 6);
}

/* One that is connected with @peer. */
static void connected(const char *what, int sock, int peer)
{
	t_note("%s: a sockmap has it", what);
	t_ok(put_in_map(sock));
	t_fails(EBUSY, port_register(&p, sock));
	empty_map();
	t_note("%s: not any more", what);
	if (!t_eq(port_register(&p, sock), 0))
		return;
	serves(sock, peer);
	t_note("%s: the port has it", what);
	for (int i = 0; i < 3; i++)
		t_true(put_in_map(sock) == -1 && (errno == EBUSY || errno == EINVAL));
	serves(sock, peer);
	close(sock);
	close(peer);
}

static void udp_pair(int *sock, int *peer)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
			   b = a;
	socklen_t len = sizeof(a);

	*sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	*peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	t_must(*sock >= 0 && *peer >= 0);
	t_must(!bind(*sock, (void *)&a, len) && !getsockname(*sock, (void *)&a, &len));
	t_must(!bind(*peer, (void *)&b, len) && !getsockname(*peer, (void *)&b, &len));
	t_must(!connect(*sock, (void *)&b, len) && !connect(*peer, (void *)&a, len));
}

static void listener(void)
{
	uint16_t number;
	int l = tcp_listen(AF_INET, &number), peer, fd;
	struct netmap_slot *s;

	t_note("listener: a sockmap has it");
	t_ok(put_in_map(l));
	t_fails(EBUSY, port_register(&p, l));
	empty_map();
	t_note("listener: the port has it");
	t_ok(port_register(&p, l));
	t_true(put_in_map(l) == -1 && (errno == EBUSY || errno == EINVAL));
	peer = tcp_connect(AF_INET, number);
	s = port_next(&p, 2000);
	t_must(s && paste_rx_accepted(p.rx, s));
	fd = s->fd;
	paste_rx_release(p.rx);
	t_true(put_in_map(fd) == -1);
	serves(fd, peer);
	close(fd);
	close(peer);
	close(l);
}

/* Its children would be born with what is ours. */
static void becomes_no_listener(void)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct netmap_slot *s;
	int sock, peer;

	t_note("a registered socket that is to listen");
	port_pair(&p, &sock, &peer);
	t_fails(EINVAL, listen(sock, 5));	/* it is connected */
	t_ok(connect(sock, &none, sizeof(none)));
	t_fails(EINVAL, listen(sock, 5));	/* it is not, but it is the port's */
	s = &p.tx->slot[p.tx->head];
	port_put(&p, sock, "lost", 4);
	port_sync(&p);
	t_true(s->flags & NS_PST_REFUSED);
	while (!nm_ring_empty(p.rx))	/* perhaps an event */
		paste_rx_release(p.rx);
	close(sock);
	close(peer);

	t_note("it may when nobody has it");
	tcp_pair(&sock, &peer);
	t_ok(connect(sock, &none, sizeof(none)));
	t_ok(listen(sock, 5));
	t_ok(port_register(&p, sock));
	close(sock);
	close(peer);
}

int main(void)
{
	int sock, peer, s[2];

	port_make(&p, "stack:taken", 64, 0);
	becomes_no_listener();
	make_map();
	tcp_pair(&sock, &peer);
	connected("TCP", sock, peer);
	udp_pair(&sock, &peer);
	connected("UDP", sock, peer);
	t_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	connected("Unix", s[0], s[1]);
	listener();
	close(map);
	t_true(!port_next(&p, 50));
	port_close(&p);
	return t_end();
}
