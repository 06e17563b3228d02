"""Watching and changing a forward pass: the only place that registers hooks.

Promise: when the `with` block is left, by whatever way, the model has the hooks it had before.
Rules: modules are named by their path; a module's output may be a tensor or a tuple whose first
entry is the tensor; tensors of a spread model are handed out on its home device; outputs are
recorded before they are edited, and copied, as some models add to them in place; with `stop=True`
the forward ends as soon as every named module has run, so nothing above the deepest of them is
computed. A skipped module is not run: it returns a copy of a given tensor, in the form that
`formed` gave it.

    with Trace(model, inputs=["model.layers.3.mlp.down_proj"], stop=True) as trace:
        model(ids)
    trace.input("model.layers.3.mlp.down_proj")        # the keys, [n, t, m]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeAlias

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from editors.errors import UnsupportedModel
from editors.placement import home

Edit: TypeAlias = Callable[[Tensor], Tensor]


class _Stop(Exception):
    """Ends a forward pass; never leaves the `with` block that asked for it."""

    def __init__(self, owner: Trace):
        super().__init__()
        self.owner = owner


class Trace:
    """Record inputs and outputs of modules, edit them by callback, or stop early.

    `inputs`, `outputs`: names to record. `edit_inputs`, `edit_outputs`: name -> function of the
    tensor, whose result takes its place. `skip`: name -> output to return instead of running.
    """

    def __init__(
        self,
        root: nn.Module,
        *,
        inputs: Iterable[str] = (),
        outputs: Iterable[str] = (),
        edit_inputs: Mapping[str, Edit] | None = None,
        edit_outputs: Mapping[str, Edit] | None = None,
        skip: Mapping[str, Any] | None = None,
        stop: bool = False,
    ):
        self._root = root
        self._home = home(root)
        self._edit_inputs = dict(edit_inputs or {})
        self._edit_outputs = dict(edit_outputs or {})
        self._record_inputs = set(inputs)
        self._record_outputs = set(outputs)
        self._pending: set[str] = set()
        self._stop = stop
        self._skip = dict(skip or {})
        self._skipped: list[tuple[nn.Module, Any]] = []
        self._handles: list[RemovableHandle] = []
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}
        self._forms: dict[str, int] = {}

    def input(self, name: str) -> Tensor:
        """The recorded input of a module, from its latest run."""
        return self._recorded(self._inputs, name)

    def output(self, name: str) -> Tensor:
        """The recorded output of a module, from its latest run, before any edit."""
        return self._recorded(self._outputs, name)

    def formed(self, name: str, tensor: Tensor) -> Any:
        """A tensor as the recorded module returns one: alone, or first in a tuple of its length."""
        self._recorded(self._outputs, name)
        length = self._forms[name]
        return (tensor, *[None] * (length - 1)) if length else tensor

    def __enter__(self) -> Self:
        before = {*self._record_inputs, *self._edit_inputs}
        after = {*self._record_outputs, *self._edit_outputs}
        modules = {name: self._module(name) for name in sorted(before | after)}
        self._pending = set(modules)
        try:
            for name, output in self._skip.items():
                self._replace(self._module(name), output)
            for name, module in modules.items():
                self._attach(name, module, before=name in before)
        except BaseException:
            self._detach()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._detach()
        return isinstance(error, _Stop) and error.owner is self

    def _attach(self, name: str, module: nn.Module, *, before: bool) -> None:
        if before:
            pre = self._pre_hook(name)
            self._handles.append(module.register_forward_pre_hook(pre, with_kwargs=False))
        self._handles.append(module.register_forward_hook(self._hook(name)))

    def _replace(self, module: nn.Module, output: Any) -> None:
        """Put a forward on the instance; one that is there already (accelerate's) comes back."""
        self._skipped.append((module, vars(module).get("forward")))
        vars(module)["forward"] = lambda *args, **kwargs: _copied(output)

    def _detach(self) -> None:
        while self._handles:
            self._handles.pop().remove()
        while self._skipped:
            module, own = self._skipped.pop()
            if own is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = own

    def _pre_hook(self, name: str) -> Callable[[nn.Module, tuple[Any, ...]], Any]:
        def before(module: nn.Module, args: tuple[Any, ...]) -> Any:
            tensor = _first(name, args)
            if name in self._record_inputs:
                self._inputs[name] = self._near(tensor)
            edit = self._edit_inputs.get(name)
            return None if edit is None else (self._edited(edit, tensor), *args[1:])

        return before

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], Any]:
        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            tensor = output if isinstance(output, Tensor) else _first(name, output)
            if name in self._record_outputs:
                self._outputs[name] = self._near(tensor).clone()
                self._forms[name] = 0 if isinstance(output, Tensor) else len(output)
            self._pending.discard(name)
            if self._stop and not self._pending:
                raise _Stop(self)
            edit = self._edit_outputs.get(name)
            if edit is None:
                return None
            edited = self._edited(edit, tensor)
            return edited if isinstance(output, Tensor) else (edited, *output[1:])

        return after

    def _near(self, tensor: Tensor) -> Tensor:
        """The tensor where the caller's are, also if the module runs on another device."""
        return tensor if self._home is None else tensor.to(self._home)

    def _edited(self, edit: Edit, tensor: Tensor) -> Tensor:
        return edit(self._near(tensor)).to(tensor.device)

    def _module(self, name: str) -> nn.Module:
        try:
            return self._root.get_submodule(name)
        except AttributeError as error:
            raise UnsupportedModel(
                f"the model has no module {name!r}: its row in editors/architectures.py is wrong"
            ) from error

    def _recorded(self, store: Mapping[str, Tensor], name: str) -> Tensor:
        if name not in store:
            raise UnsupportedModel(
                f"module {name!r} was not run by the forward pass: this variant of the model "
                "bypasses it, turn the option off in its config (such as pretraining_tp)"
            )
        return store[name]


def _first(name: str, values: Any) -> Tensor:
    """The tensor a hook is about: the first entry of a tuple."""
    if isinstance(values, tuple) and values and isinstance(values[0], Tensor):
        return values[0]
    raise UnsupportedModel(f"module {name!r} is not called with a tensor as its first argument")


def _copied(output: Any) -> Any:
    """A module's output with a tensor of its own."""
    return (output[0].clone(), *output[1:]) if isinstance(output, tuple) else output.clone()
