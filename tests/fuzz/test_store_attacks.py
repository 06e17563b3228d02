"""P14: malformed objects are refused with the right reason, fast, in bounded memory."""

import dataclasses
import os
import random
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.errors import ObjectCorrupt, ObjectRejected
from store.tensors import LIMITS, decode, encode
from tests.attacks.store_corpus import BODY, ONE, compact, corpus, entry, pack

pytestmark = pytest.mark.promise("P14")

CORPUS = list(corpus())
MUTATIONS = int(os.environ.get("KEL_FUZZ", "50000"))


# Times are CPU times: what the machine does besides is not the parser's slowness.
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


def test_the_corpus_starts_from_an_accepted_object():
    assert verdict(pack(ONE, BODY)) == "accepted"
    assert len(CORPUS) >= 40
    assert len({name for name, _, _ in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize(("data", "code"), [c[1:] for c in CORPUS], ids=[c[0] for c in CORPUS])
def test_P14_each_attack_is_refused_for_its_reason(data, code):
    started = time.thread_time()
    assert verdict(data) == code
    assert time.thread_time() - started < 2


def test_P14_each_attack_needs_little_memory():
    tracemalloc.start()
    try:
        for _, data, _ in CORPUS:
            verdict(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000


@pytest.mark.parametrize("filler", ["{}", "[]", '""', "0"])
def test_P14_a_header_full_of_small_things_is_refused_in_time(filler):
    items = ",".join(f'"{i:x}":{filler}' for i in range(999_000 // (len(filler) + 9)))
    started = time.thread_time()
    assert verdict(pack("{" + items + "}")) in ("fields", "count")
    assert time.thread_time() - started < 2


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


def test_P14_mutated_objects_are_refused_or_canonical_and_never_slow():
    rng = random.Random(20_240_229)
    pool, slowest, seen = seeds(), 0.0, set()
    for _ in range(MUTATIONS):
        data = mutated(rng.choice(pool), rng)
        started = time.thread_time()
        code = verdict(data)
        slowest = max(slowest, time.thread_time() - started)
        seen.add(code)
    assert slowest < 1
    assert {"json", "short", "header", "trailing", "name", "canonical", "offsets"} <= seen


FIELD = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**70), st.text(max_size=5), st.floats()
)
TENSOR = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F64", "BF16"]) | FIELD,
        "shape": st.lists(st.integers(0, 5), max_size=4) | FIELD,
        "data_offsets": st.lists(st.integers(0, 64), min_size=2, max_size=2) | FIELD,
    },
    optional={"extra": FIELD},
)
HEADER = st.dictionaries(st.text("ab.u", max_size=3), TENSOR, max_size=4)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(HEADER, st.binary(max_size=80))
def test_P14_headers_from_a_grammar_are_refused_or_canonical(header, body):
    verdict(pack(compact(header), body))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_P14_any_bytes_are_refused_or_canonical(data):
    verdict(data)


def test_P14_limits_are_inclusive():
    tight = dataclasses.replace(LIMITS, tensors=2, rank=3)
    ok = {"a.u": np.ones((3, 9), np.float32), "b": np.ones(1, np.float32)}
    data = encode(ok)
    at_limit = dataclasses.replace(
        tight, file_bytes=len(data), header_bytes=int.from_bytes(data[:8], "little")
    )
    assert set(decode(data, at_limit).tensors) == set(ok)
    for field, code in {
        "tensors": "count", "rank": "rank", "file_bytes": "size", "header_bytes": "header",
    }.items():  # fmt: skip
        below = dataclasses.replace(at_limit, **{field: getattr(at_limit, field) - 1})
        with pytest.raises(ObjectRejected) as caught:
            decode(data, below)
        assert caught.value.code == code


def test_P14_the_published_limits():
    assert dataclasses.asdict(LIMITS) == {
        "tensors": 4096, "header_bytes": 1_000_000, "rank": 4096, "file_bytes": 2**31,
    }  # fmt: skip
    names = {f"t{i:04}": np.ones(1, np.float32) for i in range(4096)}
    assert len(decode(encode(names)).tensors) == 4096
    with pytest.raises(ObjectRejected) as caught:
        encode({**names, "one.more": np.ones(1, np.float32)})
    assert caught.value.code == "count"
    longest = {"a" * 200: np.ones(1, np.float32)}
    assert set(decode(encode(longest)).tensors) == set(longest)


def test_P14_a_large_tensor_is_checked_without_a_copy_of_it():
    data = encode({"w": np.ones((2048, 2048), np.float32)})
    tracemalloc.start()
    try:
        decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(data) / 4


def test_P14_a_header_entry_cannot_hide_a_second_reading():
    """The same header with a field the safetensors library would ignore is not accepted."""
    hidden = compact({"a": entry(note="x")})
    assert verdict(pack(hidden, BODY)) == "fields"
