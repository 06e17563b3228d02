"""Trying a method on the demo world: single edits, one batch, and edits that stay in the model.

Promise: the model is as it was after every trial; weights are folded as a ledger folds them, into
bfloat16; keys and earlier edits are handed to the editor as a ledger hands them.

    trials = Trials(model, world, seed=0)
    trials.singles("rome", count=100)["all"]["reliability"]
    trials.sequence("memit", marks=(10, 50))[50]["reliability"]
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor

from editors.base import EditContext, Editor, Hparams
from editors.covariance import SecondMoment, accumulate
from editors.delta import Delta, ParameterDelta, frobenius
from editors.errors import EditFailed
from editors.hparams import lookup
from editors.methods import get_editor
from editors.model import EditableModel
from editors.prompts import context_templates
from ledger.demo.cases import Case, cases, means, questions, scores
from ledger.demo.corpus import texts
from ledger.demo.world import World, WorldFact
from ledger.evaluation.scoring import Prediction, Question, predict
from ledger.weights import fold

Progress = Callable[[str, float], None]
RANDOM = 100  # facts of other people and relations, asked after every edit
TOKENS = 12  # of text for C, times the width of the keys


def drawn(world: World, count: int, seed: int) -> list[WorldFact]:
    """Facts drawn at random."""
    rng = random.Random(seed)  # noqa: S311
    return rng.sample(world.facts, min(count, len(world.facts)))


class Trials:
    """All trials on one model; what every method needs is measured once."""

    def __init__(self, model: EditableModel, world: World, *, seed: int = 0) -> None:
        self.model, self.world, self.seed = model, world, seed
        self._moments: dict[int, SecondMoment] = {}
        self._before: dict[Question, Prediction] = {}
        self._templates = context_templates(model, torch.Generator().manual_seed(seed))
        chosen = drawn(world, RANDOM, seed + 1)
        self._randoms = [Question(f.text, f.target_true) for f in chosen]

    def singles(
        self, method: str, *, count: int, progress: Progress, **set_: Any
    ) -> dict[str, Any]:
        """Edits on the unedited model, one by one."""
        editor, hparams = self.prepared(method, **set_)
        rows = []
        for number, case in enumerate(self._cases(count)):
            rows += self._round(editor, hparams, [case])
            progress(method, (number + 1) / count)
        return means(rows) | {"hparams": hparams.to_dict()}

    def batch(self, method: str, *, count: int, **set_: Any) -> dict[str, Any]:
        """One call for all edits."""
        editor, hparams = self.prepared(method, **set_)
        return means(self._round(editor, hparams, self._cases(count))) | {
            "hparams": hparams.to_dict()
        }

    def sequence(
        self, method: str, *, marks: Sequence[int], progress: Progress, **set_: Any
    ) -> dict[int, dict[str, Any]]:
        """Edits that stay; at each mark all edits so far are asked again."""
        editor, hparams = self.prepared(method, **set_)
        chosen, found = self._cases(max(marks)), {}
        for case in chosen:
            self._known(questions(case))
        self._known(self._randoms)
        with _Edited(self.model) as edited:
            failed = 0
            for number, case in enumerate(chosen, start=1):
                try:
                    edited.add(self._edit(editor, hparams, [case], edited.keys))
                except EditFailed:
                    failed += 1
                progress(f"{method}, one after another", number / len(chosen))
                if number in marks:
                    found[number] = self._asked(chosen[:number])["all"] | {"failed": failed}
        return found

    def prepared(self, method: str, **set_: Any) -> tuple[Editor[Any], Hparams]:
        """The editor and its settings for the model."""
        editor = get_editor(method)
        values, _ = lookup(method, self.model.model.config)
        return editor, editor.hparams.from_dict({**values, **set_})

    def moment(self, layer: int) -> SecondMoment:
        """C over the world's own texts."""
        if layer not in self._moments:
            tokens = TOKENS * self.model.d_mlp
            told = islice(texts(self.world, seed=2), tokens)
            found = accumulate(self.model, [layer], told, max_tokens=tokens)
            self._moments[layer] = found[layer]
        return self._moments[layer]

    def _cases(self, count: int) -> list[Case]:
        return list(cases(self.world, count=count, seed=self.seed))

    def _edit(
        self,
        editor: Editor[Any],
        hparams: Hparams,
        chosen: Sequence[Case],
        keys: Callable[[str], Tensor | None],
    ) -> Delta:
        context = EditContext(
            torch.Generator().manual_seed(self.seed),
            self._templates,
            self.moment,
            previous_keys=lambda layer: keys(self.model.parameter_name(layer)),
        )
        return editor(self.model, [case.request for case in chosen], hparams, context=context)

    def _round(
        self, editor: Editor[Any], hparams: Hparams, chosen: Sequence[Case]
    ) -> list[dict[str, Any]]:
        """One call of the editor on the unedited model, and what it did."""
        for layer in editor.needs(hparams):
            self.moment(layer)
        with _Edited(self.model) as edited:
            asked = [questions(case) for case in chosen]
            before = [self._known(part) for part in asked]
            randoms = self._known(self._randoms)
            start = time.perf_counter()
            try:
                delta = self._edit(editor, hparams, chosen, edited.keys)
            except EditFailed:
                delta = None
            seconds = (time.perf_counter() - start) / len(chosen)
            ratio = 0.0
            if delta is not None:
                ratio = edited.ratio(delta)
                edited.add(delta)
            after = predict(self.model, [q for part in asked for q in part] + self._randoms)
        about = {"failed": float(delta is None), "seconds": seconds, "update_ratio": ratio}
        rows, start_at = [], 0
        for case, part, known in zip(chosen, asked, before, strict=True):
            own = after[start_at : start_at + len(part)]
            start_at += len(part)
            rows.append(scores(case, known + randoms, own + after[-RANDOM:]) | about)
        return rows

    def _asked(self, chosen: Sequence[Case]) -> dict[str, Any]:
        """Every question of these edits, and the random ones, of the model as it is now."""
        randoms, known = predict(self.model, self._randoms), self._known(self._randoms)
        rows = []
        for case in chosen:
            part = questions(case)
            after = predict(self.model, part)
            rows.append(scores(case, self._known(part) + known, after + randoms))
        return means(rows)

    def _known(self, asked: Sequence[Question]) -> list[Prediction]:
        """What the unedited model predicts; call it first while nothing is edited."""
        new = [question for question in asked if question not in self._before]
        self._before.update(zip(new, predict(self.model, new) if new else [], strict=True))
        return [self._before[question] for question in asked]


