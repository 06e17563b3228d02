"""The procedures of docs/operations.md that need a server; the others: test_procedures.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.harness import FACT, QUICK, Kel, picture
from tests.sim.postgres_server import Server


def test_a_team_edits_takes_back_and_verifies_on_a_server(
    bare: Kel, server: Server, tiny_base: Path, probes: Path, tmp_path: Path
):
    url, folder = server.new_database(), tmp_path / "team"
    made = ("--base", str(tiny_base), "--probes", str(probes), "--db", url)
    assert bare("init", str(folder), *made).status == 0
    assert (folder / "ledger.url").read_text("utf-8") == f"{url}\n"
    assert not (folder / "ledger.db").exists()
    kel = Kel(folder)
    base = kel.json("status")["weights_digest"]
    assert kel.json("edit", *FACT, *QUICK, "--no-gate")["version"] == 1
    edited = kel.json("status")["weights_digest"]
    assert kel("revert", "1").status == 0
    assert kel.json("status")["weights_digest"] == base
    assert kel("undo").status == 0
    assert kel.json("status")["weights_digest"] == edited
    assert kel.json("replay")["matches"]
    assert kel.json("facts")["facts"][0]["object"] == "Paris"
    assert kel.json("verify", "--weights")["findings"] == []
    assert kel("export", str(tmp_path / "bundle"), "--form", "bundle").status == 0
    imported = bare("import", str(tmp_path / "bundle"), str(tmp_path / "again"))
    assert imported.status == 0, imported.err
    assert Kel(tmp_path / "again").json("status")["weights_digest"] == edited


def test_a_ledger_moves_to_a_server_and_back(kel: Kel, server: Server, ledger: Path):
    before = kel.json("log")["entries"]
    url = server.new_database()
    assert kel("db", "copy", str(ledger / "ledger.db"), url).status == 0
    assert kel("db", "attach", url, str(ledger)).status == 0
    assert (ledger / "ledger.db.before-attach").exists()
    assert kel.json("db", "current")["place"] == url
    assert kel.json("log")["entries"] == before
    assert kel("tag", "there").status == 0
    assert kel.json("db", "check")["ok"]
    assert kel("db", "copy", url, str(ledger / "ledger.db")).status == 0
    (ledger / "ledger.url").unlink()
    assert kel.json("tag")["tags"]["there"] == kel.json("status")["version"]
    assert kel.json("verify")["ok"]


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (("init", "new", "--base", "demo", "--db", "postgresql://a:pw@h/d"), 2, "PGPASSWORD"),
        (("init", "new", "--base", "demo", "--db", "oracle://h/d"), 2, "postgresql://"),
        (("db", "copy", "nothing.db", "new.db"), 2, "nothing.db"),
        (("db", "attach", "postgresql://localhost:1/d", "new"), 1, "cannot reach"),
        (("db", "attach", "nowhere.db", "new"), 2, "postgresql://"),
    ],
)
def test_what_is_no_database_is_refused_in_one_line(
    bare: Kel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], status: int,
    says: str,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = picture(tmp_path)
    line = bare.refused(status, *argv, says=[says])
    assert ":pw" not in line
    assert picture(tmp_path) == before
