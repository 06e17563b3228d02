"""P10: whatever the machine refuses at whichever call of a verb, the ledger is sound and told so.

The k-th call to the disk or to SQLite fails, for k = 1, 2, ... until the verb gets through; once,
and from then on; with each error of the disk, with the memory at its end and with Ctrl-C.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from gc import collect, freeze, unfreeze
from pathlib import Path

import pytest

from cli.errors import describe
from ledger import Ledger
from tests.e2e.harness import rows
from tests.sim.faulty_calls import NAMES, STOPS, Faults
from tests.sim.faulty_fs import open_descriptors
from tests.sim.given import Given, quick_disk

pytestmark = pytest.mark.promise("P10")

Verb = Callable[[Given], object]


def edit(world: Given) -> object:
    return world.apply(5, facts=2)


def revert(world: Given) -> object:
    return world.ledger.revert(["2"], retest=False)


def gc(world: Given) -> object:
    return world.ledger.gc(grace_seconds=0)


def switch(world: Given) -> object:
    return world.ledger.switch("trial")


def export(world: Given) -> object:
    return world.ledger.export(world.folder.parent / "out")


def import_(world: Given) -> object:
    taken = world.folder.parent / "out"
    return Ledger.import_bundle(world.base.parent / "bundle", taken, author="ann")


QUICK: tuple[Verb, ...] = (edit, revert, switch, gc, export)
# The fast tier has every call with some fault, the nightly one every call with every fault; an
# import makes a schema of some hundred statements, so that it has every call with some fault there.
CASES = [
    *(pytest.param(verb, NAMES, False, id=f"{verb.__name__}-any") for verb in QUICK),
    *(
        pytest.param(verb, names, forever, id="-".join(words), marks=pytest.mark.slow)
        for forever, mode in ((False, "once"), (True, "from then on"))
        for verb, names in [*((v, (n,)) for v in QUICK for n in NAMES), (import_, NAMES)]
        if (words := (verb.__name__, names[0] if len(names) == 1 else "any", mode))
    ),
]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """Three batches, one of them on a branch; an object without a row; a bundle beside it."""
    place = tmp_path_factory.mktemp("faults")
    with quick_disk():
        world = Given.made(place)
        world.apply(1)
        world.ledger.branch("trial")
        world.apply(2, facts=2)
        world.apply(3, both=True)
        world.ledger.export(place / "bundle", form="bundle")
        world.ledger.store.put(b"garbage")
        world.ledger.close()
        yield world


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """With what is loaded by now set aside: only what a test leaves behind is looked for."""
    collect()
    freeze()
    with quick_disk():
        yield
    unfreeze()


@pytest.mark.parametrize(("verb", "names", "forever"), CASES)
def test_P10_a_verb_that_fails_at_any_call_leaves_a_sound_ledger(
    origin: Given, tmp_path: Path, verb: Verb, names: tuple[str, ...], forever: bool, figure
):
    collect()
    survived, descriptors = 0, open_descriptors()
    while survived < 500:
        name, place = names[survived % len(names)], tmp_path / str(survived)
        shutil.copytree(origin.folder, place / "ledger")
        before = rows(place / "ledger")
        with Faults(name).installed() as faults:
            world = Given(origin.base, place / "ledger")
            faults.arm(survived + 1, forever=forever)
            error = attempted(verb, world)
            fired = faults.fired
            faults.arm(0)
            world.ledger.close()
        if not fired:
            assert error is None
            break
        changed = rows(place / "ledger") != before
        told(error, name, changed)
        left_usable(Given(origin.base, place / "ledger"), verb, error, changed, cleaned=not forever)
        error = None  # it keeps the frames that it came through, and what they opened
        collect()
        assert open_descriptors() == descriptors
        shutil.rmtree(place)
        survived += 1
    assert 4 <= survived < 500
    figure("P10", "ledger: {} faults of disk, SQLite and memory, each told and survived", survived)


def attempted(verb: Verb, world: Given) -> BaseException | None:
    """What the verb raised; without its frames, which would keep files open."""
    try:
        verb(world)
    except (Exception, KeyboardInterrupt) as error:
        return error.with_traceback(None)
    return None


def told(error: BaseException | None, name: str, changed: bool) -> None:
    """The failure has a documented status and says nothing that is not so."""
    if error is None:
        return
    failure = describe(error)
    assert name not in STOPS or type(error) is STOPS[name]
    assert failure.exit == {"Busy": 5, "Interrupted": 130}.get(failure.code, 1), failure
    assert "unexpected" not in failure.message
    assert not changed or "nothing was" not in failure.message, failure


def left_usable(
    world: Given, verb: Verb, error: BaseException | None, changed: bool, cleaned: bool
) -> None:
    """It verifies, nothing lies about, and the verb gets through when it is repeated."""
    place = world.folder.parent
    world.check()
    if error is not None and cleaned:
        assert sorted(path.name for path in place.iterdir()) == ["ledger"]
        assert list(world.ledger.store.temps()) == []
    if error is not None and not changed:
        shutil.rmtree(place / "out", ignore_errors=True)
        verb(world)
        world.check()
    world.ledger.close()
