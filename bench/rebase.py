"""How many facts survive a rebase from the embedded model to its GPT-2 twin.

The old ledger is made without a gate until so many edits are active, so that nothing is picked;
the rebase has the default gate, and a fact survives that passes it and holds at the end.

python -m bench.rebase --facts 50 --method memit --batch 10
python -m bench.rebase --facts 50 --method rome --batch 1 --by memit
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from cli.requests import assignments
from ledger import Ledger
from ledger.base import demo_folder
from ledger.demo.cases import cases
from ledger.demo.world import build_world
from ledger.rebasing.views import RebaseOptions, RebaseView

TWIN = demo_folder().with_name("model-gpt2")


def rebased(
    folder: Path, *, facts: int, method: str, batch: int, seed: int, options: RebaseOptions
) -> RebaseView:
    """Edit `facts` random facts of the world into the embedded model, and rebase them."""
    with Ledger.init(folder / "old", base="demo", author="bench") as ledger:
        # A random probe that is edited on purpose would count as damage.
        probes = {probe["prompt"] for probe in ledger.journal.model().config["probes"]}
        drawn = cases(build_world(), count=facts + len(probes), seed=seed)
        requests = [case.request for case in drawn if case.request.text not in probes][:facts]
        for _ in ledger.edit_many(requests, batch=batch, method=method, gate=None):
            pass
        return ledger.rebase(str(TWIN), folder / "new", options=options)


def report(view: RebaseView) -> list[str]:
    """How many survived, and why the others did not."""
    counts = view.counts
    survived = view.facts - counts["failed"] - counts["lost"]
    lines = [f"{survived} of {view.facts} survive: {dict(counts)}"]
    reasons = {reason for row in view.rows for reason in row.reasons}
    return lines + [f"  {reason}" for reason in sorted(reasons)]


def main() -> None:
    """Run it and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=50)
    parser.add_argument("--method", default="memit")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--by", metavar="METHOD", help="another method for the rebase, one by one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="assigned", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--corpus", type=Path, help="--set and --corpus: as of kel rebase")
    given = vars(parser.parse_args())
    overrides = assignments(given.pop("assigned"))
    method = given.pop("by")
    options = RebaseOptions(method=method, overrides=overrides, corpus=given.pop("corpus"))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kel-bench-") as folder:
        view = rebased(Path(folder), options=options, **given)
    for line in report(view):
        print(line)
    told = ", ".join(
        f"{n} {v}" for n, v in {**given, "by": method or "the same", **overrides}.items()
    )
    print(f"{told}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
