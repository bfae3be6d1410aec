"""WS /v1/stream."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.media_helpers import moving_picture
from tests.serve.helpers import PATIENCE_S, Running, eventually, running
from tests.tiny import tiny_classifier
from videoswin.live.decisions import DecisionSettings
from videoswin.live.frame_selector import FrameSelector
from videoswin.live.messages import event_message, scores_message
from videoswin.live.pace import Pace, make_tracker
from videoswin.live.sources import Picture
from videoswin.serve.models import Models

FPS = 12
QUERY = f"fps={FPS}&enter=0.4&leave=0.3&min_duration=0"
STOP = json.dumps({"type": "stop"})


def pictures(count: int = 40) -> list[bytes]:
    """JPEGs of a moving picture that changes its subject in the middle."""
    found = []
    for frame in (*moving_picture(count // 2), *moving_picture(count - count // 2, seed=1)):
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


def open_stream(server: Running, query: str = QUERY, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}/v1/stream?{query}", proxy=None, open_timeout=PATIENCE_S, **options)


def all_of(socket: ClientConnection) -> list[dict[str, Any]]:
    """The messages until the server closes."""
    found = []
    try:
        while True:
            found.append(json.loads(socket.recv(timeout=PATIENCE_S)))
    except ConnectionClosed:
        return found


def without_clock(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in m.items() if k != "latency_ms"} for m in messages if m["type"] != "status"]


def test_no_pong_is_waited_for(server: Running) -> None:
    """That of a client whose pictures wait lies behind them: after 20 seconds it would be cut off, without a word."""
    assert server.server.config.ws_ping_timeout is None


def test_the_answers_are_those_of_the_command(server: Running) -> None:
    jpegs = pictures()
    with open_stream(server, f"{QUERY}&replay=yes") as socket:
        for number, jpeg in enumerate(jpegs):
            socket.send(struct.pack("<d", number / FPS) + jpeg)
        socket.send(STOP)
        found = all_of(socket)
    classifier = tiny_classifier()
    pace, decisions = Pace(), DecisionSettings(0.3, 0.4, 0.3, 0.0)
    fps = pace.fps(classifier.preprocessing, FPS)
    tracker = make_tracker(classifier, pace, fps, decisions, gate=True)
    selector = FrameSelector(classifier.preprocessing, fps)
    expected = []
    for number, jpeg in enumerate(jpegs):
        rgb = torch.from_numpy(np.array(Image.open(io.BytesIO(jpeg)).convert("RGB")))
        for sample in selector.feed(Picture(number / FPS, rgb)):
            for update in tracker.feed([sample]):
                expected += [event_message(event, classifier.labels) for event in update.events]
                expected += [scores_message(update, classifier.labels, 0)] if update.scores else []
    expected += [event_message(event, classifier.labels) for event in tracker.finish()]
    assert {"start", "end", "scores"} <= {message["type"] for message in expected}
    for message, other in zip(without_clock(found), without_clock(expected), strict=True):
        assert message.keys() == other.keys()
        assert (message["type"], message["label"]) == (other["type"], other["label"])
        assert message["time_s"] == pytest.approx(other["time_s"], abs=2e-3)
    assert found[-1]["type"] == "status"
    assert found[-1]["pictures"] == len(jpegs)
    assert found[-1]["dropped"] == 0


def test_a_recording_of_a_browser_is_read(server: Running) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        track = container.add_stream("libvpx", rate=FPS)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for frame in moving_picture(40):
            container.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(track.encode(None))
    content = file.getvalue()
    with open_stream(server, f"{QUERY}&kind=recording") as socket:
        for start in range(0, len(content), 3000):
            socket.send(content[start : start + 3000])
        socket.send(STOP)
        found = all_of(socket)
    assert [m for m in found if m["type"] == "error"] == []
    assert found[-1]["pictures"] == 40


def test_pictures_that_come_too_fast_are_dropped_and_counted(server: Running) -> None:
    """How many depends on the machine; none is lost without being counted."""
    with open_stream(server) as socket:
        for jpeg in pictures():
            socket.send(jpeg)
        socket.send(STOP)
        found = all_of(socket)
    assert found[-1]["pictures"] + found[-1]["dropped"] >= 40
    assert [m for m in found if m["type"] == "error"] == []


BAD = {
    "no picture": ([b"no picture"], QUERY, "bad_video"),
    "text": (["hello"], QUERY, "bad_message"),
    "deep text": (["[" * 100_000], QUERY, "bad_message"),
    "no recording": ([b"no recording" * 100, STOP], f"{QUERY}&kind=recording", "bad_video"),
    "no time": ([b"x"], f"{QUERY}&replay=yes", "bad_setting"),
    "setting": ([], "enter=2&leave=3", "bad_setting"),
    "unknown setting": ([], "url=rtsp://127.0.0.1/", "bad_setting"),
    "a setting twice": ([], "fps=5&fps=10", "bad_setting"),
    "unknown kind": ([], "kind=hologram", "bad_setting"),
    "unknown model": ([], "model=other", "no_model"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_read_ends_the_stream_with_a_word(server: Running, what: str) -> None:
    messages, query, code = BAD[what]
    with open_stream(server, query) as socket:
        for message in messages:
            socket.send(message)
        errors = [m for m in all_of(socket) if m["type"] == "error"]
        assert socket.close_code == 1008
    assert [error["code"] for error in errors] == [code]
    assert "/" not in errors[0]["message"].replace("1/", "")


@pytest.mark.parametrize("messages", [[b"no recording" * 100, STOP], [STOP]])
def test_a_client_is_not_told_of_pipes(server: Running, messages: list[bytes | str]) -> None:
    with open_stream(server, f"{QUERY}&kind=recording") as socket:
        for message in messages:
            socket.send(message)
        (error,) = (m for m in all_of(socket) if m["type"] == "error")
    assert not any(word in error["message"] for word in ("|", "ffmpeg", "--", "pipe"))


def test_too_large_a_message_ends_the_stream(server: Running) -> None:
    with open_stream(server) as socket:
        try:
            socket.send(bytes(5 * 2**20))
        except ConnectionClosed:
            return
        all_of(socket)
        assert socket.close_code == 1009


def test_streams_are_bounded_and_a_client_that_leaves_frees_its_place(models: Models) -> None:
    with running(models, streams=1) as server:
        with open_stream(server) as first:
            first.send(pictures(4)[0])
            with open_stream(server) as second:
                (error,) = all_of(second)
                assert error["code"] == "busy"
                assert second.close_code == 1013
        eventually(lambda: server.service.streams.taken == 0)
        with open_stream(server) as third:
            third.send(STOP)
            assert all_of(third)[-1]["type"] == "status"


def test_a_stream_outlives_the_time_that_headers_may_take(models: Models) -> None:
    with running(models, idle_timeout_s=0.5) as server:

        def lives() -> bool:
            try:
                with open_stream(server) as socket:
                    first = json.loads(socket.recv(timeout=PATIENCE_S))  # a second after the beginning
                    socket.send(STOP)
                    return first["type"] == all_of(socket)[-1]["type"] == "status"
            except (
                ConnectionClosed,
                InvalidMessage,
                EOFError,
                OSError,
            ):  # on a busy machine the headers may take too long
                return False

        assert any(lives() for _ in range(5))


def test_streams_end_when_the_server_does(models: Models) -> None:
    with running(models) as server, open_stream(server) as socket:
        socket.send(pictures(4)[0])
        server.server.drain()
        all_of(socket)
        assert socket.close_code == 1001


def test_pages_of_other_sites_get_no_stream(server: Running) -> None:
    with pytest.raises(InvalidStatus) as refused:
        open_stream(server, origin="https://evil.example")  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403


def test_the_token_comes_as_a_protocol(models: Models) -> None:
    token = "a-token-of-some-length"
    with running(models, token=token) as server:
        with pytest.raises(InvalidStatus):
            open_stream(server)
        with open_stream(server, subprotocols=["videoswin", f"token.{token}"]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "videoswin"
            socket.send(STOP)
            all_of(socket)


def test_bombs_are_refused_by_their_size(models: Models, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (400, 400)).save(file, "PNG")
    with running(models, max_pixels=400 * 399) as server, open_stream(server) as socket:
        socket.send(file.getvalue())
        assert "pixels" in next(m for m in all_of(socket) if m["type"] == "error")["message"]
