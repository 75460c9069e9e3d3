// SPDX-License-Identifier: BSD-2-Clause
/*
 * main.c - options, threads, the last line
 *
 * Exit status: 0 after SIGINT or SIGTERM, 1 if the server could not start or a back end failed, 2
 * for a bad command line.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <paste_pm.h>
#include <paste_region.h>

#include "store.h"
#include "worker.h"

#ifndef PHTTPD_VERSION
#define PHTTPD_VERSION	"0.1"
#endif

#define THREADS_MAX	256
#define PASTE_THREADS_MAX 64	/* rings of a stack port, of which each thread has one */
#define SPARE_FILES	64	/* descriptors besides the connections */
#define SPARE_PER_WORKER 8
#define PLAIN_MEMORY	(256u << 20)	/* bytes of a store without a region */

/* Back ends by name; those that were left out of the build say why. */
static const struct {
	const char *name;
	const struct backend *be;
	const char *missing;
} backends[] = {
	{ .name = "epoll", .be = &backend_epoll },
#ifdef HAVE_URING
	{ .name = "uring", .be = &backend_uring },
#else
	{ .name = "uring", .missing = "built without liburing 2.8 or later" },
#endif
#ifdef HAVE_PASTE
	{ .name = "paste", .be = &backend_paste },
#else
	{ .name = "paste", .missing = "built without it" },
#endif
};

#define NBACKENDS	(sizeof(backends) / sizeof(backends[0]))

enum {
	OPT_MAX_BODY = 256,
	OPT_MAX_CONNECTIONS,
	OPT_IDLE_TIMEOUT,
	OPT_REPLY_SIZE,
	OPT_BUSY_POLL,
	OPT_STORE,
	OPT_REGION,
	OPT_RING,
	OPT_COPY,
	OPT_FENCE_LATENCY,
};

static const struct option long_options[] = {
	{ "backend", required_argument, NULL, 'b' },
	{ "threads", required_argument, NULL, 't' },
	{ "busy-poll", no_argument, NULL, OPT_BUSY_POLL },
	{ "interface", required_argument, NULL, 'i' },
	{ "port", required_argument, NULL, 'p' },
	{ "address", required_argument, NULL, 'a' },
	{ "max-body", required_argument, NULL, OPT_MAX_BODY },
	{ "max-connections", required_argument, NULL, OPT_MAX_CONNECTIONS },
	{ "idle-timeout", required_argument, NULL, OPT_IDLE_TIMEOUT },
	{ "reply-size", required_argument, NULL, OPT_REPLY_SIZE },
	{ "store", required_argument, NULL, OPT_STORE },
	{ "region", required_argument, NULL, OPT_REGION },
	{ "ring", no_argument, NULL, OPT_RING },
	{ "copy", no_argument, NULL, OPT_COPY },
	{ "fence-latency", required_argument, NULL, OPT_FENCE_LATENCY },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 }
};

static const char usage[] =
"usage: phttpd [options]\n"
"  -b, --backend NAME       epoll (default), uring or paste\n"
"  -t, --threads N          threads, each pinned to a CPU (1)\n"
"  -i, --interface NAME     network interface: paste attaches it, threads share its queues\n"
"  -a, --address ADDRESS    IPv4 or IPv6 address to listen on (0.0.0.0)\n"
"  -p, --port N             TCP port (8080; 0: any)\n"
"      --busy-poll          wait by polling, never sleep\n"
"      --reply-size BYTES   body of the answer to GET / (64)\n"
"      --max-body BYTES     largest request body (16M)\n"
"      --max-connections N  connections at a time (10000)\n"
"      --idle-timeout S     seconds without progress until a connection is closed (60; 0: never)\n"
"      --store MODE         none (default), wal: POST is logged, btree: and values by key\n"
"      --region PATH        where the store is; without it, in memory that nothing survives\n"
"      --ring               a full log gives its oldest messages up\n"
"      --copy               paste: copy into the store, do not keep what arrived\n"
"      --fence-latency NS   a fence takes that much longer, to imitate slower memory (0)\n"
"  -h, --help               this text\n"
"  -V, --version            version and back ends\n"
"BYTES may end in K, M or G. See phttpd(1).\n";

static _Noreturn void __attribute__((format(printf, 1, 2))) bad(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("phttpd: ", stderr);
	vfprintf(stderr, format, args);
	fputs("\nTry 'phttpd --help'.\n", stderr);
	va_end(args);
	exit(2);
}

