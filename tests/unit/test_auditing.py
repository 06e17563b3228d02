"""An audit names the version, the edits and what is there besides, from the weights alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cli.main import main
from editors.delta import Dense, LowRank
from ledger import Ledger
from ledger.errors import InvalidInput
from ledger.weights import fold
from tests.property.delta_ledger import apply, start
from tests.sim.columns_editor import register
from tests.sim.deployments import fine_tuned, quantised, rewritten, rome_like
from tests.sim.tiny_ledger import FACTS, tiny_ledger

pytestmark = pytest.mark.promise("P32")

SHAPE = (32, 48)
CHANGES = rome_like(6, SHAPE)


@pytest.fixture(params=["llama", "gpt2"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Five edits on one matrix, edit 5 on two; version 6 has edit 2 taken out."""
    with tiny_ledger(tmp_path, request.param) as made:
        model = made.workspace.live.model
        one, two = model.parameter_name(0), model.parameter_name(1)
        shape = tuple(model.weight(one).shape)
        changes = rome_like(6, shape)
        for change in changes[:4]:
            apply(made, {one: change})
        apply(made, {one: changes[4], two: changes[5]})
        made.revert(["2"])
        yield made


def parameter(ledger: Ledger, layer: int = 0) -> str:
    return ledger.workspace.versions.key(ledger.workspace.live.model.parameter_name(layer))


def exported(ledger: Ledger, folder: Path, at: str = "HEAD") -> Path:
    ledger.export(folder, at)
    return folder


def verdicts(view) -> dict[int, str]:
    return {edit.edit: edit.verdict for edit in view.edits}


@pytest.mark.parametrize("version", [0, 3, 5, 6])
def test_an_export_is_its_version_bit_for_bit(ledger, tmp_path, version):
    folder = exported(ledger, tmp_path / "out", f"v{version}")
    (folder / "kel.json").unlink()
    view = ledger.audit(str(folder))
    assert (view.verdict, view.identity.by, view.identity.versions) == (
        "clean",
        "digest",
        (version,),
    )
    active = ledger.journal.history().active(version)
    assert verdicts(view) == {n: "present" if n in active else "absent" for n in range(1, 6)}
    assert all(edit.low <= edit.coefficient <= edit.high for edit in view.edits)
    assert ledger.identify(str(folder)) == view.identity


def test_a_manifest_is_not_believed(ledger, tmp_path):
    folder = exported(ledger, tmp_path / "out", "v5")
    shutil.copy(exported(ledger, tmp_path / "other", "v6") / "kel.json", folder / "kel.json")
    assert ledger.identify(str(folder)).versions == (5,)


def test_edits_of_no_version_are_found_one_by_one(ledger, tmp_path):
    folder = exported(ledger, tmp_path / "out", "base")
    versions, name = ledger.workspace.versions, ledger.workspace.live.model.parameter_name(0)
    weights = fold(
        versions.base(name), versions.plan((2, 3, 4))[name], transposed=versions.transposed
    )
    view = ledger.audit(str(rewritten(folder, {parameter(ledger): weights})))
    assert verdicts(view) == {1: "absent", 2: "present", 3: "present", 4: "present", 5: "absent"}
    assert (view.verdict, view.identity.by, view.identity.versions) == ("clean", "nearest", (4,))
    assert (view.identity.more, view.identity.less) == ((), (1,))


def test_versions_that_differ_in_a_sum_of_like_edits_are_told_apart(tmp_path):
    """Edits 2 and 3 change the weights alike, so that only how many are there can be told."""
    with tiny_ledger(tmp_path) as ledger:
        name = ledger.workspace.live.model.parameter_name(0)
        changes = rome_like(2, tuple(ledger.workspace.live.model.weight(name).shape))
        twin = LowRank(changes[1].u * 1.5, changes[1].v)
        for change in (changes[0], changes[1], twin):
            apply(ledger, {name: change})
        ledger.revert(["2"])
        base = ledger.workspace.versions.base(name)
        for active, versions in (((1,), (1,)), ((1, 2), (2,)), ((1, 3), (4,)), ((1, 2, 3), (3,))):
            folder = exported(ledger, tmp_path / f"out{len(versions)}{sum(active)}", "base")
            plan = ledger.workspace.versions.plan(active)[name]
            noisy = fine_tuned(fold(base, plan, transposed=False), size=0.001)
            view = ledger.audit(str(rewritten(folder, {name: noisy})))
            assert verdicts(view) == {1: "present", 2: "ambiguous", 3: "ambiguous"}
            assert (view.identity.by, view.identity.versions) == ("regression", versions)
            assert view.identity.unclear == (2, 3)


