"""
Everything at once, for long: many kinds of clients, a network that loses, repeats and reorders, peers that vanish, an
application that stalls, is stopped and is killed. Every byte is compared, and in the end every buffer is where it was.
Datagrams may be lost, which is counted; those that come are compared.
"""

import contextlib
import random
import socket
import struct
import threading
import time

import t

NETWORKS = ("loss 1%", "loss 3% delay 2ms", "duplicate 2%", "delay 3ms reorder 75% 25%",
            "loss 1% duplicate 1% delay 2ms 1ms reorder 90% 25%")
REDIRECT = """
    exec 2> /dev/null
    ! ip link show dev ifb0 > /dev/null || exit 0
    ip link add ifb0 type ifb
    ip link set ifb0 up
    tc qdisc add dev eth0 handle ffff: ingress
    tc filter add dev eth0 parent ffff: matchall action mirred egress redirect dev ifb0
    """
UDP_PORT = 9
PATIENCE = 90          # seconds without a byte after which a connection has failed


class Ending(Exception):
    """The crowd is to go home."""


class Crowd:
    """Clients of all kinds, a thread each, over and over until stop()."""

    def __init__(self, seed):
        self.seed = seed
        self.ending = False      # no new connections; those that are there come to their end
        self.lock = threading.Lock()
        self.killed = False      # the server is gone on purpose, errors are expected
        self.failure = None
        self.done = {kind.__name__: 0 for kind in KINDS}
        self.bytes = 0
        self.datagrams = self.answers = 0
        self.threads = []
        for kind, (number, _) in KINDS.items():
            for i in range(number):
                thread = threading.Thread(target=self.life, args=(kind, seed * 100 + len(self.threads)), daemon=True)
                self.threads.append(thread)
        for thread in self.threads:
            thread.start()

    def life(self, kind, seed):
        rnd = random.Random(seed)
        while not self.ending and not self.failure:
            try:
                self.bytes += kind(self, rnd)
                self.done[kind.__name__] += 1
            except Exception as error:
                if not self.killed:
                    self.failure = t.Failure("%s: %s: %s" % (kind.__name__, type(error).__name__, error))
                return
            time.sleep(rnd.random() * KINDS[kind][1])

    def connect(self, rnd, **options):
        return t.connect(rnd.choice((t.GUEST, t.GUEST6)), seconds=PATIENCE, **options)

    def stop(self):
        self.ending = True
        for thread in self.threads:
            thread.join(2 * PATIENCE)
            t.true(not thread.is_alive(), "the clients come to their end")
        if self.failure:
            raise self.failure

    def __str__(self):
        lost = "%d of %d datagrams lost" % (self.datagrams - self.answers, self.datagrams)
        return "%d MB, %s; " % (self.bytes >> 20, lost) + ", ".join("%s %d" % item for item in self.done.items())


def talk(s, data, chunk, pause=0.0, window=262144):
    """Sends data and compares the echo, with at most a window under way. Fails when nothing moves for long."""
    sent = got = 0
    moved = time.monotonic()
    s.setblocking(False)
    while got < len(data):
        before = sent, got
        if sent < len(data) and sent - got < window:
            with contextlib.suppress(BlockingIOError):
                sent += s.send(data[sent:min(sent + chunk, got + window)])
        with contextlib.suppress(BlockingIOError):
            part = s.recv(chunk)
            t.true(part, "the connection ended after %d of %d bytes" % (got, len(data)))
            t.same(part, data[got:got + len(part)], "echo from %d on" % got)
            got += len(part)
        if (sent, got) != before:
            moved = time.monotonic()
        elif time.monotonic() - moved > PATIENCE:
            raise t.Failure("%d of %d bytes back, %d sent, and nothing moves" % (got, len(data), sent))
        time.sleep(pause or 0.002)


def bulk(crowd, rnd):
    """Much at a time."""
    data = rnd.randbytes(rnd.randrange(100000, 2 * t.MEGABYTE))
    with crowd.connect(rnd) as s:
        talk(s, data, 65536)
    return len(data)


def rpc(crowd, rnd):
    """Small requests on a connection that stays."""
    total = 0
    with crowd.connect(rnd) as s:
        for _ in range(rnd.randrange(1, 200)):
            if crowd.ending:
                break
            data = rnd.randbytes(rnd.randrange(1, 1500))
            t.echoed(s, data, PATIENCE)
            total += len(data)
    return total


def slow_reader(crowd, rnd):
    """Reads little by little into a small buffer."""
    data = rnd.randbytes(rnd.randrange(20000, 100000))
    with crowd.connect(rnd, rcvbuf=4096) as s:
        talk(s, data, 2000, pause=0.03)
    return len(data)


