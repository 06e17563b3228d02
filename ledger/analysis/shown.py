"""What is shown of each kind of analysis.

Promise: a pure function of what is kept; plain JSON.

    content(analysis)["rows"]
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from ledger.analysis import activations, layers, lens, tracing
from ledger.analysis.kept import Analysis

_CONTENT: Final = MappingProxyType(
    {
        "trace": tracing.content,
        "lens": lens.content,
        "activations": activations.content,
        "layers": layers.content,
    }
)


def content(analysis: Analysis) -> dict[str, Any]:
    """Texts and numbers by the names of docs/formats.md, section 15."""
    return _CONTENT[analysis.kind](analysis)
