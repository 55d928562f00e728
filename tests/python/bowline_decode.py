#!/usr/bin/env python3
"""Decoder of the bowline wire protocol, version 2, written from PROTOCOL.md alone.

Section numbers in comments are those of PROTOCOL.md. "GAP" names an entry of GAPS.md where the decoder
chose for itself. Where several faults are in a datagram, the first counts, in the order of vectors/README.md.

What depends on the session is dropped here, but is taken in the vectors, which show the decoding alone:
REPEAT and PARITY (`accept_reserved`), and numbers of less than 4 bytes without integrity
(`accept_short_numbers`).

    python3 bowline_decode.py HEX [--cid 4] [--integrity 1] [--client-half N] [--server-half N]
                                  [--direction 0] [--expected N] [--reserved] [--short-numbers]
"""

import argparse
import json
import sys
import zlib

U32 = 1 << 32
U64 = 1 << 64

VERSION = 2
VARINT_MAX = (1 << 28) - 1


class Malformed(Exception):
    """The datagram is dropped (section 1)."""

    category = "malformed"

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class CutShort(Malformed):
    """The datagram ends before a field does."""

    category = "truncated"


class BadCrc(Malformed):
    """The integrity check (3.2) or the CRC of a handshake datagram (4) fails."""

    category = "corrupt"


class Unexpected(Malformed):
    """Well formed, but of the kinds that this version drops (3.7)."""

    category = "unexpected"


class BadVersion(Malformed):
    """A handshake datagram of another version, of a kind whose layout we cannot know (4)."""

    category = "unknown_version"


class Misbehaviour(Exception):
    """What section 3.8 calls misbehaviour of the peer."""


# ---------------------------------------------------------------- section 1: integers


class Reader:
    """Reads fields off the front of a datagram."""

    def __init__(self, data: bytes, pos: int = 0, end: int | None = None):
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else end

    def left(self) -> int:
        return self.end - self.pos

    def bytes(self, count: int, what: str) -> bytes:
        if count > self.left():
            raise CutShort(f"{what}: {count} bytes wanted, {self.left()} left")
        out = self.data[self.pos : self.pos + count]
        self.pos += count
        return out

    def uint(self, size: int, what: str) -> int:
        """Integers of fixed size are unsigned and big-endian (1)."""
        return int.from_bytes(self.bytes(size, what), "big")

    def varint(self, what: str) -> int:
        """Section 1: the leading ones of the first byte tell how many bytes follow."""
        first = self.uint(1, what)
        if first < 0x80:
            return first
        if first < 0xC0:
            follow, value, least = 1, first & 0x3F, 1 << 7
        elif first < 0xE0:
            follow, value, least = 2, first & 0x1F, 1 << 14
        elif first < 0xF0:
            follow, value, least = 3, first & 0x0F, 1 << 21
        else:
            raise Malformed(f"{what}: unused first byte of a varint, {first:#04x}")
        value = value << (8 * follow) | self.uint(follow, what)
        if value < least:
            raise Malformed(f"{what}: varint not in shortest form")
        return value

    def rest(self) -> bytes:
        return self.bytes(self.left(), "rest")


def encode_varint(value: int) -> bytes:
    """The shortest form, the only one allowed (1). For tests."""
    if value < 0 or value > VARINT_MAX:
        raise ValueError("does not fit a varint")
    if value < 1 << 7:
        return value.to_bytes(1, "big")
    if value < 1 << 14:
        return (0x8000 | value).to_bytes(2, "big")
    if value < 1 << 21:
        return (0xC00000 | value).to_bytes(3, "big")
    return (0xE0000000 | value).to_bytes(4, "big")


# ---------------------------------------------------------------- section 3.1: packet numbers


def expand_number(low: int, nbytes: int, expected: int) -> int:
    """3.1: of the numbers with these low bytes the one in e - half < number <= e + half."""
    space = 1 << (8 * nbytes)
    half = space >> 1
    # The least candidate above e - half.
    floor = expected - half + 1
    number = floor + (low - floor) % space
    assert expected - half < number <= expected + half
    if number < 0:
        number += space
    if number >= U64:
        raise Malformed("packet number beyond 64 bits")  # never reached in practice; GAP 3.1d
    return number


AHEAD = 65536


def number_bytes(number: int, a: int, integrity: int) -> int | None:
    """3.1: how many bytes a sender uses; None when it may not send at all.

    `a` is the largest number known to be acknowledged, *initial* before the first.
    """
    if number - a >= AHEAD:
        return None
    if not integrity:
        return 4
    return next(n for n in (1, 2, 3) if number - a < 1 << (8 * n - 1))