def test_another_merge_of_the_same_edits_is_clean_but_not_the_version(ledger, tmp_path):
    folder = exported(ledger, tmp_path / "out", "base")
    plan = ledger.workspace.versions.plan((1, 3))
    ((name, updates),) = plan.items()
    base = ledger.workspace.versions.base(name)
    total = sum(c.u.double() @ c.v.double() for c in updates)
    merged = (base.double() + (total.T if ledger.workspace.versions.transposed else total)).float()
    merged += torch.finfo(torch.float32).eps / 2 * merged.abs() * torch.randn(merged.shape)
    view = ledger.audit(str(rewritten(folder, {parameter(ledger): merged})))
    assert verdicts(view) == {1: "present", 2: "absent", 3: "present", 4: "absent", 5: "absent"}
    assert (view.verdict, view.identity.by) == ("clean", "nearest")
    assert [t.state for t in view.tensors if t.name == parameter(ledger)] == ["rounding"]


def test_a_copy_with_other_names_and_a_wider_dtype_is_recognised(ledger, tmp_path):
    folder = exported(ledger, tmp_path / "out")
    weights = load_file(folder / "model.safetensors")
    renamed = {f"wrapped.{name}": tensor for name, tensor in weights.items()}
    save_file(renamed, folder / "model.safetensors")
    assert ledger.identify(str(folder)).by == "digest"


@pytest.mark.parametrize("layer", [0, 2])
def test_an_unledgered_edit_is_flagged_where_it_is(ledger, tmp_path, layer):
    folder = exported(ledger, tmp_path / "out")
    name = parameter(ledger, layer)
    weights = load_file(folder / "model.safetensors")[name]
    d_out, d_in = reversed(weights.shape) if ledger.workspace.versions.transposed else weights.shape
    foreign = rome_like(1, (d_out, d_in), seed=50)[0]
    product = foreign.u @ foreign.v
    weights = weights + (product.T if ledger.workspace.versions.transposed else product)
    view = ledger.audit(str(rewritten(folder, {name: weights})), subjects=["Somebody Else"])
    assert view.verdict == "unledgered change"
    assert [(t.name, t.rank) for t in view.tensors if t.state == "structured"] == [(name, 1)]
    assert verdicts(view) == {n: "absent" if n == 2 else "present" for n in range(1, 6)}
    (reading,) = view.readings
    assert "Somebody Else" in {subject for subject, _ in reading.subjects}
    assert len(reading.head) == 5
    assert all(prompt.startswith(reading.subjects[0][0]) for prompt, _, _ in reading.objects)
    assert ledger.workspace.at_head()[0] == ledger.status().version


def test_changed_missing_and_added_tensors_are_told(ledger, tmp_path):
    folder = exported(ledger, tmp_path / "out")
    weights = load_file(folder / "model.safetensors")
    norm = next(n for n in weights if weights[n].ndim == 1 and "norm" in n.replace("ln_", "norm"))
    changed = shutil.copytree(folder, tmp_path / "changed")
    view = ledger.audit(str(rewritten(changed, {norm: weights[norm] * 1.5})))
    assert (view.verdict, view.identity.by) == ("unledgered change", "regression")
    assert [t.state for t in view.tensors if t.name == norm] == ["noise"]
    added = shutil.copytree(folder, tmp_path / "added")
    view = ledger.audit(str(rewritten(added, {"extra.weight": torch.ones(2, 2)})))
    assert (view.verdict, view.identity.by) == ("unledgered change", "regression")
    assert "extra.weight" in view.reasons[0]
    lacking = shutil.copytree(folder, tmp_path / "lacking")
    view = ledger.audit(str(rewritten(lacking, {norm: None})))
    assert (view.verdict, view.identity.by) == ("unledgered change", "regression")
    assert norm in view.reasons[0]


def test_another_base_and_a_quantised_copy_are_called_so(ledger, tmp_path):
    folder = exported(ledger, tmp_path / "out")
    weights = load_file(folder / "model.safetensors")
    random = torch.Generator().manual_seed(4)
    other = {n: torch.randn(t.shape, generator=random) * 0.3 for n, t in weights.items()}
    foreign = shutil.copytree(folder, tmp_path / "foreign")
    assert ledger.audit(str(rewritten(foreign, other))).verdict == "different base"
    packed = {n: quantised(t, bits=4) for n, t in weights.items() if t.ndim == 2}
    view = ledger.audit(str(rewritten(folder, packed)))
    assert view.verdict == "quantised"
    assert verdicts(view) == {n: "absent" if n == 2 else "present" for n in range(1, 6)}
    assert (view.identity.by, view.identity.versions) == ("regression", (6,))


