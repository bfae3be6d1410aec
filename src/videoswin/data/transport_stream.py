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


def is_joint(data: bytes, length: int) -> bool:
    """Whether a jump of the counter at the end of one frame is the joint of two recordings, and not a loss.

    ``data``: from the first packet of the frame before the jump to the first one of the frame behind it. It is a joint if
    nothing is missing inside the frame, its end is there (its last packet is filled up, as the end of a frame is unless its
    length happens to fit), and a table of programs opens the new recording.
    """
    packets = _Packets(data, length)
    if len(packets) < 2:
        return False
    pid = packets.pid[0]
    mine = np.flatnonzero((packets.pid == pid) & packets.has_payload)
    if len(mine) < 2 or mine[-1] != len(packets) - 1 or not packets.starts[mine[-1]]:
        return False
    frame = mine[:-1]
    whole = bool((np.diff(packets.counter[frame].astype(int)) % 16 == 1).all())
    filled_up = packets.payload[frame[-1]] < 184
    return whole and bool(filled_up) and bool((packets.pid[frame[-1] :] == _PAT).any())
