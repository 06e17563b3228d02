"""Reading the tables: one function per question, on any consistent state.

Promise: what comes out are records, never rows; nothing here writes; a question is put in the same
words to a snapshot and to a write in progress.

Rules: statements are literals with named parameters, never made from input; answers that can grow
long are paged by number; the last row of a tag counts.

    with database.read() as snapshot:
        last = last_entry(snapshot)
        facts = edits(snapshot, ids=(1, 2))
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Final, LiteralString, TypeVar

from ledger.errors import UnknownRevision
from ledger.fields import Record, loaded
from ledger.records import (
    BaseTensorRecord,
    BatchRecord,
    EditRecord,
    EntryRecord,
    MeasurementRecord,
    ModelRecord,
    PredictionRecord,
    StatsRecord,
)
from ledger.sqlite import Reading, Value

_PREFIX = re.compile(r"[0-9a-f]{4,64}")
_NUMBER = re.compile(r"#?([0-9]{1,9})")
# More than any table holds: the limit of an answer without one, the number beyond every other.
_ENDLESS: Final = 2**63 - 1
# By the column whose index narrows most; the others are compared where they are given.
_MEASURED: Final = MappingProxyType(
    {
        "edit_id": "SELECT * FROM measurement WHERE edit_id = :edit_id AND id > :after"
        " AND (:version IS NULL OR version = :version)"
        " AND (:entry_seq IS NULL OR entry_seq = :entry_seq)"
        " AND (:suite IS NULL OR suite = :suite) AND (:metric IS NULL OR metric = :metric)"
        " ORDER BY id LIMIT :most",
        "entry_seq": "SELECT * FROM measurement WHERE entry_seq = :entry_seq AND id > :after"
        " AND (:version IS NULL OR version = :version)"
        " AND (:suite IS NULL OR suite = :suite) AND (:metric IS NULL OR metric = :metric)"
        " ORDER BY id LIMIT :most",
        "version": "SELECT * FROM measurement WHERE version = :version AND id > :after"
        " AND (:suite IS NULL OR suite = :suite) AND (:metric IS NULL OR metric = :metric)"
        " ORDER BY id LIMIT :most",
        "id": "SELECT * FROM measurement WHERE id > :after"
        " AND (:suite IS NULL OR suite = :suite) AND (:metric IS NULL OR metric = :metric)"
        " ORDER BY id LIMIT :most",
    }
)
_HIGHEST: Final = MappingProxyType(
    {
        "model": "SELECT max(id) AS id FROM model",
        "batch": "SELECT max(id) AS id FROM batch",
        "edit": "SELECT max(id) AS id FROM edit",
        "measurement": "SELECT max(id) AS id FROM measurement",
        "prediction": "SELECT max(id) AS id FROM prediction",
        "tag": "SELECT max(id) AS id FROM tag",
        "stats": "SELECT max(id) AS id FROM stats",
        "release": 'SELECT max(id) AS id FROM "release"',
        "user": 'SELECT max(id) AS id FROM "user"',
    }
)
R = TypeVar("R", bound=Record)


def last_entry(reading: Reading) -> EntryRecord | None:
    """The newest entry."""
    found = _queried(reading, EntryRecord, "SELECT * FROM entry ORDER BY seq DESC LIMIT 1")
    return next(found, None)


def entries(
    reading: Reading, *, after: int = 0, limit: int | None = None, newest_first: bool = False
) -> tuple[EntryRecord, ...]:
    """Entries beyond `after`; with `newest_first`, from the head down (0: from the head itself)."""
    most = _ENDLESS if limit is None else limit
    if newest_first:
        backwards = "SELECT * FROM entry WHERE seq < :before ORDER BY seq DESC LIMIT :most"
        before = after or _ENDLESS
        return tuple(_queried(reading, EntryRecord, backwards, before=before, most=most))
    forwards = "SELECT * FROM entry WHERE seq > :after ORDER BY seq LIMIT :most"
    return tuple(_queried(reading, EntryRecord, forwards, after=after, most=most))


def entries_of_kind(
    reading: Reading, op: str, before: int | None = None, limit: int | None = None
) -> tuple[EntryRecord, ...]:
    """The entries of one kind below number `before`, newest first."""
    sql = "SELECT * FROM entry WHERE op = :op AND seq < :before ORDER BY seq DESC LIMIT :most"
    most = {"before": before or _ENDLESS, "most": _ENDLESS if limit is None else limit}
    return tuple(_queried(reading, EntryRecord, sql, op=op, **most))


def entry_of(reading: Reading, version: int) -> EntryRecord:
    """The entry that made `version`. Raises: UnknownRevision."""
    sql = "SELECT * FROM entry WHERE version = :version ORDER BY seq LIMIT 1"
    found = next(_queried(reading, EntryRecord, sql, version=version), None)
    if found is None:
        raise UnknownRevision(f"there is no version {version}.")
    return found


def edits(reading: Reading, ids: Iterable[int] | None = None) -> tuple[EditRecord, ...]:
    """The edits with these ids in this order, or all. Raises: UnknownRevision."""
    if ids is None:
        return tuple(_queried(reading, EditRecord, "SELECT * FROM edit ORDER BY id"))
    wanted = tuple(ids)
    sql = "SELECT * FROM edit WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(:keys))"
    found = {edit.id: edit for edit in _queried(reading, EditRecord, sql, keys=_keys(wanted))}
    if missing := [number for number in wanted if number not in found]:
        raise UnknownRevision(f"there is no edit {missing[0]}.")
    return tuple(found[number] for number in wanted)


def edit(reading: Reading, spec: int | str) -> EditRecord:
    """The edit with this number (`12`, `#12`) or unique hash prefix (four characters or more).

    Raises: UnknownRevision if none or several match.
    """
    name = str(spec).strip().lower()
    if number := _NUMBER.fullmatch(name):
        sql = "SELECT * FROM edit WHERE id = :id"
        for found in _queried(reading, EditRecord, sql, id=int(number[1])):
            return found
    return _edit_by_hash(reading, name)


def batches(reading: Reading, ids: Iterable[int]) -> dict[int, BatchRecord]:
    """Batches by id. Raises: UnknownRevision."""
    wanted = tuple(dict.fromkeys(ids))
    sql = "SELECT * FROM batch WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(:keys))"
    found = {batch.id: batch for batch in _queried(reading, BatchRecord, sql, keys=_keys(wanted))}
    if missing := [number for number in wanted if number not in found]:
        raise UnknownRevision(f"there is no batch {missing[0]}.")
    return found


def edits_of_batch(reading: Reading, batch_id: int) -> tuple[EditRecord, ...]:
    """All edits of one batch, by component."""
    sql = "SELECT * FROM edit WHERE batch_id = :batch ORDER BY component, id"
    return tuple(_queried(reading, EditRecord, sql, batch=batch_id))


def measurements(
    reading: Reading,
    *,
    version: int | None = None,
    edit_id: int | None = None,
    entry_seq: int | None = None,
    suite: str | None = None,
    metric: str | None = None,
    after: int = 0,
    limit: int | None = None,
) -> tuple[MeasurementRecord, ...]:
    """Measurements with id beyond `after` that match everything given, in order of recording."""
    columns = {"edit_id": edit_id, "entry_seq": entry_seq, "version": version}
    narrowest = next((name for name in columns if columns[name] is not None), "id")
    return tuple(
        _queried(
            reading,
            MeasurementRecord,
            _MEASURED[narrowest],
            **columns,
            suite=suite,
            metric=metric,
            after=after,
            most=_ENDLESS if limit is None else limit,
        )
    )


def tags(reading: Reading) -> dict[str, int]:
    """Tag name -> version, removed tags left out, by name."""
    found = reading.query("SELECT name, version FROM tag ORDER BY id")
    latest = {row["name"]: row["version"] for row in found}
    return {name: version for name, version in sorted(latest.items()) if version is not None}


def models(reading: Reading) -> tuple[ModelRecord, ...]:
    """All models, oldest first."""
    return tuple(_queried(reading, ModelRecord, "SELECT * FROM model ORDER BY id"))


def base_tensors(reading: Reading, model_id: int) -> dict[str, BaseTensorRecord]:
    """Parameter -> its untouched tensor."""
    sql = "SELECT * FROM base_tensor WHERE model_id = :model ORDER BY parameter"
    return {
        item.parameter: item for item in _queried(reading, BaseTensorRecord, sql, model=model_id)
    }


def oids(reading: Reading, among: Sequence[str] | None = None) -> set[str]:
    """Names of the recorded objects, or of those `among` them."""
    if among is None:
        return {row["oid"] for row in reading.query("SELECT oid FROM object")}
    sql = "SELECT oid FROM object WHERE oid IN (SELECT value FROM json_each(:keys))"
    return {row["oid"] for row in reading.query(sql, keys=_keys(among))}


def stats(
    reading: Reading, base_digest: str | None, parameter: str | None = None
) -> tuple[StatsRecord, ...]:
    """Statistics for a base or any (and parameter), newest first."""
    sql = (
        "SELECT * FROM stats WHERE (:base IS NULL OR base_digest = :base)"
        " AND (:parameter IS NULL OR parameter = :parameter) ORDER BY id DESC"
    )
    return tuple(_queried(reading, StatsRecord, sql, base=base_digest, parameter=parameter))


def predictions(
    reading: Reading, model_id: int, protocol: str, prompts: Sequence[str] | None = None
) -> dict[str, PredictionRecord]:
    """Prompt -> the unedited model's prediction, for the prompts that have one."""
    given: dict[str, Value] = {"model": model_id, "protocol": protocol}
    if prompts is None:
        every = "SELECT * FROM prediction WHERE model_id = :model AND protocol = :protocol"
        found = _queried(reading, PredictionRecord, every, **given)
    else:
        # The + keeps SQLite from going through all prompts of the protocol.
        some = (
            "SELECT * FROM prediction WHERE prompt IN (SELECT value FROM json_each(:keys))"
            " AND +model_id = :model AND protocol = :protocol"
        )
        found = _queried(reading, PredictionRecord, some, keys=_keys(prompts), **given)
    return {item.prompt: item for item in sorted(found, key=lambda item: item.id)}


