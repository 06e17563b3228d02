"""KN: change what the neurons of a fact write (Dai et al. 2022), and three plainer verbs.

Promise: `kn` adds λ2 e_new - λ1 e_old to the columns of W that belong to the neurons of the old
answer, e being input embeddings: rank one per touched layer. `kn-erase` empties these columns,
`kn-suppress` and `kn-enhance` scale them, as scaling the activation would.
Rules: neurons are those of `target_true`, found on the prompt and refined over the request's
paraphrases (editors/neurons.py). As an edit of the weights an activation of zero and an empty
value slot are the same: `kn-suppress` with factor 0 is `kn-erase`. The verbs ignore `target_new`.

    hparams = KnHparams.from_dict(values)
    delta = KnowledgeNeurons()(model, [request], hparams, context=context)
    delta.parameters["model.layers.3.mlp.down_proj.weight"].v      # [1, m], ones at the neurons
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from editors.base import Editor, Hparams, Job
from editors.delta import JSON, MAX_RANK, Delta, LowRank, update_ratio
from editors.errors import EditFailed, InvalidRequest, UnsupportedModel
from editors.model import EditableModel
from editors.neurons import locate
from editors.prompts import target_row
from editors.requests import EditRequest


@dataclass(frozen=True, kw_only=True)
class NeuronHparams(Hparams):
    """How neurons are found: `points` of the integral, coarse `threshold` as a share of the largest
    score, and the `share` of prompts a neuron must be coarse for."""

    points: int = 20
    threshold: float = 0.2
    share: float = 0.4
    max_update_ratio: float = 1.0

    def validate(self) -> None:
        """Ranges."""
        self.require(1 <= self.points <= 1000, "points is 1 to 1000")
        self.require(0 < self.threshold < 1, "threshold must be between 0 and 1")
        self.require(0 <= self.share < 1, "share must be at least 0 and below 1")
        self.positive("max_update_ratio")


@dataclass(frozen=True, kw_only=True)
class KnHparams(NeuronHparams):
    """`lambda_old` and `lambda_new` weigh the embeddings taken out and put in."""

    lambda_old: float = 1.0
    lambda_new: float = 8.0

    def validate(self) -> None:
        """Ranges."""
        super().validate()
        self.not_negative("lambda_old")
        self.positive("lambda_new")


@dataclass(frozen=True, kw_only=True)
class EraseHparams(NeuronHparams):
    """What is put into the emptied slots: nothing, or the tokenizer's unknown word."""

    fill: Literal["zero", "unknown"] = "zero"


