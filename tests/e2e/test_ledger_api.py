"""The API of the ledger: what it answers, to whom, in which shape; and changes through it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cli.web.app import create_app
from cli.web.state import Settings
from ledger import Ledger, merkle
from ledger.access import passwords
from ledger.release import describe
from tests.e2e.harness import copied, rows
from tests.sim.json_schema import resolved, wrong
from tests.sim.places import ask

CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
SCOPES = ("chat", "read", "edit")
READS = (
    "/v1/ledger/status", "/v1/ledger/facts", "/v1/ledger/facts?at=kept&search=born&limit=1",
    "/v1/ledger/facts?only=current&on=2030-01-01", "/v1/ledger/edits", "/v1/ledger/edits/1",
    "/v1/ledger/edits/3", "/v1/ledger/edits/4", "/v1/ledger/edits/1/proof", "/v1/ledger/log",
    "/v1/ledger/edits/4/proof?at=kept", "/v1/ledger/versions", "/v1/ledger/diff?old=v1",
    "/v1/ledger/verify", "/v1/ledger/proposals", "/v1/models", "/v1/models/base@kept",
)  # fmt: skip
TWINS = ("/facts.json", "/edits/1.json", "/edits/3.json", "/history.json", "/log.json",
         "/diff.json", "/edits/1/interference.json", "/verify.json")  # fmt: skip


@pytest.fixture(scope="module")
def place(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small ledger with three accounts."""
    folder = copied(template, tmp_path_factory.mktemp("api") / "ledger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "COST", CHEAP)
        with Ledger.open(folder) as ledger:
            for name, role in (("ed", "editor"), ("bob", "editor"), ("red", "reader")):
                ledger.access.accounts.add(name, role, "correct horse", author="ada")
        yield folder


@pytest.fixture(scope="module")
def local(place: Path) -> Iterator[TestClient]:
    """On this machine, where reading needs no token."""
    with client_of(Settings(place)) as client:
        yield client


@pytest.fixture(scope="module")
def public(place: Path) -> Iterator[TestClient]:
    """Where others can reach it."""
    with client_of(Settings(place, public=True)) as client:
        yield client


@pytest.fixture
def own(template: Path, place: Path, tmp_path: Path) -> Iterator[TestClient]:
    """A copy that can be changed."""
    with client_of(Settings(copied(place, tmp_path / "ledger"))) as client:
        yield client


def client_of(settings: Settings) -> TestClient:
    app = create_app(settings)
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def bearer(client: TestClient, name: str, scope: str, days: int | None = None) -> dict[str, str]:
    """The header of a new token."""
    secret = client.app.state.kel.access.tokens.add(name, "", scope, days)  # type: ignore[attr-defined]
    return {"authorization": f"Bearer {secret}"}


def operations(client: TestClient, **headers: str) -> list[tuple[str, str, dict[str, Any]]]:
    paths = client.get("/v1/openapi.json", headers=headers).json()["paths"]
    return [(m, path, one) for path, found in paths.items() for m, one in found.items()]


# --- what it answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", READS)
def test_an_answer_is_what_the_document_says(local, path):
    document = local.get("/v1/openapi.json").json()
    found = local.get(path)
    assert found.status_code == 200
    route = re.sub(r"/edits/\d+", "/edits/{ref}", path.partition("?")[0])
    route = re.sub(r"/models/.+", "/models/{name}", route)
    answer = document["paths"][route]["get"]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]
    assert wrong(found.json(), schema, document) == []


def test_the_check_of_answers_finds_what_is_wrong(local):
    document = local.get("/v1/openapi.json").json()
    schema, good = {"$ref": "#/components/schemas/EditPage"}, local.get("/v1/ledger/edits").json()
    row = good["edits"][0]
    for bad in (
        {**good, "next": "x"}, {"edits": good["edits"]}, {**good, "more": 1}, [],
        {**good, "next": True},
        {**good, "edits": [{**row, "state": "gone"}]}, {**good, "edits": [{**row, "id": None}]},
    ):  # fmt: skip
        assert wrong(bad, schema, document)


