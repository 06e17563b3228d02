"""Pictures show what the tables say, in characters that can be read, or are refused."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from ledger.analysis.plots import draw
from ledger.errors import InvalidInput
from ledger.figures import fonts
from ledger.views import AnalysisView
from tests.unit.test_cli_fake import ANALYSES, CONTENTS, SETTINGS

MANY = {
    **CONTENTS["trace"],
    "facts": CONTENTS["trace"]["facts"] * 2,
    "rows": ["last subject token", "last token"],
    "counts": [2, 1],
    "errors": {kind: [[0.1, 0.1], None] for kind in ("state", "mlp", "attention")},
}
SEVERAL = {**CONTENTS["activations"], "prompts": CONTENTS["activations"]["prompts"] * 2}
VIEWS = {
    **ANALYSES,
    "many": AnalysisView("trace", (3,), SETTINGS, {}, MANY),
    "several": AnalysisView("activations", (3,), SETTINGS, {}, SEVERAL),
}
MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.parametrize("suffix", MAGIC)
def test_every_kind_is_drawn_into_every_kind_of_file_and_twice_alike(
    kind: str, suffix: str, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{n}{suffix}" for n in range(2)]
    for path in paths:
        draw(VIEWS[kind], path)
    one, two = (path.read_bytes() for path in paths)
    assert one.startswith(MAGIC[suffix])
    assert one == two


def drawn(view: AnalysisView, monkeypatch: pytest.MonkeyPatch, path: Path) -> Any:
    from matplotlib.figure import Figure

    kept: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: Any, **options: Any) -> None:
        kept.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    draw(view, path)
    return kept[0]


def test_heat_maps_hold_the_effects_and_mark_the_subject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = drawn(ANALYSES["trace"], monkeypatch, tmp_path / "x.png")
    maps = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert [axes.get_title() for axes in maps] == [
        "hidden state",
        "MLP output, window of 2",
        "attention output, window of 2",
    ]
    effects = CONTENTS["trace"]["effects"]
    for axes, kind in zip(maps, effects, strict=True):
        assert axes.images[0].get_array().tolist() == effects[kind]
    assert [label.get_text() for label in maps[0].get_yticklabels()] == ["Ada*", "lives"]


def test_lines_and_bars_hold_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = drawn(ANALYSES["lens"], monkeypatch, tmp_path / "x.png")
    (word,) = CONTENTS["lens"]["readings"][0]["words"]
    chance, rank = (axes.lines[0].get_ydata() for axes in figure.axes)
    assert (list(chance), list(rank)) == (word["chance"], word["rank"])
    figure = drawn(ANALYSES["layers"], monkeypatch, tmp_path / "y.png")
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0, 1]


def test_another_script_takes_another_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual font lacks this letter, which a font that comes with matplotlib has."""
    letter = "\U0001d400"
    content = {**CONTENTS["lens"], "prompt": f"a {letter} b"}
    families = fonts(letter)
    assert families[0] == "DejaVu Sans"
    assert len(families) == 2
    assert fonts("plain ascii") == ["DejaVu Sans"]
    draw(AnalysisView("lens", (3,), {}, {}, content), tmp_path / "x.png")  # warnings are errors


def test_characters_that_no_font_has_are_named_and_nothing_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.font_manager import fontManager

    only = [font for font in fontManager.ttflist if font.name == "DejaVu Sans"]
    monkeypatch.setattr(fontManager, "ttflist", only)
    path = tmp_path / "x.png"
    content = {**CONTENTS["lens"], "prompt": "北京在"}
    with pytest.raises(InvalidInput, match=r"no installed font has the characters '京北在'.*Noto"):
        draw(AnalysisView("lens", (3,), {}, {}, content), path)
    assert not path.exists()


def test_texts_are_no_formulas(tmp_path: Path) -> None:
    content = {**CONTENTS["lens"], "prompt": "$x^{ costs $5\n"}
    draw(AnalysisView("lens", (3,), {}, {}, content), tmp_path / "x.png")


def test_other_files_and_a_missing_library_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match=r"end it in \.png, \.svg, \.pdf"):
        draw(ANALYSES["lens"], tmp_path / "x.gif")
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InvalidInput, match=r"pip install 'knowledge-edit-ledger\[plots\]'"):
        draw(ANALYSES["lens"], tmp_path / "x.png")
