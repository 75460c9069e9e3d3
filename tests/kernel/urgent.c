// SPDX-License-Identifier: BSD-2-Clause
/*
 * urgent: urgent data of a registered TCP socket is in line without SO_OOBINLINE: the stream has every
 * byte once and in its place, while the application reads, has paused, has no room, or has not been told
 * of the connection yet; also of what came before the registration and is read after it.
 *
 * [short debug]
 */
#include "port.h"

#define FULL	13	/* slots of 16 that may have data: one stays free, two are for events */

/* What the peer sends: the last byte of what is sent by MSG_OOB is urgent. */
struct part {
	const char *data;
	int flags;
};

struct script {
	const char *what;
	struct part part[5];
	bool marks_twice;	/* an ordinary socket loses the first urgent byte if it is not read before */
};

static const struct script scripts[] = {
	{ "one byte", { { "A", MSG_OOB } }, false },
	{ "two bytes", { { "A", MSG_OOB }, { "B", MSG_OOB } }, true },
	{ "four bytes", { { "A", MSG_OOB }, { "B", MSG_OOB }, { "C", MSG_OOB }, { "D", MSG_OOB } }, true },
	{ "in the middle", { { "abc", 0 }, { "de!", MSG_OOB }, { "fgh", 0 } }, false },
	{ "first, and in the middle", { { "!", MSG_OOB }, { "abc", 0 }, { "d!", MSG_OOB }, { "e", 0 } }, true },
};

static struct port p;

static void say(int peer, const struct part *part)
{
	t_eq(send(peer, part->data, strlen(part->data), part->flags), strlen(part->data));
}

static void say_all(int peer, const struct script *s)
{
	for (const struct part *part = s->part; part->data; part++)
		say(peer, part);
}

/* The stream, and nothing after it. */
static void is_said(const char *got, int n, const struct script *s)
{
	char all[64] = "";
	int len = 0;

	for (const struct part *part = s->part; part->data; part++)
		len += snprintf(all + len, sizeof(all) - (size_t)len, "%s", part->data);
	if (n != len || memcmp(got, all, (size_t)n))
		T_FAIL("the stream is \"%.*s\", expected \"%s\"", n > 0 ? n : 0, got, all);
}

static void arrives(int sock, const struct script *s)
{
	char got[64] = "";

	is_said(got, port_collect(&p, sock, got, sizeof(got), 50), s);
}

static int oob_inline(int sock)
{
	socklen_t len = sizeof(int);
	int on = -1;

	t_ok(getsockopt(sock, SOL_SOCKET, SO_OOBINLINE, &on, &len));
	return on;
}

static void set_oob_inline(int sock, int on)
{
	t_ok(setsockopt(sock, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)));
}

/* Through all that a registered socket may be doing when it comes; @peer is its other end. */
static void while_registered(int sock, int peer, const struct script *s)
{
	t_note("%s, while running, socket %d", s->what, sock);
	say_all(peer, s);
	arrives(sock, s);

	t_note("%s, a sync for each, socket %d", s->what, sock);
	for (const struct part *part = s->part; part->data; part++) {
		say(peer, part);
		port_sync(&p);
	}
	arrives(sock, s);

	t_note("%s, while paused, socket %d", s->what, sock);
	port_tell(&p, sock, NS_PST_PAUSE);
	say_all(peer, s);
	t_true(!port_next(&p, 0));
	port_tell(&p, sock, NS_PST_RESUME);
	arrives(sock, s);
}

/* The application's setting is its own, and on or off changes nothing. */
static void connected(const struct script *s)
{
	int sock, peer;

	port_pair(&p, &sock, &peer);
	t_eq(oob_inline(sock), 0);
	while_registered(sock, peer, s);
	t_eq(oob_inline(sock), 0);
	set_oob_inline(sock, 1);
	while_registered(sock, peer, s);
	set_oob_inline(sock, 0);
	while_registered(sock, peer, s);
	close(sock);
	close(peer);
}

