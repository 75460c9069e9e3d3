"""Too slow, too much, not there: readers that stop, applications that hold everything, are stopped, are killed."""

import contextlib
import re
import signal
import time
import zlib

import t


# [short]
def test_reader_stops():
    """A client that asks for much and reads nothing holds up nobody else; memory is bounded; later it gets all."""
    with t.Server(mode="source") as server:
        total = 20 * t.MEGABYTE
        stopped = t.connect(rcvbuf=8192)
        stopped.sendall(b"GET %d\n" % total)
        t.wait_for(lambda: server.stats()["congested"], "the application is told")
        before = server.counters()
        server.mode("echo")
        t.exchange(4, t.MEGABYTE, seconds=30)
        t.wait_for(lambda: server.counters()["buf_sent"] <= before["buf_sent"] + 64, "no more buffers in use than before")
        t.le(before["buf_sent"], 64 + 4 * t.MEGABYTE // 4096 + 64, "buffers in use: the socket's queue and send buffer")
        data = t.receive(stopped, total, 60)
        t.eq(int.from_bytes(data[-4:], "little"), zlib.crc32(data[:-4]), "CRC")


# [short]
def test_reader_of_echo_stops():
    """A client that sends and reads nothing: while the application can put its bytes aside, others are served."""
    with t.Server(extra=3000) as server:
        stopped = t.Flow(t.connect(rcvbuf=8192), 2 * t.MEGABYTE, 1)
        stopped.paused = True
        other = t.Flow(t.connect(), 100 * t.MEGABYTE, 2)  # goes on meanwhile
        t.run_flows([stopped, other], until=lambda: stopped.sent == stopped.total, seconds=20)
        other.sock.close()
        t.wait_for(lambda: server.stats()["congested"], "the application is told")
        t.wait_for(lambda: server.stats()["held"] > 100, "its bytes are put aside")
        t.exchange(4, t.MEGABYTE, seconds=30, window=65536)
        t.eq(stopped.got, 0, "bytes read by the client that stopped")
        stopped.paused = False
        t.run_flows([stopped], 60)
        t.eq(server.stats()["corrupt"], 0, "buffers put aside whose content changed")


PEERS, EACH = 20, 8 * t.MEGABYTE    # what they would send, 160 MB, is five times the buffers that there are
PILE = 2 * t.MEGABYTE               # if they have sent less than that, nothing has piled up
# Measured were 14 MB taken, 16 MB of TCP's own account, 9 MB less available, 0.6 MB of slab.
MOST_TAKEN, MOST_TCP_KB, MOST_LESS_KB, MOST_SLAB_KB = 32 * t.MEGABYTE, 32 << 10, 24 << 10, 6 << 10


def push(flows):
    """Sends what nobody takes, until nothing more has left for two seconds."""
    sent, since = -1, 0

    def stuck():
        nonlocal sent, since
        if sent != sum(flow.sent for flow in flows):
            sent, since = sum(flow.sent for flow in flows), time.monotonic()
        return time.monotonic() - since > 2 * t.SLOWER
    t.run_flows(flows, 60, until=stuck)


def acknowledged(flows):
    """What the guest's TCP has taken of what was sent."""
    return sum(flow.sent - t.unacknowledged(flow.sock) for flow in flows)


def kernel_memory():
    """kB: what is available, the slab's, and what TCP says that all its sockets hold."""
    text = t.guest().run("cat", "/proc/meminfo", "/proc/net/sockstat")

    def number(pattern):
        return int(re.search("(?m)^" + pattern, text).group(1))
    return number(r"MemAvailable: +(\d+)"), number(r"Slab: +(\d+)"), 4 * number(r"TCP: .* mem (\d+)")


def bounded(flows, at_first, memory):
    """Much less than what peers want to send is in the guest, and still something has piled up."""
    taken, now = acknowledged(flows) - at_first, kernel_memory()
    print("%d bytes taken; kB available, slab, TCP: %s before, %s now" % (taken, memory, now), flush=True)
    t.ge(taken, PILE, "bytes that the guest has taken")
    t.le(taken, MOST_TAKEN, "bytes that the guest has taken")
    t.le(memory[0] - now[0], MOST_LESS_KB, "kB less that are available")
    t.le(now[1] - memory[1], MOST_SLAB_KB, "kB more that the slab has")
    t.le(now[2], MOST_TCP_KB, "kB that TCP holds")
    return taken


def pile_up(mode):
    """The application goes on in that mode, and no peer reads."""
    with t.Server() as server:
        before = t.settled_buffers(server)
        flows = [t.Flow(t.connect(rcvbuf=8192, sndbuf=65536), EACH, i) for i in range(PEERS)]
        t.run_flows(flows, 30, until=lambda: min(flow.got for flow in flows) > 20000, window=30000)
        at_first, memory = acknowledged(flows), kernel_memory()
        server.mode(mode)
        for flow in flows:
            flow.paused = True
        push(flows)
        taken = bounded(flows, at_first, memory)
        t.ordinary_traffic()
        push(flows)
        t.le(bounded(flows, at_first, memory), taken + PILE, "bytes that the guest has taken now")
        t.buffers(server)
        server.mode("echo")
        for flow in flows:
            flow.total, flow.paused = flow.sent + len(flow.out), False
        t.run_flows(flows, 60)
        t.eq(server.stats()["corrupt"], 0, "held buffers whose content changed")
        for flow in flows:
            flow.sock.close()
        t.wait_for(lambda: server.stats()["conns"] == 0, "connections closed")
        t.returned(server, before)


# [timeout=200]
def test_all_readers_stop():
    """20 peers would send 160 MB and read nothing; the application answers, holds all it gets, or does not call: memory is
    bounded, the host stays reachable, later every byte comes back."""
    for mode in "echo", "hold", "stall":
        print(mode, flush=True)
        pile_up(mode)


# [short]
def test_every_buffer_held():
    """An application that holds every buffer: the host stays reachable, it is told, nothing is lost, all resumes."""
    guest = t.guest()
    guest.sh("echo 512 > /sys/module/paste/parameters/pool_bufs")
    try:
        server = t.Server(mode="hold", extra=2000, rx_slots=256)
    finally:
        guest.sh("echo 8192 > /sys/module/paste/parameters/pool_bufs")
    with server:
        flows = [t.Flow(t.connect(), 4 * t.MEGABYTE, i) for i in range(4)]
        deadline = time.monotonic() + 6
        t.run_flows(flows, 20, until=lambda: time.monotonic() > deadline)
        t.eq(sum(flow.got for flow in flows), 0, "bytes echoed while holding")
        held = server.stats()
        t.ge(held["held"], 500, "buffers held")
        t.ge(held["low"], 1, "times it saw NR_PST_LOW")
        c = server.counters()
        t.le(c["buf_free"], c["buf_low"], "free buffers")
        t.ge(c["nic_recycled"], 1, "frames copied because buffers were low")
        t.ordinary_traffic()
        time.sleep(0.5)
        t.ordinary_traffic()
        s = t.connect()  # a new connection to the very port can still be made
        s.close()
        server.mode("echo")
        t.run_flows(flows, 60)
        t.eq(server.stats()["corrupt"], 0, "held buffers whose content changed")
        before = server.stats()["low"]
        t.exchange(2, 20000, window=4000)
        t.eq(server.stats()["low"], before, "times it saw NR_PST_LOW when it held nothing any more")


# [short]
def test_every_buffer_kept():
    """An application that keeps every buffer and releases every slot: the NIC has some left, the host stays reachable."""
    guest = t.guest()
    guest.sh("echo 2048 > /sys/module/paste/parameters/pool_bufs")
    try:
        server = t.Server(mode="hoard", rx_slots=256)
    finally:
        guest.sh("echo 8192 > /sys/module/paste/parameters/pool_bufs")
    with server:
        flows = [t.Flow(t.connect(), 4 * t.MEGABYTE, i) for i in range(4)]
        for seconds in 3, 3:
            deadline = time.monotonic() + seconds
            t.run_flows(flows, 20, until=lambda: time.monotonic() > deadline)
            c = server.counters()
            t.le(c["buf_free"], c["buf_low"], "free buffers")
            t.ge(c["nic_recycled"], 1, "frames copied because buffers were low")
            t.ge(c["buf_nic"], 60, "buffers the NIC has")
            t.ordinary_traffic()


# [short]
def test_stopped_application():
    """SIGSTOP under load: the module runs the NIC, the host stays reachable; after SIGCONT nothing is missing, no buffer either."""
    guest = t.guest()
    with t.Server() as server:
        before = t.settled_buffers(server)
        flows = [t.Flow(t.connect(), 3 * t.MEGABYTE, i) for i in range(4)]
        t.run_flows(flows, 30, until=lambda: sum(flow.got for flow in flows) > t.MEGABYTE)
        guest.run("kill", "-STOP", server.pid)
        deadline = time.monotonic() + 2
        t.run_flows(flows, 20, until=lambda: time.monotonic() > deadline)
        t.ordinary_traffic()
        guest.run("kill", "-CONT", server.pid)
        t.run_flows(flows, 60)
        t.ge(server.counters()["stalls"], 1, "times the module ran the NIC")
        for flow in flows:
            flow.sock.close()
        t.wait_for(lambda: server.stats()["conns"] == 0, "connections closed")
        t.returned(server, before)


def test_long_computation():
    """An application that does not call for seconds: connections stay up, windows close, all of it arrives later."""
    with t.Server() as server:
        flows = [t.Flow(t.connect(), 2 * t.MEGABYTE, i) for i in range(4)]
        t.run_flows(flows, 30, until=lambda: sum(flow.got for flow in flows) > t.MEGABYTE)
        server.mode("stall")
        deadline = time.monotonic() + 4
        t.run_flows(flows, 20, until=lambda: time.monotonic() > deadline)
        t.ordinary_traffic()
        server.mode("echo")
        t.run_flows(flows, 60)


@contextlib.contextmanager
def exact_memory():
    """MemFree counts what CPUs have freed, and they keep tens of MB less for themselves."""
    t.guest().sh("echo 1000000 > /proc/sys/vm/percpu_pagelist_high_fraction")
    try:
        yield
    finally:
        t.guest().sh("echo 0 > /proc/sys/vm/percpu_pagelist_high_fraction")


def free_kb():
    """What RCU and workqueues free comes a little later."""
    return int(t.guest().sh("""
        sync
        for i in 1 2 3 4 5 6 7 8; do
            echo 3 > /proc/sys/vm/drop_caches
            awk '/^MemFree:/ { print $2 }' /proc/meminfo
            sleep 0.2
        done | sort -n | tail -n 1"""))


def kill_under_load(last=None, **options):
    """last: the mode it has been in for a second when it is killed."""
    server = t.Server(**options)
    flows = [t.Flow(t.connect(), 50 * t.MEGABYTE, i) for i in range(4)]
    t.run_flows(flows, 30, until=lambda: sum(flow.got for flow in flows) > t.MEGABYTE // 2)
    if last:
        server.mode(last)
        deadline = time.monotonic() + 1
        t.run_flows(flows, 20, until=lambda: time.monotonic() > deadline, window=262144)  # housekeeping takes its time
    server.kill()
    for flow in flows:
        flow.sock.close()


# [debug]
def test_killed():
    """kill -9 under load, five times: the NIC works on, a new server on the same port serves at once, memory comes back."""
    guest = t.guest()
    with exact_memory():
        kill_under_load()   # what is allocated once and kept
        before = free_kb()
        for turn in range(5):
            kill_under_load()
            t.ordinary_traffic() if turn == 0 else t.ge(t.ping(), 1, "answers to ping")
            t.eq(guest.run("cat", "/sys/module/paste/refcnt").strip(), "0", "users of the module")
        after = free_kb()
    print("%d kB free before, %d kB after" % (before, after))
    if not t.CHECKED:       # KASAN keeps what is freed for a while
        t.ge(after, before - 4000, "free memory (kB): a port has 32 MB of buffers")
    with t.Server():
        t.exchange(4, t.MEGABYTE)


PASTECTL = "apps/pastectl/pastectl"


@contextlib.contextmanager
def held_port():
    """stack:0 with eth0, which stays when servers end: `pastectl hold`."""
    hold = t.guest().start(PASTECTL, "hold", "stack:0", "--interface", "eth0")
    try:
        t.wait_for(lambda: "interfaces 1" in t.guest().run(PASTECTL, "list"), "a held port with its interface")
        yield
        hold.signal(signal.SIGTERM)
        t.eq(hold.wait(), 0, "status of pastectl hold")
    finally:
        hold.kill()


def held_buffers():
    """What the held port has, by state; free buffers and those of the NIC as one, which exchange them all the time."""
    text = t.guest().run(PASTECTL, "stats", "stack:0", "--all")
    c = {name: int(value) for name, value in re.findall(r"^  (\w+) +(\d+)", text, re.M)}
    t.eq(sum(c[state] for state in t.BUFFERS), c["buf_total"], "sum of the buffers in all states")
    t.ge(c["buf_nic"], 1, "buffers the NIC has")
    return {"free or with the NIC": c["buf_free"] + c["buf_nic"], **{name: c[name] for name in (
        "buf_user", "buf_stack", "buf_sent", "sockets", "nics")}}


def given_back(before):
    """Within seconds the port has what it had before there was a server. A driver may keep what it has sent until it sends again."""
    with contextlib.suppress(t.Failure):
        t.wait_for(lambda: t.ping(count=1) and held_buffers() == before, "buffers are back")
    t.eq(held_buffers(), before, "the held port's buffers, sockets and NICs")


# [short debug]
def test_killed_while_held():
    """kill -9 under load while the port is held with its NIC, whatever the server does: each buffer returns, the next one serves."""
    with held_port():
        before = held_buffers()
        for options in ({}, {"mode": "copy"}, {"mode": "keep", "extra": 200}, {"last": "hold", "extra": 1000}, {"last": "stall"}):
            kill_under_load(attach=None, **options)
            given_back(before)
        with t.Server(attach=None) as server:
            t.exchange(4, t.MEGABYTE)
            t.ge(server.counters()["rx_in_place"], 1, "bytes in place")
        given_back(before)


t.main()
