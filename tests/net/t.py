"""t.py - what the test scripts share: the guest, the server that runs in it, clients, checks.

A script has functions test_CASE() and ends in t.main(). Checks raise, and the traceback is the report; skip() ends a test
that cannot run here. What a test starts in the guest ends with it.
"""

import contextlib
import fcntl
import json
import os
import random
import re
import selectors
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(TOP, "lab"))
import vm  # noqa: E402

HOST, HOST6 = "10.77.0.1", "fd77::1"
GUEST, GUEST6 = "10.77.0.2", "fd77::2"
PORT = 7
MEGABYTE = 1 << 20
# On the checked kernel (tests/run --debug) everything may take so many times longer. The functions here that wait see to it.
CHECKED = "PASTE_CHECKED" in os.environ
SLOWER = vm.DEBUG_SLOWER if CHECKED else 1


# ---- checks ----

class Failure(AssertionError):
    pass


def eq(found, expected, what="value"):
    if found != expected:
        raise Failure("%s is %r, expected %r" % (what, found, expected))


def le(found, limit, what="value"):
    if not found <= limit:
        raise Failure("%s is %r, expected at most %r" % (what, found, limit))


def ge(found, limit, what="value"):
    if not found >= limit:
        raise Failure("%s is %r, expected at least %r" % (what, found, limit))


def true(fact, what):
    if not fact:
        raise Failure(what)


def skip(why):
    print(why)
    sys.exit(77)


def wait_for(condition, what, seconds=15):
    """Waits until the function returns something true, and returns that."""
    deadline = time.monotonic() + seconds * SLOWER
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure("within %g s not true: %s" % (seconds, what))
        time.sleep(0.05)


def settled(value, what, pause=0.5):
    """What a function returns, once it is the same twice."""
    seen = [value()]

    def same_again():
        time.sleep(pause)
        seen.append(value())
        return seen[-1] == seen[-2]
    wait_for(same_again, what + " does not change any more")
    return seen[-1]


def announce(pattern):
    """The kernel log will have a complaint that matches; without this it fails the test, with it its absence does."""
    with open(os.path.join(os.environ["PASTE_TEST_DIR"], "announced"), "a") as f:
        f.write(pattern + "\n")


def seed():
    """Another one each time, unless tests/run was told one; it is in the test's output."""
    value = int(os.environ.get("PASTE_TEST_SEED") or str(random.SystemRandom().randrange(1 << 32)), 0)
    print("seed %#x" % value, flush=True)
    return value


def seconds():
    """How long a test is to run that has the option seconds=."""
    return int(os.environ["PASTE_TEST_SECONDS"])


def tolerate(pattern):
    """The kernel log may have complaints that match, and may have none."""
    with open(os.path.join(os.environ["PASTE_TEST_DIR"], "tolerated"), "a") as f:
        f.write(pattern + "\n")


# ---- the guest ----

class GuestDied(Failure):
    pass


