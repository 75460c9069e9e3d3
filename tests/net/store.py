"""phttpd --store: values and messages over the NIC, exact and in place; what was acknowledged survives SIGKILL in the middle of a load."""

import contextlib
import random
import re
import signal
import time

import kv
import t

REGION = "/dev/shm/store"


@contextlib.contextmanager
def region(size="256M", log="4M"):
    t.guest().run("apps/pastectl/pastectl", "region", "create", REGION, "--size", size, "--log", log, timeout=60)
    try:
        yield
    finally:
        t.guest().run("rm", REGION)


def reload():
    t.wait_for(lambda: t.guest().status("rmmod", "paste")[0] == 0, "the module can be removed")
    t.guest().run("insmod", "kernel/paste.ko")


class Logger(kv.Client):
    """Only logs: a client of a store without values."""

    def change(self):
        self.log()

    def verify(self):
        """verify_log() does."""


def killed(*backends, rounds=5, where=REGION, sizes=(0, 10, 100, 1000, 5000, 100000), between=lambda: None,
           attach=True, values=True):
    clients = [(kv.Client if values else Logger)(i, 1, sizes) for i in range(8)]
    options = [] if values else ["--store", "wal"]
    for turn in range(rounds):
        server = kv.Phttpd(backends[turn % len(backends)], where, *options, attach=attach)
        try:
            for c in clients:
                c.verify()
            if values:
                kv.listing(clients)
            kv.killed(clients, server.kill, 400 + 200 * (turn % 5))
        finally:
            server.kill()
        between()
        kv.verify_log(clients, where)
    t.ge(sum(len(c.messages) for c in clients), 100, "messages logged")
    server = kv.Phttpd(backends[0], where, *options, attach=attach)
    try:
        for c in clients:
            c.verify()
    finally:
        server.stop()


