"""The weights digest of a version, in a process that knows only the page on formats.

python -m tests.e2e.refold LEDGER VERSION       # prints it; no module of the program is imported
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.reference import formats_reference as page
from tests.sim.places import tables

PROGRAM = ("store", "editors", "ledger", "cli", "torch")


def refolded(root: Path, version: int) -> str:
    """Fold a version whose edits are alone in their batches."""
    rows = tables(root)
    (model,) = rows["model"]
    base = Path(model["path"])
    stored = {}
    for path in sorted(base.glob("*.safetensors")):
        stored.update(page.read_file(path.read_bytes())[0])
    keys = {row["parameter"]: row["checkpoint_key"] for row in rows["base_tensor"]}
    batches = {row["id"]: row for row in rows["batch"]}
    edits = {row["id"]: row for row in rows["edit"]}
    added: dict[str, list[page.Array]] = {}
    for edit in page.active(rows["entry"], version):
        oid = batches[edits[edit]["batch_id"]]["oid"]
        arrays, _ = page.read_object((root / "objects" / oid[:2] / oid[2:]).read_bytes())
        for name in sorted({full.rpartition(".")[0] for full in arrays}):
            added.setdefault(name, []).extend(page.updates(arrays, name, None))
    tensors = {}
    for name, updates in added.items():
        dtype, shape, raw = stored[keys[name]]
        conv1d = model["model_type"] == "gpt2"
        folded = page.fold(raw, dtype, shape, updates, conv1d=conv1d)
        tensors[name] = page.tensor_digest(dtype, shape, folded)
    return page.weights_digest(page.base_digest(base), tensors)


if __name__ == "__main__":
    print(refolded(Path(sys.argv[1]), int(sys.argv[2])))
    known = sorted({name.partition(".")[0] for name in sys.modules} & set(PROGRAM))
    sys.exit(json.dumps(known) if known else 0)
