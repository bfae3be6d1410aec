"""Broken, oversized and hostile videos: each ends in one VideoError, soon, and no other file or address is touched.

The numbers in the test names are those of the project's list of faults (docs/reliability.md).
"""

import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.stream import VideoStream

from tests.media_helpers import MEDIA, encode, encode_sound, manifest, moving_picture
from videoswin.data.decode import Limits, open_video
from videoswin.errors import OutOfMemoryError, VideoError

CANARY = "canary.mp4"


def refusal(source: str | Path | bytes, limits: Limits | None = None) -> str:
    """The message of the VideoError that opening and reading ``source`` ends in; it is one line."""
    with pytest.raises(VideoError) as caught, open_video(source, limits=limits or Limits()) as video:
        video.read()
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.hint, "the message has to end with what to do next"
    return message


# 1-8: not a readable file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("1-empty.mp4", b"", "is empty"),
        ("2-text.mp4", b"this is no video\n" * 20, "text file"),
        ("3-zeros.mp4", bytes(100_000), "zeros only"),
        ("4-jpeg.mp4", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(5000), "not a video container"),
        ("4-png.mp4", b"\x89PNG\r\n\x1a\n" + bytes(5000), "not a video container"),
        ("4-zip.mp4", b"PK\x03\x04" + bytes(5000), "not a video container"),
        ("raw.h264", b"\x00\x00\x00\x01\x67" + bytes(5000), "raw video stream"),
        ("one-byte.mp4", b"\x00", "zeros only"),
        ("bare-header.mp4", b"\x00\x00\x00\x18ftypisom", "cut off|cannot read"),
        ("bare-header.mkv", b"\x1a\x45\xdf\xa3", "cut off"),
        ("bare-header.avi", b"RIFF\x00\x00\x00\x00AVI ", "cannot read|no video"),
        ("bare-header.gif", b"GIF89a", "cut off"),
        ("bare-header.flv", b"FLV\x01\x01\x00\x00\x00\x09", "cannot read|no video"),
    ],
)
def test_1_to_4_content_that_is_no_video(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert any(part in message for part in reason.split("|")), message
    assert any(part in refusal(content) for part in reason.split("|"))


def test_5_to_8_paths_that_are_no_files(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path)
    assert "not found" in refusal(tmp_path / "missing.mp4")
    assert "not found" in refusal(tmp_path / "missing" / "clip.mp4")
    assert "cannot be read" in refusal(f"{tmp_path}/{'x' * 300}.mp4")
    assert "cannot be read" in refusal("nul\0byte.mp4")
    assert "folder" in refusal("")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    assert "loop.mp4" in refusal(tmp_path / "loop.mp4")
    assert "not found" in refusal(tmp_path / "two\nlines.mp4")


def test_7_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "private.mp4", moving_picture(2))
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read everything, so the refusal of the system is acted

        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(os, "open", refuse)
    assert "no permission" in refusal(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_8_pipes_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "pipe or a device" in refusal(tmp_path / "pipe.mp4")
    assert "pipe or a device" in refusal("/dev/zero")
    assert "pipe or a device" in refusal("/dev/stdin") or not Path("/dev/stdin").exists()


def test_odd_but_honest_names_open(tmp_path: Path) -> None:
    content = encode(tmp_path / "plain.mp4", moving_picture(2)).read_bytes()
    for name in ("-rf", "with space.mp4", "%d.mp4", "concat:a|b.mp4", "http:clip.mp4", "日本 ü.mp4", "a,b;c.mp4"):
        (tmp_path / name).write_bytes(content)
        with open_video(tmp_path / name) as video:
            assert len(video.read()) == 2


# 9-24: containers and streams -----------------------------------------------------------------------------------------


def test_9_sound_only(tmp_path: Path) -> None:
    assert "no video stream" in refusal(encode_sound(tmp_path / "sound.mp4"))
    for name in ("audio_only.ts", "no_streams.mkv", "text_only.mp4"):
        assert "no video stream" in refusal(MEDIA / name)


def test_10_cover_picture_only(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=8000)
        cover = output.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        output.mux(sound.encode(frame))
        output.mux(cover.encode(av.VideoFrame.from_ndarray(moving_picture(1)[0], format="rgb24")))
        output.mux([*sound.encode(None), *cover.encode(None)])
    assert "no video stream (it holds a cover picture only)" in refusal(path)


def truncations(path: Path, count: int = 12) -> Iterator[bytes]:
    content = path.read_bytes()
    for number in range(count):
        yield content[: len(content) * (2 * number + 1) // (2 * count)]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("moov-last.mp4", "libx264"),
        ("clip.mkv", "libx264"),
        ("clip.webm", "libvpx-vp9"),
        ("clip.avi", "mpeg4"),
        ("clip.flv", "libx264"),
        ("clip.ts", "libx264"),
        ("clip.gif", "gif"),
    ],
)
def test_13_truncated_anywhere(name: str, codec: str, tmp_path: Path) -> None:
    path = encode(tmp_path / name, moving_picture(40), codec=codec, pix_fmt="rgb8" if codec == "gif" else "yuv420p")
    for cut in truncations(path):
        if name.endswith(".ts"):
            cut = cut[: len(cut) // 188 * 188 + 97]  # cut between packets, a transport stream looks whole
        refusal(cut)


def test_14_truncated_after_the_index_states_the_counts(tmp_path: Path) -> None:
    path = tmp_path / "moov-first.mp4"
    with av.open(str(path), "w", container_options={"movflags": "faststart"}) as output:
        stream = output.add_stream("libx264", rate=30, options={"crf": "10"})
        stream.height, stream.width = 48, 64
        for frame in moving_picture(40):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))
    content = path.read_bytes()
    message = refusal(content[: len(content) * 3 // 5])
    assert "it lists 40 frames and holds " in message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bad_moov_only_0frames.mp4", "lists 25 frames and holds 0"),
        ("bad_zero_stsc.mp4", "lists 1040 frames and holds 1"),
        ("bad_chunk_out_of_range.mp4", "cannot read"),
        ("bad_encrypted.mp4", "decoding stops at packet"),
        ("res_change_midstream.h264", "raw video stream"),
    ],
)
def test_15_and_24_frames_that_are_promised_only(name: str, reason: str) -> None:
    assert reason in refusal(MEDIA / name)
    assert reason in refusal((MEDIA / name).read_bytes())


