"""Options that ``stream`` and ``timeline`` share, with the text of their help; what differs is the default."""

from typing import Annotated

from cyclopts import Parameter

__all__ = [
    "ClipSeconds", "Cuts", "Device", "Enter", "Gate", "HopSeconds", "Leave", "MinDuration", "Smoothing", "Weights",
]  # fmt: skip

Weights = Annotated[
    str,
    Parameter(
        metavar="CHECKPOINT",
        help="A checkpoint: the folder of a training run, or a name that `videoswin models` lists. Or an exported file: .onnx, "
        ".xml or .pt2 (see videoswin export).",
    ),
]
ClipSeconds = Annotated[
    float | None,
    Parameter(
        help="Seconds that one clip spans. For a checkpoint of whole videos it has to be given: the longest action.",
    ),
]
HopSeconds = Annotated[
    float | None,
    Parameter(help="Seconds from one answer of the model to the next. By default an eighth of a clip."),
]
Enter = Annotated[float, Parameter(help="The score that a label needs to begin.")]
Leave = Annotated[float, Parameter(help="The score below which a label ends.")]
MinDuration = Annotated[float, Parameter(help="Seconds that a label has to hold. Shorter ones are left out.")]
Smoothing = Annotated[
    float, Parameter(help="Seconds over which scores are averaged (time constant of an exponential mean).")
]
Cuts = Annotated[
    bool,
    Parameter(
        negative="--no-cuts", help="Begin afresh at each cut, so that nothing leaks from one scene into the next."
    ),
]
Gate = Annotated[bool, Parameter(negative="--no-gate", help="Do not ask the model again while nothing moves.")]
Device = Annotated[str, Parameter(help="auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.")]
