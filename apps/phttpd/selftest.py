#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The whole server over real sockets, for one back end: selftest.py [--backend NAME] PHTTPD

Starts PHTTPD on a loopback port, talks to it, stops it and looks at its last line. Output is TAP;
exit status 0 passed, 1 failed, 77 the back end is not available.
"""
import argparse
import collections
import contextlib
import os
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from urllib.parse import quote, unquote_to_bytes

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
# Bounds of time are for an ordinary kernel; one that looks for leaks is checked in other ways as well, and slow.
SLOWER = 5 if os.path.exists("/sys/kernel/debug/kmemleak") else 1


args = argparse.Namespace(threads=1)    # those of the command line, when main() has read them


class Server:
    """A running phttpd; leaving the block stops it and reads its counters, unless it was killed."""

    def __init__(self, *options):
        self.options = options if "--store" in options or "--threads" in options else \
            ("--threads", str(args.threads), *options)
        self.killed = False

    def __enter__(self):
        self.process = subprocess.Popen(
            [args.phttpd, "-b", args.backend, "-a", "127.0.0.1", "-p", "0", *self.options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"no server: status {self.process.wait()}: "
                               + self.process.stderr.read())
        threads = dict(zip(self.options, self.options[1:])).get("--threads", "1")
        assert f" {threads} thread" in line, line
        self.port = int(line.rsplit(":", 1)[1])
        return self

    def kill(self):
        """As a crash of the server would."""
        self.killed = True
        self.process.kill()
        self.process.communicate()

    def __exit__(self, *_):
        if self.killed:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            rest, self.said = self.process.communicate(timeout=10 * SLOWER)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert self.process.returncode == 0, f"status {self.process.returncode}"
        words = rest.split()[1:]
        self.counters = {k: int(v) for k, v in zip(words[::2], words[1::2])}

    def connect(self, receive_buffer=None):
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(20 * SLOWER)
        s.connect(("127.0.0.1", self.port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s


class Answers:
    """Reads answers from a socket."""

    def __init__(self, s):
        self.s, self.have = s, b""

    def more(self):
        data = self.s.recv(1 << 18)
        if not data:
            raise EOFError
        self.have += data

    def next(self, head=False):
        while b"\r\n\r\n" not in self.have:
            self.more()
        text, self.have = self.have.split(b"\r\n\r\n", 1)
        length = re.search(rb"Content-Length: (\d+)", text)
        length = int(length[1]) if length and not head else 0
        parts, got = [self.have], len(self.have)
        while got < length:
            data = self.s.recv(1 << 18)
            if not data:
                raise EOFError
            parts.append(data)
            got += len(data)
        body = b"".join(parts)
        self.have = body[length:]
        return int(text.split()[1]), text, body[:length]

    def end(self):
        """True if the connection ends here, in order."""
        return not self.have and self.s.recv(1) == b""


def ask(server, request):
    with server.connect() as s:
        s.sendall(request)
        return Answers(s).next()


def request_answer_and_pipeline():
    with Server() as server, server.connect() as s:
        a = Answers(s)
        s.sendall(GET)
        status, head, body = a.next()
        assert status == 200 and body == b"x" * 64
        now = time.strftime("%a, %d %b %Y %H:%M", time.gmtime())
        assert now.encode() in head or time.gmtime().tm_sec < 2
        s.sendall(GET * 1000)
        for _ in range(1000):
            assert a.next()[0] == 200
    assert server.counters["requests"] == 1001
    assert server.counters["bytes_out"] == 1001 * 156
    assert server.counters["bytes_in"] == 1001 * len(GET)
    assert server.counters["connections"] == 1


def single_bytes():
    text = GET + b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + GET
    with Server() as server, server.connect() as s:
        for i in range(len(text)):
            s.sendall(text[i:i + 1])
            if i % 8 == 0:
                time.sleep(0.001)
        a = Answers(s)
        assert a.next()[0] == 200
        assert a.next()[2] == b"hello"
        assert a.next()[0] == 200


def errors():
    with Server("--max-body", "1K") as server:
        assert ask(server, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")[0] == 404
        assert ask(server, b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n")[0] == 405
        assert ask(server, b"\r\nnonsense\r\n\r\n")[0] == 400
        assert ask(server, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 9000)[0] == 431
        # The client goes on sending: the answer must survive it.
        with server.connect() as s:
            s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
            time.sleep(0.1)
            try:
                for _ in range(30):
                    s.sendall(b"z" * 100000)
            except OSError:
                pass
            a = Answers(s)
            assert a.next()[0] == 413 and a.end()
    assert server.counters["errors"] == 5


def large_bodies():
    body = random.Random(1).randbytes(60000)
    with Server() as server, server.connect() as s:
        a = Answers(s)
        s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n")
        for _ in range(16):
            s.sendall(bytes(1 << 20))
        assert a.next()[0] == 200
        for _ in range(50):
            s.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + body)
            assert a.next()[2] == body
        s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777217\r\n\r\n")
        assert a.next()[0] == 413


def large_replies():
    size = 5 << 20
    with Server("--reply-size", "5M") as server:
        clients = [server.connect() for _ in range(20)]
        for s in clients:
            s.sendall(GET * 2)
        for s in clients:
            a = Answers(s)
            for _ in range(2):
                assert a.next()[2] == b"x" * size
            s.close()
    assert server.counters["requests"] == 40
    assert server.counters["starved"] == 0


def slow_readers():
    """They neither lose a byte nor make the server read on, nor hold up others."""
    with Server("--reply-size", "100K", "--idle-timeout", "300") as server:
        slow = [server.connect(receive_buffer=4096) for _ in range(20)]
        for s in slow:
            s.setblocking(False)
            sent = 0
            deadline = time.time() + 10 * SLOWER
            while sent < 30 << 20:      # it stops taking requests long before
                try:
                    sent += s.send(GET * 1000)
                except BlockingIOError:
                    if not select.select([], [s], [], 0.05)[1]:
                        break
                assert time.time() < deadline
            assert sent < 30 << 20
        assert ask(server, GET)[0] == 200
        for s in slow[:5]:
            s.settimeout(20 * SLOWER)
            a = Answers(s)
            for _ in range(30):
                assert a.next()[2] == b"x" * 102400
        for s in slow:
            s.close()
        assert ask(server, GET)[0] == 200


def slow_readers_at_once():
    """More of them than the server can begin to answer in a round, who then do not read: others are served."""
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    with Server("--reply-size", "4M", "--idle-timeout", "300") as server:
        slow = [server.connect(receive_buffer=4096) for _ in range(60)]
        for s in slow:
            s.sendall(GET)
        for s in slow:
            assert s.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
        assert ask(server, post)[0] == 200
        for s in slow[::20]:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            assert Answers(s).next()[2] == b"x" * (4 << 20)
        for s in slow:
            s.close()
        assert ask(server, post)[0] == 200


def very_many_slow_readers():
    """The same with so many that whatever is theirs fills what is everybody's; some are given up."""
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    with Server("--reply-size", "4M", "--idle-timeout", "300") as server:
        slow = [server.connect(receive_buffer=4096) for _ in range(600)]
        for s in slow:
            with contextlib.suppress(ConnectionError):
                s.sendall(GET)
        for _ in range(5):
            time.sleep(0.5)
            assert ask(server, post)[0] == 200
        for s in slow:
            s.close()
        assert ask(server, post)[0] == 200


