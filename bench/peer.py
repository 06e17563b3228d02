"""Published code, timed on the same model, when a checkout of it is at hand.

edit = rome_edit(subject, request, Path("rome"))        # a checkout of kmeng01/rome
edit()                                                  # its ΔW, [d, m] float64
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import shutil
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.engine_models import Subject
from editors.requests import EditRequest

_PARTS = ("rome", "util", "globals.yml")


def rome_edit(subject: Subject, request: EditRequest, checkout: Path) -> Callable[[], Tensor]:
    """The published ROME on the subject's model, with the same templates and constants.

    It runs from a copy that says "cpu" where the original says "cuda"; its key is the mixed one of
    the original code, and the second moment is switched off, as on our side.
    """
    main = _imported(checkout)
    model, row, tokenizer = subject.model.model, subject.model.architecture, subject.model.tokenizer
    model.config.n_embd = subject.model.d_model
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    main.CONTEXT_TEMPLATES_CACHE = list(subject.templates)
    hparams = main.ROMEHyperParams(
        layers=[subject.rome.layer],
        fact_token="subject_last",
        v_num_grad_steps=subject.rome.v_num_grad_steps,
        v_lr=subject.rome.v_lr,
        v_loss_layer=subject.model.n_layers - 1,
        v_weight_decay=subject.rome.v_weight_decay,
        clamp_norm_factor=subject.rome.clamp_norm_factor,
        kl_factor=subject.rome.kl_factor,
        mom2_adjustment=False,
        context_template_length_params=[],
        rewrite_module_tmp=row.mlp_out_template,
        layer_module_tmp=row.layer_template,
        mlp_module_tmp=row.mlp_template,
        attn_module_tmp=row.attention_template,
        ln_f_module=row.final_norm,
        lm_head_module=row.head,
        mom2_dataset="",
        mom2_n_samples=0,
        mom2_dtype="float32",
    )
    asked = {
        "prompt": request.prompt,
        "subject": request.subject,
        "target_new": {"str": request.target_new},
    }

    def edit() -> Tensor:
        with contextlib.redirect_stdout(io.StringIO()):
            ((u, v),) = main.execute_rome(model, tokenizer, asked, hparams).values()
        return v.double()[:, None] @ u.double()[None, :]

    return edit


def _imported(checkout: Path) -> Any:
    """rome.rome_main of a copy of the checkout on the CPU; its data sets are not needed."""
    folder = Path(tempfile.mkdtemp(prefix="kel-peer-"))
    for part in _PARTS:
        source = checkout / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / part)
    for path in folder.rglob("*.py"):
        path.write_text(path.read_text("utf-8").replace('"cuda"', '"cpu"'), "utf-8")
    for name in ("datasets", "tqdm.auto"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].load_dataset = None  # type: ignore[attr-defined]
    before = Path.cwd()
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    try:
        return importlib.import_module("rome.rome_main")
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        shutil.rmtree(folder)
