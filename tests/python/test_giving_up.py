"""Tests of the rules of PROTOCOL.md 3.5, "Giving up" and "Loose streams", on the model of giving_up.py.

    python3 -m unittest test_giving_up        (in this directory)
"""

import random
import unittest
from collections import Counter

from bowline_decode import U32, Misbehaviour, Reader, decode_frame
from giving_up import (
    BROKEN,
    LATEST,
    LONGEST,
    MODES,
    RELIABLE,
    UNORDERED,
    Message,
    Packet,
    Receiver,
    Sender,
    Stale,
    loose,
    reliable,
    sized,
    u32,
    void,
)

NAMES = ("reliable", "reliable-unordered", "reliable-latest")


class Wrong(Exception):
    """A promise of section 2 or 3.5 is not kept."""


class Play:
    """Sends messages and gives some up, over a network that loses and reorders, until all the others have arrived."""

    MESSAGES = 25
    PATIENCE = 2000  # steps without any progress

    def __init__(self, seed: int, mode: int, initial: int = 0, broken: str = ""):
        self.random, self.mode = random.Random(seed), mode
        credit = self.random.choice((1, 16, 300))
        self.lengths = self.random.choice(((0, 1, 5, 20), (0, 1, 5, 20, 100, 200, 450)))
        self.sender = Sender(self.random, mode, initial, credit, broken)
        self.receiver = Receiver(mode, initial, self.random.choice((5, 40, 300)), credit, broken)
        self.told = self.receiver.limit
        self.loss = 0.15
        self.messages = []
        # On their way; and packets that were neither acknowledged nor taken for lost.
        self.packets, self.acks, self.credits, self.outstanding = [], [], [], []

    def run(self) -> Counter:
        actions = ((6, self.send), (4, self.give_up), (30, self.make), (25, self.arrive), (15, self.acknowledge))
        actions += ((6, self.lose), (4, self.read), (5, self.raise_limit), (5, self.take_credit))
        chances, actions = zip(*actions)
        before, idle = None, 0
        while len(self.messages) < self.MESSAGES or not self.sender.rests() or self.receiver.unread:
            self.random.choices(actions, chances)[0]()
            now = (len(self.messages), self.sender.unacked, self.told, len(self.receiver.unread))
            before, idle = now, idle + 1 if now == before else 0
            # If nothing moves, the network heals: who still waits then waits for ever.
            self.loss = 0.15 if idle < self.PATIENCE // 2 else 0
            if idle > self.PATIENCE:
                raise Wrong("stalled")
        self.late_packets()
        judge(self.mode, self.messages, self.receiver.delivered)
        if self.receiver.bytes or self.receiver.begins or self.receiver.keys or self.receiver.numbers:
            raise Wrong("the receiver remembers something for ever")
        begins = {begin for begin, _ in self.receiver.delivered}
        given_up = [message for message in self.messages if message.given_up]
        self.sender.seen["given up and not delivered"] += sum(message.begin not in begins for message in given_up)
        self.sender.seen["given up and delivered"] += sum(message.begin in begins for message in given_up)
        return self.sender.seen

    def gets_lost(self) -> bool:
        return self.random.random() < self.loss

    def send(self) -> None:
        if len(self.messages) == self.MESSAGES:
            return
        message = new_message(self.random, self.mode, self.lengths)
        if self.mode == LATEST and self.random.random() < 0.5:
            for older in self.messages:
                if older.key == message.key and not older.given_up:
                    self.sender.give_up(older)
        self.messages.append(message)
        self.sender.queue.append(message)

    def give_up(self) -> None:
        message = self.random.choice(self.messages[-8:] or [None])
        if self.random.random() < 0.5:  # the one that the limit cuts
            message = self.sender.owner.get(self.sender.limit)
        if message and not message.given_up:
            self.sender.give_up(message)

    def make(self) -> None:
        if len(self.packets) < 15 and (packet := self.sender.packet()):
            self.packets.append(packet)
            self.outstanding.append(packet)

    def arrive(self) -> None:
        if not self.packets:
            return
        # The newest or any: some come very late.
        newest = self.random.random() < 0.4
        packet = self.packets.pop(-1 if newest else self.random.randrange(len(self.packets)))
        if self.gets_lost():
            return
        try:
            self.receiver.receive(packet)
            self.acks.append(packet)
        except Stale:
            pass

    def acknowledge(self) -> None:
        if not self.acks:
            return
        packet = self.acks.pop(self.random.randrange(len(self.acks)))
        if not self.gets_lost():
            self.sender.on_ack(packet)
            if packet in self.outstanding:
                self.outstanding.remove(packet)

    def lose(self) -> None:
        """A packet is taken for lost; sometimes it is only late."""
        if self.outstanding:
            self.sender.on_lost(self.outstanding.pop(0))

    def read(self) -> None:
        del self.receiver.unread[:1]

    def raise_limit(self) -> None:
        # A lost CREDIT is sent again, with the limit of that moment.
        if self.receiver.raise_limit() > self.told and not self.gets_lost():
            self.told = self.receiver.limit
            self.credits.append(bytes([2, self.mode, 0]) + u32(self.told))

    def take_credit(self) -> None:
        if self.credits:
            self.sender.on_credit(self.credits.pop(self.random.randrange(len(self.credits))))

    def late_packets(self) -> None:
        before = len(self.receiver.delivered)
        for packet in self.packets:
            try:
                self.receiver.receive(packet)
            except Stale:
                pass
        if len(self.receiver.delivered) > before:
            raise Wrong("late packets brought messages")


