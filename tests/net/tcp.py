"""
What TCP does on the wire, segment by segment, is the same for an ordinary socket, a registered one and a connection of a
registered listener. See peer.py; how connections begin and end is in tcpends.py.
"""

import struct
import time

import peer
import t
from peer import MSS, SACK, SACK_OK, STAMP, WSCALE, each_way, mss, pattern


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


# [short nics=3 timeout=120]
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


AT_ONCE = 0.03                                      # an acknowledgement that waits does so for 40 ms or more


def mostly_at_once(c, send, times=12):
    """What send() sends is acknowledged without waiting: more often than not at least, since the guest may be held up."""
    talk(c)
    c.app("echo 0")
    at_once = 0
    for i in range(times):
        began = time.monotonic()
        acked = send(c, i)
        at_once += acked.when - began <= AT_ONCE
        c.drain(0.06)                               # what was late belongs to nobody else
    t.ge(at_once, times // 2 + 1, "of %d acknowledgements, sent at once" % times)


def acked_up_to(c, end):
    """The segment that acknowledges all of it; others before it do not."""
    while (seg := c.next(2)) and seg.ack != end:
        t.le(seg.ack, end, "acknowledged")
    t.true(seg, "an acknowledgement of %d" % end)
    return seg


def second_segment_acked_at_once(c):
    """Of full segments each second one is acknowledged at once."""
    def two(c, i):
        c.send("A", pattern(2 * i * c.full, c.full))
        c.send("A", pattern((2 * i + 1) * c.full, c.full))
        return acked_up_to(c, c.nxt)
    mostly_at_once(c, two)
    t.same(c.app_reads(24 * c.full)[-24 * c.full:], pattern(0, 24 * c.full), "what was read")


def gap_told_at_once(c):
    """A segment out of order is answered by a duplicate acknowledgement at once, and so is the one that fills the gap."""
    def behind_a_gap(c, i):
        dup = None
        for n in (100, 200):
            c.send("A", b"y" * 100, seq=c.nxt + n)
            dup = c.expect("A", ack=c.nxt)
        return dup

    def into_the_gap(c, i):
        behind_a_gap(c, i)
        c.send("A", b"y" * 100)
        c.nxt += 200
        return acked_up_to(c, c.nxt)
    mostly_at_once(c, into_the_gap)
    t.same(c.app_reads(3600)[-3600:], b"y" * 3600, "what was read")


# [short nics=3 timeout=120]
def test_acknowledged_at_once():
    """Which acknowledgements do not wait: of each second full segment, of what is out of order, of what fills a gap."""
    each_way(second_segment_acked_at_once, gap_told_at_once)
    each_way(second_segment_acked_at_once, gap_told_at_once, family=6)


# [short nics=3 timeout=120]
def test_acknowledgements():
    """When acknowledgements are sent: with the reply, or alone and later."""
    each_way(ack_rides_on_the_reply, delayed_ack)


def fill(c):
    """Sends as much as the window takes until it is 0, and all of that is acknowledged; how many bytes."""
    sent, acked, edge, win = 0, c.nxt, c.nxt + 20000, None
    deadline = time.monotonic() + 30 * t.SLOWER
    while win != 0 or acked != c.nxt:
        t.le(time.monotonic(), deadline, "seconds until the window is closed")
        t.le(sent, 4 * t.MEGABYTE, "bytes taken from an application that does not read")
        may_go_on = c.nxt - acked < 2 * c.full and c.nxt < edge     # two, since one would wait for its acknowledgement
        seg = c.next(0.001 if may_go_on else 0.05)
        if seg and seg.ack >= acked:        # others are late and say nothing
            t.ge(seg.ack + seg.win, edge if win is not None else 0, "right edge of the window")
            acked, win, edge = seg.ack, seg.win, seg.ack + seg.win
        n = min(edge - c.nxt, c.full)
        if n > 0:
            c.send("PA", pattern(sent, n))
            sent += n
    return sent


def window_closes_and_reopens(c):
    """
    An application that does not read lets the window shrink to 0 without taking back what was offered; probes
    are answered; once it reads again the window is announced, and nothing was lost.
    """
    c.open()
    c.app("pause")
    sent = fill(c)
    c.send("A", seq=c.nxt - 1)                     # a probe
    c.expect("A", ack=c.nxt, win=0)
    c.app("resume")
    t.same(c.app_reads(sent), pattern(0, sent), "what was read")
    t.ge(max(s.win for s in c.drain()), 2 * c.full, "window that is announced")
    c.send("PA", b"more")
    t.eq(c.app_reads(4), b"more", "bytes after it")


def slots_close_the_window(c):
    """
    So it is with an application that takes nothing for long, and keeps all slots if it has some: probes, of no byte and of the
    next one, are answered and take nothing in, the window opens with the first bytes that are taken, and closes again.
    """
    c.open()
    for _ in range(2):
        c.app("hold")
        n = fill(c)
        if c.server.way != "socket":
            t.ge(n, 200 * c.full, "bytes until the window is closed, the ring being full and then the socket")
        for data in (b"", b"?", b""):
            c.silence(0.6)                          # answers are half a second apart (tcp_invalid_ratelimit)
            c.send("A", data, seq=c.nxt - (not data))
            c.expect("A", ack=c.nxt, win=0)
        c.app("release")
        t.same(c.app_reads(n), pattern(0, n), "what was read")
        t.ge(max(s.win for s in c.drain()), 2 * c.full, "window that is announced")
    c.send("PA", b"more")
    t.eq(c.app_reads(4), b"more", "bytes after it")


def doubled(seconds):
    """What three pauses take that begin with 0.2 s and double; more if somebody is held up, alike ones would take 0.6 s."""
    t.ge(seconds, 1.2, "seconds of three pauses")


def zero_window_probes(c):
    """A peer without room is asked with growing pauses, gets nothing more, and the rest when it has room."""
    c.open(win=1000)
    c.app("write 5000")
    c.gather(1000, ack=False)
    c.win = 0
    c.send("A")
    c.drain(0.1)                                   # what was on its way
    times = [c.expect("A", seq=lambda n: n <= 1001, within=10).when for _ in range(4)]
    doubled(times[3] - times[0])
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


# [short nics=3 timeout=120]
def test_full_ring():
    """A window that is closed by slots that nobody releases: probed, and reopened."""
    each_way(slots_close_the_window)


# [short nics=3 timeout=120]
def test_windows():
    """Windows close and open on both sides, are respected, are probed."""
    each_way(window_closes_and_reopens, zero_window_probes, small_window_is_respected)


def retransmission(c):
    """Data that is not acknowledged is sent again, the same bytes, with pauses that double; an acknowledgement ends it."""
    c.open()
    c.app("write 100")
    first = c.expect("A", data=100)
    again = [c.expect("A", seq=1, data=first.data, within=10) for _ in range(4)]
    # 0.2, 0.4 and 0.8 s at least; before them may come the probe of tail loss
    doubled(again[-1].when - first.when)
    c.send("A")
    c.silence(1.0)


def hole_filled(c):
    """One of 8 segments is lost, three SACKs tell of it; seconds until it is there."""
    base = c.rcv
    c.app("write 8000")
    found = []
    while sum(len(s.data) for s in found) < 8000:
        seg = c.next(1.0)
        t.true(seg, "8000 bytes")
        found.append(seg)
    t.eq(found[1].seq, base + 1000, "second segment")
    c.expect("A", seq=found[-1].seq, data=found[-1].data)
    began = time.monotonic()
    c.rcv = base + 1000
    for k in (3000, 4000, 5000):
        raw = [(c.their_isn + base + n) % peer.MOD for n in (2000, k)]
        c.send("A", options=[(SACK, struct.pack("!II", *raw))])
    seg = c.expect("A", seq=base + 1000, data=found[1].data, within=1.0)
    c.rcv = base + 8000
    c.send("A")
    c.silence(0.5)
    return seg.when - began


def fast_retransmission(c):
    """
    A hole that three SACKs tell of is filled without waiting for the timer (three attempts, since the guest may be held
    up), and nothing else is sent again. The SACKs are late: by then the probe of tail loss has come, which it does within 10 ms.
    """
    c.open(options=[mss(1000), (SACK_OK, b"")])
    waited = [hole_filled(c)]
    while waited[-1] > 0.19 and len(waited) < 3:
        waited.append(hole_filled(c))
    t.le(waited[-1], 0.19, "seconds until the hole is filled, of %s" % waited)


# [short nics=3 timeout=120]
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


def urgent_before_the_application(c):
    """So are two urgent bytes that come before accept, and two that are not read at once. (SO_OOBINLINE: only the way socket.)"""
    c.send("S", options=[mss()])
    c.expect("SA", ack=1)
    c.send("A")
    c.send("UPA", b"A", urgent=1)
    c.send("UPA", b"B", urgent=1)
    c.drain(0.3)
    c.app("accept")
    t.eq(c.app_reads(2), b"AB", "bytes of the application")
    c.app("pause")
    c.send("UPA", b"C", urgent=1)
    c.send("UPA", b"D", urgent=1)
    c.drain(0.3)
    c.app("resume")
    t.eq(c.app_reads(2), b"CD", "bytes of the application")


def fin_out_of_order(c):
    """A FIN that arrives before the bytes in front of it ends the stream behind them."""
    c.open()
    c.send("FA", b"world", seq=7)
    c.expect("A", ack=1)
    c.send("PA", b"hello ", seq=1)
    c.expect("A", ack=13)
    t.eq(c.app_reads(11), b"hello world", "bytes of the application")
    c.app("end", "eos")


# [short nics=3 timeout=120]
def test_order():
    """Segments out of order, twice, overlapping, urgent."""
    each_way(out_of_order, urgent, urgent_before_the_application, fin_out_of_order)


# [nics=3 timeout=120]
def test_ipv6():
    """Over IPv6: handshake, acknowledgements, windows, order, losses."""
    each_way(syn_options, syn_all_options, bytes_before_the_application, ack_rides_on_the_reply, delayed_ack,
             window_closes_and_reopens, retransmission, fast_retransmission, out_of_order, family=6)


t.main()
