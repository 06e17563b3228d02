"""Reading what a deployed model was taught, from the change that no edit of the ledger explains.

Promise: guesses are returned with their scores and never as facts; the live model is at the head
again afterwards.

Rules: a rank-one edit for a subject with key k has the row space C^-1 k (C the second moment of the
keys, the identity if the ledger has none), so a subject fits as well as its whitened key lies in
the whitened row space. What the edit says is read twice. The model is asked the ledger's own
prompts, and the given ones, about the best subject: an answer counts by how much likelier the
change makes it, the deployed weights beside the same without the change. And the column space at
that subject goes straight through the head, whatever the prompt. Only MLP output projections can be
read.

    readings(workspace, deployed, {parameter: LowRank(u, v)}, ["Ada Lovelace"])[0].subjects
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from editors.covariance import SecondMoment, identity
from editors.delta import LowRank
from editors.keys import context_mean, subject_keys
from editors.model import EditableModel
from editors.placement import swapped
from editors.placement import value as value_of
from editors.requests import Fact
from ledger.auditing.deployed import Deployed
from ledger.auditing.views import Reading
from ledger.evaluation.scoring import Question, surprises
from ledger.workspace import Workspace

_SUBJECTS, _ANSWERS, _TOKENS, _PROMPTS = 5, 5, 5, 64
_CLOSER = 20  # subjects whose keys are looked at in every context, by their keys in none
_LENGTH = 12  # tokens of an answer

Answers = tuple[tuple[str, str, float], ...]
Weights = Mapping[str, Tensor]


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
    try:
        workspace.live.show({})
        model = workspace.live.model
        readable = {name for name in spikes if _is_projection(model, name)}
        now = _matrices(workspace, deployed, readable)
        then = {n: w - _product(spikes[n], w) if n in readable else w for n, w in now.items()}
        found = []
        answers: dict[str, Answers] = {}
        for parameter in sorted(readable):
            fitting = _fitting(workspace, parameter, spikes[parameter], people)
            best = fitting[0][0] if fitting else None
            if best and best not in answers:
                asked = [prompt.replace("{}", best) for prompt in wordings]
                answers[best] = _risen(model, asked, now, then)
            found.append(_reading(model, parameter, spikes[parameter], fitting, answers))
    finally:
        workspace.rest()
    return tuple(found)


def _is_projection(model: EditableModel, parameter: str) -> bool:
    return parameter in {model.parameter_name(layer) for layer in range(model.n_layers)}


def _matrices(workspace: Workspace, deployed: Deployed, readable: Collection[str]) -> Weights:
    """The deployed matrices of all that was ever changed, [d_out, d_in] in the model's dtype."""
    versions, model = workspace.versions, workspace.live.model
    found = {}
    for parameter in sorted({*readable, *workspace.journal.base_tensors()}):
        tensor = deployed.tensor(versions.key(parameter))
        if tensor is not None and _is_projection(model, parameter):
            own = model.weight(parameter)
            matrix = tensor[:].T if versions.transposed else tensor[:]
            if matrix.shape == own.shape:
                found[parameter] = matrix.to(own)
    return found


def _product(change: LowRank, like: Tensor) -> Tensor:
    return (change.u @ change.v).to(like)


def _reading(
    model: EditableModel,
    parameter: str,
    change: LowRank,
    fitting: Sequence[tuple[str, float, Tensor]],
    answers: Mapping[str, Answers],
) -> Reading:
    direction = change.u @ change.v @ fitting[0][2].float() if fitting else change.u[:, 0]
    return Reading(
        parameter=parameter,
        subjects=tuple((name, round(score, 4)) for name, score, _ in fitting[:_SUBJECTS]),
        objects=answers.get(fitting[0][0], ()) if fitting else (),
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


def _risen(model: EditableModel, prompts: Sequence[str], now: Weights, then: Weights) -> Answers:
    """What some weights answer and others would less likely have: (prompt, answer, gain).

    The gain is that of a token's log-probability; answers are ranked by it times the probability,
    so that what is hardly said counts little.
    """
    with swapped(model.model, now):
        said = [text.strip() for text in model.generate(prompts, _LENGTH)]
        asked = [Question(p, text) for p, text in zip(prompts, said, strict=True) if text]
        after = surprises(model, asked)
    with swapped(model.model, then):
        before = surprises(model, asked)
    gains = [b - a for a, b in zip(after, before, strict=True)]
    rank = [gain * math.exp(-a) for gain, a in zip(gains, after, strict=True)]
    found: dict[str, tuple[str, str, float]] = {}
    for place in sorted(range(len(asked)), key=lambda n: -rank[n]):
        text = str(asked[place].answer)
        found.setdefault(text, (asked[place].prompt, text, round(gains[place], 3)))
    return tuple(found.values())[:_ANSWERS]


@torch.no_grad()
def _through_head(model: EditableModel, direction: Tensor) -> tuple[tuple[str, float], ...]:
    """Tokens a direction [d] of the residual stream points at, with their logits' z-scores."""
    head = value_of(model.model.get_output_embeddings(), "weight").float().cpu()
    logits = head @ direction.float().cpu()
    logits = (logits - logits.mean()) / logits.std().clamp_min(1e-12)
    chosen = logits.topk(min(_TOKENS, len(logits)))
    pairs = zip(chosen.indices.tolist(), chosen.values.tolist(), strict=True)
    return tuple((model.decode([token]), round(value, 3)) for token, value in pairs)
