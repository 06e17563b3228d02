"""History that was cut off is found by an entry that an export names."""

from __future__ import annotations

import json

import pytest

from ledger.errors import InvalidInput
from ledger.manifest import MANIFEST, SCHEMA, anchor_of


def _write(folder, **changes):
    manifest = {"schema": SCHEMA, "entry": {"seq": 7, "hash": "ab" * 32}} | changes
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return folder


def test_an_export_names_its_entry_as_a_folder_and_as_a_file(tmp_path):
    folder = _write(tmp_path)
    assert anchor_of(folder) == anchor_of(folder / MANIFEST) == (7, "ab" * 32)


@pytest.mark.parametrize("changes", [{"schema": "other/1"}, {"entry": None}, {"entry": {"seq": 1}}])
def test_what_is_no_manifest_is_refused(tmp_path, changes):
    with pytest.raises(InvalidInput, match=MANIFEST):
        anchor_of(_write(tmp_path, **changes))


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=MANIFEST):
        anchor_of(tmp_path)
