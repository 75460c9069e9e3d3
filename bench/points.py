"""points.py - what is measured: workloads, back ends, connections, and the commands that make a point of them."""

import collections
import os
import shlex

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = 80
# 151 bytes with their head, the reply of the figures published for the original PASTE.
REPLY_SIZE = 59

Workload = collections.namedtuple("Workload", "name title")
WORKLOADS = {w.name: w for w in (
    Workload("rpc", "RPC: GET, request 44 bytes, reply 151 bytes"),
    Workload("post1k", "POST: body of 1 KiB, reply without content"))}
SOCKET_BACKENDS = ("epoll", "uring")
BACKENDS = SOCKET_BACKENDS + ("paste",)
CONNECTIONS = (1, 50, 100)


class Point(collections.namedtuple("Point", "workload connections backend")):
    def __str__(self):
        return "%s, %d connection%s, %s" % (self.workload, self.connections, "s"[:self.connections > 1], self.backend)


def schedule(workloads, connections, backends, repetition=0):
    """The points of one repetition. Back ends alternate, so that what drifts hits all of them, and take turns at
    being first."""
    turn = repetition % len(backends)
    order = tuple(backends[turn:]) + tuple(backends[:turn])
    return [Point(w, c, b) for w in workloads for c in connections for b in order]


def server_command(backend):
    """For the guest."""
    command = ["apps/phttpd/phttpd", "--backend", backend, "--port", str(PORT), "--reply-size", str(REPLY_SIZE)]
    return command + (["--interface", "eth0"] if backend == "paste" else [])


def load_command(workload, connections, seconds):
    """A shell command for this machine; `seconds` may be a shell variable."""
    return "wrk -t1 -c%d -d%s --latency --timeout 10s -s %s http://$PASTE_GUEST:%d/ -- %s" % (
        connections, seconds, shlex.quote(os.path.join(HERE, "load.lua")), PORT, workload)
