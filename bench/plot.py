"""plot.py - the plot, by gnuplot: a panel for each workload with bars for the back ends by number of connections, and one
for instructions per request as far as they were measured."""

import os
import subprocess

import packages
from messages import BenchError, say
from points import BACKENDS, WORKLOADS
from summary import find

PACKAGE = "gnuplot-nox"
COLOURS = {"epoll": "#9aa5b1", "uring": "#e0a458", "paste": "#1f6f8b", "paste-copy": "#8fc1d4"}
PANEL_WIDTH, HEIGHT = 460, 400

STYLE = """\
set terminal svg size {width},{height} dynamic enhanced font 'sans-serif,13' background '#ffffff'
set output {output}
set multiplot layout {lines},{columns} title {title} font ',15' offset 0,-0.5
set style data histograms
set style fill solid 1 noborder
set boxwidth 0.9
set errorbars 0.6 lc rgb '#303030' lw 1
set border 3 lc rgb '#606060'
set tics nomirror out scale 0.5
set grid y lc rgb '#e0e0e0' lw 1
set yrange [0:*]
set offsets 0,0,graph 0.14,0
set key top left horizontal samplen 1.2 spacing 1.1
set xlabel 'connections'
set tmargin 4
set format y '%.0f'
"""


def install():
    """gnuplot; False with a message when there is none."""
    there = packages.install(PACKAGE, "gnuplot", "the plot")
    if not there:
        say("no gnuplot, so there will be no plot")
    return there


def quoted(text):
    return "'%s'" % text.replace("'", "''")


def data(rows, workload, backends, spread_of):
    """A gnuplot data block: connections, and for each back end median, low and high; ? where there is none."""
    lines = []
    for connections in sorted({r.point.connections for r in rows if r.point.workload == workload}):
        cells = []
        for backend in backends:
            row = find(rows, workload, connections, backend)
            cells += spread_of(row) if row and spread_of(row) else ("?",) * 3
        if set(cells) != {"?"}:
            lines.append(" ".join(str(c) for c in [connections, *cells]))
    return lines


def rate_of(row):
    s = row.figures["requests_per_second"]
    return s and (s.median, s.low, s.high)


def instructions_of(row):
    return row.instructions and (row.instructions,) * 3


def panels(rows):
    """(title, data lines) of each panel that has data."""
    workloads = list(dict.fromkeys(r.point.workload for r in rows))
    backends = [b for b in BACKENDS if any(r.point.backend == b for r in rows)]
    wanted = [("requests/s, " + WORKLOADS[w].name, w, rate_of) for w in workloads]
    wanted += [("guest instructions per request, " + WORKLOADS[w].name, w, instructions_of) for w in workloads]
    found = ((title, data(rows, w, backends, value)) for title, w, value in wanted)
    return backends, [(title, lines) for title, lines in found if lines]


def has_spread(lines):
    """Single figures get no error bars."""
    cells = [line.split()[1:] for line in lines]
    return any(line[i + 1] != line[i + 2] for line in cells for i in range(0, len(line), 3))


def script(rows, output, title):
    backends, found = panels(rows)
    if not found:
        raise BenchError("nothing to plot")
    columns = len(found) if len(found) < 4 else 2
    lines = -(-len(found) // columns)
    text = STYLE.format(width=PANEL_WIDTH * columns, height=HEIGHT * lines, output=quoted(output), lines=lines,
                        columns=columns, title=quoted(title))
    for i, (panel, block) in enumerate(found):
        spread = has_spread(block)
        using = "{0}:{1}:{2}" if spread else "{0}"
        bars = ", ".join("$panel%d using %s%s title '%s' lc rgb '%s'" % (
            i, using.format(3 * b + 2, 3 * b + 3, 3 * b + 4), ":xtic(1)" if b == 0 else "", backend, COLOURS[backend])
            for b, backend in enumerate(backends))
        text += "$panel%d << END\n%s\nEND\nset style histogram %s gap 1\nset title %s\nplot %s\n" % (
            i, "\n".join(block), "errorbars" if spread else "clustered", quoted(panel), bars)
    return text + "unset multiplot\n"


def plot(rows, output, title):
    try:
        done = subprocess.run(["gnuplot", "-"], input=script(rows, output, title), text=True, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError("gnuplot: %s" % error) from None
    if done.returncode or not os.path.exists(output):
        raise BenchError("gnuplot: " + done.stderr.strip())