class Process:
    """A command that runs in the guest."""

    def __init__(self, argv, cwd="/paste"):
        self.argv = argv
        self.out = self.err = b""
        self.status = None
        directory = os.open(os.environ["PASTE_LAB_VM"], os.O_PATH)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/proc/self/fd/%d/control" % directory)  # the whole path may be too long for an address
        os.close(directory)
        self.sock.sendall(vm.pack(0, vm.RUN, vm.run_frame(argv, cwd)))

    def send(self, text):
        data = text.encode() if isinstance(text, str) else text
        for i in range(0, len(data), 32768):
            self.sock.sendall(vm.pack(0, vm.INPUT, data[i:i + 32768]))

    def end_input(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a quick command is over already
            self.sock.sendall(vm.pack(0, vm.INPUT))

    def signal(self, number):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(vm.pack(0, vm.SIGNAL, bytes([number])))

    def exactly(self, n, deadline):
        data = b""
        while len(data) < n:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure("no answer from: " + " ".join(self.argv))
            self.sock.settimeout(left)
            try:
                part = self.sock.recv(n - len(data))
            except socket.timeout:
                continue
            if not part:
                raise GuestDied("the guest died")
            data += part
        return data

    def frame(self, deadline):
        """Reads one frame from the guest; false after the last one."""
        if self.status is not None:
            return False
        _, kind, length = vm.FRAME.unpack(self.exactly(vm.FRAME.size, deadline))
        data = self.exactly(length, deadline)
        if kind == vm.OUTPUT:
            self.out += data
        elif kind == vm.ERROR:
            self.err += data
            sys.stderr.write(data.decode(errors="replace"))
            sys.stderr.flush()
        elif kind == vm.EXIT:
            if not data:
                raise GuestDied("the guest died")
            self.status = vm.exit_code(*struct.unpack("<I", data))
            self.sock.close()
        return True

    def readline(self, seconds=30):
        deadline = time.monotonic() + seconds * SLOWER
        while b"\n" not in self.out:
            if not self.frame(deadline):
                raise Failure("%s ended with status %d" % (" ".join(self.argv), self.status))
        line, self.out = self.out.split(b"\n", 1)
        return line.decode()

    def wait(self, seconds=30):
        """Status of the command, whose further output is in .out and .err."""
        deadline = time.monotonic() + seconds * SLOWER
        while self.frame(deadline):
            pass
        return self.status

    def kill(self, seconds=10):
        if self.status is None:
            self.signal(9)
            self.wait(seconds)


class Guest:
    def start(self, *argv):
        return Process([str(word) for word in argv])

    def status(self, *argv, timeout=30):
        """Runs a command; returns its status and output."""
        process = self.start(*argv)
        process.end_input()
        try:
            status = process.wait(timeout)
        except Failure:
            with contextlib.suppress(Exception):
                process.signal(9)
            raise
        return status, process.out.decode(errors="replace")

    def run(self, *argv, timeout=30):
        """Runs a command that must succeed; returns its output."""
        status, output = self.status(*argv, timeout=timeout)
        if status:
            raise Failure("%s: status %d\n%s" % (" ".join(map(str, argv)), status, output))
        return output

    def sh(self, script, timeout=30):
        return self.run("sh", "-ec", script, timeout=timeout)


def guest():
    return Guest()


def kernel():
    """The guest's, as (7, 3)."""
    return tuple(int(n) for n in re.match(r"(\d+)\.(\d+)", Guest().run("uname", "-r")).groups())


# ---- the server in the guest (tests/kernel/server.c) ----

class Server:
    """tests/kernel/server; keyword arguments are its options, commands are its lines.  space: the guest's namespace it runs in."""

    def __init__(self, ready=True, space=None, **options):
        argv = (["ip", "netns", "exec", space] if space else []) + ["tests/kernel/server"]
        options.setdefault("attach", "stack:eth0")
        for key, value in options.items():
            if value is True:
                argv.append("--" + key.replace("_", "-"))
            elif value is not None and value is not False:
                argv += ["--" + key.replace("_", "-"), str(value)]
        self.port = options.get("port", "stack:0").split("-")[0]
        self.process = Process(argv)
        self.info = json.loads(self.process.readline()) if ready else None
        self.pid = self.info["pid"] if ready else None

    def command(self, line, seconds=30):
        self.process.send(line + "\n")
        answer = json.loads(self.process.readline(seconds))
        if "error" in answer:
            raise Failure("server, %s: %s" % (line, answer["error"]))
        return answer

    def mode(self, mode):
        self.command("mode " + mode)

    def stats(self):
        return self.command("stats")

    def ends(self):
        """What events have told since the last call, in order: "eos" and names of errnos."""
        return self.command("ends")["ends"]

    def counters(self):
        """The module's counters: those of the port, and the sum over its rings."""
        return self.command("counters")

    def quit(self, seconds=30):
        """Ends it in order; its last word is returned."""
        self.process.send("quit\n")
        last = json.loads(self.process.readline(seconds))
        eq(self.process.wait(seconds), 0, "status of the server")
        return last

    def kill(self, seconds=10):
        self.process.kill(seconds)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            with contextlib.suppress(Exception):
                print("server: %s" % json.dumps(self.stats()))
                print("counters: %s" % json.dumps(nonzero(self.counters())))
            with contextlib.suppress(Exception):
                self.kill(3)
        elif self.process.status is None:
            self.quit()


def zero_copy(server):
    """Whether the NICs, those of the lab, are in zero-copy mode. On 7.3 all must be; the driver of 6.12 and 6.1 has none."""
    c = server.counters()
    if kernel() >= (7, 3):
        eq((c["nic_zero_copy"], c["nics"] > 0), (c["nics"], True), "NICs in zero-copy mode, and whether there are any")
    return c["nic_zero_copy"] > 0


def nonzero(counters):
    return {key: value for key, value in counters.items() if value}


BUFFERS = ("buf_free", "buf_nic", "buf_stack", "buf_user", "buf_sent")


def buffers(server):
    """Buffers by state, whose sum is checked."""
    c = server.counters()
    states = {key: c[key] for key in BUFFERS}
    eq(sum(states.values()), c["buf_total"], "sum of the buffers in all states")
    return states


def settled_buffers(server, seconds=15):
    """
    Buffers by owner once nothing is in flight any more: the application's, and the others, of which the NIC has more
    or less.
    """
    def settled():
        states = buffers(server)
        if states["buf_stack"] or states["buf_sent"]:
            return None
        return {"application": states["buf_user"], "free or with the NIC": states["buf_free"] + states["buf_nic"]}
    try:
        return wait_for(settled, "no buffer in the kernel's TCP/IP", seconds)
    except Failure:
        raise Failure("buffers stay in the kernel's TCP/IP: %s" % buffers(server))


def returned(server, before, seconds=10):
    """Nothing is in flight any more, and the application owns as many buffers as before."""
    try:
        wait_for(lambda: settled_buffers(server) == before, "buffers are back", seconds)
    except Failure:
        eq(settled_buffers(server), before, "buffers by owner")


# ---- clients ----

MPTCP, SCTP = 262, 132


def connect(address=GUEST, port=PORT, seconds=10, rcvbuf=0, sndbuf=0, bind=None, nodelay=True, protocol=0, local_port=0):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM, protocol)
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    if sndbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
    if bind:
        s.bind((bind, 0))
    if local_port:      # others may have it as well, to other addresses
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("", local_port))
    if protocol != SCTP:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay)
    s.settimeout(seconds * SLOWER)
    s.connect((address, port))
    return s


