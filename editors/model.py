"""A causal language model with its tokenizer, ready to be edited.

Promise: matrices are read and written in the layout of `nn.Linear` ([d_out, d_in]) whatever the
model stores; loading runs no code of the checkpoint and reads safetensors from disk only.
Rules: attention is "eager": its gradients are deterministic and every architecture has it;
`evaluating()` is how editors run the model, and it leaves the mode of every module as it was.

    model = EditableModel.load(Path("gpt2"), dtype="float32", device="cpu")
    model.parameter_name(5)                     # "transformer.h.5.mlp.c_proj.weight"
    model.generate(["The capital of France is"], max_new_tokens=10)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from editors import placement
from editors.architectures import Architecture, Layout
from editors.batch import Batch, Side, context_of, pad_rows
from editors.chat import Frame
from editors.errors import LayerOutOfRange, UnsupportedModel
from editors.generation import continue_rows, greedy
from editors.loading import read_folder
from editors.prompts import encode, natural_stop
from editors.recognition import architecture_for
from editors.trace import Trace

DType: TypeAlias = Literal["float32", "bfloat16", "float16"]
StopRule: TypeAlias = Callable[[str, bool], int | None]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_ATTENTION = "eager"
_GENERATION_BATCH = 32


@dataclass(frozen=True, eq=False)
class EditableModel:
    """Model, tokenizer and the architecture row that names its modules.

    `frame`: the chat template around every prompt, or None for prompts as they are.
    Raises: UnsupportedModel when a projection is missing or is not of the row's layout.
    """

    model: Any
    tokenizer: Any
    architecture: Architecture
    frame: Frame | None = None

    def __post_init__(self) -> None:
        for layer in range(self.n_layers):
            name = self.parameter_name(layer)
            if self.checkpoint_layout(name) != self.architecture.layout:
                raise UnsupportedModel(
                    f"{name} is stored as {self.checkpoint_layout(name)}, the table says "
                    f"{self.architecture.layout}: correct editors/architectures.py"
                )

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        dtype: DType = "float32",
        device: str = "cpu",
        frame: Frame | None = None,
    ) -> Self:
        """Read a checkpoint folder (config.json, *.safetensors, tokenizer.json).

        Device "auto" spreads the model over all devices, main memory and the disk (accelerate).
        Raises: UnsupportedModel for folders without these, for quantised, unknown or incomplete
        models.
        """
        if dtype not in _DTYPES:
            raise UnsupportedModel(f"dtype {dtype!r} is not one of {', '.join(_DTYPES)}")
        spread = "auto" if device == "auto" else None
        model, tokenizer = read_folder(
            Path(folder), _DTYPES[dtype], attention=_ATTENTION, device_map=spread
        )
        model.eval().requires_grad_(False)
        if spread is None:
            model.to(device)
        return cls(model, tokenizer, architecture_for(model), frame)

    @property
    def plain(self) -> Self:
        """The same model for texts that are no prompts: without the chat frame."""
        return self if self.frame is None else replace(self, frame=None)

    @property
    def n_layers(self) -> int:
        """Number of layers L."""
        return int(self.model.config.num_hidden_layers)

    @property
    def d_model(self) -> int:
        """Width of the residual stream d."""
        return int(self.weight(self.parameter_name(0)).shape[0])

    @property
    def d_mlp(self) -> int:
        """Inner width of the MLP m."""
        return int(self.weight(self.parameter_name(0)).shape[1])

    @property
    def device(self) -> torch.device:
        """Where rows go and logits come from; of a model that is not spread, where it is."""
        return placement.home(self.model) or placement.runs_on(self._module(self.parameter_name(0)))

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the edited matrices."""
        return self.weight(self.parameter_name(0)).dtype

    @property
    def attention(self) -> str:
        """Attention kernel in use, part of the record of a run."""
        return str(getattr(self.model.config, "_attn_implementation", "unknown"))

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end a text, from the tokenizer and the generation config."""
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        many = configured if isinstance(configured, list | tuple) else [configured]
        return frozenset(i for i in (*many, self.tokenizer.eos_token_id) if i is not None)

    @property
    def special_ids(self) -> frozenset[int]:
        """Tokens that stand for no text."""
        return frozenset(self.tokenizer.all_special_ids)

    def projection(self, layer: int) -> str:
        """Module name of the MLP output projection. Raises LayerOutOfRange."""
        return self.architecture.mlp_out_template.format(self._existing(layer))

    def residual(self, layer: int) -> str:
        """Name of the module whose output is the residual stream. Raises LayerOutOfRange."""
        return self.architecture.layer_template.format(self._existing(layer))

    def attention_output(self, layer: int) -> str:
        """Name of the module whose output is the attention's. Raises LayerOutOfRange."""
        return self.architecture.attention_template.format(self._existing(layer))

    def parameter_name(self, layer: int) -> str:
        """State-dict name of the layer's edited matrix. Raises LayerOutOfRange."""
        return self.projection(layer) + ".weight"

    def layer_index(self, parameter: str) -> int:
        """Inverse of `parameter_name`. Raises UnsupportedModel for any other parameter."""
        for layer in range(self.n_layers):
            if self.parameter_name(layer) == parameter:
                return layer
        raise UnsupportedModel(f"{parameter} is not an MLP output projection of this model")

    def checkpoint_layout(self, parameter: str) -> Layout:
        """How the model and its checkpoint store the matrix, from the module's class."""
        module = self._module(parameter)
        if isinstance(module, Conv1D):
            return "conv1d"
        if isinstance(module, nn.Linear) and module.weight.is_floating_point():
            return "linear"
        raise UnsupportedModel(
            f"{parameter} belongs to a {type(module).__name__}, not to a plain nn.Linear or "
            "Conv1D: load the model unquantised and without adapters"
        )

    def is_conv1d(self, parameter: str) -> bool:
        """True where the stored matrix is the transpose, [d_in, d_out]."""
        return self.checkpoint_layout(parameter) == "conv1d"

    def weight(self, parameter: str) -> Tensor:
        """A view of the live matrix as [d_out, d_in]; do not write to it, use `set_weight_`.

        An offloaded matrix comes as a copy.
        """
        conv1d = self.is_conv1d(parameter)
        stored = placement.value(self._module(parameter), "weight")
        return stored.T if conv1d else stored

    def set_weight_(self, parameter: str, weight: Tensor) -> None:
        """Copy a [d_out, d_in] matrix into the live model, cast to its dtype."""
        view = self.weight(parameter)
        if view.shape != weight.shape:
            raise UnsupportedModel(
                f"{parameter} has shape {tuple(view.shape)}, not {tuple(weight.shape)}"
            )
        stored = weight.T if self.is_conv1d(parameter) else weight
        placement.write(self._module(parameter), "weight", stored)

    def bias(self, parameter: str) -> Tensor | None:
        """The projection's bias [d_out], or None."""
        return placement.bias(self._module(parameter))

    @property
    def embeddings(self) -> Tensor:
        """The input embeddings. Shape: [V, d]."""
        return placement.value(self.model.get_submodule(self.architecture.embedding), "weight")

    def without_bias(self, parameter: str, output: Tensor) -> Tensor:
        """A wanted output of the projection as a wanted product W k, float32. Shape: [d_out]."""
        bias = self.bias(parameter)
        return output.float() if bias is None else output.float() - bias.float()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Every module in evaluation mode inside the block, as it was after it."""
        training = [m for m in self.model.modules() if m.training]
        for module in training:
            module.training = False
        try:
            yield
        finally:
            for module in training:
                module.training = True

    def batch(self, rows: Sequence[Sequence[int]], *, side: Side = "right") -> Batch:
        """Pad rows to one length, on the model's device. Raises: InvalidRequest if one is long."""
        pad, limit = self.tokenizer.pad_token_id, context_of(self.model.config)
        fill = pad if pad is not None else min(self.end_ids, default=0)
        return pad_rows(rows, fill=fill, side=side, device=self.device, limit=limit)

    def forward(
        self,
        batch: Batch,
        *,
        at: Tensor | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Logits [n, t, V] of a right-padded batch, in the model's dtype.

        `at` [s] (flat positions): only these are passed to the head, and the result is [s, V].
        `weights`: parameter -> [d_out, d_in] matrix used in place of the model's own.
        """
        arguments = {"input_ids": batch.ids, "attention_mask": batch.mask, "use_cache": False}
        edits = {} if at is None else {self.architecture.head: lambda x: _rows(x, at)[None]}
        with Trace(self.model, edit_inputs=edits), placement.swapped(self.model, weights or {}):
            out = self.model(**arguments)
        logits: Tensor = out.logits
        return logits if at is None else logits[0]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out, spaces as they are."""
        text: str = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        stop: StopRule | None = natural_stop,
    ) -> list[str]:
        """Greedy continuations, one per prompt, cut where `stop` says the answer ends.

        `stop(text, complete)` gives the end index or None; with None the text runs to the
        end-of-text token or to `max_new_tokens`.
        """
        rows = [encode(self, prompt).ids for prompt in prompts]

        def done(tail: list[int]) -> bool:
            return stop is not None and stop(self.decode(tail), False) is not None

        texts: list[str] = []
        with self.evaluating():
            for start in range(0, len(rows), _GENERATION_BATCH):
                chunk = rows[start : start + _GENERATION_BATCH]
                tails = continue_rows(self, chunk, max_new_tokens, choose=greedy, done=done)
                texts += [self.decode(tail) for tail in tails]
        return [text if stop is None else text[: stop(text, True)] for text in texts]

    def _existing(self, layer: int) -> int:
        if not 0 <= layer < self.n_layers:
            raise LayerOutOfRange(
                f"layer {layer} does not exist: this {self.architecture.model_type} model has "
                f"layers 0 to {self.n_layers - 1}"
            )
        return layer

    def _module(self, parameter: str) -> nn.Module:
        name, _, kind = parameter.rpartition(".")
        try:
            module: nn.Module = self.model.get_submodule(name)
        except AttributeError as error:
            raise UnsupportedModel(f"the model has no parameter {parameter!r}") from error
        if kind != "weight":
            raise UnsupportedModel(f"{parameter!r} is not a weight matrix")
        return module


def _rows(x: Tensor, at: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])[at]
