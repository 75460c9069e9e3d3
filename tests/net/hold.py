"""hold.py - `pastectl hold`: a port that exists, with its interface attached, while servers come and go."""

import re
import signal

import t

PASTECTL = "apps/pastectl/pastectl"


class Hold:
    """`pastectl hold`, which has said that it is ready."""

    def __init__(self, *arguments):
        self.process = t.guest().start("env", "NOTIFY_SOCKET=@hold", PASTECTL, "hold", *arguments)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.status is None:
            self.process.kill()

    def end(self):
        self.process.signal(signal.SIGTERM)
        t.eq(self.process.wait(), 0, "status of pastectl hold")


def ports():
    return t.guest().run(PASTECTL, "list")


def held(*arguments):
    """Waits for the sentence of sd_notify(3), as a service manager does."""
    listener = t.guest().start("socat", "-u", "-b100", "ABSTRACT-RECV:hold", "CREATE:/tmp/ready")
    t.wait_for(lambda: "@hold" in t.guest().run("cat", "/proc/net/unix"), "a socket to be notified on")
    hold = Hold(*arguments)
    try:
        t.wait_for(lambda: t.guest().sh("cat /tmp/ready 2> /dev/null || true") == "READY=1", "READY=1")
    except t.Failure:
        hold.process.kill()
        raise
    finally:
        listener.kill()
        t.guest().run("rm", "-f", "/tmp/ready")
    return hold


# [short]
def test_servers_come_and_go():
    """A held port is ready for servers, exclusive ones too; they end without it; it is let go in the end."""
    with held("stack:0", "--interface", "eth0") as hold:
        for exclusive in (False, True):
            t.true("interfaces 1" in ports(), "attached: " + ports())
            with t.Server(attach=None, exclusive=exclusive) as server:
                t.exchange(2, t.MEGABYTE)
                t.ge(server.counters()["nic_frames"], 100, "frames from the NIC")
        t.true("interfaces 1" in ports(), "still attached: " + ports())
        hold.end()
    t.eq(ports(), "", "ports")


def test_detaches_what_it_attached():
    """When the holder ends the interface is given back, and a server keeps the port and its connections."""
    with held("stack:0", "--interface", "eth0", "--rings", "2", "--slots", "256") as hold:
        t.true("rings 2" in ports(), "two rings: " + ports())
        with t.Server(attach=None) as server:
            with t.Traffic([t.Flow(t.connect(), 0, 1)]) as traffic:
                traffic.moves()
                hold.end()
                traffic.moves("copied traffic")
            t.eq(server.counters()["nics"], 0, "interfaces attached")


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def refused(status, why, *command):
    """The command says why, in a sentence, and ends with that status."""
    process = t.guest().start(*command)
    process.end_input()
    t.eq(process.wait(), status, "status of " + " ".join(command))
    said = process.err.decode()
    t.true(re.match(r"[^\n]+: [^\n]*%s[^\n]*\n" % re.escape(why), said), "it says why (%s): %r" % (why, said))


# [short]
def test_second_server():
    """A second phttpd does not share the first one's rings, whose requests it would take; nor does one start on rings too small for it."""
    phttpd = ("apps/phttpd/phttpd", "--backend", "paste")
    with held("stack:phttpd", "--slots", "64") as hold:
        refused(1, "rings of 64 slots", *phttpd)
        hold.end()
    with held("stack:phttpd") as hold:
        first = t.Process([*phttpd, "--port", "8080"])
        try:
            t.true("listening" in first.readline(60), "the first one serves")
            refused(1, "busy", *phttpd, "--port", "8081")
            s = t.connect(port=8080)
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            t.true(s.recv(1000).startswith(b"HTTP/1.1 200"), "the first one answers")
            s.close()
        finally:
            first.signal(signal.SIGTERM)
        t.eq(first.wait(), 0, "status of the first one")
        hold.end()


# [short]
def test_all_or_none():
    """When one interface cannot be attached none is, a server that has the port notwithstanding; what others attached stays."""
    with t.Server(attach=None) as server:
        refused(1, "no such interface", PASTECTL, "hold", "stack:0", "--interface", "eth0", "--interface", "eth9")
        t.eq(server.counters()["nics"], 0, "interfaces attached by a holder that failed")
        t.guest().run(PASTECTL, "attach", "stack:eth0")
        refused(1, "attached already", PASTECTL, "hold", "stack:0", "--interface", "eth0")
        t.eq(server.counters()["nics"], 1, "interfaces attached by somebody else")
        t.exchange(1, 100000)


# [short]
def test_errors():
    """Wrong words, a missing interface, no privileges to open or to attach: a sentence and a status, and no port stays."""
    guest = t.guest()
    refused(2, "expected a port", PASTECTL, "hold")
    refused(2, "--rings needs a number", PASTECTL, "hold", "stack:0", "--rings", "0")
    refused(1, "must begin with", PASTECTL, "hold", "eth0")
    refused(1, "no such interface", PASTECTL, "hold", "stack:0", "--interface", "eth9")
    refused(1, "no permission", *NOBODY, PASTECTL, "hold", "stack:0")
    mode = guest.run("stat", "-c", "%a", "/dev/netmap").strip()
    guest.run("chmod", "666", "/dev/netmap")
    try:
        refused(1, "needs CAP_NET_ADMIN", *NOBODY, PASTECTL, "hold", "stack:0", "--interface", "eth0")
    finally:
        guest.run("chmod", mode, "/dev/netmap")
    t.eq(ports(), "", "ports")


t.main()
