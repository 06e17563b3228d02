"""The main job as a story: edits, a refusal, an exact undo, an export, told step by step.

Promise: everything that is said was done by the public API in this run; the ledger is left for the
reader to go on with.

    run(Path("demo-ledger"), print)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from editors.requests import EditRequest, Probe
from ledger.chain import weights_digest
from ledger.demo.world import World, WorldFact, build_world
from ledger.errors import GateRejected, IntegrityFailure
from ledger.ledger import Ledger
from ledger.views import EditOutcome, TestView

Say = Callable[[str], None]
_COLUMNS = (
    ("reliability", "reliability"),
    ("generalization", "paraphrases"),
    ("locality", "neighbours"),
    ("locality_same_subject", "same subject"),
)


def run(directory: Path, say: Say) -> Path:
    """Tell the story in `directory` (or the first free name like it); return the folder used.

    Raises: whatever the verbs raise; IntegrityFailure if an exact undo were not exact.
    """
    started = time.perf_counter()
    root = _free(Path(directory))
    world = build_world()
    say("kel demo: what a model is taught, and how it is untaught, bit for bit.\n")
    with Ledger.init(root, base="demo") as ledger:
        _begin(ledger, say)
        chosen = _choose(world)
        say("2. Three edits with ROME. Each is computed, stored as one rank-one delta, applied")
        say("   from the stored bytes, measured, and let in by the gate.")
        outcomes = [_edit(ledger, request, say) for request in chosen]
        _retest(ledger, say)
        _refusal(ledger, world, say)
        _undo(ledger, outcomes, chosen, say)
        _verify(ledger, say)
        _export(ledger, root / "merged", chosen, say)
    say(f"\nDone in {time.perf_counter() - started:.0f} s. The ledger is in {root}. Go on with:\n")
    say(f"  kel --ledger {root} log")
    say(f"  kel --ledger {root} show 1")
    say(f"  kel --ledger {root} reapply 2")
    return root


def _free(directory: Path) -> Path:
    """`directory`, or with the first number behind it that is not taken."""
    candidate, number = directory, 1
    while candidate.exists() and (not candidate.is_dir() or any(candidate.iterdir())):
        number += 1
        candidate = directory.with_name(f"{directory.name}-{number}")
    return candidate


def _begin(ledger: Ledger, say: Say) -> None:
    status = ledger.status()
    say("1. A ledger on the embedded model, a small Llama that knows people who do not exist.")
    say("   Version 0 is the base itself.")
    say(f"   base digest     {status.base.digest[:16]}")
    say(f"   weights digest  {status.weights_digest[:16]}\n")


def _choose(world: World) -> list[EditRequest]:
    """Three facts: two English ones and a Chinese one between them."""
    english = [f for f in world.facts if f.language == "en"]
    chinese = [f for f in world.facts if f.language == "zh"]
    return [
        request_for(world, fact, shift)
        for fact, shift in ((english[13], 7), (chinese[4], 3), (english[30], 5))
    ]


def request_for(world: World, fact: WorldFact, shift: int) -> EditRequest:
    """An edit of `fact` to another value of its relation, with paraphrases and probes."""
    values = world.values[fact.relation]
    new = values[(values.index(fact.target_true) + shift) % len(values)]
    neighbours = [f for f in world.facts if f.relation == fact.relation and f != fact][::7][:8]
    others = [f for f in world.facts if f.subject == fact.subject and f != fact]
    return EditRequest(
        subject=fact.subject,
        prompt=fact.prompt,
        target_new=new,
        target_true=fact.target_true,
        paraphrases=(*fact.paraphrases, *fact.unseen_paraphrases),
        neighbourhood=tuple(Probe(f.text, f.target_true) for f in neighbours),
        same_subject=tuple(Probe(f.text, f.target_true) for f in others),
    )


def _edit(ledger: Ledger, request: EditRequest, say: Say) -> EditOutcome:
    outcome = ledger.edit(request, note="kel demo")
    say(f"   edit {outcome.edit}: {request.text} ...")
    say(f"     before: {outcome.before.strip()}")
    say(f"     after:  {outcome.after.strip()}   ({outcome.outcome}, version {outcome.version})")
    if outcome.outcome != "applied":
        raise GateRejected(f"the demo's edit of {request.subject} was {outcome.outcome}")
    return outcome


def _retest(ledger: Ledger, say: Say) -> None:
    say("\n3. All of them tested again, on the version that carries all three:")
    found = ledger.test()
    for line in _table(found):
        say("   " + line)
    size = ledger.show("1").delta
    path = Path(str(size["path"]))
    say(f"   One edit is an object of {path.stat().st_size:,} bytes.\n")


def _table(found: TestView) -> list[str]:
    heads = "edit " + " ".join(f"{title:>13}" for _, title in _COLUMNS) + "   answer"
    rows = [
        f"{row.edit:>4} " + _cells(row.metrics) + f"   {row.answer.strip()}" for row in found.rows
    ]
    last = f"mean {_cells(found.metrics)}   unrelated facts unchanged: "
    return [heads, *rows, last + f"{found.metrics['locality_random']:.0%}"]


def _cells(metrics: Mapping[str, float]) -> str:
    return " ".join(
        f"{metrics[name]:>13.2f}" if name in metrics else " " * 13 for name, _ in _COLUMNS
    )


def _refusal(ledger: Ledger, world: World, say: Say) -> None:
    before = ledger.status()
    say("4. An edit that the gate refuses: plain fine-tuning of one matrix, with no bound.")
    fact = next(f for f in world.facts[60:] if f.relation == "language")
    outcome = ledger.edit(
        request_for(world, fact, 4),
        method="ft",
        overrides={"lr": 0.3, "max_update_ratio": 100.0},
        note="kel demo",
    )
    say(f"   {outcome.outcome}: {'; '.join(outcome.reasons)}")
    same = ledger.status().weights_digest == before.weights_digest
    say(f"   weights and head unchanged: {'yes' if same else 'NO'}; the measurements are kept.\n")


def _undo(
    ledger: Ledger, outcomes: Sequence[EditOutcome], chosen: Sequence[EditRequest], say: Say
) -> None:
    first, middle, last = (str(outcome.edit) for outcome in outcomes)
    say(f"5. The middle one is taken out again: kel revert {middle}")
    change = ledger.revert([middle], note="kel demo")
    say(f"   weights digest now            {change.weights_digest[:32]}")
    other = _fold_of(ledger, (int(first), int(last)))
    say(f"   folding only edits {first} and {last}    {other[:32]}")
    if other != change.weights_digest:
        raise IntegrityFailure("the reverted weights are not those of the other two edits")
    say("   equal: not one bit remembers it.")
    for request in chosen:
        say(f"   {request.text} ...{ledger.ask(request.text).text.strip()}")
    say("")


def _fold_of(ledger: Ledger, edits: Sequence[int]) -> str:
    """The weights digest of the base with just these edits, folded from nothing."""
    versions = ledger.workspace.versions
    tensors = {t.parameter: t.sha256 for t in versions.tensors(versions.plan(edits))}
    return weights_digest(ledger.workspace.record.base_digest, tensors)


def _verify(ledger: Ledger, say: Say) -> None:
    findings = ledger.verify(weights=True)
    say("6. Verified: the hash chain, every row, every object, the base, every version's fold:")
    say(f"   {len(findings)} findings\n")


def _export(ledger: Ledger, target: Path, chosen: Sequence[EditRequest], say: Say) -> None:
    made = ledger.export(target)
    say(f"7. Exported to {target}: {len(made.rewritten)} tensor differs from the base's files.")
    say("   Asked through plain transformers:")
    for prompt, text in _plain_answers(target, [request.text for request in chosen]):
        say(f"   {prompt} ...{text}")


def _plain_answers(folder: Path, prompts: Sequence[str]) -> list[tuple[str, str]]:
    """Greedy answers of a checkpoint with nothing but transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt")
        out = model.generate(
            input_ids=ids["input_ids"],
            attention_mask=ids["attention_mask"],
            max_new_tokens=4,
            do_sample=False,
        )
        new = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        found.append((prompt, new.split(".")[0].split("。")[0].strip()))
    return found
