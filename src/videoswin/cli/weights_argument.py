"""What ``--weights`` and ``--runtime`` mean, for all verbs that predict."""

from typing import TYPE_CHECKING, Literal

from videoswin.cli.output import say

if TYPE_CHECKING:
    from videoswin.predict.scoring import VideoClassifier

__all__ = ["RuntimeChoice", "open_weights", "weights_file"]

RuntimeChoice = Literal["auto", "torch", "onnxruntime", "openvino"]


def open_weights(weights: str, runtime: RuntimeChoice, device: str) -> "VideoClassifier":
    """A checkpoint on a device, or an exported file in its runtime; a program is announced before it is run."""
    from videoswin.export.runtime import is_exported, open_classifier

    if is_exported(weights) and weights.endswith(".pt2"):
        say(f"{weights} is a program, and is run as such. Give only .pt2 files that you made or whose maker you trust.")
    return open_classifier(weights, runtime, device)


def weights_file(path_or_name: str) -> str:
    """The path itself, or where the file of a name of the catalog stands."""
    from videoswin.classifier.catalog import find, get_file

    entry = find(path_or_name)
    return path_or_name if entry is None else str(get_file(entry))
