"""Libraries that not everybody needs: asked for before the work starts, with the command that installs them."""

from importlib.util import find_spec

from videoswin.errors import MissingExtraError

__all__ = ["require_extra", "require_pyarrow"]


def require_extra(library: str, extra: str, purpose: str) -> None:
    """A :class:`MissingExtraError` if ``library`` cannot be imported.

    Args:
        extra: of this package, which brings it.
        purpose: as in "Parquet tables need pyarrow".
    """
    if find_spec(library) is None:
        raise MissingExtraError(f"{purpose} {library}, which is not installed. Run: pip install 'videoswin[{extra}]'")


def require_pyarrow() -> None:
    """For parquet."""
    require_extra("pyarrow", "batch", "Parquet tables need")
