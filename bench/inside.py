"""inside.py - measures one repetition next to a running guest: inside.py PLAN RESULTS, as the host command of lab/run.

PLAN is JSON (see run_repetition in bench/run). Each result is a line of JSON appended to RESULTS as soon as it is known,
so that what a dying guest has given before is not lost.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time

import checks
from messages import BenchError, say
from points import WORKLOADS, Point, fill_command, load_command, server_command
from readings import figures, read_doorbells, read_last_line, read_load, read_port

START_SECONDS = 30
STOP_SECONDS = 30
ASK_SECONDS = 20
FILL_SECONDS = 120


def guest(*command):
    """Output of a command in the guest."""
    try:
        done = subprocess.run(["guest", *command], capture_output=True, text=True, timeout=ASK_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchError("in the guest: no end of %s after %d s" % (command[0], ASK_SECONDS)) from None
    if done.returncode:
        raise BenchError("in the guest: %s: %s" % (" ".join(command), done.stderr.strip() or done.returncode))
    return done.stdout


class Server:
    """The server in the guest; leaving the block stops it and reads its last line."""

    def __init__(self, workload, backend):
        self.command = server_command(workload, backend)
        self.output = ""

    def __enter__(self):
        self.process = subprocess.Popen(["guest", "sh", "-c", "exec 2>&1; " + self.command],
                                        stdout=subprocess.PIPE)
        try:
            self.read_until("listening on", START_SECONDS)
        except BenchError:
            self.kill()
            raise
        return self

    def read_until(self, text, seconds):
        """Reads output until `text` is in it, or its end when that is None."""
        deadline = time.monotonic() + seconds
        while text is None or text not in self.output:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise BenchError("the server: nothing after %d s; it printed: %s" % (seconds, self.output.strip()))
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                if text is None:
                    return
                raise BenchError("the server ended: " + self.output.strip())
            self.output += data.decode(errors="replace")

    def kill(self):
        self.process.kill()     # its command in the guest dies with it
        self.process.wait()
        self.process.stdout.close()

    def __exit__(self, failure, *_):
        try:
            self.process.send_signal(signal.SIGTERM)
            self.read_until(None, STOP_SECONDS)
            status = self.process.wait(timeout=STOP_SECONDS)
            self.last_line = read_last_line(self.output)
            if status:
                raise BenchError("the server: status %d; it printed: %s" % (status, self.output.strip()))
        except (BenchError, subprocess.TimeoutExpired):
            if not failure:     # else that is what the user should read
                raise
        finally:
            self.kill()


def run_here(command, seconds):
    """The end and the output of a shell command on this machine."""
    try:
        return subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=seconds)
    except subprocess.TimeoutExpired:
        raise BenchError("%s did not end" % command.split()[0]) from None


def run_fill(point):
    done = run_here(fill_command(point.workload), FILL_SECONDS)
    if done.returncode:
        raise BenchError("no first answer, or the store could not be filled: " + done.stdout.strip())


def run_load(point, seconds):
    return read_load(run_here(load_command(point.workload, point.connections, seconds), seconds + 30).stdout)


def counters(point):
    port = read_port(guest("apps/pastectl/pastectl", "stats", "--all")) if point.backend.startswith("paste") else None
    return read_doorbells(guest("ethtool", "-S", "eth0")), port


def measure(point, plan):
    with Server(point.workload, point.backend) as server:
        run_fill(point)
        run_load(point, plan["warm"])
        doorbells, port = counters(point)
        load = run_load(point, plan["seconds"])
        doorbells_after, port_after = counters(point)
    if server.last_line["errors"]:
        raise BenchError("the server counted %d errors" % server.last_line["errors"])
    fill = WORKLOADS[point.workload].fill
    return figures(load, (doorbells, doorbells_after), port and (port, port_after), None if fill else server.last_line,
                   fill[1] if fill else None)


def check(workload, backend):
    with Server(workload, backend):
        run_here(fill_command(workload), FILL_SECONDS)
        checks.check_all(os.environ["PASTE_GUEST"], workload)


def machine():
    kernel, *info = guest("sh", "-c", "uname -r && cat /proc/cpuinfo").splitlines()
    models = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    return {"kernel": kernel, "cpu": models[0] if models else "?", "cpus": len(models)}


def server_of(point):
    """Which server's answers stand for the point's: (workload, back end)."""
    if point.workload == "udp":
        return "udp", point.backend
    return "put" if WORKLOADS[point.workload].store else "rpc", point.backend


class Session:
    def __init__(self, plan, results):
        self.plan, self.results = plan, results

    def keep(self, kind, **result):
        self.results.write(json.dumps({"kind": kind, "repetition": self.plan["repetition"], **result}) + "\n")
        self.results.flush()

    def run(self):
        self.keep("start", time=time.time())
        try:
            self.keep("machine", **machine())
        except BenchError as error:     # the other repetitions know as well
            say(str(error))
        points = [Point(*p) for p in self.plan["points"]]
        wrong = {}
        for server in sorted({server_of(p) for p in points}):
            try:
                check(*server)
            except (BenchError, OSError, subprocess.TimeoutExpired) as error:
                wrong[server] = "its answers could not be confirmed: %s" % error
        say("answers checked (GET, HEAD, POST, 404, 405, echo, pipelined; of stores PUT, GET, POST, DELETE, 404; "
            "datagrams): "
            + ("; ".join("%s, %s: %s" % (*server, error) for server, error in wrong.items()) or "all right"))
        for number, point in enumerate(points, self.plan["first"]):
            self.run_point(number, point, wrong.get(server_of(point)))

    def run_point(self, number, point, error):
        result = {}
        if not error:
            try:
                result = measure(point, self.plan)
            except (BenchError, OSError, subprocess.TimeoutExpired) as failure:
                error = str(failure)
        text = "ERROR: " + error if error else "%8.0f requests/s, p50 %.2f ms" % (
            result["requests_per_second"], result["p50_us"] / 1000)
        say("%3d/%d  %-28s %s" % (number, self.plan["of"], point, text))
        self.keep("run", **point._asdict(), **result, error=error)


def main():
    with open(sys.argv[1]) as f:
        plan = json.load(f)
    with open(sys.argv[2], "a") as results:
        Session(plan, results).run()


if __name__ == "__main__":
    main()
