"""Who disturbs whom: how far one edit moves what another one wrote, from the stored factors.

Promise: no model is run and no matrix of the weights' size is formed; one matrix product a
parameter for all pairs of edits.

Rules, with Δ_i = u_i v_i of edit i and k_j the key of edit j, norms over all parameters together:
`share[i, j]` = ||Δ_i k_j|| / ||Δ_j k_j||, the change that i makes at j's key beside the one that j
made there itself. j was computed with some edits in place; `drift[j]` is the norm of the sum of
Δ_i k_j over the edits that came since, minus those that went since, in the same unit: how far what
the model has at j's key is from what j wrote. Edits without keys (ft, kn) disturb, but nothing can
be said of them.

    found = measured(versions.parts([1, 2]), versions.parts([3]))
    found.share                                   # [2, 1]
    everything(versions, history).drift           # one for each active edit
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from editors.delta import Delta, Dense, LowRank
from ledger.carried import without
from ledger.errors import InvalidInput
from ledger.history import TURNING, History
from ledger.inspection import fact_line
from ledger.journal import Journal
from ledger.shares import InterferenceRow, InterferenceView, Share
from ledger.versions import Part, Versions

THRESHOLD = 0.1
MOST = 5


@dataclass(frozen=True, eq=False)
class Effects:
    """What `by` edits do at the keys of `of` edits, NaN for those without a key.

    Shapes: share [i, j], drift [j], float64.
    """

    share: Tensor
    drift: Tensor


def measured(by: Sequence[Part], of: Sequence[Part], signs: Tensor | None = None) -> Effects:
    """The effects of some edits on others; `signs` [i, j] (default 1) says what counts for drift.

    The facts of a batch with one dense change share it: each has its whole share, drift counts it
    once.
    """
    signs = torch.ones(len(by), len(of)) if signs is None else signs
    squares = torch.zeros(len(by), len(of), dtype=torch.float64)
    drift = torch.zeros(len(of), dtype=torch.float64)
    for name in sorted({name for part in of for name in part.keys}):
        keyed = [j for j, part in enumerate(of) if name in part.keys]
        keys = torch.stack([of[j].keys[name][:, 0] for j in keyed], dim=1)  # [m, j]
        found, moved = _at(name, by, keys, signs[:, keyed])
        squares[:, keyed] += found
        drift[keyed] += moved
    own = own_sizes(of)
    return Effects(squares.sqrt() / own, drift.sqrt() / own)


def own_sizes(parts: Sequence[Part]) -> Tensor:
    """||Δ_j k_j|| of each edit, NaN without a key or where it does nothing there. Shape: [j]."""
    squares = torch.zeros(len(parts), dtype=torch.float64)
    for j, part in enumerate(parts):
        for name, keys in part.keys.items():
            change, key = part.changes[name], keys[:, 0]
            at = change.u @ (change.v @ key) if isinstance(change, LowRank) else change.w @ key
            squares[j] += float(torch.linalg.vector_norm(at, dtype=torch.float64)) ** 2
    return torch.where(squares > 0, squares.sqrt(), torch.nan)


def _at(name: str, by: Sequence[Part], keys: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
    """Squared norms of Δ_i k_j [i, j], and of their signed sums over i [j], on one parameter."""
    squares = torch.zeros(len(by), keys.shape[1], dtype=torch.float64)
    low = [(i, c) for i, part in enumerate(by) if isinstance(c := part.changes.get(name), LowRank)]
    total: Tensor | None = None
    if low:
        owner = torch.tensor([i for i, change in low for _ in range(change.u.shape[1])])
        u = torch.cat([change.u for _, change in low], dim=1)  # [d, r]
        inner = torch.cat([change.v for _, change in low]) @ keys  # [r, j]
        total = u @ (inner * signs[owner].float())
        _add_squares(squares, low, inner)
    shared: set[int] = set()
    for i, part in enumerate(by):
        change = part.changes.get(name)
        if isinstance(change, Dense):
            moved = change.w @ keys
            squares[i] += moved.double().square().sum(dim=0)
            if part.batch not in shared:
                signed = moved * signs[i].float()
                total = signed if total is None else total + signed
            shared.add(part.batch)
    none = torch.zeros(keys.shape[1], dtype=torch.float64)
    return squares, none if total is None else total.double().square().sum(dim=0)


def _add_squares(squares: Tensor, low: Sequence[tuple[int, LowRank]], inner: Tensor) -> None:
    """||u_i (v_i K)||² of low-rank changes, with `inner` the stacked v_i K [r, j]."""
    start = 0
    for i, change in low:
        rank = change.u.shape[1]
        rows = inner[start : start + rank].double()
        u = change.u.double()
        squares[i] += (rows * (u.T @ u @ rows)).sum(dim=0).clamp_min(0)
        start += rank


# --- a whole ledger -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Standing:
    """What stood when each edit was computed, from the history alone.

    `edits` were applied at some time (rows), `active` are carried by the version (columns); `signs`
    [i, j]: 1 where i came after j was computed, -1 where it went, else 0.
    """

    edits: tuple[int, ...]
    active: tuple[int, ...]
    signs: Tensor


@dataclass(frozen=True, eq=False)
class Interference(Standing):
    """All edits of a version at once. Shapes: effects of `edits` on `active`."""

    effects: Effects

    def drift(self, edit: int) -> float | None:
        """How far what `edit` wrote has moved; None where it has no key."""
        value = float(self.effects.drift[self.active.index(edit)])
        return value if value == value else None  # noqa: PLR0124 (NaN)

    def moved_by(self, edit: int, threshold: float) -> tuple[Share, ...]:
        """Active edits whose key moved by more than `threshold` because `edit` came or went."""
        row = self.edits.index(edit)
        return largest(self.active, self.effects.share[row] * self.signs[row].abs(), threshold)

    def would_move(self, edit: int, threshold: float) -> tuple[Share, ...]:
        """Active edits that were computed with `edit` in place: a revert of it moves them."""
        row = self.edits.index(edit)
        with_it = (self.signs[row] == 0).double()
        with_it[[j for j, other in enumerate(self.active) if other == edit]] = 0
        return largest(self.active, self.effects.share[row] * with_it, threshold)

    def movers(self, edit: int, threshold: float) -> tuple[Share, ...]:
        """The edits that moved `edit` most, by coming or going."""
        column = self.active.index(edit)
        shares = self.effects.share[:, column] * self.signs[:, column].abs()
        return largest(self.edits, shares, threshold)[:MOST]


def _standing(history: History, version: int | None = None) -> Standing:
    number = history.head if version is None else history.checked(version)
    changes = history.changes[:number]
    edits = history.ordered({e for c in changes if c.op == "apply" for e in c.edits})
    place = {edit: i for i, edit in enumerate(edits)}
    state = torch.zeros(len(edits))
    before = torch.zeros(len(edits), len(edits))  # [i, j]: was i there when j had been computed
    for change in changes:
        chosen = [place[edit] for edit in change.edits]
        state[chosen] = 1 - state[chosen] if change.op in TURNING else float(change.op != "revert")
        if change.op == "apply":
            before[:, chosen] = state[:, None]
    here = state.nonzero().flatten().tolist()
    signs = state[:, None] - before[:, here]
    signs[here, range(len(here))] = 0.0
    return Standing(edits, tuple(edits[i] for i in here), signs)


def everything(versions: Versions, history: History, version: int | None = None) -> Interference:
    """The interference of a version (default: the head). Raises: UnknownRevision, ObjectError."""
    found = _standing(history, version)
    parts = dict(zip(found.edits, versions.parts(found.edits), strict=True))
    effects = measured([*parts.values()], [parts[edit] for edit in found.active], found.signs)
    return Interference(found.edits, found.active, found.signs, effects)


def disturbed(versions: Versions, delta: Delta, earlier: Sequence[int]) -> tuple[Share, ...]:
    """What a new batch, all of it, does to earlier edits, above the threshold."""
    new = Part(0, (), delta.parameters, {}, {})
    return largest(earlier, measured([new], versions.parts(earlier)).drift, THRESHOLD)


def between(
    versions: Versions,
    edits: Sequence[int],
    ours: Sequence[int],
    theirs: Sequence[int],
    threshold: float,
) -> tuple[list[tuple[int, float, tuple[Share, ...]]], int]:
    """United edits that stand among others than on their own side: (edit, drift, most moved by).

    Those whose drift is above the threshold, and how many have no key to tell it from. What both
    sides have stands on ours.
    """
    here, there, united = set(ours), set(theirs), set(edits)
    # What all three have stands beside everybody; only the rest moves anybody.
    by = sorted((here | there) - (here & there & united))
    if not by:
        return [], 0
    flags = [[float(edit in side) for edit in by] for side in (united, here, there)]
    carried, on_ours, on_theirs = torch.tensor(flags)[:, :, None]
    own = torch.tensor([edit in here for edit in edits])
    signs = carried - torch.where(own, on_ours, on_theirs)  # [by, edits]
    found = measured(versions.parts(by), versions.parts(edits), signs)
    untold = found.drift.isnan() & signs.any(dim=0)
    shares = found.share * signs.abs()
    moved = [
        (edits[j], float(found.drift[j]), largest(by, shares[:, j], 0.0)[:MOST])
        for j in (found.drift > threshold).nonzero().flatten().tolist()
    ]
    return moved, int(untold.sum())


def left_without(
    versions: Versions, history: History, going: Sequence[int], op: str = "revert"
) -> tuple[Share, ...]:
    """Active edits that move when others are taken out (or put back: `reapply`), above the
    threshold.

    They are those that were computed with one of the others in place (or without it). Raises:
    NotActive, AlreadyActive, Conflict.
    """
    history.check(op, tuple(going))
    edits = without(history.active(), going)
    beside = _beside(history, going, edits)
    then = beside if op == "revert" else 1.0 - beside
    moved = measured(versions.parts(going), versions.parts(edits), then)
    return largest(edits, moved.drift, THRESHOLD)


def _beside(history: History, going: Sequence[int], edits: Sequence[int]) -> torch.Tensor:
    """[i, j]: 1 where the i-th that goes was there when the j-th edit had been computed."""
    there = dict.fromkeys(going, 0.0)
    columns: dict[int, tuple[float, ...]] = {}
    for change in history.changes:
        for edit in there.keys() & change.edits:
            there[edit] = 1.0 - there[edit]
        if change.op == "apply":
            columns |= dict.fromkeys(change.edits, tuple(there.values()))
    return torch.tensor([columns[edit] for edit in edits]).reshape(len(edits), len(going)).T


def shown(
    versions: Versions, journal: Journal, version: int, edit: int | None, threshold: float
) -> InterferenceView:
    """The interference of a version, of all edits and of one.

    Raises: InvalidInput for an edit that no version ever carried.
    """
    found = everything(versions, journal.history(), version)
    if edit is not None and edit not in found.edits:
        raise InvalidInput(f"edit {edit} was never applied, so it disturbs nothing")
    records = {record.id: record for record in journal.edits(found.active)}
    rows = [
        InterferenceRow(j, fact_line(records[j]), found.drift(j), found.movers(j, threshold))
        for j in found.active
    ]
    view = InterferenceView(
        version, threshold, tuple(sorted(rows, key=lambda row: (-(row.drift or 0.0), row.edit)))
    )
    if edit is None:
        return view
    return replace(
        view,
        edit=edit,
        disturbs=found.moved_by(edit, threshold),
        revert=found.would_move(edit, threshold) if edit in found.active else (),
    )


def largest(edits: Iterable[int], shares: Tensor, threshold: float) -> tuple[Share, ...]:
    """The shares above a threshold with their edits, largest first."""
    pairs = zip(edits, shares.tolist(), strict=True)
    found = [Share(edit, share) for edit, share in pairs if share > threshold]
    return tuple(sorted(found, key=lambda item: (-item.share, item.edit)))
