"""Mutations of accepted objects, and what the parser says of each; as a program, many of them.

Promise: whatever raises anything but a refusal is saved to tests/attacks/found/ under the beginning
of its sha256, so that it stays in the corpus. Times are CPU times: what the machine does besides is
not the parser's slowness.

    fuzz(50_000, seed=1).slowest
    python -m tests.fuzz.mutating 1000000
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from store.errors import ObjectCorrupt, ObjectRejected
from store.tensors import decode, encode

FOUND = Path(__file__).parents[1] / "attacks" / "found"
CHUNK = 50_000


@dataclass
class Outcome:
    """The codes that were seen, and the seconds of the slowest case."""

    codes: set[str] = field(default_factory=set)
    slowest: float = 0.0


def verdict(data: bytes) -> str:
    """The code of the refusal, or "accepted"; any other exception is the test's failure."""
    try:
        decoded = decode(data)
    except ObjectRejected as error:
        return error.code
    except ObjectCorrupt:
        return "corrupt"
    assert encode(decoded.tensors, decoded.meta) == data
    return "accepted"


def one(data: bytes) -> tuple[str, float]:
    """The verdict and its seconds."""
    started = time.thread_time()
    return verdict(data), time.thread_time() - started


def seeds() -> list[bytes]:
    rng = np.random.default_rng(0)
    full = {
        "h.0.mlp.c_proj.weight.u": rng.normal(size=(6, 2)).astype(np.float32),
        "h.0.mlp.c_proj.weight.v": rng.normal(size=(2, 5)).astype(np.float32),
        "key": rng.normal(size=5),
    }
    meta = {"method": "rome", "templates": ["{}", "Ein Satz: {}"], "seed": 7, "lr": 0.5}
    return [encode(full, meta), encode(full), encode({}, {}), encode({"s": np.array(1.0)})]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to three changes: bits, bytes, cuts, copies, digits of the header, the length."""
    raw = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        kind, at = rng.randrange(8), rng.randrange(max(1, len(raw)))
        if kind == 0 and raw:
            raw[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and raw:
            raw[at] = rng.choice(b'{}[]",:0123456789 -.eE\\\x00\xff')
        elif kind == 2:
            del raw[at : at + rng.randint(1, 8)]
        elif kind == 3:
            raw[at:at] = raw[at : at + rng.randint(1, 16)]
        elif kind == 4:
            raw[at:at] = rng.choice([b'"a":1,', b"[[[[", b"{}", b"9" * 30, b"\\ud800", b"NaN"])
        elif kind == 5:
            raw = raw[:at]
        elif kind == 6:
            raw[:8] = rng.choice([0, 8, len(raw), 2**20, 2**32, 2**63, 2**64 - 1]).to_bytes(
                8, "little"
            )
        else:
            raw += rng.randbytes(rng.randint(1, 16))
    return bytes(raw)


def fuzz(count: int, *, seed: int, found: Path = FOUND) -> Outcome:
    """Try `count` mutations; the same seed gives the same ones."""
    rng, pool, outcome = random.Random(seed), seeds(), Outcome()
    for _ in range(count):
        data = mutated(rng.choice(pool), rng)
        try:
            code, seconds = one(data)
        except BaseException:
            found.mkdir(exist_ok=True)
            (found / f"{hashlib.sha256(data).hexdigest()[:16]}.st").write_bytes(data)
            raise
        outcome.codes.add(code)
        outcome.slowest = max(outcome.slowest, seconds)
    return outcome


def _peak_kilobytes() -> int:
    """Of this program; what getrusage tells counts the program that started it."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1])


def main(count: int) -> dict[str, float]:
    """Many mutations, each seed a few; the seconds of the slowest, and the memory it all took."""
    outcomes = [fuzz(CHUNK, seed=seed) for seed in range(count // CHUNK)]
    return {
        "mutations": CHUNK * len(outcomes),
        "slowest": max(outcome.slowest for outcome in outcomes),
        "peak_bytes": 1024 * _peak_kilobytes(),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
