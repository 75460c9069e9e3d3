"""machine.py - what the figures were measured on."""

import os
import re
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def output(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=TOP)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() or done.stderr.strip()


def cpu_model():
    with open("/proc/cpuinfo") as f:
        match = re.search(r"^model name\s*: (.*)$", f.read(), re.M)
    return match[1] if match else os.uname().machine


def commit():
    git = ("git", "-c", "safe.directory=*")
    changed = output(*git, "status", "--porcelain")
    return output(*git, "rev-parse", "HEAD") + (", with uncommitted changes" if changed else "")


def host_facts():
    """Of this machine, when a measurement begins."""
    return {"date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), "commit": commit(), "CPU": cpu_model(),
            "cores": len(os.sched_getaffinity(0)), "load average before": "%.2f" % os.getloadavg()[0],
            "host kernel": os.uname().release}


def acceleration(guest_cpu):
    """QEMU's emulator shows a CPU of its own; with KVM the guest sees the host's."""
    return "TCG" if "TCG" in guest_cpu else "KVM"


def all_facts(host, guest):
    """With those of the guest, as inside.py found them, and of the tools; these may have been installed in between."""
    return {**host, "guest kernel": guest["kernel"], "guest CPUs": guest["cpus"],
            "acceleration": acceleration(guest["cpu"]),
            "QEMU": output("qemu-system-x86_64", "--version").splitlines()[0],
            "wrk": output("wrk", "-v").split(" [")[0],
            "dnsperf": (re.findall(r"Version (\S+)", output("dnsperf", "-h")) or ["-"])[0]}


def write(facts, path):
    with open(path, "w") as f:
        for name, value in facts.items():
            f.write("%s: %s\n" % (name, value))
