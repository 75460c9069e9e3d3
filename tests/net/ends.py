"""How connections begin and end: half-close, reset, close, registering late, numbers used again."""

import random
import socket
import time

import t


# [short]
def test_half_close():
    """A client that ends its stream at once still gets all of its echo, then the end of stream."""
    with t.Server() as server:
        for total in (0, 1, 5000, 300000):
            s = t.connect()
            data = random.Random(total).randbytes(total)
            s.settimeout(20)
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            t.same(t.receive_all(s), data)
        t.wait_for(lambda: server.counters()["sockets"] == 0, "all sockets forgotten")
        t.eq(server.stats()["eos"], 4, "end-of-stream events")


def test_end_with_data_queued():
    """A server that shuts down behind its last byte, congested as it is, and then closes: the client gets all of it."""
    with t.Server():
        s = t.connect(rcvbuf=4096)
        data = random.Random(5).randbytes(3 * t.MEGABYTE)
        s.settimeout(20)
        # the client sends without reading: the echo fills the socket, its queue, the ring
        sent = 0
        s.setblocking(False)
        deadline = time.monotonic() + 3
        while sent < len(data) and time.monotonic() < deadline:
            try:
                sent += s.send(data[sent:sent + 100000])
            except BlockingIOError:
                time.sleep(0.05)
        s.shutdown(socket.SHUT_WR)
        time.sleep(1)
        t.same(t.receive_all(s, 40), data[:sent], "echo of what was accepted")


# [short]
def test_reset():
    """A reset connection is told by an event with its errno, others do not notice, its buffers come back."""
    with t.Server() as server:
        other = t.connect()
        t.echoed(other, b"before")
        before = t.settled_buffers(server)
        for i in range(20):
            s = t.connect()
            t.echoed(s, b"x" * 100)
            if i % 2:
                s.sendall(b"y" * 50000)
            t.reset(s)
        t.wait_for(lambda: server.counters()["sockets"] == 1, "reset sockets forgotten")
        t.ge(server.stats()["errors"], 1, "error events")
        t.eq(server.stats()["bad_fd"], 0, "slots of connections that were closed")
        t.echoed(other, b"after" * 1000)
        t.returned(server, before)


def taken(s, data):
    """Sends; all of it is in the guest's TCP."""
    s.sendall(data)
    t.wait_for(lambda: not t.unacknowledged(s), "all acknowledged")


def reset_when_idle(server):
    s = t.connect()
    t.echoed(s, b"x" * 100)
    t.reset(s)


def reset_behind_bytes(server):
    """Which the application has not looked at yet: they come first."""
    s, before = t.connect(), server.stats()["rx_bytes"]
    t.echoed(s, b"x")
    server.mode("stall")
    taken(s, b"y" * 50000)
    t.reset(s)
    server.mode("echo")
    t.wait_for(lambda: server.stats()["rx_bytes"] == before + 50001, "all bytes that came before the reset")


def reset_when_congested(server):
    before = server.stats()["congested"]
    s = t.Flow(t.connect(rcvbuf=4096), 100 * t.MEGABYTE, 1)
    s.paused = True
    t.run_flows([s], 20, until=lambda: server.stats()["congested"] > before)
    t.reset(s.sock)


def reset_behind_end(server):
    """The peer has ended its stream, and the application still has something to say."""
    s = t.connect()
    t.echoed(s, b"x")
    server.mode("hold")
    taken(s, b"y" * 1000)
    before = server.stats()["eos"]
    s.shutdown(socket.SHUT_WR)
    t.wait_for(lambda: server.stats()["eos"] > before, "the end of the stream")
    t.reset(s)


def answer_is_lost(server, arp, neighbour):
    """
    The way back to this machine is gone when the application answers, and TCP gives up after 4 retransmissions instead of
    15.  arp: whether this machine has it; neighbour: `ip neigh` in the guest.
    """
    guest, s, before = t.guest(), t.connect(), server.stats()["errors"]
    t.echoed(s, b"x")
    server.mode("hold")
    taken(s, b"y" * 1000)
    try:
        t.run_program(["ip", "link", "set", "tap0", "arp", arp])
        guest.sh("sysctl -qw net.ipv4.tcp_retries2=4; ip neigh %s dev eth0" % neighbour)
        server.mode("echo")
        t.wait_for(lambda: server.stats()["errors"] > before, "TCP gives up", 40)
    finally:
        t.run_program(["ip", "link", "set", "tap0", "arp", "on"])
        guest.sh("sysctl -qw net.ipv4.tcp_retries2=15; ip neigh del %s dev eth0 2> /dev/null || true" % t.HOST)
        t.find_neighbours()
    t.reset(s)


