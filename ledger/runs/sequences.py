"""Edits that stay, in a ledger of their own, which says what has been done.

Promise: the numbers of a record are those that its ledger recorded with the edit, so that a run
that was killed between the commit and its row writes the very same row.

Rules: an edit's note is the place of its record; a fact that the model says already is `known`,
one that the method refuses `refused`: both with the numbers of the model as it is.

    sequence = Sequence(ledger, Settings("memit"))
    sequence.step(0, request).metrics["reliability"]
    sequence.retention(requests[:10])["reliability"]        # all of them, on the weights of now
"""

from __future__ import annotations

from collections.abc import Sequence as Several

from editors.errors import InvalidRequest
from editors.requests import EditRequest
from ledger.evaluation.metrics import means
from ledger.inspection import entries_backwards
from ledger.ledger import Ledger
from ledger.runs.trials import GAVE_UP, SECONDS, Trial, Trials
from ledger.settings import Settings


class Sequence:
    """One method, one fact after another."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger, self._settings = ledger, settings
        self._made = {
            entry.note: entry.edits[0]
            for entry in entries_backwards(ledger.journal)
            if entry.op == "apply"
        }

    def step(self, place: int, request: EditRequest) -> Trial:
        """Edit the record at `place`, unless the ledger has it. Raises: as `Ledger.edit`."""
        edit, settings = self._made.get(str(place)), self._settings
        if edit is None:
            try:
                outcome = self._ledger.edit(
                    request,
                    method=settings.method,
                    layer=settings.layer,
                    overrides=settings.overrides,
                    gate=None,
                    note=str(place),
                )
            except (*GAVE_UP, InvalidRequest) as error:
                return self._as_it_is(request, "refused", str(error))
            edit = outcome.edit
        return self._as_it_is(request, "known") if edit is None else self._recorded(edit)

    def retention(self, requests: Several[EditRequest]) -> dict[str, float]:
        """Means over these requests, and the random probes, of the head."""
        workspace = self._ledger.workspace
        try:
            _, plan = workspace.at_head()
            active = self._ledger.journal.edits(self._ledger.journal.history().active())
            measured = workspace.examiner.edits(requests, plan)
            return {
                **means([one.metrics for one in measured]),
                **workspace.examiner.randoms(plan, active).metrics,
            }
        finally:
            workspace.rest()

    def _as_it_is(self, request: EditRequest, outcome: str, reason: str = "") -> Trial:
        found = Trials(self._ledger).unedited([request])[0]["answers"]
        return Trial(outcome, found.metrics, reason=reason)

    def _recorded(self, edit: int) -> Trial:
        """From the rows that were committed with the edit."""
        rows = self._ledger.journal.measurements(edit_id=edit, suite="edit")
        metrics = {row.metric: row.value for row in rows}
        seconds = metrics.pop(SECONDS)
        batch = self._ledger.journal.batch(self._ledger.journal.edit(edit).batch_id)
        return Trial("edited", metrics, batch.layers, seconds=seconds)
