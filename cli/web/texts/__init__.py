"""The words of the pages, English and Chinese.

Promise: every key is in both files (a test compares them); a language that is neither is English.

    words("zh")["send"]                     # '发送'
    preferred("zh-CN,zh;q=0.9,en;q=0.8")    # 'zh'
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Final

LANGUAGES: Final = ("en", "zh")


@cache
def words(language: str) -> dict[str, str]:
    """Key -> text of a language."""
    text = files("cli.web.texts").joinpath(f"{language}.json").read_text("utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def preferred(header: str) -> str:
    """The language that an Accept-Language header likes best."""
    best, most = LANGUAGES[0], 0.0
    for part in header[:500].split(","):
        name, _, weight = part.strip().partition(";q=")
        try:
            liked = float(weight) if weight else 1.0
        except ValueError:
            continue
        language = name.partition("-")[0].casefold()
        if language in LANGUAGES and liked > most:
            best, most = language, liked
    return best
