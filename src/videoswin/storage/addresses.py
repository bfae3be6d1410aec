"""Addresses such as ``s3://bucket/key``, which fsspec opens: never shown with what gives access to them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from videoswin.errors import ConfigError, OutputError
from videoswin.storage.extras import require_extra

__all__ = [
    "file_system",
    "is_address",
    "listed",
    "local_path",
    "reaching",
    "require_no_password",
    "shown",
    "without_secrets",
]

_SECRET = re.compile(
    r"(?i)((?:key|token|secret|password|passwd|signature|sig|credential)s?['\"]?\s*[=:]\s*)['\"]?[^\s'\",;&)]+"
)

_USER = re.compile(r"[^/@:?]+:(?!\d+/)[^?]*@|[^/@?]*@")
"""user@ or user:password@ at the beginning; a password may hold a slash or an @."""


def is_address(text: str) -> bool:
    """Rather than a path of this machine."""
    return "://" in text


def local_path(place: str | Path) -> Path | None:
    """The place of this machine that a path, or an address with ``file://``, means; None for one in a store.

    Raises:
        ConfigError: the address holds a password.
        MissingExtraError: fsspec is not installed.
    """
    if isinstance(place, Path) or not is_address(place):
        return Path(place)
    require_no_password(place)
    return Path(file_system(place)[1]) if place.partition("://")[0] in ("file", "local") else None


def shown(address: str) -> str:
    """Without user, password, and what stands behind a question mark: signatures and tokens do."""
    return "::".join(_shown(part) for part in address.split("::"))  # chains, such as zip://file::sftp://host


def _shown(part: str) -> str:
    scheme, found, rest = part.partition("://")
    if not found:
        return part
    if user := _USER.match(rest):
        rest = rest[user.end() :]
    return f"{scheme}://{rest.partition('?')[0]}"


def require_no_password(address: str) -> None:
    """A :class:`ConfigError` if it holds one: the table and the shell's history would keep it."""
    if any(_USER.match(part.partition("://")[2]) for part in address.split("::")):
        raise ConfigError(
            f"{shown(address)}: the address holds a user or a password. Leave them out, and give them to the store's library "
            "(its environment variables or its configuration; fsspec reads ~/.config/fsspec)."
        )


def without_secrets(error: Exception, address: str) -> str:
    """The first line of an error about an address, which libraries like to quote whole."""
    lines = str(error).strip().splitlines()
    text = (lines[0] if lines else type(error).__name__).replace(address, shown(address))
    query = address.partition("?")[2]
    return _SECRET.sub(r"\1...", text.replace(query, "...") if query else text).rstrip(".")


def listed(address: str, suffixes: frozenset[str]) -> list[str]:
    """The videos of an address that is a pattern or, ending with a slash, a folder; others as they are.

    Raises:
        ConfigError: the store cannot be listed, or there are none.
    """
    require_no_password(address)
    pattern = any(mark in address.partition("?")[0] for mark in "*[")
    if not pattern and not address.endswith("/"):
        return [address]
    import fsspec.core

    try:
        store, root = fsspec.core.url_to_fs(address)
        found = store.glob(root) if pattern else store.find(root)
    except Exception as error:  # noqa: BLE001 - each store has errors of its own
        raise ConfigError(
            f"{shown(address)}: cannot be listed ({without_secrets(error, address)}). Check the address."
        ) from None
    videos = sorted(path for path in found if path[path.rfind(".") :].lower() in suffixes)
    if not videos:
        raise ConfigError(f"{shown(address)}: names no videos. Check the address.")
    return [store.unstrip_protocol(path) for path in videos]


def file_system(address: str) -> tuple[Any, str]:
    """(fsspec's file system, the path in it).

    Raises:
        ConfigError: there is no library for such addresses here.
        MissingExtraError: fsspec itself is not installed.
    """
    require_extra("fsspec", "batch", f"{shown(address)} needs")
    import fsspec.core

    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:  # it names the library: "Install s3fs to access S3"
        hint = "Install the library that it names, beside videoswin" if isinstance(error, ImportError) else _known()
        raise ConfigError(f"{shown(address)}: {without_secrets(error, address)}. {hint}.") from error


def _known() -> str:
    import fsspec

    return f"Addresses begin with one of: {', '.join(sorted(fsspec.available_protocols()))}"


@contextmanager
def reaching(address: str) -> Iterator[tuple[Any, str]]:
    """As :func:`file_system`; what goes wrong with it inside the block is an :class:`OutputError` of one line about the address."""
    store, root = file_system(address)
    try:
        yield store, root
    except (ConfigError, OutputError):
        raise
    except Exception as error:  # noqa: BLE001 - each store has errors of its own
        reason = without_secrets(error, address)
        hint = "Check the address, the rights and the credentials, which the store's library reads"
        raise OutputError(shown(address), f"it cannot be reached ({reason})", hint) from None
