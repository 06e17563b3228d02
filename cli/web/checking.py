"""The pages that compare and check: two versions, an edit's interference, the ledger as a whole.

Promise: they read and change nothing; what takes long (interference, verification) is done for one
visitor at a time, so that looking cannot keep the application busy.

    GET /diff    GET /edits/{edit}/interference    GET /verify    (and each with .json)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import Response

from cli.documents import document
from cli.errors import Overloaded
from cli.web.pages import page, state_of
from cli.web.reading import Name, Telling, twin, written
from cli.web.state import State

if TYPE_CHECKING:
    from ledger.verify import Finding

router = APIRouter(route_class=Telling)


@router.get("/diff")
@router.get("/diff.json")
def diff(request: Request, old: Name = "base", new: Name = "HEAD") -> Response:
    """What came and went between two versions."""
    view = state_of(request).ledger.diff(old, new)
    if twin(request):
        return written(document("diff", view))
    return page(request, "diff.html", view=view, old=old, new=new)


@router.get("/edits/{edit}/interference")
@router.get("/edits/{edit}/interference.json")
def interference(request: Request, edit: str, at: Name = "HEAD") -> Response:
    """What an edit moved, what moved it, and what its revert would move."""
    state = state_of(request)
    with alone(state):
        view = state.ledger.interference(edit, at=at)
    if twin(request):
        return written(document("interference", view))
    own = next((row for row in view.rows if row.edit == view.edit), None)
    return page(request, "interference.html", view=view, own=own)


@router.get("/verify")
@router.get("/verify.json")
def verify(request: Request) -> Response:
    """Whether history, records and objects are as recorded; the weights are not folded."""
    state = state_of(request)
    with alone(state):
        good, findings = findings_of(state)
    if twin(request):
        return written(document("verify", {"ok": good, "findings": findings}))
    return page(request, "verify.html", good=good, findings=findings)


def findings_of(state: State) -> tuple[bool, list[Finding]]:
    """Whether all is as recorded, and what is not; places are told within the ledger's folder."""
    from cli.commands.verify import STATUS

    found, root = state.ledger.verify(), f"{state.ledger.folder.root}/"
    good = not any(finding.severity in STATUS for finding in found)
    return good, [replace(one, text=one.text.replace(root, "")) for one in found]


@contextmanager
def alone(state: State) -> Iterator[None]:
    """Only one visitor at a time. Raises: Overloaded."""
    if not state.looking.acquire(blocking=False):
        raise Overloaded("somebody else's check is running; try again in a moment")
    try:
        yield
    finally:
        state.looking.release()
