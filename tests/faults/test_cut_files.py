"""Files that were cut off: each container says what it can about its end, and what it cannot say is said.

The files are stored (tests/media/make_cuts.py): what an encoder writes decides where a cut falls.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.media_helpers import MEDIA
from videoswin.data.containers import find_source
from videoswin.data.decode import open_video
from videoswin.errors import TruncatedError, VideoError

CUTS = MEDIA / "cuts"
SAYS_NOTHING = {"live.flv", "live.mkv", "live.webm", "fragments_bare.mp4", "whole.mpg", "whole.ts", "sound.ts"}
"""Files that do not state their end: cut at a border they pass for whole, with ``complete`` None."""
AT_BORDERS_ONLY = {*SAYS_NOTHING, "fragments_mfra.mp4"}
"""Of these a cut may pass, but only as a file that may be cut off."""
NAMES = sorted(path.name for path in CUTS.iterdir())


def read(content: bytes) -> tuple[int, bool | None]:
    """(frames, complete) of a video that opens."""
    with open_video(content) as video:
        return len(video), video.info.complete


@pytest.mark.parametrize("name", NAMES)
def test_whole_files_are_whole(name: str) -> None:
    frames, complete = read((CUTS / name).read_bytes())
    assert frames == (10 if name.endswith(".gif") else 40)
    assert complete is (None if name in SAYS_NOTHING else True)


def check(name: str, content: bytes, cuts: Iterator[int] | range) -> int:
    """Refused, or all frames are there, or it is said that nobody can know. How many cuts passed with frames missing."""
    whole, _ = read(content)
    passed = 0
    for cut in cuts:
        try:
            find_and_open(content[:cut])
            frames, complete = read(content[:cut])
        except VideoError:
            continue
        if frames < whole:
            passed += 1
            assert complete is None, f"{name} cut at byte {cut}: {frames} of {whole} frames pass for a whole file"
            assert name in AT_BORDERS_ONLY, f"{name} cut at byte {cut}: {frames} of {whole} frames are accepted"
    return passed


@pytest.mark.parametrize("name", NAMES)
def test_some_cuts(name: str) -> None:
    content = (CUTS / name).read_bytes()
    check(name, content, range(len(content) // 37, len(content), len(content) // 19))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_cuts(name: str) -> None:
    content = (CUTS / name).read_bytes()
    passed = check(name, content, range(1, len(content)))
    print(f"{name}: {passed} of {len(content) - 1} cuts pass, each called incomplete or unknown")
    assert passed <= {"whole.mpg": 0.05, "whole.ts": 0.01, "sound.ts": 0.01, "fragments_bare.mp4": 0.01}.get(
        name, 0.02
    ) * len(content)


def tags_of(content: bytes) -> list[int]:
    """Where the tags of a FLV begin, and where the last one ends."""
    borders = [13]
    while borders[-1] < len(content):
        borders.append(borders[-1] + 15 + int.from_bytes(content[borders[-1] + 1 : borders[-1] + 4], "big"))
    return borders


@pytest.mark.parametrize(
    "path", [MEDIA / "h264.flv", CUTS / "whole.flv", CUTS / "sound.flv"], ids=lambda path: path.name
)
def test_flv_cut_at_every_border_of_a_tag(path: Path) -> None:
    content = path.read_bytes()
    borders = tags_of(content)
    assert borders[-1] == len(content)
    for border in borders[1:]:
        for cut in (border - 4, border - 1, border, border + 4):
            if cut < len(content):
                with pytest.raises(TruncatedError, match="bytes are missing"):
                    find_and_open(content[:cut])


def find_and_open(content: bytes) -> None:
    """Open, unless the container says by itself that it was cut: much quicker than decoding what is there."""
    missing = find_source(content).extent().missing
    if missing:
        raise TruncatedError("clip.flv", f"{missing} bytes are missing")
    open_video(content).close()


def test_a_cut_flv_with_sound_is_one_line() -> None:
    """PyAV raises IndexError where the cut made a stream appear."""
    content = (CUTS / "sound.flv").read_bytes()
    for cut in range(len(content) // 3, len(content) - 1, 97):
        with pytest.raises(TruncatedError, match=r"the file is cut off or damaged: [0-9,]+ bytes are missing"):
            open_video(content[:cut])


def test_a_duration_is_believed_where_no_size_is_stated() -> None:
    content = bytearray((CUTS / "whole.flv").read_bytes())
    place = content.index(b"filesize") + 8
    content[place : place + 9] = b"\0" + bytes(8)  # a size of 0: none
    border = tags_of(bytes(content))[-9]
    with pytest.raises(TruncatedError, match=r"it announces 1.3 s and ends at 1.\d s"):
        open_video(bytes(content[:border]))


def test_wmv_states_its_size_unless_it_was_broadcast() -> None:
    content = bytearray((CUTS / "whole.wmv").read_bytes())
    with pytest.raises(TruncatedError, match="bytes are missing"):
        open_video(bytes(content[: len(content) // 2]))
    flags = content.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")) + 88
    content[flags] |= 1
    data = int.from_bytes(content[16:24], "little")
    del content[data + int.from_bytes(content[data + 16 : data + 24], "little") :]  # a broadcast has no index
    assert read(bytes(content)) == (40, None)
    packet = int.from_bytes(content[flags + 4 : flags + 8], "little")
    with pytest.raises(TruncatedError, match=f"{packet - 7:,} bytes are missing"):
        open_video(bytes(content[: -packet + 7]))


def test_a_gif_ends_with_its_trailer_and_not_with_any_byte_like_it() -> None:
    content = (CUTS / "whole.gif").read_bytes()
    cuts = [place + 1 for place in range(1000, len(content) - 2) if content[place] == 0x3B]
    assert len(cuts) > 20
    for cut in cuts:
        with pytest.raises(TruncatedError):
            open_video(content[:cut])


def test_fragments_are_known_to_be_complete_by_an_index() -> None:
    for name, says in (("fragments_mfra.mp4", None), ("fragments_sidx.mp4", "cut"), ("fragments_bare.mp4", None)):
        content = (CUTS / name).read_bytes()
        last = content.rindex(b"moof") - 4
        if says == "cut":
            with pytest.raises(TruncatedError):
                open_video(content[:last])
        else:
            frames, complete = read(content[:last])
            assert 0 < frames < 40
            assert complete is None
        with pytest.raises(TruncatedError):
            open_video(content[: last + 5])  # inside the header of a box


def test_a_transport_stream_is_cut_inside_a_frame_that_states_its_length() -> None:
    content = (CUTS / "sound.ts").read_bytes()
    seen = 0
    for cut in range(188 * 20, len(content), 188):
        try:
            assert read(content[:cut])[1] is None
        except VideoError:
            seen += 1
    assert seen > 0


@pytest.mark.parametrize("name", ["whole.mp4", "whole.avi", "whole.flv", "whole.wmv", "whole.gif"])
def test_recordings_joined_where_only_the_first_can_be_read(name: str) -> None:
    content = (CUTS / name).read_bytes()
    with pytest.raises(
        VideoError, match="it holds two recordings, one behind the other, and only the first can be read"
    ):
        open_video(content + content)


def test_an_empty_last_sample_is_no_damage() -> None:
    """Recorders mark the end of a stream with an empty buffer, which a muxer writes as a sample of 0 bytes."""
    content = bytearray((CUTS / "whole.mp4").read_bytes())
    sizes = content.index(b"stsz") + 8
    count = int.from_bytes(content[sizes + 4 : sizes + 8], "big")
    assert count == 40
    last = sizes + 8 + 4 * (count - 1)
    content[last : last + 4] = bytes(4)
    assert read(bytes(content))[0] == 39
