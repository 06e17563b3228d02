"""What an editor is: a pure function from a model and requests to a delta.

Promise of every editor: model bits, hooks, modes, grad flags and global random state are after the
call as before it, also when it raises; the same inputs give the same bytes.
Rules: randomness comes from `context.generator` only; hyper-parameters are frozen dataclasses that
cannot hold unknown, ill-typed or senseless values.

    editor = get_editor("rome")
    hparams = editor.hparams.from_dict(values)
    delta = editor(model, [request], hparams, context=context)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, Protocol, Self, TypeVar, get_args, get_origin, get_type_hints

import torch

from editors.covariance import SecondMoment
from editors.delta import Delta
from editors.errors import InvalidHparams, InvalidRequest
from editors.model import EditableModel
from editors.requests import SLOT, EditRequest


@dataclass(frozen=True, eq=False)
class EditContext:
    """What an editor may use beside the model and the requests.

    `templates`: context templates, "{}" first. `second_moment`: layer -> C, computed on demand.
    `progress`: called with a phase and a fraction between 0 and 1.
    """

    generator: torch.Generator
    templates: tuple[str, ...]
    second_moment: Callable[[int], SecondMoment]
    progress: Callable[[str, float], None] | None = None

    def __post_init__(self) -> None:
        if not self.templates or self.templates[0] != SLOT:
            raise InvalidRequest("the first context template must be '{}', the bare prompt")
        for template in self.templates:
            if template.count(SLOT) != 1:
                raise InvalidRequest(f"context template {template!r} must have exactly one '{{}}'")


@dataclass(frozen=True)
class Hparams:
    """Base of all hyper-parameter types: types are checked against the annotations.

    Subclasses annotate with int, float, str, bool or Literal, and check ranges in `validate`.
    """

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            object.__setattr__(self, name, _typed(type(self).__name__, name, kind, self))
        self.validate()

    def validate(self) -> None:
        """Raise InvalidHparams when a value is outside its range."""

    def require(self, holds: bool, text: str) -> None:
        """Raise InvalidHparams with the text unless the condition holds."""
        if not holds:
            raise InvalidHparams(f"{type(self).__name__}: {text}")

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """Build from a mapping. Raises InvalidHparams on unknown, missing or ill-typed keys."""
        names = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            raise InvalidHparams(f"{cls.__name__} has no {unknown[0]!r}; it has {sorted(names)}")
        needed = [f.name for f in fields(cls) if f.default is MISSING and f.name not in values]
        if needed:
            raise InvalidHparams(f"{cls.__name__} needs {needed[0]!r}: give it a value")
        arguments: dict[str, Any] = dict(values)
        return cls(**arguments)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict, the inverse of `from_dict`."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


H = TypeVar("H", bound=Hparams)


class Editor(Protocol[H]):
    """One editing method."""

    name: str
    paper: str
    hparams: type[H]

    def __call__(
        self,
        model: EditableModel,
        requests: Sequence[EditRequest],
        hparams: H,
        *,
        context: EditContext,
    ) -> Delta:
        """The change that makes the model state the requests; the model itself is untouched."""
        ...

    def needs(self, hparams: H) -> frozenset[int]:
        """Layers whose second moment the editor will ask for."""
        ...


def single(method: str, requests: Sequence[EditRequest]) -> EditRequest:
    """The only request. Raises InvalidRequest when there are none or several."""
    if len(requests) != 1:
        raise InvalidRequest(
            f"{method} edits one fact per call, {len(requests)} were given: edit them one after "
            "another, each on the model that carries the earlier ones"
        )
    return requests[0]


def _typed(owner: str, name: str, kind: Any, instance: object) -> object:
    """The field's value, integers widened to float where wanted; raises InvalidHparams."""
    value = getattr(instance, name)
    if get_origin(kind) is Literal:
        if value not in get_args(kind) or not isinstance(value, str):
            raise InvalidHparams(f"{owner}.{name} is {value!r}, must be one of {get_args(kind)}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise InvalidHparams(f"{owner}.{name} must be {kind.__name__}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidHparams(f"{owner}.{name} is {value}: give a finite number")
    return value
