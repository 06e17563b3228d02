"""The Merkle root of a release is that of RFC 6962, and the audit path of a fact leads to it."""

from __future__ import annotations

import hashlib

import pytest

from ledger import merkle

LEAVES = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(40)]


def by_hand(leaves: list[str]) -> str:
    """Level by level, an odd last node going up as it is: the same tree, drawn differently."""
    level = [hashlib.sha256(b"\x00" + bytes.fromhex(leaf)).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [p[0] if len(p) == 1 else hashlib.sha256(b"\x01" + p[0] + p[1]).digest()
                 for p in pairs]  # fmt: skip
    return level[0].hex()


@pytest.mark.parametrize("count", range(1, 41))
def test_the_root_and_every_path_to_it(count):
    leaves = LEAVES[:count]
    root = merkle.root(leaves)
    assert root == by_hand(leaves)
    for place, leaf in enumerate(leaves):
        beside = merkle.path(leaves, place)
        assert merkle.climbed(leaf, place, count, beside) == root
        assert merkle.climbed("ab" * 32, place, count, beside) != root


def test_no_facts_have_the_root_of_nothing():
    assert merkle.root([]) == hashlib.sha256(b"").hexdigest()


def test_order_and_number_count():
    roots = {merkle.root(leaves) for leaves in (LEAVES[:3], LEAVES[2::-1], LEAVES[:4], LEAVES[1:3])}
    assert len(roots) == 4
    with pytest.raises(IndexError):
        merkle.path(LEAVES[:3], 3)
