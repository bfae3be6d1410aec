"""POST /v1/predict, and what is refused at the door."""

import json
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.serve.helpers import BOUNDARY, PATIENCE_S, Running, form, form_header, part, running
from tests.tiny import tiny_classifier, write_video
from videoswin.predict.scoring import predict
from videoswin.serve.models import Models


def test_the_answer_is_that_of_the_command(server: Running, clip: Path) -> None:
    answer = server.post("/v1/predict", clip, views="2x3", top_k=2)
    expected = predict(tiny_classifier(), clip, "2x3", 2).to_dict()
    assert answer.status == 200
    found = answer.json
    assert found.keys() == expected.keys()
    assert [p["label"] for p in found["predictions"]] == [p["label"] for p in expected["predictions"]]
    for one, other in zip(found["predictions"], expected["predictions"], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=2e-6)
    assert {**found, "predictions": 0} == {**expected, "path": "clip.mp4", "predictions": 0}


def test_raw_scores_are_enough_to_decide_again(server: Running, clip: Path) -> None:
    raw = server.post("/v1/predict", clip, views="2x1", raw="true").json["raw"]
    assert raw["labels"] == ["clap", "nod", "wave"]
    assert [len(view["scores"]) for view in raw["views"]] == [3, 3]
    assert all(sum(view["scores"]) == pytest.approx(1, abs=1e-5) for view in raw["views"])


