"""Addresses: what is named is opened and nothing else, at bounded cost, and no password is shown."""

import io
import re
import threading
import traceback
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.live.servers import http, http_file, rtsp, server, until_closed
from tests.media_helpers import encode, moving_picture
from videoswin.data.live_address import Address, without_password
from videoswin.data.live_decode import open_address
from videoswin.data.live_wait import Watch
from videoswin.errors import ConfigError, Interrupted, VideoError
from videoswin.live.sources import LiveSource, Picture, find_live_source

FRAMES = moving_picture(12)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("clip") / "v.ts", FRAMES, rate=12, container="mpegts")


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A minute: FFmpeg looks at the first ones of a live stream, and passes them over."""
    path = tmp_path_factory.mktemp("stream") / "v.ts"
    return encode(path, moving_picture(720, 16, 16), rate=12, container="mpegts").read_bytes()


def count(address: str, timeout_s: float = 20) -> int:
    with closing(open_address(address, timeout_s)) as found:
        return len(list(found))


def jpeg(level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((48, 64, 3), level, np.uint8)).save(file, "JPEG")
    return file.getvalue()


# HTTP -----------------------------------------------------------------------------------------------------------------


def test_a_file_over_http_in_any_case_of_letters(clip: Path) -> None:
    with server(http_file(clip)) as port:
        assert count(f"HTTP://127.0.0.1:{port}/v.ts") == 12
    with server(http_file(clip, ranges=False)) as port:
        assert count(f"http://127.0.0.1:{port}") == 12


def test_a_file_whose_table_is_at_its_end(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", FRAMES, rate=12)
    with server(http_file(path)) as port:
        assert count(f"http://127.0.0.1:{port}/v.mp4") == 12


def test_a_file_goes_on_where_the_connection_broke(clip: Path) -> None:
    with server(http_file(clip, breaks_after=2000)) as port:
        assert count(f"http://127.0.0.1:{port}/v.ts") == 12


def test_a_broken_connection_without_ranges_is_an_error(clip: Path) -> None:
    with (
        server(http_file(clip, ranges=False, breaks_after=clip.stat().st_size - 188)) as port,
        pytest.raises(VideoError, match="connection broke after"),
    ):
        count(f"http://127.0.0.1:{port}/v.ts")


def seen(source: object) -> list[Picture]:
    assert isinstance(source, LiveSource)
    source._sleep = lambda seconds: None
    return list(source)


@pytest.mark.parametrize("headers", [["Content-Length: {size}"], ["Transfer-Encoding: chunked"], []])
def test_a_finite_file_ends_and_is_not_played_again(clip: Path, headers: list[str]) -> None:
    """By its stated length, by the last chunk, or because what comes after a reconnect is the same again."""
    data = clip.read_bytes()
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data) if "chunked" in str(headers) else data
    with server(http(body, *(line.format(size=len(data)) for line in headers))) as port:
        source = find_live_source(f"http://127.0.0.1:{port}/v.ts")
        assert len(seen(source)) == 12
    assert source.health.state == "ended"
    assert source.health.reconnects == (0 if headers else 1)


def test_a_playlist_is_not_followed(clip: Path) -> None:
    asked = []

    def answer(connection: object, request: str) -> None:
        asked.append(request.split()[1])
        http(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nv.ts\n#EXT-X-ENDLIST\n")(connection, request)  # type: ignore[arg-type]

    with server(answer) as port, pytest.raises(VideoError):
        count(f"http://127.0.0.1:{port}/list.m3u8")
    assert asked == ["/list.m3u8"]


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:{other}/v.ts", "http://localhost:{port}/v.ts", "https://127.0.0.1:{port}/x"]
)
def test_redirects_to_another_host_or_port_are_not_followed(clip: Path, where: str) -> None:
    hits = []

    def other(connection: object, request: str) -> None:
        hits.append(request)

    with server(other) as other_port:

        def answer(connection: object, request: str) -> None:
            target = where.format(other=other_port, port=port)
            http(b"", f"Location: {target}", "Content-Length: 0", status="302 Found")(connection, request)  # type: ignore[arg-type]

        with server(answer) as port, pytest.raises(VideoError, match="redirects to"):
            count(f"http://127.0.0.1:{port}/a")
    assert hits == []


def test_redirects_on_the_same_host_are_followed_but_not_for_ever(clip: Path) -> None:
    file = http_file(clip)

    def answer(connection: object, request: str) -> None:
        if request.startswith("GET /v.ts?x=1 "):
            file(connection, request)  # type: ignore[arg-type]
        else:
            to = "/v.ts?x=1" if request.startswith("GET /a ") else "b"
            http(b"", f"Location: {to}", "Content-Length: 0", status="301 Moved")(connection, request)  # type: ignore[arg-type]

    with server(answer) as port:
        assert count(f"http://127.0.0.1:{port}/a") == 12
        with pytest.raises(VideoError, match="circle"):
            count(f"http://127.0.0.1:{port}/b")


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_a_user_name_and_a_password_are_sent_when_they_are_wanted(clip: Path, scheme: str) -> None:
    file = http_file(clip)

    def answer(connection: object, request: str) -> None:
        given = next((line for line in request.split("\r\n") if line.startswith("Authorization: ")), "")
        right = (
            "Basic bWU6cGEvc3M=" in given if scheme == "Basic" else 'username="me"' in given and 'uri="/v.ts"' in given
        )
        ask = f'WWW-Authenticate: {scheme} realm="cam", nonce="1", qop="auth", algorithm=MD5'
        refusal = http(b"", ask, "Content-Length: 0", status="401 No")
        (file if right else refusal)(connection, request)  # type: ignore[arg-type]

    with server(answer) as port:
        assert count(f"http://me:pa%2Fss@127.0.0.1:{port}/v.ts") == 12
        with pytest.raises(VideoError, match="user name and a password"):
            count(f"http://127.0.0.1:{port}/v.ts")


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("boundary", ["frame", "--frame"])
def test_motion_jpeg(length: bool, boundary: str) -> None:
    parts = b""
    for level in (10, 90, 200):
        picture = jpeg(level)
        stated = f"Content-Length: {len(picture)}\r\n" if length else ""
        parts += f"--frame\r\nContent-Type: image/jpeg\r\n{stated}\r\n".encode() + picture + b"\r\n"
    answer = http(parts + b"--frame--\r\n", f"Content-Type: multipart/x-mixed-replace; boundary={boundary}")
    with server(answer) as port, closing(open_address(f"http://127.0.0.1:{port}/mjpeg", 20)) as found:
        pictures = list(found)
    assert [round(float(rgb.float().mean()), -1) for _, rgb in pictures] == [10, 90, 200]
    assert {stamp for stamp, _ in pictures} == {None}  # they come when they come


def endless(connection: object, head: bytes) -> None:
    connection.sendall(head)  # type: ignore[attr-defined]
    while True:
        connection.sendall(bytes(2**20))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (
            "Content-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\nContent-Length: 2000000000\r\n\r\n",
            "limit",
        ),
        (
            "Content-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\nContent-Type: image/jpeg\r\n\r\n",
            "goes on for",
        ),
        ("Content-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\nX: ", "goes on for"),
        ("Content-Type: video/x-flv\r\n\r\nFLV\x01\x01\0\0\0\x09\0\0\0\0", "without a picture|cannot be read"),
        ("Content-Type: video/mp2t\r\n\r\n", "without a picture|cannot be read"),
        (f"Content-Length: {'9' * 5000}\r\n\r\n", "without a picture|cannot be read"),
        (f"X: {'9' * 2**17}\r\n\r\n", "cannot be read"),
    ],
)
def test_what_a_sender_claims_costs_no_memory(head: str, reason: str) -> None:
    with (
        server(lambda connection, _: endless(connection, f"HTTP/1.1 200 OK\r\n{head}".encode("latin-1"))) as port,
        pytest.raises(VideoError, match=reason),
    ):
        count(f"http://127.0.0.1:{port}/x")


# Silence --------------------------------------------------------------------------------------------------------------


def test_a_server_that_never_answers_times_out() -> None:
    with server(lambda connection, _: until_closed(connection)) as port:
        for scheme in ("http", "rtsp"):
            with pytest.raises(VideoError, match="timeout"):
                count(f"{scheme}://127.0.0.1:{port}/x", timeout_s=0.2)


def test_a_slow_receiver_is_no_silence_of_the_sender(clip: Path) -> None:
    now = [0.0]
    with server(http_file(clip)) as port:
        watch = Watch("x", 5, clock=lambda: now[0])
        seen = 0
        with closing(open_address(f"http://127.0.0.1:{port}/v.ts", 5, watch=watch)) as found:
            for _ in found:
                seen += 1
                now[0] += 60
    assert seen == 12


@pytest.mark.parametrize("kind", ["http", "rtsp"])
@pytest.mark.parametrize("when", ["opening", "playing"])
def test_whatever_waits_is_let_go_at_once_when_asked(clip: Path, kind: str, when: str) -> None:
    def http_silence(connection: object, request: str) -> None:
        if when == "playing":
            http(clip.read_bytes())(connection, request)  # type: ignore[arg-type]
        until_closed(connection)  # type: ignore[arg-type]

    answer = (
        http_silence if kind == "http" else rtsp(clip.read_bytes(), then="silence" if when == "playing" else "hang")
    )
    with server(answer) as port:
        watch = Watch("x", 600)
        threading.Timer(0.3, watch.stop).start()
        with (
            pytest.raises(Interrupted),
            closing(open_address(f"{kind}://127.0.0.1:{port}/x", 600, watch=watch)) as found,
        ):
            list(found)


# RTSP -----------------------------------------------------------------------------------------------------------------


def test_rtsp(stream: bytes) -> None:
    with server(rtsp(stream)) as port, closing(open_address(f"RTSP://me:secret@127.0.0.1:{port}/live", 20)) as found:
        assert len(list(found)) > 30
        assert not found.finished  # nothing said that this was the end


def test_rtsp_of_a_stated_length_ends(stream: bytes) -> None:
    with server(rtsp(stream, seconds=60.0)) as port:
        source = find_live_source(f"rtsp://127.0.0.1:{port}/file")
        assert len(seen(source)) > 30
    assert source.health.state == "ended"
    assert source.health.reconnects == 0


def test_rtsp_redirects_to_another_host_or_port_are_not_followed(clip: Path) -> None:
    hits: list[str] = []
    with server(lambda connection, request: hits.append(request)) as other:
        answer = rtsp(b"", redirect=f"rtsp://me:secret@127.0.0.1:{other}/live")
        with server(answer) as port, pytest.raises(VideoError, match="redirects to") as caught:
            count(f"rtsp://127.0.0.1:{port}/live")
    assert hits == []
    assert "secret" not in str(caught.value)


# Passwords ------------------------------------------------------------------------------------------------------------

SECRET = "s3cret"
ADDRESSES = [
    "rtsp://me:{s}@127.0.0.1:{port}/live?token={s}",
    "rtsp://me:{s}/x@127.0.0.1:{port}/live",
    "rtsp://me:1{s}#?/@127.0.0.1:{port}/",
    "rtsp://me:12/{s}@127.0.0.1:{port}/live",
    "rtsp://127.0.0.1:{port}/user=admin&password={s}&channel=1",
    "http://me:{s}@127.0.0.1:{port}/{s}/live.ts",
    "http://127.0.0.1:{port}/x?password={s}#{s}",
    "HTTP://me:a@{s}@127.0.0.1:{port}",
    "ftp://me:{s}@host/x",
    "http://[{s}/",
    "http://127.0.0.1:{port}/\x01{s}",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_password_is_shown(address: str) -> None:
    with server(lambda connection, request: None) as port:
        text = address.format(s=SECRET, port=port)
        assert SECRET not in without_password(text)
        with pytest.raises((VideoError, ConfigError)) as caught:
            find_live_source(text, timeout_s=5).open()
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_an_address_is_shown_by_host_and_port() -> None:
    assert without_password("rtsp://me:secret@10.0.0.1/live?token=x") == "rtsp://10.0.0.1/..."
    assert without_password("http://[::1]:8080") == "http://[::1]:8080"
    found = Address.parse("RTSPS://me:p%2Fq@cam.local/a b".replace(" ", "%20"))
    assert (found.scheme, found.host, found.port, found.user, found.rest) == (
        "rtsps",
        "cam.local",
        322,
        ("me", "p/q"),
        "/a%20b",
    )


@pytest.mark.parametrize("text", ["file:///etc/passwd", "concat://a|b", "ftp://h/x", "://x"])
def test_addresses_of_other_kinds_are_not_opened(text: str) -> None:
    with pytest.raises(ConfigError, match="not opened"):
        find_live_source(text)


def test_a_password_with_a_slash_is_explained() -> None:
    with pytest.raises(ConfigError, match=re.escape("%2F for /")):
        find_live_source("rtsp://me:pa/ss@host/live")
