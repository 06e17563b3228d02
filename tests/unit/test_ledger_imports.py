"""Reading commands start at once: they import neither the model libraries nor the database ones."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ledger
from ledger.layout import LedgerFolder
from ledger.opened import OpenedLedger
from ledger.records import BatchRecord, Rows, TagRecord
from store.tensors import encode
from tests.sim.ledger_sample import Sample, fact, measurement, weights

ROOT = Path(ledger.__file__).parents[1]
HEAVY = {"torch", "transformers", "sqlalchemy", "sqlmodel", "alembic", "numpy", "pydantic", "tqdm"}
READING = (
    *(["log"], ["log", "--oneline"], ["status"], ["show", "1"], ["diff", "base", "HEAD"], ["tag"]),
    ["--help"],
)
DELTA = {
    "h.0.w.u": np.ones((4, 2), np.float32),
    "h.0.w.v": np.ones((2, 3), np.float32),
    "h.0.w.key": np.ones((3, 1), np.float32),
    "h.1.w.dense": np.ones((4, 3), np.float32),
}
RUN = """
import json, sys
from cli.main import main
status = main(sys.argv[1:])
names = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(names), file=sys.stderr)
sys.exit(status)
"""


def applied(sample, data):
    """One edit whose delta is the object `data`."""
    thing = sample.put(data)
    rows = Rows(
        objects=(thing,),
        batch=BatchRecord(oid=thing.oid, method="rome", layers=[0]),
        edits=(fact("Rome"),),
        measurements=(measurement(edit_id=-1),),
    )
    sample.journal.append("apply", expected_head=0, rows=rows, **weights((1,)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A ledger with two edits, one taken out again, and a tag."""
    folder = tmp_path_factory.mktemp("ledger")
    sample = Sample.create(folder)
    applied(sample, encode(DELTA, {"schema": "kel.delta/1"}))
    sample.apply("Oslo")
    sample.change("revert", 2)
    sample.journal.append("tag", rows=Rows(tags=(TagRecord(name="good", version=1),)))
    sample.close()
    return folder


def imported(*arguments):
    """What a fresh interpreter has imported after `kel` ran with these arguments."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_reading_command_imports_no_library_of_models_or_databases(folder, command):
    assert imported("--ledger", str(folder), *command) & HEAVY == set()


def test_a_command_that_writes_imports_what_it_needs(folder, tmp_path):
    """The question above can be answered with yes."""
    Sample.create(tmp_path).close()
    names = imported("--ledger", str(tmp_path), "tag", "start", "base")
    assert names & HEAVY == {"sqlalchemy", "sqlmodel", "pydantic"}


def test_checking_the_history_imports_no_library_of_databases(folder):
    code = (
        "import sys; from pathlib import Path; from ledger.opened import OpenedLedger; "
        "from ledger.verify import verify_structure; "
        f"ledger = OpenedLedger.open(Path({str(folder)!r})); "
        "assert verify_structure(ledger.journal, ledger.store) == []; "
        f"sys.exit(not {HEAVY!r}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_reading_leaves_the_folder_as_it_was(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    for command in READING:
        imported("--ledger", str(folder), *command)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after == before


def opened(folder):
    return OpenedLedger(LedgerFolder(folder))


def test_an_edit_is_shown_with_the_rank_and_the_parameters_of_its_delta(folder):
    with opened(folder) as reading:
        delta = reading.show("1").delta
    assert (delta["rank"], delta["parameters"]) == (2, ["h.0.w", "h.1.w"])
    assert "error" not in delta


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"short",
            b"\xff" * 64,
            b"\x08" + bytes(7) + b"[1,2,3] ",
            b"\x02" + bytes(7) + b"{}x",
        ),
        b"\x10" + bytes(7) + b'{"a.u":{"b":1} }',
        b"\x19" + bytes(7) + b'{"a.u":{"shape":[1]}}    ',
        b"\x1a" + bytes(7) + b'{"a.u":{"shape":[1,null]}}',
        b"\x40" + bytes(7) + b"[" * 64,
    ],
)
def test_an_edit_whose_delta_has_no_readable_header_is_shown_without_it(tmp_path, data):
    sample = Sample.create(tmp_path)
    applied(sample, data)
    sample.close()
    with opened(tmp_path) as reading:
        shown = reading.show("1")
    assert shown.fact["subject"] == "Rome"
    assert (shown.delta["rank"], shown.delta["parameters"]) == (None, [])
    assert ("error" in shown.delta) is (data[8:10] != b"{}")


def test_an_edit_whose_delta_is_lost_or_altered_is_shown_with_the_reason(tmp_path):
    sample = Sample.create(tmp_path)
    applied(sample, encode(DELTA))
    sample.close()
    with opened(tmp_path) as reading:
        path = Path(reading.show("1").delta["path"])
        path.chmod(0o600)
        path.write_bytes(path.read_bytes() + b"x")
        altered = reading.show("1").delta
        path.unlink()
        lost = reading.show("1").delta
    assert "sha256" in altered["error"]
    assert altered["rank"] is lost["rank"] is None
    assert altered["error"] != lost["error"]
