"""A stream for models that were trained on whole videos: the clip is the shot so far, spread over the model's frames.

``sampling="uniform"`` shows a model one whole action, however long it took. A window of fixed length cuts actions off at both
ends, which such a model has never seen. Here the view begins at the last fresh start and grows, up to a longest length;
beyond that it slides. Each answer is what the model would say of a file that holds just this view.
"""

from collections import deque
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from videoswin.data.sampling import uniform_clips

__all__ = ["ElasticStream"]


class ElasticStream:
    """``clip_len`` frames spread over all frames since :meth:`reset`, or over the last ``longest`` of them.

    An answer is due every ``hop`` frames, once ``shortest`` are there. Costs one forward pass an answer. Frames are kept as
    they come, so push bytes: they take a quarter of the memory that normalised ones do.

    Args:
        model: float ``(B, 3, clip_len, H, W)`` -> logits ``(B, classes)``.
        normalise: makes the model's clip of the chosen frames, ``(B, 3, clip_len, H, W)`` as they were pushed; by default they
            are one already.
    """

    frames_per_step = 2

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        clip_len: int,
        longest: int,
        hop: int = 4,
        shortest: int | None = None,
        normalise: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._model, self._clip_len, self._normalise = model, clip_len, normalise
        self._frames: deque[Tensor] = deque(maxlen=max(longest, 2))  # (B, 3, H, W) each
        self._hop, self._shortest = max(hop, 2), shortest or clip_len // 2
        self.reset()

    def reset(self, rows: object = None) -> None:
        self._frames.clear()
        self._waiting = 0

    def push(self, clip: Tensor) -> Tensor | None:
        """``(B, 3, T, H, W)``, uint8 or whatever ``normalise`` takes -> logits ``(B, classes)``, or None while the answer is
        not due."""
        self._frames.extend(clip.unbind(dim=2))
        self._waiting += clip.shape[2]
        if len(self._frames) < self._shortest or self._waiting < self._hop:
            return None
        self._waiting = 0
        chosen = uniform_clips(len(self._frames), self._clip_len, 1)[0].tolist()
        view = torch.stack([self._frames[number] for number in chosen], dim=2)
        return self._model(self._normalise(view) if self._normalise else view)

    def state_dict(self) -> dict[str, Tensor]:
        """All that the next answers depend on; :meth:`load_state_dict` is the way back."""
        state = {"waiting": torch.tensor(self._waiting)}
        return {**state, "frames": torch.stack(list(self._frames), dim=2)} if self._frames else state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._waiting = int(state["waiting"])
        self._frames.clear()
        if "frames" in state:
            self._frames.extend(state["frames"].clone().unbind(dim=2))
