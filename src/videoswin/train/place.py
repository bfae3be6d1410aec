"""Whether a run can be written where it is to stand: asked before anything is read."""

import os
import tempfile
from pathlib import Path

from videoswin.classifier.folder import CONFIG_FILE
from videoswin.errors import ConfigError, OutputError
from videoswin.storage.atomic import require_replaceable_file, require_replaceable_folder, settled_folder
from videoswin.train.state import PROGRESS_FILE, require_state

__all__ = ["SETTINGS_FILE", "is_begun", "require_checkpoint_place", "require_place"]

SETTINGS_FILE = "settings.toml"


def is_begun(out: Path) -> bool:
    """Whether ``out`` holds something of a run that another one would overwrite."""
    named = ("metrics.csv", "folds", "best")
    return any((out / name).exists() for name in named) or settled_folder(out / "last").exists()


def require_place(out: Path, resume: bool) -> None:
    """``out`` can take a new run, or with ``resume`` holds one that can go on. A run that was killed before its first save
    holds no state yet; it begins again, with the same draws, and so with the same end.

    Raises:
        ConfigError: it holds a run already that is not to be resumed.
        WeightsError: there is nothing to resume; its checkpoints' names are taken by other things.
        OutputError: nothing can be written there.
    """
    begun = is_begun(out)
    if not resume and begun:
        raise ConfigError(f"{out} holds a run already. Go on with it by --resume, or give another --out.")
    if resume and not begun and not (out / SETTINGS_FILE).is_file():
        require_state(out / "last")
    for name, marker in (("best", CONFIG_FILE), ("last", PROGRESS_FILE)):
        require_replaceable_folder(out / name, marker)
    for name in ("metrics.csv", "curves.png", SETTINGS_FILE):
        require_replaceable_file(out / name)
    _require_writable(out)


def require_checkpoint_place(out: Path, start: str | None = None) -> None:
    """``out`` can become a checkpoint folder, or be replaced by one. ``start``: a name or a folder that is read meanwhile.

    Raises:
        ConfigError: it is the folder of the start, which would be lost.
        WeightsError: it holds other things.
        OutputError: nothing can be written there.
    """
    if start is not None and out.is_dir() and Path(start).is_dir() and out.samefile(start):
        raise ConfigError(f"--out {out} is the checkpoint of --weights, which would be lost. Give another folder.")
    require_replaceable_folder(out, CONFIG_FILE)
    _require_writable(out.absolute().parent)


def _require_writable(out: Path) -> None:
    """Rights alone do not tell: of root, of disks that are mounted read-only. So a file without a name is made."""
    place = Path(os.path.abspath(out))
    while not place.exists() and not place.is_symlink():
        place = place.parent
    if not place.is_dir():
        what = "a link that leads nowhere" if place.is_symlink() else "a file"
        raise OutputError(out, f"{place} is {what}, and a folder is to stand there", "Give another --out")
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        reason = f"nothing can be written there ({error.strerror})"
        raise OutputError(out, reason, "Check its rights and the space there, or give another --out") from error
