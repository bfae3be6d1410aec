"""Addresses such as ``s3://bucket/key``, which fsspec opens: never shown with what gives access to them."""

import re

from videoswin.errors import ConfigError

__all__ = ["is_address", "listed", "require_no_password", "shown", "without_secrets"]

_SECRET = re.compile(
    r"(?i)((?:key|token|secret|password|passwd|signature|sig|credential)s?['\"]?\s*[=:]\s*)['\"]?[^\s'\",;&)]+"
)


def is_address(text: str) -> bool:
    """Rather than a path of this machine."""
    return "://" in text


def shown(address: str) -> str:
    """Without user, password, and what stands behind a question mark: signatures and tokens do."""
    scheme, found, rest = address.partition("://")
    if not found:
        return address
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def require_no_password(address: str) -> None:
    """A :class:`ConfigError` if it holds one: the table and the shell's history would keep it."""
    if "@" in address.partition("://")[2].partition("/")[0]:
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
