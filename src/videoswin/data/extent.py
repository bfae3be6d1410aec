"""Where a container says that it ends, compared with where the file ends: the only way to see that a file was cut off.

A decoder reads what is there and stops; half a film decodes without an error. What can be known differs:

========  =====================================================================  ==================================
mov       sample tables and boxes; in fragments: ``sidx`` and ``mfra``           fragments without either: unknown
matroska  the length of the segment; where it was streamed, that of each block   streamed, at a border: unknown
avi       the length of each RIFF chunk                                          length 0 (streamed): unknown
flv       ``filesize`` and ``duration`` in its metadata; the length of each tag  metadata without them: unknown
asf       the length of its data, or of each packet where it was broadcast       broadcast, at a border: unknown
gif       the byte that ends it, at its place in the structure                   always known
mpeg      the length of each packet, and the end code that few writers set       without the code: unknown
mpegts    the length of each packet, and of each frame that states one           always unknown
========  =====================================================================  ==================================

The second column is checked here (durations in :mod:`videoswin.data.reader`), the third is ``VideoInfo.complete`` None.
"""

import os
import struct
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from videoswin.data.boxes import is_fragmented, top_boxes
from videoswin.data.transport_stream import missing_of_last_frames, packet_grid

__all__ = ["Extent", "extent_of"]

_TAIL_BYTES = 2**20
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


class Extent(NamedTuple):
    """What a container says about its own end.

    ``missing``: bytes between the end of the file and the end that the container states; above 0, the file was cut off.
    ``complete``: True if the stated end is there, None if the container states none. ``second``: a second recording follows
    which FFmpeg would not read.
    """

    missing: int
    complete: bool | None
    second: bool = False

    @classmethod
    def of(cls, end: int, size: int, second: bool = False) -> "Extent":
        """A stated ``end`` and the ``size`` of the file."""
        return cls(max(0, end - size), end <= size, second)


UNKNOWN = Extent(0, None)


def extent_of(file: BinaryIO, demuxer: str) -> Extent:
    """Read the structure of a file, not its content. ``demuxer``: a key of :data:`videoswin.data.containers.CONTAINERS`."""
    size = file.seek(0, os.SEEK_END)
    return _READERS[demuxer](file, size)


