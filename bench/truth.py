"""How well an audit tells which edits a checkpoint carries, and what it was taught besides.

    python -m bench.truth verdicts --rome 700 --memit 300 --deltas FOLDER
    python -m bench.truth synthetic --edits 1000
    python -m bench.truth unledgered --cases 100 --deltas FOLDER [--method memit]

Real changes are computed once on the embedded model and kept in the folder (`bench.real`).
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.real import Made, real
from editors.delta import LowRank, ParameterDelta
from ledger import Ledger
from ledger.auditing.explain import Explained, Tensors, explain
from ledger.auditing.regression import System
from ledger.auditing.verdicts import combined, judged
from ledger.auditing.views import AuditView, Share
from ledger.base import demo_folder
from ledger.demo.world import WorldFact, build_world
from ledger.evaluation.metrics import answers_with
from ledger.records import EditRecord
from ledger.weights import fold
from tests.property.delta_ledger import apply
from tests.sim.deployments import base_matrix, fine_tuned, half, quantised, rewritten, rome_like

Changes = Mapping[str, list[tuple[int, ParameterDelta]]]  # parameter -> edits that change it
STORED: dict[str, tuple[torch.dtype, Callable[[Tensor], Tensor]]] = {
    "bf16": (torch.bfloat16, lambda w: w),
    "fp16": (torch.float16, lambda w: w),
    "fp32": (torch.float32, lambda w: w),
    "int8 per row": (torch.bfloat16, lambda w: quantised(w, bits=8)),
    "4 bits, groups of 128": (torch.bfloat16, lambda w: quantised(w, bits=4, group=128)),
    "4 bits, groups of 32": (torch.bfloat16, lambda w: quantised(w, bits=4, group=32)),
    "fine-tuned by 2 %": (torch.bfloat16, lambda w: fine_tuned(w, size=0.02)),
}
HEAD = (
    "| storage | wrong | ambiguous | 95 % holds | largest error | structure | time |\n"
    "|---|---|---|---|---|---|---|"
)


# --- verdicts -----------------------------------------------------------------------------------


def by_parameter(edits: Sequence[Mapping[str, ParameterDelta]]) -> Changes:
    """The changes of some edits, parameter by parameter."""
    found: dict[str, list[tuple[int, ParameterDelta]]] = {}
    for number, changes in enumerate(edits):
        for name, change in changes.items():
            found.setdefault(name, []).append((number, change))
    return found


def told_apart(
    changes: Changes, bases: Mapping[str, Tensor], count: int, *, transposed: bool
) -> Iterator[str]:
    """Verdicts of all edits, a random half of them active, for every storage."""
    on = [random.Random(n).random() < 0.5 for n in range(count)]
    for storage, (dtype, deploy) in STORED.items():
        shares: dict[int, list[Share]] = {}
        found: list[Explained] = []
        started = time.perf_counter()
        for name, known in changes.items():
            base = bases[name].to(dtype)
            active = [change for number, change in known if on[number]]
            deployed = deploy(fold(base, active, transposed=transposed))
            system = System.of([change for _, change in known], transposed=transposed)
            found.append(explain(Tensors(base, deployed, system), None))
            pairs = zip(found[-1].coefficients.tolist(), found[-1].errors.tolist(), strict=True)
            for (number, _), pair in zip(known, pairs, strict=True):
                shares.setdefault(number, []).append(judged(*pair))
        yield f"| {storage} | {_line(shares, on, found)} | {time.perf_counter() - started:.1f} s |"


def _line(
    shares: Mapping[int, Sequence[Share]], on: Sequence[bool], found: Sequence[Explained]
) -> str:
    verdicts = {number: combined(own).verdict for number, own in shares.items()}
    doubt = sum(verdict == "ambiguous" for verdict in verdicts.values())
    wrong = sum(
        verdict not in ("present" if on[number] else "absent", "ambiguous")
        for number, verdict in verdicts.items()
    )
    held = [
        share.low is None or share.high is None or share.low <= on[number] <= share.high
        for number, own in shares.items()
        for share in own
    ]
    error = max(float(result.errors.max()) for result in found)
    spikes = sum(result.shape.spikes for result in found)
    return f"{wrong} | {doubt} | {sum(held) / len(held):.1%} | {error:.1e} | {spikes}"


def verdicts(given: argparse.Namespace) -> Iterator[str]:
    """Real changes of the embedded model."""
    made = [*real("rome", given.rome, given.deltas), *real("memit", given.memit, given.deltas)]
    changes = by_parameter([edit.delta.parameters for edit in made])
    bases = load_file(demo_folder() / "model.safetensors")
    yield HEAD
    yield from told_apart(changes, bases, len(made), transposed=False)


def synthetic(given: argparse.Namespace) -> Iterator[str]:
    """Random changes of a random matrix of GPT-2 small, stored as GPT-2 stores it."""
    shape = (768, 3072)
    edits = [{"w": change} for change in rome_like(given.edits, shape, size=given.size)]
    base = {"w": base_matrix(shape).T.contiguous()}
    yield HEAD
    yield from told_apart(by_parameter(edits), base, len(edits), transposed=True)


# --- unledgered ---------------------------------------------------------------------------------


def unledgered(given: argparse.Namespace) -> Iterator[str]:
    """Checkpoints with and without one unledgered edit, through the whole audit."""
    recorded = real("rome", given.recorded, given.deltas)
    unknown = real(given.method, given.recorded + given.cases, given.deltas)[given.recorded :]
    world = build_world()
    people = list(dict.fromkeys(fact.subject for fact in world.facts))
    prompts = _prompts(world.facts, given.wording)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        ledger = _ledger(Path(scratch) / "ledger", recorded)
        ledger.export(Path(scratch) / "out", at="base")
        names = sorted({name for edit in (*recorded, *unknown) for name in edit.delta.parameters})
        for number, edit in enumerate(unknown):
            on = half([LowRank(torch.zeros(1, 1), torch.zeros(1, 1))] * len(recorded), number)
            active = [item for item, there in zip(recorded, on, strict=True) if there]
            for extra in ([], [edit]):
                changes = by_parameter([item.delta.parameters for item in (*active, *extra)])
                weights = _deployed(ledger, changes, names, given.storage)
                folder = rewritten(Path(scratch) / "out", weights)
                view = ledger.audit(str(folder), subjects=people, prompts=prompts)
                flagged = view.verdict == "unledgered change"
                counts["flagged" if extra else "falsely"] += flagged
            counts.update(_read(view, edit))
            yield f"{number + 1}: {dict(counts)}"
        ledger.close()


def _prompts(facts: Sequence[WorldFact], wording: int) -> list[str]:
    """One prompt of every relation: the one edits are made with, or another wording."""
    found: dict[str, str] = {}
    for fact in facts:
        texts = (fact.prompt, *(p.replace(fact.subject, "{}") for p in fact.paraphrases))
        found.setdefault(fact.relation, texts[wording])
    return list(found.values())


def _ledger(folder: Path, recorded: Sequence[Made]) -> Ledger:
    ledger = Ledger.init(folder, base="demo", author="bench")
    for edit in recorded:
        fact = EditRecord(subject=edit.subject, prompt=edit.prompt, target_new=edit.target)
        apply(ledger, edit.delta, stated=[fact])
    model = ledger.workspace.live.model
    layers = {model.layer_index(name) for edit in recorded for name in edit.delta.parameters}
    ledger.workspace.statistics.second_moments(layers)
    return ledger


def _deployed(
    ledger: Ledger, changes: Changes, names: Sequence[str], storage: str
) -> dict[str, Tensor]:
    """Matrices as a deployment writes them, changed or not."""
    dtype, deploy = STORED[storage]
    tensors = {}
    for name in names:
        base = ledger.workspace.versions.base(name).to(dtype)
        updates = [change for _, change in changes.get(name, [])]
        tensors[name] = deploy(fold(base, updates, transposed=False))
    return tensors


def _read(view: AuditView, edit: Made) -> Counter[str]:
    """What was read right of an unledgered edit."""
    subjects = [[name for name, _ in reading.subjects] for reading in view.readings]
    answers = view.readings[0].objects if view.readings else ()
    right = [states(answer, edit.target) for _, answer, _ in answers]
    heads = [text.strip() for reading in view.readings for text, _ in reading.head]
    return Counter(
        {
            "subject first": any(names[:1] == [edit.subject] for names in subjects),
            "subject in five": any(edit.subject in names for names in subjects),
            "object first": any(right[:1]),
            "object in five": any(right[:5]),
            "object by the head": any(text and edit.target.startswith(text) for text in heads),
        }
    )


def states(answer: str, target: str) -> bool:
    """Whether an answer is the object, with or without an article before it."""
    return any(answers_with(answer[len(word) :], target) for word in ARTICLES if
               answer.startswith(word))  # fmt: skip


ARTICLES = ("", "the ", "a ", "an ")


def main() -> None:
    """Print the figures of docs/audit.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for function in (verdicts, synthetic, unledgered):
        command = commands.add_parser(function.__name__)
        command.set_defaults(function=function)
        command.add_argument("--deltas", type=Path, default=Path("deltas"))
        command.add_argument("--rome", type=int, default=700)
        command.add_argument("--memit", type=int, default=300)
        command.add_argument("--edits", type=int, default=1000)
        command.add_argument("--size", type=float, default=0.35)
        command.add_argument("--cases", type=int, default=100)
        command.add_argument("--recorded", type=int, default=60)
        command.add_argument("--method", default="rome")
        command.add_argument("--wording", type=int, default=0)
        command.add_argument("--storage", choices=STORED, default="bf16")
    given = parser.parse_args()
    for line in given.function(given):
        print(line, flush=True)


if __name__ == "__main__":
    main()
