"""Where things are kept that can be had again."""

import os
import sys
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """``$VIDEOSWIN_CACHE``; else the system's place for caches, with ``videoswin`` below it. It need not exist."""
    if own := os.environ.get("VIDEOSWIN_CACHE"):
        return Path(own).expanduser()
    if standard := os.environ.get("XDG_CACHE_HOME"):
        return Path(standard).expanduser() / "videoswin"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "videoswin"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "videoswin" / "Cache"
    return Path.home() / ".cache" / "videoswin"
