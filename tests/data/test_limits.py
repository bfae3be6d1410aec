"""What one file may cost, as the command line says it."""

import pytest

from videoswin.data.containers import Limits
from videoswin.errors import ConfigError

NONE = float("inf")


def test_limits_of_the_command_line() -> None:
    assert Limits.parse("") == Limits()
    assert Limits.parse("none") == Limits(NONE, NONE, NONE, NONE, NONE)
    assert Limits.parse(" seconds=50_000, timeout = none ") == Limits(max_seconds=50_000, timeout_s=NONE)
    assert Limits.parse("bytes=8e9,frames=10,pixels=4") == Limits(max_bytes=8e9, max_frames=10, max_pixels=4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("secnods=5", 'The limits "secnods=5" are not understood.*Did you mean "seconds"?'),
        ("seconds", "Write none, or limits such as"),
        ("seconds=long", 'The limit "seconds=long" needs a number above 0, or none.'),
        ("seconds=0", "Limits.max_seconds must be a number above 0"),
        ("seconds=-1", "must be a number above 0"),
        ("seconds=nan", "must be a number above 0"),
    ],
)
def test_limits_that_make_no_sense(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Limits.parse(text)
