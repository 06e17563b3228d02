"""The folder of a run: its configuration, and its rows, one line each, durable when written.

Promise: what `append` returned from is on disk; after a kill at any instant the rows are those that
were acknowledged, and perhaps the last ones; they can be read while a run is under way.

Rules: `run.json` says what the run is, and a run of another configuration is refused with the
difference; each part of a run that is shared out (`--shard 2/4`) has a file of its own; a line that
does not end was never acknowledged and is cut off by the next run, ignored by readers.

    with RunFolder(Path("out")).opened(config, shard=(1, 1)) as rows:
        rows.append([row])                # Row(...)
    RunFolder(Path("out")).rows()
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ledger.errors import Conflict, IntegrityFailure, InvalidInput
from ledger.runs.config import differences
from store.atomic import write_file

SCHEMA: Final = "kel.run/1"
RETENTION: Final = "retention"
_NAME: Final = "run.json"
Key = tuple[str, str, str, str, int, str]


@dataclass(frozen=True)
class Row:
    """One record of one cell, by one family of metrics; or, of a sequence, all edits so far.

    place: where the record stands in the data set, from 0; of family `retention`, the number of
    edits that were made. outcome: `edited`, `known` (a sequence leaves out what the model says
    already), `refused` (by the method, with the reason), `unedited` (the method none), `retested`.
    metrics are those of the model with the edit, of a refused one without. seconds: what the
    method took for the record; None where nothing was computed.
    """

    model: str
    data: str
    method: str
    mode: str
    place: int
    family: str
    record: str
    outcome: str
    metrics: Mapping[str, float]
    layers: tuple[int, ...] = ()
    reason: str = ""
    seconds: float | None = None

    @property
    def key(self) -> Key:
        """What makes it this row and no other."""
        return (self.model, self.data, self.method, self.mode, self.place, self.family)


@dataclass
class Rows:
    """The rows of one part of a run, open for more."""

    path: Path
    known: set[Key] = field(default_factory=set)

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows durably, all or none of them acknowledged. Raises: OSError."""
        lines = "".join(f"{_line(row)}\n" for row in rows)
        with self.path.open("ab") as file:
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
        self.known.update(row.key for row in rows)


class RunFolder:
    """Where a run is kept."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    @contextlib.contextmanager
    def opened(
        self, config: Mapping[str, Any], shard: tuple[int, int], wanted: int
    ) -> Iterator[Rows]:
        """The rows of one part, for a run of `config` that has `wanted` in all; made if need be.

        Raises: Conflict if the folder holds another run or another process is at this part.
        """
        self._create(config, wanted)
        with self.locked(f"part-{shard[0]}of{shard[1]}"):
            rows = Rows(self.root / _file(shard))
            _begin(rows.path)
            rows.known.update(row.key for row in self.rows())
            yield rows

    @contextlib.contextmanager
    def locked(self, name: str, *, wait: bool = False) -> Iterator[None]:
        """Keep other processes of this machine out of the block. Raises: Conflict if one is in."""
        path = self.root / f".{name}.lock"
        with path.open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise Conflict(
                    f"another process is at {self.root} ({name}): wait for it, or give each its "
                    "part with --shard i/n"
                ) from error
            yield

    def _create(self, config: Mapping[str, Any], wanted: int) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"cannot make {self.root}: {error.strerror or error}") from error
        with self.locked("run", wait=True):
            if not (self.root / _NAME).exists():
                body = {"schema": SCHEMA, "config": config, "rows": wanted}
                text = json.dumps(body, indent=1, sort_keys=True)
                write_file(self.root / _NAME, f"{text}\n".encode())
        changed = differences(self.config(), json.loads(json.dumps(config)))
        if changed:
            raise Conflict(
                f"{self.root} holds a run of another configuration ({'; '.join(changed[:5])}): "
                "run it as it was, or give another --out"
            )

    def config(self) -> dict[str, Any]:
        """The configuration of the run here. Raises: InvalidInput, IntegrityFailure."""
        return dict(self._body()["config"])

    def wanted(self) -> int:
        """How many rows the whole run has. Raises: as `config`."""
        return int(self._body()["rows"])

    def _body(self) -> dict[str, Any]:
        path = self.root / _NAME
        try:
            body = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise InvalidInput(f"{self.root} holds no run (kel bench run --out DIR)") from error
        except (OSError, ValueError) as error:
            raise IntegrityFailure(f"cannot read {path}: {error}") from error
        if not isinstance(body, dict) or body.get("schema") != SCHEMA:
            raise IntegrityFailure(f"{path} is not of schema {SCHEMA}")
        return body

    def rows(self) -> list[Row]:
        """All rows of all parts. Raises: IntegrityFailure for a line that is no row."""
        return [row for path in sorted(self.root.glob("rows*.jsonl")) for row in _read(path)]


def gathered(folders: Iterable[Path]) -> tuple[dict[str, Any], list[Row]]:
    """One run from folders that hold parts of it: its configuration, and its rows in order.

    Raises: Conflict for folders of different runs, InvalidInput, IntegrityFailure.
    """
    found = [RunFolder(folder) for folder in folders]
    config = found[0].config()
    for other in found[1:]:
        changed = differences(config, other.config())
        if changed:
            raise Conflict(
                f"{found[0].root} and {other.root} hold different runs ({'; '.join(changed[:5])}): "
                "show them one by one"
            )
    rows = {row.key: row for folder in found for row in folder.rows()}
    return config, [rows[key] for key in sorted(rows, key=_order(config))]


def _order(config: Mapping[str, Any]) -> Any:
    """The order of the configuration, whatever the order in which rows were made."""
    kinds = ("models", "data", "modes", "methods")
    names = {
        kind: [spec if isinstance(spec, str) else spec["name"] for spec in config[kind]]
        for kind in kinds
    }

    def place(key: Key) -> tuple[Any, ...]:
        model, data, method, mode, number, family = key
        columns = zip(kinds, (model, data, mode, method), strict=True)
        return (*(names[kind].index(name) for kind, name in columns), number, family)

    return place


def _file(shard: tuple[int, int]) -> str:
    return "rows.jsonl" if shard == (1, 1) else f"rows-{shard[0]}of{shard[1]}.jsonl"


def _line(row: Row) -> str:
    return json.dumps(asdict(row), ensure_ascii=False, allow_nan=False)


def _begin(path: Path) -> None:
    """Make the file, or take away a last line that a kill cut short: the next row begins a line."""
    if not path.exists():
        write_file(path, b"")
        return
    whole = path.read_bytes().rpartition(b"\n")
    with path.open("r+b") as file:
        file.truncate(len(whole[0]) + len(whole[1]))
        os.fsync(file.fileno())


def _read(path: Path) -> Iterator[Row]:
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            values = json.loads(line)
            yield Row(**{**values, "layers": tuple(values["layers"])})
        except (ValueError, TypeError, KeyError) as error:
            raise IntegrityFailure(f"{path}, line {number} is no row: {error}") from error
