"""Hashes cover all content, in any order of arrival, and nothing local."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import chain
from ledger.fields import stored
from ledger.records import BatchRecord, EntryRecord
from tests.sim.ledger_sample import BASE, fact

BATCH = BatchRecord(oid=BASE, method="rome", layers=[1], seed=4, created_at="t")
ENTRY = stored(EntryRecord(seq=1, op="init", weights_digest=BASE, prev_hash=chain.ZERO))
KEYS = st.tuples(st.sampled_from(["tag", "edit", "object"]), st.integers(1, 50))


def row(table, number):
    return table, {"id": number, "oid": f"{number:064}", "note": f"{table}{number}"}


@given(st.lists(KEYS, unique=True, max_size=12), st.randoms())
def test_the_digest_of_rows_does_not_depend_on_the_order_they_come_in(keys, random):
    rows = [row(*key) for key in keys]
    shuffled = random.sample(rows, len(rows))
    assert chain.rows_digest(shuffled) == chain.rows_digest(rows)


@given(st.lists(KEYS, unique=True, min_size=1, max_size=8), st.data())
def test_the_digest_of_rows_changes_with_any_row(keys, data):
    rows = [row(*key) for key in keys]
    index = data.draw(st.integers(0, len(rows) - 1))
    table, columns = rows[index]
    without = rows[:index] + rows[index + 1 :]
    changed = [*without, (table, columns | {"note": "other"})]
    moved = [*without, ("stats", columns)]
    digests = {chain.rows_digest(some) for some in (rows, without, changed, moved)}
    assert len(digests) == 4


@pytest.mark.promise("P7")
@pytest.mark.parametrize("column", [name for name in ENTRY if name != "hash"])
def test_the_hash_of_an_entry_covers_every_column(column):
    other = ENTRY | {column: "other"}
    assert chain.entry_hash(other) != chain.entry_hash(ENTRY)


def test_the_hash_of_an_entry_leaves_itself_out():
    assert chain.entry_hash(ENTRY | {"hash": "x"}) == chain.entry_hash(ENTRY)


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    ("column", "covered"),
    [
        *[(name, True) for name in ("subject", "prompt", "target_new", "target_true", "probes")],
        *[("component", True), ("language", True), ("created_at", True)],
        *[(name, False) for name in ("id", "batch_id", "entry_seq", "hash")],
    ],
)
def test_the_hash_of_an_edit_covers_its_content_and_not_its_numbers(column, covered):
    edit, batch = stored(fact("Rome")), stored(BATCH)
    changed = chain.edit_hash(edit | {column: "7"}, batch) != chain.edit_hash(edit, batch)
    assert changed == covered


@pytest.mark.parametrize("column", ["oid", "method", "layers", "hparams", "seed", "evidence"])
def test_the_hash_of_an_edit_covers_how_it_was_made(column):
    edit, batch = stored(fact("Rome")), stored(BATCH)
    assert chain.edit_hash(edit, batch | {column: "7"}) != chain.edit_hash(edit, batch)


def test_hashes_are_what_they_were():
    assert chain.digest({"b": 1, "a": [1.5, None]}) == (
        "cf0c4895ed707baaf7f40eaf8263541a10f2599db4d8955d035dc0a8f254ee32"
    )
    assert chain.rows_digest([]) == (
        "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
    )


@given(st.dictionaries(st.text("abc.", min_size=1), st.text("0123")))
def test_a_history_taken_back_has_the_weights_of_one_that_never_was(tensors):
    empty = chain.weights_digest(BASE, {})
    assert chain.weights_digest(BASE, dict(reversed(tensors.items()))) == chain.weights_digest(
        BASE, tensors
    )
    assert (chain.weights_digest(BASE, tensors) == empty) == (not tensors)
