"""A model that fails and a server that is killed leave the ledger and the pages usable."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from transformers.models.llama.modeling_llama import LlamaMLP

from cli.web.state import Settings
from ledger import EditRequest, Ledger
from ledger.access import passwords
from ledger.demo import facts
from tests.contract.harness import failing
from tests.e2e.harness import ROOT, copied
from tests.sim.web_server import Browser, hidden, served

RIGHT = "correct horse"
FACTS = [fact for fact in facts() if fact["relation"] == "birthplace"]
FAILED = "the model failed; the ledger is as it was"


def request_of(fact: dict[str, str]) -> EditRequest:
    new = next(city for city in ("Quenby", "Vantry") if city != fact["target_true"])
    return EditRequest(fact["subject"], fact["prompt"], new, fact["target_true"])


@pytest.fixture(scope="module")
def made(probes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of the embedded model with statistics, an edit and an editor."""
    folder = tmp_path_factory.mktemp("faults") / "ledger"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "COST", {"time_cost": 1, "memory_cost": 8, "parallelism": 1})
        with Ledger.init(folder, base="demo", probes=probes, author="ada") as ledger:
            ledger.stats()
            ledger.edit(request_of(FACTS[0]))
            ledger.access.accounts.add("ed", "editor", RIGHT, author="ada")
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    return copied(made, tmp_path / "ledger")


@pytest.fixture
def browser(place: Path) -> Iterator[Browser]:
    with served(Settings(place)) as url:
        yield Browser(url)


def confirmed(browser: Browser, place: Path, fact: dict[str, str]) -> httpx.Response:
    """The page of a change; its proposal was made without a preview."""
    with Ledger.open(place) as ledger:
        pending = ledger.access.proposals.open("edit", request_of(fact).to_json(), "")
    page = browser.get(f"/proposals/{pending.id}")
    fields = {"digest": hidden(page, "digest"), "user": "ed", "password": RIGHT}
    return browser.post(f"{page.url.path}/confirm", **fields)


def counted(patch: pytest.MonkeyPatch, at: int) -> list[int]:
    """Let the call of an MLP with that number fail (0: none); how many there were."""
    calls = [0]
    patch.setattr(LlamaMLP, "forward", failing(LlamaMLP.forward, at, calls))
    return calls


def sound(place: Path, head: str) -> None:
    with Ledger.open(place) as ledger:
        assert ledger.status().head == head
        assert ledger.verify(weights=True) == []


@pytest.mark.promise("P10")
def test_an_error_anywhere_in_a_change_leaves_everything_as_it_was(browser, place):
    said = browser.said(FACTS[1]["prompt"].replace("{}", FACTS[1]["subject"]))
    with Ledger.open(place) as ledger:
        head = ledger.status().head
        with pytest.MonkeyPatch.context() as patch:
            calls = counted(patch, 0)
            ledger.edit(request_of(FACTS[1]), dry_run=True)
    assert calls[0] > 100
    for at in (1, calls[0] // 2, calls[0] - 2):
        with pytest.MonkeyPatch.context() as patch:
            reached = counted(patch, at)
            page = browser.settled(confirmed(browser, place, FACTS[1]))
        assert reached[0] >= at
        assert FAILED in page.text
        assert "Traceback" not in page.text
        sound(place, head)
        assert browser.said(FACTS[1]["prompt"].replace("{}", FACTS[1]["subject"])) == said
    done = browser.settled(confirmed(browser, place, FACTS[1]))
    assert "The change is made. demo@v2" in done.text


@pytest.mark.promise("P10")
def test_an_error_anywhere_in_an_answer_leaves_everything_as_it_was(browser, place):
    question = FACTS[2]["prompt"].replace("{}", FACTS[2]["subject"])
    with pytest.MonkeyPatch.context() as patch:
        calls = counted(patch, 0)
        said = browser.said(question)
    with Ledger.open(place) as ledger:
        head = ledger.status().head
    for at in range(1, calls[0] + 1, 7):
        with pytest.MonkeyPatch.context() as patch:
            counted(patch, at)
            page = browser.settled(browser.post("/say", message=question))
        assert FAILED in page.text
        assert browser.said(question) == said
    sound(place, head)


def test_a_change_that_nobody_remembers_is_told_from_the_ledger(browser, place):
    with Ledger.open(place) as ledger:
        lost, made = (
            ledger.access.proposals.open("edit", request_of(fact).to_json(), "")
            for fact in FACTS[3:5]
        )
        assert browser.get(f"/changes/{lost.id}").status_code == 404
        for pending in (lost, made):
            ledger.access.proposals.take(pending.id, pending.digest)
        note = f"proposal {made.digest[:12]}"
        done = ledger.edit(request_of(FACTS[4]), note=note, author="ed")
        ledger.tag("later")
    page = browser.get(f"/changes/{lost.id}")
    assert (page.status_code, "Nothing was recorded of this change" in page.text) == (200, True)
    assert FACTS[3]["subject"] in page.text
    page = browser.get(f"/changes/{made.id}").text
    assert "The change is made. demo@v2" in page
    assert f'href="/edits/{done.edit}"' in page


class Server:
    """The application in a process of its own, which can be killed."""

    def __init__(self, place: Path) -> None:
        command = [sys.executable, "-m", "cli.main", "--json", "--ledger", str(place)]
        self.process = subprocess.Popen(
            [*command, "serve", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        lines = iter(self.process.stdout.readline, "}\n")
        told: dict[str, Any] = json.loads("".join(lines) + "}")
        self.browser = Browser(told["url"].rstrip("/"))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(60) == -signal.SIGKILL
        self.process.stdout.close()


@pytest.mark.promise("P1")
@pytest.mark.slow
def test_a_server_that_is_killed_in_a_change_says_afterwards_what_became_of_it(place):
    with Ledger.open(place) as ledger:
        head = ledger.status().head
    server = Server(place)
    page = confirmed(server.browser, place, FACTS[1])
    path = re.findall(r'sse-connect="([^"]+)"', page.text)[0]
    with server.browser.http.stream("GET", path) as events:
        assert any("looking for the value" in line for line in events.iter_lines())
        server.kill()
    sound(place, head)

    server = Server(place)
    page = server.browser.get(str(page.url.path))
    assert "Nothing was recorded of this change" in page.text
    done = server.browser.settled(confirmed(server.browser, place, FACTS[1]))
    assert "The change is made. demo@v2" in done.text
    server.kill()

    server = Server(place)
    assert "The change is made. demo@v2" in server.browser.get(str(done.url.path)).text
    server.kill()
    with Ledger.open(place) as ledger:
        assert ledger.verify(weights=True) == []
