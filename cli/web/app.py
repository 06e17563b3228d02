"""The application: routes, guard, and what an error becomes.

Promise: GET changes nothing; an error that is nobody's shows a number, never a traceback; where
others can reach it, every page but the login needs an account.

    app = create_app(Settings(Path("ledger")))
    uvicorn.run(app)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from cli.errors import ApiError, LoginNeeded
from cli.web import (
    api,
    auditing,
    change_api,
    changing,
    chatting,
    checking,
    described,
    entering,
    ledger_api,
    reading,
)
from cli.web.answers import body
from cli.web.guard import SAFE, Guard
from cli.web.pages import LOGIN, failed, here, see, state_of, told, visitor_of
from cli.web.state import Settings, State

MISSING: Final = 404


def create_app(settings: Settings) -> FastAPI:
    """The application on one ledger; it is opened when the application starts.

    Raises: as `Ledger.open`, at the start.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.kel = State.opened(settings)
        try:
            yield
        finally:
            app.state.kel.close()

    app = FastAPI(
        title="kel",
        lifespan=lifespan,
        openapi_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    longer = {"/audit": settings.audit_bytes + auditing.ROOM}
    app.add_middleware(Guard, hosts=settings.hosts, longer=longer)
    app.include_router(entering.router, dependencies=[Depends(_used)], include_in_schema=False)
    for pages in (chatting, changing, reading, checking, auditing, described):
        admitted = [Depends(_admitted)]
        app.include_router(pages.router, dependencies=admitted, include_in_schema=False)
    for router in (api.alive, api.router, ledger_api.router, change_api.router):
        app.include_router(router)
    app.include_router(described.document_router)
    folder = Path(str(files("cli.web").joinpath("static")))
    app.mount("/static", StaticFiles(directory=folder), name="static")
    app.add_exception_handler(LoginNeeded, _to_login)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _wrong)
    app.add_exception_handler(ApiError, api.told)
    app.add_exception_handler(Exception, _unexpected)
    return app


def _used(request: Request) -> None:
    """A session lasts while something is sent."""
    session = request.cookies.get(LOGIN)
    if session and request.method not in SAFE:
        state_of(request).access.sessions.touch(session)


def _admitted(request: Request) -> None:
    """Whoever asks, on this machine; accounts only where others can reach it."""
    if state_of(request).settings.public and visitor_of(request).role is None:
        raise LoginNeeded
    _used(request)


async def _to_login(request: Request, _error: Exception) -> Response:
    if reading.twin(request):
        return JSONResponse({"error": "log in first: this needs an account"}, 401)
    return see(f"/login?next={quote(here(request))}")


async def _wrong(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    message = reading.invalid(error)
    if request.url.path.startswith("/v1/"):
        return api.shaped(400, message, "invalid_request_error", "InvalidInput")
    return failed(request, 400, message)


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if request.url.path.startswith("/v1/"):
        return api.shaped(error.status_code, str(error.detail), "invalid_request_error", None)
    message = told(request, "not_found") if error.status_code == MISSING else str(error.detail)
    return failed(request, error.status_code, message)


async def _unexpected(request: Request, _error: Exception) -> Response:
    """The traceback goes to the log of the server, a line to whoever asked."""
    message = "something unexpected happened; the server's log says what"
    if request.url.path.startswith("/v1/"):
        return JSONResponse(body(message, "server_error", None), 500)
    return failed(request, 500, message)
