"""The documents name what the code has: commands, errors, findings, tables, schemas."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.errors import Interrupted, describe
from cli.main import COMMANDS, OUTPUT_CLOSED
from ledger import branches, moving, records, released, shares, views
from ledger.ageing import HistoryView, VersionAge
from ledger.auditing import views as audited
from ledger.bisect import BisectStep, BisectView
from ledger.doctor import Check, DoctorView
from ledger.errors import exit_code_of
from ledger.facts import FactView
from ledger.fields import Record
from ledger.models import METADATA
from ledger.rebasing.views import RebaseView
from ledger.repair import RepairView
from ledger.runs.running import RunView
from ledger.verify import Finding

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, *(page for page in ROOT.glob("*.md"))]
PACKAGES = ("store", "editors", "ledger", "cli")
GUIDE, FORMATS, ERRORS, ARCHITECTURE, CLI = (
    (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    for name in ("guide", "formats", "errors", "architecture", "cli")
)
# Groups that do nothing by themselves.
GROUPS = {
    "db": ("current", "check", "upgrade", "backup", "copy", "attach"),
    "data": ("check", "list"),
    "bench": ("run", "table", "plot"),
}
NAMES = [*(name for name in COMMANDS if name not in GROUPS), "demo facts", "history plot"]
NAMES += [f"{group} {name}" for group, names in GROUPS.items() for name in names]
RECORDS = {c.table: c for c in vars(records).values() if isinstance(c, type) and c is not Record
           and issubclass(c, Record)}  # fmt: skip
DOCUMENTS = {
    "kel.status/1": views.StatusView,
    "kel.edit/1": views.EditOutcome,
    "kel.log/1": views.LogView,
    "kel.show/1": views.EditView,
    "kel.diff/1": views.DiffView,
    "kel.revert/1": views.ChangeOutcome,
    "kel.switch/1": branches.SwitchView,
    "kel.merge/1": branches.MergeView,
    "kel.replay/1": views.ReplayView,
    "kel.test/1": views.TestView,
    "kel.interference/1": shares.InterferenceView,
    "kel.verify/1": Finding,
    "kel.export/1": released.ExportView,
    "kel.facts/1": FactView,
    "kel.bisect/1": BisectView,
    "kel.rebase/1": RebaseView,
    "kel.audit/1": audited.AuditView,
    "kel.identify/1": audited.IdentityView,
    "kel.import/1`, `kel.pull/1": released.ImportView,
    "kel.push/1": released.PushView,
    "kel.verify-release/1": released.ReleaseCheck,
    "kel.stats/1": views.StatsView,
    "kel.methods/1": views.MethodView,
    "kel.gc/1": views.GcView,
    "kel.repair/1": RepairView,
    "kel.doctor/1": DoctorView,
    "kel.db.current/1`, `kel.db.upgrade/1`, `kel.db.attach/1": moving.DatabaseView,
    "kel.db.copy/1`, `kel.db.backup/1": moving.CopyView,
    "kel.trace/1": views.AnalysisView,
    "kel.bench.run/1": RunView,
    "kel.history/1": HistoryView,
}
FOREIGN_PATH = re.compile(r"(?<![\w.<…])(?:/(?:home|root|work|tmp|mnt|Users|opt|srv)/|[A-Z]:\\)")


def trees(*packages: str) -> Iterator[tuple[Path, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text("utf-8"))


def calls(*packages: str) -> Iterator[ast.Call]:
    for _, tree in trees(*packages):
        yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def texts_of(call: ast.Call) -> list[str]:
    return [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]


def section(page: str, heading: str) -> str:
    """The text from a heading that begins so to the next of its level or above."""
    level = heading.index(" ")
    start = page.index(f"\n{heading}") + 1
    body = page[start + len(heading) :]
    rest = re.search(rf"^#{{2,{level}}} ", body, re.MULTILINE)
    return body[: rest.start()] if rest else body


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows but headings and rules."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and "`" in line]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# --- commands and documents ---------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_command_is_in_the_reference_in_the_guide_and_has_a_schema(name):
    assert f"\n## kel {name}\n" in CLI
    assert re.search(rf"\bkel {name}\b", GUIDE)
    assert f"`kel.{name.replace(' ', '.')}/1`" in FORMATS


def test_every_schema_in_the_code_is_on_the_page():
    emitted = {f"kel.{texts_of(c)[0]}/1" for c in calls("cli") if name_of(c) == "emit"}
    emitted |= {f"kel.{t}/1" for c in calls("cli") if name_of(c) == "document" for t in texts_of(c)}
    literal = {
        found
        for _, tree in trees(*PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for found in re.findall(r"kel\.[a-z.-]+/\d+", node.value)
    }
    assert {"kel.status/1", "kel.error/1", "kel.delta/1", "kel.moment/1"} <= emitted | literal
    assert {name for name in emitted | literal if name not in FORMATS} == set()


@pytest.mark.parametrize("schema", DOCUMENTS)
def test_a_document_has_the_fields_of_its_table(schema):
    shown = [row[0].strip("`") for row in rows(section(FORMATS, f"### `{schema}`"))]
    assert shown == [field.name for field in dataclasses.fields(DOCUMENTS[schema])]


def test_what_lies_inside_a_document_is_named():
    inside = (
        (views.BaseView, "kel.status/1"),
        (views.TestRow, "kel.test/1"),
        (views.BatchOutcome, "kel.revert/1"),
        (views.PartView, "kel.stats/1"),
        (BisectStep, "kel.bisect/1"),
        (branches.BranchView, "kel.branch/1"),
        (branches.Contradiction, "kel.merge/1"),
        (branches.Moved, "kel.merge/1"),
        (VersionAge, "kel.history/1"),
        (Check, "kel.doctor/1"),
        *((view, "kel.audit/1") for view in (audited.EditShare, audited.Share, audited.Group)),
        *((view, "kel.audit/1") for view in (audited.TensorView, audited.Reading, audited.Said)),
        (shares.InterferenceRow, "kel.interference/1"),
        (shares.Share, "kel.interference/1"),
    )
    for view, schema in inside:
        text = section(FORMATS, f"### `{schema}`")
        assert all(f"`{field.name}`" in text for field in dataclasses.fields(view))


def test_every_variable_of_the_environment_is_in_the_reference():
    found = {
        node.value
        for _, tree in trees(*PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and re.fullmatch(r"KEL_[A-Z]+", str(node.value))
    }
    assert found
    assert {name for name in found if f"`{name}`" not in CLI} == set()


# --- errors and findings ------------------------------------------------------------------------


def error_classes(package: str) -> dict[str, type[BaseException]]:
    module = importlib.import_module(f"{package}.errors")
    kinds = {name: cls for name, cls in vars(module).items() if isinstance(cls, type)}
    return {
        name: cls
        for name, cls in kinds.items()
        if cls.__module__ == module.__name__ and issubclass(cls, BaseException)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_every_error_class_is_listed_with_its_exit_status(package):
    classes = error_classes(package)
    shown = {row[0].strip("`"): row for row in rows(section(ERRORS, f"## `{package}`"))}
    assert set(classes) <= set(shown)
    for name, cls in classes.items():
        error = cls.__new__(cls)
        status = describe(error).exit if issubclass(cls, Interrupted) else exit_code_of(error)
        expected = OUTPUT_CLOSED if name == "OutputClosed" else status
        assert shown[name][1] == str(expected), name


@pytest.mark.parametrize("package", PACKAGES)
def test_errors_are_defined_in_the_errors_module_only(package):
    known = {"Exception", "BaseException", "ValueError", "RuntimeError", "OSError"}
    known |= {name for p in PACKAGES for name in error_classes(p)}
    elsewhere = {
        f"{path.name}: {node.name}"
        for path, tree in trees(package)
        if path.name != "errors.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        if {getattr(base, "id", "") for base in node.bases} & known
    }
    assert elsewhere == set()


def test_every_finding_is_listed_with_its_severity():
    found = {("error", texts_of(c)[0]) for c in calls("ledger") if name_of(c) == "_error"}
    found |= {tuple(texts_of(c)[:2]) for c in calls("ledger")
              if name_of(c) == "Finding" and len(texts_of(c)) > 1}  # fmt: skip
    shown = {(r[0], r[1].strip("`")) for r in rows(section(ERRORS, "## Findings of"))}
    assert len(found) > 15
    assert shown == found


def test_every_code_of_a_rejected_object_is_listed():
    found = {texts_of(c)[0] for c in calls("store") if name_of(c) == "_rejected"}
    found |= {
        str(keyword.value.value)
        for call in calls("store")
        for keyword in call.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    }
    text = ERRORS[ERRORS.index("Codes of `ObjectRejected`") : ERRORS.index("## `cli`")]
    shown = {row[0].strip("`") for row in rows(text)}
    assert len(found) > 10
    assert shown == found


# --- tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", sorted(METADATA.tables))
def test_a_table_is_described_column_by_column(table):
    (row,) = [r for r in rows(section(FORMATS, "## 10.")) if r[0] == f"`{table}`"]
    parts = {m[1]: m[2] for m in re.finditer(r"`(\w+)`([^`]*)", f"{row[1]}, {row[2]}")}
    columns = METADATA.tables[table].columns
    kinds = {f.name: f.metadata["kind"] for f in dataclasses.fields(RECORDS[table])}
    assert set(parts) == {column.name for column in columns}
    assert set(re.findall(r"`(\w+)`", row[1])) == {c.name for c in columns if c.primary_key}
    for column in columns:
        said = parts[column.name]
        assert ("?" in said) == bool(column.nullable), column
        assert ("json" in said) == (kinds[column.name] == "json"), column
        assert ("int" in said.split("->")[0]) == (kinds[column.name] == "int"), column
        assert ("float" in said) == (kinds[column.name] == "real"), column
        links = {key.column.table.name for key in column.foreign_keys} - {"entry"}
        assert set(re.findall(r"-> (\w+)", said)) == links, column


def test_every_kind_of_entry_is_described():
    text = section(FORMATS, "## 8.")
    assert [op for op in records.OPS if f"`{op}`" not in text] == []


# --- pages --------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_place_of_one_machine(page):
    assert FOREIGN_PATH.findall(page.read_text("utf-8")) == []


def test_the_modules_that_the_architecture_names_exist():
    places = r"`((?:store|editors|ledger|cli|migrations|tests)/[\w./]*)`"
    named = set(re.findall(places, ARCHITECTURE))
    assert len(named) > 40
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_decisions_are_numbered_indexed_and_of_one_form():
    folder = ROOT / "docs" / "adr"
    pages = sorted(folder.glob("0*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    index = (folder / "README.md").read_text("utf-8")
    for page in pages:
        text = page.read_text("utf-8")
        assert re.findall(r"^## (\w+)$", text, re.M) == ["Context", "Decision", "Consequences"]
        title = text.splitlines()[0].removeprefix(f"# {page.name[:4]} ")
        assert f"| [{page.name[:4]}]({page.name}) | {title} |" in index
