"""The methods beside one another on the embedded model, as a page: measures them, writes tables.

Promise: the tables between the markers of docs/methods.md are what this command measured. A run
that was cut short goes on where it was: what is finished is kept in the file of results.

    python -m ledger.demo.comparison --write docs/methods.md --results out/methods.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from editors.methods import METHODS
from editors.model import EditableModel
from ledger.demo.report import write
from ledger.demo.trials import Trials
from ledger.demo.world import build_world

# The three verbs of KN teach nothing; `ft-m` is `ft` with its default loss.
OTHERS = ("kn-erase", "kn-suppress", "kn-enhance", "ft-m")
TEACHING = tuple(editor.name for editor in METHODS if editor.name not in OTHERS)
BATCHED = ("memit", "emmet", "pmet", "alphaedit", "ft", "ft-l")
SHARES = (0.1, 0.5, 1, 2)  # of the number of single edits: with 100, after 10, 50, 100 and 200
COLUMNS = (
    ("reliability", "R"),
    ("generalization_unseen", "G"),
    ("locality_neighbourhood", "near"),
    ("locality_random", "random"),
    ("locality_same_subject", "same subject"),
    ("portability", "P"),
)
SIZES = (
    ("update_ratio", "dW / W", "{:.2f}"),
    ("seconds", "s", "{:.2f}"),
    ("failed", "refused", "{:.0%}"),
)
Results = dict[str, Any]


def measured(model: EditableModel, path: Path, edits: int, seed: int) -> Results:
    """All trials; each is kept in the file at `path` as soon as it is done."""
    found: Results = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    trials = Trials(model, build_world(), seed=seed)
    for name, run in _runs(trials, edits):
        key = f"{name} edits={edits} seed={seed}"
        if key not in found:
            found[key] = run()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=1), "utf-8")
    return {name: found[f"{name} edits={edits} seed={seed}"] for name, _ in _runs(trials, edits)}


def _runs(trials: Trials, edits: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and work of every trial."""
    marks = [max(1, round(share * edits)) for share in SHARES]
    for name in TEACHING:
        yield f"single {name}", partial(_shown, name, edits, trials.singles)
    for name in BATCHED:
        yield f"batch {name}", partial(trials.batch, name, count=edits)
    for name in TEACHING:
        yield f"sequence {name}", partial(_sequence, trials, name, marks)


def _sequence(trials: Trials, method: str, marks: Sequence[int]) -> dict[str, Any]:
    with tqdm(total=100, desc=f"{method} in sequence", unit="%") as bar:
        found = trials.sequence(method, marks=marks, progress=_to(bar))
    return {str(mark): scores for mark, scores in found.items()}


def _shown(method: str, edits: int, work: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    with tqdm(total=100, desc=method, unit="%") as bar:
        return work(method, count=edits, progress=_to(bar))


def _to(bar: Any) -> Callable[[str, float], None]:
    return lambda _, share: bar.update(round(100 * share) - bar.n)


def tables(found: Results) -> str:
    """The three tables as Markdown."""
    lines = [
        "### Single edits",
        "",
        *_heads("method", *(head for _, head in COLUMNS), "free", *_sizes()),
    ]
    lines += [_row(name, found[f"single {name}"]["all"]) for name in TEACHING]
    lines += [
        "",
        "### One batch",
        "",
        *_heads("method", *(head for _, head in COLUMNS), "free", *_sizes()),
    ]
    lines += [_row(name, found[f"batch {name}"]["all"]) for name in BATCHED]
    lines += ["", "### Edits that stay", ""]
    marks = list(found[f"sequence {TEACHING[0]}"])
    heads = [f"R at {mark}" for mark in marks] + [
        f"{head} at {marks[-1]}" for _, head in COLUMNS[1:]
    ]
    lines += _heads("method", *heads, f"free at {marks[-1]}", "refused")
    lines += [_sequence_row(name, found[f"sequence {name}"], marks) for name in TEACHING]
    return "\n".join([*lines, ""])


def _sizes() -> list[str]:
    return [head for _, head, _ in SIZES]


def _heads(*heads: str) -> list[str]:
    return ["| " + " | ".join(heads) + " |", "| --- |" + " --- |" * (len(heads) - 1)]


def _row(name: str, scores: Mapping[str, Any]) -> str:
    cells = [_cell(scores[key]) for key, _ in COLUMNS] + [_cell(scores["reliability_free"])]
    cells += [form.format(scores[key]) for key, _, form in SIZES]
    return f"| `{name}` | " + " | ".join(cells) + " |"


def _sequence_row(name: str, found: Mapping[str, Any], marks: Sequence[str]) -> str:
    last = found[marks[-1]]
    cells = [_cell(found[mark]["reliability"]) for mark in marks]
    cells += [_cell(last[key]) for key, _ in COLUMNS[1:]]
    cells += [_cell(last["reliability_free"]), str(last["failed"])]
    return f"| `{name}` | " + " | ".join(cells) + " |"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def main() -> None:
    """Measure every method on the embedded model and put the tables into a page."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--write", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = EditableModel.load(Path(__file__).parent / "model", dtype="float32")
    found = measured(model, arguments.results, arguments.edits, arguments.seed)
    write(arguments.write, tables(found))


if __name__ == "__main__":
    main()
