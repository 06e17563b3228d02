"""The commands of docs/operations.md, run as they are written there.

Promise: what is run is what the document says, line by line, in one folder; a command whose line
ends with `# exit N` has to end so, every other one with 0.

Rules: `kel` runs in this process; of other programs only those that move files, without a shell.

    Procedure("Backup and restore").run(0, ID="3f09aa12c4d1")      # its first block of commands
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests.e2e.harness import Kel, Result
from tests.unit.test_docs import section

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
FILES = {"cp", "mv", "rm", "mkdir"}


def headings() -> list[str]:
    """The procedures of the page."""
    return re.findall(r"^## (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)


class Procedure:
    """One section of the page."""

    def __init__(self, heading: str) -> None:
        text = section(PAGE.read_text("utf-8"), f"## {heading}\n")
        self.blocks = [block.strip().splitlines() for block in text.split("```\n")[1::2]]

    def run(self, block: int, **words: str) -> list[Result]:
        """Run a block, with words of the page replaced; the results of its kel commands."""
        found = []
        for line in self.blocks[block]:
            command, _, comment = line.partition("#")
            argv = [words.get(word, word) for word in shlex.split(command)]
            wanted = int(comment.removeprefix(" exit ")) if comment else 0
            if argv[0] == "kel":
                found.append(Kel()(*argv[1:]))
                assert found[-1].status == wanted, (line, found[-1])
            else:
                assert argv[0] in FILES, line
                subprocess.run(argv, check=True, timeout=60)
        return found
