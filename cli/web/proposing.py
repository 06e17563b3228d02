"""Proposals in the application, as pages and the API both make and confirm them.

Promise: nothing is changed but by a confirmed proposal: once, within its time, by its digest, in
the name of an account that may; where a second person is needed, not by who proposed it.

    pending = opened(state, "edit", request.to_json(), proposer="ada", owner=key)
    job = started(state, pending, pending.digest, who="bob", role="editor", owner=key)
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cli.errors import Overloaded
from cli.proposals import note_of
from cli.web.jobs import Job
from cli.web.state import State, remember

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.access import Pending
    from ledger.retests import Retest
    from ledger.views import LogView

PAGE: Final = 200
LISTED: Final = 200  # earlier edits that hold are told up to here, the others always


def opened(state: State, kind: Any, body: dict[str, Any], proposer: str, owner: str) -> Pending:
    """A new proposal with its preview on the way. Raises: NotAllowed, Overloaded."""
    pending = state.access.propose(kind, body, proposer)
    try:
        _look(state, pending, owner)
    except Overloaded:
        state.access.proposals.withdraw(pending.id)
        raise
    return pending


def _look(state: State, pending: Pending, owner: str) -> None:
    """Have it found out what a proposal would do. Raises: Overloaded."""
    job = state.worker.submit("preview", owner, lambda le, job: _preview(le, job, pending))
    remember(state.previews, pending.id, job.id)


def preview_of(state: State, pending: Pending) -> Job | None:
    """The job that looks into a proposal, while it is remembered."""
    return state.worker.find(state.previews.get(pending.id, ""))


def _check_seen(state: State, pending: Pending, owner: str) -> None:
    """Refuse what was found out at another version than the head, and have it found out anew.

    Raises: StaleVersion, Overloaded.
    """
    from ledger.errors import StaleVersion

    job, now = preview_of(state, pending), state.head().version
    if job is None or job.result is None:
        return
    seen = int(getattr(job.result, "outcome", job.result).version)
    if seen != now:
        _look(state, pending, owner)
        raise StaleVersion(seen, now)


def started(
    state: State, pending: Pending, digest: str, *, who: str, role: str | None, owner: str
) -> Job:
    """Use a proposal and queue its change, under the proposal's name, which outlives the job.

    Raises: StaleVersion, NotAllowed, ProposalGone, Overloaded.
    """
    if state.access.proposals.usable(pending):
        _check_seen(state, pending, owner)
    taken = state.access.confirm(pending.id, digest, who=who, role=role)
    return state.worker.submit(
        "change", owner, lambda le, job: _change(le, job, taken, who), name=taken.id
    )


def recorded(state: State, pending: Pending) -> LogView | None:
    """The entry that a used proposal led to: the newest ones, back to when it was proposed."""
    before = 0
    while entries := state.ledger.log(PAGE, before=before):
        for entry in entries:
            if entry.note == note_of(pending):
                return entry
        if datetime.fromisoformat(entries[-1].created_at).timestamp() < pending.created_at:
            return None
        before = entries[-1].seq
    return None


# --- in the worker's thread -----------------------------------------------------------------------


def _preview(ledger: Ledger, job: Job, pending: Pending) -> Any:
    """What a proposal would do, measured and not recorded."""
    from ledger import EditRequest
    from ledger.errors import ProposalGone

    found = ledger.access.proposals.get(pending.id)
    if found is None or not ledger.access.proposals.usable(found):
        raise ProposalGone("the proposal was used or withdrawn before it was looked into")
    if pending.kind == "revert":
        return ledger.revert([str(pending.body["edit"])], dry_run=True)
    if pending.kind == "reapply":
        return ledger.reapply([str(pending.body["edit"])], dry_run=True)
    return ledger.preview(EditRequest.from_json(pending.body), **_telling(job))


def _change(ledger: Ledger, job: Job, pending: Pending, who: str) -> Any:
    """Do what was confirmed, in the name of who confirmed it."""
    from ledger import EditRequest

    note = note_of(pending)
    if pending.kind == "revert":
        return ledger.revert([str(pending.body["edit"])], note=note, author=who)
    if pending.kind == "reapply":
        return ledger.reapply([str(pending.body["edit"])], note=note, author=who)
    request = EditRequest.from_json(pending.body)
    return ledger.edit(request, author=who, note=note, retry=2, **_telling(job))


def _telling(job: Job) -> dict[str, Any]:
    """What the ledger is given to tell a job how far it is."""

    def progress(phase: str, share: float) -> None:
        word, _, rest = phase.partition(", ")
        job.tell("progress", {"phase": word, "rest": rest, "share": share})

    def retested(found: Retest) -> None:
        if found.verdict != "holds" or found.done <= LISTED:
            job.tell("retest", found)
        # A hundred steps are enough for a bar, however many edits there are.
        if found.done * 100 // found.total != (found.done - 1) * 100 // found.total:
            progress(f"retest, {found.done} / {found.total}", found.share)

    return {"progress": progress, "retested": retested}