def _read_at(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


# MP4 ------------------------------------------------------------------------------------------------------------------

_MOV_DATA = {b"mdat", b"moov", b"moof"}
_MOV_FRAGMENT_PARTS = {b"styp", b"sidx", b"mfra", b"emsg", b"prft"}


def _mov(file: BinaryIO, size: int) -> Extent:
    boxes = list(top_boxes(file, size))
    movies = sum(kind == b"moov" for kind, _, _ in boxes)
    fragmented = is_fragmented(boxes)
    kinds = _MOV_DATA | _MOV_FRAGMENT_PARTS if fragmented else _MOV_DATA
    # One of an unknown kind is trailing rubbish and proves nothing.
    end = max((end for kind, _, end in boxes if kind in kinds), default=0)
    if not fragmented:
        return Extent.of(end, size, second=movies > 1)
    last = boxes[-1][2]
    if last < size < last + 8 and any(_read_at(file, last, 8)):  # the beginning of a header
        return Extent(8 - (size - last), False)
    stated = max((_indexed_end(file, start, end) for kind, start, end in boxes if kind == b"sidx"), default=0)
    has_index = any(kind == b"mfra" and end <= size for kind, _, end in boxes)
    last_fragment = max(start for kind, start, _ in boxes if kind == b"moof")
    known = has_index or last_fragment < stated
    missing = max(0, end - size, stated - size if last_fragment < stated else 0)
    return Extent(missing, missing == 0 if known else None, second=movies > 1)


def _indexed_end(file: BinaryIO, start: int, end: int) -> int:
    """Where the last fragment that a segment index (``sidx``) lists ends."""
    body = _read_at(file, start, min(end - start, _TAIL_BYTES))
    try:
        wide = body[8] > 0
        (first,) = struct.unpack_from(">Q" if wide else ">I", body, 28 if wide else 24)
        offset = 36 if wide else 28
        (count,) = struct.unpack_from(">H", body, offset + 2)
        sizes = struct.unpack_from(">" + "III" * count, body, offset + 4)[::3]
    except (struct.error, IndexError):
        return 0
    return end + first + sum(value & 0x7FFFFFFF for value in sizes)


# Matroska -------------------------------------------------------------------------------------------------------------

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_AT_THE_END = {0x1C53BB6B, 0x1254C367}  # Cues, Tags
# SeekHead, Info, Tracks, Chapters, Attachments, Void, CRC-32, and what clusters hold.
_ELEMENTS = {
    _EBML, _SEGMENT, _CLUSTER, *_AT_THE_END, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1043A770, 0x1941A469, 0xEC, 0xBF,
    0xE7, 0xA3, 0xA0, 0xA7, 0xAB, 0xAF, 0x5854,
}  # fmt: skip


def _matroska(file: BinaryIO, size: int) -> Extent:
    """Walk over the elements; into segments and clusters that state no length, as streamed ones do not."""
    start, complete = 0, True
    clusters = streamed = False
    while start < size:
        head = _read_at(file, start, 12)
        identity, id_width = _vint(head, keep_marker=True)
        known = identity in _ELEMENTS or len(head) < id_width
        if not head[0] or not known:  # rubbish behind the end, or inside
            return Extent(0, True if complete else None)
        length, width = _vint(head[id_width:])
        if len(head) < id_width + width:
            return Extent(id_width + width - len(head), False)
        start += id_width + width
        if identity == _EBML:  # a recording, perhaps behind others
            complete, clusters, streamed = True, False, False
        if identity == _CLUSTER:
            clusters, complete = True, complete and not streamed
        if length == (1 << 7 * width) - 1:  # unknown: all bits set
            if identity not in (_SEGMENT, _CLUSTER):
                return UNKNOWN
            streamed, complete = True, False
            continue
        if identity in _AT_THE_END and clusters:  # in front of the clusters they say nothing about the end
            complete = True
        start += length
    return Extent(start - size, False) if start > size else Extent(0, True if complete else None)


def _vint(data: bytes, keep_marker: bool = False) -> tuple[int, int]:
    """(value, bytes) of a number whose length is told by its leading zeros."""
    if not data:
        return 0, 1
    width = 9 - data[0].bit_length()
    value = int.from_bytes(data[:width], "big")
    return (value if keep_marker else value & ((1 << 7 * width) - 1)), width


# AVI, FLV, ASF, GIF ---------------------------------------------------------------------------------------------------


def _avi(file: BinaryIO, size: int) -> Extent:
    start, end = 0, 0
    while start < size and (head := _read_at(file, start, 12))[:4] == b"RIFF":
        if start and head[8:11] == b"AVI":
            return Extent(0, True, second=True)
        length = int.from_bytes(head[4:8], "little")
        if length in (0, 0xFFFFFFFF):
            return UNKNOWN
        end = start + 8 + length
        start = end + length % 2
    return Extent.of(end, size)


def _flv(file: BinaryIO, size: int) -> Extent:
    """Tag by tag: a header, a body, and the length of both once more, which some writers leave out at the end."""
    start, stated = 13, 0
    while start < size:
        head = _read_at(file, start, 11)
        if head[:4] == b"FLV\x01":
            return Extent(0, True, second=True)
        end = start + 11 + int.from_bytes(head[1:4], "big") + 4
        if len(head) < 11 or (end > size and end - 4 != size):
            return Extent(max(end, stated) - size, False)
        if head[0] == 18 and not stated:
            stated = _flv_size(_read_at(file, start + 11, min(end - start - 15, 2**16)))
        start = end
    return Extent.of(stated, size) if stated else UNKNOWN


def _flv_size(script: bytes) -> int:
    """``filesize`` of onMetaData: a name, the marker of a number, and a double."""
    place = script.find(b"\x00\x08filesize\x00")
    if place < 0 or len(script) < place + 19:
        return 0
    (value,) = struct.unpack_from(">d", script, place + 11)
    return int(value) if 0 < value < 2**53 else 0


def _asf(file: BinaryIO, size: int) -> Extent:
    head = _read_at(file, 0, 24)
    data = int.from_bytes(head[16:24], "little")  # where the header ends
    header = _read_at(file, 0, min(data, _TAIL_BYTES))
    place = header.find(_ASF_PROPERTIES)
    if place < 0 or len(header) < place + 104:
        return UNKNOWN
    flags, packet = struct.unpack_from("<I", header, place + 88)[0], struct.unpack_from("<I", header, place + 92)[0]
    start = _read_at(file, data, 50)
    if start[:16] != _ASF_DATA:
        return Extent(data + 50 - size, False) if size < data + 50 else UNKNOWN
    end = data + int.from_bytes(start[16:24], "little")
    if flags & 1 or end <= data + 50:  # a broadcast, whose lengths count for nothing
        part = (size - data - 50) % packet if packet else 0
        return Extent(packet - part, False) if part else UNKNOWN
    return Extent.of(end, size, second=_ASF_HEADER in _read_at(file, end, _TAIL_BYTES))


def _gif(file: BinaryIO, size: int) -> Extent:
    """Block by block to the trailer: its byte, 0x3b, stands in picture data, too."""
    head = _read_at(file, 0, 13)
    if len(head) < 13:
        return Extent(13 - len(head), False)
    start = 13 + _colours(head[10])
    while start < size:
        head = _read_at(file, start, 11)
        if head[0] == 0x3B:
            return Extent(0, True, second=_read_at(file, start + 1, 4096).lstrip(b"\0").startswith(b"GIF8"))
        if head[0] == 0x21:
            start += 2
        elif head[0] == 0x2C and len(head) > 9:
            start += 11 + _colours(head[9])
        elif head[0] == 0x2C:
            break
        else:  # FFmpeg looks for the next block that it knows
            start += 1
            continue
        while start < size and (length := _read_at(file, start, 1)[0]):
            start += 1 + length
        start += 1
    return Extent(max(1, start + 1 - size), False)


def _colours(flags: int) -> int:
    """Bytes of the colour table that a screen or a picture announces."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


# MPEG -----------------------------------------------------------------------------------------------------------------

_PACK, _END = 0xBA, 0xB9


def _mpeg(file: BinaryIO, size: int) -> Extent:
    """Packet by packet from the first pack of the last megabyte."""
    tail = _read_at(file, max(0, size - _TAIL_BYTES), _TAIL_BYTES)
    place = tail.find(b"\0\0\1\xba")
    while place >= 0 and (place := _skip_zeros(tail, place)) < len(tail):
        if tail[place : place + 3] != b"\0\0\1":
            rest = len(tail) - place
            return Extent(4 - rest, False) if rest < 3 and b"\0\0\1".startswith(tail[place:]) else UNKNOWN
        code = tail[place + 3] if place + 3 < len(tail) else 0
        if code == _END:
            place += 4
            if place >= len(tail):
                return Extent(0, True)
        elif code == _PACK and place + 14 <= len(tail):
            place += 14 + (tail[place + 13] & 7) if tail[place + 4] & 0xC0 == 0x40 else 12
        elif code == _PACK or code >= 0xBB:
            place += 6 + int.from_bytes(tail[place + 4 : place + 6], "big") if code != _PACK else 14
        else:
            return UNKNOWN
    return Extent(place - len(tail), False) if place > len(tail) else UNKNOWN


def _skip_zeros(data: bytes, place: int) -> int:
    """Where the next packet begins: some writers fill up with zeros, of which a start code has two itself."""
    found = place
    while found < len(data) and data[found] == 0:
        found += 1
    return found - 2 if found - 2 > place else place


def _mpegts(file: BinaryIO, size: int) -> Extent:
    grid = packet_grid(_read_at(file, 0, 4096))
    if grid is None:
        return UNKNOWN
    start, length = grid
    if part := (size - start) % length:
        return Extent(length - part, False)
    first = max(0, (size - start) // length - _TAIL_BYTES // length) * length + start
    missing = missing_of_last_frames(_read_at(file, first, size - first), length)
    return Extent(missing, False if missing else None)


_READERS: dict[str, Callable[[BinaryIO, int], Extent]] = {
    "mov": _mov,
    "matroska": _matroska,
    "avi": _avi,
    "flv": _flv,
    "asf": _asf,
    "gif": _gif,
    "mpeg": _mpeg,
    "mpegts": _mpegts,
}
