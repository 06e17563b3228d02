"""What is planted in deployed weights is reported, each time, and clean ones are called clean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from editors.delta import LowRank
from ledger import Ledger
from ledger.auditing.views import AuditView
from ledger.weights import fold
from tests.property.delta_ledger import apply
from tests.sim.deployments import rewritten, rome_like
from tests.sim.tiny_ledger import tiny_ledger

pytestmark = pytest.mark.promise("P32")

EDITS = 6
SUBSETS = [(), (1,), (2, 6), (1, 3, 5), (2, 4, 5, 6), (1, 2, 3, 4, 5, 6)]
CLEAN = "{} clean deployments: 0 false alarms"
PLANTED = "{} planted conflicts and perturbations: each reported"


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def ledger(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ledger]:
    """Six edits of one matrix, version by version."""
    with tiny_ledger(tmp_path_factory.mktemp("planted"), request.param) as made:
        model = made.workspace.live.model
        name = model.parameter_name(0)
        for change in rome_like(EDITS, tuple(model.weight(name).shape)):
            apply(made, {name: change})
        yield made


def deployed(ledger: Ledger, folder: Path, edits: tuple[int, ...], *more: LowRank) -> Path:
    """A checkpoint with these edits, and with changes that the ledger does not know."""
    ledger.export(folder, "base")
    (folder / "kel.json").unlink()
    versions = ledger.workspace.versions
    name = ledger.workspace.live.model.parameter_name(0)
    plan = (*versions.plan(edits).get(name, ()), *more)
    weights = fold(versions.base(name), plan, transposed=versions.transposed)
    return rewritten(folder, {versions.key(name): weights})


def change_of(ledger: Ledger, edit: int) -> LowRank:
    ((change,),) = ledger.workspace.versions.plan((edit,)).values()
    assert isinstance(change, LowRank)
    return change


def verdicts(view: AuditView) -> dict[int, str]:
    return {edit.edit: edit.verdict for edit in view.edits}


def wanted(active: tuple[int, ...]) -> dict[int, str]:
    return {n: "present" if n in active else "absent" for n in range(1, EDITS + 1)}


@pytest.mark.parametrize("version", range(EDITS + 1))
def test_a_version_that_is_deployed_raises_no_alarm(ledger, tmp_path, figure, version):
    ledger.export(tmp_path / "out", f"v{version}")
    (tmp_path / "out" / "kel.json").unlink()
    view = ledger.audit(str(tmp_path / "out"))
    assert (view.verdict, view.reasons) == ("clean", ())
    assert verdicts(view) == wanted(tuple(range(1, version + 1)))
    assert (view.identity.by, view.identity.versions) == ("digest", (version,))
    figure("P32", CLEAN, 1)


@pytest.mark.parametrize("edits", SUBSETS, ids=str)
def test_edits_of_the_ledger_alone_raise_no_alarm(ledger, tmp_path, figure, edits):
    view = ledger.audit(str(deployed(ledger, tmp_path / "out", edits)))
    assert view.verdict == "clean"
    assert verdicts(view) == wanted(edits)
    figure("P32", CLEAN, 1)


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("edit", range(1, EDITS + 1))
def test_an_edit_that_was_overwritten_no_longer_counts_as_there(
    ledger, tmp_path, figure, edit, share
):
    """A later change, unknown to the ledger, takes an edit back, wholly or half."""
    change = change_of(ledger, edit)
    against = LowRank(change.u * -share, change.v)
    edits = tuple(range(1, EDITS + 1))
    view = ledger.audit(str(deployed(ledger, tmp_path / "out", edits, against)))
    word = "absent" if share == 1 else "partial"
    assert verdicts(view) == wanted(edits) | {edit: word}
    assert view.identity.less == ((edit,) if share == 1 and edit < EDITS else ())
    assert view.identity.unclear == ((edit,) if share < 1 else ())
    figure("P32", PLANTED, 1)


def places(ledger: Ledger) -> dict[str, str]:
    """The edited matrix, one that no edit changes, and a vector."""
    versions, model = ledger.workspace.versions, ledger.workspace.live.model
    edited, other = (versions.key(model.parameter_name(layer)) for layer in (0, 1))
    vector = next(
        n for n in versions.checkpoint.names() if len(versions.checkpoint.entry(n).shape) == 1
    )
    return {"edited": edited, "unedited": other, "vector": vector}


def perturbed(weights: torch.Tensor, size: float) -> torch.Tensor:
    """By one step of one number, or everywhere by a share of it."""
    if not size:
        first = weights.flatten()[0]
        moved = weights.clone()
        moved.view(-1)[0] = torch.nextafter(first, torch.tensor(9.0))
        return moved
    noise = torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
    return weights * (1 + size * noise)


@pytest.mark.parametrize("place", ["edited", "unedited", "vector"])
@pytest.mark.parametrize("size", [0.0, 1e-3, 1e-1], ids=["1 ulp", "1e-3", "1e-1"])
def test_weights_that_were_perturbed_are_not_the_version(ledger, tmp_path, figure, place, size):
    name = places(ledger)[place]
    edits = tuple(range(1, EDITS + 1))
    folder = deployed(ledger, tmp_path / "out", edits)
    weights = load_file(folder / "model.safetensors")[name]
    view = ledger.audit(str(rewritten(folder, {name: perturbed(weights, size)})))
    assert view.identity.by != "digest"
    (changed,) = [tensor for tensor in view.tensors if tensor.state != "exact"]
    assert (changed.name, changed.state) == (name, "noise" if size else "rounding")
    assert view.verdict == ("unledgered change" if size else "clean")
    assert any(name in reason for reason in view.reasons)
    assert verdicts(view) == wanted(edits)
    figure("P32", PLANTED, 1)


@pytest.mark.parametrize(
    ("size", "verdict"), [(0.01, "unledgered change"), (1.0, "different base")]
)
def test_another_revision_of_the_base_is_not_the_version(ledger, tmp_path, figure, size, verdict):
    """Trained a little further, or trained anew: every tensor is another one."""
    folder = deployed(ledger, tmp_path / "out", (1, 2, 3))
    random = torch.Generator().manual_seed(4)
    weights = {
        name: tensor + size * tensor.abs().mean() * torch.randn(tensor.shape, generator=random)
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    view = ledger.audit(str(rewritten(folder, weights)))
    assert view.verdict == verdict
    assert view.identity.by != "digest"
    assert {tensor.name for tensor in view.tensors} == set(weights)
    figure("P32", PLANTED, 1)
