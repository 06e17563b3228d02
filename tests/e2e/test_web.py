"""The application over HTTP: the whole flow in both languages, and everything it has to refuse."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli.web.guard import MOST_BYTES
from cli.web.state import Settings
from ledger import EditRequest, Ledger
from ledger.access import Pending, passwords
from ledger.demo import facts
from tests.e2e.harness import ROOT, Kel, copied, rows
from tests.sim.places import ask
from tests.sim.web_server import Browser, answers, hidden, served, tree

CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
RIGHT = "correct horse"
FACTS = facts()
ENGLISH = [f for f in FACTS if f["relation"] == "birthplace"]
CHINESE = [f for f in FACTS if f["relation"] == "职业"]
VALUES = {"en": ("Quenby", "Vantry"), "zh": ("律师", "画家")}
PAYLOAD = "<script>alert(1)</script>\"'><img src=x onerror=y> {{7*7}} \u202e{}"


def asked(fact: dict[str, str]) -> str:
    return fact["prompt"].replace("{}", fact["subject"])


def other(fact: dict[str, str], language: str = "en") -> str:
    """Another value than the true one."""
    return next(value for value in VALUES[language] if value != fact["target_true"])


@pytest.fixture(scope="module")
def place(probes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A ledger of the embedded model with three accounts; passwords cost little."""
    folder = tmp_path_factory.mktemp("web") / "ledger"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "COST", CHEAP)
        with Ledger.init(folder, base="demo", probes=probes, author="ada") as ledger:
            ledger.stats()
            for name, role in (("ed", "editor"), ("red", "reader"), ("slow", "editor")):
                ledger.access.accounts.add(name, role, RIGHT, author="ada")
        yield folder


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    with served(Settings(place)) as address:
        yield address


@pytest.fixture
def browser(url: str) -> Browser:
    return Browser(url)


@pytest.fixture(autouse=True)
def forgiven(place: Path) -> None:
    """All tests come from one address: what others failed at does not count."""
    ask(place, "DELETE FROM attempt")


@pytest.fixture
def guarded(place: Path, tmp_path: Path) -> Iterator[str]:
    """The same ledger where others can reach it."""
    with served(Settings(copied(place, tmp_path / "public"), public=True)) as address:
        yield address


def proposed(browser: Browser, fact: dict[str, str], new: str) -> httpx.Response:
    fields = {"subject": fact["subject"], "prompt": fact["prompt"], "target_new": new}
    return browser.post("/proposals", **fields, target_true=fact["target_true"])


def confirmed(browser: Browser, page: httpx.Response, **fields: str) -> httpx.Response:
    given = {"digest": hidden(page, "digest"), "user": "ed", "password": RIGHT, **fields}
    return browser.post(f"{page.url.path}/confirm", **given)


# --- the whole flow -------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "fact", "correction", "words"), [
    ("en", ENGLISH[0], "No, it is {}.",
     ("This looks like a change", "The change is made.", "carries it")),
    ("zh", CHINESE[0], "不对，是{}。", ("这看起来是一项修改", "修改已完成。", "模型已带有")),
])  # fmt: skip
def test_the_whole_flow_and_back(url, place, language, fact, correction, words):
    browser, new, old = Browser(url, language), other(fact, language), fact["target_true"]
    ((who, text),) = browser.said(asked(fact))
    assert old in text
    before = int(who.removeprefix("demo@v"))
    page = browser.post("/say", message=correction.format(new))
    assert words[0] in page.text
    fields = ("subject", "prompt", "target_new", "target_true")
    page = browser.post("/proposals", **{name: hidden(page, name) for name in fields})
    *_, (_, preview) = browser.events(page)
    assert old in preview
    assert new in preview
    assert "reliability" in preview
    page = confirmed(browser, page)
    *_, (_, outcome) = browser.events(page)
    assert words[1] in outcome
    assert f"demo@v{before + 1}" in outcome
    assert new in browser.said(asked(fact))[0][1]
    assert [(w, new in t) for w, t in browser.said(asked(fact), compare="1")] == [
        ("demo@v0", False),
        (f"demo@v{before + 1}", True),
    ]
    edit = re.search(r'name="edit" value="(\d+)"', outcome).group(1)
    card = browser.get("/").text.partition(words[2])[2]
    assert f'href="/edits/{edit}"' in card[:80], "the card still offers what is made"
    page = browser.settled(browser.post("/undo", edit=edit))
    assert browser.settled(confirmed(browser, page)).status_code == 200
    assert words[2] not in browser.get("/").text
    ((who, text),) = browser.said(asked(fact))
    assert who == f"demo@v{before + 2}"
    assert old in text
    with Ledger.open(place) as ledger:
        lines = ledger.log(2)
        assert [(line.op, line.author) for line in lines] == [("revert", "ed"), ("apply", "ed")]
        assert all(line.note.startswith("proposal ") for line in lines)
        assert ledger.verify() == []


