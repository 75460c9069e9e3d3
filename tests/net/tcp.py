"""
What TCP does on the wire, segment by segment, is the same for an ordinary socket, a registered one and a connection of a
registered listener. See peer.py.
"""

import struct

import peer
import t
from peer import MSS, SACK, SACK_OK, STAMP, WSCALE, each_way

def pattern(start, n):
    return (bytes(range(256)) * (n // 256 + 2))[start % 256:start % 256 + n]


def mss(n=1460):
    return (MSS, struct.pack("!H", n))


def syn_options(c):
    """SYN-ACK answers only the options that were offered, MSS always; segments keep within the peer's MSS."""
    syn = c.open(options=[mss(500)])
    t.eq(set(syn.options), {MSS}, "options of the SYN-ACK")
    t.eq(syn.options[MSS], struct.pack("!H", c.full), "its MSS")
    c.app("write 1200")
    t.eq([len(s.data) for s in c.gather(1200)], [500, 500, 200], "segment sizes")


def syn_all_options(c):
    """Window scaling, SACK and time stamps are taken up when offered, stamps are echoed and used from then on."""
    def stamp(n, echo):
        return (STAMP, struct.pack("!II", n, echo))
    syn = c.open(options=[mss(), (SACK_OK, b""), (WSCALE, b"\7"), stamp(100, 0)])
    t.eq(set(syn.options), {MSS, SACK_OK, WSCALE, STAMP}, "options of the SYN-ACK")
    theirs, echo = struct.unpack("!II", syn.options[STAMP])
    t.eq(echo, 100, "echoed stamp")
    c.send("PA", b"x" * 10, options=[stamp(200, theirs)])
    ack = c.expect("A", ack=11)
    t.eq(struct.unpack("!II", ack.options[STAMP])[1], 200, "echoed stamp")
    c.send("PA", b"y" * 10, options=[stamp(50, theirs)])    # older than what was seen (PAWS)
    c.expect("A", ack=11)
    t.eq(c.app_reads(10), b"x" * 10, "bytes of the application")


def bytes_before_the_application(c):
    """What comes with the handshake's last segment, before accept, is acknowledged and read."""
    c.send("S", options=[mss()])
    c.expect("SA", ack=1)
    c.send("PA", b"early")
    c.expect("A", ack=6)
    c.app("accept")
    t.eq(c.app_reads(5), b"early", "bytes of the application")


# [nics=3]
def test_no_server():
    """What the scripts here are worth: where a server does not start, or not by all ways, they fail and say so."""
    with t.ordinary_server(7 + peer.WAYS["socket"]):        # its port is taken
        try:
            each_way(syn_options, ways=("socket", "port"))
        except t.Failure as failure:
            t.true("socket: tests/kernel/endpoint" in str(failure), "the failure names the way without a server: %s" % failure)
            t.true("syn_options" not in str(failure), "no script has failed: %s" % failure)
            return
    raise t.Failure("scripts pass without a server")


# [nics=3 timeout=120]
def test_handshake():
    """Options of the handshake, sizes of segments, bytes that come early."""
    each_way(syn_options, syn_all_options, bytes_before_the_application)


def talk(c):
    """Until the server knows that its replies carry the acknowledgements; new connections acknowledge at once."""
    c.open()
    c.app("echo 1")
    for _ in range(10):
        c.send("PA", b"x" * 100)
        c.gather(100)


def ack_rides_on_the_reply(c):
    """
    A request that is answered at once is acknowledged by the reply and by nothing else: in 18 of 20 cases at least, since
    this machine may hold the guest up for longer than an acknowledgement waits.
    """
    talk(c)
    alone = 0
    for i in range(20):
        c.send("PA", b"%04d" % i * 25)
        seg = c.next(2)
        if seg and not seg.data:
            alone += 1
            seg = c.next(2)
        t.true(seg, "a reply")
        t.eq((seg.data, seg.ack), (b"%04d" % i * 25, c.nxt), "reply and acknowledgement")
        c.rcv = seg.end()
        c.send("A")
    t.le(alone, 2, "acknowledgements alone")
    c.silence(0.3)


def delayed_ack(c):
    """A request without reply is acknowledged after 40 ms or more, alone; two full segments are acknowledged at once."""
    talk(c)
    c.app("echo 0")
    c.send("PA", b"x" * 100)
    c.expect("A", ack=c.nxt, after=0.03, within=1.0)
    c.send("A", b"x" * c.full)
    c.send("PA", b"x" * c.full)
    t.eq(c.drain(0.5)[-1].ack, c.nxt, "acknowledged")


# [nics=3 timeout=120]
def test_acknowledgements():
    """When acknowledgements are sent: with the reply, or alone and later."""
    each_way(ack_rides_on_the_reply, delayed_ack)


def window_closes_and_reopens(c):
    """
    An application that does not read lets the window shrink to 0 without taking back what was offered; probes
    are answered; once it reads again the window is announced, and nothing was lost.
    """
    c.open()
    c.app("pause")
    sent, acked, edge, win = 0, 1, 20000, None
    while win != 0 or acked != c.nxt:
        t.le(sent, 4 * t.MEGABYTE, "bytes taken from an application that does not read")
        seg = c.next(0.05)
        if seg and seg.ack >= acked:        # others are late and say nothing
            t.ge(seg.ack + seg.win, edge if win is not None else 0, "right edge of the window")
            acked, win, edge = seg.ack, seg.win, seg.ack + seg.win
        n = min(edge - c.nxt, c.full)
        if n > 0:
            c.send("PA", pattern(sent, n))
            sent += n
    c.send("A", seq=c.nxt - 1)                     # a probe
    c.expect("A", ack=c.nxt, win=0)
    c.app("resume")
    t.same(c.app_reads(sent), pattern(0, sent), "what was read")
    t.ge(max(s.win for s in c.drain()), 2 * c.full, "window that is announced")
    c.send("PA", b"more")
    t.eq(c.app_reads(4), b"more", "bytes after it")


def zero_window_probes(c):
    """A peer without room is asked with growing pauses, gets nothing more, and the rest when it has room."""
    c.open(win=1000)
    c.app("write 5000")
    c.gather(1000, ack=False)
    c.win = 0
    c.send("A")
    c.drain(0.1)                                   # what was on its way
    times = [c.expect("A", seq=lambda n: n <= 1001, within=5).when for _ in range(4)]
    t.ge(times[3] - times[2], 1.5 * (times[2] - times[1]), "third pause, pauses being doubled")
    c.win = 20000
    c.send("A")
    c.gather(4000)


def small_window_is_respected(c):
    """No byte goes beyond the window the peer offers."""
    c.open(win=4000)
    c.win = 4000
    c.app("write 12000")
    limit = 4001
    while c.rcv < 12001:
        seg = c.next(2)
        t.true(seg, "bytes up to 12001")
        t.le(seg.end(), limit, "end of the data")
        if seg.seq == c.rcv:
            c.rcv = seg.end()
            limit = c.rcv + 4000
            c.send("A")


# [nics=3 timeout=120]
def test_windows():
    """Windows close and open on both sides, are respected, are probed."""
    each_way(window_closes_and_reopens, zero_window_probes, small_window_is_respected)


def retransmission(c):
    """Data that is not acknowledged is sent again, the same bytes, with pauses that double; an acknowledgement ends it."""
    c.open()
    c.app("write 100")
    first = c.expect("A", data=100)
    again = [c.expect("A", seq=1, data=first.data, within=4) for _ in range(4)]
    times = [first.when] + [s.when for s in again]
    pauses = [b - a for a, b in zip(times, times[1:])]
    # the first may be the probe of tail loss; it comes early
    t.ge(pauses[3], 1.5 * pauses[2], "pauses %s: the last" % pauses)
    c.send("A")
    c.silence(1.0)


def fast_retransmission(c):
    """A hole that three SACKs tell of is filled without waiting for the timer, and nothing else is sent again."""
    c.open(options=[mss(1000), (SACK_OK, b"")])
    c.app("write 8000")
    found = []
    while sum(len(s.data) for s in found) < 8000:
        seg = c.next(1.0)
        t.true(seg, "8000 bytes")
        found.append(seg)
    t.eq(found[1].seq, 1001, "second segment")
    began = found[-1].when
    c.rcv = 1001
    for k in (3001, 4001, 5001):
        raw = [(c.their_isn + n) % peer.MOD for n in (2001, k)]
        c.send("A", options=[(SACK, struct.pack("!II", *raw))])
    seg = c.expect("A", seq=1001, data=found[1].data, within=1.0)
    t.le(seg.when - began, 0.19, "seconds until the hole is filled")
    c.rcv = 8001
    c.send("A")
    c.silence(0.5)


# [nics=3 timeout=120]
def test_losses():
    """What is lost is sent again, by the timer and before it."""
    each_way(retransmission, fast_retransmission)


def out_of_order(c):
    """Segments in any order, twice and overlapping: SACK tells what is there, the application gets the stream once."""
    c.open(options=[mss(), (SACK_OK, b"")])
    data = pattern(0, 2400)
    c.send("A", data[1000:2000], seq=1001)
    sack = c.expect("A", ack=1)
    left, right = [(n - c.ISN) % peer.MOD for n in struct.unpack("!II", sack.options[SACK])]
    t.eq((left, right), (1001, 2001), "SACK block")
    c.send("A", data[1500:2400], seq=1501)
    c.expect("A", ack=1)
    c.send("A", data[0:1200], seq=1)                # fills the hole, overlaps
    c.expect("A", ack=2401)
    c.send("A", data[500:1500], seq=501)            # all known
    c.expect("A", ack=2401)
    c.nxt = 2401
    t.eq(c.app_reads(2400), data, "bytes of the application")
    c.send("PA", b"on")
    c.drain(0.3)
    t.eq(c.app_reads(2), b"on", "bytes after it")


def urgent(c):
    """Urgent data is read in line: all bytes, in order."""
    c.open()
    c.send("PA", b"abc")
    c.send("UPA", b"de!", urgent=3)
    c.send("PA", b"fgh")
    t.eq(c.app_reads(9), b"abcde!fgh", "bytes of the application")
    t.eq(c.drain(0.3)[-1].ack, 10, "last acknowledgement")


def fin_out_of_order(c):
    """A FIN that arrives before the bytes in front of it ends the stream behind them."""
    c.open()
    c.send("FA", b"world", seq=7)
    c.expect("A", ack=1)
    c.send("PA", b"hello ", seq=1)
    c.expect("A", ack=13)
    t.eq(c.app_reads(11), b"hello world", "bytes of the application")
    c.app("end", "eos")


# [nics=3 timeout=120]
def test_order():
    """Segments out of order, twice, overlapping, urgent."""
    each_way(out_of_order, urgent, fin_out_of_order)


def peer_ends_first(c):
    """The peer's FIN is acknowledged, data goes on in the other direction, then FIN, and the last ACK ends it."""
    c.open()
    c.send("FPA", b"last words")
    c.expect("A", ack=12)
    t.eq(c.app_reads(10), b"last words", "bytes of the application")
    c.app("end", "eos")
    c.app("write 3000")
    c.gather(3000)
    c.app("close")
    c.expect("FA", ack=12)
    c.send("A")
    c.send("PA", b"?")                              # nobody is there any more
    c.expect("R")


def server_ends_first(c):
    """
    FIN behind the last byte; the peer may go on sending; its FIN is acknowledged, and again when it is repeated
    (TIME_WAIT).
    """
    c.open()
    c.app("write 100")
    c.gather(100)
    c.app("shut")
    c.expect("FA", seq=101)
    c.send("A")
    c.send("PA", b"still here")
    c.expect("A", ack=11)
    t.eq(c.app_reads(10), b"still here", "bytes of the application")
    c.send("FA")
    c.expect("A", ack=12)
    c.send("FA", seq=11)
    c.expect("A", ack=12)
    c.silence(0.3)


def fin_with_the_handshake(c):
    """The handshake's ACK may carry FIN: the application gets a connection whose stream has ended, and may write."""
    c.send("S", options=[mss()])
    c.expect("SA", ack=1)
    c.send("FA")
    c.expect("A", ack=2)
    c.app("accept")
    c.app("end", "eos")
    c.app("write 100")
    c.gather(100)
    c.app("close")
    c.expect("FA", ack=2)
    c.send("A")
    c.send("A")                                     # nobody is there any more
    c.expect("R")


def bytes_and_fin_with_the_handshake(c):
    """The same with bytes in front of the FIN."""
    c.send("S", options=[mss()])
    c.expect("SA", ack=1)
    c.send("FPA", b"all of it")
    c.expect("A", ack=11)
    c.app("accept")
    t.eq(c.app_reads(9), b"all of it", "bytes of the application")
    c.app("end", "eos")
    c.app("close")
    c.expect("FA", ack=11)
    c.send("A")
    c.silence(0.5)


def fin_acknowledges_fin(c):
    """
    A FIN that acknowledges ours (FIN_WAIT_1) is acknowledged, and again when it is repeated (TIME_WAIT); both ends are over.
    """
    c.open()
    c.app("shut")
    c.expect("FA", seq=1)
    c.send("FA")
    c.expect("A", ack=2, seq=2)
    t.true(c.app("end", None) in ("eos", "over"), "the application learns of the end")
    c.send("FA", seq=1)
    c.expect("A", ack=2, seq=2)
    c.silence(0.3)


def fin_repeated(c):
    """A FIN that comes again is acknowledged again, and ends nothing (CLOSE_WAIT); so behind our own (LAST_ACK)."""
    c.open()
    c.send("FA")
    c.expect("A", ack=2)
    c.app("end", "eos")
    for _ in range(2):
        c.send("FA", seq=1)
        c.expect("A", ack=2, seq=1)
    c.app("write 100")
    c.gather(100)
    c.app("close")
    c.expect("FA", seq=101, ack=2)
    c.send("FA", seq=1, ack=101)
    c.expect("A", ack=2, seq=102)
    c.send("A")
    c.send("A")
    c.expect("R")


def fin_repeated_in_closing(c):
    """FINs that cross, and the peer's again before it acknowledges ours: it is acknowledged again; then as ever (TIME_WAIT)."""
    c.open()
    c.app("shut")
    c.expect("FA", seq=1)
    c.send("FA", ack=1)
    c.expect("A", ack=2, seq=2)
    c.send("FA", seq=1, ack=1)
    c.expect("A", ack=2, seq=2)
    c.send("A")
    c.drain(0.2)
    c.send("FA", seq=1)
    c.expect("A", ack=2, seq=2)
    c.silence(0.5)


def simultaneous_close(c):
    """FINs that cross: each is acknowledged, and that is all."""
    c.open()
    c.app("shut")
    c.expect("FA", seq=1)
    c.rcv = 1                                       # ours is sent before theirs has arrived
    c.send("FA")
    c.expect("A", ack=2, seq=2)
    c.rcv = 2
    c.send("A")
    c.silence(0.5)


def data_after_close(c):
    """What the peer sends to a connection that is closed is answered by RST."""
    c.open()
    c.app("close")
    c.expect("FA", seq=1)
    c.send("A")
    c.send("PA", b"too late")
    c.expect("R")


def reads_to_the_end(c, total):
    """The server has sent that many bytes in all, from its first one on, and then FIN: reads what has not come yet."""
    first, got = c.rcv - 1, b""
    while c.rcv < total + 2:
        seg = c.next(3)
        t.true(seg, "%d bytes and the end" % total)
        t.true("R" not in seg.letters(), "no reset")
        if seg.seq == c.rcv:
            got += seg.data
            c.rcv = seg.end()
            c.send("A")
    t.same(got, (b"abcdefghijklmnopqrstuvwxyz" * (total // 26 + 1))[first:total], "bytes")


def close_behind_data(c):
    """Closing behind data loses none of it: all bytes, then FIN."""
    c.open()
    c.app("write 20000")
    c.app("close")
    reads_to_the_end(c, 20000)
    c.silence(0.3)


def data_behind_a_closing_slot(c):
    """While more is queued than the socket takes, what the peer sends is acknowledged and dropped: it costs it nothing of the rest."""
    c.open(win=1000)
    c.app("write 150000")
    c.app("close")
    c.gather(1000, ack=False)
    c.win = 0
    for _ in range(20):                            # without P, so that not each is acknowledged at once
        c.send("A", b"x" * c.full)
    while (seg := c.next(3)) and seg.ack != c.nxt:
        pass
    t.true(seg, "all of it acknowledged")
    c.win = 60000
    c.send("A")
    reads_to_the_end(c, 150000)


# [nics=3 timeout=120]
def test_closing_slot():
    """A connection that a slot closes goes on until its bytes are acknowledged."""
    each_way(data_behind_a_closing_slot, ways=("listener",))


# [nics=3 timeout=120]
def test_ends():
    """Ends of connections: who is first, both at once, behind data."""
    each_way(peer_ends_first, server_ends_first, simultaneous_close, data_after_close, close_behind_data)


# [nics=3 timeout=120]
def test_fins():
    """FIN with the handshake's last segment, with the acknowledgement of ours, and once more in each state."""
    each_way(fin_with_the_handshake, bytes_and_fin_with_the_handshake, fin_acknowledges_fin, fin_repeated,
             fin_repeated_in_closing)


def reset(c):
    """RST ends the connection at once; the application learns ECONNRESET; a second segment is answered by RST."""
    c.open()
    c.send("PA", b"x")
    c.expect("A", ack=2)
    c.send("R", seq=2)
    c.app("end", "ECONNRESET")
    c.send("A", b"y", seq=2)
    c.expect("R")


def reset_in_fin_wait(c):
    """RST after our FIN was acknowledged (FIN_WAIT_2) ends the connection."""
    c.open()
    c.app("shut")
    c.expect("FA")
    c.send("A")
    c.send("R")
    c.app("end", "ECONNRESET")


def reset_in_close_wait(c):
    """RST after the peer's FIN (CLOSE_WAIT) ends the connection."""
    c.open()
    c.send("FA")
    c.expect("A", ack=2)
    c.app("end", "eos")
    c.send("R")
    t.true(c.app("end", None) in ("EPIPE", "ECONNRESET", "eos"), "an error or nothing new")
    c.send("A")
    c.expect("R")


def reset_in_syn_recv(c):
    """RST instead of the handshake's ACK (SYN_RECV): there is no connection, also not with a late ACK; the next one is as ever."""
    c.send("S", options=[mss()])
    c.expect("SA", ack=1)
    c.send("R")
    c.send("A")
    c.expect("R")
    c.again()
    c.open()
    c.send("PA", b"new")
    t.eq(c.app_reads(3), b"new", "bytes of the application")


def reset_in_fin_wait_1(c):
    """RST before our FIN was acknowledged (FIN_WAIT_1) ends the connection."""
    c.open()
    c.app("shut")
    c.expect("FA")
    c.send("R", seq=1)
    c.app("end", "ECONNRESET")
    c.send("A")
    c.expect("R")
    c.silence(0.5)                                  # nor does the FIN come again


def reset_in_closing(c):
    """RST after FINs that crossed (CLOSING): nothing comes any more."""
    c.open()
    c.app("shut")
    c.expect("FA", seq=1)
    c.send("FA", ack=1)
    c.expect("A", ack=2, seq=2)
    c.send("R")
    t.true(c.app("end", None) in ("eos", "over", "ECONNRESET"), "the application learns of the end")
    c.send("A")
    c.expect("R")
    c.silence(0.5)


def reset_in_last_ack(c):
    """RST instead of the last ACK (LAST_ACK): nothing comes any more; whether the application still holds the socket or not."""
    c.open()
    c.send("FA")
    c.expect("A", ack=2)
    c.app("end", "eos")
    c.app("shut")
    c.expect("FA", seq=1, ack=2)
    c.send("R")
    t.true(c.app("end", None) in ("eos", "over", "ECONNRESET", "EPIPE"), "the application learns of the end")
    c.send("A")
    c.expect("R")
    c.silence(0.5)


def reset_in_last_ack_closed(c):
    """The same when the application has closed."""
    c.open()
    c.send("FA")
    c.expect("A", ack=2)
    c.app("close")
    c.expect("FA", seq=1, ack=2)
    c.send("R")
    c.send("A")
    c.expect("R")
    c.silence(0.5)


def into_time_wait(c):
    c.open()
    c.app("shut")
    c.expect("FA", seq=1)
    c.send("A")
    c.send("FA")
    c.expect("A", ack=2, seq=2)


def reset_in_time_wait(c):
    """RST with the next number, and no other, ends TIME_WAIT (tcp_rfc1337=0): the peer's FIN is answered by RST then."""
    into_time_wait(c)
    c.send("R", seq=1000)
    c.drain(0.2)
    c.send("FA", seq=1)
    c.expect("A", ack=2, seq=2)
    c.send("R")
    c.send("FA", seq=1)
    c.expect("R")


def reset_in_time_wait_ignored(c):
    """With tcp_rfc1337=1 RST does not end TIME_WAIT: the peer's FIN is acknowledged as before."""
    into_time_wait(c)
    c.send("R")
    c.drain(0.2)
    c.send("FA", seq=1)
    c.expect("A", ack=2, seq=2)


def blind_attacks(c):
    """
    RST and SYN that do not hit the next number do no harm: within the window they are challenged by an ACK, outside it RST is
    ignored; and the connection works.
    """
    c.open()
    c.send("R", seq=1000)
    c.expect("A", ack=1, seq=1)
    c.send("R", seq=10000000)
    c.silence(0.8)                                  # challenges are half a second apart
    c.send("S", seq=500)
    c.expect("A", ack=1, seq=1, within=2)
    c.send("PA", b"alive", seq=1)
    t.eq(c.app_reads(5), b"alive", "bytes of the application")


# [nics=3 timeout=120]
def test_resets():
    """Resets in all states, and attempts at them."""
    each_way(reset_in_syn_recv, reset, reset_in_fin_wait_1, reset_in_fin_wait, reset_in_close_wait, reset_in_closing,
             reset_in_last_ack, reset_in_last_ack_closed, reset_in_time_wait, blind_attacks)


# [nics=3 timeout=120]
def test_time_wait_kept():
    """TIME_WAIT is not cut short by RST where the host is told so (RFC 1337)."""
    t.guest().run("sysctl", "-qw", "net.ipv4.tcp_rfc1337=1")
    try:
        each_way(reset_in_time_wait_ignored)
    finally:
        t.guest().run("sysctl", "-qw", "net.ipv4.tcp_rfc1337=0")


# [nics=3 timeout=120]
def test_ipv6():
    """Over IPv6: handshake, acknowledgements, windows, order, losses, ends, resets."""
    each_way(syn_options, syn_all_options, bytes_before_the_application, ack_rides_on_the_reply, delayed_ack,
             window_closes_and_reopens, retransmission, fast_retransmission, out_of_order, peer_ends_first,
             server_ends_first, simultaneous_close, fin_with_the_handshake, fin_repeated, reset, reset_in_syn_recv,
             reset_in_time_wait, blind_attacks, family=6)


def active_open(c):
    """The application connects: its SYN, bytes both ways, it ends first; the peer's FIN is acknowledged."""
    syn = c.open_by_app()
    t.eq(syn.options[MSS], struct.pack("!H", c.full), "MSS of the SYN")
    c.send("PA", b"hello")
    t.eq(c.app_reads(5), b"hello", "bytes of the application")
    c.drain(0.3)
    c.app("write 3000")
    c.gather(3000)
    c.app("close")
    c.expect("FA", seq=3001, ack=6)
    c.send("A")
    c.send("FA")
    c.expect("A", ack=7, seq=3002)
    c.send("FA", seq=6)
    c.expect("A", ack=7, seq=3002)


def bytes_with_the_syn_ack_answered(c):
    """Bytes and FIN that come before the application has registered its socket: read, and the end is told."""
    c.open_by_app(registered=False)
    c.send("FPA", b"at once")
    c.expect("A", ack=9)
    c.app("accept")
    t.eq(c.app_reads(7), b"at once", "bytes of the application")
    c.app("end", "eos")
    c.app("close")
    c.expect("FA", seq=1, ack=9)
    c.send("A")
    c.silence(0.3)


def active_open_refused(c):
    """RST with the ACK of the SYN refuses; the application learns ECONNREFUSED; RST without it is ignored, the SYN comes again."""
    c.listen()
    c.app("connect %d" % c.ports[0])
    c.expect("S", seq=0)
    c.rcv = 1
    c.send("R", seq=0)
    c.expect("S", seq=0, within=3)
    c.send("RA", seq=0)
    c.app("accept", "ECONNREFUSED")


def simultaneous_open(c):
    """SYNs that cross: SYN-ACK, and with its acknowledgement the connection is there."""
    c.listen()
    c.app("connect %d" % c.ports[0])
    c.expect("S", seq=0)
    c.send("S", options=[mss()])
    c.expect("SA", seq=0, ack=1)
    c.send("A")
    c.app("accept")
    c.send("PA", b"both")
    t.eq(c.app_reads(4), b"both", "bytes of the application")
    c.drain(0.3)
    c.app("write 100")
    c.gather(100)


def active_and_simultaneous_close(c):
    """FINs that cross on a connection of the application's own: each is acknowledged, and that is all."""
    c.open_by_app()
    c.app("shut")
    c.expect("FA", seq=1)
    c.send("FA", ack=1)
    c.expect("A", ack=2, seq=2)
    c.send("A")
    t.true(c.app("end", None) in ("eos", "over"), "the application learns of the end")
    c.silence(0.5)


def active_and_reset(c):
    """RST on a connection of the application's own: ECONNRESET."""
    c.open_by_app()
    c.send("R")
    c.app("end", "ECONNRESET")
    c.send("A")
    c.expect("R")


CLIENTS = (active_open, bytes_with_the_syn_ack_answered, active_open_refused, simultaneous_open, active_and_simultaneous_close,
           active_and_reset)


# [nics=3 timeout=120]
def test_client():
    """A socket that connects and is registered then, over IPv4 and IPv6: handshakes, ends."""
    each_way(*CLIENTS, ways=("socket", "port"))
    each_way(*CLIENTS, ways=("socket", "port"), family=6)


t.main()
