"""Reading the tables: one function per question, each on an open session.

Promise: what comes out are records, never row objects; nothing here writes.

Rules: statements are built from the tables, never from text; answers that can grow long are paged
by number; the last row of a tag counts.

    with database.read() as session:
        last = last_entry(session)
        facts = edits(session, ids=(1, 2))
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Select, and_, func, select
from sqlmodel import Session

from ledger.errors import IntegrityFailure, UnknownRevision
from ledger.fields import Record, loaded
from ledger.history import Change
from ledger.models import table
from ledger.records import (
    BaseTensorRecord,
    BatchRecord,
    EditRecord,
    EntryRecord,
    MeasurementRecord,
    ModelRecord,
    ObjectRecord,
    PredictionRecord,
    StatsRecord,
)

_PREFIX = re.compile(r"[0-9a-f]{4,64}")
_NUMBER = re.compile(r"#?([0-9]{1,9})")
# SQLite takes a bounded number of parameters in one statement.
_CHUNK = 500
R = TypeVar("R", bound=Record)


def last_entry(session: Session) -> EntryRecord | None:
    """The newest entry."""
    t = table("entry")
    return next(_records(session, EntryRecord, select(t).order_by(t.c.seq.desc()).limit(1)), None)


def changes(session: Session, after: int = 0) -> list[Change]:
    """Number, version, operation and edits of the entries after `after`."""
    t = table("entry")
    query = select(t.c.seq, t.c.version, t.c.op, t.c.edits).where(t.c.seq > after)
    light = _all(session, query.order_by(t.c.seq))
    return [Change(row["seq"], row["version"], row["op"], _ids(row["edits"])) for row in light]


def rejected(session: Session) -> tuple[int, ...]:
    """Ids of the edits that a gate refused, in order."""
    t = table("entry")
    query = select(t.c.edits).where(t.c.op == "reject").order_by(t.c.seq)
    return tuple(edit for row in _all(session, query) for edit in _ids(row["edits"]))


def entries(
    session: Session, *, after: int = 0, limit: int | None = None, newest_first: bool = False
) -> tuple[EntryRecord, ...]:
    """Entries beyond `after`; with `newest_first`, from the head down (0: from the head itself)."""
    t = table("entry")
    query = select(t).limit(limit)
    if not newest_first:
        query = query.where(t.c.seq > after).order_by(t.c.seq)
    elif after:
        query = query.where(t.c.seq < after).order_by(t.c.seq.desc())
    else:
        query = query.order_by(t.c.seq.desc())
    return tuple(_records(session, EntryRecord, query))


def entry_of(session: Session, version: int) -> EntryRecord:
    """The entry that made `version`. Raises: UnknownRevision."""
    t = table("entry")
    query = select(t).where(t.c.version == version).order_by(t.c.seq).limit(1)
    found = next(_records(session, EntryRecord, query), None)
    if found is None:
        raise UnknownRevision(f"there is no version {version}.")
    return found


def edits(session: Session, ids: Iterable[int] | None = None) -> tuple[EditRecord, ...]:
    """The edits with these ids in this order, or all. Raises: UnknownRevision."""
    t = table("edit")
    if ids is None:
        return tuple(_records(session, EditRecord, select(t).order_by(t.c.id)))
    wanted = tuple(ids)
    found = {edit.id: edit for edit in _by_key(session, EditRecord, "id", wanted)}
    missing = [number for number in wanted if number not in found]
    if missing:
        raise UnknownRevision(f"there is no edit {missing[0]}.")
    return tuple(found[number] for number in wanted)


def edit(session: Session, spec: int | str) -> EditRecord:
    """The edit with this number (`12`, `#12`) or unique hash prefix (four characters or more).

    Raises: UnknownRevision if none or several match.
    """
    name = str(spec).strip().lower()
    number = _NUMBER.fullmatch(name)
    t = table("edit")
    if number:
        query = select(t).where(t.c.id == int(number[1]))
        for found in _records(session, EditRecord, query):
            return found
    return _edit_by_hash(session, name)


def batches(session: Session, ids: Iterable[int]) -> dict[int, BatchRecord]:
    """Batches by id. Raises: UnknownRevision."""
    wanted = tuple(dict.fromkeys(ids))
    found = {batch.id: batch for batch in _by_key(session, BatchRecord, "id", wanted)}
    missing = [number for number in wanted if number not in found]
    if missing:
        raise UnknownRevision(f"there is no batch {missing[0]}.")
    return found


def edits_of_batch(session: Session, batch_id: int) -> tuple[EditRecord, ...]:
    """All edits of one batch, by component."""
    t = table("edit")
    query = select(t).where(t.c.batch_id == batch_id).order_by(t.c.component, t.c.id)
    return tuple(_records(session, EditRecord, query))


def measurements(
    session: Session,
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
    t = table("measurement")
    wanted = {"version": version, "edit_id": edit_id, "entry_seq": entry_seq}
    wanted_text = {"suite": suite, "metric": metric}
    query = select(t).where(t.c.id > after).order_by(t.c.id).limit(limit)
    for name, value in (wanted | wanted_text).items():
        if value is not None:
            query = query.where(t.c[name] == value)
    return tuple(_records(session, MeasurementRecord, query))


def tags(session: Session) -> dict[str, int]:
    """Tag name -> version, removed tags left out, by name."""
    t = table("tag")
    rows = _all(session, select(t.c.name, t.c.version).order_by(t.c.id))
    latest = {row["name"]: row["version"] for row in rows}
    return {name: version for name, version in sorted(latest.items()) if version is not None}


def models(session: Session) -> tuple[ModelRecord, ...]:
    """All models, oldest first."""
    t = table("model")
    return tuple(_records(session, ModelRecord, select(t).order_by(t.c.id)))


def base_tensors(session: Session, model_id: int) -> dict[str, BaseTensorRecord]:
    """Parameter -> its untouched tensor."""
    t = table("base_tensor")
    query = select(t).where(t.c.model_id == model_id).order_by(t.c.parameter)
    return {item.parameter: item for item in _records(session, BaseTensorRecord, query)}


def objects(session: Session) -> tuple[ObjectRecord, ...]:
    """Every object that rows may refer to."""
    t = table("object")
    return tuple(_records(session, ObjectRecord, select(t).order_by(t.c.oid)))


def oids(session: Session, among: Sequence[str] | None = None) -> set[str]:
    """Names of the recorded objects, or of those `among` them."""
    t = table("object")
    if among is None:
        return set(session.connection().execute(select(t.c.oid)).scalars())
    return {item.oid for item in _by_key(session, ObjectRecord, "oid", among)}


def stats(
    session: Session, base_digest: str, parameter: str | None = None
) -> tuple[StatsRecord, ...]:
    """Statistics for a base (and parameter), newest first."""
    t = table("stats")
    query = select(t).where(t.c.base_digest == base_digest).order_by(t.c.id.desc())
    if parameter is not None:
        query = query.where(t.c.parameter == parameter)
    return tuple(_records(session, StatsRecord, query))


def predictions(
    session: Session, model_id: int, protocol: str, prompts: Sequence[str] | None = None
) -> dict[str, PredictionRecord]:
    """Prompt -> the unedited model's prediction, for the prompts that have one."""
    t = table("prediction")
    base = select(t).where(t.c.model_id == model_id, t.c.protocol == protocol).order_by(t.c.id)
    queries = (
        [base] if prompts is None else [base.where(t.c.prompt.in_(p)) for p in _chunks(prompts)]
    )
    found = (item for query in queries for item in _records(session, PredictionRecord, query))
    return {item.prompt: item for item in found}


