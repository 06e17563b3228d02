"""What this machine and this ledger need to work, looked at and told.

Promise: every check ends in one line with a status and, unless it is ok, what to do; no check
changes a ledger (only the dates of a checked base are kept in its cache), asks the Hub anything, or
shows a token.

Rules: what is broken is told, never met: nothing beyond the standard library is imported before its
turn. A problem is what stops kel or this ledger from working here; a note is what some commands
would miss. What the package needs is read from its own installed metadata.

    view = examine(None)
    view.ok, [check.name for check in view.checks if check.status == "problem"]
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ledger import schema
from ledger.db import Database
from ledger.errors import LedgerError, NoLedger
from ledger.hub import configured
from ledger.layout import VARIABLE, LedgerFolder
from ledger.reader import Reader
from ledger.records import ModelRecord
from store.errors import StoreError
from store.layout import Layout

DISTRIBUTION: Final = "knowledge-edit-ledger"
OK: Final = "ok"
NOTE: Final = "note"
PROBLEM: Final = "problem"
EXTRAS: Final = MappingProxyType(
    {
        "web": "kel serve and kel user",
        "postgres": "the tables on a PostgreSQL server",
        "plots": "pictures: kel history plot, bench plot, trace, lens",
        "peft": "loading exported adapters in Python",
        "large": "a base spread over several devices (kel init --device auto)",
    }
)
SPREAD: Final = "auto"
LEAST_FREE: Final = 100_000_000
# What looking at a ledger may meet; ImportError because an installation may be what is broken.
_FAILURES: Final = (LedgerError, StoreError, OSError, ImportError)
_REQUIREMENT: Final = re.compile(r"([\w.-]+)(?:\[[\w,-]*\])?>=([\d.]+)(?:; extra == \"(\w+)\")?")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `todo` is empty if nothing has to be done."""

    name: str
    status: str
    found: str
    todo: str = ""


@dataclass(frozen=True)
class DoctorView:
    """All checks; `ok` if none is a problem."""

    ok: bool
    checks: tuple[Check, ...]


def examine(directory: Path | None) -> DoctorView:
    """Look at the environment, and at the ledger that commands given `directory` would use."""
    devices = _devices()
    checks = (*_program(), _device_check(devices), *_hub(), *_ledger(directory, devices))
    return DoctorView(all(found.status != PROBLEM for found in checks), checks)


# --- the program --------------------------------------------------------------------------------


def _program() -> Iterator[Check]:
    try:
        number, needed = metadata.version(DISTRIBUTION), metadata.requires(DISTRIBUTION) or []
        python = metadata.metadata(DISTRIBUTION)["Requires-Python"] or ""
    except metadata.PackageNotFoundError:
        todo = "install it: pip install . in the checkout"
        yield Check("kel", NOTE, "not installed, so what it needs is not known", todo)
        return
    yield Check("kel", OK, number)
    yield _version("python", platform.python_version(), python.removeprefix(">="), "install it")
    found = [match.groups() for match in map(_REQUIREMENT.match, needed) if match]
    for name, least, extra in found:
        if extra is None:
            yield _version(name, _installed(name), least, f"pip install '{name}>={least}'")
    for extra in EXTRAS:
        yield _extra(extra, {name: least for name, least, of in found if of == extra})


def _version(name: str, installed: str | None, least: str, todo: str) -> Check:
    """A package that kel cannot do without."""
    if installed is None:
        return Check(name, PROBLEM, f"missing; {least} or newer is needed", todo)
    status = OK if _numbers(installed) >= _numbers(least) else PROBLEM
    found = f"{installed} ({least} or newer is needed)"
    return Check(name, status, found, "" if status == OK else todo)


def _extra(extra: str, needed: Mapping[str, str]) -> Check:
    """An optional part: there if all of its packages are, new enough."""
    name, use = f"extra {extra}", EXTRAS[extra]
    todo = f"if you need it: pip install '{DISTRIBUTION}[{extra}]'"
    if not needed:
        return Check(name, NOTE, f"unknown to the installed kel; {use}", "install kel again")
    installed = {package: _installed(package) for package in needed}
    lacking = [
        f"{package} is missing" if have is None else f"{package} {have} is below {needed[package]}"
        for package, have in installed.items()
        if have is None or _numbers(have) < _numbers(needed[package])
    ]
    if lacking:
        return Check(name, NOTE, f"{', '.join(lacking)}; {use}", todo)
    there = ", ".join(f"{package} {have}" for package, have in installed.items())
    return Check(name, OK, f"{there}; {use}")


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    """'2.13.0+cpu' as [2, 13]: the release without its trailing zeros."""
    release = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in release[0].split(".")] if release else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


# --- the machine --------------------------------------------------------------------------------


