"""From pictures with times to labels with times: the part that files, cameras and timelines share.

    pictures --FrameSelector--> samples --Tracker--> updates

:class:`~videoswin.live.frame_selector.FrameSelector` looks at every picture: is it a cut, does anything move, does the model
get to see it? It is cheap and runs where the decoder runs. :class:`Tracker` owns the model's stream and runs where the model
runs. Between the two there may be a queue; neither uses threads or a clock.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from videoswin.errors import WeightsError
from videoswin.live.decisions import Decider, DecisionSettings, Event, Smoother, Standing
from videoswin.live.frame_selector import Sample

__all__ = ["ClipStream", "Tracker", "Update"]


class ClipStream(Protocol):
    """What is asked of a model that takes frames as they come: :class:`videoswin.streams.causal.Stream`, for causal models,
    or :class:`videoswin.streams.sliding.SlidingStream`.

    ``push``: float ``(B, 3, T, H, W)``, T a multiple of ``frames_per_step`` -> logits ``(B, classes)``, or None while the
    answer is not due. ``reset``: forget everything. ``state_dict``: all that the next answers depend on.
    """

    @property
    def frames_per_step(self) -> int: ...
    def push(self, clip: Tensor) -> Tensor | None: ...
    def reset(self) -> None: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


@dataclass(frozen=True)
class Update:
    """What is known after a step of the model."""

    time_s: float
    """Of the newest frame in it."""
    answer_s: float
    """The time that the answer is about, see ``anchor`` of :class:`Tracker`."""
    scores: list[float]
    """Smoothed probabilities, one for each class; empty where a fresh start only ended what held."""
    standing: Standing
    """What holds, or comes nearest to it."""
    events: list[Event]
    """What began or ended."""
    due: float
    """See :class:`~videoswin.live.frame_selector.Sample`."""
    skipped: bool = False
    """Nothing had moved, so the model was not asked and the scores are its last ones."""

    @property
    def label(self) -> int | None:
        """The class that holds, or None."""
        return self.standing.label


class Tracker:
    """Samples in, updates out: the model's stream, smoothing, decisions.

    Args:
        to_clip: uint8 ``(T, H, W, 3)`` to what the stream takes, ``(3, T, H, W)``.
        view_frames: sampled frames that the model's answer depends on.
        prepad: at a fresh start the first frame is taken to have stood still for so many frames before, so that a model that
            needs a whole clip answers at once.
        gate: while nothing has moved for a whole view, the model would see the same clip again; it is not asked.
        anchor: the place in the view, 0 its oldest and 1 its newest frame, whose time an answer gets: 1 for a view of now,
            about the middle for the question when something happened.
        name: of the checkpoint, for messages.
        none: the class that stands for none of the others, if there is one: it has its share of the scores, and never holds.
    """

    def __init__(
        self,
        stream: ClipStream,
        to_clip: Callable[[Tensor], Tensor],
        decisions: DecisionSettings,
        *,
        view_frames: int,
        prepad: int = 0,
        gate: bool = False,
        anchor: float = 1.0,
        device: torch.device | str = "cpu",
        name: str = "the checkpoint",
        none: int | None = None,
    ) -> None:
        self._none = none
        self._stream = stream
        self._to_clip = to_clip
        self._smoother = Smoother(decisions.smoothing_s)
        self._decider = Decider(decisions)
        self._view_frames = view_frames
        self._prepad = prepad
        self._gate = gate
        self._anchor = anchor
        self._device, self._name = device, name
        self._pending: list[Sample] = []
        self._view: deque[float] = deque(maxlen=view_frames)  # times of the frames that were pushed last
        self._scores: list[float] | None = None  # the model's last answer
        self._still = 0  # samples in a row in which nothing moved
        self._rested = False  # whether the last answer was about a view in which nothing moved
        self.samples = 0
        self.skipped = 0

    @property
    def frames_per_step(self) -> int:
        """Sampled frames that the model takes at once."""
        return self._stream.frames_per_step

    def feed(self, samples: Sequence[Sample]) -> list[Update]:
        """One update for each stretch of samples that was pushed: most often one, more at cuts.

        Whatever has queued up is pushed in one piece, so that a slow machine catches up.
        """
        updates: list[Update] = []
        for sample in samples:
            self.samples += 1
            if sample.fresh:
                updates += self._push()
                updates += self._begin(sample)
            self._still = 0 if sample.moved else self._still + 1
            self._rested = self._rested and not sample.moved
            if self._gate and self._rested:
                updates += self._push()
                self.skipped += 1
                updates.append(self._update(sample, skipped=True))
            else:
                self._pending.append(sample)
        return updates + self._push()

    def warm_up(self, size: tuple[int, int]) -> None:
        """Run the model once on nothing: its first pass is slow, and a live stream should not wait for it."""
        frames = torch.zeros(
            (self._view_frames // self.frames_per_step * self.frames_per_step, *size, 3), dtype=torch.uint8
        )
        with torch.inference_mode():
            self._stream.push(self._to_clip(frames)[None].to(self._device))
        self._stream.reset()

    def finish(self) -> list[Event]:
        """The end: what still holds ends now."""
        return self._decider.finish()

    def _begin(self, sample: Sample) -> list[Update]:
        """Forget everything before this sample. What held ended with it."""
        events = self._decider.finish(sample.time_s) if self._scores is not None else []
        self._stream.reset()
        self._smoother.reset()
        self._pending.clear()
        self._view.clear()
        self._scores, self._still, self._rested = None, 0, False
        if self._prepad:
            self._advance([(sample.time_s, sample.frame)] * self._prepad)
        none = self._decider.standing([])
        return [Update(sample.time_s, sample.time_s, [], none, events, sample.due)] if events else []

    def _push(self) -> list[Update]:
        step = self._stream.frames_per_step
        whole = len(self._pending) // step * step
        if not whole:
            return []
        ready, self._pending = self._pending[:whole], self._pending[whole:]
        logits = self._advance([(sample.time_s, sample.frame) for sample in ready])
        if logits is None:
            return []
        if not bool(logits.isfinite().all()):
            reason = f"its scores at {ready[-1].time_s:.2f} s are no numbers (NaN or infinity)"
            raise WeightsError(self._name, reason, "Check the weights, and the mean and std of its preprocessing")
        self._scores = logits[0].float().softmax(dim=-1).tolist()
        if self._none is not None:
            self._scores[self._none] = 0.0
        self._rested = self._still - len(self._pending) >= self._view_frames
        return [self._update(ready[-1])]

    def _advance(self, frames: list[tuple[float, Tensor]]) -> Tensor | None:
        self._view.extend(time_s for time_s, _ in frames)
        clip = self._to_clip(torch.stack([frame for _, frame in frames]))[None]
        with torch.inference_mode():
            return self._stream.push(clip.to(self._device))

    def _update(self, sample: Sample, skipped: bool = False) -> Update:
        assert self._scores is not None
        start_s = self._view[0]
        answer_s = start_s + self._anchor * (sample.time_s - start_s)
        scores = self._smoother.feed(answer_s, self._scores)
        events = self._decider.feed(answer_s, scores)
        return Update(sample.time_s, answer_s, scores, self._decider.standing(scores), events, sample.due, skipped)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Numbers and tensors for :meth:`restore`."""
        numbers = {
            "smoother": self._smoother.state(),
            "decider": self._decider.state(),
            "scores": self._scores,
            "still": self._still,
            "rested": self._rested,
            "samples": self.samples,
            "skipped": self.skipped,
            "view": list(self._view),
            "pending": [{**vars(sample), "frame": None} for sample in self._pending],
        }
        begun = self._stream.state_dict() if self._view else {}
        stream = {f"stream.{name}": tensor for name, tensor in begun.items()}
        return numbers, {**stream, **{f"pending.{n}": sample.frame for n, sample in enumerate(self._pending)}}

    def restore(self, numbers: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from :meth:`state`."""
        self._pending = [
            Sample(**{**fields, "frame": tensors[f"pending.{n}"]}) for n, fields in enumerate(numbers["pending"])
        ]
        prefix = "stream."
        self._stream.reset()
        if begun := {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}:
            self._stream.load_state_dict(begun)
        self._view = deque(numbers["view"], maxlen=self._view_frames)
        self._smoother.restore(numbers["smoother"])
        self._decider.restore(numbers["decider"])
        self._scores = numbers["scores"]
        self._rested = bool(numbers["rested"])
        self._still, self.samples, self.skipped = numbers["still"], numbers["samples"], numbers["skipped"]
