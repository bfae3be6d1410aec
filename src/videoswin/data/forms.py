"""Lists as other tools write them, recognised by what is in them and turned into rows of ours.

==================  ===========================================================================================================
form                what it looks like
==================  ===========================================================================================================
``csv``             a header with ``path`` and ``label``; commas, tabs or semicolons between the cells
``metadata``        Hugging Face's: ``metadata.csv`` or ``metadata.jsonl`` with ``file_name`` and ``label``
``kinetics_csv``    the published tables: ``label,youtube_id,time_start,time_end,split``
``path_label``      lines ``path label`` with whole numbers, as the lists of Kinetics, MMAction2 and others; no header
``frames_label``    MMAction2's for frames: ``folder total_frames label``
``something``       Something-Something's JSON: a list of ``{"id", "template" or "label"}``
==================  ===========================================================================================================

Each gives ``(line, values)`` for every row, values by the names of our columns; checking them is one and the same for all
(:mod:`videoswin.data.csv_list`).
"""

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videoswin.data.clips import Problems, first_few
from videoswin.data.folders import VIDEO_SUFFIXES
from videoswin.errors import ConfigError

__all__ = ["LIST_FILES", "Form", "form_of", "is_foreign", "lists_in"]

_NAMES_OF_CLASSES = (
    "label_map*.txt", "labels.txt", "classes.txt", "class_names.txt", "*_label_map.txt", "label_map_*.txt", "classInd.txt",
    "kinetics_*labels*.csv",
)  # fmt: skip
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_LINE = re.compile(r"^(?P<path>\S.*?)[ \t]+(?P<numbers>-?\d+(?:[ \t]+-?\d+)*)\s*$")
LIST_FILES = (".txt", ".json", ".jsonl", ".csv", ".tsv")


@dataclass(frozen=True)
class Form:
    """A recognised list. ``rows``: (line, values by our columns' names). ``note``: what it was taken for, and with what names."""

    name: str
    rows: list[tuple[int, dict[str, str]]]
    note: str
    has_splits: bool


def is_foreign(source: Path, text: str) -> bool:
    """Whether a list is of another form than ours, a table whose header has ``path``."""
    if source.suffix.lower() in (".json", ".jsonl"):
        return True
    first = next((line for line in text.splitlines() if line.strip()), "")
    header = [cell.strip().strip('"').lower() for cell in re.split(r"[,;\t]", first)]
    if "path" in header:
        return False
    return "file_name" in header or "youtube_id" in header or _is_path_label(text, source)


def _is_path_label(text: str, source: Path) -> bool:
    """Lines that end in a whole number, and begin with what may be a file or folder; commas would be a table's."""
    lines = [line for line in text.splitlines() if line.strip()][:50]
    if not lines or source.suffix.lower() not in (".txt", ".list", ".csv", ".lst"):
        return False
    found = [_LINE.match(line) for line in lines]
    good = [m for m in found if m is not None]
    if len(good) < max(1, 0.8 * len(lines)):
        return False
    root = source.resolve().parent
    return any(Path(m["path"]).suffix.lower() in VIDEO_SUFFIXES or (root / m["path"]).is_dir() for m in good)


def form_of(source: Path, text: str, root: Path, problems: Problems) -> Form:
    """The rows of a list for which :func:`is_foreign` says yes.

    Raises:
        ConfigError: it has no rows that can be made out.
    """
    split = _split_of(source)
    if source.suffix.lower() in (".json", ".jsonl"):
        return _of_json(source, text, root, split, problems)
    first = next((line for line in text.splitlines() if line.strip()), "").lower()
    if "file_name" in first:
        return _of_metadata(source, csv.DictReader(io.StringIO(text)), split)
    if "youtube_id" in first:
        return _of_kinetics_csv(source, text, root)
    return _of_path_label(source, text, root, split, problems)


