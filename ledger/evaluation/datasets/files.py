"""Reading files of records with bounded memory.

Promise: no more than one record and one block of the file are held at a time; a record longer than
RECORD_LIMIT is told and passed over; a file that is not the same at the end as it was at the
beginning is refused, whatever was read from it.
Rules: a `.json` file holds an array of records, any other file one JSON record a line, in UTF-8;
empty lines are skipped. `hub:owner/name/path` is a file of a data set on the Hub, with `@revision`
behind it one of that branch, tag or commit.

    for item in items(located("facts.jsonl")):
        item.place, item.value, item.fault         # 'line 1', {...}, None
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from ledger.errors import InvalidInput

HUB: Final = "hub:"
RECORD_LIMIT: Final = 8 << 20
_BLOCK: Final = 1 << 20
_SPACE: Final = " \t\r\n"
_EXPONENT: Final = 32


@dataclass(frozen=True)
class Fault:
    """Why a place of a file holds no record: a code of `BadRecord`, and a sentence."""

    code: str
    reason: str


@dataclass(frozen=True)
class Item:
    """What stands at a place of a file: a JSON value, or a fault."""

    place: str
    value: Any = None
    fault: Fault | None = None


def located(source: str | Path) -> Path:
    """Where the file is: a path as it is, a `hub:` name once it has been downloaded.

    Raises: InvalidInput for a name that cannot be one, RemoteFailure.
    """
    text = str(source)
    if not text.startswith(HUB):
        return Path(source)
    name, _, revision = text.removeprefix(HUB).partition("@")
    owner, _, rest = name.partition("/")
    repo, _, path = rest.partition("/")
    if not (owner and repo and path):
        raise InvalidInput(f"{text!r} names no file of the Hub: write hub:owner/name/path")
    from ledger.hub import dataset_file

    return dataset_file(f"{owner}/{repo}", path, revision or None)


def items(path: Path) -> Iterator[Item]:
    """Every record of a file, in order, parsed.

    Raises: InvalidInput if the file cannot be read, is no array where it should be one, or changes
    while it is read.
    """
    try:
        with path.open("rb") as file:
            before = _state(path, file)
            yield from _array(file, path) if path.suffix == ".json" else _lines(file)
            if _state(path, file) != before:
                raise InvalidInput(f"{path} was changed while it was read: read it again")
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror or error}") from error


def _state(path: Path, file: IO[bytes]) -> tuple[int, ...]:
    """What tells a file from a changed one, of the open file and of what its name stands for."""
    found = (os.fstat(file.fileno()), path.stat())
    return tuple(n for s in found for n in (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns))


# --- one record a line --------------------------------------------------------------------------


def _lines(file: IO[bytes]) -> Iterator[Item]:
    number = 0
    while line := file.readline(RECORD_LIMIT + 1):
        number += 1
        place = f"line {number}"
        if len(line) > RECORD_LIMIT:
            _skip_line(file, line)
            yield Item(place, fault=_too_long("line"))
        elif line.strip():
            yield _parsed(line, place)


def _skip_line(file: IO[bytes], piece: bytes) -> None:
    while piece and not piece.endswith(b"\n"):
        piece = file.readline(_BLOCK)


def _parsed(line: bytes, place: str) -> Item:
    try:
        return Item(place, json.loads(line.decode("utf-8")))
    except UnicodeDecodeError as error:
        return Item(place, fault=Fault("json", f"not UTF-8 ({error}); save the file as UTF-8"))
    except (ValueError, RecursionError) as error:
        return Item(place, fault=Fault("json", f"not JSON ({error}); one object a line"))


def _too_long(what: str) -> Fault:
    limit = RECORD_LIMIT >> 20
    return Fault("too_long", f"the {what} is longer than {limit} MiB, which no record is")


# --- an array -----------------------------------------------------------------------------------


def _array(file: IO[bytes], path: Path) -> Iterator[Item]:
    window = _Window(file, path)
    if window.next() != "[":
        raise InvalidInput(f"{path}: a .json file of requests holds a list of records")
    window.pass_over()
    number, more = 0, window.next() != "]"
    if not more:
        window.pass_over()
    while more:
        yield Item(f"record {number}", window.value())
        number += 1
        mark = window.next()
        if mark not in {",", "]"}:
            raise window.broken(f"record {number - 1} is followed by {mark or 'nothing'!r}")
        window.pass_over()
        more = mark == ","
    if rest := window.next():
        raise window.broken(f"{rest!r} follows the list")


class _Window:
    """The part of a file's text that is looked at: one value, or the block that it begins in."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._text, self._at, self._ended = "", 0, False

    def next(self) -> str:
        """The next character that is no space, not passed over; '' at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text) or not self._more(_BLOCK):
                return self._text[self._at : self._at + 1]

    def pass_over(self) -> None:
        """Go on behind that character."""
        self._at += 1

    def value(self) -> Any:
        """The JSON value that begins here; the file is read on until it is whole.

        Raises: InvalidInput if it never is; what follows it cannot be found then.
        """
        self.next()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                self._read_on(error)
                continue
            length = end - self._at
            if not (self._may_go_on(value, end) and self._more(_BLOCK)):
                self._at += length  # reading on moves the window to the value
                return value

    def _may_go_on(self, value: Any, end: int) -> bool:
        """Whether what was read may be the beginning of a longer number."""
        rest = self._text[end : end + _EXPONENT]
        number = isinstance(value, int | float) and len(rest) < _EXPONENT
        return not rest or (number and rest[0] not in f",]{_SPACE}")

    def _read_on(self, error: Exception) -> None:
        """Twice as much of a value that is not whole, up to the limit."""
        held = len(self._text) - self._at
        if held > RECORD_LIMIT:
            raise InvalidInput(f"{self._path}: {_too_long('record').reason}, or it is broken")
        if isinstance(error, RecursionError) or not self._more(max(_BLOCK, held)):
            raise self.broken(str(error)) from error

    def broken(self, why: str) -> InvalidInput:
        """The error of a file that is no array."""
        return InvalidInput(f"{self._path} is not UTF-8 JSON: {why}")

    def _more(self, size: int) -> bool:
        """Read on, and let go of what is behind; False at the end of the file."""
        if self._ended:
            return False
        data = self._file.read(size)
        self._ended = not data
        try:
            text = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise self.broken(str(error)) from error
        self._text, self._at = self._text[self._at :] + text, 0
        return bool(data)
