"""instructions.py - guest instructions per request, by lab/profile: a pass of its own, because counting slows the guest."""

import json
import os
import shlex
import subprocess

from messages import BenchError
from points import WORKLOADS, fill_command, lab_options, load_command, server_command

PROFILE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab", "profile")
WARM_SECONDS = 1
WARM_STORE_SECONDS = 8  # until most keys are there, and buffers come back from the log
BOUND_SECONDS = 400     # booting, perhaps again, included


def profile_command(point, path, kernel, seconds):
    """lab/profile for a point. It puts "exec" before the server's command, which therefore is one program."""
    options = lab_options([point.workload])
    warm = str(WARM_STORE_SECONDS if WORKLOADS[point.workload].store else WARM_SECONDS)
    per = WORKLOADS[point.workload].per
    return [PROFILE, "--kernel", kernel, "--seconds", str(seconds), "--warm", warm, "--json", path, *options,
            *(["--per", per] if per else []),
            "--server", shlex.join(["sh", "-c", server_command(point.workload, point.backend)]),
            "--load", fill_command(point.workload) + " && "
            + load_command(point.workload, point.connections, "$PASTE_SECONDS")]


def profile(point, directory, kernel, seconds):
    """Instructions per request of a point. Leaves the whole profile in `directory`: .json for lab/profile --compare, .txt
    to read."""
    base = os.path.join(directory, "%s-%d-%s" % (point.workload, point.connections, point.backend))
    command = profile_command(point, base + ".json", kernel, seconds)
    with open(base + ".txt", "w+") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            status = process.wait(timeout=BOUND_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError("lab/profile did not end after %d s" % BOUND_SECONDS) from None
        finally:
            end(process)
        output.seek(0)
        text = output.read()
    if status:
        raise BenchError("lab/profile: status %d: %s" % (status, text.strip()[-500:]))
    with open(base + ".json") as f:
        result = json.load(f)
    return result["instructions"] / result["requests"]


def end(process, seconds=30):
    """Ends a command of the lab, which cleans up when told to end."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
