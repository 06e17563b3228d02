"""The experiments of the thesis on the embedded models, as a page.

Promise: everything between the markers of docs/thesis.md, and every picture and table beside it, is
what this command measured; a run that was cut short goes on where it was.

    python -m ledger.demo.thesis --runs runs/thesis --page docs/thesis.md [--limit 5]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tqdm import tqdm

from ledger.ageing_plot import draw as draw_history
from ledger.ageing_plot import write_csv as write_history
from ledger.analysis.plots import draw as draw_analysis
from ledger.analysis.tables import write_csv as write_analysis
from ledger.demo.inside import FACTS, LANGUAGES, MODELS, Inside
from ledger.errors import InvalidInput
from ledger.runs.plots import draw
from ledger.runs.reading import load
from ledger.runs.rows import gathered
from ledger.runs.running import run
from ledger.runs.tables import Sheet, markdown, sheet_of, write_csv
from ledger.views import AnalysisView

# Name on the page -> configuration, kind of table.
RUNS: Final = MappingProxyType(
    {
        "fig2-5": ("fig2-5", "methods"),
        "fig2-6": ("fig2-5", "locality"),
        "table3-1": ("table3-1", "constraints"),
        "table3-3": ("table3-3", "layers"),
        "sequence": ("sequence", "retention"),
    }
)
_COUNTS: Final = ("prompts", "left_out")
_LONGER: Final = 3  # a sequence has more facts
_SINGLE: Final = ("reliability", "generalization", "portability", "locality_random")


def measured(root: Path, limit: int | None) -> dict[str, Sheet]:
    """Every run of the thesis, as far as it is not done, and its tables by name."""
    rows = {}
    for name in dict.fromkeys(config for config, _ in RUNS.values()):
        with tqdm(desc=name, unit="step") as bar:
            config = load(f"thesis/{name}")
            if limit is not None:
                config = config.changed(limit=limit * (_LONGER if name == "sequence" else 1))
            run(config, root / name, progress=_to(bar))
        rows[name] = gathered([root / name])[1]
    return {name: sheet_of(kind, rows[config]) for name, (config, kind) in RUNS.items()}


def _to(bar: Any) -> Any:
    def told(name: str, done: int, total: int) -> None:
        bar.total = total
        bar.set_postfix_str(name, refresh=False)
        bar.update(done - bar.n)

    return told


# --- chapter 3, inside the model ----------------------------------------------------------------


def looked_into(inside: Inside, pictures: Path) -> Iterator[tuple[str, str]]:
    """Name and Markdown of each part; pictures and their numbers are written on the way."""
    analyses = {
        "lens": inside.lens(),
        "fig3-4": inside.activations_of_one(),
        "trace": inside.trace(),
    }
    yield "table3-2", _single(inside)
    layers = {
        (model, language): inside.layers(model, base, language, source)
        for model, base in MODELS
        for language, source in LANGUAGES
    }
    for (model, language), view in layers.items():
        analyses[f"layers-{model}-{language}".lower()] = view
    for name, view in analyses.items():
        draw_analysis(view, pictures / f"{name}.svg")
        write_analysis(view, pictures / f"{name}.csv")
    yield "layers", _chosen(layers)
    yield "table3-4", _rises(inside)
    aged = inside.history()
    draw_history(aged, pictures / "history.svg")
    write_history(aged, pictures / "history.csv")


def _table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = [[f"{c:.3f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    lines = [headings, ["---"] * len(headings), *cells]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _single(inside: Inside) -> str:
    fact = inside.fact
    rows = [
        (name, numbers["layer"], *(numbers.get(metric, "") for metric in _SINGLE))
        for name, numbers in inside.edits()
    ]
    told = f"“{fact.text}”: {fact.target_true} → {fact.target_new}.\n\n"
    return told + _table(("ROME at", "layer", "mR", "mG", "mP", "mL random"), rows)


def _chosen(layers: Mapping[tuple[str, str], AnalysisView]) -> str:
    """Figures 3-5 to 3-7 as numbers: the layers each rule chose."""
    rows = [
        (
            ", ".join(name),
            rule["rule"],
            f"{rule['mean']:.2f} ± {rule['sd']:.2f}",
            rule["mode"],
            "" if rule["wording"] is None else f"{rule['wording']['same']:.2f}",
        )
        for name, view in layers.items()
        for rule in view.content["rules"]
    ]
    headings = ("model, data", "rule", "layer", "mode", "same in other words")
    return f"{FACTS} facts each.\n\n" + _table(headings, rows)


def _rises(inside: Inside) -> str:
    """Tables 3-4 and 3-5."""
    found: dict[str, Mapping[str, float]] = {}
    for model, base in MODELS:
        for language, source in LANGUAGES:
            view = inside.activations(model, base, language, source)
            found[f"{model}, {language}"] = {_told(n): v for n, v in view.metrics.items()}
    names = list(dict.fromkeys((*_COUNTS, *(n for metrics in found.values() for n in metrics))))
    rows = [(name, *(_rise(metrics, name) for metrics in found.values())) for name in names]
    return _table(("", *found), rows)


def _told(name: str) -> str:
    """A figure's name without the bound of a jump, which is another for each model."""
    return "share fdv > jump" if name.startswith("share fdv > ") and name[-2:] != " 0" else name


def _rise(metrics: Mapping[str, float], name: str) -> object:
    value = metrics.get(name, "")
    return int(value) if name in _COUNTS else value


def _size(limit: int | None) -> str:
    if limit is None:
        return "Made with as many facts as the configurations ask for.\n"
    return (
        f"Made with {limit} facts of every data set and {_LONGER * limit} in sequence (`--limit "
        f"{limit}`), fewer than the configurations ask for.\n"
    )


# --- the page -----------------------------------------------------------------------------------


def put(page: str, name: str, text: str) -> str:
    """The page with `text` between the markers of a part. Raises: InvalidInput without markers."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise InvalidInput(f"the page has no place for {name} ({begin} ... {end})")
    head, rest = page.split(begin)
    return f"{head}{begin}\n{text}{end}{rest.split(end)[1]}"


def main() -> None:
    """Run the thesis' experiments on the embedded models and put them into a page."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="facts of a data set, for a quicker page")
    arguments = parser.parse_args()
    pictures = arguments.page.parent / "thesis"
    pictures.mkdir(exist_ok=True)
    parts = {"size": _size(arguments.limit)}
    for name, sheet in measured(arguments.runs, arguments.limit).items():
        draw(sheet, pictures / f"{name}.svg")
        write_csv(sheet, pictures / f"{name}.csv")
        parts[name] = markdown(sheet)
    with Inside(arguments.runs / "inside") as inside:
        parts.update(looked_into(inside, pictures))
    page = arguments.page.read_text("utf-8")
    for name, text in parts.items():
        page = put(page, name, text)
    arguments.page.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
