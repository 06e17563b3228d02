"""Editors: pure functions from a language model and edit requests to weight deltas.

Promise: an editor never changes the model, it returns a `Delta`; who applies it is not its concern.
Rules: imports torch, transformers, numpy, safetensors and the standard library; knows neither the
store nor the ledger. `requests`, `errors` and `hparams` import without torch.

    model = EditableModel.load(Path("gpt2"))
    context = EditContext(generator, context_templates(model, generator), second_moment)
    editor = get_editor("rome")
    delta = editor(model, [request], editor.hparams.from_dict(values), context=context)
"""