def nobody_answers(server):
    """Frames go to an address that nobody has."""
    answer_is_lost(server, "on", "replace %s lladdr 02:00:00:00:00:99 nud permanent" % t.HOST)


def peer_is_gone(server):
    """Nobody answers to ARP: ICMP tells so, and TCP gives that as its reason in the end."""
    answer_is_lost(server, "off", "del " + t.HOST)


# [timeout=120]
def test_errno():
    """How a connection failed is told by the errno that a socket would have, once, behind the bytes; others do not notice."""
    for registered in False, True:
        with t.Server(registered=registered, extra=100) as server:
            for how, ends in ((reset_when_idle, ["ECONNRESET"]), (reset_behind_bytes, ["ECONNRESET"]),
                              (reset_when_congested, ["ECONNRESET"]), (reset_behind_end, ["eos", "EPIPE"]),
                              (nobody_answers, ["ETIMEDOUT"]), (peer_is_gone, ["EHOSTUNREACH"])):
                print(how.__name__, flush=True)
                server.ends()
                how(server)
                t.wait_for(lambda: server.counters()["sockets"] == registered, "the socket is forgotten")
                server.mode("echo")
                t.wait_for(lambda: server.stats()["conns"] == 0, "the connection is closed")
                t.eq(server.ends(), ends, "what was told")
            other = t.connect()
            t.echoed(other, b"still here" * 1000)


def test_reset_while_congested():
    """A client that reads nothing and then resets: the queue for it is dropped, its buffers come back."""
    with t.Server() as server:
        before = t.settled_buffers(server)
        for i in range(5):
            s = t.connect(rcvbuf=4096)
            s.setblocking(False)
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                try:
                    s.send(b"z" * 65536)
                except BlockingIOError:
                    time.sleep(0.05)
            t.reset(s)
        t.wait_for(lambda: server.counters()["sockets"] == 0, "sockets forgotten")
        t.echoed(t.connect(), b"still here" * 1000)
        t.wait_for(lambda: server.stats()["conns"] == 0, "connections closed")
        t.returned(server, before)


# [short]
def test_data_before_registration():
    """What arrives before a socket is registered comes first, be it much, or the whole stream and its end."""
    with t.Server(register_after=300) as server:
        socks = []
        for total in (1, 1000, 200000):
            s = t.connect()
            data = random.Random(total).randbytes(total)
            s.settimeout(20)
            s.setblocking(False)
            socks.append((t.Flow(s, total, total), data))
        flows = [flow for flow, _ in socks]
        t.run_flows(flows, 30)
        s = t.connect()
        s.sendall(b"all of it")
        s.shutdown(socket.SHUT_WR)
        t.same(t.receive_all(s), b"all of it")
        t.ge(server.counters()["rx_copied"], 1, "bytes that had arrived before")


# [short]
def test_reset_before_registration():
    """A connection that is reset before it is registered is refused or reported, and nothing hangs."""
    with t.Server(register_after=300) as server:
        for data in (b"", b"data"):
            s = t.connect()
            s.sendall(data)
            time.sleep(0.05)
            t.reset(s)
        s = t.connect()
        t.echoed(s, b"next")
        t.wait_for(lambda: server.counters()["sockets"] == 1, "one socket registered")


# [short]
def test_number_used_again():
    """A new connection under the number of a closed one gets its own bytes and nothing else."""
    with t.Server() as server:
        for i in range(150):
            s = t.connect()
            mine = random.Random(i).randbytes(20000)
            s.settimeout(20)
            s.sendall(mine)
            if i % 3 == 0:
                t.same(t.receive(s, len(mine)), mine)
                s.close()
            elif i % 3 == 1:
                t.reset(s)  # with echo and perhaps data still on the way
            else:
                s.shutdown(socket.SHUT_WR)
                t.same(t.receive_all(s), mine)
        t.wait_for(lambda: server.counters()["sockets"] == 0, "all sockets forgotten")
        st = server.stats()
        t.eq(st["bad_fd"], 0, "slots of connections that were closed")


# [short]
def test_churn():
    """300 short connections, 30 at a time: all served, none left, buffers as before."""
    with t.Server() as server:
        before = t.settled_buffers(server)
        for turn in range(10):
            t.exchange(30, 3000, seed=turn)
        t.wait_for(lambda: server.counters()["sockets"] == 0, "all sockets forgotten")
        t.returned(server, before)


def test_client_closes_with_echo_unread():
    """A client that closes with unread echo (which resets) leaves nothing behind."""
    with t.Server() as server:
        before = t.settled_buffers(server)
        for i in range(20):
            s = t.connect()
            s.settimeout(20)
            s.sendall(b"q" * 30000)
            s.close()
        t.wait_for(lambda: server.counters()["sockets"] == 0, "all sockets forgotten")
        t.returned(server, before)


t.main()
