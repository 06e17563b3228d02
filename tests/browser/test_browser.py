"""The application in a real browser: what a person does, in both languages, and how pages are.

Chromium without a screen on a ledger of the embedded model. Nothing here looks into the program:
what is asserted is what is on the page, and at the end what is in the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import ledger.demo
from cli.web import chatting
from cli.web.state import Settings
from cli.web.texts import words
from ledger import Ledger
from ledger.access import passwords
from tests.browser import sample
from tests.browser.chromium import Screen, chromium, program
from tests.browser.sample import BORN, RIGHT, WORK, asked, other
from tests.sim.places import ask
from tests.sim.web_server import served

pytestmark = pytest.mark.browser
# Remembers that something was on the page, however short.
WATCH = """
window.seen = new Set();
new MutationObserver((changes) => {
  for (const change of changes)
    for (const node of change.addedNodes)
      if (node.querySelector) for (const found of [node, ...node.querySelectorAll("*")])
        window.seen.add(found.localName);
}).observe(document, {childList: true, subtree: true});
"""
# What the keyboard reaches, and whether it shows.
FOCUSED = """() => {
  const it = document.activeElement, look = getComputedStyle(it);
  const called = it.name || it.textContent.trim();
  return [it.localName, called, look.outlineStyle, parseFloat(look.outlineWidth)];
}"""
REACHABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if program() is None:
        pytest.skip("NO CHROMIUM: install it (apt-get install chromium) to run these tests")
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def place(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The sample; passwords cost little, and two random probes make measuring cheap."""
    folder = tmp_path_factory.mktemp("browser")
    probes = folder / "probes.txt"
    probes.write_text("The capital of Poland is\nThe old city\n", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "COST", {"time_cost": 1, "memory_cost": 8, "parallelism": 1})
        yield sample.fill(sample.empty(folder / "ledger", probes))


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    with served(Settings(place)) as address:
        yield address


@pytest.fixture
def screens(browser: Browser, url: str, place: Path) -> Iterator[Any]:
    """Makes visitors; when the test is over none of them may have met an error."""
    made: list[Screen] = []

    def screen(**how: Any) -> Screen:
        made.append(Screen(browser, url, **how))
        return made[-1]

    ask(place, "DELETE FROM attempt")  # what other tests failed at does not count
    yield screen
    for one in made:
        one.close()
    assert [problem for one in made for problem in one.problems] == []


def status(place: Path) -> tuple[int, str]:
    """Version and last entry of the ledger."""
    with Ledger.open(place) as ledger:
        found = ledger.status()
        return found.version, found.head


def at_top(screen: Screen) -> int:
    """The version at the top of the page."""
    return int(screen.page.locator("header .version").inner_text().removeprefix("demo@v"))


def proposed(screen: Screen, fact: dict[str, str], correction: str = "No, it is {}.") -> Page:
    """Ask, correct, and review: the proposal with its preview."""
    screen.say(asked(fact))
    screen.say(correction.format(other(fact)))
    screen.page.locator("#last .card button.main").click()
    screen.page.wait_for_url("**/proposals/*")
    return screen.settled()


