"""Asking a deployed model for the facts it should say, beside what its weights say.

Promise: the live model is at the head again afterwards; a merged checkpoint is loaded from its own
folder, with its own tokenizer.

    said(workspace, deployed, view.edits)[0].answer
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from editors.model import EditableModel
from editors.prompts import target_row
from ledger.auditing.deployed import Adapter, Deployed
from ledger.auditing.views import EditShare, Said
from ledger.evaluation.metrics import token_accuracy
from ledger.evaluation.scoring import Prediction, Question, predict
from ledger.workspace import Workspace

_BATCH = 32


def said(workspace: Workspace, deployed: Deployed, edits: Sequence[EditShare]) -> tuple[Said, ...]:
    """What the deployed model says to the prompts of these edits: teacher-forced, and freely.

    Raises: UnsupportedModel for a folder that cannot be loaded as a model.
    """
    shares = {share.edit: share for share in edits}
    records = workspace.journal.edits(shares)
    asked = [Question(e.prompt.replace("{}", e.subject), e.target_new) for e in records]
    found, chances = _answers(workspace, deployed, asked)
    return tuple(
        Said(
            edit=record.id,
            fact=shares[record.id].fact,
            verdict=shares[record.id].verdict,
            reliability=token_accuracy(p.argmax, p.gold),
            probability=chance,
            answer=p.free,
        )
        for record, p, chance in zip(records, found, chances, strict=True)
    )


def _answers(
    workspace: Workspace, deployed: Deployed, asked: Sequence[Question]
) -> tuple[list[Prediction], list[float]]:
    if not isinstance(deployed, Adapter):
        model = EditableModel.load(
            deployed.folder,
            dtype=workspace.record.config["compute_dtype"],
            device=workspace.record.device or "cpu",
        )
        return predict(model, asked), _probabilities(model, asked)
    live = workspace.live
    names = {workspace.versions.key(n): n for n in _matrices(live.model)}
    try:
        live.show({names[name]: (change,) for name, change in deployed.changes.items()})
        return predict(live.model, asked), _probabilities(live.model, asked)
    finally:
        workspace.rest()


def _matrices(model: EditableModel) -> list[str]:
    return [name for name, weight in model.model.named_parameters() if weight.ndim == 2]


@torch.no_grad()
def _probabilities(model: EditableModel, asked: Sequence[Question]) -> list[float]:
    """The probability of each whole answer after its prompt."""
    found: list[float] = []
    with model.evaluating():
        for start in range(0, len(asked), _BATCH):
            chosen = asked[start : start + _BATCH]
            rows = [target_row(model, q.prompt, q.answer or "") for q in chosen]
            batch = model.batch([row.ids for row in rows])
            at = [batch.flat(n, p) for n, row in enumerate(rows) for p in row.positions]
            places = torch.tensor(at, device=batch.ids.device)
            logits = iter(model.forward(batch, at=places).float().log_softmax(dim=-1))
            for row in rows:
                total = sum(float(next(logits)[label]) for label in row.labels)
                found.append(float(torch.tensor(total).exp()))
    return found
