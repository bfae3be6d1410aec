"""No figure for other outputs: what must be equal before anything is timed."""

from collections.abc import Mapping

from torch import Tensor

from videoswin.errors import VideoSwinError

__all__ = ["GRADIENTS", "OUTPUTS", "DifferentResultsError", "check_gradients", "check_output", "relative_difference"]

OUTPUTS = {"float32": 1e-5, "bf16": 3e-2}
"""Largest relative difference of the logits to those of our plain engine in float32."""
GRADIENTS = {"float32": 1e-4, "bf16": 1e-1}
"""The same for the gradients, tensor by tensor."""


class DifferentResultsError(VideoSwinError):
    """Two models that should compute the same do not: their times cannot be compared."""


def relative_difference(got: Tensor, expected: Tensor, floor: float = 1e-30) -> float:
    """|got - expected| / |expected|, in float64; infinite where a number is none or the shapes differ. ``floor``: what
    |expected| is taken for where it is less."""
    if got.shape != expected.shape:
        return float("inf")
    got, expected = got.detach().double(), expected.detach().double()
    difference = float((got - expected).norm() / expected.norm().clamp(min=floor))
    return difference if difference == difference else float("inf")  # NaN is not equal to itself


def check_output(name: str, got: Tensor, expected: Tensor, precision: str) -> float:
    """The relative difference of two outputs.

    Raises:
        DifferentResultsError: it is more than :data:`OUTPUTS` allows.
    """
    difference = relative_difference(got, expected)
    _refuse(f"the outputs of {name}", difference, OUTPUTS[precision])
    return difference


def check_gradients(name: str, got: Mapping[str, Tensor], expected: Mapping[str, Tensor], precision: str) -> float:
    """The largest relative difference of the gradients, by our names.

    Raises:
        DifferentResultsError: it is more than :data:`GRADIENTS` allows, or a tensor is missing or has no partner.
    """
    if alone := sorted(got.keys() ^ expected.keys()):
        raise DifferentResultsError(f"{name} has other tensors than ours ({alone[0]}), so nothing is timed.")
    # A gradient that is zero in exact numbers, as that of the bias in a box of one token, is rounding in both.
    floor = 1e-5 * max(float(tensor.double().norm()) for tensor in expected.values())
    differences = {key: relative_difference(got[key], expected[key], floor) for key in expected}
    worst = max(differences, key=lambda key: differences[key])
    _refuse(f"the gradients of {name} ({worst})", differences[worst], GRADIENTS[precision])
    return differences[worst]


def _refuse(what: str, difference: float, tolerance: float) -> None:
    if not difference <= tolerance:
        raise DifferentResultsError(
            f"{what[0].upper()}{what[1:]} differ from ours by {difference:.1e}, more than {tolerance:.0e}, so nothing is "
            "timed. Leave this peer out with --peers, or find out which of the two is wrong."
        )
