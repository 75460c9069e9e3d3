"""summary.py - medians and spread of the points over the repetitions, and the CSV files."""

import csv
import dataclasses
import statistics

from points import CONNECTIONS, DURABLE, SOCKET_BACKENDS, Point

SUMMARY_COLUMNS = ("workload", "backend", "connections", "requests_per_second", "p50_us", "p99_us",
                   "instructions_per_request", "in_place_share")
DETAIL_COLUMNS = ("repetition", "workload", "backend", "connections", "requests_per_second", "p50_us", "p99_us",
                  "in_place_share", "copies_per_stored_byte", "doorbells_per_reply", "slots_per_batch", "requests",
                  "seconds", "error")
MEASURED = ("requests_per_second", "p50_us", "p99_us", "in_place_share", "copies_per_stored_byte", "doorbells_per_reply",
            "slots_per_batch")
DECIMALS = {"requests_per_second": 1, "p50_us": 0, "p99_us": 0, "instructions_per_request": 0, "in_place_share": 5,
            "copies_per_stored_byte": 3, "doorbells_per_reply": 4, "slots_per_batch": 2, "seconds": 3}


@dataclasses.dataclass
class Spread:
    median: float
    low: float
    high: float


@dataclasses.dataclass
class Row:
    """A point. Figures are Spread, or None where there is none."""
    point: Point
    figures: dict
    instructions: float
    errors: list

    def median(self, name):
        if name == "instructions_per_request":
            return self.instructions
        return self.figures[name].median if self.figures[name] else None


def spread(values):
    values = [v for v in values if v is not None]
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def summarize(results):
    """Rows, in the order in which their points came first in the first repetition. Repetitions with an error give an error
    and no figures."""
    runs, instructions, errors = {}, {}, {}
    for result in results:
        if result["kind"] not in ("run", "instructions"):
            continue
        point = Point(result["workload"], result["connections"], result["backend"])
        runs.setdefault(point, [])
        if result.get("error"):
            errors.setdefault(point, []).append(result["error"])
        elif result["kind"] == "run":
            runs[point].append(result)
        else:
            instructions[point] = result["value"]
    return [Row(point, {name: spread(run[name] for run in runs[point]) for name in MEASURED}, instructions.get(point),
                errors.get(point, [])) for point in runs]


def find(rows, workload, connections, backend):
    return next((r for r in rows if r.point == Point(workload, connections, backend)), None)


def durable_rows(rows):
    """Those of the durable store, if there are any, behind those of RPC, to which their bars are compared."""
    durable = [row for row in rows if row.point.workload in DURABLE]
    rpc = [row for row in rows if row.point.workload == "rpc" and row.point.connections in CONNECTIONS]
    return rpc + durable if durable else []


def best_socket(rows, workload, connections, name):
    """(value, back end) of the better socket back end for this figure: most requests, fewest of anything else."""
    candidates = [(row.median(name), b) for b in SOCKET_BACKENDS
                  if (row := find(rows, workload, connections, b)) and row.median(name)]
    return (max if name == "requests_per_second" else min)(candidates, default=None)


def ratio_to_sockets(rows, workload, connections, name="requests_per_second", backend="paste"):
    """`backend` to the better socket back end, or None: the quotient of medians, as a reader of the table would compute it."""
    best = best_socket(rows, workload, connections, name)
    paste = find(rows, workload, connections, backend)
    return paste.median(name) / best[0] if best and paste and paste.median(name) else None


def cell(name, value):
    if value is None:
        return ""
    return "%.*f" % (DECIMALS[name], value) if name in DECIMALS else value


def write_summary(rows, path):
    with open(path, "w", newline="") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(SUMMARY_COLUMNS)
        for row in rows:
            writer.writerow([row.point.workload, row.point.backend, row.point.connections]
                            + [cell(name, row.median(name)) for name in SUMMARY_COLUMNS[3:]])


def write_details(results, path):
    with open(path, "w", newline="") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(DETAIL_COLUMNS)
        for result in results:
            if result["kind"] == "run":
                writer.writerow([cell(name, result.get(name)) for name in DETAIL_COLUMNS])


def read_csv(path):
    """A dictionary for each line; nothing if there is no such file."""
    try:
        with open(path, newline="") as f:
            return [{name: int(value) if value.isdigit() else value for name, value in row.items()}
                    for row in csv.DictReader(f)]
    except FileNotFoundError:
        return []
