// SPDX-License-Identifier: BSD-2-Clause
/*
 * A port lives as long as a descriptor is bound to it, and attaching takes privileges.
 * So a process that has them and does nothing else opens the port and attaches the
 * interfaces; servers without privileges come and go meanwhile.
 *
 *	open, attach --> READY=1 --> wait for SIGINT or SIGTERM --> detach, close
 *
 * Detaching comes first because a server may keep the port: what was attached by us ends
 * with us.  After SIGKILL it lasts until the last descriptor is closed.
 */
#include <getopt.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <libnetmap.h>
#include <paste.h>

#include "args.h"
#include "hold.h"

enum { NAMES_MAX = 8 };		/* as many as a port takes */

struct held {
	const char *port;
	unsigned long rings, slots;	/* 0: the module's choice */
	const char *interfaces[NAMES_MAX];
	int n;
};

/* sd_notify(3), as much of it as it takes to say that servers may come. */
static void tell_ready(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (!len || len > sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, len);
	if (*path == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&addr,
		   offsetof(struct sockaddr_un, sun_path) + len) < 0)
		perror("pastectl: NOTIFY_SOCKET");
	close(fd);
}

/* NULL, or what is wrong. */
static const char *parse(struct held *h, int argc, char **argv)
{
	static const struct option options[] = {
		{ "interface", required_argument, NULL, 'i' },
		{ "rings", required_argument, NULL, 'r' },
		{ "slots", required_argument, NULL, 's' },
		{ 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'i':
			if (h->n == NAMES_MAX)
				return "too many interfaces";
			h->interfaces[h->n++] = optarg;
			break;
		case 'r':
			if (read_number(optarg, 1, UINT16_MAX, &h->rings))
				return "--rings needs a number from 1";
			break;
		case 's':
			if (read_number(optarg, 1, UINT16_MAX, &h->slots))
				return "--slots needs a number from 1";
			break;
		default:
			return BAD_OPTION;
		}
	}
	if (argc - optind != 1)
		return "expected a port, such as stack:0";
	h->port = argv[optind];
	return NULL;
}

/* Is the module there?  The library's words about a port that cannot be opened do not say what to do. */
static int look_for_module(void)
{
	int fd = paste_control();

	if (fd < 0)
		fprintf(stderr, "pastectl: %s: %s\n", NETMAP_DEVICE_NAME, paste_strerror(0, fd));
	else
		close(fd);
	return fd;
}

/* The descriptor has no ring of its own, so that servers can have theirs exclusively. */
static struct nmport_d *open_port(const struct held *h)
{
	struct nmport_d *d = look_for_module() < 0 ? NULL : nmport_prepare(h->port);

	if (!d)
		return NULL;
	d->reg.nr_tx_rings = d->reg.nr_rx_rings = (uint16_t)h->rings;
	d->reg.nr_tx_slots = d->reg.nr_rx_slots = (uint32_t)h->slots;
	d->reg.nr_flags |= NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY;
	if (!nmport_register(d))
		return d;
	nmport_close(d);
	return NULL;
}

/* "stack:eth0", of the instance that the port is of. */
static void name_interface(const struct held *h, int i, char name[NETMAP_REQ_IFNAMSIZ])
{
	snprintf(name, NETMAP_REQ_IFNAMSIZ, "%.*s:%s", (int)strcspn(h->port, ":"), h->port,
		 h->interfaces[i]);
}

/* The first @n, which we have attached.  An interface that has gone is detached already. */
static void detach(const struct held *h, int fd, int n)
{
	char name[NETMAP_REQ_IFNAMSIZ];

	while (n--) {
		name_interface(h, n, name);
		paste_detach(fd, name);
	}
}

/* All or none. */
static int attach_all(const struct held *h, int fd)
{
	char name[NETMAP_REQ_IFNAMSIZ];
	int i, err;

	for (i = 0; i < h->n; i++) {
		name_interface(h, i, name);
		err = paste_attach(fd, name);
		if (err) {
			fprintf(stderr, "pastectl: %s: %s\n", name,
				paste_strerror(NETMAP_REQ_PST_ATTACH, err));
			detach(h, fd, i);
			return err;
		}
	}
	return 0;
}

int hold_command(int argc, char **argv, const char **why)
{
	struct held h = { 0 };
	struct nmport_d *d;
	sigset_t ends;
	int signal, err;

	*why = parse(&h, argc, argv);
	if (*why)
		return 2;
	/* Blocked before there is something to detach. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	d = open_port(&h);
	if (!d)
		return 1;
	err = attach_all(&h, d->fd);
	if (!err) {
		tell_ready();
		sigwait(&ends, &signal);
		detach(&h, d->fd, h.n);
	}
	nmport_close(d);
	return err ? 1 : 0;
}
