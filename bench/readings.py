"""readings.py - reads what load, server, pastectl and ethtool print, and makes the figures of one measured run of it."""

import re

from messages import BenchError

LOAD_FIGURES = ("requests", "microseconds", "bytes", "p50", "p99")      # all else that a load counts is errors


def pairs(words):
    return {key: int(value) for key, value in zip(words[::2], words[1::2])}


def read_load(text):
    """The line that load.lua has wrk print, or dns.py; an error in it is an error here."""
    match = re.search(r"^load: (.*)$", text, re.M)
    if not match:
        raise BenchError("the load printed no result:\n" + text.strip())
    load = pairs(match[1].split())
    errors = ["%d %s" % (n, name) for name, n in load.items() if n and name not in LOAD_FIGURES]
    if errors:
        raise BenchError("the load counted errors: " + ", ".join(errors))
    if not load["requests"] or not load["microseconds"]:
        raise BenchError("no request was answered")
    return load


def read_last_line(text):
    """The server's counters, which it prints when it ends."""
    match = re.search(r"^\w+: (\w+ \d+( \w+ \d+)+)$", text, re.M)
    if not match:
        raise BenchError("the server printed no last line:\n" + text.strip())
    return pairs(match[1].split())


def read_port(text):
    """pastectl stats --all, of one port: lines of name, value, meaning."""
    return {name: int(value) for name, value in re.findall(r"^  (\w+) +(\d+)", text, re.M)}


def read_doorbells(text):
    """Transmit doorbells in ethtool -S of virtio-net, or None where the driver does not count them. The kernels differ in
    the names: some have a sum, all have one counter per queue."""
    kicks = {name: int(value) for name, value in re.findall(r"^\s*(\w+): (\d+)$", text, re.M)}
    if "tx_kicks" in kicks:
        return kicks["tx_kicks"]
    queues = [n for name, n in kicks.items() if re.fullmatch(r"tx(\d+|_queue_\d+)_kicks", name)]
    return sum(queues) if queues else None


def ratio(a, b):
    return a / b if b else None


def figures(load, doorbells, port, server, value=None):
    """The figures of a run. `doorbells` and `port` are (before, after); for a socket back end `port` is empty: the kernel
    copies every byte that the server reads or writes. `server` is the server's last line, for a load that stores; else
    None. `value`: bytes of each stored value, for a load that gets them."""
    result = {"requests": load["requests"], "seconds": load["microseconds"] / 1e6,
              "requests_per_second": load["requests"] * 1e6 / load["microseconds"],
              "p50_us": load["p50"], "p99_us": load["p99"], "in_place_share": 0.0, "doorbells_per_reply": None,
              "slots_per_batch": None, "copies_per_stored_byte": None}
    if None not in doorbells:
        result["doorbells_per_reply"] = (doorbells[1] - doorbells[0]) / load["requests"]
    if port:
        moved = {name: port[1][name] - port[0][name] for name in ("rx_in_place", "rx_copied", "rx_slots", "rx_batches", "tx_copied")}
        # In copy mode AF_XDP has copied what is in place for the port.
        in_place = moved["rx_in_place"] if port[1]["nic_zero_copy"] else 0
        result["in_place_share"] = ratio(in_place, moved["rx_in_place"] + moved["rx_copied"])
        result["slots_per_batch"] = ratio(moved["rx_slots"], moved["rx_batches"])
    if server and server.get("stored") and result["in_place_share"] is not None:
        # On the way into the application, heads of requests included, and into the store.
        received = server["bytes_in"] * (1 - result["in_place_share"])
        result["copies_per_stored_byte"] = (received + server["copied"]) / server["stored"]
    if value:   # heads of answers included
        result["copies_per_stored_byte"] = (moved["tx_copied"] if port else load["bytes"]) / (load["requests"] * value)
    return result
