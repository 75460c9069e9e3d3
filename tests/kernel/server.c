// SPDX-License-Identifier: BSD-2-Clause
/*
 * server: an application on a stack port that can be told to behave in many ways,
 * for tests/net, whose scripts start it and talk to it by lines.  [not a test]
 *
 *	--port NAME		stack:0
 *	--attach stack:IF	interface to attach
 *	--listen N		TCP port, 7; IPv4 and IPv6
 *	--protocol N		what listens instead of TCP: 262 MPTCP, 132 SCTP
 *	--registered		the listener is registered: connections are accepted by
 *				events and closed by slots
 *	--udp N			UDP port as well, whose datagrams (of one slot) are sent
 *				back in all modes
 *	--tx-slots N --rx-slots N --extra N
 *	--threads N		as many rings, each with a thread, a descriptor and
 *				a listener (SO_REUSEPORT)
 *	--wait poll|select|epoll
 *	--busy			never sleeps in it
 *	--mode MODE		as below
 *	--register-after MS	pause between accept and register
 *	--exclusive
 *	--memory KIND		of ours, see supply.h; --memory-size MB, 128
 *
 * Modes, which may be changed at any time:
 *	echo	received buffers are sent back; those for a client that does not read
 *		are kept while there are spare ones, so that others can go on
 *	copy	the same bytes, copied into slots of random lengths and offsets
 *	keep	received buffers are lent to the echo (NS_PST_KEEP) and kept for a
 *		while; then their content must be what it was
 *	lend	every byte received is answered by VALUE_SIZE bytes of one buffer that
 *		is lent again and again
 *	sink	nothing is sent before the end of stream, then "bytes crc\n"
 *	source	a line "GET bytes\n" is answered by as many, the last four being the
 *		CRC of the others
 *	hold	nothing is released: buffers are kept while there are spare ones for
 *		the slots, then the slots stay
 *	hoard	every slot is released, without its buffer
 *	slow	echo, a slot a millisecond
 *	stall	no call to the port at all
 *
 * The first line on stdout is {"pid": ...}.  Then a line is answered by one:
 *	mode MODE | stats | counters | ends | attach NAME | detach NAME | unlisten | quit
 * {"error": WHY} if that cannot be.  ends: what events of the first thread told since the
 * last time, "eos" and names of errnos.  unlisten closes the listener of a server of one thread.
 *
 * server.h names its parts.
 */
#include <err.h>
#include <getopt.h>
#include <sys/eventfd.h>
#include "server.h"
#include "supply.h"

static const char *const mode_names[] = {
	"echo", "copy", "keep", "lend", "sink", "source", "hold", "hoard", "slow", "stall",
};

struct options o = { .port = "stack:0", .wait = "poll", .listen = 7, .threads = 1, .megabytes = 128 };
struct conn conns[FDS_MAX];
bool *lent;
struct note *notes;

static enum mode mode;
static struct worker *workers;

enum mode current_mode(void)
{
	return __atomic_load_n(&mode, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------ commands */

static void print_stats(void)
{
	struct stats t = { 0 };

#define ADD(f)	t.f += s->f
	for (uint32_t i = 0; i < o.threads; i++) {
		struct worker *w = &workers[i];
		struct stats *s = &w->st;

		s->held = w->held;
		s->kept = w->kept_n;
		s->spare = w->nspare;
		ADD(conns); ADD(accepted); ADD(register_errors); ADD(rx_bytes); ADD(tx_bytes);
		ADD(events); ADD(eos); ADD(congested); ADD(errors); ADD(refused); ADD(refused_fd);
		ADD(refused_pipe); ADD(held); ADD(kept); ADD(spare); ADD(corrupt); ADD(bad_fd);
		ADD(copied_slots); ADD(loops); ADD(low); ADD(lost_buffers);
		if (s->max_batch > t.max_batch)
			t.max_batch = s->max_batch;
	}
#undef ADD
#define P(f)	printf("\"" #f "\": %llu, ", (unsigned long long)t.f)
	putchar('{');
	P(conns); P(accepted); P(register_errors); P(rx_bytes); P(tx_bytes); P(events); P(eos);
	P(congested); P(errors); P(refused); P(refused_fd); P(refused_pipe); P(held); P(kept);
	P(spare); P(corrupt); P(bad_fd); P(max_batch); P(copied_slots); P(loops); P(low);
	P(lost_buffers);
#undef P
	printf("\"mode\": \"%s\", \"per_thread\": [", mode < QUIT ? mode_names[mode] : "quit");
	for (uint32_t i = 0; i < o.threads; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)workers[i].st.rx_bytes);
	printf("]}\n");
}

/* The module's: those of the port, those of the rings added up. */
static int print_counters(void)
{
	struct nmreq_pst_stats st = { 0 };
	uint64_t sum[sizeof(st.counters) / 8] = { 0 };
	size_t i;

	for (uint32_t ring = 0; !ring || ring < st.rings; ring++) {
		const uint64_t *c = (const uint64_t *)&st.counters;

		if (paste_stats(workers[0].p.fd, workers[0].p.name, ring, &st))
			return -1;
		for (i = 0; i < sizeof(sum) / 8; i++)
			sum[i] += c[i];
	}
	putchar('{');
	i = 0;
#define X(name, text)	printf("\"%s\": %llu, ", #name, (unsigned long long)sum[i++]);
	PST_RING_COUNTERS(X)
#undef X
#define X(name, text)	printf("\"%s\": %llu, ", #name, (unsigned long long)st.port.name);
	PST_PORT_COUNTERS(X)
#undef X
	printf("\"rings\": %u}\n", st.rings);
	return 0;
}

static void print_ends(struct worker *w)
{
	printf("{\"ends\": [");
	for (uint32_t i = 0; i < w->nends; i++)
		printf("%s\"%s\"", i ? ", " : "", w->ends[i] ? strerrorname_np(w->ends[i]) : "eos");
	printf("]}\n");
	w->nends = 0;
}

static void set_mode(enum mode m)
{
	__atomic_store_n(&mode, m, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < o.threads; i++)
		eventfd_write(workers[i].kick, 1);
}

/* QUIT if there is none of that name. */
static enum mode mode_of(const char *name)
{
	enum mode m = 0;