def ends_of_connections():
    with Server() as server:
        with server.connect() as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            a = Answers(s)
            assert a.next()[0] == 200 and a.end()
        with server.connect() as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n" + GET)
            a = Answers(s)
            assert a.next()[0] == 200 and a.end()
        with server.connect() as s:             # half closed: answered all the same
            s.sendall(GET * 100)
            s.shutdown(socket.SHUT_WR)
            a = Answers(s)
            for _ in range(100):
                assert a.next()[0] == 200
            assert a.end()
        with server.connect() as s:             # in the middle of a request
            s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            s.shutdown(socket.SHUT_WR)
            assert Answers(s).end()
        for _ in range(100):                    # reset
            s = server.connect()
            s.sendall(GET * 10)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        assert ask(server, GET)[0] == 200


def stalled_and_half_closed():
    """The end of input arrives while requests wait for room: all are answered first."""
    with Server("--reply-size", "300K") as server, server.connect(4096) as s:
        s.sendall(GET * 50)
        s.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        a = Answers(s)
        for _ in range(50):
            assert len(a.next()[2]) == 300 << 10
        assert a.end()


def stops_while_clients_come():
    """SIGTERM ends it in time, with connections open and new ones coming without end."""
    def come(server, gone):
        latest = collections.deque(maxlen=100)
        while not gone.is_set():
            try:
                latest.append(socket.create_connection(("127.0.0.1", server.port), 1))
            except OSError:         # it has stopped
                gone.wait(0.01)

    for _ in range(2):
        gone = threading.Event()
        with Server() as server:
            clients = [server.connect() for _ in range(200)]
            for s in clients:
                s.sendall(GET)
                assert Answers(s).next()[0] == 200
            streams = [threading.Thread(target=come, args=[server, gone]) for _ in range(2)]
            for stream in streams:
                stream.start()
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            try:
                server.process.wait(5 * SLOWER)
            finally:
                gone.set()
                for stream in streams:
                    stream.join()
            for s in clients:
                assert Answers(s).end()
                s.close()
        assert server.counters["requests"] == 200


