"""Who asks the API: the token's holder, or on this machine anybody who only talks and reads.

Promise: a route is answered only for the scope that it names; a token that is none (wrong, ended,
taken back, of an account that is gone) is told 401, one of a smaller scope 403.

Rules: scopes contain one another, `chat` < `read` < `edit`; on this machine `chat` and `read` need
no token, and a key that cannot be one of ours counts as none, because clients send some key always.

    @router.get("/v1/ledger/status")
    def status(request: Request, caller: Annotated[Caller, Depends(needs("read"))]) -> ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cli.errors import ApiError
from cli.web.pages import state_of
from cli.web.shapes import Error

BEARER: Final = HTTPBearer(
    scheme_name="token", auto_error=False, description="A token of `kel user token add`."
)
ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Error} for status in (400, 401, 403, 404, 409, 503)
}
Given = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]


@dataclass(frozen=True)
class Caller:
    """Who asks: the account's name and role, or None; `owner` of the jobs that are started."""

    name: str | None
    role: str | None
    owner: str


def needs(scope: str) -> Callable[[Request, Given], Caller]:
    """A dependency that lets pass whoever has the scope. Raises: ApiError."""

    def checked(request: Request, given: Given) -> Caller:
        from ledger.access.tokens import PREFIX, SCOPES

        state, secret = state_of(request), given.credentials if given else ""
        address = request.client.host if request.client else "?"
        local = not state.settings.public and not secret.startswith(PREFIX)
        if local and scope != SCOPES[-1]:
            return Caller(None, None, f"api {address}")
        token = state.access.bearer(secret) if secret else None
        if token is None:
            raise _refused(401, "a token is needed: `kel user token add` makes one", NO_KEY)
        if SCOPES.index(token.scope) < SCOPES.index(scope):
            message = f"this needs a token of scope {scope}; yours may {token.scope}"
            raise _refused(403, message, "insufficient_scope")
        return Caller(token.name, state.access.accounts.role(token.name), f"token {token.id}")

    return checked


NO_KEY: Final = "invalid_api_key"


def _refused(status: int, message: str, code: str) -> ApiError:
    challenge = f'Bearer error="{"invalid_token" if status == 401 else code}"'
    headers = {"www-authenticate": challenge}
    return ApiError(status, message, "invalid_request_error", code, headers=headers)
