"""The house rules of docs/architecture.md as functions from a parsed module to its offences.

Rules: a rule looks at one module at a time and never imports it; an offence is "path:line what".

module = Module.of("store/x.py", "import torch")
list(imports(module))                     # ['store/x.py:1 imports torch']
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("store", "editors", "ledger", "migrations", "cli")
MAY_IMPORT = {
    "store": {"store", "numpy", "safetensors"},
    "editors": {"editors", "torch", "transformers", "numpy", "safetensors"},
    "ledger": {"ledger", "editors", "store", "torch", "transformers", "tokenizers", "numpy"}
    | {"sqlmodel", "sqlalchemy", "alembic", "tqdm", "migrations"},
    "migrations": {"migrations", "alembic", "sqlalchemy", "ledger.models", "ledger.access"},
    "cli": {"cli", "ledger", "click", "tqdm"},
}
ALONE = {
    "ledger/hub.py": {"huggingface_hub"},
    "ledger/postgres.py": {"psycopg"},
    "ledger/access/passwords.py": {"argon2"},
    "ledger/figures.py": {"matplotlib"},
}
WEB = {"fastapi", "starlette", "jinja2", "uvicorn"}
PURE = {
    "ledger/carried.py": set(),
    "ledger/history.py": {"ledger.carried", "ledger.errors", "ledger.lines"},
    "ledger/lines.py": {"ledger.errors"},
    "ledger/chain.py": set(),
    "ledger/models.py": set(),
}
STORE_WRITERS = {
    *("store/atomic.py", "store/surgery.py", "store/staging.py", "store/filesystem.py"),
}
CHANGES_DISK = {
    *("write", "pwrite", "rename", "renames", "replace", "link", "symlink", "unlink", "remove"),
    *("rmdir", "removedirs", "mkdir", "makedirs", "truncate", "ftruncate", "utime", "chmod"),
    *("copy_file_range", "sendfile", "fsync"),
}
PATH_CHANGES = {
    *("write_bytes", "write_text", "touch", "unlink", "rmdir", "mkdir", "rename", "symlink_to"),
    *("hardlink_to", "chmod", "open_excl", "pwrite", "fsync", "fsync_dir"),
}
WRITING_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC"}
DANGEROUS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load"),
    *("yaml.load", "yaml.unsafe_load", "marshal.loads", "marshal.load", "joblib.load"),
}
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
CHANGES_CONTAINER = {
    *("append", "extend", "insert", "remove", "pop", "popitem", "clear", "update"),
    *("setdefault", "add", "discard", "sort", "reverse"),
}


@dataclass(frozen=True)
class Module:
    """A parsed source file; `path` is relative to the root of the project, with slashes."""

    path: str
    tree: ast.Module
    lines: int

    @classmethod
    def of(cls, path: str, text: str) -> Module:
        return cls(path, ast.parse(text), text.count("\n"))

    @property
    def package(self) -> str:
        return self.path.split("/")[0]

    def at(self, node: ast.AST, what: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)} {what}"

    def calls(self) -> Iterator[ast.Call]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))


def modules(root: Path) -> list[Module]:
    """Every module of the packages."""
    found = [path for name in PACKAGES for path in sorted((root / name).rglob("*.py"))]
    return [Module.of(path.relative_to(root).as_posix(), path.read_text("utf-8")) for path in found]


def dotted(node: ast.AST) -> str:
    """`os.open` for the expression os.open; '' for anything that is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def imported(module: Module) -> Iterator[tuple[ast.AST, str]]:
    """Dotted names of all imports, those inside functions and `import_module("...")` included."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node, "." * node.level + (node.module or "")
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("import_module"):
            yield node, text_start(node.args[0]) if node.args else ""


def text_start(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr) and node.values:
        return text_start(node.values[0])
    return str(node.value) if isinstance(node, ast.Constant) else ""


def imports(module: Module) -> Iterator[str]:
    """Who imports whom."""
    allowed = MAY_IMPORT[module.package]
    allowed = allowed | ALONE.get(module.path, set())
    if module.path.startswith("cli/web/"):
        allowed = allowed | WEB
    for node, name in imported(module):
        roots = {name.split(".")[0], ".".join(name.split(".")[:2])}
        if not roots & (allowed | sys.stdlib_module_names):
            yield module.at(node, f"imports {name or 'something computed'}")


def pure_modules(module: Module) -> Iterator[str]:
    """The fold of the history, the hashes and the tables know nothing above them."""
    if module.path in PURE:
        for node, name in imported(module):
            if name.split(".")[0] in {"ledger", "editors"} and name not in PURE[module.path]:
                yield module.at(node, f"imports {name}")


def store_writes(module: Module) -> Iterator[str]:
    """In `store`, only the write protocol, surgery and their file system change the disk."""
    if module.package != "store" or module.path in STORE_WRITERS:
        return
    for call in module.calls():
        name = dotted(call.func)
        head, _, last = name.rpartition(".")
        if not name and isinstance(call.func, ast.Attribute):
            last = call.func.attr
        if (
            (head == "os" and last in CHANGES_DISK)
            or head == "shutil"
            or last in PATH_CHANGES
            or (last in {"open", "fdopen"} and _opens_for_writing(call))
        ):
            yield module.at(call, f"calls {name or last}")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in WRITING_FLAGS:
            yield module.at(node, f"opens with {node.attr}")


def _opens_for_writing(call: ast.Call) -> bool:
    modes = [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
    texts = [m.value for m in modes if isinstance(m, ast.Constant) and isinstance(m.value, str)]
    return any(len(text) < 4 and set(text) & set("wax+") for text in texts)


def hooks(module: Module) -> Iterator[str]:
    """Only one module registers hooks."""
    if module.path == "editors/trace.py":
        return
    for node in ast.walk(module.tree):
        name = node.attr if isinstance(node, ast.Attribute) else ""
        if name.startswith("register_") and name.endswith("hook"):
            yield module.at(node, f"uses {name}")


def printing(module: Module) -> Iterator[str]:
    """Only one module writes to the terminal."""
    if module.path == "cli/output.py":
        return
    for node in ast.walk(module.tree):
        name = dotted(node)
        if name in {"print", "sys.stdout", "sys.stderr", "click.echo", "click.secho"}:
            yield module.at(node, f"uses {name}")


def danger(module: Module) -> Iterator[str]:
    """Nothing that runs code from data or a shell."""
    for node, name in imported(module):
        if name.split(".")[0] in PICKLES:
            yield module.at(node, f"imports {name}")
    for call in module.calls():
        # Running nothing is no danger, and the only way to take back what CPython noted.
        nothing = (
            bool(call.args) and isinstance(call.args[0], ast.Constant) and not call.args[0].value
        )
        if dotted(call.func) in DANGEROUS and not nothing:
            yield module.at(call, f"calls {dotted(call.func)}")
        for keyword in call.keywords:
            true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            if keyword.arg in {"trust_remote_code", "shell", "allow_pickle"} and true:
                yield module.at(call, f"passes {keyword.arg}=True")


def swallowing(module: Module) -> Iterator[str]:
    """No bare except; who catches everything raises again."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            yield module.at(node, "has a bare except")
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        wide = {dotted(kind) for kind in kinds} & {"Exception", "BaseException"}
        if wide and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
            yield module.at(node, f"swallows {wide.pop()}")
    for call in module.calls():
        wide = {dotted(arg) for arg in call.args} & {"Exception", "BaseException"}
        if dotted(call.func).endswith("suppress") and wide:
            yield module.at(call, f"suppresses {wide.pop()}")