def limit_of_connections():
    with Server("--max-connections", "10") as server:
        clients = [server.connect() for _ in range(10)]
        for s in clients:
            s.sendall(GET)
            assert Answers(s).next()[0] == 200
        with server.connect() as s:
            try:
                s.sendall(GET)
                assert s.recv(1) == b""
            except ConnectionError:
                pass
        for s in clients:
            s.close()
        time.sleep(0.2)
        assert ask(server, GET)[0] == 200
    assert server.counters["refused"] == 1
    assert server.counters["connections"] == 11


def idle_timeout():
    """Neither silence nor a head that never ends is activity; requests are."""
    with Server("--idle-timeout", "1") as server:
        with server.connect() as idle, server.connect() as drip, server.connect() as busy:
            a = Answers(busy)
            start = time.time()
            drip.sendall(b"GET / HTTP/1.1\r\nHost: ")
            closed = None
            while not closed or time.time() < start + 4:
                assert time.time() < start + 4 * SLOWER, "a byte now and then keeps it open"
                busy.sendall(GET)
                assert a.next()[0] == 200
                if not closed and select.select([drip], [], [], 0)[0]:
                    closed = time.time() - start
                elif not closed:
                    drip.sendall(b"a")
                time.sleep(0.2)
            assert 1 < closed < 3.5 * SLOWER, closed
            try:
                assert drip.recv(1) == b""
            except ConnectionResetError:    # by a byte that came too late
                pass
            assert idle.recv(1) == b""
            busy.sendall(GET)
            assert a.next()[0] == 200
    assert server.counters["timeouts"] == 2


def refused_goes_on():
    """Who sends on behind an error is read from for a while only."""
    with Server() as server, server.connect() as s:
        s.sendall(b"BAD\r\n\r\n")
        end = time.time() + 8 * SLOWER
        try:
            while time.time() < end:
                s.sendall(b"x")
                time.sleep(0.2)
        except ConnectionError:
            return
        raise AssertionError("it is still there")


