"""Canonical tensors: same content, same bytes; what is read is what was written."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from store.errors import CanonicalError, ObjectRejected
from store.tensors import decode, encode

NAMES = st.from_regex(r"[A-Za-z0-9_.]{1,30}", fullmatch=True).filter(lambda n: n != "__metadata__")
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, max_side=5)
FINITE = {"allow_nan": False, "allow_infinity": False}
ARRAYS = hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32, **FINITE)) | hnp.arrays(
    np.float64, SHAPES, elements=st.floats(**FINITE)
)
TENSORS = st.dictionaries(NAMES, ARRAYS, max_size=5)
META = st.none() | st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.integers() | st.floats(**FINITE) | st.none(),
    max_size=4,
)

U = np.arange(6, dtype=np.float32).reshape(3, 2)
V = np.arange(8, dtype=np.float32).reshape(2, 4)


@settings(max_examples=200, deadline=None)
@given(TENSORS, META)
def test_reading_gives_back_every_bit(tensors, meta):
    decoded = decode(encode(tensors, meta))
    assert decoded.meta == meta
    assert set(decoded.tensors) == set(tensors)
    for name, array in tensors.items():
        found = decoded.tensors[name]
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()


@settings(max_examples=200, deadline=None)
@given(TENSORS, META, st.randoms())
def test_bytes_depend_on_content_only(tensors, meta, rng):
    data = encode(tensors, meta)
    items = list(tensors.items())
    rng.shuffle(items)
    variants = {n: np.asfortranarray(a) if a.ndim else a for n, a in items}
    swapped = {n: a.astype(a.dtype.newbyteorder(">")) for n, a in items}
    assert encode(variants, meta) == data
    assert encode(swapped, meta) == data
    decoded = decode(data)
    assert encode(decoded.tensors, decoded.meta) == data


@settings(max_examples=100, deadline=None)
@given(TENSORS, META)
def test_the_safetensors_library_reads_the_same(tensors, meta):
    loaded = safetensors.numpy.load(encode(tensors, meta))
    assert set(loaded) == set(tensors)
    for name, array in tensors.items():
        assert loaded[name].tobytes() == array.tobytes()
        assert loaded[name].shape == array.shape


def test_the_bytes_are_these():
    """A golden object: a change of format must not happen by accident."""
    data = encode({"b": np.ones(1), "a.u": U[:1]}, {"x": 1, "é": [None]})
    header = (
        '{"__metadata__":{"kel":"{\\"x\\":1,\\"é\\":[null]}"},'
        '"a.u":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},'
        '"b":{"dtype":"F64","shape":[1],"data_offsets":[8,16]}}'
    ).encode()
    header += b" " * (-len(header) % 8)
    body = struct.pack("<2f", 0, 1) + struct.pack("<d", 1)
    assert data == struct.pack("<Q", len(header)) + header + body


def test_without_metadata_there_is_no_metadata_key():
    assert encode({}) == struct.pack("<Q", 8) + b"{}      "
    assert decode(encode({})).meta is None
    assert decode(encode({}, {})).meta == {}


def test_header_is_json_with_metadata_first_and_tensors_sorted():
    data = encode({"z": U, "a": V, "M": U}, {"k": 1})
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header) == ["__metadata__", "M", "a", "z"]
    assert list(header["a"]) == ["dtype", "shape", "data_offsets"]


@pytest.mark.promise("P4")
def test_other_processes_give_the_same_bytes():
    code = (
        "import numpy as np, hashlib; from store.tensors import encode;"
        "t = {n: np.full((2, 3), len(n), np.float32) for n in set('a bb ccc dddd.u'.split())};"
        "m = {n: 1.5 for n in set('x yy zzz'.split())};"
        "import sys; sys.stdout.write(hashlib.sha256(encode(t, m)).hexdigest())"
    )
    digests = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": "C", "TZ": f"UTC+{seed}"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_decoded_arrays_cannot_be_changed():
    decoded = decode(encode({"a": np.ones(3, np.float32), "b": np.ones(3)}, None))
    for array in decoded.tensors.values():
        assert array.flags.aligned
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 2


def test_decoding_a_mutable_buffer_takes_its_own_copy():
    buffer = bytearray(encode({"a": U}))
    decoded = decode(buffer)
    buffer[-4:] = b"\xff\xff\x7f\x7f"
    assert np.array_equal(decoded.tensors["a"], U)
    assert np.array_equal(decode(memoryview(encode({"a": U}))).tensors["a"], U)


@pytest.mark.parametrize(
    ("tensors", "code"),
    [
        ({"a": np.ones(2, np.float16)}, "dtype"),
        ({"a": np.ones(2, np.int64)}, "dtype"),
        ({"a": np.ones(2, np.complex64)}, "dtype"),
        ({"a": np.array(["x"])}, "dtype"),
        ({"a": [1.0]}, "type"),
        ({"a": 1.0}, "type"),
        ({"a": np.array([1, np.nan], np.float32)}, "finite"),
        ({"a": np.array([-np.inf])}, "finite"),
        ({"a": np.ones((2, 0), np.float32)}, "shape"),
        ({"a": np.ones((1,) * 9, np.float32)}, "shape"),
        ({"": U}, "name"),
        ({"a/b": U}, "name"),
        ({"a\n": U}, "name"),
        ({"a" * 201: U}, "name"),
        ({"__metadata__": U}, "name"),
        ({1: U}, "name"),
        ({"w.u": np.broadcast_to(np.float32(1), (4097, 4097))}, "rank"),
        ({"v": np.broadcast_to(np.float32(1), (4097, 4097))}, "rank"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_code(tensors, code):
    with pytest.raises(ObjectRejected) as caught:
        encode(tensors)
    assert caught.value.code == code


def test_the_rank_rule_is_about_the_last_part_of_a_name():
    wide = np.zeros((5000, 1), np.float32)
    names = {"w.u": wide, "w.v": wide.T, "flu": wide, "u.bias": np.zeros(5000, np.float32)}
    assert set(decode(encode(names)).tensors) == set(names)


def test_metadata_too_long_for_the_header_is_refused():
    with pytest.raises(ObjectRejected) as caught:
        encode({"a": U}, {"text": "x" * 1_000_000})
    assert caught.value.code == "header"


def test_metadata_without_canonical_form_is_refused():
    with pytest.raises(CanonicalError):
        encode({"a": U}, {"loss": float("nan")})


def test_an_object_above_the_limit_is_refused_before_it_is_built():
    huge = np.broadcast_to(np.float32(1), (2**15, 2**14 + 1))
    with pytest.raises(ObjectRejected) as caught:
        encode({"w": huge})
    assert caught.value.code == "size"
