"""Record the golden numbers: run a checkout of a public reference repository on the golden world.

Promise: the reference computes; the modules here only call it and write down what came out. What is
put under it so that it runs on a CPU and a later transformers is in `shims`.
Rules: one repository per process, because they use the same module names; EasyEdit and rome need
PyYAML and einops.

    python -m tests.reference.recording.record rome /path/to/rome
    python -m tests.reference.recording.record memit /path/to/memit
    python -m tests.reference.recording.record easyedit /path/to/EasyEdit
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
import transformers

from tests.reference.golden_files import FOLDER
from tests.reference.golden_world import KINDS, digest, golden_model
from tests.reference.recording import easyedit, kmeng, shims

RECORDED = {
    "rome": ("kmeng01/rome", kmeng.from_rome),
    "memit": ("kmeng01/memit", kmeng.from_memit),
    "easyedit": ("zjunlp/EasyEdit", easyedit.from_easyedit),
}


def main(name: str, checkout: Path) -> None:
    """Run one repository and write goldens/NAME.json."""
    repository, results = RECORDED[name]
    commit = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    head = {
        "repository": repository,
        "commit": subprocess.run(commit, capture_output=True, text=True, check=True).stdout.strip(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "models": {kind: digest(golden_model(kind)) for kind in KINDS},
    }
    shims.install(checkout)
    text = json.dumps(head | {"results": results()}, indent=1, sort_keys=True)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
