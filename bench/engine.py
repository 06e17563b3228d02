"""The engine beside the plain computation: one edit, many values, neurons, writes, moments, scans.

Both sides run in one process, in turn, on the same requests, templates and stop rule, in float32;
what they find is compared before it is timed. KEL_PEER names checkouts of kmeng01/rome and
zjunlp/EasyEdit, with the system's path separator between them, whose own code is then timed on the
GPT-2 twin as well; KEL_ENGINE names the models: embedded twin gpt2_small half_llama.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from bench.clock import Work, in_turns, seconds
from bench.engine_models import MODELS, Subject, embedded, half_llama, random_moment, twin
from bench.engine_plain import (
    edit_every_layer,
    full_depth_moment,
    memit_write,
    row_by_row,
    whole_passes,
)
from bench.peer import rome_edit
from bench.peer_easyedit import EasyEdit, is_easyedit
from bench.table import Row
from editors.base import Job
from editors.covariance import accumulate
from editors.layers import wilke
from editors.methods import get_editor
from editors.methods.memit import MemitHparams
from editors.neurons import attribute
from editors.prompts import encode
from editors.rows import Wish
from editors.values import optimise_value, optimise_values
from ledger.demo.corpus import texts
from ledger.demo.world import build_world
from tests.contract import test_kn_contract

PEERS = [Path(p).resolve() for p in os.environ.get("KEL_PEER", "").split(os.pathsep) if p]
WHOLE, BY_ROW = "whole passes, batched", "the tests' reference, row by row"
POINTS, WRITES, FEW_WRITES, VALUES, BATCH = 20, 100, 20, 32, 10
SEARCH = ("v_num_grad_steps", "v_lr", "v_weight_decay", "clamp_norm_factor", "kl_factor")
NULL_SPACE = {"nullspace_criterion": "absolute", "nullspace_threshold": 1.0, "L2": 1.0}


def measure(_folder: Path) -> list[Row]:
    """The table of the models chosen."""
    chosen = os.environ.get("KEL_ENGINE", "").split() or [make.__name__ for make in MODELS]
    rows: list[Row] = []
    for make in MODELS:
        if make.__name__ in chosen:
            subject = make()
            for part in _parts(subject, make):
                what = getattr(part, "__name__", "EasyEdit")
                print(f"  {subject.name}: {what}", file=sys.stderr, flush=True)
                rows += part(subject)
    return rows


def _parts(subject: Subject, make: object) -> Iterator[Callable[[Subject], list[Row]]]:
    yield one_edit
    if make is twin:
        yield from (partial(published, peer) for peer in PEERS if is_easyedit(peer))
    if make in (twin, half_llama):
        return
    yield from (neurons, write, moments)
    if make is embedded:
        yield from (values, scan)


def one_edit(subject: Subject) -> list[Row]:
    """One ROME edit; ΔW of all sides must agree."""
    editor, request = get_editor("rome"), subject.requests[0]

    def ours() -> Tensor:
        delta = editor(subject.model, [request], subject.rome, context=subject.context())
        ((_, change),) = delta.parameters.items()
        return change.u.double() @ change.v.double()

    def whole() -> Tensor:
        with whole_passes():
            return ours()

    works: dict[str, Callable[[], Tensor]] = {"": ours, WHOLE: whole}
    works[BY_ROW] = lambda: row_by_row(subject, request)
    if subject.model.tokenizer("a")["input_ids"][0] not in subject.model.special_ids:
        for peer in PEERS:
            if is_easyedit(peer):
                works["EasyEdit, its own code"] = EasyEdit(peer, subject).rome(request)
            else:
                works["kmeng01/rome, its own code"] = rome_edit(subject, request, peer)
    return _compared(subject, "one ROME edit", works, goal=1 / 5)


def published(checkout: Path, subject: Subject) -> list[Row]:
    """Batches and attributions by EasyEdit's code, values included, with a random second moment."""
    peer, model = EasyEdit(checkout, subject), subject.model
    requests, moment = subject.requests[:BATCH], random_moment(model)
    settings = {
        **{name: getattr(subject.rome, name) for name in SEARCH},
        "layers": subject.five,
        "max_update_ratio": 1e9,
    }
    rows = []
    for method, edit, more in (
        ("memit", peer.memit, {"mom2_update_weight": 50.0}),
        ("alphaedit", peer.alphaedit, NULL_SPACE),
    ):
        editor = get_editor(method)
        hparams = editor.hparams.from_dict({**settings, **more})
        context = subject.context(dict.fromkeys(subject.five, moment))

        def ours(editor: Any = editor, hparams: Any = hparams, context: Any = context) -> Tensor:
            found = editor(model, requests, hparams, context=context).parameters.values()
            return torch.cat([change.u.double() @ change.v.double() for change in found])

        works = {"": ours, "EasyEdit, its own code": edit(requests, hparams, moment)}
        what = f"{get_editor(method).name} of {BATCH} facts, {len(subject.five)} layers"
        rows += _compared(subject, what, works, goal=1 / 5)
    request = requests[0]
    kn = {
        "": lambda: attribute(model, request.text, request.target_true or "", points=POINTS),
        "EasyEdit, its own code": peer.kn(request, POINTS),
    }
    return [*rows, *_compared(subject, f"KN, {POINTS} points", kn, goal=1 / 20, loose=True)]


