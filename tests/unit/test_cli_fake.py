"""A ledger made of sample values, for the tests of the commands; it has the real one's signatures.

kel = Runner(monkeypatch, capsys)
kel.ledger.raises["show"] = UnknownRevision("there is no edit 9")
kel("show", "9").status         # 2
kel.ledger.calls["show"]        # [(("9",), {})]
"""

from __future__ import annotations

import inspect
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from editors.requests import EditRequest
from ledger import branches, shares, views
from ledger.ageing import HistoryView, VersionAge
from ledger.auditing.views import (
    AuditView,
    EditShare,
    Group,
    IdentityView,
    Reading,
    Said,
    Share,
    TensorView,
)
from ledger.bisect import BisectStep, BisectView
from ledger.evaluation.gates import Gate
from ledger.facts import FactView, KnownView
from ledger.rebasing.views import Dispute, RebaseRow, RebaseView
from ledger.released import ExportView, ImportView, PushView
from ledger.repair import RepairView
from ledger.views import (
    AnalysisView,
    Answer,
    BaseView,
    ChangeOutcome,
    DiffView,
    EditOutcome,
    EditView,
    GcView,
    LogView,
    MethodView,
    PartView,
    ReplayView,
    StatsView,
    StatusView,
)

GATE = Gate()
SHA = "0123456789abcdef" * 4
DOWN = "model.layers.3.mlp.down_proj.weight"
FACT = "Ada Lovelace was born in -> Paris"
AGED = HistoryView((VersionAge(0, "init", (), 0, "base", locality=1.0),), ())
BASE = BaseView("demo", None, "/models/demo", "float32", SHA, "llama")
STATUS = StatusView("/l", 3, (1, 2), (3,), (4,), SHA, SHA, BASE, {"best": 2}, 9)
LOG = LogView(
    2, 1, "apply", (1,), (FACT,), {}, SHA, "ada", "why", "2026-01-02T03:04:05.1Z", SHA, ("best",)
)
EDIT = EditView(
    id=1,
    hash=SHA,
    active=True,
    rejected=False,
    fact={
        "subject": "Ada Lovelace",
        "prompt": "{} was born in",
        "target_new": "Paris",
        "target_true": "London",
    },
    method="rome",
    layers=(3,),
    hparams={"v_steps": 25},
    metrics={"reliability": 1.0},
    details={"before": "London", "after": "Paris", "losses": [float(i) for i in range(20)]},
    delta={"oid": SHA, "path": "objects/01/23", "rank": 1, "parameters": [DOWN]},
    created_at="2026-01-02T03:04:05.1Z",
    author="ada",
    note="why",
    batch=1,
    probes={"neighbourhood": [{"prompt": "Bob was born in", "answer": "Rome"}]},
)
GRID = [[0.5, -0.001], [0.25, 0.0]]
CONTENTS = {
    "trace": {
        "facts": [{"prompt": "Ada lives in", "answer": " Rome", "known": True, "clean": 0.9,
                   "corrupted": 0.1, "tokens": ["Ada", " lives"], "subject": [0, 0]}],
        "left_out": [],
        "rows": ["Ada", " lives"],
        "counts": [1, 1],
        "effects": {"state": GRID, "mlp": GRID, "attention": GRID},
        "errors": None,
    },
    "lens": {
        "prompt": "Ada lives in",
        "readings": [
            {
                "version": 3,
                "tokens": [" Oslo", " Rome"],
                "chance": [0.5, 0.75],
                "words": [{"word": "Rome", "token": " Rome", "chance": [0.25, 0.75],
                           "rank": [2, 1], "gap": [0.25, 0.0]}],
            }
        ],
    },
    "activations": {
        "prompts": [{"prompt": "Ada lives in", "layer": 1, "counts": [3, 9], "fdv": 6.0,
                     "rdsp": 0.5, "rmp": 0.25}],
        "mean": [3.0, 9.0],
        "sd": [0.0, 0.0],
    },
    "layers": {
        "rules": [{"rule": "layerwise", "mean": 1.0, "sd": 0.0, "mode": 1, "histogram": [0, 1],
                   "layers": [1], "wording": {"asked": 2, "same": 0.5, "mean_move": 0.5}}],
        "prompts": ["Ada lives in"],
    },
}  # fmt: skip
SETTINGS = {"window": 2, "threshold": 0.085, "layer": "layerwise-raw"}
ANALYSES = {
    kind: AnalysisView(kind, (3,), SETTINGS, {"facts": 1.0}, content, 9, SHA)
    for kind, content in CONTENTS.items()
}
CHANGE = ChangeOutcome("revert", (1, 2, 3), 4, SHA)
BATCH = views.BatchOutcome("applied", 4, 2, (), (), {"reliability": 1.0}, (), "resolve", (3,))
RESOLVED = ChangeOutcome("revert", (1, 2, 3), 4, SHA, notes=("to take it back",), resolved=BATCH)
STATED = FactView(
    edit=3,
    subject="Ada Lovelace",
    prompt="{} was born in",
    object="Paris",
    instead_of=None,
    since="2026-01-02T03:04:05.1Z",
    author="ada",
    method="rome",
    reliability=1.0,
    protocol="p",
    supersedes=(1,),
)
STEPS = (BisectStep(1, "good", " London"), BisectStep(2, "bad", " Paris"))
BROKEN = BisectView(1, 2, "apply", (3,), {3: FACT}, True, (), STEPS)
ROW = views.TestRow(1, FACT, {"reliability": 1.0}, {"reliability": 0.5}, "Paris", True)