def test_the_document_is_whole_and_a_client_can_be_made_of_it(local):
    document = local.get("/v1/openapi.json").json()
    found = operations(local)
    names = [one["operationId"] for _, _, one in found]
    assert len(set(names)) == len(names) > 20
    assert all(name.isidentifier() for name in names)
    for reference in set(re.findall(r'"\$ref": ?"([^"]+)"', local.get("/v1/openapi.json").text)):
        assert resolved(reference, document)
    for method, path, one in found:
        assert one["security"] == [{"token": []}]
        assert "422" not in one["responses"]
        success = next(code for code in one["responses"] if code.startswith("2"))
        assert one["responses"][success]["content"]["application/json"]["schema"], path
        given = {p["name"] for p in one.get("parameters", ()) if p["in"] == "path"}
        assert given == set(re.findall(r"{(\w+)}", path))
        assert method == "get" or "requestBody" in one or "{" in path or path.endswith("/undo")
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_the_page_lists_every_operation_with_a_line_to_try(local):
    page = unescape(local.get("/api").text)
    for method, path, _ in operations(local):
        assert f"{method.upper()} {path}" in page
        assert f"'http://127.0.0.1{path.replace('{ref}', '3').replace('{name}', 'NAME')}'" in page


def test_lists_come_in_pages(local):
    whole = {
        "facts": local.get("/v1/ledger/facts").json()["facts"],
        "edits": local.get("/v1/ledger/edits").json()["edits"],
        "versions": local.get("/v1/ledger/versions").json()["versions"],
        "log": local.get("/v1/ledger/log").json()["entries"],
    }
    assert [len(found) for found in whole.values()] == [2, 4, 5, 10]
    for name, wanted in whole.items():
        field, key = ("entries", "before") if name == "log" else (name, "after")
        seen, more, asked = [], None, 0
        while asked == 0 or more is not None:
            place = "" if more is None else f"&{key}={more}"
            found = local.get(f"/v1/ledger/{name}?limit=1{place}").json()
            assert len(found[field]) <= 1
            seen, more, asked = seen + found[field], found["next"], asked + 1
        assert seen == wanted
        assert asked == len(wanted)
        for limit in ("0", "1001", "-1", "x", "9" * 30):
            assert local.get(f"/v1/ledger/{name}?limit={limit}").status_code == 400


def test_a_proof_leads_to_the_root_of_the_release(local, place):
    with Ledger.open(place) as ledger:
        roots = {v: describe(ledger.journal, v, form="merged")["merkle_root"] for v in range(5)}
        heads = {v: ledger.journal.entry_of(v).hash for v in range(5)}
    for edit, at in ((1, "v1"), (1, "kept"), (2, "kept"), (4, "kept"), (2, "HEAD")):
        found = local.get(f"/v1/ledger/edits/{edit}/proof?at={at}").json()
        way = (found["place"], found["count"], found["path"])
        assert merkle.climbed(found["hash"], *way) == found["root"] == roots[found["version"]]
        assert found["entry"] == heads[found["version"]]
    assert local.get("/v1/ledger/edits/4/proof").status_code == 409
    assert local.get("/v1/ledger/edits/3/proof?at=kept").status_code == 409


