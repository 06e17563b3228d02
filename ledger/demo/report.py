"""The figures of the embedded models as a page: measures them and writes the tables.

Promise: the tables between the markers of docs/demo-model.md are what this command printed.

    python -m ledger.demo.report --write docs/demo-model.md
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from editors.model import EditableModel
from ledger.demo.measure import measure
from ledger.demo.world import build_world
from ledger.errors import InvalidInput

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
GOALS = (
    ("reliability", "the edit's own prompt", 0.90, 0.98),
    ("generalization_trained", "other trained phrasings", None, None),
    ("generalization_unseen", "phrasings never seen for the subject", 0.60, 0.85),
    ("locality_neighbourhood", "other people, same relation", 0.95, 0.98),
    ("locality_random", "100 random facts", 0.97, 0.99),
    ("locality_same_subject", "same person, other relations", 0.60, 0.75),
)


def tables(report: Mapping[str, Any], title: str) -> str:
    """The figures of one model as Markdown."""
    parts = [f"### {title}", "", *_recall(report["recall"]), "", *_edits(report["edits"])]
    return "\n".join([*parts, "", *_effects(report["indirect_effect"]), ""])


def _recall(found: Mapping[str, float]) -> list[str]:
    rows = [
        f"| {name} | {found[f'trained_{key}']:.1%} | {found[f'unseen_{key}']:.1%} |"
        for name, key in (("English", "en"), ("Chinese", "zh"))
    ]
    return [
        "Facts answered (free generation, all facts):",
        "",
        "| | trained phrasings | phrasings never seen for the subject |",
        "| --- | --- | --- |",
        *rows,
    ]


def _edits(found: Mapping[str, Any]) -> list[str]:
    groups = [key for key in ("all", "en", "zh") if key in found]
    hparams = ", ".join(f"{k} {v}" for k, v in sorted(found["hparams"].items()))
    heads = [f"{g} ({found[g]['edits']} edits)" for g in groups]
    lines = [
        f"Single edits with `rome` ({hparams}); each cell teacher-forced / free:",
        "",
        "| metric | " + " | ".join(heads) + " | asked | goal |",
        "| --- |" + " --- |" * (len(groups) + 2),
    ]
    for name, what, least, goal in GOALS:
        cells = [f"{found[g][name]:.3f} / {found[g][name + '_free']:.3f}" for g in groups]
        limits = ["" if x is None else f"{x:.2f}" for x in (least, goal)]
        lines.append(f"| {name} ({what}) | " + " | ".join([*cells, *limits]) + " |")
    failed = round(found["all"]["failed"] * found["all"]["edits"])
    return [*lines, "", f"Edits that the editor gave up: {failed}, counted as not reliable."]


def _effects(found: Mapping[str, Any]) -> list[str]:
    def row(name: str, values: Sequence[float]) -> str:
        return f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |"

    layers = len(found["subject_last"])
    return [
        f"Indirect effect of one restored hidden state, mean of {found['facts']} facts "
        f"(total effect {found['total_effect']:.2f}):",
        "",
        "| layer | " + " | ".join(map(str, range(layers))) + " |",
        "| --- |" + " --- |" * layers,
        row("last subject token", found["subject_last"]),
        row("last prompt token", found["prompt_last"]),
    ]


def write(path: Path, text: str) -> None:
    """Put `text` between the markers of a page. Raises: InvalidInput without markers."""
    page = path.read_text("utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise InvalidInput(f"{path} has no place for the figures ({BEGIN} ... {END})")
    head, rest = page.split(BEGIN)
    path.write_text(f"{head}{BEGIN}\n{text}{END}{rest.split(END)[1]}", "utf-8")


def main() -> None:
    """Measure both models; `--write PAGE` puts the tables there, else they go to the log."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--write", type=Path, required=True)
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    parts = []
    for folder, title in (("model", "The embedded model"), ("model-gpt2", "Its GPT-2 twin")):
        model = EditableModel.load(Path(__file__).parent / folder, dtype="float32")
        with tqdm(total=100, desc=folder, unit="%") as bar:

            def progress(_: str, share: float, bar: Any = bar) -> None:
                bar.update(round(100 * share) - bar.n)

            report = measure(
                model,
                build_world(),
                edits=arguments.edits,
                seed=arguments.seed,
                progress=progress,
            )
        parts.append(tables(report, title))
    write(arguments.write, "\n".join(parts))


if __name__ == "__main__":
    main()
