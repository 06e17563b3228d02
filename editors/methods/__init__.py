"""The registered editors: one static tuple, one line per method.

get_editor("rome").paper
[editor.name for editor in METHODS]
get_editor("r0me")      # UnknownMethod: ... did you mean 'rome'?
"""

from __future__ import annotations

import difflib
from typing import Any

from editors.base import Editor
from editors.errors import UnknownMethod
from editors.methods.alphaedit import AlphaEdit
from editors.methods.emmet import Emmet
from editors.methods.ft import FineTuning, FineTuningLimited, FineTuningMasked
from editors.methods.kn import EnhanceNeurons, EraseNeurons, KnowledgeNeurons, SuppressNeurons
from editors.methods.memit import Memit
from editors.methods.pmet import Pmet
from editors.methods.rome import Rome
from editors.methods.rome_sup import RomeSup
from editors.methods.rome_unsup import RomeUnsup

METHODS: tuple[Editor[Any], ...] = (
    Rome(),
    RomeSup(),
    RomeUnsup(),
    Memit(),
    Emmet(),
    Pmet(),
    AlphaEdit(),
    FineTuning(),
    FineTuningLimited(),
    FineTuningMasked(),
    KnowledgeNeurons(),
    EraseNeurons(),
    SuppressNeurons(),
    EnhanceNeurons(),
)


def get_editor(name: str) -> Editor[Any]:
    """The editor of this name. Raises UnknownMethod, with the nearest known name."""
    known = {editor.name: editor for editor in METHODS}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise UnknownMethod(f"no editing method is called {name!r}: {hint}")
