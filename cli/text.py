"""Text for a terminal: what may be shown, how wide it is, how it is cut and padded.

Promise: `escape` leaves no character that moves the cursor, starts an escape sequence, reorders
the text or breaks the line; whatever it returns can be measured and aligned.
Rules: pure functions; style is a property of a `Span`, never part of its text.

    escape("a\x1b[2Jb")          # 'a\\x1b[2Jb'
    pad("北京", 6)                # two characters, four columns, two blanks
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

# Joiners are part of how Persian, Indic scripts and emoji are spelled.
_JOINERS = "\u200c\u200d"
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_ELLIPSIS = "…"


@dataclass(frozen=True)
class Span:
    """A piece of a line with a style: 'bold', 'dim', 'red', 'green' or 'yellow'."""

    text: str
    style: str = ""


Part = str | Span
Line = tuple[Part, ...]


def escape(text: str) -> str:
    """`text` on one line, with everything that a terminal would act on written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _shown(char) else _written(char) for char in text)


def escape_json(document: str) -> str:
    """The same for finished JSON, where such characters occur only inside strings."""
    if document.isascii() and "\x7f" not in document:
        return document
    return "".join(
        char if char == "\n" or _shown(char) else _unicode_escape(char) for char in document
    )


def width(text: str) -> int:
    """How many columns `text` takes; wide East Asian characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """`text` filled up with blanks to `columns`; aligned right for numbers."""
    blanks = " " * max(0, columns - width(text))
    return blanks + text if right else text + blanks


def cut(text: str, columns: int) -> str:
    """`text` if it fits into `columns`, else its beginning and an ellipsis."""
    if width(text) <= columns:
        return text
    kept, used = [], 0
    for char in text:
        used += _columns(char)
        if used > columns - 1:
            break
        kept.append(char)
    return "".join(kept) + _ELLIPSIS


def _shown(char: str) -> bool:
    return unicodedata.category(char) not in _HIDDEN or char in _JOINERS


def _written(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _unicode_escape(char: str) -> str:
    """A JSON escape; characters beyond the first plane as a surrogate pair."""
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2))


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
