"""P18 and P19 on the web: whatever a text says, it stays a text, in every field, on every page."""

from __future__ import annotations

import csv
import io
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from cli.commands.facts import as_csv
from cli.web.app import create_app
from cli.web.state import Settings
from ledger import Ledger
from ledger.access import Access
from ledger.access.passwords import Passwords
from ledger.errors import InvalidInput, NotAllowed, UnknownRevision
from ledger.records import BatchRecord, EditRecord, MeasurementRecord, Rows, new_edit
from tests.attacks.texts import MARKUP, SQL, joined
from tests.e2e.harness import Kel
from tests.security.test_text_is_text import hidden
from tests.sim.ledger_sample import Sample, weights
from tests.sim.web_server import places, tree

CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
EVERY = (*MARKUP, *SQL)
ABSENT = "nothing of that"
FIELDS = ("subject", "prompt", "target_new", "target_true")
HERE = {"origin": "http://127.0.0.1"}
# Where a page says again what it was asked; the text stands for {}.
REFLECTED = (
    *("/facts?search={}", "/facts?at={}", "/facts?sort={}", "/facts?on={}&only=current"),
    *("/facts?only={}", "/diff?old={}", "/diff?new={}", "/log?branch={}", "/edits/{}"),
    *("/edits/{}/interference", "/{}", "/proposals/{}", "/changes/{}", "/login?next={}"),
    *("/login?next=/{}", "/audits/{}"),
)


def written(folder: Path, texts: tuple[str, ...]) -> Path:
    """A ledger with an edit for each text, which stands in all its fields."""
    sample = Sample.create(folder)
    for text in texts:
        head = sample.journal.history().head
        edit = EditRecord(
            subject=text, prompt=f"{{}} {text}", target_new=text, target_true=text, source=text,
            language=text, valid_until="2030-12-31",
            probes={"paraphrases": [text], "neighbourhood": [{"prompt": text, "answer": text}]},
        )  # fmt: skip
        probe = {"prompt": text, "answer": text, "before": text, "after": text, "score": 1.0}
        measured = MeasurementRecord(
            edit_id=new_edit(0), suite="edit", metric="reliability", value=0.5, protocol=text,
            detail={"probes": [probe]},
        )  # fmt: skip
        thing = sample.put(f"delta of {text}".encode())
        batch = BatchRecord(
            oid=thing.oid, method=text, layers=[0], hparams={text: text}, seed=1, author=text,
            note=text, environment={"assumed": text}, evidence={"said": text},
        )  # fmt: skip
        rows = Rows(objects=(thing,), batch=batch, edits=(edit,), measurements=(measured,))
        sample.journal.append(
            "apply", expected_head=head, rows=rows, author=text, note=text,
            payload={"before": text, "after": text, "reasons": [text], "broken": [], "gate": None},
            **weights((head, text)),
        )  # fmt: skip
    sample.close()
    return folder


