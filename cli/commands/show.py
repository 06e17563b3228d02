"""`kel show`: one edit, whole.

Promise: everything that is recorded of the edit, and whether it is active now.

    kel show 3
    kel show 9f3c2b --json
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from cli.invocation import Invocation, common, opened
from cli.layout import Table, number, numbers, pairs, short, valid, value_text, when
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import EditView


@click.command()
@click.argument("edit", metavar="ID")
@common
def command(invocation: Invocation, edit: str) -> int:
    """Show the edit ID (its number, or the beginning of its hash)."""
    with opened(invocation) as ledger:
        view = ledger.show(edit)
    return invocation.emit("show", view, _layout(view))


def _layout(view: EditView) -> Iterator[Item]:
    state, style = _state(view)
    yield (Span(f"edit {view.id}  ", "bold"), Span(state, style), Span(f"  {view.hash}", "dim"))
    yield _fields(view)
    yield from _section("metrics", [(k, number(v)) for k, v in view.metrics.items()])
    yield from _section("details", flat(view.details))
    yield from _measured(view.details.get("measured"))
    yield from _section("hparams", [(k, value_text(v)) for k, v in view.hparams.items()])
    yield from _probes(view.probes)


def _state(view: EditView) -> tuple[str, str]:
    if view.rejected:
        return "rejected", "red"
    if view.elsewhere:
        return (f"on another branch, made on {view.branch}", "yellow")
    return ("active", "green") if view.active else ("reverted", "yellow")


def _fields(view: EditView) -> Table:
    layers = ", ".join(str(layer) for layer in view.layers)
    return pairs(
        [
            ("subject", view.fact["subject"] or ""),
            ("prompt", view.fact["prompt"] or ""),
            ("target", view.fact["target_new"] or ""),
            ("instead of", view.fact["target_true"] or ""),
            ("valid", valid(view.fact.get("valid_from"), view.fact.get("valid_until"))),
            ("source", view.fact.get("source") or ""),
            ("method", f"{view.method}, layer {layers}" if layers else view.method),
            ("delta", _delta(view.delta)),
            ("made", f"{when(view.created_at)} by {view.author} (batch {view.batch})"),
            ("note", view.note),
            ("in place of", numbers(view.supersedes) if view.supersedes else ""),
            ("replaced by", str(view.superseded_by or "")),
        ],
        indent=2,
    )


def _delta(delta: Mapping[str, Any]) -> str:
    if not delta.get("oid"):
        return "none"
    rank = f", rank {delta['rank']}" if delta.get("rank") is not None else ""
    parameters = delta.get("parameters")
    if isinstance(parameters, Mapping | list | tuple):
        parameters = ", ".join(str(name) for name in parameters)
    return f"{short(delta['oid'])}{rank}{f', {parameters}' if parameters else ''}"


def _section(title: str, items: Iterable[tuple[str, str]]) -> Iterator[Item]:
    found = list(items)
    if found:
        yield (Span(title, "bold"),)
        yield pairs(found, indent=2)


def flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Labels and values; a group within the values as 'group.label', what is empty left out."""
    for label, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{label}.{inner}", text) for inner, text in flat(value))
        elif value is not None and not _is_table(value):
            yield label, value_text(value).strip()


def _is_table(value: object) -> bool:
    """A list of answers, which is shown as a table of its own."""
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)


def answered(groups: object) -> Iterator[tuple[str, ...]]:
    """Measure, prompt, wanted answer, answers before and after, score, of each probe."""
    if not isinstance(groups, Mapping):
        return
    names = ("prompt", "answer", "before", "after", "score")
    for kind, group in groups.items():
        for value in group.values() if isinstance(group, Mapping) else ():
            for probe in value if _is_table(value) else ():
                yield str(kind), *(value_text(probe.get(name, "")).strip() for name in names)


def _measured(groups: object) -> Iterator[Item]:
    """What was answered to each probe before and after the edit."""
    rows = list(answered(groups))
    if rows:
        yield (Span("answers", "bold"),)
        yield Table(("measure", "prompt", "wanted", "before", "after", "score"), rows, indent=2)


def probed(probes: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Kind, prompt and answer of each probe of a request."""
    for kind, group in probes.items():
        for probe in group if isinstance(group, list | tuple) else [group]:
            yield kind, *_probe(probe)


def _probes(probes: Mapping[str, Any]) -> Iterator[Item]:
    rows = list(probed(probes))
    if rows:
        yield (Span("probes", "bold"),)
        yield Table(("kind", "prompt", "answer"), rows, indent=2)


def _probe(probe: object) -> tuple[str, str]:
    if isinstance(probe, Mapping):
        return value_text(probe.get("prompt", "")), value_text(probe.get("answer") or "")
    return value_text(probe), ""
