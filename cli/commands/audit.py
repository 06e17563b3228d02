"""`kel audit` and `kel identify`: what a deployed model carries, from its weights alone.

Promise: nothing in the checkpoint but its weights is believed; exit 0 only if they are those of a
version bit for bit.

    kel audit merged/ --probe
    kel identify owner/name --revision main
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from cli.invocation import Callback, Invocation, common, opened
from cli.layout import Table, numbers
from cli.output import Item, Span
from cli.text import Part

if TYPE_CHECKING:
    from ledger.auditing.views import AuditView, EditShare, IdentityView, Reading

_STYLES = MappingProxyType(
    {"present": "green", "absent": "dim", "partial": "red", "ambiguous": "yellow", "clean": "green"}
)
_LISTED = 40  # edits; `--json` has them all
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _revision(function: Callback) -> Callback:
    return click.option("--revision", metavar="R", help="With a Hub id: branch, tag or commit.")(
        function
    )


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@_revision
@click.option("--probe", is_flag=True, help="Ask the deployed model for the facts as well.")
@click.option(
    "--subjects",
    metavar="FILE",
    type=_FILE,
    help="Whom an unledgered edit may be about, one a line; the ledger's own are tried too.",
)
@click.option(
    "--prompts",
    metavar="FILE",
    type=_FILE,
    help="What it may say of them: prompts with {}, one a line, beside the ledger's own.",
)
@common
def audit(
    invocation: Invocation,
    checkpoint: str,
    revision: str | None,
    probe: bool,
    subjects: Path | None,
    prompts: Path | None,
) -> int:
    """Tell which edits a deployed model carries, and what it carries besides.

    CHECKPOINT is a folder of safetensors, a LoRA adapter or a Hub id. Exit 0 if it is a version of
    this ledger bit for bit, else 1.
    """
    with opened(invocation) as ledger, invocation.output.progress("audit") as bar:
        view = ledger.audit(
            checkpoint,
            revision,
            subjects=_lines(subjects),
            prompts=_lines(prompts),
            probe=probe,
            progress=bar.stage,
        )
    return invocation.emit("audit", view, _audit(view), 0 if view.identity.by == "digest" else 1)


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@_revision
@common
def identify(invocation: Invocation, checkpoint: str, revision: str | None) -> int:
    """Tell which version of this ledger CHECKPOINT is.

    By digest, else by the edits that its weights carry. Exit 0 if it is one bit for bit, else 1.
    """
    with opened(invocation) as ledger:
        view = ledger.identify(checkpoint, revision)
    return invocation.emit("identify", view, _identity(view), 0 if view.by == "digest" else 1)


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} is not UTF-8 text: convert it") from error


def _identity(view: IdentityView) -> Iterator[Item]:
    names = ", ".join(f"v{version}" for version in view.versions)
    tags = f" ({', '.join(view.tags)})" if view.tags else ""
    if view.by == "digest":
        yield (Span(f"{names}{tags}", "bold"), Span(" bit for bit", "green"))
        return
    known = Span(f"carries the edits of {names}{tags}, not its bits", "yellow")
    yield (known if view.by == "regression" else Span(f"no version; nearest {names}{tags}", "red"),)
    for word, edits in (("more", view.more), ("less", view.less), ("unclear", view.unclear)):
        if edits:
            yield (Span(f"  {word:8}", "dim"), numbers(edits))
    if view.verdict != "clean":
        yield (Span(f"  {view.verdict}", "red"),)


def _audit(view: AuditView) -> Iterator[Item]:
    yield (Span(view.verdict, _STYLES.get(view.verdict, "red")), f"  {view.kind} {view.checkpoint}")
    yield from ((Span("  why  ", "dim"), reason) for reason in view.reasons)
    yield from _identity(view.identity)
    yield (Span(", ".join(f"{n} {_spoken(word)}" for word, n in view.counts.items()), "dim"),)
    # What differs from the ledger's head comes first, so that it is seen in a long list.
    edits = sorted(view.edits, key=lambda edit: (as_recorded(edit), edit.edit))
    if edits:
        yield _table(edits[:_LISTED], {s.edit: s.answer.strip() for s in view.said})
    if len(edits) > _LISTED:
        yield (Span(f"and {len(edits) - _LISTED} more as the ledger's head has them", "dim"),)
    for group in view.groups:
        low, high = _bound(group.low), _bound(group.high)
        yield (f"edits {numbers(group.edits)} cannot be told apart in {group.parameter}: ",
               f"together {group.coefficient:.3f} ({low} to {high})")  # fmt: skip
    yield from _tensors(view)
    for reading in view.readings:
        yield from _reading(reading)


def _spoken(word: str) -> str:
    return word.replace("tensors_", "tensors ")


def as_recorded(edit: EditShare) -> bool:
    """Whether an edit is there as the ledger's head has it."""
    return edit.verdict == ("present" if edit.state == "active" else "absent")


def _bound(value: float | None) -> str:
    return "unbounded" if value is None else f"{value:.3f}"


def _table(edits: list[EditShare], answers: Mapping[int, str]) -> Table:
    rows: list[tuple[Part, ...]] = [
        (
            str(edit.edit),
            Span(edit.verdict, _STYLES.get(edit.verdict, "red")),
            f"{edit.coefficient:.3f}",
            f"{_bound(edit.low)} to {_bound(edit.high)}",
            edit.state,
            edit.fact,
            *([answers.get(edit.edit, "")] if answers else []),
        )
        for edit in edits
    ]
    says = ("says",) if answers else ()
    headings = ("edit", "verdict", "share", "95 %", "in the ledger", "fact", *says)
    return Table(headings, rows, right=(0, 2))


def _tensors(view: AuditView) -> Iterator[Item]:
    rows = [
        (t.name, t.state, f"{t.relative:.2e}", f"{t.effective_rank:.1f}", f"{t.gap:.1f}",
         str(t.rank) if t.rank else "", str(t.levels or ""))
        for t in view.tensors
        if t.state != "exact"
    ]  # fmt: skip
    if rows:
        headings = ("tensor", "residual", "of base", "eff. rank", "gap", "structure", "levels")
        yield Table(headings, rows[:_LISTED], right=(2, 3, 4, 5, 6))
    if len(rows) > _LISTED:
        yield (Span(f"and {len(rows) - _LISTED} more", "dim"),)


def _reading(reading: Reading) -> Iterator[Item]:
    yield (Span("unledgered, by guess  ", "bold"), reading.parameter)
    if reading.subjects:
        yield ("  about   ", _scored(reading.subjects))
    for prompt, answer, gain in reading.objects:
        yield (f"  says    {prompt} ", Span(answer, "bold"), f" +{gain:.2f}")
    yield ("  points at ", _scored(reading.head))


def _scored(pairs: tuple[tuple[str, float], ...]) -> str:
    return ", ".join(f"{text.strip()} {score:.2f}" for text, score in pairs)
