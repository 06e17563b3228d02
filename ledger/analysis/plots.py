"""Pictures of analyses: heat maps of a trace, lines of a lens, bars of counts and choices.

Promise: a picture shows what its table says and nothing else.

Rules: what holds for every picture is in `ledger.figures`.

    draw(view, Path("trace.png"))           # or .svg, .pdf
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ledger.figures import BLUE, COLOURS, GREY, ORANGE, picture, plain, ticks
from ledger.views import AnalysisView

_TITLES: Final = MappingProxyType(
    {"state": "hidden state", "mlp": "MLP output", "attention": "attention output"}
)


def draw(view: AnalysisView, path: Path) -> None:
    """Draw an analysis into a file; an existing one is replaced.

    Raises: InvalidInput, as `ledger.figures.picture`.
    """
    with picture(path, _texts(view)) as figure:
        _DRAWN[view.kind](view, figure)


def _texts(view: AnalysisView) -> Iterable[str]:
    """What is written into a picture, beside words of this program."""
    content = view.content
    if view.kind == "trace":
        yield from content["rows"]
    elif view.kind == "lens":
        yield content["prompt"]
        for reading in content["readings"]:
            yield from reading["tokens"]
            yield from (word["word"] for word in reading["words"])
    elif view.kind == "activations" and len(content["prompts"]) == 1:
        yield content["prompts"][0]["prompt"]


# --- trace --------------------------------------------------------------------------------------


def _trace(view: AnalysisView, figure: Any) -> None:
    """Heat maps as in the ROME paper; of several facts, lines with 95 % bands below them."""
    content = view.content
    many = content["errors"] is not None
    rows, kinds = content["rows"], list(content["effects"])
    height = 1.3 + 0.26 * len(rows)
    figure.set_size_inches(12, height + 3 if many else height)
    maps, lines = figure.subfigures(2, 1, height_ratios=[height, 3]) if many else (figure, None)
    values = [x for grid in content["effects"].values() for row in grid for x in row]
    for place, (axes, kind) in enumerate(
        zip(maps.subplots(1, len(kinds), sharey=True), kinds, strict=True)
    ):
        image = axes.imshow(
            content["effects"][kind],
            aspect="auto",
            cmap="cividis",
            vmin=min(0.0, *values),
            vmax=max(values),
            interpolation="nearest",
        )
        axes.set_title(_title(kind, view), fontsize=10)
        axes.set_xlabel("layer")
        axes.set_xticks(ticks(len(content["effects"][kind][0])))
        if place == 0:
            axes.set_yticks(range(len(rows)), _row_labels(content))
    maps.colorbar(image, ax=axes, label="indirect effect")
    figure.suptitle(_about_trace(content), fontsize=11)
    if lines is not None:
        _trace_lines(content, lines.subplots(1, len(kinds), sharey=True))


def _trace_lines(content: Any, panels: Sequence[Any]) -> None:
    for axes, kind in zip(panels, content["effects"], strict=True):
        for colour, role in ((BLUE, "last subject token"), (ORANGE, "last token")):
            if role not in content["rows"]:
                continue
            i = content["rows"].index(role)
            line, half = content["effects"][kind][i], content["errors"][kind][i]
            axes.plot(line, color=colour, label=role, marker="o", markersize=3)
            if half is not None:
                low = [x - h for x, h in zip(line, half, strict=True)]
                high = [x + h for x, h in zip(line, half, strict=True)]
                axes.fill_between(range(len(line)), low, high, color=colour, alpha=0.2)
        axes.axhline(0, color=GREY, linewidth=0.5)
        axes.set_xlabel("layer")
        axes.set_xticks(ticks(len(line)))
    panels[0].set_ylabel("mean indirect effect")
    panels[0].legend(fontsize=8)


def _title(kind: str, view: AnalysisView) -> str:
    """The map's heading, with the window where there is one."""
    window = view.settings["window"]
    return _TITLES[kind] + ("" if kind == "state" else f", window of {window}")


def _row_labels(content: Any) -> list[str]:
    """Tokens with a star at the subject's, or roles with the number of facts."""
    if content["errors"] is not None:
        pairs = zip(content["rows"], content["counts"], strict=True)
        return [f"{row} ({count})" for row, count in pairs]
    first, last = content["facts"][0]["subject"]
    return [
        plain(row) + ("*" if first <= i <= last else "") for i, row in enumerate(content["rows"])
    ]


