"""The list of clips: which files, which labels, which split.

Three ways to say it, all read by :func:`read_index`:

* a CSV file (UTF-8, with a header): ``path,label[,split][,group][,start][,end]``, other columns are left alone::

      path,label,split,group,start,end
      wave/anna 01.mp4,wave,train,anna,,
      wave/ben 01.mp4,wave,test,ben,2.5,6
      wave/ben 01.mp4,nod,test,ben,8,11

* a list in the form of another tool (:mod:`videoswin.data.forms`), or a folder of such lists, one for each split;

* a folder with one folder of videos per class, or with the folders ``train``, ``val``, ``test`` that hold
  these. If the folder has a ``labels.csv``, that is read instead.

Every row is checked before anything is decoded, and all bad rows are reported together with their line
numbers.

Rules. Labels are names, also ``7``; class numbers follow their sorted order. Spaces around a cell do not
count; empty lines are skipped. ``start`` and ``end`` are seconds from the first frame of the video; left empty, they are its
beginning and its end. A relative path starts at the CSV's folder and stays below it: ``..`` and
links that lead out are refused, so that a list from elsewhere cannot name other files. (In a folder that the user names, links
are followed.) An absolute path is
taken as written: it is visible in the file, and data on another disk needs it. Where there is a ``split``
column, a row with an empty split belongs to none: it is only returned for ``split=""``, and its label is no
class.
"""

import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from videoswin.data.clips import Clip, ClipList, Problems, first_few
from videoswin.data.csv_list import checked_clips, clips_of_csv, has_controls, read_text
from videoswin.data.folders import VIDEO_SUFFIXES, class_folder_clips, has_split_folders
from videoswin.data.forms import form_of, is_foreign, lists_in
from videoswin.data.label_cells import LabelCells
from videoswin.data.segments.clips import are_segments, clips_of_segments
from videoswin.errors import ConfigError, nearest

__all__ = ["VIDEO_SUFFIXES", "Clip", "ClipList", "read_index"]

_ONE_LABEL = LabelCells()
_OLD_NAMES = {"Index": ClipList, "Row": Clip}


def __getattr__(name: str) -> Any:
    if name not in _OLD_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{name} is called {_OLD_NAMES[name].__name__} now.", DeprecationWarning, stacklevel=2)
    return _OLD_NAMES[name]


def read_index(
    data: str | Path,
    *,
    split: str | None = None,
    labels: Sequence[str] | None = None,
    others: Sequence[str] = (),
    cells: LabelCells = _ONE_LABEL,
) -> ClipList:
    """Read a CSV file, a folder of class folders, or segments of other tools (docs/annotations.md), and check all of it.

    Args:
        split: only these clips; None: all of them, except those with an empty split.
        labels: the class names to use, in this order; a row with another label is then a bad row.
        others: further labels that rows may have, which are no classes.
        cells: how the cells of the column ``label`` are read; :class:`~videoswin.data.label_cells.SeveralLabelCells` for lists in
            which a clip may have several labels.

    Raises:
        ConfigError: for a file or folder that cannot be read as a list, for an unknown split, or with one line per bad row:
            missing file, path that leaves the folder, clip named twice, empty or unknown label, too many or too few cells.
    """
    source = Path(data)
    named_folder = source.is_dir()
    if named_folder and (source / "labels.csv").is_file():
        source = source / "labels.csv"
    problems = Problems(source)
    lists = _lists_in(source)
    if lists:
        root = source.resolve()
        rows, has_splits, notes = _clips_of_lists(lists, root, named_folder, problems)
    elif source.is_dir():
        root = source.resolve()
        has_splits = has_split_folders(root)
        rows, notes = class_folder_clips(root, problems)
    elif are_segments(source):
        root = source.resolve().parent
        rows, has_splits = clips_of_segments(source, root, problems)
        notes = []
    else:
        text = read_text(source)
        root = source.resolve().parent
        if is_foreign(source, text):
            rows, has_splits, notes = _clips_of_lists([source], root, named_folder, problems)
        else:
            rows, has_splits, notes = clips_of_csv(text, source, root, named_folder, problems)
    rows = cells.read(rows, problems, labels)
    _check_labels(rows, labels, others, has_splits, problems)
    problems.raise_if_any()
    notes += _files_in_splits(rows)
    if labels is None:
        counted = [row for row in rows if row.split or not has_splits]
        notes += _look_alikes(counted) + cells.notes(counted)
    return _select(rows, source, root, has_splits, split, labels, notes)


def _lists_in(source: Path) -> list[Path]:
    if not source.is_dir():
        return []
    try:
        return lists_in(source)
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read ({error.strerror}). Check its permissions.") from error


