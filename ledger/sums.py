"""Sums of a measurement that is under way, or a part of one, as a folder on disk (`kel.sums/1`).

Promise: after a kill at any moment the folder holds the sums of the last time they were kept, as
they were then; parts that are merged give exactly the sum of their sums, in the order of their
numbers.
Rules: one object a parameter, named by its sha256, and `sums.json`, which is replaced at once and
names them; objects it no longer names are removed.

    folder = SumsFolder(Path("part-1"))
    folder.keep(task, sums)
    sums = folder.continued(task, layers=(3, 4))        # None if there is nothing to continue
    task, sums = merged([Path("part-1"), Path("part-2")], layer_of=model.layer_index)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.covariance import Check, Sums
from ledger.chain import digest
from ledger.errors import Conflict, IntegrityFailure, InvalidInput
from store.atomic import remove_object, write_file
from store.canonical import canonical_json
from store.objects import ObjectStore
from store.tensors import LIMITS, decode, encode

SCHEMA = "kel.sums/1"
_INDEX = "sums.json"


@dataclass(frozen=True)
class Task:
    """What is summed: the keys of parameters over `tokens` tokens of part `part` of a corpus.

    Part i of n takes the texts i, i + n, i + 2 n, ... of the corpus.
    """

    base: str
    parameters: tuple[str, ...]
    corpus: str
    corpus_sha256: str
    tokens: int
    part: int = 1
    parts: int = 1

    @property
    def digest(self) -> str:
        """Names the task."""
        return digest(_plain(self))


@dataclass(frozen=True)
class _Found:
    task: Task
    done: bool
    index: Mapping[str, Any]


class SumsFolder:
    """One folder of sums; need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._store = ObjectStore(self.folder)

    def keep(self, task: Task, sums: Sums, *, done: bool = False) -> None:
        """Write the sums in place of those that are there. Raises: StoreWriteError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        objects = [
            self._store.put(_encoded(sums, layer, name))
            for layer, name in zip(sums.layers, task.parameters, strict=True)
        ]
        checks = [
            {"count": check.count, "changes": [check.changes[layer] for layer in sums.layers]}
            for check in sums.checks
        ]
        index = {
            "schema": SCHEMA,
            "task": _plain(task),
            "count": sums.count,
            "texts": sums.texts,
            "checks": checks,
            "objects": objects,
            "done": done,
        }
        write_file(self.folder / _INDEX, canonical_json(index))
        for oid in set(self._store.oids()) - set(objects):
            remove_object(self._store.layout, oid)

    def continued(self, task: Task, layers: Sequence[int]) -> Sums | None:
        """The sums of this task, or None where there are none.

        Raises: Conflict if the folder holds another task; IntegrityFailure, ObjectError.
        """
        found = self._found()
        if found is None:
            return None
        if found.task != task:
            raise Conflict(
                f"{self.folder} holds sums of something else (base, layers, corpus, tokens or part "
                "differ): give another folder, or remove it"
            )
        return self._sums(found, layers)

    def finished(self, layer_of: Callable[[str], int]) -> tuple[Task, Sums]:
        """A part that was measured to its end.

        Raises: InvalidInput, IntegrityFailure, ObjectError.
        """
        found = self._found()
        if found is None:
            raise InvalidInput(f"{self.folder} holds no sums: it has no {_INDEX}")
        if not found.done:
            raise InvalidInput(
                f"part {found.task.part} of {found.task.parts} in {self.folder} was cut short: "
                "repeat the command that measured it, it goes on from there"
            )
        return found.task, self._sums(found, [layer_of(name) for name in found.task.parameters])

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> _Found | None:
        path = self.folder / _INDEX
        if not path.is_file():
            return None
        try:
            index = json.loads(path.read_text("utf-8"))
            if index["schema"] != SCHEMA:
                raise ValueError(f"schema {index['schema']!r}")
            task = Task(**{**index["task"], "parameters": tuple(index["task"]["parameters"])})
            return _Found(task, bool(index["done"]), index)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise IntegrityFailure(
                f"{path} is not an index of sums ({error}): remove the folder and measure again"
            ) from error

    def _sums(self, found: _Found, layers: Sequence[int]) -> Sums:
        sums = Sums(tuple(layers), count=int(found.index["count"]), texts=int(found.index["texts"]))
        sums.checks = tuple(
            Check(check["count"], dict(zip(layers, check["changes"], strict=True)))
            for check in found.index["checks"]
        )
        for layer, oid in zip(layers, found.index["objects"], strict=True):
            decoded = decode(self._store.get(oid))
            if (decoded.meta or {}).get("schema") != SCHEMA or "sum" not in decoded.tensors:
                raise IntegrityFailure(f"object {oid[:12]} in {self.folder} is no sum")
            tensors = {name: _tensor(array) for name, array in decoded.tensors.items()}
            sums.totals[layer] = tensors["sum"]
            if "directions" in tensors:
                sums.directions[layer] = tensors["directions"]
        return sums


def merged(folders: Iterable[Path], layer_of: Callable[[str], int]) -> tuple[Task, Sums]:
    """The sum of all parts of a measurement, and what they are parts of.

    Raises: InvalidInput for parts that are not of one measurement, or not all of it; as `finished`.
    """
    parts = sorted(
        (SumsFolder(folder).finished(layer_of) for folder in folders),
        key=lambda found: found[0].part,
    )
    if not parts:
        raise InvalidInput("there are no parts to merge")
    first = parts[0][0]
    for task, _ in parts:
        if replace(task, part=first.part, tokens=first.tokens) != first:
            raise InvalidInput(
                "these parts are not of one measurement: their base, layers, corpus or number of "
                "parts differ"
            )
    if [task.part for task, _ in parts] != list(range(1, first.parts + 1)):
        told = ", ".join(str(task.part) for task, _ in parts)
        raise InvalidInput(f"of {first.parts} parts these were given: {told}; give each once")
    total = Sums(parts[0][1].layers)
    for _, sums in parts:
        for layer, matrix in sums.totals.items():
            total.add(layer, matrix)
        total.count += sums.count
        total.texts += sums.texts
    tokens = sum(task.tokens for task, _ in parts)
    return replace(first, part=1, parts=1, tokens=tokens), total


def stored_array(matrix: Tensor, beside: int = 0) -> np.ndarray[Any, Any]:
    """float64 where an object can hold it with `beside` more bytes, else float32."""
    fits = matrix.numel() * 8 + beside < LIMITS.file_bytes - LIMITS.header_bytes
    return (matrix if fits else matrix.float()).cpu().numpy()


def _encoded(sums: Sums, layer: int, parameter: str) -> bytes:
    found = sums.directions.get(layer)
    beside = {} if found is None else {"directions": found.cpu().numpy()}
    total = stored_array(sums.totals[layer], sum(array.nbytes for array in beside.values()))
    return encode({"sum": total, **beside}, {"schema": SCHEMA, "parameter": parameter})


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64))


def _plain(task: Task) -> dict[str, Any]:
    return asdict(task) | {"parameters": list(task.parameters)}
