"""Options that several verbs have, and the former spellings of options and values.

One word means one thing in every verb (tests/cli/test_words.py).
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args

from cyclopts import CoercionError, Parameter, Token

from videoswin.cli.output import say

__all__ = ["Size", "in_todays_words", "precision_of"]


def _size_of(type_: Any, tokens: Sequence[Token]) -> tuple[int, int]:
    """ "112" -> (112, 112); "128x171" -> (128, 171): height x width."""
    parts = tokens[0].value.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise CoercionError(
            msg=f'Invalid value "{tokens[0].value}" for {tokens[0].keyword}: pixels, such as 224, or height x width, 128x171.'
        )
    return int(parts[0]), int(parts[-1])


Size = Annotated[
    tuple[int, int], Parameter(converter=_size_of, n_tokens=1, accepts_keys=False, negative="", metavar="PIXELS")
]
"""Height and width of a clip, given as one number where it is square."""


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


# Former spellings -----------------------------------------------------------------------------------------------------


def _clip(value: str) -> list[str]:
    """32x224x224 as it was once given to ``bench``; anything else is left to the error of the options of today."""
    clip_len, _, size = value.lower().partition("x")
    height, _, width = size.partition("x")
    return ["--clip-len", clip_len, "--size", height if height == width else size]


_FORMER: dict[str, dict[str, str | Callable[[str], list[str]]]] = {
    "batch": {"--features": "--keep-features", "--timeline": "--keep-timeline"},
    "bench": {"--batch": "--batch-size", "--clip": _clip},
    "info": {"--frames": "--clip-len"},
    "stream": {"--size": "--pipe-size", "--rate": "--pipe-fps"},
}
"""For each verb: options before 2026-11-26, and today's; or what makes today's options of a value."""
_FLAGS = ("--keep-features", "--keep-timeline")
"""Those of today's that take no value."""


def in_todays_words(tokens: Sequence[str]) -> list[str]:
    """A command line with former options replaced, and a line about each."""
    verb = tokens[0] if tokens else ""
    former, result, left = _FORMER.get(verb, {}), list(tokens[:1]), list(tokens[1:])
    while left:
        option, equals, value = left.pop(0).partition("=")
        today = former.get(option)
        if today in _FLAGS and not equals:
            say(f"{option} is now called {today}; the old name will go.")
            result.append(str(today))
            continue
        if today is None or not (equals or left):
            result.append(option + equals + value)
            continue
        value = value if equals else left.pop(0)
        new = [today, value] if isinstance(today, str) else today(value)
        say(f"{option} is now called {' '.join(new if len(new) > 2 else new[:1])}; the old name will go.")
        result += new
    return result
