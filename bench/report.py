"""report.py - the tables, and up to three sentences that say what they show."""

import os
import textwrap

from points import BACKENDS, SOCKET_BACKENDS, WORKLOADS, Point
from summary import best_socket, find, ratio_to_sockets, read_csv

WIDTH = 126
SPREAD = 3      # the column that a single repetition does not have
# title, width
COLUMNS = (("conns", 5), ("back end", 8), ("requests/s", 10), ("(min..max)", 17), ("ratio", 6), ("p50 ms", 7), ("p99 ms", 7),
           ("zero copy", 9), ("copies", 6), ("batch", 5), ("bells", 6), ("instr/req", 9), ("ratio", 6))
IDLE_COLUMNS = COLUMNS[:2] + (("bytes each", 10), ("ratio", 6), ("at rest MiB", 11))
LEGEND = """\
%(measured)s, server and guest with %(cpus)s. ratio: paste to the better socket back end.
zero copy: received payload the application reads where the NIC wrote it. batch: segments or datagrams it gets with one
poll. copies: bytes the CPU copies per byte stored, from where the NIC wrote them to where they are durable, as counted
by kernel and server; on sockets the heads of requests are among them. Of GET: per byte of a value, on its way out.
bells: doorbells (NIC notifications) per reply. instr/req: all instructions the guest executes, per request."""

IDLE_TITLE = "Idle connections: memory, of kernel and server together"
IDLE_LEGEND = """\
bytes each: what a connection costs that has been answered once and is left alone. at rest: what the server takes without
connections; of paste, the port's buffers, which connections then use."""

COST_TITLE = "Making data durable, on this machine: nanoseconds for a buffer"
WAYS = ("in_place", "in_place_batch", "copy_nt", "copy_flush")
COST_COLUMNS = (("bytes", 6), ("where", 6), *((way, 14) for way in WAYS))
COST_LEGEND = """\
in_place: flushed where it was received; in_place_batch: 16 by one fence; copy: into the region, past the caches (nt) or flushed.
where: what the NIC wrote is in memory or in the CPU's cache."""

STORES = ("paste", "lmdb", "lmdb_sync")
LMDB_TITLE = "Log and tree against LMDB, on this machine: operations per second"
LMDB_COLUMNS = (("of", 10), ("what", 8), *((store, 10) for store in STORES), ("ratio", 6))
LMDB_LEGEND = """\
ratio: paste to the better of the two. lmdb: nothing is durable; lmdb_sync: msync(), for which there is nothing to do but on
disk. appendN, insertN, deleteN: N to a commit."""
# CSV files of bench/Makefile, without .csv, and of what they are.
AGAINST_LMDB = {"wal": "log", "wal-disk": "log, disk", "btree": "tree", "btree-disk": "tree, disk"}


def times(value):
    return "%.2f x" % value if value else ""


def number(value, form="{:,.0f}"):
    return form.format(value) if value is not None else "-"


def cells(rows, row):
    workload, connections, backend = row.point
    line = [connections, backend]
    rate = row.figures["requests_per_second"]
    if not rate:
        return line + ["error"]
    spread = "({:,.0f}..{:,.0f})".format(rate.low, rate.high) if rate.low != rate.high else ""
    paste = backend not in SOCKET_BACKENDS
    share = row.median("in_place_share")
    return line + [
        number(rate.median), spread, times(paste and ratio_to_sockets(rows, workload, connections, backend=backend)),
        number(row.median("p50_us") / 1000, "{:.2f}"), number(row.median("p99_us") / 1000, "{:.2f}"),
        number(100 * share, "{:.2f} %") if paste and share is not None else "-",
        number(row.median("copies_per_stored_byte"), "{:.2f}"), number(row.median("slots_per_batch"), "{:.1f}"),
        number(row.median("doorbells_per_reply"), "{:.3f}"),
        number(row.instructions),
        times(paste and ratio_to_sockets(rows, workload, connections, "instructions_per_request", backend))]


def format_line(line, skip=None, columns=COLUMNS):
    """Right-aligned, names left-aligned; without column `skip`."""
    return "  ".join(("%-*s" if title == "back end" else "%*s") % (width, text)
                     for i, ((title, width), text) in enumerate(zip(columns, line)) if i != skip).rstrip()


def blocks(rows):
    """(workload, connections) in order, each with its rows in the order of the back ends."""
    for workload, connections in dict.fromkeys((r.point.workload, r.point.connections) for r in rows):
        found = (find(rows, *Point(workload, connections, b)) for b in BACKENDS)
        yield workload, connections, [row for row in found if row]


def table(rows, facts):
    lines = []
    last = None
    rates = [row.figures["requests_per_second"] for row in rows]
    measured = ("%s" if facts["repetitions"].startswith("1 ") else "Medians of %s") % facts["repetitions"]
    skip = None if any(r and r.low != r.high for r in rates) else SPREAD
    for workload, _, block in blocks(rows):
        if workload != last:
            lines += ["", WORKLOADS[workload].title, format_line([title for title, _ in COLUMNS], skip)]
        else:
            lines.append("")
        last = workload
        lines += [format_line(cells(rows, row), skip) for row in block]
    return "\n".join(lines[1:] + ["", LEGEND % dict(facts, measured=measured)])


