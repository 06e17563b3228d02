"""The tables. Storage only: no methods, no validation; `ledger.records` holds the domain values.

Promise: the migrations build exactly these tables (a test compares them).

Rules: plain types that mean the same on SQLite and PostgreSQL; JSON is canonical text and time is
UTC ISO-8601 text, so that a row hashes alike everywhere; every constraint is named; every row names
the entry it was written with; nothing is ever updated or deleted (triggers refuse it).

    from sqlalchemy import select
    edits = table("edit")
    connection.execute(select(edits.c.subject).where(edits.c.id == 3))
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def table(name: str) -> Table:
    """The table called `name`."""
    return METADATA.tables[name]


def _text(*, null: bool = False) -> Column[str]:
    return Column(Text, nullable=null)


def _number(*, key: bool = False, null: bool = False) -> Column[int]:
    return Column(Integer, primary_key=key, autoincrement=False, nullable=null)


def _link(target: str, *, null: bool = False, key: bool = False) -> Column[int]:
    link = ForeignKey(target, ondelete="RESTRICT")
    return Column(Integer, link, primary_key=key, autoincrement=False, nullable=null)


def _object(*, null: bool = False) -> Column[str]:
    return Column(Text, ForeignKey("object.oid", ondelete="RESTRICT"), nullable=null)


def _entry() -> Column[int]:
    return _link("entry.seq")


class Row(SQLModel):
    """What all tables share: one metadata with named constraints."""

    metadata = METADATA


class EntryRow(Row, table=True):
    __tablename__ = "entry"
    __table_args__ = (
        UniqueConstraint("hash"),
        UniqueConstraint("prev_hash"),
        CheckConstraint("seq >= 1", name="seq"),
        CheckConstraint("version >= 0", name="version"),
        Index(None, "version"),
        Index(None, "op"),
    )
    seq: int = Field(sa_column=_number(key=True))
    version: int = Field(sa_column=_number())
    op: str = Field(sa_column=_text())
    edits: str = Field(sa_column=_text())
    payload: str = Field(sa_column=_text())
    weights_digest: str = Field(sa_column=_text())
    tensors: str = Field(sa_column=_text())
    rows_digest: str = Field(sa_column=_text())
    author: str = Field(sa_column=_text())
    note: str = Field(sa_column=_text())
    created_at: str = Field(sa_column=_text())
    prev_hash: str = Field(sa_column=_text())
    hash: str = Field(sa_column=_text())


class ModelRow(Row, table=True):
    __tablename__ = "model"
    id: int = Field(sa_column=_number(key=True))
    base_id: str = Field(sa_column=_text())
    revision: str | None = Field(sa_column=_text(null=True))
    path: str = Field(sa_column=_text())
    dtype: str = Field(sa_column=_text())
    device: str | None = Field(sa_column=_text(null=True))
    model_type: str = Field(sa_column=_text())
    base_digest: str = Field(sa_column=_text())
    config: str = Field(sa_column=_text())
    created_at: str = Field(sa_column=_text())
    entry_seq: int = Field(sa_column=_entry())


class BaseTensorRow(Row, table=True):
    __tablename__ = "base_tensor"
    model_id: int = Field(sa_column=_link("model.id", key=True))
    parameter: str = Field(sa_column=Column(Text, primary_key=True))
    checkpoint_key: str = Field(sa_column=_text())
    dtype: str = Field(sa_column=_text())
    shape: str = Field(sa_column=_text())
    sha256: str = Field(sa_column=_text())
    entry_seq: int = Field(sa_column=_entry())


class ObjectRow(Row, table=True):
    __tablename__ = "object"
    __table_args__ = (CheckConstraint("size >= 0", name="size"),)
    oid: str = Field(sa_column=Column(Text, primary_key=True))
    kind: str = Field(sa_column=_text())
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: str = Field(sa_column=_text())
    entry_seq: int = Field(sa_column=_entry())


class BatchRow(Row, table=True):
    __tablename__ = "batch"
    id: int = Field(sa_column=_number(key=True))
    model_id: int = Field(sa_column=_link("model.id"))
    oid: str | None = Field(sa_column=_object(null=True))
    method: str = Field(sa_column=_text())
    layers: str = Field(sa_column=_text())
    hparams: str = Field(sa_column=_text())
    seed: int = Field(sa_column=Column(BigInteger, nullable=False))
    environment: str = Field(sa_column=_text())
    evidence: str = Field(sa_column=_text())
    author: str = Field(sa_column=_text())
    note: str = Field(sa_column=_text())
    created_at: str = Field(sa_column=_text())
    entry_seq: int = Field(sa_column=_entry())


class EditRow(Row, table=True):
    __tablename__ = "edit"
    __table_args__ = (
        CheckConstraint("id >= 1", name="id"),
        CheckConstraint("component >= 0", name="component"),
        Index(None, "hash"),
        Index(None, "batch_id"),
        Index(None, "valid_until"),
        Index(None, "subject", postgresql_using="hash"),
    )
    id: int = Field(sa_column=_number(key=True))
    batch_id: int = Field(sa_column=_link("batch.id"))
    component: int = Field(sa_column=_number())
    subject: str = Field(sa_column=_text())
    prompt: str = Field(sa_column=_text())
    target_new: str = Field(sa_column=_text())
    target_true: str | None = Field(sa_column=_text(null=True))
    probes: str = Field(sa_column=_text())
    language: str | None = Field(sa_column=_text(null=True))
    hash: str = Field(sa_column=_text())
    created_at: str = Field(sa_column=_text())
    entry_seq: int = Field(sa_column=_entry())
    valid_from: str | None = Field(sa_column=_text(null=True))
    valid_until: str | None = Field(sa_column=_text(null=True))
    source: str | None = Field(sa_column=_text(null=True))


class MeasurementRow(Row, table=True):
    __tablename__ = "measurement"
    __table_args__ = (Index(None, "version"), Index(None, "edit_id"), Index(None, "entry_seq"))
    id: int = Field(sa_column=_number(key=True))
    entry_seq: int = Field(sa_column=_entry())
    version: int = Field(sa_column=_number())
    edit_id: int | None = Field(sa_column=_link("edit.id", null=True))
    suite: str = Field(sa_column=_text())
    metric: str = Field(sa_column=_text())
    value: float = Field(sa_column=Column(Float(53), nullable=False))
    protocol: str = Field(sa_column=_text())
    detail: str = Field(sa_column=_text())


class PredictionRow(Row, table=True):
    __tablename__ = "prediction"
    __table_args__ = (
        Index(None, "model_id", "protocol"),
        Index(None, "prompt", postgresql_using="hash"),
    )
    id: int = Field(sa_column=_number(key=True))
    model_id: int = Field(sa_column=_link("model.id"))
    protocol: str = Field(sa_column=_text())
    prompt: str = Field(sa_column=_text())
    answer: str = Field(sa_column=_text())
    payload: str = Field(sa_column=_text())
    entry_seq: int = Field(sa_column=_entry())


class TagRow(Row, table=True):
    __tablename__ = "tag"
    __table_args__ = (Index(None, "name"),)
    id: int = Field(sa_column=_number(key=True))
    name: str = Field(sa_column=_text())
    version: int | None = Field(sa_column=_number(null=True))
    entry_seq: int = Field(sa_column=_entry())


class StatsRow(Row, table=True):
    __tablename__ = "stats"
    __table_args__ = (Index(None, "base_digest", "parameter"),)
    id: int = Field(sa_column=_number(key=True))
    base_digest: str = Field(sa_column=_text())
    parameter: str = Field(sa_column=_text())
    corpus: str = Field(sa_column=_text())
    corpus_sha256: str = Field(sa_column=_text())
    count: int = Field(sa_column=Column(BigInteger, nullable=False))
    moment_oid: str = Field(sa_column=_object())
    factor_oid: str | None = Field(sa_column=_object(null=True))
    jitter: float | None = Field(sa_column=Column(Float(53), nullable=True))
    entry_seq: int = Field(sa_column=_entry())


class ReleaseRow(Row, table=True):
    __tablename__ = "release"
    id: int = Field(sa_column=_number(key=True))
    version: int = Field(sa_column=_number())
    form: str = Field(sa_column=_text())
    target: str = Field(sa_column=_text())
    manifest: str = Field(sa_column=_text())
    merkle_root: str = Field(sa_column=_text())
    created_at: str = Field(sa_column=_text())
    entry_seq: int = Field(sa_column=_entry())


class UserRow(Row, table=True):
    __tablename__ = "user"
    __table_args__ = (Index(None, "name"),)
    id: int = Field(sa_column=_number(key=True))
    name: str = Field(sa_column=_text())
    role: str = Field(sa_column=_text())
    password_hash: str = Field(sa_column=_text())
    created_at: str = Field(sa_column=_text())
    entry_seq: int = Field(sa_column=_entry())
