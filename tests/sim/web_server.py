"""The application on a real port of this machine, in a thread; and a browser without a screen.

with served(Settings(folder)) as url:
    browser = Browser(url)
    browser.post("/say", message="Ada was born in")
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import httpx
import uvicorn

from cli.web.app import create_app
from cli.web.state import Settings


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The address of the application while the block runs."""
    config = uvicorn.Config(create_app(settings), port=0, log_level="error", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(2000):
        if server.started:
            break
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


class Browser:
    """Keeps cookies, says where a form comes from, follows a redirect after a form."""

    def __init__(self, url: str, language: str = "en") -> None:
        self.url = url
        self.http = httpx.Client(
            base_url=url,
            headers={"accept-language": language},
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path)

    def post(self, path: str, **fields: Any) -> httpx.Response:
        headers = {"origin": self.url, "sec-fetch-site": "same-origin"}
        found = self.http.post(path, data=fields, headers=headers)
        return self.get(found.headers["location"]) if found.status_code == 303 else found

    def events(self, page: httpx.Response, place: int = -1) -> list[tuple[str, str]]:
        """What the job of a page tells, to its end."""
        path = re.findall(r'sse-connect="([^"]+)"', page.text)
        if not path:
            return []
        lines = self.get(path[place]).text.split("\n\n")
        found = []
        for block in lines:
            name = re.search(r"^event: (\w+)$", block, re.M)
            if name:
                data = re.findall(r"^data: ?(.*)$", block, re.M)
                found.append((name.group(1), "\n".join(data)))
        return found

    def settled(self, page: httpx.Response) -> httpx.Response:
        """The page once all its jobs are over."""
        for place in range(len(re.findall("sse-connect=", page.text))):
            self.events(page, place)
        return self.get(str(page.url.path))

    def said(self, message: str, **fields: Any) -> list[tuple[str, str]]:
        """The last turn's answers: who, and what."""
        return answers(self.settled(self.post("/say", message=message, **fields)))


def answers(page: httpx.Response) -> list[tuple[str, str]]:
    """Who answered what in the last turn."""
    last = page.text.rpartition('<article id="last">')[2].partition("</article>")[0]
    who = re.findall(r'<span class="who">([^<]*)</span>', last)
    return list(zip(who, re.findall(r'<p class="text">([^<]*)</p>', last), strict=True))


def hidden(page: httpx.Response, name: str) -> str:
    """A hidden field of a page."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, page.text
    return found.group(1)


PLACES = ("href", "src", "action", "formaction", "data", "srcdoc", "sse-connect", "hx-get")


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []
        self.places: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *sorted(name for name, _ in attrs)))
        self.places += [str(value) for name, value in attrs if name in PLACES]

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}",))


def places(text: str) -> list[str]:
    """Where a page leads: the values of attributes that are addresses."""
    parser = _Tree()
    parser.feed(text)
    return parser.places


def tree(text: str) -> list[tuple[str, ...]]:
    """The elements of a page as they begin and end, with the names of their attributes."""
    parser = _Tree()
    parser.feed(text)
    return parser.found
