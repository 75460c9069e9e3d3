// SPDX-License-Identifier: BSD-2-Clause
/*
 * outlived: a port keeps the network namespace it was made in.  Its last process leaves, and the
 * attached interface still delivers; when the last descriptor goes, so does all of it.
 */
#include <net/if.h>
#include <sched.h>
#include "port.h"

#define SERVICE	9

static void shell(const char *line)
{
	t_must(system(line) == 0);
}

/* A namespace with an interface, whose other end is in ours. */
static void enter_new(void)
{
	char line[300];

	t_must(!unshare(CLONE_NEWNET));
	snprintf(line, sizeof(line), "ip link add inside type veth peer name outside netns %d && "
		 "ip addr add 10.97.0.2/24 dev inside && ip link set inside up && "
		 "ethtool -K inside tx off > /dev/null", getppid());
	shell(line);
}

static int service(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(SERVICE) };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	t_must(s >= 0 && !bind(s, (void *)&a, sizeof(a)));
	return s;
}

static void say(const char *word)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(SERVICE) };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	t_must(s >= 0);
	inet_pton(AF_INET, "10.97.0.2", &a.sin_addr);
	t_eq(sendto(s, word, strlen(word), 0, (void *)&a, sizeof(a)), strlen(word));
	close(s);
}

static bool is_there(void)
{
	return if_nametoindex("outside");
}

int main(void)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), s;
	struct nmreq_pst_stats stats = { .ring = 0 };
	struct netmap_slot *slot;
	struct port p;

	t_must(home >= 0);
	enter_new();
	port_make(&p, "stack:outlived", 64, 0);
	s = service();
	t_ok(port_register(&p, s));
	t_must(!paste_attach(p.fd, "stack:inside"));
	t_must(!setns(home, CLONE_NEWNET));
	shell("ip addr add 10.97.0.1/24 dev outside && ip link set outside up && "
	      "ethtool -K outside tx off > /dev/null");

	t_note("a datagram for a namespace without a process");
	say("hello");
	slot = port_next(&p, 5000);
	t_must(slot && !(slot->flags & NS_PST_EVENT));
	t_eq(slot_len(slot), 5);
	t_true(!memcmp(slot_data(p.rx, slot), "hello", 5));
	t_eq(slot->flags & NS_PST_COPIED, 0);
	paste_rx_release(p.rx);

	t_note("nor a socket: the port alone keeps it");
	close(s);
	usleep(500000);
	t_true(is_there());
	t_fails(ENXIO, port_ioctl(p.fd, NETMAP_REQ_PST_STATS, p.name, &stats));	/* names are the namespace's */

	t_note("the last descriptor takes all of it along");
	port_close(&p);
	for (int tries = 100; is_there() && tries--;)
		usleep(100000 * t_slower());
	t_true(!is_there());
	return t_end();
}