def mutants(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Truncations, flipped bits and runs of zeros, spread over the whole file and over its header."""
    chance = random.Random(seed)
    for number in range(count):
        mutant = bytearray(content)
        kind = number % 5
        end = len(mutant) if number % 2 else min(len(mutant), 1500)
        if kind == 0:
            del mutant[chance.randrange(1, len(mutant)) :]
        elif kind == 1:
            start = chance.randrange(end)
            mutant[start : start + chance.randrange(1, 100)] = bytes(
                len(mutant[start : start + chance.randrange(1, 100)])
            )
        else:
            for _ in range(1 if kind == 2 else 20):
                mutant[chance.randrange(end)] ^= 1 << chance.randrange(8)
        yield bytes(mutant)


def survives(content: bytes) -> None:
    """Decode whatever decodes; nothing but a VideoError may come out, and what is promised is delivered."""
    limits = Limits(max_pixels=1_000_000, max_bytes=2**28, timeout_s=10)
    try:
        with open_video(content, limits=limits) as video:
            frames = video.read()
            assert len(frames) == len(video) == len(video.times)
            assert (video.times.diff() >= 0).all()
            assert len(video.get_frames([len(video) - 1])) == 1
    except VideoError:
        pass


@pytest.mark.parametrize("name", ["edit_list_discard.mp4", "h264.flv", "hevc.mp4", "gif_animated.gif"])
def test_16_mutants(name: str) -> None:
    for mutant in mutants((MEDIA / name).read_bytes(), 60, seed=len(name)):
        survives(mutant)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in manifest().items() if int(row["bytes"]) < 130_000])
def test_16_more_mutants(name: str) -> None:
    for mutant in mutants((MEDIA / name).read_bytes(), 400, seed=1 + len(name)):
        survives(mutant)


ATTACKED = [
    "cuts/whole.mp4", "cuts/fragments_sidx.mp4", "cuts/fragments_bare.mp4", "cuts/whole.webm", "cuts/live.webm",
    "cuts/live.mkv", "cuts/whole.avi", "cuts/whole.flv", "cuts/sound.flv", "cuts/whole.wmv", "cuts/whole.mpg",
    "cuts/whole.ts", "cuts/sound.ts", "cuts/whole.gif", "h263.3gp",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKED)
def test_16_a_thousand_mutants(name: str) -> None:
    for mutant in mutants((MEDIA / name).read_bytes(), 1000, seed=len(name)):
        survives(mutant)


def test_16_metadata_that_is_not_utf_8_is_no_obstacle() -> None:
    with open_video(MEDIA / "bad_unopenable_3gp.3gp") as video:
        assert len(video) == 71


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError"),
        (EOFError(), "EOFError"),
        (TypeError("'<' not supported"), "unexpected TypeError: '<' not supported"),
        (IndexError("list index out of range"), "unexpected IndexError: list index out of range"),
    ],
)
def test_16_every_error_of_the_decoder_becomes_ours(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(av, "open", explode)
    with pytest.raises(VideoError, match="FFmpeg cannot read it") as caught:
        open_video(MEDIA / "hevc.mp4")
    assert f"({said})" in str(caught.value)
    assert caught.value.__cause__ is error, "the cause stays attached, for --debug"


def test_16_too_little_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(av, "open", explode)
    with pytest.raises(OutOfMemoryError, match="there is not enough memory to read it") as caught:
        open_video(MEDIA / "hevc.mp4")
    assert "undamaged" not in str(caught.value)
    assert isinstance(caught.value, MemoryError)


# 25-28: bombs ---------------------------------------------------------------------------------------------------------


MEASURE = """
import sys
from videoswin.data.decode import open_video
from videoswin.errors import OutOfMemoryError, VideoError
import av
def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) / 1024
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # resets the peak
try:
    open_video(sys.argv[1])
    print("opened")
