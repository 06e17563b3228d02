"""Sixteen bugs, each put into a copy of the program, and the tests that have to notice it (P36).

Promise: a bug is a few exact replacements of text; where the text is gone, applying it fails.

Rules: what the catalogue of promises names is taken as it is; where this program does a thing in
another way, the nearest bug is taken and `instead` says so. `killers` are tests of the fast tier.

    for path, text in mutant.texts(copy_of_the_tree).items():
        path.write_text(text)
    # now one of mutant.killers fails there
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Change:
    """One replacement: `old` stands exactly once in the file."""

    path: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        """The file's text with the change. Raises: LookupError if the text is gone or twice."""
        if (found := text.count(self.old)) != 1:
            raise LookupError(f"{self.path} holds {self.old!r} {found} times, not once")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Mutant:
    """One bug; `instead` says why it is not quite the bug of its name."""

    name: str
    changes: tuple[Change, ...]
    killers: tuple[str, ...]
    instead: str = ""

    def texts(self, root: Path) -> dict[Path, str]:
        """The changed files of the tree at `root`, with the bug. Raises: LookupError."""
        found: dict[Path, str] = {}
        for change in self.changes:
            path = root / change.path
            found[path] = change.applied(found.get(path) or path.read_text("utf-8"))
        return found


SYNCED = "tests/crash/test_power_loss.py::test_P02_three_edits_survive_a_power_cut_at_any_instant"

