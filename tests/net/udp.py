"""Datagrams over the NIC, sent back from the buffers they arrived in."""

import contextlib
import json
import random
import socket

import t


@contextlib.contextmanager
def echo_server():
    process = t.guest().start("tests/kernel/datagrams", "eth0", t.PORT)
    try:
        json.loads(process.readline())
        yield process
        process.end_input()
        t.eq(process.wait(), 0, "status of the server")
    finally:
        process.kill()


def counters(process):
    process.send("counters\n")
    return json.loads(process.readline())


def exchange(address, sizes, seed, sockets=5):
    """Each datagram comes back as it was, to the socket that sent it."""
    rnd = random.Random(seed)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    socks = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(sockets)]
    for s in socks:
        s.settimeout(10)
        s.connect((address, t.PORT))
    for i, size in enumerate(sizes):
        s = socks[i % sockets]
        data = rnd.randbytes(size)
        s.send(data)
        t.same(s.recv(65536), data, "datagram %d of %d bytes" % (i, size))
    for s in socks:
        s.close()
    return sum(sizes)


# [short]
def test_in_place():
    """Datagrams of 1 to 1452 bytes over IPv4 and IPv6 are echoed exactly, and received where the NIC put them."""
    rnd = random.Random(7)
    with echo_server() as process:
        total = 0
        for address in t.GUEST, t.GUEST6:
            total += exchange(address, [1, 40, 256, 257, 1452] + [rnd.randint(1, 1452) for _ in range(200)], address)
        c = counters(process)
        t.eq((c["bad"], c["rx_in_place"] + c["rx_copied"]), (0, total), "failures, bytes")
        t.ge(c["rx_in_place"], 0.99 * total, "bytes in place")


def test_large():
    """Datagrams up to 65507 bytes, fragmented by IP, and empty ones."""
    rnd = random.Random(8)
    with echo_server() as process:
        for address in t.GUEST, t.GUEST6:
            exchange(address, [0, 1473, 4096, 9000, 65507, 0] + [rnd.randint(0, 65507) for _ in range(20)], address)
        t.eq(counters(process)["bad"], 0, "failures")


t.main()
