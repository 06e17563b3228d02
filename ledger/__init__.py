"""kel, the knowledge-edit ledger.

Promise: importing this package imports neither torch nor transformers.

    from ledger import EditRequest, Ledger
    with Ledger.init(Path("patched"), base="demo") as ledger:
        ledger.edit(EditRequest("Ada", "{} was born in", "Paris"))
"""

from editors.requests import EditRequest, Fact, Probe
from ledger.evaluation.gates import Gate
from ledger.ledger import Ledger

__all__ = ["EditRequest", "Fact", "Gate", "Ledger", "Probe"]
