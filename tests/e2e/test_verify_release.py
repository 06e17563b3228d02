"""A release is checked against its base, without the ledger; one that was forged is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from ledger import Ledger
from ledger.adapter import CONFIG, WEIGHTS
from ledger.cards import model_card
from ledger.manifest import write_manifest
from store.checkpoints import INDEX, Checkpoint
from tests.contract.tiny import OTHER, REQUEST, tiny_gpt2
from tests.e2e.harness import SETTINGS, Kel, picture
from tests.e2e.hub import served
from tests.sim.hub_server import HubServer
from tests.sim.places import copied

MOST = 100_000
FORMS = {
    "merged": {"form": "merged"},
    "private": {"form": "merged", "private": True},
    "cut": {"form": "merged", "max_shard_bytes": MOST},
    "adapter": {"form": "adapter"},
    "small": {"form": "adapter", "compress": True},
    "bundle": {"form": "bundle"},
}  # fmt: skip
DOWN = "model.layers.0.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def releases(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every form of one ledger, whose base was a folder."""
    folder: Path = tmp_path_factory.mktemp("releases")
    copied(template, folder / "l")
    with Ledger.open(folder / "l") as ledger:
        for name, options in FORMS.items():
            ledger.export(folder / name, **options)
    shutil.rmtree(folder / "l")
    return folder


@pytest.fixture
def check(bare: Kel, tiny_base: Path) -> Callable[..., Any]:
    """(exit status, codes of the errors) of a check."""

    def run(folder: Path, base: Path = tiny_base) -> tuple[int, set[str]]:
        before = picture(folder)
        result = bare("verify-release", str(folder), "--base", str(base), "--json")
        assert picture(folder) == before
        if result.status == 2:
            return 2, set()
        errors = [f for f in result.body["findings"] if f["severity"] == "error"]
        assert bool(errors) == (result.status == 4)
        return result.status, {f["code"] for f in errors}

    return run


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_what_it_says(releases: Path, bare: Kel, tiny_base: Path, name: str):
    told = bare("verify-release", str(releases / name), "--base", str(tiny_base), "--json")
    assert told.status == 0, told
    assert told.body["form"] == FORMS[name]["form"]
    codes = [finding["code"] for finding in told.body["findings"]]
    assert codes == (["release.compressed"] if name == "small" else [])
    assert (
        "what it says" in bare("verify-release", str(releases / name), "--base", str(tiny_base)).out
    )


def test_files_of_another_size_load_and_are_the_version(releases: Path, tiny_base: Path):
    cut, merged = (Checkpoint.open(releases / name) for name in ("cut", "merged"))
    assert len(cut.weight_files) > 1 == len(merged.weight_files)
    assert all(cut.digest(name) == merged.digest(name) for name in merged.names())
    one, two = (
        AutoModelForCausalLM.from_pretrained(releases / name).state_dict()
        for name in ("cut", "merged")
    )
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_conv1d_base_too(tmp_path: Path, probes: Path, check):
    tiny_gpt2(tmp_path / "base", dtype=torch.bfloat16)
    with Ledger.init(tmp_path / "l", base=str(tmp_path / "base"), probes=probes) as ledger:
        ledger.edit(REQUEST, gate=None, **SETTINGS)
        ledger.edit(OTHER, gate=None, **(SETTINGS | {"layer": 1}))
        for name in ("merged", "adapter"):
            ledger.export(tmp_path / name, form=name)
            assert check(tmp_path / name, tmp_path / "base") == (0, set())


def test_another_base_or_none_is_told(releases: Path, bare: Kel, tiny_base: Path, tmp_path, check):
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    (other / "generation_config.json").write_text("{}")
    assert check(releases / "merged", other) == (4, {"release.base"})
    result = bare("verify-release", str(releases / "merged"))
    assert (result.status, "--base" in result.out) == (4, True)
    bare.refused(2, "verify-release", str(tiny_base), says=["no manifest"])
    bare.refused(2, "verify-release", str(releases / "merged"), "--revision", "main")


# --- forgeries ------------------------------------------------------------------------------------