def lists_in(folder: Path) -> list[Path]:
    """The lists of a folder of lists: files for two splits or more (k400_train.txt and k400_val.txt), Hugging Face's metadata,
    Something-Something's JSON. None if it is no such folder."""
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and entry.suffix.lower() in LIST_FILES)
    metadata = [f for f in files if f.stem == "metadata"]
    below = [entry / name for entry in sorted(folder.iterdir()) if entry.is_dir() and entry.name in _SPLIT_WORDS
             for name in ("metadata.csv", "metadata.jsonl") if (entry / name).is_file()]  # fmt: skip
    if metadata or below:
        return metadata or below
    named = [
        f
        for f in files
        if _split_of(f) and f.suffix.lower() in (".txt", ".json", ".csv") and "label" not in f.stem.lower()
    ]
    return named if len({_split_of(f) for f in named}) > 1 or any(f.suffix == ".json" for f in named) else []


def _split_of(source: Path) -> str:
    """By the words in a list's name, or that of its folder: k400_val.txt is "val"."""
    for name in (source.stem, source.parent.name if source.stem == "metadata" else ""):
        for word in re.split(r"[^a-z]+", name.lower()):
            if word in _SPLIT_WORDS:
                return _SPLIT_WORDS[word]
    return ""


# Hugging Face ---------------------------------------------------------------------------------------------------------------


def _of_metadata(source: Path, rows: Any, split: str) -> Form:
    found: list[tuple[int, dict[str, str]]] = []
    for line, row in enumerate(rows, 2):
        values = {str(k).strip().lower(): _text(v) for k, v in row.items() if k is not None}
        found.append((line, {"path": values.get("file_name", ""), "label": values.get("label", ""),
                             "split": values.get("split", split), "group": values.get("group", "")}))  # fmt: skip
    if found and not any(row["label"] for _, row in found):
        raise ConfigError(f'{source}: has no column "label". Add one with the name of the class of each file.')
    return Form(
        "metadata", found, "read as Hugging Face metadata (file_name, label)", any(r["split"] for _, r in found)
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


# Kinetics, MMAction2 ---------------------------------------------------------------------------------------------------------


def _of_kinetics_csv(source: Path, text: str, root: Path) -> Form:
    rows: list[tuple[int, dict[str, str]]] = []
    for line, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        values = {str(k).strip().lower(): _text(v) for k, v in row.items() if k is not None}
        label, split = values.get("label", ""), _SPLIT_WORDS.get(values.get("split", "").lower(), _split_of(source))
        rows.append((line, {"path": _kinetics_file(values, label, split, root), "label": label, "split": split}))
    return Form("kinetics_csv", rows, "read as a Kinetics table (youtube_id, time_start, time_end)", True)


def _kinetics_file(values: Mapping[str, str], label: str, split: str, root: Path) -> str:
    """Where the usual downloaders leave a clip; the first place if it is in none of them."""
    name = values.get("youtube_id", "")
    try:
        name_of_span = f"{name}_{int(values['time_start']):06d}_{int(values['time_end']):06d}"
    except (KeyError, ValueError):
        name_of_span = name
    places = [
        f"{folder}{stem}{suffix}"
        for suffix in (".mp4", ".mkv", ".webm", ".avi")
        for stem in (name_of_span, name)
        for folder in ("", f"{label}/", f"{label.replace(' ', '_')}/", f"{split}/", f"{split}/{label}/", f"{split}/{label.replace(' ', '_')}/")
    ]  # fmt: skip
    return next((place for place in places if (root / place).is_file()), places[0])


def _of_path_label(source: Path, text: str, root: Path, split: str, problems: Problems) -> Form:
    rows: list[tuple[int, str, list[int]]] = []
    for line, content in enumerate(text.splitlines(), 1):
        if not content.strip():
            continue
        found = _LINE.match(content)
        if found is None:
            problems.add(line, f'"{content.strip()[:60]}" does not end in the number of a class')
            continue
        rows.append((line, found["path"].strip(), [int(n) for n in found["numbers"].split()]))
    frames = bool(rows) and all(len(numbers) == 2 for _, _, numbers in rows) and _are_folders(rows, root)
    names, named_by = _class_names(root)
    clips = []
    for line, path, numbers in rows:
        labels = [
            _class_name(number, names, line, named_by, problems) for number in (numbers[1:] if frames else numbers)
        ]
        if all(label is not None for label in labels):
            clips.append((line, {"path": path, "label": "|".join(map(str, labels)), "split": split}))
    kind = "folder, number of frames, label" if frames else "path, label"
    classes = (
        f"class names from {named_by.name}" if named_by else "classes named by their numbers: no label file beside it"
    )
    return Form("frames_label" if frames else "path_label", clips, f"read as lines of {kind}; {classes}", bool(split))


def _are_folders(rows: list[tuple[int, str, list[int]]], root: Path) -> bool:
    return any((root / path).is_dir() for _, path, _ in rows[:20])


def _class_name(
    number: int, names: list[str] | None, line: int, named_by: Path | None, problems: Problems
) -> str | None:
    if number < 0 or (names is not None and number >= len(names)):
        most = "" if names is None or named_by is None else f"; {named_by.name} names 0 to {len(names) - 1}"
        problems.add(line, f"there is no class {number}{most}")
        return None
    return str(number) if names is None else names[number]


def _class_names(root: Path) -> tuple[list[str] | None, Path | None]:
    """The names of the classes in the order of their numbers, from a label file beside the list, and which file that is."""
    found = sorted({path for pattern in _NAMES_OF_CLASSES for path in root.glob(pattern) if path.is_file()})
    if not found:
        return None, None
    if len(found) > 1:
        raise ConfigError(
            f"{root}: holds several label files ({first_few(path.name for path in found)}). Keep the one for this list there."
        )
    names = []
    for line in found[0].read_text(encoding="utf-8-sig").splitlines():
        if line.strip() and line.strip().lower() not in ("id,name", "name"):
            names.append(re.sub(r"^\s*\d+\s*[,\t ]\s*(?=\S)", "", line.strip()))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f'{found[0]}: names the class "{twice}" twice. Give every class a name of its own.')
    return names, found[0]