def half_closer(crowd, rnd):
    """Ends its stream at once and reads to the end."""
    data = rnd.randbytes(rnd.randrange(0, 30000))
    with crowd.connect(rnd) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        t.same(t.receive_all(s, PATIENCE), data)
    return len(data)


def resetter(crowd, rnd):
    """Goes away with a reset, having read some or nothing."""
    n = rnd.randrange(1, 50000)
    s = crowd.connect(rnd)
    s.settimeout(1)
    with contextlib.suppress(socket.timeout):
        s.sendall(bytes(n))
        if rnd.randrange(2):
            s.recv(n)
    t.reset(s)
    return n


_vanishing = threading.Lock()


def vanisher(crowd, rnd):
    """Has data under way, and then its host is not there any more, without a word."""
    with _vanishing:
        address = "10.77.0.%d" % rnd.randrange(100, 200)
        t.run_program(["ip", "addr", "add", address + "/32", "dev", "tap0"])
        socks = []
        try:
            for _ in range(3):
                s = t.connect(bind=address, seconds=PATIENCE, rcvbuf=4096)
                socks.append(s)
                s.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    s.send(rnd.randbytes(60000))
            time.sleep(0.2)
        finally:
            t.run_program(["ip", "addr", "del", address + "/32", "dev", "tap0"])
            for s in socks:
                s.close()
    return 0


def datagrams(crowd, rnd):
    """A UDP flow, several datagrams under way: answers come late, twice, in any order or not, but they are what was sent."""
    address = rnd.choice((t.GUEST, t.GUEST6))
    block, sent, answered, last, total = rnd.randbytes(5000), {}, set(), 0, 0
    sizes = (0, rnd.randrange(100), 1400, 3500)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((address, UDP_PORT))
        s.settimeout(0.3)
        for _ in range(rnd.randrange(1, 100)):
            for _ in range(rnd.randrange(1, 20)):
                at, last = rnd.randrange(1000), last + 1
                sent[last] = struct.pack("!Q", last) + block[at:at + rnd.choice(sizes)]
                with contextlib.suppress(OSError):    # it is lost on the way out, or an ICMP error has come
                    s.send(sent[last])
            with contextlib.suppress(socket.timeout, ConnectionRefusedError):
                while len(answered) < last:
                    data = s.recv(65536)
                    t.ge(len(data), 8, "bytes of an answer")
                    number, = struct.unpack("!Q", data[:8])
                    t.true(number in sent, "the answer is to a datagram of this flow")
                    t.same(data, sent[number], "datagram %d" % number)
                    answered.add(number)
                    total += len(data)
            if crowd.ending:
                break
    with crowd.lock:
        crowd.datagrams += last
        crowd.answers += len(answered)
    return total


# kind: how many at once, pause between two connections at most, seconds
KINDS = {bulk: (4, 1), rpc: (8, 1), slow_reader: (4, 1), half_closer: (2, 2), resetter: (1, 3), vanisher: (1, 20),
         datagrams: (4, 1)}


# ---- what happens to the server and the network ----