/* Its bytes wait in the socket, for slots that another one has. */
static void without_room(const struct script *s)
{
	uint64_t full = port_stats(&p).counters.rx_full, end = now_ms() + 2000;
	int sock, peer, other, filler;

	t_note("%s, while the ring is full", s->what);
	port_pair(&p, &other, &filler);
	port_pair(&p, &sock, &peer);
	for (uint32_t i = 1; i <= FULL; i++) {	/* each is awaited, or two could share a slot */
		t_must(write(filler, "f", 1) == 1);
		t_must(port_has(&p, i, 2000));
	}
	say_all(peer, s);
	do
		port_sync(&p);
	while (port_stats(&p).counters.rx_full == full && now_ms() < end);
	t_le(full + 1, port_stats(&p).counters.rx_full);
	for (struct netmap_slot *slot; (slot = port_next(&p, 100)) && slot->fd == other;)
		paste_rx_release(p.rx);
	arrives(sock, s);
	close(sock);
	close(peer);
	close(other);
	close(filler);
}

/* Of what came before only the last mark is known: as on any socket, an earlier one has cost its byte. */
static void before_registration(const struct script *s)
{
	int sock, peer;

	t_note("%s, before the registration%s", s->what, s->marks_twice ? ", in line" : "");
	tcp_pair(&sock, &peer);
	if (s->marks_twice)
		set_oob_inline(sock, 1);
	say_all(peer, s);
	t_must(port_register(&p, sock) == 0);
	arrives(sock, s);
	close(sock);
	close(peer);

	t_note("%s, the first before the registration", s->what);
	tcp_pair(&sock, &peer);
	say(peer, &s->part[0]);
	t_must(port_register(&p, sock) == 0);
	for (const struct part *part = s->part + 1; part->data; part++)
		say(peer, part);
	arrives(sock, s);
	close(sock);
	close(peer);
}

/* A connection's first slot; its descriptor. */
static int accepted(void)
{
	struct netmap_slot *s = port_next(&p, 2000);
	int sock;

	t_must(s && paste_rx_accepted(p.rx, s));
	sock = s->fd;
	paste_rx_release(p.rx);
	return sock;
}

/* The listener's own setting is not touched. */
static void before_it_is_accepted(int family, const struct script *s)
{
	uint16_t number;
	int l = tcp_listen(family, &number), peer, sock;

	t_note("%s, before the connection is told of, family %d", s->what, family);
	t_must(port_register(&p, l) == 0);
	t_eq(oob_inline(l), 0);
	peer = tcp_connect(family, number);
	say_all(peer, s);
	sock = accepted();
	arrives(sock, s);
	t_eq(oob_inline(sock), 1);
	while_registered(sock, peer, s);
	set_oob_inline(sock, 0);
	while_registered(sock, peer, s);
	close(sock);
	close(peer);
	close(l);
}

/* By accept() on a registered listener: an ordinary socket, in line as paste(4) says. */
static void by_accept(const struct script *s)
{
	char got[64] = "";
	uint16_t number;
	int l = tcp_listen(AF_INET, &number), peer, sock;

	t_note("%s, accept() on a registered listener", s->what);
	t_must(port_register(&p, l) == 0);
	peer = tcp_connect(AF_INET, number);
	say_all(peer, s);
	sock = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	t_must(sock >= 0);
	t_eq(oob_inline(sock), 1);
	is_said(got, (int)read_n(sock, got, sizeof(got), 50), s);
	close(sock);
	close(peer);
	close(l);
}

/* What waits when the port goes is the ordinary socket's to read, and so is what comes then as it has set. */
static void after_the_port(const struct script *s)
{
	char got[64] = "";
	int sock, peer;

	t_note("%s, the port is closed before it is read", s->what);
	port_make(&p, "stack:urgent", 16, 0);
	port_pair(&p, &sock, &peer);
	port_tell(&p, sock, NS_PST_PAUSE);
	say_all(peer, s);
	t_must(port_arrived(peer));
	port_close(&p);
	is_said(got, (int)read_n(sock, got, sizeof(got), 50), s);
	t_eq(send(peer, "xyz", 3, MSG_OOB), 3);
	t_eq(read_n(sock, got, sizeof(got), 50), 2);
	t_eq(recv(sock, got, 1, MSG_OOB), 1);
	t_eq(got[0], 'z');
	close(sock);
	close(peer);
}

int main(void)
{
	port_make(&p, "stack:urgent", 16, 0);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		connected(&scripts[i]);
		without_room(&scripts[i]);
		before_registration(&scripts[i]);
		before_it_is_accepted(AF_INET, &scripts[i]);
		before_it_is_accepted(AF_INET6, &scripts[i]);
		by_accept(&scripts[i]);
	}
	port_close(&p);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		after_the_port(&scripts[i]);
	return t_end();
}
