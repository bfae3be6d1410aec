"""JSON and XML from strangers: bounded in size and depth, and nothing in them is expanded or fetched."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from videoswin.errors import ConfigError

__all__ = ["number", "read_json", "read_xml", "text_of", "wrong"]

_MAX_BYTES = 256 * 2**20
_MAX_DEPTH = 64


def wrong(path: Path, reason: str, hint: str = "Export it again from the tool that made it") -> ConfigError:
    """The error of a file of annotations."""
    return ConfigError(f"{path}: {reason}. {hint}.")


def text_of(path: Path) -> str:
    """The file as text. Raises ConfigError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise wrong(path, f"it has more than {_MAX_BYTES:,} bytes", "Split it")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise wrong(path, f"it cannot be read ({error.strerror})", "Check the path") from error
    except UnicodeDecodeError as error:
        raise wrong(path, "it is not UTF-8 text") from error


def read_json(path: Path) -> Any:
    """Raises ConfigError for what is no JSON, is nested too deeply, names a key twice or holds NaN."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands twice in one object")
        return found

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number")

    text = text_of(path)
    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise wrong(path, f"it is no JSON that can be trusted ({error})") from error


def read_xml(path: Path) -> ElementTree.Element:
    """Raises ConfigError for what is no XML, and for any document type: that is where entities are declared, which can grow
    without end or read other files. Files of annotations need none."""
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise wrong(path, f"its elements are nested more than {_MAX_DEPTH} deep")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*_: object) -> None:
        raise wrong(path, "it declares a document type, which is refused", "Remove the line that begins with <!DOCTYPE")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text_of(path).encode("utf-8"), True)
        return builder.close()
    except expat.ExpatError as error:
        raise wrong(path, f"it is no XML ({error})") from error


def number(path: Path, value: object, what: str) -> float:
    """A finite number of 0 or more. Raises ConfigError."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = -1.0
    if isinstance(value, bool) or not 0 <= found < 1e9:
        raise wrong(path, f"{what} is {str(value)[:40]!r}, which is no time in seconds")
    return found
