"""As much of a hub's interface as uploading and downloading a folder takes, on this machine."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories and their files, and what was asked for."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    def come(self) -> None:
        """Answer at ``url``, which stays the same for ever."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def leave(self) -> None:
        """Answer nothing more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def is_gone(self) -> bool:
        return self._server is None

    @property
    def downloaded(self) -> set[str]:
        """Names of the files that were sent."""
        return {line.rpartition("/")[2] for line in self.requests if line.startswith("GET") and "/resolve/" in line}


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """The hub at ``hub.url``, on a free port of the loopback interface."""
    hub.come()
    try:
        yield hub
    finally:
        hub.leave()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # no connection stays open that would outlive the hub

        def do_HEAD(self) -> None:
            self._get(body=False)

        def do_GET(self) -> None:
            self._get(body=True)

        def _get(self, body: bool) -> None:
            path = self._note()
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self._about("/".join(parts[2:4]), parts[4:])
            elif parts[2:3] == ["resolve"] and parts[4] in hub.repos.get("/".join(parts[:2]), {}):
                self._send(hub.repos["/".join(parts[:2])][parts[4]], body)
            else:
                self._refuse("EntryNotFound" if "/".join(parts[:2]) in hub.repos else "RepoNotFound")

        def _about(self, repo: str, rest: list[str]) -> None:
            if repo not in hub.repos:
                self._refuse("RepoNotFound")
            elif rest[:1] in (["revision"], ["tree"]) and rest[1] not in ("main", COMMIT):
                self._refuse("RevisionNotFound")
            elif rest[:1] == ["tree"]:
                self._answer([entry(name, content) for name, content in hub.repos[repo].items()])
            else:
                names = [{"rfilename": name} for name in hub.repos[repo]]
                self._answer({"_id": "1", "id": repo, "sha": COMMIT, "private": False, "siblings": names})

        def do_POST(self) -> None:
            path = self._note()
            text = self.rfile.read(int(self.headers["Content-Length"]))
            repo = "/".join(path.strip("/").split("/")[2:4])
            if path == "/api/repos/create":
                asked = json.loads(text)
                name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
                if name in hub.repos:
                    self._answer({"error": "exists", "url": f"{hub.url}/{name}"}, 409)
                    return
                hub.repos[name] = {}
                self._answer({"url": f"{hub.url}/{name}", "name": name, "id": name})
            elif "/preupload/" in path:
                files = json.loads(text)["files"]
                modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
                self._answer({"files": modes})
            elif "/commit/" in path:
                for line in text.splitlines():
                    step = json.loads(line)
                    if step["key"] == "file":
                        hub.repos[repo][step["value"]["path"]] = base64.b64decode(step["value"]["content"])
                self._answer({"success": True, "commitOid": COMMIT, "commitUrl": f"{hub.url}/{repo}/commit/{COMMIT}"})
            elif path == "/api/validate-yaml":
                self._answer({"errors": [], "warnings": []})
            else:
                self._refuse("EntryNotFound")

        def _note(self) -> str:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            return path

        def _send(self, content: bytes, body: bool) -> None:
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def _answer(self, value: Any, status: int = 200) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def entry(name: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
