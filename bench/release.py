"""Releases: weights of 2 GB beside copies of them, an adapter of 500 edits, what a push sends.

An export is durable when it returns, so the copy it is compared with is synced too; `cp -r`, which
is not, stands beside it. The push goes through the Hub's own client to the small Hub of the tests,
which takes a large file as a whole.
"""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

from bench.clock import in_turns
from bench.export import durable_copy
from bench.given import MANY, Growing, Shape, synthetic, update, with_edits
from bench.table import Row
from ledger import Ledger
from tests.e2e.hub import served
from tests.property.delta_ledger import apply
from tests.sim.hub_server import REPO

FOUR = Shape(5120, 13824, 3, 32000)  # four shards, 2 GB
SMALL = Shape(1024, 2816, 3, 8000)  # the same in little: the Hub of the tests lies in memory
PART = 500_000_000  # bytes of a shard that is cut anew
EDITS = 500
COPY = "copy and fsync"


def measure(folder: Path) -> list[Row]:
    """Exports in time, a push in bytes."""
    return [*_merged(folder / "four"), _adapter(folder / "many"), _push(folder / "hub")]


def _merged(folder: Path) -> list[Row]:
    base, target = synthetic(folder / "base", FOUR), folder / "out"
    one = dict([next(iter(FOUR.edited.items()))])
    with with_edits(folder / "ledger", base, [one]) as ledger:
        export, linked, cut, durable, copied = in_turns(
            [
                lambda: ledger.export(target),
                lambda: ledger.export(target, link=True),
                lambda: ledger.export(target, max_shard_bytes=PART),
                lambda: durable_copy(base, target),
                lambda: subprocess.run(["cp", "-r", base, target], check=True),
            ],
            repeats=3,
            tidy=lambda: shutil.rmtree(target),
        )
    size = sum(path.stat().st_size for path in base.iterdir()) / 1e9
    what = f"{size:.1f} GB in 4 shards, one tensor edited"
    shutil.rmtree(folder)
    return [
        Row("release", f"export, {what}", export, "s", COPY, durable, goal=1.3),
        Row("release", f"export, {what}", export, "s", "cp -r", copied),
        Row("release", f"export --link, {what}", linked, "s", COPY, durable, goal=0.3),
        Row("release", f"export --link, {what}", linked, "s", "cp -r", copied, goal=0.3),
        Row("release", f"export --max-shard-size 500MB, {what}", cut, "s", COPY, durable),
    ]


def _adapter(folder: Path) -> Row:
    """Many edits of one matrix, each with an object of its own; a new process each time."""
    base = synthetic(folder / "base", MANY)
    name, shape = next(iter(MANY.edited.items()))
    with with_edits(folder / "ledger", base, []) as ledger:
        growing = Growing(ledger, name)
        for seed in range(EDITS):
            growing.add(update(shape, seed))
        digest = ledger.status().weights_digest
    out = folder / "out"

    def exported(form: str) -> None:
        with Ledger.open(folder / "ledger") as opened:
            if opened.export(out, form=form).weights_digest != digest:
                raise RuntimeError(f"the {form} is of another version")

    adapter, merged = in_turns(
        [lambda: exported("adapter"), lambda: exported("merged")],
        repeats=3,
        tidy=lambda: shutil.rmtree(out),
    )
    shutil.rmtree(folder)
    what = f"export --form adapter, {EDITS} edits of one {shape[0]} x {shape[1]} matrix"
    return Row("release", what, adapter, "s", "merged export of them", merged, limit=2.0)


def _push(folder: Path) -> Row:
    """Bytes that go to the Hub for one edited tensor of a base that is there."""
    base = synthetic(folder / "base", SMALL)
    name, shape = next(iter(SMALL.edited.items()))
    with served(base, folder / "home") as hub, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # how the Hub's client uploads
        with Ledger.init(folder / "ledger", base=REPO, author="bench") as ledger:
            apply(ledger, {name: update(shape, 0)})
            hub.asked.clear()
            told = ledger.push("owner/out")
        sent = sum(asked.sent for asked in hub.asked)
    shards = len(list(base.glob("*.safetensors")))
    what = f"push, one tensor edited: {len(told.copied)} of {shards} shards copied by the Hub, sent"
    size = 2 * shape[0] * shape[1]
    return Row("release", what, sent / 1e6, "MB", "the tensor", size / 1e6)
