"""The audit page: three ways in, what it shows, and everything it has to refuse."""

from __future__ import annotations

import json
import os
import re
import struct
import tempfile
import threading
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.web.guard import MOST_BYTES
from cli.web.state import Settings
from ledger import Ledger
from ledger.access import passwords
from tests.e2e import hub
from tests.e2e.harness import Kel, copied
from tests.sim.hub_server import REPO
from tests.sim.web_server import Browser, served

CAP = 3_000_000
RIGHT = "correct horse"
HOSTILE = '<script>alert(1)</script>{{7*7}}".safetensors'


@pytest.fixture(scope="module")
def place(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(template, tmp_path_factory.mktemp("audit") / "ledger")


@pytest.fixture(scope="module")
def root(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 3 whole, and as an adapter."""
    folder = tmp_path_factory.mktemp("released") / "root"
    folder.mkdir()
    with Ledger.open(place) as ledger:
        ledger.export(folder / "v3", "v3")
        ledger.export(folder / "adapter", "v3", form="adapter")
    return folder


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sent")


@pytest.fixture(scope="module")
def url(place: Path, root: Path, temporary: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        with served(Settings(place, audit_root=root, audit_bytes=CAP)) as address:
            yield address


@pytest.fixture
def browser(url: str) -> Browser:
    return Browser(url)


def asked(browser: Browser, files: list[Path | tuple[str, bytes]] = (), **fields: str) -> Any:
    """The page of an audit once it is over, or of its refusal."""
    sent = [
        ("files", given if isinstance(given, tuple) else (given.name, given.read_bytes()))
        for given in files
    ]
    headers = {"origin": browser.url}
    found = browser.http.post("/audit", data=fields, files=sent or None, headers=headers)
    if found.status_code != 303:
        return found
    return browser.settled(browser.get(found.headers["location"]))


def twin(browser: Browser, page: httpx.Response) -> dict[str, Any]:
    return browser.get(f"{page.url.path}.json").json()


def test_a_folder_is_audited_as_the_command_does_it(browser, place, root, clean):
    page = asked(browser, place="v3")
    found = twin(browser, page)
    wanted = Kel(place)("audit", str(root / "v3"), "--json").body
    for document in (found, wanted):
        document["checkpoint"] = document["identity"]["checkpoint"] = "v3"
    assert found == wanted
    assert "v3</a> bit for bit" in page.text
    assert ">clean</span>" in page.text
    rows = re.findall(r'<td><a href="/edits/(\d+)">\d+</a></td>\s*<td class="\w+">(\w+)', page.text)
    assert sorted(rows) == sorted((str(e["edit"]), e["verdict"]) for e in found["edits"])
    for edit in found["edits"]:
        assert f'<td class="num">{edit["low"]:.3f} … {edit["high"]:.3f}</td>' in page.text
    assert str(root) not in page.text + json.dumps(found)


def test_an_adapter_is_sent_audited_and_deleted(browser, root, temporary):
    folder = root / "adapter"
    names = ("adapter_model.safetensors", "adapter_config.json")
    page = asked(browser, [folder / name for name in names])
    found = twin(browser, page)
    assert (found["kind"], found["verdict"]) == ("adapter", "clean")
    assert {e["edit"]: e["verdict"] for e in found["edits"]}[1] == "present"
    assert found["checkpoint"] == names[0]
    assert list(temporary.iterdir()) == []


def test_a_whole_model_larger_than_other_requests_is_sent(browser, root, temporary):
    path = root / "v3" / "model.safetensors"
    data = path.read_bytes()
    assert len(data) < CAP
    found = twin(browser, asked(browser, [(HOSTILE, data)]))
    assert found["identity"]["versions"] == [3]
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    last = max((e["data_offsets"][1] for n, e in header.items() if n != "__metadata__"))
    padding = MOST_BYTES
    header["more"] = {"dtype": "U8", "shape": [padding], "data_offsets": [last, last + padding]}
    text = json.dumps(header).encode()
    longer = struct.pack("<Q", len(text)) + text + data[8 + length :] + bytes(padding)
    page = asked(browser, [(HOSTILE, longer)])
    assert "a change that the ledger does not know" in page.text
    assert escape(HOSTILE)[:40] in page.text
    assert "<script>alert" not in page.text
    assert list(temporary.iterdir()) == []


@pytest.mark.promise("P20")
def test_what_is_sent_is_bounded(browser, temporary):
    headers = {"origin": browser.url}
    whole = asked(browser, [("x.safetensors", bytes(CAP + 200_000))])
    assert whole.status_code == 413

    def pieces() -> Iterator[bytes]:
        yield b'--b\r\ncontent-disposition: form-data; name="files"; '
        yield b'filename="x.safetensors"\r\n\r\n'
        for _ in range(CAP // 100_000 + 5):
            yield bytes(100_000)

    kind = {"content-type": "multipart/form-data; boundary=b", **headers}
    try:
        chunked = browser.http.post("/audit", content=pieces(), headers=kind).status_code
    except httpx.HTTPError:
        chunked = 400  # it was hung up on while it sent
    assert chunked == 400
    assert asked(browser, [("x.safetensors", bytes(CAP + 1))]).status_code == 400
    for path in ("/say", "/audit/x", "/audits/x", "/proposals"):
        found = browser.http.post(path, content=bytes(MOST_BYTES + 1), headers=headers)
        assert found.status_code == 413
    assert list(temporary.iterdir()) == []


WRONG: dict[str, tuple[dict[str, str], list[tuple[str, bytes]], str]] = {
    "nothing": ({}, [], "name one thing"),
    "two": ({"place": "v3", "repo": "a/b"}, [], "name one thing"),
    "a picture": ({}, [("x.png", b"x")], "one .safetensors file"),
    "two weights": ({}, [("x.safetensors", b"x"), ("y.safetensors", b"y")], "one .safetensors"),
    "settings alone": ({}, [("adapter_config.json", b"{}")], "one .safetensors file"),
    "no Hub id": ({"repo": "../v3"}, [], "neither a folder here nor a Hub id"),
    "no revision": ({"repo": "a/b", "revision": "../x"}, [], "cannot be a branch"),
    "no safetensors": ({}, [("x.safetensors", b"xyz")], "x.safetensors"),
    "a long header": (
        {},
        [("x.safetensors", struct.pack("<Q", 10_000_001) + b"{}")],
        "header of model.safetensors has 10000001 bytes",
    ),
    "no adapter": (
        {},
        [("x.safetensors", struct.pack("<Q", 2) + b"{}"), ("adapter_config.json", b"[]")],
        "describes no LoRA adapter",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_audited_is_refused_in_a_line(browser, temporary, case):
    fields, files, words = WRONG[case]
    page = asked(browser, files, **fields)
    (line,) = re.findall(r'role="alert">([^<]*)', page.text)
    assert words in unescape(line)
    assert len(line) < 400
    assert str(temporary) not in page.text
    assert list(temporary.iterdir()) == []
    if str(page.url.path).startswith("/audits/"):
        refused = browser.get(f"{page.url.path}.json")
        assert (refused.status_code, refused.json()["schema"]) == (400, "kel.error/1")


@pytest.mark.promise("P16")
def test_nothing_outside_the_folder_is_read_or_told(browser, root, tmp_path):
    outside = copied(root / "v3", tmp_path / "outside")
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    inside = copied(root / "v3", root / "led")
    (inside / "model.safetensors").unlink()
    (inside / "model.safetensors").symlink_to(outside / "model.safetensors")
    piped = copied(root / "adapter", root / "piped")
    (piped / "adapter_config.json").unlink()
    os.mkfifo(piped / "adapter_config.json")
    large = copied(root / "adapter", root / "large")
    with (large / "adapter_config.json").open("r+b") as file:
        file.truncate(10_000_001)
    up = os.path.relpath(outside, root)
    lines = set()
    for name in ("..", up, f"{up}-none", str(outside), str(root / "v3"), "link", "loop", "none",
                 "v3/model.safetensors", "v3/../..", "a\0b", "x" * 1000):  # fmt: skip
        page = asked(browser, place=name)
        assert page.status_code == 400, name
        (line,) = re.findall(r'role="alert">([^<]*)', page.text)
        lines.add(unescape(line).replace(repr(name[:200]), "NAME"))
    assert lines == {"NAME is no folder below the one that may be audited"}
    for name, words in (("led", "leads out"), ("piped", "no regular file"), ("large", "10000001")):
        page = asked(browser, place=name)
        (line,) = re.findall(r'role="alert">([^<]*)', page.text)
        assert words in line
    assert twin(browser, asked(browser, place="./v3"))["verdict"] == "clean"


def test_without_a_folder_that_is_allowed_there_is_none(place):
    with served(Settings(place, audit_bytes=0)) as address:
        browser = Browser(address)
        assert "audit-root" in asked(browser, place="v3").text
        page = browser.get("/audit").text
        assert 'name="repo"' in page
        assert "Folder, below" not in page
        assert 'type="file"' not in page


@pytest.mark.promise("P17")
def test_a_model_of_the_hub_is_fetched_and_never_a_folder(browser, root, tmp_path, monkeypatch):
    decoy = copied(root / "adapter", tmp_path / REPO)
    monkeypatch.chdir(tmp_path)
    assert decoy.is_dir()
    with hub.served(root / "v3", tmp_path / "home") as server:
        found = twin(browser, asked(browser, repo=REPO))
        assert (found["kind"], found["identity"]["versions"]) == ("checkpoint", [3])
        assert found["checkpoint"].startswith(f"{REPO}@0123456789ab")
        monkeypatch.setattr("ledger.auditing.fetching.MOST", 0)
        monkeypatch.setattr("ledger.auditing.fetching._BESIDE", 10)
        before = len(server.paths())
        assert "it is another model" in asked(browser, repo=REPO).text
        assert not any("resolve" in path for path in server.paths()[before:])


def test_where_there_are_accounts_an_editor_is_needed(place, root, tmp_path, temporary):
    folder = copied(place, tmp_path / "ledger")
    with pytest.MonkeyPatch.context() as patch, Ledger.open(folder) as ledger:
        patch.setattr(passwords, "COST", {"time_cost": 1, "memory_cost": 8, "parallelism": 1})
        for name, role in (("red", "reader"), ("ed", "editor")):
            ledger.access.accounts.add(name, role, RIGHT, author="ada")
    with served(Settings(folder, audit_root=root)) as address:
        browser = Browser(address)
        for name, said in ((None, "you are nobody"), ("red", "you are reader")):
            if name:
                browser.post("/login", user=name, password=RIGHT)
            refused = asked(browser, [("x.safetensors", b"x")])
            assert (refused.status_code, said in refused.text) == (403, True)
        browser.post("/login", user="ed", password=RIGHT)
        assert "bit for bit" in asked(browser, place="v3").text
        assert "role editor" in browser.get("/audit").text


def test_an_audit_keeps_nobody_waiting_and_can_be_stopped(browser, monkeypatch):
    begun, go = threading.Event(), threading.Event()

    def slow(self: Ledger, checkpoint: str, progress: Any, **_: Any) -> None:
        begun.set()
        assert go.wait(30)
        progress("auditing", 0.5)

    monkeypatch.setattr(Ledger, "audit", slow)
    sent = browser.http.post("/audit", data={"place": "v3"}, headers={"origin": browser.url})
    path = sent.headers["location"]
    assert begun.wait(30)
    try:
        waiting = browser.get(f"{path}.json")
        assert (waiting.status_code, waiting.headers["retry-after"]) == (503, "5")
        assert browser.said("The capital of Poland is")
        page = browser.get(path)
        assert "sse-connect" in page.text
        assert Browser(browser.url).post(f"/jobs/{path[8:]}/stop").status_code == 404
        browser.post(f"/jobs/{path[8:]}/stop")
    finally:
        go.set()
    assert "the audit was stopped" in browser.settled(page).text
    assert browser.get("/audits/none").status_code == 404
    assert browser.get("/audits/none.json").status_code == 404
