"""The layers and house rules hold in every module of the packages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.unit import architecture_rules as rules
from tests.unit.architecture_rules import Module
from tests.unit.architecture_sql import made_statements

ROOT = Path(__file__).parents[2]
MODULES = rules.modules(ROOT)
LONGEST_FILE, LONGEST_FUNCTION, LONG, MEDIAN = 300, 80, 45, 12
Rule = Callable[[Module], Iterator[str]]

BAD: list[tuple[Rule, str, str]] = [
    (rules.imports, "store/x.py", "import torch"),
    (rules.imports, "store/x.py", "from editors.delta import LowRank"),
    (rules.imports, "store/x.py", "def f():\n    import sqlite4"),
    (rules.imports, "store/x.py", "from . import atomic"),
    (rules.imports, "editors/x.py", "import store.objects"),
    (rules.imports, "editors/x.py", "def f():\n    from ledger import Ledger"),
    (rules.imports, "editors/x.py", "import sqlalchemy"),
    (rules.imports, "editors/x.py", "import importlib\nimportlib.import_module('ledger')"),
    (rules.imports, "ledger/x.py", "from huggingface_hub import snapshot_download"),
    (rules.imports, "ledger/x.py", "from cli import output"),
    (rules.imports, "migrations/x.py", "from ledger.journal import Journal"),
    (rules.imports, "cli/x.py", "from editors.requests import EditRequest"),
    (rules.imports, "cli/x.py", "if TYPE_CHECKING:\n    from store.objects import ObjectStore"),
    (rules.imports, "cli/x.py", "import sqlalchemy"),
    (rules.pure_modules, "ledger/history.py", "from ledger.db import Database"),
    (rules.pure_modules, "ledger/chain.py", "import editors.delta"),
    (rules.pure_modules, "ledger/models.py", "import editors.delta"),
    (rules.store_writes, "store/x.py", "open('f', 'w')"),
    (rules.store_writes, "store/x.py", "path.open(mode='r+b')"),
    (rules.store_writes, "store/x.py", "path.write_bytes(b'')"),
    (rules.store_writes, "store/x.py", "(folder / 'x').write_text('')"),
    (rules.store_writes, "store/x.py", "os.replace(a, b)"),
    (rules.store_writes, "store/x.py", "fs.unlink(path)"),
    (rules.store_writes, "store/x.py", "os.open(path, os.O_RDWR)"),
    (rules.store_writes, "store/x.py", "shutil.move(a, b)"),
    (rules.hooks, "editors/x.py", "module.register_forward_hook(f)"),
    (rules.hooks, "ledger/x.py", "model.layers[0].register_full_backward_hook(f)"),
    (rules.printing, "ledger/x.py", "print('hello')"),
    (rules.printing, "cli/x.py", "click.echo('hello')"),
    (rules.printing, "cli/x.py", "sys.stdout.write('hello')"),
    (rules.danger, "store/x.py", "import pickle"),
    (rules.danger, "store/x.py", "def f():\n    from pickle import loads"),
    (rules.danger, "ledger/x.py", "torch.load('f')"),
    (rules.danger, "ledger/x.py", "eval('1')"),
    (rules.danger, "editors/x.py", "load('gpt2', trust_remote_code=True)"),
    (rules.danger, "cli/x.py", "exec('print()')"),
    (rules.danger, "cli/x.py", "run('ls', shell=True)"),
    (rules.danger, "store/x.py", "np.load('f', allow_pickle=True)"),
    (rules.swallowing, "ledger/x.py", "try:\n    f()\nexcept:\n    raise"),
    (rules.swallowing, "ledger/x.py", "try:\n    f()\nexcept Exception:\n    pass"),
    (rules.swallowing, "ledger/x.py", "try:\n    f()\nexcept (OSError, BaseException):\n    g()"),
    (rules.swallowing, "ledger/x.py", "with contextlib.suppress(Exception):\n    f()"),
    (rules.asserting, "ledger/x.py", "def f(x):\n    assert x > 0"),
    (rules.mutable_state, "ledger/x.py", "cache = {}"),
    (rules.mutable_state, "ledger/x.py", "_seen: set[int] = set()"),
    (rules.mutable_state, "ledger/x.py", "SEEN = []\ndef f(x):\n    SEEN.append(x)"),
    (rules.mutable_state, "ledger/x.py", "SEEN = {}\ndef f(x):\n    SEEN[x] = 1"),
    (rules.mutable_state, "ledger/x.py", "N = 0\ndef f():\n    global N\n    N = 1"),
    (rules.documented, "ledger/x.py", "X = 1"),
    (made_statements, "ledger/x.py", "reading.query(f'SELECT {x} FROM edit')"),
    (made_statements, "ledger/x.py", "sql = 'DELETE FROM ' + name"),
    (made_statements, "ledger/x.py", "c.execute('SELECT %s' % name)"),
    (made_statements, "ledger/x.py", "text('SELECT {}'.format(name))"),
    (made_statements, "ledger/x.py", "c.exec_driver_sql(' '.join(parts))"),
    (made_statements, "ledger/x.py", "def f(sql: str):\n    reading.query(sql)"),
    (made_statements, "ledger/x.py", "sql = 'SELECT 1'\nsql = other()\nreading.query(sql)"),
    (made_statements, "ledger/x.py", "reading.query(TABLE.get(name))"),
]
GOOD: list[tuple[Rule, str, str]] = [
    (rules.danger, "cli/x.py", "exec('', {})"),
    (rules.imports, "cli/x.py", "from ledger.views import EditView"),
    (rules.imports, "ledger/hub.py", "import huggingface_hub"),
    (rules.store_writes, "store/x.py", "open('f').read(); os.open(path, os.O_RDONLY)"),
    (rules.store_writes, "ledger/x.py", "path.write_text('')"),
    (rules.swallowing, "ledger/x.py", "try:\n    f()\nexcept BaseException:\n    g()\n    raise"),
    (rules.mutable_state, "ledger/x.py", "NAMES = {}\n__all__ = ['NAMES']"),
    (made_statements, "ledger/x.py", "c.execute('SELECT 1 ' 'FROM edit')"),
    (made_statements, "ledger/x.py", "c.execute(insert(table(name)), rows)"),
    (made_statements, "ledger/x.py", "def f(sql: LiteralString):\n    reading.query(sql)"),
    (made_statements, "ledger/x.py", "sql = TABLE[name]\nreading.query(sql)"),
    (made_statements, "migrations/x.py", "op.execute(f'DROP TRIGGER {name}')"),
]


@pytest.mark.parametrize("rule", [*rules.RULES, made_statements], ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule):
    assert [offence for module in MODULES for offence in rule(module)] == []


@pytest.mark.promise("P36")
@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_a_rule_sees_what_breaks_it(rule, path, text):
    assert list(rule(Module.of(path, text)))


@pytest.mark.parametrize(("rule", "path", "text"), GOOD)
def test_a_rule_lets_pass_what_keeps_it(rule, path, text):
    assert list(rule(Module.of(path, text))) == []


def test_the_rules_are_applied_to_every_package():
    assert {module.package for module in MODULES} == set(rules.PACKAGES)
    assert len(MODULES) > 80


def test_files_can_be_held_in_mind():
    assert {m.path: m.lines for m in MODULES if m.lines > LONGEST_FILE} == {}


def test_functions_are_small():
    lengths = dict(found for module in MODULES for found in rules.functions(module))
    assert {place: length for place, length in lengths.items() if length > LONGEST_FUNCTION} == {}
    assert sum(length <= LONG for length in lengths.values()) >= 0.95 * len(lengths)
    assert median(lengths.values()) <= MEDIAN


@pytest.mark.parametrize("name", ["ledger", "cli.main"])
def test_importing_takes_nothing_heavy_along(name):
    heavy = ("torch", "transformers", "alembic", "huggingface_hub")
    code = f"import sys, {name}; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
