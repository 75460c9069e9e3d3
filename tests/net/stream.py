"""Byte streams between clients on the host and a server in the guest: whatever the sizes, what arrives is what was sent."""

import random
import socket
import threading
import time
import zlib

import t


def in_place(server, address):
    """Payload is where the NIC wrote it."""
    with t.steered(address):
        before = server.counters()
        t.exchange(4, 3 * t.MEGABYTE, address)
    t.wait_for(lambda: server.stats()["conns"] == 0, "connections closed after the end of stream")
    after = server.counters()
    c = {name: after[name] - before[name] for name in after}
    t.eq(c["rx_in_place"] + c["rx_copied"], 12 * t.MEGABYTE, "payload bytes received")
    t.eq(c["tx_bytes"], 12 * t.MEGABYTE, "payload bytes sent")
    t.ge(c["tx_batches"], 1, "syncs that sent something")
    t.le(c["tx_batches"], c["tx_syncs"], "syncs that sent something")
    t.ge(c["nic_merged"], 1, "frames offered to GRO")
    t.le(c["nic_merged"], c["nic_frames"], "frames offered to GRO")
    if t.zero_copy(server):
        t.le(c["rx_copied"], c["rx_in_place"] // 100, "bytes copied")
    for name in ("bad_index", "bad_owner", "bad_place", "bad_fd", "bad_flags", "bad_pointers", "nic_bad", "nic_dropped"):
        t.eq(c[name], 0, name)


# [short debug]
def test_ipv4():
    """Random sizes both ways over IPv4 arrive byte for byte, in place when the NIC can do zero copy."""
    with t.Server() as server:
        in_place(server, t.GUEST)


# [short]
def test_ipv6():
    """The same over IPv6."""
    with t.Server() as server:
        in_place(server, t.GUEST6)


# [short]
def test_copied_replies():
    """Slots of random length and offset, many to a segment, make up the same stream."""
    with t.Server(mode="copy"):
        t.exchange(3, t.MEGABYTE)


# [short]
def test_single_bytes():
    """Requests of one to three bytes, one at a time and many at once."""
    with t.Server():
        s = t.connect()
        for i in range(100):
            t.echoed(s, bytes([i, 255 - i][:1 + i % 2]))
        t.exchange(8, 3000, sizes=(1, 3))


# [short]
def test_many_sockets():
    """200 connections at once, of both families, keep their bytes apart."""
    with t.Server() as server:
        flows = [t.Flow(t.connect((t.GUEST, t.GUEST6)[i % 2]), 30000, i, (1, 5000)) for i in range(200)]
        t.run_flows(flows, 80)
        t.eq(server.stats()["accepted"], 200, "connections accepted")


# [timeout=180]
def test_thousand_connections():
    """1,000 connections open at once, each used several times; afterwards none is left."""
    with t.Server() as server:
        socks = [t.connect(seconds=20) for _ in range(1000)]
        t.wait_for(lambda: server.stats()["conns"] == 1000, "1000 connections registered", 30)
        t.eq(server.counters()["sockets"], 1000, "registered sockets")
        for turn in range(3):
            t.run_flows([t.Flow(s, 2000, turn * 1000 + i, (1, 1500)) for i, s in enumerate(socks)], 100)
        for s in socks:
            s.close()
        t.wait_for(lambda: server.counters()["sockets"] == 0, "no registered socket left", 20)
        t.settled_buffers(server)


def tiny(slots, mode, n=6):
    with t.Server(tx_slots=slots, rx_slots=slots, mode=mode) as server:
        t.eq(server.info["tx_slots"], slots, "TX slots")
        t.eq(server.info["rx_slots"], slots, "RX slots")
        t.exchange(n, t.MEGABYTE // 2)
        return server.counters()


# [short]
def test_tiny_rings():
    """Rings of 16 slots: full most of the time, wrapping all the time, nothing lost."""
    c = tiny(16, "echo")
    t.ge(c["rx_full"], 1, "times the RX ring was full")
    t.le(c["rx_batch_max"], 15, "slots published by one sync")


def test_tiny_rings_copied():
    """Rings of 16 slots and many more TX slots than RX slots."""
    tiny(16, "copy")


def test_odd_rings():
    """Rings whose size is not a power of two, and of different sizes in the two directions."""
    for tx, rx in ((17, 16), (16, 33), (100, 19), (1000, 777)):
        with t.Server(tx_slots=tx, rx_slots=rx) as server:
            t.eq((server.info["tx_slots"], server.info["rx_slots"]), (tx, rx), "slots (TX, RX)")
            t.exchange(3, 300000)


def test_big_rings():
    """Rings of 4096 slots, and a wish for more, which is cut."""
    with t.Server(tx_slots=4096, rx_slots=100000) as server:
        t.eq((server.info["tx_slots"], server.info["rx_slots"]), (4096, 4096), "slots (TX, RX)")
        t.exchange(4, 2 * t.MEGABYTE)


# [short]
def test_sink():
    """A server that only receives has all bytes, in order: length and CRC agree, also with a pause before the end."""
    with t.Server(mode="sink"):
        for i, total in enumerate((0, 1, 100, 4096, 100000, 4 * t.MEGABYTE)):
            s = t.connect()
            data = random.Random(i).randbytes(total)
            s.settimeout(30)
            s.sendall(data)
            if i % 2:
                time.sleep(0.2)
            s.shutdown(1)
            t.eq(t.receive_all(s), b"%d %d\n" % (total, zlib.crc32(data)), "length and CRC")


# [short]
def test_source():
    """A server that only sends: every byte of 16 MB arrives, to several clients at once."""
    with t.Server(mode="source"):
        failures = []

        def one(n):
            try:
                s = t.connect()
                s.sendall(b"GET %d\n" % n)
                data = t.receive(s, n, 50)
                t.eq(int.from_bytes(data[-4:], "little"), zlib.crc32(data[:-4]), "CRC of %d bytes" % n)
            except Exception as error:
                failures.append(str(error))
        threads = [threading.Thread(target=one, args=(n,)) for n in (16 * t.MEGABYTE, 5, 4096, 4100, 4101, 99999, t.MEGABYTE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        t.eq(failures, [], "failures")


# [short]
def test_pipelined():
    """Hundreds of requests sent at once, then cut anywhere: replies come in order, none missing."""
    with t.Server(mode="lend"):
        value = (b"0123456789abcdefghijklmnopqrstuvwxyz" * 30)[:1000]
        s = t.connect()
        s.sendall(b"x" * 700)
        t.same(t.receive(s, 700000), value * 700)
        for n in (1, 2, 3, 50):
            for _ in range(n):
                s.sendall(b"y")
            t.same(t.receive(s, 1000 * n), value * n)


def test_slow_application():
    """An application that takes a slot a millisecond: windows close and open again, nothing is lost."""
    with t.Server(mode="slow", rx_slots=64):
        t.exchange(3, t.MEGABYTE // 2, seconds=80)


def handshakes(space=None):
    """Connections of the guest, or of its namespace, that have become MPTCP, and not TCP as they may where one side has none."""
    words = (["ip", "netns", "exec", space] if space else []) + ["cat", "/proc/net/netstat"]
    names, values = [line.split()[1:] for line in t.guest().run(*words).splitlines() if line.startswith("MPTcpExt:")]
    return int(dict(zip(names, values))["MPCapableACKRX"])


def copied(server, total, exchanges):
    """They are exact, and the module has copied every byte, both ways, and counts it so."""
    before = server.counters()
    for exchange in exchanges:
        exchange()
    t.wait_for(lambda: server.stats()["conns"] == 0, "connections closed after the end of stream")
    after = server.counters()
    t.eq([after[name] - before[name] for name in ("rx_copied", "rx_in_place", "tx_bytes", "tx_copied")],
         [total, 0, total, total], "bytes received copied, in place; sent, of these copied")
    t.settled_buffers(server)


# [short]
def test_mptcp():
    """MPTCP over the NIC, both families: exact, and copied."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, t.MPTCP).close()
    except OSError as error:
        t.skip("this machine has no MPTCP: %s" % error)
    with t.Server(protocol=t.MPTCP) as server:
        before = handshakes()
        copied(server, 3 * t.MEGABYTE, [lambda address=address: t.exchange(3, t.MEGABYTE // 2, address, protocol=t.MPTCP)
                                        for address in (t.GUEST, t.GUEST6)])
        t.eq(handshakes() - before, 6, "connections that are MPTCP's")


def over_veth(protocol, largest=20000):
    with t.space() as space, t.Server(space=space, attach="stack:veth1", protocol=protocol) as server:
        copied(server, 3 * t.MEGABYTE, [lambda address=address: t.exchange_inside(address, protocol=protocol, largest=largest)
                                        for address in (t.SPACE, t.SPACE6)])
        return handshakes(space)


# [short]
def test_mptcp_veth():
    """MPTCP between two namespaces, over an attached veth, both families: exact, and copied."""
    t.eq(over_veth(t.MPTCP), 6, "connections that are MPTCP's")


# [short]
def test_sctp_veth():
    """The same by SCTP, where the kernel has it."""
    if t.guest().status("modprobe", "sctp")[0]:
        t.skip("the guest has no SCTP")
    over_veth(t.SCTP, largest=8000)


t.main()
