"""Ways to a registered socket that are not the one NIC: loopback, other NICs, other ports, other rings."""

import contextlib
import fcntl
import glob
import json
import os
import re
import random
import select
import socket
import struct
import threading

import t

def difference(server, before):
    after = server.counters()
    return {key: after[key] - before[key] for key in after}


def ended(server):
    t.wait_for(lambda: server.stats()["conns"] == 0, "connections closed")
    t.settled_buffers(server)


def test_loopback():
    """Streams over loopback, both families, without any NIC: exact, and copied."""
    with t.Server(attach=None) as server:
        t.exchange_inside("127.0.0.1")
        t.exchange_inside("::1")
        c = server.counters()
        t.eq(c["rx_copied"], 3 * t.MEGABYTE, "bytes copied")
        t.eq(c["rx_in_place"], 0, "bytes in place")
        ended(server)


def test_loopback_and_nic():
    """Streams over loopback and to the guest's own address while a NIC is attached and has traffic too."""
    with t.Server() as server:
        with t.Traffic([t.Flow(t.connect(), 1, i) for i in range(2)]) as flows:
            flows.moves()
            t.exchange_inside("127.0.0.1")
            t.exchange_inside("::1")
            t.exchange_inside(t.GUEST)
            flows.moves()
        ended(server)


def scatter_gather(on):
    t.guest().run("ethtool", "-K", "eth0", "sg", "on" if on else "off")
    t.true("scatter-gather: " + ("on" if on else "off") in t.guest().run("ethtool", "-k", "eth0"), "eth0 does as told")


