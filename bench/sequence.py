"""Real edits of the embedded model one on top of the other, recorded without being measured.

They are what `kel edit` computes, with the ledger's own second moments, templates and seed; only
the re-tests of all earlier facts after each are left out, which take far longer than the edits.

    for edit, request, foreseen in grown(ledger, "rome", 200, seed=0):
        ...                                     # the ledger's head carries it
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from editors.errors import EditFailed
from editors.methods import get_editor
from editors.requests import EditRequest
from ledger import Ledger
from ledger.candidates import Candidates
from ledger.demo.cases import cases
from ledger.demo.world import build_world
from ledger.placing import Placing
from ledger.records import EditRecord
from ledger.settings import Settings
from ledger.shares import Share
from tests.property.delta_ledger import apply


def opened(folder: Path) -> Ledger:
    """A ledger of the embedded model, a new one if there is none."""
    if folder.exists():
        return Ledger.open(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    probes = folder.with_name("probes.txt")
    probes.write_text("The capital of\n", "utf-8")  # locality is not what is measured here
    return Ledger.init(folder, base="demo", probes=probes, author="bench")


def grown(
    ledger: Ledger, method: str, count: int, seed: int
) -> Iterator[tuple[int, EditRequest, Sequence[Share]]]:
    """Edit until `count` facts are active: the edit, its fact, and what was foreseen of it."""
    workspace = ledger.workspace
    candidates, editor = Candidates(workspace), get_editor(method)
    hparams, _ = Placing(workspace).hparams(Settings(method))
    layers = sorted(editor.needs(hparams))
    done = {edit.subject + edit.prompt for edit in ledger.journal.edits()}
    for case in cases(build_world(), count=2 * count, seed=seed):
        full = case.request
        request = EditRequest(full.subject, full.prompt, full.target_new, full.target_true)
        if len(ledger.status().active) == count:
            return
        if request.subject + request.prompt in done:
            continue
        foreseen = ledger.foresee(request, method=method) or ()
        plan = workspace.versions.plan(workspace.journal.history().active())
        context = candidates.context(layers, plan, None)
        try:
            delta = editor(workspace.live.model, [request], hparams, context=context)
        except EditFailed:
            continue
        finally:
            workspace.rest()
        fact = EditRecord(
            subject=request.subject, prompt=request.prompt, target_new=request.target_new
        )
        used = {str(layer): workspace.statistics.used(layer) for layer in layers}
        (edit,) = apply(ledger, delta, stated=[fact], environment={"statistics": used})
        yield edit, request, foreseen
