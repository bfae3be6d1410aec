"""``videoswin stream``: labels for video while it comes."""

import atexit
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from videoswin.cli.live_options import (
    ClipSeconds,
    Cuts,
    Device,
    Enter,
    Gate,
    HopSeconds,
    Leave,
    MinDuration,
    Smoothing,
    Weights,
)
from videoswin.cli.output import DONE, FAILED, say
from videoswin.cli.weights_argument import RuntimeChoice, open_weights

if TYPE_CHECKING:
    from videoswin.cli.stream_output import StreamOutput
    from videoswin.live.recording import Recording
    from videoswin.live.session import Session
    from videoswin.storage.interrupt import Interruption

__all__ = ["stream"]


def stream(
    source: Annotated[str, Parameter(name="SOURCE", allow_leading_hyphen=True)],
    /,
    *,
    weights: Weights,
    clip_seconds: ClipSeconds = None,
    hop_seconds: HopSeconds = None,
    enter: Enter = 0.7,
    leave: Leave = 0.4,
    min_duration: MinDuration = 0.5,
    smoothing: Smoothing = 0.3,
    cuts: Cuts = True,
    gate: Gate = True,
    fast: Annotated[bool, Parameter(negative="")] = False,
    queue_seconds: float = 1.0,
    timeout: float = 10.0,
    pipe_size: Annotated[str | None, Parameter(metavar="WIDTHxHEIGHT")] = None,
    pipe_fps: float | None = None,
    record: Path | None = None,
    mqtt: Annotated[str | None, Parameter(metavar="ADDRESS")] = None,
    mqtt_name: str = "stream",
    top_k: int = 5,
    json_lines: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    limits: str | None = None,
    device: Device = "auto",
    runtime: RuntimeChoice = "auto",
) -> int:
    """Put labels on video while it comes.

    SOURCE is a video file (paced by its time stamps), a camera's number, an rtsp:// or http(s):// address, or - for a pipe
    of Y4M, MPEG-TS or raw RGB. Nothing but this command opens addresses, and only the host that is named.

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
    fast
        Files, pipes and HTTP: as quickly as possible, every frame, no dropping.
    queue_seconds
        How much video may wait for the model before the oldest frames are dropped.
    timeout
        Seconds of silence after which a camera or an address is connected again.
    pipe_size
        Of raw RGB in the pipe, such as 640x480.
    pipe_fps
        Frames per second of raw RGB in the pipe.
    record
        Also write this mp4, with the labels drawn in.
    mqtt
        Also send starts and ends to this MQTT broker, such as mqtt://192.168.1.5 (docs/deploy.md). Home Assistant finds them.
    mqtt_name
        What the stream is called there.
    top_k
        How many labels to show.
    json_lines
        Print one JSON object a line and nothing else: type, time_s, and what belongs to the type.
    limits
        What a file may cost: none, or limits such as seconds=50000,timeout=600 (docs/video.md).
    runtime
        What runs an exported file: onnxruntime, openvino or torch. By default what suits the file.
    """
    from videoswin.cli.stream_output import WithEvents, open_output
    from videoswin.data.containers import Limits
    from videoswin.errors import Interrupted, VideoSwinError
    from videoswin.live.decisions import DecisionSettings
    from videoswin.live.frame_selector import FrameSelector
    from videoswin.live.mqtt import Broker, MqttEvents
    from videoswin.live.pace import Pace, make_tracker
    from videoswin.live.recording import Recording
    from videoswin.live.session import Session, open_source
    from videoswin.live.sources import find_live_source
    from videoswin.storage.interrupt import Interruption

    pace, decisions = Pace(clip_seconds, hop_seconds), DecisionSettings(smoothing, enter, leave, min_duration)
    session = recording = broker = None
    code = DONE
    with Interruption() as interruption:
        found = find_live_source(
            source,
            fast=fast,
            size=_size(pipe_size),
            rate=pipe_fps,
            timeout_s=timeout,
            limits=Limits.parse(limits or ""),
        )
        try:
            classifier = open_weights(weights, runtime, device)
            if mqtt:
                broker = MqttEvents(Broker.parse(mqtt), mqtt_name, classifier.labels)
            if record:
                recording = Recording(record, source, classifier.labels, min(top_k, 3))
            open_source(found, lambda: interruption.asked)
            fps = pace.fps(classifier.preprocessing, found.fps)
            tracker = make_tracker(classifier, pace, fps, decisions, gate=gate)
            tracker.warm_up(classifier.preprocessing.size)
            session = Session(
                found,
                FrameSelector(classifier.preprocessing, fps, cuts),
                tracker,
                queue_frames=max(2 * tracker.frames_per_step, round(queue_seconds * fps)),
                watcher=recording.add if recording else None,
            )
            shown = open_output(json_lines, classifier.labels, found.name, top_k, decisions)
            with WithEvents(shown, classifier.labels, broker.take) if broker else shown as output:
                _follow(session, output, recording, interruption)
        except Interrupted:  # while it was opened: an end like any other
            pass
        except VideoSwinError:
            code = FAILED
            raise
        finally:
            if broker:
                broker.close()
            if not (session.stop() if session else _let_go(found)):
                atexit.register(_leave, code)
            code = max(code, _finish(recording, quiet=code == FAILED))
    return code


def _follow(
    session: "Session", output: "StreamOutput", recording: "Recording | None", interruption: "Interruption"
) -> None:
    """All updates, and what there is to say at the end, even where the source failed."""
    from videoswin.errors import VideoSwinError

    failure = told = None
    try:
        for update in session:
            output.take(update, session)
            if recording and update:
                recording.scores, recording.label = update.scores or recording.scores, update.label
            if recording and recording.failure and not told:
                told = recording.failure
                say(f"{told} The stream goes on without it.")
            if interruption.asked:
                break
    except VideoSwinError as error:
        failure = error
    session.stop()
    output.end(session.tracker.finish(), session)
    if failure is not None:
        raise failure


def _let_go(source: object) -> bool:
    """Whether a source that was never streamed is closed."""
    import threading

    if any(thread.name == "videoswin opening" for thread in threading.enumerate()):
        return False
    source.close()  # type: ignore[attr-defined]
    return True


def _finish(recording: "Recording | None", quiet: bool) -> int:
    """The exit code of closing a recording. ``quiet``: another error is on its way to the user, and this is told beside it."""
    from videoswin.errors import VideoSwinError

    if recording is None:
        return DONE
    try:
        say(recording.close())
    except VideoSwinError as error:
        if not quiet:
            say(str(error))
        return FAILED
    return DONE


def _leave(code: int) -> None:
    """Python ends with all threads that it can reach. One that a driver or a name server holds would crash it on the way."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _size(text: str | None) -> tuple[int, int] | None:
    """WIDTHxHEIGHT as (height, width)."""
    from videoswin.errors import ConfigError

    if text is None:
        return None
    width, x, height = text.lower().partition("x")
    if not (x and width.isdecimal() and height.isdecimal() and 0 < int(width) <= 16384 and 0 < int(height) <= 16384):
        raise ConfigError(f'--pipe-size "{text}" is not understood. Write width x height in pixels, such as 640x480.')
    return int(height), int(width)
