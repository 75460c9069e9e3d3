"""How an application waits for its port: each way is served, and one that never sleeps needs no interrupts."""

import re
import time

import t


def interrupts():
    """Of the receive queues of the guest's first NIC."""
    guest = t.guest()
    device = guest.sh("basename $(readlink -f /sys/class/net/eth0/device)").strip()
    lines = [line for line in guest.run("cat", "/proc/interrupts").splitlines() if re.search(device + r"-input", line)]
    return sum(int(n) for line in lines for n in re.findall(r"(?<=\s)\d+(?=\s)", line))


def served(**options):
    """Interrupts for each frame, with small requests one at a time."""
    with t.Server(**options) as server:
        t.exchange(4, t.MEGABYTE)
        s = t.connect()
        t.echoed(s, b"steered")
        frames, before = server.counters()["nic_frames"], interrupts()
        for i in range(300):
            t.echoed(s, b"%d" % i)
        frames, count = server.counters()["nic_frames"] - frames, interrupts() - before
        t.ge(frames, 300, "frames")
        print("%d frames, %d interrupts" % (frames, count))
        return count / frames


def test_sleeping():
    """poll, select and epoll that sleep: woken for what comes."""
    for wait in ("poll", "select", "epoll"):
        t.ge(served(wait=wait), 0.1, "interrupts for each frame")


def busy(wait):
    """Not waiting, with interrupts deferred: hardly any come."""
    guest = t.guest()
    settings = "cd /sys/class/net/eth0; echo %d > napi_defer_hard_irqs; echo %d > gro_flush_timeout"
    guest.sh(settings % (1000, 500000000))
    try:
        best = 1
        for _ in range(3):      # while this machine has no time for the guest's CPU, frames pile up and the device interrupts
            start = time.monotonic()
            best = min(best, served(wait=wait, busy=True))
            t.le(time.monotonic() - start, 15 * t.SLOWER, "seconds")  # 150 if the deferred interrupt were waited for
            if best <= 0.1:
                break
        t.le(best, 0.1, "interrupts for each frame")
    finally:
        guest.sh(settings % (0, 0))


# [short]
def test_busy():
    """poll with timeout 0, over and over: it runs the NIC, which needs no interrupts when the administrator defers them."""
    busy("poll")


def test_busy_otherwise():
    """The same of select and, where the application calls NIOCRXSYNC itself, of epoll."""
    for wait in ("select", "epoll"):
        busy(wait)


t.main()
