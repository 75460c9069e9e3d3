"""NICs come and go: attached and detached under traffic, taken down, removed, moved away; the module unloaded."""

import contextlib
import time

import t

XDP_HOLDER = r"""
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(144, b"\0"), 144)
    fd = libc.syscall(321, command, buffer, 144)
    if fd < 0:
        print(os.strerror(ctypes.get_errno()), flush=True)
        sys.exit()
    return fd
pass_all = struct.pack("<BBhi", 0xb7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0)
code, license = ctypes.create_string_buffer(pass_all), ctypes.create_string_buffer(b"GPL")
program = bpf(5, struct.pack("<IIQQ", 6, 2, ctypes.addressof(code), ctypes.addressof(license)))
link = bpf(28, struct.pack("<IIII", program, socket.if_nametoindex("eth0"), 37, 0))
print("holds", flush=True)
sys.stdin.read()
"""


def refused(server, line, errno):
    try:
        server.command(line)
    except t.Failure as failure:
        t.eq(str(failure).rsplit(" ", 1)[1], errno, "error of " + line)
        return
    raise t.Failure("%s succeeded, expected %s" % (line, errno))


def gone(server, seconds=10):
    t.wait_for(lambda: server.counters()["nics"] == 0, "the device is let go of", seconds)


def traffic(n=3, address=t.GUEST, port=t.PORT, **options):
    return t.Traffic([t.Flow(t.connect(address, port, **options), 1, i) for i in range(n)])


def attach_and_detach(times):
    with t.ordinary_server(), t.Server() as server:
        ours, others = traffic(3), traffic(2, port=2000)
        with ours, others:
            for turn in range(times):
                server.command("detach stack:eth0")
                if turn % 10 == 0:
                    t.eq(server.counters()["nics"], 0, "NICs")
                    ours.moves("traffic of the port without a NIC")
                server.command("attach stack:eth0")
                if turn % 10 == 9:
                    ours.moves("traffic of the port with the NIC")
                    others.moves("traffic of others")
        c = server.counters()
        t.eq(c["nics"], 1, "NICs")
        t.ge(c["rx_in_place"] if t.zero_copy(server) else 1, 1, "bytes in place")
        t.wait_for(lambda: server.stats()["conns"] == 0, "connections closed")
        t.settled_buffers(server)


# [timeout=240]
def test_attach_detach():
    """Attached and detached 100 times under traffic of a port's sockets and of others: both are byte-exact, none dies."""
    attach_and_detach(100)


# [short debug]
def test_attach_detach_briefly():
    """The same, ten times."""
    attach_and_detach(10)


def test_unload():
    """The module cannot be unloaded while in use; it can afterwards, and serves when loaded again, five times."""
    guest = t.guest()
    for turn in range(5):
        with t.Server() as server:
            with traffic(2) as flows:
                status, _ = guest.status("sh", "-c", "rmmod paste 2> /dev/null")
                t.true(status != 0, "rmmod is refused while the port is open")
                flows.moves()
            if turn % 2:
                server.kill()
        t.wait_for(lambda: guest.run("cat", "/sys/module/paste/refcnt").strip() == "0", "nobody uses the module")
        guest.run("rmmod", "paste")
        status, _ = guest.status("test", "-e", "/dev/netmap")
        t.true(status != 0, "/dev/netmap is gone")
        if turn == 0:
            t.ge(t.ping(), 1, "answers to ping without the module")
        guest.run("insmod", "kernel/paste.ko")
    with t.Server():
        t.exchange(4, t.MEGABYTE)


# [short]
def test_down_and_up():
    """The interface goes down and up while attached, five times: connections survive, the NIC still delivers in place."""
    guest = t.guest()
    with t.Server() as server:
        with traffic(3) as flows:
            for turn in range(5):
                flows.moves()
                guest.run("ip", "link", "set", "eth0", "down")
                time.sleep(0.3 * (turn % 2))
                t.restore_eth0()
            flows.moves()
            before = server.counters()
            flows.moves()
            time.sleep(0.5)
            after = server.counters()
            t.eq(after["nics"], 1, "NICs")
            t.ge(after["nic_frames"], before["nic_frames"] + 1, "frames taken from the NIC")
            t.ge(after["rx_in_place"] - before["rx_in_place"], 3 * flows.window, "bytes received in place")


