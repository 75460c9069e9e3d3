# SPDX-License-Identifier: BSD-2-Clause
"""The server's own tests of HTTP, of connections, and of its command line."""
import collections
import contextlib
import random
import select
import signal
import socket
import struct
import subprocess
import threading
import time

from selftest_server import GET, SLOWER, Answers, Server, args, ask, gave_up

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"


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
        clients = [server.connect() for _ in range(20 // SLOWER)]
        for s in clients:
            s.sendall(GET * 2)
        for s in clients:
            a = Answers(s)
            for _ in range(2):
                assert a.next()[2] == b"x" * size
            s.close()
    assert server.counters["requests"] == 2 * len(clients)
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
    with Server("--reply-size", "4M", "--idle-timeout", "300") as server:
        slow = [server.connect(receive_buffer=4096) for _ in range(60)]
        for s in slow:
            s.sendall(GET)
        for s in slow:
            assert s.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
        assert ask(server, POST)[0] == 200
        for s in slow[::20]:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            assert Answers(s).next()[2] == b"x" * (4 << 20)
        for s in slow:
            s.close()
        assert ask(server, POST)[0] == 200


def very_many_slow_readers():
    """The same with so many that whatever is theirs fills what is everybody's; some are given up."""
    with Server("--reply-size", "4M", "--idle-timeout", "300") as server:
        slow = [server.connect(receive_buffer=4096) for _ in range(600)]
        for s in slow:
            with contextlib.suppress(ConnectionError):
                s.sendall(GET)
        for _ in range(5):
            time.sleep(0.5)
            assert ask(server, POST)[0] == 200
        for s in slow:
            s.close()
        assert ask(server, POST)[0] == 200


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
        keepers, began = [], time.time()
        for _ in range(1200):
            s = server.connect()
            s.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab")
            keepers.append(s)
        time.sleep(0.3)
        assert ask(server, GET)[0] == 200
        kept = refused = 0
        for s in keepers:
            try:
                s.sendall(b"cdefghi")
                status, _, body = Answers(s).next()
            except (EOFError, ConnectionError):
                assert gave_up(began)
                status = 503
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
            for _ in range(60 // SLOWER):
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
            lost = rng.sample(clients, len(clients) // 6)
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
