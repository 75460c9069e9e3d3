"""Whoever else uses the host and its NIC: nobody notices that it is attached, and what they set up is respected."""

import contextlib
import os
import random
import re
import signal
import socket
import sys
import time

import t

sys.path.append(os.path.join(t.TOP, "bench"))
from readings import read_doorbells  # noqa: E402


def whole_host():
    guest = t.guest()
    with t.ordinary_server():
        t.find_neighbours()
        t.ge(t.ping(count=3), 3, "answers to ping")
        t.ge(t.ping(t.GUEST6, 3), 3, "answers to IPv6 ping")
        guest.run("ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "2", t.HOST)
        guest.run("ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "2", t.HOST6)
        t.ordinary_datagrams()
        t.exchange(2, 2 * t.MEGABYTE, port=2000)
        t.exchange(2, t.MEGABYTE // 2, t.GUEST6, port=2000)


def test_idle():
    """While a NIC is attached and idle: ping both ways, ARP, UDP with fragments, other TCP ports work as ever."""
    with t.Server():
        t.echoed(t.connect(), b"registered once")
        whole_host()


# [short]
def test_stopped():
    """The same while the application is stopped, with connections open that send."""
    guest = t.guest()
    with t.Server() as server:
        with t.Traffic([t.Flow(t.connect(), 1, i) for i in range(2)]) as flows:
            flows.moves()
            guest.run("kill", "-STOP", server.pid)
            try:
                whole_host()
            finally:
                guest.run("kill", "-CONT", server.pid)
            flows.moves()


def test_under_load():
    """The same under load of the port."""
    with t.Server():
        with t.Traffic([t.Flow(t.connect(), 1, i) for i in range(3)]):
            whole_host()


def direct(server):
    return server.counters()["direct_packets"]


def batched(server, flows):
    """Packets go to the driver together again."""
    before = direct(server)
    flows.moves()
    t.wait_for(lambda: direct(server) > before, "packets go to the driver together")


def not_batched(server, flows, what):
    """They do not: every packet takes the normal way."""
    flows.moves()
    before = direct(server)
    flows.moves(what)
    t.eq(direct(server), before, "packets that passed by: " + what)


ROUNDS, CONNECTIONS, PIPELINED = 10, 20, 3


# [short]
def test_one_doorbell():
    """Replies of one round, here to 20 connections, go to the driver together and take few doorbells."""
    def doorbells():
        return read_doorbells(t.guest().run("ethtool", "-S", "eth0"))
    request = b"request " * 16
    with t.Server() as server:
        socks = [t.connect((t.GUEST, t.GUEST6)[i % 2]) for i in range(CONNECTIONS)]
        for s in socks:
            t.echoed(s, request)
        before, rung = t.settled(lambda: batches(server), "the number of batches"), doorbells()
        for _ in range(ROUNDS):
            server.mode("stall")        # while it is busy with other things, requests pile up
            for s in socks:
                for _ in range(PIPELINED):
                    s.sendall(request)
            time.sleep(0.3)
            server.mode("echo")
            for s in socks:
                t.same(t.receive(s, PIPELINED * len(request)), PIPELINED * request)
        after, rung = t.settled(lambda: batches(server), "the number of batches"), doorbells() - rung
        packets, goes = (n - b for n, b in zip(after, before))
        print("%d packets in %d batches, %d doorbells" % (packets, goes, rung))
        t.ge(packets, ROUNDS * CONNECTIONS, "packets that went to the driver together")
        t.le(10 * goes, packets, "ten times the number of batches")
        t.le(5 * rung, packets, "five times the number of doorbells")
        for s in socks:
            s.close()


def batches(server):
    c = server.counters()
    return c["direct_packets"], c["direct_batches"]


def qdisc_packets():
    return int(re.search(r"Sent \d+ bytes (\d+) pkt", t.guest().run("tc", "-s", "qdisc", "show", "dev", "eth0")).group(1))


def start_tcpdump(guest, what):
    """Into /tmp/dump, whose head it writes when it has begun to capture."""
    guest.run("rm", "-f", "/tmp/dump")
    dump = guest.start("tcpdump", "-i", "eth0", "-n", "-s", "0", "-w", "/tmp/dump", "-U", "--immediate-mode", what)
    t.wait_for(lambda: guest.status("test", "-s", "/tmp/dump")[0] == 0, "tcpdump runs")
    return dump


# [short]
def test_captured():
    """tcpdump sees the port's packets in both directions, byte for byte; streams are exact; direct sending pauses."""
    guest = t.guest()
    with t.Server() as server:
        s = t.connect()
        with t.Traffic([t.Flow(t.connect(), 1, i) for i in range(2)]) as flows:
            batched(server, flows)
            dump = start_tcpdump(guest, "tcp port 7 and port %d" % s.getsockname()[1])
            not_batched(server, flows, "traffic under tcpdump")
            data = b"<" + random.Random(1).randbytes(20000) + b">"
            t.echoed(s, data)
            time.sleep(0.3)
            dump.signal(signal.SIGINT)
            dump.wait()
            batched(server, flows)
        text = guest.run("tcpdump", "-n", "-r", "/tmp/dump")
        for what, pattern in (("received", r"> %s\.7: Flags .* length (\d+)" % re.escape(t.GUEST)),
                              ("sent", r"IP %s\.7 > .* length (\d+)" % re.escape(t.GUEST))):
            t.ge(sum(map(int, re.findall(pattern, text))), len(data), "bytes captured, " + what)
        seen = guest.sh("""
            python3 -c '
import sys
d = open("/tmp/dump", "rb").read()
print(*(d.count(bytes.fromhex(x)) for x in sys.argv[1:]))' %s %s""" % (data[:64].hex(), data[-64:].hex()))
        t.true(all(int(n) >= 2 for n in seen.split()), "beginning and end of the data captured in both directions: " + seen)
        s.close()


# [short]
def test_ss():
    """ss shows registered connections as it shows others, counts their bytes exactly, says whose they are, and can kill one."""
    guest = t.guest()
    with t.Server() as server:
        s, other = t.connect(), t.connect()
        for n in (1, 100, 50000):
            t.echoed(s, random.Random(n).randbytes(n))
        time.sleep(0.3)  # the last acknowledgement
        line = guest.run("ss", "-Htine", "state", "established", "( sport = :7 and dport = :%d )" % s.getsockname()[1])
        t.true("tcp-ulp-paste" in line, "the owner is named: " + line)
        for name in ("bytes_received", "bytes_acked"):
            t.eq(int(re.search(name + r":(\d+)", line).group(1)), 50101, name)
        t.true(re.search(r"rtt:\d", line) and re.search(r"cwnd:\d", line), "round-trip time and window: " + line)
        t.eq(len(guest.run("ss", "-Htn", "state", "established", "sport = :7").splitlines()), 2, "connections")
        guest.run("ss", "-K", "dst", t.HOST, "dport", "=", ":%d" % s.getsockname()[1])
        try:
            t.eq(s.recv(1), None, "what the end by ss -K brings")
        except ConnectionResetError:
            pass
        t.wait_for(lambda: server.stats()["conns"] == 1, "the application is told of the end")
        t.echoed(other, b"still there")
        s.close()
        other.close()


def packets_arrived():
    with open("/proc/net/dev") as f:
        return sum(int(line.split()[2]) for line in f if line.strip().startswith("tap"))


# [short]
def test_counters():
    """tc and the interface count the packets that went to the driver together, and they arrive."""
    guest = t.guest()
    arrived = packets_arrived()
    with t.Server() as server:
        with t.Traffic([t.Flow(t.connect(), 1, i) for i in range(4)]) as flows:
            batched(server, flows)
            q, d = qdisc_packets(), direct(server)
            flows.moves()
            time.sleep(0.5)
            d2 = direct(server)
            q2 = qdisc_packets()
            t.ge(q2 - q, d2 - d, "packets counted by the qdisc")
            t.ge(packets_arrived() - arrived, d2, "packets that arrived")
            # virtio-net bound to AF_XDP leaves those out that its TX poll finds sent (napi_packets in virtnet_xsk_xmit()).
            if not server.counters()["nic_zero_copy"]:
                tx = int(guest.run("cat", "/sys/class/net/eth0/statistics/tx_packets"))
                t.ge(tx, d2, "packets counted by the interface")


def respected(name, set_up, remove, shows=None):
    guest = t.guest()
    with t.Server() as server:
        with t.Traffic([t.Flow(t.connect(address), 1, i) for i, address in enumerate((t.GUEST, t.GUEST6, t.GUEST))]) as flows:
            batched(server, flows)
            guest.sh(set_up)
            try:
                not_batched(server, flows, "traffic with " + name)
                if shows:
                    output = guest.sh(shows[0])
                    t.true(re.search(shows[1], output), "%s has counted packets: %s" % (name, output))
            finally:
                guest.sh(remove)
            batched(server, flows)


DELETE_ROOT = "tc qdisc del dev eth0 root"


def test_tbf():
    """A token bucket on the NIC shapes the port's traffic; direct sending pauses, and resumes after its removal."""
    respected("tbf", "tc qdisc add dev eth0 root tbf rate 200mbit burst 64k latency 100ms", DELETE_ROOT,
              ("tc -s qdisc show dev eth0", r"tbf(?s:.*)Sent [1-9]\d{4,}"))


def test_fq():
    """The same of fq, which paces."""
    respected("fq", "tc qdisc add dev eth0 root fq maxrate 100mbit", DELETE_ROOT,
              ("tc -s qdisc show dev eth0", r"qdisc fq (?s:.*)Sent [1-9]\d{4,}"))


def test_htb():
    """The same of htb with a class and a filter."""
    respected("htb", """
        tc qdisc add dev eth0 root handle 1: htb default 1
        tc class add dev eth0 parent 1: classid 1:1 htb rate 300mbit
        tc class add dev eth0 parent 1: classid 1:2 htb rate 200mbit
        tc filter add dev eth0 parent 1: protocol ip prio 1 u32 match ip sport 7 0xffff flowid 1:2""", DELETE_ROOT,
              ("tc -s class show dev eth0", r"1:2 (?s:.*)Sent [1-9]\d{4,}"))


def test_netem():
    """The same of netem, and its delay is felt."""
    guest = t.guest()
    respected("netem", "tc qdisc add dev eth0 root netem delay 5ms", DELETE_ROOT)
    with t.Server():
        s = t.connect()
        guest.sh("tc qdisc add dev eth0 root netem delay 200ms")
        try:
            start = time.monotonic()
            t.echoed(s, b"slowly")
            t.ge(time.monotonic() - start, 0.19, "seconds for a reply through netem")
        finally:
            guest.sh(DELETE_ROOT)


def test_clsact():
    """The same of a filter at clsact's egress."""
    respected("clsact", """
        tc qdisc add dev eth0 clsact
        tc filter add dev eth0 egress matchall action ok""", "tc qdisc del dev eth0 clsact",
              ("tc -s filter show dev eth0 egress", r"Sent [1-9]\d{4,}"))


def test_filter_on_default_qdisc():
    """The same of a filter on the qdisc that is there anyway."""
    respected("a filter", """
        tc qdisc replace dev eth0 root handle 5: fq_codel
        tc filter add dev eth0 parent 5: protocol all prio 1 matchall classid 5:1""", DELETE_ROOT)


# [short]
def test_nft_egress():
    """The same of an nftables egress chain; and what it drops is dropped."""
    respected("an nft egress hook", """
        nft add table netdev test
        nft 'add chain netdev test out { type filter hook egress device eth0 priority 0; }'
        nft add rule netdev test out tcp sport 7 counter""", "nft delete table netdev test",
              ("nft list table netdev test", r"packets [1-9]\d"))


def test_nft_output():
    """A netfilter output rule sees every packet of the port; what it drops does not leave, and comes when it is gone."""
    guest = t.guest()
    with t.Server() as server:
        s = t.connect()
        t.echoed(s, b"x" * 1000)
        try:
            guest.sh("""
                nft add table inet test
                nft 'add chain inet test out { type filter hook output priority 0; }'
                nft add rule inet test out tcp sport 7 counter
                nft 'add set inet test ports { type inet_service; }'
                nft add rule inet test out tcp sport 7 tcp dport @ports drop""")
            before = direct(server)
            for _ in range(20):
                t.echoed(s, b"y" * 3000)
            t.ge(direct(server), before + 20, "packets that went to the driver together in spite of the rule")
            packets = int(re.search(r"counter packets (\d+)", guest.run("nft", "list", "table", "inet", "test")).group(1))
            t.ge(packets, 20, "packets the rule has counted")
            guest.sh("nft add element inet test ports { %d }" % s.getsockname()[1])
            s.sendall(b"z" * 5000)
            s.settimeout(0.7)
            with contextlib.suppress(socket.timeout):
                raise t.Failure("%d bytes came past a rule that drops" % len(s.recv(65536)))
            t.echoed(t.connect(), b"another connection")
        finally:
            guest.sh("nft delete table inet test")
        t.same(t.receive(s, 5000), b"z" * 5000)


def packets(command):
    """What the counters of rules or filters say, in order."""
    return [int(a or b) for a, b in re.findall(r"packets (\d+)|Sent \d+ bytes (\d+) pkt", t.guest().sh(command))]


def heard(server):
    return server.stats()["rx_bytes"]


def kept_out(set_up, drop, remove, count):
    """
    Rules on the way in: the first counts packets to our port, which come in place meanwhile; what drop then makes them drop,
    of one connection, the application does not get, while others go on; and it comes when the rules are gone.
    """
    guest = t.guest()
    with t.Server() as server:
        s, other = t.connect(), t.connect()
        t.echoed(s, b"x" * 1000)
        t.echoed(other, b"x" * 1000)
        try:
            guest.sh(set_up)
            before = server.counters()["rx_in_place"]
            for _ in range(20):
                t.echoed(s, b"y" * 3000)
            t.ge(server.counters()["rx_in_place"] - before, 50000, "bytes in place in spite of the rule")
            t.ge(min(packets(count)), 20, "packets counted")
            guest.sh(drop % s.getsockname()[1])
            total = heard(server)
            s.sendall(b"z" * 5000)
            s.settimeout(0.7)
            with contextlib.suppress(socket.timeout):
                raise t.Failure("%d bytes came past a rule that drops" % len(s.recv(65536)))
            t.eq(heard(server), total, "bytes the application got")
            t.echoed(other, b"not dropped" * 1000)
            t.eq(heard(server), total + 11000, "bytes the application got")
            t.echoed(t.connect(), b"another connection")
        finally:
            guest.sh(remove)
        t.same(t.receive(s, 5000), b"z" * 5000)
        t.echoed(s, b"as before")


NFT_IN = """
    nft add table inet test
    nft 'add set inet test ports { type inet_service; }'
    for hook in "prerouting priority -300" "input priority 0"; do
        nft "add chain inet test ${hook%% *} { type filter hook $hook; }"
        nft add rule inet test ${hook%% *} tcp dport 7 counter
    done
    """


# [short]
def test_nft_input():
    """Netfilter rules on the way in count every packet of the port; what one in the input chain drops is not received."""
    kept_out(NFT_IN + "nft add rule inet test input tcp dport 7 tcp sport @ports drop",
             "nft add element inet test ports { %d }", "nft delete table inet test", "nft list table inet test")


def test_nft_prerouting():
    """The same of one in the prerouting chain."""
    kept_out(NFT_IN + "nft add rule inet test prerouting tcp dport 7 tcp sport @ports drop",
             "nft add element inet test ports { %d }", "nft delete table inet test", "nft list table inet test")


def test_nft_ingress():
    """The same of an nftables ingress chain."""
    kept_out("""
        nft add table netdev test
        nft 'add chain netdev test in { type filter hook ingress device eth0 priority 0; }'
        nft 'add set netdev test ports { type inet_service; }'
        nft add rule netdev test in tcp dport 7 counter
        nft add rule netdev test in tcp dport 7 tcp sport @ports drop""",
             "nft add element netdev test ports { %d }", "nft delete table netdev test", "nft list table netdev test")


def test_tc_ingress():
    """The same of filters at clsact's ingress."""
    kept_out("""
        tc qdisc add dev eth0 clsact
        tc filter add dev eth0 ingress prio 5 protocol ip u32 match ip dport 7 0xffff action ok""",
             "tc filter add dev eth0 ingress prio 1 protocol ip u32 match ip sport %d 0xffff action drop",
             "tc qdisc del dev eth0 clsact", "tc -s filter show dev eth0 ingress")


def test_redirected():
    """Connection tracking and a redirect from another port: streams are exact, each connection is seen as established."""
    guest = t.guest()
    with t.Server() as server:
        try:
            guest.sh("""
                nft add table inet test
                nft 'add chain inet test nat { type nat hook prerouting priority -100; }'
                nft add rule inet test nat tcp dport 70 redirect to :7
                nft 'add chain inet test in { type filter hook input priority 0; }'
                nft add rule inet test in tcp dport 7 ct state invalid drop
                nft add rule inet test in tcp dport 7 ct status dnat ct state established counter
                nft add rule inet test in tcp dport 7 ct status dnat ct state new counter""")
            with t.steered():
                t.exchange(3, t.MEGABYTE, port=70)
                t.exchange(2, t.MEGABYTE, t.GUEST6, port=70)
                t.exchange(2, t.MEGABYTE)
            established, new = packets("nft list table inet test")
            t.ge(established, 5 * t.MEGABYTE // 65536, "packets of established connections")
            t.eq(new, 5, "new connections that were redirected")
            t.eq(server.stats()["rx_bytes"], 7 * t.MEGABYTE + len(b"steered from now on"), "bytes the application got")
        finally:
            guest.status("nft", "delete", "table", "inet", "test")


def test_udp_dropped():
    """Datagrams that a netfilter rule drops are not received, others are; they are counted."""
    guest = t.guest()
    with t.datagram_server() as server:
        s, other = t.datagram_socket(), t.datagram_socket()
        t.datagram_echoed(s, b"first")
        try:
            guest.sh("""
                nft add table inet test
                nft 'add chain inet test in { type filter hook input priority 0; }'
                nft add rule inet test in udp dport 7 counter
                nft add rule inet test in udp dport 7 udp sport %d counter drop""" % s.getsockname()[1])
            before = server.counters()
            for i in range(10):
                s.send(b"dropped %d" % i * 20)
                t.datagram_echoed(other, b"%d" % i * 1000)
            c = server.counters()
            t.eq(c["rx_in_place"] + c["rx_copied"] - before["rx_in_place"] - before["rx_copied"], 10000, "bytes received")
            t.ge(c["rx_in_place"] - before["rx_in_place"], 9000, "bytes in place in spite of the rules")
            t.eq(packets("nft list table inet test"), [20, 10], "packets counted, dropped")
        finally:
            guest.sh("nft delete table inet test")
        t.datagram_echoed(s, b"as before")


# [short]
def test_udp_captured():
    """tcpdump sees datagrams in both directions, byte for byte; each is received once, afterwards in place."""
    guest = t.guest()
    rnd = random.Random(11)
    with t.datagram_server() as server:
        s = t.datagram_socket()
        t.datagram_echoed(s, b"first")
        dump = start_tcpdump(guest, "udp port 7")
        before = server.counters()
        sent = [rnd.randbytes(n) for n in (1400, 20, 1000, 1472, 300)]
        for data in sent:
            t.datagram_echoed(s, data)
        c = server.counters()
        t.eq(c["rx_copied"] - before["rx_copied"] + c["rx_in_place"] - before["rx_in_place"], sum(map(len, sent)),
             "bytes received while captured")
        time.sleep(0.3)
        dump.signal(signal.SIGINT)
        dump.wait()
        seen = guest.sh("""
            python3 -c '
import sys
d = open("/tmp/dump", "rb").read()
print(*(d.count(bytes.fromhex(x)) for x in sys.argv[1:]))' %s""" % " ".join(data.hex() for data in sent))
        t.eq(seen.split(), ["2"] * len(sent), "how often each datagram was captured")
        before = server.counters()
        t.datagram_echoed(s, sent[0])
        t.eq(server.counters()["rx_in_place"] - before["rx_in_place"], len(sent[0]), "bytes in place afterwards")


def udp_queue():
    """What waits in the socket for the application, as ss has it."""
    return int(t.guest().run("ss", "-Hunl", "sport = :7").split()[1])


# [short]
def test_udp_ss():
    """ss shows a registered datagram socket, its process, and what waits while that is stopped; all of it comes then."""
    guest = t.guest()
    with t.datagram_server():
        s = t.datagram_socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * t.MEGABYTE)
        t.datagram_echoed(s, b"first")
        line = guest.run("ss", "-Hunlpm", "sport = :7")
        t.true("datagrams" in line, "the process is named: " + line)
        t.true(re.search(r"skmem:\(.*,d0\)", line), "nothing is dropped: " + line)
        t.eq(udp_queue(), 0, "bytes that wait")
        pid = re.search(r"pid=(\d+)", line).group(1)
        guest.run("kill", "-STOP", pid)
        try:
            for i in range(700):     # the ring has 512 slots
                s.send(b"%04d" % i * 20)
                time.sleep(0.001)
            t.wait_for(udp_queue, "bytes wait while the application is stopped")
        finally:
            guest.run("kill", "-CONT", pid)
        for i in range(700):
            t.eq(s.recv(65536), b"%04d" % i * 20, "datagram")
        t.eq(udp_queue(), 0, "bytes that wait")


def test_rate():
    """A rate of 20 Mbit/s is kept: the port sends no faster than tbf lets it."""
    guest = t.guest()
    with t.Server(mode="source"):
        s = t.connect()
        guest.sh("tc qdisc add dev eth0 root tbf rate 20mbit burst 16k latency 200ms")
        try:
            start = time.monotonic()
            s.sendall(b"GET %d\n" % (5 * t.MEGABYTE))
            t.receive(s, 5 * t.MEGABYTE, 40)
            t.ge(time.monotonic() - start, 1.8, "seconds for 5 MB at 20 Mbit/s")
        finally:
            guest.sh(DELETE_ROOT)


t.main()
