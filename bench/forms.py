"""How far the forms of one version are apart: live, merged, adapter in PEFT unmerged and merged.

Compared are the logits of every token of the edits' own prompts and targets, from the last token of
the prompt on. Beside the largest difference stands what the edits themselves moved: the largest
difference between the live version and the base. All are loaded in the dtype that is named; the
weights of the live version and of the merged one are the same bits.

    python -m bench forms
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from bench.table import Row
from ledger import EditRequest, Ledger
from ledger.base import demo_folder
from ledger.demo.cases import cases
from ledger.demo.world import build_world
from ledger.live import LiveModel

EDITS = 10
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
BASES = {
    "embedded Llama": demo_folder(),
    "its GPT-2 twin": demo_folder().with_name("model-gpt2"),
}


@dataclass(frozen=True)
class Distance:
    """One form beside the live version: at how many of `asked` tokens both say the same, the
    largest difference of a logit, and what the edits moved."""

    model: str
    dtype: torch.dtype
    form: str
    same: int
    asked: int
    gap: float
    moved: float


def measure(folder: Path) -> list[Row]:
    """A row for each model, dtype and form."""
    logging.disable_progress_bar()
    found = [
        item
        for number, (name, base) in enumerate(BASES.items())
        for item in distances(folder / str(number), name, base, EDITS)
    ]
    return [
        Row(
            "forms",
            f"{item.form}, {name_of(item.dtype)}, {item.model}: same token at {item.same} of "
            f"{item.asked}, largest gap",
            item.gap,
            "logit",
            "moved by the edits",
            item.moved,
        )
        for item in found
    ]


def distances(folder: Path, model: str, base: Path, edits: int) -> list[Distance]:
    """Make a ledger with random edits, export it, and compare the forms in every dtype."""
    requests = [case.request for case in cases(build_world(), count=edits, seed=0)]
    with Ledger.init(folder / "ledger", base=str(base), author="bench") as ledger:
        for request in requests:
            ledger.edit(request, gate=None)
        ledger.export(folder / "merged")
        ledger.export(folder / "adapter", form="adapter")
        return [item for dtype in DTYPES for item in _compared(ledger, folder, model, base, dtype)]


def name_of(dtype: torch.dtype) -> str:
    """'bfloat16'."""
    return str(dtype).removeprefix("torch.")


def _compared(
    ledger: Ledger, folder: Path, model: str, base: Path, dtype: torch.dtype
) -> list[Distance]:
    edits = ledger.journal.edits(ledger.journal.history().active())
    asked = [EditRequest(e.subject, e.prompt, e.target_new) for e in edits]
    versions = ledger.workspace.versions
    live = LiveModel(versions, base, dtype=name_of(dtype), device="cpu")  # type: ignore[arg-type]
    plain = logits(live.model.model, base, asked)
    live.show(versions.plan(ledger.journal.history().active()))
    wanted = logits(live.model.model, base, asked)
    moved = float((wanted - plain).abs().max())
    return [
        Distance(
            model=model,
            dtype=dtype,
            form=form,
            same=int((found.argmax(-1) == wanted.argmax(-1)).sum()),
            asked=len(wanted),
            gap=float((found - wanted).abs().max()),
            moved=moved,
        )
        for form, load in _forms(folder, base, dtype).items()
        for found in [logits(load(), base, asked)]
    ]


def _forms(folder: Path, base: Path, dtype: torch.dtype) -> dict[str, Callable[[], Any]]:
    def adapted() -> Any:
        with warnings.catch_warnings():
            # peft asks transformers for what it renamed.
            warnings.simplefilter("ignore", FutureWarning)
            return PeftModel.from_pretrained(_loaded(base, dtype), folder / "adapter")

    return {
        "merged": lambda: _loaded(folder / "merged", dtype),
        "adapter in PEFT": adapted,
        "adapter merged by PEFT": lambda: adapted().merge_and_unload(),
    }


def _loaded(folder: Path, dtype: torch.dtype) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


def logits(model: Any, base: Path, asked: Sequence[EditRequest]) -> Tensor:
    """Of every token from the end of a prompt to the end of its target. Shape: [t, vocabulary]."""
    tokenizer, found = AutoTokenizer.from_pretrained(base), []
    for request in asked:
        begin = len(tokenizer(request.text)["input_ids"]) - 1
        whole = tokenizer(f"{request.text} {request.target_new}", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            found.append(model(input_ids=whole).logits[0, begin:].float())
    return torch.cat(found)