def test_attach_while_down():
    """An interface that is down can be attached or says why not, and serves once it is up."""
    guest = t.guest()
    with t.Server(attach=None) as server:
        guest.run("ip", "link", "set", "eth0", "down")
        try:
            try:
                server.command("attach stack:eth0")
            except t.Failure as failure:
                t.eq(str(failure).rsplit(" ", 1)[1], "ENETDOWN", "error of the attach")
        finally:
            t.restore_eth0()
        if not server.counters()["nics"]:
            server.command("attach stack:eth0")
        t.exchange(3, t.MEGABYTE)
        t.ge(server.counters()["nic_frames"], 1, "frames taken from the NIC")


# [short]
def test_veth():
    """A veth in a namespace, reached through a router: streams of both families are exact, whatever mode AF_XDP is in."""
    with t.space() as space, t.Server(space=space, attach="stack:veth1") as server:
        t.exchange(3, t.MEGABYTE, t.SPACE)
        t.exchange(3, t.MEGABYTE, t.SPACE6)
        t.ge(server.counters()["nic_frames"], 1, "frames taken from the NIC")


def test_veth_deleted():
    """A veth is deleted while attached and under traffic, three times: let go of at once, host and module fine."""
    guest = t.guest()
    for turn in range(3):
        with t.space() as space, t.Server(space=space, attach="stack:veth1") as server:
            flows = traffic(3, t.SPACE)
            flows.moves()
            start = time.monotonic()
            if turn == 1:
                guest.sh("ip -n %s link del veth1" % space)
            else:
                guest.sh("ip link del veth0")
            t.le(time.monotonic() - start, 5 * t.SLOWER, "seconds to delete it")
            gone(server)
            flows.halt()
            guest.sh("ip link add veth0 type veth peer name veth1 netns %s; ip -n %s link set veth1 up" % (space, space))
            server.command("attach stack:veth1")
            for flow in flows.flows:
                t.reset(flow.sock)
            t.ge(t.ping(), 1, "answers to ping")
            server.kill() if turn == 2 else server.quit()


def test_namespace_deleted():
    """A namespace is deleted with an attached veth while its server runs: it ends in order, nothing is left."""
    guest = t.guest()
    with t.space() as space:
        server = t.Server(space=space, attach="stack:veth1")
        flows = traffic(2, t.SPACE)
        flows.moves()
        guest.run("ip", "netns", "del", space)
        flows.moves()
        flows.halt()
        server.kill()
        t.wait_for(lambda: guest.status("ip", "link", "show", "veth0")[0] != 0, "the namespace's veth is gone")


def virtio_device():
    return t.guest().sh("basename $(readlink -f /sys/class/net/eth0/device)").strip()