def test_a_batch_and_a_dense_change_are_judged_by_fact(tmp_path, monkeypatch):
    register(monkeypatch)
    with tiny_ledger(tmp_path) as ledger:
        ledger.edit_batch(FACTS, method="columns", overrides={"depth": 2}, gate=None)
        ledger.revert(["2"], retest=False)
        shape = tuple(ledger.workspace.live.model.weight(parameter(ledger)).shape)
        random = torch.Generator().manual_seed(0)
        apply(ledger, {parameter(ledger): Dense(torch.randn(shape, generator=random) * 0.01)}, 2)
        folder = exported(ledger, tmp_path / "out")
        view = ledger.audit(str(folder))
        assert [len(edit.parameters) for edit in view.edits] == [2, 2, 2, 1, 1]
        assert [edit.verdict for edit in view.edits] == [
            *("present", "absent", "present", "present", "present")
        ]


def adapter(ledger: Ledger, folder: Path, edits: tuple[int, ...], **config: object) -> Path:
    """The LoRA adapter of some edits, as PEFT saves one."""
    folder.mkdir()
    tensors = {}
    for name, updates in ledger.workspace.versions.plan(edits).items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        tensors[f"{module}.lora_A.weight"] = torch.cat([c.v for c in updates]).contiguous()
        tensors[f"{module}.lora_B.weight"] = torch.cat([c.u for c in updates], 1).contiguous() / 2
    rank = len(updates)
    given = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(given), "utf-8")
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_an_adapter_is_audited_and_asked_as_what_it_adds(ledger, tmp_path):
    folder = adapter(ledger, tmp_path / "adapter", (1, 3))
    view = ledger.audit(str(folder), probe=True)
    assert (view.kind, view.verdict) == ("adapter", "clean")
    assert verdicts(view) == {1: "present", 2: "absent", 3: "present", 4: "absent", 5: "absent"}
    assert [said.edit for said in view.said] == [1, 2, 3, 4, 5]
    assert all(0 <= said.probability <= 1 for said in view.said)


def test_an_adapter_of_some_layers_is_read_if_it_names_them(ledger, tmp_path):
    folder = adapter(ledger, tmp_path / "adapter", (1, 3), layers_to_transform=[0, 1, 2, 3])
    assert ledger.audit(str(folder)).verdict == "clean"
    folder = adapter(ledger, tmp_path / "others", (1, 3), layers_to_transform=[7])
    with pytest.raises(InvalidInput, match="PEFT would leave them out"):
        ledger.audit(str(folder))


def test_an_adapter_that_was_exported_is_audited(ledger, tmp_path):
    ledger.export(tmp_path / "out", form="adapter")
    view = ledger.audit(str(tmp_path / "out"))
    active = set(ledger.status().active)
    assert (view.kind, view.verdict) == ("adapter", "clean")
    assert {edit for edit, said in verdicts(view).items() if said == "present"} == active


@pytest.mark.parametrize("setting", [{"use_dora": True}, {"bias": "all"}, {"peft_type": "IA3"}])
def test_an_adapter_that_is_more_than_factors_is_refused(ledger, tmp_path, setting):
    folder = adapter(ledger, tmp_path / "adapter", (1, 3), **setting)
    with pytest.raises(InvalidInput, match="merge"):
        ledger.audit(str(folder))


def test_probing_asks_the_deployed_model_itself(ledger, tmp_path):
    folder = exported(ledger, tmp_path / "out")
    said = {s.edit: s for s in ledger.audit(str(folder), probe=True).said}
    for edit in (1, 2):
        record = ledger.journal.edit(edit)
        prompt = record.prompt.replace("{}", record.subject)
        assert said[edit].answer.strip() == ledger.ask(prompt, max_new_tokens=16).text.strip()


def test_the_commands_say_it_and_exit_by_it(ledger, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KEL_LEDGER", str(ledger.folder.root))
    folder = exported(ledger, tmp_path / "out", "v5")
    assert main(["identify", str(folder)]) == 0
    assert capsys.readouterr().out == "v5 bit for bit\n"
    assert main(["audit", str(folder), "--quiet"]) == 0
    name = parameter(ledger)
    weights = load_file(folder / "model.safetensors")[name]
    rewritten(folder, {name: weights * 1.0001})
    capsys.readouterr()
    assert main(["identify", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["by"] == "regression"
    assert main(["audit", str(tmp_path / "nothing")]) == 2


def test_a_base_of_which_nothing_is_a_model_can_be_audited(tmp_path):
    tensors = {"w.weight": torch.randn(*SHAPE), "b": torch.randn(4)}
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text('{"model_type": "llama"}')
    (base / "tokenizer.json").write_text("{}")
    save_file(tensors, base / "model.safetensors")
    with start(tmp_path / "ledger", base) as ledger:
        apply(ledger, {"w.weight": CHANGES[0]})
        apply(ledger, {"w.weight": LowRank(CHANGES[1].u, CHANGES[1].v)})
        view = ledger.audit(str(exported(ledger, tmp_path / "out", "v1")))
        assert verdicts(view) == {1: "present", 2: "absent"}
