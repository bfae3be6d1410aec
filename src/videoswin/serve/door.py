"""What every request passes first: from which page it comes, whether it brings the token, and what is said about it afterwards.

A server on 127.0.0.1 is reached by every web page that its user visits. So a request that changes something has to come from
the server's own page or from no page at all, and the name by which the server is called has to be its own (a stranger's name
can be made to point here).
"""

import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from videoswin.serve.refusals import Refused
from videoswin.serve.service import Service
from videoswin.serve.settings import is_loopback

__all__ = ["SUBPROTOCOL", "Door"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SUBPROTOCOL = "videoswin"
_TOKEN_PROTOCOL = "token."
_log = logging.getLogger(__name__)
_CLOSED_TO_STRANGERS = ("/v1/", "/metrics", "/openapi.json")
_WHILE_DRAINING = ("/healthz", "/readyz", "/metrics")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' "
    "blob: data:; media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Door:
    """ASGI middleware."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), [500]
        service = self._service
        is_http = scope["type"] == "http"

        async def answering(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                present = {name for name, _ in message["headers"]}
                extra = [(n.encode(), v.encode()) for n, v in _HEADERS.items() if n.encode() not in present]
                if b"cache-control" not in present:
                    extra.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *extra]
            elif message["type"] == "websocket.accept":
                status[0] = 101
            await send(message)

        if is_http and scope["method"] == "HEAD":  # as GET; uvicorn, which has the scope as it came, sends no body
            scope = {**scope, "method": "GET"}
        service.in_flight += 1
        try:
            self._check(scope)
            await self._app(scope, receive, answering)
        except Refused as refused:
            if is_http:
                await _refuse(refused, answering)
            else:
                status[0] = refused.status
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": refused.message[:120]})
        finally:
            service.in_flight -= 1
            route = getattr(scope.get("route"), "path", None) or "other"
            service.metrics.requests.labels(route, str(status[0])).inc()
            if is_http:
                service.metrics.seconds.labels(route).observe(time.perf_counter() - began)

    def _check(self, scope: Scope) -> None:
        service, path = self._service, scope["path"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if service.draining and path not in _WHILE_DRAINING:
            raise Refused.busy("This server is going down.")
        host = headers.get("host", "")
        if is_loopback(service.settings.host) and not is_loopback(_name_of(host)):
            raise Refused(421, "wrong_host", "This server answers to the name of this machine only, such as 127.0.0.1.")
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if changes and origin is not None and urlsplit(origin).netloc != host:
            raise Refused(403, "other_site", "Requests from the pages of other sites are not answered.")
        token = service.settings.token
        if token is not None and path.startswith(_CLOSED_TO_STRANGERS) and not _matches(token, headers):
            message = "A token is needed: Authorization: Bearer TOKEN. Whoever runs this server has it."
            raise Refused(401, "no_token", message, {"WWW-Authenticate": "Bearer"})


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _matches(token: str, headers: MutableMapping[str, str]) -> bool:
    """By header; a browser's web socket can send none, and names the token among its protocols."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        protocols = (part.strip() for part in headers.get("sec-websocket-protocol", "").split(","))
        given = next((p.removeprefix(_TOKEN_PROTOCOL) for p in protocols if p.startswith(_TOKEN_PROTOCOL)), "")
    return hmac.compare_digest(given.strip().encode(), token.encode())


async def _refuse(refused: Refused, send: Send) -> None:
    import json

    body = json.dumps(refused.to_dict()).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    headers |= {name.lower(): value for name, value in refused.headers.items()}
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
