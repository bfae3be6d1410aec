"""``videoswin stream``: labels for video while it comes."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from videoswin.cli.output import DONE, counted, percent, say, show

if TYPE_CHECKING:
    from videoswin.live.session import Session
    from videoswin.live.sources import Seen
    from videoswin.live.tracker import Update
    from videoswin.predict.scoring import VideoClassifier

__all__ = ["stream"]


def stream(
    source: Annotated[str, Parameter(name="SOURCE", allow_leading_hyphen=True)],
    /,
    *,
    weights: Annotated[str, Parameter(metavar="CHECKPOINT")],
    clip_seconds: float | None = None,
    hop_seconds: float | None = None,
    enter: float = 0.7,
    leave: float = 0.4,
    min_duration: float = 0.5,
    smoothing: float = 0.3,
    cuts: Annotated[bool, Parameter(negative="--no-cuts")] = True,
    gate: Annotated[bool, Parameter(negative="--no-gate")] = True,
    fast: Annotated[bool, Parameter(negative="")] = False,
    queue_seconds: float = 1.0,
    timeout: float = 10.0,
    size: Annotated[str | None, Parameter(metavar="WIDTHxHEIGHT")] = None,
    rate: float | None = None,
    record: Path | None = None,
    top_k: int = 5,
    json_lines: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    device: str = "auto",
) -> int:
    """Put labels on video while it comes.

    SOURCE is a video file (paced by its time stamps), a camera's number, an rtsp:// or http(s):// address, or - for a pipe
    of Y4M, MPEG-TS or raw RGB. Nothing but this command opens addresses.

    When the machine is too slow, the oldest waiting frames are dropped and counted; the delay stays below --queue-seconds and
    one step of the model. Ctrl-C ends it.

    For example:

        videoswin stream 0 --weights runs/mine/best
        videoswin stream rtsp://192.168.1.20/live --weights runs/mine/best --json
        ffmpeg -i INPUT -f mpegts - | videoswin stream - --weights runs/mine/best
        videoswin stream clip.mp4 --weights swin3d_micro_gestures --clip-seconds 4 --record out.mp4

    Parameters
    ----------
    source
        A file, a camera's number, an address, or - for standard input.
    weights
        A checkpoint: the folder of a training run, the name of one that comes with videoswin, or an exported file.
    clip_seconds
        Seconds that one clip spans. For a checkpoint of whole videos it has to be given: the longest action.
    hop_seconds
        Seconds from one answer of the model to the next. By default an eighth of a clip.
    enter
        The score that a label needs to begin.
    leave
        The score below which a label ends.
    min_duration
        Seconds that a label has to hold before its start is told.
    smoothing
        Seconds over which scores are averaged (time constant of an exponential mean).
    cuts
        Begin afresh at each cut, so that nothing leaks from one scene into the next.
    gate
        Do not ask the model again while nothing moves.
    fast
        Files only: as quickly as possible, every frame, no dropping.
    queue_seconds
        How much video may wait for the model before the oldest frames are dropped.
    timeout
        Seconds of silence after which a camera or an address is connected again.
    size
        Of raw RGB in the pipe, such as 640x480.
    rate
        Frames per second of raw RGB in the pipe.
    record
        Also write this mp4, with the labels drawn in.
    top_k
        How many labels to show.
    json_lines
        Print one JSON object a line and nothing else: type, time_s, and what belongs to the type.
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    """
    from videoswin.cli.weights_argument import open_weights
    from videoswin.live.decisions import DecisionSettings
    from videoswin.live.pace import Pace, make_engine
    from videoswin.live.session import Session
    from videoswin.live.sources import find_live_source
    from videoswin.live.tracker import FrontEnd
    from videoswin.storage.interrupt import Interruption

    classifier = open_weights(weights, device=device)
    pace, decisions = Pace(clip_seconds, hop_seconds), DecisionSettings(smoothing, enter, leave, min_duration)
    found = find_live_source(source, fast=fast, size=_size(size), rate=rate, timeout_s=timeout)
    fps = pace.fps(classifier.preprocessing, found.fps)
    engine = make_engine(classifier, pace, fps, decisions, gate=gate)
    engine.warm_up(classifier.preprocessing.size)
    recording = _Recording(record, classifier, top_k) if record else None
    session = Session(
        found,
        FrontEnd(classifier.preprocessing, fps, cuts),
        engine,
        queue_frames=max(2 * engine.frames_per_step, round(queue_seconds * fps)),
        watcher=recording.watch if recording else None,
    )
    output = _Lines(classifier) if json_lines else _view(classifier, found.name, top_k)
    with Interruption() as interruption:
        try:
            with output:
                for update in session:
                    output.take(update, session)
                    if recording and update:
                        recording.scores, recording.label = update.scores or recording.scores, update.label
                    if interruption.asked:
                        break
                output.end(engine.finish(), session)
        finally:
            session.stop()
            if recording:
                recording.close()
    return DONE


def _size(text: str | None) -> tuple[int, int] | None:
    """WIDTHxHEIGHT as (height, width)."""
    from videoswin.errors import ConfigError

    if text is None:
        return None
    width, x, height = text.lower().partition("x")
    if not (x and width.isdecimal() and height.isdecimal() and 0 < int(width) <= 16384 and 0 < int(height) <= 16384):
        raise ConfigError(f'--size "{text}" is not understood. Write width x height in pixels, such as 640x480.')
    return int(height), int(width)


class _Lines:
    """JSON lines: ``scores`` for each answer, ``event`` for starts and ends, ``status`` about every second and at the end."""

    def __init__(self, classifier: "VideoClassifier") -> None:
        self._labels = classifier.labels
        self._last_status = 0.0

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def take(self, update: "Update | None", session: "Session") -> None:
        if update:
            self._events(update.events)
            if update.scores:
                self._print(
                    "scores",
                    update.time_s,
                    label=None if update.label is None else self._labels[update.label],
                    scores={label: round(s, 4) for label, s in zip(self._labels, update.scores, strict=True)},
                    latency_ms=round(1000 * session.report().latency_s),
                    skipped=update.skipped,
                )
        if time.monotonic() - self._last_status >= 1:
            self._last_status = time.monotonic()
            self._status(session)

    def end(self, events: list[Any], session: "Session") -> None:
        self._events(events)
        self._status(session)

    def _events(self, events: list[Any]) -> None:
        for event in events:
            self._print(event.kind, event.time_s, label=self._labels[event.label], score=round(event.score, 4))

    def _status(self, session: "Session") -> None:
        report, health = session.report(), session.source.health
        self._print(
            "status",
            None,
            **health.to_dict(),
            fps=round(report.fps, 2),
            answers_per_s=round(report.answers_per_s, 2),
            latency_ms=round(1000 * report.latency_s),
            dropped=report.dropped,
            cuts=session.front.cuts,
            samples=session.engine.samples,
            skipped=session.engine.skipped,
        )

    def _print(self, kind: str, time_s: float | None, **fields: Any) -> None:
        print(json.dumps({"type": kind, "time_s": None if time_s is None else round(time_s, 3), **fields}), flush=True)


class _Text(_Lines):
    """For files and pipes: one line an event, and a summary."""

    def take(self, update: "Update | None", session: "Session") -> None:
        if update:
            self._events(update.events)

    def _events(self, events: list[Any]) -> None:
        for event in events:
            show(f"{event.time_s:9.2f} s  {event.kind:<5}  {self._labels[event.label]}  {percent(event.score)}")

    def _status(self, session: "Session") -> None:
        report, health = session.report(), session.source.health
        lost = report.dropped + health.late
        spared = session.engine.skipped / max(1, session.engine.samples)
        say(
            f"{counted(health.pictures, 'picture')}, {counted(session.front.cuts, 'cut')}, {lost:,} dropped, "
            f"{counted(health.reconnects, 'reconnect')}, {percent(spared)} of the looks spared"
        )


def _view(classifier: "VideoClassifier", title: str, top_k: int) -> Any:
    """The live view at a terminal, plain lines elsewhere."""
    return _Screen(classifier, title, top_k) if sys.stdout.isatty() else _Text(classifier)


class _Screen:
    """The live view, drawn again at most ten times a second."""

    def __init__(self, classifier: "VideoClassifier", title: str, top_k: int) -> None:
        from rich.console import Console

        from videoswin.cli.live_view import LiveView

        self._view = LiveView(title, classifier.labels, top_k, Console())

    def __enter__(self) -> "_Screen":
        self._view.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._view.__exit__()

    def take(self, update: "Update | None", session: "Session") -> None:
        if update:
            self._view.add(update.time_s, update.scores, update.label, update.events)
        self._view.show(session.report(), session.source.health, session.engine, session.front.cuts)

    def end(self, events: list[Any], session: "Session") -> None:
        self._view.show(session.report(), session.source.health, session.engine, session.front.cuts)


class _Recording:
    """Draws what is known so far into every picture, in the source's thread, and hands it to the recorder."""

    def __init__(self, path: Path, classifier: "VideoClassifier", top_k: int) -> None:
        from videoswin.data.record import Recorder

        self._recorder = Recorder(path)
        self._labels, self._top_k = classifier.labels, min(top_k, 3)
        self.scores: list[float] = []
        self.label: int | None = None

    def watch(self, seen: "Seen") -> None:
        from videoswin.live.draw import draw_labels

        scores = self.scores
        best = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[: self._top_k]
        title = "none" if self.label is None else self._labels[self.label]
        drawn = draw_labels(seen.rgb.numpy(), title, [(self._labels[i], scores[i]) for i in best])
        self._recorder.add(seen.time_s, drawn)

    def close(self) -> None:
        self._recorder.close()
        lost = f", {self._recorder.dropped:,} frames left out" if self._recorder.dropped else ""
        say(f"recorded {self._recorder.path}{lost}")
