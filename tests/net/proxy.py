"""apps/proxy: connections forwarded between two NICs, both attached, by exchanging buffers."""

import contextlib
import hashlib
import random
import re
import socket
import threading
import time

import t

UPSTREAM, UPSTREAM6 = "10.78.0.1", "fd78::1"
SIZE = 8 * t.MEGABYTE


class Upstream:
    """A listening socket of this machine that the proxy connects to."""

    def __init__(self, address):
        self.listener = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.listener.settimeout(20)
        self.port = self.listener.getsockname()[1]

    def accept(self):
        s, _ = self.listener.accept()
        return s


@contextlib.contextmanager
def proxy(attach=("stack:eth0", "stack:eth1"), server=UPSTREAM):
    """The proxy, its upstream, and a function that makes a connection through it: both ends."""
    upstream = Upstream(server)
    process = t.guest().start("apps/proxy/proxy", 7, server, upstream.port, *attach)
    try:
        t.wait_for(lambda: "stack:proxy" in t.guest().run("apps/pastectl/pastectl", "list") and
                   t.guest().status("sh", "-c", "ss -Hltn sport = :7 | grep -q .")[0] == 0, "the proxy listens")

        def pair(address=t.GUEST):
            client = t.connect(address)
            return client, upstream.accept()
        yield pair
        t.eq(process.status, None, "status of the proxy")
    finally:
        process.kill()
        upstream.listener.close()


def counters():
    """All that pastectl tells of the port, by name."""
    pastectl = "apps/pastectl/pastectl"
    text = t.guest().run(pastectl, "stats", "stack:proxy", "--all") + t.guest().run(pastectl, "info", "stack:proxy")
    return {name: int(value) for name, value in re.findall(r"^ *(\w+) +(\d+)", text, re.M)}


