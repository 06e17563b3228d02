"""P13: whatever is done to a ledger in whatever order, every rule holds after every step.

A machine of hypothesis drives a real ledger of given deltas beside a model of forty lines: which
edits are active, in which order they were first applied. After each step the ledger verifies and
its head has the digests of the fold by hand. 20 lives of 30 steps in the fast tier, 400 of 60
nightly.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from ledger import Ledger, db, journal
from ledger.db import Database
from ledger.errors import StaleVersion
from store import atomic
from tests.sim.given import Given, quick_disk

pytestmark = pytest.mark.promise("P13")

SHM = Path("/dev/shm")
POINTS = (
    "tmp-open", "renamed", "dir-fsynced", "inserted-entry", "inserted-edit", "write-flushed",
    "write-committed",
)  # fmt: skip


class Model:
    """What must be true: each batch's edits in ledger order, and which of all are active."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []
        self.active: set[int] = set()
        self.versions: list[tuple[int, ...]] = [()]

    @property
    def edits(self) -> list[int]:
        return [edit for batch in self.batches for edit in batch]

    @property
    def resting(self) -> list[int]:
        return [edit for edit in self.edits if edit not in self.active]

    @property
    def state(self) -> tuple[int, ...]:
        return tuple(edit for edit in self.edits if edit in self.active)

    def changed(self, coming: Any = (), going: Any = ()) -> None:
        self.active = (self.active | set(coming)) - set(going)
        self.versions.append(self.state)

    def applied(self, facts: int) -> tuple[int, ...]:
        batch = tuple(range(len(self.edits) + 1, len(self.edits) + 1 + facts))
        self.batches.append(batch)
        self.changed(coming=batch)
        return batch


class Life(RuleBasedStateMachine):
    """One ledger, and everything that may happen to it; what only looks waits for a change."""

    origin: ClassVar[Given]
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(dir=SHM if SHM.is_dir() else None))
        self.model, self.seed = Model(), 0
        self.looked = self.moved = 1

    @initialize()
    def begin(self) -> None:
        folder = shutil.copytree(self.origin.folder, self.place / "l")
        self.world = Given(self.origin.base, folder)

    # --- changes ----------------------------------------------------------------------------------

    @rule(facts=st.integers(1, 3), both=st.booleans())
    def edit(self, facts: int, both: bool) -> None:
        self.seed += 1
        given = self.world.apply(self.seed, facts, both)
        assert given == self.model.applied(facts)

    @precondition(lambda self: self.model.active)
    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        """One fact or several: whole batches, and columns out of batches."""
        going = data.draw(st.lists(st.sampled_from(self.model.state), min_size=1, unique=True))
        self.world.ledger.revert([str(edit) for edit in going], retest=False)
        self.model.changed(going=going)

    @precondition(lambda self: self.model.resting)
    @rule(data=st.data())
    def reapply(self, data: st.DataObject) -> None:
        coming = data.draw(st.lists(st.sampled_from(self.model.resting), min_size=1, unique=True))
        self.world.ledger.reapply([str(edit) for edit in coming])
        self.model.changed(coming=coming)

    # --- looking ----------------------------------------------------------------------------------

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        version = data.draw(st.integers(0, len(self.model.versions) - 1))
        assert self.world.ledger.replay(f"v{version}").matches
        found = self.world.ledger.journal.history().active(version)
        assert found == self.model.versions[version]

    @precondition(lambda self: len(self.model.versions) > self.looked)
    @rule()
    def reopen(self) -> None:
        self.looked = len(self.model.versions)
        self.world.reopen()

    @precondition(lambda self: len(self.model.versions) > self.looked)
    @rule()
    def gc(self) -> None:
        self.looked = len(self.model.versions)
        orphan = self.world.ledger.store.put(b"garbage %d" % self.seed)
        assert orphan in self.world.ledger.gc(grace_seconds=0).objects

    @precondition(lambda self: len(self.model.versions) > self.moved + 3)
    @rule()
    def elsewhere(self) -> None:
        """Exported, imported, and the import is gone on with."""
        self.moved = len(self.model.versions)
        bundle, new = self.place / "bundle", self.place / f"l{self.steps}"
        self.world.ledger.export(bundle, form="bundle")
        self.world.ledger.close()
        with mock.patch.object(Database, "create", self.empty):
            Ledger.import_bundle(bundle, new, author="ann")
        shutil.rmtree(bundle)
        shutil.rmtree(self.world.folder)
        self.world = Given(self.world.base, new)

    def empty(self, place: Path) -> Database:
        """A new database, as a copy: making the schema statement by statement is not at stake."""
        shutil.copy(self.origin.folder.with_name("empty.db"), place)
        return Database.open(place)

    # --- what goes wrong --------------------------------------------------------------------------

    @rule()
    def second_writer(self) -> None:
        """Somebody else is faster: what was computed on the old head is refused."""
        mine, head = self.world.ledger.journal, self.world.ledger.journal.history().head
        other = Given(self.world.base, self.world.folder)
        self.seed += 1
        other.apply(self.seed)
        other.ledger.close()
        self.model.applied(1)
        with pytest.raises(StaleVersion):
            mine.append(
                "revert", expected_head=head, edits=(1,), weights_digest="0" * 64, tensors={}
            )

    @rule(point=st.sampled_from(POINTS), facts=st.integers(1, 2))
    def crash(self, point: str, facts: int) -> None:
        """Another process edits, and is killed on the way."""
        self.world.ledger.close()
        self.seed += 1
        pid = os.fork()
        if pid == 0:
            try:
                dying(self.world, self.seed, facts, point)
            finally:
                os._exit(3)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
        self.world.reopen()
        if point == "write-committed":
            self.model.applied(facts)

    # --- the rules of every step ------------------------------------------------------------------

    @invariant()
    def every_rule_holds(self) -> None:
        Life.steps += 1
        self.world.check()
        assert self.world.ledger.journal.history().active() == self.model.state
        assert self.world.ledger.journal.history().head == len(self.model.versions) - 1

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.ledger.close()
        shutil.rmtree(self.place)


def dying(world: Given, seed: int, facts: int, point: str) -> None:
    """Edit, and die at the named point."""

    def die(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    world.reopen()
    for module in (atomic, journal, db):
        module._point = die
    world.apply(seed, facts)


def lives(count: int, steps: int) -> settings:
    """No database of examples and a fixed seed: the same lives on every machine."""
    return settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """A ledger without edits, closed."""
    with quick_disk():
        world = Given.made(tmp_path_factory.mktemp("origin"))
        world.ledger.close()
        Database.create(world.folder.with_name("empty.db")).close()
        yield world


@pytest.mark.parametrize(
    ("count", "steps"), [(20, 30), pytest.param(400, 60, marks=pytest.mark.slow)]
)
def test_every_rule_holds_after_every_step_of_a_life(origin: Given, count: int, steps: int, figure):
    Life.origin, Life.steps = origin, 0
    run(Life, settings=lives(count, steps))
    assert Life.steps > count * steps / 4
    figure(
        "P13", f"{count:,} lives of up to {steps} steps, {Life.steps:,} steps in all, 0 failures"
    )