/* A decimal number, with K, M or G if @units. */
static uint64_t number(const char *option, const char *text, uint64_t min, uint64_t max,
		       bool units)
{
	static const char unit[] = "KMG";
	const char *at;
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || errno)
		bad("--%s: '%s' is not a number", option, text);
	if (units && *end && (at = strchr(unit, *end))) {
		unsigned shift = 10 * (at - unit + 1);

		n = n > UINT64_MAX >> shift ? UINT64_MAX : n << shift;
		end++;
	}
	if (*end)
		bad("--%s: '%s' is not a number", option, text);
	if (n < min || n > max)
		bad("--%s: must be from %" PRIu64 " to %" PRIu64, option, min, max);
	return n;
}

static const struct backend *backend(const char *name)
{
	for (size_t i = 0; i < NBACKENDS; i++) {
		if (strcmp(name, backends[i].name))
			continue;
		if (!backends[i].be)
			bad("--backend: %s: %s", name, backends[i].missing);
		return backends[i].be;
	}
	bad("--backend: '%s' is none of epoll, uring, paste", name);
}

static enum store_mode store_mode(const char *name)
{
	static const char *const names[] = { "none", "wal", "btree" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(name, names[i]))
			return (enum store_mode)i;
	}
	bad("--store: '%s' is none of none, wal, btree", name);
}

static void set_address(struct options *opt, const char *address, unsigned port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&opt->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&opt->address;

	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		opt->address_len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		opt->address_len = sizeof(*v6);
	} else {
		bad("--address: '%s' is neither an IPv4 nor an IPv6 address", address);
	}
}

static void show_version(void)
{
	printf("phttpd " PHTTPD_VERSION ", back ends:");
	for (size_t i = 0; i < NBACKENDS; i++) {
		if (backends[i].be)
			printf(" %s", backends[i].name);
	}
	putchar('\n');
}

static void parse(struct options *opt, int argc, char **argv)
{
	const char *address = "0.0.0.0";
	unsigned port = 8080;
	int c;

	*opt = (struct options) {
		.backend = &backend_epoll,
		.http = { .max_body = 16 << 20, .reply_size = 64 },
		.threads = 1,
		.max_connections = 10000,
		.idle_timeout = 60,
	};
	while ((c = getopt_long(argc, argv, "b:t:i:p:a:hV", long_options, NULL)) != -1) {
		switch (c) {
		case 'b':
			opt->backend = backend(optarg);
			break;
		case 't':
			opt->threads = number("threads", optarg, 1, THREADS_MAX, false);
			break;
		case OPT_BUSY_POLL:
			opt->busy_poll = true;
			break;
		case 'i':
			opt->interface = optarg;
			break;
		case 'p':
			port = number("port", optarg, 0, UINT16_MAX, false);
			break;
		case 'a':
			address = optarg;
			break;
		case OPT_MAX_BODY:
			opt->http.max_body = number("max-body", optarg, 0, UINT64_MAX, true);
			break;
		case OPT_MAX_CONNECTIONS:
			opt->max_connections = number("max-connections", optarg, 1, 1 << 20, false);
			break;
		case OPT_IDLE_TIMEOUT:
			opt->idle_timeout = number("idle-timeout", optarg, 0, 86400, false);
			break;
		case OPT_REPLY_SIZE:
			opt->http.reply_size = number("reply-size", optarg, 0, UINT64_MAX, true);
			break;
		case OPT_STORE:
			opt->http.store = store_mode(optarg);
			break;
		case OPT_REGION:
			opt->region = optarg;
			break;
		case OPT_RING:
			opt->ring = true;
			break;
		case OPT_COPY:
			opt->http.copy = true;
			break;
		case OPT_FENCE_LATENCY:
			opt->fence_latency = number("fence-latency", optarg, 0, 1000000, false);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		case 'V':
			show_version();
			exit(0);
		default:
			fputs("Try 'phttpd --help'.\n", stderr);
			exit(2);
		}
	}
	if (optind < argc)
		bad("unexpected argument '%s'", argv[optind]);
	if (opt->threads > PASTE_THREADS_MAX && !strcmp(opt->backend->name, "paste"))
		bad("--backend paste has a ring for each thread, and a stack port %d at most",
		    PASTE_THREADS_MAX);
	if (opt->interface && opt->threads == 1 && strcmp(opt->backend->name, "paste"))
		bad("--interface is for --backend paste, or for several threads");
	if (opt->http.copy && strcmp(opt->backend->name, "paste"))
		bad("--copy is for --backend paste");
	if (!opt->http.store && (opt->region || opt->ring || opt->http.copy || opt->fence_latency))
		bad("--region, --ring, --copy and --fence-latency are for --store wal or btree");
	if (opt->http.store && opt->threads > 1)
		bad("--store is for one thread");
	paste_pm_set_latency(opt->fence_latency);
	set_address(opt, address, port);
}

