"""Folders as people have them: videos among all that other programs leave there.

What is no video is passed over and counted, in one line; nothing is silently taken for a class. Links are followed: who names a
folder means what is in it, also where the files lie on another disk (data tools such as DVC and git-annex work that way).
"""

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from videoswin.data.clips import Clip, Problems, first_few
from videoswin.errors import ConfigError

__all__ = ["FOLDER_SUFFIXES", "PICTURES", "VIDEO_SUFFIXES", "class_folder_clips", "find_videos", "has_split_folders"]

VIDEO_SUFFIXES = frozenset(
    {
        ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts",
        ".webm", ".wmv",
    }
)  # fmt: skip
"""The names of files that may be videos; what a file is, its content says."""
FOLDER_SUFFIXES = VIDEO_SUFFIXES - {".gif"}
"""What is taken from a folder. GIFs lie in many as pictures; they can be named one by one, or in a list."""

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Suffixes of single frames."""
_SPLIT_FOLDERS = ("train", "val", "validation", "valid", "test")
_CLUTTER = {"@eadir", "__macosx", "lost+found", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini"}
_PUT_DEEPER = "The frames of a clip are a folder of their own inside the folder of its class: CLASS/CLIP/00001.jpg"


def find_videos(paths: Iterable[str | Path]) -> list[str | Path]:
    """The paths, with each folder replaced by the video files in it and below it, sorted, and each pattern by its matches.

    Files are taken as they are given, whatever their suffix; inside folders the suffix decides (:data:`FOLDER_SUFFIXES`), names
    that start with a dot and folders that other programs make are passed over, and links are followed. A folder without
    videos, or one that cannot be opened, stays in the list, so that it is reported. A pattern (``*.mp4``) comes through
    where no shell has replaced it, as on Windows; without a match it stays in the list, too.
    """
    found: list[str | Path] = []
    for path in paths:
        if os.path.isdir(path):
            found.extend(_videos_below(path))
        elif isinstance(path, str) and glob.has_magic(path) and not os.path.lexists(path):
            found.extend(sorted(glob.glob(path)) or [path])
        else:
            found.append(path)
    return found


def _videos_below(folder: str | Path) -> list[Path]:
    closed: list[Path] = []
    files: list[Path] = []
    walk = os.walk(folder, onerror=lambda error: closed.append(Path(error.filename)), followlinks=True)
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in walk:
        here = os.stat(parent)
        if (here.st_dev, here.st_ino) in seen:  # a link that leads back, or twice to one place
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = [name for name in folders if not _is_clutter(name)]
        files += [Path(parent, name) for name in names if not name.startswith(".") and _is_video(name)]
    return sorted([*files, *closed]) or [Path(folder)]


def _is_video(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in FOLDER_SUFFIXES


def _is_clutter(name: str) -> bool:
    """Hidden, or a folder or file that a system makes by itself."""
    return name.startswith(".") or name.lower() in _CLUTTER


# Class folders --------------------------------------------------------------------------------------------------------


def has_split_folders(root: Path) -> bool:
    """Whether all folders have the names of splits and hold folders."""
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    return bool(folders) and all(
        folder.name in _SPLIT_FOLDERS and any(entry.is_dir() for entry in _entries(folder)) for folder in folders
    )


def class_folder_clips(root: Path, problems: Problems) -> tuple[list[Clip], list[str]]:
    """The videos of a folder of class folders, or of split folders with these, and a note on what was passed over.

    ``root``: absolute. A video that stands beside the class folders is a problem: its class is not known.
    """
    passed = _PassedOver()
    clips: list[Clip] = []
    parents = [entry for entry in _entries(root) if entry.is_dir()] if has_split_folders(root) else [root]
    for parent in parents:
        split = "" if parent == root else parent.name
        clips += _clips_of(parent, root, split, problems, passed)
    notes = passed.notes()
    if not clips and passed.frame_folders:
        found = f"{len(passed.frame_folders)} folders of frames and no videos"
        raise ConfigError(f"{root}: holds {found}, such as {passed.frame_folders[0]}. {_PUT_DEEPER}.")
    return clips, notes


class _PassedOver:
    """What was found beside the clips."""

    def __init__(self) -> None:
        self.frame_folders: list[str] = []
        self.empty_classes: list[str] = []
        self.sub_folders = 0
        self.videos_in_sub_folders = 0
        self.suffixes: Counter[str] = Counter()

    def file(self, name: str) -> None:
        self.suffixes[os.path.splitext(name)[1].lower() or name] += 1

    def folder(self, folder: Path, name: str) -> None:
        if _is_clutter(folder.name):
            self.sub_folders += 1
            return
        names = [entry.name for entry in _entries(folder)]
        videos = sum(map(_is_video, names))
        self.sub_folders += 1
        self.videos_in_sub_folders += videos

    def notes(self) -> list[str]:
        parts = []
        if self.suffixes:
            files = sum(self.suffixes.values())
            kinds = first_few(f"{count} {suffix}" for suffix, count in self.suffixes.most_common())
            parts.append(f"{_counted(files, 'other file')} ({kinds})")
        if self.sub_folders:
            inside = f" with {_counted(self.videos_in_sub_folders, 'video')}" if self.videos_in_sub_folders else ""
            parts.append(f"{_counted(self.sub_folders, 'sub-folder')}{inside}")
        if self.empty_classes:
            parts.append(f"{_counted(len(self.empty_classes), 'empty class folder')} ({first_few(self.empty_classes)})")
        if self.frame_folders:
            parts.append(
                f"{_counted(len(self.frame_folders), 'folder')} of frames ({first_few(self.frame_folders, 2)})"
            )
        if not parts:
            return []
        hint = f". {_PUT_DEEPER}" if self.frame_folders else ""
        return [f"passed over beside the clips: {', '.join(parts)}{hint}."]


def _clips_of(parent: Path, root: Path, split: str, problems: Problems, passed: _PassedOver) -> Iterator[Clip]:
    for entry in _entries(parent, hidden_clutter=False):
        name = str(entry.relative_to(root))
        if not entry.is_dir():
            if _is_video(entry.name):
                problems.add(0, f'"{name}" is in no class folder; move it into the folder of its class')
            elif _is_clutter(entry.name):
                passed.file(entry.name)
            continue  # notes and lists beside the class folders
        if _is_clutter(entry.name):
            passed.folder(entry, name)
            continue
        found = list(_clips_in(entry, root, split, problems, passed))
        if not found:
            passed.empty_classes.append(name)
        yield from found


def _clips_in(folder: Path, root: Path, split: str, problems: Problems, passed: _PassedOver) -> Iterator[Clip]:
    files = _entries(folder, hidden_clutter=False)
    pictures = sum(file.suffix.lower() in PICTURES for file in files)
    if pictures > 1 and not any(_is_video(file.name) for file in files):
        passed.frame_folders.append(str(folder.relative_to(root)))
        return
    for file in files:
        name = str(file.relative_to(root))
        try:
            mode = file.stat().st_mode
        except (OSError, RuntimeError) as error:  # a link that leads nowhere, or in a circle
            if _is_video(file.name):
                problems.add(0, f'"{name}" cannot be opened ({getattr(error, "strerror", None) or error})')
            else:
                passed.file(file.name)
            continue
        if stat.S_ISDIR(mode) and _is_frame_folder(file):
            yield Clip(file, folder.name, split)
        elif stat.S_ISDIR(mode):
            passed.folder(file, name)
        elif not _is_video(file.name):
            passed.file(file.name)
        elif not stat.S_ISREG(mode):
            problems.add(0, f'"{name}" is a device or pipe, not a video file')
        else:
            yield Clip(file, folder.name, split)


def _is_frame_folder(folder: Path) -> bool:
    """Whether it holds pictures and no videos."""
    names = [] if _is_clutter(folder.name) else [entry.name for entry in _entries(folder)]
    return sum(os.path.splitext(name)[1].lower() in PICTURES for name in names) > 1 and not any(map(_is_video, names))


def _entries(folder: Path, hidden_clutter: bool = True) -> list[Path]:
    """What is in the folder, sorted; hidden files (``.DS_Store``) are not data. ``hidden_clutter``: nor what systems leave."""
    try:
        names = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read ({error.strerror}). Check its permissions.") from error
    return [entry for entry in names if not (hidden_clutter and _is_clutter(entry.name))]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
