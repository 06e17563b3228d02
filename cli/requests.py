"""What the options of edits say, as values of the ledger.

Promise: an option that cannot be understood is a usage error that names it.
Rules: values are checked by the classes of the ledger; here they are only taken apart.

    LAYER.convert("layerwise:2-6", None, None)  # a number stays a number
    SIZE.convert("5GB", None, None)             # 5000000000
    probe("The capital of France is=Paris")     # {'prompt': ..., 'answer': 'Paris'}
    assignments(["steps=25", "clamp=0.5"])      # {'steps': 25, 'clamp': 0.5}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import click

from cli.invocation import Callback

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9}(?= ?[KMGT]))?) ?(B|[KMGT]I?B)?")
_UNITS = MappingProxyType(
    {"B": 1}
    | {f"{name}B": 1000**power for power, name in enumerate("KMGT", start=1)}
    | {f"{name}IB": 1024**power for power, name in enumerate("KMGT", start=1)}
)


class Layer(click.ParamType[int | str]):
    """A layer's number, or the name of a rule, which the ledger knows."""

    name = "layer"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Digits as a number; a text as it is if it begins as a name does."""
        text = str(value)
        if text.isdecimal() and len(text) < 10:
            return int(text)
        if not text[:1].isalpha():
            self.fail(f"{text!r} is neither the number of a layer nor a rule.", param, ctx)
        return text


LAYER = Layer()


class Size(click.ParamType[int]):
    """A number of bytes: digits, or a number with a unit as transformers takes it."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """'5GB' is 5 * 10**9, '5GiB' 5 * 2**30; without a unit bytes."""
        found = _SIZE.fullmatch(str(value).strip().upper())
        size = int(float(found[1]) * _UNITS[found[2] or "B"]) if found else 0
        if not 1 <= size < 2**63:
            self.fail(f"{value!r} is no size: write it as 500MB, 5GB or 4GiB.", param, ctx)
        return size


SIZE = Size()


class DataFile(click.Path):
    """A file of records that is here, or `hub:owner/name/path`, which the ledger gets."""

    name = "file"

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A path that exists, or the name as it is."""
        if isinstance(value, str) and value.startswith("hub:"):
            return value
        return super().convert(value, param, ctx)


DATA_FILE = DataFile()


def probe(text: str) -> dict[str, str | None]:
    """'PROMPT=ANSWER' or 'PROMPT', split at the last '='."""
    prompt, equals, answer = text.rpartition("=")
    if not equals:
        return {"prompt": text, "answer": None}
    if not prompt.strip() or not answer.strip():
        raise click.UsageError(f"probe {text!r}: write it as PROMPT=ANSWER.")
    return {"prompt": prompt.rstrip(), "answer": answer.strip()}


def assignments(texts: Iterable[str]) -> dict[str, object]:
    """'NAME=VALUE's; a value that is JSON (number, true, null, list) is read as such."""
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise click.UsageError(f"--set {text!r}: write it as NAME=VALUE.")
        if name in found:
            raise click.UsageError(f"--set {name} is given twice.")
        found[name] = _value(value.strip())
    return found


def single(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of one request; raises UsageError where a part of the fact is missing."""
    missing = [f"--{name}" for name in ("subject", "prompt", "target") if options[name] is None]
    if missing:
        raise click.UsageError(f"Missing {', '.join(missing)} (or --from FILE).")
    return {
        "subject": options["subject"],
        "prompt": options["prompt"],
        "target_new": options["target"],
        "target_true": options["target_true"],
        "paraphrases": options["paraphrase"],
        "neighbourhood": tuple(probe(text) for text in options["neighbour"]),
        "same_subject": tuple(probe(text) for text in options["same_subject"]),
        "portability": tuple(_answered(text) for text in options["portability"]),
        **{name: options[name] for name in ("valid_from", "valid_until", "source")},
    }


def gate_options(function: Callback) -> Callback:
    """The limits of the gate, as `limits` reads them."""
    for option in (
        click.option("--no-gate", is_flag=True, help="Apply it whatever the measurements say."),
        click.option("--max-broken", metavar="N", type=click.IntRange(min=0),
                     help="Gate: how many earlier edits may stop holding."),
        click.option("--min-locality", metavar="X", type=click.FloatRange(0, 1),
                     help="Gate: least share of unchanged neighbours."),
        click.option("--min-reliability", metavar="X", type=click.FloatRange(0, 1),
                     help="Gate: least accuracy of the edit itself."),
    ):  # fmt: skip
        function = option(function)
    return function


def limits(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The limits of the gate that were given; None for --no-gate."""
    given = {
        name: options[name]
        for name in ("min_reliability", "min_locality", "max_broken")
        if options[name] is not None
    }
    if options["no_gate"]:
        if given:
            flag = "--" + next(iter(given)).replace("_", "-")
            raise click.UsageError(f"--no-gate and {flag} exclude each other.")
        return None
    return given


def _answered(text: str) -> dict[str, str | None]:
    found = probe(text)
    if found["answer"] is None:
        raise click.UsageError(f"--portability {text!r} needs an answer: write PROMPT=ANSWER.")
    return found


def _value(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
