"""/v1/teach: lessons."""

import asyncio
import io
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.helpers import PATIENCE_S, Running
from tests.tiny import tiny_classifier, write_video
from videoswin.classifier.loading import load
from videoswin.serve.jobs import Jobs
from videoswin.serve.models import Models
from videoswin.serve.refusals import Refused
from videoswin.serve.settings import ServeSettings
from videoswin.serve.teaching import Lessons
from videoswin.train import start


@pytest.fixture(autouse=True)
def tiny_start(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("start") / "tiny"
    tiny_classifier().save(folder)
    monkeypatch.setattr(start, "DEFAULT_START", str(folder))


@pytest.fixture
def begin(server: Running) -> Iterator[Callable[[], str]]:
    """Begins lessons, whose names it gives; they end with the test, however that ends: the server takes few."""
    begun = []

    def one() -> str:
        begun.append(server.request("POST", "/v1/teach").json["id"])
        return begun[-1]

    yield one
    for id in begun:
        server.request("DELETE", f"/v1/teach/{id}")


def wait(server: Running, id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while (lesson := server.request("GET", f"/v1/teach/{id}").json)["job"]["state"] in ("waiting", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return lesson


def test_a_lesson(server: Running, begin: Callable[[], str], tmp_path: Path) -> None:
    id = begin()
    early = server.request("POST", f"/v1/teach/{id}/train")
    assert (early.status, early.code) == (422, "too_few")
    clips = [(label, write_video(tmp_path / f"{label}{n}.mp4", frames=10, seed=n % 2 + 50 * number))
             for number, label in enumerate(("wink", "nod")) for n in range(4)]  # fmt: skip
    for label, path in clips:
        added = server.post(f"/v1/teach/{id}/clips", path, label=label)
        assert added.status == 201, added.body
    assert added.json["clips"] == {"wink": 4, "nod": 4}
    assert server.post(f"/v1/teach/{id}/clips", b"no video", label="nod").status == 422
    assert server.request("DELETE", f"/v1/teach/{id}/clips/{added.json['clip']}").json["clips"]["nod"] == 3
    assert server.request("GET", f"/v1/teach/{id}/checkpoint").status == 409
    assert server.request("POST", f"/v1/teach/{id}/train").status == 202
    lesson = wait(server, id)
    assert lesson["job"]["state"] == "done", lesson
    result = lesson["job"]["result"]
    assert 0 <= result["accuracy"] <= 1
    assert result["labels"] == ["nod", "wink", "none of these"]
    answer = server.post("/v1/predict", clips[0][1], model=lesson["model"])
    assert {p["label"] for p in answer.json["predictions"]} == {"nod", "wink", "none of these"}
    assert lesson["model"] not in server.request("GET", "/v1/models").body.decode()
    archive = server.request("GET", f"/v1/teach/{id}/checkpoint")
    with zipfile.ZipFile(io.BytesIO(archive.body)) as files:
        files.extractall(tmp_path / "mine")
    assert load(tmp_path / "mine").labels == ("nod", "wink", "none of these")
    assert str(server.service.folder) not in (tmp_path / "mine" / "README.md").read_text()
    assert server.request("DELETE", f"/v1/teach/{id}").status == 200
    assert server.post("/v1/predict", clips[0][1], model=lesson["model"]).status == 422


def test_a_lesson_belongs_to_who_knows_its_name(server: Running, clip: Path) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/train"), ("GET", "/checkpoint")):
        assert server.request(method, f"/v1/teach/guess{path}").status == 404
    assert server.post("/v1/teach/guess/clips", clip, label="x").status == 404


def test_names_are_short_and_lessons_few(server: Running, begin: Callable[[], str], clip: Path) -> None:
    ids = [begin() for _ in range(2)]
    assert server.request("POST", "/v1/teach").status == 503
    assert server.post(f"/v1/teach/{ids[0]}/clips", clip, label="x" * 100).status == 422
    assert server.post(f"/v1/teach/{ids[0]}/clips", clip).code == "bad_setting"  # not "none of these" without a word


def test_what_is_used_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hour begins anew with each question to the lesson or to its model, and its checkpoint stays as long."""
    now = [0.0]
    settings = ServeSettings(keep_jobs_s=60)
    jobs = Jobs(tmp_path, 4, 60, 60, clock=lambda: now[0])
    models = Models({})
    lessons = Lessons(tmp_path, jobs, models, settings, clock=lambda: now[0])

    async def trained() -> str:
        lesson = lessons.begin()
        monkeypatch.setattr(jobs, "_run", lambda job: asyncio.sleep(0))
        lesson.job = jobs.add("teach", jobs.new_folder(), {})
        tiny_classifier().save(lesson.job.folder / "out" / "checkpoint")
        lesson.job.state, lesson.job.ended = "done", 0.0
        await lessons.take_up(lesson)
        return lesson.id

    id = asyncio.run(trained())
    for now[0] in (50, 100, 150):
        assert models.find(id).classifier.labels
    lessons.begin()
    jobs.forget_old()
    assert (Path(models.find(id).source) / "config.json").exists()
    now[0] = 300
    with pytest.raises(Refused):
        lessons.find(id)
    with pytest.raises(Refused):
        models.find(id)
