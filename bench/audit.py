"""How well and how fast an audit tells which edits a checkpoint carries.

`measure` is a section of `python -m bench`: time beside reading both checkpoints, and a joint
solution beside the Cholesky factor it needs. The figures of docs/audit.md, on real ROME changes:

    python -m bench.audit --edits 1000 --cases 100 --deltas rome.safetensors

The changes are computed once on the embedded model and kept in the given file.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.clock import in_turns
from bench.given import LARGE, synthetic, update
from bench.table import Row
from editors.base import EditContext
from editors.covariance import SecondMoment, accumulate
from editors.delta import Delta, LowRank
from editors.errors import EditFailed
from editors.hparams import lookup
from editors.methods import get_editor
from editors.model import EditableModel
from editors.prompts import context_templates
from ledger import Ledger
from ledger.auditing.explain import Explained, Tensors, explain
from ledger.auditing.regression import System
from ledger.auditing.verdicts import judged
from ledger.base import demo_folder
from ledger.consolidating import joint
from ledger.demo.cases import cases
from ledger.demo.corpus import texts
from ledger.demo.world import build_world
from ledger.weights import fold
from tests.property.delta_ledger import apply
from tests.sim.deployments import fine_tuned, quantised, rewritten

EDITS = 1000
STEPS = 5  # of the value's optimiser: an audit asks what was written, not how well it was chosen
STORED: dict[str, tuple[torch.dtype, Callable[[Tensor], Tensor]]] = {
    "bf16": (torch.bfloat16, lambda w: w),
    "fp16": (torch.float16, lambda w: w),
    "fp32": (torch.float32, lambda w: w),
    "int8 per row": (torch.bfloat16, lambda w: quantised(w, bits=8)),
    "4 bits, groups of 128": (torch.bfloat16, lambda w: quantised(w, bits=4, group=128)),
    "fine-tuned by 2 %": (torch.bfloat16, lambda w: fine_tuned(w, size=0.02)),
}


# --- time ---------------------------------------------------------------------------------------


def measure(folder: Path) -> list[Row]:
    """The audit of a parameter with 1,000 known edits, and one joint solution of 1,000."""
    base = synthetic(folder / "base", LARGE)
    name, shape = next(iter(LARGE.edited.items()))
    changes = [update(shape, seed) for seed in range(EDITS)]
    system = System.of(changes, transposed=False)
    half = [change for n, change in enumerate(changes) if n % 2]
    stored = _tensor(base, name)
    deployed = fold(stored, half, transposed=False)

    def read_both() -> None:
        for _ in range(2):
            for path in sorted(base.glob("*.safetensors")):
                with path.open("rb") as stream:
                    while stream.read(1 << 24):
                        pass

    def audited() -> None:
        read_both()
        explain(Tensors(stored, deployed, system), None)

    whole, reading = in_turns([audited, read_both], 2)
    what = f"{EDITS:,} known edits, {shape[0]} x {shape[1]}, 600 MB"
    rows = [Row("audit", what, whole, "s", "reading both checkpoints", reading, goal=2)]
    return [*rows, _solution()]


def _solution() -> Row:
    width = 4096
    keys = torch.randn(width, EDITS, dtype=torch.float64)
    weight, values = torch.randn(1024, width).double(), torch.randn(1024, EDITS).double()
    eye = torch.eye(width, dtype=torch.float64)
    moment = SecondMoment(eye, 0, eye, 0.0)
    square = torch.randn(width, width, dtype=torch.float64)
    square = square @ square.T + width * eye
    solved, factor = in_turns(
        [
            lambda: joint(weight, keys, values, moment, 0.0),
            lambda: torch.linalg.cholesky(square),
        ],
        2,
    )
    what = f"joint solution of {EDITS:,} edits, width {width}"
    return Row("resolve", what, solved, "s", "Cholesky of C in float64", factor, goal=3)


def _tensor(folder: Path, name: str) -> Tensor:
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            if name in file.keys():  # noqa: SIM118 - no mapping
                found: Tensor = file.get_tensor(name)
                return found
    raise LookupError(name)


# --- truth --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """Real ROME changes of one matrix, and what each states."""

    parameter: str
    changes: list[LowRank]
    facts: list[tuple[str, str, str]]  # subject, prompt, target


def rome(count: int, kept: Path) -> Known:
    """`count` single edits on the unedited embedded model, from the file if it has them."""
    facts = kept.with_suffix(".json")
    if not kept.exists():
        tensors, told = _computed(count)
        save_file(tensors, kept)
        facts.write_text(json.dumps(told), "utf-8")
    tensors, told = load_file(kept), json.loads(facts.read_text("utf-8"))
    changes = [LowRank(tensors[f"{n}.u"], tensors[f"{n}.v"]) for n in range(min(count, len(told)))]
    model = EditableModel.load(demo_folder())
    layer = int(str(lookup("rome", model.model.config)[0]["layer"]))
    return Known(model.parameter_name(layer), changes, [tuple(fact[:3]) for fact in told])


def _computed(count: int) -> tuple[dict[str, Tensor], list[list[str]]]:
    world, model = build_world(), EditableModel.load(demo_folder())
    values, _ = lookup("rome", model.model.config)
    editor = get_editor("rome")
    hparams = editor.hparams.from_dict({**values, "v_num_grad_steps": STEPS})
    layer, tokens = int(str(values["layer"])), 12 * model.d_mlp
    said = islice(texts(world, seed=2), tokens)
    moment = accumulate(model, [layer], said, max_tokens=tokens)[layer]
    templates = context_templates(model, torch.Generator().manual_seed(0))
    context = EditContext(torch.Generator().manual_seed(0), templates, lambda _: moment)
    tensors: dict[str, Tensor] = {}
    told: list[list[str]] = []
    for case in cases(world, count=count, seed=0):
        request = case.request
        try:
            delta = editor(model, [request], hparams, context=context)
        except EditFailed:
            continue
        ((name, change),) = delta.parameters.items()
        place = len(told)
        tensors |= {f"{place}.u": change.u, f"{place}.v": change.v}
        tensors |= {f"{place}.key": delta.keys[name], f"{place}.value": delta.values[name]}
        told.append([request.subject, request.prompt, request.target_new])
    return tensors, told


def told_apart(known: Known, base: Tensor) -> Iterator[str]:
    """Verdicts of all known edits, a random half of them active, for every storage."""
    system = System.of(known.changes, transposed=False)
    on = [random.Random(n).random() < 0.5 for n in range(len(known.changes))]
    active = [change for change, there in zip(known.changes, on, strict=True) if there]
    for name, (dtype, deploy) in STORED.items():
        stored = base.to(dtype)
        deployed = deploy(fold(stored, active, transposed=False))
        started = time.perf_counter()
        found = explain(Tensors(stored, deployed, system), None)
        yield _line(name, found, on, time.perf_counter() - started)


def _line(name: str, found: Explained, on: Sequence[bool], seconds: float) -> str:
    shares = [
        judged(c, e)
        for c, e in zip(found.coefficients.tolist(), found.errors.tolist(), strict=True)
    ]
    right = ["present" if there else "absent" for there in on]
    doubt = sum(s.verdict == "ambiguous" for s in shares)
    wrong = sum(s.verdict not in (w, "ambiguous") for s, w in zip(shares, right, strict=True))
    inside = sum(
        s.low is None or s.high is None or s.low <= there <= s.high
        for s, there in zip(shares, on, strict=True)
    )
    return (
        f"| {name} | {wrong} | {doubt} | {inside / len(on):.1%} | "
        f"{float(found.errors.max()):.1e} | {found.shape.spikes} | {seconds:.1f} s |"
    )


def guessed(known: Known, count: int) -> Iterator[str]:
    """Checkpoints with and without one unledgered edit, through the whole audit."""
    world = build_world()
    people = list(dict.fromkeys(fact.subject for fact in world.facts))
    prompts = list(dict.fromkeys(fact.prompt for fact in world.facts))
    flagged = falsely = subjects = objects = 0
    with tempfile.TemporaryDirectory() as scratch:
        ledger = Ledger.init(Path(scratch) / "ledger", base="demo", author="bench")
        unknown = range(len(known.changes) - count, len(known.changes))
        recorded = known.changes[: min(60, unknown[0])]
        for change in recorded:
            apply(ledger, Delta({known.parameter: change}))
        ledger.workspace.statistics.second_moment(
            ledger.workspace.live.model.layer_index(known.parameter)
        )
        ledger.export(Path(scratch) / "out", at="base")
        base = ledger.workspace.versions.base(known.parameter)
        for number in unknown:
            active = [c for n, c in enumerate(recorded) if random.Random(number + n).random() < 0.5]
            for extra in ([], [known.changes[number]]):
                weights = fold(base, [*active, *extra], transposed=False)
                folder = rewritten(Path(scratch) / "out", {known.parameter: weights})
                view = ledger.audit(str(folder), subjects=people, prompts=prompts)
                seen = view.verdict == "unledgered change"
                flagged, falsely = flagged + (seen and bool(extra)), falsely + (seen and not extra)
            subject, _, target = known.facts[number]
            first = [name for name, _ in view.readings[0].subjects[:1]] if view.readings else []
            subjects += first == [subject]
            read = [text.strip() for text, _ in view.readings[0].objects] if view.readings else []
            objects += any(text and target.startswith(text) for text in read)
        ledger.close()
    yield f"unledgered edits flagged: {flagged} of {count}"
    yield f"clean ones flagged: {falsely} of {count}"
    yield f"subject named first: {subjects} of {count}; object among five: {objects} of {count}"


def main() -> None:
    """Print the figures of docs/audit.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=EDITS)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--deltas", type=Path, required=True)
    given = parser.parse_args()
    known = rome(given.edits, given.deltas)
    base = load_file(demo_folder() / "model.safetensors")[known.parameter]
    print("| storage | wrong | ambiguous | 95 % holds | largest error | structure | time |")
    print("|---|---|---|---|---|---|---|")
    for line in told_apart(known, base):
        print(line, flush=True)
    for line in guessed(known, given.cases):
        print(line, flush=True)


if __name__ == "__main__":
    main()
