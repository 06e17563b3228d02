"""The ledger itself: what it costs with many edits beside few, and on a server beside a file.

Rules: `KEL_EDITS` is the size of the large ledger (10,000 by default; 100,000 takes ten minutes to
make); an append is one journal entry with its rows, durable when it returns, on weights that are
known; both sides of a row run in turns. Rows about PostgreSQL are left out where no server is
installed. `KEL_LEDGERS` is a folder in which the large ledger is kept for the next time.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from bench.clock import in_turns
from bench.ledgers import again, made, pico
from bench.startup import RUN
from bench.table import Row
from ledger import Ledger
from ledger.errors import StaleVersion
from store.objects import ObjectStore
from tests.sim.postgres_server import programs, serving

FEW, EDITS = 100, int(os.environ.get("KEL_EDITS", "10000"))
OBJECTS, OBJECT_BYTES = 10_000, 32_768
WRITERS, EACH = 8, 10


def measure(folder: Path) -> list[Row]:
    """All rows; the large ledger first."""
    base = pico(folder / "base")
    large, few = _large(folder), made(folder / "few", FEW, base=base)
    empty = made(folder / "empty", 0, base=base)
    rows = [
        *_commands(empty, few, large),
        _appends(few, large),
        _verified(folder / "objects"),
    ]
    if programs() is not None:
        with serving(folder / "pg") as server:
            rows += _server(folder, base, server.new_database)
    return rows


def _large(folder: Path) -> Path:
    """A copy of the large ledger, which may have been made before."""
    kept = Path(os.environ.get("KEL_LEDGERS", folder)) / f"ledger-{EDITS}"
    if not kept.exists():
        made(kept, EDITS, base=pico(kept.with_name(f"base-{EDITS}")))
    return Path(shutil.copytree(kept, folder / "large"))


def _commands(empty: Path, few: Path, large: Path) -> list[Row]:
    """Commands on the large ledger; `log -n 20` beside an empty one, the others beside a small."""
    found = []
    for words, peer, name, goal in (
        (["log", "-n", "20"], empty, "the same, empty ledger", 1.3),
        (["show", "40"], few, f"the same, {FEW} edits", None),
        (["--version"], few, f"the same, {FEW} edits", None),
        (["status"], few, f"the same, {FEW} edits", None),
        (["diff", "HEAD~5", "HEAD"], few, f"the same, {FEW} edits", None),
        (["facts", "--search", "Person 7 "], few, f"the same, {FEW} edits", None),
    ):
        ours, theirs = in_turns([partial(_kel, place, words) for place in (large, peer)], repeats=7)
        limit = 1000.0 if words[0] in ("log", "show") else None
        what = f"kel {' '.join(words)}, {EDITS:,} edits"
        found.append(
            Row("ledger", what, ours * 1e3, "ms", name, theirs * 1e3, goal=goal, limit=limit)
        )
    return found


def _kel(ledger: Path, words: list[str]) -> None:
    command = [sys.executable, "-c", RUN, "--ledger", str(ledger), *words]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stderr.decode()}")


def _appends(few: Path, large: Path) -> Row:
    """One more edit; each side grows by what is measured."""
    with Ledger.open(large) as big, Ledger.open(few) as small:
        ours, theirs = in_turns([again(big), again(small)], repeats=200)
    what, peer = f"append at edit {EDITS:,}", f"append at edit {FEW}"
    return Row("ledger", what, ours * 1e3, "ms", peer, theirs * 1e3, goal=1.5)


def _verified(folder: Path) -> Row:
    """Reading and checking many objects as verify does, beside sha256 of their bytes in memory."""
    store, source = ObjectStore(folder), random.Random(1)
    data = [source.randbytes(OBJECT_BYTES) for _ in range(OBJECTS)]
    oids = sorted(_written(store, each) for each in data)

    def read() -> None:
        with store.opened() as get:
            for oid in oids:
                get(oid)

    def hashed() -> None:
        for each in data:
            hashlib.sha256(each).hexdigest()

    ours, theirs = in_turns([read, hashed], repeats=5)
    what = f"verify {OBJECTS:,} objects of 32 KB"
    return Row("ledger", what, ours, "s", "sha256 of their bytes", theirs, goal=2.0, limit=30.0)


def _written(store: ObjectStore, data: bytes) -> str:
    """In its place without waiting for the disk, which is not measured here."""
    oid = hashlib.sha256(data).hexdigest()
    path = store.path(oid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return oid


def _server(folder: Path, base: Path, address: Callable[[], str]) -> list[Row]:
    """The same on PostgreSQL, beside SQLite."""
    places = []
    for name, url in (("server", address()), ("file", None)):
        places.append(made(folder / name, FEW, base=base, database=url))
    with Ledger.open(places[0]) as server, Ledger.open(places[1]) as file:
        appended = in_turns([again(server), again(file)], repeats=50)
        read = in_turns([partial(_read, server), partial(_read, file)], repeats=50)
    written = in_turns([partial(_crowd, place) for place in places], repeats=3)
    return [
        Row("ledger", f"{what}, PostgreSQL", ours * 1e3, "ms", "SQLite", theirs * 1e3)
        for what, (ours, theirs) in (
            ("append", appended),
            ("read 20 entries with their facts", read),
            (f"{WRITERS} writers, {EACH} appends each", written),
        )
    ]


def _read(ledger: Ledger) -> None:
    ledger.log(20)


def _crowd(folder: Path) -> None:
    """Threads that append to one ledger, each with connections of its own."""
    with ThreadPoolExecutor(WRITERS) as pool:
        for done in [pool.submit(_writer, folder) for _ in range(WRITERS)]:
            done.result()


def _writer(folder: Path) -> None:
    """Its appends; when another one was first, it tries again."""
    with Ledger.open(folder) as ledger:
        append, left = again(ledger), EACH
        while left:
            with suppress(StaleVersion):
                append()
                left -= 1
