"""MPEG transport streams, packet by packet: what FFmpeg does not say about their joints and their end.

A stream is a row of packets of one length (ISO/IEC 13818-1, 2.4.3). Each belongs to a program (PID) and counts on from the
one before it of the same PID, modulo 16. Where recordings are joined the counters start again, which looks like loss.
"""

import numpy as np

__all__ = ["is_joint", "missing_of_last_frames", "packet_grid"]

_SYNC = 0x47
_PAT = 0


def packet_grid(head: bytes) -> tuple[int, int] | None:
    """(first sync byte, packet length) of a transport stream: plain, Blu-ray, or with error correction. None if it is none.

    A recording may start inside a packet, so the first sync byte (0x47) is looked for within one length. All
    packets of the head have to agree: text repeats a letter by chance, but not 5 times at one distance.
    """
    for length in (188, 192, 204):
        for start in range(length):
            syncs = head[start::length]
            if len(syncs) >= 5 and set(syncs) == {_SYNC}:
                return start, length
    return None


class _Packets:
    """Fields of a run of packets, one row each."""

    def __init__(self, data: bytes, length: int) -> None:
        count = len(data) // length
        self.bytes = np.frombuffer(data, np.uint8, count * length).reshape(count, length)
        self.pid = (self.bytes[:, 1] & 0x1F).astype(np.int32) << 8 | self.bytes[:, 2]
        self.starts = self.bytes[:, 1] & 0x40 != 0  # a frame (PES packet) or a table begins in it
        adapted, self.has_payload = self.bytes[:, 3] & 0x20 != 0, self.bytes[:, 3] & 0x10 != 0
        self.counter = self.bytes[:, 3] & 0x0F
        self.payload_at = 4 + np.where(adapted, 1 + self.bytes[:, 4].astype(np.int32), 0)
        self.payload = np.clip(188 - self.payload_at, 0, None) * self.has_payload

    def __len__(self) -> int:
        return len(self.bytes)


def missing_of_last_frames(data: bytes, length: int) -> int:
    """Bytes that the last frames of the PIDs announce and the stream does not hold; 0 if none states its length.

    ``data``: the end of the stream, from the start of a packet on.
    """
    packets, missing = _Packets(data, length), 0
    for pid in np.unique(packets.pid):
        mine = np.flatnonzero((packets.pid == pid) & packets.has_payload)
        begins = mine[packets.starts[mine]]
        if not len(begins):
            continue
        last = begins[-1]
        head = packets.bytes[last, packets.payload_at[last] : packets.payload_at[last] + 6].tobytes()
        stated = int.from_bytes(head[4:6], "big")
        if len(head) == 6 and head[:3] == b"\0\0\1" and stated:
            missing += max(0, stated + 6 - int(packets.payload[mine[mine >= last]].sum()))
    return missing


def is_joint(data: bytes, length: int, lead: int, set_back: bool) -> bool:
    """Whether a jump of a counter in front of a frame is the joint of two recordings, and not a loss.

    ``data``: packets up to the first one of the frame behind the jump; ``lead`` of them stand in front of the frame that
    FFmpeg calls damaged, or of the one before it. ``set_back``: the clock is, too.

    It is a joint if no packet is missing between these frames but at the jump, a table of programs opens the new recording,
    and the clock was set back or other counters jump at the same place: a loss hits one program, or all of a time.
    """
    packets = _Packets(data, length)
    if len(packets) - lead < 2:
        return False
    pid = packets.pid[-1]
    mine = lead + np.flatnonzero((packets.pid[lead:] == pid) & packets.has_payload[lead:])
    if len(mine) < 2 or mine[-1] != len(packets) - 1 or not packets.starts[mine[-1]]:
        return False
    before, jump = mine[:-1], mine[-2] + 1
    whole = bool((np.diff(packets.counter[before].astype(int)) % 16 == 1).all())
    opened = bool((packets.pid[jump:] == _PAT).any())
    return whole and opened and (set_back or _others_jump(packets, int(pid), int(jump)))


def _others_jump(packets: _Packets, pid: int, jump: int) -> bool:
    """Whether a counter beside that of ``pid`` does not go on at packet ``jump``."""
    for other in np.unique(packets.pid[jump:]):
        places = np.flatnonzero((packets.pid == other) & packets.has_payload)
        earlier, later = places[places < jump], places[places >= jump]
        if other != pid and len(earlier) and len(later):
            step = int(packets.counter[later[0]]) - int(packets.counter[earlier[-1]])
            if step % 16 != 1:
                return True
    return False