def sign(folder: Path, **changes: Any) -> None:
    """Card and manifest as an honest release of these files would have them."""
    manifest = json.loads((folder / "kel.json").read_bytes()) | changes
    (folder / "README.md").write_text(model_card(manifest), "utf-8")
    manifest["files"] = {
        path.relative_to(folder).as_posix(): {
            "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "kel.json"
    }  # fmt: skip
    (folder / "kel.json").write_bytes(write_manifest(manifest))


def tensor(path: Path, name: str, change: Callable[[torch.Tensor], None], meta: Any = None) -> None:
    tensors = {n: t.clone() for n, t in load_file(path).items()}
    change(tensors[name])
    save_file(tensors, path, metadata=meta or {"format": "pt"})


def nudge(values: torch.Tensor) -> None:
    values.view(-1)[3] += 0.5


def weights(name: str) -> Callable[[Path], None]:
    return lambda folder: tensor(Checkpoint.open(folder).entry(name).file, name, nudge)


def factor(part: str) -> Callable[[Path], None]:
    name = f"base_model.model.{DOWN.removesuffix('.weight')}.lora_{part}.weight"
    return lambda folder: tensor(folder / WEIGHTS, name, nudge)


def text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        before = (folder / name).read_text("utf-8")
        assert old in before
        (folder / name).write_text(before.replace(old, new, 1), "utf-8")

    return change


def grown(folder: Path) -> None:
    path = folder / WEIGHTS
    save_file({**load_file(path), "extra": torch.ones(1)}, path, metadata={"format": "pt"})


def lost(folder: Path) -> None:
    path = folder / WEIGHTS
    save_file(dict(list(load_file(path).items())[:1]), path, metadata={"format": "pt"})


def header(folder: Path) -> None:
    path = Checkpoint.open(folder).weight_files[0]
    save_file(load_file(path), path, metadata={"format": "pt", "note": "x"})


def moved(folder: Path) -> None:
    """A tensor lies in another file than the size in the manifest makes it."""
    first, second = Checkpoint.open(folder).weight_files[:2]
    one, two = load_file(first), load_file(second)
    name = sorted(one)[0]
    two[name] = one.pop(name)
    save_file(one, first, metadata={"format": "pt"})
    save_file(two, second, metadata={"format": "pt"})
    index = json.loads((folder / INDEX).read_text("utf-8"))
    index["weight_map"][name] = second.name
    (folder / INDEX).write_text(json.dumps(index), "utf-8")


FORGED: list[tuple[str, Callable[[Path], None], str]] = [
    ("merged", weights(DOWN), "release.tensor"),
    ("merged", weights("model.layers.1.mlp.down_proj.weight"), "release.tensor"),
    ("merged", weights("model.norm.weight"), "release.tensor"),
    ("merged", header, "release.files"),
    ("merged", text("config.json", '"hidden_act"', '"hidden_acu"'), "release.files"),
    ("merged", lambda folder: (folder / "tokenizer.json").unlink(), "release.files"),
    ("merged", lambda folder: (folder / "evil.py").write_text("x"), "release.files"),
    ("merged", lambda folder: (folder / "model.safetensors").unlink(), "release.weights"),
    ("cut", weights(DOWN), "release.tensor"),
    ("cut", weights("model.norm.weight"), "release.tensor"),
    ("cut", header, "release.files"),
    ("cut", moved, "release.files"),
    ("cut", lambda folder: sign(folder, sharding={"most_bytes": 10 * MOST}), "release.files"),
    ("cut", lambda folder: sign(folder, sharding={"most_bytes": "2"}), "release.files"),
    ("cut", lambda folder: sign(folder, sharding={"most_bytes": -1}), "release.weights"),
    ("cut", text(INDEX, '"total_size": ', '"total_size": 1'), "release.files"),
    ("cut", text("config.json", '"hidden_act"', '"hidden_acu"'), "release.files"),
    ("adapter", factor("A"), "release.tensor"),
    ("adapter", factor("B"), "release.tensor"),
    ("adapter", grown, "release.tensor"),
    ("adapter", lost, "release.tensor"),
    ("adapter", text(CONFIG, '"lora_alpha": 2', '"lora_alpha": 4'), "release.config"),
    ("adapter", text(CONFIG, '"modules_to_save": null', '"modules_to_save": ["lm_head"]'),
     "release.config"),
    ("adapter", lambda folder: (folder / "more.json").write_text("{}"), "release.files"),
    ("bundle", text("ledger.jsonl", "Ada", "Eve"), "release.bundle"),
]  # fmt: skip


@pytest.mark.promise("P21")
@pytest.mark.parametrize(("form", "forge", "code"), FORGED)
def test_a_forgery_that_is_signed_again_is_found(
    releases: Path, tmp_path: Path, check, form: str, forge, code: str
):
    folder = tmp_path / "forged"
    shutil.copytree(releases / form, folder)
    forge(folder)
    assert check(folder)[0] == 4  # the files are not those that are listed
    sign(folder)
    status, codes = check(folder)
    assert (status, code in codes) == (4, True), codes


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"weights_digest": "0" * 64}, "release.weights"),
        ({"tensors": {}}, "release.weights"),
        ({"methods": [{}]}, "release.card"),
        ({"adapter": {"rank": "2", "exact": True}}, "release.tensor"),
        ({"adapter": None}, "release.tensor"),
        ({"merkle_root": "0" * 64}, ""),
        ({"facts": []}, ""),
        ({"form": "other"}, ""),
    ],
)
def test_a_manifest_that_does_not_agree_with_itself_is_found(
    releases: Path, tmp_path: Path, check, changes: dict[str, Any], code: str
):
    folder = tmp_path / "forged"
    shutil.copytree(releases / "adapter", folder)
    manifest = json.loads((folder / "kel.json").read_bytes())
    (folder / "kel.json").write_bytes(write_manifest(manifest | changes))
    if code in ("release.tensor",):
        sign(folder)
    status, codes = check(folder)
    assert (status, codes) == ((4, {code}) if code else (2, set())) or code in codes


# --- on the Hub -----------------------------------------------------------------------------------


@pytest.fixture
def hub(tiny_base: Path, tmp_path: Path, clean: None) -> Iterator[HubServer]:
    with served(tiny_base, tmp_path / "home") as server:
        yield server


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.parametrize("form", ["merged", "adapter", "bundle"])
def test_a_repository_is_checked_too(hub: HubServer, kel: Kel, tiny_base: Path, form: str):
    kel.json("push", "owner/out", "--form", form)
    bare, argv = Kel(), ("verify-release", "owner/out", "--base", str(tiny_base), "--json")
    assert bare(*argv).status == 0
    repo = hub.repos["owner/out"]
    commit, files = repo.head, repo.files()
    for name in sorted(set(files) - {".gitattributes"}):
        repo.add({**files, name: files[name][:-1] + bytes([files[name][-1] ^ 1])})
        assert bare(*argv).status in (2, 4), name
    repo.add({**files, "pytorch_model.bin": b"\x80"})
    bare.refused(4, *argv[:-1], says=["pytorch_model.bin", "not listed"])
    assert bare(*argv, "--revision", commit).status == 0
