"""What ``--weights`` and ``--runtime`` mean, for all verbs.

A name is looked up before PyTorch is imported, so that a typing error is answered at once.
"""

from typing import TYPE_CHECKING, Literal

from videoswin.cli.output import say

if TYPE_CHECKING:
    from videoswin.classifier.classifier import Classifier
    from videoswin.predict.scoring import VideoClassifier

__all__ = ["RuntimeChoice", "open_checkpoint", "open_weights"]

RuntimeChoice = Literal["auto", "torch", "onnxruntime", "openvino"]


def open_weights(weights: str, runtime: RuntimeChoice, device: str) -> "VideoClassifier":
    """For verbs that take whatever scores clips: a checkpoint on a device, or an exported file in its runtime; a program is
    announced before it is run."""
    from videoswin.classifier.resolve import Exported, resolve

    target = resolve(weights)
    if isinstance(target, Exported) and target.path.suffix == ".pt2":
        say(f"{weights} is a program, and is run as such. Give only .pt2 files that you made or whose maker you trust.")
    from videoswin.export.runtime import open_classifier

    return open_classifier(weights, runtime, device)


def open_checkpoint(weights: str, device: str = "cpu") -> "Classifier":
    """For verbs that need the model itself: a checkpoint on a device."""
    from videoswin.classifier.resolve import resolve

    resolve(weights)
    from videoswin.classifier.device import choose_device
    from videoswin.classifier.loading import load

    classifier = load(weights)
    classifier.model.to(choose_device(device))
    return classifier