def values(subject: Subject) -> list[Row]:
    """32 values in one call beside 32 calls."""
    wishes = [Wish((request,)) for request in subject.requests[:VALUES]]
    common = {
        "modules": [subject.model.projection(subject.rome.layer)],
        "templates": subject.templates,
        "settings": subject.rome,
    }

    def together() -> Tensor:
        found = optimise_values(subject.model, wishes, **common)  # type: ignore[arg-type]
        return torch.stack([value.delta for value in found])

    def alone() -> Tensor:
        found = [optimise_value(subject.model, w, **common) for w in wishes]  # type: ignore[arg-type]
        return torch.stack([value.delta for value in found])

    works = {"": together, f"{VALUES} single searches": alone}
    return _compared(subject, f"{VALUES} ROME values", works, goal=1 / 2)


def neurons(subject: Subject) -> list[Row]:
    """Attributions of every neuron for one prompt, 20 points."""
    request, model = subject.requests[0], subject.model
    answer = request.target_true or ""

    def ours() -> Tensor:
        return attribute(model, request.text, answer, points=POINTS)

    def whole() -> Tensor:
        with whole_passes():
            return ours()

    def point_by_point() -> Tensor:
        plain = test_kn_contract.plain_scores
        with mock.patch.object(test_kn_contract, "POINTS", POINTS):
            found = [plain(model, request.text, answer, n) for n in range(model.n_layers)]
        return torch.stack(found)

    works = {"": ours, WHOLE: whole, "one point per pass, as in the tests": point_by_point}
    return _compared(subject, f"KN, {POINTS} points", works, goal=1 / 20)


def write(subject: Subject) -> list[Row]:
    """Writing 100 facts into five layers, their values given."""
    facts = WRITES if subject.repeats else FEW_WRITES
    requests, model = subject.requests[:facts], subject.model
    moment = random_moment(model)
    hparams = MemitHparams(
        layers=subject.five,
        mom2_update_weight=50.0,
        v_num_grad_steps=2,
        v_lr=0.1,
        v_weight_decay=0.0,
        clamp_norm_factor=1.0,
        kl_factor=0.0,
        max_update_ratio=1e9,
    )
    context = subject.context(dict.fromkeys(subject.five, moment))
    job = Job("memit", model, requests, hparams, context)
    generator = torch.Generator().manual_seed(1)
    moved = torch.randn(len(requests), model.d_model, generator=generator) / 10
    templates = (subject.templates[0], *subject.templates[-5:])

    def ours() -> Tensor:
        found = get_editor("memit").write(job, moved, templates)  # type: ignore[attr-defined]
        return torch.cat([f.change.u.double() @ f.change.v.double() for f in found.values()])

    def plain() -> Tensor:
        return torch.cat([*memit_write(subject, requests, moved, moment, 50.0).values()])

    works = {"": ours, "the published loop, solving m x m": plain}
    what = f"MEMIT write of {len(requests)} facts, 5 layers"
    return _compared(subject, what, works, goal=1 / 10)


def moments(subject: Subject) -> list[Row]:
    """Second moments of five layers over the same tokens."""
    model = subject.model
    corpus = list(islice(texts(build_world(), seed=2), 400))
    tokens = 6000 if subject.repeats else 2000
    rows = [encode(model, text).ids for text in corpus]
    short = rows[: next(i for i in range(len(rows)) if sum(map(len, rows[:i])) >= tokens)]

    def together() -> Tensor:
        found = accumulate(model, subject.five, corpus, max_tokens=tokens)
        return torch.cat([found[layer].moment for layer in subject.five])

    def apart() -> Tensor:
        each = [accumulate(model, [n], corpus, max_tokens=tokens) for n in subject.five]
        return torch.cat(
            [moment for found in each for moment in (next(iter(found.values())).moment,)]
        )

    def published() -> Tensor:
        return torch.cat([full_depth_moment(model, n, short) for n in subject.five])

    works = {"": together, "one layer per pass": apart, "whole passes, text by text": published}
    return _compared(subject, f"C of 5 layers, {tokens:,} tokens", works, goal=1 / 3, loose=True)


def scan(subject: Subject) -> list[Row]:
    """The layers that WilKE scans."""
    layers = range(subject.model.n_layers // 2)

    def ours() -> Tensor:
        request, context = subject.requests[0], subject.context()
        choice = wilke(subject.model, request, subject.rome, context, layers=layers)
        ratios = choice.evidence["update_ratio"]
        assert isinstance(ratios, dict)
        return torch.tensor([ratios[str(n)] for n in layers], dtype=torch.float64)

    def plain() -> Tensor:
        with whole_passes():
            found = edit_every_layer(subject, layers)
        return torch.tensor([found[n] for n in layers], dtype=torch.float64)

    works = {"": ours, "whole-pass edit of every layer": plain}
    return _compared(subject, f"WilKE scan of {len(layers)} layers", works, goal=1 / 5)


def _compared(
    subject: Subject,
    what: str,
    works: dict[str, Callable[[], Tensor]],
    *,
    goal: float,
    loose: bool = False,
) -> list[Row]:
    """Rows of the first work beside each other one. `loose`: the token counts differ a little."""
    found: dict[str, Tensor] = {}

    def kept(name: str) -> Work:
        return lambda: found.__setitem__(name, works[name]())

    calls = [kept(name) for name in works]
    times = in_turns(calls, subject.repeats) if subject.repeats else [seconds(c) for c in calls]
    mine, *others = [found[name].double().flatten() for name in works]
    rows = []
    for peer, took, other in zip(list(works)[1:], times[1:], others, strict=True):
        cosine = float(torch.nn.functional.cosine_similarity(mine, other, dim=0))
        if cosine < (0.98 if loose else 0.999):
            raise RuntimeError(f"{what}: the engine and {peer} differ, cosine {cosine:.4f}")
        print(
            f"    {peer}: {took:.2f} s beside {times[0]:.3f} s, cosine {cosine:.6f}",
            file=sys.stderr,
        )
        rows.append(Row("engine", f"{what}, {subject.name}", times[0], "s", peer, took, goal=goal))
    return rows
