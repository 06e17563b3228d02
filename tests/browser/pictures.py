"""The pictures of docs/app.md: `python -m tests.browser.pictures docs/app`.

Promise: made by the application as it is, in Chromium, on the embedded model; a picture has at most
256 colours, so that it is small.

    write(Path("docs/app"))
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, expect

from cli.web.state import Settings
from tests.browser import sample
from tests.browser.chromium import Screen, chromium
from tests.browser.sample import BORN, RIGHT, WORK, asked, other
from tests.sim.web_server import served

COLOURS: Final = 256
WIDE, HIGH = 960, 640


def write(folder: Path) -> None:
    """Make all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="kel-pictures-") as place,
        served(Settings(sample.fill(sample.empty(Path(place) / "ledger")))) as url,
        chromium() as browser,
    ):
        _flow(browser, url, folder)
        _chinese(browser, url, folder)
        _ledger(browser, url, folder)


def _flow(browser: Browser, url: str, folder: Path) -> None:
    """A correction in English, from the answer to the undo."""
    screen, fact = Screen(browser, url, width=WIDE, height=HIGH), BORN[3]
    page = screen.open("/")
    screen.say(asked(fact))
    screen.say(f"No, it is {other(fact)}.")
    _keep(screen, folder / "1-conversation.png")
    page.locator("#last .card button.main").click()
    page.wait_for_url("**/proposals/*")
    screen.settled()
    _keep(screen, folder / "2-proposal.png")
    screen.confirm("ed", RIGHT)
    expect(page.get_by_role("status")).to_be_visible(timeout=60_000)
    _keep(screen, folder / "3-outcome.png")
    screen.open("/")
    page.get_by_label("compare with the base").check()
    screen.say(asked(fact))
    _keep(screen, folder / "4-compared.png")
    screen.close()


def _chinese(browser: Browser, url: str, folder: Path) -> None:
    """The same in Chinese, dark, on a telephone."""
    screen, fact = Screen(browser, url, language="zh", dark=True, width=360, height=HIGH), WORK[1]
    screen.open("/")
    screen.say(asked(fact))
    screen.say(f"不对，是{other(fact)}。")
    _keep(screen, folder / "5-chinese.png")
    screen.close()


def _ledger(browser: Browser, url: str, folder: Path) -> None:
    """What the ledger says of it."""
    screen = Screen(browser, url, width=WIDE, height=HIGH)
    for name, path in (("6-facts", "/facts"), ("7-edit", "/edits/3"), ("8-history", "/history")):
        screen.open(path)
        _keep(screen, folder / f"{name}.png")
    screen.close()


def _keep(screen: Screen, path: Path) -> None:
    picture = Image.open(io.BytesIO(screen.page.screenshot(full_page=True))).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
