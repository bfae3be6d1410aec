"""Where a server listens."""

import pytest

from videoswin.errors import ConfigError
from videoswin.serve.run import _listen
from videoswin.serve.settings import ServeSettings


def test_of_two_servers_on_one_port_the_second_is_told_at_once() -> None:
    """Not when its models are loaded: two sockets that are bound and do not listen yet may have one port."""
    with _listen(ServeSettings(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match="in use"):
            _listen(ServeSettings(port=port))


@pytest.mark.parametrize("where", [{"port": 70_000}, {"host": "no.such.host.invalid"}, {"host": "a..b"}])
def test_where_nobody_can_listen(where: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="cannot be listened on"):
        _listen(ServeSettings(**where))  # type: ignore[arg-type]
