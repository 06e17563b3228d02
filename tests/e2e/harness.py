"""What the end-to-end tests share: commands run in this process, and pictures of a ledger.

Promise: `refused` proves a failure whole: one line on standard error, nothing on standard output,
the status, and every byte of the ledger as it was.

kel = Kel(ledger)
kel("status", "--json").body["version"]
kel.refused(2, "show", "99", says=["edit 99"])
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cli
from cli.main import main
from tests.sim.places import address, copied, rows  # noqa: F401

ROOT = Path(cli.__file__).parents[1]
# Two steps on a tiny model of random weights: quick, and any outcome will do.
QUICK = (
    *("--layer", "0", "--set", "second_moment=identity"),
    *("--set", "v_num_grad_steps=2", "--set", "max_update_ratio=10000"),
)
SETTINGS: dict[str, Any] = {
    "layer": 0,
    "overrides": {"second_moment": "identity", "v_num_grad_steps": 2, "max_update_ratio": 10000},
}
FACT = ("--subject", "Alan Turing", "--prompt", "{} lived in", "--target", "Paris")


@dataclass(frozen=True)
class Result:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def body(self) -> dict[str, Any]:
        """The document on standard output."""
        document: dict[str, Any] = json.loads(self.out)
        return document


class Kel:
    """Runs commands on one ledger."""

    def __init__(self, place: Path | None = None) -> None:
        self.place = place

    def __call__(self, *argv: str) -> Result:
        named = ("--ledger", str(self.place)) if self.place else ()
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([*named, *argv])
        return Result(status, out.getvalue(), err.getvalue())

    def json(self, *argv: str) -> dict[str, Any]:
        """The document of a command that must succeed."""
        result = self(*argv, "--json")
        assert result.status == 0, result
        return result.body

    def refused(self, status: int, *argv: str, says: Iterable[str] = ()) -> str:
        """Run a command that must fail and change nothing; returns its message."""
        before = picture(self.place) if self.place else None
        result = self(*argv)
        assert (result.status, result.out) == (status, ""), result
        (line,) = result.err.splitlines()
        assert line.startswith("kel: ")
        assert "unexpected" not in line
        assert [word for word in says if word not in line] == [], line
        assert before is None or picture(self.place) == before
        return line


def picture(folder: Path | None) -> dict[str, str]:
    """The sha256 of every file of a closed ledger, and of its rows on a server.

    What can be made again (`cache`) is left out.
    """
    assert folder is not None
    there = {} if address(folder) is None else {"rows": _hashed("".join(rows(folder)).encode())}
    return there | {
        str(path.relative_to(folder)): _hashed(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "cache" not in path.parts and not path.name.endswith(("-wal", "-shm"))
    }


def _hashed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def objects(folder: Path) -> dict[str, bytes]:
    """Every object by name."""
    return {path.name: path.read_bytes() for path in sorted((folder / "objects").glob("*/*"))}


def write_lines(path: Path, records: Iterable[object]) -> Path:
    """A JSONL file; a text is written as it is."""
    texts = (r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records)
    path.write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return path


def refolded(place: Path | None, version: int) -> str:
    """The weights digest of a version, by a process that knows the formats only."""
    return subprocess.run(
        [sys.executable, "-m", "tests.e2e.refold", str(place), str(version)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    ).stdout.strip()  # fmt: skip


def check_export(base: Path, target: Path, touched: set[str]) -> None:
    """Byte for byte the base outside of `touched`; loads as any model does."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    for path in base.glob("*.safetensors"):
        assert outside(path, touched) == outside(target / path.name, touched)
        assert path.read_bytes() != (target / path.name).read_bytes() or not touched & names(path)
    shards = sorted(path.name for path in base.glob("model*"))
    assert sorted(path.name for path in target.glob("model*")) == shards
    state = AutoModelForCausalLM.from_pretrained(target, dtype="auto").state_dict()
    for path in target.glob("*.safetensors"):
        written, old = load_file(path), load_file(base / path.name)
        for name in touched & names(path):
            assert not written[name].equal(old[name])
            assert state[name].equal(written[name])


def names(path: Path) -> set[str]:
    """The tensors of a file."""
    return set(header(path.read_bytes()))


def outside(path: Path, touched: set[str]) -> bytes:
    """A weight file with some tensors blanked."""
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    for name in touched & set(header(data)):
        first, last = header(data)[name]["data_offsets"]
        data[start + first : start + last] = bytes(last - first)
    return bytes(data)


def header(data: bytes | bytearray) -> dict[str, Any]:
    """Name -> dtype, shape and offsets."""
    entries = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return {name: entry for name, entry in entries.items() if name != "__metadata__"}
