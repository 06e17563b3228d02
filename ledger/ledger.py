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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ledger import inspection
from ledger.chain import weights_digest
from ledger.errors import Busy, InvalidInput, StaleVersion
from ledger.evaluation.gates import Gate
from ledger.opened import OpenedLedger
from ledger.options import EditOptions, Progress, check_words
from ledger.records import Rows, TagRecord
from ledger.verify import Finding, verify_structure
from ledger.views import (
    Answer,
    ChangeOutcome,
    EditOutcome,
    ExportView,
    GcView,
    ReplayView,
    StatsView,
    TestView,
)
from store import gc

if TYPE_CHECKING:
    from editors.requests import EditRequest
    from ledger.candidates import Settings

GRACE_SECONDS = 14 * 24 * 3600.0


def _settings(options: EditOptions) -> Settings:
    from ledger.candidates import Settings

    return Settings(
        options.get("method", "rome"), options.get("layer"), dict(options.get("overrides") or {})
    )


class Ledger(OpenedLedger):
    """One ledger folder. Make it with `init` or `open`; a context manager."""

    # --- writing --------------------------------------------------------------------------------

    def tag(self, name: str, version: str = "HEAD", *, note: str = "") -> int:
        """Name a version; an existing name moves. Raises: InvalidInput, UnknownRevision."""
        check_words(self.author, note)
        number = self.resolve(version)
        moved = self.journal.tags().get(name)
        rows = Rows(tags=(TagRecord(name=name, version=number),))
        payload = {"name": name, "version": number, "before": moved}
        self.journal.append("tag", rows=rows, payload=payload, author=self.author, note=note)
        return number

    def edit(self, request: EditRequest, **options: Unpack[EditOptions]) -> EditOutcome:
        """Edit one fact, measure it, and let the gate decide.

        Raises: InvalidRequest, UnknownMethod, InvalidHparams, EditFailed, StaleVersion, ...
        """
        from ledger.editing import Editing

        retry = options.get("retry", 0)
        if retry < 0:
            raise InvalidInput(f"retry is {retry}; it must be 0 or more")
        author, note = options.get("author") or self.author, options.get("note", "")
        check_words(author, note)
        while True:
            try:
                return Editing(self.workspace).run(
                    request,
                    _settings(options),
                    gate=options.get("gate", Gate()),
                    author=author,
                    note=note,
                    dry_run=options.get("dry_run", False),
                    progress=options.get("progress"),
                )
            except (StaleVersion, Busy):
                if retry == 0:
                    raise
                retry -= 1

    def edit_many(
        self, requests: Iterable[EditRequest], **options: Unpack[EditOptions]
    ) -> Iterator[EditOutcome]:
        """Edit many facts one after another, each on the version that carries the earlier ones.

        A request that is in the ledger already with these settings (active, or rejected by the
        same gate) comes back as `skipped`, so that a run that was cut short can be repeated.
        """
        settings, gate = _settings(options), options.get("gate", Gate())
        limits = None if gate is None else asdict(gate)
        known = inspection.known_requests(self.journal, limits)
        for request in requests:
            edit = None if options.get("dry_run") else known.get(settings.fingerprint(request))
            if edit is None:
                yield self.edit(request, **options)
            else:
                head = self.journal.history().head
                skipped = EditOutcome("skipped", request.to_json(), head, edit)
                yield replace(skipped, method=settings.method)

    def revert(
        self, refs: Sequence[str], note: str = "", author: str | None = None
    ) -> ChangeOutcome:
        """Take edits out: fold the weights without them. Raises: NotActive, UnknownRevision."""
        return self._change("revert", self._numbers(refs), note, author)

    def reapply(
        self, refs: Sequence[str], note: str = "", author: str | None = None
    ) -> ChangeOutcome:
        """Put reverted edits back at their old place. Raises: AlreadyActive, UnknownRevision."""
        return self._change("reapply", self._numbers(refs), note, author)

    def undo(self, note: str = "", author: str | None = None) -> ChangeOutcome:
        """Take back the last change, whatever it was (an edit, a revert, a reapply or a tag)."""
        last = inspection.last_undoable(self.journal)
        if last.op != "tag":
            change = self.journal.history().last_change()
            return self._change(change.undone_by, change.edits, note or "undo", author)
        check_words(author or self.author, note)
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
        self, op: str, edits: tuple[int, ...], note: str, author: str | None
    ) -> ChangeOutcome:
        check_words(author or self.author, note)
        history = self.journal.history()
        history.check(op, edits)
        old, chosen = set(history.active()), set(edits)
        active = history.ordered(old - chosen if op == "revert" else old | chosen)
        versions = self.workspace.versions
        tensors = {t.parameter: t.sha256 for t in versions.tensors(versions.plan(active))}
        entry = self.journal.append(
            op,
            expected_head=history.head,
            edits=edits,
            weights_digest=weights_digest(self.workspace.record.base_digest, tensors),
            tensors=tensors,
            author=author or self.author,
            note=note,
        )
        return ChangeOutcome(op, edits, entry.version, entry.weights_digest)

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