def new_message(random, mode: int, lengths: tuple) -> Message:
    key = random.randrange(2)
    data = random.randbytes(random.choice(lengths))
    return Message(key, sized(u32(key) + data if mode == LATEST else data))


def judge(mode: int, messages: list[Message], delivered: list[tuple[int, bytes]]) -> None:
    """What section 2 promises, and nothing else."""
    sent = {message.begin: message for message in messages if message.begin is not None}
    begins = [begin for begin, _ in delivered]
    if any(begin not in sent or sent[begin].data != data for begin, data in delivered):
        raise Wrong("delivered what was not sent")
    if len(set(begins)) < len(begins):
        raise Wrong("delivered twice")
    if mode == RELIABLE and begins != sorted(begins):
        raise Wrong("out of order")
    newest = {}
    for begin in begins if mode == LATEST else ():
        if begin < newest.get(sent[begin].key, begin):
            raise Wrong("an older one after a newer one")
        newest[sent[begin].key] = begin
    for message in messages:
        replaced = mode == LATEST and message.begin is not None and message.begin < newest.get(message.key, -1)
        if not message.given_up and message.begin not in begins and not replaced:
            raise Wrong("not delivered, though it was not given up")


class AnyNetwork(unittest.TestCase):
    def test_what_is_not_given_up_arrives(self):
        for mode in MODES:
            seen = Counter()
            for seed in range(40):
                with self.subTest(mode=NAMES[mode], seed=seed):
                    seen += Play(seed, mode, (0, U32 - 300)[seed % 2]).run()
            for what in (
                "given up in part",
                "given up and delivered",
                "given up and not delivered",
                "a VOID of more than one that was cut",
                "a VOID of several messages",
            ):
                self.assertGreater(seen[what], 10, f"{NAMES[mode]}: {what}")

    def test_each_rule_is_needed(self):
        for broken, modes in BROKEN.items():
            for mode in modes:
                with self.subTest(broken=broken, mode=NAMES[mode]), self.assertRaises((Wrong, Misbehaviour)):
                    for seed in range(100):
                        Play(seed, mode, 0, broken).run()


def part(mode: int, offset: int, message: bytes, begin: int, end: int) -> bytes:
    """Bytes `begin..end` of a message that begins at `offset` of the stream."""
    if mode == RELIABLE:
        return reliable(offset + begin, message[begin:end])
    return loose(mode, offset + begin, message[begin:end], back=begin)


