# SPDX-License-Identifier: BSD-2-Clause
"""The server's own tests of its durable store."""
import contextlib
import os
import random
import re
import socket
import subprocess
import tempfile
import threading
import time
from urllib.parse import quote, unquote_to_bytes

from selftest_server import SLOWER, Answers, Server, args, gave_up


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
        for turn in range(6 if SLOWER == 1 else 2):
            s.put(b"key", values[turn % 3])
            readers, began = [server.connect(receive_buffer=4096) for _ in range(3)], time.time()
            for r in readers:
                r.sendall(b"GET /key HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.1)
            if turn % 2:
                s.delete(b"key")
            s.put(b"key", values[(turn + 1) % 3])
            for i in range(20):     # what is freed too early is used again
                s.put(b"other%d" % i, rng.randbytes(50000))
            for r in readers:
                try:
                    assert Answers(r).next()[2] == values[turn % 3]
                except (EOFError, ConnectionError):
                    assert gave_up(began)
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
