"""What stands before every route: who may ask, from where, how much; and what browsers are told.

Promise: other hosts' names, other sites' requests and large bodies never reach a route; every
response carries the same strict policy.

Rules: a host name outside the list is refused (DNS rebinding); an unsafe method needs the word of
the browser that it comes from this site; programs, which send no such word, may use /v1 only.

    app.add_middleware(Guard, hosts={"127.0.0.1", "localhost"}, longer={"/audit": 10**9})
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cli.web.answers import body

MOST_BYTES: Final = 1_000_000
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """The middleware. `hosts` are host names without port; `longer`: paths with another limit."""

    def __init__(
        self, app: ASGIApp, hosts: Collection[str], longer: Mapping[str, int] | None = None
    ) -> None:
        self._app, self._hosts = app, frozenset(host.casefold() for host in hosts)
        self._longer = dict(longer or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with the headers of every response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        refused = self._refusal(scope, headers)
        if refused is not None:
            await _refuse(send, *refused)
            return
        limited = _Limited(receive, self._most(scope))
        await self._app(scope, limited, _Marked(send, scope["path"]))

    def _most(self, scope: Scope) -> int:
        return self._longer.get(scope["path"], MOST_BYTES)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        if _name(headers.get("host", "")) not in self._hosts:
            return 421, "this host name is not served here; see kel serve --allow-host"
        length, most = headers.get("content-length", "0"), self._most(scope)
        if not length.isdecimal() or int(length) > most:
            return 413, f"the request is longer than {most} bytes"
        if scope["method"] in SAFE or _same_site(scope, headers):
            return None
        return 403, "this did not come from a page of this site"


def _name(host: str) -> str:
    """A host name without its port."""
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[").casefold()
    return host.partition(":")[0].casefold()


def _same_site(scope: Scope, headers: Mapping[str, str]) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is None:
        return str(scope["path"]).startswith("/v1/")
    if site is not None and site not in ("same-origin", "none"):
        return False
    if origin is None:
        return True
    return origin in (f"http://{headers.get('host')}", f"https://{headers.get('host')}")


async def _refuse(send: Send, status: int, message: str) -> None:
    told = json.dumps(body(message, "refused", None)).encode()
    plain = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(told)))
    start = {"type": "http.response.start", "status": status, "headers": [*plain, *HEADERS]}
    await send(start)
    await send({"type": "http.response.body", "body": told})


class _Limited:
    """Receives a body that may not grow beyond the limit, whatever its length was said to be."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most, self._seen = receive, most, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._most:
            return {"type": "http.disconnect"}
        return message


class _Marked:
    """Sends with the headers of every response."""

    def __init__(self, send: Send, path: str) -> None:
        self._send, self._kept = send, path.startswith("/static/")

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            cache = b"public, max-age=3600" if self._kept else b"no-store"
            headers = [*message.get("headers", []), *HEADERS, (b"cache-control", cache)]
            message = {**message, "headers": headers}
        await self._send(message)
