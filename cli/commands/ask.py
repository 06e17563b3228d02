"""`kel ask`: let a version answer.

Promise: the answer is greedy, so the same version always gives the same one.

    kel ask "Ada Lovelace was born in"
    kel ask "Ada Lovelace was born in" --at v3 --compare
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cli.documents import plain
from cli.invocation import Invocation, common, opened
from cli.output import Item, Span

if TYPE_CHECKING:
    from ledger.views import Answer


@click.command()
@click.argument("prompt")
@click.option(
    "--at", metavar="VERSION", default="HEAD", show_default=True, help="The version that is asked."
)
@click.option("--compare", is_flag=True, help="Show what the unedited base says as well.")
@common
def command(invocation: Invocation, prompt: str, at: str, compare: bool) -> int:
    """Let a version of the model continue PROMPT."""
    with opened(invocation) as ledger:
        answer = ledger.ask(prompt, at=at)
        base = ledger.ask(prompt, at="base") if compare else None
    content: dict[str, Any] = plain(answer)
    if base is not None:
        content["base"] = plain(base)
    return invocation.emit("ask", content, _layout(answer, base))


def _layout(answer: Answer, base: Answer | None) -> Iterator[Item]:
    if base is None:
        yield from ((text,) for text in answer.text.strip().split("\n"))
        return
    for label, given in (("base", base), (f"v{answer.version}", answer)):
        for text in given.text.strip().split("\n"):
            yield (Span(f"{label:<6}", "dim"), text)
