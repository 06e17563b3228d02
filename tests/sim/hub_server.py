"""A small Hub on this machine: one repository at one commit, with faults on demand.

Promise: serves what `snapshot_download` asks for (repository info, tree, files); every request is
written down; files named `*.bin` and the like are there to be taken, and must not be.
Rules: bound to 127.0.0.1 on a free port; a fault is chosen per request by method and path.

    with HubServer({"config.json": b"{}"}) as hub:
        hub.faults = lambda method, path: Fault(status=500) if "resolve" in path else None
        environment = hub.environment(cache)
    hub.paths()         # ['/api/models/owner/tiny/revision/main', ...]
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "owner/tiny"
_POLL = 0.02


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request: a status, or the connection ends after `cut` bytes."""

    status: int = 200
    cut: int | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    authorization: str


Faults = Callable[[str, str], Fault | None]


class HubServer:
    """The server; a context manager."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.faults: Faults = lambda method, path: None
        self.asked: list[Asked] = []
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @classmethod
    def of(cls, folder: Path, **extra: bytes) -> Self:
        """The files of a model folder, and some more."""
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        return cls(files | extra)

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that lead a process here, with a cache of its own."""
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [asked.path for asked in self.asked]


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.server_hub, unquote(urlsplit(self.path).path)
        hub.asked.append(Asked(self.command, path, self.headers.get("authorization", "")))
        fault = hub.faults(self.command, path)
        if fault is not None and fault.status != 200:
            self._send(fault.status, b'{"error": "no"}', dict(fault.headers or {}))
            return
        status, body, headers = self._found(path)
        self._send(status, body, headers, None if fault is None else fault.cut)

    def _found(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        hub = self.server_hub
        info, tree = f"/api/models/{REPO}/revision/", f"/api/models/{REPO}/tree/{COMMIT}"
        if path.startswith(info) and path[len(info) :] in ("main", COMMIT):
            return 200, json.dumps(_info(hub.files)).encode(), {}
        if path == tree:
            return 200, json.dumps([_entry(*file) for file in hub.files.items()]).encode(), {}
        resolve = f"/{REPO}/resolve/{COMMIT}/"
        name = path.removeprefix(resolve)
        if path.startswith(resolve) and name in hub.files:
            return 200, hub.files[name], _file_headers(name, hub.files[name])
        kind = "RevisionNotFound" if path.startswith(info) else "RepoNotFound"
        return 404, b'{"error": "not found"}', {"X-Error-Code": kind}

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str], cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _info(files: Mapping[str, bytes]) -> dict[str, Any]:
    siblings = [{"rfilename": name} for name in files]
    return {"_id": "1", "id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": siblings,
            "private": False, "tags": []}  # fmt: skip


def _entry(name: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": _blob(data)}
    if _large(name):
        sha = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"oid": sha, "size": len(data), "pointerSize": 130}
    return entry


def _file_headers(name: str, data: bytes) -> dict[str, str]:
    headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_blob(data)}"', "Accept-Ranges": "bytes"}
    if _large(name):
        sha = hashlib.sha256(data).hexdigest()
        headers |= {"X-Linked-ETag": f'"{sha}"', "X-Linked-Size": str(len(data))}
    return headers


def _large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".pt"))


def _blob(data: bytes) -> str:
    """The name git has for these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
