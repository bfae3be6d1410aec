"""Clips from a CSV file with a header, ``path,label[,split][,group][,start][,end]``."""

import csv
import io
import math
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from videoswin.data.clips import Clip, Problems
from videoswin.data.folders import VIDEO_SUFFIXES
from videoswin.data.frame_folder import pictures_in
from videoswin.errors import ConfigError

__all__ = ["checked_clips", "clips_of_csv", "has_controls", "read_text"]

_COLUMNS = ("path", "label", "split", "group", "start", "end")
_SEPARATORS = {";": "semicolon", "\t": "tab", " ": "space"}


def read_text(source: Path) -> str:
    """The text of a list. Raises :class:`ConfigError` for what is no regular file of UTF-8 text."""
    if source.exists() and not source.is_file():  # reading a pipe or a device might never end
        raise ConfigError(f"{source}: is not a regular file. Give a CSV file or a folder of class folders.")
    try:
        return source.read_bytes().decode("utf-8-sig")  # spreadsheets put a byte order mark in front
    except FileNotFoundError as error:
        raise ConfigError(f"{source}: does not exist. Give a CSV file or a folder of class folders.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f'{source}: is not UTF-8 text. Save the list as "CSV UTF-8" and try again.') from error
    except OSError as error:
        raise ConfigError(
            f"{source}: cannot be read ({error.strerror}). Check the file and its permissions."
        ) from error


def clips_of_csv(
    text: str, source: Path, root: Path, follow_links: bool, problems: Problems
) -> tuple[list[Clip], bool, list[str]]:
    """The good rows, whether there is a split column, and notes. ``follow_links``: the user named the folder, not the list."""
    records = _records(text, source, _separator(text))
    _, header = next(records, (0, []))
    columns = _columns(header, source, root)
    notes = _misspelt([name.strip() for name in header], columns)
    rows = []
    for line, cells in records:
        if len(cells) != len(header):
            problems.add(
                line, f"has {len(cells)} cells, the header has {len(header)}; put cells with a comma in double quotes"
            )
            continue
        rows.append((line, {name: cells[place].strip() for name, place in columns.items()}))
    return checked_clips(rows, root, follow_links, problems), "split" in columns, notes


def checked_clips(
    rows: Iterable[tuple[int, Mapping[str, str]]], root: Path, follow_links: bool, problems: Problems
) -> list[Clip]:
    """The good ones of a list's rows: (line, values by the names of our columns); the others are problems."""
    clips: list[Clip] = []
    seen: dict[tuple[Path, float, float | None], int] = {}
    for line, values in rows:
        path, trouble = _checked_path(values["path"], root, follow_links)
        span, wrong_span = _span(values.get("start", ""), values.get("end", ""))
        trouble = trouble or wrong_span
        if path is not None and (path, *span) in seen:
            which = "" if span == (0.0, None) else ", with the same start and end,"
            trouble = f'"{values["path"]}"{which} is listed already on line {seen[path, *span]}'
        if trouble is None and not values["label"]:
            trouble = f'"{values["path"]}" has no label'
        if path is not None:
            seen.setdefault((path, *span), line)
        if path is None or trouble is not None:
            problems.add(line, trouble or "cannot be used")
            continue
        clips.append(Clip(path, values["label"], values.get("split", ""), values.get("group", ""), line, *span))
    return clips


def _separator(text: str) -> str:
    """Tabs or semicolons if the header has them between its names, and no commas."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    for mark in "\t;":
        if "," not in header and "path" in [name.strip().lower() for name in header.split(mark)] and mark in header:
            return mark
    return ","


def _records(text: str, source: Path, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True, delimiter=separator)
    end = 0
    try:
        for cells in reader:
            start, end = end + 1, reader.line_num
            if any(cell.strip() for cell in cells) or len(cells) > 1:
                yield start, cells
    except csv.Error as error:
        where = f"{source}: line {reader.line_num} is not CSV"
        raise ConfigError(f"{where} ({error}). Check its quotes and commas.") from error


def _columns(cells: list[str], source: Path, root: Path) -> dict[str, int]:
    """Where the columns that count are."""
    header = [name.strip().lower() for name in cells]
    if not header:
        raise ConfigError(f"{source}: is empty. Start it with the line path,label,split and add one line per clip.")
    _require_header(cells, source, root)
    for name in ("path", "label"):
        if name not in header:
            close = get_close_matches(name, header, 1, 0.7)
            hint = f'Rename "{close[0]}" to "{name}".' if close else "Name the columns path,label,split on line 1."
            raise ConfigError(f'{source}: has no column "{name}", only {_shortened(", ".join(header))}. {hint}')
    for name in _COLUMNS:
        if header.count(name) > 1:
            raise ConfigError(f'{source}: has the column "{name}" twice. Remove or rename one.')
    return {name: header.index(name) for name in _COLUMNS if name in header}


def _require_header(cells: list[str], source: Path, root: Path) -> None:
    """Lists of other tools have other separators, or begin with the first clip."""
    if "path" in (cell.strip().lower() for cell in cells):
        return
    line = ",".join(cells).strip()
    separator = next((mark for mark in _SEPARATORS if len(cells) == 1 and mark in line), None)
    first = line.split(separator)[0].strip() if separator else cells[0].strip()
    is_clip = Path(first).suffix.lower() in VIDEO_SUFFIXES or (first and "\0" not in first and (root / first).is_file())
    commas = f", and commas between the cells in place of the {_SEPARATORS[separator]}s" if separator else ""
    if is_clip:
        raise ConfigError(
            f'{source}: its first line, "{_shortened(line)}", is a clip already; a list says first what its columns are. '
            f"Put in front of it, as line 1: path,label{commas}."
        )
    if separator in (";", "\t"):
        raise ConfigError(
            f"{source}: its first line has no commas, but {_SEPARATORS[separator]}s. "
            "Save the list with commas between the cells."
        )


def _misspelt(header: list[str], columns: dict[str, int]) -> list[str]:
    """Notes on columns that are not used, and whose names are nearly those of columns that are."""
    missing = [name for name in _COLUMNS if name not in columns]
    notes = []
    for name in header:
        if name.lower() not in _COLUMNS and (close := get_close_matches(name.lower(), missing, 1, 0.75)):
            notes.append(f'beware: the column "{name}" is not used. Did you mean "{close[0]}"?')
    return notes


def _span(start: str, end: str) -> tuple[tuple[float, float | None], str | None]:
    """Seconds from and to, and what is wrong with them."""
    try:
        first, last = float(start or 0), float(end) if end else None
    except ValueError:
        return (0.0, None), f'start "{_shortened(start)}" and end "{_shortened(end)}" must be seconds, such as 12.5'
    if not math.isfinite(first) or first < 0 or (last is not None and not (math.isfinite(last) and last > first)):
        return (
            0.0,
            None,
        ), f"start {start or 0} and end {end or 'none'} must be seconds, 0 or more, the end after the start"
    return (first, last), None


def _checked_path(text: str, root: Path, follow_links: bool) -> tuple[Path | None, str | None]:
    """The file, or None with what is wrong with its name."""
    if not text:
        return None, "has no path"
    if has_controls(text):
        return None, f"{text!r} has a tab, line break or other control character in its path"
    try:
        path = _as_spelled(Path(text) if Path(text).is_absolute() else root / text)
        resolved = path.resolve()
        leads_out = not Path(text).is_absolute() and not resolved.is_relative_to(root)
        if leads_out and not (follow_links and ".." not in Path(text).parts):
            return (
                None,
                f'"{text}" leads out of the folder of the list; move the file below it, or write its absolute path',
            )
        mode = resolved.stat().st_mode
    except FileNotFoundError:
        return None, f'"{text}" does not exist{_with_slashes(text, root)}'
    except (OSError, RuntimeError) as error:  # name too long, no permission, a loop of links
        return None, f'"{_shortened(text)}" cannot be opened ({getattr(error, "strerror", None) or error})'
    if stat.S_ISDIR(mode) and len(pictures_in(resolved)) > 1:
        return resolved, None  # a clip as a folder of frames
    if not stat.S_ISREG(mode):
        return None, f'"{text}" is {_what(resolved) if stat.S_ISDIR(mode) else "a device or pipe"}, not a video file'
    return resolved, None


def _with_slashes(text: str, root: Path) -> str:
    """A hint where a list was written on Windows."""
    turned = text.replace("\\", "/")
    return f", but {turned} does: write / for \\ in the list" if turned != text and (root / turned).exists() else ""


def _as_spelled(path: Path) -> Path:
    """The path as the disk spells it: macOS takes accents apart (é is e and an accent), and lists are often written together."""
    if path.exists():
        return path
    forms = (Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD"))
    return next((form for form in forms if form.exists()), path)


def _what(folder: Path) -> str:
    return "a folder with one picture" if pictures_in(folder) else "a folder"


def has_controls(text: str) -> bool:
    """Odd spaces are fine (macOS puts them in names of recordings); what breaks lines, terminals and tables
    is not.
    """
    return any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text)


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
