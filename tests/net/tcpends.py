"""
How TCP connections begin by the application, and end, segment by segment, FIN and RST in each state: the same for an ordinary
socket, a registered one and a connection of a registered listener. See peer.py.
"""

import struct

import t
from peer import MSS, each_way, mss


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


# [short nics=3 timeout=120]
def test_ends():
    """Ends of connections: who is first, both at once, behind data."""
    each_way(peer_ends_first, server_ends_first, simultaneous_close, data_after_close, close_behind_data)


# [short nics=3 timeout=120]
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


def fin_and_reset_in_listen(c):
    """
    LISTEN: FIN, RST and SYN with FIN are ignored, FIN with ACK is answered by RST with the number it acknowledges; the next
    connection is as ever.
    """
    for flags in ("F", "R", "RA", "SF"):
        c.send(flags, seq=0)
        c.silence(0.2)
    c.send("FA", ack=77)
    t.eq(c.expect("R").raw_seq, 77, "number of the RST")
    c.again()
    c.open()
    c.send("PA", b"new")
    t.eq(c.app_reads(3), b"new", "bytes of the application")


def fin_in_syn_recv(c):
    """A FIN without ACK (SYN_RECV) is ignored, and one that acknowledges what was not sent is answered by RST; then it goes on."""
    c.send("S", options=[mss()])
    c.expect("SA", ack=1)
    c.send("F", seq=1)
    c.silence(0.2)
    c.send("FA", seq=1, ack=100)
    c.expect("R", seq=100)
    c.send("A")
    c.app("accept")
    c.send("PA", b"there")
    t.eq(c.app_reads(5), b"there", "bytes of the application")


def fin_and_reset_in_closed(c):
    """Behind the last ACK (CLOSED, LISTEN beside it): FIN with ACK is answered by RST, FIN alone and RST by nothing."""
    c.open()
    c.send("FA")
    c.expect("A", ack=2)
    c.app("end", "eos")
    c.app("close")
    c.expect("FA", seq=1, ack=2)
    c.send("A")
    c.send("FA")
    c.expect("R", seq=2)
    for flags in ("R", "RA", "F"):
        c.send(flags)
        c.silence(0.2)


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


# [short nics=3 timeout=120]
def test_resets():
    """Resets in all states, and attempts at them."""
    each_way(reset_in_syn_recv, reset, reset_in_fin_wait_1, reset_in_fin_wait, reset_in_close_wait, reset_in_closing,
             reset_in_last_ack, reset_in_last_ack_closed, reset_in_time_wait, blind_attacks)


def closed_with_bytes_unread(c):
    """
    Closing while bytes wait that nobody has read sends RST instead of FIN, but by a slot, which drops them: the RST could take
    a reply with it. Nobody is there any more.
    """
    c.open()
    c.app("pause")
    c.send("PA", b"unread")
    c.expect("A", ack=7)
    c.app("close")
    c.expect("FA" if c.server.way == "listener" else "RA", seq=1)
    c.send("PA", b"?")
    c.expect("R")
    c.silence(0.5)


def aborted(c):
    """SO_LINGER with 0 seconds: closing sends RST, behind what was sent before; nobody is there any more."""
    c.open()
    c.app("write 100")
    c.gather(100)
    c.app("next")
    c.expect("RA", seq=101)
    c.send("PA", b"?")
    c.expect("R")
    c.silence(0.5)


def aborted_with_bytes_queued(c):
    """What has not been sent by then is not sent any more."""
    c.open(win=1000)
    c.app("write 5000")
    c.gather(1000, ack=False)
    c.app("next")
    c.expect("RA", seq=lambda n: 1001 <= n <= 5001)
    c.silence(1.0)


def aborted_in_close_wait(c):
    """The same after the peer's FIN (CLOSE_WAIT)."""
    c.open()
    c.send("FA")
    c.expect("A", ack=2)
    c.app("end", "eos")
    c.app("next")
    c.expect("RA", seq=1)
    c.silence(0.5)


def aborted_in_fin_wait(c):
    """The same after our own FIN (FIN_WAIT_2)."""
    c.open()
    c.app("shut")
    c.expect("FA", seq=1)
    c.send("A")
    c.drain(0.1)
    c.app("next")
    c.expect("RA", seq=2)
    c.send("FA")
    c.expect("R")
    c.silence(0.5)


ABORTS = (closed_with_bytes_unread, aborted, aborted_with_bytes_queued, aborted_in_close_wait, aborted_in_fin_wait)


# [short nics=3 timeout=120]
def test_aborts():
    """Resets that the application causes, over IPv4 and IPv6: bytes unread when it closes, SO_LINGER."""
    each_way(*ABORTS)
    each_way(*ABORTS, family=6)


# [short nics=3 timeout=120]
def test_without_a_connection():
    """FIN and RST where there is no connection yet, or not any more: LISTEN, SYN_RECV, CLOSED."""
    each_way(fin_and_reset_in_listen, fin_in_syn_recv, fin_and_reset_in_closed)
    each_way(fin_and_reset_in_listen, fin_in_syn_recv, fin_and_reset_in_closed, family=6)


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
    """Over IPv6: ends, resets."""
    each_way(peer_ends_first, server_ends_first, simultaneous_close, fin_with_the_handshake, fin_repeated, reset,
             reset_in_syn_recv, reset_in_time_wait, blind_attacks, family=6)


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


def fin_and_reset_in_syn_sent(c):
    """
    SYN_SENT: FIN without SYN is ignored, so is RST that acknowledges what was not sent; FIN that does is answered by RST; the
    connection comes about.
    """
    c.listen()
    c.app("connect %d" % c.ports[0])
    c.expect("S", seq=0)
    for flags in ("F", "FA"):
        c.send(flags, seq=0, ack=1)
        c.silence(0.2)
    c.send("RA", seq=0, ack=5)
    c.expect("S", seq=0)                            # at once: the peer may have an old connection
    c.send("FA", seq=0, ack=5)
    c.expect("R", seq=5)
    c.rcv, c.nxt = 1, 0
    c.send("SA", options=[mss()])
    c.expect("A", seq=1, ack=1)
    c.app("accept")
    c.send("PA", b"there")
    t.eq(c.app_reads(5), b"there", "bytes of the application")


def active_and_closed(c):
    """Behind the last ACK, nobody listening (CLOSED): FIN is answered by RST, with ACK if it has none, RST by nothing."""
    c.open_by_app()
    c.send("FA")
    c.expect("A", ack=2)
    c.app("end", "eos")
    c.app("close")
    c.expect("FA", seq=1, ack=2)
    c.send("A")
    c.send("FA")
    c.expect("R", seq=2)
    c.send("F", seq=2)
    c.expect("RA", ack=3)
    for flags in ("R", "RA"):
        c.send(flags)
        c.silence(0.2)


CLIENTS = (active_open, bytes_with_the_syn_ack_answered, active_open_refused, fin_and_reset_in_syn_sent, simultaneous_open,
           active_and_simultaneous_close, active_and_reset, active_and_closed)


# [short nics=3 timeout=120]
def test_client():
    """A socket that connects and is registered then, over IPv4 and IPv6: handshakes, ends."""
    each_way(*CLIENTS, ways=("socket", "port"))
    each_way(*CLIENTS, ways=("socket", "port"), family=6)


t.main()