except VideoError as error:
    print(error)
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to measure memory")
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("bomb.mp4", "libx264", "yuv420p"), ("bomb.mkv", "mjpeg", "yuvj420p"), ("bomb.gif", "gif", "pal8")],
)
def test_25_huge_frames_are_refused_by_their_header(name: str, codec: str, pix_fmt: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as output:
        options = {"preset": "ultrafast"} if codec == "libx264" else {}
        stream = cast(VideoStream, output.add_stream(codec, rate=1, options=options))
        stream.height, stream.width, stream.pix_fmt = 8192, 8192, pix_fmt
        frame = av.VideoFrame(8192, 8192, pix_fmt)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        output.mux([*stream.encode(frame), *stream.encode(None)])
    assert path.stat().st_size < 1_100_000
    run = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    message, growth_mb = run.stdout.splitlines()
    assert "33,177,600 pixels" in message
    assert "max_pixels" in message
    assert float(growth_mb) < 100


def test_25_frames_that_grow_midstream(tmp_path: Path) -> None:
    path = tmp_path / "grows.ts"
    small = encode(tmp_path / "small.ts", moving_picture(30, 64, 64)).read_bytes()
    large = encode(tmp_path / "large.ts", moving_picture(30, 1024, 1024)).read_bytes()
    path.write_bytes(small + large)
    refusal(path, limits=Limits(max_pixels=200_000))


def test_26_long_videos_are_bounded_by_what_is_asked_for(tmp_path: Path) -> None:
    path = encode(tmp_path / "long.mp4", moving_picture(600, 16, 16), rate=1, options={"preset": "ultrafast"})
    assert "600 frames were asked for at once, the limit is 100" in refusal(path, limits=Limits(max_frames=100))
    assert "take 460,800 bytes, the limit is 1,000" in refusal(path, limits=Limits(max_bytes=1000))
    assert "it lasts 599 seconds, the limit is 60" in refusal(path, limits=Limits(max_seconds=60))
    with open_video(path, limits=Limits(max_frames=100)) as video:
        assert len(video.get_frames(range(0, 600, 10))) == 60
        assert sum(1 for _ in video) == 600  # an iteration holds one frame at a time


def test_27_absurd_times(tmp_path: Path) -> None:
    for name, last_ms in (("a.mkv", 2**36), ("b.mkv", 2**45), ("c.flv", 2**31 - 1)):
        path = encode(tmp_path / name, moving_picture(4), stamps=[0, 40, 80, last_ms], options={"bf": "0"})
        assert "seconds, the limit is 43,200" in refusal(path)


@pytest.mark.parametrize("count", [10**5, 10**7, 2**31])
def test_27_tables_that_cost_the_file_nothing(count: int) -> None:
    """A sample table of one size for all may state any count; FFmpeg would allocate 36 bytes for each."""
    content = bytearray((MEDIA / "one_keyframe_125f.mp4").read_bytes())
    video = content.index(b"vmhd")
    counts = {b"stsz": 12, b"stts": 12, b"stsc": 16}  # offsets from the name of the table
    for table, offset in counts.items():
        place = content.index(table, video) + offset
        content[place : place + 4] = count.to_bytes(4, "big")
    size = content.index(b"stsz", video) + 8
    content[size : size + 4] = (1).to_bytes(4, "big")
    assert f"its tables list {count:,} samples, more than 14,534 bytes can hold" in refusal(bytes(content))


def test_28_wall_clock(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", moving_picture(5))
    assert "took longer than 1e-09 s" in refusal(path, limits=Limits(timeout_s=1e-9))


# 29-34: content and names that would make FFmpeg open something else -------------------------------------------------


@dataclass
class Server:
    """A web server on the loopback address that only counts who calls."""

    address: str
    hits: list[str]


@pytest.fixture
def server() -> Iterator[Server]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    hits: list[str] = []
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            try:
                connection, peer = listener.accept()
            except TimeoutError:
                continue
            hits.append(str(peer))
            connection.close()

    thread = threading.Thread(target=count)
    thread.start()
    yield Server(f"127.0.0.1:{listener.getsockname()[1]}", hits)
    stop.set()
    thread.join()
    listener.close()


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """A healthy video that no other file may lead to; the function says whether it was read."""
    path = encode(tmp_path / CANARY, moving_picture(3))
    monkeypatch.chdir(tmp_path)
    os.utime(path, ns=(1_000_000_000, path.stat().st_mtime_ns))  # an access time so old that any read renews it
    return lambda: path.stat().st_atime_ns != 1_000_000_000


def test_the_canary_and_the_server_notice_a_visit(server: Server, canary: Callable[[], bool]) -> None:
    assert not canary()
    Path(CANARY).read_bytes()
    if not canary():
        pytest.skip("this file system does not record reads (noatime)")
    socket.create_connection(server.address.split(":")).close()  # pyright: ignore[reportArgumentType]
    for _ in range(100):
        if server.hits:
            return
        threading.Event().wait(0.02)
    pytest.fail("the server did not notice the visit")


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile '{target}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "m3u": "{target}\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", ["m3u8", "mp4", "avi"])
def test_29_to_33_playlists(kind: str, suffix: str, tmp_path: Path, server: Server, canary: Callable[[], bool]) -> None:
    targets = [CANARY, str(tmp_path / CANARY), f"file://{tmp_path}/{CANARY}", f"http://{server.address}/clip.ts"]
    for target in targets:
        text = PLAYLISTS[kind].format(target=target)
        path = tmp_path / f"upload.{suffix}"
        path.write_text(text)
        assert "text file (or a playlist)" in refusal(path)
        assert "text file (or a playlist)" in refusal(text.encode())
    assert not canary()
    assert server.hits == []


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi", "ts", "gif", "flv"])
def test_29_playlists_behind_the_magic_bytes_of_a_video(
    container: str, tmp_path: Path, server: Server, canary: Callable[[], bool]
) -> None:
    """The first bytes pass for a video, the rest is a playlist: the demuxer is fixed, so it stays a broken video."""
    codec = "gif" if container == "gif" else "mpeg4" if container == "avi" else "libx264"
    real = encode(
        tmp_path / f"real.{container}", moving_picture(3), codec=codec, pix_fmt="rgb8" if codec == "gif" else "yuv420p"
    )
    playlist = PLAYLISTS["hls"].format(target=f"http://{server.address}/clip.ts").encode()
    for content in (real.read_bytes()[:960] + playlist * 40, real.read_bytes()[:12] + b"\n" + playlist * 40):
        (tmp_path / "upload.mp4").write_bytes(content)
        refusal(tmp_path / "upload.mp4")
        refusal(content)
    assert not canary()
    assert server.hits == []


def test_34_names_that_ffmpeg_would_interpret(
    tmp_path: Path, server: Server, canary: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [
        f"concat:{CANARY}|{CANARY}",
        f"concatf:{CANARY}",
        f"file:{CANARY}",
        f"file://{tmp_path}/{CANARY}",
        f"subfile,,start,0,end,0,,:{CANARY}",
        f"crypto:{CANARY}",
        f"cache:{CANARY}",
        f"async:{CANARY}",
        f"http://{server.address}/clip.mp4",
        f"tcp://{server.address}",
        f"rtmp://{server.address}/live",
        f"hls+http://{server.address}/clip.m3u8",
        "data:video/mp4;base64,AAAAGGZ0eXBpc29t",
        "pipe:0",
        "fd:0",
        "%d.png",
        "-",
        f"{CANARY}?x=1",
    ]
    for name in names:
        assert "not found" in refusal(name), name
    assert not canary()
    assert server.hits == []


def test_only_the_named_demuxer_and_protocol_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed to FFmpeg: one demuxer, an absolute "file:" path or memory, and no protocol beside it."""
    calls = []
    real_open = av.open

    def watch(file: object, **options: object) -> object:
        calls.append((file, options))
        return real_open(file, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]

    monkeypatch.setattr(av, "open", watch)
    for source, protocol in ((MEDIA / "hevc.mp4", "file"), ((MEDIA / "hevc.mp4").read_bytes(), "none")):
        with open_video(source) as video:
            video.get_frames([0])
        file, options = calls[-1]
        assert options["format"] == options["options"]["format_whitelist"] == "mov"  # pyright: ignore
        assert options["options"]["protocol_whitelist"] == protocol  # pyright: ignore
        assert not isinstance(file, str) or file.startswith("file:/")
