"""phttpd: each of its back ends passes the server's own end-to-end tests, in the guest, over loopback."""

import t


def selftest(backend):
    _, output = t.guest().status("sh", "-c", "ulimit -n 100000; exec python3 apps/phttpd/selftest.py --backend %s"
                                 " apps/phttpd/phttpd" % backend, timeout=170)
    results = [line for line in output.splitlines() if line.startswith(("ok ", "not ok "))]
    bad = [line for line in results if line.startswith("not ok ")]
    t.true(not bad, "\n".join(bad))
    t.ge(len(results), 14, "tests run")


# [timeout=180]
def test_paste():
    """Slots of a stack port: pipelining, cut requests, large bodies and replies, slow readers, limits, errors."""
    selftest("paste")


# [timeout=180]
def test_epoll():
    """The same over epoll."""
    selftest("epoll")


# [timeout=180]
def test_uring():
    """The same over io_uring."""
    selftest("uring")


t.main()
