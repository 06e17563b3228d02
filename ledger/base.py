"""The base checkpoint: where it lies, what it is, and whether it still is that.

Promise: a ledger computes on the very weights it was made for, or refuses before computing.

Rules: a base is named `demo` (or `demo-gpt2`, its twin), by a Hub id (pinned to a commit) or by a
folder; its digest covers every weight file and the files that give the weights a meaning (config,
tokenizer). Files are hashed in full once; later their size, times and inode tell whether they must
be hashed again, and each tensor that is folded is checked by itself whatever the file's date says.
The name of a blob in a Hub cache is believed to be its sha256 until the file is seen to have
changed.

    base = identify(locate("demo", revision=None))
    base.digest, base.dtype                 # '5f0c...', 'bfloat16'
    check(base.files, base.folder, cache=folder / "cache" / "base.json")
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ledger.chain import digest
from ledger.errors import BaseMismatch, InvalidInput
from ledger.records import ModelRecord
from store.atomic import write_file
from store.canonical import canonical_json
from store.checkpoints import Checkpoint

DEMO = "demo"
# Bases that come with the program, which are always there, and their folders.
EMBEDDED: Final = MappingProxyType({DEMO: "model", "demo-gpt2": "model-gpt2"})
MEANING = (
    *(
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    ),
    *("vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
)
EDITABLE = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_SPEC_LIMIT = 1000
Files = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Located:
    """A base found on this machine."""

    id: str
    revision: str | None
    folder: Path


@dataclass(frozen=True)
class Base:
    """An identified base. `dtype` is that of most of its weights: float32, bfloat16 or float16."""

    id: str
    revision: str | None
    folder: Path
    dtype: str
    model_type: str
    digest: str
    files: Files


def demo_folder(name: str = DEMO) -> Path:
    """A checkpoint that is shipped with the program."""
    return Path(__file__).parent / "demo" / EMBEDDED[name]


def locate(spec: str, *, revision: str | None) -> Located:
    """Find the base that `spec` names, downloading it from the Hub if that is what it means.

    Raises: InvalidInput for a name that is nothing, RemoteFailure if the Hub does not deliver.
    """
    if not 0 < len(spec) <= _SPEC_LIMIT:
        raise InvalidInput(f"a base is named by 1 to {_SPEC_LIMIT} characters, not {len(spec)}")
    folder = _folder(spec)
    if spec in EMBEDDED or folder.is_dir():
        if revision is not None:
            raise InvalidInput(f"--revision goes with a Hub id, and {spec!r} is a local folder")
        found = demo_folder(spec) if spec in EMBEDDED else folder.resolve()
        return Located(spec if spec in EMBEDDED else str(found), None, found)
    if folder.exists() or spec.startswith(("/", ".", "~")):
        raise InvalidInput(f"{spec} is not a folder with a model")
    from ledger.hub import snapshot

    commit, path = snapshot(spec, revision)
    return Located(spec, commit, path)


def _folder(spec: str) -> Path:
    try:
        return Path(spec).expanduser()
    except RuntimeError as error:
        raise InvalidInput(f"{spec!r} names the home of nobody: {error}") from error


def find_again(record: ModelRecord, place: Path | None) -> Path:
    """The folder of a base that was located before.

    It is `place` if that is known, else where it was when it was recorded, else found by its name.
    Raises: BaseMismatch, RemoteFailure.
    """
    recorded = place or Path(record.path)
    if record.base_id not in EMBEDDED and recorded.is_dir():
        return recorded
    if record.base_id not in EMBEDDED and record.revision is None:
        raise BaseMismatch(
            f"the base folder {recorded} is gone; bring it back to that place, or say where it "
            "lies now with `kel repair --base DIR`"
        )
    return locate(record.base_id, revision=record.revision).folder


def identify(located: Located) -> Base:
    """Hash the base's files and read what it is.

    Raises: CheckpointError for a folder without safetensors, InvalidInput for a quantised model or
    one whose weights have no editable dtype.
    """
    checkpoint = Checkpoint.open(located.folder)
    config = _config(located.folder)
    if checkpoint.quantised:
        raise InvalidInput(
            f"{located.id} is quantised; edits need the unquantised weights of the original model"
        )
    files = {
        path.name: {
            "size": path.stat().st_size,
            "sha256": checkpoint.file_digest(path, trust_hub_cache=True),
        }
        for path in _covered(checkpoint)
    }
    return Base(
        id=located.id,
        revision=located.revision,
        folder=located.folder,
        dtype=_dtype(checkpoint, located.id),
        model_type=str(config.get("model_type", "unknown")),
        digest=digest({name: entry["sha256"] for name, entry in files.items()}),
        files=files,
    )


def check(files: Files, folder: Path, *, cache: Path, trust_dates: bool = True) -> None:
    """Compare the files in `folder` with those recorded.

    `cache` keeps (size, times, inode) of files whose hash was right; without `trust_dates` every
    byte is read. Raises: BaseMismatch naming the first file that differs.
    """
    checkpoint = _open(files, folder)
    known = _read_cache(cache)
    seen: dict[str, list[int]] = {}
    for name, recorded in files.items():
        path = folder / name
        seen[name] = _stamp(path)
        if trust_dates and known.get(name) == seen[name]:
            continue
        believed = trust_dates and name not in known
        if checkpoint.file_digest(path, trust_hub_cache=believed) != recorded["sha256"]:
            raise BaseMismatch(_changed(name, folder))
    extra = {path.name for path in _covered(checkpoint)} - set(files)
    if extra:
        raise BaseMismatch(f"the base has a new file {min(extra)} in {folder}; remove it")
    if seen != known:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_file(cache, canonical_json(seen))


def _stamp(path: Path) -> list[int]:
    """What is another when the file is."""
    stat = path.stat()
    # Copying tools set the time of writing back; the time of change they cannot set.
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _changed(name: str, folder: Path) -> str:
    return (
        f"the base is not the one this ledger was made for: {name} in {folder} has other bytes "
        "(other weights, dtype or revision). Restore it, or start a ledger on the new base"
    )


def _open(files: Files, folder: Path) -> Checkpoint:
    if not folder.is_dir():
        raise BaseMismatch(f"the base folder {folder} is gone; bring it back")
    lost = [name for name in files if not (folder / name).is_file()]
    if lost:
        raise BaseMismatch(f"the base has lost {lost[0]} in {folder}; bring the file back")
    return Checkpoint.open(folder)


def _covered(checkpoint: Checkpoint) -> list[Path]:
    meaning = [checkpoint.folder / name for name in MEANING]
    return [*checkpoint.files(), *(path for path in meaning if path.is_file())]


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{folder} has no readable config.json: it is no model folder"
        ) from error
    if not isinstance(config, dict):
        raise InvalidInput(f"{folder / 'config.json'} is not a JSON object")
    return config


def _dtype(checkpoint: Checkpoint, name: str) -> str:
    bytes_of: Counter[str] = Counter()
    for entry in checkpoint.entries.values():
        bytes_of[entry.dtype] += entry.nbytes
    dtype = bytes_of.most_common(1)[0][0]
    if dtype not in EDITABLE:
        raise InvalidInput(
            f"{name} is stored as {dtype}; only float32, bfloat16 and float16 can be edited"
        )
    return EDITABLE[dtype]


def _read_cache(cache: Path) -> dict[str, list[int]]:
    try:
        found = json.loads(cache.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
