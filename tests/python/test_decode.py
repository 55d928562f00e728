"""Unit tests of bowline_decode with datagrams made by hand from PROTOCOL.md.

    python3 -m unittest test_decode        (in this directory)
"""

import itertools
import random
import unittest
import zlib

from bowline_decode import (
    BadCrc,
    BadVersion,
    CutShort,
    Malformed,
    Misbehaviour,
    Reader,
    Unexpected,
    acked_ranges,
    decode,
    encode_varint,
    expand_largest,
    expand_number,
    expand_offset,
    number_bytes,
    plausible,
    session_secret,
)
from short_offset import RULES, Receiver, Sender, Stale, play

CLIENT = 0x0123456789ABCDEF
SERVER = 0xFEDCBA9876543210


def h(text: str) -> bytes:
    return bytes.fromhex(text)


def plain(text: str, **kwargs) -> dict:
    """A session packet without integrity, connection id of length 0."""
    options = {"connection_id_len": 0, "integrity": 0, "client_half": 0, "server_half": 0}
    options |= {"direction": 0, "expected": 0}
    return decode(h(text), **(options | kwargs))


def frames(text: str, **kwargs) -> list[dict]:
    """The frames of an otherwise empty packet, number 5."""
    return plain("8c 00000005" + text, **kwargs)["frames"]


def sealed(text: str) -> bytes:
    """A handshake datagram with its CRC."""
    body = h(text)
    return body + zlib.crc32(body).to_bytes(4, "big")


def integral(text: str, number: int, direction: int = 0) -> bytes:
    """A session packet with its trailer, computed independently of the decoder."""
    body = h(text)
    secret = (CLIENT + 0x76543210FEDCBA98) % 2**64
    covered = secret.to_bytes(8, "big") + bytes([direction]) + number.to_bytes(8, "big") + body
    return body + zlib.crc32(covered).to_bytes(4, "big")


class Varints(unittest.TestCase):
    def test_bounds(self):
        for value, text in [
            (0, "00"),
            (127, "7f"),
            (128, "8080"),
            (16383, "bfff"),
            (16384, "c04000"),
            (2097151, "dfffff"),
            (2097152, "e0200000"),
            (268435455, "efffffff"),
        ]:
            self.assertEqual(encode_varint(value), h(text))
            r = Reader(h(text))
            self.assertEqual(r.varint("v"), value)
            self.assertEqual(r.left(), 0)

    def test_longer_form(self):
        for text in ("8000", "807f", "c00000", "c03fff", "e0000000", "e01fffff"):
            with self.assertRaises(Malformed, msg=text):
                Reader(h(text)).varint("v")

    def test_unused_first_byte(self):
        for first in range(0xF0, 0x100):
            with self.assertRaises(Malformed):
                Reader(bytes([first, 1, 2, 3, 4, 5])).varint("v")

    def test_cut(self):
        for text in ("", "80", "c040", "e02000"):
            with self.assertRaises(CutShort):
                Reader(h(text)).varint("v")


