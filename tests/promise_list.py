"""The promises of the ledger: what is said, which tier proves it, and what its tests do not cover.

PROMISES["P3"].text

Tiers: F the fast one (`make test`), N nightly (`make nightly`). Both run the tests of the fast one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """One line of the table."""

    name: str
    text: str
    tier: str
    uncovered: str


_LIST = (
    Promise(
        "P1",
        "an acknowledged edit is never lost, whenever the process is killed",
        "F, N",
        "SIGKILL leaves the page cache; power cuts are P2. SQLite's own commit is trusted.",
    ),
    Promise(
        "P2",
        "an object is durable before the row that names it, whatever a power cut leaves",
        "F",
        "The model knows files, names and syncs, not the faults of a disk that lies about a sync; "
        "no real machine was switched off.",
    ),
    Promise(
        "P3",
        "a revert restores every bit, in any order",
        "F, N",
        "Matrices of the histories are small; the tiles of large ones are covered by P4.",
    ),
    Promise(
        "P4",
        "a replay in another process gives the recorded digests",
        "F, N",
        "Other processor families and GPUs are not in the run: equality there follows from the "
        "order of the fold and is tested where such a machine is at hand.",
    ),
    Promise(
        "P5",
        "an editor leaves no trace in the model, also when it fails",
        "F",
        "Editors of others: the contract suite runs over what is registered.",
    ),
    Promise(
        "P6",
        "wrong bytes are noticed when they are read",
        "F",
        "Bytes that go wrong in memory after they were read.",
    ),
    Promise(
        "P7",
        "recorded history cannot be altered unseen",
        "F",
        "Whoever makes the whole chain anew is seen only with a hash that was kept elsewhere.",
    ),
    Promise(
        "P8",
        "concurrent writers lose nothing and double nothing; readers never see a torn state",
        "F, N",
        "Network file systems; several machines other than through PostgreSQL.",
    ),
    Promise(
        "P9",
        "gc removes garbage only",
        "F",
        "Clocks that differ between machines by more than the grace time.",
    ),
    Promise(
        "P10",
        "a fault leaves a usable ledger and an honest message",
        "F, N",
        "Memory that ends inside a library: MemoryError is raised at our own calls only.",
    ),
    Promise(
        "P11",
        "migrations keep every row, or change nothing",
        "F, N",
        "Schemas that were never released.",
    ),
    Promise(
        "P12",
        "the order of operations makes no difference where we say so",
        "F, N",
        "Edits of one parameter, and the facts of one batch, do not commute and are not said to: "
        "another order gives other last bits. A method that is given its facts in another order "
        "computes the same columns up to rounding only.",
    ),
    Promise(
        "P13",
        "a whole life of a ledger keeps every rule at every step",
        "F, N",
        "Its editor is a stand-in that draws its deltas; editors are P5 and P30.",
    ),
    Promise(
        "P14",
        "a malformed tensor file is refused, quickly and in bounded memory",
        "F, N",
        "Faults in the safetensors library itself, which reads base models.",
    ),
    Promise(
        "P15",
        "a pickle is never loaded and remote code never run",
        "F",
        "What the installed Python packages do while they are imported.",
    ),
    Promise(
        "P16",
        "no name leads out of the store",
        "F",
        "Case-folding file systems and Windows are not in the run.",
    ),
    Promise(
        "P17",
        "names and revisions of the Hub are checked here, before anything is asked",
        "F",
        "Names that the Hub will allow one day.",
    ),
    Promise(
        "P18",
        "SQL is never built from input",
        "F",
        "Statements that SQLAlchemy builds from our own tables are trusted.",
    ),
    Promise(
        "P19",
        "a text is only text, on every page, terminal, card and export",
        "F",
        "Programs that display an export in ways of their own.",
    ),
    Promise(
        "P20",
        "sizes are bounded",
        "F",
        "The size of a base model: its owner chose it.",
    ),
    Promise(
        "P21",
        "an imported bundle is what its manifest says",
        "F, N",
        "Whoever forges a manifest consistently is seen only with an anchor kept elsewhere.",
    ),
    Promise(
        "P22",
        "the token never appears",
        "F",
        "Memory images, and what the shell of the user records.",
    ),
    Promise(
        "P23",
        "passwords are stored so that a stolen database is of little use",
        "F",
        "Weak passwords that keep to the rules.",
    ),
    Promise(
        "P24",
        "guessing is slow and tells nothing",
        "F",
        "Guesses that come from very many addresses at very many names.",
    ),
    Promise(
        "P25",
        "sessions cannot be guessed, fixed or kept",
        "F",
        "A browser that is taken over.",
    ),
    Promise(
        "P26",
        "other sites cannot act for you",
        "F",
        "Browsers that send neither Sec-Fetch-Site nor Origin.",
    ),
    Promise(
        "P27",
        "what is open by default is nothing",
        "F",
        "A proxy in front that is set up wrongly.",
    ),
    Promise(
        "P28",
        "a push is atomic and can be repeated",
        "F, N",
        "The Hub itself is a stand-in that speaks its protocol; no test reaches the real one.",
    ),
    Promise(
        "P29",
        "everything but the Hub works offline",
        "F",
        "Connections that a process of another program makes.",
    ),
    Promise(
        "P30",
        "editors compute what the papers say",
        "F",
        "Models larger than a few layers; the algebra is the same.",
    ),
    Promise(
        "P31",
        "metrics are right",
        "F",
        "Whether a metric measures what a reader takes it for.",
    ),
    Promise(
        "P32",
        "an audit notices when an edit stops holding",
        "F",
        "The absence of side effects outside the probes.",
    ),
    Promise(
        "P33",
        "a wrong model is refused before anything is computed",
        "F",
        "A model with the same files that another program runs in another way.",
    ),
    Promise(
        "P34",
        "costs are bounded",
        "F, N",
        "Disks much slower than the one of the run.",
    ),
    Promise(
        "P35",
        "the command line keeps its contract",
        "F",
        "Terminals other than those of the tests.",
    ),
    Promise(
        "P36",
        "the tests can fail",
        "F",
        "Faults that nobody thought of sowing.",
    ),
)
PROMISES = {promise.name: promise for promise in _LIST}