def _devices() -> Mapping[str, str] | str:
    """Where can be computed: name -> what it is; or why torch cannot be used."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return " ".join(str(error).split())
    found = {"cpu": f"{torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{device.name}, {device.total_memory / 1e9:.0f} GB"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    if torch.version.cuda and len(found) == 1:
        found["cpu"] += f"; torch is built for CUDA {torch.version.cuda} and finds no GPU"
    return found


def _device_check(devices: Mapping[str, str] | str) -> Check:
    if isinstance(devices, str):
        return Check("device", PROBLEM, f"torch cannot be used ({devices})", "install torch again")
    told = "; ".join(f"{name} ({what})" for name, what in devices.items())
    if "finds no GPU" in devices["cpu"]:
        todo = "if there is one, nvidia-smi has to show it, its driver new enough for this torch"
        return Check("device", NOTE, told, todo)
    return Check("device", OK, told)


def _hub() -> Iterator[Check]:
    try:
        token, offline = configured()
    except (LedgerError, ImportError) as error:
        yield Check("hub token", PROBLEM, str(error), "see to that; it is needed to use the Hub")
        return
    todo = "for private or gated models and kel push: hf auth login, or HF_TOKEN"
    if token:
        yield Check("hub token", OK, "configured (not shown)")
    else:
        yield Check("hub token", NOTE, "none", todo)
    if offline:
        todo = "unset it to download a base, to push or to pull"
        yield Check("hub access", NOTE, "HF_HUB_OFFLINE is set: nothing is asked of the Hub", todo)
    else:
        yield Check("hub access", OK, "HF_HUB_OFFLINE is not set (the network was not tried)")


# --- the ledger ---------------------------------------------------------------------------------


def _ledger(directory: Path | None, devices: Mapping[str, str] | str) -> Iterator[Check]:
    try:
        folder = LedgerFolder.find(directory)
    except NoLedger as error:
        named = directory is not None or os.environ.get(VARIABLE)
        yield Check("ledger", PROBLEM if named else NOTE, str(error), "kel init, or --ledger DIR")
        return
    yield Check("ledger", OK, str(folder.root))
    yield _writable(folder)
    record = None
    try:
        record = yield from _database(folder)
    except _FAILURES as error:
        yield Check("database", PROBLEM, str(error), "see to that, then kel db check")
    if record is not None:
        yield _base(folder, record)
        yield _computes(record, devices)
    yield _disk(folder, record)


def _writable(folder: LedgerFolder) -> Check:
    layout = Layout(folder.objects_root)
    places = (folder.root, layout.objects, layout.tmp, folder.file)
    shut = [place for place in places if place.exists() and not os.access(place, os.W_OK)]
    if shut:
        todo = "give yourself the right to write there; reading works without it"
        return Check("store", PROBLEM, f"{shut[0]} cannot be written", todo)
    return Check("store", OK, f"{layout.objects} can be written")


def _database(folder: LedgerFolder) -> Generator[Check, None, ModelRecord | None]:
    """The base's record, if the schema is this program's."""
    from ledger.moving import look

    view = look(folder.database)
    told = f"{view.place}, schema {view.schema}, entries: {view.entries}"
    if not schema.check(view.schema, view.place):
        todo = "kel db upgrade; a file is copied aside first"
        yield Check("database", NOTE, f"{told}; {schema.CURRENT} is the newest", todo)
        return None
    database = Database.reachable(folder.database)
    try:
        record = Reader(database).model()
    finally:
        database.close()
    yield Check("database", OK, told)
    return record


def _base(folder: LedgerFolder, record: ModelRecord) -> Check:
    """As computing commands find and check it, but for the download."""
    try:
        from ledger.base import EMBEDDED, check, demo_folder

        embedded = record.base_id in EMBEDDED
        place = demo_folder(record.base_id) if embedded else folder.base_place()
        place = place or Path(record.path)
        if record.revision is not None and not place.is_dir():
            todo = "the next command that computes fetches it from the Hub"
            return Check("base", NOTE, f"{record.base_id} is not in {place}", todo)
        check(record.config["files"], place, cache=folder.cache / "base.json")
    except _FAILURES as error:
        return Check("base", PROBLEM, str(error), "see to that, then kel verify --weights")
    return Check("base", OK, f"{record.base_id} in {place}, unchanged")


def _computes(record: ModelRecord, devices: Mapping[str, str] | str) -> Check:
    """Whether the ledger's device is here; the device of a ledger is fixed when it is made."""
    device, name = record.device or "cpu", "ledger device"
    if device == SPREAD and _installed("accelerate") is None:
        return Check(name, PROBLEM, "auto needs accelerate", f"pip install '{DISTRIBUTION}[large]'")
    kind = device.partition(":")[0]
    here = {SPREAD, "cpu", *devices, *(found.partition(":")[0] for found in devices)}
    if isinstance(devices, str) or device in here or kind == "cpu":
        return Check(name, OK, device)
    todo = "edit, test and ask on a machine that has it; reading, revert and export work here"
    return Check(name, PROBLEM, f"{device}, which this machine has not", todo)


def _disk(folder: LedgerFolder, record: ModelRecord | None) -> Check:
    free = shutil.disk_usage(folder.root).free
    files = record.config["files"].values() if record is not None else ()
    base, told = sum(int(entry["size"]) for entry in files), f"{free / 1e9:.1f} GB free"
    if free < LEAST_FREE:
        return Check("disk", PROBLEM, told, f"make room: at least {LEAST_FREE / 1e6:.0f} MB")
    if free < base:
        todo = "export elsewhere, or make room"
        return Check("disk", NOTE, f"{told}, less than the base's {base / 1e9:.1f} GB", todo)
    return Check("disk", OK, told)
