// SPDX-License-Identifier: BSD-2-Clause
/*
 * pastectl: look at stack ports, attach interfaces to them, make regions.
 *
 * A command is a row of commands[]: a name, a function, its help.  Functions
 * return the exit status: 0, 1 when a request failed (with a sentence on stderr
 * that says why), 2 for wrong usage.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <paste.h>

#include "args.h"
#include "counters.h"
#include "hold.h"
#include "region.h"

enum { DONE = 0, FAILED = 1, USAGE = 2 };

struct command {
	const char *name;
	int (*run)(const struct command *c, int argc, char **argv);
	const char *arguments;
	const char *help;
};

static int usage(const struct command *c, const char *why)
{
	fprintf(stderr, "pastectl %s: %s\nusage: pastectl %s %s\n", c->name, why,
		c->name, c->arguments);
	return USAGE;
}

/* Tell why request @type about @name failed. */
static int fail(uint16_t type, const char *name, int err)
{
	fprintf(stderr, "pastectl: %s: %s\n", name, paste_strerror(type, err));
	return FAILED;
}

static int open_control(void)
{
	int fd = paste_control();

	if (fd < 0)
		fail(0, NETMAP_DEVICE_NAME, fd);
	return fd;
}

/* Number of stack ports, at most 2: none, one or several; or -errno. */
static int count_ports(int fd)
{
	char name[NETMAP_REQ_IFNAMSIZ];
	uint32_t i;
	int err;

	for (i = 0; i < 2; i++) {
		err = paste_list(fd, i, name);
		if (err == -ENOENT)
			break;
		if (err)
			return err;
	}
	return (int)i;
}

/* ---------------------------------------------------------- attach, detach */

static int attach(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "port-id", required_argument, NULL, 'p' },
		{ 0 },
	};
	unsigned long id = 0;
	int fd, o, err, ports;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o != 'p')
			return usage(c, BAD_OPTION);
		if (read_number(optarg, 1, UINT16_MAX, &id))
			return usage(c, "--port-id needs a number from 1 to 65535");
	}
	if (argc - optind != 1)
		return usage(c, "expected one name, such as stack:eth0");

	fd = open_control();
	if (fd < 0)
		return FAILED;
	ports = count_ports(fd);
	if (ports == 0) {
		fprintf(stderr, "pastectl: there is no stack port: start the application that opens one, then attach\n");
		err = -ENXIO;
	} else {
		err = paste_attach_region(fd, argv[optind], (uint16_t)id);
		if (err)
			fail(NETMAP_REQ_PST_ATTACH, argv[optind], err);
	}
	close(fd);
	return err ? FAILED : DONE;
}

static int detach(const struct command *c, int argc, char **argv)
{
	static const struct option none[] = { { 0 } };
	int fd, err;

	if (getopt_long(argc, argv, "", none, NULL) != -1 || argc - optind != 1)
		return usage(c, "expected one name, such as stack:eth0");
	fd = open_control();
	if (fd < 0)
		return FAILED;
	err = paste_detach(fd, argv[optind]);
	if (err)
		fail(NETMAP_REQ_PST_DETACH, argv[optind], err);
	close(fd);
	return err ? FAILED : DONE;
}

/* -------------------------------------------------------------- list, info */

static int list(const struct command *c, int argc, char **argv)
{
	static const struct option none[] = { { 0 } };
	struct nmreq_port_info_get info;
	struct nmreq_pst_stats stats;
	char name[NETMAP_REQ_IFNAMSIZ];
	int fd, err;
	uint32_t i;

	if (getopt_long(argc, argv, "", none, NULL) != -1 || argc != optind)
		return usage(c, "no arguments expected");
	fd = open_control();
	if (fd < 0)
		return FAILED;
	for (i = 0; !(err = paste_list(fd, i, name)); i++) {
		/* A port may be closed between two requests: not an error. */
		if (paste_info(fd, name, &info) ||
		    paste_stats(fd, name, 0, &stats))
			continue;
		printf("%-20s id %u  rings %u  sockets %" PRIu64
		       "  interfaces %" PRIu64 " (%" PRIu64 " zero-copy)\n",
		       name, info.nr_mem_id, stats.rings, stats.port.sockets,
		       stats.port.nics, stats.port.nic_zero_copy);
	}
	close(fd);
	return err == -ENOENT ? DONE : fail(NETMAP_REQ_PST_LIST, "list", err);
}

