"""The Merkle root of a release: one hash for all the facts it carries (RFC 6962, section 2.1).

Promise: pure; another fact, order or number of facts gives another root. With `path` the presence
of one fact can be shown without naming the others.

    root([first, second])               # hex; the leaves are edit hashes, 32 bytes each
    path(leaves, 1)                     # the hashes beside the way from leaf 1 to the root
    climbed(leaves[1], 1, len(leaves), path(leaves, 1)) == root(leaves)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def root(leaves: Sequence[str]) -> str:
    """The root over hex leaves, in order; sha256 of nothing for none."""
    return _root([bytes.fromhex(leaf) for leaf in leaves]).hex()


def path(leaves: Sequence[str], place: int) -> list[str]:
    """The audit path of the leaf at `place`, from the leaf upwards. Raises: IndexError."""
    if not 0 <= place < len(leaves):
        raise IndexError(f"there is no leaf {place} of {len(leaves)}")
    return [node.hex() for node in _path([bytes.fromhex(leaf) for leaf in leaves], place)]


def climbed(leaf: str, place: int, count: int, beside: Sequence[str]) -> str:
    """The root that a leaf at `place` of `count` and its audit path lead to."""
    return _climbed(_leaf(bytes.fromhex(leaf)), place, count, list(beside)).hex()


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(count: int) -> int:
    """The largest power of two below `count`, for two and more."""
    return 1 << (count - 1).bit_length() - 1


def _root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return _leaf(leaves[0])
    half = _split(len(leaves))
    return _node(_root(leaves[:half]), _root(leaves[half:]))


def _path(leaves: Sequence[bytes], place: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    if place < half:
        return [*_path(leaves[:half], place), _root(leaves[half:])]
    return [*_path(leaves[half:], place - half), _root(leaves[:half])]


def _climbed(node: bytes, place: int, count: int, beside: list[str]) -> bytes:
    if count == 1:
        return node
    half, other = _split(count), bytes.fromhex(beside.pop())
    if place < half:
        return _node(_climbed(node, place, half, beside), other)
    return _node(other, _climbed(node, place - half, count - half, beside))
