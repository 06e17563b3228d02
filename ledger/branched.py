"""The verbs about branches: branch, switch, merge.

Promise: each ends in one committed entry (a merge that is solved again in more), or leaves the
ledger as it was.

Rules: base class of `ledger.Ledger`; what computes is imported inside the verb that needs it.

    ledger.branch("trial")
    ledger.switch("trial").version
    ledger.merge("trial").outcome
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.branches import BranchView, MergeView, SwitchView
from ledger.evaluation.gates import DEFAULT_GATE, Gate
from ledger.opened import OpenedLedger
from ledger.options import check_words


class BranchedLedger(OpenedLedger):
    """An open ledger with branches."""

    def branches(self) -> list[BranchView]:
        """All branches by name, beside the current one."""
        from ledger.branching import branches

        return branches(self.journal)

    def branch(self, name: str, at: str = "HEAD", *, note: str = "") -> int:
        """Open a branch at a version, and stay where one is; returns the version.

        Raises: InvalidInput, Conflict (there is one of that name), UnknownRevision.
        """
        from ledger.branching import named

        check_words(self.author, note)
        version = self.resolve(at)
        named(self.journal, name, version, author=self.author, note=note)
        return version

    def close_branch(self, name: str, *, note: str = "") -> int:
        """Give up the name of a branch, not its versions; returns its last one.

        Raises: Conflict (it is the current branch), UnknownRevision.
        """
        from ledger.branching import named

        check_words(self.author, note)
        version = self.journal.history().lines.tip(name)
        named(self.journal, name, None, author=self.author, note=note)
        return version

    def switch(self, name: str, *, note: str = "") -> SwitchView:
        """Make a branch the current one: a new version with the edits of its last.

        Raises: UnknownRevision, Conflict (it is current), StaleVersion, IntegrityFailure.
        """
        from ledger.branching import switch

        check_words(self.author, note)
        return switch(self.workspace, name, author=self.author, note=note)

    def merge(
        self,
        name: str,
        *,
        take: Sequence[str] = (),
        rest: str | None = None,
        allow_interference: bool = False,
        threshold: float | None = None,
        resolve: bool = False,
        ridge: float = 0.0,
        gate: Gate | None = DEFAULT_GATE,
        dry_run: bool = False,
        note: str = "",
        author: str | None = None,
    ) -> MergeView:
        """Bring what a branch changed since the common version into the current one.

        Facts that both sides changed to different ends are decided by `take`, edits that are right,
        and `rest`: `ours` or `theirs` for all others. Edits that the other side moves by more than
        `threshold` are allowed by `allow_interference`, or put right by `resolve`: all edits are
        solved again at once, and the gate decides on that.
        What is still to be decided comes back as the outcome `conflict`, what the gate refused as
        `rejected`. Raises: UnknownRevision, InvalidInput, Conflict (a part of a dense batch),
        StaleVersion, EditorFailure (with `resolve`).
        """
        from ledger.merging import LIMIT, Terms, merge
        from ledger.uniting import Decisions

        who = author or self.author
        check_words(who, note)
        terms = Terms(
            decisions=Decisions(frozenset(self.journal.edit(ref).id for ref in take), rest),
            threshold=LIMIT if threshold is None else threshold,
            allow_interference=allow_interference,
            resolve=resolve,
            ridge=ridge,
            gate=gate,
            dry_run=dry_run,
            author=who,
            note=note,
        )
        return merge(self.workspace, name, terms)
