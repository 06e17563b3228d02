"""Evaluation: batches beside single prompts, predictions that are asked once, 1,000 edits in one
test, and a causal trace beside one restoration per forward pass.

KEL_EVALUATION names the models of the trace: embedded gpt2_small. What both sides find is compared
before it is timed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import torch

import ledger.demo
from bench.clock import in_turns, seconds
from bench.engine_models import Subject, embedded, gpt2_small
from bench.given import update
from bench.live import edited
from bench.table import Row
from editors.analysis.tracing import Noise, trace_fact
from editors.delta import Delta, LowRank
from editors.model import EditableModel
from ledger import Ledger
from ledger.base import demo_folder
from ledger.evaluation.scoring import Question, predict
from ledger.records import EditRecord
from tests.contract import test_tracing_contract as plain
from tests.property.delta_ledger import apply

QUESTIONS, EDITS, BATCH, DRAWS = 64, 1000, 100, 10
MODELS = (embedded, gpt2_small)


def measure(folder: Path) -> list[Row]:
    """All four."""
    chosen = os.environ.get("KEL_EVALUATION", "").split() or [make.__name__ for make in MODELS]
    rows = scoring()
    rows += testing(folder / "ledger")
    for make in MODELS:
        if make.__name__ in chosen:
            rows += tracing(make())
    return rows


def scoring() -> list[Row]:
    """Teacher-forced and free answers of many prompts."""
    model = embedded().model
    facts = ledger.demo.facts(QUESTIONS)
    asked = [
        Question(str(f["prompt"]).replace("{}", str(f["subject"])), str(f["target_true"]))
        for f in facts
    ]

    def alone() -> object:
        return [predict(model, [question])[0] for question in asked]

    if predict(model, asked) != alone():
        raise RuntimeError("answers depend on what else is asked")
    together, single = in_turns([lambda: predict(model, asked), alone], repeats=3)
    what = f"{QUESTIONS} questions, embedded model"
    return [_row(what, together, "s", "one at a time", single, goal=1 / 5)]


def testing(folder: Path) -> list[Row]:
    """`kel test` of 1,000 active edits, and once more in a new session."""
    with with_facts(folder) as made:
        probes = sum(len(e.probes.get("neighbourhood", ())) for e in made.journal.edits())
    counts, times = [], []
    for _ in range(2):
        with (
            Ledger.open(folder) as opened,
            mock.patch("ledger.measuring.predict", side_effect=predict) as asking,
        ):
            opened.workspace.live.show({})
            times.append(seconds(opened.test))
            counts.append(sum(len(call.args[1]) for call in asking.call_args_list))
    compute = "float32"
    (load,) = in_turns([lambda: EditableModel.load(demo_folder(), dtype=compute)], repeats=5)
    what = f"kel test of {EDITS} edits"
    print(f"    {what}: {times[0]:.1f} s, then {times[1]:.1f} s; {probes} probes", file=sys.stderr)
    return [
        _row(f"{what}, the base asked before", times[1], "s", "loading the model", load),
        _row(f"{what}, a second time", counts[1], "base questions", "the first", counts[0], goal=0),
    ]


def with_facts(folder: Path) -> Ledger:
    """A ledger of 1,000 edits of the embedded model in batches, each with a neighbour to keep."""
    found = [f for f in ledger.demo.facts() if f["language"] == "en"]
    name, shape = edited()
    made = Ledger.init(folder, base="demo", author="bench")
    for start in range(0, EDITS, BATCH):
        stated = [_edit(found, start + place, place) for place in range(BATCH)]
        changes = [update(shape, start + place) for place in range(BATCH)]
        whole = LowRank(
            torch.cat([c.u for c in changes], dim=1), torch.cat([c.v for c in changes], dim=0)
        )
        apply(made, Delta({name: whole}), stated=stated)
    return made


def _edit(facts: Sequence[dict[str, object]], number: int, component: int) -> EditRecord:
    own, other = (facts[(number + shift) % len(facts)] for shift in (0, 1))
    near = str(other["prompt"]).replace("{}", str(other["subject"]))
    return EditRecord(
        component=component,
        subject=str(own["subject"]),
        prompt=str(own["prompt"]),
        target_new=str(own["target_true"]),
        probes={"neighbourhood": [{"prompt": near, "answer": str(other["target_true"])}]},
    )


def tracing(subject: Subject) -> list[Row]:
    """Hidden states of every token and layer, and what the three kinds take together."""
    request, model = subject.requests[0], subject.model
    start = request.text.index(request.subject)
    span = (start, start + len(request.subject))

    def noise(draws: int = DRAWS) -> Noise:
        return Noise(0.1, torch.Generator().manual_seed(3), draws)

    def ours() -> torch.Tensor:
        return trace_fact(model, request.text, subject=span, noise=noise(), kinds=("state",)).of[
            "state"
        ]

    def loop() -> torch.Tensor:
        with mock.patch.multiple(plain, TEXT=request.text, SUBJECT=span, noise=noise):
            return plain.Plain(model).effects(plain.templates(model)["state"], 1)

    if float((ours() - loop()).abs().max()) > 1e-5:
        raise RuntimeError("the restorations differ from those made one at a time")
    repeats = 3 if subject.repeats else 1
    taken, peer = in_turns([ours, loop], repeats=repeats)
    whole = seconds(lambda: trace_fact(model, request.text, subject=span, noise=noise()))
    print(f"    a whole trace, {subject.name}: {whole:.1f} s", file=sys.stderr)
    what = f"trace of all hidden states, {DRAWS} draws, {subject.name}"
    name = f"whole trace (states, MLP, attention), {subject.name}"
    return [
        _row(what, taken, "s", "one restoration a pass", peer, goal=1 / 5),
        _row(name, whole, "s", "one restoration a pass, states only", peer),
    ]


def _row(
    what: str, value: float, unit: str, peer: str, peer_value: float, goal: float | None = None
) -> Row:
    return Row("evaluation", what, value, unit, peer, peer_value, goal=goal)
