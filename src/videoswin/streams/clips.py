"""Whole clips over live video, for whatever classifies clips: an exported file, a wrapped model, another network.

:class:`~videoswin.streams.sliding.SlidingStream` gives the same answers for less, but has to see inside the model.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from videoswin.errors import ConfigError

__all__ = ["ClipsStream"]


class ClipsStream:
    """The latest ``clip_len`` frames, classified every ``hop`` frames. Costs one whole pass an answer.

    Args:
        classify: normalised clips (B, 3, clip_len, H, W) -> logits (B, num_classes).
        clip_len: frames of a clip.
        hop: frames from one answer to the next, at most ``clip_len``.

    Raises:
        ConfigError: ``hop`` is out of range.
    """

    def __init__(self, classify: Callable[[Tensor], Tensor], clip_len: int, hop: int) -> None:
        if not 1 <= hop <= clip_len:
            raise ConfigError(f"hop={hop} must be from 1 to clip_len, which is {clip_len} frames.")
        self._classify = classify
        self.clip_len = clip_len
        self.hop = hop
        self._frames: Tensor | None = None

    @property
    def frames_per_step(self) -> int:
        """Frames of a step: ``hop``."""
        return self.hop

    def push(self, clip: Tensor) -> Tensor | None:
        """The next frames, (B, 3, T, H, W) normalised, T a multiple of ``hop`` -> logits (B, num_classes) of the latest
        ``clip_len`` frames, or None while there are not so many.

        Raises:
            ConfigError: T is no multiple of ``hop``, or the frames have another size than before.
        """
        if clip.ndim != 5 or not clip.shape[2] or clip.shape[2] % self.hop:
            raise ConfigError(f"A push is (B, 3, T, H, W), T a multiple of {self.hop}; got shape {tuple(clip.shape)}.")
        before = self._frames
        if before is not None and (before.shape[:2], before.shape[3:]) != (clip.shape[:2], clip.shape[3:]):
            raise ConfigError(
                f"The stream has frames of shape {tuple(before.shape)}; got {tuple(clip.shape)}. "
                "Call reset() before another size."
            )
        frames = clip if before is None else torch.cat([before, clip], dim=2)
        self._frames = frames[:, :, -self.clip_len :].clone()  # not a view that keeps a long push alive
        return self._classify(self._frames) if self._frames.shape[2] == self.clip_len else None

    def reset(self, rows: object = None) -> None:
        """Forget all frames."""
        self._frames = None

    def state_dict(self) -> dict[str, Tensor]:
        """All that the next answers depend on; :meth:`load_state_dict` is the way back."""
        return {} if self._frames is None else {"frames": self._frames.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from :meth:`state_dict`."""
        self._frames = state["frames"].clone() if "frames" in state else None
