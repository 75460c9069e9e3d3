"""apps/udpecho: datagrams come back as they were, by both back ends."""

import contextlib
import random
import re
import signal
import socket

import t

PORT = 5300
PEERS = 5
ROUNDS = 40
LARGE = 5000        # in several slots, in fragments on the wire


@contextlib.contextmanager
def udpecho(*arguments):
    """The server; ended by a signal, it tells what it answered: in .answered."""
    process = t.guest().start("apps/udpecho/udpecho", *arguments)
    try:
        process.readline()
        yield process
        process.signal(signal.SIGTERM)
        t.eq(process.wait(), 0, "status of the server")
        process.answered, errors = map(int, re.search(rb"datagrams (\d+) errors (\d+)", process.out).groups())
        t.eq(errors, 0, "errors")
    finally:
        process.kill()


def exchange(address, seed):
    """Rounds of a datagram from each peer, all under way at once; returns how many."""
    rnd = random.Random(seed)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(PEERS)]
        for s in peers:
            s.settimeout(10 * t.SLOWER)
            s.connect((address, PORT))
        sizes = [[0] * PEERS, [1400] * PEERS, [LARGE] + [100] * (PEERS - 1)]
        sizes += [[rnd.randint(0, 1400) for _ in peers] for _ in range(ROUNDS)]
        for n, row in enumerate(sizes):
            sent = [rnd.randbytes(size) for size in row]
            for s, data in zip(peers, sent):
                s.send(data)
            for s, data in zip(peers, sent):
                t.same(s.recv(65536), data, "%s, datagram %d of %d bytes" % (address, n, len(data)))
    return PEERS * len(sizes)


def exchanges(*arguments):
    with udpecho(*arguments) as process:
        total = sum(exchange(address, address) for address in (t.GUEST, t.GUEST6))
    t.eq(process.answered, total, "answers")


def test_epoll():
    """Random datagrams of 0 to 1400 bytes and one of 5000, from several peers over IPv4 and IPv6: sockets."""
    exchanges("--backend", "epoll")


# [short]
def test_paste():
    """The same by the slots of a stack port."""
    exchanges("--backend", "paste", "--interface", "eth0")


def test_busy():
    """The same by both, without sleeping."""
    exchanges("--backend", "epoll", "--busy-poll")
    exchanges("--backend", "paste", "--interface", "eth0", "--busy-poll")


t.main()
