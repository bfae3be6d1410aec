"""Options that several verbs have, and the former spellings of their values."""

from collections.abc import Sequence
from typing import Any, get_args

from cyclopts import CoercionError, Token

from videoswin.cli.output import say

__all__ = ["precision_of"]


def precision_of(type_: Any, tokens: Sequence[Token]) -> str:
    """The value of ``--precision``; the name that float32 had before is taken, with a line that says so."""
    value = tokens[0].value
    if value in get_args(type_):
        return value
    from videoswin.export.formats import FORMER_PRECISIONS

    today = FORMER_PRECISIONS.get(value)
    if today is None or today not in get_args(type_):
        raise CoercionError(token=tokens[0], target_type=type_)
    say(f"--precision {value} is now called {today}; the old name will go.")
    return str(today)
