"""What runs inside the process of a job: a timeline of one video, or a training from a few clips of each class."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from videoswin.errors import VideoSwinError
from videoswin.serve.decode_worker import confine
from videoswin.serve.refusals import refusal_of

__all__ = ["WORK", "run_job"]

_MODEL_BYTES = 12 * 2**30
_TELL_EVERY_S = 0.2


def run_job(connection: Connection, kind: str, folder: str, settings: dict[str, Any]) -> None:
    """Do the work, telling the parent how far it is; ends with a result or an error, as JSON."""
    import os

    import torch

    threads = torch.get_num_threads()  # as many as cores, or OMP_NUM_THREADS; confine() leaves one
    confine(_MODEL_BYTES + int(settings["limits"]["max_bytes"]), may_write=True)
    torch.set_num_threads(threads)
    with suppress(OSError, AttributeError):
        os.nice(5)  # who waits for a prediction goes first

    def tell(message: dict[str, Any]) -> None:
        connection.send_bytes(json.dumps(message).encode())

    with suppress(BrokenPipeError, EOFError):
        try:
            tell({"result": WORK[kind](Path(folder), settings, tell)})
        except (VideoSwinError, MemoryError) as error:
            refused = refusal_of(error)
            tell({"error": refused.to_dict()["error"]})


def timeline(folder: Path, settings: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The files of ``videoswin timeline`` and, as ``raw.json``, the scores of all labels over time."""
    from videoswin.data.containers import Limits
    from videoswin.data.decode import open_video
    from videoswin.export.runtime import open_classifier
    from videoswin.live.decisions import DecisionSettings
    from videoswin.live.pace import Pace
    from videoswin.live.timeline import TimelineSettings, make_timeline
    from videoswin.live.timeline_files import write_timeline
    from videoswin.serve.pacing import with_clip_seconds

    classifier = open_classifier(settings["model"], settings["runtime"], settings["device"])
    pace, decisions = Pace(**settings["pace"]), DecisionSettings(**settings["decisions"])
    out = folder / "out"
    out.mkdir()
    told = [0.0]
    times: list[float] = []
    scores: list[list[float]] = []

    def each(done: int, total: int) -> bool:
        if time.monotonic() - told[0] > _TELL_EVERY_S:
            told[0] = time.monotonic()
            tell({"progress": done / max(1, total), "stage": f"frame {done} of {total}"})
        return True

    def answered(time_s: float, found: list[float]) -> None:
        times.append(round(time_s, 3))
        scores.append([round(score, 4) for score in found])

    limits = Limits(**settings["limits"])
    with open_video(settings["path"], name=settings["name"], limits=limits) as video:
        pace = with_clip_seconds(pace.suited(classifier), classifier.preprocessing, video.info.duration_s)
        # Taken as one action, a video has one beginning; what can be told is when its label became sure.
        anchor = 1.0 if pace.clip_seconds == video.info.duration_s else None
    chosen = TimelineSettings(pace, decisions, settings["cuts"], settings["gate"], anchor)
    found = make_timeline(classifier, settings["path"], chosen, each=each, answered=answered, limits=limits)
    found = replace(found, path=settings["name"])
    write_timeline(found, out, page_title=settings["name"])
    raw = {"labels": list(found.labels), "times_s": times, "scores": scores, "decisions": asdict(decisions)}
    (out / "raw.json").write_text(json.dumps(raw), encoding="utf-8")
    return found.to_dict()


def teach(folder: Path, settings: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The checkpoint of a lesson, as a folder and zipped, and what is known of it."""
    import shutil

    from videoswin.classifier.loading import load
    from videoswin.data.annotations import Clip
    from videoswin.train.teach import teach as fit

    rows = [Clip(Path(path), label, "", group) for path, label, group in settings["rows"]]
    done = [0]

    def step() -> None:
        done[0] += 1
        tell({"progress": 0.9 * done[0] / len(rows), "stage": f"looking at clip {done[0]} of {len(rows)}"})

    taught = fit(load(settings["start"]), rows, features=Path(settings["features"]), step=step)
    (folder / "out").mkdir()
    taught.classifier.save(folder / "out" / "checkpoint")
    shutil.make_archive(str(folder / "out" / "checkpoint"), "zip", folder / "out" / "checkpoint")
    return taught.to_dict()


WORK: dict[str, Callable[[Path, dict[str, Any], Callable[[dict[str, Any]], None]], dict[str, Any]]] = {
    "timeline": timeline,
    "teach": teach,
}
