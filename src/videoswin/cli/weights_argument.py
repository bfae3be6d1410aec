"""What ``--weights`` and ``--runtime`` mean, for all verbs.

A name is looked up before PyTorch is imported, so that a typing error is answered at once.
"""

from typing import TYPE_CHECKING, Any, Literal

from videoswin.cli.output import say

if TYPE_CHECKING:
    from videoswin.classifier.classifier import Classifier
    from videoswin.export.runtime import ExportedClassifier

__all__ = ["RuntimeChoice", "open_weights", "told_of"]

RuntimeChoice = Literal["auto", "torch", "onnxruntime", "openvino"]


def told_of(like: str | None, num_heads: int | None) -> dict[str, Any]:
    """``--like`` and ``--num-heads``, as :func:`videoswin.load` takes them."""
    return {name: value for name, value in (("like", like), ("num_heads", num_heads)) if value is not None}


def open_weights(
    weights: str,
    runtime: RuntimeChoice = "auto",
    device: str = "auto",
    like: str | None = None,
    num_heads: int | None = None,
) -> "Classifier | ExportedClassifier":
    """A checkpoint on a device, or an exported file in its runtime; a program is announced before it is run."""
    from videoswin.classifier.resolve import Exported, resolve

    target = resolve(weights)
    if isinstance(target, Exported) and target.path.suffix == ".pt2":
        say(f"{weights} is a program, and is run as such. Give only .pt2 files that you made or whose maker you trust.")
    from videoswin.export.runtime import open_classifier

    return open_classifier(weights, runtime, device, **told_of(like, num_heads))
