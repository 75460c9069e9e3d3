"""What an administrator can watch: pastectl on a live port, the tracepoint of buffers."""

import collections
import contextlib
import random
import re
import time

import t

PASTECTL = "apps/pastectl/pastectl"


def refused(reason, *arguments):
    """The command fails, and says why."""
    process = t.guest().start(PASTECTL, *arguments)
    t.eq(process.wait(), 1, "status of pastectl " + " ".join(arguments))
    t.true(reason in process.err.decode(), "pastectl %s says why: %s" % (" ".join(arguments), process.err.decode()))


def ports():
    """Of each port id, sockets and interfaces, as pastectl list tells."""
    text = t.guest().run(PASTECTL, "list")
    found = re.findall(r"^(\S+) +id (\d+)  rings \d+  sockets (\d+)  interfaces (\d+) \((\d+) zero-copy\)$", text, re.M)
    t.eq(len(found), len(text.splitlines()), "lines understood of: " + text)
    return {name: tuple(map(int, rest)) for name, *rest in found}


def counters(text):
    """The counters of each look that pastectl stats has printed."""
    looks = re.split(r"^\S+\n", text, flags=re.M)[1:]
    return [{name: int(value) for name, value in re.findall(r"^  (\w+) +(\d+)", look, re.M)} for look in looks]


# [short]
def test_attach():
    """pastectl attaches an interface to the only port, detaches it, and attaches it to the one of two that it is told."""
    data = random.Random(1).randbytes(100000)
    with t.Server(attach=None) as server, t.connect() as s:
        t.echoed(s, data)
        t.eq(ports()["stack:0"][2], 0, "interfaces")
        t.guest().run(PASTECTL, "attach", "stack:eth0")
        t.eq(ports()["stack:0"][1:3], (1, 1), "sockets, interfaces")
        t.eq(ports()["stack:0"][3], server.counters()["nic_zero_copy"], "interfaces in zero-copy mode")
        before = server.counters()
        t.echoed(s, data)
        t.ge(server.counters()["rx_in_place"] - before["rx_in_place"], 1, "bytes received in place")
        refused("stack:eth0: ", "attach", "stack:eth0")
        t.guest().run(PASTECTL, "detach", "stack:eth0")
        t.eq(ports()["stack:0"][1:], (1, 0, 0), "sockets, interfaces, those in zero-copy mode")
        before = server.counters()
        t.echoed(s, data)
        t.eq(server.counters()["rx_in_place"], before["rx_in_place"], "bytes received in place")
        refused("stack:eth0: ", "detach", "stack:eth0")
        with t.Server(port="stack:other", listen=8, attach=None) as other:
            refused("stack:eth0: ", "attach", "stack:eth0")     # which of them?
            t.guest().run(PASTECTL, "attach", "stack:eth0", "--port-id", ports()["stack:other"][0])
            t.eq((ports()["stack:0"][2], ports()["stack:other"][2]), (0, 1), "interfaces")
            with t.connect(port=8) as s8:
                t.echoed(s8, data)
                t.echoed(s, data)
            t.ge(other.counters()["nic_frames"], 1, "frames of the other port's interface")
            t.guest().run(PASTECTL, "detach", "stack:eth0")
            t.eq(ports()["stack:other"][2], 0, "interfaces")
        refused("stack:eth0: ", "attach", "stack:eth0", "--port-id", "65535")
    refused("there is no stack port", "attach", "stack:eth0")


# [short]
def test_stats():
    """pastectl stats: the sum over rings and each alone are the port's counters, with --interval what moved meanwhile."""
    guest = t.guest()
    with t.Server(threads=2) as server:
        t.exchange(8, 100000)
        t.wait_for(lambda: server.stats()["conns"] == 0, "connections closed")
        known, = counters(guest.run(PASTECTL, "stats", "stack:0"))
        both = [counters(guest.run(PASTECTL, "stats", "stack:0", "--ring", ring, "--all"))[0] for ring in (0, 1)]
        total, = counters(guest.run(PASTECTL, "stats", "--all"))
        own = server.counters()
        for name in ("rx_in_place", "rx_copied", "rx_slots", "tx_slots", "tx_bytes"):
            t.eq(total[name], own[name], name)
            t.eq(known.get(name, 0), own[name], name + " without --all")
            t.eq(both[0][name] + both[1][name], own[name], name + " of the rings")
        t.eq(total["tx_bytes"], 800000, "bytes sent")
        t.true("bad_fd" not in known and "bad_fd" in total, "what has not moved is shown with --all alone")
        refused("stack:0: ", "stats", "stack:0", "--ring", "2")
        refused("stack:none: ", "stats", "stack:none")
        watch = guest.start(PASTECTL, "stats", "--interval", 1)
        with t.connect() as s:
            for _ in range(3):
                t.echoed(s, bytes(50000))
                time.sleep(0.7)
        t.wait_for(lambda: server.stats()["conns"] == 0, "connection closed")
        time.sleep(2.5)
        server.quit()
    t.eq(watch.wait(), 0, "status of pastectl stats --interval, whose port was closed")
    looks = counters(watch.out.decode())
    t.ge(len(looks), 4, "looks")
    t.eq(sum(look.get("tx_bytes", 0) for look in looks), 800000 + 150000, "bytes sent in all intervals")
    t.ge(looks[0].get("tx_bytes", 0), 800000, "bytes sent before the first look")
    t.ge(50000 * 2, looks[1].get("tx_bytes", 0), "bytes sent within a second")
    t.eq(looks[-1].get("tx_bytes", 0), 0, "bytes sent in the last interval")


@contextlib.contextmanager
def traced(events):
    """The kernel writes these down, and shall no more afterwards; .text is what it wrote."""
    class Trace:
        text = ""
    guest, trace = t.guest(), Trace()
    with t.tracefs():
        guest.sh("cd /sys/kernel/tracing; echo > trace; echo 1 > events/%s/enable" % events)
        try:
            yield trace
        finally:
            guest.sh("echo 0 > /sys/kernel/tracing/events/%s/enable" % events)
        trace.text = guest.sh("cd /sys/kernel/tracing; cat trace; echo > trace")


# [short]
def test_buffers():
    """The tracepoint paste:pst_buf tells the way of a frame's buffer: nic, stack, user, sent, free."""
    data = random.Random(1).randbytes(1000)
    with t.Server() as server, t.steered(), t.connect() as s:
        t.echoed(s, data)
        before = server.counters()
        with traced("paste/pst_buf") as trace:
            t.echoed(s, data)
            t.wait_for(lambda: not t.buffers(server)["buf_sent"], "the echo is acknowledged")
        in_place = server.counters()["rx_in_place"] - before["rx_in_place"]
    t.eq(in_place, len(data), "bytes received in place")
    ways = collections.defaultdict(list)
    for region, buf, a, b in re.findall(r"pst_buf: region=(\S+) buf=(\d+) (\w+)->(\w+)$", trace.text, re.M):
        ways[region, buf] += [a] if not ways[region, buf] else []
        ways[region, buf].append(b)
    t.eq(len(set(region for region, _ in ways)), 1, "regions")
    whole = [way for way in map("-".join, ways.values()) if re.search("nic-stack-user-sent(-settling-sent)*(-settling)?-free", way)]
    t.eq(len(whole), 1, "buffers that went all the way, of " + str(list(map("-".join, ways.values()))))


t.main()
