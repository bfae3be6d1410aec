"""Which packets need not be decoded when their frames are not wanted: those that no other frame refers to.

H.264 says so in every slice (``nal_ref_idc`` is 0: ITU-T H.264, 7.4.1), and nothing after it depends on whether such a picture was
decoded. It is asked only where a packet holds a whole picture with the lengths of its units in front of them, as mp4, mov and
Matroska store it; in a transport stream the two fields of a picture can be packets of their own.
"""

from collections.abc import Callable

__all__ = ["spare_test"]

_SLICES = frozenset((1, 2, 3, 4, 5))  # kinds of units that hold a part of a picture


def spare_test(codec: str, extradata: bytes | None) -> Callable[[memoryview], bool] | None:
    """What tells of a packet's bytes whether no other frame refers to it; None where that is not known.

    ``extradata``: the decoder's configuration, as the container has it ("avcC": ISO/IEC 14496-15).
    """
    if codec != "h264" or not extradata or len(extradata) < 7 or extradata[0] != 1:
        return None
    prefix = (extradata[4] & 3) + 1
    return lambda data: _is_spare(data, prefix)


def _is_spare(data: memoryview, prefix: int) -> bool:
    """``prefix``: bytes of the length in front of each unit. In doubt it is not spare."""
    place, found = 0, False
    while place + prefix < len(data):
        length = int.from_bytes(data[place : place + prefix], "big")
        head = data[place + prefix]
        if head & 0x1F in _SLICES:
            if head & 0x60:
                return False
            found = True
        place += prefix + length
    return found and place == len(data)