# [short]
def test_unbound():
    """The driver is unbound from the NIC while attached and under traffic; bound again, it can be attached and serves."""
    guest = t.guest()
    device = virtio_device()
    driver = "/sys/bus/virtio/drivers/virtio_net/"
    for turn in range(3):
        with t.Server() as server:
            flows = traffic(3)
            flows.moves()
            try:
                guest.sh("echo %s > %sunbind" % (device, driver), timeout=20)
                gone(server)
                flows.halt()
            finally:
                guest.run("sh", "-c", "echo %s > %sbind" % (device, driver))
                t.restore_eth0()
            flows.ending = False
            server.command("attach stack:eth0")
            if turn == 1:  # connections do not care how long the device was away
                again = t.Traffic(flows.flows)
                again.moves(seconds=40)
                again.stop()
            for flow in flows.flows:
                flow.sock.close()
            t.exchange(3, t.MEGABYTE // 4)
            t.eq(server.counters()["nics"], 1, "NICs")


# The module under another name: what netmap, or a second copy of us, would be.
ANOTHER = """
import sys
module = open("kernel/paste.ko", "rb").read()
# Every "paste" padded with zeros: struct module's name[56], whichever section comes first.
other = module.replace(b"paste" + bytes(51), sys.argv[1].encode() + bytes(51))
open("/tmp/%s.ko" % sys.argv[1], "wb").write(other)
"""


# [short]
def test_second_owner():
    """Where /dev/netmap has an owner already, the module refuses to load; the first one goes on."""
    guest = t.guest()
    t.announce("cannot create /dev/netmap .* is netmap loaded")
    guest.run("python3", "-c", ANOTHER, "pasty")
    with t.Server() as server:
        status, output = guest.status("sh", "-c", "insmod /tmp/pasty.ko 2>&1")
        t.true(status != 0 and "busy" in output, "insmod: " + output)
        t.true("pasty" not in guest.run("lsmod"), "the second one is not loaded")
        t.exchange(2, t.MEGABYTE // 8)
        t.eq(server.counters()["nics"], 1, "NICs")


# [short]
def test_moved():
    """The device moves to another namespace while attached and under traffic: it is let go of; back again, it serves."""
    guest = t.guest()
    guest.run("ip", "netns", "add", "away")
    try:
        with t.Server() as server:
            flows = traffic(3)
            flows.moves()
            try:
                guest.run("ip", "link", "set", "eth0", "netns", "away")
                gone(server)
                t.true("xdp" not in guest.run("ip", "-n", "away", "-d", "link", "show", "eth0"), "no XDP program stays")
                refused(server, "attach stack:eth0", "ENXIO")
            finally:
                guest.run("ip", "-n", "away", "link", "set", "eth0", "netns", "1")
                t.restore_eth0()
            server.command("attach stack:eth0")
            flows.moves(seconds=40)
            flows.stop()
    finally:
        guest.run("ip", "netns", "del", "away")


# [short]
def test_taken():
    """A device with an XDP program, or attached to another port, is refused (EBUSY), and nobody notices."""
    guest = t.guest()
    with t.Server(attach=None) as server:
        holder = guest.start("python3", "-c", XDP_HOLDER)
        try:
            t.eq(holder.readline(), "holds", "what holds the device says")
            refused(server, "attach stack:eth0", "EBUSY")
            t.exchange(2, 100000)
        finally:
            holder.kill()
        server.command("attach stack:eth0")
        refused(server, "attach stack:eth0", "EBUSY")
        with t.Server(port="stack1:0", attach=None, listen=8) as second, traffic(2) as flows:
            refused(second, "attach stack1:eth0", "EBUSY")
            refused(second, "detach stack1:eth0", "ENXIO")
            t.exchange(2, 100000, port=8)
            flows.moves()
        holder = guest.start("python3", "-c", XDP_HOLDER)
        t.eq(holder.readline(), "Device or resource busy", "what would have the device says")
        holder.kill()
        t.exchange(2, 100000)


def test_unusable():
    """Interfaces that cannot be attached are refused with a reason: loopback, tunnels, none at all."""
    guest = t.guest()
    guest.sh("ip link add tun7 type sit local 10.77.0.2 remote 10.77.0.1 2> /dev/null || ip tuntap add tun7 mode tun")
    try:
        with t.Server(attach=None) as server:
            refused(server, "attach stack:lo", "EOPNOTSUPP")
            refused(server, "attach stack:tun7", "EOPNOTSUPP")
            refused(server, "attach stack:eth77", "ENXIO")
            refused(server, "detach stack:eth0", "ENXIO")
            refused(server, "attach stack7:eth0", "EINVAL")
            t.exchange(2, 100000)
            server.command("attach stack:eth0")
            t.exchange(2, 100000)
    finally:
        with contextlib.suppress(t.Failure):
            guest.run("ip", "link", "del", "tun7")


t.main()
