"""kv.py - clients of phttpd's store that know what was acknowledged, for the tests of it."""

import contextlib
import random
import re
import socket
import threading
from urllib.parse import quote

import t

PORT = 8080


class Phttpd:
    """A running server with a store; counters are those of its last line, once it has ended in order."""

    def __init__(self, backend, region, *options, program="apps/phttpd/phttpd", attach=True):
        interface = ["--interface", "eth0"] if backend == "paste" and attach else []
        self.process = t.Process([program, "--backend", backend, "--store", "btree", "--region", region,
                                  "--port", str(PORT), *interface, *options])
        t.true("listening" in self.process.readline(60), "first line")

    def kill(self):
        self.process.kill(10)

    def stop(self):
        self.process.signal(15)
        line = self.process.readline()
        t.eq(self.process.wait(), 0, "status")
        return {key: int(n) for key, n in re.findall(r"(\w+) (\d+)", line)}


class Http:
    """A connection: one request at a time. (The module http of Python is hidden by the one beside this file.)"""

    def __init__(self):
        self.sock = t.connect(port=PORT, seconds=30)
        self.have = b""

    def more(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError("closed")
        return data

    def ask(self, method, target, body=None):
        length = b"Content-Length: %d\r\n" % len(body) if body is not None else b""
        self.sock.sendall(b"%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n" % (method.encode(), target.encode(), length) + (body or b""))
        while b"\r\n\r\n" not in self.have:
            self.have += self.more()
        head, rest = self.have.split(b"\r\n\r\n", 1)
        found = re.search(rb"Content-Length: (\d+)", head)
        length = int(found[1]) if found else 0
        parts, got = [rest], len(rest)
        while got < length:
            parts.append(self.more())
            got += len(parts[-1])
        rest = b"".join(parts)
        self.have = rest[length:]
        return int(head.split()[1]), rest[:length]


class Client:
    """Changes keys of its own and logs numbered messages; knows what was acknowledged, and what was asked for last without an answer."""

    def __init__(self, number, seed, sizes):
        self.number = number
        self.random = random.Random(seed * 1000 + number)
        self.sizes = sizes
        self.model = {}
        self.pending = None     # key, and the value it may have instead
        self.messages = []      # in the log, in this order
        self.logging = None     # one that may follow
        self.acknowledged = 0
        self.failure = None

    def connect(self):
        self.http = Http()

    def ask(self, method, key, body=None):
        return self.http.ask(method, "/" + quote(key), body)

    def log(self):
        self.logging = b"%d %d %s" % (self.number, len(self.messages), self.random.randbytes(
            min(self.random.choice(self.sizes), 5000) // 2).hex().encode())
        t.eq(self.ask("POST", b"", self.logging + b"\n")[0], 200, "status")
        self.messages.append(self.logging)
        self.logging = None
        self.acknowledged += 1

    def change(self):
        if self.random.randrange(5) == 0:
            self.log()
            return
        key = b"%d/%d\xff" % (self.number, self.random.randrange(10))
        value = self.random.randbytes(self.random.choice(self.sizes)) if self.random.randrange(4) else None
        self.pending = key, value
        status, _ = self.ask("PUT" if value is not None else "DELETE", key, value)
        there = key in self.model
        t.eq(status, (204 if there else 201) if value is not None else 204 if there else 404, "status")
        if value is None:
            self.model.pop(key, None)
        else:
            self.model[key] = value
        self.pending = None
        self.acknowledged += 1

    def run(self, ending, enough):
        """Until asked to; a connection that ends before the server is to is a failure."""
        try:
            self.connect()
            while not enough.is_set():
                self.change()
        except OSError as error:
            if not ending.is_set():
                self.failure = error
        except Exception as error:
            self.failure = error

    def verify(self):
        """All keys have what was acknowledged; one may have what was not."""
        self.connect()
        for i in range(10):
            key = b"%d/%d\xff" % (self.number, i)
            status, value = self.ask("GET", key)
            found = value if status == 200 else None
            if self.pending and self.pending[0] == key and found == self.pending[1]:
                self.model[key] = found
                if found is None:
                    del self.model[key]
            t.true(found == self.model.get(key), "%r: %s bytes instead of %s" % (
                key, found and len(found), self.model.get(key) and len(self.model[key])))
        self.pending = None
        self.http.sock.close()


def verify_log(clients, region):
    """All messages of each client are there, in order, and nothing else but perhaps its last. No server has the region now."""
    found = t.guest().run("apps/plog/plog", "--dump", region, timeout=60).encode().split(b"\n")
    t.eq(found.pop(), b"", "after the last message")
    for c in clients:
        own = [line for line in found if line.startswith(b"%d " % c.number)]
        if c.logging and own[-1:] == [c.logging]:
            c.messages.append(c.logging)
        c.logging = None
        t.true(own == c.messages, "client %d: the log has %d messages instead of %d%s" % (
            c.number, len(own), len(c.messages), ", or others" if len(own) == len(c.messages) else ""))
    t.eq(len(found), sum(len(c.messages) for c in clients), "messages in the log")


def load(clients, until):
    """All clients at once until the function returns, which sets the event it gets before the server ends."""
    ending, enough = threading.Event(), threading.Event()
    threads = [threading.Thread(target=c.run, args=[ending, enough]) for c in clients]
    for thread in threads:
        thread.start()
    try:
        until(ending)
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    for c in clients:
        if c.failure:
            raise c.failure


def listing(clients):
    found = Http().ask("GET", "/?prefix=")[1].decode().split("\n")[:-1]
    t.eq(found, [quote(key) for key in sorted(key for c in clients for key in c.model)], "listing")


def killed(clients, end, writes):
    """All of them write until that many writes are acknowledged, or one fails; then end() makes the server end, somehow."""
    count = sum(c.acknowledged for c in clients) + writes

    def until(ending):
        t.wait_for(lambda: any(c.failure for c in clients) or sum(c.acknowledged for c in clients) >= count,
                   "writes are acknowledged", 60)
        ending.set()
        end()
        for c in clients:       # a machine that is gone says nothing
            with contextlib.suppress(OSError):
                c.http.sock.shutdown(socket.SHUT_RDWR)
    load(clients, until)
