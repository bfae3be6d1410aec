"""/v1/timeline: jobs."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.serve.endless_job import run_endless_job
from tests.serve.helpers import PATIENCE_S, Running, running
from tests.tiny import tiny_classifier, write_video
from videoswin.live.decisions import DecisionSettings
from videoswin.live.timeline import TimelineSettings, make_timeline
from videoswin.serve import jobs
from videoswin.serve.models import Models, ServedModel


def wait(server: Running, id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while (job := server.request("GET", f"/v1/timeline/{id}").json).get("state") in ("waiting", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "state" in job, job
    return job


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", frames=60)


def test_the_result_is_that_of_the_command(server: Running, long_clip: Path) -> None:
    began = server.post("/v1/timeline", long_clip, enter=0.4, leave=0.3, min_duration=0, gate="no")
    assert began.status == 202
    job = wait(server, began.json["id"])
    assert job["state"] == "done", job
    settings = TimelineSettings(decisions=DecisionSettings(0.0, 0.4, 0.3, 0.0), gate=False)
    expected = make_timeline(tiny_classifier(), long_clip, settings).to_dict()
    assert job["result"] == {**expected, "path": "long.mp4"}
    assert expected["segments"]
    found = {form: server.request("GET", job["links"][form]) for form in ("csv", "json", "vtt", "html", "png", "raw")}
    assert {form: answer.status for form, answer in found.items()} == dict.fromkeys(found, 200)
    assert found["csv"].body.startswith(b"start_s,end_s,label,score\n")
    assert found["vtt"].body.startswith(b"WEBVTT")
    assert found["png"].body.startswith(b"\x89PNG")
    raw = json.loads(found["raw"].body)
    assert len(raw["times_s"]) == len(raw["scores"]) > 3
    assert all(len(row) == 3 for row in raw["scores"])
    for answer in found.values():
        assert str(server.service.folder).encode() not in answer.body
        assert "attachment" in answer.headers["content-disposition"]


def test_a_bad_video_is_told(server: Running) -> None:
    job = wait(server, server.post("/v1/timeline", b"no video at all").json["id"])
    assert job["state"] == "failed"
    assert job["error"]["code"] == "bad_video"
    assert server.request("GET", f"/v1/timeline/{job['id']}/csv").status == 409


def test_bad_settings_are_refused_at_once(server: Running, clip: Path) -> None:
    assert server.post("/v1/timeline", clip, enter=0.2, leave=0.6).status == 422
    assert server.post("/v1/timeline", clip, top_k=1).status == 422
    assert server.service.jobs.open == 0


def test_jobs_end_at_will_and_are_bounded(models: Models, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "run_job", run_endless_job)
    with running(models, jobs=2) as server:
        ids = [server.post("/v1/timeline", clip).json["id"] for _ in range(2)]
        full = server.post("/v1/timeline", clip)
        assert (full.status, full.code) == (503, "busy")
        for id in reversed(ids):
            assert server.request("DELETE", f"/v1/timeline/{id}").status == 200
            assert server.request("GET", f"/v1/timeline/{id}").status == 404
        assert server.service.jobs.open == 0
        assert list(server.service.folder.iterdir()) == []


def test_a_job_belongs_to_who_knows_its_name(server: Running) -> None:
    assert server.request("GET", "/v1/timeline/guess").status == 404
    assert server.request("GET", "/v1/timeline/guess/csv").status == 404


def test_models_of_whole_videos_get_a_length(clip: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.tiny import LABELS, PREPROCESSING

    classifier = tiny_classifier(LABELS, replace(PREPROCESSING, sampling="uniform"))
    classifier.save(tmp_path / "whole")
    with running(Models({"whole": ServedModel(classifier, str(tmp_path / "whole"))})) as server:
        assert wait(server, server.post("/v1/timeline", clip).json["id"])["state"] == "done"
