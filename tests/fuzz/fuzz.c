// SPDX-License-Identifier: BSD-2-Clause
/*
 * fuzz: random use and abuse of the interface, in epochs.
 *
 *	fuzz [--seed N] [--seconds N] [--epochs N] [--epoch N] [--trace]
 *
 * An epoch is one process, the player, which takes some hundreds of steps (fuzz.h names the kinds),
 * with a second thread at work on the shared memory meanwhile, in most epochs. It ends in order, or
 * abruptly, or is killed in the middle. After that this process looks whether all is well:
 *
 *	a port and its socket, an ordinary connection, both untouched by the player, carry bytes as before
 *	the port's buffers are where they were
 *	no process is left that cannot be killed, the module is in use by nobody
 *	the NIC's neighbour is found again and answers
 *
 * and at the end of an epoch in order, the player itself: the buffers of each port add up, none stays
 * with the stack.  The kernel's log is read by who starts us.
 *
 * --seed and --epoch repeat an epoch; --trace tells each step before it is taken.
 */
#include <getopt.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include "fuzz.h"
#include "links.h"

#define STEP_MAX	300
#define ENOUGH_EPOCHS	100	/* for what is rare */
#define EPOCH_MS	(30000 * t_slower())	/* a player that is not through by then is killed */

struct player fz;
struct told *told;
__thread sigjmp_buf *fault_guard;

static struct options {
	uint64_t seed;
	uint32_t seconds, epochs, first;
	bool trace;
} o = { .seconds = 60, .epochs = UINT32_MAX };

void complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(told->complaint, sizeof(told->complaint), fmt, ap);
	va_end(ap);
}

/* ---- the player ---- */

static void on_fault(int number)
{
	if (fault_guard)
		siglongjmp(*fault_guard, 1);
	signal(number, SIG_DFL);
	raise(number);
}

static const struct step *choose(struct rnd *r)
{
	static const struct step *const lists[] = { port_steps, socket_steps, world_steps };
	uint32_t total = 0, n;

	for (uint32_t i = 0; i < 3; i++)
		for (const struct step *s = lists[i]; s->name; s++)
			total += s->weight;
	n = below(r, total);
	for (uint32_t i = 0; i < 3; i++)
		for (const struct step *s = lists[i]; s->name; s++) {
			if (n < s->weight)
				return s;
			n -= s->weight;
		}
	abort();
}

static void prepare(struct rnd *r)
{
	struct sigaction fault = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	char *room;

	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGBUS, &fault, NULL);
	signal(SIGPIPE, SIG_IGN);
	room = mmap(NULL, (2 * HANDLES + 1) * PLACE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	t_must(room != MAP_FAILED);
	for (uint32_t i = 0; i < HANDLES; i++) {
		fz.handle[i] = (struct handle){ .fd = -1, .place = room, .supplied = room + PLACE };
		room += 2 * PLACE;
	}
	arena = mmap(room, ARENA_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	t_must(arena == (void *)room);
	for (uint32_t i = 0; i < SOCKS; i++)
		fz.sock[i] = no_sock;
	fz.epoll = epoll_create1(EPOLL_CLOEXEC);
	t_must(fz.epoll >= 0 &&
	       !socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fz.pipe));
	world_begin(r);
}

/*
 * Is it one of the handles' still?  The kernel closes a socket whose slot says so, and the number
 * may become a port's before the player closes "the socket" itself.
 */
static bool is_handle(int fd, dev_t netmap)
{
	struct stat st;

	for (uint32_t i = 0; i < HANDLES; i++) {
		if (fz.handle[i].fd != fd)
			continue;
		if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == netmap)
			return true;
		fz.handle[i].fd = -1;
	}
	return false;
}

/* Sockets and all else that is no descriptor of a port. */
static void close_the_rest(void)
{
	struct linger abort_it = { 1, 0 };
	struct stat netmap;

	t_must(stat("/dev/netmap", &netmap) == 0);
	for (int fd = 3; fd < 1024; fd++) {
		if (is_handle(fd, netmap.st_rdev))
			continue;
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it));
		close(fd);
	}
}

static void play(uint64_t epoch)
{
	static const uint32_t intensities[] = { 0, 0, 0, 1, 20, 300 };
	struct rnd r = rnd_of(o.seed, epoch, 0);
	uint32_t steps = 20 + below(&r, STEP_MAX);
	bool orderly = once_in(&r, 2);
	uint64_t before;

	told->step = 0;
	prepare(&r);
	ports_begin(&r);
	mangler_start(rnd_of(o.seed, epoch, UINT32_MAX), pick(&r, intensities));
	for (uint32_t i = 1; i <= steps; i++) {
		struct rnd mine = rnd_of(o.seed, epoch, i);
		const struct step *s = choose(&mine);

		snprintf(told->name, sizeof(told->name), "%s", s->name);
		told->step = i;
		before = now_ms();
		if (o.trace)
			printf("%llu.%u %s", (unsigned long long)epoch, i, s->name);
		s->run(&mine);
		if (o.trace)
			printf(" %llu ms\n", (unsigned long long)(now_ms() - before));
	}
	if (!orderly)
		_exit(0);
	strcpy(told->name, "the end");
	mangler_stop();
	helpers_end();
	close_the_rest();
	play_balance();
	_exit(0);
}