class Life:
    """One server from its start to its end, quiet or violent."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.registered = self.random.randrange(2) == 0     # the listener is; its connections are closed by slots
        self.server = t.Server(
            port="stack:soak", extra=self.random.choice((64, 1000, 3000)), threads=2, udp=UDP_PORT, registered=self.registered,
            wait=self.random.choice(("poll", "poll", "select", "epoll")),
            rx_slots=self.random.choice((None, 64, 333)), tx_slots=self.random.choice((None, 64, 256)),
            memory=self.random.choice((None, None, "anon", "memfd")))
        self.before = t.settled_buffers(self.server)
        self.crowd = Crowd(seed)
        self.attached = True
        self.events = {}

    def network(self, device):
        return t.guest().status("tc", "qdisc", "replace", "dev", device, "root", "netem", "limit", "20000",
                                *self.random.choice(NETWORKS).split())[0] == 0

    def impair_replies(self):
        t.true(self.network("eth0"), "netem in the guest")

    def impair_requests(self):
        """What eth0 receives takes a turn through ifb0, if there is such a thing."""
        if t.guest().status("sh", "-ec", REDIRECT)[0] == 0:
            self.network("ifb0")
        else:
            self.events["no ifb"] = 1

    def network_is_good(self):
        t.guest().run("sh", "-c", "exec 2> /dev/null; tc qdisc del dev eth0 root; tc qdisc del dev eth0 ingress; ip link del ifb0; true")

    def stop_application(self):
        t.guest().sh("kill -STOP %d; sleep %.1f; kill -CONT %d" % (self.server.pid, self.random.uniform(0.2, 4), self.server.pid))

    def stall_application(self):
        self.server.mode(self.random.choice(("stall", "hold")))
        time.sleep(self.random.uniform(0.2, 3))
        self.server.mode("echo")

    def change_application(self):
        self.server.mode(self.random.choice(("echo", "copy", "keep")))

    def attach_or_detach(self):
        self.server.command(("detach" if self.attached else "attach") + " stack:eth0")
        self.attached = not self.attached

    def lose_the_link(self):
        t.guest().sh("ip link set eth0 down; sleep %.1f" % self.random.uniform(0, 1))
        t.restore_eth0()

    def nothing(self):
        time.sleep(self.random.uniform(1, 5))

    def go_on(self, seconds):
        what = ([self.impair_replies, self.impair_requests, self.network_is_good] * 2 + [self.stop_application] * 2 +
                [self.stall_application, self.attach_or_detach, self.lose_the_link] + [self.change_application] * 2 +
                [self.nothing] * 4)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.crowd.failure:
            event = self.random.choice(what)
            self.events[event.__name__] = self.events.get(event.__name__, 0) + 1
            event()
            time.sleep(self.random.uniform(0.2, 2))

    def calm(self):
        self.network_is_good()
        self.server.mode("echo")

    def end(self):
        """In order: every connection finishes, nothing was refused or corrupted, all buffers are back."""
        self.calm()
        self.crowd.stop()
        try:
            t.wait_for(lambda: self.server.stats()["conns"] == 0, "connections closed", 120)
        except t.Failure:
            print(t.guest().sh("ss -tinoem"), flush=True)
            raise
        t.returned(self.server, self.before, 60)
        stats, counters = self.server.stats(), self.server.counters()
        t.eq(stats["corrupt"], 0, "buffers put aside whose content changed")
        for name in ("bad_index", "bad_owner", "bad_place", "bad_flags", "bad_pointers", "nic_bad"):
            t.eq(counters[name], 0, name)
        if self.registered:     # what is congested is closed when TCP has it, or after TCP_LINGER2
            t.eq(counters["accepted"], stats["accepted"], "connections accepted by the module")
            t.wait_for(lambda: self.server.counters()["closed"] == stats["accepted"], "all are closed by the module", 90)
        t.true(self.crowd.answers or self.crowd.datagrams < 100, "some datagrams are answered")
        self.server.quit()

    def kill(self):
        """Under full load."""
        self.crowd.killed = True
        self.server.kill()
        self.network_is_good()
        self.crowd.stop()
        t.wait_for(lambda: t.guest().sh("cat /sys/module/paste/refcnt").strip() == "0", "the module is free", 30)


# Emulated CPUs do not stand code that is patched while they run it, as the first ingress qdisc and the first egress hook of
# all do: here they are not the first.
KEYS_ON = """
    tc qdisc add dev lo clsact
    nft add table netdev soak
    nft 'add chain netdev soak egress { type filter hook egress device lo priority 0; }'
    """
KEYS_OFF = "tc qdisc del dev lo clsact; nft delete table netdev soak"


# [soak cpus=2 queues=2 timeout=600 seconds=7200]
def test_mixed_load():
    """Mixed load on a bad network with peers that vanish and applications that stall and die: no byte wrong, buffers balanced."""
    seed, end = t.seed(), time.monotonic() + t.seconds()
    rnd = random.Random(seed)
    guest = t.guest()
    # Who has vanished is given up within a minute; when it had closed its window, only if probes do not become rare.
    guest.sh("sysctl -qw net.ipv4.tcp_retries2=6; sysctl -qw net.ipv4.tcp_rto_max_ms=5000 2> /dev/null; true")
    guest.sh(KEYS_ON)
    lives = 0
    try:
        while time.monotonic() < end:
            began = time.monotonic()
            life = Life(rnd.randrange(1 << 32))
            try:
                life.go_on(min(rnd.uniform(40, 180), max(end - began, 20)))
                violent = rnd.randrange(3) == 0 and time.monotonic() < end
                print("life %d, %d s, %s: %s; %s" % (lives, time.monotonic() - began, "killed" if violent else "to the end",
                                                     life.crowd, life.events), flush=True)
                if life.crowd.failure:
                    raise life.crowd.failure
                life.kill() if violent else life.end()
            except BaseException:
                life.crowd.killed = life.crowd.ending = True
                with contextlib.suppress(Exception):
                    print("server: %s\ncounters: %s" % (life.server.stats(), t.nonzero(life.server.counters())))
                raise
            finally:
                life.server.kill()
                life.network_is_good()
            lives += 1
            print("life %d ended well after %d s" % (lives - 1, time.monotonic() - began), flush=True)
    finally:
        guest.sh(KEYS_OFF)
        guest.sh("sysctl -qw net.ipv4.tcp_retries2=15; sysctl -qw net.ipv4.tcp_rto_max_ms=120000 2> /dev/null; true")


t.main()
