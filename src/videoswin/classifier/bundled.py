"""What comes with the package: checkpoints and sample clips."""

from pathlib import Path

from videoswin.classifier.catalog import CATALOG
from videoswin.classifier.config_file import CONFIG_FILE

__all__ = ["bundled_checkpoints", "bundled_folder", "loadable_names", "sample_videos"]


CHECKPOINTS = Path(__file__).parent / "assets"


def bundled_checkpoints() -> tuple[str, ...]:
    """Names of the checkpoints that come with the package."""
    if not CHECKPOINTS.is_dir():
        return ()
    return tuple(sorted(path.parent.name for path in CHECKPOINTS.glob(f"*/{CONFIG_FILE}")))


def bundled_folder(name: str) -> Path:
    """Where a bundled checkpoint stands."""
    return CHECKPOINTS / name


def loadable_names() -> tuple[str, ...]:
    """All names that :func:`load` knows: bundled checkpoints, and published video models, which it downloads."""
    return (*bundled_checkpoints(), *(entry.name for entry in CATALOG.values() if entry.kind == "video"))


def sample_videos() -> list[Path]:
    """The sample clips that come with the package."""
    return sorted((CHECKPOINTS / "samples").glob("*.mp4"))
