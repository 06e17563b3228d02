"""A ledger on another base: what is known, kept, made again or failed; the old one untouched."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.commands.facts import as_csv
from editors.model import EditableModel
from editors.requests import EditRequest
from ledger import Gate, Ledger
from ledger.editing import states
from ledger.errors import Conflict, InvalidInput
from ledger.evaluation.scoring import Question, predict
from ledger.rebasing.recording import Recording
from ledger.rebasing.report import KEY
from ledger.rebasing.views import RebaseOptions
from store.errors import StoreWriteError
from tests.contract.tiny import TINY
from tests.e2e.harness import copied, picture
from tests.sim.columns_editor import register
from tests.sim.tiny_ledger import FACTS, tiny_ledger

QUICK = {"layer": 0, "overrides": {"second_moment": "identity", "max_update_ratio": 10000}}
COLUMNS = {"method": "columns", "gate": None}
OPEN = RebaseOptions(gate=None)
AGAIN = replace(FACTS[2], target_new="Warsaw", source="the parish book")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an old ledger, its base, a twin of that and another base."""
    folder = tmp_path_factory.mktemp("rebase")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        with tiny_ledger(folder) as ledger:
            ledger.edit_batch(FACTS[:2], author="bea", note="the registry", **COLUMNS)
            ledger.edit(FACTS[2], **COLUMNS)
            ledger.edit(AGAIN, overrides={"ridge": 0.5}, layer=1, **COLUMNS)
            ledger.edit(EditRequest("Paris", "{} lies in", "Ulm"), **COLUMNS)
            ledger.revert(["5"])
    shutil.copytree(folder / "base", folder / "twin")
    (folder / "twin" / "generation_config.json").write_text('{"max_length": 7}', "utf-8")
    TINY["gpt2"](folder / "other")
    return folder


