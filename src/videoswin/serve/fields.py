"""Values of a form or an address, as texts, made into what they mean; one that makes no sense is refused by its name."""

import math
from collections.abc import Mapping

from videoswin.serve.refusals import Refused

__all__ = ["flag", "number", "optional_number", "whole"]

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def number(fields: Mapping[str, str], name: str, default: float, low: float = 0.0, high: float = 1e6) -> float:
    """A finite number from ``low`` to ``high``."""
    found = optional_number(fields, name, low, high)
    return default if found is None else found


def optional_number(fields: Mapping[str, str], name: str, low: float = 0.0, high: float = 1e6) -> float | None:
    """As :func:`number`; None if there is none."""
    text = fields.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise Refused(422, "bad_setting", f'{name}="{text[:40]}" has to be a number from {low:g} to {high:g}.')
    return value


def whole(fields: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``."""
    value = number(fields, name, default, low, high)
    if value != int(value):
        raise Refused(422, "bad_setting", f"{name} has to be a whole number.")
    return int(value)


def flag(fields: Mapping[str, str], name: str, default: bool) -> bool:
    """true or false."""
    text = fields.get(name, "").lower()
    if not text:
        return default
    if text not in (*_YES, *_NO):
        raise Refused(422, "bad_setting", f'{name}="{text[:40]}" has to be true or false.')
    return text in _YES