def test_an_edit_is_put_back_by_a_proposal(browser, place):
    fact = ENGLISH[10]
    page = confirmed(browser, proposed(browser, fact, other(fact)))
    edit = re.search(r'name="edit" value="(\d+)"', browser.settled(page).text).group(1)
    assert browser.post("/reapply", edit=edit).status_code == 409
    browser.settled(confirmed(browser, browser.post("/undo", edit=edit)))
    assert browser.post("/undo", edit=edit).status_code == 409
    shown = browser.get(f"/edits/{edit}").text
    assert 'action="/reapply"' in shown
    assert 'action="/undo"' not in shown
    page = browser.settled(browser.post("/reapply", edit=edit))
    assert "put back edit" in page.text
    assert "edits that would move with it" in page.text
    done = browser.settled(confirmed(browser, page)).text
    assert "The edit is back in its place." in done
    assert other(fact) in browser.said(asked(fact))[0][1]
    with Ledger.open(place) as ledger:
        assert [(line.op, line.author) for line in ledger.log(1)] == [("reapply", "ed")]
        assert ledger.verify() == []
    browser.settled(confirmed(browser, browser.post("/undo", edit=edit)))
    for path in ("/undo", "/reapply"):
        assert browser.post(path, edit="999").status_code == 404
        assert browser.post(path, edit="x").status_code == 400


def test_with_four_eyes_two_accounts_make_a_change(guarded, tmp_path):
    place = tmp_path / "public"
    with Ledger.open(place) as ledger:
        ledger.access.accounts.need_four_eyes(True, author="root")
    fact, first, second = ENGLISH[11], Browser(guarded), Browser(guarded)
    first.post("/login", user="ed", password=RIGHT)
    second.post("/login", user="slow", password=RIGHT)
    page = first.settled(proposed(first, fact, other(fact)))
    assert "Four eyes" in page.text
    assert f"{page.url.path}/confirm" not in page.text
    name, digest = str(page.url.path), proposal_of(place, page).digest
    own = first.post(f"{name}/confirm", digest=digest, password=RIGHT)
    assert (own.status_code, "somebody else" in own.text) == (403, True)
    assert name in second.get("/proposals").text
    done = second.post(f"{name}/confirm", digest=digest, password=RIGHT)
    assert "The change is made." in second.settled(done).text
    assert "None is waiting" in second.get("/proposals").text
    with Ledger.open(place) as ledger:
        (line,) = ledger.log(1)
        assert (line.author, line.note) == ("slow", f"proposal {digest[:12]} by ed")
        assert ledger.verify() == []


def test_with_four_eyes_a_proposal_needs_a_name(place, tmp_path):
    folder = copied(place, tmp_path / "two")
    with Ledger.open(folder) as ledger:
        ledger.access.accounts.need_four_eyes(True, author="root")
    with served(Settings(folder)) as address:
        found = proposed(Browser(address), ENGLISH[0], other(ENGLISH[0]))
        assert found.url.path == "/login"


def proposal_of(place: Path, page: httpx.Response) -> Pending:
    with Ledger.open(place) as ledger:
        found = ledger.access.proposals.get(page.url.path.rpartition("/")[2])
    assert found is not None
    return found


def test_clean_forgets_the_conversation(browser):
    browser.said(asked(ENGLISH[2]))
    assert "Nothing was said yet" in browser.post("/clean").text
    browser.said(asked(ENGLISH[2]))
    assert "Nothing was said yet" in browser.post("/say", message="clean").text
    assert "Nothing was said yet" in Browser(browser.url).get("/").text