def plausible(number: int, expected: int, initial: int) -> bool:
    """3.1: neither below *initial* (stale) nor further ahead of `e` than any sender may be."""
    return initial <= number < expected + AHEAD


# ---------------------------------------------------------------- section 3.2: integrity


def session_secret(client_half: int, server_half: int) -> int:
    """3.2, item 1."""
    rotated = (server_half << 32 | server_half >> 32) & (U64 - 1)
    return (client_half + rotated) % U64


def packet_crc(covered: bytes, *, client_half: int, server_half: int, direction: int, number: int) -> int:
    """3.2: the CRC-32 of Ethernet and zlib over secret, direction, number, packet."""
    prefix = (
        session_secret(client_half, server_half).to_bytes(8, "big")
        + direction.to_bytes(1, "big")
        + number.to_bytes(8, "big")
    )
    return zlib.crc32(prefix + covered)


# ---------------------------------------------------------------- section 3.3: ack blocks


def decode_ack(r: Reader, form: int) -> dict | None:
    """3.3. L cannot be expanded without the state of the session, so ranges are left relative to it."""
    if form == 0:
        return None
    size = 2 if form == 3 else 1
    ack = {"form": form, "low": r.uint(size, "ack: low bytes of L")}
    if form == 1:
        return ack
    byte = r.uint(1, "ack: delay")
    ack["delay"] = byte & 0x7F
    ack["first"] = r.varint("ack: first")
    ack["ranges"] = []
    if byte & 0x80:
        count = r.uint(1, "ack: count")
        if not 1 <= count <= 31:
            raise Malformed(f"ack: count of ranges is {count}")
        for _ in range(count):
            gap = r.varint("ack: gap")
            more = r.varint("ack: more")
            ack["ranges"].append([gap, more])
    return ack


def expand_largest(low: int, nbytes: int, a: int, s: int) -> int | None:
    """3.3, "Expanding L": the smallest number >= a with the low bytes given.

    None when the block is ambiguous and not handled; Misbehaviour when L > S. `a` is *initial* before
    the first acknowledgement; some lines of vectors/largest.txt have -1, a number like any other to this.
    """
    space = 1 << (8 * nbytes)
    if s - a >= space:  # with two bytes a sender never lets it come to this
        return None
    largest = a + (low - a) % space
    if largest > s:
        raise Misbehaviour(f"L is {largest}, but {s} is the largest number sent")
    return largest


def acked_ranges(ack: dict, largest: int, initial: int) -> list[tuple[int, int]]:
    """3.3: the inclusive ranges (low, high) that a block acknowledges, newest first."""
    if ack["form"] == 1:
        return [(max(largest - 7, initial), largest)]
    low = largest - ack["first"]
    out = [(low, largest)]
    for gap, more in ack["ranges"]:
        high = low - (gap + 1) - 1
        low = high - more
        out.append((low, high))
    if low < 0:
        raise Malformed("ack: numbers below 0")
    if low < initial:
        raise Misbehaviour("ack: numbers below initial")
    return out


# ---------------------------------------------------------------- section 3.5: short offsets


def expand_offset(low: int, base: int) -> int:
    """3.5: the offset nearest to b with that low byte, b - 128 ..= b + 127, modulo 2^32 (section 2)."""
    return (base - 128 + (low - (base - 128)) % 256) % U32


# ---------------------------------------------------------------- section 2: prefixed messages


def decode_messages(data: bytes) -> list[bytes]:
    """Whole prefixed messages, at least one (2, 3.4)."""
    r = Reader(data)
    messages = []
    try:
        while r.left():
            length = r.varint("message: length")
            messages.append(r.bytes(length, "message"))
    except CutShort as error:
        # The frame is whole, its contents are not: malformed, not truncated.
        raise Malformed(error.reason) from None
    if not messages:
        raise Malformed("no message")
    return messages


# ---------------------------------------------------------------- section 3.4: frames

KINDS = {
    1: "UNRELIABLE",
    2: "UNRELIABLE_ORDERED",
    3: "RELIABLE_SHORT",
    4: "RELIABLE_LONG",
    5: "UNRELIABLE_FRAGMENT",
    6: "UNRELIABLE_ORDERED_FRAGMENT",
    7: "LOOSE",
}

