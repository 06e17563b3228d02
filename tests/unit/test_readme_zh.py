"""README.zh-CN.md says what README.md says: the same parts, commands and links."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r" +# .*")


def parts(page: str) -> list[str]:
    """The page cut before each heading; a line of a code block is none."""
    shielded = FENCE.sub(lambda block: block[0].replace("\n#", "\n\0#"), page)
    return [part.replace("\0", "") for part in re.split(r"^(?=#+ )", shielded, flags=re.M)][1:]


def levels(page: str) -> list[int]:
    return [part.index(" ") for part in parts(page)]


def blocks(page: str) -> list[list[str]]:
    """The lines of each code block, fenced or indented, without comments."""
    indented = re.findall(r"(?:^ {4}.*\n)+", FENCE.sub("", page), re.MULTILINE)
    return [COMMENT.sub("", block).splitlines() for block in (*FENCE.findall(page), *indented)]


def rows(page: str) -> list[list[str]]:
    """What stands as code in the first cell of each table row; headings and rules have none."""
    lines = [line for line in FENCE.sub("", page).splitlines() if line.startswith("| ")]
    return [re.findall(r"`[^`]+`", line.split("|")[1]) for line in lines]


def terms(part: str) -> Counter[str]:
    return Counter(re.findall(r"`([^`\n]+)`", FENCE.sub("", part)))


def links(part: str) -> Counter[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", part))
    return Counter(target for target in found if target not in ("README.md", "README.zh-CN.md"))


def test_the_pages_lead_to_each_other():
    assert "](README.zh-CN.md)" in ENGLISH
    assert "](README.md)" in CHINESE


@pytest.mark.parametrize("seen", [levels, blocks, rows], ids=lambda seen: seen.__name__)
def test_both_pages_have_the_same(seen):
    assert len(seen(ENGLISH)) >= 5
    assert seen(CHINESE) == seen(ENGLISH)


@pytest.mark.parametrize("seen", [terms, links], ids=lambda seen: seen.__name__)
def test_each_part_of_both_has_the_same(seen):
    english, chinese = parts(ENGLISH), parts(CHINESE)
    assert sum(map(len, map(seen, english))) > 20
    assert [seen(part) for part in chinese] == [seen(part) for part in english]


def test_every_sentence_is_in_chinese():
    prose = re.sub(
        r"`[^`\n]+`|\]\([^)]+\)|^ {4}.*$|^\|[ |-]+$", "", FENCE.sub("", CHINESE), flags=re.M
    )
    said = [line for line in prose.splitlines() if len(line) > 20]
    assert len(said) > 30
    assert [line for line in said if not re.search(r"[\u4e00-\u9fff]", line)] == []


def test_the_table_has_every_command():
    named = {
        word
        for row in rows(ENGLISH)
        for text in row
        for word in text.strip("`").removeprefix("kel ").split()
    }
    assert set(COMMANDS) - named == set()


@pytest.mark.parametrize(
    ("seen", "old", "new"),
    [
        (levels, "\n## ", "\n### "),
        (blocks, "kel revert 1\n", "kel revert 2\n"),
        (rows, "| `kel gc` |", "| `kel gone` |"),
    ],
)
def test_a_difference_is_seen(seen, old, new):
    assert old in CHINESE
    assert seen(CHINESE.replace(old, new, 1)) != seen(ENGLISH)