@pytest.fixture
def source(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Edits 1 and 2 are a batch of bea's, 3 is superseded by 4, 5 is taken out."""
    register(monkeypatch)
    with Ledger.open(copied(made / "ledger", tmp_path / "ledger"), author="ann") as ledger:
        yield ledger


@pytest.fixture
def twin(made: Path) -> Path:
    """The old base with another file beside its weights: the same tensors, another base."""
    return made / "twin"


@pytest.fixture
def other(made: Path) -> Path:
    """Another architecture."""
    return made / "other"


@pytest.fixture(scope="module")
def known(made: Path) -> EditRequest:
    """A fact that a model of random weights states: a word that it goes on with by itself."""
    model = EditableModel.load(made / "other")
    subjects = ("Warsaw", "Paris", "Alan Turing", "Marie Curie", "Poland", "Cambridge")
    asked = [(name, f"{{}} {verb}") for name in subjects for verb in ("is", "lives in", "was in")]
    for name, prompt in asked:
        (said,) = model.generate([prompt.replace("{}", name)], 1)
        if said.startswith(" ") and said.strip().isalpha():
            request = EditRequest(name, prompt, said.strip())
            (found,) = predict(model, [Question(request.text, request.target_new)])
            if states(request, found):
                return request
    raise LookupError("the model says no word; give it other prompts")


def oids(ledger: Ledger) -> list[str]:
    active = ledger.journal.edits(ledger.status().active)
    return [str(ledger.journal.batch(edit.batch_id).oid) for edit in active]


def test_on_equal_tensors_the_stored_deltas_are_kept_and_the_old_ledger_is_untouched(
    source, twin, tmp_path
):
    before = picture(source.folder.root)
    told: list[str] = []
    view = source.rebase(
        str(twin), tmp_path / "new", options=OPEN, told=lambda row: told.append(row.outcome)
    )
    assert picture(source.folder.root) == before
    assert told == [row.outcome for row in view.rows] == ["kept"] * 3
    assert [(row.source, row.edit) for row in view.rows] == [(1, 1), (2, 2), (4, 3)]
    assert view.counts["kept"] == view.facts == 3
    assert view.done
    with Ledger.open(tmp_path / "new") as made:
        assert made.verify(weights=True) == []
        source.revert(["3"])  # superseded, so not carried over
        assert oids(made) == oids(source)
        tensors = made.journal.entry_of(made.status().version).tensors
        assert tensors == source.journal.entry_of(source.status().version).tensors


def test_provenance_and_credit_go_along(source, twin, tmp_path):
    origin = source.journal.entry_of(source.status().version)
    source.rebase(str(twin), tmp_path / "new", options=OPEN)
    with Ledger.open(tmp_path / "new", author="cy") as made:
        (first,) = made.journal.entries(limit=1)
        told = first.payload[KEY]["source"]
        assert told["entry"] == {"seq": origin.seq, "hash": origin.hash}
        assert (told["version"], told["base"]["digest"]) == (5, source.status().base.digest)
        one, three = made.show("1"), made.show("3")
        assert (one.author, three.author) == ("bea", "ann")
        assert one.note == f"the registry\nrebased from {origin.hash[:12]} edits 1, 2"
        assert three.note == f"rebased from {origin.hash[:12]} edit 4"
        assert [fact.author for fact in made.facts()] == ["bea", "bea", "ann"]
        assert made.facts()[2].source == "the parish book"
        assert made.rebase_report().rows[2].request == AGAIN.to_json()
        assert made.log()[-1].facts == (f"rebased from version 5 of {origin.hash[:12]}",)
        applied = made.journal.entry_of(1).payload[KEY]
        assert applied["hashes"] == [source.show(n).hash for n in "12"]


def test_another_architecture_gets_its_own_layers_and_batches_stay_batches(source, other, tmp_path):
    view = source.rebase(str(other), tmp_path / "new", options=OPEN)
    assert [row.outcome for row in view.rows] == ["recomputed"] * 3
    assert "layer 1 of llama of 3 layers does not carry over" in " ".join(view.notes)
    assert "not carried over: 3" in view.notes[0]
    with Ledger.open(tmp_path / "new") as made:
        assert [line.edits for line in made.log() if line.op == "apply"] == [(3,), (1, 2)]
        # The layer is the table's for the new model, what was chosen by hand goes along.
        assert made.show("3").hparams == {**source.show("4").hparams, "layer": 0}
        assert made.show("3").hparams["ridge"] == 0.5
        assert made.verify(weights=True) == []
        again = made.rebase_report()
    assert again == view


def test_what_the_new_base_states_is_left_to_it(source, other, known, tmp_path):
    source.edit(known, **COLUMNS)
    view = source.rebase(str(other), tmp_path / "new", options=OPEN)
    (row,) = [row for row in view.rows if row.outcome == "known"]
    assert (row.edit, row.metrics["reliability"], view.facts) == (None, 1.0, 4)
    with Ledger.open(tmp_path / "new") as made:
        assert len(made.status().active) == 3
        (fact,) = made.known_facts()
        assert (fact.object, fact.author, fact.reliability) == (known.target_new, "ann", 1.0)
        assert made.known_facts(search="nobody") == []
        (row,) = csv.DictReader(io.StringIO(as_csv([fact])))
        assert (row["edit"], row["object"], row["author"]) == ("", known.target_new, "ann")
        assert any(line.facts[:1] and "known to the base" in line.facts[0] for line in made.log())
        made.edit(replace(known, target_new="Ulm"), **COLUMNS)
        assert made.known_facts() == []
    view = source.rebase(
        str(other), tmp_path / "all", options=RebaseOptions(gate=None, keep_known=True)
    )
    assert view.counts["recomputed"] == 4


def test_facts_that_do_not_hold_in_the_end_are_lost(source, other, known, tmp_path, monkeypatch):
    """The base's own fact too, once an edit makes the model say something else."""
    source.edit(known, **COLUMNS)
    carry = Recording.closing

    def disturbed(self: Recording, options: RebaseOptions) -> None:
        with Ledger.open(tmp_path / "new") as made:
            made.edit(replace(known, target_new="Ulm"), method="rome", gate=None, **QUICK)
        carry(self, options)

    monkeypatch.setattr(Recording, "closing", disturbed)
    view = source.rebase(str(other), tmp_path / "new", options=OPEN)
    assert not view.survived
    assert view.counts["lost"] == 4
    assert {row.holds for row in view.rows} == {False}


def test_a_refused_batch_and_one_the_method_cannot_make_are_failures(source, other, tmp_path):
    options = RebaseOptions(gate=Gate(min_reliability=1.0), overrides={"columns": 1})
    view = source.rebase(str(other), tmp_path / "new", options=options)
    assert view.counts["failed"] == 3
    assert not view.survived
    both, last = view.rows[0], view.rows[2]
    assert (both.edit, last.edit) == (None, 1)
    assert "1 columns" in both.reasons[0]
    assert "reliability" in last.reasons[0]
    with Ledger.open(tmp_path / "new") as made:
        assert made.status().rejected == (1,)
        assert made.status().active == ()
        assert made.verify() == []


def test_an_interrupted_rebase_goes_on_where_it_was(source, other, tmp_path, monkeypatch):
    whole = source.rebase(str(other), tmp_path / "whole", options=OPEN)

    def stop(row: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.rebase(str(other), tmp_path / "new", options=OPEN, told=stop)
    with Ledger.open(tmp_path / "new") as made:
        half = made.rebase_report()
    assert (len(half.rows), half.done, half.survived) == (2, False, False)
    for point in ("inserted-batch", "inserted-entry"):
        with monkeypatch.context() as patch:
            patch.setattr("ledger.journal._point", killed_at(point))
            with pytest.raises(KeyboardInterrupt):
                source.rebase(str(other), tmp_path / "new", options=OPEN)
    view = source.rebase(str(other), tmp_path / "new", options=OPEN)
    assert view.done
    assert [(r.source, r.edit, r.outcome) for r in view.rows] == [
        (r.source, r.edit, r.outcome) for r in whole.rows
    ]
    with Ledger.open(tmp_path / "new") as one, Ledger.open(tmp_path / "whole") as two:
        assert one.status().weights_digest == two.status().weights_digest
        entries = one.status().entries
    assert source.rebase(str(other), tmp_path / "new", options=OPEN) == view
    with Ledger.open(tmp_path / "new") as made:
        assert made.status().entries == entries


def killed_at(name: str):
    def point(reached: str) -> None:
        if reached == name:
            raise KeyboardInterrupt

    return point


def test_no_half_made_folder_is_left(source, other, tmp_path, monkeypatch):
    monkeypatch.setattr("ledger.journal._point", killed_at("inserted-model"))
    with pytest.raises(KeyboardInterrupt):
        source.rebase(str(other), tmp_path / "new", options=OPEN)
    assert not (tmp_path / "new").exists()


def test_another_rebase_or_another_folder_is_refused(source, other, twin, tmp_path):
    place = tmp_path / "new"
    source.rebase(str(other), place, options=OPEN)
    before = picture(place)
    with pytest.raises(Conflict, match=r"method was null, now columns"):
        source.rebase(str(other), place, options=RebaseOptions(gate=None, method="columns"))
    with pytest.raises(Conflict, match=r"base was .*other, now .*twin"):
        source.rebase(str(twin), place, options=OPEN)
    with pytest.raises(Conflict, match=r"version was 5, now 1"):
        source.rebase(str(other), place, "v1", options=OPEN)
    with pytest.raises(Conflict, match="no rebase made"):
        source.rebase(str(other), source.folder.root, options=OPEN)
    with pytest.raises(StoreWriteError, match="exists already"):
        source.rebase(str(other), other, options=OPEN)
    with pytest.raises(InvalidInput, match="carries no facts"):
        source.rebase(str(other), tmp_path / "none", "base", options=OPEN)
    with pytest.raises(InvalidInput, match="not made by a rebase"):
        source.rebase_report()
    assert picture(place) == before
    assert not (tmp_path / "none").exists()


def test_a_dry_run_tells_and_leaves_nothing(source, other, twin, known, tmp_path):
    source.edit(known, **COLUMNS)
    before = picture(tmp_path)
    view = source.rebase(str(other), dry_run=True)
    assert [row.outcome for row in view.rows] == ["recomputed"] * 3 + ["known"]
    assert view.rows[3].request["target_new"] == known.target_new
    assert [r.outcome for r in source.rebase(str(twin), dry_run=True).rows] == ["kept"] * 4
    assert picture(tmp_path) == before
    assert view.directory == str(source.folder.root.parent / "ledger-on-other")


def test_a_resolved_batch_goes_back_to_the_batches_that_stated_it(source, other, twin, tmp_path):
    source.resolve_active(gate=None)
    view = source.rebase(str(other), tmp_path / "new", options=OPEN)
    assert {row.method for row in view.rows} == {"columns"}
    assert sorted(row.source for row in view.rows) == [6, 7, 8]
    with Ledger.open(tmp_path / "new") as made:
        assert [len(line.edits) for line in made.log() if line.op == "apply"] == [1, 2]
        assert [fact.author for fact in made.facts()] == ["bea", "bea", "ann"]
    kept = source.rebase(str(twin), tmp_path / "kept", options=OPEN)
    assert kept.counts["kept"] == 3
    with Ledger.open(tmp_path / "kept") as made:
        assert [fact.edit for fact in made.facts()] == [1, 2, 3]
        assert made.verify(weights=True) == []


def test_a_kept_batch_can_be_solved_again_with_the_moments_it_was_made_with(source, twin, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("The capital of France is Paris.\nThe old city lies in Poland.\n", "utf-8")
    source.stats([0], corpus=corpus, tokens=20)
    source.revert(["1", "2", "4"])
    source.edit(FACTS[0], overrides={"second_moment": "corpus"}, **COLUMNS)
    source.rebase(str(twin), tmp_path / "new", options=OPEN)
    with Ledger.open(tmp_path / "new") as made:
        (outcome,) = made.resolve_active(gate=None)
        assert outcome.resolved.outcome == "applied"
        assert made.verify(weights=True) == []
        # An edit made here has its own base's moments.
        assert made.stats([0], corpus=corpus, tokens=20)[0].count > 0


def test_a_method_for_all_takes_as_many_facts_as_it_is_told(source, other, tmp_path):
    options = RebaseOptions(gate=None, method="columns", batch=3, layer=1)
    view = source.rebase(str(other), tmp_path / "new", options=options)
    assert {row.layers for row in view.rows} == {(1,)}
    with Ledger.open(tmp_path / "new") as made:
        assert [line.edits for line in made.log() if line.op == "apply"] == [(1, 2, 3)]
        assert made.show("1").author == source.author
    with pytest.raises(InvalidInput, match="goes with a method"):
        RebaseOptions(batch=2)
    with pytest.raises(InvalidInput, match="a new ledger has none"):
        source.rebase(str(other), tmp_path / "not", options=RebaseOptions(layer="traced"))


def test_the_new_ledger_travels_as_a_bundle(source, other, known, tmp_path):
    source.edit(known, **COLUMNS)
    view = source.rebase(str(other), tmp_path / "new", options=OPEN)
    with Ledger.open(tmp_path / "new") as made:
        made.export(tmp_path / "bundle", form="bundle")
    Ledger.import_bundle(tmp_path / "bundle", tmp_path / "back", author="dee")
    with Ledger.open(tmp_path / "back") as made:
        assert replace(made.rebase_report(), directory=view.directory) == view
    assert json.loads((tmp_path / "bundle" / "kel.json").read_text("utf-8"))["form"] == "bundle"
