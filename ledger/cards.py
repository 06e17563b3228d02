"""The model card of a release: what it is based on, what it carries, how to check and use it.

Promise: a pure function of the manifest; texts of facts and names are data in it (YAML, Markdown
and HTML have no effect).

    model_card(manifest)
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_SPECIAL = str.maketrans({c: f"\\{c}" for c in r"\`*_{}[]<>()#+-.!|~$&:"})
_JOINERS = "\u200c\u200d"  # part of how Persian, Indic scripts and emoji are spelled
_HIDDEN = frozenset({"Cc", "Cf", "Cs"})
_COLUMNS = ("reliability", "generalization", "locality", "locality_random")
# The Hub knows finetune, adapter, merge and quantized; merge means several parents.
_RELATION = MappingProxyType({"merged": "finetune", "adapter": "adapter", "bundle": "adapter"})
_LIBRARY = MappingProxyType({"merged": "transformers", "adapter": "peft"})
_WHAT = MappingProxyType(
    {
        "merged": "Only the tensors listed in `kel.json` differ from the base; every other byte of "
        "the weights is the base's.",
        "adapter": "A PEFT LoRA adapter that holds the sum of the edits. Give every new version a "
        "name of its own when you serve it: engines cache by name.",
        "bundle": "The ledger itself: every entry, fact, measurement and stored change, without "
        "the base's weights.",
    }
)
_CUT = " The weight files are cut anew, with at most {most_bytes} bytes of tensors each."
_USE = MappingProxyType(
    {
        "merged": "Load this folder like any model of transformers.",
        "adapter": "Load the base in its own dtype, then this folder with "
        "`PeftModel.from_pretrained`. Unmerged, merged by PEFT and merged by kel are three models "
        "that differ in the last bits.",
        "bundle": "`kel import` (a folder) or `kel pull` (a repository) checks everything in it, "
        "makes a ledger of it and folds its weights again.",
    }
)
_LIMITS = (
    "An edit changes what the model says for its prompt and near paraphrases. Consequences of the "
    "fact are not edited with it, and the absence of side effects beyond the probes above is not "
    "shown. The changed weights themselves tell which subjects were edited to whoever compares "
    "them with the base, also where the facts are not listed."
)


def model_card(manifest: Mapping[str, Any]) -> str:
    """Markdown with YAML front matter that the Hub accepts."""
    base, facts, form = manifest["base"], manifest["facts"], manifest["form"]
    return "\n".join(
        [
            "---",
            *_front_matter(base, form),
            "---",
            "",
            f"# {_plain(str(base['id']))}, with {len(facts)} edited facts",
            "",
            f"Version {manifest['version']} of a knowledge-edit ledger. {_WHAT[form]}"
            + (_CUT.format(**manifest["sharding"]) if "sharding" in manifest else ""),
            "",
            f"- base: `{_code(base['id'])}`, revision `{_code(base['revision'] or 'none')}`, "
            f"{_code(base['dtype'])}, digest `{base['digest']}`",
            f"- weights digest: `{manifest['weights_digest']}`",
            f"- ledger entry: {manifest['entry']['seq']}, `{manifest['entry']['hash']}`",
            f"- Merkle root of the facts: `{manifest['merkle_root']}`",
            "",
            *_section("How to use it", [_USE[form]]),
            *_section("Facts carried", _facts(manifest)),
            *_section("Measurements", _measurements(manifest["measured"])),
            *_section("Methods", _methods(manifest["methods"])),
            *_section("How to check it", [_check(form)]),
            *_section("Limits", [_LIMITS]),
        ]
    )


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def _front_matter(base: Mapping[str, Any], form: str) -> list[str]:
    known = base["id"] if base["revision"] else None
    lines = [f"library_name: {_LIBRARY[form]}"] if form in _LIBRARY else []
    lines += ["pipeline_tag: text-generation"] if form in _LIBRARY else []
    if known:
        lines += [f"base_model: {json.dumps(known)}", f"base_model_relation: {_RELATION[form]}"]
    return [*lines, "tags:", "- knowledge-editing", "- kel"]


def _check(form: str) -> str:
    ledger = " Whoever has the ledger can fold the version again: `kel verify --weights`."
    return (
        "`kel verify-release` on this folder or repository needs the base and no ledger: it reads "
        "every file that `kel.json` lists, and compares digests and the base's bytes. The "
        "formats are described in docs/formats.md of kel." + ("" if form == "bundle" else ledger)
    )


def _facts(manifest: Mapping[str, Any]) -> list[str]:
    facts, private = manifest["facts"], manifest["private"]
    if not facts:
        return ["None: these are the base's weights."]
    # Columns that no fact fills are left out.
    more = [name for name in ("valid", "source") if any(map(_MORE[name], facts))]
    named = ["hash"] if private else ["prompt", "answer", *more]
    heads = ["edit", *named, "method", "layer", *_COLUMNS]
    rows = [_row(heads), "|" + " --- |" * len(heads)]
    for fact in facts:
        numbers = [fact["metrics"].get(name) for name in _COLUMNS]
        cells = [
            str(fact["edit"]),
            *([f"`{fact['hash']}`"] if private else _words(fact)),
            *(_plain(_MORE[name](fact)) for name in more),
            _plain(fact["method"]),
            ", ".join(map(str, fact["layers"])),
            *("" if n is None else f"{n:.2f}" for n in numbers),
        ]
        rows.append(_row(cells))
    if private:
        rows += ["", "The facts are not published. Each hash covers a fact and its change."]
    return rows


def _valid(fact: Mapping[str, Any]) -> str:
    """The days on which a fact is true: 'from 2026-01-01 until 2026-12-31', or a part of it."""
    days = (("from", fact.get("valid_from")), ("until", fact.get("valid_until")))
    return " ".join(f"{word} {day}" for word, day in days if day)


def _source(fact: Mapping[str, Any]) -> str:
    return str(fact.get("source") or "")


_MORE = MappingProxyType({"valid": _valid, "source": _source})


def _words(fact: Mapping[str, Any]) -> list[str]:
    return [_plain(fact["prompt"].replace("{}", fact["subject"])), _plain(fact["target_new"])]


def _measurements(measured: Mapping[str, Any]) -> list[str]:
    lines = [
        "Reliability and generalization are teacher-forced token accuracies, locality is agreement "
        "with the unedited model; those above were measured right after each edit.",
        "",
        *(f"- protocol: `{_code(protocol)}`" for protocol in measured["protocols"]),
    ]
    test = measured["test"]
    if test is None:
        return [*lines, "- this version as a whole was not tested again"]
    means = ", ".join(f"{_plain(name)} {value:.3f}" for name, value in test["means"].items())
    return [*lines, f"- test of {test['edits']} edits on this version: {means}"]


def _methods(methods: list[Mapping[str, Any]]) -> list[str]:
    if not methods:
        return ["None."]
    rows = [_row(["method", "edits", "settings"]), "|" + " --- |" * 3]
    for item in methods:
        settings = ", ".join(f"{name}={json.dumps(v)}" for name, v in item["hparams"].items())
        rows.append(_row([_plain(item["method"]), str(len(item["edits"])), _plain(settings)]))
    return rows


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    return _visible(text).translate(_SPECIAL)


def _code(text: str) -> str:
    return _visible(text).replace("`", "'")


def _visible(text: str) -> str:
    """One line, with what reorders or hides text named instead."""
    return "".join(
        f"[U+{ord(char):04X}]"
        if unicodedata.category(char) in _HIDDEN and char not in _JOINERS
        else char
        for char in " ".join(text.split())
    )
