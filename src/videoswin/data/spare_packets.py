"""Which packets have to be decoded to get some frames of a video, by what H.264 says of its pictures.

Not needed are pictures that no other refers to (``nal_ref_idc`` is 0 in their slices: ITU-T H.264, 7.4.1), and what stands between the
last wanted picture and a later one of the kind IDR: nothing from there on refers to anything before it (7.4.1.2.4). It is asked only
where a packet holds a whole picture with the lengths of its units in front of them, as mp4, mov and Matroska store it; in a transport
stream the two fields of a picture can be packets of their own.
"""

from collections.abc import Callable, Sequence

from videoswin.data.frame_index import FrameIndex, KeyFrame

__all__ = ["Needed", "idr_test", "spare_test"]

_SLICES = frozenset((1, 2, 3, 4, 5))  # kinds of units that hold a part of a picture
_IDR = 5

_Test = Callable[[memoryview], bool]


def spare_test(codec: str, extradata: bytes | None) -> _Test | None:
    """What tells of a packet's bytes whether no other frame refers to it; None where that is not known.

    ``extradata``: the decoder's configuration, as the container has it ("avcC": ISO/IEC 14496-15).
    """
    return _slice_test(codec, extradata, lambda head: not head & 0x60)


def idr_test(codec: str, extradata: bytes | None) -> _Test | None:
    """The same: whether decoding can begin at it as if nothing had been before."""
    return _slice_test(codec, extradata, lambda head: head & 0x1F == _IDR)


def _slice_test(codec: str, extradata: bytes | None, fits: Callable[[int], bool]) -> _Test | None:
    if codec != "h264" or not extradata or len(extradata) < 7 or extradata[0] != 1:
        return None
    prefix = (extradata[4] & 3) + 1
    return lambda data: _all_slices(data, prefix, fits)


def _all_slices(data: memoryview, prefix: int, fits: Callable[[int], bool]) -> bool:
    """Whether all slices of a packet fit, by their first byte. In doubt they do not. ``prefix``: bytes of each unit's length."""
    place, found = 0, False
    while place + prefix < len(data):
        length = int.from_bytes(data[place : place + prefix], "big")
        head = data[place + prefix]
        if head & 0x1F in _SLICES:
            if not fits(head):
                return False
            found = True
        place += prefix + length
    return found and place == len(data)


class Needed:
    """Asked about each packet of a walk in turn. ``numbers``: of the wanted frames, rising."""

    def __init__(self, index: FrameIndex, numbers: Sequence[int], is_spare: _Test | None) -> None:
        self._is_spare = is_spare
        self._keys: dict[int, KeyFrame | None] = {int(index.stamps[n]): index.key_before(n) for n in numbers}
        self._waiting = dict(self._keys)  # whose packets did not come yet
        self._until: int | None = None  # the place of the next packet that is needed, if that is known

    @property
    def over(self) -> bool:
        """Whether the packets of all wanted frames have come, as far as packets are known to be whole pictures."""
        return self._is_spare is not None and not self._waiting

    def __call__(self, place: int, stamp: int | None, data: memoryview) -> bool:
        """Whether the packet at this place has to be decoded."""
        if self._until is not None and place < self._until:
            return False
        self._until = None
        if stamp in self._waiting:
            del self._waiting[stamp]
            self._rest(place)
            return True
        return self._is_spare is None or stamp is None or stamp in self._keys or not self._is_spare(data)

    def _rest(self, place: int) -> None:
        """Until the key frame of the next wanted frame, if that begins afresh, and no frame is waited for in between."""
        keys = self._waiting.values()
        if self._is_spare is None or not all(key is not None and key.order > place for key in keys):
            return
        first = min((key for key in keys if key is not None), key=lambda key: key.order, default=None)
        if first is not None and first.afresh:
            self._until = first.order