static int info(const struct command *c, int argc, char **argv)
{
	static const struct option none[] = { { 0 } };
	struct nmreq_port_info_get port;
	struct nmreq_pst_stats stats;
	const char *name;
	int fd, err;
	size_t i;

	if (getopt_long(argc, argv, "", none, NULL) != -1 || argc - optind != 1)
		return usage(c, "expected the name of one port");
	name = argv[optind];
	fd = open_control();
	if (fd < 0)
		return FAILED;
	err = paste_info(fd, name, &port);
	if (err) {
		close(fd);
		return fail(NETMAP_REQ_PORT_INFO_GET, name, err);
	}
	err = paste_stats(fd, name, 0, &stats);
	close(fd);
	if (err)
		return fail(NETMAP_REQ_PST_STATS, name, err);

	printf("%-16s %12u\n", "id", port.nr_mem_id);
	printf("%-16s %12" PRIu64 "  bytes of rings and buffers\n", "memory",
	       port.nr_memsize);
	printf("%-16s %12u  of %u slots\n", "tx rings", port.nr_tx_rings,
	       port.nr_tx_slots);
	printf("%-16s %12u  of %u slots\n", "rx rings", port.nr_rx_rings,
	       port.nr_rx_slots);
	for (i = 0; i < nr_port_counters; i++)
		printf("%-16s %12" PRIu64 "  %s\n", port_counters[i].name,
		       counter_value(&port_counters[i], &stats.port),
		       port_counters[i].meaning);
	return DONE;
}

/* ------------------------------------------------------------------- stats */

#define ALL_RINGS	ULONG_MAX

/* What one look at a port gives. */
struct sample {
	struct pst_ring_counters ring;	/* of one ring or their sum */
	struct pst_port_counters port;
};

static int take_sample(int fd, const char *name, unsigned long ring,
		       struct sample *s)
{
	unsigned long i, first = ring == ALL_RINGS ? 0 : ring, last = first;
	struct nmreq_pst_stats stats;
	int err;

	memset(s, 0, sizeof(*s));
	for (i = first; i <= last; i++) {
		err = paste_stats(fd, name, (uint32_t)i, &stats);
		if (err)
			return err;
		counters_add(&s->ring, &stats.counters);
		s->port = stats.port;
		if (ring == ALL_RINGS && stats.rings)
			last = stats.rings - 1;
	}
	return 0;
}

static void print_counter(const struct counter *c, uint64_t value, int all)
{
	if (all)
		printf("  %-16s %16" PRIu64 "  %s\n", c->name, value, c->meaning);
	else
		printf("  %-16s %16" PRIu64 "\n", c->name, value);
}

/*
 * What moved from @old to @now (everything, with @all).  Ring counters as the
 * difference; high-water marks and the port's gauges, which go up and down, as
 * they are.
 */
static void print_sample(const struct sample *old, const struct sample *now,
			 int all)
{
	uint64_t a, b;
	size_t i;

	for (i = 0; i < nr_ring_counters; i++) {
		const struct counter *c = &ring_counters[i];

		a = counter_value(c, &old->ring);
		b = counter_value(c, &now->ring);
		if (all || a != b)
			print_counter(c, counter_is_max(c) ? b : b - a, all);
	}
	for (i = 0; i < nr_port_counters; i++) {
		const struct counter *c = &port_counters[i];

		a = counter_value(c, &old->port);
		b = counter_value(c, &now->port);
		if (all || a != b)
			print_counter(c, b, all);
	}
}

/* Look once, or with an interval until the port goes away. */
static int watch(int fd, const char *name, unsigned long ring,
		 unsigned long interval, int all)
{
	struct sample old = { 0 }, now;
	int err, looks;

	for (looks = 0;; looks++) {
		err = take_sample(fd, name, ring, &now);
		if (err == -ENXIO && looks)
			return DONE;
		if (err)
			return fail(NETMAP_REQ_PST_STATS, name, err);
		printf("%s\n", name);
		print_sample(&old, &now, all);
		fflush(stdout);
		if (!interval)
			return DONE;
		old = now;
		sleep((unsigned int)interval);
	}
}

static int watch_all(int fd, unsigned long ring, int all)
{
	char name[NETMAP_REQ_IFNAMSIZ];
	int err, status = DONE;
	uint32_t i;

	for (i = 0; !(err = paste_list(fd, i, name)); i++)
		if (watch(fd, name, ring, 0, all))
			status = FAILED;
	if (err != -ENOENT)
		return fail(NETMAP_REQ_PST_LIST, "list", err);
	return status;
}

static int stats(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "ring", required_argument, NULL, 'r' },
		{ "interval", required_argument, NULL, 'i' },
		{ "all", no_argument, NULL, 'a' },
		{ 0 },
	};
	unsigned long ring = ALL_RINGS, interval = 0;
	char only[NETMAP_REQ_IFNAMSIZ];
	const char *name = NULL;
	int all = 0, fd, o, ports, status;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'r':
			if (read_number(optarg, 0, UINT16_MAX, &ring))
				return usage(c, "--ring needs a number");
			break;
		case 'i':
			if (read_number(optarg, 1, 86400, &interval))
				return usage(c, "--interval needs seconds");
			break;
		case 'a':
			all = 1;
			break;
		default:
			return usage(c, BAD_OPTION);
		}
	}
	if (argc - optind > 1)
		return usage(c, "expected one port at most");
	if (optind < argc)
		name = argv[optind];

	fd = open_control();
	if (fd < 0)
		return FAILED;
	if (!name && interval) {
		ports = count_ports(fd);
		if (ports > 1) {
			close(fd);
			return usage(c, "there are several ports: choose one for --interval");
		}
		if (ports == 1 && !paste_list(fd, 0, only))
			name = only;
	}
	status = name ? watch(fd, name, ring, interval, all)
		      : watch_all(fd, ring, all);
	close(fd);
	return status;
}

