"""What the whole suite must never do: let the program open a pickle, or reach another machine.

Promise: a forbidden call raises where it is made and is remembered, so that code which swallows
the exception still fails its test.
Rules: pickles are forbidden to the packages of the program and to whatever they call; tests, and
the machinery of pytest and multiprocessing, may use them. Connections are forbidden to everybody,
except to this machine itself.

    guards = Guards()
    with guards.installed():
        ledger.deltas.decode_delta(data)
    assert guards.remembered == []
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = tuple(f"{ROOT / name}{os.sep}" for name in ("store", "editors", "ledger", "cli"))
MACHINERY = tuple(f"{os.sep}{name}{os.sep}" for name in ("multiprocessing", "_pytest"))


class Forbidden(AssertionError):
    """The program did what it must never do."""


class Guards:
    """The traps, and what was caught in them."""

    def __init__(self) -> None:
        self.remembered: list[str] = []

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Forbid pickles and connections in this block."""
        with pytest.MonkeyPatch.context() as patch:
            for module, name in ((pickle, "load"), (pickle, "loads")):
                patch.setattr(module, name, self._trap(f"pickle.{name}", getattr(module, name)))
            patch.setattr(pickle, "Unpickler", self._trapped_class())
            patch.setattr(np, "load", self._trap("numpy.load", np.load, only="allow_pickle"))
            for name in ("connect", "connect_ex"):
                patch.setattr(socket.socket, name, self._fence(getattr(socket.socket, name)))
            patch.setattr(socket, "getaddrinfo", self._lookup(socket.getaddrinfo))
            yield

    def cover_torch(self) -> None:
        """Forbid `torch.load` too, once something has imported torch."""
        torch: Any = sys.modules.get("torch")
        if torch is not None and not hasattr(torch.load, "trap"):
            torch.load = self._trap("torch.load", torch.load)

    def forget(self) -> list[str]:
        """What was remembered; afterwards nothing is."""
        found, self.remembered = self.remembered, []
        return found

    def refuse(self, what: str) -> None:
        """Remember it, and raise."""
        self.remembered.append(what)
        raise Forbidden(what)

    def _trap(
        self, name: str, original: Callable[..., Any], only: str | None = None
    ) -> Callable[..., Any]:
        def trap(*args: Any, **kwargs: Any) -> Any:
            if (only is None or kwargs.get(only)) and (caller := program_above()):
                self.refuse(f"{name} under {caller}")
            return original(*args, **kwargs)

        trap.trap = True  # type: ignore[attr-defined]
        return trap

    def _trapped_class(self) -> type:
        guards = self

        class Unpickler(pickle.Unpickler):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                if caller := program_above():
                    guards.refuse(f"pickle.Unpickler under {caller}")
                super().__init__(*args, **kwargs)

        return Unpickler

    def _fence(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self_: socket.socket, address: Any) -> Any:
            if self_.family != socket.AF_UNIX and not is_here(address[0]):
                self.refuse(f"a connection to {address}")
            return original(self_, address)

        return connect

    def _lookup(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            if not is_here(host):
                self.refuse(f"the address of {host}")
            return original(host, *args, **kwargs)

        return getaddrinfo


def program_above() -> str:
    """The file of the program that is nearest above the caller of the trap; '' if there is none."""
    frame = sys._getframe(2)
    while frame is not None:
        path = os.path.abspath(frame.f_code.co_filename)
        if path.startswith(PACKAGES):
            return path
        if any(part in path for part in MACHINERY):
            return ""
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def is_here(host: Any) -> bool:
    """Whether an address or a name is this machine's own."""
    text = host.decode() if isinstance(host, bytes) else host
    return text in (None, "", "localhost", "::1", "0.0.0.0") or str(text).startswith("127.")
