"""The house rule about SQL: outside migrations a statement is a literal, never made from input.

list(made_statements(Module.of("ledger/x.py", "query(f'SELECT {x}')")))    # one offence
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.unit.architecture_rules import Module, dotted, text_start

SQL = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "PRAGMA ", "CREATE ", "DROP ", "ALTER ", "WITH ")
ASKS = {"execute", "executemany", "executescript", "exec_driver_sql", "text", "query", "stream"}


def made_statements(module: Module) -> Iterator[str]:
    """Outside migrations, SQL is literal text: never joined, formatted or computed."""
    if module.package == "migrations":
        return
    literal = _literal_names(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.JoinedStr | ast.BinOp) and _starts_like_sql(node):
            yield module.at(node, "makes a statement")
    for call in module.calls():
        name = _last_name(call.func)
        if name in ASKS and call.args and not _is_literal(call.args[0], literal, name):
            yield module.at(call, f"gives {name} a statement that is not a literal")


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else dotted(node)


def _literal_names(module: Module) -> set[str]:
    """Names that hold literal text: assigned from it, from a constant table, or so annotated."""
    names: set[str] = set()
    computed: set[str] = set()
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.arg)
            and node.annotation
            and "LiteralString" in ast.dump(node.annotation)
        ):
            names.add(node.arg)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            table = isinstance(node.value, ast.Subscript) and dotted(node.value.value).isupper()
            text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            (names if table or text else computed).add(node.targets[0].id)
    return names - computed


def _is_literal(node: ast.expr, literal: set[str], asked: str) -> bool:
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.Name):
        return node.id in literal
    if isinstance(node, ast.Subscript):
        return dotted(node.value).isupper()
    # Statements of SQLAlchemy are built from tables, not from text.
    return asked == "execute" and isinstance(node, ast.Call) and not _is_formatting(node)


def _starts_like_sql(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod) and _starts_like_sql(node.left)
    return text_start(node).lstrip().startswith(SQL)


def _is_formatting(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in {"format", "join", "replace"}