def next_id(session: Session, name: str) -> int:
    """The number after the highest in a table."""
    highest = session.connection().execute(select(func.max(table(name).c.id))).scalar()
    return int(highest or 0) + 1


def _edit_by_hash(session: Session, prefix: str) -> EditRecord:
    t = table("edit")
    if not _PREFIX.fullmatch(prefix):
        raise UnknownRevision(
            f"{prefix[:80]!r} names no edit; give its number or at least 4 digits of its hash."
        )
    query = select(t).where(and_(t.c.hash >= prefix, t.c.hash < prefix + "g")).order_by(t.c.id)
    found = list(_records(session, EditRecord, query.limit(4)))
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownRevision(f"no edit has a hash that begins with {prefix}.")
    raise UnknownRevision(
        f"{prefix} names more than one edit.", (f"#{edit.id} ({edit.hash[:12]})" for edit in found)
    )


def _by_key(session: Session, cls: type[R], column: str, keys: Sequence[Any]) -> Iterator[R]:
    t = table(cls.table)
    for some in _chunks(keys):
        yield from _records(session, cls, select(t).where(t.c[column].in_(some)))


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


def _records(session: Session, cls: type[R], query: Select[Any]) -> Iterator[R]:
    for row in _all(session, query):
        yield loaded(cls, row)


def _all(session: Session, query: Select[Any]) -> Sequence[Any]:
    return session.connection().execute(query).mappings().all()


def _ids(written: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in json.loads(written))
    except (ValueError, TypeError) as error:
        raise IntegrityFailure(f"an entry's edits were altered ({error}); run verify.") from error
