"""Lost and altered objects and damaged files are found; what a crash leaves is only mentioned."""

import shutil
import sqlite3

import pytest

from ledger.verify import verify_structure
from tests.sim.ledger_sample import Sample, error_codes, findings, full

pytestmark = pytest.mark.promise("P6")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A closed ledger with rows in every table."""
    folder = tmp_path_factory.mktemp("original")
    full(folder).close()
    return folder


@pytest.fixture
def copy(original, tmp_path):
    return shutil.copytree(original, tmp_path, dirs_exist_ok=True)


def one_object(folder):
    return sorted((folder / "objects").glob("*/*"))[0]


def test_a_lost_object_is_found(copy):
    folder = copy
    one_object(folder).unlink()
    assert error_codes(folder) == {"object.missing"}


def test_an_object_with_one_bit_changed_is_found(copy):
    folder = copy
    path = one_object(folder)
    path.chmod(0o644)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    assert error_codes(folder) == {"object.corrupt"}


def test_a_folder_in_place_of_an_object_is_found(copy):
    folder = copy
    path = one_object(folder)
    path.unlink()
    path.mkdir()
    assert error_codes(folder) == {"object.corrupt"}


def test_what_a_crash_leaves_behind_is_only_mentioned(original, tmp_path):
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    sample = Sample.open(tmp_path)
    orphan = sample.put(b"orphan").oid
    sample.close()
    (tmp_path / "tmp").mkdir(exist_ok=True)
    (sample.store.layout.tmp / "left").write_bytes(b"")
    found = {(item.severity, item.code, item.subject) for item in findings(tmp_path)}
    assert found == {("info", "object.garbage", orphan), ("info", "temp.garbage", "left")}


def test_a_damaged_page_is_a_finding_not_a_crash(original, tmp_path):
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    sample = Sample.open(tmp_path)
    page = sqlite3.connect(tmp_path / "ledger.db")
    (root,) = page.execute("SELECT rootpage FROM sqlite_master WHERE name = 'edit'").fetchone()
    page.close()
    with (tmp_path / "ledger.db").open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 512)
    found = verify_structure(sample.journal, sample.store)
    sample.close()
    assert {item.code for item in found} == {"database"}
