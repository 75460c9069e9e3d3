"""apps/echo, the example to be read first, whose port is opened by nm_open()."""

import contextlib
import re
import time

import t

PASTECTL = "apps/pastectl/pastectl"


@contextlib.contextmanager
def echo(*arguments, program="apps/echo/echo", descriptors=1024):
    """The server, which listens; it must be there in the end, and then ends with its port."""
    process = t.guest().start("prlimit", "--nofile=%d" % descriptors, program, *arguments)
    try:
        t.wait_for(lambda: t.guest().status("sh", "-c", "ss -Hltn sport = :7 | grep -q .")[0] == 0, "it listens")
        yield
        t.true("stack:0 " in t.guest().run(PASTECTL, "list"), "the server is not there in the end")
    finally:
        process.kill()


def port():
    """Registered sockets, and interfaces, of its port."""
    found = re.search(r"^stack:0 .* sockets (\d+)  interfaces (\d+)", t.guest().run(PASTECTL, "list"), re.M)
    return tuple(map(int, found.groups()))


def counters():
    text = t.guest().run(PASTECTL, "stats", "stack:0", "--all")
    return {name: int(value) for name, value in re.findall(r"^ *(\w+) +(\d+)", text, re.M)}


def ends(sockets, interfaces):
    """Half-close and reset: of each connection nothing is left."""
    with t.connect() as s:
        data = bytes(range(256)) * 1000
        s.sendall(data)
        s.shutdown(t.socket.SHUT_WR)
        t.same(t.receive_all(s), data, "echo behind the end of the stream")
    t.wait_for(lambda: port() == (sockets, interfaces), "the half-closed connection is closed")
    s = t.connect()
    t.echoed(s, b"to be reset" * 100)
    t.eq(port(), (sockets + 1, interfaces), "sockets with the one to be reset, interfaces")
    t.reset(s)
    t.wait_for(lambda: port() == (sockets, interfaces), "the reset connection is closed")


# [short]
def test_attached():
    """Streams of several clients come back through eth0, whose payload is not copied; half-close and reset end a connection."""
    total = 4 * t.MEGABYTE
    with echo("stack:eth0"):
        with t.steered():
            before = counters()
            t.exchange(4, total // 4)
            t.exchange(1, 100000, sizes=(1, 300))
            after = counters()
            ends(1, 1)
        moved = {name: after[name] - before[name] for name in after}
        t.eq(moved["rx_in_place"] + moved["rx_copied"], total + 100000, "bytes received")
        t.ge(moved["rx_in_place"], total * 9 // 10, "bytes received in place")
        t.eq(moved["tx_bytes"], total + 100000, "bytes sent")
        t.ge(t.ping(), 1, "answers to ping")


# [short]
def test_copied():
    """Without an interface attached the same comes back through eth0 and over loopback, copied."""
    total = 2 * t.MEGABYTE
    with echo():
        t.exchange(4, total // 4)
        ends(0, 0)
        before = counters()
        t.eq(before["rx_in_place"], 0, "bytes received in place")
        t.guest().sh("""
            head -c %d /dev/urandom > /tmp/sent
            for address in 127.0.0.1 127.0.0.2; do socat -t 20 - TCP:$address:7 < /tmp/sent | cmp - /tmp/sent; done
            rm /tmp/sent
            """ % total)
        t.eq(counters()["rx_copied"] - before["rx_copied"], 2 * total, "bytes received over loopback")


def seconds_of_cpu():
    return sum(map(int, t.guest().sh("cut -d' ' -f14,15 /proc/$(pidof echo)/stat").split())) / 100


# [short]
def test_out_of_descriptors():
    """Clients for whom there is no descriptor wait, while the server sleeps, and are served when others end."""
    with echo(descriptors=12):
        served = [t.connect() for _ in range(20)]
        waiting = []
        for s in list(served):
            s.sendall(b"?")
            s.settimeout(1 * t.SLOWER)
            try:
                t.eq(s.recv(1), b"?", "echo")
            except TimeoutError:
                served.remove(s)
                waiting.append(s)
        t.true(served and waiting, "%d of 20 clients are served with 12 descriptors" % len(served))
        before = seconds_of_cpu()
        time.sleep(3)
        t.le(seconds_of_cpu() - before, 1, "seconds of CPU in three")
        while waiting:
            served.pop(0).close()
            t.same(t.receive(waiting[0], 1), b"?", "echo for who has waited")
            served.append(waiting.pop(0))
        for s in served:
            s.close()


def open_files():
    return t.guest().sh("ls /proc/$(pidof readme)/fd").split()


# [short]
def test_readme():
    """The server of README.md answers each slot, in capitals here, behind the end of its input too; each connection is closed once."""
    with echo(program="tests/abi/readme"):
        files = open_files()
        for _ in range(50):
            ends = [t.connect() for _ in range(4)]
            for s in ends:
                s.sendall(b"some words" * 10)
                t.same(t.receive(s, 100), b"SOME WORDS" * 10, "answer")
            for s in ends[:2]:
                s.sendall(b"the last" * 1000)
                s.shutdown(t.socket.SHUT_WR)
            t.reset(ends[2])
            for s in ends[:2]:
                t.same(t.receive_all(s), b"THE LAST" * 1000, "answer to what came before the end")
                s.close()
            ends[3].close()
        t.wait_for(lambda: open_files() == files, "all descriptors are closed")
        t.eq(port(), (1, 1), "the listener, interfaces")


t.main()