def expect_continue():
    with Server() as server, server.connect() as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                  b"Content-Length: 3\r\n\r\n")
        a = Answers(s)
        assert a.next()[0] == 100
        s.sendall(b"abc")
        assert a.next()[0] == 200


def held_buffers():
    """Clients that make the server keep many buffers are refused in time, others are served."""
    with Server() as server:
        keepers = []
        for _ in range(1200):
            s = server.connect()
            s.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab")
            keepers.append(s)
        time.sleep(0.3)
        assert ask(server, GET)[0] == 200
        kept = refused = 0
        for s in keepers:
            s.sendall(b"cdefghi")
            status, _, body = Answers(s).next()
            if status == 200:
                assert body == b"abcdefghi"
                kept += 1
            else:
                assert status == 503
                refused += 1
            s.close()
        assert kept >= 100, (kept, refused)
        assert ask(server, GET)[0] == 200


def mixture():
    """Random requests, cuts, pauses and ends on many connections at once."""
    rng = random.Random(7)
    for options in ["--reply-size", "64"], ["--reply-size", "200K"], ["--threads", "2"]:
        with Server(*options) as server:
            size = 64 if options[0] == "--threads" else {"64": 64, "200K": 204800}[options[1]]
            clients = []
            for _ in range(60):
                s = server.connect(rng.choice([None, 4096]))
                text, expect = b"", []
                for _ in range(rng.randrange(1, 40)):
                    kind = rng.randrange(4)
                    if kind == 0:
                        body = rng.randbytes(rng.randrange(1, 30000))
                        text += b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" \
                            % len(body) + body
                        expect.append(body)
                    elif kind == 1:
                        text += b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" \
                            b"\r\n1000\r\n" + bytes(4096) + b"\r\n0\r\n\r\n"
                        expect.append(b"x" * 64)
                    else:
                        text += GET
                        expect.append(b"x" * size)
                clients.append([s, text, expect, b""])
                s.setblocking(False)
            lost = rng.sample(clients, 10)
            deadline = time.time() + 60 * SLOWER
            active = list(clients)
            while active:
                assert time.time() < deadline
                readable, writable, _ = select.select(
                    [c[0] for c in active], [c[0] for c in active if c[1]], [], 1)
                for c in list(active):
                    s, text, expect, have = c
                    if s in writable and text:
                        try:
                            c[1] = text[s.send(text[:rng.randrange(1, 20000)]):]
                        except BlockingIOError:
                            pass
                    if s in readable:
                        data = s.recv(rng.randrange(1, 100000))
                        assert data
                        have += data
                    while expect:
                        at = have.find(b"\r\n\r\n")
                        end = at + 4 + len(expect[0])
                        if at < 0 or len(have) < end:
                            break
                        assert have.startswith(b"HTTP/1.1 200 ")
                        assert have[at + 4:end] == expect.pop(0)
                        have = have[end:]
                    c[3] = have
                    if not expect or (c in lost and rng.randrange(20) == 0):
                        s.close()
                        active.remove(c)


class Store:
    """A client of a server with a store, and what should be in there."""

    def __init__(self, server):
        self.socket = server.connect()
        self.answers = Answers(self.socket)
        self.model = {}

    def ask(self, method, target, body=None):
        head = f"{method} {target} HTTP/1.1\r\nHost: a\r\n".encode()
        if body is not None:
            head += b"Content-Length: %d\r\n" % len(body)
        self.socket.sendall(head + b"\r\n" + (body or b""))
        return self.answers.next(head=method == "HEAD")

    def put(self, key, value):
        status = self.ask("PUT", "/" + quote(key), value)[0]
        if status != 507:
            assert status == (204 if key in self.model else 201), (key, status)
            self.model[key] = value
        return status

    def delete(self, key):
        status = self.ask("DELETE", "/" + quote(key))[0]
        assert status == (204 if key in self.model else 404), (key, status)
        self.model.pop(key, None)

    def get(self, key):
        status, head, body = self.ask("GET", "/" + quote(key))
        return body if status == 200 else None

    def listing(self, prefix=b""):
        status, head, body = self.ask("GET", "/?prefix=" + quote(prefix))
        assert status == 200 and b"text/plain" in head
        assert body == b"" or body.endswith(b"\n")
        return [unquote_to_bytes(line) for line in body.split(b"\n")[:-1]]

    def verify(self):
        """Everything is there, and nothing else."""
        assert self.listing() == sorted(self.model)
        for key, value in self.model.items():
            found = self.get(key)
            assert found == value, (key, len(value), found and len(found))

    def close(self):
        self.socket.close()


