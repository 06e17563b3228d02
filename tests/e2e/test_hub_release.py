"""Releases to the Hub and back, through the Hub's own client and a Hub on this machine (P28)."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ledger import Ledger
from tests.contract.tiny import OTHER, REQUEST, tiny_llama
from tests.e2e.harness import SETTINGS, Kel, check_export, copied, picture
from tests.e2e.hub import Impatient, served
from tests.sim.hub_server import REPO, Fault, HubServer

# huggingface_hub 2.4 uploads in a way that its HTTP library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NEW = "owner/edited"
SHARDS = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama in three shards."""
    folder: Path = tmp_path_factory.mktemp("sharded") / "model"
    model = tiny_llama(folder, dtype=torch.bfloat16)
    size = (folder / "model.safetensors").stat().st_size
    (folder / "model.safetensors").unlink()
    model.model.save_pretrained(folder, max_shard_size=f"{size // 2 // 1000}KB")
    assert sorted(path.name for path in folder.glob("*.safetensors")) == SHARDS
    return folder


@pytest.fixture(scope="module")
def edited(sharded: Path, probes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger whose base is the model of the Hub; two edits in one shard."""
    folder: Path = tmp_path_factory.mktemp("edited")
    with served(sharded, folder / "home"), Ledger.init(
        folder / "l", base=REPO, probes=probes, author="ada"
    ) as ledger:  # fmt: skip
        ledger.edit(REQUEST, gate=None, **SETTINGS)
        ledger.edit(OTHER, gate=None, **SETTINGS)
    return folder / "l"


@pytest.fixture
def hub(sharded: Path, tmp_path: Path, clean: None, monkeypatch) -> Iterator[HubServer]:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with served(sharded, tmp_path / "home") as server:
        yield server


@pytest.fixture
def kel(edited: Path, tmp_path: Path, hub: HubServer) -> Kel:
    """Commands on a copy of the ledger."""
    return Kel(copied(edited, tmp_path / "l"))


def sent(hub: HubServer) -> dict[str, int]:
    """Bytes of the large files that were sent."""
    return {a.path.rpartition("/")[2]: a.sent for a in hub.asked if a.method == "PUT"}


def test_a_merged_release_sends_the_touched_shard_only(
    hub: HubServer, kel: Kel, sharded: Path, tmp_path: Path
):
    hub.asked.clear()
    told = kel.json("push", NEW)
    files = hub.repos[NEW].files()
    (touched,) = [name for name in SHARDS if files[name] != hub.files[name]]
    assert set(told["copied"]) == set(SHARDS) - {touched}
    assert touched in told["uploaded"]
    assert sent(hub) == {hashlib.sha256(files[touched]).hexdigest(): len(files[touched])}
    assert (told["commit"], hub.repos[NEW].private) == (hub.repos[NEW].head, True)
    assert len(hub.repos[NEW].commits) == 2  # the empty one, and one of ours
    kel.json("export", str(tmp_path / "out"))
    assert {n: hashlib.sha256(d).hexdigest() for n, d in files.items() if n[0] != "."} == picture(
        tmp_path / "out"
    )
    parameters = set(kel.json("show", "1")["delta"]["parameters"])
    check_export(sharded, tmp_path / "out", parameters)
    head = kel.json("log")["entries"][0]
    assert (head["op"], head["version"]) == ("release", 2)
    assert kel("verify", "--weights").status == 0
    assert not list((tmp_path / "l" / "cache").glob("push-*"))


@pytest.mark.promise("P28")
def test_pushing_the_same_again_sends_nothing_and_a_new_version_what_changed(
    hub: HubServer, kel: Kel
):
    kel.json("push", NEW)
    before, entries = hub.repos[NEW].head, kel.json("status")["entries"]
    hub.asked.clear()
    told = kel.json("push", NEW)
    assert (told["uploaded"], told["copied"], told["commit"]) == ([], [], before)
    assert sent(hub) == {}
    assert (hub.repos[NEW].head, kel.json("status")["entries"]) == (before, entries)
    kel.json("revert", "1", "2")
    told = kel.json("push", NEW)
    assert len(told["copied"]) == 1  # the shard is the base's again
    assert sent(hub) == {}
    assert set(told["unchanged"]) >= {"config.json", "tokenizer.json"}


def test_another_form_replaces_the_files_of_the_one_before(hub: HubServer, kel: Kel):
    kel.json("push", NEW)
    told = kel.json("push", NEW, "--form", "adapter", "--private")
    files = hub.repos[NEW].files()
    assert set(files) == {".gitattributes", "README.md", "kel.json", "adapter_config.json",
                          "adapter_model.safetensors"}  # fmt: skip
    assert set(told["deleted"]) >= {*SHARDS, "config.json"}
    assert b"Ada" not in files["README.md"] + files["kel.json"]
    assert b'base_model: "owner/tiny"\nbase_model_relation: adapter' in files["README.md"]


def test_a_pull_request_leaves_the_branch_as_it_is(hub: HubServer, kel: Kel):
    kel.json("push", NEW)
    kel.json("revert", "2")
    before = hub.repos[NEW].head
    told = kel.json("push", NEW, "--pr")
    assert hub.repos[NEW].head == before
    assert hub.repos[NEW].pulls == [told["commit"]]
    assert told["url"].endswith("/discussions/1")


def test_a_bundle_is_pushed_pulled_and_replayed(hub: HubServer, kel: Kel, tmp_path: Path):
    kel.json("push", NEW, "--form", "bundle")
    there = Kel()
    told = there.json("pull", NEW, str(tmp_path / "there"))
    there.place = tmp_path / "there"
    assert (told["repo"], told["commit"], told["replayed"]) == (NEW, hub.repos[NEW].head, True)
    assert told["weights_digest"] == kel.json("status")["weights_digest"]
    assert there("verify", "--weights").status == 0
    kel.json("revert", "1")
    kel.json("push", NEW, "--form", "bundle")
    newer = tmp_path / "newer"
    kel.json("export", str(newer), "--form", "bundle")
    old = ("pull", NEW, str(tmp_path / "x"), "--revision", told["commit"], "--no-replay")
    Kel().refused(4, *old, "--anchor", str(newer), says=["chain.truncated"])
    assert Kel().json(*old)["version"] == 2


def test_a_bundle_of_other_bytes_or_another_form_is_not_taken_in(
    hub: HubServer, kel: Kel, tmp_path: Path
):
    out = str(tmp_path / "x")
    Kel().refused(2, "pull", REPO, out, says=["no kel.json"])
    kel.json("push", NEW)
    Kel().refused(2, "pull", NEW, out, says=["form merged"])
    kel.json("push", "owner/b", "--form", "bundle")
    files = hub.repos["owner/b"].files()
    for name in sorted(files):
        if name == ".gitattributes":
            continue
        data = bytearray(files[name])
        data[len(data) // 2] ^= 1
        hub.repos["owner/b"].add({**files, name: bytes(data)})
        result = Kel()("pull", "owner/b", out, "--no-replay")
        assert result.status in (2, 4), name
        assert len(result.err.splitlines()) == 1
        assert not Path(out).exists()


def test_a_repository_of_something_else_is_left_alone(
    hub: HubServer, kel: Kel, edited: Path, tmp_path: Path
):
    before = dict(hub.files)
    kel.refused(5, "push", REPO, says=["which no release put there", "nothing was changed"])
    assert hub.files == before
    kel.json("push", NEW)
    other = Kel(copied(edited, tmp_path / "other"))
    with Ledger.open(other.place) as ledger:
        ledger.tag("else")
    other.json("push", NEW)  # its last release is a part of this history
    head = hub.repos[NEW].files()
    hub.repos[NEW].add({**head, "notes.txt": b"mine"})
    kel.refused(5, "push", NEW, says=["'notes.txt'"])
    text = head["kel.json"].replace(b'"hash": "', b'"hash": "0', 1)
    hub.repos[NEW].add({**head, "kel.json": text})
    kel.refused(5, "push", NEW, says=["no manifest of a release"])


@pytest.mark.promise("P28")
def test_a_commit_in_between_is_a_conflict_and_the_next_push_goes_on(hub: HubServer, kel: Kel):
    kel.json("push", NEW)
    kel.json("revert", "2")
    state = hub.repos[NEW]

    def meanwhile(method: str, path: str) -> None:
        if path.endswith("/commit/main"):
            hub.faults = lambda method, path: None
            state.add({**state.files(), "README.md": b"by hand"})

    hub.faults = meanwhile
    kel.refused(5, "push", NEW, says=["changed by somebody else", "push again"])
    assert state.files()["README.md"] == b"by hand"
    kel.json("push", NEW)
    assert b"by hand" not in state.files()["README.md"]


CALLS = (
    "repos/create", f"GET /api/models/{NEW}", "/tree/", "validate-yaml", "preupload", "lfs/objects",
    "PUT ", "paths-info", "duplicate", "commit/main", f"GET /{NEW}/resolve", f"HEAD /{NEW}/resolve",
)  # fmt: skip
FAULTS = {
    "401": Fault(401), "403": Fault(403), "429": Fault(429, headers={"Retry-After": "1"}),
    "500": Fault(500), "503": Fault(503), "cut": Fault(cut=3),
}  # fmt: skip


# Every call and every fault in the fast tier, all pairs in the nightly one.
PAIRS = [
    pytest.param(call, fault, marks=() if (place + number) % len(FAULTS) == 0 else pytest.mark.slow)
    for place, call in enumerate(CALLS)
    for number, fault in enumerate(FAULTS)
]


@pytest.mark.promise("P28")
@pytest.mark.parametrize(("call", "fault"), PAIRS)
def test_P28_a_push_that_fails_at_any_call_leaves_nothing_half_done(
    hub: HubServer, kel: Kel, call: str, fault: str, figure
):
    """One line and a documented status; on the Hub the old or the new; pushing again finishes."""
    if "resolve" not in call:
        hub.faults = faulty(call, FAULTS[fault])
        hit(hub, call, kel("push", NEW), kel)
        hub.faults = lambda method, path: None
    kel.json("push", NEW)
    kel.json("revert", "2")
    old = dict(hub.repos[NEW].files())
    hub.faults = faulty(call, FAULTS[fault])
    hit(hub, call, kel("push", NEW), kel)
    now = hub.repos[NEW].files()
    hub.faults = lambda method, path: None
    told = kel.json("push", NEW)
    new = hub.repos[NEW].files()
    assert now in (old, new)
    assert told["commit"] == hub.repos[NEW].head
    assert kel("verify").status == 0
    figure("P28", "{} pairs of a kind of call and a fault", 1)


class AtCall:
    """The k-th request of all fails, once or from then on."""

    def __init__(self, at: int, fault: Fault, *, forever: bool) -> None:
        self.at, self.fault, self.forever, self.made = at, fault, forever, 0

    def __call__(self, method: str, path: str) -> Fault | None:
        self.made += 1
        return (
            self.fault if self.made == self.at or (self.forever and self.made > self.at) else None
        )


@pytest.mark.promise("P28")
@pytest.mark.slow
@pytest.mark.parametrize("forever", [False, True])
@pytest.mark.parametrize("fault", ["403", "500", "cut"])
def test_P28_a_push_whose_kth_call_fails_leaves_the_old_or_the_new(
    hub: HubServer, kel: Kel, fault: str, forever: bool, figure
):
    """For k = 1, 2, ... until none is left to fail."""
    kel.json("push", NEW)
    state, failed = hub.repos[NEW], 0
    for at in range(1, 100):
        kel.json("revert" if at % 2 else "reapply", "2")
        old, head = dict(state.files()), state.head
        hub.faults = failing = AtCall(at, FAULTS[fault], forever=forever)
        result = kel("push", NEW)
        hub.faults = lambda method, path: None
        if failing.made < at:
            assert result.status == 0
            break
        failed += result.status != 0
        hit(hub, "", result, kel)
        now = dict(state.files())
        assert (now == old) or (state.head != head)
        kel.json("push", NEW)
        assert now in (old, dict(state.files()))
    assert at > 5
    assert failed >= 3
    assert kel("verify").status == 0
    figure("P28", "{} calls of a push failed: old or new on the Hub, pushed again whole", at - 1)


def faulty(call: str, fault: Fault):
    return lambda method, path: fault if call in f"{method} {path}" else None


def hit(hub: HubServer, call: str, result, kel: Kel) -> None:
    """Where the call was made, the push failed in one line; nothing is left in the cache."""
    made = any(call in f"{asked.method} {asked.path}" for asked in hub.asked)
    if made and result.status != 0:
        assert len(result.err.splitlines()) == 1, ascii(result.err)
        line = result.err.strip()
        assert result.status == 8, line
        assert line.startswith("kel: cannot "), line
        assert "unexpected" not in line
        assert len(line) < 700
        assert "hf_test" not in line
    assert not list((kel.place / "cache").glob("push-*"))


def test_a_wait_is_as_long_as_the_hub_says_and_no_longer_than_five_minutes(
    hub: HubServer, kel: Kel, monkeypatch
):
    waited: list[float] = []
    monkeypatch.setattr(Impatient, "sleep", waited.append)
    kel.json("push", NEW)
    kel.json("revert", "2")

    def twice(method: str, path: str) -> Fault | None:
        busy = "resolve" in path and len(waited) < 2
        return Fault(429, headers={"Retry-After": "7"}) if busy else None

    hub.faults = twice
    assert kel.json("push", NEW)["commit"] == hub.repos[NEW].head
    assert waited == [8.0, 8.0]  # the client adds a second
    hub.faults = faulty("resolve", Fault(429, headers={"Retry-After": "301"}))
    kel.json("reapply", "2")
    line = kel.refused(8, "push", NEW, says=["wants 301 seconds", "repeat the command"])
    assert "hf_test" not in line
    assert len(waited) == 2


@pytest.mark.promise("P28")
def test_bytes_that_the_hub_altered_are_noticed(hub: HubServer, kel: Kel):
    for name in ("config.json", "kel.json", "README.md", SHARDS[0]):
        spoiled = lambda path, data, name=name: data + b" " if path == name else data  # noqa: E731
        hub.spoil = spoiled
        shutil.rmtree(kel.place / "cache", ignore_errors=True)
        repo = f"owner/{name.replace('.', '-')}"
        line = kel.refused(8, "push", repo, says=["other bytes", name, "do not use that commit"])
        assert hub.repos[repo].head in line
        hub.spoil = lambda path, data: data


@pytest.mark.promise("P17")
def test_a_bad_name_asks_nothing(hub: HubServer, kel: Kel, tmp_path: Path):
    hub.asked.clear()
    for name in ("a/b/c", "a--b", "../x", "x.git"):
        kel.refused(2, "push", name)
        kel.refused(2, "pull", name, str(tmp_path / "x"))
    assert hub.asked == []
