"""A model of giving up and of loose streams, PROTOCOL.md 3.5: one stream, its sender and its receiver.

Frames go through their bytes and the decoder; beside that, offsets are kept whole, so that the model knows what was
meant. Each side can be told to break a rule: see BROKEN. The network between them is in test_giving_up.py.
"""

from collections import Counter
from dataclasses import dataclass, field

from bowline_decode import U32, Malformed, Misbehaviour, Reader, decode_frame, encode_varint, expand_offset

RELIABLE, UNORDERED, LATEST = MODES = range(3)
CAPACITY = 60  # bytes of the stream that a packet holds
LONGEST = 500  # reliable_max
VOID = -1  # a byte that came in a VOID

# What one of the sides can be told to do, against the rules, and the modes in which that shows.
BROKEN = {
    "a lost VOID stays lost": MODES,
    "a VOID begins where another ended": MODES,
    "a VOID ends anywhere": (RELIABLE,),
    "a VOID is not for q": (RELIABLE,),
    "short offsets of bytes that were acknowledged": (RELIABLE,),
    "what arrived before is taken again": (UNORDERED, LATEST),
    "no keys are remembered": (LATEST,),
    "keys are forgotten once b has passed": (LATEST,),
    "what is passed over is not for credit": (RELIABLE,),
}


class Stale(Exception):
    """The packet is dropped."""


@dataclass(eq=False)
class Message:
    key: int
    data: bytes  # with its prefix
    begin: int | None = None  # in the stream
    given_up: bool = False

    @property
    def end(self) -> int:
        return self.begin + len(self.data)


@dataclass(eq=False)
class Packet:
    number: int
    frames: bytes = b""
    ranges: list = field(default_factory=list)  # of the stream, for the sender to remember


def u32(offset: int) -> bytes:
    return (offset % U32).to_bytes(4, "big")


