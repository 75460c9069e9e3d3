"""phttpd: each of its back ends passes the server's own end-to-end tests, in the guest over loopback, some through eth0, and
with several threads."""

import contextlib
import os
import random
import re
import signal
import sys
import time

import t

sys.path.append(os.path.join(t.TOP, "apps", "phttpd"))
import selftest_http as own  # noqa: E402

THROUGH_NIC = ("request_answer_and_pipeline", "single_bytes", "errors", "large_bodies", "ends_of_connections")


def selftest(backend, *options, count=27):
    _, output = t.guest().status("sh", "-c", "ulimit -n 100000; exec python3 apps/phttpd/selftest.py --backend %s %s"
                                 " apps/phttpd/phttpd" % (backend, " ".join(options)), timeout=350)
    print(output)
    results = [line for line in output.splitlines() if line.startswith(("ok ", "not ok "))]
    bad = [line for line in results if line.startswith("not ok ")]
    t.true(not bad, "\n".join(bad))
    t.ge(len(results), count, "tests run")


# [timeout=360]
def test_paste():
    """Slots of a stack port: pipelining, cut requests, large bodies and replies, slow readers, limits, errors."""
    selftest("paste")


# [timeout=360]
def test_paste_copy():
    """The store with --copy: values go in and out as over sockets."""
    selftest("paste", "--store-option=--copy", "--only", "store", count=9)


# [timeout=360]
def test_epoll():
    """The same over epoll."""
    selftest("epoll")


# [timeout=360]
def test_uring():
    """The same over io_uring."""
    selftest("uring")


# [short]
def test_uring_refused():
    """A client too many sees its end at once, also from kernels whose io_uring keeps the file for longer."""
    selftest("uring", "--only", "limit_of_connections", count=1)


class InGuest(own.Server):
    """What those tests start, here: phttpd in the guest, reached through eth0."""

    backend = None
    more = ()

    def __enter__(self):
        self.process = t.guest().start("apps/phttpd/phttpd", "-b", self.backend, "-a", "0.0.0.0", "-p", 0,
                                       *self.more, *self.options)
        self.port = int(self.process.readline().rsplit(":", 1)[1])
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind:
                return
            self.process.signal(signal.SIGTERM)
            t.eq(self.process.wait(), 0, "status of the server")
            words = self.process.out.decode().split()[1:]
            self.counters = {k: int(v) for k, v in zip(words[::2], words[1::2])}
        finally:
            self.process.kill()

    def connect(self, receive_buffer=None):
        return t.connect(port=self.port, seconds=20, rcvbuf=receive_buffer or 0)

    def cpu_time(self):
        """Of the server, and in all that the guest was given, idle or not: on a busy machine that is less than has passed."""
        stat, total = t.guest().sh("cat /proc/$(pgrep -x phttpd)/stat; grep '^cpu ' /proc/stat").splitlines()
        fields = stat.rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12]), sum(map(int, total.split()[1:9]))


def through_nic(backend, *options):
    """Its own tests; then, in a second without requests, it sleeps, or it does not."""
    own.Server, InGuest.backend, InGuest.more = InGuest, backend, options
    for name in THROUGH_NIC:
        print(name, flush=True)
        getattr(own, name)()
    with InGuest() as server, server.connect() as s:
        s.sendall(own.GET)
        t.eq(own.Answers(s).next()[0], 200, "status")
        for _ in range(5):      # the guest may be busy with other things
            before = server.cpu_time()
            time.sleep(1)
            spent, total = (now - then for now, then in zip(server.cpu_time(), before))
            if (spent > total / 4) == ("--busy-poll" in options):
                return
    raise t.Failure("CPU time while idle: %d of %d ticks" % (spent, total))


# [short]
def test_nic_paste():
    """Requests of all kinds through eth0: slots of a stack port, the interface attached."""
    through_nic("paste", "--interface", "eth0")


# [short]
def test_nic_epoll():
    """The same over epoll."""
    through_nic("epoll")


# [short]
def test_nic_uring():
    """The same over io_uring."""
    through_nic("uring")


# [short]
def test_busy_paste():
    """Slots of a stack port, through eth0, without sleeping."""
    through_nic("paste", "--interface", "eth0", "--busy-poll")


# [short]
def test_busy_epoll():
    """The same over epoll."""
    through_nic("epoll", "--busy-poll")


# [short]
def test_busy_uring():
    """The same over io_uring."""
    through_nic("uring", "--busy-poll")


# [timeout=360 cpus=2 queues=2]
def test_paste_threads():
    """Two threads with a ring each pass the same, but for the store."""
    selftest("paste", "--threads", "2", count=18)


