"""Logging in and out, and the language switch.

Promise: a session gets a new name at every login; where it leads afterwards is a page of this site.

    GET /login    POST /login    POST /logout    POST /language
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, Response

from cli.web.pages import (
    CHAT,
    HALF_A_DAY,
    LOGIN,
    local,
    page,
    remember_language,
    see,
    set_cookie,
    state_of,
    told,
    visitor_of,
)
from cli.web.texts import LANGUAGES

router = APIRouter()
Text = Annotated[str, Form()]


@router.get("/login")
def form(request: Request, next: str = "/") -> Response:
    """The form."""
    return _form(request, 200, local(next))


def _form(
    request: Request, status: int, place: str, message: str = "", user: str = ""
) -> HTMLResponse:
    """The form, with the name that was typed; its address is that of the empty form."""
    address = f"/login?next={quote(place)}"
    return page(
        request, "login.html", status, message=message, place=place, user=user, here=address
    )


@router.post("/login")
def enter(request: Request, user: Text = "", password: Text = "", place: Text = "/") -> Response:
    """Log in: a new session, and the conversation under a new name."""
    from ledger.access.secrets import digest, fresh
    from ledger.errors import NotAllowed, TooManyAttempts

    state, visitor = state_of(request), visitor_of(request)
    try:
        state.access.sign_in(user, password, address=visitor.address)
    except TooManyAttempts as error:
        found = _form(request, 429, local(place), str(error), user)
        found.headers["retry-after"] = str(error.seconds)
        return found
    except NotAllowed:
        return _form(request, 403, local(place), told(request, "wrong_login"), user)
    _leave(request)
    response, chat = see(local(place)), fresh()
    state.talks.move(visitor.key, digest(chat))
    set_cookie(request, response, CHAT, chat, HALF_A_DAY)
    set_cookie(request, response, LOGIN, state.access.sessions.start(user), HALF_A_DAY)
    return response


@router.post("/logout")
def leave(request: Request) -> Response:
    """Log out, and forget the conversation."""
    state_of(request).talks.of(visitor_of(request).key).clean()
    _leave(request)
    response = see("/")
    for name in (LOGIN, CHAT):
        response.delete_cookie(name, httponly=True, samesite="lax")
    return response


@router.post("/language")
def language(request: Request, to: Text = "en", place: Text = "/") -> Response:
    """Another language."""
    response = see(local(place))
    remember_language(request, response, to if to in LANGUAGES else LANGUAGES[0])
    return response


def _leave(request: Request) -> None:
    session = request.cookies.get(LOGIN)
    if session:
        state_of(request).access.sessions.end(session)
