"""One live stream: a decoder of its own, the model's state of its own, and the model shared with everybody else.

    client -> feeder -> decoding process -> samples -> queue -> model's thread -> client

The queue forgets (:class:`~videoswin.live.session.SampleQueue`): a machine that is too slow loses the oldest samples, counted,
and the delay stays bounded. With ``replay`` nothing is lost and the client has to wait.
"""

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from videoswin.errors import ConfigError, VideoSwinError
from videoswin.live.decisions import DecisionSettings, Event
from videoswin.live.frame_selector import Sample
from videoswin.live.messages import event_message, scores_message, stream_message
from videoswin.live.pace import Pace, make_tracker
from videoswin.live.session import SampleQueue
from videoswin.live.tracker import Update
from videoswin.serve.batcher import Batcher
from videoswin.serve.decode_worker import raise_from_dict
from videoswin.serve.models import ServedModel
from videoswin.serve.processes import process_context
from videoswin.serve.refusals import refusal_of
from videoswin.serve.settings import ServeSettings
from videoswin.serve.stream_worker import END, PICTURE, PIECE, TIMES, decode_stream

__all__ = ["LiveStream", "StreamChoices"]

_log = logging.getLogger(__name__)
_WAITING = 8  # pictures between the client and the decoder
_QUEUE_S = 1.0
_STATUS_EVERY_S = 1.0


@dataclass(frozen=True)
class StreamChoices:
    """What a client wants of its stream."""

    kind: str = "pictures"
    """"pictures", or "recording": the pieces of what MediaRecorder makes."""
    pace: Pace = field(default_factory=Pace)
    decisions: DecisionSettings = field(default_factory=DecisionSettings)
    fps: float = 25.0
    """Pictures a second, for checkpoints that count frames."""
    cuts: bool = True
    gate: bool = True
    replay: bool = False
    """Every picture, however long it takes; its time is what the client says."""


