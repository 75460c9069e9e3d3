"""phttpd: each of its back ends passes the server's own end-to-end tests, in the guest, over loopback."""

import t


def selftest(backend, *options, count=21):
    _, output = t.guest().status("sh", "-c", "ulimit -n 100000; exec python3 apps/phttpd/selftest.py --backend %s %s"
                                 " apps/phttpd/phttpd" % (backend, " ".join(options)), timeout=350)
    results = [line for line in output.splitlines() if line.startswith(("ok ", "not ok "))]
    bad = [line for line in results if line.startswith("not ok ")]
    t.true(not bad, "\n".join(bad))
    t.ge(len(results), count, "tests run")


# [timeout=360]
def test_paste():
    """Slots of a stack port: pipelining, cut requests, large bodies and replies, slow readers, limits, errors."""
    selftest("paste")


# [timeout=360]
def test_paste_copy():
    """The store with --copy: values go in and out as over sockets."""
    selftest("paste", "--store-option=--copy", "--only", "store", count=7)


# [timeout=360]
def test_epoll():
    """The same over epoll."""
    selftest("epoll")


# [timeout=360]
def test_uring():
    """The same over io_uring."""
    selftest("uring")


t.main()
