"""The API of the ledger, reading: status, facts, edits, versions, log, proofs, verification.

Promise: a route needs a token of scope `read` where others can reach it; lists come in bounded
pages; errors have the shape of the other endpoints, with the class of the error as `code`; nothing
names a file of the server.

    GET /v1/ledger/status    GET /v1/ledger/facts?at=v3&limit=100    GET /v1/ledger/edits/3/proof
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response

from cli.documents import plain
from cli.errors import ApiError, Overloaded, known
from cli.web import shapes
from cli.web.bearer import ERRORS, needs
from cli.web.checking import alone, findings_of
from cli.web.pages import state_of
from cli.web.reading import LONGEST, Name
from ledger.proofs import ProofView
from ledger.views import DiffView

T = TypeVar("T")
PAGE: Final = 100
Limit = Annotated[int, Query(ge=1, le=LONGEST, description="At most so many.")]
After = Annotated[int, Query(ge=0, le=10**9, description="`next` of the page before.")]
_BY_CODE: Final = MappingProxyType({"UnknownRevision": 404, "NotAllowed": 403, "Busy": 503})
_BY_EXIT: Final = MappingProxyType({2: 400, 5: 409})


class Told(APIRoute):
    """Errors of the ledger become errors of the API; what a message could give away stays here."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handler(request)
            except Overloaded as error:
                raise _error(503, str(error), "Overloaded") from error
            except Exception as error:
                failure = known(error)
                if failure is None:
                    raise
                status = _BY_CODE.get(failure.code) or _BY_EXIT.get(failure.exit, 500)
                said = failure.message if status < 500 else UNREADABLE
                raise _error(status, said, failure.code) from error

        return told


UNREADABLE: Final = "the ledger could not do it; `kel verify` on the server says more"


def _error(status: int, message: str, code: str) -> ApiError:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    headers = {"retry-after": "5"} if status == 503 else None
    return ApiError(status, message, kind, code, headers=headers)


def answered(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A shape, written as the commands write it."""
    return JSONResponse(plain(content), status, dict(headers or {}))


router = APIRouter(
    prefix="/v1/ledger",
    route_class=Told,
    tags=["ledger"],
    responses=ERRORS,
    dependencies=[Depends(needs("read"))],
)


@router.get("/status", response_model=shapes.Status)
def ledger_status(request: Request) -> Response:
    """Where the ledger stands."""
    state = state_of(request)
    view = asdict(state.status())
    two = state.access.accounts.four_eyes()
    base = _kept(shapes.Base, {**view["base"], "id": state.head().base})
    return answered(_kept(shapes.Status, {**view, "base": base, "four_eyes": two}))


@router.get("/facts", response_model=shapes.FactPage)
def ledger_facts(
    request: Request,
    at: Name = "HEAD",
    search: Name = "",
    only: Name = "",
    on: Name = "",
    after: After = 0,
    limit: Limit = PAGE,
) -> Response:
    """What a version was taught: searched, or `current` or `expired` on a day."""
    ledger = state_of(request).ledger
    version = ledger.resolve(at)
    found = ledger.facts(f"v{version}", search or None, only=only or None, on=on or None)
    return answered(shapes.FactPage(version, *paged(found, after, limit)))


@router.get("/edits", response_model=shapes.EditPage)
def ledger_edits(request: Request, after: After = 0, limit: Limit = PAGE) -> Response:
    """All edits by number, refused and reverted ones too."""
    found = state_of(request).ledger.edits(after, limit + 1)
    more = found[limit - 1].id if len(found) > limit else None
    return answered(shapes.EditPage(tuple(found[:limit]), more))


@router.get("/edits/{ref}", response_model=shapes.Edit)
def ledger_edit(request: Request, ref: str) -> Response:
    """One edit, by its number or the beginning of its hash."""
    view = state_of(request).ledger.show(ref)
    fields = {name: getattr(view, name) for name in shapes.Edit.__dataclass_fields__}
    return answered(shapes.Edit(**{**fields, "delta": shapes.delta_of(view)}))


@router.get("/edits/{ref}/proof", response_model=ProofView)
def ledger_proof(request: Request, ref: str, at: Name = "HEAD") -> Response:
    """That a version carries an edit: its Merkle path (RFC 6962), as in the release's root."""
    return answered(state_of(request).ledger.proof(ref, at))


@router.get("/versions", response_model=shapes.VersionPage)
def ledger_versions(
    request: Request,
    after: Annotated[int, Query(ge=-1, le=10**9, description="A version; -1 for all.")] = -1,
    limit: Limit = PAGE,
) -> Response:
    """The versions from the base on, with what was measured on them."""
    rows = state_of(request).ledger.history().versions
    found, more = paged(rows, after + 1, limit)
    return answered(shapes.VersionPage(found, None if more is None else more - 1))


@router.get("/log", response_model=shapes.LogPage)
def ledger_log(
    request: Request, branch: Name = "", before: After = 0, limit: Limit = PAGE
) -> Response:
    """The entries, newest first."""
    found = state_of(request).ledger.log(limit + 1, branch or None, before)
    more = found[limit - 1].seq if len(found) > limit else None
    return answered(shapes.LogPage(tuple(found[:limit]), more))


@router.get("/diff", response_model=DiffView)
def ledger_diff(request: Request, old: Name = "base", new: Name = "HEAD") -> Response:
    """What came and went between two versions."""
    return answered(state_of(request).ledger.diff(old, new))


@router.get("/verify", response_model=shapes.Verified)
def ledger_verify(request: Request) -> Response:
    """Whether history, records and objects are as recorded; one caller at a time."""
    with alone(state_of(request)):
        good, findings = findings_of(state_of(request))
    return answered(shapes.Verified(good, tuple(findings)))


def paged(rows: Sequence[T], after: int, limit: int) -> tuple[tuple[T, ...], int | None]:
    """A page of rows, and where the next one begins."""
    end = after + limit
    return tuple(rows[after:end]), end if end < len(rows) else None


def _kept(shape: type[T], values: Mapping[str, Any]) -> T:
    """A shape of those values that it has."""
    names = shape.__dataclass_fields__  # type: ignore[attr-defined]
    return shape(**{name: values[name] for name in names})
