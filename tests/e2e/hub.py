"""A Hub for a test: the tiny base served on this machine, and the Hub client led there.

hub.home        # the client's folder: cache and token
hub.faults = lambda method, path: Fault(status=500)
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub.constants as constants
import huggingface_hub.file_download as file_download
import huggingface_hub.utils._http as http
import pytest
from huggingface_hub import close_session

from tests.sim.hub_server import HubServer

PICKLED = "pytorch_model.bin"


@contextmanager
def served(base: Path, home: Path) -> Iterator[HubServer]:
    """The files of `base` and a pickled copy; retries of the client do not wait."""
    with pytest.MonkeyPatch.context() as patch, HubServer.of(base, **{PICKLED: b"\x80"}) as hub:
        lead(patch, hub.url, home)
        # A connection that is kept from an earlier test would ask its Hub, if the ports are equal.
        close_session()
        try:
            yield hub
        finally:
            close_session()


def lead(patch: pytest.MonkeyPatch, url: str, home: Path) -> None:
    """Lead the client of this process to `url`; it read the environment when it was imported."""
    patch.setattr(constants, "ENDPOINT", url)
    # The other storage has a protocol of its own, which this Hub does not speak.
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        patch.setattr(constants, name, 120)  # of a busy machine nothing is tested
    for module in (http, file_download):
        patch.setattr(module, "time", Impatient)


class Impatient:
    """The time module without waiting."""

    time, monotonic, perf_counter = time.time, time.monotonic, time.perf_counter

    @staticmethod
    def sleep(seconds: float) -> None:
        """Go on at once."""
