"""dns.py - the load of datagrams: dnsperf. It knows an answer by its number, so that an echo is one.

  dns.py PORT                waits until $PASTE_GUEST answers
  dns.py PORT N SECONDS      N clients, together N queries outstanding; prints one line as load.lua has wrk print
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time

READY_SECONDS = 100
NAMES = 10000
LATENCY = re.compile(r"^> NOERROR .* (\d+\.\d+)$", re.M)


def wait_until_ready(address):
    """The first answer may take long: the guest may be about to make its port."""
    deadline = time.monotonic() + READY_SECONDS
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.connect(address)
        while time.monotonic() < deadline:
            try:
                s.send(b"ready?")
                if s.recv(100) == b"ready?":
                    return
            except OSError:     # nobody is there yet
                time.sleep(0.2)
    sys.exit("no answer after %d s" % READY_SECONDS)


def percentile(ordered, percent):
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]


def result(text):
    """The line of results, and whether there was an error: a query without an answer, or an answer to none."""
    count = {name: int(n) for name, n in re.findall(r"^  Queries (\w+): +(\d+)", text, re.M)}
    seconds = re.search(r"^  Run time \(s\): +([\d.]+)$", text, re.M)
    microseconds = sorted(round(1e6 * float(latency)) for latency in LATENCY.findall(text))
    if not seconds or not microseconds or len(microseconds) != count["completed"]:
        sys.exit("dnsperf printed no result:\n" + LATENCY.sub("", text).strip())
    lost, unexpected = count["sent"] - count["completed"], text.count("unexpected")
    return "load: requests %d microseconds %d p50 %d p99 %d lost %d unexpected %d" % (
        count["completed"], 1e6 * float(seconds[1]), percentile(microseconds, 50), percentile(microseconds, 99),
        lost, unexpected), lost + unexpected > 0


def run(address, clients, seconds):
    """
    dnsperf's receiving thread wakes the sending one before it counts the answer. If that runs at once it goes back to
    sleep, until the next answer, and with one query outstanding there is none: 30 queries/s. On one CPU, and scheduled
    as a batch, the receiving thread goes on until it has to wait.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with tempfile.NamedTemporaryFile("w") as queries, tempfile.TemporaryFile("w+") as output:
        queries.writelines("host%05d.example.org A\n" % i for i in range(NAMES))
        queries.flush()
        subprocess.run(["dnsperf", "-s", address[0], "-p", str(address[1]), "-d", queries.name, "-v", "-W",
                        "-l", seconds, "-c", clients, "-q", clients], stdout=output, stderr=output)
        output.seek(0)
        return result(output.read())


def main():
    address = os.environ["PASTE_GUEST"], int(sys.argv[1])
    if len(sys.argv) == 2:
        return wait_until_ready(address)
    line, failed = run(address, *sys.argv[2:])
    print(line)
    return failed


if __name__ == "__main__":
    sys.exit(main())
