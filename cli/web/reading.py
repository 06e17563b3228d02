"""The pages of the ledger: facts, edits, history, log. They read and change nothing.

Promise: each page is a permalink; its address with `.json` is the document that the command of the
same content writes with `--json`.

    GET /facts    GET /facts.csv    GET /edits/{edit}    GET /history    GET /log
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from cli.documents import document
from cli.errors import Failure, Overloaded, known
from cli.web.pages import failed, page, state_of
from cli.web.plots import Plot, plot
from cli.web.shapes import shown

if TYPE_CHECKING:
    from ledger.ageing import HistoryView
    from ledger.facts import FactView
    from ledger.views import EditView

ROWS: Final = 200
LONGEST: Final = 1000
SORTS: Final = ("edit", "subject", "object", "since", "author", "reliability", "valid_until")
Name = Annotated[str, Query(max_length=LONGEST)]
Number = Annotated[int, Query(ge=1, le=10**9)]


class Telling(APIRoute):
    """Tells what was asked wrongly; anything else is unexpected."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as error:
                return refused(request, Failure("InvalidInput", WRONG, invalid(error)))
            except Overloaded as error:
                return refused(request, Failure("Busy", 5, str(error)), BUSY)
            except Exception as error:
                failure = known(error)
                if failure is None or failure.exit != WRONG:
                    raise
                return refused(request, failure)

        return told


def refused(request: Request, failure: Failure, status: int = 400) -> Response:
    """What was asked wrongly, as a page or a document."""
    status = 404 if failure.code == "UnknownRevision" else status
    if twin(request):
        found = written(document("error", {"error": failure}), status)
    else:
        found = failed(request, status, failure.message)
    if status == BUSY:
        found.headers["retry-after"] = "5"
    return found


def invalid(error: RequestValidationError) -> str:
    """The first thing that was asked wrongly, in a line."""
    first = error.errors()[0]
    return f"{first['loc'][-1]}: {first['msg']}"


WRONG: Final = 2  # the exit status of a command that was asked wrongly
BUSY: Final = 503
router = APIRouter(route_class=Telling)


def twin(request: Request) -> bool:
    """Whether the document is asked for in place of the page."""
    return request.url.path.endswith(".json")


def written(text: str, status: int = 200) -> Response:
    """A document."""
    return Response(text, status, media_type="application/json")