/* Connections are descriptors: see to it that there may be as many as promised. */
static void raise_file_limit(const struct options *opt)
{
	struct rlimit limit;
	rlim_t want = opt->max_connections + SPARE_FILES +
		      (rlim_t)opt->threads * SPARE_PER_WORKER;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= want)
		return;
	limit.rlim_cur = want;
	if (limit.rlim_max < want) {
		struct rlimit more = { .rlim_cur = want, .rlim_max = want };

		if (!setrlimit(RLIMIT_NOFILE, &more))	/* we may be privileged */
			return;
		limit.rlim_cur = limit.rlim_max;
		fprintf(stderr, "phttpd: warning: the limit of %ju open files allows fewer than "
			"%u connections\n", (uintmax_t)limit.rlim_max, opt->max_connections);
	}
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* With port 0 the first worker's socket decides for the others. */
static void learn_port(struct options *opt, int fd)
{
	socklen_t len = sizeof(opt->address);

	getsockname(fd, (struct sockaddr *)&opt->address, &len);
}

static void announce(const struct options *opt)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&opt->address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&opt->address;
	bool is_v6 = opt->address.ss_family == AF_INET6;
	char text[INET6_ADDRSTRLEN];

	inet_ntop(opt->address.ss_family,
		  is_v6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr,
		  text, sizeof(text));
	printf("phttpd: %s, %u thread%s, listening on %s%s%s:%u\n", opt->backend->name,
	       opt->threads, opt->threads > 1 ? "s" : "", is_v6 ? "[" : "", text,
	       is_v6 ? "]" : "", ntohs(is_v6 ? v6->sin6_port : v4->sin_port));
	fflush(stdout);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	cpu_set_t cpu;

	if (w->cpu >= 0) {
		CPU_ZERO(&cpu);
		CPU_SET(w->cpu, &cpu);
		sched_setaffinity(0, sizeof(cpu), &cpu);
	}
	w->error = w->opt->backend->serve(w);
	if (w->error)
		kill(getpid(), SIGTERM);	/* the others cannot carry on for it */
	return NULL;
}

/* The @n-th CPU we may use, counted around. */
static int nth_cpu(const cpu_set_t *allowed, unsigned n)
{
	n %= CPU_COUNT(allowed);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, allowed) && n-- == 0)
			return cpu;
	}
	return -1;
}

static void sum(struct http_stats *to, const struct http_stats *from)
{
	uint64_t *t = (uint64_t *)to;
	const uint64_t *f = (const uint64_t *)from;

	for (size_t i = 0; i < sizeof(*to) / sizeof(*t); i++)
		t[i] += f[i];
}

static void last_line(const struct http_stats *s)
{
	printf("phttpd: connections %" PRIu64 " requests %" PRIu64 " errors %" PRIu64
	       " bytes_in %" PRIu64 " bytes_out %" PRIu64 " batches %" PRIu64
	       " refused %" PRIu64 " timeouts %" PRIu64 " resets %" PRIu64
	       " starved %" PRIu64 " stored %" PRIu64 " copied %" PRIu64
	       " commits %" PRIu64 " full %" PRIu64 " damaged %" PRIu64 "\n",
	       s->connections, s->requests, s->errors, s->bytes_in, s->bytes_out, s->batches,
	       s->refused, s->timeouts, s->resets, s->starved, s->stored, s->copied,
	       s->commits, s->full, s->damaged);
}

static void add_store(struct http_stats *to, const struct store *store)
{
	struct store_stats s;

	store_stats(store, &s);
	to->stored = s.stored;
	to->copied = s.copied;
	to->commits = s.commits;
	to->full = s.full;
	to->damaged = s.damaged;
}

/*
 * The store.
 */

