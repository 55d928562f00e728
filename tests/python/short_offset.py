"""A model of the short offsets of PROTOCOL.md, 3.5: one stream, its sender, its receiver, a bad network.

Offsets are kept whole here, so that the model knows what was meant; only those that are read went
through 2^32.
"""

from dataclasses import dataclass

from bowline_decode import U32, expand_offset

# Which packets count for q: as specified ("brought": those that brought a byte before b), the largest that a
# receiver may keep, and, to show what was wrong with it, the packets whose arrival moved b.
RULES = ("brought", "largest", "moved b")


class Stale(Exception):
    """The packet is dropped."""


@dataclass(frozen=True)
class Packet:
    number: int
    offset: int  # as it was meant
    end: int
    short: bool


class Sender:
    def __init__(self, initial: int, number: int):
        self.initial = initial
        self.next_number = number
        self.end = initial  # of what was ever sent
        self.unacked = initial  # the first byte not known to be acknowledged
        self.acked = set()

    def send(self, offset: int, end: int) -> Packet:
        number = self.next_number
        self.next_number += 1
        self.end = max(self.end, end)
        return Packet(number, offset, end, short=self.end - self.unacked < 128)

    def on_ack(self, packet: Packet) -> None:
        self.acked.update(range(packet.offset, packet.end))
        while self.unacked in self.acked:
            self.unacked += 1


class Receiver:
    def __init__(self, initial: int, rule: str):
        self.rule = rule
        self.b = initial  # all before it has arrived
        self.q = -1
        self.brought = {}  # which packet brought a byte that is not before b
        self.largest = -1

    def receive(self, packet: Packet) -> int:
        """Returns the offset as it was read. Only what travels is used: for a short one, its low byte."""
        if packet.short:
            if packet.number < self.q:
                raise Stale
            low = packet.offset & 0xFF
            # Whole again: the wire knows it modulo 2^32 only.
            distance = (expand_offset(low, self.b % U32) - self.b + U32 // 2) % U32 - U32 // 2
            offset = self.b + distance
        else:
            offset = packet.offset
        for at in range(max(offset, self.b), offset + packet.end - packet.offset):
            self.brought.setdefault(at, packet.number)
        self.largest = max(self.largest, packet.number)
        moved = False
        while self.b in self.brought:
            number = self.brought.pop(self.b)
            self.b += 1
            moved = True
            if self.rule == "brought":
                self.q = max(self.q, number)
        if moved and self.rule == "moved b":
            self.q = max(self.q, packet.number)
        if self.rule == "largest":
            self.q = self.largest
        return offset


def play(random, initial: int, rule: str, size: int = 2000) -> tuple[int, int]:
    """Sends a stream over a network that loses and reorders at random, until all of it is acknowledged.

    Returns how many short offsets were read, and how many of them wrong; ends at the first wrong one. Each packet
    arrives once at most: duplicates fall to their numbers.
    """
    sender, receiver = Sender(initial, 0), Receiver(initial, rule)
    packets, acks = [], []
    short = 0
    while sender.unacked < initial + size:
        step = random.random()
        if step < 0.4 and len(packets) < 20:
            # Something new, or any bytes again, cut anew; what was lost or stale is made up for this way.
            new = random.random() < 0.3 and sender.end - sender.unacked < 200
            offset = sender.end if new else random.randrange(sender.unacked, sender.end + 1)
            length = random.choice((1, 5, 10, 20, 200))
            end = min(offset + length, initial + size) if new else min(offset + length, sender.end)
            if offset < end:
                packets.append(sender.send(offset, end))
        elif step < 0.7 and packets:
            # The newest or any: some come very late.
            packet = packets.pop(-1 if random.random() < 0.5 else random.randrange(len(packets)))
            if random.random() < 0.1:
                continue
            try:
                read = receiver.receive(packet)
            except Stale:
                continue
            short += packet.short
            if read != packet.offset:
                return short, 1
            acks.append(packet)
        elif acks:
            packet = acks.pop(random.randrange(len(acks)))
            if random.random() < 0.9:
                sender.on_ack(packet)
    assert receiver.b == initial + size
    return short, 0