/* ---- what the player must not touch ---- */

static struct witness {
	struct port port;
	int sock, peer;		/* registered */
	int left, right;	/* not */
	uint64_t user;		/* buffers of the application */
} witness;

static void witness_begin(void)
{
	port_make(&witness.port, "stack9:witness", 32, 0);
	port_pair(&witness.port, &witness.sock, &witness.peer);
	tcp_pair(&witness.left, &witness.right);
	witness.user = port_stats(&witness.port).port.buf_user;
}

/* In the player: the parent's stays the parent's. */
static void witness_forget(void)
{
	munmap(witness.port.mem, witness.port.size);
	close(witness.port.fd);
	close(witness.sock);
	close(witness.peer);
	close(witness.left);
	close(witness.right);
}

static void witness_look(struct rnd *r)
{
	struct pst_port_counters c;
	uint64_t end = now_ms() + 10000 * t_slower();
	char text[3000], back[sizeof(text)];
	uint16_t n = (uint16_t)(1 + below(r, sizeof(text)));

	memset(text, 'a' + (int)below(r, 26), n);
	t_eq(write(witness.left, text, n), n);
	t_eq(read_n(witness.right, back, n, 5000), n);
	t_true(!memcmp(text, back, n));
	t_eq(write(witness.peer, text, n), n);
	t_eq(port_collect(&witness.port, witness.sock, back, n, 5000), n);
	t_true(!memcmp(text, back, n));
	port_put(&witness.port, witness.sock, text, n);
	port_sync(&witness.port);
	t_eq(read_n(witness.peer, back, n, 5000), n);
	t_true(!memcmp(text, back, n));
	do {
		port_sync(&witness.port);
		c = port_stats(&witness.port).port;
	} while ((c.buf_sent || c.buf_stack) && now_ms() < end);
	t_eq(c.buf_sent + c.buf_stack, 0);
	t_eq(c.buf_user, witness.user);
	t_eq(c.buf_free + c.buf_nic + c.buf_stack + c.buf_user + c.buf_sent, c.buf_total);
}

static void witness_end(void)
{
	close(witness.sock);
	close(witness.peer);
	close(witness.left);
	close(witness.right);
	port_close(&witness.port);
}

/* ---- what must hold afterwards ---- */

static int references(void)
{
	int n = -1;
	FILE *f = fopen("/sys/module/paste/refcnt", "r");

	if (!f || fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

static void nobody_has_the_module(void)
{
	uint64_t end = now_ms() + 15000 * t_slower();

	while (references() != 0 && now_ms() < end)
		usleep(20000);
	t_eq(references(), 0);
}

/* Found by ARP, reached both ways: nobody listens there, and that is the answer. */
static void neighbour_answers(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(1),
				 .sin_addr.s_addr = inet_addr("10.77.0.1") };
	struct timeval patience = { .tv_sec = 3 };

	if (access("/sys/class/net/eth0", F_OK))
		return;
	for (int i = 0; i < 5; i++) {
		int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

		t_must(s >= 0);
		neighbour_forget("eth0", "10.77.0.1");
		setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		err = connect(s, (void *)&a, sizeof(a)) ? errno : 0;
		close(s);
		if (!err || err == ECONNREFUSED)
			return;
	}
	T_FAIL("10.77.0.1 does not answer by eth0");
}

/* Everything the player has started is our child once its parent is gone. */
static bool reap(pid_t group, uint64_t ms)
{
	uint64_t end = now_ms() + ms;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0) {
		if (pid == 0) {
			if (now_ms() > end)
				return false;
			kill(-group, SIGKILL);
			usleep(10000);
		}
	}
	return true;
}

static void tell_stacks(void)
{
	shell("for p in /proc/[0-9]*; do case $(cat $p/comm) in fuzz|sleep|sh|ip|ethtool)"
	      " echo $p $(cat $p/comm) $(grep State $p/status); cat $p/task/*/stack;; esac; done "
	      ">&2 2> /dev/null;"
	      " echo w > /proc/sysrq-trigger");
}

