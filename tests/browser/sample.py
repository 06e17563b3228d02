"""A ledger of the embedded model with something on every page, and who may change it.

Promise: edits 1 (English), 2 (Chinese) and 3 (long texts) are active, 4 was refused by the gate,
5 was taken back; version 2 is the tag `kept`.

    fill(empty(folder, probes))
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ledger import EditRequest, Ledger
from ledger.demo import facts

RIGHT: Final = "correct horse"
FACTS: Final = facts()
BORN: Final = [fact for fact in FACTS if fact["relation"] == "birthplace"]
WORK: Final = [fact for fact in FACTS if fact["relation"] == "职业"]
VALUES: Final = {"en": ("Quenby", "Vantry"), "zh": ("律师", "画家")}
LONG: Final = "https://registry.example/" + "entry-of-the-town-hall/" * 4
MANY: Final = "A remark that goes on and on, as remarks of careful people do. " * 4


def asked(fact: dict[str, str]) -> str:
    """The question of a fact."""
    return fact["prompt"].replace("{}", fact["subject"])


def other(fact: dict[str, str]) -> str:
    """Another value than the true one."""
    values = VALUES["en" if fact["prompt"].isascii() else "zh"]
    return next(value for value in values if value != fact["target_true"])


def wish(fact: dict[str, str], **more: str) -> EditRequest:
    """The request that gives a fact another value."""
    return EditRequest(fact["subject"], fact["prompt"], other(fact), fact["target_true"], **more)


def empty(folder: Path, probes: Path | None = None) -> Path:
    """A ledger without an edit; `ed` and `ann` may edit, `red` may read."""
    with Ledger.init(folder, base="demo", probes=probes, author="ada") as ledger:
        ledger.stats()
        for name, role in (("ed", "editor"), ("ann", "editor"), ("red", "reader")):
            ledger.access.accounts.add(name, role, RIGHT, author="ada")
    return folder


def fill(folder: Path) -> Path:
    """Something for every page."""
    with Ledger.open(folder, author="ada") as ledger:
        ledger.edit(wish(BORN[0]), note="from the register")
        ledger.edit(wish(WORK[0]))
        ledger.tag("kept")
        ledger.edit(wish(BORN[1], source=LONG, valid_until="2030-12-31"), note=MANY)
        ledger.edit(wish(BORN[2]), overrides={"v_lr": 1e-6})
        ledger.edit(wish(BORN[2]))
        ledger.revert(["5"], note="it was true after all")
    return folder