def receive(s, n, seconds=20):
    """Exactly n bytes."""
    data = bytearray()
    deadline = time.monotonic() + seconds * SLOWER
    while len(data) < n:
        s.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            part = s.recv(min(n - len(data), MEGABYTE))
        except socket.timeout:
            raise Failure("received %d of %d bytes within %g s" % (len(data), n, seconds))
        if not part:
            raise Failure("connection ended after %d of %d bytes" % (len(data), n))
        data += part
    return bytes(data)


def receive_all(s, seconds=30, limit=1 << 30):
    """Everything up to the end of stream."""
    data = bytearray()
    deadline = time.monotonic() + seconds * SLOWER
    while len(data) < limit:
        s.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            part = s.recv(MEGABYTE)
        except socket.timeout:
            raise Failure("no end of stream within %g s, after %d bytes" % (seconds, len(data)))
        if not part:
            break
        data += part
    return bytes(data)


def reset(s):
    """Closes with RST."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def same(received, sent, what="stream"):
    """Byte for byte; a difference is described, not printed."""
    if received == sent:
        return
    n = min(len(received), len(sent))
    first = next((i for i in range(n) if received[i] != sent[i]), n)
    hint = ""
    if first < len(received):
        window = received[first:first + 32]
        at = sent.find(window) if len(window) == 32 else -1
        hint = "; what is there instead belongs at %d" % at if at >= 0 else "; what is there instead is not in the stream"
    raise Failure("%s: received %d bytes, sent %d, first difference at %d%s" % (what, len(received), len(sent), first, hint))


def echoed(s, data, seconds=20):
    """Sends and checks that the same comes back.  For what fits into socket buffers on the way."""
    s.settimeout(seconds * SLOWER)
    s.sendall(data)
    same(receive(s, len(data), seconds), data)


def unacknowledged(s):
    """Bytes that were sent and that the peer's TCP has not confirmed."""
    return int.from_bytes(fcntl.ioctl(s, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


class Flow:
    """One connection to an echo server: random content, random sizes of sends, every byte compared as it comes back."""

    def __init__(self, sock, total, seed, sizes=(1, 20000)):
        self.sock = sock
        self.random = random.Random(seed)
        self.block = self.random.randbytes(200003)  # not a multiple of anything that matters
        self.total = total
        self.sizes = sizes
        self.sent = self.got = 0
        self.out = b""
        self.paused = False  # does not read
        self.ended = False
        sock.setblocking(False)

    def content(self, at, n):
        """Bytes [at, at + n) of the stream; every round of the block differs by what it is rotated by."""
        parts = []
        while n:
            turn, offset = divmod(at, len(self.block))
            part = self.block[(offset + 0):offset + n]
            if turn:
                part = part.translate(rotation(turn % 255))
            parts.append(part)
            at += len(part)
            n -= len(part)
        return b"".join(parts)

    def write(self):
        if not self.out:
            low, high = self.sizes
            n = min(self.random.randint(low, high), self.total - self.sent)
            self.out = self.content(self.sent, n)
        n = self.sock.send(self.out)
        self.sent += n
        self.out = self.out[n:]

    def read(self):
        data = self.sock.recv(262144)
        if not data:
            raise Failure("the connection ended after %d of %d bytes" % (self.got, self.total))
        if self.got + len(data) > self.sent:
            raise Failure("received %d bytes, sent only %d" % (self.got + len(data), self.sent))
        expected = self.content(self.got, len(data))
        if data != expected:
            same(data, expected, "bytes from %d on" % self.got)
        self.got += len(data)

    @property
    def done(self):
        return self.got == self.total


_rotations = {}


def rotation(n):
    if n not in _rotations:
        _rotations[n] = bytes((i + n) & 255 for i in range(256))
    return _rotations[n]


def run_flows(flows, seconds=60, until=None, window=None):
    """
    Drives flows until all are done (a paused one is when it has sent all), or until() is true.  A flow that does not move
    is a failure.  window: bytes a flow may have under way.
    """
    with selectors.DefaultSelector() as selector:
        for flow in flows:
            selector.register(flow.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, flow)
        deadline = time.monotonic() + seconds * SLOWER
        while not all(flow.done or flow.paused and flow.sent == flow.total for flow in flows) and not (until and until()):
            if time.monotonic() > deadline:
                stuck = ["%d of %d bytes back, %d sent" % (f.got, f.total, f.sent) for f in flows if not f.done]
                raise Failure("not done within %g s: %d flow(s), the first: %s" % (seconds, len(stuck), stuck[0]))
            for flow in flows:
                may_send = flow.sent < flow.total and (window is None or flow.sent - flow.got < window)
                events = may_send * selectors.EVENT_WRITE | (not flow.paused) * selectors.EVENT_READ
                set_events(selector, flow, events)
            if not selector.get_map():
                time.sleep(0.01)
                continue
            for key, mask in selector.select(0.2):
                with contextlib.suppress(BlockingIOError):
                    if mask & selectors.EVENT_WRITE:
                        key.data.write()
                with contextlib.suppress(BlockingIOError):
                    if mask & selectors.EVENT_READ:
                        key.data.read()


def set_events(selector, flow, events):
    registered = flow.sock in selector.get_map()
    if not events and registered:
        selector.unregister(flow.sock)
    elif events and not registered:
        selector.register(flow.sock, events, flow)
    elif events and selector.get_key(flow.sock).events != events:
        selector.modify(flow.sock, events, flow)


def exchange(n=1, total=MEGABYTE, address=GUEST, port=PORT, seconds=60, seed=1, sizes=(1, 20000), window=None, **options):
    """n connections at once, each echoing that many bytes; closes them in the end."""
    flows = [Flow(connect(address, port, **options), total, seed * 1000 + i, sizes) for i in range(n)]
    run_flows(flows, seconds, window=window)
    for flow in flows:
        flow.sock.close()


@contextlib.contextmanager
def steered(address=GUEST, port=PORT):
    """Meanwhile a registered socket has the port number, so that new connections receive in place from their first byte."""
    with connect(address, port) as s:
        echoed(s, b"steered from now on")
        yield


class Traffic:
    """
    Flows in the background, until stop(), which has the rest of the echo come and raises what went wrong meanwhile.
    A with block stops it.
    """

    def __init__(self, flows, window=65536):
        self.flows = flows
        self.window = window
        self.ending = False
        self.failure = None
        for flow in flows:
            flow.total = 1 << 50
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        try:
            run_flows(self.flows, 1000, until=lambda: self.ending, window=self.window)
        except Exception as error:
            self.failure = error

    @property
    def got(self):
        return sum(flow.got for flow in self.flows)

    def moves(self, what="the traffic goes on", seconds=20):
        """Waits until every flow has had back a window's worth that had not been sent before."""
        sent = [flow.sent + self.window for flow in self.flows]
        wait_for(lambda: self.failure or all(flow.got > n for flow, n in zip(self.flows, sent)), what, seconds)
        if self.failure:
            raise self.failure

    def halt(self):
        """Stops sending and receiving, whatever is under way."""
        self.ending = True
        self.thread.join()

    def stop(self, seconds=30):
        self.halt()
        if self.failure:
            raise self.failure
        for flow in self.flows:
            flow.total = flow.sent + len(flow.out)
        run_flows(self.flows, seconds)
        for flow in self.flows:
            flow.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            self.halt()
        else:
            self.stop()


# ---- datagrams ----

class DatagramServer:
    """tests/kernel/datagrams: sends datagrams back.  space: the guest's namespace it runs in; gro: its socket has UDP_GRO."""

    def __init__(self, interface, space, gro):
        argv = (["ip", "netns", "exec", space] if space else []) + ["tests/kernel/datagrams", interface, str(PORT)]
        argv += ["gro"] if gro else []
        self.process = Process(argv)
        json.loads(self.process.readline())

    def counters(self):
        self.process.send("counters\n")
        return json.loads(self.process.readline())


@contextlib.contextmanager
def datagram_server(interface="eth0", space=None, gro=False):
    server = DatagramServer(interface, space, gro)
    try:
        yield server
        server.process.end_input()
        eq(server.process.wait(), 0, "status of the server")
    finally:
        server.process.kill()


def datagram_socket(address=GUEST, port=PORT):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(10 * SLOWER)
    s.connect((address, port))
    return s


def datagram_echoed(s, data, what="datagram"):
    s.send(data)
    same(s.recv(65536), data, what)


def exchange_datagrams(address, sizes, seed, sockets=5):
    """Each datagram comes back as it was, to the socket that sent it; the bytes."""
    rnd = random.Random(seed)
    socks = [datagram_socket(address) for _ in range(sockets)]
    for i, size in enumerate(sizes):
        datagram_echoed(socks[i % sockets], rnd.randbytes(size), "datagram %d of %d bytes" % (i, size))
    for s in socks:
        s.close()
    return sum(sizes)


# A client in the guest itself: address, port, connections, bytes each, protocol, largest send.
INSIDE = """
import sys
sys.path.append("tests/net")
import t
address, port, n, total, protocol, largest = sys.argv[1], *map(int, sys.argv[2:7])
t.exchange(n, total, address, port, seconds=60, protocol=protocol, sizes=(1, largest))
"""


def exchange_inside(address, port=PORT, connections=3, total=MEGABYTE // 2, protocol=0, largest=20000):
    """exchange(), by a client in the guest."""
    guest().run("python3", "-c", INSIDE, address, port, connections, total, protocol, largest, timeout=90)


def run_program(argv):
    """A command of this machine, in the guest's network, that must succeed."""
    result = subprocess.run([str(word) for word in argv], capture_output=True, text=True)
    if result.returncode:
        raise Failure("%s: status %d\n%s%s" % (" ".join(map(str, argv)), result.returncode, result.stdout, result.stderr))
    return result.stdout


# ---- the guest's other side ----

@contextlib.contextmanager
def ordinary_server(port=2000):
    """An echo server in the guest that has nothing to do with the module."""
    process = Guest().start("socat", "TCP6-LISTEN:%d,reuseaddr,ipv6only=0,fork" % port, "EXEC:cat")

    def listens():
        with contextlib.suppress(OSError):
            connect(port=port, seconds=2).close()
            return True
    try:
        wait_for(listens, "an ordinary server in the guest")
        yield
    finally:
        process.kill()


def find_neighbours():
    """Both ends forget each other's address and find it again."""
    run_program(["ip", "neigh", "flush", "dev", "tap0"])
    guest().run("ip", "neigh", "flush", "dev", "eth0")
    ge(ping(count=10), 1, "answers to ping after forgetting addresses")
    ge(ping(GUEST6, 10), 1, "answers to IPv6 ping after forgetting addresses")
    true("lladdr" in run_program(["ip", "neigh", "show", GUEST, "dev", "tap0"]), "ARP has the guest")
    true("lladdr" in guest().run("ip", "neigh", "show", HOST, "dev", "eth0"), "the guest's ARP has this machine")


def ordinary_datagrams(port=2001):
    """A server of UDP in the guest that has nothing to do with the module answers, in fragments too."""
    server = guest().start("socat", "-b", "65536", "UDP4-LISTEN:%d,fork,reuseaddr" % port, "EXEC:cat")
    try:
        wait_for(lambda: guest().run("ss", "-Hunl", "sport = :%d" % port), "a server of UDP")
        with datagram_socket(port=port) as s:
            s.settimeout(5 * SLOWER)
            for n in 1, 100, 1400, 4000:
                datagram_arrives(s, random.Random(n).randbytes(n))
    finally:
        server.kill()


def datagram_arrives(s, data):
    """Its echo, that is, of one of three: a datagram may be lost."""
    for _ in range(3):
        s.send(data)
        with contextlib.suppress(OSError):
            same(s.recv(65536), data, "UDP")
            return
    raise Failure("no answer to %d bytes by UDP" % len(data))


def ordinary_traffic():
    """The guest is reachable as any host: ARP, ping, UDP, TCP to a port that is nobody's but the kernel's."""
    find_neighbours()
    ge(ping(count=3), 2, "answers to three pings")
    ordinary_datagrams()
    with ordinary_server(), connect(port=2000, seconds=5) as s:
        echoed(s, b"ordinary " * 20000)


SPACE, SPACE6 = "10.99.0.2", "fd99::2"


@contextlib.contextmanager
def space(name="t"):
    """
    A network namespace in the guest, reached through it as a router:
    this machine - eth0, veth0 of the guest - veth1 (SPACE, SPACE6) in the namespace.

    veth0 finishes checksums itself (tx off): what a veth hands to XDP it hands over as it is, and between veths checksums
    are usually left for somebody who never comes.
    """
    guest = Guest()
    guest.sh("""
        ip netns add %(name)s
        ip link add veth0 type veth peer name veth1 netns %(name)s
        sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
        ip addr add 10.99.0.1/24 dev veth0; ip addr add fd99::1/64 dev veth0 nodad
        ip link set veth0 up
        ethtool -K veth0 tx off > /dev/null
        ip -n %(name)s link set lo up
        ip -n %(name)s addr add 10.99.0.2/24 dev veth1; ip -n %(name)s addr add fd99::2/64 dev veth1 nodad
        ip -n %(name)s link set veth1 up
        ip -n %(name)s route add default via 10.99.0.1; ip -n %(name)s route add default via fd99::1
        """ % {"name": name})
    try:
        for network, router in (("10.99.0.0/24", GUEST), ("fd99::/64", GUEST6)):
            run_program(["ip", "route", "replace", network, "via", router])
        yield name
    finally:
        for network in ("10.99.0.0/24", "fd99::/64"):
            subprocess.run(["ip", "route", "del", network], capture_output=True)
        guest.run("sh", "-c", """
            ip link del veth0 2> /dev/null
            [ ! -e /run/netns/%(name)s ] || { kill -9 $(ip netns pids %(name)s); ip netns del %(name)s; } 2> /dev/null
            sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
            """ % {"name": name})


@contextlib.contextmanager
def tracefs():
    """/sys/kernel/tracing of the guest."""
    mounted = guest().status("mountpoint", "-q", "/sys/kernel/tracing")[0] == 0
    if not mounted:
        guest().run("mount", "-t", "tracefs", "nodev", "/sys/kernel/tracing")
    try:
        yield
    finally:
        if not mounted:
            guest().run("umount", "/sys/kernel/tracing")


def restore_eth0():
    """After eth0 was away, or down, which loses what was configured."""
    Guest().sh("""
        ip link set eth0 up
        ip addr replace 10.77.0.2/24 dev eth0
        ip addr replace fd77::2/64 dev eth0 nodad
        ip route replace default via 10.77.0.1
        """)
    wait_for(lambda: ping(count=1) and ping(GUEST6, 1), "the guest answers again")


def ping(address=GUEST, count=3, interval=0.2):
    """Answers to pings."""
    result = subprocess.run(["ping", "-n", "-c", str(count), "-i", str(interval), "-W", "2", address],
                            capture_output=True, text=True)
    found = re.search(r"(\d+) received", result.stdout)
    return int(found.group(1)) if found else 0


def main():
    case = sys.argv[1] if len(sys.argv) > 1 else ""
    module = sys.modules["__main__"]
    function = getattr(module, "test_" + case, None)
    if not function:
        sys.exit("usage: %s CASE\ncases: %s" % (sys.argv[0], " ".join(
            name[5:] for name in dir(module) if name.startswith("test_"))))
    try:
        function()
    except Exception as error:
        trace = traceback.extract_tb(error.__traceback__)
        for frame in trace:
            if "/tests/" in frame.filename:
                print("%s:%d: %s" % (os.path.relpath(frame.filename, TOP), frame.lineno, frame.line))
        print("%s: %s" % (type(error).__name__, error))
        sys.exit(1)
