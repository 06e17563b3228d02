"""Named malformed objects, each with the rule that must refuse it.

Promise: `corpus()` gives (name, bytes, code) for every attack; each differs from an accepted object
in the one thing its name says. Built by this script, so that no hostile file lies in the tree.

    for name, data, code in corpus():
        ...
"""

import json
import struct
from collections.abc import Iterator
from typing import Any

HOSTILE_NAMES = {
    "dotdot": "../../etc/x",
    "absolute": "/etc/passwd",
    "nul": "a\x00b",
    "empty": "",
    "space": "a b",
    "newline": "a\n",
    "non-ascii": "ü",
    "look-alike": "раss",
    "too-long": "a" * 201,
    "markup": "<script>",
    "surrogate": "\ud800",
    "template": "{0.__class__}",
}


def pack(header: bytes | str, body: bytes = b"", length: int | None = None) -> bytes:
    """A file of this header, padded as the canonical form asks."""
    raw = header.encode("utf-8", "surrogatepass") if isinstance(header, str) else header
    raw = raw.ljust(-(-len(raw) // 8) * 8)
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body


def compact(entries: dict[str, Any]) -> str:
    """Compact JSON of a header, keys in the order given."""
    return json.dumps(entries, separators=(",", ":"))


def entry(start: int = 0, end: int = 4, shape: Any = (1,), dtype: Any = "F32", **more: Any) -> dict:
    """One tensor of a header, with whatever is given in place of the right thing."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end], **more}


ONE = compact({"a": entry()})
BODY = bytes(4)


def corpus() -> Iterator[tuple[str, bytes, str]]:
    """All attacks."""
    for group in (_lengths, _json, _metadata, _names, _entries, _tilings, _values, _forms):
        yield from group()


def _lengths() -> Iterator[tuple[str, bytes, str]]:
    good = pack(ONE, BODY)
    yield "no bytes", b"", "short"
    yield "seven bytes", bytes(7), "short"
    yield "length zero", struct.pack("<Q", 0) + good[8:], "header"
    yield "length 2^64-1", b"\xff" * 8 + good[8:], "header"
    yield "length 2^63", struct.pack("<Q", 2**63) + good[8:], "header"
    yield "length above the limit", struct.pack("<Q", 1_000_008) + good[8:], "header"
    yield "length not a multiple of 8", struct.pack("<Q", len(ONE) | 1) + good[8:], "header"
    yield "length beyond the end", struct.pack("<Q", 800) + good[8:], "short"
    yield "header only half there", good[:30], "short"
    yield "last byte missing", good[:-1], "short"
    yield "one byte too many", good + b"\x00", "trailing"
    yield "a second file behind the first", good + good, "trailing"
    yield "an archive behind the tensors", good + b"PK\x03\x04" + bytes(18), "trailing"


def _json() -> Iterator[tuple[str, bytes, str]]:
    nested = "[" * 100_000 + "]" * 100_000
    yield "not JSON", pack("hello!!!"), "json"
    yield "pickle", pack(b"\x80\x04K\x01."), "json"
    yield "array", pack("[]"), "json"
    yield "null", pack("null"), "json"
    yield "not UTF-8", pack(b'{"a\xff":1}'), "json"
    yield "byte order mark", pack(b"\xef\xbb\xbf" + ONE.encode(), BODY), "json"
    yield "two values", pack(ONE + "{}", BODY), "json"
    yield "tensor twice", pack(ONE[:-1] + "," + ONE[1:], BODY), "json"
    yield "field twice", pack(ONE.replace('"shape"', '"dtype":"F32","shape"'), BODY), "json"
    yield (
        "metadata twice",
        pack('{"__metadata__":{"kel":"{}"},"__metadata__":{"kel":"{}"}}'),
        "json",
    )
    yield "NaN", pack('{"a":NaN}'), "json"
    yield "infinity", pack('{"a":-Infinity}'), "json"
    yield "float out of range", pack('{"a":1e999}'), "json"
    yield "nested lists", pack(nested), "json"
    yield "nested objects", pack('{"a":' * 50_000 + "1" + "}" * 50_000), "json"
    yield "nesting just below the parser's own bound", pack("[" * 300 + "]" * 300), "json"
    yield "huge integer", pack(ONE.replace("[1]", "[" + "9" * 900_000 + "]"), BODY), "json"
    yield "comment", pack(ONE + "//", BODY), "json"


def _metadata() -> Iterator[tuple[str, bytes, str]]:
    def meta(value: Any, code: str, name: str) -> tuple[str, bytes, str]:
        return name, pack(compact({"__metadata__": value})), code

    yield meta({}, "metadata", "metadata without a key")
    yield meta({"kel": "{}", "x": "y"}, "metadata", "metadata with two keys")
    yield meta({"format": "pt"}, "metadata", "metadata with another key")
    yield meta({"kel": 1}, "metadata", "metadata is a number")
    yield meta({"kel": {"a": 1}}, "metadata", "metadata is nested")
    yield meta("kel", "metadata", "metadata is a string")
    yield meta(None, "metadata", "metadata is null")
    yield meta({"kel": "hello"}, "metadata", "metadata is not JSON")
    yield meta({"kel": "[]"}, "metadata", "metadata is a list")
    yield meta({"kel": '{"a":NaN}'}, "metadata", "metadata has NaN")
    yield meta({"kel": '{"a":1,"a":1}'}, "metadata", "metadata has a key twice")
    yield meta({"kel": "[" * 9000 + "]" * 9000}, "metadata", "metadata is a nested bomb")
    yield meta({"kel": '{"a":"\\ud800"}'}, "metadata", "metadata has a lone surrogate")
    yield meta({"kel": '{"b":1,"a":1}'}, "canonical", "metadata keys not sorted")
    yield meta({"kel": '{"a": 1}'}, "canonical", "metadata has a space")
    yield meta({"kel": '{"a":1.00}'}, "canonical", "metadata has another form of a number")


def _names() -> Iterator[tuple[str, bytes, str]]:
    for label, name in HOSTILE_NAMES.items():
        yield f"name: {label}", pack(compact({name: entry()}), BODY), "name"


def _entries() -> Iterator[tuple[str, bytes, str]]:
    def one(value: Any, code: str, name: str) -> tuple[str, bytes, str]:
        return name, pack(compact({"a": value}), BODY), code

    yield one(1, "fields", "entry is a number")
    yield one({}, "fields", "entry is empty")
    yield one(entry(strides=[1]), "fields", "unknown field")
    yield one({"dtype": "F32", "shape": [1]}, "fields", "no offsets")
    for dtype in ("BF16", "F16", "I64", "BOOL", "U8", "f32", "", 1, None, ["F32"]):
        yield one(entry(dtype=dtype), "dtype", f"dtype {dtype!r}")
    for shape in ("1", None, [-1], [1.0], [True], [None], [[1]], {"0": 1}):
        yield one(entry(shape=shape), "shape", f"shape {shape!r}")
    yield one(entry(shape=[0], end=0), "shape", "empty tensor")
    yield one(entry(shape=[1] * 9), "shape", "nine dimensions")
    for offsets in ([0], [0, 4, 8], [0, "4"], [0, 4.0], [False, 4], None, [-4, 0]):
        yield one({**entry(), "data_offsets": offsets}, "offsets", f"offsets {offsets!r}")
    yield one(entry(4, 0), "offsets", "end before start")
    yield one(entry(0, 8), "offsets", "longer than its shape")
    yield one(entry(shape=[2**62, 2**62]), "offsets", "product overflows 64 bits")
    yield one(entry(0, 2**65, [2**63]), "short", "tensor larger than memory")
    big = {"u": entry(0, 4 * 4097**2, [4097, 4097])}
    yield "rank above the limit", pack(compact(big)), "rank"


def _tilings() -> Iterator[tuple[str, bytes, str]]:
    def two(a: dict, b: dict, name: str, code: str = "offsets") -> tuple[str, bytes, str]:
        return name, pack(compact({"a": a, "b": b}), bytes(8)), code

    yield two(entry(0, 4), entry(0, 4), "the same bytes twice")
    yield two(entry(0, 4), entry(2, 6), "overlap")
    yield two(entry(0, 4), entry(8, 12), "hole")
    yield two(entry(4, 8), entry(0, 4), "not in file order")
    yield "hole at the start", pack(compact({"a": entry(4, 8)}), bytes(8)), "offsets"
    many = {f"t{i}": entry(0, 0, [0]) for i in range(4097)}
    yield "4097 tensors", pack(compact(many)), "count"


def _values() -> Iterator[tuple[str, bytes, str]]:
    for name, value in {"NaN": "nan", "infinity": "inf", "minus infinity": "-inf"}.items():
        yield f"value {name}", pack(ONE, struct.pack("<f", float(value))), "finite"
        double = compact({"a": entry(0, 8, dtype="F64")})
        yield f"double {name}", pack(double, struct.pack("<d", float(value))), "finite"


def _forms() -> Iterator[tuple[str, bytes, str]]:
    space = json.dumps({"a": entry()})
    swapped = {"a": {"shape": [1], "dtype": "F32", "data_offsets": [0, 4]}}
    late = {"a": entry(), "__metadata__": {"kel": "{}"}}
    unsorted = {"b": entry(0, 4), "a": entry(4, 8)}
    yield "spaces in the header", pack(space, BODY), "canonical"
    yield "fields in another order", pack(compact(swapped), BODY), "canonical"
    yield "metadata at the end", pack(compact(late), BODY), "canonical"
    yield "names not sorted", pack(compact(unsorted), bytes(8)), "canonical"
    yield "padded with 8 more spaces", pack(ONE + " " * 16, BODY), "canonical"
    yield "padded with newlines", pack(ONE + "\n" * (-len(ONE) % 8 or 8), BODY), "canonical"
    yield "leading space", pack(" " + ONE, BODY), "canonical"
    yield "escaped name", pack(ONE.replace('"a"', '"\\u0061"'), BODY), "canonical"
    yield "minus zero as a size", pack(ONE.replace("[0,4]", "[-0,4]"), BODY), "canonical"
