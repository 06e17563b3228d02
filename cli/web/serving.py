"""Running the application until it is interrupted.

Promise: `started` is called once, with the address, when requests are answered.

    serve(Settings(folder), Place("127.0.0.1", 8010), started=print_url)
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from cli.web.app import create_app
from cli.web.state import Settings


@dataclass(frozen=True)
class Place:
    """Where to listen; port 0 is a free one."""

    host: str
    port: int


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config, told: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = told

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As always, and then tell."""
        await super().startup(sockets=sockets)
        if self.started:
            self._told()


def serve(settings: Settings, place: Place, started: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. Raises: OSError if the port is taken."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((place.host, place.port))
        name = f"[{place.host}]" if ":" in place.host else place.host
        url = f"http://{name}:{listening.getsockname()[1]}/"
        config = uvicorn.Config(
            create_app(settings),
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=5,
        )
        # Ctrl-C is how it ends; uvicorn raises it again when everything is closed.
        with contextlib.suppress(KeyboardInterrupt):
            _Server(config, lambda: started(url)).run(sockets=[listening])
