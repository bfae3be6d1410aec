"""When there is too much, when something hangs or dies, when clients leave, and when the server is to end."""

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.serve.helpers import PATIENCE_S, Answer, Running, eventually, form, form_header, running
from tests.tiny import tiny_classifier
from videoswin.classifier.bundled import sample_videos
from videoswin.predict.scoring import VideoClassifier
from videoswin.serve.models import Models, ServedModel


class Gated(VideoClassifier):
    """A model that waits at a gate before each pass, and keeps the number of views of each."""

    def __init__(self) -> None:
        self.inner = tiny_classifier()
        self.preprocessing, self.labels = self.inner.preprocessing, self.inner.labels
        self.name, self.none_threshold = "gated", None
        self.entered, self.gate = threading.Semaphore(0), threading.Event()
        self.passes: list[int] = []

    @property
    def num_parameters(self) -> int:
        return 0

    def logits(self, clips: Tensor) -> Tensor:
        self.passes.append(len(clips))
        self.entered.release()
        assert self.gate.wait(PATIENCE_S)
        return self.inner.logits(clips)


@pytest.fixture
def gated() -> Gated:
    return Gated()


def models_of(classifier: VideoClassifier) -> Models:
    return Models({classifier.name: ServedModel(classifier, "")})


def test_requests_of_different_clients_share_passes(gated: Gated, clip: Path) -> None:
    alone = Gated()
    alone.gate.set()
    with running(models_of(alone), share=False) as server:
        expected = server.post("/v1/predict", clip).json
    with running(models_of(gated)) as server, ThreadPoolExecutor(4) as clients:
        first = clients.submit(server.post, "/v1/predict", clip)
        assert gated.entered.acquire(timeout=PATIENCE_S)
        others = [clients.submit(server.post, "/v1/predict", clip) for _ in range(3)]
        eventually(lambda: len(server.service.batcher._requests) == 3)
        gated.gate.set()
        answers = [future.result() for future in [first, *others]]
    assert gated.passes == [1, 3]
    for answer in answers:
        assert answer.json["predictions"][0]["label"] == expected["predictions"][0]["label"]
        assert answer.json["predictions"][0]["score"] == pytest.approx(expected["predictions"][0]["score"], abs=2e-6)


def test_without_sharing_each_has_its_own_pass(gated: Gated, clip: Path) -> None:
    with running(models_of(gated), share=False) as server, ThreadPoolExecutor(3) as clients:
        waiting = [clients.submit(server.post, "/v1/predict", clip) for _ in range(3)]
        assert gated.entered.acquire(timeout=PATIENCE_S)
        gated.gate.set()
        assert [future.result().status for future in waiting] == [200, 200, 200]
    assert gated.passes == [1, 1, 1]


def test_a_full_queue_is_told_at_once(gated: Gated, clip: Path) -> None:
    with running(models_of(gated), queue=1) as server, ThreadPoolExecutor(1) as client:
        first = client.submit(server.post, "/v1/predict", clip)
        assert gated.entered.acquire(timeout=PATIENCE_S)
        second = server.post("/v1/predict", clip)
        assert (second.status, second.code) == (503, "busy")
        assert int(second.headers["retry-after"]) >= 1
        gated.gate.set()
        assert first.result().status == 200
        assert server.post("/v1/predict", clip).status == 200


def test_too_late_is_told_and_the_work_stops(gated: Gated, clip: Path) -> None:
    """20 views take passes of 16 and 4; the second does not happen (nor the first, where decoding alone took too long)."""
    with running(models_of(gated), timeout_s=2.0) as server:
        answer = server.post("/v1/predict", clip, views="20x1")
        assert (answer.status, answer.code) == (504, "too_late")
        assert server.service.queue.taken == 0
        gated.gate.set()
    with running(models_of(gated)) as server:
        assert server.post("/v1/predict", clip).status == 200
    assert gated.passes in ([16, 1], [1])


def test_a_client_that_leaves_frees_its_place(gated: Gated, clip: Path) -> None:
    with running(models_of(gated), queue=1) as server:
        body = form(clip.read_bytes(), views="20x1")
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as raw:
            raw.sendall(_head(body))
            raw.sendall(body)
            assert gated.entered.acquire(timeout=PATIENCE_S)
            assert server.service.queue.taken == 1
        eventually(lambda: server.service.queue.taken == 0 and server.service.in_flight == 0)
        gated.gate.set()
        assert server.post("/v1/predict", clip).status == 200
    assert gated.passes == [16, 1]


def test_a_client_that_leaves_while_uploading_frees_its_place(server: Running) -> None:
    body = form(bytes(10_000))
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as raw:
        raw.sendall(_head(body) + body[:5000])
        eventually(lambda: server.service.uploads.taken == 1)
    eventually(lambda: server.service.uploads.taken == 0 and server.service.in_flight == 0)
    assert list(server.service.folder.glob("upload-*")) == []


