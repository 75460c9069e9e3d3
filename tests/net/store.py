"""phttpd --store: values and messages over the NIC, exact and in place; what was acknowledged survives SIGKILL in the middle of a load."""

import contextlib
import random
import re
import threading
from urllib.parse import quote

import t

REGION = "/dev/shm/store"
PORT = 8080


class Phttpd:
    """A running server with a store; counters are those of its last line, once it has ended in order."""

    def __init__(self, backend, *options, region=REGION):
        attach = ["--interface", "eth0"] if backend == "paste" else []
        self.process = t.Process(["apps/phttpd/phttpd", "--backend", backend, "--store", "btree", "--region", region,
                                  "--port", str(PORT), *attach, *options])
        t.true("listening" in self.process.readline(60), "first line")

    def kill(self):
        self.process.kill(10)

    def stop(self):
        self.process.signal(15)
        line = self.process.readline()
        t.eq(self.process.wait(), 0, "status")
        return {key: int(n) for key, n in re.findall(r"(\w+) (\d+)", line)}


@contextlib.contextmanager
def region(size="256M"):
    t.guest().run("apps/pastectl/pastectl", "region", "create", REGION, "--size", size, timeout=60)
    try:
        yield
    finally:
        t.guest().run("rm", REGION)


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
    """Changes keys of its own; knows what was acknowledged, and what was asked for last without an answer."""

    def __init__(self, number, seed, sizes):
        self.number = number
        self.random = random.Random(seed * 1000 + number)
        self.sizes = sizes
        self.model = {}
        self.pending = None     # key, and the value it may have instead
        self.acknowledged = 0
        self.failure = None

    def connect(self):
        self.http = Http()

    def ask(self, method, key, body=None):
        return self.http.ask(method, "/" + quote(key), body)

    def change(self):
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

    def run(self, enough):
        """Until the server dies, or is asked to."""
        try:
            self.connect()
            while not enough.is_set():
                self.change()
        except OSError:
            pass
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


def load(clients, until):
    """All clients at once until the function returns."""
    enough = threading.Event()
    threads = [threading.Thread(target=c.run, args=[enough]) for c in clients]
    for thread in threads:
        thread.start()
    try:
        until()
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


def killed(backend, *options, rounds=5, where=REGION, sizes=(0, 10, 100, 1000, 5000, 100000)):
    clients = [Client(i, 1, sizes) for i in range(8)]
    for turn in range(rounds):
        server = Phttpd(backend, *options, region=where)
        try:
            for c in clients:
                c.verify()
            listing(clients)
            count = sum(c.acknowledged for c in clients) + 400 + 200 * turn

            def until():
                t.wait_for(lambda: sum(c.acknowledged for c in clients) >= count, "writes are acknowledged", 60)
                server.kill()
            load(clients, until)
        finally:
            server.kill()
    server = Phttpd(backend, *options, region=where)
    try:
        for c in clients:
            c.verify()
    finally:
        counters = server.stop()
    return counters


def in_place(*options, where=REGION):
    """Values of all sizes come and go; returns what was stored and copied."""
    rng = random.Random(4)
    server = Phttpd("paste", *options, region=where)
    try:
        c = Client(0, 1, [0])
        c.connect()
        for size in (1, 100, 1400, 1500, 4096, 65536, 1 << 20, 16 << 20):
            value = rng.randbytes(size)
            t.eq(c.ask("PUT", b"%d" % size, value)[0], 201, "status")
            t.same(c.ask("GET", b"%d" % size)[1], value, "value of %d bytes" % size)
        stats = dict(re.findall(r"^\s*(\w+)\s+(\d+)", t.guest().run("apps/pastectl/pastectl", "stats", "stack:phttpd"), re.M))
        c.http.sock.close()
    finally:
        counters = server.stop()
    t.le(int(stats.get("rx_copied", 0)), int(stats["rx_in_place"]) // 20, "bytes the kernel copied")
    return counters


# [timeout=240]
def test_in_place():
    """Over the NIC values up to 16 MiB are stored where they arrived, and sent from there."""
    with region():
        c = in_place()
        t.le(c["copied"], c["stored"] // 100, "bytes copied")


# [timeout=240]
def test_copied():
    """With --copy all of them are copied once, and exact as well."""
    with region():
        c = in_place("--copy")
        t.eq(c["copied"], c["stored"], "bytes copied")


# [timeout=240]
def test_killed_paste():
    """Five times SIGKILL in the middle of writes on 8 connections, with the paste back end: what was acknowledged is there."""
    with region():
        killed("paste")


# [timeout=240]
def test_killed_epoll():
    """The same with epoll."""
    with region():
        killed("epoll")


# [timeout=240]
def test_killed_uring():
    """The same with io_uring."""
    with region():
        killed("uring")


# [pmem=512M, timeout=300]
def test_device_dax():
    """On device-DAX, in place, through SIGKILL and module reload."""
    guest = t.guest()
    guest.sh("""
        modprobe -a libnvdimm nfit nd_pmem device_dax dax_pmem
        ndctl destroy-namespace -f all > /dev/null 2>&1
        ndctl create-namespace -m devdax -a 4k > /dev/null
        apps/pastectl/pastectl region create /dev/dax0.0 --replace
        """, timeout=60)
    c = in_place(where="/dev/dax0.0")
    t.le(c["copied"], c["stored"] // 100, "bytes copied")
    t.wait_for(lambda: guest.status("rmmod", "paste")[0] == 0, "the module can be removed")
    guest.run("insmod", "kernel/paste.ko")
    guest.sh("apps/pastectl/pastectl region create /dev/dax0.0 --replace", timeout=60)
    killed("paste", rounds=3, where="/dev/dax0.0")


t.main()
