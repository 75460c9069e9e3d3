#!/usr/bin/env python3
"""excuses.py - what tests/run does with a guest that died: run again and told where CPUs are emulated, a failure with KVM.

A script stands in for lab/run: its guest dies so often, in a way that the runner takes for the emulator's, then the test passes.
"""

import collections
import importlib.machinery
import importlib.util
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LAB_RUN = """#!/bin/bash
job=${!#}
job=${job##* }
place=$(dirname "$job")
results=$place/results
test='"test": "kernel/x", "directory": "'$place'"'
echo '{"status": "machine", "emulated": EMULATED}' >> "$results"
echo "{$test, \\"status\\": \\"start\\"}" >> "$results"
echo >> DEATHS
if [ "$(wc -l < DEATHS)" -le TIMES ]; then
    echo "[ 1.0] WORDS"
    exit 125
fi
echo "{$test, \\"status\\": \\"pass\\", \\"reason\\": \\"\\", \\"seconds\\": 1}" >> "$results"
echo '{"status": "end"}' >> "$results"
"""


def runner():
    loader = importlib.machinery.SourceFileLoader("runner", os.path.join(HERE, "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("runner", loader))
    loader.exec_module(module)
    return module


def outcome(emulated, times, words="Oops: int3: 0000 [#1]"):
    """The test's status and what the summary says of it."""
    run = runner()
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(os.path.join(directory, "lab"))
        path = os.path.join(directory, "lab", "run")
        with open(path, "w") as f:
            f.write(LAB_RUN.replace("EMULATED", "true" if emulated else "false").replace("TIMES", str(times))
                    .replace("DEATHS", os.path.join(directory, "deaths")).replace("WORDS", words))
        os.chmod(path, 0o755)
        run.TOP = directory
        run.all_tests = lambda: [run.Test("kernel/x", "A property", None, None, {})]
        run.show = lambda *_: None
        options = collections.namedtuple("Options", "kernel set only debug jobs")(["7.3"], "auto", ["x"], False, 1)
        totals = run.Totals()
        run.run_parts(options, directory, totals)
        return str(totals), totals.excuses()


def main():
    good = True
    again = "1 test was run again, since the emulator failed: kernel/x on 7.3"
    for what, found, expected in (
            ("emulated, no death", outcome(True, 0), ("1 passed, 0 failed", "")),
            ("emulated, one", outcome(True, 1), ("1 passed, 0 failed", again)),
            ("emulated, two", outcome(True, 2), ("1 passed, 0 failed", again + " (2 times)")),
            ("emulated, three", outcome(True, 3), ("0 passed, 1 failed", again + " (2 times)")),
            ("emulated, a clock that ran ahead", outcome(True, 1, "watchdog: BUG: soft lockup - CPU#0 stuck for 26s!"),
             ("1 passed, 0 failed", again)),
            ("emulated, a bug", outcome(True, 1, "Oops: 0000 [#1]"), ("0 passed, 1 failed", "")),
            ("KVM, one", outcome(False, 1), ("0 passed, 1 failed", "")),
            ("KVM, a clock that ran ahead", outcome(False, 1, "watchdog: BUG: soft lockup - CPU#0 stuck for 26s!"),
             ("0 passed, 1 failed", ""))):
        if found != expected:
            print("%s: %s, expected %s" % (what, found, expected))
            good = False
    return 0 if good else 1


sys.exit(main())