FRAGMENTS = (5, 6)

# 3.7: what *stream* of CREDIT and VOID tells.
STREAMS = ("reliable", "reliable-unordered", "reliable-latest")


def at_least(least: int, value: int, what: str) -> int:
    if value < least:
        raise Malformed(f"{what} is {value}")
    return value


def decode_stream(r: Reader, what: str) -> int:
    stream = r.uint(1, f"{what}: stream")
    if stream >= len(STREAMS):
        raise Malformed(f"{what}: stream {stream}")
    return stream


def decode_control(r: Reader, byte: int) -> dict:
    """3.7. The type of a control frame is the low five bits, that is: bit 4 is no L here."""
    if byte == 0x00:
        return {"frame": "PADDING"}
    if byte == 0x01:
        return {"frame": "PING"}
    if byte == 0x02:
        frame = {"frame": "CREDIT", "stream": decode_stream(r, "CREDIT"), "channel": r.uint(1, "channel")}
        return frame | {"limit": r.uint(4, "limit")}
    if byte == 0x03:
        cause = r.uint(1, "cause")
        if cause > 1:
            raise Malformed(f"CLOSE: cause {cause}")  # 3.8
        reason = r.uint(4, "reason")
        if cause == 1 and reason != 0:
            raise Malformed("CLOSE: cause 1 with a reason")  # 3.8
        return {"frame": "CLOSE", "cause": cause, "reason": reason}
    if byte == 0x04:
        frame = {"frame": "VOID", "stream": decode_stream(r, "VOID"), "channel": r.uint(1, "channel")}
        frame["offset"] = r.uint(4, "offset")
        return frame | {"length": at_least(1, r.varint("length"), "VOID: length")}
    if byte == 0x05:
        distance = at_least(1, r.varint("distance"), "REPEAT: distance")
        channel = r.uint(1, "channel")
        length = at_least(1, r.varint("length"), "REPEAT: length")
        messages = decode_messages(r.bytes(length, "REPEAT: data"))
        return {"frame": "REPEAT", "distance": distance, "channel": channel, "messages": messages}
    if byte == 0x06:
        # Distance < count and length < 2 make no sense, but nobody sends it yet; GAP 3.7c
        distance = at_least(1, r.varint("distance"), "PARITY: distance")
        count = r.uint(1, "count")
        if not 2 <= count <= 32:
            raise Malformed(f"PARITY: count {count}")
        length = at_least(1, r.varint("length"), "PARITY: length")
        data = r.bytes(length, "PARITY: data")
        return {"frame": "PARITY", "distance": distance, "count": count, "data": data}
    raise Malformed(f"control frame of type {byte:#04x}")


def decode_frame(r: Reader) -> dict:
    byte = r.uint(1, "frame type")
    kind = byte >> 5
    if kind == 0:
        return decode_control(r, byte)
    has_length = bool(byte & 0x10)
    channel = byte & 0x0F
    if channel == 15:
        channel = r.uint(1, "channel")
        if channel < 15:
            raise Malformed(f"channel {channel} in the long form")
    frame = {"frame": KINDS[kind], "channel": channel}

    # Then the fields of the kind.
    if kind == 3:
        frame["offset_low"] = r.uint(1, "offset")
    elif kind == 4:
        frame["offset"] = r.uint(4, "offset")
    elif kind in FRAGMENTS:
        frame["id"] = r.uint(2, "message id")
        frame["offset"] = r.varint("offset")
        frame["total"] = r.varint("total")
    elif kind == 7:
        what = r.uint(1, "what")
        if what > 3:
            raise Malformed(f"LOOSE: what is {what:#04x}")
        frame["latest"] = bool(what & 1)
        frame["offset"] = r.uint(4, "offset")
        if what & 2:
            frame["back"] = r.varint("back")

    # Then, if L is 1, the length of the data; otherwise they go on to the end of the packet.
    length = r.varint("length") if has_length else r.left()
    if length == 0:
        raise Malformed("frame without data")
    data = r.bytes(length, "data")
    frame["has_length"] = has_length

    if kind <= 2 or (kind == 7 and "back" not in frame):
        frame["messages"] = decode_messages(data)
    else:
        frame["data"] = data
    if kind in FRAGMENTS:
        # 3.6
        if frame["total"] < 1:
            raise Malformed("fragment: total is 0")
        if frame["offset"] + length > frame["total"]:
            raise Malformed("fragment: beyond the total")
    return frame


