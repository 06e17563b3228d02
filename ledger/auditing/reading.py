"""Reading what a deployed model was taught, from the change that no edit of the ledger explains.

Promise: guesses are returned with their scores and never as facts; the live model is at the head
again afterwards.

Rules: a rank-one edit for a subject with key k has the row space C^-1 k (C the second moment of the
keys, the identity if the ledger has none), so a subject fits as well as its whitened key lies in
the whitened row space. What the edit says is read twice: from the column space at that subject
through the final norm and the head, and from what the deployed matrix makes more likely after the
ledger's own prompts about that subject. Only MLP output projections can be read.

    readings(workspace, deployed, {parameter: LowRank(u, v)}, ["Ada Lovelace"])[0].subjects
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from editors.covariance import SecondMoment, identity
from editors.delta import LowRank
from editors.errors import UnsupportedModel
from editors.keys import context_mean, subject_keys
from editors.model import EditableModel
from editors.placement import value as value_of
from editors.prompts import encode
from editors.requests import Fact
from ledger.auditing.deployed import Deployed
from ledger.auditing.views import Reading
from ledger.workspace import Workspace

_SUBJECTS, _TOKENS, _PROMPTS = 5, 5, 64
_CLOSER = 20  # subjects whose keys are looked at in every context, by their keys in none


def readings(
    workspace: Workspace,
    deployed: Deployed,
    spikes: Mapping[str, LowRank],
    subjects: Sequence[str],
    prompts: Sequence[str],
) -> tuple[Reading, ...]:
    """What the unexplained low-rank changes may be about, parameter by parameter."""
    records = workspace.journal.edits()
    people = tuple(dict.fromkeys([*subjects, *(edit.subject for edit in records)]))
    wordings = tuple(dict.fromkeys([*prompts, *(edit.prompt for edit in records)]))[:_PROMPTS]
    found = []
    try:
        workspace.live.show({})
        for parameter, change in spikes.items():
            try:
                workspace.live.model.layer_index(parameter)
            except UnsupportedModel:
                continue
            matrix = _linear(workspace, deployed, parameter)
            found.append(_reading(workspace, parameter, change, matrix, people, wordings))
    finally:
        workspace.rest()
    return tuple(found)


def _linear(workspace: Workspace, deployed: Deployed, parameter: str) -> Tensor:
    """The deployed matrix, [d_out, d_in] float32."""
    versions = workspace.versions
    tensor = deployed.tensor(versions.key(parameter))
    matrix = versions.base(parameter) if tensor is None else tensor[:]
    return (matrix.T if versions.transposed else matrix).float()


def _reading(
    workspace: Workspace,
    parameter: str,
    change: LowRank,
    matrix: Tensor,
    people: Sequence[str],
    prompts: Sequence[str],
) -> Reading:
    model = workspace.live.model
    fitting = _fitting(workspace, parameter, change, people)
    best = fitting[0][0] if fitting else None
    direction = change.u @ change.v @ fitting[0][2].float() if fitting else change.u[:, 0]
    prompt, objects = None, tuple[tuple[str, float], ...]()
    if best and prompts:
        asked = [prompt.replace("{}", best) for prompt in prompts]
        prompt, objects = _risen(model, asked, {parameter: matrix.to(model.weight(parameter))})
    return Reading(
        parameter=parameter,
        subjects=tuple((name, round(score, 4)) for name, score, _ in fitting[:_SUBJECTS]),
        prompt=prompt,
        objects=objects,
        head=_through_head(model, direction),
    )


def _fitting(
    workspace: Workspace, parameter: str, change: LowRank, people: Sequence[str]
) -> list[tuple[str, float, Tensor]]:
    """Subjects by how well their key [m] lies in the row space, with the score and the key.

    The keys of bare subjects choose the few whose keys in every context decide.
    """
    model, layer = workspace.live.model, workspace.live.model.layer_index(parameter)
    used = workspace.statistics.used(layer)
    moment = identity(change.v.shape[1])
    if used:
        moment = workspace.statistics.recorded(parameter, str(used["factor"]))
    if not people:
        return []
    rows = change.v.double()
    scores, _ = _inside(model, layer, people, ("{}",), rows, moment)
    best = sorted(range(len(people)), key=lambda n: -scores[n])[:_CLOSER]
    names = [people[n] for n in best]
    near, keys = _inside(model, layer, names, workspace.templates(), rows, moment)
    return sorted(zip(names, near, keys, strict=True), key=lambda found: -found[1])


def _inside(
    model: EditableModel,
    layer: int,
    people: Sequence[str],
    templates: Sequence[str],
    rows: Tensor,
    moment: SecondMoment,
) -> tuple[list[float], Tensor]:
    """The share of each whitened key in the whitened row space `rows` [r, m]; the keys [n, m]."""
    facts = [Fact(subject=name, prompt="{}", target_new=name) for name in people]
    found = subject_keys(model, facts, layers=[layer], templates=templates)
    keys = context_mean(found[layer]).cpu().double()  # [n, m]
    white = torch.linalg.solve_triangular(moment.factor, keys.T, upper=False)  # [m, n]
    space = torch.linalg.qr(moment.factor.T @ rows.T).Q  # [m, r]
    inside = torch.linalg.vector_norm(space.T @ white, dim=0)
    return (inside / torch.linalg.vector_norm(white, dim=0)).tolist(), keys


@torch.no_grad()
def _risen(
    model: EditableModel, prompts: Sequence[str], weights: Mapping[str, Tensor]
) -> tuple[str, tuple[tuple[str, float], ...]]:
    """The prompt after which a token gains most, and the tokens that gain most there."""
    batch = model.batch([encode(model, prompt).ids for prompt in prompts])
    ends = [batch.flat(n, len(encode(model, p).ids) - 1) for n, p in enumerate(prompts)]
    at = torch.tensor(ends, device=batch.ids.device)
    with model.evaluating():
        then = model.forward(batch, at=at).float().log_softmax(dim=-1)
        now = model.forward(batch, at=at, weights=weights).float().log_softmax(dim=-1)
    gain = now.exp() * (now - then)  # a rise counts as far as the token is said
    best = int(gain.max(dim=-1).values.argmax())
    chosen = gain[best].topk(min(_TOKENS, gain.shape[-1])).indices.tolist()
    return prompts[best], tuple(
        (model.decode([token]), round(float(now[best, token] - then[best, token]), 3))
        for token in chosen
    )


@torch.no_grad()
def _through_head(model: EditableModel, direction: Tensor) -> tuple[tuple[str, float], ...]:
    """Tokens a direction [d] of the residual stream points at, with their logits' z-scores."""
    head = value_of(model.model.get_output_embeddings(), "weight").float().cpu()
    logits = head @ direction.float().cpu()
    logits = (logits - logits.mean()) / logits.std().clamp_min(1e-12)
    chosen = logits.topk(min(_TOKENS, len(logits)))
    pairs = zip(chosen.indices.tolist(), chosen.values.tolist(), strict=True)
    return tuple((model.decode([token]), round(value, 3)) for token, value in pairs)
