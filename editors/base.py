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
from typing import (
    Any,
    Generic,
    Literal,
    Self,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import torch
from torch import Tensor

from editors.covariance import SecondMoment
from editors.delta import Delta
from editors.errors import InvalidHparams, InvalidRequest
from editors.model import EditableModel
from editors.requests import SLOT, EditRequest


@dataclass(frozen=True, eq=False)
class EditContext:
    """What an editor may use beside the model and the requests.

    `templates`: context templates, "{}" first. `second_moment`: layer -> C, computed on demand.
    `progress`: called with a phase and a fraction between 0 and 1. `previous_keys`: layer -> keys
    [m, p] of the edits the model carries already, or None; without it there are none.
    """

    generator: torch.Generator
    templates: tuple[str, ...]
    second_moment: Callable[[int], SecondMoment]
    progress: Callable[[str, float], None] | None = None
    previous_keys: Callable[[int], Tensor | None] | None = None

    def __post_init__(self) -> None:
        if not self.templates or self.templates[0] != SLOT:
            raise InvalidRequest("the first context template must be '{}', the bare prompt")
        for template in self.templates:
            if template.count(SLOT) != 1:
                raise InvalidRequest(f"context template {template!r} must have exactly one '{{}}'")


@dataclass(frozen=True)
class Hparams:
    """Base of all hyper-parameter types: types are checked against the annotations.

    Subclasses annotate with int, float, str, bool, tuple[int, ...] or Literal, and check ranges in
    `validate`.
    """

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for name in (f.name for f in fields(self)):
            object.__setattr__(self, name, _typed(type(self).__name__, name, kinds[name], self))
        self.validate()

    def validate(self) -> None:
        """Raise InvalidHparams when a value is outside its range."""

    def require(self, holds: bool, text: str) -> None:
        """Raise InvalidHparams with the text unless the condition holds."""
        if not holds:
            raise InvalidHparams(f"{type(self).__name__}: {text}")

    def positive(self, *names: str) -> None:
        """Raise InvalidHparams unless these values are above 0."""
        for name in names:
            self.require(getattr(self, name) > 0, f"{name} must be above 0")

    def not_negative(self, *names: str) -> None:
        """Raise InvalidHparams unless these values are at least 0."""
        for name in names:
            self.require(getattr(self, name) >= 0, f"{name} must not be negative")

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
        """Plain dict of JSON values, the inverse of `from_dict`."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items()}


H = TypeVar("H", bound=Hparams)


@dataclass(frozen=True, eq=False)
class Job(Generic[H]):
    """One call of an editor: what it is to do and what it may use."""

    method: str
    model: EditableModel
    requests: tuple[EditRequest, ...]
    hparams: H
    context: EditContext

    @property
    def single(self) -> EditRequest:
        """The only request. Raises InvalidRequest when there are none or several."""
        if len(self.requests) != 1:
            raise InvalidRequest(
                f"{self.method} edits one fact per call, {len(self.requests)} were given: edit "
                "them one after another, each on the model that carries the earlier ones"
            )
        return self.requests[0]


class Editor(Generic[H]):
    """One editing method: `edit` does the work, of a `Job`."""

    name: str
    paper: str
    hparams: type[H]

    def needs(self, hparams: H) -> frozenset[int]:
        """Layers whose second moment the editor will ask for: none, unless a method says so."""
        return frozenset()

    def __call__(
        self,
        model: EditableModel,
        requests: Sequence[EditRequest],
        hparams: H,
        *,
        context: EditContext,
    ) -> Delta:
        """The change that makes the model state the requests.

        Raises: InvalidRequest, LayerOutOfRange, EditFailed.
        """
        return self.edit(Job(self.name, model, tuple(requests), hparams, context))

    def edit(self, job: Job[H]) -> Delta:
        """The method itself."""
        raise NotImplementedError


def _typed(owner: str, name: str, kind: Any, instance: object) -> object:
    """The field's value, integers widened to float where wanted; raises InvalidHparams."""
    value = getattr(instance, name)
    if get_origin(kind) is Literal:
        if value not in get_args(kind) or not isinstance(value, str):
            raise InvalidHparams(f"{owner}.{name} is {value!r}, must be one of {get_args(kind)}")
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple) or any(type(item) is not int for item in value):
            raise InvalidHparams(f"{owner}.{name} must be a list of whole numbers, not {value!r}")
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise InvalidHparams(f"{owner}.{name} must be {kind.__name__}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidHparams(f"{owner}.{name} is {value}: give a finite number")
    return value
