"""Verbs that run or rebuild a version: ask, replay, test, verify weights.

Promise: a version that does not fold to its recorded digests is reported, never used.

    ask(workspace, "Ada was born in", version=3, max_new_tokens=16).text
    replay(workspace, version=3, out=None).matches
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from editors.errors import InvalidRequest
from editors.requests import VALIDITY, EditRequest, Probe
from ledger.base import check, find_again
from ledger.chain import weights_digest
from ledger.continuing import Continued, Updates
from ledger.errors import IntegrityFailure, InvalidInput, LedgerError, NotActive
from ledger.evaluation.metrics import means
from ledger.evaluation.protocol import DIGITS, records_digest
from ledger.export import export_plan
from ledger.facts import superseded
from ledger.inspection import fact_line
from ledger.journal import Journal
from ledger.measuring import Measured
from ledger.records import EditRecord, EntryRecord, MeasurementRecord, Rows
from ledger.retests import HOLDS
from ledger.verify import Finding
from ledger.versions import Plan, Versions
from ledger.views import Answer, ReplayView, TestRow, TestView
from ledger.weights import digest
from ledger.workspace import Workspace
from store.errors import StoreError
from store.objects import ObjectStore

Progress = Callable[[str, float], None] | None
_TOGETHER = 100  # edits whose probes are asked together; progress is told after each


def ask(workspace: Workspace, prompt: str, version: int, max_new_tokens: int) -> Answer:
    """The greedy answer of a version, up to its natural stop."""
    if not 1 <= max_new_tokens <= 4096:
        raise InvalidInput(f"{max_new_tokens} new tokens; ask for 1 to 4096")
    Probe(prompt)  # the same limits as any other prompt
    try:
        workspace.at(version)
        (text,) = workspace.live.model.generate([prompt], max_new_tokens)
    finally:
        workspace.rest()
    return Answer(version, prompt, text)


def replay(workspace: Workspace, version: int, out: Path | None) -> ReplayView:
    """Fold a version from the base and compare every digest; write it to `out` if it matches."""
    versions, entry = workspace.versions, workspace.journal.entry_of(version)
    plan = versions.plan(workspace.journal.history().active(version))
    tensors = {t.parameter: t.sha256 for t in versions.tensors(plan)}
    found = weights_digest(workspace.record.base_digest, tensors)
    matches = found == entry.weights_digest and tensors == dict(entry.tensors)
    if out is not None and matches:
        export_plan(workspace, version, plan, out)
    return ReplayView(
        version=version,
        matches=matches,
        weights_digest=found,
        recorded_digest=entry.weights_digest,
        tensors=tensors,
        out=str(out) if out is not None and matches else None,
    )


# --- test ---------------------------------------------------------------------------------------


def test(
    workspace: Workspace, version: int, edits: Sequence[int], author: str, progress: Progress
) -> TestView:
    """Measure active edits of a version again, and the random probes; store the numbers.

    Without `edits`, those that carry a fact: a superseded one is measured when it is named.
    Raises: NotActive if an edit that is asked for is not active there.
    """
    journal = workspace.journal
    active = journal.history().active(version)
    missing = [edit for edit in edits if edit not in active]
    if missing:
        raise NotActive(f"edit {missing[0]} is not active in version {version}: nothing to test")
    carried = {edit.id: edit for edit in journal.edits(active)}
    older = superseded(tuple(carried.values()))
    chosen = [carried[edit] for edit in edits or (edit for edit in active if edit not in older)]
    try:
        plan = workspace.at(version)
        measured: list[Measured] = []
        for start in range(0, len(chosen), _TOGETHER):
            part = chosen[start : start + _TOGETHER]
            measured += workspace.examiner.edits([request_of(edit) for edit in part], plan)
            if progress is not None:
                progress("testing", (start + len(part)) / (len(chosen) + 1))
        randoms = workspace.examiner.randoms(plan, carried.values())
    finally:
        workspace.rest()
    return _record(workspace, version, chosen, measured, randoms, author, older)


def request_of(edit: EditRecord) -> EditRequest:
    """The request an edit was made from."""
    try:
        return EditRequest.from_json(
            {
                "subject": edit.subject,
                "prompt": edit.prompt,
                "target_new": edit.target_new,
                "target_true": edit.target_true,
                **{name: getattr(edit, name) for name in VALIDITY},
                **edit.probes,
            }
        )
    except InvalidRequest as error:
        raise IntegrityFailure(f"edit {edit.id} holds no valid request: {error}") from error


def _record(
    workspace: Workspace,
    version: int,
    edits: Sequence[EditRecord],
    measured: Sequence[Measured],
    randoms: Measured,
    author: str,
    older: Mapping[int, int],
) -> TestView:
    journal = workspace.journal
    found = means([m.metrics for m in measured]) | dict(randoms.metrics)
    previous = _previous(journal, [edit.id for edit in edits])
    rows: list[MeasurementRecord] = []
    for edit, one in zip(edits, measured, strict=True):
        rows += one.rows(edit.id, "test")
    rows += randoms.rows(None, "test")
    asked = _protocols([*measured, randoms])
    predictions = [p for m in (*measured, randoms) for p in m.predictions]
    kept = tuple({p.prompt: p for p in predictions}.values())
    journal.append(
        "test",
        edits=[edit.id for edit in edits],
        rows=Rows(
            measurements=tuple(replace(row, version=version) for row in rows), predictions=kept
        ),
        payload={"version": version, "means": found, "protocols": asked},
        author=author,
    )
    workspace.examiner.kept(kept)
    before = _comparable(previous, asked) if previous else {}
    return TestView(
        version=version,
        rows=tuple(
            tested(journal, e, m, older.get(e.id)) for e, m in zip(edits, measured, strict=True)
        ),
        metrics=found,
        drift={n: found[n] - before[n] for n in found if n in before},
        previous_version=int(previous.payload["version"]) if previous else None,
    )


def tested(
    journal: Journal, edit: EditRecord, measured: Measured, superseded_by: int | None
) -> TestRow:
    """An edit measured again, beside what was measured right after it was made."""
    first = {m.metric: m.value for m in journal.measurements(edit_id=edit.id, suite="edit")}
    return TestRow(
        edit=edit.id,
        fact=fact_line(edit),
        metrics=dict(measured.metrics),
        at_edit=first,
        answer=measured.after,
        holds=measured.metrics["reliability"] >= HOLDS,
        superseded_by=superseded_by,
    )


def _protocols(measured: Sequence[Measured]) -> dict[str, str]:
    """Metric -> digest of how all its numbers were measured."""
    found: dict[str, list[str]] = {}
    for one in measured:
        for name, detail in one.details.items():
            found.setdefault(name, []).append(detail["protocol"])
    return {name: records_digest(each)[:DIGITS] for name, each in found.items()}


def _comparable(previous: EntryRecord, asked: Mapping[str, str]) -> Mapping[str, float]:
    """The means of an earlier test that were measured as now; all, if it does not tell how."""
    means: Mapping[str, float] = previous.payload["means"]
    then: Mapping[str, str] = previous.payload.get("protocols", asked)

    def same(name: str) -> bool:
        metric = name.removesuffix("_free")
        return then.get(metric) == asked.get(metric)

    return {name: value for name, value in means.items() if same(name)}


def _previous(journal: Journal, edits: Sequence[int]) -> EntryRecord | None:
    """The newest earlier test of the same edits."""
    for entry in journal.entries_of_kind("test"):
        if list(entry.edits) == list(edits):
            return entry
    return None


# --- verify -------------------------------------------------------------------------------------


def verify_weights(
    journal: Journal, store: ObjectStore, cache: Path, place: Path | None
) -> list[Finding]:
    """Hash the base in full, and fold every version whose digest was recorded."""
    record = journal.model()
    try:
        folder = find_again(record, place)
        check(record.config["files"], folder, cache=cache / "base.json", trust_dates=False)
        versions = Versions(journal, store, folder)
    except (LedgerError, StoreError) as error:
        return [Finding("error", "base.changed", record.base_id, str(error))]
    return _verify_folds(journal, versions, record.base_digest)


def _verify_folds(journal: Journal, versions: Versions, base_digest: str) -> list[Finding]:
    findings: list[Finding] = []
    history, folds = journal.history(), _Folds(versions)
    for version in range(history.head + 1):
        entry, name = journal.entry_of(version), f"version {version}"
        try:
            tensors = folds.digests(versions.plan(history.active(version)))
        except (LedgerError, StoreError) as error:
            findings.append(Finding("error", "weights.unfoldable", name, str(error)))
            continue
        wrong = sorted(
            p for p in set(tensors) | set(entry.tensors) if tensors.get(p) != entry.tensors.get(p)
        )
        if wrong:
            text = f"{wrong[0]} does not fold to its recorded digest."
            findings.append(Finding("error", "weights.digest", name, text))
        elif weights_digest(base_digest, tensors) != entry.weights_digest:
            text = "its weights digest is not that of its tensors."
            findings.append(Finding("error", "weights.digest", name, text))
    return findings


class _Folds:
    """The digests of plan after plan; a parameter whose updates are the last ones keeps its own."""

    def __init__(self, versions: Versions) -> None:
        self._sums = Continued(versions)
        self._last: dict[str, tuple[Updates, str]] = {}

    def digests(self, plan: Plan) -> dict[str, str]:
        """Parameter -> sha256. Raises: as `Continued.weights`."""
        for parameter in sorted(plan):
            wanted = plan[parameter]
            if self._last.get(parameter, ((), ""))[0] != wanted:
                sha = digest(self._sums.weights(parameter, wanted))
                self._last[parameter] = wanted, sha
        return {parameter: self._last[parameter][1] for parameter in plan}