class ByHand(unittest.TestCase):
    # Messages of 10, 400 and 8 bytes with their prefixes, which suit all modes; that their keys are the same
    # matters to none of these tests.
    A = sized(b"keyA" + b"a" * 5)
    B = sized(b"keyB" + b"b" * 394)
    C = sized(b"keyC" + b"c" * 3)

    def receiver(self, mode: int, credit: int = 1000) -> Receiver:
        self.number = 0
        return Receiver(mode, 0, 1000, credit)

    def receive(self, receiver: Receiver, *frames: bytes) -> list[bytes]:
        """What is delivered because of this packet."""
        before = len(receiver.delivered)
        self.number += 1
        receiver.receive(Packet(self.number, b"".join(frames)))
        return [message for _, message in receiver.delivered[before:]]

    def test_a_void_is_passed_over(self):
        for mode in MODES:
            r = self.receiver(mode)
            c = part(mode, 410, self.C, 0, 8)
            waiting = [self.C] if mode != RELIABLE else []
            self.assertEqual(self.receive(r, c), waiting)
            self.assertEqual(self.receive(r, void(mode, 10, 410)), [])
            self.assertEqual(self.receive(r, part(mode, 0, self.A, 0, 10)), [self.A] + [self.C][len(waiting) :])
            self.assertEqual((r.b, r.floor()), (418, 418))

    def test_what_came_before_its_void_is_delivered(self):
        for mode in MODES:
            r = self.receiver(mode)
            self.assertEqual(self.receive(r, part(mode, 0, self.A, 0, 10)), [self.A])
            self.assertEqual(self.receive(r, void(mode, 0, 410)), [])
            self.assertEqual(self.receive(r, part(mode, 410, self.C, 0, 8)), [self.C])
            # It waits for others, and for nothing else.
            r = self.receiver(mode)
            waiting = [self.C] if mode != RELIABLE else []
            self.assertEqual(self.receive(r, part(mode, 410, self.C, 0, 8)), waiting)
            self.assertEqual(self.receive(r, void(mode, 410, 418)), [])
            self.assertEqual(self.receive(r, void(mode, 0, 410)), [self.C][len(waiting) :])

    def test_what_is_not_handed_over_yet_is_not_delivered(self):
        r = self.receiver(RELIABLE)
        self.assertEqual(self.receive(r, part(RELIABLE, 410, self.C, 0, 8)), [])
        self.assertEqual(self.receive(r, void(RELIABLE, 10, 418)), [])
        self.assertEqual(self.receive(r, part(RELIABLE, 0, self.A, 0, 10)), [self.A])
        self.assertEqual(r.next, 418)

    def test_late_bytes_of_a_void_are_ignored(self):
        for mode in MODES:
            r = self.receiver(mode)
            self.receive(r, part(mode, 10, self.B, 0, 100))
            self.receive(r, void(mode, 10, 410))
            self.assertEqual(self.receive(r, part(mode, 10, self.B, 100, 400)), [])
            if mode != RELIABLE:
                self.assertEqual(self.receive(r, loose(mode, 0, self.A + self.B + self.C)), [self.A, self.C])
            else:
                self.assertEqual(self.receive(r, reliable(0, self.A + self.B + self.C)), [self.A, self.C])
            self.assertEqual(self.receive(r, part(mode, 10, self.B, 0, 400)), [])
            self.assertEqual((r.bytes, r.begins), ({}, set()))

    def cut(self, mode: int, at: int) -> tuple[Receiver, tuple[bytes, bytes, bytes]]:
        """B was cut off by a limit, and is given up: what was sent of it, the VOID of that, and the VOID of all."""
        r = self.receiver(mode, credit=10 + at)
        self.receive(r, part(mode, 0, self.A, 0, 10))
        r.unread.clear()
        return r, (part(mode, 10, self.B, 0, at), void(mode, 10, 10 + at), void(mode, 10, 410))

    def test_a_void_cut_at_the_limit_is_followed_by_a_whole_one(self):
        # The length of B has two bytes. Whatever of the others is lost or comes late, B is not delivered, and C is.
        for mode in MODES:
            for at in (1, 2, 300):
                for order in ((0, 1, 2), (1, 0, 2), (0, 2), (1, 2), (2,), (2, 0), (2, 1), (2, 0, 1), (2, 1, 0)):
                    with self.subTest(mode=NAMES[mode], at=at, order=order):
                        r, frames = self.cut(mode, at)
                        for index in order:
                            if index == 2:
                                r.limit = 1000
                            self.assertEqual(self.receive(r, frames[index]), [])
                        self.assertEqual(self.receive(r, part(mode, 410, self.C, 0, 8)), [self.C])
                        self.assertEqual((r.b, r.floor(), r.bytes, r.begins), (418, 418, {}, set()))

    def test_the_limit_rises_behind_a_cut(self):
        for mode in MODES:
            # A length that is cut off gets 4 bytes; one that is known gets all.
            r, frames = self.cut(mode, 1)
            r.window = 8
            self.receive(r, frames[0])
            self.assertEqual(r.raise_limit(), 18)
            r, frames = self.cut(mode, 2)
            self.receive(r, frames[0])
            self.assertEqual(r.raise_limit(), 1010)
            r, frames = self.cut(mode, 300)
            r.window = 20
            self.receive(r, frames[0])
            self.assertEqual(r.raise_limit(), 410)
            # One that nobody will ever know counts as passed over.
            r, frames = self.cut(mode, 300)
            r.window = 20
            self.receive(r, frames[1])
            self.assertEqual(r.raise_limit(), 330)

    def test_beyond_the_limit(self):
        for mode in MODES:
            r = self.receiver(mode, credit=410)
            self.receive(r, void(mode, 0, 410))
            for frame in (void(mode, 410, 411), part(mode, 410, self.C, 0, 1)):
                with self.assertRaises(Misbehaviour):
                    self.receive(r, frame)

    def test_an_older_one_after_a_newer_one(self):
        old, new, other = (sized(key + b"x") for key in (b"key1", b"key1", b"key2"))
        for frames, delivered in (
            ((loose(LATEST, 0, old), loose(LATEST, 6, new)), [old, new]),
            ((loose(LATEST, 6, new), loose(LATEST, 0, old)), [new]),
            ((loose(LATEST, 6, other), loose(LATEST, 0, old)), [other, old]),
            # b passes the newer one with the packet that brings the rest of the older one.
            ((loose(LATEST, 0, old[:3], back=0), loose(LATEST, 6, new), loose(LATEST, 3, old[3:], back=3)), [new]),
        ):
            r = self.receiver(LATEST)
            self.assertEqual(sum((self.receive(r, frame) for frame in frames), []), delivered)
            self.assertEqual((r.keys, r.bytes, r.b), ({}, {}, 12))
            # Without the order of keys all of them are delivered.
            r = self.receiver(UNORDERED)
            unordered = [bytes([frame[0], frame[1] & 2]) + frame[2:] for frame in frames]
            self.assertEqual(sum(len(self.receive(r, frame)) for frame in unordered), 2)

    def test_bad_lengths(self):
        for mode in MODES:
            for message in (sized(bytes(LONGEST + 1)), b"\x80\x05" + bytes(5), b"\xf0"):
                with self.assertRaises(Misbehaviour):
                    self.receive(self.receiver(mode), part(mode, 0, message, 0, len(message)))
        for frame in (loose(LATEST, 0, b"\x03key"), loose(LATEST, 0, b"\x03", back=0)):
            with self.assertRaises(Misbehaviour):
                self.receive(self.receiver(LATEST), frame)

    def test_a_short_offset_of_what_was_acknowledged_is_misread(self):
        # 1026 bytes were sent, 900 are known to have arrived, and all have. 895 on is sent again: it is less than
        # 128 bytes from 900 to 1026, but not from 895.
        r = self.receiver(RELIABLE)
        r.b, r.limit = 1026, 2000
        for short, begin in ((False, 895), (True, 1151)):
            frame = decode_frame(Reader(reliable(895, b"x", short)))
            self.assertEqual(r.place(frame, 1), (begin, begin + 1))


if __name__ == "__main__":
    unittest.main()
