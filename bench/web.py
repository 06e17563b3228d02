"""The application over HTTP beside what it stands on: the bare model, and a static file.

Server and clients share this process and its cores, so what HTTP costs here is an upper bound.
Every answer of the readers names its version; each is given again by that version afterwards and
must be the same text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from bench.clock import in_turns, seconds
from bench.table import Row
from cli.web.state import Settings
from ledger import EditRequest, Ledger
from ledger.base import demo_folder
from ledger.conversing import Speech
from ledger.demo import facts
from tests.sim.web_server import Browser, hidden, served

TOKENS, SHORT, READERS, CLIENTS = 32, 8, 50, 4
PASSWORD = "a password of the benchmark"
FACTS = [fact for fact in facts() if fact["relation"] == "birthplace"]


def _prompt(number: int) -> str:
    return FACTS[number]["prompt"].replace("{}", FACTS[number]["subject"])


PROMPT = _prompt(0)


def measure(folder: Path) -> list[Row]:
    """First token, pages, throughput, and readers while the model is changed."""
    place = folder / "ledger"
    with Ledger.init(place, base="demo", author="bench") as ledger:
        ledger.stats()
        ledger.edit(_request(0))
        ledger.access.accounts.add("bench", "editor", PASSWORD, author="bench")
    with served(Settings(place, tokens=TOKENS)) as url, _client(url) as http:
        rows = [*_answers(http), *_pages(http)]
        readers = _Readers(url, place, http)
        rows += readers.measured()
        readers.check()
    return rows


def _request(number: int) -> EditRequest:
    fact = FACTS[number]
    new = next(city for city in ("Quenby", "Vantry") if city != fact["target_true"])
    return EditRequest(fact["subject"], fact["prompt"], new, fact["target_true"])


def _client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, trust_env=False, timeout=600, limits=httpx.Limits())


def _body(**fields: Any) -> dict[str, Any]:
    return {"model": "demo", "prompt": PROMPT, "max_tokens": TOKENS, **fields}


# --- answers ------------------------------------------------------------------------------------


def _answers(http: httpx.Client) -> Iterator[Row]:
    """The API beside transformers' own `generate` of the same model, greedily."""
    generate = _bare()

    def first() -> None:
        told = http.post("/v1/completions", json=_body(stream=True, max_tokens=1)).text
        if not told.endswith("data: [DONE]\n\n"):
            raise RuntimeError(f"no stream: {told}")

    ours, bare = in_turns([first, lambda: generate(1)], repeats=15)
    yield Row("web", "first token, as a stream", ours * 1e3, "ms", "`generate` of 1", bare * 1e3)

    def whole() -> None:
        found = http.post("/v1/completions", json=_body()).json()
        if found["usage"]["completion_tokens"] != TOKENS:
            raise RuntimeError(f"another answer than asked for: {found}")

    ours, bare = in_turns([whole, lambda: generate(TOKENS)], repeats=5)
    peer = f"`generate` of {TOKENS}"
    yield Row("web", f"answer of {TOKENS} tokens", ours * 1e3, "ms", peer, bare * 1e3)

    def together() -> None:
        _all([whole] * CLIENTS)

    ours, bare = in_turns([together, lambda: [generate(TOKENS) for _ in range(CLIENTS)]], repeats=3)
    yield Row(
        *("web", f"{CLIENTS} clients, {TOKENS} tokens each", ours * 1e3, "ms"),
        *(f"{CLIENTS} x `generate`", bare * 1e3),
    )