RESERVED = ("REPEAT", "PARITY")


def decode_packet(
    datagram: bytes,
    *,
    connection_id_len: int,
    integrity: int,
    client_half: int,
    server_half: int,
    direction: int,
    expected: int,
    accept_reserved: bool = False,
    accept_short_numbers: bool = False,
) -> dict:
    """A session packet (3)."""
    r = Reader(datagram)
    flags = r.uint(1, "flags")
    if flags < 0x80:
        raise Malformed("not a session packet")
    if flags & 0x40:
        raise Malformed("key phase 1 in a plain session")
    if flags & 0x03:
        raise Malformed("bits 1 and 0 of the flags are not 0")
    form = flags >> 4 & 3
    nbytes = (flags >> 2 & 3) + 1
    connection_id = r.bytes(connection_id_len, "connection id")
    low = r.uint(nbytes, "packet number")
    if integrity == 0 and nbytes < 4 and not accept_short_numbers:
        raise Malformed(f"number of {nbytes} bytes without integrity")  # 3.1
    if integrity == 1:
        if r.left() < 4:
            raise CutShort("no room for the integrity trailer")
        r.end -= 4
    number = expand_number(low, nbytes, expected)
    if integrity == 1:
        want = packet_crc(
            datagram[: r.end],
            client_half=client_half,
            server_half=server_half,
            direction=direction,
            number=number,
        )
        if want != int.from_bytes(datagram[r.end :], "big"):
            raise BadCrc("integrity")

    ack = decode_ack(r, form)
    if ack is None and not r.left():
        raise Malformed("neither frames nor ack block")  # 3
    frames = []
    ordered_channels = set()
    while r.left():
        frame = decode_frame(r)
        if frame["frame"] == "UNRELIABLE_ORDERED":
            if frame["channel"] in ordered_channels:
                raise Malformed("a second UNRELIABLE_ORDERED frame of a channel")  # 3.4
            ordered_channels.add(frame["channel"])
        frames.append(frame)
    if not accept_reserved and any(f["frame"] in RESERVED for f in frames):
        raise Unexpected("REPEAT or PARITY")  # 3.7
    return {
        "type": "packet",
        "connection_id": connection_id,
        "number_len": nbytes,
        "number": number,
        "ack": ack,
        "frames": frames,
        # 3.3: "any frame but PADDING"
        "ack_eliciting": any(f["frame"] != "PADDING" for f in frames),
    }


# ---------------------------------------------------------------- section 4: handshake datagrams


def decode_parameters(r: Reader) -> dict:
    p = {}
    cid_len = r.uint(1, "connection id: length")
    if cid_len not in (0, 4):
        raise Malformed(f"connection id of {cid_len} bytes")
    p["connection_id"] = r.bytes(cid_len, "connection id")
    p["initial"] = r.uint(4, "initial")
    p["integrity"] = r.uint(1, "integrity")
    if p["integrity"] > 1:
        raise Malformed("parameters: integrity")
    p["datagram_max"] = r.uint(2, "datagram_max")
    if p["datagram_max"] < 64:
        raise Malformed("parameters: datagram_max")
    p["channels"] = r.uint(1, "channels") + 1  # on the wire less one
    p["ack_delay"] = r.uint(1, "ack_delay")
    if p["ack_delay"] > 124:
        raise Malformed("parameters: ack_delay")
    p["idle_timeout"] = r.varint("idle_timeout")
    if p["idle_timeout"] < 100:
        raise Malformed("parameters: idle_timeout")
    p["credit"] = r.varint("credit")
    if p["credit"] < 1:
        raise Malformed("parameters: credit")
    p["loose_credit"] = r.uint(1, "loose_credit")  # the power of two
    if p["loose_credit"] != 0 and not 4 <= p["loose_credit"] <= 27:
        raise Malformed("parameters: loose_credit")
    p["reliable_max"] = r.varint("reliable_max")
    p["ordered_max"] = r.varint("ordered_max")
    p["unreliable_max"] = r.varint("unreliable_max")
    return p


