"""The manifest of a release, `kel.json`: what it says, how it is written and read.

Promise: reading refuses anything that is not a manifest of this schema, whatever its bytes are;
the same release gives the same bytes.
Rules: a manifest lists every other file of its folder with size and sha256; names of files are
relative, with slashes, and lead nowhere else.

    manifest = read_manifest(Path("merged"))
    manifest["form"], manifest["facts"][0]["hash"]
    anchor_of(Path("merged"))                       # (41, '9f3c...'): the entry it names
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

from ledger import merkle
from ledger.errors import InvalidInput
from store.canonical import strict_json
from store.errors import CanonicalError, reading

MANIFEST: Final = "kel.json"
CARD: Final = "README.md"
SCHEMA: Final = "kel.release/1"
FORMS: Final = ("merged", "adapter", "bundle")
# What the Hub and git add to a folder that is a copy of a repository.
BESIDE: Final = (".gitattributes", ".git", ".cache")
MOST_FILES: Final = 100_000
MOST_BYTES: Final = 64_000_000  # of the manifest itself
_SHA: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+ -]{0,199}(?<![. ])")
_FIELDS: Final = {
    "version": int,
    "entry": dict,
    "base": dict,
    "weights_digest": str,
    "tensors": dict,
    "facts": list,
    "methods": list,
    "measured": dict,
    "merkle_root": str,
    "private": bool,
    "form": str,
    "files": dict,
}
Json = dict[str, Any]


def write_manifest(manifest: Mapping[str, Any]) -> bytes:
    """The one text of a manifest."""
    text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True)
    return f"{text}\n".encode()


def read_manifest(release: Path) -> Json:
    """The manifest of an exported folder, or a `kel.json` by itself.

    Raises: InvalidInput if it is none, or names files outside of its folder.
    """
    with _refusing(release) as data:
        return parse_manifest(data)


def parse_manifest(data: bytes) -> Json:
    """The manifest that these bytes are. Raises: InvalidInput, CanonicalError (a ValueError)."""
    manifest = strict_json(data)
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise InvalidInput(f"it has not the schema {SCHEMA}")
    for name, kind in _FIELDS.items():
        if type(manifest.get(name)) is not kind:
            raise InvalidInput(f"its field {name!r} is missing or of another type")
    if manifest["form"] not in FORMS:
        raise InvalidInput(f"its form {manifest['form']!r:.40} is none of {', '.join(FORMS)}")
    try:
        same = write_manifest(manifest) == data
    except UnicodeEncodeError:  # a lone surrogate
        same = False
    if not same:
        raise InvalidInput("it is not written as this program writes it")
    _check_values(manifest)
    return manifest


def anchor_of(release: Path) -> tuple[int, str]:
    """Number and hash of the entry that an exported folder or its `kel.json` names.

    Raises: InvalidInput if it is no export.
    """
    with _refusing(release) as data:
        manifest = strict_json(data)
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            raise InvalidInput(f"it has not the schema {SCHEMA}")
        return _entry(manifest)


@contextmanager
def _refusing(release: Path) -> Iterator[bytes]:
    """The bytes of a manifest; what is wrong with them is said with its place."""
    path = release / MANIFEST if release.is_dir() else release
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InvalidInput(f"it has more than {MOST_BYTES} bytes")
        yield path.read_bytes()
    except (OSError, CanonicalError, InvalidInput) as error:
        raise InvalidInput(f"{path} is no manifest of an export ({error})") from error


def listing(folder: Path, known: Mapping[str, str] | None = None) -> dict[str, Json]:
    """Every file below `folder` but the manifest: name -> size and sha256.

    `known` are hashes that need not be computed again. Raises: StoreReadError.
    """
    given = known or {}
    return {
        name: {
            "size": (folder / name).stat().st_size,
            "sha256": given[name] if name in given else sha256_of(folder / name),
        }
        for name in sorted(names(folder))
        if name != MANIFEST
    }


def names(folder: Path) -> Iterator[str]:
    """Names of all files below `folder`, whatever kind they are, with slashes."""
    for place, folders, files in os.walk(folder):
        linked = [name for name in folders if Path(place, name).is_symlink()]
        for name in (*files, *linked):
            yield Path(place, name).relative_to(folder).as_posix()


def sha256_of(path: Path) -> str:
    """sha256 of a file, read in chunks. Raises: StoreReadError."""
    with reading("file", path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_values(manifest: Json) -> None:
    _entry(manifest)
    base = manifest["base"]
    if not all(isinstance(base.get(name), str) for name in ("id", "dtype", "digest", "model_type")):
        raise InvalidInput("its base has not the fields of a base")
    if not isinstance(base.get("revision"), str | None):
        raise InvalidInput("the revision of its base is no text")
    hashes = [fact.get("hash") if isinstance(fact, dict) else None for fact in manifest["facts"]]
    if not all(map(_is_sha, [*hashes, *manifest["tensors"].values(), base["digest"]])):
        raise InvalidInput("a fact, a tensor or the base has no sha256")
    if merkle.root([str(leaf) for leaf in hashes]) != manifest["merkle_root"]:
        raise InvalidInput("its Merkle root is not that of its facts")
    _check_files(manifest["files"])


def _entry(manifest: Json) -> tuple[int, str]:
    entry = manifest.get("entry")
    if not isinstance(entry, dict) or type(entry.get("seq")) is not int:
        raise InvalidInput("its entry has no number")
    if not _is_sha(entry.get("hash")):
        raise InvalidInput("its entry has no hash")
    return entry["seq"], entry["hash"]


def _check_files(files: Json) -> None:
    if len(files) > MOST_FILES:
        raise InvalidInput(f"it lists {len(files)} files, at most {MOST_FILES} are read")
    seen: set[str] = set()
    for name, entry in files.items():
        parts = PurePosixPath(name).parts
        if "/".join(parts) != name or not parts or not all(map(_NAME.fullmatch, parts)):
            raise InvalidInput(f"{name!r:.80} cannot be the name of a file of a release")
        if name.casefold() in seen or name == MANIFEST:
            raise InvalidInput(f"{name!r:.80} stands for two files")
        seen.add(name.casefold())
        if not isinstance(entry, dict) or set(entry) != {"size", "sha256"}:
            raise InvalidInput(f"{name!r:.80} has not exactly size and sha256")
        if type(entry["size"]) is not int or entry["size"] < 0 or not _is_sha(entry["sha256"]):
            raise InvalidInput(f"{name!r:.80} has no size and sha256")


def _is_sha(value: object) -> bool:
    return isinstance(value, str) and _SHA.fullmatch(value) is not None
