"""Networks that lose, repeat and reorder, in both directions: streams stay exact, and TCP's repairs free every buffer."""

import contextlib
import re

import t

LOSS, DUPLICATE, REORDER = "loss 2%", "duplicate 10%", "delay 3ms reorder 75% 25%"
DELETE = "tc qdisc del dev %s root"


def inside(space):
    return "ip netns exec %s " % space if space else ""


def tcp_counters(space):
    """What the kernel's TCP counts in a namespace, by name."""
    lines = t.guest().sh(inside(space) + "cat /proc/net/snmp /proc/net/netstat").splitlines()
    counters = {}
    for names, values in zip(lines[::2], lines[1::2]):
        if names.startswith("Tcp"):
            counters.update(zip(names.split()[1:], map(int, values.split()[1:])))
    return counters


def really(how, qdisc, before, after):
    """netem did as it was told; what it does not count itself, TCP has met."""
    dropped, overtaking = map(int, re.search(r"dropped (\d+), overlimits \d+ requeues (\d+)", qdisc).groups())

    def met(*names):
        return sum(after[name] - before[name] for name in names)
    print("said to have come twice: %d, wrong checksums: %d" % (
        met("TCPDSACKRecv", "TCPDSACKOldSent", "TCPDSACKOfoSent"), met("InCsumErrors")))
    if "loss" in how:
        t.ge(dropped, 1, "packets lost")
    if "reorder" in how:
        t.ge(overtaking, 1, "packets that overtook others")
    if "duplicate" in how:
        t.ge(met("TCPDSACKRecv", "TCPDSACKOldSent", "TCPDSACKOfoSent"), 1, "segments said to have come twice")
    if "corrupt" in how:
        t.ge(met("InCsumErrors"), 1, "segments with a wrong checksum")


@contextlib.contextmanager
def impaired(device, how, space=None, end=None):
    """The device, in a namespace of the guest, does that to what it sends.  end: namespace of the guest's end of the connections."""
    guest = t.guest()
    guest.sh(inside(space) + "tc qdisc add dev %s root netem limit 20000 %s" % (device, how))
    try:
        before = tcp_counters(end)
        yield
        qdisc = guest.sh(inside(space) + "tc -s qdisc show dev " + device)
        print(qdisc)
        really(how, qdisc, before, tcp_counters(end))
    finally:
        guest.sh(inside(space) + DELETE % device)


def streams(server, address=t.GUEST, address6=t.GUEST6, n=6, total=t.MEGABYTE // 2):
    """Echo on several connections at once, each byte compared; then nothing is missing, of bytes or of buffers."""
    flows = [t.Flow(t.connect((address, address6)[i % 2]), total, i) for i in range(n)]
    t.run_flows(flows, 80)
    for flow in flows:
        flow.sock.close()
    t.wait_for(lambda: server.stats()["conns"] == 0, "connections closed")
    c = server.counters()
    t.eq(c["rx_in_place"] + c["rx_copied"], n * total, "payload bytes received")
    for name in ("bad_index", "bad_owner", "bad_place", "bad_fd", "nic_bad", "nic_dropped"):
        t.eq(c[name], 0, name)
    t.settled_buffers(server, 30)


# [short]
def test_replies_lost():
    """2 % of what the NIC sends is lost."""
    with t.Server() as server, impaired("eth0", LOSS):
        streams(server)


def test_replies_repeated():
    """A tenth of what the NIC sends comes twice."""
    with t.Server() as server, impaired("eth0", DUPLICATE):
        streams(server)


def test_replies_reordered():
    """A quarter of what the NIC sends is late."""
    with t.Server() as server, impaired("eth0", REORDER):
        streams(server)


# [short]
def test_lent_buffers():
    """Buffers that are lent to replies stay what they were until retransmissions are over."""
    with t.Server(mode="keep", extra=200) as server, impaired("eth0", LOSS):
        streams(server, n=4)
        t.eq(server.stats()["corrupt"], 0, "lent buffers whose content changed")


def from_router(how):
    """The other direction: the guest is a router whose far side is what is attached."""
    with t.space() as space, t.Server(space=space, attach="stack:veth1") as server:
        # Neighbours are found before: ARP has neither checksum nor retransmission to speak of.
        t.true(t.ping(t.SPACE) and t.ping(t.SPACE6), "the namespace answers")
        with impaired("veth0", how, end=space):
            streams(server, t.SPACE, t.SPACE6)


# [short]
def test_requests_lost():
    """2 % of what the NIC would receive is lost: segments wait out of order, in place."""
    from_router(LOSS)


def test_requests_repeated():
    """A tenth of what the NIC receives comes twice."""
    from_router(DUPLICATE)


def test_requests_reordered():
    """A quarter of what the NIC receives is late."""
    from_router(REORDER)


# [short]
def test_requests_corrupted():
    """One bit of 2 % of what the NIC receives is wrong: no checksum lets it pass."""
    from_router("corrupt 2%")


def test_everything_both_ways():
    """Loss, duplicates and reordering together, in both directions."""
    how = "delay 2ms reorder 75% 25% loss 2% duplicate 2%"
    with t.space() as space, t.Server(space=space, attach="stack:veth1", mode="copy") as server:
        with impaired("veth0", how, end=space), impaired("veth1", how, space, space):
            streams(server, t.SPACE, t.SPACE6, n=4)


t.main()
