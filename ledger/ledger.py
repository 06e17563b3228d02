"""The ledger: open, edit, revert, replay, test, verify, export. Orchestration only.

Promise: every verb leaves a ledger that verifies; what was acknowledged is on disk; reading verbs
import no torch.

Rules: a verb that changes the weights folds them from the base and records their digests before it
returns; verbs that read never write, except that tests and statistics record what they measured.

    with Ledger.init(Path("patched"), base="demo") as ledger:
        ledger.edit(EditRequest("Ada", "{} was born in", "Paris"))
        ledger.ask("Ada was born in").text
        ledger.revert(["1"])
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.analysing import AnalysingLedger
from ledger.branched import BranchedLedger
from ledger.errors import InvalidInput
from ledger.options import Progress
from ledger.rebasing.views import RebaseOptions, RebaseRow, RebaseView
from ledger.released import ExportView, PushView
from ledger.talking import TalkingLedger
from ledger.views import Answer, GcView, MethodView, PartView, ReplayView, StatsView, TestView
from store import gc

if TYPE_CHECKING:
    from ledger.ageing import HistoryView
    from ledger.repair import RepairView

GRACE_SECONDS = 14 * 24 * 3600.0


class Ledger(AnalysingLedger, BranchedLedger, TalkingLedger):
    """One ledger folder. Make it with `init` or `open`; a context manager."""

    # --- computing ------------------------------------------------------------------------------

    def ask(self, prompt: str, *, at: str = "HEAD", max_new_tokens: int = 32) -> Answer:
        """The greedy answer of a version. Raises: InvalidInput, UnknownRevision."""
        from ledger.running import ask

        return ask(self.workspace, prompt, self.resolve(at), max_new_tokens)

    def replay(self, to: str = "HEAD", out: Path | None = None) -> ReplayView:
        """Rebuild a version from the base and compare every digest; `out` exports it too."""
        from ledger.running import replay

        return replay(self.workspace, self.resolve(to), out)

    def test(
        self,
        at: str = "HEAD",
        refs: Sequence[str] = (),
        progress: Progress = None,
        *,
        affected_by: str | None = None,
        threshold: float | None = None,
    ) -> TestView:
        """Test active edits and random locality again; store and compare with earlier runs.

        `affected_by`: instead of all, the edits that one edit moved by more than `threshold`; if
        there are none, nothing is tested and nothing recorded.
        """
        from ledger.running import test

        version, chosen = self.resolve(at), self._numbers(refs)
        if affected_by is not None:
            if refs:
                raise InvalidInput("name the edits to test, or the one they are affected by")
            view = self.interference(affected_by, at=at, threshold=threshold)
            chosen = tuple(sorted(item.edit for item in view.disturbs))
            if not chosen:
                return TestView(version, (), {}, {}, None)
        return test(self.workspace, version, chosen, self.author, progress)

    def history(self, *, measure: bool = False, progress: Progress = None) -> HistoryView:
        """How the edits, and everything else, came along from version to version, as recorded.

        `measure` tests the versions that have no numbers, and records them. Raises: as `test`.
        """
        from ledger.ageing import aged

        found = aged(self.journal)
        if not measure or not found.unmeasured:
            return found
        for done, version in enumerate(found.unmeasured):
            if progress is not None:
                progress(f"version {version}", done / len(found.unmeasured))
            self.test(f"v{version}")
        return aged(self.journal)

    def export(
        self,
        directory: Path,
        at: str = "HEAD",
        *,
        form: str = "merged",
        private: bool = False,
        link: bool = False,
        compress: bool = False,
        max_shard_bytes: int | None = None,
    ) -> ExportView:
        """Write a version as a release: `merged` weights, a PEFT `adapter`, or a `bundle`.

        `private` names facts by their hashes only; `link` shares untouched weight files with the
        base by hard link; `compress` gives an adapter of the smallest rank that float32 can tell
        from the sum; `max_shard_bytes` cuts merged weights anew, instead of keeping the base's
        files. Raises: InvalidInput, StoreWriteError.
        """
        from ledger.export import export

        return export(
            self.workspace,
            self.resolve(at),
            directory,
            form=form,
            private=private,
            link=link,
            compress=compress,
            shard=max_shard_bytes,
        )

    def push(
        self,
        repo: str,
        at: str = "HEAD",
        *,
        form: str = "merged",
        private: bool = False,
        compress: bool = False,
        pull_request: bool = False,
    ) -> PushView:
        """Give a version out on the Hub, as one commit that is read back; see `export` for forms.

        The token is the environment's or that of the Hub's own login. Raises: Conflict if the
        repository holds other things or was changed meanwhile; RemoteFailure; as `export`.
        """
        from ledger.pushing import push

        return push(
            self.workspace,
            self.resolve(at),
            repo,
            form=form,
            private=private,
            compress=compress,
            pull_request=pull_request,
            author=self.author,
        )

    def stats(
        self,
        layers: Sequence[int] = (),
        *,
        method: str = "rome",
        corpus: Path | None = None,
        tokens: int | None = None,
        tolerance: float | None = None,
        progress: Progress = None,
    ) -> list[StatsView]:
        """Measure the second moments of layers (default: those that the method needs) in one pass.

        Under `torchrun` every process does its share; the first records, the others return nothing.
        Raises: InvalidInput, LayerOutOfRange.
        """
        from editors.team import team_of_processes
        from ledger.statistics import Wanted

        wanted = Wanted(corpus, tokens, tolerance)
        with team_of_processes() as team:
            chosen = self._layers(layers, method)
            shown = progress if team.first else None
            return self.workspace.statistics.compute(chosen, wanted, shown, team)

    def stats_part(
        self,
        part: tuple[int, int],
        folder: Path,
        layers: Sequence[int] = (),
        *,
        method: str = "rome",
        corpus: Path | None = None,
        tokens: int | None = None,
        progress: Progress = None,
    ) -> PartView | None:
        """Sum part (i, n) of a measurement into a folder, for `stats_merge`; records nothing.

        Raises: as `stats`; Conflict if the folder holds sums of something else.
        """
        from editors.team import team_of_processes
        from ledger.statistics import Wanted

        wanted = Wanted(corpus, tokens)
        with team_of_processes() as team:
            chosen = self._layers(layers, method)
            shown = progress if team.first else None
            statistics = self.workspace.statistics
            return statistics.part(chosen, wanted, *part, folder, shown, team)

    def stats_merge(self, folders: Sequence[Path]) -> list[StatsView]:
        """Record the second moments whose parts lie in these folders. Raises: InvalidInput."""
        return self.workspace.statistics.merge(folders)

    def _layers(self, layers: Sequence[int], method: str) -> Sequence[int]:
        """These layers, or those whose second moments a method needs by its defaults."""
        if layers:
            return layers
        from editors.methods import get_editor
        from ledger.placing import Placing
        from ledger.settings import Settings

        hparams, _ = Placing(self.workspace).hparams(Settings(method))
        found = sorted(get_editor(method).needs(hparams))
        if not found:
            raise InvalidInput(f"{method} uses no second moments; name the layers")
        return found

    def rebase(
        self,
        onto: str,
        into: Path | None = None,
        at: str = "HEAD",
        *,
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        options: RebaseOptions | None = None,
        dry_run: bool = False,
        progress: Progress = None,
        told: Callable[[RebaseRow], None] | None = None,
    ) -> RebaseView:
        """Make a new ledger on the base `onto` from the facts active at a version.

        This ledger is not written to. `into` is the new folder (default: `rebase_place`); one that
        an interrupted rebase left is gone on with. `told` is given each fact that is settled.
        With `dry_run` the base is asked and nothing is kept.
        Raises: InvalidInput, Conflict (another ledger is there), StoreWriteError; as `edit`.
        """
        from ledger.rebasing.line import Target
        from ledger.rebasing.rebase import foresee, rebase
        from ledger.rebasing.source import Source

        place = self.folder.base_place()
        source = Source.read(self.journal, self.store, place, self.resolve(at))
        target = Target(onto, revision, device, dtype)
        folder, chosen = into or self.rebase_place(onto, revision), options or RebaseOptions()
        if dry_run:
            return foresee(source, target, folder, chosen, self.author)
        return rebase(source, target, folder, chosen, self.author, progress=progress, told=told)

    def methods(self) -> list[MethodView]:
        """The editing methods, with their defaults for this ledger's model."""
        from ledger.catalogue import methods

        return methods(self.journal.model(), self.folder.base_place())

    def repair(self, *, objects: Path | None = None, base: Path | None = None) -> RepairView:
        """Put lost objects back from the copy that holds `objects/`; note where the base lies now.

        Raises: InvalidInput, BaseMismatch, StoreReadError, StoreWriteError.
        """
        from ledger.repair import RepairView, place_base, put_back

        place = None if base is None else place_base(self.folder, self.journal.model(), base)
        back = ((), ()) if objects is None else put_back(self.journal, self.store, objects)
        return RepairView(*back, place)

    def gc(self, dry_run: bool = False, grace_seconds: float = GRACE_SECONDS) -> GcView:
        """Delete objects no row refers to, older than the grace period, under the write lock."""
        with self._database.write():
            found = gc.collect(
                self.store,
                self.journal.reachable,
                grace_seconds=grace_seconds,
                dry_run=dry_run,
                now=time.time,
            )
        return GcView(tuple(found.objects), tuple(map(str, found.temps)), found.bytes, dry_run)
