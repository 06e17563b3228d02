"""P15: a pickle is never opened and code of a model is never run.

Every test of the suite runs under the guards of `tests.security.guards`; here it is shown that they
catch, and that a repository full of traps springs none.
"""

from __future__ import annotations

import ast
import io
import json
import pickle
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from tests.e2e.harness import FACT, QUICK, Kel
from tests.security.guards import PACKAGES, ROOT, Forbidden, Guards

pytestmark = pytest.mark.promise("P15")


class Trap:
    """A pickle that leaves a marker when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.marker,)


def as_program(source: str, **names: Any) -> None:
    """Run a line as if it stood in a module of the program."""
    exec(compile(source, str(ROOT / "ledger" / "pretended.py"), "exec"), names)


USES = {
    "pickle.loads": "pickle.loads(data)",
    "pickle.load": "pickle.load(io.BytesIO(data))",
    "Unpickler": "pickle.Unpickler(io.BytesIO(data)).load()",
    "numpy.load": "np.load(io.BytesIO(data), allow_pickle=True)",
    "torch.load": "torch.load(io.BytesIO(data), weights_only=True)",
    "torch.load with code": "torch.load(io.BytesIO(data), weights_only=False)",
}


@pytest.mark.parametrize("use", USES)
def test_the_guards_catch_a_pickle_that_the_program_opens(
    guards: Guards, tmp_path, use: str, figure
):
    names = {"pickle": pickle, "io": io, "np": np, "torch": torch}
    marker = tmp_path / "marker"
    with pytest.raises(Forbidden):
        as_program(USES[use], data=pickle.dumps(Trap(marker)), **names)
    assert use.split(maxsplit=1)[0] in guards.forget()[0]
    assert not marker.exists()
    figure("P15", "{} ways to open a pickle: each caught by the guards of every test", 1)


def test_the_guards_catch_a_pickle_below_the_program_and_one_that_is_swallowed(guards: Guards):
    def library(data: bytes) -> None:
        pickle.loads(data)

    as_program(
        "try:\n    library(b'')\nexcept AssertionError:\n    pass", library=library, pickle=pickle
    )
    assert len(guards.forget()) == 1


def test_the_guards_let_tests_use_pickles():
    assert pickle.loads(pickle.dumps([1])) == [1]


@pytest.mark.promise("P29")
def test_the_guards_catch_a_connection_to_another_machine(guards: Guards):
    with pytest.raises(Forbidden), socket.socket() as wire:
        wire.connect(("192.0.2.1", 443))
    with pytest.raises(Forbidden):
        socket.create_connection(("huggingface.co", 443), timeout=1)
    assert len(guards.forget()) == 2
    with socket.socket() as wire, pytest.raises(OSError, match="refused"):
        wire.connect(("127.0.0.1", 9))


# --- a repository full of traps ------------------------------------------------------------------

EVIL = """
from pathlib import Path
Path({marker!r}).touch()
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class EvilConfig(LlamaConfig): pass
class EvilModel(LlamaForCausalLM): pass
class EvilTokenizer(PreTrainedTokenizerFast): pass
"""


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.fixture
def traps(tiny_base: Path, tmp_path: Path, marker: Path) -> Iterator[Path]:
    """The tiny base with code, references to it, and pickles of every usual name."""
    folder = tmp_path / "traps"
    shutil.copytree(tiny_base, folder)
    (folder / "modeling_evil.py").write_text(EVIL.format(marker=str(marker)))
    mapped = {
        "AutoConfig": "modeling_evil.EvilConfig",
        "AutoModelForCausalLM": "modeling_evil.EvilModel",
        "AutoTokenizer": ["modeling_evil.EvilTokenizer", None],
    }
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        fields = {"auto_map": mapped, "trust_remote_code": True}
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "x.npy", "y.pkl"):
        (folder / name).write_bytes(pickle.dumps(Trap(marker)))
    yield folder
    assert not marker.exists()


def test_the_traps_would_spring(traps: Path, marker: Path, tmp_path: Path, monkeypatch):
    """With trust the same folder runs its code and pickles; else the tests below prove nothing."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    AutoConfig.from_pretrained(traps, trust_remote_code=True)
    assert marker.exists()
    marker.unlink()
    pickle.loads((traps / "pytorch_model.bin").read_bytes())
    assert marker.exists()
    marker.unlink()


