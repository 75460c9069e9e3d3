# SPDX-License-Identifier: BSD-2-Clause
"""What the server's own tests share: a running server, and a reader of answers."""
import argparse
import os
import re
import signal
import socket
import subprocess
import time

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
# Bounds of time are for an ordinary kernel; one that looks for leaks is checked in other ways as well, and slow.
# What is only more of the same is divided by it.
SLOWER = 5 if os.path.exists("/sys/kernel/debug/kmemleak") else 1
CONN_PATIENCE = 3       # seconds, of conn.h

# Those of the command line, when main() has read them.
args = argparse.Namespace(threads=1)


class Server:
    """A running phttpd; leaving the block stops it and reads its counters, unless it was killed."""

    def __init__(self, *options):
        self.options = options if "--store" in options or "--threads" in options else \
            ("--threads", str(args.threads), *options)
        self.killed = False

    def __enter__(self):
        self.process = subprocess.Popen(
            [args.phttpd, "-b", args.backend, "-a", "127.0.0.1", "-p", "0", *self.options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"no server: status {self.process.wait()}: "
                               + self.process.stderr.read())
        threads = dict(zip(self.options, self.options[1:])).get("--threads", "1")
        assert f" {threads} thread" in line, line
        self.port = int(line.rsplit(":", 1)[1])
        return self

    def kill(self):
        """As a crash of the server would."""
        self.killed = True
        self.process.kill()
        self.process.communicate()

    def __exit__(self, *_):
        if self.killed:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            rest, self.said = self.process.communicate(timeout=10 * SLOWER)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert self.process.returncode == 0, f"status {self.process.returncode}"
        words = rest.split()[1:]
        self.counters = {k: int(v) for k, v in zip(words[::2], words[1::2])}

    def connect(self, receive_buffer=None):
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(20 * SLOWER)
        s.connect(("127.0.0.1", self.port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s


def gave_up(began):
    """May the server, short of buffers, have given up who has made no progress since? Not on an ordinary kernel, so soon."""
    return time.time() - began >= CONN_PATIENCE


class Answers:
    """Reads answers from a socket."""

    def __init__(self, s):
        self.s, self.have = s, b""

    def more(self):
        data = self.s.recv(1 << 18)
        if not data:
            raise EOFError
        self.have += data

    def next(self, head=False):
        while b"\r\n\r\n" not in self.have:
            self.more()
        text, self.have = self.have.split(b"\r\n\r\n", 1)
        length = re.search(rb"Content-Length: (\d+)", text)
        length = int(length[1]) if length and not head else 0
        parts, got = [self.have], len(self.have)
        while got < length:
            data = self.s.recv(1 << 18)
            if not data:
                raise EOFError
            parts.append(data)
            got += len(data)
        body = b"".join(parts)
        self.have = body[length:]
        return int(text.split()[1]), text, body[:length]

    def end(self):
        """True if the connection ends here, in order."""
        return not self.have and self.s.recv(1) == b""


def ask(server, request):
    with server.connect() as s:
        s.sendall(request)
        return Answers(s).next()