# [short]
def test_no_scatter_gather():
    """
    A NIC that takes a packet in one piece only (ethtool sg off): the echo is exact, of connections that were there and of new
    ones. TCP refers to the buffers as ever (nothing more is copied there); the kernel copies behind it.
    """
    with t.Server() as server:
        with t.Traffic([t.Flow(t.connect(address), 1, i) for i, address in enumerate((t.GUEST, t.GUEST6))]) as flows:
            flows.moves()
            try:
                scatter_gather(False)
                flows.moves()
                before = server.counters()
                t.exchange(3, t.MEGABYTE // 2, window=65536)
                c = difference(server, before)
                flows.moves()
            finally:
                scatter_gather(True)
            flows.moves()
        t.ge(c["tx_bytes"], t.MEGABYTE // 2 * 3, "bytes sent")
        t.le(c["tx_copied"], c["tx_bytes"] // 10, "of these, copied on the way to TCP")
        t.ge(c["direct_packets"], 100, "packets that went to the NIC in batches")
        ended(server)


# [short]
def test_not_attached():
    """A NIC that is not attached: everything is copied, nothing missing; attached in the middle, it goes on in place."""
    with t.Server(attach=None) as server:
        t.exchange(3, t.MEGABYTE)
        c = server.counters()
        t.eq((c["rx_copied"], c["rx_in_place"], c["nic_frames"]), (3 * t.MEGABYTE, 0, 0), "bytes copied, in place, frames")
        with t.Traffic([t.Flow(t.connect(address), 1, i) for i, address in enumerate((t.GUEST, t.GUEST6))]) as flows:
            flows.moves()
            server.command("attach stack:eth0")
            flows.moves()
            before = server.counters()
            flows.moves()
            c = difference(server, before)
            t.ge(c["rx_in_place"], 1, "bytes in place")
            server.command("detach stack:eth0")
            flows.moves()
            before = server.counters()
            flows.moves()
            t.eq(difference(server, before)["rx_in_place"], 0, "bytes in place after detaching")
        ended(server)


VLAN, VLAN6 = "10.98.5.2", "fd98:5::2"


@contextlib.contextmanager
def vlan(space):
    """VLAN 5 between the guest as a router and the namespace, its tag in the frames as XDP sees them."""
    t.guest().sh("""
        ethtool -K veth0 txvlan off > /dev/null; ip netns exec %(space)s ethtool -K veth1 rxvlan off > /dev/null
        ip link add link veth0 name veth0.5 type vlan id 5
        ip addr add 10.98.5.1/24 dev veth0.5; ip addr add fd98:5::1/64 dev veth0.5 nodad
        ip link set veth0.5 up
        ip -n %(space)s link add link veth1 name veth1.5 type vlan id 5
        ip -n %(space)s addr add 10.98.5.2/24 dev veth1.5; ip -n %(space)s addr add fd98:5::2/64 dev veth1.5 nodad
        ip -n %(space)s link set veth1.5 up
        ip -n %(space)s route replace default via 10.98.5.1; ip -n %(space)s route replace default via fd98:5::1
        """ % {"space": space})
    try:
        for network, router in (("10.98.5.0/24", t.GUEST), ("fd98:5::/64", t.GUEST6)):
            t.run_program(["ip", "route", "replace", network, "via", router])
        yield
    finally:
        for network in ("10.98.5.0/24", "fd98:5::/64"):
            t.run_program(["ip", "route", "del", network])


def through_vlan(server):
    t.true(t.ping(VLAN) and t.ping(VLAN6), "pings through the VLAN are answered")
    before = server.counters()
    with t.steered(VLAN):
        t.exchange(3, t.MEGABYTE // 2, VLAN)
        t.exchange(3, t.MEGABYTE // 2, VLAN6)
    c = difference(server, before)
    t.ge(c["nic_frames"], 3 * t.MEGABYTE // 1500, "frames that the device delivered")
    t.le(c["rx_copied"], c["rx_in_place"] // 20, "bytes copied")
    t.true(t.ping(VLAN) and t.ping(VLAN6), "pings through the VLAN are still answered")
    ended(server)


def test_vlan():
    """Streams through a VLAN of an attached device, both families: exact, in place; others in and out of it are unharmed."""
    with t.space() as space, vlan(space), t.Server(space=space, attach="stack:veth1") as server:
        through_vlan(server)


class HostVlan:
    """
    VLAN 5 of tap0: an interface named tap0.5 on this machine, whose kernel may have no VLANs. Its frames are passed on here,
    with the tag. What the kernel has read of a frame that comes is without it, the tag is beside.
    """
    TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 2, 0x1000
    SOL_PACKET, PACKET_AUXDATA, VLAN_VALID, ALL, SO_RCVBUFFORCE = 263, 8, 1 << 4, 3, 33
    TAG = struct.pack("!HH", 0x8100, 5)

    def __init__(self):
        self.tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.tap, self.TUNSETIFF, struct.pack("16sH22x", b"tap0.5", self.IFF_TAP | self.IFF_NO_PI))
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sock.setsockopt(self.SOL_PACKET, self.PACKET_AUXDATA, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, self.SO_RCVBUFFORCE, 4 * t.MEGABYTE)
        self.sock.bind(("tap0", self.ALL))
        self.ending = False
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while not self.ending:
            ready, _, _ = select.select([self.tap, self.sock], [], [], 0.1)
            if self.tap in ready:
                frame = os.read(self.tap, 2048)
                self.sock.send(frame[:12] + self.TAG + frame[12:])
            if self.sock in ready:
                frame, beside, _, address = self.sock.recvmsg(2048, 64)
                status, tci = struct.unpack("I12xH2x", beside[0][2])
                if address[2] != socket.PACKET_OUTGOING and status & self.VLAN_VALID and tci & 0xfff == 5:
                    os.write(self.tap, frame)

    def close(self):
        self.ending = True
        self.thread.join()
        self.sock.close()
        os.close(self.tap)


@contextlib.contextmanager
def vlan_of_eth0():
    """VLAN 5 between this machine and the guest, which finishes packets itself (tx off): HostVlan passes them on as they are."""
    host = HostVlan()
    try:
        for words in ("addr add 10.98.5.1/24 dev tap0.5", "addr add fd98:5::1/64 dev tap0.5 nodad", "link set tap0.5 up"):
            t.run_program(["ip", *words.split()])
        t.guest().sh("""
            ip link add link eth0 name eth0.5 type vlan id 5
            ethtool -K eth0.5 tx off > /dev/null
            ip addr add 10.98.5.2/24 dev eth0.5; ip addr add fd98:5::2/64 dev eth0.5 nodad
            ip link set eth0.5 up
            """)
        yield
    finally:
        t.guest().status("ip", "link", "del", "eth0.5")
        host.close()


# [short]
def test_vlan_of_nic():
    """The same through a VLAN of the NIC, where that does zero copy too."""
    with vlan_of_eth0(), t.Server() as server:
        through_vlan(server)
        t.zero_copy(server)


# [short]
def test_vlan_listener():
    """
    A registered listener reached through a VLAN of the NIC and beside it at once, by clients that have the same port number: each
    connection is told of, its stream exact and its own, in place from the first byte.
    """
    with vlan_of_eth0(), t.Server(registered=True) as server:
        before = server.counters()
        first = random.randrange(20000, 32000)      # no number that the kernel gives others, who may be waiting on it still
        for port in (first, first + 1):
            flows = [t.Flow(t.connect(address, local_port=port), t.MEGABYTE // 2, 10 * port + i)
                     for i, address in enumerate((t.GUEST, VLAN, t.GUEST6, VLAN6))]
            t.run_flows(flows)
            for flow in flows:
                flow.sock.close()
        c = difference(server, before)
        t.eq(c["accepted"], 8, "connections accepted")
        t.eq(c["rx_copied"] + c["rx_in_place"], 4 * t.MEGABYTE, "bytes received")
        t.le(c["rx_copied"], c["rx_in_place"] // 20, "bytes copied")
        t.zero_copy(server)
        ended(server)


def inside(space, *command):
    return t.guest().run("ip", "netns", "exec", space, *command)


def strips(space):
    return "rx-vlan-offload: on" in inside(space, "ethtool", "-k", "veth1")


# [short]
def test_vlan_stripped():
    """An attached device leaves VLAN tags in the frames, however it was set, and is as before afterwards; made to strip them it is detached."""
    on = ("ethtool", "-K", "veth1", "rxvlan", "on")
    with t.space() as space, vlan(space):
        with t.Server(space=space, attach="stack:veth1") as server:
            through_vlan(server)
        t.eq(strips(space), False, "stripping afterwards, when it was off")
        inside(space, *on)
        with t.Server(space=space, attach="stack:veth1") as server:
            t.eq(strips(space), False, "stripping while attached")
            through_vlan(server)
        t.eq(strips(space), True, "stripping afterwards, when it was on")
        with t.Server(space=space, attach="stack:veth1"):
            t.announce("veth1: paste: is made to take VLAN tags")
            inside(space, *on)
            t.wait_for(lambda: "interfaces 0" in inside(space, "apps/pastectl/pastectl", "list"), "the device is detached")
            t.exchange(1, t.MEGABYTE, VLAN)
        t.eq(strips(space), True, "stripping, as the administrator wanted it")


def datagrams_through_vlan(server):
    rnd = random.Random(9)
    total = 0
    for address in VLAN, VLAN6:
        before = server.counters()
        n = t.exchange_datagrams(address, [1, 40, 256, 257, 1452] + [rnd.randint(257, 1452) for _ in range(100)], address)
        c = server.counters()
        t.ge(c["rx_in_place"] - before["rx_in_place"], 0.95 * n, "bytes in place, to " + address)
        total += n + t.exchange_datagrams(address, [0, 5000, 20000], address)
        t.true(t.ping(address), "the other end still answers")
    c = server.counters()
    t.eq((c["bad"], c["rx_in_place"] + c["rx_copied"]), (0, total), "failures, bytes")


def test_vlan_datagrams():
    """Datagrams through a VLAN of an attached device, both families: exact, in place; fragmented ones too."""
    with t.space() as space, vlan(space), t.datagram_server("veth1", space) as server:
        datagrams_through_vlan(server)


# [short]
def test_vlan_datagrams_of_nic():
    """Datagrams through a VLAN of the NIC, where that does zero copy too: exact, in place; fragmented ones too."""
    with vlan_of_eth0(), t.datagram_server() as server:
        datagrams_through_vlan(server)
        t.zero_copy(server)


# [short nics=2]
def test_second_nic():
    """Two NICs, one attached: streams through both are exact, each in its way, at once."""
    with t.Server() as server:
        t.exchange(2, t.MEGABYTE, "10.78.0.2")
        c = server.counters()
        t.eq((c["rx_copied"], c["rx_in_place"]), (2 * t.MEGABYTE, 0), "bytes copied, in place")
        flows = [t.Flow(t.connect(address), t.MEGABYTE, i)
                 for i, address in enumerate((t.GUEST, "10.78.0.2", t.GUEST6, "fd78::2"))]
        t.run_flows(flows)
        for flow in flows:
            flow.sock.close()
        ended(server)


# [nics=2]
def test_two_attached():
    """Both NICs attached: both deliver in place, one can be detached and attached again without the other noticing."""
    with t.Server() as server:
        server.command("attach stack:eth1")
        t.eq(server.counters()["nics"], 2, "NICs")
        addresses = (t.GUEST, "10.78.0.2", t.GUEST6, "fd78::2")
        with t.Traffic([t.Flow(t.connect(address), 1, i) for i, address in enumerate(addresses)]) as flows:
            flows.moves()
            for name in ("eth1", "eth0", "eth1"):
                before = server.counters()
                flows.moves()
                c = difference(server, before)
                t.ge(c["nic_frames"], 100, "frames taken from the NICs")
                if t.zero_copy(server):
                    t.le(c["rx_copied"], c["rx_in_place"], "bytes copied")
                server.command("detach stack:" + name)
                flows.moves()
                server.command("attach stack:" + name)
                flows.moves()
        ended(server)


# [short nics=2]
def test_one_port_each():
    """Two ports with a NIC each, of two processes: each serves its own."""
    with t.Server() as first, t.Server(port="stack1:0", attach="stack1:eth1", listen=8) as second:
        flows = [t.Flow(t.connect(t.GUEST, 7), 1, 1), t.Flow(t.connect("10.78.0.2", 8), 1, 2),
                 t.Flow(t.connect("fd77::2", 8), 1, 3), t.Flow(t.connect("fd78::2", 7), 1, 4)]
        with t.Traffic(flows) as traffic:
            traffic.moves()
            traffic.moves()
            t.ge(first.counters()["rx_in_place"], 1, "bytes in place, first port")
            t.ge(second.counters()["rx_in_place"], 1, "bytes in place, second port")
        ended(first)
        ended(second)


def test_several_ports():
    """Three ports of as many processes: streams are exact, counters their own, one that ends does not touch the others."""
    with t.Server() as first, t.Server(port="stack1:0", attach=None, listen=8) as second:
        third = t.Server(port="stackX_y:7", attach=None, listen=9)
        with t.Traffic([t.Flow(t.connect(port=port), 1, port) for port in (7, 8, 7, 8)]) as flows:
            t.exchange(2, t.MEGABYTE, port=9)
            flows.moves()
            third.kill()
            flows.moves()
        t.eq(third.info["mem_id"] in (first.info["mem_id"], second.info["mem_id"]), False, "memory shared")
        c = second.counters()
        t.eq((c["rx_in_place"], c["nics"]), (0, 0), "bytes in place and NICs of the port without one")
        ended(first)
        ended(second)


# [short]
def test_alias():
    """pst:0 is stack:0."""
    with t.Server(port="pst:0", attach="pst:eth0") as server:
        t.exchange(2, t.MEGABYTE // 2)
        output = t.guest().run("apps/pastectl/pastectl", "list") if t.guest().status(
            "test", "-x", "apps/pastectl/pastectl")[0] == 0 else "stack:0"
        t.true("stack:0" in output, "the port's name is stack:0: " + output)
        t.eq(server.counters()["nics"], 1, "NICs")


def threads(n, **options):
    with t.Server(threads=n, **options) as server:
        t.eq(server.info["rings"], n, "rings")
        with t.Traffic([t.Flow(t.connect((t.GUEST, t.GUEST6)[i % 2]), 1, i) for i in range(6 * n)]) as flows:
            flows.moves(seconds=40)
            if "attach" not in options:
                flows.moves()
                server.command("detach stack:eth0")
                flows.moves()
                server.command("attach stack:eth0")
            flows.moves(seconds=40)
        ended(server)
        per_thread = server.stats()["per_thread"]
        t.ge(min(per_thread), 1, "bytes received by each thread: %s" % per_thread)
        c = server.counters()
        for name in ("bad_index", "bad_owner", "bad_place", "bad_fd", "bad_pointers", "nic_bad", "nic_dropped"):
            t.eq(c[name], 0, name)
        return c


# [short cpus=2 queues=4]
def test_ring_per_thread():
    """Two CPUs, four queues, two rings with a thread each: whichever ring a socket's frames arrive at, its stream is exact."""
    t.ge(threads(2)["rx_in_place"], 1, "bytes in place")


# [cpus=2 queues=4]
def test_more_rings_than_cpus():
    """Four rings with a thread each on two CPUs, busy polling."""
    threads(4, busy=True)


# [cpus=2 queues=4]
def test_rings_without_nic():
    """Several rings and no NIC: softirqs of both CPUs deliver."""
    t.eq(threads(3, attach=None)["rx_in_place"], 0, "bytes in place")


# [short cpus=2 queues=4]
def test_one_ring_for_all_queues():
    """One ring takes the frames of all queues of the NIC."""
    with t.Server() as server:
        t.exchange(16, t.MEGABYTE // 4)
        c = server.counters()
        t.eq(c["rx_in_place"] + c["rx_copied"], 4 * t.MEGABYTE, "bytes received")
        ended(server)


@contextlib.contextmanager
def interrupts_on(cpu):
    """Those of eth0 all come on one CPU of two; then on both again."""
    script = "for i in $(ls /sys/class/net/eth0/device/../msi_irqs/); do echo %s > /proc/irq/$i/smp_affinity_list; done"
    t.guest().sh(script % cpu)
    try:
        yield
    finally:
        t.guest().sh(script % "0-1")


# [short debug cpus=2 queues=4]
def test_sent_from_idle_cpu():
    """Buffers of packets that one CPU has sent and another one has completed come back while the first has nothing more to do."""
    with t.Server() as server:
        t.guest().run("taskset", "-a", "-p", "-c", 0, server.pid)
        with interrupts_on(1):
            t.exchange(16, t.MEGABYTE // 4)
            ended(server)


# [short cpus=2 queues=4]
def test_moved_between_cpus():
    """Buffers of packets that were received on one CPU and read on another come back while the first CPU receives nothing."""
    with t.Server(mode="hold", rx_slots=64, extra=0) as server:
        t.guest().run("taskset", "-a", "-p", "-c", 0, server.pid)
        flows = [t.Flow(t.connect(), t.MEGABYTE // 4, i) for i in range(8)]
        t.run_flows(flows, until=lambda: t.buffers(server)["buf_stack"] >= 30)    # they wait in sockets
        t.guest().run("taskset", "-a", "-p", "-c", 1, server.pid)
        with interrupts_on(1):
            server.mode("echo")
            t.run_flows(flows)
            for flow in flows:
                flow.sock.close()
            t.settled_buffers(server, seconds=2)


# [cpus=2 queues=4]
def test_killed_with_threads():
    """kill -9 of a server with a ring for each thread, under load, three times; the next one serves."""
    for _ in range(3):
        server = t.Server(threads=2)
        flows = t.Traffic([t.Flow(t.connect(), 1, i) for i in range(8)])
        flows.moves()
        server.kill()
        flows.halt()
        for flow in flows.flows:
            flow.sock.close()
        t.ge(t.ping(count=1) + t.ping(count=2), 1, "answers to ping")
    threads(2)


class Spread:
    """tests/kernel/spread: an echo server with several rings in one thread.  queues: (first, count), None: all."""

    def __init__(self, port="stack:0", rings=2, tcp=7, by_queue=True, interface="eth0", queues=None, cpu=None, family=4):
        argv = ["taskset", "-c", str(cpu)] if cpu is not None else []
        argv += ["tests/kernel/spread", port, rings, family, tcp, int(by_queue), port.split(":")[0] + ":" + interface,
                 *(queues or ())]
        self.process = t.guest().start(*argv)
        self.error = json.loads(self.process.readline())["err"]

    def state(self):
        self.process.send("state\n")
        return json.loads(self.process.readline())

    def __enter__(self):
        t.eq(self.error, "", "error of the server")
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            with contextlib.suppress(Exception):
                print("server: %s" % self.state())
        self.process.end_input()
        status = self.process.wait()
        if not kind:
            t.eq(status, 0, "status of the server")


def transmit_queues(by):
    """
    By which queue a connection's replies leave, and so which queue the host sends its packets to from then on: that they
    came from (by "rxqs"), or that of the CPU (by "cpus").
    """
    t.guest().sh("cd /sys/class/net/eth0/queues; for q in 0 1; do echo 0 > tx-$q/xps_cpus; echo 0 > tx-$q/xps_rxqs; "
                 "echo $((1 << q)) > tx-$q/xps_%s; done" % by)


def spread(by_queue, family=4):
    """24 connections to two rings; the flows, open still, and the state."""
    transmit_queues("rxqs")
    try:
        with Spread(by_queue=by_queue, family=family) as server:
            flows = [t.Flow(t.connect(t.GUEST if family == 4 else t.GUEST6), t.MEGABYTE // 8, i) for i in range(24)]
            t.run_flows(flows)
            state = server.state()
            for flow in flows:
                flow.sock.close()
    finally:
        transmit_queues("cpus")
    print(state)
    t.eq(len(state["conns"]), 24, "connections")
    t.true(all(napi for _, napi in state["conns"]), "every connection tells its queue: %s" % state["conns"])
    t.eq(len({napi for _, napi in state["conns"]}), 2, "queues that connections arrive on")
    t.true(all(ring["frames"] for ring in state["rings"]), "frames on both queues")
    return state


# A lock of the module may be waited for once in 1000 times. Those that may be oftener, in 1000 times, and why.
SHARED_LOCKS = {
    "&ring->wait": 10,      # who wakes the ring's thread, on whichever CPU, has it, and the thread when it goes to sleep
}
# Those that may be waited for whenever they are taken: how often a second that may be, besides ten times for each connection.
RARE_LOCKS = {
    "&port->mutex": 110,    # housekeeping has it, each 10 ms at most, and connections begin and end under it; requests do without
}
CONNECTIONS = 32


def module_locks():
    """Names of all lock classes of the module, as lockdep makes them of what the source initialises."""
    text = ""
    for name in glob.glob(os.path.join(t.TOP, "kernel", "*.[ch]")):
        with open(name) as f:
            text += f.read()
    return sorted(set(re.findall(r"\b(?:(?:raw_)?spin_lock|rwlock|mutex|seqlock)_init\((&[^()]+)\)", text) +
                      re.findall(r"\binit_(?:waitqueue_head|rwsem)\((&[^()]+)\)", text) +
                      re.findall(r"\bDEFINE_(?:(?:RAW_)?SPINLOCK|RWLOCK|MUTEX|SEQLOCK)\((\w+)\)", text) +
                      re.findall(r"\bDECLARE_(?:WAIT_QUEUE_HEAD|RWSEM)\((\w+)\)", text)))


def lock_statistics(text):
    """Of /proc/lock_stat: class -> (contentions, acquisitions, those after another CPU's), readers and writers together."""
    found = {}
    for line in text.splitlines():
        name, _, numbers = line.rpartition(":")
        numbers = numbers.split()
        if len(numbers) == 12:
            name = re.sub(r"(#\d+)?(-[RW])?$", "", name.strip())
            seen = found.get(name, (0, 0, 0))
            found[name] = tuple(a + int(numbers[i]) for a, i in zip(seen, (1, 7, 6)))
    return found


# [debug checked cpus=2 queues=2 timeout=120]
def test_no_contention():
    """Two threads with a ring and a queue each serve thousands of requests and hardly ever wait for a lock of the module."""
    seconds = 2 * t.SLOWER
    transmit_queues("rxqs")
    server = t.guest().start("apps/phttpd/phttpd", "--backend", "paste", "--interface", "eth0", "--port", 8080, "--threads", 2)
    try:
        load = ["wrk", "-t1", "-c%d" % CONNECTIONS, "-d%d" % seconds, "http://%s:8080/" % t.GUEST]
        t.wait_for(lambda: t.run_program(["curl", "-s", "--retry", 20, "--retry-connrefused", load[-1]]), "an answer", 60)
        t.run_program(load)     # connections, tables and caches of their size
        t.guest().sh("echo 1 > /proc/sys/kernel/lock_stat; echo 0 > /proc/lock_stat")
        output = t.run_program(load)
        text = t.guest().sh("echo 0 > /proc/sys/kernel/lock_stat; cat /proc/lock_stat")
    finally:
        server.kill()
        transmit_queues("cpus")
    locks = lock_statistics(text)
    for name, (contentions, acquisitions, _) in sorted(locks.items(), key=lambda item: -item[1][0])[:15]:
        print("%-50s %8d of %9d" % (name, contentions, acquisitions))
    print(output)
    ours = module_locks()
    t.true({"&ring->lock", "&bufs->lock", *SHARED_LOCKS, *RARE_LOCKS} <= set(ours), "locks found in the source: %s" % ours)
    for name in ours:
        contentions, acquisitions, bounces = locks.get(name, (0, 0, 0))
        print("of ours, %s: %d of %d, %d behind another CPU" % (name, contentions, acquisitions, bounces))
        if name in RARE_LOCKS:
            t.le(acquisitions, RARE_LOCKS[name] * seconds + 10 * CONNECTIONS, "times %s was taken" % name)
        else:
            limit = acquisitions * SHARED_LOCKS.get(name, 1) // 1000
            t.le(contentions, limit, "of %d times, those %s was waited for" % (acquisitions, name))
    taken, shared = locks["&ring->lock"][1], locks.get("&bufs->lock", (0, 0, 0))[1]
    t.ge(taken, 1000, "times a ring was locked")
    # Housekeeping has it now and then. What two CPUs shared would change hands every other time.
    t.le(locks["&ring->lock"][2], taken // 5, "of %d times, those another CPU had had a ring's lock" % taken)
    t.le(shared, taken // 20, "of %d times that a ring was locked, those the region's free list was" % taken)


# [short cpus=2 queues=2]
def test_by_queue():
    """
    Connections registered by queue get the ring of the queue they arrive on, and hardly a packet comes by another ring; over
    IPv4 and IPv6.
    """
    for family in (4, 6):
        state = spread(by_queue=True, family=family)
        t.eq({ring for ring, _ in state["conns"]}, {0, 1}, "rings with connections")
        t.eq(len({tuple(pair) for pair in state["conns"]}), 2, "a ring for each queue: %s" % state["conns"])
        cross = sum(ring["cross"] for ring in state["rings"])
        t.le(cross, sum(ring["frames"] for ring in state["rings"]) // 20, "packets brought by another ring's queue")


def transmitted(queue):
    """Packets that have left by a transmit queue, as its qdisc counts them: the packets that pass by it too."""
    text = t.guest().sh("tc -s qdisc show dev eth0")
    return int(re.search(r"parent :%x .*\n Sent \d+ bytes (\d+) pkt" % (queue + 1), text).group(1))


# [short cpus=2 queues=2]
def test_queue_of_cpu():
    """With xps_cpus, which drivers set up, what a thread sends leaves by the transmit queue of its CPU."""
    transmit_queues("cpus")
    for cpu in (1, 0):
        with Spread(rings=1, by_queue=False, cpu=cpu):
            before = [transmitted(queue) for queue in (0, 1)]
            t.exchange(32, t.MEGABYTE // 16)
            sent = [transmitted(queue) - b for queue, b in zip((0, 1), before)]
        t.ge(sent[cpu], 300, "packets sent by queue %d" % cpu)
        t.le(sent[1 - cpu], sum(sent) // 8, "of %d packets, those sent by the other queue" % sum(sent))


# [short cpus=2 queues=2]
def test_other_queue():
    """All connections on one ring, packets on the queues of both: every stream is exact, and what the other ring brought is counted."""
    state = spread(by_queue=False)
    t.eq({ring for ring, _ in state["conns"]}, {0}, "rings with connections")
    t.ge(state["rings"][0]["cross"], 20, "packets brought by the other ring's queue")
    t.eq(state["rings"][1]["cross"], 0, "packets of sockets of the other ring")
    t.ge(state["rings"][0]["in_place"], 1, "bytes in place")


def count(server, what):
    return sum(ring[what] for ring in server.state()["rings"])


def in_place(server):
    return count(server, "in_place")


def settled_frames(server):
    return t.settled(lambda: count(server, "frames"), "the number of frames taken from the NIC")


def leaves_alone(idle, busy, port):
    """
    Traffic to one port of a NIC that two share is none of the other's business: what arrives on the other's queue is copied,
    and the other takes no frame of it.
    """
    settled_frames(busy)
    before, copied, placed = settled_frames(idle), count(busy, "copied"), in_place(busy)
    for i in range(3):      # new connections, half of which begin on either queue
        t.exchange(8, 20000, port=port, seed=i)
    t.ge(count(busy, "copied") - copied, 1, "bytes that came by the other port's queue, to TCP port %d" % port)
    t.ge(in_place(busy) - placed, 1, "bytes in place, to TCP port %d" % port)
    t.eq(settled_frames(idle) - before, 0, "frames that the other port took, of traffic to TCP port %d" % port)


# [short cpus=2 queues=2]
def test_split_by_queue():
    """
    One NIC, a queue for each of two ports: both serve at once, in place, whichever queue packets arrive on, and neither sees
    a frame of the other's; one can go.
    """
    transmit_queues("cpus")
    t.eq(Spread(port="stack9:0", rings=1, tcp=9, queues=(1, 2)).error, "EINVAL", "queues that the NIC has not")
    with Spread(rings=1, queues=(0, 1), cpu=0) as first:
        t.eq(Spread(port="stack9:0", rings=1, tcp=9, queues=(0, 1)).error, "EBUSY", "a queue attached twice")
        t.eq(Spread(port="stack9:0", rings=1, tcp=9).error, "EBUSY", "all queues when one is taken")
        with Spread(port="stack1:0", rings=1, tcp=8, queues=(1, 1), cpu=1) as second:
            flows = [t.Flow(t.connect(port=7 + i % 2), 1, i) for i in range(8)]
            with t.Traffic(flows) as traffic:
                for _ in range(3):
                    traffic.moves()
                t.ge(in_place(first), 1, "bytes in place, first port")
                t.ge(in_place(second), 1, "bytes in place, second port")
                t.eq(first.state()["rings"][0]["cross"], 0, "packets by another ring")
            for flow in flows:
                flow.sock.close()
            leaves_alone(first, second, 8)
            leaves_alone(second, first, 7)
        before = in_place(first)
        t.exchange(4, t.MEGABYTE)
        t.ge(in_place(first) - before, 1, "bytes in place when the second port has gone")
    with t.Server() as server:  # the whole NIC is free again
        t.exchange(2, t.MEGABYTE)
        t.ge(server.counters()["rx_in_place"], t.MEGABYTE, "bytes in place")


t.main()
