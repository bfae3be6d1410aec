"""Which class a clip belongs to in the mirror: "swipe left" flipped is "swipe right"."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from videoswin.errors import ConfigError, nearest

__all__ = ["FlipLabels", "with_a_side"]

_MIRRORS = (("left", "right"), ("clockwise", "counterclockwise"), ("clockwise", "anticlockwise"), ("cw", "ccw"))
_SIDES = {word for pair in _MIRRORS for word in pair}
# Words end where letters end or where camelCase starts a new word: swipe_left, SwipeLeft and LEFT, but not upright.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def with_a_side(labels: Sequence[str]) -> list[str]:
    """Those that name a side or a sense of rotation, and so may be another class in the mirror."""
    return [label for label in labels if _SIDES.intersection(word.lower() for word in _WORD.findall(label))]


@dataclass(frozen=True)
class FlipLabels:
    """What each class becomes in the mirror: ``flip_labels(label) -> label``, both indices into the label
    list.

    Build it with :meth:`of`. ``table[label]`` is the label of the mirrored clip.
    """

    table: tuple[int, ...]

    def __call__(self, label: "int | Tensor") -> "int | Tensor":
        """Of several labels, (K,), each becomes what it is in the mirror."""
        return label[list(self.table)] if isinstance(label, Tensor) else self.table[label]

    @classmethod
    def of(cls, labels: Sequence[str], pairs: Mapping[str, str] | None = None) -> "FlipLabels":
        """Swap the classes of ``pairs`` (one direction is enough; ``{"a": "a"}`` says that a class stays
        itself); for all others go by the words left/right, clockwise/counterclockwise and cw/ccw in their
        names.

        Raises ConfigError for a name in ``pairs`` that is no label, and for a class with a side whose mirror
        image is no class. Names cannot tell everything: a drawn tick or a letter has no side in its name and
        is still another shape in the mirror. Only flip when a mirrored clip belongs to a class of yours.
        """
        given = _complete_pairs(labels, pairs or {})
        mirrors = {name: given.get(name) or _mirror_class(name, labels) for name in labels}
        for name, mirror in mirrors.items():
            if mirrors[mirror] != name:
                raise ConfigError(
                    f'Flipping would turn "{name}" into "{mirror}", but "{mirror}" into "{mirrors[mirror]}". '
                    "Give both classes in the flip pairs."
                )
        return cls(tuple(labels.index(mirrors[name]) for name in labels))


def _complete_pairs(labels: Sequence[str], pairs: Mapping[str, str]) -> dict[str, str]:
    complete: dict[str, str] = {}
    for name, mirror in [*pairs.items(), *((b, a) for a, b in pairs.items())]:
        if name not in labels:
            raise ConfigError(f'The flip pair with "{name}" names no class of the data. {nearest(name, labels)}')
        if complete.setdefault(name, mirror) != mirror:
            raise ConfigError(
                f'Flipping would turn "{name}" into "{complete[name]}" and "{mirror}". Give every class one mirror.'
            )
    return complete


def _mirror_class(name: str, labels: Sequence[str]) -> str:
    mirrors = _mirror_names(name)
    if not mirrors:
        return name
    for mirror in mirrors:
        if mirror in labels:
            return mirror
    raise ConfigError(
        f'Flipping turns the class "{name}" into "{mirrors[0]}", which is no class of the data. Train without flip, '
        f'or say what it becomes: flip pairs {{"{name}": "..."}} (itself, if the word is not a direction).'
    )


def _mirror_names(name: str) -> list[str]:
    """The possible names of the mirror image, most likely first; none if the name has no side."""
    if not any(word.group().lower() in _SIDES for word in _WORD.finditer(name)):
        return []
    names = []
    for opposite in ("counterclockwise", "anticlockwise"):
        swap = {a: b for pair in _MIRRORS for a, b in (pair, pair[::-1])} | {"clockwise": opposite}
        names.append(_WORD.sub(lambda word, swap=swap: _like(word.group(), swap), name))
    return list(dict.fromkeys(names))


def _like(word: str, swap: Mapping[str, str]) -> str:
    """The opposite of ``word`` in the same capitals, or the word itself if it has no side."""
    opposite = swap.get(word.lower())
    if opposite is None:
        return word
    if word.isupper():
        return opposite.upper()
    return opposite.capitalize() if word[0].isupper() else opposite