/* Without --region. */
static int make_memory(struct options *opt)
{
	static const struct paste_region_layout layout = { .size = PLAIN_MEMORY };
	void *mem = mmap(NULL, PLAIN_MEMORY, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	if (mem == MAP_FAILED)
		return worker_fail("memory of the store", errno);
	err = paste_region_format(mem, PLAIN_MEMORY, &layout);
	if (!err)
		err = paste_region_attach(mem, PLAIN_MEMORY, &opt->memory);
	if (err)
		return worker_fail("memory of the store", -err);
	fputs("phttpd: the store is in plain memory: what it keeps dies with the server\n", stderr);
	return 0;
}

static int open_memory(struct options *opt)
{
	int err;

	if (!opt->region)
		return make_memory(opt);
	err = paste_region_open(opt->region, 0, &opt->memory);
	if (err)
		fprintf(stderr, "phttpd: %s: %s\n", opt->region, paste_region_strerror(err));
	else if (!paste_region_is_dax(opt->memory))
		fprintf(stderr, "phttpd: %s: not DAX: what is stored survives the server, not the "
			"system\n", opt->region);
	return err;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int open_store(struct options *opt)
{
	const struct store_config cfg = {
		.values = opt->http.store == STORE_BTREE,
		.ring = opt->ring,
	};
	struct store_stats stats;
	const char *part;
	uint64_t begin;
	int err;

	if (!opt->http.store)
		return 0;
	err = open_memory(opt);
	if (err)
		return err;
	begin = now_us();
	err = store_open(opt->memory, &cfg, &opt->store, &part);
	if (err) {
		fprintf(stderr, "phttpd: %s: %s: %s\n", opt->region ? opt->region : "plain memory",
			part, store_strerror(err));
		return err;
	}
	store_stats(opt->store, &stats);
	if (opt->region)
		fprintf(stderr, "phttpd: %s: %" PRIu64 " values, %" PRIu64 " records in the log, "
			"recovered in %" PRIu64 " us\n",
			opt->region, stats.keys, stats.messages, now_us() - begin);
	return 0;
}

static void close_store(struct options *opt)
{
	store_close(opt->store);
	paste_region_close(opt->memory);
}

/* Blocks the signals that end the server and returns a descriptor that shows them, or -1. */
static int open_stop(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/*
 * Worker 0 is the main thread, so that a server of one thread is a process of one thread: the
 * C library and the kernel's descriptor lookup are cheaper there.
 */
static int serve(struct options *opt, struct worker *workers, int stop_fd)
{
	struct http_stats total = { 0 };
	cpu_set_t allowed;
	unsigned opened, started = 1;
	int status = 0;

	assert(opt->threads);	/* parse() sees to it */
	CPU_ZERO(&allowed);
	sched_getaffinity(0, sizeof(allowed), &allowed);
	for (opened = 0; opened < opt->threads; opened++) {
		struct worker *w = &workers[opened];

		w->opt = opt;
		w->id = opened;
		w->cpu = CPU_COUNT(&allowed) ? nth_cpu(&allowed, opened) : -1;
		w->stop_fd = stop_fd;
		if (worker_open(w)) {
			status = 1;
			goto out;
		}
		if (opened == 0)
			learn_port(opt, w->listen_fd);
	}
	announce(opt);
	for (; started < opt->threads; started++) {
		struct worker *w = &workers[started];
		int err = pthread_create(&w->thread, NULL, work, w);

		if (err) {
			worker_fail("cannot start a thread", err);
			kill(getpid(), SIGTERM);
			status = 1;
			break;
		}
	}
	work(&workers[0]);
	for (unsigned i = 1; i < started; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < started; i++) {
		sum(&total, &workers[i].http.stats);
		if (workers[i].error)
			status = 1;
	}
	if (opt->store)
		add_store(&total, opt->store);
	last_line(&total);
out:
	while (opened--)
		worker_close(&workers[opened]);
	return status;
}

int main(int argc, char **argv)
{
	struct options opt;
	struct worker *workers;
	int stop_fd, status;

	parse(&opt, argc, argv);
	raise_file_limit(&opt);
	stop_fd = open_stop();
	workers = calloc(opt.threads, sizeof(*workers));
	if (stop_fd < 0 || !workers) {
		worker_fail("cannot start", errno);
		free(workers);
		return 1;
	}
	status = open_store(&opt) ? 1 : serve(&opt, workers, stop_fd);
	close_store(&opt);
	free(workers);
	close(stop_fd);
	return status;
}
