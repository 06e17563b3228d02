"""`kel edit`: patch one fact, or a file of facts.

Promise: an edit that does not pass its gate leaves the weights as they are, its measurements stay
on record, and the exit status is 3. A file can be run again: what is in the ledger is skipped.

    kel edit --subject "Ada Lovelace" --prompt "{} was born in" --target Paris
    kel edit --from facts.jsonl --method ft --batch 20
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from cli.commands.interference import told
from cli.documents import plain
from cli.invocation import Callback, Invocation, changing, common
from cli.layout import Table, fact, metrics, number, numbers, pairs
from cli.output import Item, Span
from cli.requests import DATA_FILE, LAYER, assignments, gate_options, limits, single

if TYPE_CHECKING:
    from ledger import EditRequest, Ledger
    from ledger.options import EditOptions
    from ledger.views import EditOutcome

REJECTED = 3
_STYLE = MappingProxyType({"applied": "green", "rejected": "red"})
_OF_ONE_FACT = (
    "subject", "prompt", "target", "target_true",
    "paraphrase", "neighbour", "same_subject", "portability", "valid_from", "valid_until", "source",
)  # fmt: skip


def _fact_options(function: Callback) -> Callback:
    for option in (
        click.option("--source", metavar="TEXT",
                     help="Where the fact is from, a text or an address; kept with it."),
        click.option("--valid-until", metavar="DATE",
                     help="The last day on which the fact is true, as 2026-01-31."),
        click.option("--valid-from", metavar="DATE", help="The first day."),
        click.option("--portability", metavar="P=A", multiple=True,
                     help="A consequence of the fact that should follow."),
        click.option("--same-subject", metavar="P=A", multiple=True,
                     help="Another fact of the subject, which must stay."),
        click.option("--neighbour", metavar="P=A", multiple=True,
                     help="A fact of another subject, which must stay."),
        click.option("--paraphrase", metavar="P", multiple=True,
                     help="The question in other words, whole; any number of times."),
        click.option("--target-true", metavar="T0", help="The answer it replaces."),
        click.option("--target", metavar="T", help="The new answer."),
        click.option("--prompt", metavar="P", help="The text before the target; {} is S."),
        click.option("--subject", metavar="S", help="What or whom the fact is about."),
        click.option("--batch", metavar="N", type=click.IntRange(min=1), default=1,
                     help="With --from: give the method N facts at a time; each N are applied or "
                          "rejected together."),
        click.option("--from", "file", metavar="FILE.jsonl",
                     type=DATA_FILE,
                     help="Requests, one JSON object a line or a data set (kel data list), not a "
                          "single fact; hub:owner/name/path is a file on the Hub."),
    ):  # fmt: skip
        function = option(function)
    return function


def _method_options(function: Callback) -> Callback:
    function = gate_options(function)
    for option in (
        click.option("--retry", metavar="N", type=click.IntRange(min=0), default=0,
                     help="Compute again, up to N times, if another edit came first."),
        click.option("--dry-run", is_flag=True, help="Compute and measure; record nothing."),
        click.option("-m", "--note", metavar="NOTE", default="", help="Why; kept in the history."),
        click.option("--set", "assigned", metavar="NAME=VALUE", multiple=True,
                     help="A hyper-parameter of the method; any number of times."),
        click.option("--layer", metavar="N|RULE", type=LAYER,
                     help="The layer to edit, or the rule that chooses it for each fact: static, "
                          "layerwise, layerwise-raw, wilke or traced; layerwise:2-6 keeps to these "
                          "layers. Else the one the method has for the model."),
        click.option("--method", metavar="M", default="rome", show_default=True,
                     help="The editing method."),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command()
@_fact_options
@_method_options
@common
def command(invocation: Invocation, file: Path | None, batch: int, **options: Any) -> int:
    """Patch a fact, or a file of facts, into the model.

    A fact is --subject, --prompt and --target; the probes test it. With --from, each line is one.
    """
    if file is None:
        if batch > 1:
            raise click.UsageError("--batch goes with --from.")
        return _edit_one(invocation, options)
    extra = [name for name in _OF_ONE_FACT if options[name]]
    if extra:
        flag = "--" + extra[0].replace("_", "-")
        raise click.UsageError(f"--from and {flag} exclude each other.")
    return _edit_file(invocation, file, batch, options)


def _edit_one(invocation: Invocation, options: Mapping[str, Any]) -> int:
    fields, settings = single(options), _settings(options)
    from ledger import EditRequest

    request = EditRequest(**fields)
    with changing(invocation) as ledger, invocation.output.progress("edit") as bar:
        settings["progress"], settings["retested"] = bar.stage, bar.retest
        if options["dry_run"]:
            _foresee(invocation, ledger, request, settings)
        outcome = ledger.edit(request, **settings)
    status = REJECTED if outcome.outcome == "rejected" else 0
    return invocation.emit("edit", outcome, _layout(outcome), status)


def _foresee(
    invocation: Invocation, ledger: Ledger, request: EditRequest, settings: EditOptions
) -> None:
    """What the key tells, on standard error, before the edit is computed."""
    shares = ledger.foresee(
        request,
        method=settings["method"],
        layer=settings["layer"],
        overrides=settings["overrides"],
    )
    if shares:
        invocation.output.note(f"by its key it would disturb {told(shares)}")


def _edit_file(invocation: Invocation, file: Path, batch: int, options: Mapping[str, Any]) -> int:
    """The whole file is read first, so that a bad line is found before anything is changed."""
    settings = _settings(options)
    from ledger.evaluation.datasets import read_requests

    requests = list(read_requests(file))
    outcomes: list[EditOutcome] = []
    with changing(invocation) as ledger:
        try:
            for outcome in _each(invocation, ledger, requests, batch, settings):
                outcomes.append(outcome)
                if not invocation.json:
                    invocation.output.line(*_one_line(outcome))
        finally:
            if len(outcomes) < len(requests):
                done = f"{len(outcomes)} of {len(requests)} requests were done"
                invocation.output.note(f"{done}; the same command goes on from there.")
    counts = Counter(outcome.outcome for outcome in outcomes)
    status = REJECTED if counts["rejected"] else 0
    content = {"outcomes": outcomes, "summary": dict(counts)}
    return invocation.emit("edit", content, _summary(counts, len(requests)), status)


def _each(
    invocation: Invocation,
    ledger: Ledger,
    requests: Sequence[Any],
    batch: int,
    settings: EditOptions,
) -> Iterator[EditOutcome]:
    with invocation.output.progress("edit", total=len(requests)) as bar:
        settings["progress"], settings["retested"] = bar.stage, bar.retest
        for outcome in ledger.edit_many(requests, batch=batch, **settings):
            yield outcome
            bar.advance()


def _settings(options: Mapping[str, Any]) -> EditOptions:
    """What `edit` and `edit_many` are told beside the requests."""
    given, overrides = limits(options), assignments(options["assigned"])
    from ledger.evaluation.gates import Gate

    return {
        "method": options["method"],
        "layer": options["layer"],
        "overrides": overrides or None,
        "gate": None if given is None else Gate(**given),
        "note": options["note"],
        "dry_run": options["dry_run"],
        "retry": options["retry"],
    }


def _layout(outcome: EditOutcome) -> Iterator[Item]:
    edit = f" edit {outcome.edit}" if outcome.edit is not None else ""
    layer = f", layer {outcome.layer}" if outcome.layer is not None else ""
    yield (
        Span(outcome.outcome, _STYLE.get(outcome.outcome, "yellow")),
        f"{edit}, the ledger is at ",
        Span(f"v{outcome.version}", "bold"),
        Span(f"  {outcome.method}{layer}" if outcome.method else "", "dim"),
    )
    yield pairs(
        [
            ("fact", fact(plain(outcome.request))),
            ("before", outcome.before.strip()),
            ("after", outcome.after.strip()),
            ("broken", numbers(outcome.broken) if outcome.broken else ""),
            ("assumed", outcome.assumed),
            ("disturbs", told(outcome.disturbs)),
        ],
        indent=2,
    )
    if outcome.metrics:
        rows = [(name, number(value)) for name, value in outcome.metrics.items()]
        yield Table(("metric", "value"), rows, right=(1,), indent=2)
    yield from ((Span("  why  ", "red"), reason) for reason in outcome.reasons)


def _one_line(outcome: EditOutcome) -> tuple[Span | str, ...]:
    edit = "-" if outcome.edit is None else str(outcome.edit)
    told = "; ".join(outcome.reasons) or metrics(
        {name: value for name, value in outcome.metrics.items() if name == "reliability"}
    )
    return (
        Span(f"{outcome.outcome:<9}", _STYLE.get(outcome.outcome, "yellow")),
        f"{edit:>5}  v{outcome.version:<5} {fact(plain(outcome.request))}",
        Span(f"  {told}" if told else "", "dim"),
    )


def _summary(counts: Mapping[str, int], total: int) -> Iterator[Item]:
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    yield (Span(f"{total} request{'' if total == 1 else 's'}: {told or 'nothing to do'}", "bold"),)
