"""Whole lives of a ledger: a machine of hypothesis drives a real one beside a model of it.

Promise: after each step the ledger verifies, its history is that of the model, its head has the
digests of a fold by hand, and each object holds what was given, to the bit.

Rules: the model knows from the numbers of the steps what every edit adds and never asks the ledger
for it; what is stored is compared with that once for each new object, and again after a move.

with quick_disk():
    lived(Home.made(folder), count=50, steps=30, number=1, figure=figure)
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run
from safetensors.numpy import load
from safetensors.torch import load_file

from ledger import Ledger, db, journal, moving, postgres
from ledger.db import Database
from ledger.errors import StaleVersion
from ledger.layout import LedgerFolder
from store import atomic
from tests.property import fold_by_hand as hand
from tests.property.life_model import Batch, Model
from tests.sim.given import Given, drawn
from tests.sim.ledger_sample import database_of
from tests.sim.places import copied
from tests.sim.postgres_server import Server

WEIGHTS, SHM = "model.safetensors", Path("/dev/shm")
POINTS = (
    "tmp-open", "renamed", "dir-fsynced", "inserted-entry", "inserted-edit", "write-flushed",
    "write-committed",
)  # fmt: skip


@dataclass(frozen=True)
class Home:
    """Where lives begin: a closed ledger without edits, and databases without entries."""

    base: Path
    digest: str
    ledger: Path
    file: Path
    server: Server | None
    address: str = ""

    @classmethod
    def made(cls, place: Path, server: Server | None = None) -> Home:
        world = Given.made(place, None if server is None else server.new_database())
        digest = world.ledger.journal.model().base_digest
        world.ledger.close()
        file, address = place / "empty.db", "" if server is None else server.new_database()
        for empty in (file, address) if server else (file,):
            Database.create(empty).close()
        return cls(world.base, digest, world.folder, file, server, address)

    def begun(self, folder: Path) -> Given:
        """A new ledger without edits."""
        return Given(self.base, copied(self.ledger, folder))

    def empty(self, place: Path) -> Database:
        """A new database, as a copy: making the schema statement by statement is not at stake."""
        shutil.copy(self.file, place)
        return Database.open(place)

    def moved_in(self, folder: Path) -> None:
        """A ledger that was imported into a file goes to the server, if there is one."""
        if self.server is not None:
            url = self.server.new_database(like=database_of(self.address))
            moving.copy(LedgerFolder(folder).file, url)
            moving.attach(folder, url)

    def removed(self, folder: Path) -> None:
        """A closed ledger is no more."""
        if self.server is not None:
            self.server.drop([database_of(str(LedgerFolder(folder).database))])
        shutil.rmtree(folder)


class Life(RuleBasedStateMachine):
    """One ledger, and everything that may happen to it; crashes and moves wait for changes."""

    home: ClassVar[Home]
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(dir=SHM if SHM.is_dir() else None))
        bits = {n: hand.bits_of(t) for n, t in load_file(self.home.base / WEIGHTS).items()}
        self.model, self.seed, self.compared = Model(bits), 0, 0
        self.moved, self.died = 1, 0

    @initialize()
    def begin(self) -> None:
        self.world = self.home.begun(self.place / "l")

    def next(self) -> int:
        self.seed += 1
        return self.seed

    # --- changes ----------------------------------------------------------------------------------

    @rule(facts=st.integers(1, 3), both=st.booleans())
    def edit(self, facts: int, both: bool) -> None:
        given = self.world.apply(self.next(), facts, both)
        assert given == self.model.applied(drawn(self.seed, facts, both), facts)

    @precondition(lambda self: self.model.active)
    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        """One fact or several: whole batches, and columns out of batches."""
        edits = st.sampled_from(self.model.head.active)
        going = data.draw(st.lists(edits, min_size=1, unique=True))
        self.world.ledger.revert([str(edit) for edit in going], retest=False)
        self.model.changed(going=going)

    @precondition(lambda self: self.model.resting)
    @rule(data=st.data())
    def reapply(self, data: st.DataObject) -> None:
        edits = st.sampled_from(self.model.resting)
        coming = data.draw(st.lists(edits, min_size=1, unique=True))
        self.world.ledger.reapply([str(edit) for edit in coming])
        self.model.changed(coming=coming)

    # --- looking ----------------------------------------------------------------------------------

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        version = data.draw(st.integers(0, len(self.model.versions) - 1))
        wanted, found = self.model.versions[version], self.world.ledger.replay(f"v{version}")
        assert found.matches
        assert dict(found.tensors) == wanted.tensors
        assert self.world.ledger.journal.history().active(version) == wanted.active

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @rule()
    def gc(self) -> None:
        orphan = self.world.ledger.store.put(b"garbage %d" % self.seed)
        assert orphan in self.world.ledger.gc(grace_seconds=0).objects

    @precondition(lambda self: len(self.model.versions) > self.moved + 3)
    @rule()
    def elsewhere(self) -> None:
        """Exported, imported, and the import is gone on with."""
        self.moved, self.compared = len(self.model.versions), 0
        bundle, new = self.place / "bundle", self.place / f"l{self.moved}"
        before = self.world.ledger.journal.last_entry()
        self.world.ledger.export(bundle, form="bundle")
        self.world.ledger.close()
        with mock.patch.object(Database, "create", self.home.empty):
            Ledger.import_bundle(bundle, new, author="ann")
        shutil.rmtree(bundle)
        self.home.removed(self.world.folder)
        self.home.moved_in(new)
        self.world = Given(self.world.base, new)
        assert self.world.ledger.journal.last_entry() == before

    # --- what goes wrong --------------------------------------------------------------------------

    @rule()
    def second_writer(self) -> None:
        """Somebody else is faster: what was computed on the old head is refused."""
        mine, head = self.world.ledger.journal, self.world.ledger.journal.history().head
        other = Given(self.world.base, self.world.folder)
        other.apply(self.next())
        other.ledger.close()
        self.model.applied(drawn(self.seed, 1, False), 1)
        with pytest.raises(StaleVersion):
            mine.append(
                "revert", expected_head=head, edits=(1,), weights_digest="0" * 64, tensors={}
            )

    @precondition(lambda self: len(self.model.versions) > self.died)
    @rule(point=st.sampled_from(POINTS), facts=st.integers(1, 2))
    def crash(self, point: str, facts: int) -> None:
        """Another process edits, and is killed on the way."""
        self.died = len(self.model.versions)
        self.world.ledger.close()
        self.model.applied(drawn(self.next(), facts, False), facts)
        if (pid := os.fork()) == 0:
            try:
                self.die_at(point, facts)
            finally:
                os._exit(3)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
        self.world.reopen()
        if point != "write-committed":
            self.model.taken_back()

    def die_at(self, point: str, facts: int) -> None:
        """Edit, and die at the named point; the weights that are recorded are the model's."""
        gc.disable()  # else it would copy the memory of the process that it was forked from

        def die(name: str) -> None:
            if name == point:
                os.kill(os.getpid(), signal.SIGKILL)

        self.world.reopen()
        for module in (atomic, journal, db, postgres):
            module._point = die
        self.world.apply(self.seed, facts, tensors=self.model.head.tensors)

    # --- the rules of every step ------------------------------------------------------------------

    @invariant()
    def every_rule_holds(self) -> None:
        Life.steps += 1
        self.world.sound()
        journal, head = self.world.ledger.journal, self.model.head
        history, last = journal.history(), journal.last_entry()
        assert (history.active(), history.head) == (head.active, len(self.model.versions) - 1)
        assert dict(last.tensors) == head.tensors
        named = {"base": self.home.digest, "tensors": head.tensors}
        text = json.dumps(named, sort_keys=True, separators=(",", ":"))
        assert last.weights_digest == hashlib.sha256(text.encode()).hexdigest()
        for number in range(self.compared + 1, len(self.model.batches) + 1):
            self.stored(number, self.model.batches[number - 1])
        self.compared = len(self.model.batches)

    def stored(self, number: int, batch: Batch) -> None:
        """Its object holds what was given, to the bit, for a reader that is not the program."""
        ledger = self.world.ledger
        rows = ledger.journal.edits_of_batch(number)
        assert tuple(row.id for row in rows) == batch.edits
        found = load(ledger.store.get(str(ledger.journal.batch(number).oid)))
        wanted = {f"{name}.u": change.u.numpy() for name, change in batch.given.items()}
        wanted |= {f"{name}.v": change.v.numpy() for name, change in batch.given.items()}
        assert found.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name].view(np.uint32), array.view(np.uint32))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.ledger.close()
            self.home.removed(self.world.folder)
        shutil.rmtree(self.place)


def lived(home: Home, count: int, steps: int, number: int, figure: Callable[..., None]) -> None:
    """Live some lives, the same on every machine for the same number, and tell of them."""
    Life.home, Life.steps = home, 0
    seed(number)(Life)
    run(
        Life,
        settings=settings(
            max_examples=count,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
        _min_steps=steps - 1,  # else some lives end after a few
    )
    assert Life.steps >= count * steps  # those that came to a dead end are not among the count
    kind = "SQLite" if home.server is None else "PostgreSQL"
    figure("P13", f"{kind}: {{}} lives of {steps} steps, every rule held after each", count)
    figure("P13", f"{kind}: {{}} steps in all", Life.steps)
