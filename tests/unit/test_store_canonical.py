"""Canonical JSON: one value, one text, on every machine."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.canonical import MAX_DEPTH, canonical_json, strict_json
from store.errors import CanonicalError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUE = st.recursive(LEAF, lambda v: st.lists(v, max_size=4) | st.dictionaries(TEXT, v, max_size=4))


@given(VALUE)
def test_reading_gives_back_what_was_written(value):
    assert strict_json(canonical_json(value)) == value


@given(VALUE)
def test_it_is_plain_json_and_a_fixed_point(value):
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(strict_json(data)) == data


@given(st.dictionaries(TEXT, LEAF), st.randoms())
def test_the_order_of_a_mapping_does_not_matter(mapping, rng):
    items = list(mapping.items())
    rng.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(mapping)


def test_known_texts():
    value = {"b": (1, 2.5, None), "a": {"é": '\n"中'}, "B": -0.0, "c": [True, 1e100]}
    expected = '{"B":-0.0,"a":{"é":"\\n\\"中"},"b":[1,2.5,null],"c":[true,1e+100]}'
    assert canonical_json(value) == expected.encode()


def cyclic():
    value = []
    value.append(value)
    return value


def nested(levels):
    value = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), -float("inf"), [float("nan")], {1: 2}, {None: 1}, {"a": {2: 1}},
        b"bytes", {1, 2}, object(), "\ud800", {"\udfff": 1}, 10**400, -(10**400), cyclic(),
        nested(MAX_DEPTH + 1), nested(5000), 1j,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_value_without_canonical_form_is_refused(value):
    with pytest.raises(CanonicalError):
        canonical_json(value)


def test_the_bounds_themselves_are_accepted():
    for value in (nested(MAX_DEPTH), 10**400 - 1, 1 - 10**400, {}, [], ""):
        assert strict_json(canonical_json(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"nul", b"NaN", b"Infinity", b"[-Infinity]", b'{"a":1,"a":2}', b"\xff", b"1e999",
        b"9" * 401, b"-" + b"9" * 401, b"[" * 100_000, b"[" * 66 + b"]" * 66, b"{} {}", b"{'a':1}",
        b"[1,]", b"\xef\xbb\xbf{}",
    ],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_text_that_is_not_strict_json_is_refused(text):
    with pytest.raises(CanonicalError):
        strict_json(text)


def test_the_error_is_a_value_error_for_callers_that_know_only_json():
    with pytest.raises(ValueError, match="not a string"):
        canonical_json({1: 1})
