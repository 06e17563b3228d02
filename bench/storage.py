"""Bytes on disk per edit, beside the checkpoint that a copy would take."""

from __future__ import annotations

from pathlib import Path

from bench.given import LARGE, synthetic, with_edits
from bench.live import edited
from bench.table import Row
from ledger.base import demo_folder

EDITS = 10


def measure(folder: Path) -> list[Row]:
    """One row for the embedded model, one for a matrix of the shape of a model of 7 billion."""
    small = _stored(folder / "small", "demo", edited())
    base = synthetic(folder / "base", LARGE)
    large = _stored(folder / "large", base, next(iter(LARGE.edited.items())))
    return [
        _row("embedded model", small, demo_folder()),
        _row(f"{LARGE.hidden} x {LARGE.inner}", large, base),
    ]


def _row(what: str, stored: float, base: Path) -> Row:
    copy = _size(base) / 1e3
    return Row("bytes", f"one edit, {what}", stored / 1e3, "kB", "the checkpoint", copy)


def _stored(folder: Path, base: Path | str, item: tuple[str, tuple[int, int]]) -> float:
    """Bytes that one of several edits adds to a ledger."""
    sizes = []
    for count in (0, EDITS):
        ledger = folder / str(count)
        with_edits(ledger, base, [dict([item])] * count).close()
        sizes.append(_size(ledger))
    return (sizes[1] - sizes[0]) / EDITS


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