@router.get("/facts")
@router.get("/facts.csv")
@router.get("/facts.json")
def facts(
    request: Request,
    at: Name = "HEAD",
    search: Name = "",
    only: Name = "",
    on: Name = "",
    sort: Name = "edit",
    part: Number = 1,
) -> Response:
    """What a version was taught."""
    from cli.commands.facts import as_csv

    ledger = state_of(request).ledger
    version = ledger.resolve(at)
    found = ledger.facts(at, search or None, only=only or None, on=on or None)
    found = _sorted(found, sort)
    known_ = [] if only else ledger.known_facts(at, search or None)
    if request.url.path.endswith(".csv"):
        name = {"content-disposition": 'attachment; filename="facts.csv"'}
        return Response(as_csv([*found, *known_]), media_type="text/csv", headers=name)
    if twin(request):
        return written(document("facts", {"facts": found, "known": known_}))
    asked = {"at": at, "search": search, "only": only, "on": on, "sort": sort}
    return page(
        request,
        "facts.html",
        facts=found[(part - 1) * ROWS : part * ROWS],
        known=known_,
        count=len(found),
        parts=-(-len(found) // ROWS),
        part=part,
        version=version,
        asked=asked,
        where=_where(asked),
    )


def _sorted(found: list[FactView], sort: str) -> list[FactView]:
    """By a column, from the largest with `-` before it; what has no value comes last."""
    from ledger.errors import InvalidInput

    name, backwards = sort.removeprefix("-"), sort.startswith("-")
    if name not in SORTS:
        raise InvalidInput(f"facts are sorted by {', '.join(SORTS)}, not by {name!r}")
    empty = [fact for fact in found if getattr(fact, name) is None]
    told = [fact for fact in found if getattr(fact, name) is not None]
    told.sort(key=lambda fact: _folded(getattr(fact, name)), reverse=backwards)
    return told + empty


def _folded(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _where(asked: dict[str, str]) -> Callable[..., str]:
    """The address of the page with other parameters."""

    def where(**others: object) -> str:
        given = {**asked, **others}
        return "?" + urlencode({name: value for name, value in given.items() if value != ""})

    return where


@router.get("/edits/{edit}")
@router.get("/edits/{edit}.json")
def edit(request: Request, edit: str) -> Response:
    """One edit, whole."""
    from cli.commands.show import flat, probed

    view = shown(state_of(request).ledger.show(edit))
    if twin(request):
        return written(document("show", view))
    details = {k: v for k, v in view.details.items() if k not in ("before", "after", "reasons")}
    return page(
        request,
        "edit.html",
        view=view,
        details=[*flat(details)],
        hparams=[*flat(view.hparams)],
        answers=_answers(view),
        before=_before(view),
        probes=[*probed(view.probes)],
        loss=_loss(view.details["evidence"]),
    )


def _answers(view: EditView) -> list[tuple[str, ...]]:
    """Measure, prompt, wanted, before, after and score of each probe."""
    from cli.commands.show import answered

    first = str(view.details.get("before") or "").strip()
    found = answered(view.details.get("measured"))
    # What the model said to the edit's own prompt before is recorded once, with the edit.
    return [(*row[:3], first, *row[4:]) if row[0] == "reliability" else tuple(row) for row in found]


def _before(view: EditView) -> dict[str, float]:
    """Metrics as they were before the edit, of those that follow from what is recorded."""
    from ledger.evaluation.metrics import answers_with

    said, wanted = view.details.get("before"), view.fact["target_new"]
    if not isinstance(said, str) or not wanted:
        return {}
    return {"reliability_free": float(answers_with(said, wanted))}


def _loss(evidence: Mapping[str, Any]) -> Plot | None:
    """The loss of each step, if the method recorded one series.

    With several values searched for, `loss` holds the last one of each.
    """
    values = evidence.get("loss")
    series = values if isinstance(values, list) and "groups" not in evidence else []
    points = [(step, value) for step, value in enumerate(series) if isinstance(value, float)]
    return plot({"loss": points}) if len(points) > 1 else None


@router.get("/history")
@router.get("/history.json")
def history(request: Request, part: Number = 1) -> Response:
    """The versions, and how the edits fared from one to the next."""
    ledger = state_of(request).ledger
    view = ledger.history()
    if twin(request):
        return written(document("history", view))
    rows = view.versions[::-1]
    return page(
        request,
        "history.html",
        rows=rows[(part - 1) * ROWS : part * ROWS],
        count=len(rows),
        parts=-(-len(rows) // ROWS),
        part=part,
        plots=_aged(view),
        where=_where({}),
    )


AGED: Final = (("reliability", (0.0, 1.0)), ("locality", (0.0, 1.0)), ("drift", (-0.2, 0.0)))


def _aged(view: HistoryView) -> list[tuple[str, Plot]]:
    """Reliability, locality and drift over the versions; reverts are marked."""
    marks = [row.version for row in view.versions if row.op == "revert"]
    found = []
    for name, least in AGED:
        points = [(row.version, getattr(row, name)) for row in view.versions]
        found.append((name, plot({name: points}, marks=marks, least=least)))
    return [(name, made) for name, made in found if made is not None]


@router.get("/log")
@router.get("/log.json")
def log(
    request: Request,
    branch: Name = "",
    before: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=LONGEST)] = ROWS,
) -> Response:
    """The entries, newest first."""
    entries = state_of(request).ledger.log(limit, branch or None, before)
    if twin(request):
        return written(document("log", {"entries": entries}))
    from cli.commands.log import named

    about = {entry.seq: named(entry) for entry in entries}
    asked = {"branch": branch, "limit": str(limit), "before": str(before or "")}
    return page(request, "log.html", entries=entries, about=about, where=_where(asked))
