"""The pages of the ledger: they say what the commands say, escape every text and change nothing."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path

import pytest

from cli.web.reading import _loss
from cli.web.state import Settings
from ledger import EditRequest, Ledger
from ledger.access import passwords
from tests.e2e.harness import SETTINGS, Kel, copied, rows
from tests.sim.places import ask, unguard
from tests.sim.web_server import Browser, served, tree

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y>{{7*7}}\u202e"
PAGES = ("/facts", "/facts?only=expired", "/edits/5", "/edits/3", "/history", "/log",
         "/diff?old=v2", "/edits/5/interference", "/verify")  # fmt: skip
TWINS = {
    "/facts.json": ("facts",),
    "/facts.json?search=born&at=v2": ("facts", "--search", "born", "--at", "v2"),
    "/facts.json?only=expired&on=2031-01-01": ("facts", "--expired", "--on", "2031-01-01"),
    "/edits/1.json": ("show", "1"),
    "/edits/3.json": ("show", "3"),
    "/edits/4.json": ("show", "4"),
    "/history.json": ("history",),
    "/log.json": ("log",),
    "/diff.json": ("diff", "base", "HEAD"),
    "/diff.json?old=kept&new=v1": ("diff", "kept", "v1"),
    "/edits/4/interference.json": ("interference", "4"),
    "/edits/1/interference.json?at=v3": ("interference", "1", "--at", "v3"),
    "/verify.json": ("verify",),
    "/log.json?limit=2&branch=main": ("log", "-n", "2", "--branch", "main"),
}


def made(template: Path, folder: Path, text: str) -> Path:
    """The small ledger with a fifth edit, all of whose texts are given, and a reader."""
    place = copied(template, folder)
    request = EditRequest(
        text, "{} was seen by", text, f"{text}!", valid_until="2030-12-31", source=text
    )
    with pytest.MonkeyPatch.context() as patch, Ledger.open(place, author=text) as ledger:
        ledger.edit(request, gate=None, note=text, **SETTINGS)
        patch.setattr(passwords, "COST", {"time_cost": 1, "memory_cost": 8, "parallelism": 1})
        ledger.access.accounts.add("red", "reader", "correct horse", author="ada")
    return place


@pytest.fixture(scope="module")
def place(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(template, tmp_path_factory.mktemp("pages") / "ledger", HOSTILE)


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    with served(Settings(place)) as address:
        yield address


@pytest.fixture(scope="module")
def plain(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same with harmless texts."""
    folder = made(template, tmp_path_factory.mktemp("plain") / "ledger", "harmless")
    with served(Settings(folder)) as address:
        yield address


@pytest.fixture
def browser(url: str) -> Browser:
    return Browser(url)


@pytest.mark.parametrize("path", TWINS)
def test_the_twin_of_a_page_is_the_document_of_the_command(browser, place, clean, path):
    found = browser.get(path)
    assert found.headers["content-type"] == "application/json"
    document = Kel(place).json(*TWINS[path])
    document.get("delta", {}).pop("path", None)  # a place on the server
    assert found.json() == document
    assert browser.get(path.replace(".json", "")).status_code == 200


@pytest.mark.promise("P26")
def test_looking_changes_nothing(browser, place):
    before = rows(place)
    for path in (*PAGES, *TWINS, "/facts.csv"):
        assert browser.get(path).status_code == 200
    assert rows(place) == before


def test_facts_as_comma_separated_values_are_those_of_the_command(browser, place, clean):
    found = browser.get("/facts.csv")
    assert found.text == Kel(place)("facts", "--csv").out
    assert found.headers["content-type"].startswith("text/csv")
    assert "attachment" in found.headers["content-disposition"]


