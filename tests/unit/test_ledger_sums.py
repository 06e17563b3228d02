"""Folders of sums: kept whole, continued, merged exactly, refused when they do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from editors.covariance import Check, Sums
from ledger.errors import Conflict, IntegrityFailure, InvalidInput
from ledger.sums import SumsFolder, Task, merged
from store.errors import ObjectError

NAMES = ("h.0.w", "h.3.w")
TASK = Task("a" * 64, NAMES, "corpus.txt", "b" * 64, 900)
LAYERS = {"h.0.w": 0, "h.3.w": 3}


def sums(seed: int, *, checked: bool = False) -> Sums:
    random = torch.Generator().manual_seed(seed)
    made = Sums((0, 3), count=100 + seed, texts=7)
    for layer in made.layers:
        keys = torch.randn(20, 6, generator=random, dtype=torch.float64)
        made.totals[layer] = keys.T @ keys
        if checked:
            made.directions[layer] = torch.randn(6, 2, generator=random, dtype=torch.float64)
    if checked:
        made.checks = (Check(50, {0: None, 3: None}), Check(100, {0: 0.5, 3: 1 / 3}))
    return made


@pytest.mark.parametrize("checked", [True, False])
def test_sums_come_back_bit_for_bit(tmp_path: Path, checked: bool) -> None:
    folder, kept = SumsFolder(tmp_path / "sums"), sums(1, checked=checked)
    assert folder.continued(TASK, (0, 3)) is None
    folder.keep(TASK, sums(0))
    folder.keep(TASK, kept)
    found = folder.continued(TASK, (0, 3))
    assert found is not None
    assert (found.count, found.texts, found.checks) == (101, 7, kept.checks)
    assert found.directions.keys() == kept.directions.keys()
    for layer in (0, 3):
        assert torch.equal(found.totals[layer], kept.totals[layer])
        if checked:
            assert torch.equal(found.directions[layer], kept.directions[layer])
    assert len(list((tmp_path / "sums" / "objects").glob("*/*"))) == 2  # those of seed 0 are gone
    folder.remove()
    assert not (tmp_path / "sums").exists()


def test_sums_of_another_task_are_not_continued(tmp_path: Path) -> None:
    folder = SumsFolder(tmp_path)
    folder.keep(TASK, sums(0))
    for other in (
        replace(TASK, base="c" * 64),
        replace(TASK, tokens=901),
        replace(TASK, corpus_sha256="d" * 64),
        replace(TASK, part=2, parts=2),
        replace(TASK, parameters=("h.0.w", "h.4.w")),
    ):
        with pytest.raises(Conflict, match="something else"):
            folder.continued(other, (0, 3))


def test_damage_is_refused(tmp_path: Path) -> None:
    folder, index = SumsFolder(tmp_path), tmp_path / "sums.json"
    folder.keep(TASK, sums(0))
    good = index.read_text("utf-8")
    for bad in ("", "[]", "{}", good.replace("kel.sums/1", "kel.sums/2"), good[:-9]):
        index.write_text(bad, "utf-8")
        with pytest.raises(IntegrityFailure, match="remove the folder"):
            folder.continued(TASK, (0, 3))
    index.write_text(good, "utf-8")
    oid = json.loads(good)["objects"][1]
    path = tmp_path / "objects" / oid[:2] / oid[2:]
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(ObjectError):
        folder.continued(TASK, (0, 3))


def parts(root: Path, count: int, *, done: bool = True) -> list[Path]:
    for number in range(1, count + 1):
        task = replace(TASK, part=number, parts=count, tokens=300 + number % 2)
        SumsFolder(root / str(number)).keep(task, sums(number), done=done)
    return [root / str(number) for number in range(1, count + 1)]


def test_parts_are_merged_exactly_whatever_the_order_they_are_given_in(tmp_path: Path) -> None:
    folders = parts(tmp_path, 3)
    for given in (folders, folders[::-1]):
        task, found = merged(given, LAYERS.__getitem__)
        assert task == replace(TASK, tokens=902)
        assert (found.count, found.texts) == (306, 21)
        for layer in (0, 3):
            one, two, three = (sums(number).totals[layer] for number in (1, 2, 3))
            assert torch.equal(found.totals[layer], (one + two) + three)


def test_parts_that_do_not_make_a_whole_are_refused(tmp_path: Path) -> None:
    folders = parts(tmp_path / "a", 3)
    for given, why in (
        ([], "no parts"),
        (folders[:2], "were given: 1, 2"),
        ([*folders, folders[0]], "were given: 1, 1, 2, 3"),
        ([*folders[:2], *parts(tmp_path / "b", 2)[:1]], "not of one measurement"),
        ([tmp_path / "nothing"], "holds no sums"),
        (parts(tmp_path / "c", 1, done=False), "cut short"),
    ):
        with pytest.raises(InvalidInput, match=why):
            merged(given, LAYERS.__getitem__)
