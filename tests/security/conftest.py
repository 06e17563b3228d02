"""The tiny base, the small ledger and the commands of the end-to-end tests."""

from tests.e2e.conftest import (  # noqa: F401
    bare,
    clean,
    kel,
    ledger,
    probes,
    template,
    tiny_base,
)