# --- the whole flow -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "fact", "correction"),
    [("en", BORN[3], "No, it is {}."), ("zh", WORK[1], "不对，是{}。")],
)
def test_the_whole_flow_and_back(screens, place, language, fact, correction):
    t, screen = words(language), screens(language=language)
    page, new, old = screen.page, other(fact), fact["target_true"]
    page.add_init_script(WATCH)
    answer = screen.say(asked(fact))
    before = at_top(screen)
    expect(answer.locator(".who")).to_have_text(f"demo@v{before}")
    expect(answer.locator(".text")).to_contain_text(old)

    card = screen.say(correction.format(new)).locator(".card")
    expect(card).to_contain_text(t["change_found"])
    expect(card).to_contain_text(new)
    card.get_by_role("button", name=t["review"]).click()
    expect(page.locator("main")).to_contain_text(t["gate_pass"])
    told = page.locator("dl").first
    expect(told.locator("dd").nth(0)).to_contain_text(old)
    expect(told.locator("dd").nth(1)).to_contain_text(new)

    screen.confirm("ed", "wrong password")
    expect(page.get_by_role("alert")).to_have_text(t["wrong_login"])
    expect(page.locator("[name=user]")).to_have_value("ed")
    expect(page.locator("[name=password]")).to_be_focused()
    assert status(place)[0] == before
    screen.confirm("ed", RIGHT)
    expect(page.get_by_role("status")).to_contain_text(t["applied"], timeout=60_000)
    assert "progress" in page.evaluate("[...window.seen]")
    assert at_top(screen) == before + 1
    texts = page.locator(".answers .text")
    expect(texts.nth(0)).to_contain_text(old)
    expect(texts.nth(1)).to_contain_text(new)
    outcome = page.url

    answer = screen.say(asked(fact))
    expect(answer.locator(".who")).to_have_text(f"demo@v{before + 1}")
    expect(answer.locator(".text")).to_contain_text(new)
    page.get_by_label(t["compare"]).check()
    answer = screen.say(asked(fact))
    expect(answer.locator(".who")).to_have_text(["demo@v0", f"demo@v{before + 1}"])
    expect(answer.locator(".text").nth(0)).to_contain_text(old)
    expect(answer.locator(".text").nth(1)).to_contain_text(new)

    page.goto(outcome)
    page.get_by_role("button", name=t["undo"]).click()
    expect(page.locator(".change")).to_contain_text(t["revert"])
    screen.confirm("ed", RIGHT)
    expect(page.get_by_role("status")).to_contain_text(t["reverted"], timeout=60_000)
    expect(screen.say(asked(fact)).locator(".text").nth(1)).to_contain_text(old)
    assert at_top(screen) == before + 2
    with Ledger.open(place) as ledger:
        lines = ledger.log(2)
        assert [(line.op, line.author) for line in lines] == [("revert", "ed"), ("apply", "ed")]


@pytest.mark.slow
def test_the_keyboard_is_enough(screens, place):
    screen, fact = screens(), BORN[4]
    page, keys = screen.open("/"), screen.page.keyboard
    expect(page.locator("#message")).to_be_focused()
    keys.type("a line")
    keys.press("Shift+Enter")
    keys.type("another")
    expect(page.locator("#message")).to_have_value("a line\nanother")
    page.locator("#message").fill("")
    screen.say(asked(fact))
    keys.type(f"No, it is {other(fact)}.")
    keys.press("Enter")
    expect(page.locator("#last .card")).to_be_visible()
    reach(page, "button", "Review the change")
    keys.press("Enter")
    page.wait_for_url("**/proposals/*")
    screen.settled()
    for name, text in (("user", "ed"), ("password", RIGHT)):
        reach(page, "input", name)
        keys.type(text)
    keys.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The change is made.", timeout=60_000)
    reach(page, "button", "Undo this change")


def reach(page: Page, kind: str, name: str) -> None:
    """Press Tab until something has the focus, and see it there."""
    for _ in range(page.locator(REACHABLE).count() + 1):
        page.keyboard.press("Tab")
        found, called, style, width = page.evaluate(FOCUSED)
        if (found, called) == (kind, name):
            assert style != "none", (kind, name)
            assert width >= 2
            return
    raise AssertionError(f"Tab does not reach {kind} {name}")


# --- what can go wrong ----------------------------------------------------------------------------


def test_a_button_pressed_twice_changes_the_model_once(screens, place):
    before = status(place)[0]
    screen = screens()
    page = proposed(screen, BORN[5])
    page.locator("[name=user]").fill("ed")
    page.locator("[name=password]").fill(RIGHT)
    page.get_by_role("button", name="Change the model").dblclick()
    expect(page.get_by_role("status")).to_contain_text("The change is made.", timeout=60_000)
    assert status(place)[0] == before + 1
    page.go_back()
    expect(page.get_by_role("status")).to_contain_text("confirmed already")
    page.get_by_role("link", name="what became of it").click()
    expect(page.get_by_role("status")).to_contain_text("The change is made.")


