"""`kel status`: where the ledger stands.

Promise: the version, its edits, the base it stands on and the digest that proves it.

    kel status
    kel status --json
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from cli.invocation import Invocation, common, opened
from cli.layout import many, pairs, short
from cli.output import Item, Span
from cli.text import Part

if TYPE_CHECKING:
    from ledger.views import StatusView


@click.command()
@common
def command(invocation: Invocation) -> int:
    """Show the version, its edits and the base."""
    with opened(invocation) as ledger:
        view = ledger.status()
    return invocation.emit("status", view, layout(view))


def layout(view: StatusView) -> Iterator[Item]:
    """The state as a list of fields."""
    base = view.base
    commit = f" at {short(base.revision)}" if base.revision else ""
    others = [f"{name} = v{v}" for name, v in sorted(view.branches.items()) if name != view.branch]
    tags = ", ".join(f"{name} = v{version}" for name, version in sorted(view.tags.items()))
    yield pairs(
        [
            ("version", Span(f"v{view.version}", "bold")),
            ("branch", view.branch if others else ""),
            ("active", many(view.active)),
            ("reverted", many(view.reverted)),
            ("elsewhere", many(view.elsewhere) if view.elsewhere else ""),
            ("rejected", many(view.rejected)),
            ("expired", _expired(view.expired)),
            ("weights", short(view.weights_digest)),
            ("head", f"{short(view.head)} (entry {view.entries})"),
            ("tags", tags),
            ("branches", ", ".join(others)),
            ("base", f"{base.id}{commit} ({base.model_type}, {base.dtype})"),
            ("assumed", base.assumed),
            ("prompts", "asked through the chat template" if base.chat else ""),
            ("checkpoint", base.path),
            ("base digest", short(base.digest)),
            ("ledger", view.ledger),
        ]
    )


def _expired(edits: Sequence[int]) -> Part:
    if not edits:
        return ""
    return Span(f"{many(edits)} (kel facts --expired lists them)", "yellow")
