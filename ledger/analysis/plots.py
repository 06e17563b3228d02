"""Pictures of analyses: heat maps of a trace, lines of a lens, bars of counts and choices.

Promise: a picture shows what its table says and nothing else; colours can be told apart by
colour-blind readers; a text that no installed font can show is refused, never drawn as boxes.

Rules: matplotlib is imported when a picture is drawn; nothing of it is left switched on.

    draw(view, Path("trace.png"))           # or .svg, .pdf
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ledger.errors import InvalidInput
from ledger.views import AnalysisView

# Metadata without a date, so that the same numbers give the same file.
_UNDATED: Final = MappingProxyType(
    {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
)
SUFFIXES: Final = tuple(_UNDATED)
# Okabe and Ito's palette.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#555555"
_COLOURS: Final = (_BLUE, _ORANGE, _GREEN, "#CC79A7", "#E69F00", "#56B4E9")
_TITLES: Final = MappingProxyType(
    {"state": "hidden state", "mlp": "MLP output", "attention": "attention output"}
)
_LONGEST: Final = 24
_MOST_TICKS: Final = 16


def draw(view: AnalysisView, path: Path) -> None:
    """Draw an analysis into a file; an existing one is replaced.

    Raises: InvalidInput for another kind of file, without matplotlib, or for texts that no
    installed font has; OSError.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidInput(f"{path.name} is no picture: end it in {', '.join(SUFFIXES)}")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInput(
            "pictures need matplotlib: pip install 'knowledge-edit-ledger[plots]', or use --csv"
        ) from error
    families = fonts("".join(_texts(view)))
    with rc_context({"font.family": families, "svg.hashsalt": "kel", "axes.unicode_minus": False}):
        figure = Figure(layout="constrained", dpi=150)
        _DRAWN[view.kind](view, figure)
        figure.savefig(path, metadata=_UNDATED[path.suffix.lower()])


def fonts(text: str) -> list[str]:
    """Families that together have every character: the usual one, and others where it lacks some.

    Raises: InvalidInput naming the characters that no installed font has.
    """
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    usual = font_manager.fontManager.findfont("DejaVu Sans")
    families = ["DejaVu Sans"]
    missing = {ord(char) for char in text if char.isprintable()}
    missing -= set(FT2Font(usual).get_charmap())
    for font in sorted(font_manager.fontManager.ttflist, key=_preference):
        if not missing:
            break
        if font.name.startswith("Last Resort"):
            continue  # it draws a box for everything
        found = missing & set(FT2Font(font.fname).get_charmap())
        if found:
            families.append(font.name)
            missing -= found
    if missing:
        shown = "".join(chr(code) for code in sorted(missing)[:10])
        raise InvalidInput(
            f"no installed font has the characters {shown!r}: install one (Noto Sans CJK for "
            "Chinese), or use --csv"
        )
    return families


def _preference(font: Any) -> tuple[bool, bool, str]:
    """Upright sans-serif faces of regular weight first."""
    plain = font.style == "normal" and font.weight in (400, "normal", "regular")
    return not plain, "Sans" not in font.name, str(font.name)


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


