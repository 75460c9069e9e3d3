// SPDX-License-Identifier: BSD-2-Clause
/*
 * thief: while a thread attaches and detaches, another one of the process duplicates, polls, closes and
 * replaces every descriptor that is there meanwhile: attaching works or says why not, the kernel survives, and in the end
 * nothing is left, neither of the NIC nor of the port.
 *
 * [cpus=2 queues=4 timeout=90]
 */
#include <pthread.h>
#include <sched.h>
#include "port.h"

#ifndef AF_XDP
#define AF_XDP	44
#endif

#define SECONDS	20
#define NUMBERS	6	/* descriptors that an attach may have at a time */
#define FAR	100	/* where the thief's are */

static struct port p;
static int first;	/* free, and all behind it */
static volatile bool stop;
static volatile unsigned int detached;	/* how often it was begun */
static uint64_t seed, stolen, sockets, replaced;

static uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static bool is_xdp(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_XDP;
}

static void use(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN | POLLOUT };
	char c;

	poll(&pfd, 1, 0);
	recv(fd, &c, 1, MSG_DONTWAIT);
}

/* At some moment while it is let go of, if it comes to that. */
static void until_detaching(uint64_t r)
{
	unsigned int before = detached;

	for (int i = 0; i < 200 && before == detached; i++)
		usleep(1000);
	usleep((useconds_t)(r % 65536));
}

/*
 * A socket is kept while it is used by whose it is, when he has closed it, and for some time longer; or until just
 * when he does.
 */
static void steal(int fd, uint64_t r)
{
	int mine = fcntl(fd, F_DUPFD_CLOEXEC, FAR);

	if (mine < 0)
		return;
	stolen++;
	use(mine);
	if (is_xdp(mine)) {
		sockets++;
		if (r & 8)
			until_detaching(r >> 4);
		else for (int i = 0; i < 20; i++) {
			usleep((useconds_t)(r % 4 * 2000));
			use(mine);
		}
	}
	close(mine);
}

/* By the port's own: who takes it for his holds the port for ever. */
static void replace(int fd, uint64_t r)
{
	if (fcntl(fd, F_GETFD) < 0)
		return;
	replaced += dup2(p.fd, fd) == fd;
	if (r % 2)
		sched_yield();
	close(fd);
}

static void *thief(void *arg)
{
	uint64_t state = seed;

	(void)arg;
	while (!stop) {
		uint64_t r = rnd(&state);
		int fd = first + (int)(r % NUMBERS);

		if (r >> 16 & 127)
			steal(fd, r >> 32);
		else
			replace(fd, r >> 32);
	}
	return NULL;
}

/* Let go of by everybody, which may take a moment. */
static int attached_again(void)
{
	int err = -1;

	for (int i = 0; i < 50 && err; i++) {
		err = paste_attach(p.fd, "stack:eth0");
		if (err)
			usleep(100000);
	}
	return err;
}

int main(int argc, char **argv)
{
	struct nmreq_pst_list list = { 0 };
	uint64_t end, tries = 0, worked = 0;
	struct timespec ts;
	pthread_t t;
	int ctl;

	clock_gettime(CLOCK_REALTIME, &ts);
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)ts.tv_nsec * 2654435761u + 1;
	printf("seed %#llx\n", (unsigned long long)seed);
	fflush(stdout);
	port_make(&p, "stack:thief", 64, 0);
	ctl = open("/dev/netmap", O_RDWR | O_CLOEXEC);
	t_must(ctl >= 0);
	first = dup(ctl);
	t_must(first >= 0 && !close(first));
	t_must(!pthread_create(&t, NULL, thief, NULL));
	for (end = now_ms() + SECONDS * 1000; now_ms() < end; tries++)
		if (!paste_attach(p.fd, "stack:eth0")) {
			worked++;
			detached++;
			t_eq(paste_detach(p.fd, "stack:eth0"), 0);
		}
	stop = true;
	pthread_join(t, NULL);
	printf("%llu attempts, %llu worked; %llu stolen, %llu sockets seen, %llu replaced\n",
	       (unsigned long long)tries, (unsigned long long)worked, (unsigned long long)stolen,
	       (unsigned long long)sockets, (unsigned long long)replaced);
	t_true(tries && stolen && sockets);
	for (int fd = first; fd < first + NUMBERS; fd++)
		t_fails(EBADF, fcntl(fd, F_GETFD));
	t_eq(port_stats(&p).port.buf_nic, 0);
	t_eq(attached_again(), 0);
	t_eq(paste_detach(p.fd, "stack:eth0"), 0);
	t_eq(port_stats(&p).port.buf_nic, 0);
	port_close(&p);
	for (int i = 0; i < 50 && !port_ioctl(ctl, NETMAP_REQ_PST_LIST, "", &list); i++)
		usleep(100000);
	t_fails(ENOENT, port_ioctl(ctl, NETMAP_REQ_PST_LIST, "", &list));
	close(ctl);
	return t_end();
}