@pytest.mark.promise("P19")
@pytest.mark.parametrize("path", PAGES)
def test_texts_are_texts(url, plain, path):
    wanted, found = Browser(plain).get(path), Browser(url).get(path)
    assert tree(found.text) == tree(wanted.text)
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=[^;]|style=|<img", wanted.text)
    if path in ("/facts", "/edits/5", "/log", "/diff?old=v2"):
        assert escape(HOSTILE) in found.text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


def test_facts_are_found_sorted_and_paged(browser, monkeypatch):
    def listed(query: str) -> list[int]:
        return [int(n) for n in re.findall(r'<td><a href="/edits/(\d+)">', shown(query).text)]

    def shown(query: str):
        return browser.get(f"/facts?{query}")

    assert listed("") == [1, 2, 5]
    assert listed("sort=-edit") == [5, 2, 1]
    assert listed("sort=valid_until")[0] == listed("sort=-valid_until")[0] == 5
    assert listed("search=seen") == [5]
    assert listed("only=expired&on=2031-01-01") == [5]
    assert listed("only=current&on=2031-01-01&at=v2") == [1, 2]
    assert f'value="{escape("a&b")}"' in shown("search=a%26b").text
    monkeypatch.setattr("cli.web.reading.ROWS", 2)
    assert listed("part=2&sort=-edit") == [1]
    (onward,) = re.findall(r'href="\?([^"]*)">Next', shown("sort=-edit").text)
    assert listed(unescape(onward)) == [1]


@pytest.mark.parametrize(("language", "words"), [
    ("en", ("active", "refused by the gate", "taken back")),
    ("zh", ("生效", "被门槛拒绝", "已撤销")),
])  # fmt: skip
def test_an_edit_says_how_it_stands_and_only_an_active_one_can_be_undone(
    url, place, language, words
):
    browser = Browser(url, language)
    for edit, word in zip((1, 3, 4), words, strict=True):
        page = browser.get(f"/edits/{edit}").text
        assert word in page.partition("</h1>")[0]
        assert ('action="/undo"' in page) is (edit == 1)
        view = browser.get(f"/edits/{edit}.json").json()
        assert f"<dd>{view['metrics']['update_ratio']:.3f}</dd>" in page
        assert view["hash"] in page
        assert browser.get(f"/edits/{view['hash'][:12]}").text.count(view["hash"]) > 0
    undo = browser.post("/undo", edit="1")
    assert str(undo.url.path).startswith("/proposals/")


def test_an_edit_shows_what_was_said_before_and_after(browser):
    view, page = browser.get("/edits/1.json").json(), browser.get("/edits/1").text
    (probe,) = view["details"]["measured"]["reliability"]["probes"]
    cells = [probe["prompt"], probe["answer"], view["details"]["before"], probe["after"]]
    row = "".join(f"<td>{escape(cell.strip())}</td>" for cell in cells)
    shown = re.sub("<td [^>]*>", "<td>", page).replace("&#34;", "&quot;")
    assert f"<td>reliability</td>{row}" in shown
    assert "(before the edit 0.000)" in page


def test_only_the_loss_of_steps_is_drawn_as_steps():
    assert len(_loss({"loss": [3.0, 2.0, 1.0]}).lines[0].dots) == 3
    several = {"loss": [0.1, 0.2], "groups": [[0], [1]], "steps": [12, 9]}
    assert _loss(several) is _loss({}) is None


def test_the_plot_shows_the_measured_numbers_and_marks_the_revert(browser):
    page = browser.get("/history").text
    versions = browser.get("/history.json").json()["versions"]
    for name in ("reliability", "locality", "drift"):
        told = [(v["version"], v[name]) for v in versions if v[name] is not None]
        assert told
        dots = re.findall(rf"<title>{name} (\d+): (-?[\d.]+)</title>", page)
        assert dots == [(str(version), f"{value:.3f}") for version, value in told]
    assert page.count("<svg") == 3
    assert page.count('class="mark"') == 3 * sum(v["op"] == "revert" for v in versions) == 3


