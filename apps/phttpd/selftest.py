#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The whole server over real sockets, for one back end: selftest.py [--backend NAME] PHTTPD

Starts PHTTPD on a loopback port, talks to it, stops it and looks at its last line. Output is TAP;
exit status 0 passed, 1 failed, 77 the back end is not available.
"""
import argparse
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Server:
    """A running phttpd; leaving the block stops it and reads its counters."""

    def __init__(self, *options):
        self.options = options

    def __enter__(self):
        self.process = subprocess.Popen(
            [args.phttpd, "-b", args.backend, "-a", "127.0.0.1", "-p", "0", *self.options],
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"no server: status {self.process.wait()}")
        self.port = int(line.rsplit(":", 1)[1])
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            rest, _ = self.process.communicate(timeout=10)
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
        s.settimeout(20)
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
    with Server("--reply-size", "100K", "--idle-timeout", "30") as server:
        slow = [server.connect(receive_buffer=4096) for _ in range(20)]
        for s in slow:
            s.setblocking(False)
            sent = 0
            deadline = time.time() + 10
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
            s.settimeout(20)
            a = Answers(s)
            for _ in range(30):
                assert a.next()[2] == b"x" * 102400
        for s in slow:
            s.close()
        assert ask(server, GET)[0] == 200


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
    with Server("--idle-timeout", "1") as server:
        with server.connect() as idle, server.connect() as drip, server.connect() as busy:
            a = Answers(busy)
            start = time.time()
            dripping = True
            while time.time() < start + 4:
                busy.sendall(GET)
                assert a.next()[0] == 200
                try:            # a head that never ends is not activity
                    drip.sendall(b"G" if time.time() < start + 0.1 else b"")
                except OSError:
                    dripping = False
                time.sleep(0.2)
            assert dripping is not None
            assert idle.recv(1) == b"" and drip.recv(1) == b""
            busy.sendall(GET)
            assert a.next()[0] == 200
    assert server.counters["timeouts"] == 2


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
            deadline = time.time() + 60
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


def bad_command_lines():
    for options in (["--port", "70000"], ["--port", "x"], ["--threads", "0"], ["--nonsense"],
                    ["--backend", "x"], ["--address", "x"], ["--max-body", "1T"], ["x"],
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
         slow_readers, ends_of_connections, stalled_and_half_closed, limit_of_connections,
         idle_timeout, expect_continue, held_buffers, mixture, bad_command_lines]


def main():
    global args
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--backend", default="epoll")
    parser.add_argument("--only", help="the tests whose name contains this")
    parser.add_argument("phttpd")
    args = parser.parse_args()
    probe = subprocess.run([args.phttpd, "--backend", args.backend, "--help"],
                           capture_output=True, text=True)
    if probe.returncode == 2:
        print(f"1..0 # SKIP {probe.stderr.strip()}")
        return 77
    tests = [t for t in TESTS if not args.only or args.only in t.__name__]
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
