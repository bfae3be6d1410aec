"""The list of clips: which files, which labels, which split.

Two ways to say it, both read by :func:`read_index`:

* a CSV file (UTF-8, with a header): ``path,label[,split,group]``, other columns are left alone::

      path,label,split,group
      wave/anna 01.mp4,wave,train,anna
      wave/ben 01.mp4,wave,test,ben

* a folder with one folder of videos per class, or with the folders ``train``, ``val``, ``test`` that hold
  these. If the folder has a ``labels.csv``, that is read instead.

Every row is checked before anything is decoded, and all bad rows are reported together with their line
numbers.

Rules. Labels are names, also ``7``; class numbers follow their sorted order. Spaces around a cell do not
count; empty lines are skipped. A relative path starts at the CSV's folder and stays below it: ``..`` and
links that lead out are refused, so that a list from elsewhere cannot name other files. An absolute path is
taken as written: it is visible in the file, and data on another disk needs it. Where there is a ``split``
column, a row with an empty split belongs to none: it is only returned for ``split=""``, and its label is no
class.
"""

import csv
import io
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from videoswin.errors import ConfigError, nearest

__all__ = ["VIDEO_SUFFIXES", "Index", "Row", "read_index"]

VIDEO_SUFFIXES = frozenset(
    [
        ".3gp",
        ".asf",
        ".avi",
        ".flv",
        ".gif",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ts",
        ".webm",
        ".wmv",
    ]
)  # what a class folder may hold; a CSV may name any file
_SPLIT_FOLDERS = ("train", "val", "validation", "valid", "test")
_COLUMNS = ("path", "label", "split", "group")
_MAX_LISTED = 50


@dataclass(frozen=True)
class Row:
    """One clip. ``path``: existing file, absolute; ``split`` and ``group``: "" where not given; ``line``: in
    the CSV, from 1 (0 for a folder of class folders)."""

    path: Path
    label: str
    split: str
    group: str
    line: int


@dataclass(frozen=True)
class Index:
    """The chosen rows, and what is known of the whole list.

    ``labels``: class names; a class is its place in this tuple. They are those of all splits, so that every
    split numbers them alike. ``splits``: number of clips of each split, "" included; empty if there is no
    such column or folder. ``shared_groups``: groups (people, scenes) found in more than one split, whose
    clips make a test look too good.
    """

    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    root: Path
    splits: Mapping[str, int]
    shared_groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)


def read_index(data: str | Path, *, split: str | None = None, labels: Sequence[str] | None = None) -> Index:
    """Read a CSV file or a folder of class folders, and check all of it.

    ``split``: only these rows; None: all rows, except those with an empty split. ``labels``: the class names
    to use, in this order; a row with another label is then a bad row.

    Raises one ConfigError: for a file or folder that cannot be read as a list, for an unknown split, or with
    one line per bad row: missing file, path that leaves the folder, file named twice, empty or unknown label,
    too many or too few cells.
    """
    source = Path(data)
    folder = source.is_dir()
    if folder and (source / "labels.csv").is_file():
        source, folder = source / "labels.csv", False
    problems = _Problems(source)
    if folder:
        root = source.resolve()
        rows, has_splits = list(_folder_rows(root, problems)), _has_split_folders(root)
    else:
        text = _read_text(source)
        root = source.resolve().parent
        rows, has_splits = _csv_rows(text, source, root, problems)
    _check_labels(rows, labels, has_splits, problems)
    problems.raise_if_any()
    return _select(rows, source, root, has_splits, split, labels)


def _select(
    rows: list[Row], source: Path, root: Path, has_splits: bool, split: str | None, labels: Sequence[str] | None
) -> Index:
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
        raise ConfigError(f"{source}: lists no clips. Add rows to it, or give another file or folder.")
    return Index(
        rows=tuple(chosen),
        labels=tuple(labels) if labels is not None else tuple(sorted({row.label for row in counted})),
        root=root,
        splits=dict(sorted(splits.items())),
        shared_groups=_shared_groups(counted),
    )


