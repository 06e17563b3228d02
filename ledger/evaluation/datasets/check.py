"""What a file of records holds, and what is wrong with it.

Promise: the whole file is read, whatever is wrong with its records; nothing is changed; what is
remembered grows with the number of records, not with their length.
Rules: duplicates are facts with one subject, relation and target; conflicts those with another
target. A relation is the data set's own name for it, or the prompt. Of each kind of fault the first
EXAMPLES are told, and all are counted.

    report = check("facts.jsonl")
    report.records, report.bad, report.conflicts[0].text
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ledger.evaluation.datasets.files import located
from ledger.evaluation.datasets.reading import read_records
from ledger.evaluation.datasets.records import NO_OP, BadRecord, Record

EXAMPLES: Final = 10


@dataclass(frozen=True)
class Example:
    """A place of the file, and what is told about it."""

    place: str
    text: str


@dataclass(frozen=True)
class DataReport:
    """`records` good ones with `requests`; `bad` by code; `probes` by kind, `groups` by kind and
    group; `notes` on good records; examples of bad records, duplicates and conflicts."""

    path: Path
    records: int
    requests: int
    shapes: Mapping[str, int]
    languages: Mapping[str, int]
    probes: Mapping[str, int]
    groups: Mapping[str, int]
    bad: Mapping[str, int]
    duplicates: int
    conflicts: int
    no_ops: int
    subjects_missing: int
    notes: Mapping[str, int]
    examples: Mapping[str, tuple[Example, ...]]

    @property
    def faulty(self) -> int:
        """How many records cannot be used."""
        return sum(self.bad.values())


@dataclass
class _Tally:
    """What is counted while the file is read."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    facts: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def add(self, name: str, values: Iterable[str]) -> None:
        """Count values of a kind."""
        self.counts.setdefault(name, Counter()).update(values)

    def example(self, name: str, place: str, text: str) -> None:
        """Keep it if it is one of the first."""
        kept = self.examples.setdefault(name, [])
        if len(kept) < EXAMPLES:
            kept.append(Example(place, text))

    def good(self, record: Record) -> None:
        """Everything about a record that can be used."""
        self.numbers["records"] += 1
        self.add("shapes", [record.shape])
        self.add("languages", [record.language])
        self.add("probes", (probe.kind for probe in record.probes))
        self.add("groups", (f"{p.kind}.{p.group}" for p in record.probes if p.group))
        self.add("notes", record.notes)
        for number in range(len(record.requests)):
            self.fact(record, number)

    def fact(self, record: Record, number: int) -> None:
        """Whether an earlier fact says the same, or something else."""
        request, relation = record.requests[number], record.relations[number]
        self.numbers["requests"] += 1
        key = (request.subject.casefold(), relation)
        place, target = self.facts.setdefault(key, (record.place, request.target_new))
        if (place, target) == (record.place, request.target_new):
            return
        kind = "duplicates" if target == request.target_new else "conflicts"
        self.numbers[kind] += 1
        self.example(
            kind, record.place, f"{request.text} {request.target_new!r}; {place}: {target!r}"
        )


def check(source: str | Path, *, shape: str | None = None, strict: bool = False) -> DataReport:
    """Read a whole file and count. `strict`: a bad record is an error.

    Raises: InvalidInput if the file cannot be read, or for a bad record if `strict`.
    """
    path, tally = located(source), _Tally()
    for record in read_records(path, shape=shape, strict=strict):
        if isinstance(record, BadRecord):
            tally.add("bad", [record.code])
            tally.example("bad", record.place, record.reason)
        else:
            tally.good(record)
    bad, notes = tally.counts.get("bad", Counter()), tally.counts.get("notes", Counter())
    return DataReport(
        path=path,
        records=tally.numbers["records"],
        requests=tally.numbers["requests"],
        duplicates=tally.numbers["duplicates"],
        conflicts=tally.numbers["conflicts"],
        no_ops=bad["no_op"] + notes[NO_OP],
        subjects_missing=bad["subject_missing"],
        examples={name: tuple(kept) for name, kept in tally.examples.items()},
        **{
            name: dict(tally.counts.get(name, Counter()).most_common())
            for name in ("shapes", "languages", "probes", "groups", "bad", "notes")
        },
    )