def test_without_scripts_everything_works_by_the_buttons(screens, place):
    screen = screens(scripts=False)
    page = screen.open("/")
    page.locator("#message").fill(f"No. Change the birthplace of {BORN[6]['subject']} to Quenby.")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Review the change").click()
    old = page.url
    screen.confirm("ed", RIGHT)
    page.wait_for_url("**/changes/*")
    until(page, "The change is made.")
    page.goto(old)
    expect(page.get_by_role("status")).to_contain_text("confirmed already")


def until(page: Page, text: str) -> None:
    """Look again until the page says something."""
    for _ in range(120):
        if text in page.locator("main").inner_text():
            return
        time.sleep(0.5)
        page.reload()
    raise AssertionError(f"never said: {text}")


def test_a_proposal_that_expired_can_be_made_again(screens, place):
    screen = screens()
    page = proposed(screen, BORN[7])
    old = page.url
    before = status(place)
    ask(place, "UPDATE proposal SET expires_at = 1")
    screen.confirm("ed", RIGHT)
    expect(page.get_by_role("alert")).to_have_text("This proposal can no longer be used.")
    page.get_by_role("button", name="Make it again").click()
    expect(page.locator("[name=password]")).to_be_visible()
    assert page.url != old
    assert status(place) == before
    page.get_by_role("button", name="Withdraw").click()
    expect(page.locator("#message")).to_be_visible()


def test_of_two_editors_the_second_is_told_that_the_version_moved(screens, place):
    first, second = screens(), screens()
    proposed(first, BORN[8])
    page = proposed(second, BORN[9])
    before = status(place)[0]
    first.confirm("ed", RIGHT)
    expect(first.page.get_by_role("status")).to_contain_text("made", timeout=60_000)
    second.confirm("ann", RIGHT)
    expect(page.get_by_role("alert")).to_contain_text("The version has moved on")
    assert status(place)[0] == before + 1
    assert at_top(second) == before + 1
    expect(second.settled().locator("main")).to_contain_text("would let it pass")
    second.confirm("ann", RIGHT)
    expect(page.get_by_role("status")).to_contain_text(f"demo@v{before + 2}", timeout=60_000)


@pytest.mark.slow
def test_what_was_typed_is_not_lost(screens):
    screen = screens()
    page = screen.open("/")
    page.get_by_label("version").fill("v999")
    page.locator("#message").fill("Dear model")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("v999")
    expect(page.locator("#message")).to_have_value("Dear model")
    expect(page.get_by_label("version")).to_have_value("HEAD")
    proposed(screen, BORN[10])
    page.locator("summary").click()
    page.locator("[name=prompt]").fill("was born in")
    page.locator("[name=target_new]").fill("Elsewhere")
    page.locator("details button").click()
    expect(page.get_by_role("alert")).to_contain_text("{}")
    expect(page.locator("[name=target_new]")).to_have_value("Elsewhere")
    page.locator("[name=prompt]").fill("{} was born in")
    page.locator("details button").click()
    expect(page.locator(".change")).to_contain_text("→ Elsewhere")


@pytest.mark.slow
def test_the_language_is_switched_where_one_is(screens):
    screen = screens()
    page = proposed(screen, BORN[11])
    screen.confirm("ed", "wrong password")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.locator("h1")).to_have_text("提议")
    page.get_by_role("link", name="登录").click()
    screen.confirm("ed", "wrong password")
    expect(page.get_by_role("alert")).to_have_text("用户名或密码错误。")
    page.get_by_role("button", name="English").click()
    screen.confirm("ed", RIGHT)
    expect(page.locator("h1")).to_have_text("Proposal")
    expect(page.locator("header")).to_contain_text("Log out (ed)")


def test_clean_forgets_by_button_and_by_word(screens):
    screen = screens()
    for word in ("button", "clean"):
        screen.say(asked(BORN[2]))
        if word == "button":
            screen.page.get_by_role("button", name="Clean").click()
        else:
            screen.page.locator("#message").fill(word)
            screen.page.locator("#message").press("Enter")
        expect(screen.page.locator("main")).to_contain_text("Nothing was said yet.")


