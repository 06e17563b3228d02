"""P24 to P27: who comes in, how long, from where, and that looking changes nothing.

Every route is asked, as the application lists them, so that a new one is covered when it is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from cli.web.app import create_app
from cli.web.guard import HEADERS
from cli.web.pages import local
from cli.web.state import Settings
from ledger import Ledger
from ledger.access import attempts, passwords
from ledger.access import secrets as keys
from ledger.access.passwords import Passwords
from tests.e2e.harness import Kel, copied, rows
from tests.sim.places import ask
from tests.sim.web_server import hidden

RIGHT = "correct horse"
CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
HERE = {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
UNSAFE = METHODS[2:]
# Headers of a request, and whether it comes from a page of this site; None: from no browser.
CASES: dict[str, tuple[dict[str, str], bool | None]] = {
    "a program": ({}, None),
    "this origin": ({"origin": "http://127.0.0.1"}, True),
    "same origin": ({"sec-fetch-site": "same-origin"}, True),
    "typed": ({"sec-fetch-site": "none"}, True),
    "another origin": ({"origin": "http://evil.example"}, False),
    "a null origin": ({"origin": "null"}, False),
    "another site": ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1"}, False),
    "a sibling": ({"sec-fetch-site": "same-site"}, False),
}


@pytest.fixture(scope="module")
def place(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = copied(template, tmp_path_factory.mktemp("doors") / "ledger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "COST", CHEAP)
        with Ledger.open(folder) as ledger:
            for name, role in (("ed", "editor"), ("red", "reader")):
                ledger.access.accounts.add(name, role, RIGHT, author="ada")
        yield folder


@pytest.fixture
def own(place: Path, tmp_path: Path) -> Path:
    return copied(place, tmp_path / "ledger")


def client_of(folder: Path, **options: Any) -> TestClient:
    app = create_app(Settings(folder, **options))
    return TestClient(
        app, base_url="http://127.0.0.1", raise_server_exceptions=False, follow_redirects=False
    )


@pytest.fixture
def client(own: Path) -> Iterator[TestClient]:
    with client_of(own) as found:
        yield found


def routes(client: TestClient) -> list[tuple[str, set[str]]]:
    """Every path of the application with its methods; names in them stand for nothing there is."""
    found: dict[str, set[str]] = {}
    for route in listed(client.app.routes):  # type: ignore[attr-defined]
        found.setdefault(re.sub(r"{\w+(:path)?}", "none", route.path), set()).update(route.methods)
    assert len(found) > 50
    return [*found.items(), ("/static/kel.css", {"GET"}), ("/nowhere", set())]


def listed(found: Iterable[Any]) -> Iterator[APIRoute]:
    """The routes, also those of routers that were included."""
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from listed(route.original_router.routes)


def login(client: TestClient, user: str = "ed", password: str = RIGHT) -> Any:
    return client.post("/login", data={"user": user, "password": password}, headers=HERE)


def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What passwords are looked at from now on."""
    seen: list[str] = []
    original = Passwords.match

    def match(self: Passwords, stored: str | None, password: str) -> bool:
        seen.append(password)
        return original(self, stored, password)

    monkeypatch.setattr(Passwords, "match", match)
    return seen


# --- P26: other sites cannot act for you ----------------------------------------------------------


@pytest.mark.promise("P26")
@pytest.mark.parametrize("looks", [1, pytest.param(len(CASES), marks=pytest.mark.slow)])
def test_only_this_site_acts_on_any_route(client, own, figure, looks):
    """A fast run takes all six methods in one case, and POST and DELETE in the others."""
    asked, before = 0, rows(own)
    for path, methods in routes(client):
        for number, (case, (headers, ours)) in enumerate(CASES.items()):
            for method in METHODS if number >= len(CASES) - looks else UNSAFE[::3]:
                if ours and method in methods and method not in ("GET", "HEAD"):
                    continue  # what a page of this site does is what the routes are for
                found = client.request(method, path, headers=headers)
                refused = found.status_code == 403 and "not come from a page" in found.text
                api = ours is None and path.startswith("/v1/")
                wanted = method in UNSAFE and not ours and not api
                assert refused is wanted, (method, path, case, found.text[:200])
                assert not [h for h in found.headers if h.startswith("access-control")]
                asked += 1
    assert rows(own) == before
    count = len(routes(client))
    figure("P26", f"{count} routes, 6 methods, {len(CASES)} cases: {asked} requests as the table")