def test_a_proposal_can_be_corrected_by_hand_and_just_answered(browser):
    page = browser.post("/say", message="Remember that Vela Strom plays the harp.")
    assert "Vela Strom plays → the harp" in page.text
    again = browser.post("/say", message="Remember that Vela Strom plays the harp.", plain="1")
    assert answers(browser.settled(again))
    first = proposed(browser, ENGLISH[3], "Nowhere")
    name = first.url.path.rpartition("/")[2]
    second = browser.post("/proposals", instead=name, subject="Vela Strom", prompt="{} plays",
                          target_new="the flute")  # fmt: skip
    assert "Vela Strom plays → the flute" in second.text
    assert "can no longer be used" in browser.get(first.url.path).text
    assert confirmed(browser, first).status_code == 409
    wrong = browser.post("/proposals", subject="", prompt="{} plays", target_new="x")
    assert wrong.status_code == 400
    assert "subject is empty" in wrong.text


# --- confirmations that are refused ---------------------------------------------------------------


def test_a_proposal_is_confirmed_once_with_the_right_password_and_role(browser, place):
    page = browser.settled(proposed(browser, ENGLISH[4], other(ENGLISH[4])))
    with Ledger.open(place) as ledger:
        head = ledger.status().head
    assert confirmed(browser, page, password="wrong password").status_code == 403
    assert confirmed(browser, page, user="nobody").status_code == 403
    low = confirmed(browser, page, user="red")
    assert (low.status_code, "needs the role editor" in low.text) == (403, True)
    assert confirmed(browser, page, digest="0" * 64).status_code == 409
    with Ledger.open(place) as ledger:
        assert ledger.status().head == head
    assert browser.settled(confirmed(browser, page)).status_code == 200
    assert confirmed(browser, page).status_code == 409
    assert browser.post("/proposals/nothing/confirm", digest="x").status_code == 404


def test_a_job_tells_the_loss_of_each_step_and_then_each_earlier_edit(browser, place):
    with Ledger.open(place) as ledger:
        if not ledger.status().active:
            ledger.edit(EditRequest(ENGLISH[4]["subject"], ENGLISH[4]["prompt"], other(ENGLISH[4])))
        active = ledger.status().active
    page = proposed(browser, ENGLISH[10], other(ENGLISH[10]))
    events = browser.events(page)
    names = [name for name, _ in events]
    losses = [data for _, data in events if "looking for the value, loss" in data]
    assert len(losses) > 1
    assert all(re.search(r"loss \d+\.\d{3}", data) for data in losses)
    told = [data for name, data in events if name == "retest"]
    assert sorted(int(re.search(r'/edits/(\d+)"', data).group(1)) for data in told) == [*active]
    assert all(re.search(r": (holds|lost|did not hold before either) \(", data) for data in told)
    assert names.index("retest") > max(i for i, event in enumerate(events) if event[1] in losses)
    assert names[-1] == "end"
    listed = browser.get(str(page.url.path)).text
    assert all(data.strip() in listed for data in told)


def test_an_old_or_withdrawn_proposal_cannot_be_used(browser, place):
    page = proposed(browser, ENGLISH[5], other(ENGLISH[5]))
    name = page.url.path.rpartition("/")[2]
    ask(place, "UPDATE proposal SET expires_at = 1 WHERE id = ?", name)
    late = confirmed(browser, page)
    assert (late.status_code, "can no longer be used" in late.text) == (409, True)
    page = proposed(browser, ENGLISH[5], other(ENGLISH[5]))
    browser.post(f"{page.url.path}/withdraw")
    assert confirmed(browser, page).status_code == 409


