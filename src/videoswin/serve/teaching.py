"""Sessions of teaching: clips that a client brings, the training of its classes, and the model that comes of it.

A session is known by an unguessable name, as a job is; its clips and its model are gone when it was not touched for long
enough.
"""

import asyncio
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from videoswin.serve.jobs import Job, Jobs
from videoswin.serve.models import Models, ServedModel
from videoswin.serve.refusals import Refused
from videoswin.serve.settings import ServeSettings

__all__ = ["Lesson", "Lessons"]

MAX_CLIPS = 400
MAX_BYTES = 1024 * 2**20


@dataclass(frozen=True)
class TaughtClip:
    path: Path
    label: str
    group: str
    size: int


@dataclass
class Lesson:
    """One session."""

    folder: Path
    touched: float
    id: str = field(default_factory=lambda: f"taught-{secrets.token_urlsafe(18)}")
    """Also the name of its model."""
    clips: dict[str, TaughtClip] = field(default_factory=dict)
    job: Job | None = None
    loaded: Job | None = None
    """The training whose model answers."""

    def to_dict(self) -> dict[str, Any]:
        """What its owner is told."""
        counts = Counter(clip.label for clip in self.clips.values())
        job = self.job.to_dict() if self.job else None
        ready = self.loaded is not None and self.loaded is self.job
        return {"id": self.id, "clips": dict(counts), "job": job, "model": self.id if ready else None}


class Lessons:
    """All sessions of a server."""

    def __init__(
        self,
        folder: Path,
        jobs: Jobs,
        models: Models,
        settings: ServeSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._jobs, self._models, self._settings = folder, jobs, models, settings
        self._clock = clock
        self._lessons: dict[str, Lesson] = {}

    def begin(self) -> Lesson:
        """Raises 503 if there are too many."""
        self._forget_old()
        if len(self._lessons) >= self._settings.jobs:
            raise Refused.busy("As many people as this server takes are teaching.", retry_s=60)
        folder = self._folder / secrets.token_hex(12)
        folder.mkdir(mode=0o700)
        lesson = Lesson(folder, self._clock())
        self._lessons[lesson.id] = lesson
        return lesson

    def find(self, id: str) -> Lesson:
        """Raises 404."""
        self._forget_old()
        if id not in self._lessons:
            raise Refused(404, "no_lesson", "There is no such lesson, or no more: it is kept for a while only.")
        lesson = self._lessons[id]
        self._touch(lesson)
        return lesson

    def require_room(self, lesson: Lesson, more: int = 0) -> None:
        """Raise 413 if the lesson takes no more clips."""
        total = sum(clip.size for clip in lesson.clips.values()) + more
        if len(lesson.clips) >= MAX_CLIPS or total > MAX_BYTES:
            raise Refused(
                413, "too_large", f"A lesson holds {MAX_CLIPS} clips and {MAX_BYTES // 2**20} MiB. Take some away."
            )

    def add(self, lesson: Lesson, upload: Path, label: str, group: str) -> str:
        """Keep a clip that was checked; gives its name."""
        size = upload.stat().st_size
        self.require_room(lesson, size)
        name = secrets.token_hex(8)
        lesson.clips[name] = TaughtClip(upload.rename(lesson.folder / name), label, group, size)
        return name

    def remove_clip(self, lesson: Lesson, name: str) -> None:
        """Raises 404."""
        clip = lesson.clips.pop(name, None)
        if clip is None:
            raise Refused(404, "no_clip", "There is no such clip.")
        clip.path.unlink(missing_ok=True)

    async def train(self, lesson: Lesson, start: str) -> Job:
        """Begin the training; an earlier one of the lesson is ended, though its model answers until there is a new one."""
        if lesson.job is not None and not lesson.job.is_over:
            await self._jobs.remove(lesson.job)
        rows = [[str(clip.path), clip.label, clip.group] for clip in lesson.clips.values()]
        settings = {"start": start, "rows": rows, "limits": asdict(self._settings.limits)}
        lesson.job = self._jobs.add(
            "teach", self._jobs.new_folder(), {**settings, "features": str(lesson.folder / "seen")}
        )
        return lesson.job

    async def take_up(self, lesson: Lesson) -> None:
        """Load the model of a training that is done, so that it answers under the lesson's name."""
        job = lesson.job
        if job is None or job.state != "done" or lesson.loaded is job:
            return
        from videoswin.classifier.loading import load

        folder = job.folder / "out" / "checkpoint"
        classifier = await asyncio.get_running_loop().run_in_executor(None, load, folder)
        self._models.keep_taught(lesson.id, ServedModel(classifier, str(folder)), lambda: self._touch(lesson))
        lesson.loaded = job

    async def end(self, lesson: Lesson) -> None:
        """Forget it with all that it holds."""
        self._drop(lesson)
        if lesson.job is not None:
            await self._jobs.remove(lesson.job)

    def _touch(self, lesson: Lesson) -> None:
        """The time for which it is kept, with its clips and its model, begins anew."""
        lesson.touched = self._clock()
        if lesson.job is not None:
            self._jobs.keep(lesson.job)

    def _forget_old(self) -> None:
        for lesson in list(self._lessons.values()):
            busy = lesson.job is not None and not lesson.job.is_over
            if not busy and self._clock() - lesson.touched > self._settings.keep_jobs_s:
                self._drop(lesson)

    def _drop(self, lesson: Lesson) -> None:
        self._lessons.pop(lesson.id, None)
        self._models.drop_taught(lesson.id)
        shutil.rmtree(lesson.folder, ignore_errors=True)
