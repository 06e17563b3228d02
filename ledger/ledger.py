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

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.auditing.views import AuditView, IdentityView
from ledger.changing import ChangingLedger
from ledger.errors import InvalidInput
from ledger.options import Progress
from ledger.shares import InterferenceView, Share
from ledger.verify import Finding, verify_structure
from ledger.views import (
    Answer,
    ExportView,
    GcView,
    MethodView,
    PartView,
    ReplayView,
    StatsView,
    TestView,
)
from store import gc

if TYPE_CHECKING:
    from editors.requests import EditRequest
    from ledger.bisect import BisectView

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
        self,
        at: str = "HEAD",
        refs: Sequence[str] = (),
        progress: Progress = None,
        *,
        affected_by: str | None = None,
        threshold: float | None = None,
    ) -> TestView:
        """Test active edits and random locality again; store and compare with earlier runs.

        `affected_by`: instead of all, the edits that one edit moved by more than `threshold`; if
        there are none, nothing is tested and nothing recorded.
        """
        from ledger.running import test

        version, chosen = self.resolve(at), self._numbers(refs)
        if affected_by is not None:
            if refs:
                raise InvalidInput("name the edits to test, or the one they are affected by")
            view = self.interference(affected_by, at=at, threshold=threshold)
            chosen = tuple(sorted(item.edit for item in view.disturbs))
            if not chosen:
                return TestView(version, (), {}, {}, None)
        return test(self.workspace, version, chosen, self.author, progress)

    def interference(
        self,
        ref: str | None = None,
        *,
        at: str = "HEAD",
        threshold: float | None = None,
        plot: Path | None = None,
    ) -> InterferenceView:
        """Who disturbs whom at a version, from the stored factors; `plot` draws it as SVG.

        Raises: UnknownRevision, InvalidInput (an edit that was never applied; a plot without
        matplotlib).
        """
        from ledger.interference import THRESHOLD, everything, shown

        version = self.resolve(at)
        limit = THRESHOLD if threshold is None else threshold
        if not 0 <= limit < math.inf:
            raise InvalidInput(f"the threshold is {limit}; it must be a number from 0 up")
        edit = None if ref is None else self.journal.edit(ref).id
        versions = self.workspace.versions
        if plot is not None:
            from ledger.heatmap import draw

            draw(everything(versions, self.journal.history(), version), plot)
        return shown(versions, self.journal, version, edit, limit)

    def foresee(
        self,
        request: EditRequest,
        *,
        method: str = "rome",
        layer: int | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> tuple[Share, ...] | None:
        """Active edits that an edit would disturb, told from its key before it is computed.

        None for a method without keys. Raises: as `edit`.
        """
        from ledger.candidates import Settings
        from ledger.foreseeing import foreseen
        from ledger.interference import THRESHOLD

        settings = Settings(method, layer, dict(overrides or {}))
        return foreseen(self.workspace, request, settings, THRESHOLD)

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

    def export(
        self,
        directory: Path,
        at: str = "HEAD",
        *,
        form: str = "merged",
        private: bool = False,
        link: bool = False,
        compress: bool = False,
    ) -> ExportView:
        """Write a version as a release: `merged` weights, a PEFT `adapter`, or a `bundle`.

        `private` names facts by their hashes only; `link` shares untouched weight files with the
        base by hard link; `compress` gives an adapter of the smallest rank that float32 can tell
        from the sum. Raises: InvalidInput, StoreWriteError.
        """
        from ledger.export import export

        return export(
            self.workspace,
            self.resolve(at),
            directory,
            form=form,
            private=private,
            link=link,
            compress=compress,
        )

    def audit(
        self,
        checkpoint: str,
        revision: str | None = None,
        *,
        subjects: Sequence[str] = (),
        prompts: Sequence[str] = (),
        probe: bool = False,
        progress: Progress = None,
    ) -> AuditView:
        """What a deployed checkpoint (folder, LoRA adapter, Hub id) carries, from its weights.

        `subjects`, `prompts`: whom an unledgered edit may be about, and what it may say of them;
        `probe`: ask the model as well.
        Raises: InvalidInput, CheckpointError, BaseMismatch, RemoteFailure.
        """
        from ledger.auditing.audit import audit

        return audit(
            self.workspace,
            checkpoint,
            revision=revision,
            subjects=subjects,
            prompts=prompts,
            probe=probe,
            progress=progress,
        )

    def identify(self, checkpoint: str, revision: str | None = None) -> IdentityView:
        """Which version a deployed checkpoint is. Raises: as `audit`."""
        from ledger.auditing.audit import identity

        return identity(self.workspace, checkpoint, revision)

    def bisect(
        self,
        prompt: str | None = None,
        *,
        good: str,
        bad: str,
        expect: str | None = None,
        run: str | None = None,
        progress: Progress = None,
    ) -> BisectView:
        """The version after which the answer to a prompt (or a command's verdict) went wrong.

        `run` is given the version's model as a folder. Raises: InvalidInput, UnknownRevision,
        EditorFailure.
        """
        from ledger.bisect import bisect

        ends = {"good": self.resolve(good), "bad": self.resolve(bad)}
        return bisect(self.workspace, prompt, **ends, expect=expect, run=run, progress=progress)

    def stats(
        self,
        layers: Sequence[int] = (),
        *,
        method: str = "rome",
        corpus: Path | None = None,
        tokens: int | None = None,
        tolerance: float | None = None,
        progress: Progress = None,
    ) -> list[StatsView]:
        """Measure the second moments of layers (default: those that the method needs) in one pass.

        Under `torchrun` every process does its share; the first records, the others return nothing.
        Raises: InvalidInput, LayerOutOfRange.
        """
        from editors.team import team_of_processes
        from ledger.statistics import Wanted

        wanted = Wanted(corpus, tokens, tolerance)
        with team_of_processes() as team:
            chosen = self._layers(layers, method)
            shown = progress if team.first else None
            return self.workspace.statistics.compute(chosen, wanted, shown, team)

    def stats_part(
        self,
        part: tuple[int, int],
        folder: Path,
        layers: Sequence[int] = (),
        *,
        method: str = "rome",
        corpus: Path | None = None,
        tokens: int | None = None,
        progress: Progress = None,
    ) -> PartView | None:
        """Sum part (i, n) of a measurement into a folder, for `stats_merge`; records nothing.

        Raises: as `stats`; Conflict if the folder holds sums of something else.
        """
        from editors.team import team_of_processes
        from ledger.statistics import Wanted

        wanted = Wanted(corpus, tokens)
        with team_of_processes() as team:
            chosen = self._layers(layers, method)
            shown = progress if team.first else None
            statistics = self.workspace.statistics
            return statistics.part(chosen, wanted, *part, folder, shown, team)

    def stats_merge(self, folders: Sequence[Path]) -> list[StatsView]:
        """Record the second moments whose parts lie in these folders. Raises: InvalidInput."""
        return self.workspace.statistics.merge(folders)

    def _layers(self, layers: Sequence[int], method: str) -> Sequence[int]:
        """These layers, or those whose second moments a method needs by its defaults."""
        if layers:
            return layers
        from editors.methods import get_editor
        from ledger.candidates import Candidates, Settings

        hparams, _ = Candidates(self.workspace).hparams(Settings(method))
        found = sorted(get_editor(method).needs(hparams))
        if not found:
            raise InvalidInput(f"{method} uses no second moments; name the layers")
        return found

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
