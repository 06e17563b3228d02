"""Pictures as files: the one place that knows matplotlib.

Promise: the same numbers give the same bytes (no date, no random names); a text that no installed
font can show is refused, never drawn as boxes; colours can be told apart by colour-blind readers.

Rules: matplotlib is imported when a picture is drawn, never opens a window, and nothing of it is
left switched on; the file is written when the whole picture is there.

    with picture(Path("trace.png"), texts=["Ada"]) as figure:      # or .svg, .pdf
        figure.subplots().plot([1, 2], color=COLOURS[0])
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ledger.errors import InvalidInput

# Metadata without a date, so that the same numbers give the same file.
_UNDATED: Final = MappingProxyType(
    {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
)
SUFFIXES: Final = tuple(_UNDATED)
# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"
COLOURS: Final = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")
_DPI: Final = 150
_MOST_TICKS: Final = 16
_LONGEST: Final = 24


@contextlib.contextmanager
def picture(path: Path, texts: Iterable[str] = ()) -> Iterator[Any]:
    """A figure to draw on; written to `path` when the block ends, an existing file is replaced.

    `texts`: what is written into it beside words of this program. Raises: InvalidInput for another
    kind of file, without matplotlib, for texts that no installed font has, or a file that cannot be
    written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidInput(f"{path.name} is no picture: end it in {', '.join(SUFFIXES)}")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInput(
            "pictures need matplotlib: pip install 'knowledge-edit-ledger[plots]'"
        ) from error
    families = fonts("".join(texts))
    data = io.BytesIO()
    with rc_context({"font.family": families, "svg.hashsalt": "kel", "axes.unicode_minus": False}):
        figure = Figure(layout="constrained", dpi=_DPI)
        yield figure
        suffix = path.suffix.lower()
        figure.savefig(data, format=suffix.removeprefix("."), metadata=_UNDATED[suffix])
    try:
        path.write_bytes(data.getvalue())
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror or error}") from error


def fonts(text: str) -> list[str]:
    """Families that together have every character: the usual one, and others where it lacks some.

    Raises: InvalidInput naming the characters that no installed font has.
    """
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    usual = font_manager.fontManager.findfont("DejaVu Sans")
    families = ["DejaVu Sans"]
    missing = {ord(char) for char in text if char.isprintable()}
    missing -= set(FT2Font(usual).get_charmap())
    for font in sorted(font_manager.fontManager.ttflist, key=_preference):
        if not missing:
            break
        if font.name.startswith("Last Resort"):
            continue  # it draws a box for everything
        found = missing & set(FT2Font(font.fname).get_charmap())
        if found:
            families.append(font.name)
            missing -= found
    if missing:
        shown = "".join(chr(code) for code in sorted(missing)[:10])
        raise InvalidInput(
            f"no installed font has the characters {shown!r}: install one (Noto Sans CJK for "
            "Chinese), or use --csv"
        )
    return families


def _preference(font: Any) -> tuple[bool, bool, str]:
    """Upright sans-serif faces of regular weight first."""
    plain = font.style == "normal" and font.weight in (400, "normal", "regular")
    return not plain, "Sans" not in font.name, str(font.name)


def plain(text: str, limit: int = _LONGEST) -> str:
    """A text as it may stand in a picture: shortened, blanks visible, no formulas."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    short = printable if len(printable) <= limit else printable[: limit - 1] + "…"
    return short.strip().replace("$", r"\$")


def ticks(count: int, most: int = _MOST_TICKS) -> list[int]:
    """Places of at most `most` marks on an axis of `count` steps."""
    return list(range(0, count, max(1, -(-count // most))))
