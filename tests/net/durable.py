"""plog: what was acknowledged is in the log after the server, the module or the NVMM's user has gone; in the buffers it arrived in."""

import contextlib
import random
import re

import t

PLOG = "apps/plog/plog"


class Plog:
    """A running plog; counters are those of its port."""

    def __init__(self, region, attach="stack:eth0"):
        self.process = t.Process([PLOG, region] + ([attach] if attach else []))
        t.eq(self.process.readline().strip(), "plog: serving", "first line")

    def kill(self):
        self.process.kill(10)


def acknowledged(sock, data, enough=None):
    """
    Sends data in pieces until the connection breaks, all is acknowledged, or enough; then the rest is on its way.
    Returns how much was acknowledged.
    """
    rng = random.Random(len(data))
    sent, done, text = 0, 0, b""
    sock.settimeout(20)
    with contextlib.suppress(ConnectionError):
        while done < (enough or len(data)):
            if sent < len(data):
                sent += sock.send(data[sent:sent + rng.randrange(1, 5000)])
            text += sock.recv(65536)
            lines = text.split(b"\n")
            text = lines[-1]
            if len(lines) > 1:
                done = int(lines[-2])
        sock.send(data[sent:])
    return done


def dump(region):
    """The log's content, as a checksum of each 64 KiB would be too long: its bytes, by way of a file of the guest."""
    guest = t.guest()
    guest.sh("%s --dump %s > /tmp/dump" % (PLOG, region), timeout=60)
    return bytes.fromhex(guest.run("python3", "-c", "print(open('/tmp/dump', 'rb').read().hex())", timeout=60).strip())


def in_place(guest, received):
    """All of it lies where the NIC wrote it, but for what came before the port number was steered."""
    counters = dict(re.findall(r"^\s*(\w+)\s+(\d+)", guest.run("apps/pastectl/pastectl", "stats", "stack:plog"), re.M))
    t.eq(int(counters["rx_in_place"]) + int(counters.get("rx_copied", 0)), received, "payload bytes")
    t.le(int(counters.get("rx_copied", 0)), received // 20, "payload bytes copied")


def survives(region, attach="stack:eth0"):
    """Three lives of a server: the first ends in the middle of a stream, the second after one, and with the module's; returns the log."""
    guest = t.guest()
    log = b""
    for turn in range(3):
        data = random.Random(turn).randbytes(300000)
        enough = 100000 if turn == 0 else None
        plog = Plog(region, attach)
        try:
            sock = t.connect()
            done = acknowledged(sock, data, enough)
            t.ge(done, enough or len(data), "bytes acknowledged")
            if not enough:
                in_place(guest, len(data))
        finally:
            plog.kill()
        sock.close()
        found = dump(region)
        had = len(found) - len(log)
        t.true(found == log + data[:had] and done <= had <= len(data),
               "turn %d: the log has %d bytes, of %d before and %d acknowledged" % (turn, len(found), len(log), done))
        log = found
        if turn == 1:
            t.wait_for(lambda: guest.status("rmmod", "paste")[0] == 0, "the module can be removed")
            guest.run("insmod", "kernel/paste.ko")
    return log


# [pmem=512M, timeout=180]
def test_device_dax():
    """On device-DAX, received in place by the NIC: the log is whole after SIGKILL and module reload."""
    t.guest().sh("""
        modprobe -a libnvdimm nfit nd_pmem device_dax dax_pmem
        ndctl destroy-namespace -f all > /dev/null 2>&1
        ndctl create-namespace -m devdax -a 4k > /dev/null
        apps/pastectl/pastectl region create --replace /dev/dax0.0
        apps/pastectl/pastectl region show /dev/dax0.0 | grep -q 'flushed stores are durable'
        """, timeout=60)
    log = survives("/dev/dax0.0")
    said = t.guest().run("apps/pastectl/pastectl", "region", "check", "/dev/dax0.0")
    t.true(re.search(r"^log +\d+ messages, \d+ pieces, %d bytes$" % len(log), said, re.M), "region check: " + said)


# plog itself, told that so many numbers are taken already; what it is allowed is far more than it has room for.
CROWDED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
null = os.open("/dev/null", os.O_RDONLY)
for fd in range(3, int(sys.argv[1])):
    os.dup2(null, fd)
os.execv(sys.argv[2], sys.argv[2:])
"""


def answered(sock, seconds=2):
    """Whether plog has said that five bytes are durable; it has not closed the connection."""
    sock.settimeout(seconds * t.SLOWER)
    try:
        t.eq(sock.recv(100), b"5\n", "answer")
        return True
    except TimeoutError:
        return False


def test_descriptors():
    """Connections whose descriptors would have numbers for which plog has no room wait, and are served when others have ended."""
    free, clients = 8, 12   # the device, the region and the listener are among the first
    t.guest().sh("apps/pastectl/pastectl region create /tmp/crowded --size 64M")
    process = t.guest().start("python3", "-c", CROWDED, 4096 - free, PLOG, "/tmp/crowded")
    socks = []
    try:
        t.eq(process.readline().strip(), "plog: serving", "first line")
        for _ in range(clients):
            socks.append(t.connect())
            socks[-1].sendall(b"12345")
        waiting, served = list(socks), []
        while waiting:
            for s in served:
                s.close()
            served = [s for s in waiting if answered(s)]
            t.true(1 <= len(served) < free, "%d connections are served at once with %d numbers" % (len(served), free))
            waiting = [s for s in waiting if s not in served]
    finally:
        for s in socks:
            s.close()
        process.kill()
    t.eq(dump("/tmp/crowded"), b"12345" * clients, "the log")
    t.guest().run("rm", "/tmp/crowded")


t.main()