class Numbers(unittest.TestCase):
    def test_window(self):
        # e - half < number <= e + half, one byte.
        self.assertEqual(expand_number(0x80, 1, 0x100), 0x180)
        self.assertEqual(expand_number(0x81, 1, 0x100), 0x81)
        self.assertEqual(expand_number(0x00, 1, 0x100), 0x100)
        self.assertEqual(expand_number(0xFF, 1, 0x100), 0xFF)
        self.assertEqual(expand_number(0xFFFF, 2, 0x10000), 0xFFFF)
        self.assertEqual(expand_number(0x000001, 3, 0xFFFFFF), 0x1000001)
        self.assertEqual(expand_number(0, 4, 0xFFFFFFFF), 0x100000000)

    def test_below_zero(self):
        self.assertEqual(expand_number(0xFF, 1, 0), 0xFF)
        self.assertEqual(expand_number(0x90, 1, 5), 0x90)
        self.assertEqual(expand_number(0xFFFFFFFF, 4, 3), 0xFFFFFFFF)

    def test_every_byte(self):
        for e in list(range(600)) + [2**32 - 1, 2**32, 2**63]:
            for low in range(256):
                n = expand_number(low, 1, e)
                self.assertEqual(n & 0xFF, low)
                if e >= 128:
                    self.assertTrue(e - 128 < n <= e + 128)

    def test_sender_is_understood(self):
        # For any a <= e <= number: what 3.1 lets a sender write, a receiver reads, and finds plausible.
        for a, ahead in itertools.product((0, 99, 2**32 - 2, 2**32 - 1), (0, 1, 127, 128, 32767, 32768, 65535)):
            number = a + ahead
            # Before the first ack a is initial, and e may be that too; later e is above a.
            for e in {a, a + (ahead + 1) // 2, number}:
                n = number_bytes(number, a, 1)
                self.assertEqual(expand_number(number % (1 << 8 * n), n, e), number)
                self.assertTrue(plausible(number, e, a))

    def test_byte_count(self):
        for ahead, n in ((0, 1), (127, 1), (128, 2), (32767, 2), (32768, 3), (65535, 3), (65536, None)):
            for a in (0, 7, 2**32 - 1):
                self.assertEqual(number_bytes(a + ahead, a, 1), n)
                self.assertEqual(number_bytes(a + ahead, a, 0), n and 4)

    def test_below_initial(self):
        self.assertEqual(expand_number(0x84, 1, 1000), 900)
        self.assertFalse(plausible(900, 1000, 1000))  # stale: it never was a number
        self.assertTrue(plausible(1000, 1000, 1000))
        self.assertFalse(plausible(1000 + 65536, 1000, 1000))


class Packets(unittest.TestCase):
    def test_first_byte(self):
        with self.assertRaises(Malformed):
            plain("")
        for flags in ("cc", "8d", "8e", "8f"):
            with self.assertRaises(Malformed):
                plain(flags + "00000000 01")

    def test_ping(self):
        p = plain("8c 00000007 01", expected=7)
        self.assertEqual(p["number"], 7)
        self.assertEqual(p["frames"], [{"frame": "PING"}])
        self.assertTrue(p["ack_eliciting"])

    def test_padding_alone(self):
        p = plain("8c 00000007 000000")
        self.assertEqual(len(p["frames"]), 3)
        self.assertFalse(p["ack_eliciting"])

    def test_nothing_in_it(self):
        with self.assertRaises(Malformed):
            plain("8c 00000007")
        self.assertEqual(plain("bc 00000007 0102 00 00")["frames"], [])

    def test_connection_id(self):
        p = plain("8c deadbeef 00000007 01", connection_id_len=4)
        self.assertEqual(p["connection_id"], h("deadbeef"))
        with self.assertRaises(CutShort):
            plain("8c deadbe", connection_id_len=4)

    def test_number_cut_short(self):
        with self.assertRaises(CutShort):
            plain("8c 000000")

    def test_short_number_without_integrity(self):
        # Malformed for a session (3.1); the vectors take it.
        for text in ("80 41 01", "84 0041 01", "88 000041 01"):
            with self.assertRaises(Malformed):
                plain(text)
            self.assertEqual(plain(text, accept_short_numbers=True)["number"], 0x41)
        self.assertEqual(plain("8c 00000041 01")["number"], 0x41)

    def test_order_of_faults(self):
        for text, error in (
            ("", "truncated"),
            ("81", "malformed"),
            ("c0", "malformed"),
            ("8c 00", "truncated"),
            ("8c 00000001", "malformed"),
            ("8c 00000001 30 05 01", "truncated"),
            ("8c 00000001 30 03 05 01 02", "malformed"),  # the message inside is what is cut
            ("8c 00000001 20 05 01", "malformed"),
            ("8c 00000001 60", "truncated"),
            ("8c 00000001 60 00", "malformed"),
            ("8c 00000001 b0 0000 00 00 05 01", "truncated"),  # the bounds come after the data
            ("8c 00000001 b0 0000 00 00 01 01", "malformed"),
            ("8c 00000001 06 01 01", "malformed"),
            ("8c 00000001 06 01 02", "truncated"),
            ("01 01 00 00 00", "truncated"),
            ("01 01 00000000 00", "corrupt"),
        ):
            with self.assertRaises(Malformed, msg=text) as caught:
                plain(text)
            self.assertEqual(caught.exception.category, error, text)


class Integrity(unittest.TestCase):
    def decode(self, datagram: bytes, **kwargs) -> dict:
        options = {"connection_id_len": 0, "integrity": 1, "client_half": CLIENT, "server_half": SERVER}
        options |= {"direction": 0, "expected": 0x1200}
        return decode(datagram, **(options | kwargs))

    def test_secret(self):
        self.assertEqual(session_secret(1, 1 << 32), 2)
        self.assertEqual(session_secret(2**64 - 1, 1 << 32), 0)
        self.assertEqual(session_secret(0, 1), 1 << 32)

    def test_check_value(self):
        self.assertEqual(zlib.crc32(b"123456789"), 0xCBF43926)  # the check value of CRC-32/ISO-HDLC

    def test_right(self):
        p = self.decode(integral("80 05 01", 0x1205))
        self.assertEqual((p["number"], p["number_len"]), (0x1205, 1))
        # The trailer is not data of the last frame.
        p = self.decode(integral("80 05 20 02 6162", 0x1205))
        self.assertEqual(p["frames"][0]["messages"], [b"ab"])

    def test_wrong(self):
        good = integral("80 05 20 02 6162", 0x1205)
        for i in range(1, len(good)):
            bad = bytearray(good)
            bad[i] ^= 0x10
            with self.assertRaises(BadCrc):
                self.decode(bytes(bad))
        with self.assertRaises(BadCrc):
            self.decode(good, direction=1)
        with self.assertRaises(BadCrc):
            self.decode(good, expected=0x1400)  # expands to another number
        with self.assertRaises(BadCrc):
            self.decode(good, client_half=CLIENT + 1)

    def test_connection_id_is_covered(self):
        good = integral("80 01020304 05 01", 0x1205, direction=1)
        self.decode(good, connection_id_len=4, direction=1)
        bad = bytes([good[0], 9]) + good[2:]
        with self.assertRaises(BadCrc):
            self.decode(bad, connection_id_len=4, direction=1)

    def test_no_room(self):
        for text in ("80", "80 05", "80 05 01 02 03"):
            with self.assertRaises(CutShort):
                self.decode(h(text))


class Acks(unittest.TestCase):
    def test_form_1(self):
        p = plain("9c 00000001 2a")
        self.assertEqual(p["ack"], {"form": 1, "low": 0x2A})
        self.assertFalse(p["ack_eliciting"])
        self.assertEqual(acked_ranges(p["ack"], 0x12A, 0), [(0x123, 0x12A)])
        self.assertEqual(acked_ranges(p["ack"], 0x12A, 0x128), [(0x128, 0x12A)])

    def test_form_2(self):
        p = plain("ac 00000001 2a 05 03")
        self.assertEqual(p["ack"], {"form": 2, "low": 0x2A, "delay": 5, "first": 3, "ranges": []})
        self.assertEqual(acked_ranges(p["ack"], 0x12A, 0), [(0x127, 0x12A)])

    def test_form_3_with_more(self):
        p = plain("bc 00000001 012a ff 8080 02 00 01 05 00 01")
        self.assertEqual(p["ack"]["low"], 0x12A)
        self.assertEqual(p["ack"]["delay"], 127)
        self.assertEqual(p["ack"]["first"], 128)
        self.assertEqual(p["ack"]["ranges"], [[0, 1], [5, 0]])
        self.assertEqual(p["frames"], [{"frame": "PING"}])
        # 298 - 128 = 170; 169 is not; 168, 167 are; 166..161 are not; 160 is.
        self.assertEqual(acked_ranges(p["ack"], 0x12A, 0), [(170, 298), (167, 168), (160, 160)])

    def test_count(self):
        plain("ac 00000001 2a 80 00 1f" + "0000" * 31)
        for count in ("00", "20", "ff"):
            with self.assertRaises(Malformed):
                plain("ac 00000001 2a 80 00" + count + "0000" * 255)

    def test_cut(self):
        whole = "bc00000001012aff80800200010500"
        for end in range(12, len(whole), 2):
            with self.assertRaises(CutShort):
                plain(whole[:end])
        plain(whole)

    def test_below_zero(self):
        ack = plain("ac 00000001 05 00 06")["ack"]
        with self.assertRaises(Malformed):
            acked_ranges(ack, 5, 0)
        ack = plain("ac 00000001 05 80 00 01 03 01")["ack"]
        with self.assertRaises(Malformed):
            acked_ranges(ack, 5, 0)  # 5; 4..1 are not; 0, -1
        self.assertEqual(acked_ranges(ack, 6, 0), [(6, 6), (0, 1)])

    def test_below_initial(self):
        ack = plain("ac 00000001 05 80 00 01 03 01")["ack"]
        self.assertEqual(acked_ranges(ack, 0x105, 0xFF), [(0x105, 0x105), (0xFF, 0x100)])
        with self.assertRaises(Misbehaviour):
            acked_ranges(ack, 0x105, 0x100)
        # Form 1 does not reach so far.
        self.assertEqual(acked_ranges(plain("9c 00000001 05")["ack"], 0x105, 0x100), [(0x100, 0x105)])

    def test_expand_largest(self):
        self.assertEqual(expand_largest(0x05, 1, 0x105, 0x110), 0x105)
        self.assertEqual(expand_largest(0x04, 1, 0x105, 0x204), 0x204)
        self.assertEqual(expand_largest(0x10, 1, 0x105, 0x110), 0x110)
        with self.assertRaises(Misbehaviour):
            expand_largest(0x11, 1, 0x105, 0x110)
        with self.assertRaises(Misbehaviour):
            expand_largest(0x04, 1, 0x105, 0x110)  # 0x204, not 0x104
        self.assertIsNone(expand_largest(0x05, 1, 0x105, 0x205))
        self.assertEqual(expand_largest(0x0104, 2, 0x105, 0x10104), 0x10104)
        self.assertEqual(expand_largest(0x0000, 2, 0xFFFF, 0x10000), 0x10000)
        # Nothing acknowledged yet: a is initial, which may itself be L.
        for initial in (0, 1000, 2**32 - 1):
            self.assertEqual(expand_largest(initial & 0xFF, 1, initial, initial), initial)
            self.assertEqual(expand_largest(initial & 0xFF, 1, initial, initial + 255), initial)
            self.assertIsNone(expand_largest(initial & 0xFF, 1, initial, initial + 256))
            with self.assertRaises(Misbehaviour):
                expand_largest((initial - 1) & 0xFF, 1, initial, initial + 3)


class Frames(unittest.TestCase):
    def test_unreliable(self):
        f = frames("20 03 616263 00 01 64")[0]
        self.assertEqual((f["frame"], f["channel"], f["has_length"]), ("UNRELIABLE", 0, False))
        self.assertEqual(f["messages"], [b"abc", b"", b"d"])

    def test_length_then_another(self):
        a, b = frames("3e 02 01 61 4f 0f 00")
        self.assertEqual((a["channel"], a["messages"]), (14, [b"a"]))
        self.assertEqual((b["frame"], b["channel"], b["messages"]), ("UNRELIABLE_ORDERED", 15, [b""]))

    def test_without_length_is_the_last(self):
        # The 01 is a message length here, no PING; and is cut short.
        with self.assertRaises(Malformed):
            frames("20 00 01")

    def test_channel(self):
        self.assertEqual(frames("2f ff 00")[0]["channel"], 255)
        for text in ("2f 0e 00", "2f 00 00"):
            with self.assertRaises(Malformed):
                frames(text)
        with self.assertRaises(CutShort):
            frames("2f")

    def test_no_data(self):
        for text in ("20", "30 00", "30 00 01", "60 05", "70 05 00", "80 00000001", "a0 0001 00 01", "b0 0001 00 01 00"):
            with self.assertRaises(Malformed, msg=text):
                frames(text)

    def test_message_does_not_end(self):
        for text in ("20 04 616263", "30 02 04 6162636465", "30 04 04 616263 01", "20 80 01", "20 80 7f" + "00" * 127):
            with self.assertRaises(Malformed, msg=text):
                frames(text)

    def test_length_beyond_the_packet(self):
        with self.assertRaises(CutShort):
            frames("30 03 01 61")

    def test_reliable(self):
        f = frames("60 fe 0102")[0]
        self.assertEqual((f["frame"], f["offset_low"], f["data"]), ("RELIABLE_SHORT", 0xFE, h("0102")))
        f, g = frames("9f 10 fffffffe 02 0102 70 00 01 ff")
        self.assertEqual((f["frame"], f["channel"], f["offset"]), ("RELIABLE_LONG", 16, 0xFFFFFFFE))
        self.assertEqual((g["offset_low"], g["data"]), (0, b"\xff"))

    def test_ordered_once_per_channel(self):
        with self.assertRaises(Malformed):
            frames("50 01 00 40 00")
        with self.assertRaises(Malformed):
            frames("5f 20 01 00 4f 20 00")
        self.assertEqual(len(frames("50 01 00 41 00")), 2)
        self.assertEqual(len(frames("30 01 00 20 00")), 2)  # UNRELIABLE may repeat
        self.assertEqual(len(frames("d0 0000 00 02 01 aa 40 00")), 2)

    def test_fragments(self):
        f = frames("a3 1234 8080 8400 " + "ab" * 16)[0]
        self.assertEqual((f["frame"], f["channel"], f["id"]), ("UNRELIABLE_FRAGMENT", 3, 0x1234))
        self.assertEqual((f["offset"], f["total"], len(f["data"])), (128, 1024, 16))
        self.assertEqual(frames("c0 0000 05 06 aa")[0]["frame"], "UNRELIABLE_ORDERED_FRAGMENT")
        for text in ("c0 0000 06 06 aa", "c0 0000 05 06 aabb", "c0 0000 00 00 aa"):
            with self.assertRaises(Malformed):
                frames(text)

    def test_control(self):
        for stream in (0, 1, 2):
            credit = {"frame": "CREDIT", "stream": stream, "channel": 7, "limit": 0x01020304}
            self.assertEqual(frames(f"02 {stream:02x} 07 01020304"), [credit])
        self.assertEqual(frames("03 00 01020304 01")[0], {"frame": "CLOSE", "cause": 0, "reason": 0x01020304})
        self.assertEqual(frames("03 01 00000000")[0]["cause"], 1)
        for text in ("02 03 07 01020304", "02 ff 07 01020304", "03 02 00000000", "03 01 00000001"):
            with self.assertRaises(Malformed):
                frames(text)
        for text in ("02 00 07 010203", "03 00 010203"):
            with self.assertRaises(CutShort):
                frames(text)

    def test_void(self):
        for stream in (0, 1, 2):
            void, ping = frames(f"04 {stream:02x} ff fffffffe c04000 01")
            self.assertEqual((void["frame"], void["stream"], void["channel"]), ("VOID", stream, 255))
            self.assertEqual((void["offset"], void["length"]), (0xFFFFFFFE, 16384))
            self.assertEqual(ping, {"frame": "PING"})
        for text in ("04 03 01 00000002 05", "04 00 01 00000002 00", "04 00 01 00000002 8005"):
            with self.assertRaises(Malformed):
                frames(text)
        for text in ("04 00", "04 00 01 000000", "04 00 01 00000002", "04 00 01 00000002 80"):
            with self.assertRaises(CutShort):
                frames(text)

    def test_loose_messages(self):
        f = frames("e3 00 fffffffe 02 6162 00 01 63")[0]
        self.assertEqual((f["frame"], f["channel"], f["latest"], f["offset"]), ("LOOSE", 3, False, 0xFFFFFFFE))
        self.assertEqual(f["messages"], [b"ab", b"", b"c"])
        self.assertNotIn("back", f)
        # The key is a part of the message; whether it is there is no matter of the form.
        f, g = frames("ff 10 01 00000005 06 05 00000007 61 ef 0f 01 0000000b 00")
        self.assertEqual((f["channel"], f["latest"], f["messages"]), (16, True, [h("0000000761")]))
        self.assertEqual((g["channel"], g["latest"], g["messages"]), (15, True, [b""]))

    def test_loose_parts(self):
        f, g = frames("f0 02 00000010 8080 02 ff01 e0 03 00000000 00 f0")
        self.assertEqual((f["latest"], f["offset"], f["back"], f["data"]), (False, 0x10, 128, h("ff01")))
        self.assertEqual((g["latest"], g["back"], g["data"]), (True, 0, b"\xf0"))
        self.assertNotIn("messages", f)

    def test_loose_malformed(self):
        for text in (
            "e0 04 00000000 00",  # other bits of what
            "e0 80 00000000 00",
            "e0 00 00000000",  # no data
            "f0 00 00000000 00",
            "e0 02 00000000 00",
            "e0 00 00000000 02 61",  # a message that does not end
            "e0 01 00000000 8001 61",  # a length in a longer form
            "e0 02 00000000 8001 61",  # back in a longer form
            "ef 0e 00 00000000 00",  # a channel below 15 in the long form
        ):
            with self.assertRaises(Malformed, msg=text) as caught:
                frames(text)
            self.assertEqual(caught.exception.category, "malformed", text)
        for text in ("e0", "e0 00 000000", "e0 02 00000000", "f0 02 00000000 00 02 61", "f0 00 00000000 02 61"):
            with self.assertRaises(CutShort, msg=text):
                frames(text)

    def test_unknown_types(self):
        for byte in range(0x07, 0x20):
            with self.assertRaises(Malformed):
                frames(f"{byte:02x}" + "00" * 20)

    def test_reserved(self):
        for text, name in (
            ("05 01 02 03 02 6162", "REPEAT"),
            ("06 02 02 03 000161", "PARITY"),
        ):
            with self.assertRaises(Unexpected):
                frames(text)
            self.assertEqual(frames(text, accept_reserved=True)[0]["frame"], name)
        for text in ("05 00 02 01 00", "05 01 02 00", "05 01 02 02 04 61", "06 02 01 01 00", "06 21 21 01 00"):
            with self.assertRaises(Malformed):
                frames(text, accept_reserved=True)


class Offsets(unittest.TestCase):
    def test_nearest(self):
        for base in (0, 5, 127, 128, 1000, 2**32 - 1, 2**31):
            for delta in range(-128, 128):
                self.assertEqual(expand_offset((base + delta) & 0xFF, base), (base + delta) % 2**32)


class ShortOffsets(unittest.TestCase):
    """3.5, on the model of short_offset.py."""

    def counterexample(self):
        """What a sender makes that follows the rule; 12 is lost."""
        sender = Sender(initial=0, number=10)
        p10, p11 = sender.send(0, 10), sender.send(10, 20)
        sender.send(0, 10)
        p13 = sender.send(10, 220)
        self.assertEqual([p.number for p in (p10, p11, p13)], [10, 11, 13])
        self.assertEqual([p.short for p in (p10, p11, p13)], [True, True, False])
        return p13, p10, p11

    def test_counterexample(self):
        # 13 fills the stream up to 220 but for its first ten bytes; 10 brings these, and b passes all.
        # 13 brought bytes before b, so q is 13, and 11 is stale. Were q the number of the packet that moved
        # b, 11 would be read at 266.
        receiver = Receiver(0, "moved b")
        for packet in self.counterexample():
            offset = receiver.receive(packet)
        self.assertEqual((packet.number, packet.offset, offset), (11, 10, 266))
        p13, p10, p11 = self.counterexample()
        receiver = Receiver(0, "brought")
        self.assertEqual([receiver.receive(p13), receiver.receive(p10)], [10, 0])
        self.assertEqual((receiver.b, receiver.q), (220, 13))
        with self.assertRaises(Stale):
            receiver.receive(p11)
        for rule in ("brought", "largest"):
            for order in itertools.permutations((p13, p10, p11)):
                receiver = Receiver(0, rule)
                for packet in order:
                    try:
                        self.assertEqual(receiver.receive(packet), packet.offset)
                    except Stale:
                        pass
                # With the largest q allowed, whatever comes before 10 makes it stale as well.
                self.assertEqual(receiver.b, 0 if rule == "largest" and order[0] is not p10 else 220)

    def test_bytes_ahead_count_once_passed(self):
        receiver = Receiver(0, "brought")
        sender = Sender(initial=0, number=0)
        p0, p1, p2 = sender.send(0, 10), sender.send(10, 20), sender.send(30, 40)
        receiver.receive(p2)
        self.assertEqual((receiver.b, receiver.q), (0, -1))
        receiver.receive(p1)
        receiver.receive(p0)
        self.assertEqual((receiver.b, receiver.q), (20, 1))  # 2 is still ahead
        receiver.receive(sender.send(20, 30))
        self.assertEqual((receiver.b, receiver.q), (40, 3))

    def test_any_network(self):
        read, wrong = dict.fromkeys(RULES, 0), dict.fromkeys(RULES, 0)
        for seed, initial, rule in itertools.product(range(60), (0, 2**32 - 1000), RULES):
            short, misread = play(random.Random(seed), initial, rule)
            read[rule] += short
            wrong[rule] += misread
        self.assertEqual((wrong["brought"], wrong["largest"]), (0, 0))
        self.assertGreater(min(read.values()), 1000)
        # The networks are bad enough to show the old rule wrong.
        self.assertGreater(wrong["moved b"], 0)


CLIENT_HEX = "0123456789abcdef"
COOKIE = "0c" * 12
PARAMETERS = "00 00000001 00 0040 00 7c 64 01 00 00 00 00"


class Handshake(unittest.TestCase):
    def test_hello(self):
        d = sealed("01 02 1122334455667788" + CLIENT_HEX + "ff" * 18)
        self.assertEqual(len(d), 40)
        out = decode(d)
        self.assertEqual((out["type"], out["application"]), ("HELLO", 0x1122334455667788))
        self.assertEqual((out["client_half"], len(out["padding"])), (CLIENT, 18))
        with self.assertRaises(Malformed):
            decode(sealed("01 02 1122334455667788" + CLIENT_HEX + "ff" * 17))

    def test_other_versions(self):
        self.assertEqual(decode(sealed("01 09 1122334455667788" + CLIENT_HEX + "ff" * 18))["version"], 9)
        for version in (1, 3):
            self.assertEqual(decode(sealed(f"05 {version:02x}" + CLIENT_HEX + "00 00000000"))["version"], version)
            for kind in ("02", "03", "04", "06", "07"):
                with self.assertRaises(BadVersion):
                    decode(sealed(kind + f"{version:02x}" + "00" * 60))

    def test_challenge(self):
        d = sealed("02 02" + CLIENT_HEX + COOKIE)
        self.assertLessEqual(len(d), 40)
        self.assertEqual(decode(d)["cookie"], h(COOKIE))
        for text in (COOKIE[2:], COOKIE + "00"):
            with self.assertRaises(Malformed):
                decode(sealed("02 02" + CLIENT_HEX + text))

    def test_connect(self):
        out = decode(sealed("03 02 1122334455667788" + CLIENT_HEX + COOKIE + PARAMETERS + "68 69"))
        p = out["parameters"]
        self.assertEqual(out["payload"], b"hi")
        self.assertEqual((p["connection_id"], p["initial"], p["integrity"]), (b"", 1, 0))
        self.assertEqual((p["datagram_max"], p["channels"], p["ack_delay"]), (64, 1, 124))
        self.assertEqual((p["idle_timeout"], p["credit"], p["loose_credit"]), (100, 1, 0))
        self.assertEqual((p["reliable_max"], p["ordered_max"], p["unreliable_max"]), (0, 0, 0))

    def test_accept(self):
        params = "04 aabbccdd fffffffe 01 04b0 ff 00 a710 c10000 1b e0200000 bfff dfffff"
        out = decode(sealed("04 02" + CLIENT_HEX + "fedcba9876543210" + params))
        p = out["parameters"]
        self.assertEqual(out["server_half"], SERVER)
        self.assertEqual((p["connection_id"], p["initial"]), (h("aabbccdd"), 0xFFFFFFFE))
        self.assertEqual((p["datagram_max"], p["channels"], p["ack_delay"]), (1200, 256, 0))
        self.assertEqual((p["idle_timeout"], p["credit"], p["reliable_max"]), (10000, 65536, 2097152))
        self.assertEqual((p["loose_credit"], p["ordered_max"], p["unreliable_max"]), (27, 16383, 2097151))
        with self.assertRaises(Malformed):
            decode(sealed("04 02" + CLIENT_HEX + "fedcba9876543210" + params + "00"))

    def test_parameter_ranges(self):
        for bad in (
            "01 00 00000001 00 0040 00 7c 64 01 00 00 00 00",
            "05 0000000000 00000001 00 0040 00 7c 64 01 00 00 00 00",
            "00 00000001 02 0040 00 7c 64 01 00 00 00 00",
            "00 00000001 00 003f 00 7c 64 01 00 00 00 00",
            "00 00000001 00 0040 00 7d 64 01 00 00 00 00",
            "00 00000001 00 0040 00 7c 63 01 00 00 00 00",
            "00 00000001 00 0040 00 7c 64 00 00 00 00 00",
            "00 00000001 00 0040 00 7c 64 01 00 8000 00 00",
            "00 00000001 00 0040 00 7c 64 01 00 00 00",
        ):
            with self.assertRaises(Malformed, msg=bad):
                decode(sealed("04 02" + CLIENT_HEX + "fedcba9876543210" + bad))

    def test_loose_credit(self):
        for power in range(256):
            accept = sealed(
                f"04 02 {CLIENT_HEX} fedcba9876543210 00 00000001 00 0040 00 7c 64 01 {power:02x} 00 00 00"
            )
            if power == 0 or 4 <= power <= 27:
                self.assertEqual(decode(accept)["parameters"]["loose_credit"], power)
            else:
                with self.assertRaises(Malformed):
                    decode(accept)

    def test_lengths_of_connect(self):
        # 4: at most 69 bytes without payload, at most 64 with varints of at most three bytes.
        for varint, size in (("efffffff", 69), ("dfffff", 64)):
            parameters = f"04 aabbccdd 00000001 00 0040 00 7c {varint * 2} 1b {varint * 3}"
            connect = sealed("03 02 1122334455667788" + CLIENT_HEX + COOKIE + parameters)
            self.assertEqual(len(connect), size)
            self.assertEqual(decode(connect)["payload"], b"")

    def test_refuse(self):
        self.assertEqual(decode(sealed("05 02" + CLIENT_HEX + "04 01020304"))["detail"], 0x01020304)
        for text in ("05 00000000", "02 00000001", "02 000000", "02 00000000 00"):
            with self.assertRaises(Malformed):
                decode(sealed("05 02" + CLIENT_HEX + text))

    def test_query_and_answer(self):
        out = decode(sealed("06 02 1122334455667788 0102030405060708"))
        self.assertEqual((out["nonce"], out["padding"]), (0x0102030405060708, b""))
        out = decode(sealed("07 02 0102030405060708 6869"))
        self.assertEqual((out["type"], out["payload"]), ("ANSWER", b"hi"))

    def test_crc(self):
        good = sealed("07 02 0102030405060708 6869")
        for i in range(len(good)):
            bad = bytearray(good)
            bad[i] ^= 1
            with self.assertRaises(Malformed):
                decode(bytes(bad))

    def test_kinds(self):
        for kind in [0] + list(range(8, 0x80)):
            with self.assertRaises(Malformed):
                decode(sealed(f"{kind:02x} 02" + "00" * 60))

    def test_every_cut(self):
        whole = h("03 02 1122334455667788" + CLIENT_HEX + COOKIE + PARAMETERS)
        for end in range(2, len(whole)):
            with self.assertRaises(Malformed):
                decode(sealed(whole[:end].hex()))


class Noise(unittest.TestCase):
    def test_never_another_exception(self):
        # A small generator of its own, so that a failure can be repeated.
        state = 12345
        for _ in range(20000):
            data = bytearray()
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            length = state >> 58
            for _ in range(length):
                state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
                data.append(state >> 56)
            if data and data[0] & 0x80:
                data[0] &= 0xBC
                data[0] |= 0x0C
            try:
                decode(bytes(data), accept_reserved=True)
            except Malformed:
                pass


if __name__ == "__main__":
    unittest.main()
