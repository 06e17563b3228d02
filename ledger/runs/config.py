"""What a run is to do: models x data sets x methods x modes.

Promise: two configurations are the same run exactly when they and the contents of the files they
name are equal, and what makes them different can be shown.

    config = load("thesis/fig2-5")                # ledger.runs.reading
    [cell.name for cell in config.cells()]        # 'demo/en/rome/single', ...
    differences(old, config.to_json())            # ['seed: 0 -> 1']
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ledger.errors import InvalidInput
from ledger.settings import Settings

NONE: Final = "none"  # the method of the unedited model
FAMILIES: Final = ("answers", "preference")
MODES: Final = ("single", "sequential", "batch")
MARKS: Final = (0.1, 0.25, 0.5, 1.0)
_MOST: Final = 4096


@dataclass(frozen=True)
class ModelSpec:
    """A base, as `kel init` is told it; `corpus` and `tokens` as `kel stats` is told them."""

    name: str
    base: str
    revision: str | None = None
    dtype: str | None = None
    device: str = "cpu"
    corpus: str | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class DataSpec:
    """Facts to edit: a file, `hub:owner/name/path`, or `demo`, `demo:en`, `demo:zh`, our world.

    `limit` of them, the first or, with `sample`, drawn by the run's seed. `probes` are asked after
    every edit: those that `kel init` takes (None), a file of prompts, or `pool`, `probe_count`
    drawn from the neighbourhood probes of all records.
    """

    name: str
    source: str
    limit: int | None = None
    sample: bool = False
    probes: str | None = None
    probe_count: int = 100


@dataclass(frozen=True)
class MethodSpec:
    """A method with its layer and hyper-parameters, under a name; `none` edits nothing."""

    name: str
    method: str
    layer: int | str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mode:
    """`single` and `batch` start on the base every time, `sequential` edits stay."""

    name: str
    size: int = 1

    @classmethod
    def parse(cls, text: str) -> Mode:
        """Of `single`, `sequential` or `batch N`. Raises: InvalidInput."""
        name, _, size = text.partition(" ")
        if name in MODES and (size.isdecimal() if name == "batch" else not size):
            mode = cls(name, int(size or 1))
            if 1 <= mode.size <= _MOST:
                return mode
        raise InvalidInput(f"{text!r} is no mode: write single, sequential, or batch N (N facts)")

    def __str__(self) -> str:
        return f"{self.name} {self.size}" if self.name == "batch" else self.name


@dataclass(frozen=True)
class Cell:
    """One model, data set, method and mode."""

    model: ModelSpec
    data: DataSpec
    method: MethodSpec
    mode: Mode

    @property
    def name(self) -> str:
        """How rows call it."""
        return "/".join((self.model.name, self.data.name, self.method.name, str(self.mode)))


@dataclass(frozen=True)
class Config:
    """A whole run. `marks`: shares of a sequence after which all its edits are measured again."""

    name: str
    models: tuple[ModelSpec, ...]
    data: tuple[DataSpec, ...]
    methods: tuple[MethodSpec, ...]
    modes: tuple[Mode, ...] = (Mode("single"),)
    seed: int = 0
    families: tuple[str, ...] = ("answers",)
    marks: tuple[float, ...] = MARKS

    def cells(self) -> Iterator[Cell]:
        """All cells, those of one model and data set together; nothing edited in sequence twice."""
        for model in self.models:
            for data in self.data:
                for mode in self.modes:
                    for method in self.methods:
                        if method.method != NONE or mode == self.modes[0]:
                            yield Cell(model, data, method, mode)

    def to_json(self) -> dict[str, Any]:
        """Plain values: all that decides what the rows hold."""
        files = {path: _sha256(Path(path)) for path in self._files()}
        return {**asdict(self), "modes": [str(mode) for mode in self.modes], "files": files}

    def _files(self) -> list[str]:
        named = [m.corpus for m in self.models]
        for data in self.data:
            named += [data.source, data.probes]
        return sorted({n for n in named if n is not None and not is_word(n)})

    def changed(
        self,
        *,
        limit: int | None = None,
        seed: int | None = None,
        model: Mapping[str, Any] | None = None,
        data: Path | None = None,
    ) -> Config:
        """With other values from a command line: `model` and `data` take the place of all."""
        models, sets = self.models, self.data
        if model:
            models = (replace(models[0], **model),)
            models = (replace(models[0], name=Path(models[0].base).name),)
        if data is not None:
            source = str(data.expanduser().absolute())
            sets = (replace(sets[0], name=data.stem, source=source),)
        if limit is not None:
            sets = tuple(replace(d, limit=limit) for d in sets)
        return replace(self, models=models, data=sets, seed=self.seed if seed is None else seed)


def settings_of(method: MethodSpec) -> Settings | None:
    """How it edits; None if it does not. Raises: InvalidHparams for a layer that is no rule."""
    if method.method == NONE:
        return None
    return Settings(method.method, method.layer, dict(method.set))


def differences(old: object, new: object, at: str = "") -> list[str]:
    """Where two stored configurations differ: 'methods[0].layer: 5 -> 6'."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted({*old, *new})
        found = (differences(old.get(k), new.get(k), f"{at}.{k}".lstrip(".")) for k in keys)
        return [line for lines in found for line in lines]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = zip(old, new, strict=True)
        return [d for i, (a, b) in enumerate(pairs) for d in differences(a, b, f"{at}[{i}]")]
    return [] if old == new else [f"{at}: {short(old)} -> {short(new)}"]


def short(value: object) -> str:
    """A value on one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_word(source: str) -> bool:
    """Whether a source or a set of probes is a name of this program or of the Hub, and no file."""
    return source == "pool" or source.partition(":")[0] in {"demo", "hub"}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror or error}") from error