class _Edited:
    """The model with changes folded in; afterwards the weights are the old ones."""

    def __init__(self, model: EditableModel) -> None:
        self._model = model
        self._base: dict[str, Tensor] = {}
        self._changes: dict[str, list[ParameterDelta]] = defaultdict(list)
        self._keys: dict[str, list[Tensor]] = defaultdict(list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name, weight in self._base.items():
            self._model.set_weight_(name, weight)

    def add(self, delta: Delta) -> None:
        """Fold one more delta into the weights, as bfloat16."""
        for name, change in delta.parameters.items():
            base = self._base.setdefault(name, self._model.weight(name).clone())
            self._changes[name].append(change)
            stored = base.to(torch.bfloat16).contiguous()
            folded = fold(stored, self._changes[name], transposed=False)
            self._model.set_weight_(name, folded.to(base.dtype))
        for name, keys in delta.keys.items():
            self._keys[name].append(keys)

    def keys(self, name: str) -> Tensor | None:
        """Keys [m, n] of what was added."""
        return torch.cat(self._keys[name], dim=1) if self._keys[name] else None

    def ratio(self, delta: Delta) -> float:
        """The largest ||dW|| / ||W|| of the matrices of a delta."""
        return max(
            frobenius(change) / float(torch.linalg.vector_norm(self._model.weight(name).float()))
            for name, change in delta.parameters.items()
        )
