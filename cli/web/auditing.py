"""The audit page: a folder that is allowed, a model on the Hub, or files that are sent.

Promise: an audit reads weights beside the model that answers, one at a time; what was sent is
deleted when it ends; where there are accounts it needs the role editor, before anything is read.

    GET /audit    POST /audit    GET /audits/{job}    (and with .json)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from cli.documents import document
from cli.errors import Failure, Interrupted, Overloaded, known
from cli.web.deployed import below, check
from cli.web.jobs import Job
from cli.web.pages import failed, page, remembered, see, state_of, visitor_of
from cli.web.reading import Number, Telling, refused, twin, written
from cli.web.state import State
from cli.web.uploads import Upload, received

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.auditing.views import AuditView

ROWS: Final = 200
PATIENCE: Final = 600.0  # seconds in which everything must have been sent
ROOM: Final = 100_000  # bytes of a form beside its files
router = APIRouter(route_class=Telling)


@dataclass(frozen=True)
class Asked:
    """What is to be audited: of `place`, `repo` and `upload` there is one."""

    place: str = ""
    repo: str = ""
    revision: str | None = None
    upload: Upload | None = None
    guess: bool = False

    @property
    def label(self) -> str:
        """How it is called on the page."""
        return self.upload.label if self.upload else self.repo or self.place


@router.get("/audit")
def form(request: Request) -> Response:
    """The form."""
    state = state_of(request)
    settings, accounts = state.settings, bool(state.access.accounts.all())
    return page(request, "audit.html", settings=settings, accounts=accounts)


@router.post("/audit")
async def audit(request: Request) -> Response:
    """Queue an audit."""
    from ledger.errors import InvalidInput, NotAllowed

    state, visitor = state_of(request), visitor_of(request)
    try:
        await run_in_threadpool(_allow, state, visitor.role)
    except NotAllowed as error:
        return failed(request, 403, f"{error}; log in first" if not visitor.name else str(error))
    if not state.uploading.acquire(blocking=False):
        raise Overloaded("somebody else is sending a model; try again in a moment")
    try:
        async with (
            asyncio.timeout(PATIENCE),
            request.form(max_files=2, max_fields=8) as sent,
        ):
            asked = await _asked(state, sent)
    except ClientDisconnect as error:
        raise InvalidInput(f"more than {state.settings.audit_bytes} bytes were sent") from error
    except TimeoutError as error:
        raise InvalidInput(f"sending took longer than {PATIENCE:.0f} seconds") from error
    finally:
        state.uploading.release()
    job = _queued(state, visitor.key, asked)
    return remembered(request, see(f"/audits/{job.id}"), visitor)


def _allow(state: State, role: str | None) -> None:
    """Audits cost much: where there are accounts, editors only. Raises: NotAllowed."""
    if state.access.accounts.all():
        state.access.allow(role, "editor")


async def _asked(state: State, sent: FormData) -> Asked:
    from ledger.errors import InvalidInput

    place, repo, revision = (str(sent.get(n) or "").strip() for n in ("place", "repo", "revision"))
    upload = await received(sent, state.settings.audit_bytes)
    asked = Asked(place, repo, revision or None, upload, bool(sent.get("guess")))
    if bool(place) + bool(repo) + bool(upload) != 1:
        if upload:
            upload.remove()
        raise InvalidInput("name one thing to audit: a folder, a Hub id, or files")
    return asked


def _queued(state: State, owner: str, asked: Asked) -> Job:
    """The job; a folder that may not be read is told at once. Raises: InvalidInput, Overloaded."""
    root = state.settings.audit_root
    try:
        if asked.place:
            below(root, asked.place)
        return state.auditor.submit("audit", owner, lambda le, job: _audited(le, job, asked, root))
    except BaseException:
        if asked.upload:
            asked.upload.remove()
        raise


# --- in the auditor's thread ----------------------------------------------------------------------


def _audited(ledger: Ledger, job: Job, asked: Asked, root: Path | None) -> AuditView:
    """What the model carries; messages name it as the visitor did, not where it lies here."""
    from ledger.errors import InvalidInput

    with ExitStack() as after:
        if asked.upload:
            after.callback(asked.upload.remove)
        _go_on(job)
        label, folder, within = _found(ledger, asked, root)
        try:
            check(folder, within)
            view = ledger.audit(str(folder), guess=asked.guess, progress=_telling(job))
        except Exception as error:
            failure = known(error)
            if failure is None:
                raise
            raise InvalidInput(failure.message.replace(str(folder), label)) from error
    identity = replace(view.identity, checkpoint=label)
    return replace(view, checkpoint=label, identity=identity)


def _found(ledger: Ledger, asked: Asked, root: Path | None) -> tuple[str, Path, Path | None]:
    """How it is called, where it lies, and what its links may not lead out of."""
    if asked.upload:
        return asked.label, asked.upload.folder, asked.upload.folder
    if asked.place:
        return asked.label, below(root, asked.place), root
    commit, folder = ledger.fetch_deployed(asked.repo, asked.revision)
    return f"{asked.repo}@{commit[:12]}", folder, None


def _telling(job: Job) -> Callable[[str, float], None]:
    def progress(phase: str, share: float) -> None:
        _go_on(job)
        job.tell("progress", {"phase": phase, "rest": "", "share": share})

    return progress


def _go_on(job: Job) -> None:
    """Raises: Interrupted if somebody stopped it."""
    if job.stopped:
        raise Interrupted("the audit was stopped")


# --- what became of it --------------------------------------------------------------------------


@router.get("/audits/{name}")
@router.get("/audits/{name}.json")
def audited(request: Request, name: str, part: Number = 1) -> Response:
    """How far an audit is, and what it found; what is not as recorded comes first."""
    from cli.commands.audit import as_recorded

    job = state_of(request).auditor.find(name)
    if job is None:
        missing = Failure("UnknownRevision", 2, "there is no such audit, or it was long ago")
        return refused(request, missing)
    if twin(request):
        if not job.over:
            raise Overloaded("the audit is not done yet; ask again in a moment")
        return refused(request, job.failure) if job.failure else _document(job)
    if job.result is None:
        return page(request, "audited.html", job=job, view=None)
    edits = sorted(job.result.edits, key=lambda edit: (as_recorded(edit), edit.edit))
    return page(
        request,
        "audited.html",
        job=job,
        view=job.result,
        edits=edits[(part - 1) * ROWS : part * ROWS],
        tensors=[tensor for tensor in job.result.tensors if tensor.state != "exact"][:ROWS],
        part=part,
        parts=-(-len(edits) // ROWS),
        where=lambda part: f"?part={part}",
    )


def _document(job: Job) -> Response:
    return written(document("audit", job.result))