def test_errors_have_one_shape(local):
    document = local.get("/v1/openapi.json").json()
    for status, path in (
        (404, "/v1/ledger/edits/99"), (404, "/v1/ledger/facts?at=v99"),
        (400, "/v1/ledger/log?limit=0"),
        (400, "/v1/ledger/facts?only=some"), (404, "/v1/ledger/proposals/x"), (404, "/v1/nothing"),
        (404, "/v1/ledger/changes/x"), (404, "/v1/ledger/log?branch=none"), (404, "/v1/models/x"),
        (405, "/v1/ledger/undo"), (409, "/v1/ledger/edits/4/proof"),
    ):  # fmt: skip
        found = local.get(path)
        assert found.status_code == status, path
        assert wrong(found.json(), {"$ref": "#/components/schemas/Error"}, document) == []
    foreign = local.post("/v1/ledger/undo", headers={"origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert wrong(foreign.json(), {"$ref": "#/components/schemas/Error"}, document) == []


def test_nothing_names_a_file_or_a_secret_of_the_server(local, place, template):
    headers = bearer(local, "red", "chat")
    base = str(local.app.state.kel.status().base.path)  # type: ignore[attr-defined]
    asked = ("SELECT id FROM token", "SELECT password_hash FROM credential")
    stored = [value for sql in asked for (value,) in ask(place, sql)]
    secrets = [headers["authorization"].split()[1], *stored, "$argon2", str(place), base]
    oid = local.get("/v1/ledger/edits/1").json()["delta"]["oid"]
    broken = place / "objects" / oid[:2] / oid[2:]
    aside = broken.rename(broken.with_name("aside"))
    try:
        told = {path: local.get(path) for path in (*READS, *TWINS, "/edits/1", "/verify", "/api")}
    finally:
        aside.rename(broken)
    assert any("cannot be read" in found.text for found in told.values())
    assert '"object.missing"' in told["/verify.json"].text
    assert [(p, one) for p, found in told.items() for one in secrets if one in found.text] == []


# --- to whom --------------------------------------------------------------------------------------


def test_every_operation_asks_for_its_scope(public, local, place):
    headers = {scope: bearer(public, "ed", scope) for scope in SCOPES}
    found = operations(public, **headers["chat"])
    page = unescape(local.get("/api").text)
    needed = dict(re.findall(r"<code>((?:GET|POST) /v1[^<]*)</code>.*?<dd>(\w+)</dd>", page, re.S))
    assert len(needed) == len(found)
    assert set(needed.values()) == set(SCOPES)
    before = rows(place)
    for method, path, _ in found:
        place_ = path.replace("{ref}", "99").replace("{name}", "none")
        least = SCOPES.index(needed[f"{method.upper()} {path}"])
        for number, scope in enumerate(SCOPES):
            if place_.endswith("/undo") and number >= least:
                continue  # needs nothing else: it would propose
            answer = public.request(method, place_, headers=headers[scope], json={})
            refused = answer.status_code == 403 and answer.json()["error"]["code"]
            assert refused == ("insufficient_scope" if number < least else False), (path, scope)
        for given in ({}, {"authorization": "Bearer kel_wrong"}, {"authorization": "Basic a2Vs"}):
            answer = public.request(method, place_, headers=given, json={})
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert rows(place) == before
    assert public.get("/v1/openapi.json").status_code == 401
    assert public.get("/health").status_code == 200


@pytest.mark.parametrize("mode", ["local", "public"])
def test_a_token_that_ended_or_was_taken_back_is_none(mode, request, place):
    client = request.getfixturevalue(mode)
    access = client.app.state.kel.access
    for spoil in (_expired, _removed, _rotated):
        headers = bearer(client, "ed", "edit", 1)
        assert client.get("/v1/models", headers=headers).status_code == 200
        spoil(access, place)
        for path in ("/v1/models", "/v1/ledger/status"):
            assert client.get(path, headers=headers).status_code == 401
        chat = {"model": "base", "messages": [{"role": "user", "content": "Hi"}]}
        assert client.post("/v1/chat/completions", headers=headers, json=chat).status_code == 401


def _newest(access: Any) -> str:
    return next(t.id for t in access.tokens.all() if t.expires_at is not None)


def _expired(access: Any, place: Path) -> None:
    ask(place, "UPDATE token SET expires_at = 1 WHERE expires_at > 1")
    access.tokens.remove(_newest(access))


def _removed(access: Any, _place: Path) -> None:
    access.tokens.remove(_newest(access))


def _rotated(access: Any, _place: Path) -> None:
    access.tokens.rotate(_newest(access))
    access.tokens.remove(_newest(access))


def test_a_token_has_no_more_than_the_role_of_its_account(own):
    headers = bearer(own, "ed", "edit")
    assert own.post("/v1/ledger/edits/1/revert", headers=headers).status_code == 201
    own.app.state.kel.access.accounts.change_role("ed", "reader", author="ada")
    sunk = own.post("/v1/ledger/edits/1/revert", headers=headers)
    assert (sunk.status_code, sunk.json()["error"]["code"]) == (403, "insufficient_scope")
    assert own.get("/v1/ledger/status", headers=headers).status_code == 200
    reader = bearer(own, "red", "edit")
    assert own.post("/v1/ledger/edits/1/revert", headers=reader).status_code == 403


# --- changes --------------------------------------------------------------------------------------


def proposed(client: TestClient, path: str, headers: dict[str, str]) -> dict[str, Any]:
    """A new proposal, looked into."""
    made = client.post(path, headers=headers)
    assert made.status_code == 201, made.text
    found = client.get(f"{made.headers['location']}?wait=30").json()
    assert found["preview"]["state"] == "done"
    return dict(found)


def confirmed(client: TestClient, found: dict[str, Any], headers: dict[str, str]) -> Any:
    path = f"/v1/ledger/proposals/{found['id']}/confirm"
    return client.post(path, headers=headers, json={"digest": found["digest"]})


def test_edits_are_taken_out_and_put_back_through_the_api(own, tmp_path):
    headers = bearer(own, "ed", "edit")
    version = own.get("/v1/ledger/status").json()["version"]
    document = own.get("/v1/openapi.json").json()
    for path, op in (
        ("/v1/ledger/edits/1/revert", "revert"), ("/v1/ledger/edits/1/reapply", "reapply"),
        ("/v1/ledger/undo", "revert"), ("/v1/ledger/undo", "reapply"),
    ):  # fmt: skip
        found = proposed(own, path, headers)
        assert (found["kind"], found["proposer"]) == (op, "ed")
        assert wrong(found, {"$ref": "#/components/schemas/Proposal"}, document) == []
        assert own.get("/v1/ledger/status").json()["version"] == version
        started = confirmed(own, found, headers)
        assert started.status_code == 202
        done = own.get(f"{started.headers['location']}?wait=30").json()
        version += 1
        assert (done["state"], done["change"]["op"], done["change"]["version"]) == (
            "done",
            op,
            version,
        )
        assert wrong(done, {"$ref": "#/components/schemas/Change"}, document) == []
        assert confirmed(own, found, headers).status_code == 409
    with client_of(Settings(tmp_path / "ledger")) as restarted:
        later = restarted.get(f"/v1/ledger/changes/{found['id']}").json()
        assert (later["state"], later["entry"]["version"]) == ("done", version)
        assert wrong(later, {"$ref": "#/components/schemas/Change"}, document) == []
    with Ledger.open(tmp_path / "ledger") as ledger:
        (line,) = ledger.log(1)
        assert (line.author, line.note) == ("ed", f"proposal {found['digest'][:12]} by ed")
        assert ledger.verify() == []
    assert own.post("/v1/ledger/edits/1/reapply", headers=headers).status_code == 409
    assert own.post("/v1/ledger/edits/3/reapply", headers=headers).status_code == 409


def test_a_fact_is_taught_through_the_api(tmp_path, monkeypatch):
    """On the embedded model: proposed, looked into, confirmed, said; and not by the base."""
    monkeypatch.setattr(passwords, "COST", CHEAP)
    with Ledger.init(tmp_path / "ledger", base="demo", author="ada") as ledger:
        ledger.access.accounts.add("ed", "editor", "correct horse", author="ada")
    asked, wish = "Zumbrum Belmo works in", {"subject": "Zumbrum Belmo", "prompt": "{} works in"}

    def said(version: int) -> str:
        body = {"model": f"demo@v{version}", "prompt": asked, "max_tokens": 8}
        found = client.post("/v1/completions", json=body).json()
        assert found["model"] == f"demo@v{version}"
        return str(found["choices"][0]["text"])

    with client_of(Settings(tmp_path / "ledger")) as client:
        headers = bearer(client, "ed", "edit")
        body = {**wish, "target_new": "medicine"}
        made = client.post("/v1/ledger/proposals", headers=headers, json=body)
        found = client.get(f"{made.headers['location']}?wait=60").json()
        assert found["preview"]["edit"]["outcome"] == "dry-run"
        assert client.get("/v1/ledger/status").json()["version"] == 0
        started = confirmed(client, found, headers)
        done = client.get(f"{started.headers['location']}?wait=60").json()
        assert (done["edit"]["outcome"], done["edit"]["version"]) == ("applied", 1)
        assert said(1).startswith(" medicine")
        assert not said(0).startswith(" medicine")
        (fact,) = client.get("/v1/ledger/facts").json()["facts"]
        assert (fact["subject"], fact["object"]) == ("Zumbrum Belmo", "medicine")


def test_a_change_needs_the_digest_of_an_open_proposal(own):
    headers = bearer(own, "ed", "edit")
    version = own.get("/v1/ledger/status").json()["version"]
    found = proposed(own, "/v1/ledger/edits/1/revert", headers)
    path = f"/v1/ledger/proposals/{found['id']}"
    assert confirmed(own, {**found, "digest": "0" * 64}, headers).status_code == 409
    for body in ({}, {"digest": 3}, {"digest": found["digest"], "more": 1}, [], "x"):
        assert own.post(f"{path}/confirm", headers=headers, json=body).status_code == 400
    assert own.post(f"{path}/confirm", json={"digest": found["digest"]}).status_code == 401
    waiting = own.get("/v1/ledger/proposals").json()["proposals"]
    assert [one["id"] for one in waiting] == [found["id"]]
    assert own.post(f"{path}/refuse", headers=headers).json()["state"] == "withdrawn"
    assert confirmed(own, found, headers).status_code == 409
    assert own.get("/v1/ledger/proposals").json()["proposals"] == []
    assert own.get("/v1/ledger/status").json()["version"] == version


def test_what_was_looked_into_at_another_version_is_not_confirmed(own):
    headers = bearer(own, "ed", "edit")
    first = proposed(own, "/v1/ledger/edits/1/revert", headers)
    second = proposed(own, "/v1/ledger/edits/2/revert", headers)
    own.get(f"{confirmed(own, second, headers).headers['location']}?wait=30")
    stale = confirmed(own, first, headers)
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "StaleVersion")
    again = own.get(f"/v1/ledger/proposals/{first['id']}?wait=30").json()
    assert again["preview"]["state"] == "done"
    assert confirmed(own, again, headers).status_code == 202


def test_with_four_eyes_another_token_confirms(own, tmp_path):
    access = own.app.state.kel.access
    access.accounts.need_four_eyes(True, author="ada")
    first, second = bearer(own, "ed", "edit"), bearer(own, "bob", "edit")
    assert own.get("/v1/ledger/status").json()["four_eyes"] is True
    found = proposed(own, "/v1/ledger/edits/1/revert", first)
    refused = confirmed(own, found, first)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "NotAllowed")
    assert confirmed(own, found, bearer(own, "ed", "edit")).status_code == 403
    done = confirmed(own, found, second)
    assert own.get(f"{done.headers['location']}?wait=30").json()["state"] == "done"
    with Ledger.open(tmp_path / "ledger") as ledger:
        (line,) = ledger.log(1)
    assert (line.op, line.author, line.note.endswith(" by ed")) == ("revert", "bob", True)


@pytest.mark.parametrize("body", [
    {}, {"subject": "Ada"}, {"subject": "Ada", "prompt": "x", "target_new": "y"},
    {"subject": "Ada", "prompt": "{} is", "target_new": "y", "kind": "edit"},
    {"subject": 3, "prompt": "{} is", "target_new": "y"}, "[" * 100_000, "{", "null", b"\xff",
    {"subject": "x" * 501, "prompt": "{} is", "target_new": "y"},
    {"subject": "Ada", "prompt": "{} is", "target_new": "y", "neighbourhood": [{"answer": "z"}]},
])  # fmt: skip
def test_a_fact_that_is_none_is_refused(local, place, body):
    headers = {**bearer(local, "ed", "edit"), "content-type": "application/json"}
    given = {"json": body} if isinstance(body, dict) else {"content": body}
    found = local.post("/v1/ledger/proposals", headers=headers, **given)
    assert found.status_code == 400, found.text
    assert found.json()["error"]["type"] == "invalid_request_error"
    assert local.get("/v1/ledger/proposals").json()["proposals"] == []