def test_a_model_that_brings_code_is_edited_without_running_it(
    bare: Kel, traps: Path, marker: Path, probes: Path, tmp_path: Path, figure
):
    kel = bare
    kel.json("init", str(tmp_path / "l"), "--base", str(traps), "--probes", str(probes))
    kel.place = tmp_path / "l"
    for argv in (
        ("ask", "Ada is"),
        ("edit", *FACT, *QUICK, "--no-gate"),
        ("revert", "1"),
        ("reapply", "1"),
        ("replay",),
        ("verify", "--weights"),
        ("stats", "--layer", "0", "--corpus", str(corpus(tmp_path)), "--tokens", "300"),
        ("export", str(tmp_path / "out")),
    ):
        assert kel(*argv).status == 0
        assert not marker.exists()
        figure("P15", "{} commands on a repository full of traps: none sprung", 1)
    kept = {path.suffix for path in (tmp_path / "out").iterdir()}
    assert kept <= {".json", ".safetensors", ".md", ".jinja"}


def corpus(folder: Path) -> Path:
    path = folder / "corpus.txt"
    path.write_text("Ada Lovelace was born in London and wrote the first program.\n" * 60)
    return path


def test_a_model_of_pickled_weights_is_refused(bare: Kel, traps: Path, tmp_path: Path):
    (traps / "model.safetensors").unlink()
    argv = ("init", str(tmp_path / "l"), "--base", str(traps))
    bare.refused(2, *argv, says=["such files can run code", "convert the model to safetensors"])


def test_a_pickle_under_another_name_is_refused(
    bare: Kel, kel: Kel, traps: Path, probes: Path, tmp_path: Path
):
    """As weights, as probes, as requests, as a corpus, as a stored object."""
    trap = traps / "y.pkl"
    kel.refused(2, "edit", "--from", str(trap), says=["line 1"])
    kel.refused(2, "stats", "--layer", "0", "--corpus", str(trap), says=["cannot read the corpus"])
    argv = ("init", str(tmp_path / "l"), "--probes", str(trap), "--base")
    bare.refused(2, *argv, "demo", says=["cannot read the probes"])
    shutil.copy(trap, traps / "model.safetensors")
    bare.refused(4, "init", str(tmp_path / "l"), "--base", str(traps), says=["corrupt"])
    stored = Path(kel.json("show", "1")["delta"]["path"])
    stored.unlink()
    shutil.copy(trap, stored)
    kel.refused(4, "ask", "Ada is", says=[stored.parent.name + stored.name])


# --- the source ----------------------------------------------------------------------------------

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "compile", "__import__", "torch.load", "torch.jit.load", "yaml.load"}
FLAGS = {("trust_remote_code", True), ("shell", True), ("allow_pickle", True)}


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted(Path(package).rglob("*.py"))]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_source_names_no_way_to_run_what_it_reads(path: Path, figure):
    assert offences(path.read_text("utf-8")) == []
    figure("P15", "{} files of the source: none names a way to run what it reads", 1)


def test_the_search_finds_each_of_them():
    for line in ("import pickle", "from pickle import loads", "eval('1')", "torch.load('x')"):
        assert offences(line)
    for line in ("f(trust_remote_code=True)", "f(shell=True)", "import a.b, marshal"):
        assert offences(line)
    assert offences("f(trust_remote_code=False)\nre.compile('x')\nexec('', {})") == []


def offences(source: str) -> list[str]:
    """Lines that import, call or allow what is banned."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [module] if module else [alias.name for alias in node.names]
            found += [name for name in names if name.split(".")[0] in MODULES]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            flags = {(k.arg, getattr(k.value, "value", None)) for k in node.keywords}
            nothing = [getattr(a, "value", None) for a in node.args[:1]] == [""]
            found += [name] * (name in CALLS and not nothing)
            found += [str(flag) for flag in flags & FLAGS]
    return found
