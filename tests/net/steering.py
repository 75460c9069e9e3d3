"""What of a NIC's traffic comes through the port: what is for a local port of its registered sockets, and nothing else."""

import contextlib
import socket

import t

NOTHING = b"\1" * 4                             # IPv4: four options that do nothing
PADDING = bytes([0, 0, 1, 4, 0, 0, 0, 0])       # IPv6: a header of destination options, all padding
IPV6_DSTOPTS = 59


def frames(server):
    return t.settled(lambda: server.counters()["nic_frames"], "the number of frames taken from NICs")


@contextlib.contextmanager
def taken(server, least, what):
    """Of what is done meanwhile the port takes so many frames at least; none at all if that is 0."""
    before = frames(server)
    yield
    n = frames(server) - before
    if least:
        t.ge(n, least, "frames taken: " + what)
    else:
        t.eq(n, 0, "frames taken: " + what)


def registered(server, n):
    t.wait_for(lambda: server.counters()["sockets"] == n, "registered sockets: %d" % n)


def datagrams_echoed(address, port, sizes):
    with t.datagram_socket(address, port) as s:
        for n in sizes:
            t.datagram_echoed(s, bytes(n), "datagram of %d bytes" % n)


# [short]
def test_other_ports():
    """Beside a registered socket TCP to other ports, UDP to the same one, ping and ARP work, and the port takes no frame of it."""
    guest = t.guest()
    udp = guest.start("socat", "-b", "65536", "UDP6-LISTEN:%d,ipv6only=0,fork,reuseaddr" % t.PORT, "EXEC:cat")
    try:
        t.wait_for(lambda: guest.run("ss", "-Hunl", "sport = :%d" % t.PORT), "a server of UDP")
        with t.Server() as server, t.ordinary_server():
            s = t.connect()
            with taken(server, 50, "to a registered socket"):
                t.echoed(s, bytes(100000))
            for address in t.GUEST, t.GUEST6:
                with taken(server, 0, "to another TCP port of " + address):
                    t.exchange(2, 100000, address, 2000)
                with taken(server, 0, "to the same port of UDP, " + address):
                    datagrams_echoed(address, t.PORT, (1, 1000, 1400))
                with taken(server, 0, "ping and address resolution of " + address):
                    t.run_program(["ip", "neigh", "flush", "dev", "tap0"])
                    t.ge(t.ping(address, 5), 3, "answers to ping")
            with taken(server, 50, "to a registered socket, at last"):
                t.echoed(s, bytes(100000))
    finally:
        udp.kill()


def with_options(address):
    """A connection all of whose packets have IPv4 options, or an extension header of IPv6."""
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    if ":" in address:
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, PADDING)
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, NOTHING)
    s.settimeout(10 * t.SLOWER)
    s.connect((address, t.PORT))
    return s


# [short]
def test_unusual_packets():
    """Packets with IPv4 options or IPv6 extension headers, and fragments, are received; the port takes no frame of them."""
    with t.Server(udp=t.PORT) as server:
        for address in t.GUEST, t.GUEST6:
            with t.steered(address), taken(server, 50, "of TCP, to " + address):
                t.exchange(1, 100000, address)
            with taken(server, 0, "with options, to " + address):
                with with_options(address) as s:
                    for _ in range(5):
                        t.echoed(s, bytes(20000))
            with taken(server, 4, "of UDP, to " + address):
                datagrams_echoed(address, t.PORT, (1, 100, 1000, 1400))
            with taken(server, 0, "in fragments, to " + address):
                datagrams_echoed(address, t.PORT, (1473, 2000, 3000, 3800))
        t.eq(server.stats()["rx_bytes"], 2 * (200000 + 2501 + 10273 + len(b"steered from now on")), "bytes the application got")


# [short]
def test_last_socket():
    """
    A local port is steered from its first registered socket to its last: until then what is for it comes through the buffers,
    another program's connections too (README, Security); not before, and not afterwards, when another program has it.
    """
    with t.Server(mode="stall") as server:
        with taken(server, 0, "before the first one is registered"):
            first = t.connect()
            first.sendall(bytes(1000))
        server.mode("echo")
        t.same(t.receive(first, 1000), bytes(1000))
        second = t.connect(t.GUEST6)
        t.echoed(second, b"registered")
        registered(server, 2)
        server.command("unlisten")
        with t.ordinary_server(t.PORT):
            for n, s in (2, first), (1, second):
                with taken(server, 50, "of another program, with %d registered" % n):
                    t.exchange(2, 100000)
                s.close()
                registered(server, n - 1)
            for address in t.GUEST, t.GUEST6:
                with taken(server, 0, "after the last one was forgotten, to " + address):
                    t.exchange(2, 100000, address)


# [short]
def test_last_listener():
    """The same of a registered listener: from its first packet on; it does as the last socket; not when it is closed."""
    with t.Server(registered=True) as server:
        with taken(server, 3, "a handshake, and the end of it"):
            t.connect().close()
        registered(server, 1)
        server.command("unlisten")
        registered(server, 0)
        with taken(server, 0, "refused, after the listener was closed"):
            with contextlib.suppress(ConnectionRefusedError):
                raise t.Failure("connected: %s" % t.connect())
        with t.ordinary_server(t.PORT):
            for address in t.GUEST, t.GUEST6:
                with taken(server, 0, "after the listener was closed, to " + address):
                    t.exchange(2, 100000, address)


t.main()
