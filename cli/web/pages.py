"""What the routes of pages share: who asks, in which language, and the templates.

Promise: templates escape every text; an error shows one line and a number, never a traceback.

    visitor = visitor_of(request)
    return page(request, "chat.html", talk=...)
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cli.layout import fact, number, numbers, valid, when
from cli.web.guard import SAFE
from cli.web.state import State
from cli.web.texts import LANGUAGES, preferred, words

CHAT, LOGIN, LANGUAGE = "kel_chat", "kel_session", "kel_lang"
_YEAR: Final = 365 * 24 * 3600
HALF_A_DAY: Final = 12 * 3600


@dataclass(frozen=True)
class Visitor:
    """Who asks: the key of the conversation, the account's name and role if logged in."""

    key: str
    fresh: str | None  # the cookie to be set, if there was none
    name: str | None
    role: str | None
    address: str


def state_of(request: Request) -> State:
    """The application's state."""
    return cast(State, request.app.state.kel)


def visitor_of(request: Request) -> Visitor:
    """Who asks. Changes nothing."""
    from ledger.access.secrets import digest, fresh

    state = state_of(request)
    cookie = request.cookies.get(CHAT, "")
    new = None if cookie else fresh()
    session = request.cookies.get(LOGIN)
    name = state.access.sessions.holder(session) if session else None
    role = state.access.accounts.role(name) if name else None
    address = request.client.host if request.client else "?"
    return Visitor(digest(cookie or new or ""), new, name, role, address)


def language_of(request: Request) -> str:
    """The language chosen by the switch, else the browser's."""
    chosen = request.cookies.get(LANGUAGE)
    return chosen if chosen in LANGUAGES else preferred(request.headers.get("accept-language", ""))


@cache
def _environment() -> Environment:
    folder = Path(str(files("cli.web").joinpath("templates")))
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, numbers=numbers, fact=fact, when=when, valid=valid)
    return made


def told(request: Request, key: str) -> str:
    """A text in the visitor's language."""
    return words(language_of(request))[key]


def rendered(request: Request, template: str, **values: Any) -> str:
    """A template with what all of them need."""
    language = language_of(request)
    values.setdefault("visitor", visitor_of(request))
    values.setdefault("here", here(request))
    made = _environment().get_template(template)
    return made.render(
        t=words(language),
        lang=language,
        head=state_of(request).head(),
        **values,
    )


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page."""
    return HTMLResponse(rendered(request, template, **values), status)


def failed(request: Request, status: int, message: str, wait: int | None = None) -> HTMLResponse:
    """A page that says what went wrong."""
    found = page(request, "error.html", status, message=message, number=secrets.token_hex(4))
    if wait is not None:
        found.headers["retry-after"] = str(wait)
    return found


def see(place: str) -> RedirectResponse:
    """Go on to another page, after a form."""
    return RedirectResponse(place, status_code=303)


def here(request: Request) -> str:
    """The address of the page within this site; of what a form was sent to, the first page."""
    if request.method not in SAFE:
        return "/"
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def local(place: str) -> str:
    """A path of this site, or the chat page for anything else."""
    parts = urlsplit(place)
    plain = place.startswith("/") and not place.startswith(("//", "/\\")) and place.isprintable()
    return place if plain and not parts.netloc and not parts.scheme else "/"


def set_cookie(request: Request, response: Response, name: str, value: str, age: int) -> None:
    """A cookie that scripts and other sites do not see."""
    secure = state_of(request).settings.secure
    response.set_cookie(name, value, max_age=age, httponly=True, samesite="lax", secure=secure)


def remembered(request: Request, response: Response, visitor: Visitor) -> Response:
    """The response, with the cookie of a new conversation."""
    if visitor.fresh is not None:
        set_cookie(request, response, CHAT, visitor.fresh, HALF_A_DAY)
    return response


def remember_language(request: Request, response: Response, language: str) -> None:
    """The language switch."""
    set_cookie(request, response, LANGUAGE, language, _YEAR)