/* Waits for the player; kills it when its time has come. */
static void attend(pid_t player, uint64_t epoch)
{
	struct rnd r = rnd_of(o.seed, epoch, UINT64_MAX - 1);
	uint64_t limit = once_in(&r, 4) ? below(&r, 4000) : EPOCH_MS, now, start = now_ms();
	const char *end = "in order";
	int status;

	while (waitpid(player, &status, WNOHANG) != player) {
		now = now_ms();
		/* the balance takes its time, and is to be heard */
		if (now > start + limit && strcmp(told->name, "the end")) {
			end = "killed";
			kill(player, SIGKILL);
		} else if (now > start + EPOCH_MS + 60000 * t_slower()) {
			T_FAIL("the player hangs in step %u, %s", told->step, told->name);
			tell_stacks();
			kill(player, SIGKILL);
			break;
		}
		usleep(10000);
	}
	if (strcmp(end, "killed") && strcmp(told->name, "the end"))
		end = "abrupt";
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		T_FAIL("the player died of signal %d in step %u, %s", WTERMSIG(status), told->step,
		       told->name);
	if (!reap(player, 20000 * t_slower())) {
		T_FAIL("processes cannot be killed; step %u, %s", told->step, told->name);
		tell_stacks();
	}
	printf("epoch %llu: %u steps, requests %u done %u refused, datagrams %u in %u out %u back, "
	       "%s, %llu ms\n",
	       (unsigned long long)epoch, told->step, told->ok, told->failed, told->datagrams_in,
	       told->datagrams_out, told->datagrams_back, end,
	       (unsigned long long)(now_ms() - start));
}

/* Of all epochs. */
static struct {
	uint32_t epochs;
	uint64_t registered[KINDS], attached, detached, accepted, in, out, back;
} sum;

static void add_up(void)
{
	sum.epochs++;
	for (uint32_t i = 0; i < KINDS; i++)
		sum.registered[i] += told->registered[i];
	sum.attached += told->attached;
	sum.detached += told->detached;
	sum.accepted += told->accepted;
	sum.in += told->datagrams_in;
	sum.out += told->datagrams_out;
	sum.back += told->datagrams_back;
}

/* A fuzzer whose sockets are not registered, whose NICs are not attached, or that has no traffic, finds nothing. */
static void look_at_sum(void)
{
	printf("registered");
	for (uint32_t i = 0; i < KINDS; i++)
		printf(" %s %llu,", sock_kinds[i], (unsigned long long)sum.registered[i]);
	printf(" accepted %llu, attached %llu, detached %llu, datagrams %llu in, %llu out, %llu back\n",
	       (unsigned long long)sum.accepted, (unsigned long long)sum.attached,
	       (unsigned long long)sum.detached, (unsigned long long)sum.in,
	       (unsigned long long)sum.out, (unsigned long long)sum.back);
	if (sum.epochs >= 30)
		t_true(sum.registered[0] && sum.in && sum.out && sum.back && sum.attached);
	if (sum.epochs < ENOUGH_EPOCHS)
		return;
	for (uint32_t i = 0; i < KINDS; i++)
		if (!sum.registered[i])
			T_FAIL("no socket of %s was registered in %u epochs", sock_kinds[i], sum.epochs);
	t_true(sum.detached && sum.accepted);
}

static void run_epoch(uint64_t epoch)
{
	struct rnd r = rnd_of(o.seed, epoch, UINT64_MAX);
	pid_t player;

	t_note("epoch %llu (--seed %#llx --epoch %llu)", (unsigned long long)epoch,
	       (unsigned long long)o.seed, (unsigned long long)epoch);
	memset(told, 0, sizeof(*told));
	witness_begin();
	fflush(stdout);
	player = fork();
	t_must(player >= 0);
	if (!player) {
		setpgid(0, 0);
		witness_forget();
		play(epoch);
	}
	setpgid(player, player);
	attend(player, epoch);
	add_up();
	if (told->complaint[0])
		T_FAIL("%s", told->complaint);
	world_tidy();
	witness_look(&r);
	witness_end();
	nobody_has_the_module();
	neighbour_answers();
}

static void parse(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "seed", 1, NULL, 's' }, { "seconds", 1, NULL, 't' }, { "epochs", 1, NULL, 'n' },
		{ "epoch", 1, NULL, 'e' }, { "trace", 0, NULL, 'x' }, { NULL, 0, NULL, 0 },
	};
	struct timespec ts;
	int c;

	clock_gettime(CLOCK_REALTIME, &ts);
	o.seed = mix64((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec) & 0xffffffff;
	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 's': o.seed = strtoull(optarg, NULL, 0); break;
		case 't': o.seconds = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'n': o.epochs = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'e': o.first = (uint32_t)strtoul(optarg, NULL, 0); o.epochs = 1; break;
		case 'x': o.trace = true; break;
		default: exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	uint64_t end;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(argc, argv);
	if (access("/dev/netmap", F_OK))
		t_skip("no /dev/netmap: the module is not loaded");
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t_must(told != MAP_FAILED);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	world_make();
	printf("seed %#llx\n", (unsigned long long)o.seed);
	end = now_ms() + o.seconds * 1000ull;
	for (uint64_t epoch = o.first; epoch - o.first < o.epochs && now_ms() < end && !t_failures;
	     epoch++)
		run_epoch(epoch);
	look_at_sum();
	world_end();
	return t_end();
}