MUTANTS = (
    Mutant(
        "the file is not synced",
        (Change("store/atomic.py", "            fs.fsync(fd)\n", ""),),
        (SYNCED,),
    ),
    Mutant(
        "the folder is not synced",
        (
            Change(
                "store/atomic.py",
                "        fs.fsync_dir(folder)\n    _point",
                "        _ = folder\n    _point",
            ),
        ),
        (SYNCED,),
    ),
    Mutant(
        "the row is committed before its object is put",
        (
            Change(
                "ledger/commit.py",
                "    oid = workspace.store.put(candidate.data)\n"
                "    if workspace.store.get(oid) != candidate.data:\n",
                "    import hashlib\n\n"
                "    oid = hashlib.sha256(candidate.data).hexdigest()\n"
                "    if len(oid) != 64:\n",
            ),
            Change(
                "ledger/commit.py",
                "    return Committed(entry.version, batch, entry.edits)\n",
                "    workspace.store.put(candidate.data)\n"
                "    return Committed(entry.version, batch, entry.edits)\n",
            ),
            Change(
                "ledger/journal.py",
                "lost = sorted(oid for oid in wanted | fresh if not self._store.has(oid))",
                "lost: list[str] = []",
            ),
            Change(
                "ledger/journal.py",
                "if item.size != self._store.size(item.oid):",
                "if item.size < 0:",
            ),
        ),
        (
            "tests/unit/test_ledger_journal.py::test_a_row_is_only_recorded_when_its_object_is_in_the_store",
        ),
    ),
    Mutant(
        "an undo subtracts",
        (
            Change(
                "ledger/continuing.py",
                "        if total is None or wanted",
                "        if total is not None and done[: len(wanted)] == wanted:\n"
                "            for update in done[len(wanted) :]:\n"
                "                total.add(type(update)(-update.u, update.v))\n"
                "            done = wanted\n"
                "        if total is None or wanted",
            ),
        ),
        ("tests/property/test_live_exact.py::test_back_and_forth_over_the_versions",),
    ),
    Mutant(
        "BEGIN in place of BEGIN IMMEDIATE",
        (
            Change(
                "ledger/db.py",
                'exec_driver_sql("BEGIN IMMEDIATE")\n            _point("write-begun")',
                'exec_driver_sql("BEGIN")\n            _point("write-begun")',
            ),
        ),
        ("tests/unit/test_ledger_db.py::test_waiting_for_the_lock_ends",),
    ),
    Mutant(
        "an object's sha256 is not compared when it is read",
        (Change("store/objects.py", "if found != oid:", "if not found:"),),
        ("tests/unit/test_store_objects.py::test_P06_every_single_bit_counts",),
    ),
    Mutant(
        "the chain is not checked",
        (
            Change(
                "ledger/verify.py",
                'if row["prev_hash"] != previous:',
                'if row["prev_hash"] is None:',
            ),
        ),
        (
            "tests/unit/test_ledger_verify.py::"
            "test_a_fact_with_all_its_hashes_made_anew_still_breaks_the_chain",
        ),
    ),
    Mutant(
        "two metadata keys",
        (
            Change(
                "store/tensors.py",
                "entries[_METADATA] = {META_KEY: meta_text}",
                'entries[_METADATA] = {"format": "pt", META_KEY: meta_text}',
            ),
        ),
        ("tests/unit/test_store_tensors.py::test_the_bytes_are_these",),
    ),
    Mutant(
        "templates do not escape",
        (Change("cli/web/pages.py", "autoescape=True", "autoescape=False"),),
        ("tests/e2e/test_web_pages.py::test_texts_are_texts",),
    ),
    Mutant(
        "prompts are filled by str.format",
        (
            Change(
                "editors/requests.py",
                "return self.prompt.replace(SLOT, self.subject)",
                "return self.prompt.format(self.subject)",
            ),
        ),
        ("tests/unit/test_editors_requests.py::test_braces_in_a_prompt_are_only_text",),
    ),
    Mutant(
        "passwords are hashed in little memory",
        (Change("ledger/access/passwords.py", '"memory_cost": 65536', '"memory_cost": 64'),),
        ("tests/e2e/test_access.py::test_the_default_cost_is_above_what_is_recommended",),
        instead="scrypt's maxmem: passwords are hashed with argon2id, whose memory is a parameter",
    ),
    Mutant(
        "a hook stays",
        (
            Change(
                "editors/trace.py",
                "self._handles.pop().remove()",
                "self._handles.pop()",
            ),
        ),
        ("tests/unit/test_editors_trace.py::test_a_trace_removes_its_hooks_and_passes_errors_on",),
    ),
    Mutant(
        "gc knows no grace time",
        (
            Change(
                "store/gc.py",
                "return status is not None and now - status.st_mtime >= self.grace_seconds",
                "return status is not None and now - status.st_mtime > -1e12",
            ),
        ),
        ("tests/unit/test_store_gc.py::test_age_is_counted_to_the_second_and_the_future_is_young",),
    ),
    Mutant(
        "a read-only object is believed",
        (
            Change(
                "store/objects.py",
                "            return self._read(oid) == data\n",
                "            return not self.path(oid).stat().st_mode & 0o222"
                " or self._read(oid) == data\n",
            ),
        ),
        ("tests/unit/test_store_objects.py::test_putting_again_repairs_a_corrupt_object",),
    ),
    Mutant(
        "a push is several commits",
        (
            Change(
                "ledger/hub.py",
                "        made = HfApi().create_commit(\n            repo,\n"
                "            _operations(commit),\n",
                "        parts = _operations(commit)\n"
                "        for part in parts[:-1]:\n"
                "            HfApi().create_commit(repo, [part], commit_message=commit.message)\n"
                "        made = HfApi().create_commit(\n            repo,\n"
                "            parts[-1:],\n",
            ),
            Change(
                "ledger/hub.py",
                "            parent_commit=commit.parent,\n",
                "            parent_commit=None,\n",
            ),
        ),
        (
            "tests/e2e/test_hub_release.py::"
            "test_P28_a_push_that_fails_at_any_call_leaves_nothing_half_done",
        ),
        instead="upload_folder: it was never used; its harm is that a push becomes many commits",
    ),
    Mutant(
        "the fold is in float32",
        (
            Change("ledger/weights.py", "tile.of(base).double()", "tile.of(base).float()"),
            Change("ledger/weights.py", "self._sum = base.double()", "self._sum = base.float()"),
            Change(
                "ledger/weights.py",
                "left.double().unsqueeze(2), right.double().contiguous()",
                "left.float().unsqueeze(2), right.float().contiguous()",
            ),
        ),
        (
            "tests/property/test_revert_exact.py::test_weights_are_the_fold_of_the_active_edits_whatever_led_there",
        ),
    ),
)
