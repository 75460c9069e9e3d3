#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The whole server over real sockets, for one back end: selftest.py [--backend NAME] PHTTPD

Starts PHTTPD on a loopback port, talks to it, stops it and looks at its last line. Output is TAP;
exit status 0 passed, 1 failed, 77 the back end is not available.
"""
import argparse
import subprocess
import sys
import time

import selftest_http as http
import selftest_store as store
from selftest_server import args

HTTP = [http.request_answer_and_pipeline, http.single_bytes, http.errors, http.large_bodies, http.large_replies,
        http.slow_readers, http.slow_readers_at_once, http.very_many_slow_readers, http.ends_of_connections,
        http.stalled_and_half_closed, http.stops_while_clients_come, http.limit_of_connections, http.idle_timeout,
        http.refused_goes_on, http.expect_continue, http.held_buffers, http.mixture, http.bad_command_lines]
STORE = [store.store_values, store.store_killed, store.store_replaced_while_read, store.store_full,
         store.store_beside_keepers, store.store_listings_unread, store.store_log, store.store_mixture,
         store.store_refused]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--backend", default="epoll")
    parser.add_argument("--only", help="the tests whose name contains this")
    parser.add_argument("--threads", type=int, default=1, help="of servers without a store")
    parser.add_argument("--store-option", action="append", default=[],
                        help="for servers with a store, may be repeated: --store-option=--copy")
    parser.add_argument("phttpd")
    parser.parse_args(namespace=args)
    probe = subprocess.run([args.phttpd, "--backend", args.backend, "--help"],
                           capture_output=True, text=True)
    if probe.returncode == 2:
        print(f"1..0 # SKIP {probe.stderr.strip()}")
        return 77
    tests = [t for t in HTTP + (STORE if args.threads == 1 else []) if not args.only or args.only in t.__name__]
    failed = 0
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        began = time.monotonic()
        try:
            test()
            print(f"ok {number} - {test.__name__} # {time.monotonic() - began:.1f} s", flush=True)
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            line = e.__traceback__
            while line.tb_next:
                line = line.tb_next
            print(f"not ok {number} - {test.__name__} # line {line.tb_lineno}: {e!r}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