def send(s, seed, failures):
    """SIZE random bytes, then the end of the stream."""
    try:
        data = random.Random(seed).randbytes(t.MEGABYTE)
        for _ in range(SIZE // t.MEGABYTE):
            s.sendall(data)
        s.shutdown(socket.SHUT_WR)
    except OSError as error:
        failures.append(error)


def receive(s, slow, failures, result, key):
    """The digest of all that comes; a slow reader waits first until windows and queues are full."""
    digest, n = hashlib.sha256(), 0
    try:
        if slow:
            time.sleep(2)
        while data := s.recv(65536):
            digest.update(data)
            n += len(data)
            if slow and n < t.MEGABYTE:
                time.sleep(0.02)
    except OSError as error:
        failures.append(error)
    result[key] = n, digest.hexdigest()


def digest_of(seed):
    data, digest = random.Random(seed).randbytes(t.MEGABYTE), hashlib.sha256()
    for _ in range(SIZE // t.MEGABYTE):
        digest.update(data)
    return SIZE, digest.hexdigest()


def settled(pair):
    """When a byte has come each way both connections are the port's: what came before that is copied."""
    client, server = pair
    for one, other in ((client, server), (server, client)):
        one.sendall(b"?")
        t.eq(t.receive(other, 1), b"?", "first byte")
    return pair


def both_ways(pairs, slow=()):
    """Streams both ways on all connections at once; slow: numbers of ends (2 * pair + side) that read slowly."""
    threads, failures, result = [], [], {}
    ends = [end for pair in pairs for end in pair]
    for i, end in enumerate(ends):
        end.settimeout(60)
        threads += [threading.Thread(target=send, args=(end, i, failures)),
                    threading.Thread(target=receive, args=(end, i in slow, failures, result, i))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    t.eq(failures, [], "errors")
    for i in range(len(ends)):
        t.eq(result.get(i), digest_of(i ^ 1), "bytes and digest that came to end %d" % i)
    for end in ends:
        end.close()


# [short nics=2 timeout=180]
def test_both_ways():
    """
    Streams through the proxy, both ways at once, are exact; not a byte of one connection is copied, and few of three, which
    now and then have nearly all buffers.
    """
    with proxy() as pair:
        both_ways([settled(pair())])
        c = counters()
        t.eq((c["rx_copied"], c["nic_recycled"]), (0, 0), "bytes copied on reception, frames whose buffers were needed")
        t.eq(c["rx_in_place"], 2 * SIZE + 2, "bytes received in place")
        t.le(c["tx_copied"], 2 * SIZE // 1000, "bytes copied on transmission, of short last pieces")
        both_ways([settled(pair()) for _ in range(3)])
        c = counters()
        t.ge(c["rx_in_place"], 2 * SIZE + 6 * SIZE * 95 // 100, "bytes received in place")
        t.eq((c["bad_fd"], c["bad_owner"], c["bad_index"]), (0, 0, 0), "slots refused")


# [short nics=2]
def test_ipv6():
    """Clients of either kind of address reach a server of either kind, and nothing is copied on reception."""
    for server in UPSTREAM, UPSTREAM6:
        with proxy(server=server) as pair:
            for address in t.GUEST, t.GUEST6:
                before = counters()
                ends = settled(pair(address))
                t.eq(ends[1].getpeername()[0], "fd78::2" if server == UPSTREAM6 else "10.78.0.2", "who connects to the server")
                both_ways([ends])
                after = counters()
                t.eq(after["rx_copied"] - before["rx_copied"], 0, "bytes copied on reception")
                t.eq(after["rx_in_place"] - before["rx_in_place"], 2 * SIZE + 2, "bytes received in place")


# [nics=2 timeout=240]
def test_slow_readers():
    """A slow reader on either side, beside others: all is exact, and the quick one does not wait for them."""
    with proxy() as pair:
        slow_client, slow_server, quick = pair(), pair(), pair()
        done = []
        thread = threading.Thread(target=lambda: (both_ways([slow_client, slow_server], slow=(0, 3)), done.append(True)))
        thread.start()
        time.sleep(1)
        start = time.monotonic()
        quick[0].sendall(b"x" * 1000)
        t.eq(t.receive(quick[1], 1000), b"x" * 1000, "bytes of the quick connection")
        t.le(time.monotonic() - start, 10, "seconds")
        thread.join(180)
        t.eq(done, [True], "slow connections done")
        for s in quick:
            s.close()


def seconds_of_cpu():
    """What the proxy has used."""
    return sum(map(int, t.guest().sh("cut -d' ' -f14,15 /proc/$(pidof proxy)/stat").split())) / 100


def fill(end):
    """Sends as much as goes without waiting; how much that was, or None when the connection was reset."""
    n = 0
    end.setblocking(False)
    try:
        for _ in range(64):
            n += end.send(bytes(65536))
    except BlockingIOError:
        pass
    except ConnectionError:
        return None
    return n


def flood(quick, slow):
    """
    Fills the connections of those that do not read, for a while, beside one that is served all the time. How many bytes each
    was sent that has not been reset.
    """
    sent = dict.fromkeys(slow, 0)
    deadline = time.monotonic() + 8 * t.SLOWER
    while time.monotonic() < deadline:
        for both in list(sent):
            n = fill(both[1])
            if n is None:
                del sent[both]
            else:
                sent[both] += n
        start = time.monotonic()
        quick[0].sendall(b"x" * 1000)
        t.eq(t.receive(quick[1], 1000), b"x" * 1000, "bytes of the quick connection")
        t.le(time.monotonic() - start, 5 * t.SLOWER, "seconds")
    print("%d of %d were not reset" % (len(sent), len(slow)))
    t.ge(len(sent), 1, "connections that were not reset")
    return sent


@contextlib.contextmanager
def many(pair, n):
    with contextlib.ExitStack() as ends:
        pairs = [pair() for _ in range(n)]
        for s in (s for both in pairs for s in both):
            ends.enter_context(s)
        yield pairs


# [nics=2 timeout=240]
def test_many_slow_readers():
    """
    Clients that do not read what their servers send, more than the proxy has buffers for: some are reset, one that reads is
    served meanwhile, and the proxy sleeps when it can do nothing.
    """
    with proxy() as pair:
        quick = settled(pair())
        with many(pair, 64) as slow:
            sent = flood(quick, slow)
            t.settled(lambda: counters()["rx_slots"], "what comes")
            before = seconds_of_cpu()
            time.sleep(3)
            t.le(seconds_of_cpu() - before, 1, "seconds of CPU in three")
            for (client, _), n in sent.items():     # nothing of theirs is lost, and they get on when they read
                t.eq(len(t.receive(client, n)), n, "bytes that came to a slow reader")
        both_ways([quick])


# [nics=2 timeout=240]
def test_very_many_slow_readers():
    """The same with so many that what the ring holds back for them would fill it: one that reads is served nevertheless."""
    with proxy() as pair:
        quick = settled(pair())
        with many(pair, 150) as slow:
            flood(quick, slow)
        both_ways([quick])


# [short nics=2]
def test_ends():
    """Half-close either way, a reset either way, and a server that is not there, are passed on."""
    with proxy() as pair:
        for first in (0, 1):
            ends = pair()
            a, b = ends[first], ends[1 - first]
            a.sendall(b"question")
            a.shutdown(socket.SHUT_WR)
            t.eq(t.receive_all(b), b"question", "what came before the end")
            b.sendall(b"answer")
            b.close()
            t.eq(t.receive_all(a), b"answer", "what came after it the other way")
            a.close()
        for first in (0, 1):
            ends = pair()
            a, b = ends[first], ends[1 - first]
            a.sendall(b"x")
            t.receive(b, 1)
            t.reset(a)
            b.settimeout(10)
            try:
                t.eq(b.recv(1), None, "what a reset brings")
            except ConnectionResetError:
                pass
            b.close()
        for _ in range(200):    # numbers used again and again
            a, b = pair()
            a.sendall(b"y" * 3000)
            t.receive(b, 3000)
            a.close()
            t.eq(t.receive_all(b), b"", "after the end")
            b.close()
        t.wait_for(lambda: counters()["sockets"] == 1, "only the listener is registered")


# [nics=2]
def test_refused():
    """A client whose server refuses is reset."""
    process = t.guest().start("apps/proxy/proxy", 7, UPSTREAM, 1, "stack:eth0")
    try:
        t.wait_for(lambda: t.guest().status("sh", "-c", "ss -Hltn sport = :7 | grep -q .")[0] == 0, "the proxy listens")
        with contextlib.suppress(ConnectionResetError), t.connect() as s:
            t.eq(s.recv(1), None, "what a refusal brings")
    finally:
        process.kill()


t.main()