@pytest.mark.slow
def test_of_two_editors_at_once_both_are_served_in_turn(url):
    found: list[str] = []

    def edit(fact: dict[str, str]) -> None:
        browser = Browser(url)
        page = confirmed(browser, proposed(browser, fact, other(fact)))
        found.append(browser.settled(page).text)

    threads = [threading.Thread(target=edit, args=(fact,)) for fact in ENGLISH[6:8]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = {re.search(r"The change is made\. demo@v(\d+)", text).group(1) for text in found}
    assert len(versions) == 2


@pytest.mark.promise("P24")
def test_guessing_is_slow(guarded):
    browser = Browser(guarded)
    found = [browser.post("/login", user="slow", password=f"wrong {i:04}") for i in range(7)]
    assert [page.status_code for page in found] == [403] * 5 + [429] * 2
    assert 0 < int(found[-1].headers["retry-after"]) <= 900
    assert browser.post("/login", user="slow", password=RIGHT).status_code == 429


# --- who may come in ------------------------------------------------------------------------------


@pytest.mark.promise("P27")
def test_where_others_can_reach_it_everything_needs_an_account(guarded):
    browser = Browser(guarded)
    for path in ("/", "/proposals/x", "/changes/x", "/jobs/x/events"):
        found = browser.get(path)
        assert (found.status_code, found.headers["location"][:7]) == (303, "/login?")
    assert browser.http.get("/v1/models").status_code == 401
    assert "demo" in browser.post("/login", user="red", password=RIGHT, place="/").text
    session = browser.http.cookies["kel_session"]
    browser.post("/login", user="red", password=RIGHT)
    assert browser.http.cookies["kel_session"] != session
    stale = Browser(guarded)
    stale.http.cookies.set("kel_session", session)
    assert stale.get("/").status_code == 303
    browser.post("/logout")
    assert browser.get("/").status_code == 303


@pytest.mark.promise("P27")
@pytest.mark.parametrize("place_", ["//evil.example", "https://evil.example", "/\\evil", "x"])
def test_a_login_leads_to_a_page_of_this_site_only(browser, place_):
    found = browser.get(f"/login?next={place_}")
    assert found.text.rpartition('name="place"')[2].startswith(' value="/"')
    sent = {"origin": browser.url}
    given = {"user": "red", "password": RIGHT, "place": place_}
    assert browser.http.post("/login", data=given, headers=sent).headers["location"] == "/"


ORIGINS = {
    "none": ({}, False),
    "same": ({"origin": "{url}"}, True),
    "same site": ({"sec-fetch-site": "same-origin"}, True),
    "typed": ({"sec-fetch-site": "none", "origin": "{url}"}, True),
    "other": ({"origin": "http://evil.example"}, False),
    "null": ({"origin": "null"}, False),
    "cross": ({"sec-fetch-site": "cross-site", "origin": "{url}"}, False),
    "sibling": ({"sec-fetch-site": "same-site"}, False),
}
UNSAFE = ("/say", "/clean", "/proposals", "/undo", "/login", "/logout", "/language",
          "/jobs/x/stop", "/audit", "/proposals/x/confirm", "/proposals/x/withdraw")  # fmt: skip


@pytest.mark.promise("P26")
@pytest.mark.parametrize("case", ORIGINS)
def test_other_sites_cannot_act_for_you(url, case, place):
    headers, allowed = ORIGINS[case]
    given = {name: value.replace("{url}", url) for name, value in headers.items()}
    with httpx.Client(base_url=url, trust_env=False) as http:
        for path in UNSAFE:
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                found = http.request(method, path, headers=given, data={"message": "Hello"})
                refused = found.status_code == 403 and "not come from a page" in found.text
                assert refused is not allowed, (path, method, found.text)
        api = http.post("/v1/chat/completions", headers=given, json={})
        assert (api.status_code == 403) is (not allowed and case != "none")
        assert http.get("/", headers=given).status_code == 200
        assert "access-control-allow-origin" not in found.headers


@pytest.mark.promise("P26")
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.", "a:b"]
)
def test_a_foreign_host_name_is_refused(url, host):
    with httpx.Client(base_url=url, trust_env=False) as http:
        found = http.get("/", headers={"host": host})
        assert found.status_code in (400, 421)
        assert http.get("/", headers={"host": "localhost:1"}).status_code == 200


@pytest.mark.promise("P20")
def test_a_large_request_is_refused(browser, figure):
    headers = {"origin": browser.url}
    found = browser.http.post("/say", content=b"x" * (MOST_BYTES + 1), headers=headers)
    assert found.status_code == 413
    assert browser.post("/say", message="x" * 5000).status_code == 400
    assert browser.post("/say", message="").status_code == 400
    figure("P20", "{} sizes beyond a limit: each refused", 2)


@pytest.mark.promise("P26")
def test_looking_changes_nothing(browser, place):
    page = browser.settled(proposed(browser, ENGLISH[8], other(ENGLISH[8])))
    before, seen, ahead = rows(place), set(), {"/", "/login", str(page.url.path), "/v1/models"}
    while ahead:
        path = ahead.pop()
        seen.add(path)
        found = browser.get(path)
        assert found.status_code in (200, 303, 404)
        ahead |= {
            p for p in re.findall(r'(?:href|src)="(/[^"#?]*)[?"]', found.text) if p not in seen
        }
    assert len(seen) > 7
    for path in UNSAFE:
        assert browser.get(path).status_code in (200, 404, 405)
    assert rows(place) == before