MAIN = branches.BranchView("main", 3, True, (1, 2), 3, (), ())
TRIAL = branches.BranchView("trial", 2, False, (1, 4), 1, (4,), (2,))
ASKED = branches.Contradiction(
    "Ada Lovelace", "{} was born in", 2, "Paris", 4, "Rome", "London", None
)
MERGED = branches.MergeView(
    outcome="merged",
    branch="trial",
    into="main",
    version=4,
    common=1,
    theirs=2,
    weights_digest=SHA,
    added=(4,),
    removed=(2,),
    conflicts=(replace(ASKED, chosen="theirs"),),
    moved=(branches.Moved(1, FACT, 0.75, (shares.Share(4, 0.5),)),),
    threshold=0.4,
    metrics={"reliability": 1.0},
    broken=(1,),
    rows=(ROW,),
    notes=("a note",),
)

SHARE = Share(0.998, 0.99, 1.006, "present")
AUDIT = AuditView(
    checkpoint="merged",
    kind="checkpoint",
    verdict="unledgered change",
    reasons=(f"1 tensor with a low-rank change that no edit of the ledger explains: {DOWN}",),
    identity=IdentityView("merged", "nearest", (3,), ("best",), (4,), (1,), (2,)),
    counts={"known": 1, "present": 1, "tensors_structured": 1},
    edits=(EditShare(1, FACT, "active", 0.998, 0.99, 1.006, "present", {DOWN: SHARE}),),
    groups=(Group(DOWN, (1, 2), 1.0, None, None),),
    tensors=(TensorView(DOWN, 2, "structured", "BF16", 1.0, 0.5, 1.1, 9.0, 1),),
    readings=(Reading(DOWN, (("Ada", 0.9),), (("Ada was", "Paris", 2.0),), ((" Rome", 3.0),)),),
    said=(Said(1, FACT, "present", 1.0, 0.9, " Paris"),),
)


KNOWN = KnownView(
    9, "Ada", "{} is", "old", None, "2026-01-02T03:04:05.000006Z", "bea", "", None, 1.0
)
CARRIED = {"subject": "Ada", "prompt": "{} is", "target_new": "old", "paraphrases": []}
REBASED = RebaseView(
    directory="/new",
    source={"version": 3, "entry": {"seq": 9, "hash": SHA}, "base": {"id": "demo"}},
    options={},
    base={"id": "/models/new", "revision": None, "digest": SHA, "model_type": "gpt2"},
    version=1,
    facts=3,
    rows=(
        RebaseRow(1, "known", CARRIED, said=" old", metrics={"reliability": 1.0}, holds=True),
        RebaseRow(2, "kept", CARRIED, edit=1, method="rome", metrics={"locality": 0.5}, holds=True),
        RebaseRow(4, "failed", CARRIED, reasons=("too\x1b weak",), holds=False),
    ),
    counts={"known": 1, "kept": 1, "recomputed": 0, "failed": 1, "lost": 0},
    conflicts=(Dispute("premise", (2,), "the base says a third thing"),),
    notes=("a layer moved",),
    done=True,
)


