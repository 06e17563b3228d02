"""`python -m bench [section ...]`: one table of ratios, with the machine they were measured on.

OMP_NUM_THREADS=2 python -m bench startup fold
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from bench.machine import described, load
from bench.table import Row, rendered

SECTIONS = (
    "startup",
    "fold",
    "live",
    "export",
    "storage",
    "engine",
    "interference",
    "audit",
    *("release", "forms", "bisect", "evaluation", "ledger", "web"),
)
Section = Callable[[Path], list[Row]]


def main(names: Sequence[str]) -> int:
    """Run the named sections, all by default; 2 for an unknown one."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        print(f"no section {unknown[0]}; there are {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    before = load()
    rows: list[Row] = []
    for name in names or SECTIONS:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="kel-bench-") as folder:
            rows += section(name)(Path(folder))
    print(described(before))
    print()
    print(rendered(rows))
    return 0


def section(name: str) -> Section:
    """The measuring function of a section."""
    measure: Section = import_module(f"bench.{name}").measure
    return measure


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
