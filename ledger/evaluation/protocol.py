"""The protocol of a measurement: everything that has to be equal for two numbers to be compared.

Promise: two measurements have one digest if and only if they asked the same records the same way;
numbers of different digests are refused, and the refusal says what differs.
Rules: the tokenizer is named by the sha256 of its definition, because what counts as a token
decides every teacher-forced score; the records by the digest of their ids, whatever their order.

    protocol = Protocol.of(model, records=ids, seeds={"records": 0})
    row.detail["protocol"] = protocol.digest
    require_same([protocol, other])               # InvalidInput: ... differ in seeds: ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from ledger.chain import digest
from ledger.errors import InvalidInput

if TYPE_CHECKING:
    from editors.model import EditableModel

SCHEMA: Final = "kel.protocol/1"
HANDLING: Final = (
    "prompt and answer joined by one space (none beside Chinese, Japanese or white space) and "
    "tokenised as a whole; the tokenizer's own BOS; no final EOS"
)
DIGITS: Final = 16


@dataclass(frozen=True)
class Protocol:
    """`definition`: how it was asked and scored; `tokenizer`: sha256 of its definition and of how
    it is used; `records`: digest of the ids; `seeds` by what they are for."""

    definition: str
    tokenizer: str
    records: str
    seeds: Mapping[str, int] = field(default_factory=dict)
    judge: str = ""

    @classmethod
    def of(
        cls,
        model: EditableModel,
        *,
        records: Iterable[str],
        seeds: Mapping[str, int] | None = None,
        judge: str = "",
    ) -> Self:
        """The protocol of asking a model about records by `ledger.evaluation.scoring`."""
        from ledger.evaluation.scoring import protocol

        return cls(
            definition=protocol(model.frame),
            tokenizer=tokenizer_digest(model),
            records=records_digest(records),
            seeds=dict(seeds or {}),
            judge=judge,
        )

    @property
    def digest(self) -> str:
        """The first digits of the sha256 of the protocol's canonical JSON."""
        return digest(self.to_json())[:DIGITS]

    def to_json(self) -> dict[str, Any]:
        """Plain values for storage."""
        return {"schema": SCHEMA, **asdict(self), "seeds": dict(self.seeds)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`. Raises: InvalidInput for another schema or other fields."""
        fields = {name: value for name, value in data.items() if name != "schema"}
        if data.get("schema") != SCHEMA or not {"definition", "tokenizer", "records"} <= set(
            fields
        ):
            raise InvalidInput(f"a protocol of {SCHEMA} is wanted, not {data.get('schema')!r}")
        return cls(**fields)


def records_digest(ids: Iterable[str]) -> str:
    """The digest of some records' ids, whatever their order."""
    return digest(sorted(ids))


def tokenizer_digest(model: EditableModel) -> str:
    """sha256 of a model's tokenizer and of how texts are put before it."""
    definition: str = model.tokenizer.backend_tokenizer.to_str()
    return digest([HANDLING, definition])


def require_same(protocols: Sequence[Protocol]) -> Protocol:
    """The protocol that all measurements share.

    Raises: InvalidInput if there is none, or two differ, naming what differs.
    """
    if not protocols:
        raise InvalidInput("no measurement, so no protocol to compare by")
    first = protocols[0]
    for other in protocols[1:]:
        ours, theirs = first.to_json(), other.to_json()
        unequal = [name for name in ours if ours[name] != theirs[name]]
        if unequal:
            told = "; ".join(f"{n}: {ours[n]} and {theirs[n]}" for n in unequal)
            raise InvalidInput(
                f"these numbers cannot be compared, they were measured differently ({told}): "
                "measure again by one protocol"
            )
    return first
