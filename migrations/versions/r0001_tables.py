"""The tables of the ledger.

Rules: plain SQLAlchemy types only, every constraint named, RESTRICT instead of CASCADE. JSON and
time are text, so that a row has the same hash on every database.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# In the order of their foreign keys.
TABLES = (
    *("entry", "model", "base_tensor", "object", "batch", "edit"),
    *("measurement", "prediction", "tag", "stats", "release", "user"),
)


def upgrade() -> None:
    """Create every table."""
    _history()
    _model()
    _edits()
    _results()
    _people()


def downgrade() -> None:
    """Drop every table, with all that was recorded."""
    for name in reversed(TABLES):
        op.drop_table(name)


def _history() -> None:
    _create(
        "entry",
        [
            *(_int("seq"), _int("version"), _text("op"), _text("edits"), _text("payload")),
            *(_text("weights_digest"), _text("tensors"), _text("rows_digest"), _text("author")),
            *(_text("note"), _text("created_at"), _text("prev_hash"), _text("hash")),
            sa.CheckConstraint("seq >= 1", name=op.f("ck_entry_seq")),
            sa.CheckConstraint("version >= 0", name=op.f("ck_entry_version")),
            sa.UniqueConstraint("hash", name=op.f("uq_entry_hash")),
            sa.UniqueConstraint("prev_hash", name=op.f("uq_entry_prev_hash")),
        ],
        key=["seq"],
    )
    _create("tag", [_int("id"), _text("name"), _int("version", null=True), *_entry("tag")])
    _index("tag", "name")


def _model() -> None:
    _create(
        "model",
        [
            *(_int("id"), _text("base_id"), _text("revision", null=True), _text("path")),
            *(_text("dtype"), _text("device", null=True), _text("model_type")),
            *(_text("base_digest"), _text("config"), _text("created_at")),
            *_entry("model"),
        ],
    )
    _create(
        "base_tensor",
        [
            *(_int("model_id"), _text("parameter"), _text("checkpoint_key"), _text("dtype")),
            *(_text("shape"), _text("sha256")),
            *_entry("base_tensor"),
            _link("base_tensor", "model_id", "model.id"),
        ],
        key=["model_id", "parameter"],
    )


def _edits() -> None:
    _create(
        "object",
        [
            *(_text("oid"), _text("kind"), _big("size"), _text("created_at")),
            *_entry("object"),
            sa.CheckConstraint("size >= 0", name=op.f("ck_object_size")),
        ],
        key=["oid"],
    )
    _create(
        "batch",
        [
            *(_int("id"), _int("model_id"), _text("oid", null=True), _text("method")),
            *(_text("layers"), _text("hparams"), _big("seed"), _text("environment")),
            *(_text("evidence"), _text("author"), _text("note"), _text("created_at")),
            *_entry("batch"),
            _link("batch", "model_id", "model.id"),
            _link("batch", "oid", "object.oid"),
        ],
    )
    _create(
        "edit",
        [
            *(_int("id"), _int("batch_id"), _int("component"), _text("subject"), _text("prompt")),
            *(_text("target_new"), _text("target_true", null=True), _text("probes")),
            *(_text("language", null=True), _text("hash"), _text("created_at")),
            *_entry("edit"),
            _link("edit", "batch_id", "batch.id"),
            sa.CheckConstraint("id >= 1", name=op.f("ck_edit_id")),
            sa.CheckConstraint("component >= 0", name=op.f("ck_edit_component")),
        ],
    )
    _index("edit", "hash")
    _index("edit", "batch_id")


def _results() -> None:
    _create(
        "measurement",
        [
            *(_int("id"), _int("version"), _int("edit_id", null=True), _text("suite")),
            *(_text("metric"), _real("value"), _text("protocol"), _text("detail")),
            *_entry("measurement"),
            _link("measurement", "edit_id", "edit.id"),
        ],
    )
    for column in ("version", "edit_id", "entry_seq"):
        _index("measurement", column)
    _create(
        "prediction",
        [
            *(_int("id"), _int("model_id"), _text("protocol"), _text("prompt"), _text("answer")),
            *(_text("payload"), *_entry("prediction")),
            _link("prediction", "model_id", "model.id"),
        ],
    )
    _index("prediction", "model_id", "protocol")
    _create(
        "stats",
        [
            *(_int("id"), _text("base_digest"), _text("parameter"), _text("corpus")),
            *(_text("corpus_sha256"), _big("count"), _text("moment_oid")),
            *(_text("factor_oid", null=True), _real("jitter", null=True)),
            *_entry("stats"),
            _link("stats", "moment_oid", "object.oid"),
            _link("stats", "factor_oid", "object.oid"),
        ],
    )
    _index("stats", "base_digest", "parameter")


def _people() -> None:
    _create(
        "release",
        [
            *(_int("id"), _int("version"), _text("form"), _text("target"), _text("manifest")),
            *(_text("merkle_root"), _text("created_at"), *_entry("release")),
        ],
    )
    _create(
        "user",
        [
            *(_int("id"), _text("name"), _text("role"), _text("password_hash")),
            *(_text("created_at"), *_entry("user")),
        ],
    )
    _index("user", "name")


def _create(name: str, parts: list[sa.schema.SchemaItem], key: Sequence[str] = ("id",)) -> None:
    op.create_table(name, *parts, sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}")))


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    # Compared by code point on every database, whatever the language of the server.
    kind = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.Column(name, kind, nullable=null)


def _int(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), autoincrement=False, nullable=null)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _real(name: str, *, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Float(precision=53), nullable=null)


def _entry(table: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    return _int("entry_seq"), _link(table, "entry_seq", "entry.seq")


def _link(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target.partition('.')[0]}")
    return sa.ForeignKeyConstraint([column], [target], name=name, ondelete="RESTRICT")
