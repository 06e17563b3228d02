"""`kel data`: what a file of records holds, and which shapes of records are known.

Promise: needs no ledger and no model; nothing is changed; exit status 1 if a record cannot be used,
2 with --strict.

    kel data check facts.jsonl
    kel data check hub:zjunlp/KnowEdit/benchmark/ZsRE/ZsRE-test-all.json
    kel data list
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from cli.documents import plain
from cli.invocation import Invocation, common
from cli.layout import Table, pairs
from cli.output import Item, Span
from cli.requests import DATA_FILE


@click.group()
def command() -> None:
    """Look at files of records: the field's data sets, and our own."""


@command.command("check")
@click.argument("file", type=DATA_FILE)
@click.option("--shape", metavar="S", help="Take every record for one of this shape.")
@click.option("--strict", is_flag=True, help="Stop at the first record that cannot be used.")
@common
def check(invocation: Invocation, file: str, shape: str | None, strict: bool) -> int:
    """Count what FILE holds: records, probes, duplicates, conflicts, faults.

    FILE is a path, or hub:owner/name/path for a file of a data set on the Hub.
    """
    from ledger.evaluation.datasets.check import check as checked

    report = checked(file, shape=shape, strict=strict)
    status = 1 if report.faulty else 0
    return invocation.emit("data.check", report, _report(plain(report)), status)


@command.command("list")
@common
def listed(invocation: Invocation) -> int:
    """List the shapes of records that are known, and where they come from."""
    from ledger.evaluation.datasets import SHAPES

    found = [
        {"name": s.name, "about": s.about, "use": s.use, "source": s.source}
        for s in SHAPES.values()
    ]
    rows = [(s["name"], s["use"], s["source"], s["about"]) for s in found]
    table = Table(("shape", "for", "source", "what"), rows)
    return invocation.emit("data.list", {"shapes": found}, [table])


def _report(report: Mapping[str, Any]) -> Iterator[Item]:
    bad = sum(report["bad"].values())
    style = "red" if bad else "green"
    yield (
        Span(f"{report['records']} records", "bold"),
        f" with {report['requests']} requests, ",
        Span(f"{bad} cannot be used", style),
        Span(f"  {report['path']}", "dim"),
    )
    yield pairs(
        [
            *(
                (name, _counts(report[name]))
                for name in ("shapes", "languages", "probes", "groups")
            ),
            ("duplicates", str(report["duplicates"])),
            ("conflicts", str(report["conflicts"])),
            ("no-ops", str(report["no_ops"])),
            ("subjects missing", str(report["subjects_missing"])),
            ("faults", _counts(report["bad"])),
            ("notes", _counts(report["notes"])),
        ],
        indent=2,
    )
    for name, examples in report["examples"].items():
        yield (Span(f"{name}, the first {len(examples)}", "bold"),)
        yield pairs([(example["place"], example["text"]) for example in examples], indent=2)


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in found.items())