def _plain(text: str, limit: int = _LONGEST) -> str:
    """A text as it may stand in a picture: shortened, blanks visible, no formulas."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    short = printable if len(printable) <= limit else printable[: limit - 1] + "…"
    return short.strip().replace("$", r"\$")


def _ticks(count: int) -> list[int]:
    return list(range(0, count, -(-count // _MOST_TICKS)))


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
        axes.set_xticks(_ticks(len(content["effects"][kind][0])))
        if place == 0:
            axes.set_yticks(range(len(rows)), _row_labels(content))
    maps.colorbar(image, ax=axes, label="indirect effect")
    figure.suptitle(_about_trace(content), fontsize=11)
    if lines is not None:
        _trace_lines(content, lines.subplots(1, len(kinds), sharey=True))


def _trace_lines(content: Any, panels: Sequence[Any]) -> None:
    for axes, kind in zip(panels, content["effects"], strict=True):
        for colour, role in ((_BLUE, "last subject token"), (_ORANGE, "last token")):
            if role not in content["rows"]:
                continue
            i = content["rows"].index(role)
            line, half = content["effects"][kind][i], content["errors"][kind][i]
            axes.plot(line, color=colour, label=role, marker="o", markersize=3)
            if half is not None:
                low = [x - h for x, h in zip(line, half, strict=True)]
                high = [x + h for x, h in zip(line, half, strict=True)]
                axes.fill_between(range(len(line)), low, high, color=colour, alpha=0.2)
        axes.axhline(0, color=_GREY, linewidth=0.5)
        axes.set_xlabel("layer")
        axes.set_xticks(_ticks(len(line)))
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
        _plain(row) + ("*" if first <= i <= last else "") for i, row in enumerate(content["rows"])
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
            left.annotate(_plain(token, 12), (layer, 0.03), rotation=90, ha="center", fontsize=8)
        for colour, word in zip(_COLOURS * len(reading["words"]), reading["words"], strict=False):
            name = _plain(word["word"])
            left.plot(word["chance"], color=colour, marker="o", markersize=3, label=name)
            right.plot(word["rank"], color=colour, marker="o", markersize=3, label=name)
        left.set_ylim(0, 1.05)
        left.set_title(f"version {reading['version']}: probability", fontsize=10)
        right.set_title("rank of the word", fontsize=10)
        right.set_yscale("log")
        right.set_ylim(max(10, 2 * max(max(word["rank"]) for word in reading["words"])), 0.8)
        left.legend(fontsize=8, loc="upper left")
        for axes in (left, right):
            axes.set_xticks(_ticks(depth))
    for axes in panels[-1]:
        axes.set_xlabel("layer")
    figure.suptitle(_plain(view.content["prompt"], 80), fontsize=11)


# --- activations and layers ---------------------------------------------------------------------


def _activations(view: AnalysisView, figure: Any) -> None:
    """Counts of one prompt with the chosen layer marked; the mean of several with their spread."""
    prompts, mean, sd = (view.content[name] for name in ("prompts", "mean", "sd"))
    figure.set_size_inches(7, 3.6)
    axes = figure.subplots()
    if len(prompts) == 1:
        chosen = prompts[0]["layer"]
        colours = [_ORANGE if layer == chosen else _BLUE for layer in range(len(mean))]
        axes.bar(range(len(mean)), mean, color=colours)
        axes.set_title(f"{_plain(prompts[0]['prompt'], 70)} (layer {chosen} chosen)", fontsize=10)
    else:
        axes.bar(range(len(mean)), mean, yerr=sd, color=_BLUE, ecolor=_GREY, capsize=2)
        axes.set_title(f"mean of {len(prompts)} prompts, with standard deviation", fontsize=10)
    axes.set_xlabel("layer")
    axes.set_ylabel(f"units above {view.settings['threshold']:g}")
    axes.set_xticks(_ticks(len(mean)))


def _layers(view: AnalysisView, figure: Any) -> None:
    """One histogram a rule."""
    rules = view.content["rules"]
    figure.set_size_inches(max(5.0, 3.2 * len(rules)), 3.4)
    panels = figure.subplots(1, len(rules), squeeze=False, sharey=True)[0]
    for axes, rule in zip(panels, rules, strict=True):
        axes.bar(range(len(rule["histogram"])), rule["histogram"], color=_BLUE)
        axes.axvline(rule["mean"], color=_ORANGE, linestyle="--")
        axes.set_title(f"{rule['rule']}\nmean {rule['mean']:.2f}, sd {rule['sd']:.2f}", fontsize=10)
        axes.set_xlabel("layer")
        axes.set_xticks(_ticks(len(rule["histogram"])))
    panels[0].set_ylabel("facts")
    panels[0].yaxis.get_major_locator().set_params(integer=True)


_DRAWN: Final[MappingProxyType[str, Callable[[AnalysisView, Any], None]]] = MappingProxyType(
    {"trace": _trace, "lens": _lens, "activations": _activations, "layers": _layers}
)
