"""The pages of proposals: preview, correction, confirmation, the change, its undo.

Promise: as `cli.web.proposing`, and every confirmation needs the password of an account; a change
is undone, and an edit put back, by another proposal.

    GET, POST /proposals    POST /undo    POST /reapply    GET /proposals/{id}
    POST /proposals/{id}/confirm    POST /proposals/{id}/withdraw    GET /changes/{job}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from cli.errors import LoginNeeded, Overloaded, known
from cli.proposals import of_edit
from cli.web.jobs import Job
from cli.web.pages import Visitor, failed, page, remembered, see, state_of, told, visitor_of
from cli.web.proposing import opened, preview_of, recorded, started

router = APIRouter()
Text = Annotated[str, Form(max_length=10_000)]
Edit = Annotated[int, Form(ge=1, le=10**9)]


@router.get("/proposals")
def proposals(request: Request) -> Response:
    """Those that wait to be confirmed."""
    state = state_of(request)
    return page(
        request,
        "proposals.html",
        waiting=state.access.proposals.waiting(),
        two=state.access.accounts.four_eyes(),
    )


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
    from ledger.errors import NotAllowed

    state, visitor = state_of(request), visitor_of(request)
    try:
        edit = EditRequest(subject, prompt, target_new, target_true.strip() or None)
    except Exception as error:
        failure = known(error)
        if failure is None:
            raise
        typed = {"subject": subject, "prompt": prompt}
        typed |= {"target_new": target_new, "target_true": target_true}
        return _uncorrected(request, instead, failure.message, typed)
    if instead:
        try:
            state.access.refuse(instead, who=visitor.name, role=visitor.role)
        except NotAllowed as error:
            return failed(request, 403, str(error))
    return _opened(request, "edit", edit.to_json())


def _uncorrected(request: Request, instead: str, message: str, typed: dict[str, str]) -> Response:
    """What was typed, to be corrected further, if it was to replace a proposal."""
    if state_of(request).access.proposals.get(instead) is None:
        return failed(request, 400, message)
    return _shown(request, instead, 400, message, typed=typed)


@router.post("/undo")
def undo(request: Request, edit: Edit) -> Response:
    """Make a proposal to take an edit back."""
    return _of_edit(request, "revert", edit)


@router.post("/reapply")
def reapply(request: Request, edit: Edit) -> Response:
    """Make a proposal to put an edit back at its place."""
    return _of_edit(request, "reapply", edit)


def _of_edit(request: Request, op: str, edit: int) -> Response:
    from ledger.errors import Conflict, UnknownRevision

    try:
        body = of_edit(state_of(request).ledger, op, str(edit))
    except UnknownRevision as error:
        return failed(request, 404, str(error))
    except Conflict as error:
        return failed(request, 409, str(error))
    return _opened(request, op, body)


def _opened(request: Request, kind: str, body: dict[str, Any]) -> Response:
    """A new proposal with its preview on the way; its page."""
    from ledger.errors import NotAllowed

    state, visitor = state_of(request), visitor_of(request)
    try:
        pending = opened(state, kind, body, visitor.name or "", visitor.key)
    except NotAllowed as error:
        raise LoginNeeded from error
    except Overloaded as error:
        return failed(request, 503, str(error), wait=5)
    return remembered(request, see(f"/proposals/{pending.id}"), visitor)


@router.get("/proposals/{name}")
def proposal(request: Request, name: str) -> Response:
    """What would change, what it would do, and the way to confirm it."""
    return _shown(request, name)


@router.post("/proposals/{name}/withdraw")
def withdraw(request: Request, name: str) -> Response:
    """Leave it."""
    from ledger.errors import NotAllowed

    visitor = visitor_of(request)
    try:
        state_of(request).access.refuse(name, who=visitor.name, role=visitor.role)
    except NotAllowed as error:
        return _shown(request, name, 403, str(error))
    return see("/")


@router.post("/proposals/{name}/confirm")
def confirm(
    request: Request, name: str, digest: Text = "", user: Text = "", password: Text = ""
) -> Response:
    """Use the proposal: with a password, once."""
    from ledger.errors import NotAllowed, ProposalGone, StaleVersion, TooManyAttempts

    visitor = visitor_of(request)
    who = visitor.name or user
    try:
        job = _confirmed(request, visitor, name, digest, who, password)
    except TooManyAttempts as error:
        found = _shown(request, name, 429, str(error), user=who)
        found.headers["retry-after"] = str(error.seconds)
        return found
    except NotAllowed as error:
        return _shown(request, name, 403, str(error), user=who)
    except StaleVersion:
        return _shown(request, name, 409, told(request, "moved"), user=who)
    except ProposalGone:
        return _shown(request, name, 409)
    except Overloaded as error:
        return failed(request, 503, str(error), wait=5)
    return remembered(request, see(f"/changes/{job.id}"), visitor)


def _confirmed(
    request: Request, visitor: Visitor, name: str, digest: str, who: str, password: str
) -> Job:
    """The change of a proposal, queued; `visitor` will watch it.

    Raises: ProposalGone, NotAllowed, TooManyAttempts, StaleVersion, Overloaded.
    """
    from ledger.errors import NotAllowed, ProposalGone, TooManyAttempts

    state = state_of(request)
    pending = state.access.proposals.get(name)
    if pending is None or pending.digest != digest or not state.access.proposals.usable(pending):
        raise ProposalGone("the proposal cannot be used")
    try:
        role = state.access.sign_in(who, password, address=visitor.address)
    except TooManyAttempts:
        raise
    except NotAllowed as error:
        raise NotAllowed(told(request, "wrong_login")) from error
    state.access.allow(role, "editor")
    return started(state, pending, digest, who=who, role=role, owner=visitor.key)


@router.get("/changes/{name}")
def change(request: Request, name: str) -> Response:
    """How far a change is, and what became of it, also after the application was restarted."""
    state = state_of(request)
    job = state.worker.find(name)
    if job is not None and job.kind == "change":
        return page(request, "change.html", job=job)
    pending = state.access.proposals.get(name)
    if pending is None or pending.state != "used":
        return failed(request, 404, "there is no such change, or it was long ago")
    return page(request, "became.html", pending=pending, entry=recorded(state, pending))


def _shown(
    request: Request,
    name: str,
    status: int = 200,
    message: str = "",
    *,
    user: str = "",
    typed: Mapping[str, str] | None = None,
) -> Response:
    """The page of a proposal; with the name, or the correction, that was typed into it."""
    state = state_of(request)
    pending = state.access.proposals.get(name)
    if pending is None:
        return failed(request, 404, "there is no such proposal, or it was long ago")
    return page(
        request,
        "proposal.html",
        status,
        pending=pending,
        job=preview_of(state, pending),
        usable=state.access.proposals.usable(pending),
        two=state.access.accounts.four_eyes(),
        message=message,
        user=user,
        typed=typed,
        here=f"/proposals/{name}",
    )
