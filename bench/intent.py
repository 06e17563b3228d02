"""How well intents are detected: precision and recall on the labelled utterances.

Rules: a detection counts only if subject, prompt and answer are those of the label; one with other
words is both a false alarm and a miss. The held-out third was written with the rest and was not
looked at while the rules were made.

python -m bench.intent              # both parts, per language
python -m bench.intent --errors     # what went wrong in the development part
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.intent import Detector, Proposal, Turn, detect

FOLDER = Path(__file__).parents[1] / "tests" / "utterances"
PARTS = ("development", "held_out")


@dataclass(frozen=True)
class Score:
    """Counts of one language in one part."""

    right: int
    proposed: int
    labelled: int
    utterances: int

    @property
    def precision(self) -> float:
        return self.right / self.proposed if self.proposed else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.labelled if self.labelled else 1.0


def utterances(part: str) -> list[dict[str, Any]]:
    """The labelled messages of a part."""
    text = (FOLDER / f"{part}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def judged(part: str, detector: Detector = detect) -> Iterator[tuple[dict[str, Any], Any, bool]]:
    """Each utterance, what was proposed, and whether that is the label."""
    for row in utterances(part):
        turn = Turn(row["question"], row["answer"]) if "question" in row else None
        found = detector(row["text"], turn)
        yield row, found, labelled(found) == row["intent"]


def labelled(found: Proposal | None) -> dict[str, str] | None:
    """A proposal as labels are written."""
    if found is None:
        return None
    return {"subject": found.subject, "prompt": found.prompt, "target": found.target_new}


def score(part: str, language: str, detector: Detector = detect) -> Score:
    """The counts of one language in one part."""
    rows = [r for r in judged(part, detector) if r[0]["language"] == language]
    return Score(
        right=sum(ok and found is not None for _, found, ok in rows),
        proposed=sum(found is not None for _, found, _ in rows),
        labelled=sum(row["intent"] is not None for row, _, _ in rows),
        utterances=len(rows),
    )


def main(arguments: list[str]) -> None:
    """Print the table, or the errors of the development part."""
    if "--errors" in arguments:
        for row, found, ok in judged("development"):
            if not ok:
                print(f"{row['text']}\n    wanted {row['intent']}\n    found  {labelled(found)}")
        return
    print("| part | language | utterances | with intent | precision | recall |")
    print("|---|---|---|---|---|---|")
    for part in PARTS:
        for language in ("en", "zh"):
            s = score(part, language)
            cells = f"{s.utterances} | {s.labelled} | {s.precision:.3f} | {s.recall:.3f}"
            print(f"| {part.replace('_', '-')} | {language} | {cells} |")


if __name__ == "__main__":
    main(sys.argv[1:])