@pytest.fixture(scope="module", params=[10, pytest.param(1, marks=pytest.mark.slow)])
def texts(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """All texts, ten in one; in the nightly tier each by itself as well."""
    return joined(EVERY, request.param)


@pytest.fixture(scope="module")
def hostile(texts: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("hostile") / "ledger", texts)


@pytest.fixture(scope="module")
def odd(hostile: Path) -> Iterator[TestClient]:
    with client_of(hostile) as client:
        client.app.state.kel.worker._opened = no_model  # type: ignore[attr-defined]
        yield client


@pytest.fixture(scope="module")
def plain(texts: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The same with harmless texts."""
    harmless = tuple(f"harmless {number}" for number in range(len(texts)))
    with client_of(written(tmp_path_factory.mktemp("plain") / "ledger", harmless)) as client:
        client.app.state.kel.worker._opened = no_model  # type: ignore[attr-defined]
        yield client


def client_of(folder: Path) -> TestClient:
    """A browser; the ledger has no model, and asking for it says so."""
    app = create_app(Settings(folder))
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def no_model() -> Ledger:
    raise InvalidInput("there is no model here")


def access_of(client: TestClient) -> Access:
    found: Access = client.app.state.kel.access  # type: ignore[attr-defined]
    return found


def told(client: TestClient, path: str) -> str:
    found = client.get(path)
    assert found.status_code == 200, (path, found.text)
    return found.text


def safe(page: str) -> bool:
    """Every address on a page is one of this site."""
    return all(place.startswith(("/", "?", "#")) and place[:2] != "//" for place in places(page))


# --- what is recorded -----------------------------------------------------------------------------


@pytest.mark.promise("P19")
def test_a_recorded_text_is_a_text_on_every_page(odd, plain, texts, figure):
    paths = ["/facts", "/facts?part=2", "/log", "/log?limit=1000", "/history", "/diff", "/verify"]
    paths += [f"/edits/{number}" for number in range(1, len(texts) + 1)]
    for path in paths:
        page = told(odd, path)
        assert tree(page) == tree(told(plain, path)), path
        assert safe(page), path
    figure("P19", f"{len(EVERY)} texts x 20 fields x every page: the same elements")


@pytest.mark.promise("P19")
def test_documents_hold_the_texts_as_they_are(odd, texts):
    facts = odd.get("/facts.json").json()["facts"]
    assert [fact["subject"] for fact in facts] == list(texts)
    for number, text in enumerate(texts, start=1):
        for path in (f"/edits/{number}.json", f"/v1/ledger/edits/{number}"):
            view = odd.get(path).json()
            assert (view["note"], view["author"], view["method"]) == (text, text, text)
            assert view["fact"]["target_new"] == text
            assert view["details"]["before"] == text


@pytest.mark.promise("P19")
def test_no_cell_is_a_formula_and_no_text_another_cell(odd):
    (fact, *_) = odd.app.state.kel.ledger.facts()
    facts = [replace(fact, subject=t, prompt=t, object=t, author=t, source=t) for t in EVERY]
    rows = list(csv.reader(io.StringIO(as_csv(facts))))
    assert len(rows) == len(EVERY) + 1
    assert {len(row) for row in rows} == {len(rows[0])}
    cells = [cell for row in rows for cell in row]
    assert [c for c in cells if c.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    assert hidden("".join(cells)) == ""
    assert odd.get("/facts.csv").text.startswith(",".join(rows[0]))


@pytest.mark.promise("P19")
def test_a_recorded_text_does_not_act_on_the_terminal(hostile, texts, clean):
    kel, shows = Kel(hostile), [("show", str(n)) for n in range(1, len(texts) + 1)]
    for argv in (("log",), ("facts",), ("facts", "--csv"), ("diff", "v0", "HEAD"), *shows):
        result = kel(*argv)
        assert (result.status, hidden(result.out + result.err)) == (0, "")


# --- what is asked --------------------------------------------------------------------------------


@pytest.mark.promise("P19")
def test_a_text_that_is_asked_for_is_a_text(plain, texts, figure):
    for place in REFLECTED:
        harmless = tree(plain.get(place.replace("{}", quote(ABSENT))).text)
        for text in (*joined(texts, 2), *MARKUP[::40]):
            path = place.replace("{}", quote(text, safe=""))
            found = plain.get(path, follow_redirects=False)
            assert found.status_code in (200, 400, 404), path
            if found.status_code != 400 or "at=" not in place:
                assert tree(found.text) == harmless, path
            assert safe(found.text), path
    figure("P19", f"{len(EVERY)} texts in {len(REFLECTED)} addresses: the same elements")


@pytest.mark.promise("P19")
def test_a_text_that_is_typed_is_a_text(odd, plain, texts):
    """Messages, proposals with their proposer, names at the login; no model answers here."""
    found = []
    for client, said in ((odd, texts), (plain, tuple(ABSENT for _ in texts))):
        client.cookies.clear()
        for text in joined(said, 2)[:50]:
            client.post("/say", data={"message": text, "plain": "1"}, headers=HERE)
            settle(client)
        pages = [told(client, "/")]
        for text in said:
            body = {**dict.fromkeys(FIELDS, text), "prompt": f"{{}} {text}"}
            pending = access_of(client).proposals.open("edit", body, text)
            pages.append(told(client, f"/proposals/{pending.id}"))
        pages.append(told(client, "/proposals"))
        login = {"user": said[0], "password": said[1], "place": said[2]}
        pages.append(client.post("/login", data=login, headers=HERE).text)
        client.cookies.clear()
        assert all(map(safe, pages))
        found.append([tree(page) for page in pages])
    assert found[0] == found[1]


def settle(client: TestClient) -> None:
    """Wait until nothing is being answered."""
    worker = client.app.state.kel.worker  # type: ignore[attr-defined]
    for _ in range(2000):
        if all(job.over for job in list(worker._jobs.values())):
            return
        time.sleep(0.005)


# --- SQL ------------------------------------------------------------------------------------------


def shape(folder: Path) -> dict[str, int]:
    """Everything of the schema, and of tables the number of rows where they may not grow."""
    connection = sqlite3.connect(folder / "ledger.db")
    try:
        found = dict.fromkeys(n for (n,) in connection.execute("SELECT name FROM sqlite_master"))
        tables = connection.execute("SELECT tbl_name FROM sqlite_master WHERE type = 'table'")
        for (name,) in tables.fetchall():
            (found[name],) = connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()
    finally:
        connection.close()
    return {**found, **dict.fromkeys(("proposal", "attempt"), 0)}


@pytest.mark.promise("P18")
def test_150_texts_of_sql_do_nothing_in_any_field(odd, hostile, texts, figure):
    before, access = shape(hostile), access_of(odd)
    for text in joined(SQL, 15):
        found = odd.get("/facts.json", params={"search": text}).json()["facts"]
        assert {f["subject"] for f in found} == {t for t in texts if text in t}
        for query in ({"sort": text}, {"only": text}, {"on": text, "only": "current"}):
            assert odd.get("/facts", params=query).status_code == 400
        for path in ("/facts?at=", "/log?branch=", "/diff?old=", "/edits/", "/proposals/"):
            for place in ("", "/v1/ledger"):
                assert odd.get(f"{place}{path}{quote(text, safe='')}").status_code == 404
        fields = dict.fromkeys(FIELDS, text[:400]) | {"prompt": f"{{}} {text[::-1]}"}
        fields["target_true"] = ""
        page = odd.post("/proposals", data=fields, headers=HERE, follow_redirects=False)
        assert page.status_code == 303, page.text
        kept = access.proposals.get(page.headers["location"].rpartition("/")[2])
        assert kept is not None
        assert kept.body["target_new"] == text[:400].strip()
        settle(odd)
    for text in SQL:
        assert access.proposals.get(text) is None
        assert access.sessions.holder(text) is None
        assert access.bearer(text) is None
        assert access.accounts.role(text) is None
        with pytest.raises(UnknownRevision):
            access.tokens.remove(text)
    quick = Access(odd.app.state.kel.ledger.journal, passwords=Passwords(CHEAP))
    for number, text in enumerate(SQL[::10]):
        with pytest.raises(NotAllowed):
            quick.sign_in(text, "no password", address=f"10.0.0.{number}")
        kept = access.proposals.open("edit", {"said": text}, text)
        assert access.proposals.get(kept.id) == kept
    assert shape(hostile) == before
    with Ledger.open(hostile) as ledger:
        assert [edit.subject for edit in ledger.journal.edits()] == list(texts)
    figure("P18", f"{len(SQL)} texts in every field that is asked: tables and rows as before")


@pytest.mark.promise("P18")
def test_wildcards_are_letters(plain):
    access = access_of(plain)
    secret = access.tokens.add("ada", "100% _", "read")
    for start in ("%%%%%%", "______", "%", "_%____", "*", "[0-9a-f]*"):
        with pytest.raises(UnknownRevision):
            access.tokens.remove(start)
    assert access.tokens.holder(secret) is not None
    for search in ("%", "_", "harmless%", "h_rmless"):
        assert plain.get("/facts.json", params={"search": search}).json()["facts"] == []
    assert plain.get("/facts.json", params={"search": "harmless 1"}).json()["facts"]


@pytest.mark.promise("P18")
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=80))
def test_any_text_comes_back_as_it_went_in(odd, text):
    access = access_of(odd)
    query = urlencode({"search": text}, errors="replace")
    assert odd.get(f"/facts.json?{query}").status_code == 200
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text):
        return  # refused at the door of every request
    pending = access.propose("edit", {"subject": text}, text)
    kept = access.proposals.get(pending.id)
    assert kept is not None
    assert (kept.body["subject"], kept.proposer) == (text, text)
    access.proposals.withdraw(pending.id)


def test_the_comparison_sees_what_a_text_adds(plain: TestClient) -> None:
    page: Any = told(plain, "/facts")
    for added in ("<b>x</b>", "</main>", "<p onclick=x>", "<script></script>", "<img>"):
        assert tree(page.replace("harmless 0", added)) != tree(page)
    assert not safe(page + "<a href='javascript:x'>") and not safe(page + "<a href='//x'>")
