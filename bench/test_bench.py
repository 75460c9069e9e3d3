#!/usr/bin/env python3
"""Tests of the parsing, the statistics and the table: python3 -m unittest discover -s bench (about a second, no guest)."""

import csv
import json
import os
import subprocess
import sys
import tempfile
import unittest

import dns
import plot
import report
import summary
from instructions import profile_command
from messages import BenchError
from points import BACKENDS, HERE, WORKLOADS, Point, fill_command, lab_options, load_command, machines, schedule, server_command, to_count
from readings import figures, read_doorbells, read_last_line, read_load, read_port

LOAD = """Running 1s test @ http://10.77.0.2:80/
  17130 requests in 1.00s, 2.47MB read
load: requests 17130 microseconds 1000844 bytes 2586630 p50 2841 p99 4956 connect 0 read 0 write 0 status 0 timeout 0
"""
DNSPERF = """[Status] Sending queries (to 10.77.0.2:5300)
> NOERROR host00001.example.org A 0.000100
> NOERROR host00002.example.org A 0.000300
> NOERROR host00003.example.org A 0.000200
[Status] Testing complete (time limit)

Statistics:

  Queries sent:         3
  Queries completed:    3 (100.00%)
  Queries lost:         0 (0.00%)

  Run time (s):         2.000500
"""
PORT = """stack:phttpd
  rx_batches                    %d  RX syncs that published at least one slot
  rx_slots                      %d
  rx_in_place                   %d  payload bytes delivered where the NIC wrote them
  rx_copied                     %d
  tx_copied                     %d
  nic_zero_copy                 1  of these, in zero-copy mode
"""
IDLE = """backend,connections,bytes_at_rest,bytes_per_connection
epoll,5000,104858,9280
uring,5000,1048576,9756
paste,5000,55574528,8836
"""
COST = """bytes,where,how,ns,gb_per_s
1024,memory,in_place,310,3.30
1024,memory,copy_nt,400,2.56
4096,cache,in_place,1234,3.32
"""
LOG = """workload,backend,messages_per_s
append1,paste,600000
append64,paste,900000
append1,lmdb,200000
append1,lmdb_sync,400000
"""
WORDS = {"repetitions": "2 repetitions of 3 s", "cpus": "1 CPU (TCG)", "acceleration": "TCG"}


def run(backend, rate, repetition=0, connections=50, **more):
    return {"kind": "run", "repetition": repetition, "workload": "rpc", "connections": connections, "backend": backend,
            "requests_per_second": rate, "p50_us": 2000, "p99_us": 3000, "in_place_share": 0.999 if backend == "paste" else 0.0,
            "copies_per_stored_byte": None,
            "doorbells_per_reply": 0.02, "slots_per_batch": 20.0 if backend == "paste" else None, "requests": 1, "seconds": 3.0,
            "error": None, **more}


def count(backend, value):
    return {"kind": "instructions", "workload": "rpc", "connections": 50, "backend": backend, "value": value}


RESULTS = [run("epoll", 100.0), run("uring", 120.0), run("paste", 180.0),
           run("uring", 130.0, 1), run("paste", 190.0, 1), run("epoll", 110.0, 1),
           count("epoll", 20000), count("uring", 19000), count("paste", 13300)]


