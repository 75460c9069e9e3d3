// SPDX-License-Identifier: BSD-2-Clause
/*
 * init.c - the guest's process 1: boots the lab's root and then runs commands for the host.
 *
 * It lies alone in the initramfs: loads the modules found in /modules (in name order), puts a tmpfs over the read-only
 * root image, takes /paste along and moves in. Then it is the agent at the end of a virtio-serial port, so that running
 * commands does not depend on the network under test.
 *
 * Frames, both ways: struct frame, then `length` bytes. Every command has an id chosen by the host. The host sends
 * RUN (cwd NUL argv0 NUL argv1 NUL ...), INPUT (nothing means end of file), SIGNAL (one byte, to the process group);
 * the guest sends READY once, then OUTPUT, ERROR and at last EXIT (32-bit wait status). A process left behind by a
 * command keeps running; what it writes to the command's pipes afterwards is dropped.
 *
 * In the environment, that is, as kernel parameters: lab_tools, a device with a layer for the root; lab_init, a program
 * to be process 1 once the root is entered.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READY, RUN, INPUT, SIGNAL, OUTPUT, ERROR, EXIT };

struct frame {
	uint32_t id;
	uint32_t type;
	uint32_t length;
};

enum { PAYLOAD_MAX = 65536, COMMANDS_MAX = 64, ARGS_MAX = 1024, CONSOLE_VERBOSE = 7 };

/* A command; `id` is 0 once its EXIT is sent, and the entry is free when its pipes are closed as well. */
struct command {
	uint32_t id;
	pid_t pid;
	int in, out, err;	/* our ends of its pipes, or -1 */
	char *input;		/* what it has not read yet */
	size_t input_length;
	int input_ended;
};

static struct command commands[COMMANDS_MAX];
static int port;
static sigset_t original_signals;

static void fail(const char *what)
{
	fprintf(stderr, "lab init: %s: %s\n", what, strerror(errno));
	exit(1);	/* the kernel panics, and so the VM ends */
}

/* ---- boot ---- */

static void mount_or_fail(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
	mkdir(target, 0755);
	if (mount(source, target, type, flags, data))
		fail(target);
}