def _clips_of_lists(
    lists: Sequence[Path], root: Path, follow_links: bool, problems: Problems
) -> tuple[list[Clip], bool, list[str]]:
    """Clips of lists in forms of other tools, which may be one for each split."""
    clips: list[Clip] = []
    notes, has_splits = [], False
    for source in lists:
        text = read_text(source)
        here = source.resolve().parent
        if not is_foreign(source, text):
            found, splits, remarks = clips_of_csv(text, source, here, follow_links, problems)
        else:
            own = problems if len(lists) == 1 else problems.of(source.name)
            form = form_of(source, text, here, own)
            found, splits, remarks = (
                checked_clips(form.rows, here, follow_links, own),
                form.has_splits,
                [f"{source.name}: {form.note}."],
            )
        clips += found
        notes += remarks
        has_splits = has_splits or splits
    return clips, has_splits, notes


def _select(
    rows: list[Clip],
    source: Path,
    root: Path,
    has_splits: bool,
    split: str | None,
    labels: Sequence[str] | None,
    notes: list[str],
) -> ClipList:
    splits = Counter(row.split for row in rows) if has_splits else Counter[str]()
    if split is not None and split not in splits:
        if not has_splits:
            raise ConfigError(f'{source}: has no splits, "{split}" was asked for. Add a split column, or ask for none.')
        raise ConfigError(
            f'{source}: no clip is in the split "{split}". {nearest(split, (name for name in splits if name))}'
        )
    counted = [row for row in rows if row.split or not has_splits]
    chosen = counted if split is None else [row for row in rows if row.split == split]
    if not chosen:
        reason = "".join(f" ({note.rstrip('.')})" for note in notes[:1])
        raise ConfigError(f"{source}: lists no clips{reason}. Add rows to it, or give another file or folder.")
    return ClipList(
        rows=tuple(chosen),
        labels=tuple(labels)
        if labels is not None
        else tuple(sorted({name for row in counted for name in row.classes})),
        root=root,
        splits=dict(sorted(splits.items())),
        shared_groups=_shared_groups(counted),
        notes=tuple(notes),
    )


def _shared_groups(rows: Iterable[Clip]) -> tuple[str, ...]:
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row.group:
            splits.setdefault(row.group, set()).add(row.split)
    return tuple(sorted(group for group, found in splits.items() if len(found) > 1))


def _files_in_splits(rows: Iterable[Clip]) -> list[str]:
    """A note on files of which parts, or links to which, stand in several splits."""
    splits: dict[Path, set[str]] = {}
    for row in rows:
        splits.setdefault(row.path.resolve(), set()).add(row.split)
    shared = sorted(path.name for path, found in splits.items() if len(found) > 1)
    if not shared:
        return []
    return [f"beware: files that stand in more than one split make every figure look too good: {first_few(shared)}."]


# Labels ---------------------------------------------------------------------------------------------------------------


def _check_labels(
    rows: list[Clip], labels: Sequence[str] | None, others: Sequence[str], has_splits: bool, problems: Problems
) -> None:
    for row in rows:
        if has_controls(row.label):
            problems.add(row.line, f"the label {row.label!r} has a line break or other control character in it")
    if labels is None:
        return
    repeated = [name for name, count in Counter(labels).items() if count > 1]
    if repeated or not labels:
        what = f'names "{repeated[0]}" twice' if repeated else "is empty"
        raise ConfigError(f"The label list {what}. Give every class one name of its own.")
    known = set(labels)
    foreign: dict[str, list[Clip]] = {}
    for row in rows:
        if row.split or not has_splits:
            for name in row.classes:
                if name not in known and name not in others:
                    foreign.setdefault(name, []).append(row)
    for label, found in foreign.items():  # one line each: a list for another model has hundreds of such rows
        hint = nearest(label, known) if len(known) <= 20 else _did_you_mean(label, known)
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        problems.add(
            found[0].line,
            f'the label "{label}" of "{found[0].path.name}"{more} is not one of the {len(known)} classes. {hint}'.strip(),
        )


def _look_alikes(rows: Sequence[Clip]) -> list[str]:
    """Notes on classes that people would take for one: other accents, invisible characters, spaces, 1 and 1.0."""
    lines: dict[str, dict[str, list[int]]] = {}
    for row in rows:
        for name in row.classes:
            lines.setdefault(_looks(name), {}).setdefault(name, []).append(row.line)
    notes = []
    for alike in lines.values():
        if len(alike) > 1:
            named = " and ".join(f"{label!a} ({_where(found)})" for label, found in sorted(alike.items()))
            notes.append(f"beware: labels that look alike are different classes: {named}. Write them in one way.")
    return notes


def _looks(label: str) -> str:
    """The same text for labels that look the same."""
    text = unicodedata.normalize("NFKC", label)
    text = " ".join("".join(c for c in text if unicodedata.category(c) != "Cf").split()).casefold()
    try:
        return repr(float(text))
    except ValueError:
        return text


def _where(lines: list[int]) -> str:
    if not any(lines):
        return "1 clip" if len(lines) == 1 else f"{len(lines)} clips"
    return ("line " if len(lines) == 1 else "lines ") + first_few(map(str, lines))


def _did_you_mean(name: str, valid: Iterable[str]) -> str:
    hint = nearest(name, valid)
    return hint if hint.startswith("Did") else ""  # hundreds of names would not help
