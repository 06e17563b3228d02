"""Giving the rows of one entry their numbers, links and hashes.

Promise: what comes out is exactly what is inserted and hashed; rows that are recorded already are
left out.

Rules: runs under the write lock; numbers continue without a gap; an object, an untouched tensor and
a base prediction are recorded once; an untouched tensor never changes.

    place = Place(seq=7, version=3, stamp="2026-01-02T03:04:05.123456Z")
    full = numbered(reading, rows, place)
    edit_ids = [edit.id for edit in full.edits]
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ledger import chain, queries
from ledger.errors import BaseMismatch, InvalidInput, UnknownRevision
from ledger.fields import Record, stored
from ledger.records import (
    BaseTensorRecord,
    BatchRecord,
    EditRecord,
    MeasurementRecord,
    ModelRecord,
    ObjectRecord,
    PredictionRecord,
    ReleaseRecord,
    Rows,
    StatsRecord,
    TagRecord,
    UserRecord,
)
from ledger.sqlite import Reading

Numbered = TypeVar(
    "Numbered",
    MeasurementRecord,
    PredictionRecord,
    TagRecord,
    StatsRecord,
    ReleaseRecord,
    UserRecord,
)
Dated = TypeVar("Dated", ReleaseRecord, UserRecord)


@dataclass(frozen=True)
class Place:
    """Where the rows go: their entry, the version it stands on, and the time."""

    seq: int
    version: int
    stamp: str


def numbered(reading: Reading, rows: Rows, place: Place) -> Rows:
    """`rows` with ids, links, times and hashes, without those that are recorded already.

    Raises: BaseMismatch, InvalidInput, UnknownRevision (a tag beyond the head).
    """
    batch = _batch(reading, rows.batch, place)
    edits = _edits(reading, rows.edits, batch, place)
    _check_tags(rows.tags, place.version)
    return Rows(
        model=_model(reading, rows.model, place),
        base_tensors=tuple(_new_tensors(reading, rows.base_tensors, place)),
        objects=tuple(_new_objects(reading, rows.objects, place)),
        batch=batch,
        edits=edits,
        measurements=_count(
            reading, [_measured(m, edits, place) for m in rows.measurements], place
        ),
        predictions=_count(reading, list(_new_predictions(reading, rows.predictions)), place),
        tags=_count(reading, rows.tags, place),
        stats=_count(reading, rows.stats, place),
        releases=_count(reading, [_dated(item, place) for item in rows.releases], place),
        users=_count(reading, [_dated(item, place) for item in rows.users], place),
    )


def in_order(rows: Rows) -> Iterator[Record]:
    """Every record, those that others point to first."""
    if rows.model:
        yield rows.model
    yield from rows.base_tensors
    yield from rows.objects
    if rows.batch:
        yield rows.batch
    for group in (rows.edits, rows.measurements, rows.predictions, rows.tags, rows.stats):
        yield from group
    yield from rows.releases
    yield from rows.users


def new_ids(edits: Iterable[int], created: tuple[EditRecord, ...]) -> tuple[int, ...]:
    """`edits` with the places of new edits (-1, -2, ...) turned into their ids."""
    return tuple(edit if edit > 0 else _created(edit, created) for edit in edits)


def _created(place: int, created: tuple[EditRecord, ...]) -> int:
    if not 0 <= -1 - place < len(created):
        raise InvalidInput(f"edit {place} stands for none of the {len(created)} new edits.")
    return created[-1 - place].id


def _model(reading: Reading, model: ModelRecord | None, place: Place) -> ModelRecord | None:
    if model is None:
        return None
    number = queries.next_id(reading, "model")
    return replace(
        model, id=number, created_at=model.created_at or place.stamp, entry_seq=place.seq
    )


def _batch(reading: Reading, batch: BatchRecord | None, place: Place) -> BatchRecord | None:
    if batch is None:
        return None
    number = queries.next_id(reading, "batch")
    return replace(
        batch, id=number, created_at=batch.created_at or place.stamp, entry_seq=place.seq
    )


def _edits(
    reading: Reading, edits: tuple[EditRecord, ...], batch: BatchRecord | None, place: Place
) -> tuple[EditRecord, ...]:
    if batch is None:
        return ()
    first = queries.next_id(reading, "edit")
    return tuple(
        _hashed(
            replace(
                edit,
                id=first + offset,
                batch_id=batch.id,
                created_at=edit.created_at or place.stamp,
                entry_seq=place.seq,
            ),
            batch,
        )
        for offset, edit in enumerate(edits)
    )


def _hashed(edit: EditRecord, batch: BatchRecord) -> EditRecord:
    return replace(edit, hash=chain.edit_hash(stored(edit), stored(batch)))


def _new_objects(
    reading: Reading, objects: tuple[ObjectRecord, ...], place: Place
) -> Iterator[ObjectRecord]:
    known = queries.oids(reading, [item.oid for item in objects])
    for item in objects:
        if item.oid not in known:
            known.add(item.oid)
            yield replace(item, created_at=item.created_at or place.stamp, entry_seq=place.seq)


def _new_tensors(
    reading: Reading, tensors: tuple[BaseTensorRecord, ...], place: Place
) -> Iterator[BaseTensorRecord]:
    known = {
        model_id: queries.base_tensors(reading, model_id)
        for model_id in {tensor.model_id for tensor in tensors}
    }
    for tensor in tensors:
        before = known[tensor.model_id].get(tensor.parameter)
        if before is None:
            known[tensor.model_id][tensor.parameter] = tensor
            yield replace(tensor, entry_seq=place.seq)
        elif (before.sha256, before.dtype, before.shape) != (
            tensor.sha256,
            tensor.dtype,
            tensor.shape,
        ):
            raise BaseMismatch(
                f"{tensor.parameter} is not the tensor recorded for this base "
                f"({tensor.sha256[:12]} instead of {before.sha256[:12]}). "
                "Use the checkpoint the ledger was made for."
            )


def _new_predictions(
    reading: Reading, predictions: tuple[PredictionRecord, ...]
) -> Iterator[PredictionRecord]:
    groups: dict[tuple[int, str], list[str]] = {}
    for item in predictions:
        groups.setdefault((item.model_id, item.protocol), []).append(item.prompt)
    known = {
        (*group, prompt)
        for group, prompts in groups.items()
        for prompt in queries.predictions(reading, *group, prompts)
    }
    for item in predictions:
        key = (item.model_id, item.protocol, item.prompt)
        if key not in known:
            known.add(key)
            yield item


def _measured(
    item: MeasurementRecord, edits: tuple[EditRecord, ...], place: Place
) -> MeasurementRecord:
    edit_id = None if item.edit_id is None else new_ids([item.edit_id], edits)[0]
    version = place.version if item.version is None else item.version
    return replace(item, edit_id=edit_id, version=version)


def _check_tags(tags: tuple[TagRecord, ...], version: int) -> None:
    for tag in tags:
        if tag.version is not None and tag.version > version:
            raise UnknownRevision(f"there is no version {tag.version}; the head is {version}.")


def _dated(item: Dated, place: Place) -> Dated:
    return replace(item, created_at=item.created_at or place.stamp)


def _count(reading: Reading, items: Sequence[Numbered], place: Place) -> tuple[Numbered, ...]:
    if not items:
        return ()
    first = queries.next_id(reading, items[0].table)
    return tuple(
        replace(item, id=first + offset, entry_seq=place.seq) for offset, item in enumerate(items)
    )
