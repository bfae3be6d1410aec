"""Addresses of streams: what they name, and how they may be shown.

What people type holds passwords, not always escaped: ``rtsp://me:pa/ss@host``, ``rtsp://host/user=me&password=secret``. So an
address is shown as its scheme, host and port and nothing else, and where a password may have slipped into these, not even that.
"""

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote, urljoin

from videoswin.errors import ConfigError, VideoError

__all__ = ["PORTS", "Address", "Redirected", "without_password"]

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_ENCODING = "In user names and passwords, write %2F for /, %23 for #, %3F for ?, %40 for @, %25 for %."
_HOST_PORT = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[^\[\]:@\s]+)(?::(?P<port>\d{1,5}))?", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """``scheme://user:password@host:port/rest``, taken apart."""

    scheme: str
    """In small letters, a key of :data:`PORTS`."""
    userinfo: str
    """As it was written, with its escapes; empty if there is none."""
    host: str
    port: int
    rest: str
    """Path and query, beginning with a slash; without fragment."""
    name: str
    """How the address may be shown."""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """ConfigError for schemes that are not opened, and for what is no address."""
        name = without_password(text)
        scheme = text.partition("://")[0].lower()
        if scheme not in PORTS:
            raise ConfigError(f"{name}: addresses of this kind are not opened. Use one of: {', '.join(PORTS)}.")
        authority, rest = _split(text)
        userinfo, _, place = authority.rpartition("@")
        found = _HOST_PORT.fullmatch(place)
        port = int(found["port"] or PORTS[scheme]) if found else 0
        if found is None or not 0 < port < 65536 or any(c.isspace() or not c.isprintable() for c in text):
            raise ConfigError(f"{name}: this is no address of a host. {_ENCODING}")
        rest = rest.partition("#")[0]
        return cls(scheme, userinfo, found["host"].strip("[]"), port, rest if rest[:1] == "/" else f"/{rest}", name)

    def moved(self, location: str) -> "Address | None":
        """Where a redirect leads, with the user's name and password; None if that is another host, port or scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        http = f"http://{host}:{self.port}"  # urljoin knows no rtsp
        try:
            separator = "://" in location.partition("?")[0]
            found = Address.parse(location if separator else f"{self.scheme}{urljoin(http + self.rest, location)[4:]}")
        except ConfigError:
            return None
        return replace(self, rest=found.rest) if found.origin == self.origin else None

    @property
    def tls(self) -> bool:
        return self.scheme in ("rtsps", "https")

    @property
    def origin(self) -> tuple[str, str, int]:
        """Who is spoken to."""
        return self.scheme, self.host.lower(), self.port

    @property
    def user(self) -> tuple[str, str] | None:
        """User name and password, unescaped."""
        name, _, password = self.userinfo.partition(":")
        return (unquote(name), unquote(password)) if self.userinfo else None


class Redirected(VideoError):
    """The host sends elsewhere, to ``location``."""

    def __init__(self, name: str, location: str) -> None:
        self.location = location
        where = without_password(location) if "://" in location else "another place"
        reason = f"it redirects to {where}, and only the host that you name is opened"
        super().__init__(name, reason, "If you trust that host, give its address")


def without_password(address: str) -> str:
    """The address as it may be shown: scheme, host, port, and dots for the rest, which may hold secrets."""
    scheme = address.partition("://")[0]
    scheme = scheme if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,15}", scheme) else "..."
    authority, rest = _split(address)
    place = authority.rpartition("@")[2]
    if "@" in rest or not _HOST_PORT.fullmatch(place):  # what stands before the @ may be a password with a slash in it
        return f"{scheme}://..."
    return f"{scheme}://{place}{'/...' if rest.strip('/') else ''}"


def _split(address: str) -> tuple[str, str]:
    """User and host on one side; path, query and fragment on the other."""
    after = address.partition("://")[2]
    end = re.search(r"[/?#]", after)
    return (after, "") if end is None else (after[: end.start()], after[end.start() :])