def _about_trace(content: Any) -> str:
    facts = content["facts"]
    clean = sum(fact["clean"] for fact in facts) / len(facts)
    low = sum(fact["corrupted"] for fact in facts) / len(facts)
    what = "1 fact" if len(facts) == 1 else f"{len(facts)} facts"
    return f"Causal trace of {what}: p(answer) {clean:.2f} clean, {low:.2f} corrupted"


# --- lens ---------------------------------------------------------------------------------------


def _lens(view: AnalysisView, figure: Any) -> None:
    """One row a version: each layer's top token, the words' probabilities, and their ranks."""
    readings = view.content["readings"]
    depth = len(readings[0]["tokens"])
    figure.set_size_inches(max(7.0, 0.5 * depth + 5), 3.2 * len(readings) + 0.5)
    panels = figure.subplots(len(readings), 2, squeeze=False, sharex=True)
    for (left, right), reading in zip(panels, readings, strict=True):
        left.bar(range(depth), reading["chance"], color="#CCCCCC", label="top token")
        for layer, token in enumerate(reading["tokens"]):
            left.annotate(plain(token, 12), (layer, 0.03), rotation=90, ha="center", fontsize=8)
        for colour, word in zip(COLOURS * len(reading["words"]), reading["words"], strict=False):
            name = plain(word["word"])
            left.plot(word["chance"], color=colour, marker="o", markersize=3, label=name)
            right.plot(word["rank"], color=colour, marker="o", markersize=3, label=name)
        left.set_ylim(0, 1.05)
        left.set_title(f"version {reading['version']}: probability", fontsize=10)
        right.set_title("rank of the word", fontsize=10)
        right.set_yscale("log")
        right.set_ylim(max(10, 2 * max(max(word["rank"]) for word in reading["words"])), 0.8)
        left.legend(fontsize=8, loc="upper left")
        for axes in (left, right):
            axes.set_xticks(ticks(depth))
    for axes in panels[-1]:
        axes.set_xlabel("layer")
    figure.suptitle(plain(view.content["prompt"], 80), fontsize=11)


# --- activations and layers ---------------------------------------------------------------------


def _activations(view: AnalysisView, figure: Any) -> None:
    """Counts of one prompt with the chosen layer marked; the mean of several with their spread."""
    prompts, mean, sd = (view.content[name] for name in ("prompts", "mean", "sd"))
    figure.set_size_inches(7, 3.6)
    axes = figure.subplots()
    if len(prompts) == 1:
        chosen = prompts[0]["layer"]
        colours = [ORANGE if layer == chosen else BLUE for layer in range(len(mean))]
        axes.bar(range(len(mean)), mean, color=colours)
        axes.set_title(f"{plain(prompts[0]['prompt'], 70)} (layer {chosen} chosen)", fontsize=10)
    else:
        axes.bar(range(len(mean)), mean, yerr=sd, color=BLUE, ecolor=GREY, capsize=2)
        axes.set_title(f"mean of {len(prompts)} prompts, with standard deviation", fontsize=10)
    axes.set_xlabel("layer")
    axes.set_ylabel(f"units above {view.settings['threshold']:g}")
    axes.set_xticks(ticks(len(mean)))


def _layers(view: AnalysisView, figure: Any) -> None:
    """One histogram a rule."""
    rules = view.content["rules"]
    figure.set_size_inches(max(5.0, 3.2 * len(rules)), 3.4)
    panels = figure.subplots(1, len(rules), squeeze=False, sharey=True)[0]
    for axes, rule in zip(panels, rules, strict=True):
        axes.bar(range(len(rule["histogram"])), rule["histogram"], color=BLUE)
        axes.axvline(rule["mean"], color=ORANGE, linestyle="--")
        axes.set_title(f"{rule['rule']}\nmean {rule['mean']:.2f}, sd {rule['sd']:.2f}", fontsize=10)
        axes.set_xlabel("layer")
        axes.set_xticks(ticks(len(rule["histogram"])))
    panels[0].set_ylabel("facts")
    panels[0].yaxis.get_major_locator().set_params(integer=True)


_DRAWN: Final[MappingProxyType[str, Callable[[AnalysisView, Any], None]]] = MappingProxyType(
    {"trace": _trace, "lens": _lens, "activations": _activations, "layers": _layers}
)