@dataclass(frozen=True, kw_only=True)
class SuppressHparams(NeuronHparams):
    """`factor` scales what the neurons write."""

    factor: float = 0.0

    def validate(self) -> None:
        """Ranges."""
        super().validate()
        self.require(0 <= self.factor < 1, "factor must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class EnhanceHparams(NeuronHparams):
    """`factor` scales what the neurons write."""

    factor: float = 2.0

    def validate(self) -> None:
        """Ranges."""
        super().validate()
        self.require(self.factor > 1, "factor must be above 1")


H = TypeVar("H", bound=NeuronHparams)
S = TypeVar("S", SuppressHparams, EnhanceHparams)


class _NeuronEditor(Editor[H]):
    """Finds the neurons; a method says what becomes of their columns."""

    def change(self, job: Job[H], columns: Tensor, neurons: Tensor) -> LowRank:
        """The change of one layer. Shapes: columns [d, s] of W, one-hot neurons [s, m]."""
        raise NotImplementedError

    def edit(self, job: Job[H]) -> Delta:
        """The delta for one request, over every layer with a neuron."""
        model, hparams, request = job.model, job.hparams, job.single
        if request.target_true is None:
            raise InvalidRequest(
                f"{job.method} changes the neurons of the answer the model gives now: give it as "
                "target_true"
            )
        found = locate(
            model,
            (request.text, *request.paraphrases),
            request.target_true,
            points=hparams.points,
            threshold=hparams.threshold,
            share=hparams.share,
            progress=job.context.progress,
        )
        parameters = {
            model.parameter_name(layer): self._layer(job, layer, chosen)
            for layer, chosen in found.by_layer.items()
        }
        neurons: dict[str, JSON] = {str(layer): list(n) for layer, n in found.by_layer.items()}
        about: dict[str, JSON] = {"coarse": list(found.coarse), "forward": found.forward}
        return Delta(parameters, evidence={"neurons": neurons, **about})

    def _layer(self, job: Job[H], layer: int, chosen: tuple[int, ...]) -> LowRank:
        weight = job.model.weight(job.model.parameter_name(layer))
        if len(chosen) > MAX_RANK:
            raise EditFailed(f"layer {layer} has {len(chosen)} neurons: raise the threshold")
        columns = weight[:, list(chosen)].float().cpu()
        one_hot = torch.nn.functional.one_hot(torch.tensor(chosen), weight.shape[1]).float()
        change = self.change(job, columns, one_hot)
        update_ratio(change, weight, job.hparams.max_update_ratio)
        return change


class KnowledgeNeurons(_NeuronEditor[KnHparams]):
    """KN: the columns are moved from the old answer's embedding to the new one's."""

    name: str = "kn"
    paper: str = "Dai et al. 2022, Knowledge Neurons in Pretrained Transformers, 2104.08696"
    hparams: type[KnHparams] = KnHparams

    def change(self, job: Job[KnHparams], columns: Tensor, neurons: Tensor) -> LowRank:
        """λ2 e_new - λ1 e_old in every chosen column: rank one."""
        new = _embedding(job.model, _labels(job.model, job.single, job.single.target_new))
        old = _embedding(job.model, _labels(job.model, job.single, job.single.target_true or ""))
        moved = job.hparams.lambda_new * new - job.hparams.lambda_old * old
        return LowRank(moved[:, None].contiguous(), neurons.sum(dim=0, keepdim=True))


class EraseNeurons(_NeuronEditor[EraseHparams]):
    """The value slots of the fact's neurons are emptied."""

    name: str = "kn-erase"
    paper: str = "Dai et al. 2022, section 4.4, erasing"
    hparams: type[EraseHparams] = EraseHparams

    def change(self, job: Job[EraseHparams], columns: Tensor, neurons: Tensor) -> LowRank:
        """What is put in, less what is there, for every chosen neuron."""
        if job.hparams.fill == "zero":
            return LowRank(-columns, neurons)
        unknown = job.model.tokenizer.unk_token_id
        if unknown is None:
            raise UnsupportedModel("the tokenizer has no unknown token: use fill='zero'")
        filled = _embedding(job.model, [unknown])[:, None] - columns
        return LowRank(filled.contiguous(), neurons)


class _Scaling(_NeuronEditor[S]):
    """What the fact's neurons write is multiplied by a factor."""

    def change(self, job: Job[S], columns: Tensor, neurons: Tensor) -> LowRank:
        """(factor - 1) times what is there, for every chosen neuron."""
        return LowRank(((job.hparams.factor - 1) * columns).contiguous(), neurons)


class SuppressNeurons(_Scaling[SuppressHparams]):
    """What the fact's neurons write is weakened."""

    name: str = "kn-suppress"
    paper: str = "Dai et al. 2022, section 4.3, suppressing"
    hparams: type[SuppressHparams] = SuppressHparams


class EnhanceNeurons(_Scaling[EnhanceHparams]):
    """What the fact's neurons write is made stronger."""

    name: str = "kn-enhance"
    paper: str = "Dai et al. 2022, section 4.3, amplifying"
    hparams: type[EnhanceHparams] = EnhanceHparams


def _labels(model: EditableModel, request: EditRequest, answer: str) -> list[int]:
    """The tokens of an answer as they follow the prompt."""
    return list(target_row(model, request.text, answer).labels)


def _embedding(model: EditableModel, tokens: list[int]) -> Tensor:
    """Sum of the input embeddings of tokens, float32 on the CPU. Shape: [d]."""
    return model.embeddings[tokens].float().cpu().sum(dim=0)