	while (m < QUIT && strcmp(name, mode_names[m]))
		m++;
	return m;
}

static int change_mode(const char *name)
{
	enum mode m = mode_of(name);

	if (m == QUIT)
		return -EINVAL;
	set_mode(m);
	return 0;
}

static void command(char *line)
{
	const char *arg = "";
	char *blank = strchr(line, ' ');
	int e;

	if (blank) {
		*blank = '\0';
		arg = blank + 1;
	}
	if (!strcmp(line, "stats"))
		return print_stats();
	if (!strcmp(line, "counters")) {
		if (print_counters())
			printf("{\"error\": \"no counters\"}\n");
		return;
	}
	if (!strcmp(line, "ends"))
		return print_ends(&workers[0]);
	if (!strcmp(line, "mode"))
		e = change_mode(arg);
	else if (!strcmp(line, "attach"))
		e = paste_attach(workers[0].p.fd, arg);
	else if (!strcmp(line, "detach"))
		e = paste_detach(workers[0].p.fd, arg);
	else if (!strcmp(line, "unlisten"))
		e = unlisten(&workers[0]);
	else if (!strcmp(line, "quit"))
		return set_mode(QUIT);
	else
		e = -EINVAL;
	if (e)
		printf("{\"error\": \"%s\"}\n", strerrorname_np(-e));
	else
		printf("{\"ok\": true}\n");
}

/* Lines come from the main thread through a pipe to the first worker: so they are
 * obeyed between two rounds of its loop. */
static int line_pipe[2];

void obey(struct worker *w)
{
	static char text[4096];
	static size_t n;
	eventfd_t value;
	char *end;
	ssize_t r;

	eventfd_read(w->kick, &value);
	if (w->id)
		return;
	while ((r = read(line_pipe[0], text + n, sizeof(text) - n)) > 0) {
		n += (size_t)r;
		while ((end = memchr(text, '\n', n))) {
			*end++ = '\0';
			command(text);
			n -= (size_t)(end - text);
			memmove(text, end, n);
		}
	}
}

static void *read_lines(void *arg)
{
	char data[1024];
	ssize_t n;

	(void)arg;
	while ((n = read(0, data, sizeof(data))) > 0) {
		if (write(line_pipe[1], data, (size_t)n) != n)
			break;
		eventfd_write(workers[0].kick, 1);
	}
	return NULL;
}

/* ------------------------------------------------------------ start and end */

/* The first worker makes the port, in the memory asked for. */
static void open_port(struct worker *w, const struct nmreq_register *want)
{
	struct nmreq_opt_extmem ext = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM,
		.nro_info.nr_memsize = (uint64_t)o.megabytes << 20,
	};
	bool supplied = o.memory && !w->id;

	if (supplied)
		ext.nro_usrptr = (uintptr_t)supply(o.memory, ext.nro_info.nr_memsize);
	if (port_open_with(&w->p, o.port, want, supplied ? &ext : NULL))
		err(1, "%s", o.port);
}

