"""points.py - what is measured: workloads, back ends, connections, and the commands that make a point of them."""

import collections
import os
import shlex

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = 80
UDP_PORT = 5300
# 151 bytes with their head, the reply of the figures published for the original PASTE.
REPLY_SIZE = 59

SOCKET_BACKENDS = ("epoll", "uring")
# paste-copy is the paste back end copying into the store's buffers, to tell what batching gains from what keeping gains.
BACKENDS = SOCKET_BACKENDS + ("paste", "paste-copy")
CONNECTIONS = (1, 50, 100)
PLAIN = SOCKET_BACKENDS + ("paste",)

# connections: only these; those that are none of CONNECTIONS whatever is asked for. store: phttpd's options of it. fill:
# (keys, bytes of a value) put before the load begins. prepare: for the load's shell. per: the kernel function whose
# calls are the requests when instructions are counted; else the load tells how many there were. machine: options of
# lab/run.
Workload = collections.namedtuple("Workload", "name title backends connections store fill counted prepare per machine",
                                  defaults=(PLAIN, None, "", None, True, "", None, ""))
TWO_CPUS = "--cpus 2 --queues 2"
# A client address has 28,000 ports, and one is not used again while its connection is in TIME_WAIT.
MORE_PORTS = "sysctl -qw net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range='1024 65535'; "
TREE, LOG = "--store btree", "--store wal --ring"
WORKLOADS = {w.name: w for w in (
    Workload("rpc", "RPC: GET, request 44 bytes, reply 151 bytes"),
    Workload("post1k", "POST: body of 1 KiB, reply without content"),
    Workload("rpc-2cpu", "RPC with 2 CPUs, NIC queues and threads", connections=(100,), machine=TWO_CPUS),
    Workload("many", "RPC with 5,000 connections", connections=(5000,), prepare="ulimit -n 16384; "),
    Workload("conn", "Short connections: one RPC each", connections=(50,), prepare=MORE_PORTS),
    # Of udpecho. All datagrams go through UDP's queue, one by one, while paste may send several answers by one call.
    Workload("udp", "UDP: DNS queries of 39 bytes, echoed", ("epoll", "paste"), per="__udp_enqueue_schedule_skb"),
    Workload("wal", "Durable log: POST of 1 KiB, appended", BACKENDS, None, LOG),
    # Its spinning would be counted as instructions.
    Workload("wal-10us", "Durable log on slow memory: a fence takes 10 us longer", BACKENDS, None,
             LOG + " --fence-latency 10000", counted=False),
    Workload("put", "Durable values: PUT of 1 KiB, 10,000 keys", BACKENDS, None, TREE),
    Workload("get1k", "GET of stored values of 1 KiB", BACKENDS, (50, 100), TREE, (200, 1 << 10)),
    Workload("get64k", "GET of stored values of 64 KiB", BACKENDS, (50, 100), TREE, (100, 64 << 10)))}
DURABLE = tuple(w for w in WORKLOADS if WORKLOADS[w].store)

# In the guest: a device-DAX namespace on its NVDIMM, unless it is there from the server before, and a new region on it.
PMEM_SIZE = "512M"
REGION = "/dev/dax0.0"
MAKE_REGION = ("{ test -e %s || { modprobe -a libnvdimm nfit nd_pmem device_dax dax_pmem; ndctl destroy-namespace -f all; "
               "ndctl create-namespace -m devdax -a 4k; }; } >/dev/null 2>&1; "
               "apps/pastectl/pastectl region create %s --log 32M --replace >/dev/null && " % (REGION, REGION))

# In the guest: replies leave by the queue that their requests came from, so that flows do not move between the CPUs.
OWN_QUEUES = ("for q in 0 1; do echo 0 > /sys/class/net/eth0/queues/tx-$q/xps_cpus; "
              "echo $((1 << q)) > /sys/class/net/eth0/queues/tx-$q/xps_rxqs; done; ")

# For this machine, before anything is asked for: opening a port of such a size takes many seconds of emulation.
READY = "curl -s -o /dev/null --max-time 100 http://$PASTE_GUEST:%d/" % PORT
DNS = shlex.join(["python3", os.path.join(HERE, "dns.py"), str(UDP_PORT)])


class Point(collections.namedtuple("Point", "workload connections backend")):
    def __str__(self):
        return "%s, %d connection%s, %s" % (self.workload, self.connections, "s"[:self.connections > 1], self.backend)


def connections_of(workload, wanted):
    return [c for c in WORKLOADS[workload].connections or wanted if c in wanted or c not in CONNECTIONS]


def backends_of(workload, wanted):
    return [b for b in wanted if b in WORKLOADS[workload].backends]


def schedule(workloads, connections, backends, repetition=0):
    """The points of one repetition. Back ends alternate, so that what drifts hits all of them, and take turns at
    being first."""
    points = []
    for w in workloads:
        order = backends_of(w, backends)
        turn = repetition % len(order) if order else 0
        points += [Point(w, c, b) for c in connections_of(w, connections) for b in order[turn:] + order[:turn]]
    return points


def to_count(workloads, connections, backends):
    """Points to count instructions for, one back end after the other."""
    return [Point(w, c, b) for w in workloads if WORKLOADS[w].counted
            for c in connections_of(w, connections) for b in backends_of(w, backends)]


def machines(workloads):
    """The workloads by the machine they need, each of which is a guest of its own."""
    groups = {}
    for w in workloads:
        groups.setdefault(WORKLOADS[w].machine, []).append(w)
    return list(groups.values())


def lab_options(workloads):
    """For workloads of one machine."""
    return WORKLOADS[workloads[0]].machine.split() + (["--pmem", PMEM_SIZE] if any(WORKLOADS[w].store for w in workloads) else [])


def server_command(workload, backend):
    """A shell command for the guest, which becomes the server."""
    store = WORKLOADS[workload].store
    name, _, copy = backend.partition("-")
    program, port = ("apps/udpecho/udpecho", UDP_PORT) if workload == "udp" else ("apps/phttpd/phttpd", PORT)
    command = [program, "--backend", name, "--port", str(port)]
    command += ["--interface", "eth0"] if name == "paste" else []
    if workload == "udp":
        return shlex.join(["exec", *command])
    if not store:
        threads = ["--threads", "2"] if WORKLOADS[workload].machine else []
        return ((OWN_QUEUES if threads else "")
                + shlex.join(["exec", *command, "--reply-size", str(REPLY_SIZE), *threads]))
    command += ["--region", REGION, *store.split()] + (["--copy"] if copy else [])
    return MAKE_REGION + shlex.join(["exec", *command])


def fill_command(workload):
    """A shell command for this machine that waits for the server and puts what the load will ask for."""
    if workload == "udp":
        return DNS
    fill = WORKLOADS[workload].fill
    return READY + (" && " + shlex.join(["python3", os.path.join(HERE, "fill.py"), *map(str, (PORT, *fill))]) if fill else "")


def load_command(workload, connections, seconds):
    """A shell command for this machine; `seconds` may be a shell variable."""
    if workload == "udp":
        return "%s %d %s" % (DNS, connections, seconds)
    keys = WORKLOADS[workload].fill[0] if WORKLOADS[workload].fill else 0
    return "%swrk -t1 -c%d -d%s --latency --timeout 10s -s %s http://$PASTE_GUEST:%d/ -- %s %d" % (
        WORKLOADS[workload].prepare, connections, seconds, shlex.quote(os.path.join(HERE, "load.lua")), PORT, workload, keys)
