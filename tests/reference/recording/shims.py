"""What is put under the public reference code so that it runs on a CPU with today's libraries.

Promise: nothing here computes anything that is recorded; the second moments come from the golden
world, and everything else is a stand-in for what the reference would find on its authors' machine.
Rules: used while recording only.

    install(Path("/path/to/memit"))
    second_moments(memit_main, model)
"""

from __future__ import annotations

import functools
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import BatchEncoding

from editors.model import EditableModel
from tests.reference.golden_world import moment

# Imported at the top of reference files, and not called for what is recorded.
_UNUSED = (
    "datasets", "nltk", "openai", "sklearn", "sklearn.feature_extraction",
    "sklearn.feature_extraction.text", "sklearn.metrics", "dsets",
)  # fmt: skip
_BLOCK = re.compile(r"\.(h|layers)\.\d+$")


def install(checkout: Path) -> None:
    """Make the checkout importable and everything it expects of its surroundings present."""
    sys.path.insert(0, str(checkout))
    os.chdir(checkout)  # globals.yml is read from the working folder
    for name in _UNUSED:
        sys.modules[name] = _Anything(name)
    if (checkout / "easyeditor").is_dir():
        _packages_without_their_imports(checkout / "easyeditor")
    else:
        _cuda_is_the_cpu()
        _blocks_return_tuples()


def second_moments(module: Any, model: EditableModel) -> None:
    """`layer_stats` of a reference module returns the golden C of the layer it is asked for."""

    def layer_stats(_: Any, __: Any, name: str, *args: Any, **more: Any) -> SimpleNamespace:
        found = moment(model.layer_index(name + ".weight")).float()
        return SimpleNamespace(mom2=SimpleNamespace(moment=lambda: found))

    module.layer_stats = layer_stats
    for cache in ("inv_mom2_cache", "COV_CACHE"):
        getattr(module, cache, {}).clear()


@contextmanager
def in_an_empty_folder() -> Iterator[Path]:
    """The working folder, where AlphaEdit writes its projection, is a new one."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(here)


def stand_ins() -> None:
    """For EasyEdit's scores: words stand between spaces, and no model is one of MELO's."""
    words = ModuleType("nltk")
    words.word_tokenize = str.split  # type: ignore[attr-defined]
    words.ngrams = _ngrams  # type: ignore[attr-defined]
    words.FreqDist = Counter  # type: ignore[attr-defined]
    sys.modules["nltk"] = words
    melo = ModuleType("easyeditor.models.melo.melo")
    melo.LORA = type("LORA", (), {})  # type: ignore[attr-defined]
    sys.modules["easyeditor.util"].HyperParams = object  # type: ignore[attr-defined]
    sys.modules["easyeditor.models.melo"] = ModuleType("easyeditor.models.melo")
    sys.modules["easyeditor.models.melo.melo"] = melo


def _ngrams(tokens: list[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(tokens[start:] for start in range(n)), strict=False)


class _Anything(ModuleType):
    """A module of which every name can be imported."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return SimpleNamespace()


def _packages_without_their_imports(root: Path) -> None:
    """Packages whose __init__ imports every method of the framework are entered without it."""
    for folder in (root, root / "models", root / "util", root / "evaluate"):
        name = ".".join(folder.relative_to(root.parent).parts)
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    sys.modules["easyeditor.trainer"] = _Anything("easyeditor.trainer")


def _cuda_is_the_cpu() -> None:
    """Devices are written into the code as "cuda"."""

    def on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **more: Any) -> Any:
            args = tuple("cpu" if isinstance(a, str) and a == "cuda" else a for a in args)
            if more.get("device") == "cuda":
                more["device"] = "cpu"
            return function(*args, **more)

        return call

    for owner in (torch.Tensor, torch.nn.Module, BatchEncoding):
        owner.to = on_cpu(owner.to)  # type: ignore[method-assign]
    for name in ("tensor", "zeros", "eye"):
        setattr(torch, name, on_cpu(getattr(torch, name)))


def _blocks_return_tuples() -> None:
    """A block of today's transformers returns its tensor, formerly a tuple that began with it."""
    from util import nethook

    class Trace(nethook.Trace):  # type: ignore[misc]
        def __init__(self, module: Any, layer: Any = None, edit_output: Any = None, **more: Any):
            self.block = bool(_BLOCK.search(layer or ""))
            edit = edit_output
            if self.block and edit is not None:

                def edit(output: Tensor, layer: str) -> Tensor:
                    return edit_output((output,), layer)[0]

            super().__init__(module, layer, edit_output=edit, **more)

        @property
        def output(self) -> Any:
            return (self.seen,) if self.block else self.seen

        @output.setter
        def output(self, value: Any) -> None:
            self.seen = value

    nethook.Trace = Trace
