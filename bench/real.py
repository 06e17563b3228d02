"""Real changes of the embedded model, one fact each, computed once and kept in a folder.

They are single edits of the unedited model with the method's own hyper-parameters; the second
moments are those of the world's texts. What the folder has already is not computed again.

    made = real("rome", 200, Path("deltas"))
    made[0].delta.parameters, made[0].subject
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from editors.base import EditContext, Editor, Hparams
from editors.covariance import accumulate
from editors.delta import Delta
from editors.errors import EditFailed
from editors.hparams import lookup
from editors.methods import get_editor
from editors.model import EditableModel
from editors.prompts import context_templates
from editors.requests import EditRequest
from ledger.base import demo_folder
from ledger.deltas import decode_delta, encode_delta
from ledger.demo.cases import cases
from ledger.demo.corpus import texts
from ledger.demo.world import World, build_world

_TOKENS = 12  # of text for C, times the width of the keys
_SEEDS = {"rome": 0, "memit": 1}  # of the facts, so that the methods state different ones


@dataclass(frozen=True)
class Made:
    """A change, and the fact it states."""

    delta: Delta
    subject: str
    prompt: str
    target: str


def real(method: str, count: int, folder: Path) -> list[Made]:
    """`count` single edits of random facts by a method that takes second moments."""
    kept = folder / method
    kept.mkdir(parents=True, exist_ok=True)
    if len(list(kept.glob("*.json"))) < count:
        _compute(method, count, kept)
    return [_read(path) for path in sorted(kept.glob("*.json"))[:count]]


def _read(path: Path) -> Made:
    delta = decode_delta(path.with_suffix(".safetensors").read_bytes())
    return Made(delta, *json.loads(path.read_text("utf-8")))


def _compute(method: str, count: int, kept: Path) -> None:
    world, model = build_world(), EditableModel.load(demo_folder())
    editor = get_editor(method)
    hparams = editor.hparams.from_dict(lookup(method, model.model.config)[0])
    context = _context(model, world, editor, hparams)
    done = 0
    for number, case in enumerate(cases(world, count=len(world.facts), seed=_SEEDS[method])):
        place = kept / f"{number:05d}.json"
        full = case.request
        request = EditRequest(full.subject, full.prompt, full.target_new, full.target_true)
        if done == count:
            return
        try:
            if not place.exists():
                delta = editor(model, [request], hparams, context=context)
                data = encode_delta(delta, method=method, base_digest="0" * 64)
                place.with_suffix(".safetensors").write_bytes(data)
                fact = [request.subject, request.prompt, request.target_new]
                place.write_text(json.dumps(fact), "utf-8")
            done += 1
        except EditFailed:
            continue


def _context(
    model: EditableModel, world: World, editor: Editor[Hparams], hparams: Hparams
) -> EditContext:
    tokens = _TOKENS * model.d_mlp
    said = islice(texts(world, seed=2), tokens)
    moments = accumulate(model, sorted(editor.needs(hparams)), said, max_tokens=tokens)
    templates = context_templates(model, torch.Generator().manual_seed(0))
    return EditContext(torch.Generator().manual_seed(0), templates, lambda layer: moments[layer])