class Readings(unittest.TestCase):
    def test_load(self):
        load = read_load(LOAD)
        self.assertEqual((load["requests"], load["p50"], load["p99"]), (17130, 2841, 4956))

    def test_load_with_errors_is_an_error(self):
        with self.assertRaisesRegex(BenchError, "3 status, 1 timeout"):
            read_load(LOAD.replace("status 0", "status 3").replace("timeout 0", "timeout 1"))
        with self.assertRaisesRegex(BenchError, "no request"):
            read_load(LOAD.replace("requests 17130", "requests 0"))
        with self.assertRaisesRegex(BenchError, "no result"):
            read_load("unable to connect")

    def test_load_of_datagrams(self):
        line, failed = dns.result(DNSPERF)
        load = read_load(line)
        self.assertFalse(failed)
        self.assertEqual((load["requests"], load["microseconds"], load["p50"], load["p99"]), (3, 2000500, 200, 300))

    def test_a_lost_query_is_an_error(self):
        line, failed = dns.result(DNSPERF.replace("sent:         3", "sent:         4"))
        self.assertTrue(failed)
        with self.assertRaisesRegex(BenchError, "1 lost"):
            read_load(line)
        line, failed = dns.result(DNSPERF + "[Warning] received a response with an unexpected id: 5\n")
        self.assertRegex(line, "unexpected 1$")
        for nothing in "Error: no such host", DNSPERF.replace("> NOERROR", "> SERVFAIL"):
            with self.assertRaises(SystemExit):
                dns.result(nothing)

    def test_doorbells(self):
        self.assertEqual(read_doorbells("NIC statistics:\n     tx_kicks: 930\n     tx0_kicks: 930\n"), 930)
        self.assertEqual(read_doorbells("     rx0_kicks: 1\n     tx0_kicks: 3\n     tx1_kicks: 4\n"), 7)
        self.assertEqual(read_doorbells("     tx_queue_0_kicks: 5\n     rx_queue_0_kicks: 9\n"), 5)
        self.assertIsNone(read_doorbells("     rx_packets: 5\n"))

    def test_last_line(self):
        line = read_last_line("phttpd: paste, 1 thread, listening on 0.0.0.0:80\nphttpd: connections 50 requests 99 errors 0\n")
        self.assertEqual(line, {"connections": 50, "requests": 99, "errors": 0})
        line = read_last_line("udpecho: epoll, listening on port 5300\nudpecho: datagrams 7 errors 0\n")
        self.assertEqual(line, {"datagrams": 7, "errors": 0})

    def test_figures_of_an_interval(self):
        port = read_port(PORT % (10, 100, 4000, 1000, 0)), read_port(PORT % (20, 600, 13000, 2000, 17130))
        got = figures(read_load(LOAD), (100, 1813), port,
                      {"stored": 1000, "copied": 500, "bytes_in": 1200})
        self.assertAlmostEqual(got["copies_per_stored_byte"], 0.62)
        self.assertAlmostEqual(got["in_place_share"], 0.9)
        self.assertAlmostEqual(got["slots_per_batch"], 50)
        self.assertAlmostEqual(got["doorbells_per_reply"], 0.1)
        self.assertAlmostEqual(got["requests_per_second"], 17115.55, 2)
        got = figures(read_load(LOAD), (100, 1813), port, None, 10)
        self.assertAlmostEqual(got["copies_per_stored_byte"], 0.1)

    def test_what_af_xdp_copies_is_not_in_place(self):
        port = [dict(read_port(PORT % (10 * i, 100 * i, 4000 * i, 0, 0)), nic_zero_copy=0) for i in (1, 2)]
        got = figures(read_load(LOAD), (None, None), port, {"stored": 1000, "copied": 500, "bytes_in": 1200})
        self.assertEqual(got["in_place_share"], 0)
        self.assertAlmostEqual(got["copies_per_stored_byte"], 1.7)

    def test_figures_of_sockets(self):
        got = figures(read_load(LOAD), (None, None), None, {"stored": 0, "copied": 0, "bytes_in": 9})
        self.assertEqual((got["in_place_share"], got["doorbells_per_reply"], got["slots_per_batch"]), (0, None, None))
        self.assertIsNone(got["copies_per_stored_byte"])
        got = figures(read_load(LOAD), (None, None), None, {"stored": 1000, "copied": 1000, "bytes_in": 1100})
        self.assertAlmostEqual(got["copies_per_stored_byte"], 2.1)
        got = figures(read_load(LOAD), (None, None), None, None, 100)
        self.assertAlmostEqual(got["copies_per_stored_byte"], 1.51)


