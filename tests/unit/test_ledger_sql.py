"""P18: a statement is written in the program, never made from input."""

import ast
from collections import Counter
from pathlib import Path

import pytest

import ledger

pytestmark = pytest.mark.promise("P18")

ASKING = {"query", "stream", "execute", "executemany", "executescript", "exec_driver_sql"}
ROOT = Path(ledger.__file__).parent
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
# The ways a statement goes into a driver; whoever calls them is checked.
THE_WAY_IN = {
    ("sqlite.py", "self.stream(sql, **parameters)"),
    ("sqlite.py", "self.connection.execute(sql, parameters)"),
    ("db.py", "Snapshot(driver).query(sql, **parameters)"),
    ("postgres.py", "self.stream(sql, **parameters)"),
    ("postgres.py", "cursor.execute(sql, parameters)"),
    ("queries.py", "reading.query(statement, **parameters)"),
}


def called(node):
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def literals(tree):
    """Names that only ever stand for literals, or for mappings of literals."""
    values, bound = {}, Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            bound[node.arg] += 1
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound[node.id] += 1
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in getattr(node, "targets", None) or [node.target]:
                values.setdefault(getattr(target, "id", ""), []).append(node.value)
    return {
        name
        for name, found in values.items()
        if len(found) == bound[name] and all(map(written, found))
    }


def written(node):
    """A string, or `MappingProxyType({...})` of strings."""
    if isinstance(node, ast.Call) and called(node) == "MappingProxyType":
        return isinstance(node.args[0], ast.Dict) and all(map(written, node.args[0].values))
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def asked(tree):
    """(call, statement) wherever a statement is given."""
    sources = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    asking = ASKING | ({"text"} if "sqlalchemy" in sources else set())
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        if called(node) == "_queried":
            yield node, node.args[2]
        elif called(node) in asking:
            yield node, node.args[0]


def built(node):
    """A statement that SQLAlchemy builds from tables: `select(...)` and what is chained to it."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node = node.func.value
    return isinstance(node, ast.Call) and called(node) in {"select", "insert", "update", "delete"}


def unwritten(source):
    """Calls whose statement is not a literal."""
    tree = ast.parse(source)
    known = literals(tree)
    for call, statement in asked(tree):
        name = statement.value if isinstance(statement, ast.Subscript) else statement
        if not (written(statement) or built(statement)) and not (
            isinstance(name, ast.Name) and name.id in known
        ):
            yield ast.unparse(call)


@pytest.mark.parametrize("module", MODULES)
def test_P18_every_statement_is_a_literal(module):
    found = {(module, call) for call in unwritten((ROOT / module).read_text())}
    assert found <= THE_WAY_IN


def test_P18_the_ways_into_the_driver_are_the_only_ones():
    found = {(m, call) for m in MODULES for call in unwritten((ROOT / m).read_text())}
    assert found == THE_WAY_IN


@pytest.mark.parametrize(
    "source",
    [
        "r.query(f'SELECT {name}')",
        "r.query('SELECT ' + name)",
        "r.query('SELECT %s' % name)",
        "r.stream('SELECT {}'.format(name))",
        "sql = 'SELECT'\nsql = sql + name\nr.query(sql)",
        "sql = 'SELECT'\nsql += name\nr.query(sql)",
        "from sqlalchemy import text\nc.scalars(text(name))",
        "sql = 'SELECT'\ndef f(sql):\n    r.query(sql)",
        "sql = 'SELECT'\nfor sql in names:\n    r.query(sql)",
        "sql, other = 'SELECT', name\nr.query(other)",
        "_ALL = {'a': name}\nr.query(_ALL['a'])",
        "_queried(r, EditRecord, name)",
    ],
)
def test_P18_a_statement_that_is_made_from_something_is_noticed(source):
    assert list(unwritten(source))


@pytest.mark.parametrize(
    "source",
    [
        "r.query('SELECT a' ' FROM b', a=name)",
        "sql = 'SELECT'\nr.query(sql)",
        "if name:\n    sql = 'SELECT 1'\nelse:\n    sql = 'SELECT 2'\nr.query(sql)",
        "_ALL = MappingProxyType({'a': 'SELECT'})\nr.query(_ALL[name])",
    ],
)
def test_P18_a_statement_that_is_written_out_passes(source):
    assert list(unwritten(source)) == []