def decode_handshake(datagram: bytes) -> dict:
    if len(datagram) < 6:
        raise CutShort("no room for kind, version and CRC")
    r = Reader(datagram, end=len(datagram) - 4)
    if zlib.crc32(datagram[: r.end]) != int.from_bytes(datagram[r.end :], "big"):
        raise BadCrc("CRC of a handshake datagram")
    kind = r.uint(1, "kind")
    version = r.uint(1, "version")
    # "First two bytes, application, client half and the closing CRC of HELLO, and all of REFUSE, have
    # the same place in every version."
    if version != VERSION and kind not in (1, 5):
        raise BadVersion(f"version {version}")
    if not 1 <= kind <= 7:
        raise Malformed(f"handshake datagram of kind {kind}")

    if kind == 1:
        if len(datagram) < 40:
            raise CutShort("HELLO of less than 40 bytes")
        out = {"type": "HELLO", "application": r.uint(8, "application"), "client_half": r.uint(8, "client half")}
        out["padding"] = r.rest()
    elif kind == 2:
        out = {"type": "CHALLENGE", "client_half": r.uint(8, "client half"), "cookie": r.bytes(12, "cookie")}
    elif kind == 3:
        out = {"type": "CONNECT", "application": r.uint(8, "application"), "client_half": r.uint(8, "client half")}
        out["cookie"] = r.bytes(12, "cookie")
        out["parameters"] = decode_parameters(r)
        out["payload"] = r.rest()
    elif kind == 4:
        out = {"type": "ACCEPT", "client_half": r.uint(8, "client half"), "server_half": r.uint(8, "server half")}
        out["parameters"] = decode_parameters(r)
    elif kind == 5:
        out = {"type": "REFUSE", "client_half": r.uint(8, "client half")}
        out["code"] = r.uint(1, "code")
        if out["code"] > 4:
            raise Malformed(f"REFUSE: code {out['code']}")
        out["detail"] = r.uint(4, "detail")
        if out["code"] != 4 and out["detail"] != 0:
            raise Malformed("REFUSE: detail is not 0")
    elif kind == 6:
        out = {"type": "QUERY", "application": r.uint(8, "application"), "nonce": r.uint(8, "nonce")}
        out["padding"] = r.rest()
    else:
        out = {"type": "ANSWER", "nonce": r.uint(8, "nonce"), "payload": r.rest()}
    if r.left():
        raise Malformed(f"{r.left()} bytes after the contents")
    out["version"] = version
    return out


def decode(
    datagram: bytes,
    *,
    connection_id_len: int = 0,
    integrity: int = 0,
    client_half: int = 0,
    server_half: int = 0,
    direction: int = 0,
    expected: int = 0,
    accept_reserved: bool = False,
    accept_short_numbers: bool = False,
) -> dict:
    """Decodes one datagram; raises Malformed when it is to be dropped.

    `connection_id_len` is that of the receiver, `expected` is `e` of 3.1.
    """
    if not datagram:
        raise CutShort("empty datagram")  # 1
    if datagram[0] < 0x80:
        return decode_handshake(datagram)
    return decode_packet(
        datagram,
        connection_id_len=connection_id_len,
        integrity=integrity,
        client_half=client_half,
        server_half=server_half,
        direction=direction,
        expected=expected,
        accept_reserved=accept_reserved,
        accept_short_numbers=accept_short_numbers,
    )


def jsonable(value):
    """Bytes as hexadecimal digits."""
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, dict):
        return {k: jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    return value


def main() -> int:
    number = lambda text: int(text, 0)  # noqa: E731
    parser = argparse.ArgumentParser(description="decode one datagram of the bowline protocol")
    parser.add_argument("hex")
    parser.add_argument("--cid", type=int, default=0, choices=(0, 4), help="length of the connection id")
    parser.add_argument("--integrity", type=int, default=0, choices=(0, 1))
    parser.add_argument("--client-half", type=number, default=0)
    parser.add_argument("--server-half", type=number, default=0)
    parser.add_argument("--direction", type=int, default=0, choices=(0, 1))
    parser.add_argument("--expected", type=number, default=0, help="one more than the largest number accepted")
    parser.add_argument("--reserved", action="store_true", help="show REPEAT and PARITY instead of dropping")
    parser.add_argument("--short-numbers", action="store_true", help="take them without integrity, as the vectors do")
    args = parser.parse_args()
    try:
        out = decode(
            bytes.fromhex(args.hex),
            connection_id_len=args.cid,
            integrity=args.integrity,
            client_half=args.client_half,
            server_half=args.server_half,
            direction=args.direction,
            expected=args.expected,
            accept_reserved=args.reserved,
            accept_short_numbers=args.short_numbers,
        )
    except Malformed as error:
        print(json.dumps({"error": error.category, "reason": error.reason}, indent=2))
        return 1
    print(json.dumps(jsonable(out), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
