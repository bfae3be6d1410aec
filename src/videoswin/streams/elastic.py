"""A stream for models that were trained on whole videos: the clip is the shot so far, spread over the model's frames.

``sampling="uniform"`` shows a model one whole action, however long it took. A window of fixed length cuts actions off at both
ends, which such a model has never seen. Here the view begins at the last fresh start and grows, up to a longest length;
beyond that it slides. Each answer is what the model would say of a file that holds just this view.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from videoswin.data.sampling import uniform_clips

__all__ = ["ElasticStream"]


class ElasticStream:
    """``clip_len`` frames spread over all frames since :meth:`reset`, or over the last ``longest`` of them.

    An answer is due every ``hop`` frames, once ``shortest`` are there. Costs one forward pass an answer.
    """

    frames_per_step = 2

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        clip_len: int,
        longest: int,
        hop: int = 4,
        shortest: int | None = None,
    ) -> None:
        self._model, self._clip_len, self._longest = model, clip_len, max(longest, 2)
        self._hop, self._shortest = max(hop, 2), shortest or clip_len // 2
        self.reset()

    def reset(self, rows: object = None) -> None:
        self._frames: Tensor | None = None
        self._waiting = 0

    def push(self, clip: Tensor) -> Tensor | None:
        """float ``(B, 3, T, H, W)`` -> logits ``(B, classes)``, or None while the answer is not due."""
        frames = clip if self._frames is None else torch.cat([self._frames, clip], dim=2)
        self._frames = frames = frames[:, :, -self._longest :]
        self._waiting += clip.shape[2]
        if frames.shape[2] < self._shortest or self._waiting < self._hop:
            return None
        self._waiting = 0
        return self._model(frames[:, :, uniform_clips(frames.shape[2], self._clip_len, 1)[0]])

    def state_dict(self) -> dict[str, Tensor]:
        """All that the next answers depend on; :meth:`load_state_dict` is the way back."""
        state = {"waiting": torch.tensor(self._waiting)}
        return state if self._frames is None else {**state, "frames": self._frames.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._waiting = int(state["waiting"])
        self._frames = state["frames"].clone() if "frames" in state else None
