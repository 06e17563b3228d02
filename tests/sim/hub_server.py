"""A small Hub on this machine: repositories with commits, large files, and faults on demand.

Promise: serves what the Hub's own client asks for when it downloads, lists and commits; every
request is written down; files named `*.bin` and the like are there to be taken, and must not be.
Rules: bound to 127.0.0.1 on a free port; a fault is chosen per request by method and path; a commit
happens whole or not at all, also where its answer is lost.

    with HubServer({"config.json": b"{}"}) as hub:
        hub.faults = lambda method, path: Fault(status=500) if "resolve" in path else None
        environment = hub.environment(cache)
    hub.paths()         # ['/api/models/owner/tiny/revision/main', ...]
    hub.repos["owner/new"].files()
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    sent: int = 0


@dataclass
class Repository:
    """Commits by their number, oldest first; `large` are the sha256 in its storage."""

    commits: dict[str, dict[str, bytes]]
    private: bool = False
    large: set[str] = field(default_factory=set)
    pulls: list[str] = field(default_factory=list)

    @property
    def head(self) -> str:
        """The newest commit of main."""
        return next(oid for oid in reversed(self.commits) if oid not in self.pulls)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Name -> bytes of a commit."""
        return self.commits[self.head if revision == "main" else revision]

    def add(self, files: dict[str, bytes], pull: bool = False) -> str:
        """A commit on the head; its number."""
        text = json.dumps([len(self.commits), sorted(map(len, files.values()))])
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits[oid] = files
        if pull:
            self.pulls.append(oid)
        return oid


Faults = Callable[[str, str], Fault | None]
Answer = tuple[int, bytes, dict[str, str]]


class _Quiet(ThreadingHTTPServer):
    """Says nothing of a client that went away: what a command prints is what is tested."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class HubServer:
    """The server; a context manager. `files` are those of REPO, at COMMIT."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.repos = {REPO: Repository({COMMIT: self.files})}
        self.storage = {sha(data): data for name, data in files.items() if is_large(name)}
        self.repos[REPO].large |= set(self.storage)
        self.faults: Faults = lambda method, path: None
        self.spoil: Callable[[str, bytes], bytes] = lambda name, data: data
        self.asked: list[Asked] = []
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = _Quiet(("127.0.0.1", 0), Handler)
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
        off = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(home), **off}

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [asked.path for asked in self.asked]

    def found(self, path: str) -> Answer:
        """The answer to a request that only reads."""
        for name, repo in self.repos.items():
            for kind, prefix in (("info", f"/api/models/{name}"), ("file", f"/{name}/resolve/")):
                if path == prefix or path.startswith(prefix if kind == "file" else f"{prefix}/"):
                    return _read(name, repo, path[len(prefix) :], kind)
        return _missing("RepoNotFound")


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.server_hub, unquote(urlsplit(self.path).path)
        body = self._body()
        authorization = self.headers.get("authorization", "")
        hub.asked.append(Asked(self.command, path, authorization, len(body)))
        fault = hub.faults(self.command, path)
        if fault is not None and fault.status != 200:
            self._send(fault.status, b'{"error": "no"}', dict(fault.headers or {}))
            return
        if self.command in ("POST", "PUT"):
            from tests.sim.hub_writes import written

            answer = written(hub, path, urlsplit(self.path).query, body)
        else:
            answer = hub.found(path)
        self._send(*answer, None if fault is None else fault.cut)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

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


def _read(name: str, repo: Repository, rest: str, kind: str) -> Answer:
    """Repository info, its tree, or a file, at `main` or a commit."""
    if kind == "info":
        _, what, revision = (rest or "/revision/main").split("/", 2)
        if revision != "main" and revision not in repo.commits:
            return _missing("RevisionNotFound")
        files = repo.files(revision)
        if what == "tree":
            return 200, json.dumps([entry(*file) for file in files.items()]).encode(), {}
        oid = repo.head if revision == "main" else revision
        return 200, json.dumps(_info(name, oid, files)).encode(), {}
    revision, _, file = rest.partition("/")
    oid = repo.head if revision == "main" else revision
    if oid not in repo.commits:
        return _missing("RevisionNotFound")
    if file not in repo.commits[oid]:
        return _missing("EntryNotFound")
    data = repo.commits[oid][file]
    return 200, data, _file_headers(oid, file, data)


def _missing(kind: str) -> Answer:
    return 404, b'{"error": "not found"}', {"X-Error-Code": kind}


def _info(name: str, oid: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    siblings = [{"rfilename": file} for file in files]
    return {"_id": "1", "id": name, "modelId": name, "sha": oid, "siblings": siblings,
            "private": False, "tags": []}  # fmt: skip


def entry(name: str, data: bytes) -> dict[str, Any]:
    """A file as the tree lists it."""
    found: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": blob(data)}
    if is_large(name):
        found["lfs"] = {"oid": sha(data), "size": len(data), "pointerSize": 130}
        found["xetHash"] = sha(b"xet" + data)
    return found


def _file_headers(oid: str, name: str, data: bytes) -> dict[str, str]:
    headers = {"X-Repo-Commit": oid, "ETag": f'"{blob(data)}"', "Accept-Ranges": "bytes"}
    if is_large(name):
        headers |= {"X-Linked-ETag": f'"{sha(data)}"', "X-Linked-Size": str(len(data))}
    return headers


def is_large(name: str) -> bool:
    """Whether the Hub keeps such a file in its large storage."""
    return name.endswith((".safetensors", ".bin", ".pt")) or name.startswith("objects/")


def sha(data: bytes) -> str:
    """sha256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def blob(data: bytes) -> str:
    """The name git has for these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
