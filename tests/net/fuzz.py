"""Random use and abuse of the interface (tests/fuzz), with this machine as one of the peers."""

import contextlib
import os
import random
import select
import socket
import threading
import time

import t

HOST_PORT = 7100             # as tests/fuzz/sockets.c has them
LISTENERS = range(7001, 7005)


class Peer(threading.Thread):
    """
    The host's side: a server that echoes, ignores or resets, and clients that try the guest's listeners; UDP sockets that
    echo, mostly, and send to the same port numbers.
    """

    def __init__(self, seed):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.listener = socket.create_server((t.HOST, HOST_PORT), backlog=64)
        self.listener.setblocking(False)
        self.socks = []
        self.datagrams = {t.GUEST: self.bound(socket.AF_INET, t.HOST), t.GUEST6: self.bound(socket.AF_INET6, t.HOST6)}
        self.ending = False

    @staticmethod
    def bound(family, address):
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.bind((address, HOST_PORT))
        s.setblocking(False)
        return s

    def arrive(self):
        with contextlib.suppress(OSError):
            s = self.listener.accept()[0]
            s.setblocking(False)
            self.socks.append(s)

    def knock(self):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((t.GUEST, self.random.choice(LISTENERS)))
        self.socks.append(s)

    def answer(self, s):
        with contextlib.suppress(OSError):
            for _ in range(100):
                data, sender = s.recvfrom(65536)
                if self.random.randrange(4):
                    s.sendto(data, sender)

    def send_datagrams(self):
        """Some of one size, so that they are merged, and perhaps a large one behind them."""
        address = self.random.choice((t.GUEST, t.GUEST6))
        to, n = (address, self.random.choice(LISTENERS)), self.random.randrange(1473)
        with contextlib.suppress(OSError):
            for _ in range(self.random.randrange(1, 20)):
                self.datagrams[address].sendto(bytes(n), to)
            if self.random.randrange(4) == 0:
                self.datagrams[address].sendto(bytes(self.random.randrange(30000)), to)

    def use(self, s):
        what = self.random.randrange(20)
        with contextlib.suppress(OSError):
            if what < 8:
                s.send(s.recv(self.random.randrange(1, 65536)))
                return True
            if what < 14:
                s.send(bytes(self.random.randrange(20000)))
                return True
            if what < 18:
                return True
        if what == 18:
            with contextlib.suppress(OSError):
                t.reset(s)
        s.close()
        return False

    def run(self):
        while not self.ending:
            select.select([self.listener, *self.datagrams.values(), *self.socks[:50]], [], [], 0.05)
            self.arrive()
            for s in self.datagrams.values():
                self.answer(s)
            if self.random.randrange(10) == 0:
                self.knock()
            if self.random.randrange(10) == 0:
                self.send_datagrams()
            self.socks = [s for s in self.socks if self.random.randrange(4) or self.use(s)]
            for s in self.socks[100:]:
                s.close()
            del self.socks[100:]

    def stop(self):
        self.ending = True
        self.join()
        for s in [self.listener, *self.datagrams.values(), *self.socks]:
            s.close()


# [cpus=2 queues=2 timeout=200 seconds=120]
def test_interface():
    """Random requests, mappings, slots, sockets, processes and links, rewritten memory: the kernel is silent, nothing stays."""
    seed, seconds = t.seed(), t.seconds()
    t.tolerate("paste: too few buffers for|paste: still in use; its buffers stay out of use")
    peer = Peer(seed)
    peer.start()
    epoch = os.environ.get("PASTE_FUZZ_EPOCH")      # that one only, to see it again
    fuzz = t.guest().start("tests/fuzz/fuzz", "--seed", seed, "--seconds", seconds, *(("--epoch", epoch) if epoch else ()))
    try:
        deadline = time.monotonic() + seconds + 150 * t.SLOWER
        while time.monotonic() < deadline:
            try:
                print(fuzz.readline(120))
            except t.GuestDied:
                raise
            except t.Failure:
                break
        t.eq(fuzz.wait(60), 0, "status of the fuzzer, seed %#x" % seed)
    finally:
        fuzz.kill()
        peer.stop()


t.main()
