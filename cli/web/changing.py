"""Proposals and what becomes of them: preview, correction, confirmation, the change, its undo.

Promise: nothing is changed but by a confirmed proposal: once, within its time, by its digest, with
the password of an account that may; a change is undone by another proposal.

    POST /proposals    POST /undo    GET /proposals/{id}    POST /proposals/{id}/confirm
    POST /proposals/{id}/withdraw    GET /changes/{job}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from cli.errors import Overloaded, known
from cli.web.jobs import Job
from cli.web.pages import failed, page, remembered, see, state_of, visitor_of
from cli.web.state import State

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.access import Pending
    from ledger.retests import Retest

router = APIRouter()
LISTED: Final = 200  # earlier edits that hold are told up to here, the others always
Text = Annotated[str, Form()]


@router.post("/proposals")
def propose(
    request: Request,
    subject: Text = "",
    prompt: Text = "",
    target_new: Text = "",
    target_true: Text = "",
    instead: Text = "",
) -> Response:
    """Make a proposal of an edit, in place of another one if it was corrected by hand."""
    from ledger import EditRequest

    state = state_of(request)
    try:
        edit = EditRequest(subject, prompt, target_new, target_true.strip() or None)
    except Exception as error:
        failure = known(error)
        if failure is None:
            raise
        return failed(request, 400, failure.message)
    if instead:
        state.access.proposals.withdraw(instead)
    return _opened(request, "edit", edit.to_json())


@router.post("/undo")
def undo(request: Request, edit: Annotated[int, Form()]) -> Response:
    """Make a proposal to take an edit back."""
    from ledger.errors import UnknownRevision

    state = state_of(request)
    try:
        view = state.ledger.show(str(edit))
    except UnknownRevision as error:
        return failed(request, 404, str(error))
    if not view.active:
        return failed(request, 409, f"edit {edit} is not active: there is nothing to take back")
    return _opened(request, "revert", {"edit": edit, **view.fact})


def _opened(request: Request, kind: Any, body: dict[str, Any]) -> Response:
    """A new proposal with its preview on the way."""
    state, visitor = state_of(request), visitor_of(request)
    pending = state.access.proposals.open(kind, body, visitor.name or "")
    try:
        job = state.worker.submit(
            "preview", visitor.key, lambda le, job: _preview(le, job, pending)
        )
    except Overloaded as error:
        return failed(request, 503, str(error), wait=5)
    state.preview_of(pending.id, job.id)
    return remembered(request, see(f"/proposals/{pending.id}"), visitor)


@router.get("/proposals/{name}")
def proposal(request: Request, name: str) -> Response:
    """What would change, what it would do, and the way to confirm it."""
    return _shown(request, name)


@router.post("/proposals/{name}/withdraw")
def withdraw(request: Request, name: str) -> Response:
    """Leave it."""
    state_of(request).access.proposals.withdraw(name)
    return see("/")


@router.post("/proposals/{name}/confirm")
def confirm(
    request: Request, name: str, digest: Text = "", user: Text = "", password: Text = ""
) -> Response:
    """Use the proposal: with a password, once."""
    from ledger.errors import NotAllowed, ProposalGone, TooManyAttempts

    state, visitor = state_of(request), visitor_of(request)
    pending = state.access.proposals.get(name)
    if pending is None or pending.digest != digest or not state.access.proposals.usable(pending):
        return _shown(request, name, 409)
    who = visitor.name or user
    try:
        role = state.access.sign_in(who, password, address=visitor.address)
        state.access.allow(role, "editor")
        job = _started(state, pending, who, visitor.key)
    except TooManyAttempts as error:
        found = _shown(request, name, 429, str(error))
        found.headers["retry-after"] = str(error.seconds)
        return found
    except NotAllowed as error:
        return _shown(request, name, 403, str(error))
    except ProposalGone:
        return _shown(request, name, 409)
    except Overloaded as error:
        return failed(request, 503, str(error), wait=5)
    return remembered(request, see(f"/changes/{job.id}"), visitor)


def _started(state: State, pending: Pending, who: str, owner: str) -> Job:
    """Use the proposal and queue the change."""
    taken = state.access.proposals.take(pending.id, pending.digest)
    return state.worker.submit("change", owner, lambda le, job: _change(le, job, taken, who))


@router.get("/changes/{name}")
def change(request: Request, name: str) -> Response:
    """How far a change is, and what became of it."""
    job = state_of(request).worker.find(name)
    if job is None or job.kind != "change":
        return failed(request, 404, "there is no such change, or it was long ago")
    return page(request, "change.html", job=job)


def _shown(request: Request, name: str, status: int = 200, message: str = "") -> Response:
    state = state_of(request)
    pending = state.access.proposals.get(name)
    if pending is None:
        return failed(request, 404, "there is no such proposal, or it was long ago")
    job = state.worker.find(state.previews.get(name, ""))
    usable = state.access.proposals.usable(pending)
    return page(
        request,
        "proposal.html",
        status,
        pending=pending,
        job=job,
        usable=usable,
        message=message,
    )


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
    request = EditRequest.from_json(pending.body)
    return ledger.preview(request, **_telling(job))


def _change(ledger: Ledger, job: Job, pending: Pending, who: str) -> Any:
    """Do what was confirmed, in the name of who confirmed it."""
    from ledger import EditRequest

    note = f"proposal {pending.digest[:12]}"
    if pending.kind == "revert":
        return ledger.revert([str(pending.body["edit"])], note=note, author=who)
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
