"""What comes with the package: checkpoints and sample clips."""

from pathlib import Path

__all__ = ["bundled_checkpoints", "bundled_folder", "sample_videos"]

CHECKPOINTS = Path(__file__).parents[1] / "assets"


def bundled_checkpoints() -> tuple[str, ...]:
    """Names of the checkpoints that come with the package."""
    if not CHECKPOINTS.is_dir():
        return ()
    return tuple(sorted(path.parent.name for path in CHECKPOINTS.glob("*/config.json")))


def bundled_folder(name: str) -> Path:
    """Where a bundled checkpoint stands."""
    return CHECKPOINTS / name


def sample_videos() -> list[Path]:
    """The sample clips that come with the package."""
    return sorted((CHECKPOINTS / "samples").glob("*.mp4"))
