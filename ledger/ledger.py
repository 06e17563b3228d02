"""The ledger: open, edit, revert, replay, test, verify, export. Orchestration only.

Promise: every verb leaves a ledger that verifies; what was acknowledged is on disk; reading verbs
import no torch.

Rules: a verb that changes the weights folds them from the base and records their digests before it
returns; verbs that read never write, except that tests and statistics record what they measured.

    with Ledger.init(Path("patched"), base="demo") as ledger:
        ledger.edit(EditRequest("Ada", "{} was born in", "Paris"))
        ledger.ask("Ada was born in").text
        ledger.revert(["1"])
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ledger.changing import ChangingLedger
from ledger.errors import InvalidInput
from ledger.options import Progress
from ledger.verify import Finding, verify_structure
from ledger.views import (
    Answer,
    ExportView,
    GcView,
    MethodView,
    ReplayView,
    StatsView,
    TestView,
)
from store import gc

GRACE_SECONDS = 14 * 24 * 3600.0


class Ledger(ChangingLedger):
    """One ledger folder. Make it with `init` or `open`; a context manager."""

    # --- computing ------------------------------------------------------------------------------

    def ask(self, prompt: str, *, at: str = "HEAD", max_new_tokens: int = 32) -> Answer:
        """The greedy answer of a version. Raises: InvalidInput, UnknownRevision."""
        from ledger.running import ask

        return ask(self.workspace, prompt, self.resolve(at), max_new_tokens)

    def replay(self, to: str = "HEAD", out: Path | None = None) -> ReplayView:
        """Rebuild a version from the base and compare every digest; `out` exports it too."""
        from ledger.running import replay

        return replay(self.workspace, self.resolve(to), out)

    def test(
        self, at: str = "HEAD", refs: Sequence[str] = (), progress: Progress = None
    ) -> TestView:
        """Test active edits and random locality again; store and compare with earlier runs."""
        from ledger.running import test

        version = self.resolve(at)
        return test(self.workspace, version, self._numbers(refs), self.author, progress)

    def verify(self, weights: bool = False, anchor: Path | None = None) -> list[Finding]:
        """Everything wrong with the ledger; with `weights`, also the base and every fold.

        `anchor` is an export (a folder or its `kel.json`), which names an entry by number and hash;
        only with one can entries that were cut off the end be noticed.
        """
        noted = None
        if anchor is not None:
            from ledger.manifest import anchor_of

            noted = anchor_of(anchor)
        findings = verify_structure(self.journal, self.store, anchor=noted)
        if weights and not any(f.severity == "error" for f in findings):
            from ledger.running import verify_weights

            findings += verify_weights(self.journal, self.store, self.folder.cache)
        return findings

    def export(self, directory: Path, at: str = "HEAD") -> ExportView:
        """Write a version as a merged checkpoint; only touched tensors are rewritten."""
        from ledger.export import export

        return export(self.workspace, self.resolve(at), directory)

    def stats(
        self,
        layer: int | None = None,
        corpus: Path | None = None,
        tokens: int | None = None,
        progress: Progress = None,
    ) -> list[StatsView]:
        """Measure the second moment of a layer (default: the one `rome` edits)."""
        from ledger.candidates import Candidates, Settings

        if tokens is not None and tokens < 1:
            raise InvalidInput(f"tokens is {tokens}; it must be at least 1")
        chosen = layer
        if chosen is None:
            hparams, _ = Candidates(self.workspace).hparams(Settings())
            chosen = int(hparams.to_dict()["layer"])
        return self.workspace.statistics.compute(
            [chosen], corpus=corpus, tokens=tokens, progress=progress
        )

    def methods(self) -> list[MethodView]:
        """The editing methods, with their defaults for this ledger's model."""
        from ledger.catalogue import methods

        return methods(self.journal.model())

    def gc(self, dry_run: bool = False, grace_seconds: float = GRACE_SECONDS) -> GcView:
        """Delete objects no row refers to, older than the grace period, under the write lock."""
        with self._database.write():
            found = gc.collect(
                self.store,
                self.journal.reachable,
                grace_seconds=grace_seconds,
                dry_run=dry_run,
                now=time.time,
            )
        return GcView(tuple(found.objects), tuple(map(str, found.temps)), found.bytes, dry_run)
