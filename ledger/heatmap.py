"""The interference of a version as a picture.

Promise: an SVG file that needs no network and no font; the same version gives the same bytes.
Rules: matplotlib is imported when something is drawn, and never opens a window.

    draw(everything(versions, history), Path("interference.svg"))
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput

if TYPE_CHECKING:
    from ledger.interference import Interference

_FLOOR = 1e-3  # shares below are drawn as this
_TICKS = 40


def draw(found: Interference, target: Path) -> None:
    """Write the shares of all active edits as a heat map.

    Raises: InvalidInput without matplotlib, for nothing to draw, or a file that cannot be written.
    """
    try:
        import matplotlib as mpl
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInput(
            "a plot needs matplotlib: install the extra (pip install knowledge-edit-ledger[plots])"
        ) from error
    if not found.active:
        raise InvalidInput("no edit is active at this version: there is nothing to draw")
    rows = [found.edits.index(edit) for edit in found.active]
    shares = found.effects.share[rows].T.clamp_min(_FLOOR).numpy()  # [disturbed, disturbing]
    count = len(found.active)
    figure = Figure(figsize=(7.0, 6.2), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, norm=LogNorm(_FLOOR, 1.0), cmap="viridis", interpolation="nearest")
    ticks = range(0, count, max(1, -(-count // _TICKS)))
    names = [str(found.active[i]) for i in ticks]
    axes.set_xticks(list(ticks), names, rotation=90, fontsize=7)
    axes.set_yticks(list(ticks), names, fontsize=7)
    axes.set_xlabel("edit that disturbs")
    axes.set_ylabel("edit that is disturbed")
    figure.colorbar(image, label="change at the other's key, in units of its own")
    data = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "kel"}):
        figure.savefig(data, format="svg", metadata={"Date": None})
    try:
        target.write_bytes(data.getvalue())
    except OSError as error:
        raise InvalidInput(f"cannot write {target}: {error}") from error
