"""fill.py - puts values into phttpd's store: fill.py PORT KEYS BYTES, as /key0, /key1, ... at $PASTE_GUEST."""

import http.client
import os
import sys


def main():
    port, keys, length = map(int, sys.argv[1:])
    server = http.client.HTTPConnection(os.environ["PASTE_GUEST"], port, timeout=20)
    for i in range(keys):
        server.request("PUT", "/key%d" % i, b"x" * length)
        answer = server.getresponse()
        answer.read()
        if answer.status not in (200, 201, 204):
            sys.exit("PUT /key%d: %d" % (i, answer.status))


main()