@pytest.mark.promise("P26")
@pytest.mark.promise("P19")
def test_every_route_sends_the_policy(client, figure):
    wanted = {name.decode(): value.decode() for name, value in HEADERS}
    asked = [(path, "GET") for path, _ in routes(client)] + [("/say", "PUT"), ("/", "OPTIONS")]
    for path, method in asked:
        for headers in ({}, {"host": "evil.example"}):
            found = client.request(method, path, headers=headers)
            assert {name: found.headers.get(name) for name in wanted} == wanted, path
            if "text/html" in found.headers.get("content-type", ""):
                assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=|<style", found.text)
    policy = dict(part.split(" ", 1) for part in wanted["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "form-action")} == {"'self'"}
    figure("P19", f"the strict policy on {len(asked)} routes")


@pytest.mark.promise("P26")
def test_looking_at_everything_changes_nothing(own, figure):
    with client_of(own) as client:
        login(client)
        token = client.app.state.kel.access.tokens.add("ed", "", "edit")  # type: ignore[attr-defined]
        bearer = {"authorization": f"Bearer {token}"}
        form = client.post("/undo", data={"edit": "1"}, headers=HERE)
        before = rows(own)
        ahead = {path for path, _ in routes(client)} | {"/edits/1", form.headers["location"]}
        ahead |= {path.replace("none", "1") for path in ahead if path.startswith("/v1/")}
        asked: dict[str, list[str]] = {}
        while ahead:
            address = ahead.pop()
            path, _, query = address.partition("?")
            if len(asked.setdefault(path, [])) >= 3:
                continue  # a page again, sorted or paged otherwise
            asked[path].append(query)
            found = client.get(address, headers=bearer)
            assert found.status_code < 500 or found.status_code == 503, address
            links = re.findall(r'(?:href|src|action)="(/[^"#]*)"', found.text)
            ahead |= {unescape(link) for link in links}
        for path, _ in routes(client):
            for method in ("HEAD", "OPTIONS"):
                assert client.request(method, path, headers=bearer).status_code < 500
        assert rows(own) == before
    count = sum(map(len, asked.values()))
    assert count > 80
    figure("P26", f"{count} addresses looked at: every row of the database as before")


# --- P24: guessing is slow and tells nothing ------------------------------------------------------


@pytest.mark.promise("P24")
def test_guesses_are_counted_across_a_restart_and_both_doors(own, monkeypatch, figure):
    seen = looked_at(monkeypatch)
    with client_of(own) as client:
        found = [login(client, password=f"wrong {n:04}") for n in range(5)]
        assert [page.status_code for page in found] == [403] * 5
    with client_of(own) as client:
        late = login(client)
        assert late.status_code == 429
        assert 0 < int(late.headers["retry-after"]) <= attempts.WAIT
        form = client.post("/undo", data={"edit": "1"}, headers=HERE)
        page = client.get(form.headers["location"])
        fields = {"digest": hidden(page, "digest"), "user": "ed", "password": RIGHT}
        confirm = client.post(f"{form.headers['location']}/confirm", data=fields, headers=HERE)
        assert confirm.status_code == 429
        assert int(confirm.headers["retry-after"]) > 0
    assert len(seen) == 5
    with Ledger.open(own) as ledger:
        assert ledger.status().version == 5 - 1
    figure("P24", "6th try: 429 with Retry-After, also after a restart; 5 passwords looked at")


@pytest.mark.promise("P24")
def test_nobody_is_told_whether_a_name_exists(own, monkeypatch):
    seen, bodies = looked_at(monkeypatch), []
    with client_of(own) as client:
        for user in ("ed", "nobody"):
            found = login(client, user, "wrong password")
            bodies.append((found.status_code, found.text.replace(f'value="{user}"', "")))
            found.headers.pop("content-length")
            assert not found.cookies
    assert bodies[0] == bodies[1]
    assert len(seen) == 2


# --- P25: sessions cannot be guessed, fixed or kept -----------------------------------------------


@pytest.mark.promise("P25")
def test_a_hundred_thousand_secrets_are_different(figure):
    assert len({keys.fresh() for _ in range(100_000)}) == 100_000
    assert len(keys.fresh()) >= 43
    figure("P25", "100,000 secrets of 256 bits: no two alike")


@pytest.mark.promise("P25")
def test_a_session_is_new_at_login_and_over_when_it_should_be(own):
    with client_of(own, public=True, secure=True) as client:
        client.base_url = "https://127.0.0.1"  # type: ignore[assignment]
        fixed = {"cookie": "kel_session=chosen; kel_chat=chosen"}
        given = client.post(
            "/login", data={"user": "red", "password": RIGHT}, headers={**fixed, **HERE, "origin": "https://127.0.0.1"}
        )  # fmt: skip
        for cookie in given.headers.get_list("set-cookie"):
            assert "chosen" not in cookie
            assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= set(cookie.split("; "))
        session = client.cookies["kel_session"]
        assert client.get("/").status_code == 200
        assert session not in str(rows(own))
        sessions = client.app.state.kel.access.sessions  # type: ignore[attr-defined]
        began = sessions._clock()
        for seconds, status in ((keys.IDLE, 200), (keys.IDLE + 1, 303), (keys.LONGEST + 1, 303)):
            sessions._clock = lambda s=seconds: began + s
            assert client.get("/").status_code == status, seconds
        sessions._clock = lambda: began
        assert client.get("/").status_code == 200
        with Ledger.open(own) as ledger:
            ledger.access.accounts.change_password("red", "another horse")
        assert client.get("/").status_code == 303


@pytest.mark.promise("P25")
def test_nobody_goes_on_with_a_session_that_was_left(own):
    with client_of(own, public=True) as client:
        login(client, "red")
        stolen = f"kel_session={client.cookies['kel_session']}"
        client.cookies.clear()
        assert client.get("/", headers={"cookie": stolen}).status_code == 200
        client.post("/logout", headers={"cookie": stolen, **HERE})
        assert client.get("/", headers={"cookie": stolen}).status_code == 303
        assert ask(own, "SELECT count(*) FROM session") == [(0,)]


# --- P27: what is open by default is nothing ------------------------------------------------------

ELSEWHERE = (
    *("//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "evil"),
    *("javascript:alert(1)", "/\nevil", "/\tevil", " //evil.example", "///evil.example", ""),
    *("http:/evil.example", "/\r\nset-cookie: x=y", "data:text/html,x", "\u2028//evil"),
)


@pytest.mark.promise("P27")
def test_what_is_open_by_default(own, template, tmp_path, clean, figure):
    kel = Kel(copied(template, tmp_path / "nobody"))
    assert Settings(own).public is False
    assert "127.0.0.1" in kel("serve", "--help").out
    kel.refused(2, "serve", "--host", "0.0.0.0", says=["no account"])
    for place in ELSEWHERE:
        assert local(place) == "/", place
    with client_of(own, public=True) as client:
        open_to_all, closed = set[str](), 0
        for path, methods in routes(client):
            for method in sorted(methods - {"HEAD"}):
                found = client.request(method, path, headers=HERE)
                login = found.status_code == 303 and found.headers["location"][:6] == "/login"
                if login or found.status_code == 401:
                    closed += 1
                else:
                    open_to_all.add(f"{method} {path}")
        assert open_to_all == {
            *("GET /health", "GET /login", "POST /login", "POST /logout", "POST /language"),
            "GET /static/kel.css",
        }
        for path in ("/static/", "/static/vendor/", "/static/../app.py", "/docs", "/redoc"):
            assert client.get(path).status_code == 404, path
        assert client.get("/openapi.json").status_code == 404
    figure("P27", f"{len(ELSEWHERE)} places elsewhere refused; without an account: the login only")
    figure("P27", "{} routes x methods closed to who has no account", closed)


@pytest.mark.promise("P27")
def test_an_unexpected_error_shows_a_number_and_no_more(own, monkeypatch):
    def broken(self: Ledger) -> None:
        raise RuntimeError("at /secret/place")

    with client_of(own) as client:
        monkeypatch.setattr(Ledger, "history", broken)
        for path in ("/history", "/history.json", "/v1/ledger/versions"):
            found = client.get(path)
            assert found.status_code == 500
            assert not re.search(r"secret|Traceback|RuntimeError|\.py", found.text)
        assert re.search(r"<code>[0-9a-f]{8}</code>", client.get("/history").text)