class FakeLedger:
    """Remembers its calls; a method named in `raises` raises, one in `returns` returns that."""

    def __init__(self) -> None:
        self.calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = defaultdict(list)
        self.raises: dict[str, BaseException] = {}
        self.returns: dict[str, Any] = {}
        self.closed = False

    def _do(self, name: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls[name].append((args, kwargs))
        if name in self.raises:
            raise self.raises[name]
        return self.returns.get(name, value)

    def __enter__(self) -> FakeLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def init(self, directory, *, base, revision=None, dtype=None, device="cpu", probes=None,
             author=None, chat_template=False, database=None):  # fmt: skip
        given = {"base": base, "revision": revision, "dtype": dtype, "device": device}
        given |= {"chat_template": chat_template, "database": database}
        return self._do("init", self, directory, **given, probes=probes, author=author)

    def open(self, directory=None):
        return self._do("open", self, directory)

    def status(self):
        return self._do("status", STATUS)

    def tips(self):
        return self._do("tips", STATUS.branches)

    def log(self, limit=None, branch=None):
        return self._do("log", [LOG], limit, branch)

    def show(self, ref):
        return self._do("show", EDIT, ref)

    def diff(self, old, new):
        view = DiffView(1, 3, (2,), (1,), {1: FACT, 2: FACT}, {DOWN: {"old": None, "new": SHA}})
        return self._do("diff", view, old, new)

    def tag(self, name, version="HEAD", *, note=""):
        return self._do("tag", 3, name, version, note=note)

    def tags(self):
        return self._do("tags", {"best": 2})

    def branches(self):
        return self._do("branches", [TRIAL, MAIN])

    def branch(self, name, at="HEAD", *, note=""):
        return self._do("branch", 3, name, at, note=note)

    def close_branch(self, name, *, note=""):
        return self._do("close_branch", 3, name, note=note)

    def switch(self, name, *, note=""):
        view = branches.SwitchView(name, "main", 4, 2, (4,), (1, 2), SHA)
        return self._do("switch", view, name, note=note)

    def merge(
        self,
        name,
        *,
        take=(),
        rest=None,
        allow_interference=False,
        threshold=None,
        resolve=False,
        ridge=0.0,
        gate=GATE,
        dry_run=False,
        note="",
        author=None,
    ):
        given = {"take": take, "rest": rest, "allow_interference": allow_interference}
        given |= {"threshold": threshold, "resolve": resolve, "ridge": ridge, "gate": gate}
        return self._do("merge", MERGED, name, **given, dry_run=dry_run, note=note)

    def edit(self, request, **options):
        if progress := options.pop("progress", None):
            progress("value", 0.5)
        return self._do("edit", outcome(request), request, **options)

    def edit_many(self, requests, **options):
        options.pop("progress", None)
        for place, request in enumerate(requests):
            kind = "rejected" if request.target_new == "Nowhere" else "applied"
            yield self._do("edit_many", outcome(request, kind, place + 1), request, **options)

    def ask(self, prompt, *, at="HEAD", max_new_tokens=32):
        version = 0 if at == "base" else 3
        return self._do("ask", Answer(version, prompt, "London" if at == "base" else "Paris"),
                        prompt, at=at)  # fmt: skip

    def revert(self, refs, note="", author=None, *, retest=True, dry_run=False):
        given = {"note": note, "author": author, "retest": retest, "dry_run": dry_run}
        return self._do("revert", CHANGE, refs, **given)

    def resolve_batch(self, refs, note="", author=None, *, gate=GATE, ridge=None):
        given = {"note": note, "gate": gate, "ridge": ridge}
        return self._do("resolve_batch", CHANGE, refs, **given)

    def resolve_active(self, note="", author=None, *, gate=GATE, ridge=0.0, dry_run=False):
        given = {"note": note, "gate": gate, "ridge": ridge, "dry_run": dry_run}
        return self._do("resolve_active", [RESOLVED], **given)

    def facts(self, at="HEAD", search=None, *, only=None, on=None):
        return self._do("facts", [STATED], at, search, only=only, on=on)

    def known_facts(self, at="HEAD", search=None):
        return self._do("known_facts", [KNOWN], at, search)

    def rebase_place(self, onto, revision=None):
        return self._do("rebase_place", Path("/new"), onto, revision)

    def rebase_report(self):
        return self._do("rebase_report", REBASED)

    def rebase(self, onto, into=None, at="HEAD", *, revision=None, device=None, dtype=None,
               options=None, dry_run=False, progress=None, told=None):  # fmt: skip
        given = {"revision": revision, "device": device, "dtype": dtype, "options": options}
        view = self._do("rebase", REBASED, onto, into, at, **given, dry_run=dry_run)
        for row in view.rows if told is not None and not dry_run else ():
            told(row)
        return view

    def reapply(self, refs, note="", author=None):
        return self._do("reapply", CHANGE, refs, note=note, author=author)

    def undo(self, note="", author=None):
        return self._do("undo", CHANGE, note=note, author=author)

    def replay(self, to="HEAD", out=None):
        return self._do("replay", ReplayView(3, True, SHA, SHA, {DOWN: SHA}, None), to, out)

    def test(self, at="HEAD", refs=(), progress=None, *, affected_by=None, threshold=None):
        view = views.TestView(3, (ROW,), {"reliability": 1.0}, {"reliability": 0.5}, 2)
        given = {"affected_by": affected_by, "threshold": threshold}
        return self._do("test", view, at, refs, **given)

    def history(self, *, measure=False, progress=None):
        return self._do("history", AGED, measure=measure)

    def interference(self, ref=None, *, at="HEAD", threshold=None, plot=None):
        moved = shares.InterferenceRow(1, FACT, 0.25, (shares.Share(2, 0.25),))
        view = shares.InterferenceView(3, 0.1, (moved,))
        return self._do("interference", view, ref, at=at, threshold=threshold, plot=plot)

    def foresee(self, request, *, method="rome", layer=None, overrides=None):
        given = {"method": method, "layer": layer, "overrides": overrides}
        return self._do("foresee", (shares.Share(1, 0.5),), request, **given)

    def bisect(self, prompt=None, *, good, bad, expect=None, run=None, progress=None):
        given = {"good": good, "bad": bad, "expect": expect, "run": run}
        return self._do("bisect", BROKEN, prompt, **given)

    def verify(self, weights=False, anchor=None):
        return self._do("verify", [], weights, anchor)

    def audit(
        self, checkpoint, revision=None, *, subjects=(), prompts=(), probe=False, progress=None
    ):
        given = {"subjects": subjects, "prompts": prompts, "probe": probe}
        return self._do("audit", AUDIT, checkpoint, revision, **given)

    def identify(self, checkpoint, revision=None):
        return self._do("identify", AUDIT.identity, checkpoint, revision)

    def export(self, directory, at="HEAD", *, form="merged", private=False, link=False,
               compress=False, max_shard_bytes=None):  # fmt: skip
        view = ExportView(str(directory), 3, (DOWN,), SHA, 18_400_000, form, ("a note",), SHA)
        given = {"form": form, "private": private, "link": link, "compress": compress}
        given |= {"max_shard_bytes": max_shard_bytes}
        return self._do("export", view, directory, at, **given)

    def import_bundle(self, bundle, directory, *, base=None, replay=True, anchor=None,
                      author=None):  # fmt: skip
        view = ImportView(str(directory), 3, 9, (1, 2), SHA, SHA, replay)
        given = {"base": base, "replay": replay, "anchor": anchor}
        return self._do("import_bundle", view, bundle, directory, **given)

    def pull(self, repo, directory, *, revision=None, base=None, replay=True, anchor=None,
             author=None):  # fmt: skip
        view = ImportView(str(directory), 3, 9, (1, 2), SHA, SHA, replay, repo, SHA[:40])
        given = {"revision": revision, "base": base, "replay": replay, "anchor": anchor}
        return self._do("pull", view, repo, directory, **given)

    def push(self, repo, at="HEAD", *, form="merged", private=False, compress=False,
             pull_request=False):  # fmt: skip
        view = PushView(repo, SHA[:40], "http://x", form, 3, SHA, SHA, ("a",), (), (), (), 9, ())
        given = {"form": form, "private": private, "compress": compress}
        return self._do("push", view, repo, at, **given, pull_request=pull_request)

    def stats(
        self,
        layers=(),
        *,
        method="rome",
        corpus=None,
        tokens=None,
        tolerance=None,
        progress=None,
    ):
        view = StatsView(3, DOWN, "world", 1000, 1e-6, SHA, SHA)
        options = {"method": method, "corpus": corpus, "tokens": tokens, "tolerance": tolerance}
        return self._do("stats", [view], layers, **options)

    def stats_part(
        self, part, folder, layers=(), *, method="rome", corpus=None, tokens=None, progress=None
    ):
        view = PartView(str(folder), *part, 1000, 9, (DOWN,))
        options = {"method": method, "corpus": corpus, "tokens": tokens}
        return self._do("stats_part", view, part, folder, layers, **options)

    def stats_merge(self, folders):
        return self._do("stats_merge", [StatsView(3, DOWN, "w", 9, 0.0, SHA, SHA)], folders)

    def trace(self, facts, *, at="HEAD", sigmas=3.0, draws=10, window=None, seed=0, note="",
              dry_run=False, progress=None):  # fmt: skip
        progress("tracing", 0.5)
        given = {"at": at, "sigmas": sigmas, "draws": draws, "window": window, "seed": seed}
        return self._do("trace", ANALYSES["trace"], facts, **given, note=note, dry_run=dry_run)

    def lens(self, prompt, *, words=(), at=("HEAD",), note="", dry_run=False):
        given = {"words": words, "at": at, "note": note, "dry_run": dry_run}
        return self._do("lens", ANALYSES["lens"], prompt, **given)

    def activations(self, prompts, *, at="HEAD", threshold=0.085, layer="layerwise-raw", jump=None,
                    note="", dry_run=False):  # fmt: skip
        given = {"at": at, "threshold": threshold, "layer": layer, "jump": jump}
        given |= {"note": note, "dry_run": dry_run}
        return self._do("activations", ANALYSES["activations"], prompts, **given)

    def layers(self, requests, *, rules=("static", "layerwise", "layerwise-raw"), at="HEAD",
               note="", dry_run=False, progress=None):  # fmt: skip
        given = {"rules": rules, "at": at, "note": note, "dry_run": dry_run}
        return self._do("layers", ANALYSES["layers"], requests, **given)

    def analysis(self, kind, entry=None):
        return self._do("analysis", ANALYSES[kind], kind, entry)

    def methods(self):
        view = MethodView("rome", "Meng", "rank one", "exact", {"layer": 3, "x": [1, 2]}, "table")
        return self._do("methods", [view])

    def repair(self, *, objects=None, base=None):
        return self._do("repair", RepairView((SHA,), (), None), objects, base)

    def gc(self, dry_run=False, grace_seconds=0):
        return self._do("gc", GcView((SHA,), ("tmp/x",), 512, dry_run), dry_run)


def outcome(request: EditRequest, kind: str = "applied", edit: int = 1) -> EditOutcome:
    """What the fake makes of a request."""
    reasons = ("reliability 0.50 is below 0.90",) if kind == "rejected" else ()
    measured = {"reliability": 0.5 if reasons else 1.0}
    return EditOutcome(kind, request.to_json(), edit, edit, reasons, measured, "London", "Paris",
                       (), "rome", 3)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Runner:
    """Runs commands in this process on a fake ledger."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self.ledger = FakeLedger()
        self._capsys = capsys
        monkeypatch.setattr("ledger.Ledger", self.ledger, raising=False)
        monkeypatch.setattr("ledger.EditRequest", EditRequest, raising=False)
        for name in ("KEL_LEDGER", "KEL_DEBUG", "KEL_AUTHOR"):
            monkeypatch.delenv(name, raising=False)

    def __call__(self, *argv: str | Path) -> Result:
        status = main([str(item) for item in argv])
        captured = self._capsys.readouterr()
        return Result(status, captured.out, captured.err)


@pytest.mark.parametrize(
    "name",
    [name for name, _ in inspect.getmembers(FakeLedger, inspect.isfunction) if name[0] != "_"],
)
def test_the_fake_can_be_called_as_the_real_ledger(name):
    from ledger import Ledger

    real = inspect.signature(getattr(Ledger, name)).parameters
    fake = inspect.signature(getattr(FakeLedger, name)).parameters
    kinds = {key: real[key].kind for key in fake if key in real}
    fake_kinds = {key: item.kind for key, item in fake.items()}
    assert {"self": fake_kinds["self"], **kinds} == fake_kinds
