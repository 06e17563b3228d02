"""Which database the ledgers of a run are kept in, and which tests run on which.

    python -m pytest                                     # SQLite; what is of both, on both
    KEL_TEST_DATABASE=postgresql python -m pytest        # ledgers on a server, wherever one is made

In the first run every test has its ledgers in files, but those that are of both kinds by
themselves (the fixture `new_place`). In the second run every ledger that is made (by `init`, a
rebase or an import) has its tables in a new database of one server, without the tests knowing it;
only the files named in PUSH and NIGHTLY are collected, without what FILES_ONLY names.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest

from ledger.address import is_server
from ledger.db import Database
from ledger.layout import DATABASE, LedgerFolder
from tests.sim.ledger_sample import Places
from tests.sim.places import EMPTY, database_like
from tests.sim.postgres_server import Server, programs, serving

TESTS = Path(__file__).parent
VARIABLE, SERVER = "KEL_TEST_DATABASE", "postgresql"
KINDS = ("sqlite", SERVER)

# Files with ledgers that are on a server by every push: commands, pages and verbs that ask it.
PUSH = (
    *("e2e/test_access.py", "e2e/test_branches.py", "e2e/test_bundle.py"),
    *("e2e/test_ledger_api.py", "e2e/test_life.py", "e2e/test_web.py", "e2e/test_web_pages.py"),
    *("security/test_web_doors.py", "unit/test_branching.py", "unit/test_doctor.py"),
    *("unit/test_facts.py", "unit/test_rebase.py", "unit/test_validity.py"),
)
# Files, and tests of those above, that are there by night: what they do is mostly not asking it.
NIGHTLY = (
    *("e2e/test_ageing.py", "e2e/test_web_audit.py", "security/test_passwords.py"),
    *("e2e/test_adapter.py", "e2e/test_audit_reading.py", "e2e/test_bad_objects.py"),
    "e2e/test_chat.py",
    *("e2e/test_disturbance.py", "e2e/test_hub_release.py", "e2e/test_interrupt.py"),
    *("e2e/test_replay_elsewhere.py", "e2e/test_retests.py", "e2e/test_stats.py"),
    *("e2e/test_verify_release.py", "e2e/test_web_api.py", "e2e/test_web_faults.py"),
    *("browser/test_browser.py", "property/test_fold_edges.py", "property/test_live_exact.py"),
    *("property/test_metamorphic.py", "property/test_revert_exact.py"),
    *("security/test_paths.py", "security/test_text_is_text.py", "security/test_token.py"),
    *("security/test_web_text.py", "unit/test_auditing.py", "unit/test_batch_reverts.py"),
    *("unit/test_batches.py", "unit/test_bisect.py", "unit/test_interference.py"),
    *("unit/test_placing.py", "unit/test_resolve_active.py", "unit/test_versions.py"),
    "e2e/test_two_writers.py",
    "e2e/test_bundle.py::test_P21_mutations_are_refused",
    "e2e/test_access.py::test_a_thousand_guesses_are_five_looks",
    "e2e/test_bundle.py::test_the_mutation_test_can_fail",
    "e2e/test_life.py::test_an_export_is_the_base_but_for_the_edited_tensors",
    "security/test_web_doors.py::test_only_this_site_acts_on_any_route",
    "unit/test_doctor.py::test_what_cannot_be_imported_is_told_and_not_met",
    "unit/test_rebase.py::test_a_method_for_all_takes_as_many_facts_as_it_is_told",
    "unit/test_rebase.py::test_an_interrupted_rebase_goes_on_where_it_was",
    "unit/test_rebase.py::test_the_new_ledger_travels_as_a_bundle",
    "unit/test_rebase.py::test_a_kept_batch_can_be_solved_again_with_the_moments_it_was_made_with",
    "unit/test_rebase.py::test_a_resolved_batch_goes_back_to_the_batches_that_stated_it",
    "unit/test_rebase.py::test_facts_that_do_not_hold_in_the_end_are_lost",
    "unit/test_rebase.py::test_what_the_new_base_states_is_left_to_it",
)
# Of SQLite by nature: a file, or a test of one, and why.
FILES_ONLY = {
    "security/test_token.py::test_what_is_written_of_a_secret_is_for_nobody_else": (
        "the rights of the file"
    ),
    "security/test_web_text.py::test_150_texts_of_sql_do_nothing_in_any_field": (
        "compares the schema of the file"
    ),
    "e2e/test_bad_objects.py::test_a_file_that_is_no_database_is_refused_as_it_is": "the file",
    "unit/test_doctor.py::test_a_damaged_database_is_a_problem": "the file is damaged",
    "unit/test_validity.py::test_an_older_ledger_verifies_unchanged_and_takes_dated_facts": (
        "a file of an older schema, which is upgraded when it is opened"
    ),
}


def database_kind() -> str:
    """Of the databases of this run. Raises: UsageError for one that is not known."""
    found = os.environ.get(VARIABLE, KINDS[0])
    if found not in KINDS:
        raise pytest.UsageError(f"{VARIABLE} is {found!r}: give {' or '.join(KINDS)}")
    return found


def on_server() -> bool:
    """Whether this run keeps its ledgers on a server."""
    return database_kind() == SERVER


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """On a server, only the files that make ledgers."""
    wanted = collection_path.suffix != ".py" or _relative(collection_path) in {*PUSH, *NIGHTLY}
    return None if wanted or not on_server() else True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a server, without what is of SQLite by nature."""
    if not on_server():
        return
    left, kept = [], []
    for item in items:
        file = _relative(item.path)
        names = {file, f"{file}::{getattr(item, 'originalname', item.name)}"}
        (left if names & FILES_ONLY.keys() else kept).append(item)
        if names & set(NIGHTLY):
            item.add_marker(pytest.mark.nightly)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


def _relative(path: Path) -> str:
    return path.relative_to(TESTS).as_posix() if path.is_relative_to(TESTS) else str(path)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server, started by the first test that asks."""
    if programs() is None:
        pytest.skip("NO POSTGRESQL: install the server's programs (initdb) to run these tests")
    # Not under pytest's folder: the path of a socket may have 107 bytes. In memory if there is
    # such a place, because a server has some thousand files to write and to remove.
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    with serving(place / f"kelpg-{uuid4().hex[:12]}") as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def new_place(request: pytest.FixtureRequest) -> Places:
    """Says where the database of a new ledger lies: `new_place()`; None: in a file."""
    return None if request.param == "sqlite" else request.getfixturevalue("server").new_database


@pytest.fixture(scope="session", autouse=True)
def _kept(request: pytest.FixtureRequest) -> Iterator[Server | None]:
    """Every ledger that is made has its tables in a new database of the server."""
    if not on_server():
        yield None
        return
    server: Server = request.getfixturevalue("server")
    create = Database.create
    server.execute(f"CREATE DATABASE {EMPTY}")
    empty = server.url(EMPTY)
    create(empty).close()

    def made(_cls: type[Database], place: str | Path, **options: Any) -> Database:
        if is_server(place) or Path(place).name != DATABASE:
            return create(place, **options)
        folder, url = LedgerFolder(Path(place).parent), database_like(empty)
        database = create(url, **options)
        folder.address.write_text(f"{url}\n", "utf-8")
        return database

    with mock.patch.object(Database, "create", classmethod(made)):
        yield server


@pytest.fixture(autouse=True)
def _dropped(_kept: Server | None) -> Iterator[None]:
    """On a server, what a test made there goes with it; its module's and session's stays."""
    before = _kept.databases() if _kept else set()
    yield
    if _kept:
        _kept.drop(_kept.databases() - before)
