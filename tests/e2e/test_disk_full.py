"""A full disk: exit 1, told in one line, nothing recorded; the same command works afterwards."""

from __future__ import annotations

import contextlib
import errno
import functools
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from cli.errors import describe
from ledger import Ledger, export
from ledger.errors import LedgerError
from store.errors import StoreWriteError
from tests.contract.tiny import OTHER, TEXTS
from tests.e2e.harness import FACT, QUICK, SETTINGS, Kel, objects, rows
from tests.sim.faulty_fs import FaultyFs

pytestmark = pytest.mark.promise("P10")

FULL = OSError(errno.ENOSPC, "No space left on device")


def edit(ledger: Ledger, _: Path) -> None:
    ledger.edit(OTHER, gate=None, **SETTINGS)


def stats(ledger: Ledger, folder: Path) -> None:
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(TEXTS * 20), "utf-8")
    ledger.stats([1], corpus=corpus, tokens=400)


@pytest.mark.parametrize("verb", [edit, stats])
@pytest.mark.parametrize("mode", ["once", "forever"])
def test_a_store_that_is_full_at_any_call_records_nothing(
    ledger: Path, tmp_path: Path, verb: Any, mode: str
):
    """The k-th effect on the disk fails, for every k, until none is left to fail."""
    with Ledger.open(ledger) as opened:
        before, kept = rows(ledger), objects(ledger)
        for at in range(1, 100):
            opened.store.fs = FaultyFs(at, FULL, mode)
            with contextlib.suppress(StoreWriteError):
                verb(opened, tmp_path)
            if not opened.store.fs.fired:
                break
            assert rows(ledger) == before
            assert objects(ledger).items() >= kept.items()
            assert {f.severity for f in opened.verify()} <= {"info"}
        assert at > 8
        assert rows(ledger) != before
        assert {f.severity for f in opened.verify()} <= {"info"}


def test_the_failure_is_told_in_one_line(ledger: Path, tmp_path: Path):
    with Ledger.open(ledger) as opened:
        opened.store.fs = FaultyFs(3, FULL, "forever")
        with pytest.raises(StoreWriteError) as caught:
            edit(opened, tmp_path)
    failure = describe(caught.value)
    assert failure.exit == 1
    assert "the disk is full; nothing was changed, repeat" in failure.message
    assert str(ledger) in failure.message


@pytest.mark.parametrize("mode", ["once", "forever"])
def test_an_export_onto_a_full_disk_leaves_no_folder(
    ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
):
    before, target = rows(ledger), tmp_path / "place" / "out"
    target.parent.mkdir()
    with Ledger.open(ledger) as opened:
        for at in range(1, 200):
            fs = FaultyFs(at, FULL, mode)
            rewrite = functools.partial(REWRITE, fs=fs)
            monkeypatch.setattr(export, "rewrite", rewrite)
            if not attempted(opened, target):
                break
            if mode == "once":
                assert list(target.parent.iterdir()) == []
            elif target.exists():  # whole, and the disk does not let it be taken back
                assert fs.calls[-3:] == ["fsync_dir", "rename", "rmdir"]
                shutil.rmtree(target)
    assert at > 15
    assert target.is_dir()
    assert rows(ledger) == before


REWRITE = export.rewrite


def attempted(ledger: Ledger, target: Path) -> bool:
    """Whether the export failed as it should."""
    try:
        ledger.export(target)
    except StoreWriteError as error:
        return error.errno == errno.ENOSPC and "the disk is full" in str(error)
    return False


def test_a_database_that_cannot_grow_records_nothing(ledger: Path):
    def limited(connection: Any, _: Any) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    with Ledger.open(ledger) as opened:
        engine = opened.journal.database.engine
        event.listen(engine, "connect", limited)
        engine.dispose()
        before = rows(ledger)
        with pytest.raises(
            LedgerError, match=r"disk of .* is full; nothing was recorded"
        ) as caught:
            opened.edit(OTHER, gate=None, note="x" * 9000, **SETTINGS)
        assert describe(caught.value).exit == 1
        assert rows(ledger) == before
        event.remove(engine, "connect", limited)
        engine.dispose()
        assert opened.edit(OTHER, gate=None, note="x" * 9000, **SETTINGS).outcome == "applied"
        assert {f.severity for f in opened.verify()} <= {"info"}


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses to let a file grow beyond `size`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("size", "says"), [(0, "disk I/O error"), (40_000, "File too large")])
def test_a_kernel_that_refuses_to_write_is_1_and_records_nothing(
    kel: Kel, ledger: Path, tmp_path: Path, size: int, says: str
):
    before = rows(ledger)
    target = tmp_path / "out"
    edit = ("edit", *FACT, *QUICK, "--no-gate", "-m", "x" * 9000)
    for argv in (edit, ("export", str(target))):
        with files_of_at_most(size):
            result = kel(*argv)
        assert (result.status, result.out, len(result.err.splitlines())) == (1, "", 1)
        assert "unexpected" not in result.err
        assert rows(ledger) == before
    assert says in result.err
    assert not target.exists()
    assert kel("verify").status == 0
    kel.json("edit", *FACT, *QUICK, "--no-gate", "-m", "again")