# [timeout=360 cpus=2 queues=2]
def test_epoll_threads():
    """The same over epoll."""
    selftest("epoll", "--threads", "2", count=18)


# [timeout=360 cpus=2 queues=2]
def test_uring_threads():
    """The same over io_uring."""
    selftest("uring", "--threads", "2", count=18)


PORT = 8080
BACKENDS = "epoll", "uring", "paste"


def test_file_limit():
    """Started where 64 files may be open, each back end raises the limit and serves 150 connections at once."""
    for backend in BACKENDS:
        server = t.guest().start("sh", "-c", "ulimit -Sn 64; exec apps/phttpd/phttpd -b %s -p %d --max-connections 200" %
                                 (backend, PORT))
        try:
            server.readline()
            socks = [t.connect(port=PORT) for _ in range(150)]
            for s in socks:
                s.sendall(own.GET)
            for i, s in enumerate(socks):
                t.eq(own.Answers(s).next()[0], 200, "%s: status of the answer on connection %d" % (backend, i))
            for s in socks:
                s.close()
            server.signal(signal.SIGTERM)
            t.eq(server.wait(), 0, "status of " + backend)
        finally:
            server.kill()


def cpus_of_threads():
    return sorted(t.guest().sh("""
        for task in /proc/$(pgrep -x phttpd)/task/*; do
            ! grep -qx phttpd $task/comm || sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' $task/status
        done""").split())


# [cpus=2 queues=2]
def test_own_cpu():
    """Two threads run on a CPU each, with each back end."""
    for backend in BACKENDS:
        server = t.guest().start("apps/phttpd/phttpd", "-b", backend, "-p", PORT, "--threads", 2)
        try:
            server.readline()
            with contextlib.suppress(t.Failure):
                t.wait_for(lambda: cpus_of_threads() == ["0", "1"], "each has its own", 5)
            t.eq(cpus_of_threads(), ["0", "1"], "CPUs of the threads of " + backend)
        finally:
            server.kill()


REPLY = re.compile(rb"HTTP/1\.1 200 OK\r\n(?:[^\r\n]+\r\n)*?Content-Length: (\d+)\r\n(?:[^\r\n]+\r\n)*\r\n")


def answer(s, have):
    """The next answer's body, and what follows it."""
    while not (found := REPLY.match(have)) or len(have) - found.end() < int(found.group(1)):
        part = s.recv(1 << 18)
        t.true(part, "the connection goes on")
        have += part
    end = found.end() + int(found.group(1))
    return have[found.end():end], have[end:]


def ring(n):
    output = t.guest().run("apps/pastectl/pastectl", "stats", "--ring", n, "stack:phttpd")
    return {key: int(value) for key, value in re.findall(r"^\s*(\w+)\s+(\d+)", output, re.M)}


# [short cpus=2 queues=2]
def test_threads_over_nic():
    """Two threads share the queues of a NIC: every answer is exact, in order; both receive, in place."""
    rnd = random.Random(3)
    server = t.guest().start("apps/phttpd/phttpd", "--backend", "paste", "--threads", 2, "--interface", "eth0",
                             "--address", "::", "--port", PORT)
    try:
        t.true(", 2 threads, listening" in server.readline(), "first line")
        socks = [t.connect((t.GUEST, t.GUEST6)[i % 2], PORT) for i in range(24)]
        requests = 0
        for _ in range(8):
            bodies = [[rnd.randbytes(rnd.randint(1, 5000)) for _ in range(rnd.randint(1, 6))] for _ in socks]
            for s, several in zip(socks, bodies):
                s.sendall(b"".join(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(b) + b for b in several))
            for i, (s, several) in enumerate(zip(socks, bodies)):
                have = b""
                for body in several:
                    found, have = answer(s, have)
                    t.same(found, body, "body of an answer on connection %d" % i)
                t.eq(have, b"", "bytes behind the last answer")
                requests += len(several)
        rings = [ring(n) for n in range(2)]
        for n, r in enumerate(rings):
            t.ge(r.get("rx_in_place", 0), 50000, "bytes in place, ring %d" % n)
        for s in socks:
            s.close()
        server.signal(15)
        line = server.readline()
        t.eq(server.wait(), 0, "status")
        counters = {key: int(n) for key, n in re.findall(r"(\w+) (\d+)", line)}
        t.eq((counters["connections"], counters["requests"], counters["errors"]), (24, requests, 0),
             "connections, requests, errors")
    finally:
        server.kill()


t.main()
