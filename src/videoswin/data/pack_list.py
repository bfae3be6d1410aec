"""A list of clips, packed: the videos, and the list of them."""

import csv
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

from videoswin.data.clips import Clip, ClipList
from videoswin.data.containers import Limits
from videoswin.data.pack import Packed, PackSettings, pack_video
from videoswin.errors import ConfigError, OutOfMemoryError, OutputError, VideoError
from videoswin.storage.atomic import replace_file

__all__ = ["PackResult", "pack_list"]

LIST_FILE, SETTINGS_FILE, VIDEOS = "labels.csv", "pack.json", "videos"


@dataclass(frozen=True)
class PackResult:
    """``videos``: that the list names and are packed, ``before``: by an earlier run. ``bad``: errors of those left out.
    ``psnr``: dB, of the worst frame that was compared now."""

    videos: int
    before: int
    packed: tuple[Packed, ...]
    bad: tuple[VideoError, ...]

    @property
    def bytes_in(self) -> int:
        return sum(one.before for one in self.packed)

    @property
    def bytes_out(self) -> int:
        return sum(one.after for one in self.packed)

    @property
    def psnr(self) -> float:
        return min(one.psnr for one in self.packed)


def pack_list(
    index: ClipList,
    out: Path,
    settings: PackSettings,
    limits: Limits,
    skip_bad: bool = False,
    left_out: Callable[[VideoError], None] = lambda error: None,
    step: Callable[[], None] = lambda: None,
) -> PackResult:
    """Packs every video of the list into ``out``, and writes ``labels.csv`` when all are there. Parts of a video stay parts.

    Raises:
        ConfigError: ``out`` holds other things, or a pack with other settings.
        VideoError: a video cannot be decoded, and ``skip_bad`` is off; all of them were tried.
        OutputError: it cannot be written there.
    """
    _require_place(out, settings)
    (out / VIDEOS).mkdir(parents=True, exist_ok=True)
    with replace_file(out / SETTINGS_FILE) as new:
        new.write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
    targets: dict[Path, Path] = {}
    packed: list[Packed] = []
    bad: list[VideoError] = []
    before = 0
    for row in index.rows:
        if row.path in targets:
            continue
        target = targets[row.path] = _target(out, row)
        try:
            if target.is_file():
                before += 1
            else:
                packed.append(pack_video(row.path, target, settings, limits))
        except OutOfMemoryError:
            raise
        except VideoError as error:
            bad.append(error)
            left_out(error)
            del targets[row.path]
            targets[row.path] = Path()
        step()
    if bad and not skip_bad:
        others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise VideoError(
            bad[0].path, bad[0].reason + others, "Replace or remove it, or add --skip-bad; run it again to go on"
        )
    rows = [row for row in index.rows if targets[row.path] != Path()]
    _write_list(out, rows, targets, bool(index.splits))
    return PackResult(len({row.path for row in rows}), before, tuple(packed), tuple(bad))


def _target(out: Path, row: Clip) -> Path:
    """A name of its own for each file, the same one each time: of its name, its place, its size and its times."""
    stat = row.path.stat()
    digest = blake2b(f"{row.path},{stat.st_size},{stat.st_mtime_ns}".encode(), digest_size=5).hexdigest()
    return out / VIDEOS / f"{row.path.stem[:100]}-{digest}.mp4"


def _require_place(out: Path, settings: PackSettings) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputError(out, "this is a file, and a pack is a folder", "Give another --out")
    path = out / SETTINGS_FILE
    if not path.is_file():
        if any(out.iterdir()):
            raise ConfigError(f"{out} holds other things and is left alone. Give a new folder.")
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = None
    if earlier != asdict(settings):
        raise ConfigError(f"{out} holds a pack with other settings. Use the same ones, or give another --out.")


def _write_list(out: Path, rows: list[Clip], targets: dict[Path, Path], has_splits: bool) -> None:
    with replace_file(out / LIST_FILE) as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", *(["split"] if has_splits else []), "group", "start", "end"])
        for row in rows:
            seconds = [row.start or "", "" if row.end is None else row.end]
            name = targets[row.path].relative_to(out).as_posix()
            writer.writerow([name, row.label, *([row.split] if has_splits else []), row.group, *seconds])