def _shared_groups(rows: Iterable[Row]) -> tuple[str, ...]:
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row.group:
            splits.setdefault(row.group, set()).add(row.split)
    return tuple(sorted(group for group, found in splits.items() if len(found) > 1))


class _Problems:
    """Collects what is wrong, to report it all at once."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._found: list[tuple[int, str]] = []

    def add(self, line: int, text: str) -> None:
        self._found.append((line, f"line {line}: {text}" if line else text))

    def raise_if_any(self) -> None:
        if not self._found:
            return
        count = len(self._found)
        what = "1 entry" if count == 1 else f"{count} entries"
        lines = [f"{self._source}: {what} cannot be used. Correct or remove what is listed here:"]
        lines += [f"  {text}" for _, text in sorted(self._found, key=lambda found: found[0])[:_MAX_LISTED]]
        if count > _MAX_LISTED:
            lines.append(f"  ... and {count - _MAX_LISTED} more")
        raise ConfigError("\n".join(lines))


# CSV ------------------------------------------------------------------------------------------------------------------


def _read_text(source: Path) -> str:
    if source.exists() and not source.is_file():  # reading a pipe or a device might never end
        raise ConfigError(f"{source}: is not a regular file. Give a CSV file or a folder of class folders.")
    try:
        return source.read_bytes().decode("utf-8-sig")  # spreadsheets put a byte order mark in front
    except FileNotFoundError:
        raise ConfigError(f"{source}: does not exist. Give a CSV file or a folder of class folders.") from None
    except UnicodeDecodeError:
        raise ConfigError(f'{source}: is not UTF-8 text. Save the list as "CSV UTF-8" and try again.') from None
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read ({error.strerror}). Check the file and its permissions.") from None


def _csv_rows(text: str, source: Path, root: Path, problems: _Problems) -> tuple[list[Row], bool]:
    """The good rows, and whether there is a split column."""
    records = _records(text, source)
    _, header = next(records, (0, []))
    columns = _columns([name.strip().lower() for name in header], source)
    rows: list[Row] = []
    seen: dict[Path, int] = {}
    for line, cells in records:
        if len(cells) != len(header):
            problems.add(
                line, f"has {len(cells)} cells, the header has {len(header)}; put cells with a comma in double quotes"
            )
            continue
        values = {name: cells[place].strip() for name, place in columns.items()}
        path, trouble = _checked_path(values["path"], root)
        if path is not None and path in seen:
            trouble = f'"{values["path"]}" is listed already on line {seen[path]}'
        if trouble is None and not values["label"]:
            trouble = f'"{values["path"]}" has no label'
        if path is not None:
            seen.setdefault(path, line)
        if path is None or trouble is not None:
            problems.add(line, trouble or "cannot be used")
            continue
        rows.append(Row(path, values["label"], values.get("split", ""), values.get("group", ""), line))
    return rows, "split" in columns


def _records(text: str, source: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    end = 0
    try:
        for cells in reader:
            start, end = end + 1, reader.line_num
            if any(cell.strip() for cell in cells) or len(cells) > 1:
                yield start, cells
    except csv.Error as error:
        raise ConfigError(
            f"{source}: line {reader.line_num} is not CSV ({error}). Check its quotes and commas."
        ) from None


def _columns(header: list[str], source: Path) -> dict[str, int]:
    """Where the columns that count are."""
    if not header:
        raise ConfigError(f"{source}: is empty. Start it with the line path,label,split and add one line per clip.")
    for name in ("path", "label"):
        if name not in header:
            if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
                raise ConfigError(
                    f"{source}: its first line has no commas. Save the list with commas between the cells."
                )
            found = _shortened(", ".join(header))
            raise ConfigError(
                f'{source}: has no column "{name}", only {found}. Name the columns path,label,split on line 1.'
            )
    for name in _COLUMNS:
        if header.count(name) > 1:
            raise ConfigError(f'{source}: has the column "{name}" twice. Remove or rename one.')
    return {name: header.index(name) for name in _COLUMNS if name in header}


def _checked_path(text: str, root: Path) -> tuple[Path | None, str | None]:
    """The file, or None with what is wrong with its name."""
    if not text:
        return None, "has no path"
    if _has_controls(text):
        return None, f"{text!r} has a tab, line break or other control character in its path"
    try:
        path = Path(text) if Path(text).is_absolute() else root / text
        resolved = path.resolve()
        if not Path(text).is_absolute() and not resolved.is_relative_to(root):
            return (
                None,
                f'"{text}" leads out of the folder of the list; move the file below it, or write its absolute path',
            )
        mode = resolved.stat().st_mode
    except FileNotFoundError:
        return None, f'"{text}" does not exist'
    except (OSError, RuntimeError) as error:  # name too long, no permission, a loop of links
        return None, f'"{_shortened(text)}" cannot be opened ({getattr(error, "strerror", None) or error})'
    if not stat.S_ISREG(mode):
        return None, f'"{text}" is {"a folder" if stat.S_ISDIR(mode) else "a device or pipe"}, not a video file'
    return resolved, None


def _check_labels(rows: list[Row], labels: Sequence[str] | None, has_splits: bool, problems: _Problems) -> None:
    for row in rows:
        if _has_controls(row.label):
            problems.add(row.line, f"the label {row.label!r} has a line break or other control character in it")
    if labels is None:
        return
    repeated = [name for name, count in Counter(labels).items() if count > 1]
    if repeated or not labels:
        what = f'names "{repeated[0]}" twice' if repeated else "is empty"
        raise ConfigError(f"The label list {what}. Give every class one name of its own.")
    known = set(labels)
    for row in rows:
        if row.label not in known and (row.split or not has_splits):
            hint = nearest(row.label, known) if len(known) <= 20 else _did_you_mean(row.label, known)
            problems.add(
                row.line,
                f'the label "{row.label}" of "{row.path.name}" is not one of the {len(known)} classes. {hint}'.strip(),
            )


def _has_controls(text: str) -> bool:
    """Odd spaces are fine (macOS puts them in names of recordings); what breaks lines, terminals and tables
    is not.
    """
    return any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text)


def _did_you_mean(name: str, valid: Iterable[str]) -> str:
    hint = nearest(name, valid)
    return hint if hint.startswith("Did") else ""  # hundreds of names would not help


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


# Folders --------------------------------------------------------------------------------------------------------------


def _folder_rows(root: Path, problems: _Problems) -> Iterator[Row]:
    if not _has_split_folders(root):
        yield from _class_folder_rows(root, root, "", problems)
        return
    for folder in _entries(root):
        if folder.is_dir():
            yield from _class_folder_rows(folder, root, folder.name, problems)


def _has_split_folders(root: Path) -> bool:
    """Whether all folders have the names of splits and hold folders."""
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    return bool(folders) and all(
        folder.name in _SPLIT_FOLDERS and any(entry.is_dir() for entry in _entries(folder)) for folder in folders
    )


def _class_folder_rows(parent: Path, root: Path, split: str, problems: _Problems) -> Iterator[Row]:
    for entry in _entries(parent):
        name = str(entry.relative_to(root))
        if not entry.is_dir():
            if entry.suffix.lower() in VIDEO_SUFFIXES:
                problems.add(0, f'"{name}" is in no class folder; move it into the folder of its class')
            continue  # notes and lists beside the class folders
        files = _entries(entry)
        if not files:
            problems.add(0, f'"{name}" is an empty class folder; add videos or remove it')
        for file in files:
            short = str(file.relative_to(root))
            path, trouble = _checked_path(short, root)
            if path is not None and path.suffix.lower() not in VIDEO_SUFFIXES:
                trouble = f'"{short}" does not have the name of a video file (.mp4, .mkv, .avi ...); move it elsewhere'
            if path is None or trouble is not None:
                problems.add(0, trouble or f'"{short}" cannot be used')
                continue
            yield Row(path, entry.name, split, "", 0)


def _entries(folder: Path) -> list[Path]:
    """What is in the folder, sorted; hidden files (``.DS_Store``) are not data."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read ({error.strerror}). Check its permissions.") from None
