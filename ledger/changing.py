"""The verbs that change what a model says: edit, revert, reapply, undo; and tags.

Promise: each ends in one committed entry (a re-solve in two, a re-test in one more), or leaves the
ledger as it was.

Rules: base class of `ledger.Ledger`; what computes is imported inside the verb that needs it.

    ledger.edit_batch(requests, method="ft", gate=None).edits
    ledger.revert(["2"]).notes
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Unpack

from ledger import inspection
from ledger.bulk import chunks
from ledger.errors import Busy, Conflict, InvalidInput, StaleVersion
from ledger.evaluation.gates import DEFAULT_GATE, Gate
from ledger.history import BRANCHING, step
from ledger.opened import OpenedLedger
from ledger.options import BATCH_LIMIT, EditOptions, check_words
from ledger.records import Rows, TagRecord
from ledger.views import BatchOutcome, ChangeOutcome, EditOutcome
from store.errors import StoreError

if TYPE_CHECKING:
    from editors.requests import EditRequest
    from ledger.history import History
    from ledger.settings import Settings


def _settings(options: EditOptions) -> Settings:
    from ledger.settings import Settings

    return Settings(
        options.get("method", "rome"), options.get("layer"), dict(options.get("overrides") or {})
    )


class ChangingLedger(OpenedLedger):
    """An open ledger that can be written to."""

    def tag(self, name: str, version: str = "HEAD", *, note: str = "") -> int:
        """Name a version; an existing name moves.

        Raises: InvalidInput, UnknownRevision, Conflict (a branch has the name).
        """
        check_words(self.author, note)
        number = self.resolve(version)
        moved = self.journal.tags().get(name)
        if moved is None and name in self.journal.history().lines.tips:
            raise Conflict(f"there is a branch {name} already; a tag needs a name of its own")
        rows = Rows(tags=(TagRecord(name=name, version=number),))
        payload = {"name": name, "version": number, "before": moved}
        self.journal.append("tag", rows=rows, payload=payload, author=self.author, note=note)
        return number

    def edit(self, request: EditRequest, **options: Unpack[EditOptions]) -> EditOutcome:
        """Edit one fact, measure it, and let the gate decide.

        Raises: InvalidRequest, UnknownMethod, InvalidHparams, EditFailed, StaleVersion, ...
        """
        (outcome,) = self.edit_batch([request], **options).edits
        return outcome

    def edit_batch(
        self, requests: Sequence[EditRequest], **options: Unpack[EditOptions]
    ) -> BatchOutcome:
        """Edit facts with one call of the method; they are applied or rejected together.

        Facts that the model states already are left out. Raises: as `edit`; InvalidRequest from a
        method that takes one fact, InvalidInput for two requests with the same prompt.
        """
        from ledger.editing import Editing

        retry = options.get("retry", 0)
        if retry < 0:
            raise InvalidInput(f"retry is {retry}; it must be 0 or more")
        author, note = options.get("author") or self.author, options.get("note", "")
        check_words(author, note)
        branch = self._branch()
        while True:
            self._still_on(branch)
            try:
                return Editing(self.workspace).run(
                    requests,
                    _settings(options),
                    gate=options.get("gate", DEFAULT_GATE),
                    author=author,
                    note=note,
                    dry_run=options.get("dry_run", False),
                    progress=options.get("progress"),
                    retested=options.get("retested"),
                )
            except (StaleVersion, Busy):
                if retry == 0:
                    raise
                retry -= 1

    def edit_many(
        self,
        requests: Iterable[EditRequest],
        *,
        batch: int = 1,
        **options: Unpack[EditOptions],
    ) -> Iterator[EditOutcome]:
        """Edit many facts, `batch` at a time, each batch on the version that carries the earlier.

        A request that is in the ledger already with these settings (active, or rejected by the
        same gate) comes back as `skipped`, so that a run that was cut short can be repeated.
        Raises: as `edit_batch`, at the batch that fails; those before it are kept.
        """
        if not 1 <= batch <= BATCH_LIMIT:
            raise InvalidInput(f"a batch of {batch} facts; take 1 to {BATCH_LIMIT}")
        settings, gate = _settings(options), options.get("gate", DEFAULT_GATE)
        branch = self._branch()
        known: dict[str, int] = {}
        if not options.get("dry_run"):
            limits = None if gate is None else asdict(gate)
            known = inspection.known_requests(self.journal, limits, batched=batch > 1)
        for chunk in chunks(requests, batch, lambda r: known.get(settings.fingerprint(r))):
            self._still_on(branch)
            fresh = [request for request, edit in chunk if edit is None]
            done = iter(self.edit_batch(fresh, **options).edits if fresh else ())
            for request, edit in chunk:
                yield next(done) if edit is None else self._skipped(request, edit, settings)

    def _branch(self) -> str:
        return self.journal.history().lines.current

    def _still_on(self, branch: str) -> None:
        """Edits go on one branch: another process may have switched meanwhile. Raises: Conflict."""
        if (current := self._branch()) != branch:
            raise Conflict(
                f"the current branch was {branch} and is {current} by now; go back with "
                f"`kel switch {branch}` and repeat, or repeat it here"
            )

    def _skipped(self, request: EditRequest, edit: int, settings: Settings) -> EditOutcome:
        head = self.journal.history().head
        outcome = EditOutcome("skipped", request.to_json(), head, edit)
        return replace(outcome, method=settings.method)

    def revert(
        self,
        refs: Sequence[str],
        note: str = "",
        author: str | None = None,
        *,
        retest: bool = True,
        dry_run: bool = False,
    ) -> ChangeOutcome:
        """Take edits out: fold the weights without them.

        The outcome says which edits were computed with those in place and move without them; with
        `dry_run` that is all that happens. Facts that stay in the batch of one that goes are
        measured again; `retest=False` leaves that out. Raises: NotActive, UnknownRevision, Conflict
        (a part of a dense batch).
        """
        edits, history = self._numbers(refs), self.journal.history()
        told = self._foretold("revert", edits, history)
        if dry_run:
            return told
        found = self._change("revert", edits, note, author, retest=retest)
        return replace(found, disturbs=told.disturbs, notes=(*found.notes, *told.notes))

    def reapply(
        self,
        refs: Sequence[str],
        note: str = "",
        author: str | None = None,
        *,
        dry_run: bool = False,
    ) -> ChangeOutcome:
        """Put reverted edits back at their old place.

        With `dry_run` nothing is done, and `disturbs` are the edits that were computed without
        those and move with them. Raises: AlreadyActive, UnknownRevision, Conflict.
        """
        edits = self._numbers(refs)
        if dry_run:
            return self._foretold("reapply", edits, self.journal.history())
        return self._change("reapply", edits, note, author)

    def _foretold(self, op: str, edits: tuple[int, ...], history: History) -> ChangeOutcome:
        """Which edits move when these go or come; a note instead where a delta cannot be read.

        A damaged delta must not keep an edit in the model.
        """
        from ledger.interference import left_without

        history.check(op, edits)
        digest = self.journal.last_entry().weights_digest
        found = ChangeOutcome(op, edits, history.head, digest, dry_run=True)
        versions = self.workspace.versions
        versions.plan(history.ordered(step(frozenset(history.active()), op, edits)))
        try:
            return replace(found, disturbs=left_without(versions, history, edits, op))
        except StoreError as error:
            return replace(found, notes=(f"which edits move cannot be told: {error}",))

    def resolve_batch(
        self,
        refs: Sequence[str],
        note: str = "",
        author: str | None = None,
        *,
        gate: Gate | None = DEFAULT_GATE,
        ridge: float | None = None,
    ) -> ChangeOutcome:
        """Take edits out of their batch and solve the rest of it again, as if they had not been.

        From the stored keys and values, in closed form (`ledger.resolving`). The facts that stay
        get new numbers; `resolved` of the outcome tells them, or that the gate refused it, and then
        nothing was changed. Raises: InvalidInput, EditorFailure, Conflict.
        """
        from ledger.resolving import resolve_batch

        who = author or self.author
        check_words(who, note)
        numbers = self._numbers(refs)
        return resolve_batch(self.workspace, numbers, gate=gate, ridge=ridge, author=who, note=note)

    def resolve_active(
        self,
        note: str = "",
        author: str | None = None,
        *,
        gate: Gate | None = DEFAULT_GATE,
        ridge: float = 0.0,
        dry_run: bool = False,
    ) -> list[ChangeOutcome]:
        """Solve all active edits again at once, one batch for edits of the same parameters.

        In closed form from the stored keys and values (`ledger.consolidating`); `dry_run` measures
        and records nothing. Raises: InvalidInput, EditorFailure, Conflict.
        """
        from ledger.consolidating import consolidate

        who = author or self.author
        check_words(who, note)
        return list(
            consolidate(
                self.workspace, gate=gate, ridge=ridge, author=who, note=note, dry_run=dry_run
            )
        )

    def undo(self, note: str = "", author: str | None = None) -> ChangeOutcome:
        """Take back the last change: an edit, a revert, a whole re-solve, a tag, a merge, ..."""
        last = inspection.last_undoable(self.journal)
        check_words(author or self.author, note)
        if last.op in BRANCHING:
            from ledger.branching import taken_back

            who = author or self.author
            return taken_back(self.workspace, last, author=who, note=note or "undo")
        if last.op != "tag":
            from ledger.changes import of_resolve

            if edits := of_resolve(self.journal):
                return self._change("swap", edits, note or "undo", author)
            change = self.journal.history().last_change()
            return self._change(change.undone_by, change.edits, note or "undo", author)
        name, before = str(last.payload["name"]), last.payload.get("before")
        rows = Rows(tags=(TagRecord(name=name, version=before),))
        payload = {"name": name, "version": before, "before": last.payload["version"], "undo": True}
        entry = self.journal.append(
            "tag", rows=rows, payload=payload, author=author or self.author, note=note or "undo"
        )
        return ChangeOutcome("tag", (), entry.version, entry.weights_digest, name)

    def _numbers(self, refs: Sequence[str]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self.journal.edit(ref).id for ref in refs))

    def _change(
        self,
        op: str,
        edits: tuple[int, ...],
        note: str,
        author: str | None,
        *,
        retest: bool = True,
    ) -> ChangeOutcome:
        from ledger.changes import change, told

        who = author or self.author
        check_words(who, note)
        entry = change(self.workspace, op, edits, author=who, note=note)
        return told(self.workspace, entry, author=who, retest=retest)
