"""Who is let in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.helpers import Running, running
from videoswin.cli.serve import _token
from videoswin.errors import ConfigError
from videoswin.serve.models import Models
from videoswin.serve.settings import ServeSettings, is_loopback

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def guarded(models: Models) -> Iterator[Running]:
    with running(models, token=TOKEN) as found:
        yield found


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}]
)
def test_without_the_token_nothing_is_told(guarded: Running, clip: Path, headers: dict[str, str]) -> None:
    for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/timeline/x"):
        answer = guarded.request("GET", path, headers=headers)
        assert (answer.status, answer.code) == (401, "no_token")
    assert guarded.post("/v1/predict", clip, headers).status == 401


def test_with_the_token_all_is_open(guarded: Running, clip: Path) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.request("GET", "/v1/models", headers=bearer).status == 200
    assert guarded.post("/v1/predict", clip, bearer).status == 200


def test_state_and_page_need_no_token(guarded: Running) -> None:
    for path in ("/healthz", "/readyz", "/"):
        assert guarded.request("GET", path).status == 200


def test_other_sites_are_not_answered(server: Running, clip: Path) -> None:
    """A page on the web can send forms to 127.0.0.1; the browser says where they come from."""
    assert server.post("/v1/predict", clip, {"Origin": "https://evil.example"}).status == 403
    assert server.post("/v1/predict", clip, {"Origin": "null"}).status == 403
    assert server.post("/v1/predict", clip, {"Origin": f"http://127.0.0.1:{server.port}"}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[", ""])
def test_other_names_are_not_answered(server: Running, host: str) -> None:
    """A name of a stranger that points to 127.0.0.1 would make the browser think that we are the stranger's site."""
    assert server.request("GET", "/v1/models", headers={"Host": host}).status in (400, 421)


def test_answers_forbid_what_a_page_must_not_do(server: Running) -> None:
    for path in ("/", "/v1/models", "/nowhere"):
        headers = server.request("GET", path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_nothing_but_the_page_is_read_from_the_disk(server: Running) -> None:
    for path in (
        "/page/../settings.py",
        "/page/%2e%2e/settings.py",
        "/page//etc/passwd",
        "/samples/..%2fx",
        "/etc/passwd",
    ):
        assert server.request("GET", path).status in (400, 404), path


def test_wrong_methods_and_addresses(server: Running) -> None:
    assert server.request("GET", "/v1/predict").status == 405
    assert server.request("GET", "/nowhere").code == "http"
    assert server.request("DELETE", "/v1/timeline/none").status == 404


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/v1/models", "/nowhere", "/v1/predict"])
def test_head_is_get_without_the_body(server: Running, path: str) -> None:
    """Load balancers and monitors ask so."""
    head, get = server.request("HEAD", path), server.request("GET", path)
    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")


def test_loopback() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.1", "example.com", ""))
    assert ServeSettings().host == "127.0.0.1"


def test_beyond_loopback_there_is_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDEOSWIN_TOKEN", raising=False)
    assert _token("127.0.0.1", None, without=False) is None
    made = _token("0.0.0.0", None, without=False)
    assert made is not None
    assert len(made) >= 24
    assert made != _token("0.0.0.0", None, without=False)
    assert _token("0.0.0.0", None, without=True) is None
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert _token("0.0.0.0", file, without=False) == TOKEN
    monkeypatch.setenv("VIDEOSWIN_TOKEN", TOKEN)
    assert _token("127.0.0.1", None, without=False) == TOKEN
    file.write_text("short")
    for path in (file, tmp_path / "none"):
        with pytest.raises(ConfigError):
            _token("0.0.0.0", path, without=False)


def test_limits_are_numbers_above_0() -> None:
    for values in ({"queue": 0}, {"timeout_s": -1}, {"max_seconds": float("nan")}):
        with pytest.raises(ConfigError):
            ServeSettings(**values)  # type: ignore[arg-type]