def test_an_answer_can_be_stopped(screens, monkeypatch):
    spoken = chatting._answered

    def endless(ledger: Ledger, job: Any, *asked: Any) -> Any:
        while not job.stopped:
            job.tell("token", "and on ")
            time.sleep(0.02)
        return spoken(ledger, job, *asked)

    monkeypatch.setattr(chatting, "_answered", endless)
    screen = screens()
    page = screen.open("/")
    page.locator("#message").fill("Tell me everything")
    page.locator("#message").press("Enter")
    expect(page.locator("#last .text")).to_contain_text("and on and on")
    page.get_by_role("button", name="Stop").click()
    expect(screen.settled().locator("#last .who")).to_contain_text("demo@v")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(page.locator("#last .text")).to_contain_text("and on and on")


# --- what pages are like --------------------------------------------------------------------------

PAGES = (
    "/login", "/facts", "/facts?search=nobody", "/edits/3", "/edits/4", "/edits/5",
    "/edits/1/interference", "/history", "/log", "/diff?old=base&new=HEAD", "/diff?old=v1&new=v1",
    "/verify", "/nowhere", "/proposals", "/proposals/none", "/audit", "/api",
)  # fmt: skip
LOOKS = {
    "Chinese, dark, narrow": {"language": "zh", "dark": True, "width": 360},
    "English": {},
    "English, dark, narrow": {"dark": True, "width": 360},
    "Chinese": {"language": "zh"},
}


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(look, marks=pytest.mark.slow if place else ())
        for place, look in enumerate(LOOKS)
    ],
)
def test_every_page_is_accessible_and_no_wider_than_the_window(screens, look):
    screen = screens(**LOOKS[look])
    chinese, place = LOOKS[look].get("language") == "zh", list(LOOKS).index(look)
    fact = WORK[2 + place] if chinese else BORN[12 + place]  # another one for each look
    correction = "不对，是{}。" if chinese else "No, it is {}."
    found: list[str] = []

    def looked_at(place: str) -> None:
        found.extend(f"{place}: {fault}" for fault in screen.faults())
        if screen.overhang() > 0:
            found.append(f"{place}: {screen.overhang()} pixels too wide")

    for path in PAGES:
        screen.open(path)
        looked_at(path)
    screen.say("Word" * 60)
    looked_at("a long word")
    page = proposed(screen, fact, correction)
    looked_at("proposal")
    page.locator("summary").click()
    screen.confirm("ed", "wrong password")
    looked_at("wrong password")
    screen.confirm("ed", RIGHT)
    expect(page.get_by_role("status")).to_be_visible(timeout=60_000)
    looked_at("outcome")
    screen.open("/")
    looked_at("conversation")
    assert found == []


@pytest.mark.parametrize("path", ["/", "/facts", "/edits/3", "/history"])
def test_tab_reaches_everything_and_shows_where_it_is(screens, path):
    page = screens(width=360).open(path)
    wanted = page.locator(REACHABLE).evaluate_all(
        "all => all.filter(one => one.checkVisibility()).length"
    )
    page.evaluate("window.reached = new Set()")
    for _ in range(wanted + 2):  # once around, over the end of the page
        page.keyboard.press("Tab")
        name, called, style, width = page.evaluate(FOCUSED)
        assert name == "body" or (style != "none" and width >= 2), (name, called)
        page.evaluate("reached.add(document.activeElement)")
    assert page.evaluate("reached.delete(document.body), reached.size") == wanted


@pytest.mark.slow
def test_an_audit_is_readable_while_it_runs_and_when_it_is_over(screens):
    """Of the base, sent as files: nothing of the ledger is in it."""
    screen = screens(width=360)
    page = screen.open("/login?next=/audit")
    screen.confirm("ed", RIGHT)
    model = Path(ledger.demo.__file__).parent / "model" / "model.safetensors"
    page.locator("input[type=file]").set_input_files(str(model))
    page.locator("form:has(input[type=file]) button").click()
    page.wait_for_url("**/audits/*")
    screen.settled()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    page.reload()
    expect(page.get_by_role("status")).to_be_visible(timeout=60_000)
    assert screen.faults() == []
    assert screen.overhang() <= 0