# --- what pages say -------------------------------------------------------------------------------


@pytest.mark.promise("P19")
def test_text_is_text(browser, place):
    plain, odd = Browser(browser.url), browser
    for text, one in (("harmless words", plain), (PAYLOAD, odd)):
        one.settled(one.post("/say", message=text, plain="1"))
    assert tree(plain.get("/").text) == tree(odd.get("/").text)
    pages = []
    with Ledger.open(place) as ledger:
        for text in ("harmless", PAYLOAD.replace("{}", "")):
            body = {"subject": text, "prompt": "{} is", "target_new": text, "target_true": text}
            pending = ledger.access.proposals.open("edit", body, text)
            pages.append(browser.get(f"/proposals/{pending.id}").text)
    assert tree(pages[0]) == tree(pages[1])
    assert "<script>alert" not in "".join(pages)


@pytest.mark.promise("P19")
def test_every_response_carries_the_policy(browser):
    for path in ("/", "/login", "/static/kel.css", "/v1/models", "/nowhere", "/jobs/x/events"):
        found = browser.get(path)
        policy = found.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert found.headers["x-content-type-options"] == "nosniff"
    for path in ("/", "/login"):
        text = browser.get(path).text
        assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", text)
    assert "Traceback" not in browser.get("/nowhere").text


def test_the_language_is_the_browsers_until_it_is_switched(url):
    english, chinese = Browser(url), Browser(url, "zh-CN,zh;q=0.9,en;q=0.5")
    assert 'lang="en"' in english.get("/").text
    assert 'lang="zh-Hans"' in chinese.get("/").text
    assert "发送" in english.post("/language", to="zh", place="/").text
    assert "Send" in chinese.post("/language", to="en", place="/").text


def test_a_version_can_be_asked_for_and_one_that_is_none_is_told(browser):
    assert browser.said(asked(ENGLISH[0]), at="v0")[0][0] == "demo@v0"
    found = browser.post("/say", message="x", at="v999")
    assert (found.status_code, "names no version" in found.text) == (404, True)
    with_error = browser.get("/changes/none")
    assert with_error.status_code == 404


@pytest.mark.slow
def test_readers_are_answered_while_the_model_is_changed(url, place):
    """Fifty at once: no error, and each answer is the one of the version that it names."""
    editor, found = Browser(url), []
    page = proposed(editor, ENGLISH[9], other(ENGLISH[9]))
    target = asked(ENGLISH[9])

    def read() -> None:
        found.extend(Browser(url).said(target))

    threads = [threading.Thread(target=read) for _ in range(50)]
    for number, thread in enumerate(threads):
        if number == 25:
            changed = confirmed(editor, page)
        thread.start()
    for thread in threads:
        thread.join()
    assert "The change is made" in editor.settled(changed).text
    assert len(found) == 50
    with Ledger.open(place) as ledger:
        for who, text in set(found):
            at = who.removeprefix("demo@")
            assert ledger.ask(target, at=at).text.strip() == text.strip()


@pytest.mark.slow
def test_one_command_serves_the_embedded_model(tmp_path):
    """As a new user starts it: the address and the password are all that is needed."""
    command = [sys.executable, "-m", "cli.main", "--json", "--ledger", str(tmp_path / "l")]
    process = subprocess.Popen(
        [*command, "serve", "--demo", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        lines = iter(process.stdout.readline, "}\n")
        told = json.loads("".join(lines) + "}")
        browser, fact = Browser(told["url"].rstrip("/")), ENGLISH[0]
        page = browser.settled(proposed(browser, fact, other(fact)))
        done = confirmed(browser, page, user=told["user"], password=told["password"])
        assert "The change is made. demo@v1" in browser.settled(done).text
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        process.stdout.close()


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.promise("P27")
def test_what_the_command_refuses(kel: Kel, monkeypatch):
    kel.refused(2, "serve", "--host", "0.0.0.0", says=["no account", "kel user add"])
    monkeypatch.setattr("cli.commands.serve.find_spec", lambda name: None)
    kel.refused(2, "serve", says=["pip install", "[web]"])
