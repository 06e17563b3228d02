"""Deltas, hyper-parameters and contexts that make no sense cannot be built."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from editors import hparams as tables
from editors.base import EditContext, Hparams
from editors.covariance import identity
from editors.delta import Delta, Dense, LowRank, frobenius
from editors.errors import (
    EditFailed,
    EditorError,
    InvalidHparams,
    InvalidRequest,
    LayerOutOfRange,
    UnknownMethod,
    UnsupportedModel,
)
from editors.hparams import lookup
from editors.methods import METHODS, get_editor

TABLES = Path(tables.__file__).parent


def test_the_norm_of_factors_equals_that_of_their_product() -> None:
    torch.manual_seed(0)
    u, v = torch.randn(6, 2), torch.randn(2, 9)
    assert frobenius(LowRank(u, v)) == pytest.approx(float((u @ v).norm()), rel=1e-6)
    assert frobenius(Dense(u)) == pytest.approx(float(u.norm()), rel=1e-6)


GOOD_U, GOOD_V = torch.ones(4, 2), torch.ones(2, 5)


@pytest.mark.parametrize(
    ("u", "v"),
    [
        (torch.ones(4, 2), torch.ones(3, 5)),
        (torch.ones(4), torch.ones(1, 5)),
        (torch.ones(4, 0), torch.ones(0, 5)),
        (GOOD_U.double(), GOOD_V),
        (GOOD_U.half(), GOOD_V),
        (torch.ones(2, 4).T, GOOD_V),
        (GOOD_U * float("nan"), GOOD_V),
        (GOOD_U, GOOD_V * float("inf")),
        (torch.ones(2, 5000), torch.ones(5000, 2)),
    ],
)
def test_factors_that_are_not_a_change_cannot_be_built(u: Tensor, v: Tensor) -> None:
    assert LowRank(GOOD_U, GOOD_V).shape == (4, 5)
    with pytest.raises(EditFailed):
        LowRank(u, v)


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {}},
        {"keys": {"w": torch.ones(5, 1)}},
        {"keys": {"x": torch.ones(5, 1)}, "values": {"x": torch.ones(4, 1)}},
        {"keys": {"w": torch.ones(4, 1)}, "values": {"w": torch.ones(4, 1)}},
        {"keys": {"w": torch.ones(5, 2)}, "values": {"w": torch.ones(4, 1)}},
    ],
)
def test_a_delta_with_constraints_that_do_not_fit_cannot_be_built(changes: dict[str, Any]) -> None:
    good = {"parameters": {"w": LowRank(GOOD_U, GOOD_V)}}
    assert Delta(**good)
    with pytest.raises(EditFailed):
        Delta(**(good | changes))


def test_a_delta_is_read_only_and_its_evidence_is_json() -> None:
    delta = Delta({"w": Dense(GOOD_U)}, evidence={"loss": [1.0]})
    with pytest.raises(TypeError):
        delta.parameters["w"] = Dense(GOOD_V)  # type: ignore[index]
    for evidence in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((TypeError, ValueError)):
            Delta({"w": Dense(GOOD_U)}, evidence=evidence)  # type: ignore[dict-item]


@dataclass(frozen=True)
class Sample(Hparams):
    layer: int
    rate: float
    kind: Literal["a", "b"] = "a"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer": 1}, "needs 'rate'"),
        ({"layer": 1, "rate": 1, "lyer": 2}, "no 'lyer'"),
        ({"layer": 1.0, "rate": 1}, "layer must be int"),
        ({"layer": True, "rate": 1}, "layer must be int"),
        ({"layer": 1, "rate": "1"}, "rate must be float"),
        ({"layer": 1, "rate": True}, "rate must be float"),
        ({"layer": 1, "rate": float("nan")}, "finite"),
        ({"layer": 1, "rate": 1, "kind": "c"}, "must be one of"),
        ({"layer": 1, "rate": 1, "kind": None}, "must be one of"),
    ],
)
def test_unknown_missing_and_ill_typed_hyperparameters_are_refused(
    values: dict[str, Any], message: str
) -> None:
    assert Sample.from_dict({"layer": 1, "rate": 2}) == Sample(1, 2.0, "a")
    assert isinstance(Sample(1, 2).rate, float)
    with pytest.raises(InvalidHparams, match=message):
        Sample.from_dict(values)


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("rome", {"v_num_grad_steps": 1}),
        ("rome", {"v_lr": 0}),
        ("rome", {"kl_factor": -1}),
        ("rome", {"clamp_norm_factor": 0}),
        ("rome", {"key": "mixed"}),
        ("rome", {"max_update_ratio": 0}),
        ("ft", {"steps": 0}),
        ("ft", {"lr": -1}),
        ("ft", {"eps": 1.0}),
        ("ft-l", {"eps": 0.0}),
        ("ft-l", {"loss": "all"}),
    ],
)
def test_senseless_hyperparameters_are_refused(method: str, changes: dict[str, Any]) -> None:
    values, _ = lookup(method, {"model_type": "gpt2", "num_hidden_layers": 12})
    hparams = get_editor(method).hparams
    assert hparams.from_dict(values).to_dict().items() >= values.items()
    with pytest.raises(InvalidHparams):
        hparams.from_dict(values | changes)


@pytest.mark.parametrize(
    ("method", "size", "expected", "source"),
    [
        ("rome", ("gpt2", 48, 1600), {"layer": 17, "v_num_grad_steps": 20}, "gpt2-xl.json"),
        ("rome", ("gpt2", 24, 1024), {"layer": 8, "clamp_norm_factor": 3}, "gpt2-medium.json"),
        ("rome", ("llama", 32, 4096), {"layer": 5, "v_weight_decay": 1e-3}, "llama3-8b.yaml"),
        ("rome", ("llama", 16, 2048), {"layer": 3}, "family default"),
        ("rome", ("llama", 8, 160), {"layer": 3, "v_num_grad_steps": 50}, "embedded model"),
        ("rome", ("gemma2", 26, 2304), {"layer": 5}, "generic"),
        ("ft", ("llama", 32, 4096), {"layer": 21, "steps": 25, "lr": 5e-4}, "llama3-8b.yaml"),
        ("ft", ("qwen2", 24, 896), {"layer": 23}, "the last layer"),
        ("ft-m", ("llama", 32, 4096), {"layer": 21, "steps": 25}, "takes the values of ft"),
        ("ft-l", ("gpt2", 48, 1600), {"layer": 0, "eps": 5e-4}, "gpt2-xl_constr"),
        ("memit", ("gpt2", 48, 1600), {"layers": [13, 14, 15, 16, 17]}, "MEMIT/gpt2-xl.json"),
        ("memit", ("llama", 32, 4096), {"layers": [4, 5, 6, 7, 8], "v_lr": 0.5}, "llama-7b.yaml"),
        ("memit", ("llama", 16, 2048), {"layers": [2, 3, 4]}, "family default"),
        ("memit", ("llama", 8, 160), {"layers": [0, 1, 2, 3]}, "embedded model"),
        ("emmet", ("gptj", 28, 4096), {"layers": [5], "mom2_update_weight": 1}, "unified-model"),
        ("pmet", ("gptj", 28, 4096), {"kl_factor": 1.0, "v_num_grad_steps": 30}, "PMET"),
        ("alphaedit", ("gptj", 28, 4096), {"L2": 10, "nullspace_threshold": 0.02}, "AlphaEdit"),
        ("alphaedit", ("phi3", 32, 3072), {"nullspace_criterion": "energy"}, "generic"),
        ("kn", ("gpt2", 48, 1600), {"threshold": 0.2, "points": 20, "lambda_new": 8}, "KN/gpt2-xl"),
        ("kn-suppress", ("gptj", 28, 4096), {"threshold": 0.1}, "values of kn-erase"),
        ("rome-sup", ("gpt2", 48, 1600), {"layer": 17}, "takes the values of rome"),
    ],
)
def test_published_settings_are_found_with_their_source(
    method: str, size: tuple[str, int, int], expected: dict[str, Any], source: str
) -> None:
    config = dict(zip(("model_type", "num_hidden_layers", "hidden_size"), size, strict=True))
    for form in (config, SimpleNamespace(**config)):
        values, found = lookup(method, form)
        assert values.items() >= expected.items()
        assert source in found


@pytest.mark.parametrize("editor", METHODS, ids=lambda editor: editor.name)
def test_every_method_has_a_usable_setting_for_any_model(editor: Any) -> None:
    for depth in (1, 2, 6, 80):
        values, source = lookup(editor.name, {"model_type": "new", "num_hidden_layers": depth})
        hparams = editor.hparams.from_dict(values)
        layers = getattr(hparams, "layers", (getattr(hparams, "layer", 0),))
        assert layers
        assert all(0 <= layer < depth for layer in layers)
        assert source.startswith("generic")


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.json")), ids=lambda path: path.stem)
def test_every_row_of_every_table_is_valid_and_says_where_it_comes_from(path: Path) -> None:
    kind = get_editor(path.stem).hparams
    table = json.loads(path.read_text(encoding="utf-8"))
    rows = [{"match": {}, "hparams": {}}] if isinstance(table, dict) else table
    for row in rows:
        values, source = lookup(path.stem, {"num_hidden_layers": 48, **row["match"]})
        assert kind.from_dict(values)
        assert len(source) > 10
        places = {"layer", "layer_at", "layers", "layers_at"} & set(row["hparams"])
        assert len(places) <= 1
    assert len({json.dumps(row["match"], sort_keys=True) for row in rows}) == len(rows)


@pytest.mark.parametrize("name", ["nope", "../rome", "", "rome.json"])
def test_unknown_methods_are_refused(name: str) -> None:
    with pytest.raises(UnknownMethod):
        lookup(name, {})
    with pytest.raises(UnknownMethod):
        get_editor(name)


def test_llama_3_is_told_from_llama_2_by_its_vocabulary() -> None:
    size = {"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096}
    older, _ = lookup("memit", size | {"vocab_size": 32000})
    newer, source = lookup("memit", size | {"vocab_size": 128256})
    assert (older["v_lr"], newer["v_lr"]) == (0.5, 0.1)
    assert "Llama3-8B" in source


def test_a_misspelt_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownMethod, match="did you mean 'rome'"):
        get_editor("r0me")


def test_errors_carry_their_exit_codes() -> None:
    usage = (InvalidRequest, UnknownMethod, InvalidHparams, LayerOutOfRange, UnsupportedModel)
    assert {kind.exit_code for kind in usage} == {2}
    assert EditFailed.exit_code == 6
    assert all(issubclass(kind, EditorError) for kind in (*usage, EditFailed))


@pytest.mark.parametrize("templates", [(), ("x {}",), ("{}", "no slot"), ("{}", "{} {}")])
def test_context_templates_are_checked(templates: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest, match="template"):
        EditContext(torch.Generator(), templates, lambda layer: identity(2))