/* -------------------------------------------------------------------- main */

static int help(const struct command *c, int argc, char **argv);

static int region(const struct command *c, int argc, char **argv)
{
	const char *why;
	int status = region_command(argc - 1, argv + 1, &why);

	return status == USAGE ? usage(c, why) : status;
}

static int hold(const struct command *c, int argc, char **argv)
{
	const char *why;
	int status = hold_command(argc, argv, &why);

	return status == USAGE ? usage(c, why) : status;
}

static const struct command commands[] = {
	{ "attach", attach, "stack:IFNAME [--port-id N]",
	  "Let interface IFNAME deliver into the buffers of a stack port, which an\n"
	  "application must have opened before.\n"
	  "  --port-id N    the port, by the id that 'pastectl list' shows; needed\n"
	  "                 only when the instance has several\n" },
	{ "detach", detach, "stack:IFNAME",
	  "Give interface IFNAME back to the kernel.  Connections go on.\n" },
	{ "hold", hold, "PORT [--interface IFNAME]... [--rings N] [--slots N]",
	  "Open PORT, attach interfaces, and stay until SIGINT or SIGTERM, so that servers\n"
	  "without privileges find the port.  What was attached is detached in the end.\n"
	  "  --interface IFNAME   an interface to attach; may be repeated\n"
	  "  --rings N            rings of each kind, if the port is new (1)\n"
	  "  --slots N            slots of a ring, if the port is new (1024)\n" },
	{ "list", list, "",
	  "Show the stack ports: name, id, rings, sockets, interfaces.\n" },
	{ "info", info, "PORT",
	  "Show sizes of a port and where its buffers are.\n" },
	{ "stats", stats, "[PORT] [--ring N] [--interval S] [--all]",
	  "Show the counters that have moved since the port was opened, of PORT or of\n"
	  "all ports, the rings added up.\n"
	  "  --ring N       of ring N alone\n"
	  "  --interval S   again every S seconds, what moved in between, until the\n"
	  "                 port is closed\n"
	  "  --all          also those that have not moved, with their meaning\n" },
	{ "region", region, "create PATH [--size N] [--log N] [--tree N] [--replace] | show PATH | check PATH",
	  "Make a file or a device-DAX device a region, show what it is made of, or\n"
	  "check its log and tree, without changing them.  See paste-region(5).\n"
	  "  --size N       bytes in all, with K, M, G or T (what log, tree and 16384\n"
	  "                 buffers need); a device has its own\n"
	  "  --log N        bytes for the log (4M)\n"
	  "  --tree N       bytes for the tree (16M)\n"
	  "  --replace      also if there is something already, which is lost\n" },
	{ "help", help, "[COMMAND]", "Show this, or the help of a command.\n" },
};

#define NR_COMMANDS	(sizeof(commands) / sizeof(commands[0]))

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int unknown_command(const char *name)
{
	fprintf(stderr, "pastectl: unknown command '%s'; see pastectl help\n",
		name);
	return USAGE;
}

static int help(const struct command *c, int argc, char **argv)
{
	size_t i;

	if (argc > 2)
		return usage(c, "expected one command at most");
	if (argc == 2) {
		c = find_command(argv[1]);
		if (!c)
			return unknown_command(argv[1]);
		printf("usage: pastectl %s %s\n\n%s", c->name, c->arguments,
		       c->help);
		return DONE;
	}
	printf("usage: pastectl COMMAND ...\n\n");
	for (i = 0; i < NR_COMMANDS; i++)
		printf("  %-7s %s\n", commands[i].name, commands[i].arguments);
	printf("\npastectl COMMAND --help tells more.  Exit status: 0 done, 1 failed, 2 wrong usage.\n");
	return DONE;
}

int main(int argc, char **argv)
{
	static char *no_arguments[] = { "help", NULL };
	const struct command *c = find_command("help");
	int i;

	if (argc < 2) {
		help(c, 1, no_arguments);
		return USAGE;
	}
	if (!strcmp(argv[1], "--help"))
		return help(c, 1, no_arguments);
	c = find_command(argv[1]);
	if (!c)
		return unknown_command(argv[1]);
	for (i = 2; i < argc; i++)
		if (!strcmp(argv[i], "--help")) {
			char *about[] = { "help", argv[1], NULL };

			return help(c, 2, about);
		}
	opterr = 0;
	return c->run(c, argc - 1, argv + 1);
}