class Points(unittest.TestCase):
    def test_back_ends_alternate_and_take_turns(self):
        points = schedule(["rpc"], [1, 50], ["epoll", "uring", "paste"], 1)
        self.assertEqual([p.backend for p in points], 2 * ["uring", "paste", "epoll"])
        self.assertEqual([p.connections for p in points], [1, 1, 1, 50, 50, 50])

    def test_commands(self):
        self.assertIn("--interface", server_command("rpc", "paste"))
        self.assertNotIn("--interface", server_command("rpc", "epoll"))
        self.assertRegex(server_command("put", "paste-copy"), "region create .* --backend paste .* --copy$")
        self.assertEqual(server_command("udp", "paste"),
                         "exec apps/udpecho/udpecho --backend paste --port 5300 --interface eth0")
        self.assertRegex(load_command("udp", 50, "$PASTE_SECONDS"), r"dns.py 5300 50 \$PASTE_SECONDS$")
        self.assertRegex(fill_command("udp"), "dns.py 5300$")
        self.assertRegex(fill_command("put"), "^curl [^&]*:80/$")
        self.assertRegex(fill_command("get1k"), "^curl .* && .*fill.py 80 200 1024$")

    def test_the_servers_of_all_points_can_be_profiled(self):
        for workload in WORKLOADS:
            command = profile_command(Point(workload, 50, "paste"), "x.json", "7.3", 2)
            server = command[command.index("--server") + 1]
            done = subprocess.run(["sh", "-n", "-c", "exec " + server], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_requests_of_datagrams_are_counted_by_one_function(self):
        self.assertIn("__udp_enqueue_schedule_skb", profile_command(Point("udp", 50, "epoll"), "x.json", "7.3", 2))
        self.assertNotIn("--per", profile_command(Point("rpc", 50, "epoll"), "x.json", "7.3", 2))

    def test_only_what_makes_sense_is_measured(self):
        self.assertEqual([p.backend for p in schedule(["udp"], [50], list(BACKENDS))], ["epoll", "paste"])
        self.assertNotIn("paste-copy", [p.backend for p in schedule(["rpc"], [50], list(BACKENDS))])
        self.assertEqual([p.connections for p in schedule(["get64k"], [1, 50, 100], ["paste"])], [50, 100])
        self.assertEqual([p.connections for p in schedule(["many", "conn"], [1, 50], ["paste"])], [5000, 50])
        self.assertEqual([p.connections for p in schedule(["many", "conn"], [1], ["paste"])], [5000])
        self.assertEqual((lab_options(["rpc"]), len(lab_options(["rpc", "wal"]))), ([], 2))
        self.assertEqual(machines(["rpc", "rpc-2cpu", "wal"]), [["rpc", "wal"], ["rpc-2cpu"]])
        self.assertEqual(lab_options(["rpc-2cpu"]), ["--cpus", "2", "--queues", "2"])
        self.assertIn("--threads 2", server_command("rpc-2cpu", "epoll"))

    def test_what_is_counted(self):
        """Every point, but of workloads whose counts would say nothing."""
        self.assertEqual(to_count(["rpc", "post1k"], [1, 50], ["epoll", "paste"]), [
            Point(w, c, b) for w in ("rpc", "post1k") for c in (1, 50) for b in ("epoll", "paste")])
        self.assertEqual([p.workload for p in to_count(["rpc", "wal-10us", "wal"], [1, 50], ["paste"])], ["rpc", "rpc", "wal", "wal"])

    def test_two_cpus(self):
        """Only where both were counted."""
        def counts(*values):
            return [count("paste", value) | {"workload": w, "connections": 100}
                    for w, value in zip(("rpc", "rpc-2cpu"), values)]
        runs = [run("paste", 9.0, connections=100), run("paste", 9.0, connections=100, workload="rpc-2cpu")]
        self.assertIn("two do 1.80 times", report.sentences(summary.summarize(runs + counts(9000, 10000)), WORDS))
        self.assertNotIn("two do", report.sentences(summary.summarize(runs + counts(9000)), WORDS))
        self.assertIn("-c50 -d$PASTE_SECONDS ", load_command("rpc", 50, "$PASTE_SECONDS"))


class Summary(unittest.TestCase):
    def test_medians_and_spread(self):
        row = summary.find(summary.summarize(RESULTS), "rpc", 50, "epoll")
        self.assertEqual(row.figures["requests_per_second"], summary.Spread(105, 100, 110))
        self.assertEqual(row.instructions, 20000)
        self.assertEqual(summary.spread([3, None, 1, 2]), summary.Spread(2, 1, 3))
        self.assertIsNone(summary.spread([None]))

    def test_ratios_to_the_better_socket_back_end(self):
        rows = summary.summarize(RESULTS)
        self.assertEqual(summary.best_socket(rows, "rpc", 50, "requests_per_second"), (125, "uring"))
        self.assertAlmostEqual(summary.ratio_to_sockets(rows, "rpc", 50), 185 / 125)
        self.assertAlmostEqual(summary.ratio_to_sockets(rows, "rpc", 50, "instructions_per_request"), 0.7)
        self.assertIsNone(summary.ratio_to_sockets(rows, "rpc", 1))

    def test_an_error_is_no_figure(self):
        broken = {"kind": "run", "repetition": 2, "workload": "rpc", "connections": 50, "backend": "paste", "error": "gone"}
        row = summary.find(summary.summarize(RESULTS + [broken]), "rpc", 50, "paste")
        self.assertEqual((row.median("requests_per_second"), row.errors), (185, ["gone"]))
        row, = summary.summarize([broken])
        self.assertIsNone(row.median("requests_per_second"))

    def test_csv(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "summary.csv")
            summary.write_summary(summary.summarize(RESULTS), path)
            with open(path) as f:
                lines = list(csv.reader(f))
        self.assertEqual(",".join(lines[0]), "workload,backend,connections,requests_per_second,p50_us,p99_us,"
                         "instructions_per_request,in_place_share")
        self.assertEqual(lines[3], ["rpc", "paste", "50", "185.0", "2000", "3000", "13300", "0.99900"])


class Report(unittest.TestCase):
    def test_table(self):
        text = report.table(summary.summarize(RESULTS), WORDS)
        self.assertRegex(text, r"50  paste +185 +\(180\.\.190\)  1\.48 x .* 99\.90 % +- +20\.0 +0\.020 +13,300  0\.70 x")

    def test_one_repetition_has_no_spread(self):
        self.assertNotIn("min..max", report.table(summary.summarize(RESULTS[:3]), WORDS))

    def test_sentences(self):
        text = " ".join(report.sentences(summary.summarize(RESULTS), WORDS).split())
        self.assertIn("185 requests/s, 1.48 times the 125 of uring", text)
        self.assertIn("0.70 of what it costs with uring", text)
        others = report.sentences(summary.summarize([run("epoll", 1.0, workload="udp")]), WORDS)
        self.assertNotIn("RPC", others)

    def test_nothing_measured_is_said(self):
        broken = {"kind": "run", "repetition": 0, "workload": "rpc", "connections": 50, "backend": "paste", "error": "gone"}
        rows = summary.summarize([broken])
        self.assertIn("error", report.table(rows, WORDS))
        self.assertIn("no measurement", report.sentences(rows, WORDS))
        self.assertEqual(report.errors(rows), ["rpc, 50 connections, paste: gone"])

    def test_idle(self):
        """Beside the two socket back ends, and in the table, once somebody asks for it."""
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "idle.csv")
            self.assertEqual(summary.read_csv(path), [])
            with open(path, "w") as f:
                f.write(IDLE)
            lines = report.idle_table(summary.read_csv(path)).splitlines()
        self.assertEqual([line.split() for line in lines[2:6]],
                         [["5000", "epoll", "9,280", "0.1"], ["5000", "uring", "9,756", "1.0"],
                          ["5000", "paste", "8,836", "0.95", "x", "53.0"], []])
        self.assertEqual(len({len(line) for line in lines[1:5]}), 1)
        self.assertNotIn(" x ", report.idle_table([{"backend": "paste", "connections": 1, "bytes_at_rest": 1,
                                                    "bytes_per_connection": 1}]))

    def test_what_was_measured_natively(self):
        """A column for each way or store, a line for each case; what was not measured is not 0."""
        with tempfile.TemporaryDirectory() as directory:
            self.assertEqual(report.other_tables(directory), [])
            for name, text in ("pm", COST), ("wal-disk", LOG):
                with open(os.path.join(directory, name + ".csv"), "w") as f:
                    f.write(text)
            cost, lmdb = (table.splitlines() for table in report.other_tables(directory))
        self.assertEqual([line.split() for line in cost[2:5]],
                         [["1024", "memory", "310", "-", "400", "-"], ["4096", "cache", "1,234", "-", "-", "-"], []])
        self.assertEqual([line.split() for line in lmdb[2:5]],
                         [["log,", "disk", "append1", "600,000", "200,000", "400,000", "1.50", "x"],
                          ["log,", "disk", "append64", "900,000", "-", "-"], []])

    def test_durable_bars_stand_beside_those_of_rpc(self):
        """Those of the same run and the usual connections; without a durable store there is nothing to compare."""
        rows = summary.summarize(RESULTS + [run("paste", 9.0, connections=7)])
        self.assertEqual(summary.durable_rows(rows), [])
        rows = summary.durable_rows(summary.summarize(
            RESULTS + [run("paste", 9.0, connections=7), run("paste-copy", 90.0, workload="wal")]))
        self.assertEqual([(r.point.workload, r.point.connections, r.point.backend) for r in rows],
                         [("rpc", 50, "epoll"), ("rpc", 50, "uring"), ("rpc", 50, "paste"), ("wal", 50, "paste-copy")])
        backends, panels = plot.panels(rows)
        self.assertEqual(backends, list(BACKENDS))
        self.assertEqual(panels[0][1], ["50 105.0 100.0 110.0 125.0 120.0 130.0 185.0 180.0 190.0 ? ? ?"])
        self.assertEqual(panels[1][1], ["50 ? ? ? ? ? ? ? ? ? 90.0 90.0 90.0"])

    def test_report(self):
        """The files of bench/run report, with the figures of bench/idle and of bench/Makefile and without."""
        facts = {"acceleration": "TCG"}
        results = [{"kind": "host", "facts": facts}, {"kind": "machine", "kernel": "7.3", "cpus": 1}] + RESULTS
        with tempfile.TemporaryDirectory() as directory:
            def write(name, text):
                with open(os.path.join(directory, name), "w") as f:
                    f.write(text)

            def table():
                """Without gnuplot, or a program to install it with."""
                done = subprocess.run([sys.executable, os.path.join(HERE, "run"), "report", "--out", directory],
                                      env=dict(os.environ, PATH=directory), capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)
                with open(os.path.join(directory, "table.txt")) as f:
                    text = f.read()
                self.assertIn(text, done.stdout)
                return text

            write("results.jsonl", "".join(json.dumps(result) + "\n" for result in results))
            text = table()
            self.assertNotIn("Idle", text)
            write("idle.csv", IDLE)
            part = report.idle_table(summary.read_csv(os.path.join(directory, "idle.csv")))
            head, rest = table().split(part)
            self.assertEqual(head + rest[2:], text)
            write("wal.csv", LOG)
            self.assertIn("against LMDB", table())
            with open(os.path.join(directory, "summary.csv")) as f:
                self.assertEqual(f.readline().strip(), ",".join(summary.SUMMARY_COLUMNS))

    def test_plot_data(self):
        backends, panels = plot.panels(summary.summarize(RESULTS + [run("epoll", 7.0, connections=1)]))
        self.assertEqual(backends, ["epoll", "uring", "paste"])
        self.assertEqual(panels[0][1], ["1 7.0 7.0 7.0 ? ? ? ? ? ?", "50 105.0 100.0 110.0 125.0 120.0 130.0 185.0 180.0 190.0"])
        self.assertEqual(len(panels), 2)


if __name__ == "__main__":
    unittest.main()
