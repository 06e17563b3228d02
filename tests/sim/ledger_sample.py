"""Small ledgers for tests: no torch, the delta is a few bytes.

sample = Sample.create(tmp_path)
entry = sample.apply("Rome")
sample.revert(1)
"""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from ledger.chain import weights_digest
from ledger.db import Database
from ledger.journal import Journal
from ledger.layout import LedgerFolder
from ledger.records import (
    BaseTensorRecord,
    BatchRecord,
    EditRecord,
    EntryRecord,
    MeasurementRecord,
    ModelRecord,
    ObjectRecord,
    PredictionRecord,
    ReleaseRecord,
    Rows,
    StatsRecord,
    TagRecord,
    UserRecord,
    new_edit,
)
from ledger.verify import Finding, verify_structure
from store.objects import ObjectStore
from tests.sim.places import copied

BASE = hashlib.sha256(b"base").hexdigest()
MODEL = ModelRecord(
    base_id="org/tiny",
    revision="0" * 40,
    path="models/tiny",
    dtype="F32",
    device="cpu",
    model_type="gpt2",
    base_digest=BASE,
    config={"files": {"model.safetensors": [BASE, 123]}, "seed": 0},
)


# Gives the address of a new database on a server; None: a file.
Places = Callable[..., str] | None


@dataclass(frozen=True)
class Sample:
    """A ledger in a folder, with what is needed to write to it."""

    folder: Path
    database: Database
    store: ObjectStore
    journal: Journal

    @classmethod
    def create(cls, folder: Path, new_place: Places = None) -> Self:
        folder.mkdir(exist_ok=True)
        if new_place is not None:
            LedgerFolder(folder).address.write_text(new_place())
        Database.create(LedgerFolder(folder).database).close()
        sample = cls.open(folder)
        tensors = (tensor("h.0.w"),)
        rows = Rows(model=MODEL, base_tensors=tensors)
        sample.journal.append(
            "init", rows=rows, weights_digest=weights_digest(BASE, {}), tensors={}
        )
        return sample

    @classmethod
    def open(cls, folder: Path, **options: Any) -> Self:
        database = Database.open(LedgerFolder(folder).database, **options)
        store = ObjectStore(folder)
        return cls(folder, database, store, Journal(database, store))

    @classmethod
    def copied(cls, template: Path, folder: Path) -> Self:
        """A copy of a closed ledger, open."""
        return cls.open(copied(template, folder))

    def put(self, data: bytes, kind: str = "delta") -> ObjectRecord:
        return ObjectRecord(oid=self.store.put(data), kind=kind, size=len(data))

    def apply(self, *subjects: str, head: int | None = None, **extra: Any) -> EntryRecord:
        history = self.journal.history()
        head = history.head if head is None else head
        rows = self.batch(*subjects, **extra)
        active = (*history.active(), *subjects)
        return self.journal.append("apply", expected_head=head, rows=rows, **weights(active))

    def batch(self, *subjects: str, **extra: Any) -> Rows:
        thing = self.put("|".join(("delta", *subjects)).encode())
        batch = BatchRecord(
            oid=thing.oid, method="rome", layers=[0], hparams={"lr": 0.5}, seed=-3, author="ann"
        )
        edits = tuple(fact(subject, place) for place, subject in enumerate(subjects))
        return Rows(objects=(thing,), batch=batch, edits=edits, **extra)

    def change(self, op: str, *edits: int) -> EntryRecord:
        history = self.journal.history()
        digests = weights((*history.active(), op))
        return self.journal.append(op, expected_head=history.head, edits=edits, **digests)

    def close(self) -> None:
        self.database.close()


def database_of(url: str) -> str:
    """The name of the database in an address."""
    return urlsplit(url).path[1:]


def fact(subject: str, component: int = 0) -> EditRecord:
    return EditRecord(
        component=component,
        subject=subject,
        prompt="{} lies in",
        target_new="France",
        target_true="Italy",
        probes={"paraphrase": [f"where is {subject}?"]},
        language="en",
    )


