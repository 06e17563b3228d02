"""Reading a checkpoint folder with transformers: the whole model, or a reason why not.

Promise: no code of the checkpoint runs and nothing is downloaded; every parameter comes from the
folder, never from a random initialisation.
Rules: what transformers says about a folder it cannot read becomes one `UnsupportedModel`; its own
reports and bars are not shown.

    model, tokenizer = read_folder(Path("gpt2"), torch.float32, attention="eager")
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import is_accelerate_available
from transformers.utils import logging as transformers_logging

from editors.errors import UnsupportedModel


def read_folder(
    folder: Path,
    dtype: torch.dtype,
    *,
    attention: str,
    device_map: str | Mapping[str, Any] | None = None,
) -> tuple[Any, Any]:
    """The model and the tokenizer of a folder (config.json, *.safetensors, tokenizer.json).

    `device_map`: as of accelerate; None loads into main memory.
    Raises: UnsupportedModel for a folder without these, a quantised or an incomplete model.
    """
    _check_folder(folder)
    if device_map is not None and not is_accelerate_available():
        raise UnsupportedModel(
            "a model is spread over devices by accelerate, which is not installed: "
            "pip install 'knowledge-edit-ledger[large]', or name one device"
        )
    try:
        with _quiet():
            model, told = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation=attention,
                device_map=device_map,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                output_loading_info=True,
            )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise _unreadable(folder, error) from error
    _check_complete(folder, told)
    return model, read_tokenizer(folder)


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder. Raises: UnsupportedModel where transformers cannot read it."""
    try:
        with _quiet():
            return AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:
        raise _unreadable(folder, error) from error


def read_skeleton(folder: Path) -> Any:
    """The modules of a folder's model without its weights, on the meta device.

    Raises: UnsupportedModel where transformers cannot build it.
    """
    try:
        with _quiet(), torch.device("meta"):
            config = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> UnsupportedModel:
    reason = " ".join(str(error).split())[:300] or "no reason given"
    return UnsupportedModel(
        f"{folder} cannot be read as a model ({type(error).__name__}: {reason}): "
        "download it again, or choose a model that transformers knows"
    )


def _check_complete(folder: Path, told: Mapping[str, Any]) -> None:
    """Refuse parameters that transformers would have filled with random numbers."""
    odd = {_name(item) for item in told["mismatched_keys"]}
    for names, what in ((odd, "of another shape"), (set(told["missing_keys"]) - odd, "missing")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UnsupportedModel(
                f"{min(names)}{more} {'are' if more else 'is'} {what} in the weights of {folder}: "
                "its config.json belongs to another model, or the download is incomplete"
            )


def _name(item: Any) -> str:
    """A mismatched key comes with its two shapes."""
    return str(item if isinstance(item, str) else item[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and reports that transformers writes even where nobody watches."""
    shown = transformers_logging.is_progress_bar_enabled()
    level = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if shown:
            transformers_logging.enable_progress_bar()


def _check_folder(folder: Path) -> None:
    config = folder / "config.json"
    if not config.is_file():
        raise UnsupportedModel(f"{folder} has no config.json: give the folder of a checkpoint")
    if not any(folder.glob("*.safetensors")):
        raise UnsupportedModel(
            f"{folder} has no *.safetensors: convert the weights, pickled files are never read"
        )
    try:
        quantised = json.loads(config.read_text(encoding="utf-8")).get("quantization_config")
    except (ValueError, AttributeError, RecursionError) as error:
        raise UnsupportedModel(f"{config} is not a JSON object") from error
    if quantised:
        raise UnsupportedModel(f"{folder} holds a quantised model: use the unquantised weights")
