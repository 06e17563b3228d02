"""How long the Hub may make a command wait before it tries again.

Promise: a wait that the Hub asks for and that is longer than `PATIENCE` ends the command with a
line that says so; shorter ones, and how often, are the Hub client's.

    with bounded(get_session()):
        HfApi().model_info("gpt2")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from ledger.errors import RemoteFailure

PATIENCE: Final = 300  # seconds; the Hub counts requests by five minutes
_LATER: Final = (429, 503)


@contextmanager
def bounded(session: Any) -> Iterator[None]:
    """Look at every answer that a session of the HTTP library gets."""
    hooks = session.event_hooks
    session.event_hooks = {**hooks, "response": [*hooks["response"], _looked_at]}
    try:
        yield
    finally:
        session.event_hooks = hooks


def _looked_at(response: Any) -> None:
    """Raises: RemoteFailure for an answer that asks for too long a wait."""
    wanted = response.headers.get("Retry-After", "")
    if response.status_code in _LATER and wanted.isdecimal() and int(wanted) > PATIENCE:
        raise RemoteFailure(
            f"the Hub wants {wanted[:20]} seconds before it is asked again; repeat the command then"
        )