REFUSED = {
    "text": (b"hello, this is text " * 20, 422, "bad_video"),
    "playlist": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 422, "bad_video"),
    "zeros": (bytes(5000), 422, "bad_video"),
    "empty": (b"", 422, "bad_video"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_video_is_refused(server: Running, what: str) -> None:
    content, status, code = REFUSED[what]
    answer = server.post("/v1/predict", content)
    assert (answer.status, answer.code) == (status, code)


def test_a_truncated_video_is_called_so(server: Running, clip: Path) -> None:
    content = clip.read_bytes()
    answer = server.post("/v1/predict", content[: len(content) // 2])
    assert answer.status == 422


FORMS = {
    "not a form": ({"Content-Type": "video/mp4"}, b"x", 415, "no_form"),
    "no type": ({}, b"x", 415, "no_form"),
    "no boundary": ({"Content-Type": "multipart/form-data"}, b"x", 400, "bad_form"),
    "endless boundary": ({"Content-Type": f"multipart/form-data; boundary={'x' * 1000}"}, b"x", 400, "bad_form"),
    "garbage": (form_header(), b"garbage", 400, "bad_form"),
    "cut off": (form_header(), form(b"abc")[:-20], 400, "bad_form"),
    "no video": (form_header(), part("top_k", b"1") + f"--{BOUNDARY}--\r\n".encode(), 422, "no_video"),
    "two videos": (form_header(), part("video", b"a", "a") + form(b"b"), 422, "no_video"),
    "unknown field": (form_header(), form(b"a", url="http://127.0.0.1/"), 422, "bad_setting"),
    "field twice": (form_header(), part("top_k", b"1") + form(b"a", top_k=1), 422, "bad_setting"),
    "long field": (form_header(), form(b"a", views="1" * 2000), 413, "too_large"),
    "no UTF-8": (form_header(), part("views", b"\xff\xfe") + form(b"a"), 422, "bad_setting"),
    "many fields": (form_header(), b"".join(part(f"video{i}", b"") for i in range(99)), 422, "bad_setting"),
}


@pytest.mark.parametrize("what", FORMS)
def test_what_is_no_proper_form_is_refused(server: Running, what: str) -> None:
    headers, body, status, code = FORMS[what]
    answer = server.request("POST", "/v1/predict", body, headers)
    assert (answer.status, answer.code) == (status, code)


SETTINGS = {
    "views": ("many", "bad_setting"),
    "top_k": ("0", "bad_setting"),
    "raw": ("perhaps", "bad_setting"),
    "model": ("other", "no_model"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_make_no_sense_are_refused(server: Running, clip: Path, name: str) -> None:
    value, code = SETTINGS[name]
    answer = server.request("POST", "/v1/predict", form(clip.read_bytes(), **{name: value}), form_header())
    assert (answer.status, answer.code) == (422, code)


def test_settings_in_the_address_are_refused(server: Running, clip: Path) -> None:
    """They would change nothing, and nobody would notice."""
    answer = server.post("/v1/predict?views=4x3", clip)
    assert (answer.status, answer.code) == (422, "bad_setting")


def test_too_many_views_are_refused(server: Running, clip: Path) -> None:
    assert server.post("/v1/predict", clip, views="1000x3").status == 422


NAMES = ("../../etc/passwd", "..\\..\\boot.ini", "<img src=x onerror=alert(1)>", "a" * 5000, "-rf", "ä\u202e.mp4", "")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_names_nothing_here(server: Running, clip: Path, name: str) -> None:
    """It is the client's own word, shown and never used; errors hold no path of the server."""
    body = form(clip.read_bytes(), name)
    answer = server.request("POST", "/v1/predict", body, form_header())
    if len(name) > 1000:
        assert answer.status in (200, 400)
        return
    assert answer.status == 200
    assert "/" not in answer.json["path"]
    assert "\\" not in answer.json["path"]
    bad = server.request("POST", "/v1/predict", form(b"no video at all", name), form_header())
    assert bad.status == 422
    assert str(server.service.folder) not in bad.body.decode()


def test_no_file_is_left(server: Running, clip: Path) -> None:
    server.post("/v1/predict", clip)
    server.post("/v1/predict", b"nothing")
    assert list(server.service.folder.glob("upload-*")) == []


def test_a_large_upload_is_refused_before_it_is_there(models: Models, clip: Path) -> None:
    with running(models, max_upload_bytes=100_000) as server:
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as raw:
            head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {form_header()['Content-Type']}\r\n"
            raw.sendall(head.encode() + b"Content-Length: 9999999999\r\n\r\n")
            assert b" 413 " in raw.recv(4096)
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as raw:
            raw.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
            body = part("video", bytes(50_000), "x")[:-2]
            raw.sendall(f"{len(body):x}\r\n".encode() + body + b"\r\n")
            for _ in range(2):
                raw.sendall(f"{40_000:x}\r\n".encode() + bytes(40_000) + b"\r\n")
            assert b" 413 " in raw.recv(4096)  # though the form has not ended
        assert list(server.service.folder.iterdir()) == []
        assert server.service.uploads.taken == 0
        assert server.post("/v1/predict", clip).status == 200


def test_a_slow_upload_is_refused(models: Models) -> None:
    kind = form_header()["Content-Type"]
    head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
    with running(models, idle_timeout_s=0.2) as server:

        def answer() -> bytes:
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as raw:
                raw.sendall(head.encode())
                return raw.recv(4096)

        # On a busy machine the headers themselves may come too late, which ends the connection without a word.
        assert any(b" 408 " in answer() for _ in range(20))
        assert server.service.uploads.taken == 0


def test_headers_that_do_not_come_end_the_connection(models: Models) -> None:
    with (
        running(models, idle_timeout_s=0.2) as server,
        socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as raw,
    ):
        raw.sendall(b"POST /v1/predict HTT")
        assert raw.recv(4096) == b""


def test_more_connections_than_allowed_are_closed(models: Models) -> None:
    with (
        running(models, connections=1) as server,
        socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as first,
    ):
        first.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b" 200 " in first.recv(4096)
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as second, suppress(ConnectionError):
            second.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert second.recv(4096) == b""


def test_a_bomb_is_refused_by_its_pixels(models: Models, tmp_path: Path) -> None:
    large = write_video(tmp_path / "large.mp4", frames=2, size=(160, 320))
    with running(models, max_pixels=160 * 319) as server:
        answer = server.post("/v1/predict", large)
    assert (answer.status, answer.code) == (422, "bad_video")
    assert "--limits" not in answer.json["error"]["message"]


def test_openapi_describes_the_form(server: Running) -> None:
    document = json.loads(server.request("GET", "/openapi.json").body)
    content = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert set(content["schema"]["properties"]) == {"video", "model", "views", "top_k", "raw"}
    assert {"/v1/timeline", "/v1/models", "/healthz", "/readyz", "/metrics"} <= set(document["paths"])
