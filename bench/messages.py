"""messages.py - what the user reads while waiting, and failures."""

import sys
import time


class BenchError(Exception):
    """A failure the user should read."""


def say(text):
    print("bench: %s %s" % (time.strftime("%H:%M:%S"), text), file=sys.stderr, flush=True)
