"""What a cell in the column ``label`` means: the name of one class, or several names with ``|`` between them."""

import re
from collections.abc import Sequence
from dataclasses import replace

from videoswin.data.clips import Clip, Problems, first_few

__all__ = ["LabelCells", "SeveralLabelCells", "WholeCells"]

_BETWEEN_LABELS = re.compile(r"[;|]")


class LabelCells:
    """One class for each clip; ``x|y`` is a name like any other, unless ``x`` or ``y`` are classes too."""

    def read(self, rows: Sequence[Clip], problems: Problems, labels: Sequence[str] | None = None) -> list[Clip]:
        """The rows with their classes; cells that cannot be used are problems.

        ``x;y`` beside ``x`` or ``y``: two labels of one clip, or the name of a third class? With ``labels``, the classes are known.
        """
        if labels is not None:
            return list(rows)
        alone = {row.label for row in rows if not _BETWEEN_LABELS.search(row.label)}
        for row in rows:
            parts = [part.strip() for part in _BETWEEN_LABELS.split(row.label)]
            if len(parts) > 1 and alone.intersection(parts):
                text = f'is "{row.label}" one class, or are these {len(parts)} labels? A clip has one; '
                problems.add(
                    row.line,
                    f"{text}name a class without ; and |, list the clip under one of them, or train with --multi-label",
                )
        return list(rows)

    def notes(self, rows: Sequence[Clip]) -> list[str]:
        """What a person should know of how the cells were read."""
        several = sorted({row.label for row in rows if _BETWEEN_LABELS.search(row.label)})
        if not several:
            return []
        return [
            f"beware: {first_few(map(repr, several))} {'is' if len(several) == 1 else 'are'} taken as one class each. "
            "If these are several labels of a clip, list it under one of them, or train with --multi-label."
        ]


class WholeCells(LabelCells):
    """Whatever is written there, for those who hand it on."""

    def read(self, rows: Sequence[Clip], problems: Problems, labels: Sequence[str] | None = None) -> list[Clip]:
        return list(rows)

    def notes(self, rows: Sequence[Clip]) -> list[str]:
        return []


class SeveralLabelCells(LabelCells):
    """Any number of classes for each clip: ``smile|talk``; ``|`` alone for a clip with none of them."""

    def read(self, rows: Sequence[Clip], problems: Problems, labels: Sequence[str] | None = None) -> list[Clip]:
        found = []
        for row in rows:
            names = tuple(part.strip() for part in row.label.split("|")) if row.label.strip() != "|" else ()
            if "" in names:
                problems.add(
                    row.line,
                    f'"{row.label}" has an empty label; write names with | between them, and | alone for a clip with none',
                )
            elif len(set(names)) < len(names):
                problems.add(row.line, f'"{row.label}" names a class twice')
            found.append(replace(row, several=tuple(filter(None, names))))
        return found

    def notes(self, rows: Sequence[Clip]) -> list[str]:
        several = sum(len(row.classes) > 1 for row in rows)
        notes = [f"multi-label: {several} of {len(rows)} clips have several labels."]
        if not several:
            notes[0] = f"beware: multi-label, and none of {len(rows)} clips has several labels, as in smile|talk."
        if semicolons := sorted({name for row in rows for name in row.classes if ";" in name}):
            notes.append(
                f"beware: {first_few(map(repr, semicolons))} {'is' if len(semicolons) == 1 else 'are'} taken as one class "
                "each; what stands between labels is |."
            )
        return notes