def _bare() -> Callable[[int], Any]:
    """`generate` of exactly so many tokens by the embedded model, without the ledger."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(demo_folder(), dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(demo_folder())
    ids = tokenizer(PROMPT, return_tensors="pt")

    def generate(tokens: int) -> Any:
        with torch.no_grad():
            return model.generate(
                **ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False
            )

    return generate


# --- pages --------------------------------------------------------------------------------------


def _pages(http: httpx.Client) -> Iterator[Row]:
    """Pages beside a static file."""

    def load(path: str) -> Callable[[], None]:
        return lambda: _loaded(http, path)

    static = load("/static/kel.css")
    for path in ("/", "/facts", "/edits/1", "/history"):
        ours, plain = in_turns([load(path), static], repeats=21)
        yield Row("web", f"page {path}", ours * 1e3, "ms", "a static file", plain * 1e3)


def _loaded(http: httpx.Client, path: str) -> None:
    found = http.get(path)
    if found.status_code != 200 or not found.content:
        raise RuntimeError(f"{path} was answered with {found.status_code}")


# --- readers ------------------------------------------------------------------------------------


class _Readers:
    """Fifty readers at once, and an edit in their midst."""

    def __init__(self, url: str, place: Path, http: httpx.Client) -> None:
        self._url, self._place, self._http = url, place, http
        self._next = count(1)
        self._found: set[tuple[str, str, str]] = set()
        self._during: list[float] = []

    def measured(self) -> Iterator[Row]:
        """Answers and pages while an edit is made, beside the same at rest."""
        busy, rest = in_turns([lambda: self._round(edit=True), self._round], repeats=3)
        what = f"{READERS} answers and an edit"
        yield Row("web", what, busy, "s", f"{READERS} answers", rest)
        still = median(seconds(lambda: _loaded(self._http, "/facts")) for _ in range(21))
        during = median(self._during)
        what = "page /facts while an edit is made"
        yield Row("web", what, during * 1e3, "ms", "at rest", still * 1e3)

    def _round(self, *, edit: bool = False) -> None:
        if not edit:
            _all([self._ask] * READERS)
            return
        number = next(self._next)
        page = self._proposed(number)
        # They ask for the very fact that is changed, so that both versions answer differently.
        half = [partial(self._ask, _prompt(number))] * (READERS // 2)
        _all([*half, lambda: self._confirm(page), self._look, *half])

    def _ask(self, prompt: str = PROMPT) -> None:
        found = self._http.post("/v1/completions", json=_body(prompt=prompt, max_tokens=SHORT))
        if found.status_code != 200:
            raise RuntimeError(f"a reader was answered with {found.status_code}: {found.text}")
        told = found.json()
        self._found.add((told["model"], prompt, told["choices"][0]["text"]))

    def _look(self) -> None:
        """Pages are read all the while."""
        self._during += [seconds(lambda: _loaded(self._http, "/facts")) for _ in range(5)]

    def _proposed(self, number: int) -> tuple[Browser, httpx.Response]:
        browser, request = Browser(self._url), _request(number)
        fields = {"subject": request.subject, "prompt": request.prompt}
        page = browser.post("/proposals", **fields, target_new=request.target_new)
        return browser, browser.settled(page)

    def _confirm(self, proposed: tuple[Browser, httpx.Response]) -> None:
        browser, page = proposed
        fields = {"digest": hidden(page, "digest"), "user": "bench", "password": PASSWORD}
        done = browser.settled(browser.post(f"{page.url.path}/confirm", **fields))
        if not re.search(r"The change is made\.", done.text):
            raise RuntimeError(f"the change was not made: {done.text}")

    def check(self) -> None:
        """Ask the versions that were named again. Raises: RuntimeError for another answer."""
        with Ledger.open(self._place) as ledger:
            for name, prompt, text in sorted(self._found):
                at = name.removeprefix("demo@")
                again = ledger.complete(prompt, at=at, speech=Speech(SHORT))
                if again.text != text:
                    raise RuntimeError(f"{name} said {text!r} to a reader, and says {again.text!r}")


def _all(works: list[Callable[[], None]]) -> None:
    """Run works at the same time; the first error is raised here."""
    with ThreadPoolExecutor(len(works)) as pool:
        for running in [pool.submit(work) for work in works]:
            running.result()
