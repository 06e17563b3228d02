"""The only place that prints.

Promise: data goes to standard output, notes, progress and failures to standard error; only lines,
never a control character of a text, reach either; nothing is coloured unless it is a terminal and
NO_COLOR is not set; a reader that went away is `OutputClosed`, not a traceback.
Rules: a line is made of parts that are escaped here, so that no caller can forget it.

    output = Output()
    output.line("version ", Span("3", "bold"))
    output.note("written to out/")
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

import click

from cli.errors import OutputClosed
from cli.layout import Table
from cli.text import Line, Part, Span, escape

if TYPE_CHECKING:
    from ledger.retests import Retest

_CODES = MappingProxyType({"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"})
Item = Line | Table


class Output:
    """Standard output and standard error of one command."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar: Progress | None = None

    def show(self, items: Iterable[Item]) -> None:
        """Lines and tables, in order, to standard output."""
        limit = _columns(sys.stdout)
        for item in items:
            for line in item.lines(limit) if isinstance(item, Table) else (item,):
                self.line(*line)

    def line(self, *parts: Part) -> None:
        """One line to standard output."""
        self._write(_rendered(parts, sys.stdout), sys.stdout)

    def raw(self, text: str) -> None:
        """Text made by this program (help, JSON), as it is, to standard output."""
        self._write(text, sys.stdout)

    def note(self, *parts: Part) -> None:
        """One line for people to standard error; nothing with --quiet."""
        if not self.quiet:
            self._write(_rendered(parts, sys.stderr), sys.stderr)

    def failure(self, *lines: str) -> None:
        """Lines that must be seen, to standard error."""
        for text in lines:
            self._write(_rendered((text,), sys.stderr), sys.stderr)

    def piece(self, part: Part) -> None:
        """A piece of a text that goes on, to standard output; line breaks stay."""
        lines = part.split("\n") if isinstance(part, str) else [part]
        text = "\n".join(_styled(line, _colourful(sys.stdout)) for line in lines)
        self._write(text, sys.stdout, end=False)

    @property
    def interactive(self) -> bool:
        """Whether somebody types at a terminal."""
        return sys.stdin.isatty()

    def asked(self, prompt: str) -> str | None:
        """The next line of standard input without its end; None at the end of it.

        The prompt is shown on a terminal only.
        """
        if self.interactive:
            self._write(escape(prompt), sys.stderr, end=False)
        line = sys.stdin.readline()
        return line.rstrip("\r\n") if line else None

    @contextlib.contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Progress]:
        """A bar on standard error while the block runs; `total` steps, or a share of one."""
        with Progress(label, total, hidden=True if self.quiet else None) as bar:
            self._bar = bar
            try:
                yield bar
            finally:
                self._bar = None

    def _write(self, text: str, stream: TextIO, *, end: bool = True) -> None:
        encoding = getattr(stream, "encoding", None) or "utf-8"
        safe = text.encode(encoding, "backslashreplace").decode(encoding)
        with self._bar.aside() if self._bar else contextlib.nullcontext():
            try:
                # Flushes, so that a failure shows here.
                click.echo(safe, file=stream, nl=end, color=True)
            except BrokenPipeError as error:
                raise OutputClosed from error


class Progress:
    """A progress bar; shown on a terminal only. `hidden` None means: decide by the terminal."""

    def __init__(self, label: str, total: int | None, *, hidden: bool | None) -> None:
        self._label, self._total, self._hidden = label, total, hidden
        self._bar: Any = None

    def __enter__(self) -> Self:
        from tqdm import tqdm

        self._bar = tqdm(
            total=1.0 if self._total is None else self._total,
            desc=self._label,
            disable=self._hidden,
            leave=False,
            bar_format=None if self._total else "{desc} {percentage:3.0f}%|{bar}|",
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def stage(self, name: str, share: float) -> None:
        """What is being done, and how much of it is done (0..1)."""
        self._bar.set_description_str(f"{self._label}: {escape(name)}", refresh=False)
        if self._total is None:
            self._bar.n = min(max(share, 0.0), 1.0)
        self._bar.refresh()

    def done(self, name: str, steps: int, total: int) -> None:
        """What was done last, and how many steps are, of a number known only now."""
        self._bar.total = total
        self._bar.set_description_str(f"{self._label}: {escape(name)}", refresh=False)
        self._bar.update(steps - self._bar.n)

    def retest(self, found: Retest) -> None:
        """An earlier edit that was measured again."""
        self.stage(f"edit {found.edit} {found.verdict}", found.share)

    def advance(self) -> None:
        """One of the `total` steps is done."""
        self._bar.update(1)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar off the screen while a line is written."""
        self._bar.clear()
        yield
        self._bar.refresh()


def _rendered(parts: Iterable[Part], stream: TextIO) -> str:
    colour = _colourful(stream)
    return "".join(_styled(part, colour) for part in parts).rstrip(" ")


def _styled(part: Part, colour: bool) -> str:
    if isinstance(part, str):
        return escape(part)
    code = _CODES.get(part.style) if colour else None
    text = escape(part.text)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def _colourful(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _columns(stream: TextIO) -> int | None:
    return shutil.get_terminal_size().columns if stream.isatty() else None


__all__ = ["Item", "Output", "Progress", "Span"]
