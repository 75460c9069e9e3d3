"""peer.py - a scripted TCP peer: it sends the segments it is told to and checks what comes back, flags, numbers, times.

    def something(c):
        "The property."
        c.open()                                # handshake, accepted
        c.send("A", b"x" * 100)                 # numbers are kept by us, both streams begin at 1
        c.expect("A", ack=101, within=0.3)
        c.app("write 10")                       # tests/kernel/endpoint.c does as it is told
        c.expect("A", data=10)

Scripts are run by each_way(), one after the other, against three servers at once, which must look the same: a socket, a socket
registered with a stack port, a connection of a registered listener. Each has a NIC of its own (eth2 unattached, eth0, eth1). The peer's address is
nobody's on this machine, so the kernel here keeps out of it; frames go through AF_PACKET on the tap. "P" (push) is not looked
at. A failure shows every segment of that connection. With family=6 all goes over IPv6.
"""

import random
import socket
import struct
import threading
import time

import t

MAC = bytes.fromhex("020000000009")
S, A, F, R, P, U = 2, 16, 1, 4, 8, 32
FLAGS = {"S": S, "A": A, "F": F, "R": R, "P": P, "U": U}
WAYS = {"socket": 2, "port": 0, "listener": 1}   # and the number of its NIC
MSS, WSCALE, SACK_OK, SACK, STAMP = 2, 3, 4, 5, 8
MOD = 1 << 32
IP = {4: "10.%d.0.", 6: "fd%d::"}                # networks of the NICs, from 77 on


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def pattern(start, n):
    """Bytes [start, start + n) of a stream that is known."""
    return (bytes(range(256)) * (n // 256 + 2))[start % 256:start % 256 + n]


def mss(n=1460):
    """The option."""
    return (MSS, struct.pack("!H", n))


def options_to_bytes(options):
    out = b""
    for kind, value in options:
        out += bytes([kind, len(value) + 2]) + value
    return out + b"\1" * (-len(out) % 4)


def options_of(data):
    found = {}
    while data and data[0] != 0:
        if data[0] == 1:
            data = data[1:]
            continue
        if len(data) < 2 or data[1] < 2:
            break
        found[data[0]] = data[2:data[1]]
        data = data[data[1]:]
    return found


class Segment:
    """One of the server's, its numbers relative to the beginnings of the streams (SYN is 0)."""

    def __init__(self, tcp, our_isn, their_isn, when):
        self.seq, self.ack, offset, flags, self.win, _, self.urgent = struct.unpack("!IIBBHHH", tcp[4:20])
        self.flags = flags
        self.data = tcp[offset // 16 * 4:]
        self.options = options_of(tcp[20:offset // 16 * 4])
        self.raw_seq = self.seq
        self.seq = (self.seq - (self.seq if their_isn is None else their_isn)) % MOD
        self.ack = (self.ack - our_isn) % MOD if flags & A else None
        self.when = when

    def letters(self):
        return "".join(x for x in "SFRUA" if self.flags & FLAGS[x])

    def end(self):
        return self.seq + len(self.data) + bool(self.flags & S) + bool(self.flags & F)

    def __str__(self):
        return "%-3s seq %d, %d bytes, ack %s, win %d %s" % (
            self.letters(), self.seq, len(self.data), self.ack, self.win,
            {k: v.hex() for k, v in self.options.items()} or "")


class Server:
    """tests/kernel/endpoint, in one of the three ways."""

    def __init__(self, way, family):
        self.way = way
        self.family = family
        self.nic = WAYS[way]
        self.mac = bytes.fromhex(t.guest().run("cat", "/sys/class/net/eth%d/address" % self.nic).strip().replace(":", ""))
        self.port = 7 + self.nic
        self.process = t.Process(["tests/kernel/endpoint", way, str(self.port), "eth%d" % self.nic, str(family)])
        try:
            t.eq(self.process.readline(), "ready", "first words of the endpoint")
        except Exception:
            self.process.kill()
            raise


class Connection:
    ISN = 1000000

    def __init__(self, server, client_port):
        self.server = server
        self.family = server.family
        network = (IP[self.family] % (77 + server.nic))
        self.guest, self.address = network + "2", network + "9"
        self.full = 1460 if self.family == 4 else 1440  # payload of a full segment of theirs
        self.ports = (client_port, server.port)
        self.log = []
        self.began = time.monotonic()
        self.again()
        protocol = 0x0800 if self.family == 4 else 0x86dd
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        self.sock.bind(("tap%d" % server.nic, protocol))

    def again(self):
        """Another connection with the same ports; the last one is over."""
        self.nxt = 0               # our next sequence number, relative
        self.their_isn = None
        self.rcv = 0               # what we have of theirs
        self.win = 65535
        self.window_shift = 0      # theirs

    def close(self):
        """Nothing of it stays in the guest: what TCP may still have to send is of no use."""
        self.app("next")
        if self.their_isn is not None:
            self.send("RA")
        self.sock.close()

    # ---- the application ----

    def app(self, line, answer="ok"):
        self.note("app: " + line)
        self.server.process.send(line + "\n")
        found = self.server.process.readline(15)
        self.note("app: " + found[:40])
        if answer is not None:
            t.eq(found, answer, "answer to " + line)
        return found

    def app_reads(self, n):
        """What the application has received since it was asked last, waiting for n bytes."""
        return bytes.fromhex(self.app("read %d" % n, None)[1:])

    # ---- segments ----

    def note(self, text):
        self.log.append("%7.3f %s" % (time.monotonic() - self.began, text))

    def send(self, flags, data=b"", seq=None, ack=None, win=None, urgent=0, options=()):
        """Without seq it is the next of our stream, without ack it acknowledges what was expected so far."""
        bits = sum(FLAGS[x] for x in flags)
        at = self.nxt if seq is None else seq
        acked = (self.rcv if ack is None else ack) + (self.their_isn or 0)
        opts = options_to_bytes(options)
        tcp = struct.pack("!HHIIBBHHH", *self.ports, (self.ISN + at) % MOD, acked % MOD if bits & A else 0,
                          (20 + len(opts)) << 2, bits, self.win if win is None else win, 0, urgent) + opts + data
        addresses = self.raw(self.address) + self.raw(self.guest)
        tcp = tcp[:16] + struct.pack("!H", checksum(addresses + struct.pack("!HH", 6, len(tcp)) + tcp)) + tcp[18:]
        if self.family == 4:
            ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0) + addresses
            ip = b"\x08\x00" + ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        else:
            ip = b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(tcp), 6, 64) + addresses
        self.note("> %-3s seq %d, %d bytes, ack %s, win %s" % (flags, at, len(data), (acked - (self.their_isn or 0))
                                                               if bits & A else "-", self.win if win is None else win))
        self.sock.send(self.server.mac + MAC + ip + tcp)
        if seq is None:
            self.nxt += len(data) + bool(bits & S) + bool(bits & F)

    def raw(self, address):
        return socket.inet_pton(socket.AF_INET if self.family == 4 else socket.AF_INET6, address)

    def tcp_of(self, frame):
        """TCP of a frame that is from the server to us, else None."""
        ip = frame[14:]
        if self.family == 4:
            if len(ip) < 40 or ip[9] != 6 or ip[12:20] != self.raw(self.guest) + self.raw(self.address):
                return None
            return ip[(ip[0] & 15) * 4:struct.unpack("!H", ip[2:4])[0]]
        if len(ip) < 60 or ip[6] != 6 or ip[8:40] != self.raw(self.guest) + self.raw(self.address):
            return None
        return ip[40:40 + struct.unpack("!H", ip[4:6])[0]]

    def next(self, within):
        """The server's next segment of this connection, or None."""
        deadline = time.monotonic() + within
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                frame, address = self.sock.recvfrom(70000)
            except socket.timeout:
                return None
            tcp = self.tcp_of(frame)
            if address[2] == socket.PACKET_OUTGOING or not tcp:
                continue
            theirs, ours = struct.unpack("!HH", tcp[:4])
            if self.ports == (ours, None):
                self.ports = (ours, theirs)
            if self.ports != (ours, theirs):
                continue
            seg = Segment(tcp, self.ISN, self.their_isn, time.monotonic())
            if seg.flags & S:
                self.their_isn, seg.seq = seg.raw_seq, 0
            else:
                seg.win <<= self.window_shift
            self.note("< %s" % seg)
            return seg

    def expect(self, flags, data=None, seq=None, ack=None, win=None, urgent=None, within=2.0, after=0.0):
        """
        The next segment, which has to be this one: flags, the bytes or their number (None: no bytes), and what else is given, a
        value or a function that says whether it is right; within, and not before, so many seconds. What comes again because
        our answer was late is passed over, unless seq is asked for.
        """
        start = time.monotonic()
        seg = self.next(within)
        while seg and seq is None and self.known(seg):
            seg = self.next(within)
        what = "%s segment of the server" % flags
        t.true(seg, "no %s within %g s" % (what, within))
        t.eq(seg.letters(), "".join(x for x in "SFRUA" if x in flags), "flags of the " + what)
        expected = b"" if data is None else data
        if isinstance(expected, int):
            t.eq(len(seg.data), expected, "bytes in the " + what)
        else:
            t.eq(seg.data, expected, "bytes of the " + what)
        for name in ("seq", "ack", "win", "urgent"):
            wanted = locals()[name]
            if callable(wanted):
                t.true(wanted(getattr(seg, name)), "%s of the %s is %s" % (name, what, getattr(seg, name)))
            elif wanted is not None:
                t.eq(getattr(seg, name), wanted, "%s of the %s" % (name, what))
        t.ge(seg.when - start, after, "seconds until the " + what)
        if seg.seq <= self.rcv < seg.end():
            self.rcv = seg.end()
        return seg

    def known(self, seg):
        """Nothing in it but what we have."""
        return not seg.flags & (S | R) and seg.seq < seg.end() <= self.rcv

    def silence(self, seconds):
        seg = self.next(seconds)
        t.true(seg is None, "the server sent: %s" % seg)

    def gather(self, n, within=3.0, ack=True):
        """Data segments in order until n bytes more have come; acknowledges them at the end. The segments."""
        end, found = self.rcv + n, []
        deadline = time.monotonic() + within
        while self.rcv < end:
            seg = self.next(deadline - time.monotonic())
            t.true(seg, "only %d of %d bytes came" % (n - (end - self.rcv), n))
            if seg.data and not self.known(seg):
                t.eq(seg.seq, self.rcv, "seq of the next data segment")
                self.rcv = seg.end()
                found.append(seg)
        t.eq(self.rcv, end, "end of the data")
        if ack:
            self.send("A")
        return found

    def drain(self, seconds=0.3):
        """What comes within a while, whatever it is; moves over its data."""
        deadline, found = time.monotonic() + seconds, []
        while True:
            seg = self.next(deadline - time.monotonic())
            if not seg:
                return found
            found.append(seg)
            if seg.seq <= self.rcv < seg.end():
                self.rcv = seg.end()

    def open(self, options=(mss(),), win=65535):
        """Handshake; the server has accepted."""
        self.send("S", win=win, options=options)
        syn = self.expect("SA", ack=1)
        if WSCALE in dict(options) and WSCALE in syn.options:
            self.window_shift = syn.options[WSCALE][0]
        self.win = win
        self.send("A")
        self.app("accept")
        return syn

    def listen(self):
        """The application will connect to us, from a port that its SYN will tell."""
        self.ports = (self.ports[0], None)

    def open_by_app(self, registered=True):
        """Handshake that the application begins; its SYN."""
        self.listen()
        self.app("connect %d" % self.ports[0])
        syn = self.expect("S", seq=0)
        self.send("SA", options=[mss()])
        self.expect("A", seq=1, ack=1)
        if registered:
            self.app("accept")
        return syn


def prepare(segments, neighbour):
    """All NICs: how many segments TCP may leave to the NIC at once; the peer's address, which nobody answers for."""
    lines = []
    for n in WAYS.values():
        lines.append("link set dev eth%d gso_max_segs %d" % (n, segments))
        for network in IP.values():
            lines.append("neigh %s %s9 lladdr %s dev eth%d" % (
                neighbour, network % (77 + n), ":".join("%02x" % b for b in MAC), n))
    t.guest().sh("printf '%s\\n' | ip -batch -" % "\\n".join(lines))


def run_script(script, c, failures):
    """If it fails it shows its segments."""
    try:
        script(c)
    except Exception as error:
        print("--- %s, %s:\n%s\n%s: %s" % (script.__name__, c.server.way, "\n".join(c.log), type(error).__name__, error))
        failures.append("%s, %s" % (script.__name__, c.server.way))
    c.close()


def run_scripts(way, family, scripts, failures):
    """All of them, on one server. This is a thread: what goes wrong, be it that there is no server, is known by failures only."""
    client_port = random.randrange(20000, 60000)
    server = None
    try:
        server = Server(way, family)
        for i, script in enumerate(scripts):
            run_script(script, Connection(server, client_port + i), failures)
    except Exception as error:
        failures.append("%s: %s" % (way, error))
    finally:
        if server:
            server.process.kill()


def each_way(*scripts, ways=tuple(WAYS), family=4):
    """Runs the scripts in all ways at once."""
    failures = []
    prepare(1, "replace")
    threads = [threading.Thread(target=run_scripts, args=(way, family, scripts, failures)) for way in ways]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        prepare(65535, "del")
    t.eq(failures, [], "scripts that failed")