def _head(body: bytes) -> bytes:
    kind = form_header()["Content-Type"]
    return (
        f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()


def test_a_decoder_that_hangs_is_replaced(models: Models, clip: Path) -> None:
    with running(models, decode_timeout_s=0.2) as server:
        (worker,) = server.service.decoders.processes
        os.kill(worker.pid, signal.SIGSTOP)
        answer = server.post("/v1/predict", clip)
        assert (answer.status, answer.code) == (422, "bad_video")
        assert "longer than" in answer.json["error"]["message"]
    with running(models) as server:
        assert server.post("/v1/predict", clip).status == 200


def test_a_decoder_that_dies_is_replaced(models: Models, clip: Path) -> None:
    with running(models) as server, ThreadPoolExecutor(1) as client:
        (worker,) = server.service.decoders.processes
        pid = worker.pid
        os.kill(pid, signal.SIGSTOP)
        asked = client.submit(server.post, "/v1/predict", clip)
        eventually(lambda: server.service.queue.taken == 1 and server.service.decoders._idle.empty())
        os.kill(pid, signal.SIGKILL)
        answer = asked.result()
        assert (answer.status, answer.code) == (422, "bad_video")
        assert server.post("/v1/predict", clip).status == 200
        (other,) = server.service.decoders.processes
        assert other.pid != pid
        with pytest.raises(ValueError, match="closed"):  # nothing of it is held any more
            worker.is_alive()
        assert b"videoswin_decoders_replaced_total 1.0" in server.request("GET", "/metrics").body
        assert server.request("GET", "/readyz").status == 200


def test_not_ready_while_no_decoder_lives(models: Models) -> None:
    with running(models) as server:
        (worker,) = server.service.decoders.processes
        os.kill(worker.pid, signal.SIGKILL)
        eventually(lambda: worker not in server.service.decoders.processes)
        assert server.request("GET", "/healthz").status == 200
        eventually(lambda: server.request("GET", "/readyz").status == 200)


def test_a_decoder_has_little_memory(models: Models, clip: Path) -> None:
    with running(models, decode_bytes=1) as server:
        answer = server.post("/v1/predict", clip, views="20x1")
        assert answer.status in (413, 422)
        assert server.request("GET", "/healthz").status == 200


def test_a_model_that_fails_is_the_servers_fault(clip: Path) -> None:
    broken = tiny_classifier()
    with torch.no_grad():
        broken.model.head.fc.bias.fill_(float("nan"))
    with running(models_of(broken)) as server:
        answer = server.post("/v1/predict", clip)
        assert (answer.status, answer.code) == (500, "model_failed")
        assert server.request("GET", "/readyz").status == 200


def test_draining_lets_requests_end(gated: Gated, clip: Path) -> None:
    with running(models_of(gated)) as server, ThreadPoolExecutor(1) as client:
        kept = server.connect()
        kept.request("GET", "/readyz")
        assert kept.getresponse().read() == b'{"state":"ready"}'
        first: object = client.submit(server.post, "/v1/predict", clip)
        assert gated.entered.acquire(timeout=PATIENCE_S)
        server.server.drain()
        assert (server.request("GET", "/readyz").status, server.request("GET", "/healthz").status) == (503, 200)
        refused = server.post("/v1/predict", clip)
        assert (refused.status, refused.code) == (503, "busy")
        gated.gate.set()
        answer = first.result()  # type: ignore[attr-defined]
        assert isinstance(answer, Answer)
        assert answer.status == 200
        server.thread.join(PATIENCE_S)
        assert not server.thread.is_alive()
        kept.close()


def test_mixed_requests_leave_nothing_behind(server: Running, clip: Path) -> None:
    """The long one is benchmarks/serve_mixed.py."""

    def one(number: int) -> int:
        kind = number % 4
        if kind == 0:
            return server.post("/v1/predict", clip).status
        if kind == 1:
            return server.post("/v1/predict", b"no video").status
        if kind == 2:
            return server.request("POST", "/v1/predict", b"garbage", form_header()).status
        return server.request("GET", f"/nowhere/{number}").status

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(one, range(8)))
        eventually(lambda: server.service.in_flight == 0)
        files, threads = open_files(), threading.active_count()
        statuses = list(clients.map(one, range(40)))
        eventually(lambda: server.service.in_flight == 0)
        assert statuses == [200, 422, 400, 404] * 10
        eventually(lambda: open_files() <= files + 4)
        assert threading.active_count() <= threads + 4
    assert list(server.service.folder.glob("upload-*")) == []


@pytest.mark.slow  # two processes import everything and load the bundled model
def test_the_command_serves_and_ends_well(tmp_path: Path) -> None:
    """In its own process: the bundled model, an answer, SIGTERM, exit code 0, nothing left in the folder for temporary files."""
    command = [sys.executable, "-m", "videoswin", "serve", "--port", "0", "--decoders", "1"]
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert "at http://127.0.0.1:" in line
            port = int(line.rpartition(":")[2].rstrip("/\n"))
            server = Running(None, None, port, None)  # type: ignore[arg-type]
            sample = sample_videos()[0]
            answer = server.post("/v1/predict", sample)
            assert answer.json["predictions"][0]["label"] in sample.name
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("videoswin")] == []