static void worker_open(struct worker *w)
{
	struct nmreq_register want = {
		.nr_tx_slots = o.tx_slots, .nr_rx_slots = o.rx_slots,
		.nr_tx_rings = (uint16_t)o.threads, .nr_rx_rings = (uint16_t)o.threads,
		.nr_extra_bufs = o.extra + 1,
		.nr_flags = o.exclusive ? NR_EXCLUSIVE : 0,
	};
	uint32_t bufs, b;

	if (o.threads > 1) {
		want.nr_mode = NR_REG_ONE_NIC;
		want.nr_ringid = (uint16_t)w->id;
	}
	open_port(w, &want);
	bufs = (uint32_t)(w->p.reg.nr_memsize / w->p.tx->nr_buf_size);
	if (!lent) {
		lent = calloc(bufs, sizeof(*lent));
		notes = calloc(bufs, sizeof(*notes));
	}
	w->spare = calloc(bufs, sizeof(*w->spare));
	w->closed_in = calloc(FDS_MAX, sizeof(*w->closed_in));
	w->closing = calloc(FDS_MAX, sizeof(int));
	w->random = 2463534242u + w->id;
	w->epoll = -1;
	while ((b = paste_buf_pop(w->p.nifp, w->p.rx)))
		w->spare[w->nspare++] = b;
	if (!w->nspare)
		errx(1, "no buffer of our own");
	w->value = w->spare[--w->nspare];
	lent[w->value] = true;
	for (int i = 0; i < VALUE_SIZE; i++)
		NETMAP_BUF(w->p.tx, w->value)[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[i % 36];
	w->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->listener = w->listening = o.listen ? listen_on((uint16_t)o.listen) : -1;
	if (o.registered)
		listen_by_slots(w);
	if (o.udp)
		open_udp(w, (uint16_t)o.udp);
}

/* In order: connections closed, buffers given back. */
static void worker_end(struct worker *w)
{
	for (int fd = 0; fd <= w->max_fd; fd++)
		while (conns[fd].open && conns[fd].worker == w->id && conns[fd].held_first)
			w->spare[w->nspare++] = unhold(w, &conns[fd]);
	while (w->kept_n)
		drop_oldest_kept(w);
	w->spare[w->nspare++] = w->value;
	while (w->nspare)
		paste_buf_push(w->p.nifp, w->p.rx, w->spare[--w->nspare]);
}

static const struct option long_options[] = {
	{ "port", 1, NULL, 'p' }, { "attach", 1, NULL, 'a' }, { "listen", 1, NULL, 'l' },
	{ "tx-slots", 1, NULL, 't' }, { "rx-slots", 1, NULL, 'r' }, { "extra", 1, NULL, 'e' },
	{ "threads", 1, NULL, 'n' }, { "wait", 1, NULL, 'w' }, { "busy", 0, NULL, 'b' },
	{ "mode", 1, NULL, 'm' }, { "register-after", 1, NULL, 'g' }, { "exclusive", 0, NULL, 'x' },
	{ "memory", 1, NULL, 'M' }, { "memory-size", 1, NULL, 'S' },
	{ "registered", 0, NULL, 'R' }, { "udp", 1, NULL, 'u' }, { "protocol", 1, NULL, 'P' },
	{ NULL, 0, NULL, 0 },
};

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		const char *value = optarg ? optarg : "";
		uint32_t n = (uint32_t)strtoul(value, NULL, 0);

		switch (c) {
		case 'p': o.port = optarg; break;
		case 'a': o.attach = optarg; break;
		case 'l': o.listen = n; break;
		case 't': o.tx_slots = n; break;
		case 'r': o.rx_slots = n; break;
		case 'e': o.extra = n; break;
		case 'n': o.threads = n; break;
		case 'w': o.wait = optarg; break;
		case 'b': o.busy = true; break;
		case 'm':
			mode = mode_of(value);
			if (mode == QUIT)
				errx(2, "no mode %s", value);
			break;
		case 'g': o.register_after = n; break;
		case 'x': o.exclusive = true; break;
		case 'M': o.memory = optarg; break;
		case 'S': o.megabytes = n; break;
		case 'R': o.registered = true; break;
		case 'u': o.udp = n; break;
		case 'P': o.protocol = n; break;
		default: exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct rlimit files = { FDS_MAX, FDS_MAX };
	pthread_t reader;
	int e;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(argc, argv);
	crc_init();
	setrlimit(RLIMIT_NOFILE, &files);
	if (pipe2(line_pipe, O_NONBLOCK | O_CLOEXEC))
		err(1, "pipe");
	workers = calloc(o.threads, sizeof(*workers));
	for (uint32_t i = 0; i < o.threads; i++) {
		workers[i].id = i;
		worker_open(&workers[i]);
	}
	e = o.attach ? paste_attach(workers[0].p.fd, o.attach) : 0;
	if (e)
		errx(1, "cannot attach %s: %s", o.attach, strerror(-e));
	printf("{\"pid\": %d, \"tx_slots\": %u, \"rx_slots\": %u, \"rings\": %u, \"extra\": %u, \"mem_id\": %u}\n",
	       getpid(), workers[0].p.reg.nr_tx_slots, workers[0].p.reg.nr_rx_slots,
	       workers[0].p.reg.nr_tx_rings, workers[0].p.reg.nr_extra_bufs, workers[0].p.reg.nr_mem_id);

	for (uint32_t i = 0; i < o.threads; i++)
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	pthread_create(&reader, NULL, read_lines, NULL);
	for (uint32_t i = 0; i < o.threads; i++)
		pthread_join(workers[i].thread, NULL);
	for (uint32_t i = 0; i < o.threads; i++)
		worker_end(&workers[i]);
	print_stats();
	fflush(stdout);
	/* everything else goes with the process */
	_exit(0);
}
