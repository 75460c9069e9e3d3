"""checks.py - are the answers right? Asked of each back end before it is measured, HTTP with curl."""

import os
import re
import socket
import subprocess
import tempfile

from messages import BenchError
from points import PORT, REPLY_SIZE, UDP_PORT, WORKLOADS

SECONDS = 10
ECHO_BYTES = 20000
BODY = b"x" * REPLY_SIZE


def curl(*arguments):
    """Status, head and body of the answer."""
    answer = subprocess.run(["curl", "-s", "-i", "--max-time", str(SECONDS), "-H", "Expect:", *arguments],
                            capture_output=True, timeout=SECONDS + 5)
    head, _, body = answer.stdout.partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.1 (\d+) ", head)
    if answer.returncode or not match:
        raise BenchError("curl %s: status %d, %r" % (" ".join(arguments), answer.returncode, answer.stdout[:200]))
    return int(match[1]), head, body


def expect(what, condition, answer):
    if not condition:
        raise BenchError("wrong answer to %s: %r" % (what, answer))


def check_get(url):
    status, _, body = answer = curl(url)
    expect("GET", status == 200 and body == BODY, answer)


def check_head(url):
    status, head, body = answer = curl("-I", url)
    expect("HEAD", status == 200 and not body and b"Content-Length: %d" % REPLY_SIZE in head, answer)


def check_post(url):
    status, _, _ = answer = curl("--data-binary", "x" * 1024, url)
    expect("POST", status == 200, answer)


def check_echo(url):
    """A body comes back byte by byte, in the buffers it arrived in where the back end can do that."""
    data = os.urandom(ECHO_BYTES)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        status, _, body = curl("--data-binary", "@" + file.name, url + "echo")
    expect("POST /echo", status == 200 and body == data, (status, len(body)))


def check_errors(url):
    status, _, _ = answer = curl(url + "nothing/here")
    expect("GET of what does not exist", status == 404, answer)
    status, head, _ = answer = curl("-X", "DELETE", url)
    expect("DELETE", status == 405 and b"Allow:" in head, answer)


def check_pipelined(url):
    """Three requests in one segment; curl does not pipeline."""
    host = re.search("//(.*?)[:/]", url)[1]
    request = b"GET / HTTP/1.1\r\nHost: bench\r\n"
    answer = b""
    with socket.create_connection((host, PORT), timeout=SECONDS) as s:
        s.sendall(2 * (request + b"\r\n") + request + b"Connection: close\r\n\r\n")
        while data := s.recv(1 << 16):
            answer += data
    bodies = re.findall(rb"HTTP/1\.1 200 .*?\r\n\r\n(x*)", answer, re.S)
    expect("pipelined requests", bodies == 3 * [BODY], answer)


CHECKS = (check_get, check_head, check_post, check_echo, check_errors, check_pipelined)


def check_store(url):
    """Values of a packet and of many, again after others; and what is not there."""
    for length in 1, 1024, ECHO_BYTES:
        data = os.urandom(length)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            status, _, _ = answer = curl("-T", file.name, url + "checked")
        expect("PUT", status in (200, 201, 204), answer)
        status, _, body = curl(url + "checked")
        expect("GET of a value", status == 200 and body == data, (status, len(body)))
    status, _, _ = answer = curl("-X", "DELETE", url + "checked")
    expect("DELETE", status in (200, 204), answer)
    status, _, _ = answer = curl(url + "checked")
    expect("GET of a deleted value", status == 404, answer)
    check_post(url)


CHECKS_OF_STORE = (check_store,)


def check_datagrams(host):
    """Each comes back as it was, in packets of all sizes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(SECONDS)
        s.connect((host, UDP_PORT))
        for length in 0, 1, 40, 512, 1400:
            data = os.urandom(length)
            s.send(data)
            expect("a datagram of %d bytes" % length, s.recv(1 << 16) == data, "other bytes")


def check_all(host, workload):
    if workload == "udp":
        return check_datagrams(host)
    for check in CHECKS_OF_STORE if WORKLOADS[workload].store else CHECKS:
        check("http://%s:%d/" % (host, PORT))
