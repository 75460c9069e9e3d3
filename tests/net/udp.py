"""Datagrams over the NIC, sent back from the buffers they arrived in."""

import random

import t


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


t.main()
