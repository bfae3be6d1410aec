"""What ``--weights`` and ``--runtime`` mean, for all verbs that predict."""

from typing import TYPE_CHECKING, Literal

from videoswin.cli.output import say

if TYPE_CHECKING:
    from videoswin.predict import VideoClassifier

__all__ = ["RuntimeChoice", "open_weights"]

RuntimeChoice = Literal["auto", "torch", "onnxruntime", "openvino"]


def open_weights(weights: str, runtime: RuntimeChoice, device: str) -> "VideoClassifier":
    """A checkpoint on a device, or an exported file in its runtime; a program is announced before it is run."""
    from videoswin.runtime import is_exported, open_classifier

    if is_exported(weights) and weights.endswith(".pt2"):
        say(f"{weights} is a program, and is run as such. Give only .pt2 files that you made or whose maker you trust.")
    return open_classifier(weights, runtime, device)