def nearest(offset: int, base: int) -> int:
    """An offset of 32 bits, whole again."""
    return base + (offset - base + U32 // 2) % U32 - U32 // 2


# Frames of channel 0, with the length of their data.


def sized(data: bytes) -> bytes:
    return encode_varint(len(data)) + data


def reliable(begin: int, data: bytes, short: bool = False) -> bytes:
    return (b"\x70" + u32(begin)[3:] if short else b"\x90" + u32(begin)) + sized(data)


def loose(mode: int, begin: int, data: bytes, back: int | None = None) -> bytes:
    """Whole messages, or with `back` a part of one."""
    latest = mode == LATEST
    if back is None:
        return bytes([0xF0, latest]) + u32(begin) + sized(data)
    return bytes([0xF0, latest | 2]) + u32(begin) + encode_varint(back) + sized(data)


def void(mode: int, begin: int, end: int) -> bytes:
    return bytes([4, mode, 0]) + u32(begin) + encode_varint(end - begin)


def key_of(message: bytes) -> bytes:
    reader = Reader(message)
    reader.varint("length")
    return reader.bytes(4, "key")


class Sender:
    def __init__(self, random, mode: int, initial: int, credit: int, broken: str = ""):
        self.random, self.mode, self.broken = random, mode, broken
        self.limit = initial + credit
        self.top = initial  # where the next message will begin
        self.end = initial  # of what was ever sent
        self.unacked = initial  # the first byte not known to be acknowledged
        self.queue = []  # messages that have no offset yet
        self.owner = {}  # offset: its message
        self.pending = set()  # what is to be sent, or sent again
        self.acked = set()
        self.cuts = set()  # where a VOID ended at the limit
        self.number = 0
        self.seen = Counter()  # of what is worth having happened

    def give_up(self, message: Message) -> None:
        if message.begin is None:
            self.queue.remove(message)
            message.given_up = True
            return
        unknown = set(range(message.begin, message.end)) - self.acked
        if unknown:
            message.given_up = True
            self.pending |= unknown
            self.seen["given up in part"] += len(unknown) < len(message.data)

    def packet(self) -> Packet | None:
        while self.queue and self.top < min(self.limit, self.end + CAPACITY):
            message = self.queue.pop(0)
            message.begin = self.top
            self.top = message.end
            places = range(message.begin, message.end)
            self.owner |= dict.fromkeys(places, message)
            self.pending |= set(places)
        self.number += self.random.choice((1, 1, 1, 2))
        packet = Packet(self.number)
        for _ in range(self.random.choice((1, 1, 2, 3))):
            todo = [at for at in self.pending if at < self.limit]
            if not todo:
                break
            at = min(todo) if self.random.random() < 0.5 else self.random.choice(todo)
            begin, end, frame = self.frame(at)
            self.end = max(self.end, end)
            self.pending.difference_update(range(begin, end))
            packet.frames += frame
            packet.ranges.append((begin, end))
        return packet if packet.ranges else None

    def frame(self, at: int) -> tuple[int, int, bytes]:
        """A frame that brings at least the byte `at`."""
        if self.owner[at].given_up:
            return self.void_frame(at)
        return self.reliable_frame(at) if self.mode == RELIABLE else self.loose_frame(at)

    def void_frame(self, at: int) -> tuple[int, int, bytes]:
        message = self.owner[at]
        begin, end = message.begin, message.end
        if self.broken == "a VOID begins where another ended":
            begin = max([begin] + [cut for cut in self.cuts if cut <= at])
        if self.broken == "a VOID ends anywhere":
            end = self.random.randrange(at + 1, end + 1)
        while begin == self.owner[begin].begin and self.joins(begin - 1):
            begin = self.owner[begin - 1].begin
        while end == self.owner[end - 1].end and self.joins(end):
            end = self.owner[end].end
        if end > self.limit:
            end = self.limit
            self.cuts.add(end)
        self.seen["a VOID of more than one that was cut"] += any(begin < cut < end for cut in self.cuts)
        self.seen["a VOID of several messages"] += self.owner[begin] is not self.owner[end - 1]
        return begin, end, void(self.mode, begin, end)

    def joins(self, at: int) -> bool:
        return at in self.owner and self.owner[at].given_up and self.random.random() < 0.5

    def reliable_frame(self, at: int) -> tuple[int, int, bytes]:
        begin, end = at, at + 1
        for _ in range(self.random.choice((0, 0, 5))):
            if begin - 1 in self.owner and not self.owner[begin - 1].given_up:
                begin -= 1
        most = min(begin + self.random.choice((1, 10, CAPACITY)), self.limit)
        while end < most and end in self.owner and not self.owner[end].given_up:
            end += 1
        first = self.unacked
        if self.broken != "short offsets of bytes that were acknowledged":
            first = min(first, begin)
        return begin, end, reliable(begin, self.stream(begin, end), short=max(self.end, end) - first < 128)

    def loose_frame(self, at: int) -> tuple[int, int, bytes]:
        message = self.owner[at]
        begin, end = message.begin, message.end
        fits = len(message.data) <= CAPACITY and end <= self.limit
        if not fits or self.random.random() < 0.2:
            begin = max(begin, at - self.random.choice((0, 0, 10)))
            end = min(end, self.limit, at + self.random.choice((1, 10, CAPACITY)))
            return begin, end, loose(self.mode, begin, self.stream(begin, end), back=begin - message.begin)
        while (message := self.owner.get(end)) and self.random.random() < 0.6:
            if message.given_up or message.end > min(self.limit, begin + CAPACITY):
                break
            end = message.end
        return begin, end, loose(self.mode, begin, self.stream(begin, end))

    def stream(self, begin: int, end: int) -> bytes:
        return bytes(self.owner[at].data[at - self.owner[at].begin] for at in range(begin, end))

    def on_ack(self, packet: Packet) -> None:
        for begin, end in packet.ranges:
            self.acked.update(range(begin, end))
            self.pending.difference_update(range(begin, end))
        while self.unacked in self.acked:
            self.unacked += 1

    def on_lost(self, packet: Packet) -> None:
        for begin, end in packet.ranges:
            again = set(range(begin, end)) - self.acked
            if self.broken == "a lost VOID stays lost":
                again = {at for at in again if not self.owner[at].given_up}
            self.pending |= again

    def on_credit(self, frame: bytes) -> None:
        self.limit = max(self.limit, nearest(decode_frame(Reader(frame))["limit"], self.limit))

    def rests(self) -> bool:
        return not self.queue and self.unacked == self.top


class Receiver:
    def __init__(self, mode: int, initial: int, window: int, credit: int, broken: str = ""):
        self.mode, self.window, self.broken = mode, window, broken
        self.limit = initial + credit
        self.initial = initial
        self.b = initial  # all before it has arrived
        self.q = -1
        self.next = initial  # mode reliable: the first byte neither handed over nor passed over
        self.begins = set()  # loose: of messages that began to arrive, and are neither whole nor void
        self.bytes = {}  # what arrived: from `floor` on
        self.numbers = {}  # which packet brought what lies beyond b
        self.keys = {}  # of messages delivered that lie beyond b: the highest offset
        self.delivered = []  # (begin, message)
        self.unread = []  # likewise, what the application did not take yet

    def floor(self) -> int:
        """No byte before it is needed any more."""
        return self.next if self.mode == RELIABLE else min(self.begins | {self.b})

    def receive(self, packet: Packet) -> None:
        reader, frames = Reader(packet.frames), []
        while reader.left():
            frame = decode_frame(reader)
            frames.append((frame, *self.place(frame, packet.number)))
        # All of the packet was checked, and read with the b and q from before it. Now it acts.
        for frame, begin, end in frames:
            new = [at for at in range(begin, end) if at >= self.b and at not in self.bytes]
            if frame["frame"] == "LOOSE" and self.broken == "what arrived before is taken again":
                new = range(begin, end)
            if not new:
                continue
            if frame["frame"] == "VOID":
                for at in range(max(begin, self.floor()), end):
                    self.bytes[at] = VOID
                self.begins -= set(range(begin, end))
                if self.broken == "a VOID is not for q":
                    continue
            else:
                self.take(frame, begin, new)
            self.numbers |= dict.fromkeys(new, packet.number)
        while self.b in self.bytes:
            self.q = max(self.q, self.numbers.pop(self.b, -1))
            self.b += 1
        if self.broken == "keys are forgotten once b has passed":
            self.forget_keys()
        if self.mode == RELIABLE:
            self.read_on()
        else:
            self.pick()
        self.forget_keys()
        floor = self.floor()
        self.bytes = {at: byte for at, byte in self.bytes.items() if at >= floor}

    def place(self, frame: dict, number: int) -> tuple[int, int]:
        if "messages" in frame:
            frame["data"] = b"".join(encode_varint(len(message)) + message for message in frame["messages"])
        if "offset_low" in frame:
            if number < self.q:
                raise Stale
            begin = nearest(expand_offset(frame["offset_low"], self.b % U32), self.b)
        else:
            begin = nearest(frame["offset"], self.b)
        end = begin + (frame["length"] if frame["frame"] == "VOID" else len(frame["data"]))
        if end > self.limit:
            raise Misbehaviour("beyond the limit")
        return begin, end

    def take(self, frame: dict, begin: int, new: list[int]) -> None:
        for at in new:
            self.bytes[at] = frame["data"][at - begin]
        if "back" in frame:
            self.begins.add(begin - frame["back"])
        for message in frame.get("messages", ()):
            end = begin + len(encode_varint(len(message))) + len(message)
            if any(begin <= at < end for at in new):
                self.begins.add(begin)
            begin = end

    def scan(self, begin: int) -> tuple[int | None, int | None]:
        """What is here of the message that begins there: its end, if that is known, and the first byte that is
        missing."""
        head = bytearray()
        end, at = None, begin
        while end is None or at < end:
            byte = self.bytes.get(at)
            if byte is None:
                return end, at
            if byte == VOID:
                raise Misbehaviour("a part of a message is void")
            at += 1
            if end is None:
                head.append(byte)
                end = self.end_told(begin, bytes(head))
        return end, None

    def end_told(self, begin: int, head: bytes) -> int | None:
        """Where the message ends, once all of its length is here."""
        sizes = ((1, 0x80), (2, 0xC0), (3, 0xE0), (4, 0xF0))
        if len(head) < next((size for size, bound in sizes if head[0] < bound), 1):
            return None
        try:
            length = Reader(head).varint("length")
        except Malformed as error:
            raise Misbehaviour(error.reason) from None
        if length > LONGEST or (self.mode == LATEST and length < 4):
            raise Misbehaviour(f"a message of {length} bytes")
        return begin + len(head) + length

    def read_on(self) -> None:
        """Mode reliable: hands over what is whole, passes over what is void."""
        while True:
            while self.bytes.get(self.next) == VOID:
                self.next += 1
            end, missing = self.scan(self.next)
            if missing is not None:
                return
            self.hand_over(self.next, end)
            self.next = end

    def pick(self) -> None:
        """Loose streams: hands over what is whole."""
        for begin in sorted(self.begins):
            end, missing = self.scan(begin)
            if missing is None:
                self.begins.remove(begin)
                if not self.outdated(begin, end):
                    self.hand_over(begin, end)

    def outdated(self, begin: int, end: int) -> bool:
        """Whether a newer message of the same key was delivered."""
        if self.mode != LATEST:
            return False
        key = key_of(self.message(begin, end))
        if begin < self.keys.get(key, begin):
            return True
        if self.broken != "no keys are remembered":
            self.keys[key] = begin
        return False

    def forget_keys(self) -> None:
        self.keys = {key: begin for key, begin in self.keys.items() if begin >= self.b}

    def message(self, begin: int, end: int) -> bytes:
        return bytes(self.bytes[at] for at in range(begin, end))

    def hand_over(self, begin: int, end: int) -> None:
        self.unread.append((begin, self.message(begin, end)))
        self.delivered.append(self.unread[-1])

    def raise_limit(self) -> int:
        floor = self.floor()
        base = min([floor] + [begin for begin, _ in self.unread])
        if self.broken == "what is passed over is not for credit":
            base = sum(len(message) for _, message in self.delivered) + self.initial
        if self.limit - base <= self.window // 2:
            self.limit = base + self.window
        end, missing = self.scan(floor)
        if base == floor and missing is not None and missing > floor:
            # A message longer than the credit, or whose length is cut off.
            self.limit = max(self.limit, floor + 4 if end is None else end)
        return self.limit