def next_id(reading: Reading, name: str) -> int:
    """The number after the highest in a table."""
    return int(reading.query(_HIGHEST[name])[0]["id"] or 0) + 1


def _edit_by_hash(reading: Reading, prefix: str) -> EditRecord:
    if not _PREFIX.fullmatch(prefix):
        raise UnknownRevision(
            f"{prefix[:80]!r} names no edit; give its number or at least 4 digits of its hash."
        )
    # "g" comes after every digit that may follow.
    sql = "SELECT * FROM edit WHERE hash >= :first AND hash < :end ORDER BY id LIMIT 4"
    found = list(_queried(reading, EditRecord, sql, first=prefix, end=prefix + "g"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownRevision(f"no edit has a hash that begins with {prefix}.")
    raise UnknownRevision(
        f"{prefix} names more than one edit.", (f"#{edit.id} ({edit.hash[:12]})" for edit in found)
    )


def _keys(keys: Iterable[int | str]) -> str:
    """Any number of keys as one parameter, for `json_each`; PostgreSQL has its own word for it."""
    return json.dumps(list(keys))


def _queried(
    reading: Reading, cls: type[R], statement: LiteralString, /, **parameters: Value
) -> Iterator[R]:
    for row in reading.query(statement, **parameters):
        yield loaded(cls, row)