def asserting(module: Module) -> Iterator[str]:
    """Checks raise errors; `assert` vanishes under -O."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assert):
            yield module.at(node, "asserts")


def mutable_state(module: Module) -> Iterator[str]:
    """Containers at module level are constants, by name and by use."""
    constants: set[str] = set()
    for node in module.tree.body:
        for name in _containers(node):
            constants.add(name)
            if not (name.lstrip("_").isupper() or name == "__all__"):
                yield module.at(node, f"keeps {name} at module level")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Global):
            yield module.at(node, "uses global")
        elif _changed(node) in constants:
            yield module.at(node, f"changes {_changed(node)}")


def _containers(node: ast.stmt) -> list[str]:
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return []
    kinds = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
    makers = {"dict", "list", "set", "defaultdict", "OrderedDict", "deque", "Counter", "bytearray"}
    made = isinstance(node.value, ast.Call) and dotted(node.value.func).split(".")[-1] in makers
    if not (made or isinstance(node.value, kinds)):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _changed(node: ast.AST) -> str | None:
    """The name of the container that an expression or target changes."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        return dotted(node.value)
    if isinstance(node, ast.AugAssign):
        return dotted(node.target)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return dotted(node.func.value) if node.func.attr in CHANGES_CONTAINER else None
    return None


def documented(module: Module) -> Iterator[str]:
    """Every module says what it promises."""
    if not ast.get_docstring(module.tree):
        yield module.at(module.tree, "has no docstring")


def functions(module: Module) -> Iterator[tuple[str, int]]:
    """Place and length in lines of every function, decorators left out."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            yield module.at(node, node.name), length


RULES = (
    *(imports, pure_modules, store_writes, hooks, printing, danger, swallowing),
    *(asserting, mutable_state, documented),
)