# Something-Something -----------------------------------------------------------------------------------------------------------


def _of_json(source: Path, text: str, root: Path, split: str, problems: Problems) -> Form:
    try:
        if source.suffix.lower() == ".jsonl":
            return _of_metadata(source, [json.loads(line) for line in text.splitlines() if line.strip()], split)
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: is no JSON ({error}). Copy or download it again.") from error
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ConfigError(
            f'{source}: is not a list of entries such as {{"id": "1", "template": "Pushing [something]"}}. '
            "Give the list of clips, not the list of labels."
        )
    places = [folder for folder in sorted(root.iterdir()) if folder.is_dir()]
    rows = []
    for number, value in enumerate(values, 1):
        label = _template(_text(value.get("template") or value.get("label")))
        if not label and split == "test":
            continue  # the published test set has no labels
        rows.append(
            (number, {"path": _something_file(_text(value.get("id")), root, places), "label": label, "split": split})
        )
    return Form("something", rows, "read as Something-Something's list (id, template)", bool(split))


def _template(text: str) -> str:
    """``Pushing [something] off [somewhere]`` -> ``Pushing something off somewhere``, as the list of labels has it."""
    return re.sub(r"\[([^\[\]]*)\]", r"\1", text)


def _something_file(name: str, root: Path, places: list[Path]) -> str:
    for suffix in (".webm", ".mp4", ".mkv"):
        for folder in (root, *places):
            if name and (folder / f"{name}{suffix}").is_file():
                return str((folder / f"{name}{suffix}").relative_to(root))
    frames = next((folder / name for folder in places if name and (folder / name).is_dir()), None)
    return str(frames.relative_to(root)) if frames else f"{name}.webm"
