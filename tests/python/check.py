#!/usr/bin/env python3
"""Compares what the Rust code makes of datagrams with what bowline_decode makes of them.

    python3 check.py [FILE ...]      files of vectors/README.md; without one, datagrams from stdin

`varint.txt` and `largest.txt` are told by their names; everything else holds JSON lines.
Exit code 1 if anything disagrees or there was nothing to compare.
"""

import json
import os
import sys
from collections import Counter

from bowline_decode import Malformed, Misbehaviour, Reader, decode, expand_largest, jsonable

SHOWN = 20


def ack_form(ack: dict | None) -> dict | None:
    """`ranges` as [far, near], both counted down from L."""
    if ack is None:
        return None
    if ack["form"] == 1:
        return {"form": 1, "largest_low": ack["low"], "delay": None, "ranges": [[7, 0]]}
    far = ack["first"]
    ranges = [[far, 0]]
    for gap, more in ack["ranges"]:
        near = far + gap + 2  # gap + 1 numbers in between
        far = near + more
        ranges.append([far, near])
    return {"form": ack["form"], "largest_low": ack["low"], "delay": ack["delay"], "ranges": ranges}


def frame_form(frame: dict) -> dict:
    out = {key: value for key, value in frame.items() if key not in ("frame", "offset_low", "has_length")}
    name = frame["frame"]
    if name.startswith("RELIABLE_"):
        out["short"] = name == "RELIABLE_SHORT"
        out["offset"] = frame["offset_low"] if out["short"] else frame["offset"]
        name = "RELIABLE"
    return {"type": name} | out


def form(out: dict, size: int) -> dict:
    """What decode gave, in the form of vectors/README.md."""
    if out["type"] == "packet":
        return {
            "kind": "SESSION",
            "key_phase": 0,
            "number": out["number"],
            "connection_id": out["connection_id"],
            "ack": ack_form(out["ack"]),
            "frames": [frame_form(frame) for frame in out["frames"]],
        }
    result = {"kind": out["type"]} | {key: out[key] for key in out if key not in ("type", "padding")}
    if "padding" in out:
        result["len"] = size
    return result


def our_decoding(line: dict) -> dict:
    datagram = bytes.fromhex(line["hex"])
    try:
        out = decode(
            datagram,
            connection_id_len=line["cid_len"],
            integrity=line["integrity"],
            client_half=line["client_half"],
            server_half=line["server_half"],
            direction=line["direction"],
            expected=line["expected"],
            # The vectors show the decoding alone; a session drops both.
            accept_reserved=True,
            accept_short_numbers=True,
        )
    except Malformed as error:
        return {"error": error.category, "reason": error.reason}
    return jsonable(form(out, len(datagram)))


def canonical(value) -> str:
    return json.dumps(value, sort_keys=True)


class Tally:
    def __init__(self):
        self.agreed = 0
        self.disagreed = 0
        self.seen = Counter()

    def compare(self, where: str, ours, theirs, detail: str = "") -> None:
        if canonical(ours) == canonical(theirs):
            self.agreed += 1
            return
        self.disagreed += 1
        if self.disagreed <= SHOWN:
            print(f"{where}: DISAGREE {detail}\n  theirs: {canonical(theirs)}\n  ours:   {canonical(ours)}")


def check_datagram(tally: Tally, where: str, text: str) -> None:
    line = json.loads(text)
    ours = our_decoding(line)
    reason = ours.pop("reason", "") if "error" in ours else ""
    tally.compare(where, ours, line["decoded"], f"{line.get('name', '')} {reason}\n  line:   {text}")
    if "error" in ours:
        tally.seen["error " + ours["error"]] += 1
        return
    tally.seen[ours["kind"]] += 1
    if ours["kind"] == "SESSION":
        tally.seen[f"ack form {ours['ack']['form'] if ours['ack'] else 0}"] += 1
        tally.seen.update("frame " + frame["type"] for frame in ours["frames"])


def check_varint(tally: Tally, where: str, text: str) -> None:
    digits, want = text.split()
    reader = Reader(bytes.fromhex(digits))
    try:
        ours = str(reader.varint("varint"))
        if reader.left():
            ours = "bytes are left"
    except Malformed as error:
        ours = error.category
    if want == "error":  # in case the kind of error is left out
        ours = "error" if not ours.isdigit() else ours
    tally.compare(where, ours, want, text)


def check_largest(tally: Tally, where: str, text: str) -> None:
    size, low, a, s, want = text.split()
    try:
        largest = expand_largest(int(low), int(size), int(a), int(s))
        ours = "ambiguous" if largest is None else str(largest)
    except Misbehaviour:
        ours = "never_sent"
    tally.compare(where, ours, want, text)


CHECKS = {"varint.txt": check_varint, "largest.txt": check_largest}


def check_lines(tally: Tally, name: str, lines) -> int:
    check = CHECKS.get(os.path.basename(name), check_datagram)
    read = 0
    for index, text in enumerate(lines, 1):
        text = text.strip()
        if not text or text.startswith("#"):
            continue
        read += 1
        where = f"{os.path.basename(name)}:{index}"
        try:
            check(tally, where, text)
        except Exception as error:  # a line we cannot even read is a disagreement, not the end
            tally.compare(where, f"{type(error).__name__}: {error}", None, text)
    return read


def main() -> int:
    tally = Tally()
    empty = []
    for name in sys.argv[1:] or ["-"]:
        if name == "-":
            read = check_lines(tally, "stdin", sys.stdin)
        else:
            with open(name, encoding="ascii") as lines:
                read = check_lines(tally, name, lines)
        if read == 0:
            empty.append(name)
            print(f"{os.path.basename(name)}: no lines")
    for what, count in sorted(tally.seen.items()):
        print(f"  {count:7} {what}")
    print(f"{tally.agreed} agreed, {tally.disagreed} disagreed")
    print(f"{tally.agreed} passed, {tally.disagreed + len(empty)} failed")
    return 1 if tally.disagreed or empty else 0


if __name__ == "__main__":
    sys.exit(main())
