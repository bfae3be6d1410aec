"""Names and labels written into files that other programs open: text stays text.

A label or a file's name comes from somebody else. In a CSV file, a spreadsheet runs a cell that begins with ``=`` as a formula;
on a terminal, control characters move the cursor, and marks for right-to-left writing show ``gpj.exe`` as ``exe.jpg``.
"""

import json
import unicodedata
from typing import Any

__all__ = ["csv_cell", "json_text", "spelled_out"]

_FORMULA = ("=", "+", "-", "@")
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def csv_cell(value: object) -> str:
    """A text as a cell of a CSV file: odd characters are spelled out, and what a spreadsheet would run gets a ``'`` in front.

    >>> csv_cell("=1+1")
    "'=1+1"
    """
    text = spelled_out(str(value))
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def spelled_out(text: str) -> str:
    """Text without what moves a cursor or turns the direction of writing: such characters become escapes, as ``\\x1b``."""
    return "".join(_escape(c) if _is_odd(c) else c for c in text)


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON in plain ASCII: it can be printed as it is, and a program that reads it gets every name back exactly.

    Raises:
        ValueError: a number that is not finite, for which JSON has no word.
    """
    return json.dumps(value, indent=indent, allow_nan=False).replace("\x7f", "\\u007f")


def _is_odd(character: str) -> bool:
    return character in _DIRECTIONS or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
