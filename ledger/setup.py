"""Starting a ledger: pin the base, fix the random probes, write the first entry.

Promise: the folder becomes a ledger with its first entry in it, or stays as it was.

    create(Path("patched"), base="demo", revision=None, dtype=None, device="cpu", probes=None,
           author="ada", seed=0)
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ledger.address import checked_address
from ledger.base import EDITABLE, EMBEDDED, Base, identify, locate
from ledger.chain import weights_digest
from ledger.db import Database
from ledger.errors import Conflict, InvalidInput
from ledger.journal import Journal
from ledger.layout import LedgerFolder
from ledger.records import ModelRecord, Rows
from store.atomic import write_file
from store.objects import ObjectStore

if TYPE_CHECKING:
    from editors.architectures import Architecture
    from ledger.demo.world import WorldFact

Probes: TypeAlias = Sequence[Mapping[str, str | None]]
RANDOM_PROBES = 100
SPREAD = "auto"
_DEVICES = ("cpu", "cuda", "mps")


def create(
    directory: Path,
    *,
    base: str,
    revision: str | None,
    dtype: str | None,
    device: str,
    probes: Path | Probes | None,
    author: str,
    seed: int,
    chat_template: bool = False,
    database: str | None = None,
    payload: Mapping[str, Any] | None = None,
) -> LedgerFolder:
    """Make `directory` a ledger, its tables in a file there or on the server of `database`.

    `payload` is that of its first entry.

    Raises: Conflict if it is one; InvalidInput, CheckpointError, UnsupportedModel for a base that
    cannot be edited; RemoteFailure.
    """
    folder = LedgerFolder(Path(directory).expanduser().absolute())
    if folder.root.exists() and not folder.root.is_dir():
        raise InvalidInput(f"{folder.root} is a file; a ledger is a folder, choose another name")
    if folder.is_ledger:
        raise Conflict(f"{folder.root} is a ledger already; open it, or choose another folder")
    url = None if database is None else checked_address(database)
    compute = _compute_dtype(dtype, device)
    found = identify(locate(base, revision=revision))
    architecture = _check_model(found)
    config = {
        "compute_dtype": compute or found.dtype,
        "files": {name: dict(entry) for name, entry in found.files.items()},
        "seed": seed,
        "probes": _probes(found.id, probes, seed),
    }
    if architecture.assumed is not None:
        config["assumed"] = architecture.assumed
    if chat_template:
        config["chat"] = _frame(found)
    made = _missing(folder.root)
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        _write(folder, url, _record(found, config, device), author, payload or {})
    except BaseException:
        for path in made:
            shutil.rmtree(path, ignore_errors=True)
        raise
    return folder


def _record(base: Base, config: dict[str, Any], device: str) -> ModelRecord:
    return ModelRecord(
        base_id=base.id,
        revision=base.revision,
        path=str(base.folder),
        dtype=base.dtype,
        device=device,
        model_type=base.model_type,
        base_digest=base.digest,
        config=config,
    )


def _write(
    folder: LedgerFolder,
    url: str | None,
    record: ModelRecord,
    author: str,
    payload: Mapping[str, Any],
) -> None:
    try:
        database = Database.create(url or folder.file)
        try:
            Journal(database, ObjectStore(folder.objects_root)).append(
                "init",
                rows=Rows(model=record),
                weights_digest=weights_digest(record.base_digest, {}),
                tensors={},
                payload=payload,
                author=author,
            )
        finally:
            database.close()
        if url is not None:
            write_file(folder.address, f"{url}\n".encode(), mode=0o600)
    except BaseException:
        for suffix in ("", "-wal", "-shm"):
            folder.file.with_name(folder.file.name + suffix).unlink(missing_ok=True)
        raise


def _missing(root: Path) -> list[Path]:
    """The topmost folder that would have to be made, if any."""
    missing = [path for path in (root, *root.parents) if not path.exists()]
    return missing[-1:]


def _compute_dtype(dtype: str | None, device: str) -> str | None:
    """What the model computes in; None: as stored."""
    if dtype is not None and dtype not in EDITABLE.values():
        raise InvalidInput(f"dtype {dtype!r} is not one of {', '.join(EDITABLE.values())}")
    import torch

    if device == SPREAD:
        return dtype or (None if torch.cuda.is_available() else "float32")
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InvalidInput(f"{device!r} is not a device: use cpu, cuda, cuda:N or auto") from error
    if kind not in _DEVICES:
        raise InvalidInput(f"{device!r} is not a device that can be used: {', '.join(_DEVICES)}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InvalidInput(f"--device {device}: this machine has no usable CUDA device")
    return dtype or ("float32" if kind == "cpu" else None)


def _check_model(base: Base) -> Architecture:
    """Refuse what cannot be edited before anything is written."""
    from editors.architectures import architecture_in

    architecture = architecture_in(base.folder)
    if not any((base.folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise InvalidInput(f"{base.folder} has no tokenizer (tokenizer.json); add it to the folder")
    return architecture


def _frame(base: Base) -> dict[str, str]:
    """What the base's chat template puts around a prompt, fixed from here on."""
    from editors.chat import frame_of
    from editors.loading import read_tokenizer

    return frame_of(read_tokenizer(base.folder)).to_json()


def _probes(base_id: str, given: Path | Probes | None, seed: int) -> Probes:
    """The fixed random probes: a file's, these, the embedded world's, or the general list."""
    if isinstance(given, Path):
        return _read_probes(given)
    if given is not None:
        return given
    if base_id in EMBEDDED:
        return [{"prompt": f.text, "answer": f.target_true} for f in world_probes(seed)]
    general = files("ledger.evaluation").joinpath("probes.txt").read_text("utf-8")
    return [{"prompt": line, "answer": None} for line in general.splitlines() if line]


def world_probes(seed: int) -> list[WorldFact]:
    """The facts of the embedded model that a ledger with this seed asks after every edit."""
    from ledger.demo.world import build_world

    return random.Random(seed).sample(build_world().facts, RANDOM_PROBES)  # noqa: S311


def _read_probes(path: Path) -> list[dict[str, str | None]]:
    """Prompts of a file, one a line: plain text, or JSON with prompt and answer."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the probes {path}: {error}") from error
    found: list[dict[str, str | None]] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            found.append(_probe(line.strip(), f"{path}, line {number}"))
    if not found:
        raise InvalidInput(f"{path} holds no probes")
    prompts = [probe["prompt"] for probe in found]
    if len(set(prompts)) != len(prompts):
        raise InvalidInput(f"{path} asks the same prompt twice")
    return found


def _probe(line: str, place: str) -> dict[str, str | None]:
    from editors.errors import InvalidRequest
    from editors.requests import Probe

    record: Any = {"prompt": line}
    if line.startswith("{"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{place}: not JSON ({error})") from error
    if "prompt" not in record:
        raise InvalidInput(f"{place}: misses the field 'prompt'")
    try:
        probe = Probe(record["prompt"], record.get("answer"))
    except InvalidRequest as error:
        raise InvalidInput(f"{place}: {error}") from error
    return {"prompt": probe.prompt, "answer": probe.answer}
