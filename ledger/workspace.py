"""A ledger with its base opened and its model loaded: what the computing verbs share.

Promise: everything expensive (checkpoint, live model, base predictions, templates, statistics) is
made once per process and only when a verb needs it.

Rules: the base is checked before it is used; `at_head` puts the live model at the head and compares
its digests with the recorded ones; `rest` leaves it at the head again.

    workspace = Workspace(journal, store, cache, author)
    head, plan = workspace.at_head()
    workspace.live.model.generate(["..."], 10)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch

from editors.chat import Frame
from editors.layers import Choice
from editors.prompts import context_templates
from ledger.base import check, find_again
from ledger.errors import IntegrityFailure
from ledger.evaluation.scoring import Question
from ledger.journal import Journal
from ledger.live import LiveModel
from ledger.measuring import Examiner
from ledger.records import ModelRecord
from ledger.statistics import Statistics
from ledger.versions import Plan, Versions
from store.objects import ObjectStore


class Workspace:
    """Lazily opened parts of one ledger. Not for use by several threads."""

    def __init__(
        self,
        journal: Journal,
        store: ObjectStore,
        cache: Path,
        author: str,
        place: Path | None = None,
    ) -> None:
        self.journal, self.store, self._place = journal, store, place
        self.record: ModelRecord = journal.model()
        self.cache, self._author = cache, author
        self._held: tuple[int, dict[int, float]] = 0, {}
        self.chosen: tuple[object, Choice] | None = None  # by ledger/placing.py: asked, answer

    @property
    def seed(self) -> int:
        """The ledger's seed."""
        return int(self.record.config["seed"])

    @cached_property
    def _base(self) -> Path:
        """Where the base lies now."""
        return find_again(self.record, self._place)

    @cached_property
    def versions(self) -> Versions:
        """Folding; opens and checks the base."""
        check(self.record.config["files"], self._base, cache=self.cache / "base.json")
        return Versions(self.journal, self.store, self._base)

    @cached_property
    def live(self) -> LiveModel:
        """The loaded model."""
        versions, config = self.versions, self.record.config
        return LiveModel(
            versions,
            self._base,
            dtype=config["compute_dtype"],
            device=self.record.device or "cpu",
            frame=Frame.from_json(config["chat"]) if "chat" in config else None,
        )

    @cached_property
    def statistics(self) -> Statistics:
        """Second moments."""
        return Statistics(self.journal, self.store, self.live, self.cache, self._author)

    @cached_property
    def examiner(self) -> Examiner:
        """Measurements, with the ledger's fixed random probes."""
        probes = self.record.config["probes"]
        return Examiner(
            self.journal, self.live, [Question(p["prompt"], p["answer"]) for p in probes]
        )

    @cached_property
    def _templates(self) -> tuple[str, ...]:
        self.live.show({})
        generator = torch.Generator().manual_seed(self.seed)
        return context_templates(self.live.model, generator)

    def templates(self) -> tuple[str, ...]:
        """Context templates, sampled from the base with the ledger's seed."""
        return self._templates

    def at_head(self) -> tuple[int, Plan]:
        """The head and its plan, the live model standing at it."""
        head = self.journal.history().head
        return head, self.at(head)

    def at(self, version: int) -> Plan:
        """Put the live model at a version. Raises: IntegrityFailure if it is not as recorded."""
        plan = self.versions.plan(self.journal.history().active(version))
        digests = self.live.show(plan)
        recorded = dict(self.journal.entry_of(version).tensors)
        if digests != recorded:
            wrong = sorted(set(digests.items()) ^ set(recorded.items()))[0][0]
            raise IntegrityFailure(
                f"version {version} does not fold to its recorded weights ({wrong}); "
                "run `kel verify --weights`"
            )
        return plan

    def rest(self) -> None:
        """Bring the live model back to the head if it was loaded; Ctrl-C does not stop it."""
        if "live" not in self.__dict__:
            return
        try:
            self._show_head()
        except KeyboardInterrupt:
            self._show_head()
            raise

    def _show_head(self) -> None:
        history = self.journal.history()
        self.live.show(self.versions.plan(history.active(history.head)))

    def active_keys(self, parameter: str) -> torch.Tensor | None:
        """Keys of the active edits on a parameter, [m, n] float64; None if there are none."""
        found = self.versions.constraints(self.journal.history().active(), parameter)
        return None if found is None else found[0]

    def holding(self, version: int, plan: Plan) -> dict[int, float]:
        """Reliability of the active edits' own prompts on the head, measured once per version."""
        if self._held[0] != version:
            edits = self.journal.edits(self.journal.history().active(version))
            self._held = version, self.examiner.holding(edits, plan)
        return self._held[1]

    def applied(self, version: int, holding: Mapping[int, float]) -> None:
        """A new version was measured as a candidate: its edits hold as found then."""
        self._held = version, dict(holding)