class Region:
    """A region in a file in memory."""

    def __init__(self, size="192M", *options):
        self.size = size
        self.options = options

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(dir="/dev/shm")
        path = os.path.join(self.directory.name, "region")
        pastectl = os.path.join(os.path.dirname(args.phttpd), "..", "pastectl", "pastectl")
        subprocess.run([pastectl, "region", "create", path, "--size", self.size, *self.options],
                       check=True, stdout=subprocess.DEVNULL)
        return path

    def __exit__(self, *_):
        self.directory.cleanup()


def stored(path, *options):
    return Server("--store", "btree", "--region", path, *options, *args.store_option)


def store_values():
    """Sizes and keys of every kind, replaced, deleted, listed; all is there in the next life."""
    rng = random.Random(3)
    sizes = [0, 1, 255, 256, 257, 1000, 1448, 4095, 4096, 4097, 8192, 65536, 65537, 1 << 20]
    with Region() as path:
        with stored(path) as server:
            s = Store(server)
            for size in sizes:
                s.put(b"size/%d" % size, rng.randbytes(size))
            s.put(b"16M", rng.randbytes(16 << 20))
            for key in (b"\0", b"\xff\xfe", b"%", b"a b?c#d", b"/", b"//", b"x" * 1024,
                        b"\0" * 1024, b"\x80", b"~", b"a", b"ab", b"a\0"):
                s.put(key, rng.randbytes(100))
            s.verify()
            assert s.listing(b"size/4") == [b"size/4095", b"size/4096", b"size/4097"]
            assert s.listing(b"none") == []
            assert s.ask("PUT", "/" + "y" * 1025, b"")[0] == 414
            assert s.ask("GET", "/" + "y" * 1025)[0] == 414
            assert s.ask("PUT", "/%x", b"")[0] == 400
            assert s.ask("PUT", "/", b"")[0] == 405
            status, head, body = s.ask("HEAD", "/size/4096")
            assert status == 200 and b"Content-Length: 4096" in head and body == b""
            assert s.ask("GET", "/")[2] == b"x" * 64
            for key in list(s.model)[::2]:
                s.put(key, rng.randbytes(rng.randrange(5000)))
            for key in list(s.model)[::3]:
                s.delete(key)
            s.delete(b"never there")
            s.verify()
            model = s.model
            s.close()
        assert server.counters["stored"] >= sum(map(len, model.values()))
        assert server.counters["full"] == 0
        with stored(path) as server:
            s = Store(server)
            s.model = model
            s.verify()
            s.put(b"new", b"one more")
            s.verify()
            s.close()


def store_killed():
    """What was acknowledged is there after SIGKILL, again and again."""
    rng = random.Random(5)
    model = {}
    with Region() as path:
        for turn in range(4):
            with stored(path) as server:
                s = Store(server)
                s.model = model
                s.verify()
                for _ in range(60):
                    key = b"%d" % rng.randrange(30)
                    if rng.randrange(4):
                        s.put(key, rng.randbytes(rng.choice([10, 300, 3000, 30000, 300000])))
                    else:
                        s.delete(key)
                server.kill()
                s.close()


