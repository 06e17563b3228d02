"""The plain way to each of the engine's results: whole passes, one after the other.

with whole_passes():
    editor(...)                 # the same code with nothing continued or cached
row_by_row(subject)             # ROME as the tests' reference has it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from unittest import mock

import torch
from torch import Tensor

from bench.engine_models import Subject
from editors.covariance import SecondMoment
from editors.keys import context_mean, flat
from editors.methods import get_editor
from editors.model import EditableModel
from editors.prompts import encode, fill, subject_position
from editors.requests import EditRequest
from editors.trace import Trace
from tests.reference.rome_reference import Settings, rome


def whole_passes() -> mock._patch[object]:
    """Inside the block no model counts as one that can be continued."""
    return mock.patch("editors.continuing._standard", return_value=False)


def row_by_row(subject: Subject, request: EditRequest) -> Tensor:
    """ΔW [d, m] by one row per forward, every position through the head."""
    hparams, model = subject.rome, subject.model
    name = model.projection(hparams.layer)
    settings = Settings(
        steps=hparams.v_num_grad_steps,
        lr=hparams.v_lr,
        weight_decay=hparams.v_weight_decay,
        clamp=hparams.clamp_norm_factor,
        kl=hparams.kl_factor,
        stop=hparams.stop_loss,
    )
    change, _ = rome(
        model.model,
        model.tokenizer,
        model.model.get_submodule(name),
        request.prompt,
        request.subject,
        request.target_new,
        subject.templates,
        torch.eye(model.d_mlp),
        settings,
        hparams.key,
    )
    return change


def whole_rows(
    model: EditableModel,
    requests: Sequence[EditRequest],
    templates: Sequence[str],
    module: str,
    *,
    inputs: bool,
) -> Tensor:
    """What a module receives or returns at the subject: whole rows through the whole model.

    Shape: [n, p, width].
    """
    filled = [fill(r, t) for r in requests for t in templates]
    encoded = [encode(model, f.text) for f in filled]
    places = [subject_position(e, f.subject) for e, f in zip(encoded, filled, strict=True)]
    found = []
    for start in range(0, len(encoded), 128):
        rows = [e.ids for e in encoded[start : start + 128]]
        batch = model.batch(rows)
        at = [batch.flat(i, p) for i, p in enumerate(places[start : start + 128])]
        named = {"inputs" if inputs else "outputs": [module]}
        with torch.no_grad(), Trace(model.model, **named) as trace:  # type: ignore[arg-type]
            model.forward(batch)
        found.append(flat(trace.input(module) if inputs else trace.output(module))[at].float())
    return torch.cat(found).reshape(len(requests), len(templates), -1)


def memit_write(
    subject: Subject,
    requests: Sequence[EditRequest],
    moved: Tensor,
    moment: SecondMoment,
    weight: float,
) -> dict[str, Tensor]:
    """MEMIT's loop as published: two sets of whole passes and an m x m solve for each layer.

    Shape: moved [n, d]. The model is written to and restored. Returns ΔW per parameter.
    """
    model, layers = subject.model, subject.five
    templates = (subject.templates[0], *subject.templates[-5:])
    module = model.residual(layers[-1])
    names = [model.parameter_name(layer) for layer in layers]
    before = {name: model.weight(name).clone() for name in names}
    bare = templates[:1]
    wanted = whole_rows(model, requests, bare, module, inputs=False)[:, 0] + moved
    changes: dict[str, Tensor] = {}
    for done, (layer, name) in enumerate(zip(layers, names, strict=True)):
        projection = model.projection(layer)
        keys = whole_rows(model, requests, templates, projection, inputs=True)
        states = whole_rows(model, requests, bare, module, inputs=False)[:, 0]
        k = context_mean(keys).T.double()
        residual = (wanted - states).T.double() / (len(layers) - done)
        system = weight * moment.moment + k @ k.T
        changes[name] = residual @ torch.linalg.solve(system, k).T
        model.set_weight_(name, model.weight(name) + changes[name].float())
    for name, old in before.items():
        model.set_weight_(name, old)
    return changes


def edit_every_layer(subject: Subject, layers: Iterable[int]) -> dict[int, float]:
    """WilKE without a scan: ROME at each layer, its dense change and that one's norm."""
    from dataclasses import replace

    editor, model = get_editor("rome"), subject.model
    found = {}
    for layer in layers:
        hparams = replace(subject.rome, layer=layer)
        delta = editor(model, subject.requests[:1], hparams, context=subject.context())
        ((name, change),) = delta.parameters.items()
        dense = change.u.double() @ change.v.double()
        found[layer] = float(dense.norm() / model.weight(name).double().norm())
    return found


def full_depth_moment(model: EditableModel, layer: int, rows: Sequence[Sequence[int]]) -> Tensor:
    """C of one layer as the published loop has it: whole passes, the head included. [m, m]."""
    name, total, count = model.projection(layer), 0.0, 0
    for row in rows:
        with torch.no_grad(), Trace(model.model, inputs=[name]) as trace:
            model.forward(model.batch([row]))
        keys = flat(trace.input(name)).double()
        total, count = total + keys.T @ keys, count + len(keys)
    assert isinstance(total, Tensor)
    return total / count
