"""ROME: write one fact as a rank-one change of one MLP output matrix (Meng et al. 2022).

Promise: ΔW = (v* - W k*) (C^-1 k*)ᵀ / (k*ᵀ C^-1 k*), so (W + ΔW) k* = v* and ΔW ∝ C^-1 k*.
Rules: `key="consistent"` uses the mean key over the context templates everywhere (r-ROME, Gupta et
al. 2024); `key="original"` keeps the mixed use of kmeng01/rome, where the mean key gives the
direction and the bare prompt's key the constraint. v* is a module output, bias included, on both
sides of the residual; the stored value is without bias: (W + ΔW) @ keys = values.

    editor = Rome()
    delta = editor(model, [request], RomeHparams(layer=5, ...), context=context)
    delta.parameters["model.layers.5.mlp.down_proj.weight"].u      # [d, 1]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from torch import Tensor

from editors.base import EditContext, Editor, Job
from editors.delta import JSON, Delta, LowRank, update_ratio
from editors.errors import EditFailed
from editors.model import EditableModel
from editors.rows import Kept, Wish
from editors.solves import times
from editors.values import Value, ValueHparams, optimise_value

DENOMINATOR_FLOOR: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class RomeHparams(ValueHparams):
    """Hyper-parameters, named as in the published files; `max_update_ratio` bounds ||ΔW||/||W||."""

    layer: int
    key: Literal["consistent", "original"] = "consistent"
    second_moment: Literal["corpus", "identity"] = "corpus"

    @property
    def moments(self) -> frozenset[int]:
        """Layers whose second moment is used."""
        return frozenset([self.layer] if self.second_moment == "corpus" else [])


H = TypeVar("H", bound=RomeHparams)


class RankOne(Editor[H]):
    """The editor, for `rome` and for what adds to its value search."""

    def needs(self, hparams: H) -> frozenset[int]:
        """The edited layer, unless C is the identity."""
        return hparams.moments

    def edit(self, job: Job[H]) -> Delta:
        """The rank-one delta for one request."""
        model, hparams, request = job.model, job.hparams, job.single
        layer, templates = hparams.layer, job.context.templates
        kept, about = self.kept(job)
        value = optimise_value(
            model,
            Wish((request,), kept),
            modules=[model.projection(layer)],
            templates=templates,
            settings=hparams,
            progress=job.context.progress,
        )
        update = rank_one(model, value, hparams, job.context)
        parameter = model.parameter_name(layer)
        return Delta(
            parameters={parameter: update.change},
            keys={parameter: update.key.float()[:, None].contiguous()},
            values={parameter: update.wanted.float()[:, None].contiguous()},
            templates=templates,
            evidence={**value.evidence(), **update.evidence(hparams), **about},
        )

    def kept(self, job: Job[H]) -> tuple[tuple[Kept, ...], dict[str, JSON]]:
        """Texts beside the essence row whose distribution is to stay, and evidence about them."""
        return (), {}


class Rome(RankOne[RomeHparams]):
    """ROME."""

    name: str = "rome"
    paper: str = "Meng et al. 2022, Locating and Editing Factual Associations in GPT; 2403.07175"
    hparams: type[RomeHparams] = RomeHparams


@dataclass(frozen=True, eq=False)
class Update:
    """A rank-one change with the constraint it solves: (W + ΔW) key = wanted, [m] and [d]."""

    change: LowRank
    key: Tensor
    wanted: Tensor
    denominator: float
    ratio: float

    def evidence(self, hparams: RomeHparams) -> dict[str, JSON]:
        """What to record about it."""
        return {
            "denominator": self.denominator,
            "update_ratio": self.ratio,
            "second_moment": hparams.second_moment,
            "key": hparams.key,
        }


def rank_one(
    model: EditableModel, value: Value, hparams: RomeHparams, context: EditContext
) -> Update:
    """The change that maps the key to the target, both found by a search at the projection.

    Raises: EditFailed when the key is orthogonal to C^-1 k or the change is too large.
    Source: ROME (Meng et al. 2022), equation 2; 2403.07175 for the one key.
    """
    parameter = model.parameter_name(hparams.layer)
    if value.keys is None:
        raise EditFailed(f"the value was not searched at {parameter}: it has no keys")
    keys = value.keys.cpu().double()  # [p, m], the bare prompt first
    mean = keys.mean(dim=0)
    held = mean if hparams.key == "consistent" else keys[0]
    wanted = model.without_bias(parameter, value.target).cpu().double()
    residual = wanted - times(model.weight(parameter), held)
    change, denominator = _factors(residual, held, _direction(mean, hparams, context))
    ratio = update_ratio(change, model.weight(parameter), hparams.max_update_ratio)
    return Update(change, held, wanted, denominator, ratio)


def _direction(key: Tensor, hparams: RomeHparams, context: EditContext) -> Tensor:
    """C^-1 k / ||C^-1 k||, rounded to float32 so that the stored factor is the one used."""
    if hparams.second_moment == "corpus":
        key = context.second_moment(hparams.layer).solve(key[:, None])[:, 0].cpu()
    unit: Tensor = key / key.norm()
    return unit.float().double()


def _factors(residual: Tensor, key: Tensor, direction: Tensor) -> tuple[LowRank, float]:
    """u = residual / (k . v), v = direction; and k . v relative to ||k||."""
    denominator = float(key @ direction)
    relative = denominator / float(key.norm())
    if not abs(relative) > DENOMINATOR_FLOOR:
        raise EditFailed(
            f"the key is orthogonal to C^-1 k (cosine {relative:.1e}), the update would have "
            "no bound: use key='consistent', or put words before the subject in the prompt"
        )
    u = (residual / denominator).float()[:, None].contiguous()
    return LowRank(u, direction.float()[None, :].contiguous()), relative
