"""EasyEdit's own code, timed on the same model, when a checkout of it is at hand.

Its attribution (KN) is told to watch the activation itself, as in the recorded golden numbers; all
else runs as published, under the stand-ins of tests/reference/recording/shims.py.

    peer = EasyEdit(Path("EasyEdit"), subject)
    peer.rome(request)()                                # its ΔW, [d, m] float64
    peer.memit(requests, hparams, moment)()
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from bench.engine_models import Subject
from editors.base import Hparams
from editors.covariance import SecondMoment
from editors.requests import EditRequest
from tests.reference.recording.settings import plain
from tests.reference.recording.shims import in_an_empty_folder, install

_MODELS = "easyeditor.models."


def is_easyedit(checkout: Path) -> bool:
    """Whether the folder is a checkout of EasyEdit."""
    return (checkout / "easyeditor").is_dir()


class EasyEdit:
    """Edits of one subject, a GPT-2 whose tokenizer adds no BOS, by EasyEdit's code."""

    def __init__(self, checkout: Path, subject: Subject) -> None:
        with in_an_empty_folder():  # it enters the checkout
            install(checkout)
        self._subject, self._args = subject, (subject.model.model, subject.model.tokenizer)
        subject.model.model.config._name_or_path = subject.model.model.name_or_path = "gpt2-xl"
        if subject.model.tokenizer.pad_token is None:
            subject.model.tokenizer.pad_token = subject.model.tokenizer.eos_token

    def rome(self, request: EditRequest) -> Callable[[], Tensor]:
        """ROME with the mixed key of the original and without a second moment, as on our side."""
        main = importlib.import_module(_MODELS + "rome.rome_main")
        main.CONTEXT_TEMPLATES_CACHE = list(self._subject.templates)
        layers = [self._subject.rome.layer]
        settings = self._settings(self._subject.rome, layers=layers, mom2_adjustment=False)

        def edit() -> Tensor:
            ((u, v),) = main.execute_rome(*self._args, plain(request), settings).values()
            return v.double()[:, None] @ u.double()[None, :]

        return _quiet(edit)

    def memit(
        self, requests: Sequence[EditRequest], hparams: Hparams, moment: SecondMoment
    ) -> Callable[[], Tensor]:
        """MEMIT, values included, with this moment in every layer. Its ΔW one below the other."""
        main = self._spreading("memit.memit_main", moment)
        settings, asked = self._settings(hparams), [plain(r) for r in requests]

        def edit() -> Tensor:
            found = main.execute_memit(*self._args, asked, settings).values()
            return torch.cat([values @ keys.T for keys, values in found])

        return _quiet(edit)

    def alphaedit(
        self, requests: Sequence[EditRequest], hparams: Hparams, moment: SecondMoment
    ) -> Callable[[], Tensor]:
        """AlphaEdit, values included, without earlier edits; P is computed at the first call."""
        main = self._spreading("alphaedit.AlphaEdit_main", moment)
        settings, asked = self._settings(hparams, P_loc=""), [plain(r) for r in requests]
        model = self._subject.model
        names = [model.parameter_name(layer) for layer in settings.layers]

        def edit() -> Tensor:
            settings.P_loc = str(Path.cwd()) if main.P_loaded else "no such file"
            before = {name: model.weight(name).clone() for name in names}
            with in_an_empty_folder():
                main.apply_AlphaEdit_to_model(*self._args, asked, settings, reset_cache=True)
            found = torch.cat([model.weight(n).double() - before[n].double() for n in names])
            for name, weight in before.items():
                model.set_weight_(name, weight)
            return found

        return _quiet(edit)

    def kn(self, request: EditRequest, points: int) -> Callable[[], Tensor]:
        """Scores of every neuron for the answer the model gives; all points of a layer at once."""
        part = importlib.import_module(
            _MODELS + "kn.knowledge_neurons.knowledge_neurons.knowledge_neurons"
        )
        neurons = part.KnowledgeNeurons(*self._args, model_type="gpt2", device="cpu")
        neurons.input_ff_attr = "mlp.act"
        answer, steps = " " + (request.target_true or ""), points + 1  # it has one point at zero

        def scores() -> Tensor:
            found: Tensor = neurons.get_scores(
                request.text, answer, batch_size=steps, steps=steps, pbar=False
            )
            return found.detach().double()

        return _quiet(scores)

    def _spreading(self, name: str, moment: SecondMoment) -> Any:
        main = importlib.import_module(_MODELS + name)
        templates = (self._subject.templates[0], *self._subject.templates[-5:])
        main.CONTEXT_TEMPLATES_CACHE = [[templates[0]], list(templates[1:])]
        found = SimpleNamespace(mom2=SimpleNamespace(moment=lambda: moment.moment.float()))
        main.layer_stats = lambda *args, **more: found
        main.COV_CACHE.clear()
        return main

    def _settings(self, ours: Hparams, **more: Any) -> SimpleNamespace:
        """Our settings under EasyEdit's names."""
        row, layers = self._subject.model.architecture, self._subject.model.n_layers
        common = {
            "model_name": "gpt2-xl",
            "layer_selection": "all",
            "fact_token": "subject_last",
            "v_loss_layer": layers - 1,
            "mom2_dataset": "",
            "mom2_n_samples": 0,
            "mom2_dtype": "float32",
            "stats_dir": "",
            "context_template_length_params": [],
            "device": "cpu",
            "batch_size": 64,
            "rewrite_module_tmp": row.mlp_out_template,
            "layer_module_tmp": row.layer_template,
            "mlp_module_tmp": row.mlp_template,
            "attn_module_tmp": row.attention_template,
            "ln_f_module": row.final_norm,
            "lm_head_module": row.embedding,  # tied to the head
        }
        return SimpleNamespace(**{**common, **ours.to_dict(), **more})


def _quiet(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Without what the work prints."""

    def done() -> Tensor:
        with contextlib.redirect_stdout(io.StringIO()):
            return work()

    return done
