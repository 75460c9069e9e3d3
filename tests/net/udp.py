"""Datagrams over the NIC, sent back from the buffers they arrived in."""

import random
import socket

import t

UDP_SEGMENT = 103


# [short]
def test_in_place():
    """Datagrams of 1 to 1452 bytes over IPv4 and IPv6 are echoed exactly, and received where the NIC put them."""
    rnd = random.Random(7)
    with t.datagram_server() as server:
        total = 0
        for address in t.GUEST, t.GUEST6:
            total += t.exchange_datagrams(address, [1, 40, 256, 257, 1452] + [rnd.randint(1, 1452) for _ in range(200)], address)
        c = server.counters()
        t.eq((c["bad"], c["rx_in_place"] + c["rx_copied"]), (0, total), "failures, bytes")
        t.ge(c["rx_in_place"], 0.99 * total, "bytes in place")
        t.zero_copy(server)


def test_large():
    """Datagrams up to 65507 bytes, fragmented by IP, and empty ones."""
    rnd = random.Random(8)
    with t.datagram_server() as server:
        for address in t.GUEST, t.GUEST6:
            t.exchange_datagrams(address, [0, 1473, 4096, 9000, 65507, 0] + [rnd.randint(0, 65507) for _ in range(20)], address)
        t.eq(server.counters()["bad"], 0, "failures")


def packets():
    """What IPv4 has received and sent in the guest: a merged packet, or one that is cut later, is one."""
    names, values = [line.split() for line in t.guest().run("cat", "/proc/net/snmp").splitlines() if line.startswith("Ip:")]
    ip = dict(zip(names, values))
    return int(ip["InReceives"]), int(ip["OutRequests"])


# [short]
def test_merged():
    """
    Datagrams of one size that come together are merged for a socket with UDP_GRO, and told of one by one in place; their echoes
    leave as one packet that is cut behind IP.
    """
    rnd, n, bursts = random.Random(9), 25, 40
    with t.datagram_server(gro=True) as server:
        s = t.datagram_socket()
        s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1200)     # all frames of a burst are there at once
        before = packets()
        for turn in range(bursts):
            sent = [rnd.randbytes(1200 if i < n - 1 else rnd.randint(1, 1200)) for i in range(n)]
            s.send(b"".join(sent))
            for i, data in enumerate(sent):
                t.same(s.recv(65536), data, "burst %d, datagram %d" % (turn, i))
        received, replies = (now - then for now, then in zip(packets(), before))
        t.le(received, n * bursts * 3 // 4, "packets received")
        t.le(replies, n * bursts * 3 // 4, "packets sent")
        c = server.counters()
        t.eq(c["bad"], 0, "failures")
        t.ge(c["rx_in_place"], 0.99 * (c["rx_in_place"] + c["rx_copied"]), "bytes in place")
        s.close()


t.main()
