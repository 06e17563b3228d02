"""The verbs that find out and change nothing: disturbance, audit, bisection, verification.

Promise: none of them writes to the ledger, except that `foresee` measures and keeps statistics that
were missing.

Rules: base class of `ledger.Ledger`; what computes is imported inside the verb that needs it.

    ledger.interference("3").disturbs
    ledger.audit("deployed").verdict
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.auditing.views import AuditView, IdentityView
from ledger.errors import InvalidInput
from ledger.opened import OpenedLedger
from ledger.options import Progress
from ledger.shares import InterferenceView, Share
from ledger.verify import Finding, verify_structure

if TYPE_CHECKING:
    from editors.requests import EditRequest
    from ledger.bisect import BisectView


class InvestigatingLedger(OpenedLedger):
    """An open ledger that is asked."""

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
        layer: int | str | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> tuple[Share, ...] | None:
        """Active edits that an edit would disturb, told from its key before it is computed.

        None for a method without keys, and for the rule `wilke`. Raises: as `edit`.
        """
        from ledger.foreseeing import foreseen
        from ledger.interference import THRESHOLD
        from ledger.settings import Settings

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

            place = self.folder.base_place()
            findings += verify_weights(self.journal, self.store, self.folder.cache, place)
        return findings

    def audit(
        self,
        checkpoint: str,
        revision: str | None = None,
        *,
        subjects: Sequence[str] = (),
        prompts: Sequence[str] = (),
        probe: bool = False,
        guess: bool = True,
        progress: Progress = None,
    ) -> AuditView:
        """What a deployed checkpoint (folder, LoRA adapter, Hub id) carries, from its weights.

        `subjects`, `prompts`: whom an unledgered edit may be about, and what it may say of them;
        `probe`: ask the model as well; without `guess` an unledgered change is not read, and then
        no model is loaded. Raises: InvalidInput, CheckpointError, BaseMismatch, RemoteFailure.
        """
        from ledger.auditing.audit import audit

        return audit(
            self.workspace,
            checkpoint,
            revision=revision,
            subjects=subjects,
            prompts=prompts,
            probe=probe,
            guess=guess,
            progress=progress,
        )

    def fetch_deployed(self, repo: str, revision: str | None = None) -> tuple[str, Path]:
        """Commit and folder of a model on the Hub, to be audited; never a folder of that name.

        Raises: InvalidInput (no Hub id, or much larger than the base), RemoteFailure.
        """
        from ledger.auditing.fetching import fetched

        return fetched(self.workspace.record, repo, revision)

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
