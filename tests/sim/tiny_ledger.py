"""A ledger on a tiny random model, with three facts that can be edited together.

ledger = tiny_ledger(tmp_path)
ledger.edit_batch(FACTS, method="columns", gate=None)
"""

from __future__ import annotations

from pathlib import Path

from editors.requests import EditRequest, Probe
from ledger import Ledger
from tests.contract.tiny import OTHER, REQUEST, TINY

FACTS = (
    EditRequest(
        **{**vars(REQUEST), "paraphrases": ("The birthplace of Ada Lovelace is",)},
    ),
    EditRequest(**{**vars(OTHER), "neighbourhood": (Probe("The capital of Poland is", "Warsaw"),)}),
    EditRequest("Alan Turing", "{} lived in", "Ulm", "Manchester"),
)
PROBES = "The capital of\nI think that\n"


def tiny_ledger(folder: Path, kind: str = "llama") -> Ledger:
    """A new ledger at `folder`/ledger on a model at `folder`/base."""
    base, probes = folder / "base", folder / "probes.txt"
    TINY[kind](base)
    probes.write_text(PROBES, "utf-8")
    return Ledger.init(folder / "ledger", base=str(base), probes=probes, author="ann")