def in_place(*options, where=REGION):
    """Values of all sizes come and go; returns what was stored and copied."""
    sizes = (1, 100, 1400, 1500, 4096, 65536, 1 << 20, 16 << 20)
    rng = random.Random(4)
    server = kv.Phttpd("paste", where, *options)
    try:
        c = kv.Client(0, 1, [0])
        c.connect()
        for size in sizes:
            value = rng.randbytes(size)
            t.eq(c.ask("PUT", b"%d" % size, value)[0], 201, "status")
            t.same(c.ask("GET", b"%d" % size)[1], value, "value of %d bytes" % size)
        stats = dict(re.findall(r"^\s*(\w+)\s+(\d+)", t.guest().run("apps/pastectl/pastectl", "stats", "stack:phttpd"), re.M))
        c.http.sock.close()
    finally:
        counters = server.stop()
    t.le(int(stats.get("rx_copied", 0)), int(stats["rx_in_place"]) // 20, "bytes the kernel copied")
    if "--copy" not in options:
        # Heads, and ends of values that are shorter than one; the rest leaves from where it lies.
        t.le(int(stats.get("tx_copied", 0)), 600 * 2 * len(sizes), "bytes copied in order to send them")
        t.ge(int(stats.get("tx_lent", 0)) * 4096, sum(size for size in sizes if size > 256), "bytes there may be in slots that lend")
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


# [timeout=240]
def test_killed_in_turn():
    """Each life with another back end: they have one store."""
    with region():
        killed("paste", "epoll", "uring")


# [timeout=240]
def test_killed_log():
    """The same with a store that has no values, only its log."""
    with region():
        killed("paste", "epoll", "uring", values=False)


# [soak, timeout=3600]
def test_killed_often():
    """Fifty lives, each with another back end, and the module loaded anew after each."""
    with region("384M"):
        killed("paste", "epoll", "uring", rounds=50, between=reload)


# [soak, timeout=3600]
def test_killed_log_often():
    """The same with a store that has only its log."""
    with region("384M", log="16M"):     # 40,000 messages, of two pieces some of them, all of which are read after each life
        killed("paste", "epoll", "uring", rounds=50, sizes=(0, 10, 100, 1600), between=reload, values=False)


def ordered(backend, *kinds):
    """
    The server is stopped while requests collect on many connections, so that one round has to answer more than leaves at
    once; tests/order watches it. kinds: of calls by which answers leave, each of which has to follow new writes at times.
    """
    def request(method, key, n):
        return b"%s /%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (method, key, n) + bytes(n)

    with region():
        server = kv.Phttpd(backend, REGION, program="tests/order/phttpd")
        try:
            socks = []
            for turn in range(6):
                server.process.signal(signal.SIGSTOP)
                time.sleep(0.2 * t.SLOWER)
                for i in range(96):
                    if i >= len(socks):
                        socks.append(t.connect(port=kv.PORT, seconds=30))
                    key = b"%d" % i
                    socks[i].sendall(request(b"PUT", key, 10) + request(b"POST", b"", 100) + request(b"PUT", key, 700) +
                                     request(b"DELETE", key, 0))
                    if i >= 64:     # in part after others have written
                        time.sleep(0.001)
                server.process.signal(signal.SIGCONT)
                for s in socks:
                    got = b""
                    while got.count(b"HTTP/1.1 2") < 4 or not got.endswith(b"\r\n\r\n"):
                        got += t.receive(s, 1) + s.recv(65536)
                for s in socks[64:]:
                    s.close()
                del socks[64:]
            for n in range(20):     # and alone, to leave with the end of the round
                socks[n].sendall(request(b"PUT", b"alone", n))
                t.true(b"HTTP/1.1 2" in socks[n].recv(65536), "answer")
            server.stop()
        finally:
            server.kill()
        said = re.search(r"^order: (.*)$", server.process.err.decode(), re.M)
        t.true(said, "the witness says nothing")
        counts = {key: int(n) for key, n in re.findall(r"(\w+) (\d+)", said[1])}
        print(counts)
        t.eq(counts["writes"], 6 * 96 * 4 + 20, "writes")
        for kind in kinds:
            t.ge(counts[kind], 1, "calls that let answers leave after new writes: " + kind)


# [timeout=120]
def test_order_epoll():
    """No answer to a write leaves before its fence: epoll."""
    ordered("epoll", "send")


# [timeout=120]
def test_order_uring():
    """The same with io_uring, also when its queue is full in the middle of a round."""
    ordered("uring", "wait", "submit")


# [timeout=120]
def test_order_paste():
    """The same with the paste back end, also for what is handed over in the middle of a round."""
    ordered("paste", "poll", "txsync")


# [timeout=240]
def test_full():
    """A store filled over the NIC until it refuses starves nobody: what is there is read, others connect, deleting makes space."""
    rng = random.Random(5)
    with region("96M"):
        server = kv.Phttpd("paste", REGION)
        try:
            c = kv.Client(0, 1, [0])
            c.connect()
            values = []
            while True:
                value = rng.randbytes(1 << 20)
                status, _ = c.ask("PUT", b"%d" % len(values), value)
                if status == 507:
                    break
                t.eq(status, 201, "status")
                values.append(value)
            t.ge(len(values), 10, "values stored")
            t.eq(t.ping(), 3, "answers to ping")
            for turn in range(20):
                other = kv.Client(1, 1, [0])
                other.connect()
                n = turn % len(values)
                t.same(other.ask("GET", b"%d" % n)[1], values[n], "value")
                t.eq(other.ask("PUT", b"more", values[0])[0], 507, "status")
                other.http.sock.close()
            for n in range(len(values)):
                t.eq(c.ask("DELETE", b"%d" % n)[0], 204, "status")
            for n, value in enumerate(values):
                t.eq(c.ask("PUT", b"%d" % n, value)[0], 201, "status")
                t.same(c.ask("GET", b"%d" % n)[1], value, "value")
        finally:
            server.stop()


DAMAGE = """
import mmap, sys
with open(sys.argv[1], "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
    at = m.find(sys.argv[2].encode()) + int(sys.argv[3])
    m[at] ^= 4
"""


def damage(text, offset):
    """Change a bit of the byte that lies so far behind the first place in the region that has this text."""
    t.guest().run("python3", "-c", DAMAGE, REGION, text, offset)


# [timeout=240]
def test_damaged():
    """A value whose bytes have changed while no server had it is not sent by any back end; others are, and it is replaced and deleted as any."""
    values = {b"large": b"mark of a large " * 65536, b"small": b"mark of a small one", b"good": b"as it was" * 1000}
    said = b"Stored Value Is Damaged\n"
    with region():
        c = kv.Client(0, 1, [0])
        server = kv.Phttpd("epoll", REGION)
        try:
            c.connect()
            for key, value in values.items():
                t.eq(c.ask("PUT", key, value)[0], 201, "status")
        finally:
            server.stop()
        damage("mark of a large mark", 700001)
        damage("mark of a small one", 18)
        for backend in "epoll", "uring", "paste":
            server = kv.Phttpd(backend, REGION)
            try:
                c.connect()
                for _ in range(7):
                    t.eq(c.ask("GET", b"large"), (500, said), "answer")
                    t.eq(c.ask("GET", b"small"), (500, said), "answer")
                    t.same(c.ask("GET", b"good")[1], values[b"good"], "value beside them")
                if backend == "paste":
                    t.eq(c.ask("PUT", b"large", values[b"large"])[0], 204, "status")
                    t.same(c.ask("GET", b"large")[1], values[b"large"], "value in its place")
                    t.eq(c.ask("DELETE", b"small")[0], 204, "status")
                    t.eq(c.ask("GET", b"small")[0], 404, "status")
                c.http.sock.close()
                t.eq(server.stop()["damaged"], 14, "answers counted")
            finally:
                server.kill()
            lines = [line for line in server.process.err.decode().split("\n") if "is damaged" in line]
            t.eq(len(lines), 10, "lines about them")
            t.true("/large: " in lines[0] and "/small: " in lines[1], "keys in %r" % lines[:2])


def device_dax():
    t.guest().sh("""
        modprobe -a libnvdimm nfit nd_pmem device_dax dax_pmem
        ndctl destroy-namespace -f all > /dev/null 2>&1
        ndctl create-namespace -m devdax -a 4k > /dev/null
        apps/pastectl/pastectl region create /dev/dax0.0 --replace
        """, timeout=60)


# [pmem=512M, timeout=300]
def test_device_dax():
    """On device-DAX, in place, through SIGKILL and module reload."""
    device_dax()
    c = in_place(where="/dev/dax0.0")
    t.le(c["copied"], c["stored"] // 100, "bytes copied")
    t.guest().sh("apps/pastectl/pastectl region create /dev/dax0.0 --replace", timeout=60)
    killed("paste", rounds=3, where="/dev/dax0.0", between=reload)


# [soak, pmem=512M, timeout=3600]
def test_device_dax_often():
    """Fifty lives on device-DAX, the module loaded anew after each."""
    device_dax()
    killed("paste", rounds=50, where="/dev/dax0.0", between=reload)


# [pmem=512M, timeout=240]
def test_file_on_dax():
    """A region in a file on a DAX mount, which takes no NIC: kept by epoll and by a stack port that copies, in turn, through SIGKILL."""
    guest = t.guest()
    where = "/tmp/mounted/store"
    guest.sh("""
        modprobe -a libnvdimm nfit nd_pmem ext4
        ndctl destroy-namespace -f all > /dev/null 2>&1
        ndctl create-namespace -m fsdax > /dev/null
        mkfs.ext4 -q -b 4096 /dev/pmem0
        mkdir /tmp/mounted; mount -o dax=always /dev/pmem0 /tmp/mounted
        apps/pastectl/pastectl region create %s --size 128M
        """ % where, timeout=60)
    try:
        killed("epoll", "paste", rounds=4, where=where, attach=False)
        t.announce("in memory no NIC may write to")
        server = t.guest().start("apps/phttpd/phttpd", "--backend", "paste", "--store", "btree", "--region", where,
                                 "--port", kv.PORT, "--interface", "eth0")
        t.eq(server.wait(), 1, "status with a NIC")
    finally:
        guest.sh("umount /tmp/mounted; rmdir /tmp/mounted")


t.main()
