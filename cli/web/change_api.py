"""The API of the ledger, changing: proposals, their confirmation, and what became of them.

Promise: a change needs a token of scope `edit`, whose account may, and the digest of a proposal
that was made before; with four eyes that of somebody else. The token stands for the password.

    POST /v1/ledger/proposals    POST /v1/ledger/edits/3/revert    POST /v1/ledger/undo
    POST /v1/ledger/proposals/{id}/confirm {"digest": "..."}    GET /v1/ledger/changes/{id}?wait=30
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from cli.documents import plain
from cli.errors import ApiError
from cli.proposals import of_edit, of_undo
from cli.web import shapes
from cli.web.bearer import ERRORS, Caller, needs
from cli.web.jobs import Job
from cli.web.ledger_api import PAGE, After, Limit, Told, answered, paged
from cli.web.pages import state_of
from cli.web.proposing import opened, preview_of, recorded, started
from cli.web.state import State

if TYPE_CHECKING:
    from ledger.access import Pending

Reader = Annotated[Caller, Depends(needs("read"))]
Editor = Annotated[Caller, Depends(needs("edit"))]
Wait = Annotated[int, Query(ge=0, le=60, description="Seconds to wait for the end.")]
router = APIRouter(prefix="/v1/ledger", route_class=Told, tags=["changes"], responses=ERRORS)


@router.get("/proposals", response_model=shapes.ProposalPage)
def list_proposals(request: Request, _: Reader, after: After = 0, limit: Limit = PAGE) -> Response:
    """Those that wait to be confirmed, oldest first; `after` is a place in the list."""
    state = state_of(request)
    waiting, more = paged(state.access.proposals.waiting(), after, limit)
    return answered(shapes.ProposalPage(tuple(_proposal(state, one) for one in waiting), more))


@router.post("/proposals", response_model=shapes.Proposal, status_code=201)
def propose_edit(request: Request, caller: Editor, body: shapes.EditBody) -> Response:
    """Propose to teach a fact; the preview is on its way."""
    from ledger import EditRequest

    edit = EditRequest.from_json(plain(body))
    return _made(request, caller, "edit", edit.to_json())


@router.post("/edits/{ref}/revert", response_model=shapes.Proposal, status_code=201)
def propose_revert(request: Request, caller: Editor, ref: str) -> Response:
    """Propose to take an edit out."""
    return _made(request, caller, "revert", of_edit(state_of(request).ledger, "revert", ref))


@router.post("/edits/{ref}/reapply", response_model=shapes.Proposal, status_code=201)
def propose_reapply(request: Request, caller: Editor, ref: str) -> Response:
    """Propose to put an edit back at its place."""
    return _made(request, caller, "reapply", of_edit(state_of(request).ledger, "reapply", ref))


@router.post("/undo", response_model=shapes.Proposal, status_code=201)
def propose_undo(request: Request, caller: Editor) -> Response:
    """Propose to take the last change back."""
    return _made(request, caller, *of_undo(state_of(request).ledger))


@router.get("/proposals/{name}", response_model=shapes.Proposal)
async def get_proposal(request: Request, _: Reader, name: str, wait: Wait = 0) -> Response:
    """One proposal with its preview."""
    state = state_of(request)
    pending = _known(state, name)
    await _ended(preview_of(state, pending), wait)
    return answered(_proposal(state, _known(state, name)))


@router.post("/proposals/{name}/confirm", response_model=shapes.Change, status_code=202)
def confirm_proposal(
    request: Request, caller: Editor, name: str, body: shapes.Confirmation
) -> Response:
    """Use a proposal, once; the change runs and is told by its id."""
    state = state_of(request)
    who, role, pending = caller.name or "", caller.role, _known(state, name)
    job = started(state, pending, body.digest, who=who, role=role, owner=caller.owner)
    return answered(_change(job), 202, {"location": f"/v1/ledger/changes/{job.id}"})


@router.post("/proposals/{name}/refuse", response_model=shapes.Proposal)
def refuse_proposal(request: Request, caller: Editor, name: str) -> Response:
    """Make a proposal useless."""
    state = state_of(request)
    _known(state, name)
    state.access.refuse(name, who=caller.name, role=caller.role)
    return answered(_proposal(state, _known(state, name)))


@router.get("/changes/{name}", response_model=shapes.Change)
async def get_change(request: Request, _: Reader, name: str, wait: Wait = 0) -> Response:
    """How far a change is, and what became of it; after a restart the entry it led to."""
    state = state_of(request)
    job = state.worker.find(name)
    if job is not None and job.kind == "change":
        await _ended(job, wait)
        return answered(_change(job))
    pending = state.access.proposals.get(name)
    entry = recorded(state, pending) if pending and pending.state == "used" else None
    if entry is None:
        raise _missing("there is no such change, or it was long ago")
    return answered(shapes.Change(name, "done", entry=entry))


def _made(request: Request, caller: Caller, kind: Any, body: dict[str, Any]) -> Response:
    """A new proposal with its preview on the way."""
    state = state_of(request)
    pending = opened(state, kind, body, caller.name or "", caller.owner)
    place = {"location": f"/v1/ledger/proposals/{pending.id}"}
    return answered(_proposal(state, pending), 201, place)


def _known(state: State, name: str) -> Pending:
    """A proposal. Raises: ApiError."""
    found = state.access.proposals.get(name)
    if found is None:
        raise _missing("there is no such proposal, or it was long ago")
    return found


def _missing(message: str) -> ApiError:
    return ApiError(404, message, "invalid_request_error", "UnknownRevision")


async def _ended(job: Job | None, seconds: int) -> None:
    """Wait for a job, but not longer."""
    if job is None or not seconds:
        return
    try:
        async with asyncio.timeout(seconds):
            async for _ in job.watch():
                pass
    except TimeoutError:
        return


def _proposal(state: State, pending: Pending) -> shapes.Proposal:
    values: dict[str, Any] = {**vars(pending), "body": dict(pending.body)}
    job = preview_of(state, pending)
    return shapes.Proposal(**values, preview=None if job is None else _preview(job))


def _preview(job: Job) -> shapes.Preview:
    failure = job.failure.message if job.failure else None
    if job.state != "done":
        return shapes.Preview(job.state, failure)
    if hasattr(job.result, "op"):
        return shapes.Preview("done", change=job.result)
    return shapes.Preview("done", edit=job.result.outcome, foreseen=job.result.foreseen)


def _change(job: Job) -> shapes.Change:
    failure = job.failure.message if job.failure else None
    of_edit = not hasattr(job.result, "op")
    return shapes.Change(
        job.id,
        job.state,
        failure,
        edit=job.result if of_edit else None,
        change=None if of_edit else job.result,
    )
