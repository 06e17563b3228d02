"""`kel stats`: the second moments that covariance-based methods need.

Promise: what is measured is stored with its corpus and count; edits use the newest. A measurement
that was cut short goes on where it was when the same command is given again.

    kel stats --method memit --tokens auto
    kel stats --layer 3 --part 1/2 --out part-1
    kel stats --merge part-1 --merge part-2
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.invocation import Callback, Invocation, changing, common
from cli.layout import Table, number, short
from cli.output import Item

if TYPE_CHECKING:
    from ledger.views import PartView, StatsView

_TOLERANCE = 0.1


def _tokens(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
    """A number of tokens, `auto`, or None."""
    if value is None or value == "auto":
        return value
    if re.fullmatch(r"[0-9]{1,15}", value) and int(value) > 0:
        return int(value)
    raise click.BadParameter(f"{value!r} is neither a number above 0 nor 'auto'.")


def _part(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
    """`I/N` as a pair, or None."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", value or "")
    if value is None or (found and 1 <= int(found[1]) <= int(found[2])):
        return found and (int(found[1]), int(found[2]))
    raise click.BadParameter(f"{value!r} is no part: write 1/4 for the first of four.")


def _options(function: Callback) -> Callback:
    for option in (
        click.option("--merge", "folders", metavar="DIR", multiple=True,
                     type=click.Path(exists=True, file_okay=False, path_type=Path),
                     help="Record the sum of parts; once for each of their folders."),
        click.option("--out", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
                     help="With --part: the folder of the part."),
        click.option("--part", metavar="I/N", callback=_part,
                     help="Measure only every N-th text from the I-th, and record nothing."),
        click.option("--tolerance", metavar="X", type=click.FloatRange(0, min_open=True),
                     help="Stop where C⁻¹ k changed by no more since the check before "
                          "[auto: 0.1]."),
        click.option("--tokens", metavar="N|auto", callback=_tokens,
                     help="Read N tokens (default: 10 for each unit of the MLP's width); auto: "
                          "that many, or fewer if C has settled."),
        click.option("--corpus", metavar="FILE",
                     type=click.Path(exists=True, dir_okay=False, path_type=Path),
                     help="A text file; without it the embedded world, or texts sampled from the "
                          "model."),
        click.option("--method", metavar="M", default="rome", show_default=True,
                     help="Measure the layers that M needs."),
        click.option("--layer", "layers", metavar="N", multiple=True, type=click.IntRange(min=0),
                     help="Measure this layer instead; any number of times, in one pass."),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command()
@_options
@common
def command(invocation: Invocation, **options: Any) -> int:
    """Measure the second moments of layers' keys; edits use the newest.

    Under torchrun the processes share the work, and the result has the same bits.
    """
    _check(options)
    chosen = {name: options[name] for name in ("method", "corpus", "tolerance")}
    chosen["tokens"] = None if options["tokens"] == "auto" else options["tokens"]
    if options["tokens"] == "auto" and chosen["tolerance"] is None:
        chosen["tolerance"] = _TOLERANCE
    part, views = None, []
    with changing(invocation) as ledger, invocation.output.progress("stats") as bar:
        if options["folders"]:
            views = ledger.stats_merge(options["folders"])
        elif options["part"]:
            chosen.pop("tolerance")
            part = ledger.stats_part(
                options["part"], options["out"], options["layers"], **chosen, progress=bar.stage
            )
        else:
            views = ledger.stats(options["layers"], **chosen, progress=bar.stage)
    if part is None and not views:
        return 0  # the first process of torchrun tells
    content = {"stats": views, "part": part}
    return invocation.emit("stats", content, _part_layout(part) if part else _layout(views))


def _check(options: Mapping[str, Any]) -> None:
    others = ("layers", "corpus", "tokens", "tolerance", "part", "out")
    if options["folders"] and any(options[name] for name in others):
        raise click.UsageError("--merge takes the folders of parts and nothing else.")
    if bool(options["part"]) != bool(options["out"]):
        raise click.UsageError("--part and --out go together.")
    if options["part"] and (options["tolerance"] is not None or options["tokens"] == "auto"):
        raise click.UsageError("a part cannot tell whether C has settled: give --tokens N.")


def _layout(views: Sequence[StatsView]) -> Iterator[Item]:
    rows = [
        (
            str(view.layer),
            view.parameter,
            str(view.count),
            short(view.moment),
            short(view.factor),
            _settled(view.checks),
            view.corpus,
        )
        for view in views
    ]
    headings = ("layer", "parameter", "keys", "moment", "factor", "change of C⁻¹ k", "corpus")
    yield Table(headings, rows, right=(0, 2))


def _settled(checks: Sequence[Mapping[str, Any]]) -> str:
    """'0.47 since 3374 keys'."""
    if len(checks) < 2 or checks[-1]["change"] is None:
        return "-"
    return f"{number(checks[-1]['change'])} since {checks[-2]['count']} keys"


def _part_layout(part: PartView) -> Iterator[Item]:
    told = f"part {part.part} of {part.parts}: {part.count} keys of {part.texts} texts"
    yield (f"{told}, in {part.folder}",)
    yield ("kel stats --merge DIR, once for each part, records their sum",)
