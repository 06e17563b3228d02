"""The interference of a version as a picture.

Promise: needs no network; the same version gives the same bytes.

    draw(everything(versions, history), Path("interference.svg"))
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput
from ledger.figures import picture, ticks

if TYPE_CHECKING:
    from ledger.interference import Interference

_FLOOR = 1e-3  # shares below are drawn as this
_TICKS = 40


def draw(found: Interference, target: Path) -> None:
    """Write the shares of all active edits as a heat map.

    Raises: InvalidInput for nothing to draw, and as `ledger.figures.picture`.
    """
    with picture(target) as figure:
        if not found.active:
            raise InvalidInput("no edit is active at this version: there is nothing to draw")
        rows = [found.edits.index(edit) for edit in found.active]
        shares = found.effects.share[rows].T.clamp_min(_FLOOR).numpy()  # [disturbed, disturbing]
        figure.set_size_inches(7.0, 6.2)
        axes = figure.add_subplot()
        image = axes.imshow(
            shares, norm="log", vmin=_FLOOR, vmax=1.0, cmap="viridis", interpolation="nearest"
        )
        places = ticks(len(found.active), _TICKS)
        names = [str(found.active[i]) for i in places]
        axes.set_xticks(places, names, rotation=90, fontsize=7)
        axes.set_yticks(places, names, fontsize=7)
        axes.set_xlabel("edit that disturbs")
        axes.set_ylabel("edit that is disturbed")
        figure.colorbar(image, label="change at the other's key, in units of its own")