def test_the_log_goes_back_page_by_page(browser):
    whole = [entry["seq"] for entry in browser.get("/log.json").json()["entries"]]
    seen, path = [], "/log?limit=3"
    while path:
        page = browser.get(path)
        twin = unescape(re.search(r'href="(/log\.json[^"]*)"', page.text).group(1))
        seen += [entry["seq"] for entry in browser.get(twin).json()["entries"]]
        onward = re.search(r'href="(/log\?[^"]*before=[^"]*)">Older', page.text)
        path = unescape(onward.group(1)) if onward else None
    assert seen == whole == sorted(whole, reverse=True)
    first = browser.get("/log").text
    assert "kept = v3" in first
    for step in set(re.findall(r'href="(/diff[^"]*)"', first)):
        assert browser.get(unescape(step)).status_code == 200


WRONG = {
    "/facts?sort=hash": (400, "sorted by"),
    "/facts?only=some": (400, "current or expired"),
    "/facts?on=2030-01-01": (400, "current or expired"),
    "/facts?only=expired&on=soon": (400, "on"),
    "/facts?part=0": (400, "part"),
    "/facts?at=v99": (404, "v99"),
    "/edits/99": (404, "99"),
    "/log?branch=none": (404, "none"),
    "/diff?old=v99": (404, "v99"),
    "/edits/3/interference": (400, "never applied"),
    "/log?limit=100000": (400, "limit"),
}


@pytest.mark.parametrize("path", WRONG)
def test_what_is_asked_wrongly_is_told_in_a_line(browser, path):
    status, words = WRONG[path]
    found = browser.get(path)
    assert (found.status_code, words in found.text) == (status, True)
    assert 'role="alert"' in found.text
    twin = browser.get(re.sub(r"^([/\w]+)", r"\1.json", path))
    assert twin.status_code == status
    assert words in json.dumps(twin.json())


@pytest.mark.promise("P27")
def test_a_reader_may_look_and_nobody_else_where_others_can_reach_it(place, tmp_path):
    with served(Settings(copied(place, tmp_path / "public"), public=True)) as address:
        browser = Browser(address)
        for path in (*PAGES, "/facts.csv"):
            assert browser.get(path).headers["location"].startswith("/login?next=")
        assert "only%3Dexpired" in browser.get("/facts?only=expired").headers["location"]
        for path in TWINS:
            assert browser.get(path).status_code == 401
        browser.post("/login", user="red", password="correct horse")
        assert {browser.get(path).status_code for path in (*PAGES, *TWINS, "/facts.csv")} == {200}


def test_a_changed_row_is_found_by_verification(place, tmp_path):
    damaged = copied(place, tmp_path / "damaged")
    unguard(damaged, "edit")
    ask(damaged, "UPDATE edit SET target_new = 'Rome' WHERE id = 1")
    with served(Settings(damaged)) as address:
        found = Browser(address).get("/verify.json").json()
        page = Browser(address).get("/verify").text
    assert found["ok"] is False
    assert "rows.digest" in {finding["code"] for finding in found["findings"]}
    assert "Not everything is as recorded" in page
    assert "rows.digest" in page


def test_only_one_visitor_verifies_at_a_time(browser, monkeypatch):
    begun, end, found = threading.Event(), threading.Event(), []

    def slow(self: Ledger) -> list[object]:
        begun.set()
        assert end.wait(20)
        return []

    monkeypatch.setattr(Ledger, "verify", slow)
    first = threading.Thread(target=lambda: found.append(Browser(browser.url).get("/verify.json")))
    first.start()
    assert begun.wait(20)
    try:
        for path in ("/verify", "/verify.json", "/edits/1/interference"):
            refused = browser.get(path)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert "try again" in refused.text
        assert browser.get("/facts").status_code == 200
    finally:
        end.set()
        first.join()
    assert found[0].json()["ok"] is True
    assert browser.get("/edits/1/interference.json").status_code == 200
