"""The model card of an export: what it is based on, which facts it carries, how to check it.

Promise: a pure function of the manifest; fact texts are data in it (YAML, Markdown and HTML have no
effect).

    model_card(manifest)
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any

_SPECIAL = str.maketrans({c: f"\\{c}" for c in r"\`*_{}[]<>()#+-.!|~$&:"})
_JOINERS = "\u200c\u200d"  # part of how Persian, Indic scripts and emoji are spelled
_HIDDEN = frozenset({"Cc", "Cf", "Cs"})
_COLUMNS = ("reliability", "generalization", "locality", "locality_random")


def model_card(manifest: Mapping[str, Any]) -> str:
    """Markdown with YAML front matter that the Hub accepts."""
    base, facts = manifest["base"], manifest["facts"]
    return "\n".join(
        [
            "---",
            *_front_matter(base),
            "---",
            "",
            f"# {_plain(str(base['id']))}, with {len(facts)} edited facts",
            "",
            f"Version {manifest['version']} of a knowledge-edit ledger. Only the tensors listed in "
            "`kel.json` differ from the base; every other byte of the weights is the base's.",
            "",
            f"- base: `{_code(base['id'])}`, revision `{_code(base['revision'] or 'none')}`, "
            f"{base['dtype']}, digest `{base['digest']}`",
            f"- weights digest: `{manifest['weights_digest']}`",
            f"- ledger entry: {manifest['entry']['seq']}, `{manifest['entry']['hash']}`",
            "",
            "## Facts carried",
            "",
            *_table(facts),
            "",
            "Reliability and generalization are teacher-forced token accuracies, locality is "
            "agreement with the unedited model; all measured right after each edit.",
            "",
            "## How to check it",
            "",
            "`kel verify --weights` on the ledger folds the version again; the sha256 of each "
            "touched tensor (format in docs/formats.md) must be the one in `kel.json`.",
            "",
            "## Limits",
            "",
            "An edit changes what the model says for its prompt and near paraphrases. Consequences "
            "of the fact are not edited with it, and the absence of side effects beyond the probes "
            "above is not shown.",
            "",
        ]
    )


def _front_matter(base: Mapping[str, Any]) -> list[str]:
    known = base["id"] if base["revision"] else None
    lines = ["library_name: transformers", "pipeline_tag: text-generation"]
    if known:
        lines += [f"base_model: {json.dumps(known)}", "base_model_relation: finetune"]
    return [*lines, "tags:", "- knowledge-editing", "- kel"]


def _table(facts: list[Mapping[str, Any]]) -> list[str]:
    if not facts:
        return ["None: these are the base's weights."]
    heads = ["edit", "prompt", "answer", "method", "layer", *_COLUMNS]
    rows = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for fact in facts:
        numbers = [fact["metrics"].get(name) for name in _COLUMNS]
        cells = [
            str(fact["edit"]),
            _plain(fact["prompt"].replace("{}", fact["subject"])),
            _plain(fact["target_new"]),
            fact["method"],
            ", ".join(map(str, fact["layers"])),
            *("" if n is None else f"{n:.2f}" for n in numbers),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


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
