"""The boxes of an mp4, read before FFmpeg sees them."""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from videoswin.errors import VideoError

__all__ = ["MOV_BOXES", "is_fragmented", "refuse_inflated_tables", "top_boxes"]

MOV_BOXES = frozenset(
    {
        b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"sidx", b"moof", b"uuid", b"pdin",
    }
)  # fmt: skip
"""With one of these an mp4 begins."""

_SAMPLE_TABLE = re.compile(rb"(?=stsz....(....)(....)|trun....(....))", re.DOTALL)  # (bytes of each, count) or (count)
_SCAN_BYTES = 2**20


def top_boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the top-level boxes of an mp4; the end may lie behind the end of the file."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1 and len(header) == 16:
            length = int.from_bytes(header[8:], "big")
        elif length == 0:  # up to the end of the file
            length = size - start
        if length < 8:  # nonsense; the demuxer stops here, too
            return
        yield kind, start, start + length
        start += length


def is_fragmented(boxes: Sequence[tuple[bytes, int, int]]) -> bool:
    """Whether the frames stand in movie fragments and not in the tables of the movie."""
    return any(kind == b"moof" for kind, _, _ in boxes)


def refuse_inflated_tables(file: BinaryIO, size: int, label: str) -> None:
    """Refuse an mp4 that lists more samples than its bytes can hold: FFmpeg would allocate 36 bytes for each.

    Sample tables may state a size for all samples together, and then a count of any height costs the file nothing.
    The tables are looked for by name rather than by the tree of boxes, since FFmpeg takes them from odd places, too.
    """
    for kind, start, end in top_boxes(file, size):
        if kind == b"mdat":
            continue
        for offset in range(start, min(end, size), _SCAN_BYTES):
            file.seek(offset)
            block = file.read(min(_SCAN_BYTES + 16, end - offset))  # 16: a table may straddle two blocks
            for table in _SAMPLE_TABLE.finditer(block):
                each, count, in_fragment = (int.from_bytes(part or b"", "big") for part in table.groups())
                if max(count * max(1, each), in_fragment) > size:
                    reason = f"its tables list {count or in_fragment:,} samples, more than {size:,} bytes can hold"
                    raise VideoError(label, reason, "Do not trust this file; get an undamaged copy")
            if b"cmov" in block:
                hint = "Convert it to mp4 first, for example: ffmpeg -i INPUT -c:v libx264 output.mp4"
                raise VideoError(label, "its header is compressed, which hides what it would cost", hint)
