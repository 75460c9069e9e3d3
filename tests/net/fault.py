"""Allocations that fail while a NIC does zero copy: tests/kernel/faultsync with this machine as the peer."""

import contextlib
import socket
import threading

import t

BYTES = 6000                                        # as faultsync.c has them, and the two streams
QUESTION = bytes(k * 7 % 256 for k in range(BYTES))
ANSWER = bytes(k * 11 % 256 for k in range(BYTES))


def received(s, n):
    data = b""
    while len(data) < n and (more := s.recv(n - len(data))):
        data += more
    return data


def serve(listener):
    """On a byte by the first connection: QUESTION and, in return, ANSWER by the second; then 1 by the first if that came."""
    with contextlib.suppress(OSError), listener, listener.accept()[0] as control, listener.accept()[0] as data:
        while control.recv(1):
            data.sendall(QUESTION)
            control.sendall(bytes([received(data, BYTES) == ANSWER]))


# [debug checked timeout=240]
def test_zero_copy():
    """Whichever allocation of a sync with zero copy fails, no byte is lost, nothing stays behind, and the next sync does the rest."""
    listener = socket.create_server((t.HOST, 0))
    thread = threading.Thread(target=serve, args=(listener,), daemon=True)
    thread.start()
    try:
        print(t.guest().run("env", "PASTE_FAULT_HOST=%s:%d" % listener.getsockname(), "tests/kernel/faultsync",
                            "sync with a NIC", timeout=230))
    finally:
        listener.close()
        thread.join(10)


t.main()