static int is_module(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void load_modules(void)
{
	struct dirent **names;
	int n = scandir("/modules", &names, is_module, alphasort);

	if (n < 0 || chdir("/modules"))
		fail("/modules");
	for (int i = 0; i < n; i++) {
		int fd = open(names[i]->d_name, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			fail(names[i]->d_name);
		close(fd);
	}
}

/* Devices are found asynchronously; the host bounds the whole boot. */
static void wait_for(const char *path)
{
	while (access(path, F_OK))
		usleep(5000);
}

/* The host's words for us: kernel parameters that the kernel does not know. */
static const char *tools, *other_init;

/* A kernel without modules says so to modprobe with files of its own, which the image has not. */
static void show_builtin(void)
{
	char path[128];
	struct utsname name;

	if (access("/builtin", F_OK))
		return;
	uname(&name);
	snprintf(path, sizeof(path), "/root/lib/modules/%s", name.release);
	mount_or_fail("/builtin", path, NULL, MS_BIND, NULL);
}

static void enter_root(void)
{
	const char *layers = "lowerdir=/image,upperdir=/changes/upper,workdir=/changes/work";

	wait_for("/dev/vda");
	mount_or_fail("/dev/vda", "/image", "ext4", MS_RDONLY, NULL);
	if (tools) {
		wait_for(tools);
		mount_or_fail(tools, "/tools", "ext4", MS_RDONLY, NULL);
		layers = "lowerdir=/tools:/image,upperdir=/changes/upper,workdir=/changes/work";
	}
	mount_or_fail("tmpfs", "/changes", "tmpfs", 0, "size=75%");
	mkdir("/changes/upper", 0755);
	mkdir("/changes/work", 0755);
	mount_or_fail("overlay", "/root", "overlay", 0, layers);
	mount_or_fail("/paste", "/root/paste", NULL, MS_BIND, NULL);
	show_builtin();
	mount_or_fail("/dev", "/root/dev", NULL, MS_MOVE, NULL);
	if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot("."))
		fail("entering the root");
	mount_or_fail("proc", "/proc", "proc", 0, NULL);
	mount_or_fail("sysfs", "/sys", "sysfs", 0, NULL);
	mount_or_fail("bpf", "/sys/fs/bpf", "bpf", 0, NULL);
	mount_or_fail("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	mount_or_fail("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	mount_or_fail("tmpfs", "/tmp", "tmpfs", 0, NULL);
	mount_or_fail("tmpfs", "/run", "tmpfs", 0, NULL);
	mount_or_fail("tmpfs", "/dev/shm", "tmpfs", 0, NULL);
	mount_or_fail("devpts", "/dev/pts", "devpts", 0, NULL);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
}

/*
 * Process 1 becomes another init and the agent a child of it, which systemd spares when it
 * boots user space anew: that is what an @ in front means to it.
 */
static void start_other_init(void)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork");
	if (child > 0) {
		execl(other_init, other_init, NULL);
		fail(other_init);
	}
	*program_invocation_name = '@';
}

/* ---- agent ---- */

/* The port's name holds the index of its virtio device, which depends on what else the machine has. */
static int open_port(void)
{
	glob_t found;
	int fd;

	while (glob("/dev/vport*p1", 0, NULL, &found))
		usleep(5000);
	fd = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail("port");
	globfree(&found);
	return fd;
}

static void write_all(const void *data, size_t length)
{
	while (length) {
		ssize_t n = write(port, data, length);

		if (n < 0 && errno != EINTR)
			fail("port");
		if (n > 0) {
			data = (const char *)data + n;
			length -= n;
		}
	}
}

static void read_all(void *data, size_t length)
{
	while (length) {
		ssize_t n = read(port, data, length);

		if (n < 0 && errno != EINTR)
			fail("port");
		if (n == 0)
			usleep(10000);	/* the host is away */
		if (n > 0) {
			data = (char *)data + n;
			length -= n;
		}
	}
}

static void send_frame(uint32_t id, uint32_t type, const void *data, uint32_t length)
{
	struct frame frame = { id, type, length };

	write_all(&frame, sizeof(frame));
	write_all(data, length);
}

static void close_pipe(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int is_free(const struct command *c)
{
	return !c->id && c->out < 0 && c->err < 0;
}

static struct command *find_command(uint32_t id)
{
	for (int i = 0; i < COMMANDS_MAX; i++)
		if (commands[i].id == id)
			return &commands[i];
	return NULL;
}

static struct command *free_command(void)
{
	for (int i = 0; i < COMMANDS_MAX; i++)
		if (is_free(&commands[i]))
			return &commands[i];
	return NULL;
}

/* Ends a command for the host; its output pipes stay open, for a process it left behind. */
static void finish(struct command *c, uint32_t wait_status)
{
	send_frame(c->id, EXIT, &wait_status, sizeof(wait_status));
	c->id = 0;
	close_pipe(&c->in);
	free(c->input);
	c->input = NULL;
	c->input_length = 0;
}

static void run_child(int in, int out, int err, const char *cwd, char **argv)
{
	sigprocmask(SIG_SETMASK, &original_signals, NULL);
	setsid();
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	if (chdir(cwd))
		fprintf(stderr, "%s: %s\n", cwd, strerror(errno));
	else
		execvp(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void start(uint32_t id, char *data, size_t length)
{
	struct command *c = free_command();
	char *argv[ARGS_MAX + 1];
	int in[2], out[2], err[2], argc = 0;
	uint32_t refused = 126 << 8;

	for (char *p = data + strlen(data) + 1; p < data + length && argc < ARGS_MAX; p += strlen(p) + 1)
		argv[argc++] = p;
	argv[argc] = NULL;
	if (!c || !argc || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) {
		send_frame(id, EXIT, &refused, sizeof(refused));
		return;
	}
	*c = (struct command){ .id = id, .in = in[1], .out = out[0], .err = err[0] };
	fcntl(c->in, F_SETFL, O_NONBLOCK);
	fcntl(c->out, F_SETFL, O_NONBLOCK);
	fcntl(c->err, F_SETFL, O_NONBLOCK);
	c->pid = fork();
	if (c->pid == 0)
		run_child(in[0], out[1], err[1], data, argv);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	if (c->pid < 0)
		finish(c, refused);
}

static void feed(struct command *c)
{
	ssize_t n = write(c->in, c->input, c->input_length);

	if (n < 0 && errno != EAGAIN) {
		c->input_length = 0;
		close_pipe(&c->in);
	}
	if (n > 0) {
		c->input_length -= n;
		memmove(c->input, c->input + n, c->input_length);
	}
	if (!c->input_length && c->input_ended)
		close_pipe(&c->in);
}

static void add_input(struct command *c, const char *data, size_t length)
{
	char *input;

	c->input_ended |= !length;
	if (c->in < 0)
		return;
	input = realloc(c->input, c->input_length + length + 1);
	if (!input)
		fail("input");
	c->input = input;
	memcpy(c->input + c->input_length, data, length);
	c->input_length += length;
	feed(c);
}

static void obey_host(void)
{
	static char data[PAYLOAD_MAX + 1];
	struct frame frame;
	struct command *c;

	read_all(&frame, sizeof(frame));
	if (frame.length > PAYLOAD_MAX)
		fail("frame too long");
	read_all(data, frame.length);
	data[frame.length] = '\0';
	c = find_command(frame.id);
	if (frame.type == RUN)
		start(frame.id, data, frame.length);
	else if (c && frame.type == INPUT)
		add_input(c, data, frame.length);
	else if (c && frame.type == SIGNAL)
		kill(-c->pid, data[0]);
}

/* Passes on what is in the pipe; returns whether there may be more. */
static int drain(struct command *c, int *fd, uint32_t type)
{
	static char data[PAYLOAD_MAX];
	ssize_t n;

	if (*fd < 0)
		return 0;
	n = read(*fd, data, sizeof(data));
	if (n > 0 && c->id)
		send_frame(c->id, type, data, n);
	if (n == 0)
		close_pipe(fd);
	return n > 0;
}

static void reap(int signals)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	if (read(signals, &info, sizeof(info)) < 0)
		return;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < COMMANDS_MAX; i++) {
			struct command *c = &commands[i];

			if (!c->id || c->pid != pid)
				continue;
			while (drain(c, &c->out, OUTPUT))
				;
			while (drain(c, &c->err, ERROR))
				;
			finish(c, status);
		}
	}
}

static void serve(int signals)
{
	struct pollfd fds[2 + 3 * COMMANDS_MAX];

	fds[0] = (struct pollfd){ .fd = port, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = signals, .events = POLLIN };
	for (;;) {
		for (int i = 0; i < COMMANDS_MAX; i++) {
			struct command *c = &commands[i];
			struct pollfd *p = &fds[2 + 3 * i];

			p[0] = (struct pollfd){ .fd = c->input_length ? c->in : -1, .events = POLLOUT };
			p[1] = (struct pollfd){ .fd = c->out, .events = POLLIN };
			p[2] = (struct pollfd){ .fd = c->err, .events = POLLIN };
		}
		if (poll(fds, sizeof(fds) / sizeof(*fds), -1) < 0)
			continue;
		for (int i = 0; i < COMMANDS_MAX; i++) {
			struct command *c = &commands[i];
			struct pollfd *p = &fds[2 + 3 * i];

			if (p[0].revents)
				feed(c);
			if (p[1].revents)
				drain(c, &c->out, OUTPUT);
			if (p[2].revents)
				drain(c, &c->err, ERROR);
		}
		if (fds[1].revents)
			reap(signals);
		if (fds[0].revents)
			obey_host();
	}
}

int main(void)
{
	sigset_t chld;
	int signals;

	tools = getenv("lab_tools");
	other_init = getenv("lab_init");
	sethostname("paste", strlen("paste"));
	mount_or_fail("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	load_modules();
	enter_root();
	if (other_init)
		start_other_init();

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &original_signals);
	signal(SIGPIPE, SIG_IGN);
	signals = signalfd(-1, &chld, SFD_CLOEXEC);
	for (int i = 0; i < COMMANDS_MAX; i++)
		commands[i].in = commands[i].out = commands[i].err = -1;
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("LC_ALL", "C.UTF-8", 1);

	port = open_port();
	klogctl(8, NULL, CONSOLE_VERBOSE);	/* boot was quiet, for speed */
	send_frame(0, READY, NULL, 0);
	serve(signals);
}
