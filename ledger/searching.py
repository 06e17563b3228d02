"""Text that is looked for by a database: a LIKE pattern with which nothing is missed.

Promise: every text that holds `search` when both are case-folded, as Unicode says, matches
`pattern(search)`. Other texts may match, too, so what a database finds is compared again.

Rules: SQLite folds the case of ASCII alone, a server as its locale says. The pattern keeps the
characters that fold to themselves everywhere and that no other one folds to, but for the capital of
an ASCII letter; in place of every other one stands `%` (`ß` folds to `ss`, and the kelvin sign
to `k`). The text must be in lower case and the escape character `!`.

    pattern("Person 7%")        # '%per%o% 7!%%'
"""

from __future__ import annotations

import unicodedata
from typing import Final

_LETTERS: Final = frozenset("bcdegmopqruvxz")
_SPECIAL: Final = frozenset("%_!")
# So long a pattern tells enough, and databases limit its length.
_LONGEST: Final = 100


def pattern(search: str) -> str:
    """The pattern, for `lower(text) LIKE :pattern ESCAPE '!'`."""
    return f"%{''.join(map(_written, search.casefold()[:_LONGEST]))}%"


def kept(char: str) -> bool:
    """Whether a character is found as itself by any database, in either case."""
    if char.isascii():
        return char in _LETTERS or (char.isprintable() and not char.isalpha())
    return unicodedata.category(char) == "Lo"


def _written(char: str) -> str:
    if not kept(char):
        return "%"
    return f"!{char}" if char in _SPECIAL else char
