"""Ports in memory the application supplies: whatever its kind, streams are exact and in place, and all buffers come back."""

import contextlib
import re

import t


def settled(server):
    """Every buffer is with its owner: nothing stays in TCP, and the server has what it had."""
    t.wait_for(lambda: server.stats()["conns"] == 0, "connections closed after the end of stream")

    def quiet():
        c = server.counters()
        return c["buf_sent"] == c["buf_stack"] == 0
    t.wait_for(quiet, "buffers come back")


def serves(memory, megabytes=128, **options):
    """In place as far as the kernel can, and balanced afterwards, several times more than there are buffers."""
    with t.Server(memory=memory, memory_size=megabytes, **options) as server:
        with t.steered():
            before, marked_before = server.counters(), server.stats()["copied_slots"]
            t.exchange(4, 5 * t.MEGABYTE)
        settled(server)
        after, marked = server.counters(), server.stats()["copied_slots"] - marked_before
        c = {name: after[name] - before[name] for name in after}
        t.eq(c["rx_in_place"] + c["rx_copied"], 20 * t.MEGABYTE, "payload bytes received")
        t.eq(c["tx_bytes"], 20 * t.MEGABYTE, "payload bytes sent")
        if t.zero_copy(server):
            t.le(c["rx_copied"], c["rx_in_place"] // 50, "bytes copied")
        t.true(marked <= c["rx_copied"] <= 4096 * marked, "%d slots say that they were copied, %d bytes were" % (
            marked, c["rx_copied"]))
        t.eq(after["buf_user"], before["buf_user"], "buffers of the application")
        for name in ("bad_index", "bad_owner", "nic_bad", "nic_dropped"):
            t.eq(c[name], 0, name)


def refused(memory):
    server = t.Process(["tests/kernel/server", "--memory", memory])
    t.eq(server.wait(), 1, "status of the server")
    t.true(b"Operation not supported" in server.err, "the port cannot be opened: %r" % server.err)


# [short]
def test_anonymous():
    """Anonymous memory of small pages."""
    serves("anon")


# [short]
def test_memfd():
    """A memfd."""
    serves("memfd")


@contextlib.contextmanager
def mounted(what):
    """At /tmp/region."""
    t.guest().sh("mkdir -p /tmp/region && mount %s /tmp/region" % what)
    try:
        yield
    finally:
        t.guest().sh("umount /tmp/region")


# [short]
def test_file():
    """A file on tmpfs."""
    with mounted("-t tmpfs none"):
        serves("/tmp/region/file")


def opened_by_name(path):
    """nmport_open() with the file in the name; nothing is to be supplied by the application."""
    t.guest().run("tests/kernel/named", "stack:0@extmem:file=" + path, path)


def test_by_name_file():
    """A file on tmpfs that the name of the port says, which is refused when it is empty or not there."""
    guest = t.guest()
    with mounted("-t tmpfs none"):
        guest.sh("truncate -s 64M /tmp/region/file; touch /tmp/region/empty")
        opened_by_name("/tmp/region/file")
        opened_by_name("/tmp/region/file")
        for name in "empty", "missing":
            status, _ = guest.status("tests/kernel/named", "stack:0@extmem:file=/tmp/region/" + name, "/tmp/region/file")
            t.eq(status, 1, "status with a file that is " + name)


def test_shrinking_file():
    """A file on tmpfs that gets a hole, and then loses everything, under a port and its NIC: the port keeps its pages."""
    guest = t.guest()
    with mounted("-t tmpfs none"):
        with t.Server(memory="/tmp/region/file") as server:
            t.exchange(2, t.MEGABYTE)
            before = server.counters()["buf_user"]
            for shrink in "fallocate -p -o 20M -l 60M", "truncate -s 0":
                guest.sh("%s /tmp/region/file" % shrink)
                t.exchange(4, 4 * t.MEGABYTE)
                settled(server)
            t.eq(server.counters()["buf_user"], before, "buffers of the application")
        guest.sh("test $(stat -c %s /tmp/region/file) = 0")


def test_file_of_another():
    """A file that a port has is refused to a second one, of another process, and the first one goes on."""
    with mounted("-t tmpfs none"), t.Server(memory="/tmp/region/file", attach=None):
        second = t.Process(["tests/kernel/server", "--port", "stack:1", "--memory", "/tmp/region/file"])
        t.eq(second.wait(20), 1, "status of a second port in the same file")
        t.true(b"stack:1: Device or resource busy" in second.err, "its error: %r" % second.err)
        t.exchange(2, t.MEGABYTE)


def test_thp():
    """Transparent huge pages, of which 512 buffers share one reference count."""
    serves("thp")


# [short]
def test_hugetlb():
    """Huge pages of hugetlbfs, which 6.1 refuses."""
    try:
        if t.kernel() >= (6, 12):
            serves("hugetlb")
        else:
            refused("hugetlb")
    finally:
        t.guest().sh("echo 0 > /proc/sys/vm/nr_hugepages")


def test_small():
    """So small that buffers are always short: slow, and nothing is lost."""
    with t.Server(memory="anon", memory_size=6, tx_slots=128, rx_slots=128, extra=64) as server:
        t.exchange(4, t.MEGABYTE)
        settled(server)
        if t.zero_copy(server):
            t.ge(server.counters()["nic_wakeups"], 1, "times the driver had run dry")


# [timeout=120]
def test_new_pages():
    """Pages that the kernel has not put on its lists yet, which it does by the dozen, are not taken for busy meanwhile."""
    for _ in range(40):
        with t.Server(memory="anon", memory_size=6, tx_slots=128, rx_slots=128, extra=64) as server:
            t.exchange(4, t.MEGABYTE)
            settled(server)


def test_attached_by_another():
    """A process that does not have the memory attaches the NIC."""
    with t.Server(memory="anon", attach=None) as server:
        t.guest().run("apps/pastectl/pastectl", "attach", "stack:eth0")
        with t.steered():
            before = server.counters()
            t.exchange(2, t.MEGABYTE)
        if t.zero_copy(server):
            t.le(server.counters()["rx_copied"] - before["rx_copied"], t.MEGABYTE // 50, "bytes copied")


DAX = """
    modprobe -a libnvdimm nfit nd_pmem device_dax dax_pmem
    ndctl destroy-namespace -f all > /dev/null 2>&1
    ndctl create-namespace -m devdax -a %s > /dev/null
    """


# [short pmem=512M]
def test_device_dax():
    """Device-DAX of 4 KiB pages: NVMM into which the NIC writes."""
    t.guest().sh(DAX % "4k", timeout=60)
    serves("/dev/dax0.0")


# [pmem=512M]
def test_by_name_device_dax():
    """A device-DAX device that the name of the port says."""
    t.guest().sh(DAX % "4k", timeout=60)
    opened_by_name("/dev/dax0.0")


@contextlib.contextmanager
def past_caches():
    """.bytes: what the kernel has copied by non-temporal stores meanwhile; .most: in one piece."""
    class Copied:
        bytes = most = 0
    guest, copied = t.guest(), Copied()
    with t.tracefs():
        guest.sh("""cd /sys/kernel/tracing
            echo 'p:paste_nt __memcpy_flushcache len=%dx:u64' > kprobe_events
            echo 'hist:keys=len' > events/kprobes/paste_nt/trigger""")
        try:
            yield copied
            hist = guest.sh("cat /sys/kernel/tracing/events/kprobes/paste_nt/hist")
            pieces = [(int(n), int(times)) for n, times in re.findall(r"len: +(\d+) \} hitcount: +(\d+)", hist)]
            copied.bytes = sum(n * times for n, times in pieces)
            copied.most = max((n for n, _ in pieces), default=0)
        finally:
            guest.sh("""cd /sys/kernel/tracing
                echo '!hist:keys=len' > events/kprobes/paste_nt/trigger
                echo > kprobe_events""")


def copies(memory):
    """The port works on packets that came the ordinary way, and copies past the caches what it receives."""
    with t.Server(memory=memory, attach=None) as server:
        with past_caches() as copied:
            t.exchange(4, 2 * t.MEGABYTE)
            settled(server)
        t.ge(copied.bytes, 8 * t.MEGABYTE, "bytes copied by non-temporal stores")
        t.ge(server.stats()["copied_slots"] * 4096, 8 * t.MEGABYTE, "bytes there may be in slots that say they were copied")
        c = server.counters()
        t.eq((c["rx_in_place"], c["rx_copied"]), (0, 8 * t.MEGABYTE), "payload bytes received")
        t.eq((c["tx_bytes"], c["tx_copied"]), (8 * t.MEGABYTE, 8 * t.MEGABYTE), "payload bytes sent")
        with past_caches() as copied:       # packets with larger fragments than buffers are
            t.exchange_inside("127.0.0.1")
            settled(server)
        t.ge(copied.bytes, 1.5 * t.MEGABYTE, "bytes copied by non-temporal stores")
        t.le(copied.most, 4096, "bytes copied at once")
        try:
            server.command("attach stack:eth0")
        except t.Failure as error:
            t.true("EOPNOTSUPP" in str(error), str(error))
        else:
            raise t.Failure("a NIC was attached")


# [pmem=512M]
def test_device_dax_large_pages():
    """Device-DAX of 2 MiB pages, whose buffers cannot be told apart: copied, and no NIC."""
    t.announce("in memory no NIC may write to")
    t.guest().sh(DAX % "2M", timeout=60)
    copies("/dev/dax0.0")


def file_on_dax(make):
    """Copied, and no NIC. Who shortens the file or punches a hole waits for the port, and may give up; then it works."""
    t.announce("in memory no NIC may write to")
    guest = t.guest()
    guest.sh("""
        modprobe -a libnvdimm nfit nd_pmem
        ndctl destroy-namespace -f all > /dev/null 2>&1
        ndctl create-namespace -m fsdax > /dev/null
        """ + make, timeout=60)
    with mounted("-o dax=always /dev/pmem0"):
        path = "/tmp/region/file"
        copies(path)
        guest.sh("truncate -s 0 " + path)
        with t.Server(memory=path, attach=None) as server:
            for shrink in "truncate -s 0", "fallocate -p -o 20M -l 60M":
                t.eq(guest.status("timeout", "-k", "1", "2", *shrink.split(), path)[0], 124, "status of %s in use" % shrink)
            t.exchange(2, t.MEGABYTE)
            settled(server)
        guest.sh("truncate -s 0 " + path)


# [pmem=512M]
def test_file_on_ext4_dax():
    """A file on a DAX mount of ext4, which cannot be pinned for a NIC: copied, and no NIC; nobody shortens it in use."""
    file_on_dax("modprobe ext4; mkfs.ext4 -q -b 4096 /dev/pmem0")


# [pmem=512M]
def test_file_on_xfs_dax():
    """The same on xfs."""
    file_on_dax("modprobe xfs; mkfs.xfs -q -f -m reflink=0 /dev/pmem0")


t.main()