class LiveStream:
    """Make it outside of the event loop: it starts a process. Then :meth:`picture` or :meth:`piece`, :meth:`end`, and always
    :meth:`close`.

    Args:
        send: called, in another thread, with each message for the client; the last one is None.

    Raises:
        ConfigError: the choices do not fit the model.
    """

    def __init__(
        self,
        model: ServedModel,
        choices: StreamChoices,
        settings: ServeSettings,
        batcher: Batcher,
        send: Callable[[dict[str, Any] | None], object],
    ) -> None:
        self._labels = model.classifier.labels
        self._batcher, self._send, self._replay = batcher, send, choices.replay
        self.takes_pictures = choices.kind == "pictures"
        preprocessing = model.classifier.preprocessing
        fps = choices.pace.fps(preprocessing, choices.fps)

        def make() -> Any:
            tracker = make_tracker(model.classifier, choices.pace, fps, choices.decisions, gate=choices.gate)
            tracker.warm_up(preprocessing.size)
            return tracker

        self._tracker = batcher.call(make).result()
        self._samples = SampleQueue(
            max(2 * self._tracker.frames_per_step, round(_QUEUE_S * fps)), drops=not self._replay
        )
        context = process_context()
        self._connection, theirs = context.Pipe()
        worker = {
            "kind": choices.kind,
            "preprocessing": preprocessing.to_dict(),
            "fps": fps,
            "cuts": choices.cuts,
            "limits": asdict(settings.limits),
            "extra_bytes": settings.decode_bytes,
        }
        self._process = context.Process(
            target=decode_stream, args=(theirs, worker), name="videoswin stream decoder", daemon=True
        )
        self._process.start()
        theirs.close()
        self._began = time.monotonic()
        self._waiting: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._dropped = self._pictures = self._cuts = 0
        self._latency_s = 0.0
        self._failure: Exception | None = None
        self._closing = False
        self._threads = [
            threading.Thread(target=target, name=f"videoswin stream {target.__name__}", daemon=True)
            for target in (self._feed, self._receive, self._look)
        ]
        for thread in self._threads:
            thread.start()

    def picture(self, data: bytes) -> None:
        """The next picture. With ``replay`` it begins with its time in seconds, a little-endian float of 8 bytes, and this waits
        for a place; otherwise the oldest waiting one is dropped."""
        now = time.monotonic()
        if self._replay:
            if len(data) < 8:
                raise ConfigError("A picture begins with its time, 8 bytes.")
            self._put(PICTURE + data[:8] + TIMES.pack(now, 0.0)[:8] + data[8:])
            return
        message = PICTURE + TIMES.pack(now - self._began, now) + data
        while True:
            try:
                self._waiting.put_nowait(message)
                return
            except queue.Full:
                with suppress(queue.Empty):
                    self._waiting.get_nowait()
                    self._dropped += 1

    def piece(self, data: bytes) -> None:
        """The next piece of a recording; waits for a place."""
        self._put(PIECE + data)

    def end(self) -> None:
        """Nothing follows; what is on its way is answered."""
        self._put(END)

    def close(self) -> None:
        """End all of it, at once."""
        self._closing = True
        self._process.kill()
        self._samples.close()
        with suppress(queue.Full):
            self._waiting.put_nowait(END)
        self._process.join(5)
        for thread in self._threads:
            thread.join(5)
        with suppress(OSError):
            self._connection.close()

    def _put(self, message: bytes) -> None:
        while not self._closing and self._process.is_alive():
            with suppress(queue.Full):
                self._waiting.put(message, timeout=0.2)
                return

    def _feed(self) -> None:
        with suppress(OSError, ValueError):
            while not self._closing:
                message = self._waiting.get()
                self._connection.send_bytes(message)
                if message == END:
                    return

    def _receive(self) -> None:
        try:
            while not self._closing:
                header = json.loads(self._connection.recv_bytes())
                raise_from_dict(header)
                self._pictures, self._cuts = header.pop("pictures"), header.pop("cuts")
                if "end" in header:
                    return
                frame = torch.empty(header.pop("shape"), dtype=torch.uint8)
                self._connection.recv_bytes_into(memoryview(frame.numpy()).cast("B"))  # type: ignore[arg-type]
                self._samples.put(Sample(frame=frame, **header))
        except (EOFError, OSError):
            if not self._closing:
                self._failure = ConfigError("The decoder died on what was sent.")
        except VideoSwinError as error:
            self._failure = error
        finally:
            self._samples.close()

    def _look(self) -> None:
        told = time.monotonic()
        try:
            while not self._closing:
                samples = self._samples.take(timeout_s=0.5)
                if samples is None:
                    break
                pieces = [[sample] for sample in samples] if self._replay else [samples] if samples else []
                for piece in pieces:
                    self._tell(self._batcher.call(lambda piece=piece: self._tracker.feed(piece)).result())
                if time.monotonic() - told >= _STATUS_EVERY_S:
                    told = time.monotonic()
                    self._send(self._status())
            self._tell_events(self._tracker.finish())
            if self._failure is not None:
                self._send({"type": "error", **refusal_of(self._failure).to_dict()["error"]})
            self._send(self._status())
        except Exception as error:  # noqa: BLE001  the client is told, whatever it is
            if not self._closing:
                _log.exception("a stream failed")
                self._send({"type": "error", **refusal_of(error).to_dict()["error"]})
        finally:
            self._send(None)

    def _tell(self, updates: list[Update]) -> None:
        now = time.monotonic()
        for update in updates:
            self._tell_events(update.events)
            if update.scores:
                self._latency_s = now - update.due
                self._send(scores_message(update, self._labels, self._latency_s))

    def _tell_events(self, events: list[Event]) -> None:
        for event in events:
            self._send(event_message(event, self._labels))

    def _status(self) -> dict[str, Any]:
        return stream_message(
            "status",
            None,
            pictures=self._pictures,
            dropped=self._dropped + self._samples.dropped,
            cuts=self._cuts,
            samples=self._tracker.samples,
            skipped=self._tracker.skipped,
            latency_ms=round(1000 * self._latency_s),
        )