def tensor(name: str, sha256: str = BASE) -> BaseTensorRecord:
    return BaseTensorRecord(
        parameter=name, checkpoint_key=name, dtype="F32", shape=(2, 3), sha256=sha256
    )


def measurement(value: float = 0.5, **fields: Any) -> MeasurementRecord:
    return MeasurementRecord(
        suite="edit", metric="efficacy", value=value, protocol="p1", detail={"n": 1}, **fields
    )


def weights(active: tuple[object, ...]) -> dict[str, Any]:
    value = hashlib.sha256(repr(active).encode()).hexdigest()
    return {"weights_digest": value, "tensors": {"h.0.w": value}}


def full(folder: Path, new_place: Places = None) -> Sample:
    """A ledger with two rows or more in every table that can have them."""
    sample = Sample.create(folder, new_place)
    sample.apply("Rome", measurements=(measurement(edit_id=new_edit(0)), measurement(0.25)))
    sample.apply("Oslo", "Lima", base_tensors=(tensor("h.1.w"),))
    sample.change("revert", 1)
    sample.change("reapply", 1)
    sample.journal.append("reject", rows=sample.batch("Bern", measurements=(measurement(0.0),)))
    append = sample.journal.append
    append("tag", rows=Rows(tags=(TagRecord(name="v-one", version=1),)))
    moment, factor = sample.put(b"moment", "moment"), sample.put(b"factor", "factor")
    again = sample.put(b"moment 2", "moment")
    append("stats", rows=Rows(objects=(moment, factor, again), stats=stats(moment, factor, again)))
    append("test", rows=Rows(predictions=(prediction("a"), prediction("b"))))
    append("release", rows=Rows(releases=(release(1), release(2))))
    append("user", rows=Rows(users=(user("ann"), user("bob"))), author="ann", note="welcome")
    append("tag", rows=Rows(tags=(TagRecord(name="v-one"), TagRecord(name="v-two", version=4))))
    return sample


def stats(
    moment: ObjectRecord, factor: ObjectRecord, again: ObjectRecord
) -> tuple[StatsRecord, StatsRecord]:
    common = {"base_digest": BASE, "corpus": "wiki", "corpus_sha256": BASE, "count": 2**40}
    return (
        StatsRecord(
            parameter="h.0.w", moment_oid=moment.oid, factor_oid=factor.oid, jitter=1e-3, **common
        ),
        StatsRecord(parameter="h.1.w", moment_oid=again.oid, **common),
    )


def prediction(prompt: str, answer: str = "yes") -> PredictionRecord:
    return PredictionRecord(protocol="p1", prompt=prompt, answer=answer, payload={"logit": 1.5})


def release(version: int) -> ReleaseRecord:
    return ReleaseRecord(
        version=version, form="adapter", target="org/out", manifest={"files": []}, merkle_root=BASE
    )


def user(name: str) -> UserRecord:
    return UserRecord(name=name, role="editor", password_hash="scrypt$secret")


def forged(path: Path, target: Path) -> sqlite3.Connection:
    """A copy of a closed database that nothing guards any more."""
    shutil.copy(path, target)
    connection = sqlite3.connect(target, isolation_level=None)
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("PRAGMA synchronous=OFF")
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    names = [name for (name,) in connection.execute(query)]
    connection.execute("BEGIN")
    for name in names:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("COMMIT")
    return connection


def select_all(connection: sqlite3.Connection, name: str) -> list[dict[str, Any]]:
    """All rows of a table with their rowid."""
    cursor = connection.execute(f'SELECT rowid AS rowid, * FROM "{name}" ORDER BY rowid')
    names = [item[0] for item in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def findings(folder: Path, **options: Any) -> list[Finding]:
    """What verification finds in the ledger of a folder."""
    sample = Sample.open(folder)
    found = verify_structure(sample.journal, sample.store, **options)
    sample.close()
    return found


def error_codes(folder: Path, **options: Any) -> set[str]:
    """Codes of the errors only."""
    return {item.code for item in findings(folder, **options) if item.severity == "error"}