def store_replaced_while_read():
    """A reply that is under way is that of the value as it was; its space is free afterwards."""
    rng = random.Random(6)
    values = [rng.randbytes(6 << 20) for _ in range(3)]
    with Region() as path, stored(path) as server:
        s = Store(server)
        for turn in range(6):
            s.put(b"key", values[turn % 3])
            readers = [server.connect(receive_buffer=4096) for _ in range(3)]
            for r in readers:
                r.sendall(b"GET /key HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.1)
            if turn % 2:
                s.delete(b"key")
            s.put(b"key", values[(turn + 1) % 3])
            for i in range(20):     # what is freed too early is used again
                s.put(b"other%d" % i, rng.randbytes(50000))
            for r in readers:
                assert Answers(r).next()[2] == values[turn % 3]
                r.close()
            s.verify()
        s.close()
    assert server.counters["full"] == 0


def store_full():
    """507 when there is no space, nothing is lost, and deleting makes space."""
    rng = random.Random(8)
    with Region("64M") as path:
        with stored(path) as server:
            s = Store(server)
            for turn in range(3):
                n = 0
                while s.put(b"%d" % n, rng.randbytes(200000)) != 507:
                    n += 1
                    assert n < 1000
                assert n >= 10, n
                status = s.put(b"0", rng.randbytes(200000))     # no space for both
                assert status == 507
                assert s.ask("GET", "/")[0] == 200
                s.verify()
                for i in range(n // 2):
                    s.delete(b"%d" % i)
                assert s.put(b"0", rng.randbytes(200000)) == 201
            s.verify()
            model = s.model
            s.close()
        assert server.counters["full"] >= 6
        with stored(path) as server:
            s = Store(server)
            s.model = model
            s.verify()
            s.close()


def store_beside_keepers():
    """Requests that never end do not take the store's space."""
    with Region("64M") as path, stored(path) as server:
        keepers = [server.connect() for _ in range(250)]
        for s in keepers:
            s.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
        for _ in range(60):
            for s in keepers:
                with contextlib.suppress(ConnectionError):
                    s.sendall(b"a")
        s = Store(server)
        assert s.put(b"key", bytes(1 << 20)) == 201
        s.verify()
        s.close()
        for s in keepers:
            s.close()


def anonymous_memory(server):
    with open(f"/proc/{server.process.pid}/status") as f:
        return int(re.search(r"RssAnon:\s+(\d+) kB", f.read())[1]) << 10


def store_listings_unread():
    """Listings that nobody reads are held up to a limit; beyond it the answer is 503, to listings alone."""
    limit, clients = 64 << 20, 24
    rng = random.Random(10)
    keys = sorted(bytes(rng.randrange(128, 256) for _ in range(1024)) for _ in range(1400))
    expected = b"".join(quote(key).encode() + b"\n" for key in keys)
    listing = b"GET /?prefix= HTTP/1.1\r\nHost: a\r\n\r\n"

    def unread(server):
        """Clients that ask, and have the beginning of an answer; of these, the ones that are served."""
        asking = [server.connect(receive_buffer=4096) for _ in range(clients)]
        for s in asking:
            s.sendall(listing)
        status = [s.recv(12, socket.MSG_PEEK) for s in asking]
        assert set(status) <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}, set(status)
        served = [s for s, found in zip(asking, status) if found.endswith(b"200")]
        assert len(served) == limit // len(expected), len(served)
        return asking, served

    with Region() as path, stored(path, "--idle-timeout", "300") as server:
        s = Store(server)
        for batch in range(0, len(keys), 100):
            s.socket.sendall(b"".join(b"PUT /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n%s"
                                      % (quote(key).encode(), key[::-1]) for key in keys[batch:batch + 100]))
            assert [s.answers.next()[0] for _ in range(100)] == [201] * 100
        before = anonymous_memory(server)
        for turn in range(2):               # what one turn has held is there for the next
            asking, served = unread(server)
            grown = anonymous_memory(server) - before
            assert grown <= limit + clients * (512 << 10), grown
            assert s.get(keys[7]) == keys[7][::-1]
            assert s.ask("GET", "/?prefix=")[0] == 503
            assert b"Content-Length: %d" % len(expected) in s.ask("HEAD", "/?prefix=")[1]
            for c in served[::8]:           # the others end unread
                c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                assert Answers(c).next()[2] == expected
            for c in asking:
                c.close()
            time.sleep(0.5)
            assert s.ask("GET", "/?prefix=")[2] == expected
        s.close()


def records_in_log(server):
    return int(re.search(r"(\d+) records in the log, recovered in \d+ us$", server.said, re.M)[1])


def store_log():
    """POST appends to the log; 507 when it is full, or the oldest messages go."""
    post = b"POST /log HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + bytes(1000)
    for mode in "wal", "btree":
        with Region("192M", "--log", "12K") as path:      # 64 records
            options = ["--store", mode, "--region", path, *args.store_option]
            with Server(*options) as server, server.connect() as s:
                a = Answers(s)
                s.sendall(post * 30)
                for _ in range(30):
                    assert a.next()[0] == 200
            assert records_in_log(server) == 0
            assert server.counters["stored"] == 30000
            with Server(*options) as server, server.connect() as s:
                a = Answers(s)
                s.sendall(post * 50)
                found = [a.next()[0] for _ in range(50)]
                good = found.count(200)         # a message may lie in two pieces
                assert 2 <= good <= 34 and found == [200] * good + [507] * (50 - good), found
                s.sendall(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\ny")
                assert a.next()[0] == (405 if mode == "wal" else 201)
            assert 30 <= records_in_log(server) <= 60
            with Server(*options, "--ring") as server, server.connect() as s:
                a = Answers(s)
                s.sendall(post * 500)
                assert [a.next()[0] for _ in range(500)] == [200] * 500
            assert 60 <= records_in_log(server) <= 64


def store_mixture():
    """Many connections, pipelined writes and reads, each with keys of its own."""
    rng = random.Random(9)
    with Region() as path, stored(path) as server:
        stores = [Store(server) for _ in range(20)]
        for turn in range(5):
            expected = []
            for number, s in enumerate(stores):
                text, expect = b"", []
                for _ in range(rng.randrange(1, 25)):
                    key = b"%d-%d" % (number, rng.randrange(5))
                    kind = rng.randrange(3)
                    if kind == 0:
                        value = rng.randbytes(rng.choice([0, 20, 500, 5000, 50000]))
                        expect.append((204 if key in s.model else 201, b""))
                        s.model[key] = value
                        text += b"PUT /%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" \
                            % (key, len(value)) + value
                    elif kind == 1:
                        value = s.model.get(key)
                        expect.append((404, None) if value is None else (200, value))
                        text += b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % key
                    else:
                        there = s.model.pop(key, None) is not None
                        expect.append((204, b"") if there else (404, None))
                        text += b"DELETE /%s HTTP/1.1\r\nHost: a\r\n\r\n" % key
                expected.append(expect)
                threading.Thread(target=s.socket.sendall, args=[text], daemon=True).start()
            for s, expect in zip(stores, expected):
                for status, body in expect:
                    found = s.answers.next()
                    assert found[0] == status, (found[0], status)
                    assert body is None or found[2] == body
        everything = {}
        for s in stores:
            everything.update(s.model)
        stores[0].model = everything
        stores[0].verify()
        for s in stores:
            s.close()


def store_refused():
    """Regions that are none, or damaged, and what can be said of them."""
    def refusal(path):
        r = subprocess.run([args.phttpd, "-b", args.backend, "-p", "0", "--store", "btree",
                            "--region", path], capture_output=True, text=True)
        assert r.returncode == 1 and not r.stdout, r.stdout
        return r.stderr

    assert "No such file" in refusal("/nowhere")
    with Region() as path:
        with stored(path) as server:
            s = Store(server)
            s.put(b"key", b"value" * 1000)
            s.close()
            assert "another process" in refusal(path)
        with open(path, "r+b") as f:
            for at, part in (8192 + 64, "its log"), (8192 + (4 << 20) + 256, "its tree"):
                f.seek(at)
                good = f.read(8192)
                f.seek(at)
                f.write(b"\x5a" * 8192)
                f.flush()
                text = refusal(path)
                assert part in text and "damaged" in text, text
                f.seek(at)
                f.write(good)
                f.flush()
        with stored(path) as server:
            s = Store(server)
            assert s.get(b"key") == b"value" * 1000
            s.close()
        with open(path, "r+b") as f:
            f.write(b"\x5a" * 64)
        assert "superblock is damaged" in refusal(path)
    with Server("--store", "btree") as server:
        s = Store(server)
        s.put(b"key", b"value")
        s.verify()
        s.close()
    assert "dies with the server" in server.said


def bad_command_lines():
    for options in (["--port", "70000"], ["--port", "x"], ["--threads", "0"], ["--nonsense"],
                    ["--backend", "x"], ["--address", "x"], ["--max-body", "1T"], ["x"],
                    ["--store", "x"], ["--region", "x"], ["--ring"], ["--store", "wal", "-t", "2"],
                    ["--store", "wal", "--copy"], ["--fence-latency", "100"],
                    ["--store", "wal", "--fence-latency", "x"],
                    ["--backend", "paste", "--threads", "65"], ["--threads", "257"],
                    ["--reply-size", "-1"], ["--interface", "lo", "--backend", "epoll"],
                    ["--reply-size", "99999999999999999999"]):
        r = subprocess.run([args.phttpd, *options], capture_output=True, text=True)
        assert r.returncode == 2 and r.stderr and not r.stdout, options
    r = subprocess.run([args.phttpd, "--help"], capture_output=True, text=True)
    assert r.returncode == 0 and "--reply-size" in r.stdout
    with Server() as server:        # without SO_REUSEPORT the address is taken
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            r = subprocess.run([args.phttpd, "-a", "127.0.0.1", "-p", str(s.getsockname()[1])],
                               capture_output=True, text=True)
            assert r.returncode == 1 and "in use" in r.stderr
        assert ask(server, GET)[0] == 200


TESTS = [request_answer_and_pipeline, single_bytes, errors, large_bodies, large_replies,
         slow_readers, slow_readers_at_once, very_many_slow_readers, ends_of_connections, stalled_and_half_closed,
         stops_while_clients_come, limit_of_connections, idle_timeout, refused_goes_on, expect_continue, held_buffers,
         mixture, store_values, store_killed, store_replaced_while_read, store_full, store_beside_keepers,
         store_listings_unread, store_log, store_mixture, store_refused, bad_command_lines]


def main():
    global args
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--backend", default="epoll")
    parser.add_argument("--only", help="the tests whose name contains this")
    parser.add_argument("--threads", type=int, default=1, help="of servers without a store")
    parser.add_argument("--store-option", action="append", default=[],
                        help="for servers with a store, may be repeated: --store-option=--copy")
    parser.add_argument("phttpd")
    args = parser.parse_args()
    probe = subprocess.run([args.phttpd, "--backend", args.backend, "--help"],
                           capture_output=True, text=True)
    if probe.returncode == 2:
        print(f"1..0 # SKIP {probe.stderr.strip()}")
        return 77
    tests = [t for t in TESTS if (not args.only or args.only in t.__name__)
             and (args.threads == 1 or not t.__name__.startswith("store"))]
    failed = 0
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        try:
            test()
            print(f"ok {number} - {test.__name__}", flush=True)
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            line = e.__traceback__
            while line.tb_next:
                line = line.tb_next
            print(f"not ok {number} - {test.__name__} # line {line.tb_lineno}: {e!r}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