def idle_table(figures):
    """Of what bench/idle has found."""
    best = min((f["bytes_per_connection"] for f in figures if f["backend"] in SOCKET_BACKENDS), default=None)
    lines = [[title for title, _ in IDLE_COLUMNS]]
    for f in figures:
        each = f["bytes_per_connection"]
        ratio = best and f["backend"] not in SOCKET_BACKENDS and each / best
        lines.append([f["connections"], f["backend"], number(each), times(ratio),
                      number(f["bytes_at_rest"] / (1 << 20), "{:,.1f}")])
    return "\n".join([IDLE_TITLE, *(format_line(line, columns=IDLE_COLUMNS) for line in lines), "", IDLE_LEGEND])


def cost_table(figures):
    """Of what bench/pm has found."""
    ns = {(f["bytes"], f["where"], f["how"]): f["ns"] for f in figures}
    lines = [[title for title, _ in COST_COLUMNS]]
    lines += [[*point, *(number(ns.get((*point, way))) for way in WAYS)] for point in dict.fromkeys(key[:2] for key in ns)]
    return "\n".join([COST_TITLE, *(format_line(line, columns=COST_COLUMNS) for line in lines), "", COST_LEGEND])


def lmdb_table(figures):
    """Of what bench/wal_lmdb and bench/btree_lmdb have found: {of what: figures}."""
    lines = [[title for title, _ in LMDB_COLUMNS]]
    for of, found in figures.items():
        rates = {(f["workload"], f["backend"]): list(f.values())[-1] for f in found}
        for what in dict.fromkeys(workload for workload, _ in rates):
            paste, *others = (rates.get((what, store)) for store in STORES)
            best = max(filter(None, others), default=None)
            lines.append([of, what, *map(number, (paste, *others)), times(paste and best and paste / best)])
    return "\n".join([LMDB_TITLE, *(format_line(line, columns=LMDB_COLUMNS) for line in lines), "", LMDB_LEGEND])


def other_tables(directory):
    """Of what bench/idle and bench/Makefile have left there, as far as they have."""
    idle, cost = (read_csv(os.path.join(directory, name)) for name in ("idle.csv", "pm.csv"))
    lmdb = {of: read_csv(os.path.join(directory, name + ".csv")) for name, of in AGAINST_LMDB.items()}
    return ([idle_table(idle)] if idle else []) + ([cost_table(cost)] if cost else []) \
        + ([lmdb_table(lmdb)] if any(lmdb.values()) else [])


def errors(rows):
    """Errors with their points."""
    points = {}
    for row in rows:
        for error in row.errors:
            points.setdefault(error, []).append(str(row.point))
    return ["%s%s: %s" % (names[0], " and %d more" % (len(names) - 1) if names[1:] else "", error)
            for error, names in points.items()]


# ---- sentences ----

def sentence_gain(rows):
    ratio = ratio_to_sockets(rows, "rpc", 50)
    if not ratio:
        return "There is no RPC measurement at 50 connections with paste and a socket back end to compare."
    value, backend = best_socket(rows, "rpc", 50, "requests_per_second")
    paste = find(rows, "rpc", 50, "paste")
    text = "With 50 connections of small requests paste serves {:,.0f} requests/s, {:.2f} times the {:,.0f} of {}, the better " \
           "socket back end".format(paste.median("requests_per_second"), ratio, value, backend)
    ratio = ratio_to_sockets(rows, "rpc", 50, "instructions_per_request")
    if ratio:
        text += ", and a request costs the guest {:,.0f} instructions, {:.2f} of what it costs with {}".format(
            paste.instructions, ratio, best_socket(rows, "rpc", 50, "instructions_per_request")[1])
    return text + "."


def sentence_cause(rows):
    paste = find(rows, "rpc", 50, "paste")
    share = paste and paste.median("in_place_share")
    if share is None:
        return "There is no measurement of paste to explain."
    text = "{:.2f} % of the payload was read where the NIC wrote it, but copying 44-byte requests and 151-byte replies, or " \
           "1 KiB, would cost little more: what paste gains here comes from batching".format(100 * share)
    batch, bells = paste.median("slots_per_batch"), paste.median("doorbells_per_reply")
    if batch:
        text += ", one poll() for {:.0f} requests".format(batch)
        text += " and {:.3f} doorbells per reply".format(bells) if bells is not None else ""
    single = ratio_to_sockets(rows, "rpc", 1)
    if single:
        text += "; with 1 connection there is nothing to batch (ratio {:.2f})".format(single)
    return text + "."


def sentence_two_cpus(rows):
    """Emulated CPUs share the host's, so instructions tell what a second one is worth."""
    one, two = (find(rows, w, 100, "paste") for w in ("rpc", "rpc-2cpu"))
    if not (one and two and one.instructions and two.instructions):
        return ""
    return "With 2 CPUs, NIC queues and threads a request costs paste {:,.0f} instructions, {:,.0f} with one of each: where " \
           "each has a core of the machine to itself, two do {:.2f} times as much as one.".format(
               two.instructions, one.instructions, 2 * one.instructions / two.instructions)


def sentence_limits(rows, facts):
    if facts["acceleration"] == "TCG":
        text = "The guest is emulated (QEMU TCG: no caches, every instruction costs about the same), so requests/s do " \
               "not predict hardware"
    else:
        text = "The guest runs on KVM with a virtual NIC, so requests/s do not predict real NICs"
    text += " and repeat within 10 to 15 % at best; instructions per request repeat within 3 %"
    return text + (", and 'make bench' gives medians." if facts["repetitions"].startswith("1 ") else ".")


def sentences(rows, facts):
    about_rpc = [sentence_gain(rows), sentence_cause(rows)] if any(row.point.workload == "rpc" for row in rows) else []
    return "\n".join(textwrap.fill(sentence, WIDTH)
                     for sentence in [*about_rpc, sentence_two_cpus(rows), sentence_limits(rows, facts)] if sentence)
