"""One thread in which the models run, and what waits for it: views of all requests, gathered into shared passes, and the steps
of live streams.

Nothing waits in order to be gathered: while the model looks at some views, others arrive, and the next pass takes what is
there. A request of many views goes through in pieces, in turn with others, so that it can be stopped between two of them and
holds nobody up for long.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from videoswin.predict.batches import views_at_once
from videoswin.predict.scoring import VideoClassifier, require_finite_logits

__all__ = ["Batcher"]

T = TypeVar("T")


@dataclass
class _Request:
    classifier: VideoClassifier
    clips: Tensor
    future: Future[Tensor]
    scores: list[Tensor] = field(default_factory=list)
    done: int = 0  # views

    @property
    def left(self) -> int:
        return len(self.clips) - self.done

    def fits(self, other: "_Request") -> bool:
        return self.classifier is other.classifier and self.clips.shape[1:] == other.clips.shape[1:]


class Batcher:
    """Models in one thread.

    Args:
        share: whether views of different requests may go through the model in one pass.
        looked: called after each pass with (views, seconds).
    """

    def __init__(
        self, share: bool = True, looked: Callable[[int, float], object] = lambda views, seconds: None
    ) -> None:
        self._share, self._looked = share, looked
        self._requests: deque[_Request] = deque()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="videoswin model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def score(self, classifier: VideoClassifier, clips: Tensor) -> Future[Tensor]:
        """Normalised clips (V, 3, T, H, W) -> probabilities (V, num_classes). A cancelled one is not looked at any more."""
        future: Future[Tensor] = Future()
        self._put(self._requests, _Request(classifier, clips, future))
        return future

    def call(self, function: Callable[[], T]) -> Future[T]:
        """``function()`` in the model's thread, between two passes."""
        future: Future[T] = Future()
        self._put(self._calls, (function, future))
        return future

    def close(self) -> None:
        """End the thread after the pass it is in; what waits is cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(10)

    def _put(self, where: deque[Any], item: Any) -> None:
        with self._changed:
            if self._closed:
                raise RuntimeError("The server is going down.")
            where.append(item)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._calls or self._requests or self._closed)
                if self._closed:
                    for future in [f for _, f in self._calls] + [r.future for r in self._requests]:
                        future.cancel()
                    return
                calls = list(self._calls)
                self._calls.clear()
                batch = self._gather()
            for function, future in calls:
                if not future.cancelled():
                    _settle(future, function)
            if batch:
                self._pass(batch)

    def _gather(self) -> list[tuple[_Request, int]]:
        """Requests and how many of their views go into the next pass; the lock is held."""
        chosen: list[tuple[_Request, int]] = []
        room = 0
        waiting: deque[_Request] = deque()
        while self._requests:
            request = self._requests.popleft()
            if request.future.cancelled():
                continue
            if not chosen:
                room = views_at_once(request.clips.shape[1:], request.classifier.device)
            elif not self._share or not room or not request.fits(chosen[0][0]):
                waiting.append(request)
                continue
            count = min(room, request.left)
            chosen.append((request, count))
            room -= count
        self._requests = waiting
        return chosen

    def _pass(self, batch: list[tuple[_Request, int]]) -> None:
        classifier = batch[0][0].classifier
        began = time.perf_counter()
        try:
            pieces = [request.clips[request.done : request.done + count] for request, count in batch]
            clips = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
            scores = require_finite_logits(classifier.logits(clips), classifier.name).softmax(dim=-1)
        except Exception as error:  # noqa: BLE001  it belongs to those who asked
            for request, _ in batch:
                with suppress(InvalidStateError):
                    request.future.set_exception(error)
            return
        self._looked(len(clips), time.perf_counter() - began)
        unfinished = []
        for (request, count), found in zip(batch, scores.split([count for _, count in batch]), strict=True):
            request.scores.append(found)
            request.done += count
            if request.left:
                unfinished.append(request)
            else:
                with suppress(InvalidStateError):  # it was cancelled meanwhile
                    request.future.set_result(torch.cat(request.scores))
        if unfinished:
            with self._changed:
                self._requests.extend(unfinished)


def _settle(future: Future[T], function: Callable[[], T]) -> None:
    try:
        result = function()
    except Exception as error:  # noqa: BLE001  it belongs to the one who asked
        with suppress(InvalidStateError):
            future.set_exception(error)
    else:
        with suppress(InvalidStateError):
            future.set_result(result)
