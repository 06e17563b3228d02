"""`kel bench`: methods beside one another on models and data sets; tables and pictures of it.

Promise: a run that is cut short goes on where it was; its rows can be shown while it is under way.

    kel bench run thesis/fig2-5 --out runs/fig2-5
    kel bench table runs/fig2-5 --kind methods
    kel bench plot runs/fig2-5 --kind locality --out locality.svg
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.documents import document
from cli.errors import Interrupted
from cli.invocation import Invocation, common
from cli.layout import pairs
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.runs.running import RunView
    from ledger.runs.tables import Sheet

_FOLDER = click.Path(file_okay=False, path_type=Path)
_SHOWN = 5
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(no_args_is_help=False)
def command() -> None:
    """Run methods beside one another, and show what was found."""


class _Part(click.ParamType[tuple[int, int]]):
    """'i/n' as (i, n)."""

    name = "part"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        number, slash, parts = str(value).partition("/")
        if not (slash and number.isdecimal() and parts.isdecimal()):
            self.fail(f"{value!r}: write it as 2/4, the second of four parts.", param, ctx)
        if not 1 <= int(number) <= int(parts):
            self.fail(f"{value!r}: parts are counted from 1 to {parts}.", param, ctx)
        return int(number), int(parts)


@command.command("run")
@click.argument("config", metavar="CONFIG")
@click.option("--out", metavar="DIR", type=_FOLDER, help="Where the run is kept [runs/CONFIG].")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="N facts of every data set.")
@click.option("--seed", metavar="S", type=click.IntRange(min=0), help="Another seed.")
@click.option(
    "--shard",
    metavar="I/N",
    type=_Part(),
    help="Only part I of N; under torchrun each process takes its own.",
)
@click.option("--base", metavar="BASE", help="This model in place of all; see kel init.")
@click.option("--revision", metavar="REV", help="Of --base, on the Hub.")
@click.option("--dtype", metavar="TYPE", help="What --base computes in.")
@click.option(
    "--device", metavar="DEV", help="Where --base computes: cpu, cuda, cuda:N, mps, auto."
)
@click.option(
    "--data",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="This data set in place of all.",
)
@common
def run(
    invocation: Invocation,
    config: str,
    out: Path | None,
    shard: tuple[int, int] | None,
    limit: int | None,
    seed: int | None,
    data: Path | None,
    **model: str | None,
) -> int:
    """Run the configuration CONFIG: a TOML file, or the name of one that comes with kel.

    A run that was cut short goes on where it was; a changed configuration needs another DIR.
    """
    from ledger.runs.reading import load
    from ledger.runs.running import part_of_process
    from ledger.runs.running import run as do

    given = {name: value for name, value in model.items() if value is not None}
    if given and "base" not in given:
        raise click.UsageError(f"--{next(iter(given))} goes with --base.")
    wanted = load(config).changed(limit=limit, seed=seed, model=given, data=data)
    folder = out or Path("runs") / wanted.name
    part = shard or part_of_process() or (1, 1)
    with invocation.output.progress("bench", total=1) as bar:
        try:
            view = do(wanted, folder, shard=part, progress=bar.done)
        except KeyboardInterrupt as interrupt:
            left = f"what is done is kept in {folder}; run it again to go on"
            raise Interrupted(left) from interrupt
    for line in view.skipped[:_SHOWN]:
        invocation.output.note(f"left out: {line}")
    if len(view.skipped) > _SHOWN:
        invocation.output.note(f"left out: {len(view.skipped) - _SHOWN} more records")
    return invocation.emit("bench.run", view, _run_layout(view))


def _run_layout(view: RunView) -> Iterator[Item]:
    missing = view.wanted - view.rows
    yield (Span(view.folder, "bold"), f": {view.rows} of {view.wanted} rows, {view.done} new")
    if missing:
        yield pairs([("left", f"{missing} rows, of other parts of the run")], indent=2)


_RUNS = click.argument(
    "folders", metavar="DIR...", nargs=-1, required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)  # fmt: skip
_KIND = click.option(
    "--kind",
    type=click.Choice(("methods", "locality", "constraints", "layers", "retention")),
    default="methods",
    show_default=True,
    help="Scores of the methods; locality after each edit; the thesis' tables 3-1 (constraints) "
    "and 3-3 (layers); all edits of a sequence measured again (retention).",
)
_UNTIMED = click.option("--without-times", is_flag=True, help="Leave the seconds out.")


@command.command("table")
@_RUNS
@_KIND
@click.option(
    "--form",
    type=click.Choice(("md", "csv", "json")),
    default="md",
    show_default=True,
    help="Markdown with three digits; the other two with all rows and digits.",
)
@_UNTIMED
@common
def table(
    invocation: Invocation,
    folders: tuple[Path, ...],
    kind: str,
    form: str,
    without_times: bool,
) -> int:
    """Show what the run in DIR found, or in several DIR that hold its parts."""
    from ledger.runs import tables

    sheet = _sheet(invocation, folders, kind, timed=not without_times)
    if form == "json" or invocation.json:
        invocation.output.raw(document("bench.table", tables.plain(sheet)))
    elif form == "csv":
        invocation.output.raw(tables.comma_separated(sheet).removesuffix("\n"))
    else:
        invocation.output.show((line,) for line in tables.markdown(sheet).splitlines())
    return 0


@command.command("plot")
@_RUNS
@_KIND
@click.option(
    "--out",
    metavar="FILE.png|svg|pdf",
    required=True,
    help="The picture.",
    type=click.Path(dir_okay=False, path_type=Path),
)
@_UNTIMED
@common
def plot(
    invocation: Invocation, folders: tuple[Path, ...], kind: str, out: Path, without_times: bool
) -> int:
    """Draw what the run in DIR found; its numbers are written beside the picture (FILE.csv)."""
    from ledger.runs.plots import draw
    from ledger.runs.tables import write_csv

    sheet = _sheet(invocation, folders, kind, timed=not without_times)
    draw(sheet, out)
    numbers = out.with_suffix(".csv")
    write_csv(sheet, numbers)
    invocation.output.note(f"drawn: {out}, numbers: {numbers}")
    return invocation.emit("bench.plot", {"picture": out, "numbers": numbers}, ())


def _sheet(invocation: Invocation, folders: Sequence[Path], kind: str, *, timed: bool) -> Sheet:
    """The table; a run that is not done is told to be so."""
    from ledger.runs.rows import RunFolder, gathered
    from ledger.runs.tables import sheet_of

    _, rows = gathered(folders)
    wanted = RunFolder(folders[0]).wanted()
    sheet = sheet_of(kind, rows, timed=timed)
    if len(rows) < wanted:
        invocation.output.note(f"so far: {len(rows)} of {wanted} rows")
    return sheet
