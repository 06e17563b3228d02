"""What can go wrong in the ledger, and the exit status each kind has.

    LedgerError                  1  anything not named below (disk full, read-only file)
    ├── InvalidInput             2  an argument or a value that cannot be recorded
    ├── NoLedger                 2  there is no ledger here, or it was never initialised
    ├── UnknownRevision          2  no such version, tag or edit
    ├── NotAllowed               2  a password or a role that does not suffice
    │   └── TooManyAttempts         too many failures; wait
    ├── GateRejected             3  the edit did not pass its gate; nothing was applied
    ├── IntegrityFailure         4  what is stored is not what was recorded
    │   ├── BaseMismatch            the checkpoint is not the one the ledger was made for
    │   ├── ChainBroken             entries do not follow one another
    │   └── ObjectLost              a recorded object is not in the store
    ├── Conflict                 5  somebody or something got there first
    │   ├── StaleVersion            computed on a version that is no longer the head
    │   ├── NotActive               the edit is not part of the version
    │   ├── AlreadyActive           the edit is part of the version already
    │   ├── ProposalGone            a proposal was used, withdrawn or left too long
    │   └── Busy                    another process holds the write lock
    ├── EditorFailure            6  the editing method could not do its work
    ├── SchemaError              7  the database has another schema
    │   ├── SchemaTooNew            written by a newer program
    │   └── SchemaTooOld            needs an upgrade that was not allowed
    └── RemoteFailure            8  a remote service refused or failed

Rules: a message says what, where and what to do next; errors of the packages below keep their
class and are given a status by `exit_code_of`.

    try:
        ledger.revert(12)
    except LedgerError as error:
        sys.exit(exit_code_of(error))
"""

from collections.abc import Iterable
from types import MappingProxyType

_FOREIGN = MappingProxyType(
    {
        ("editors", "InvalidRequest"): 2,
        ("editors", "UnknownMethod"): 2,
        ("editors", "InvalidHparams"): 2,
        ("editors", "LayerOutOfRange"): 2,
        ("editors", "UnsupportedModel"): 2,
        ("editors", "EditFailed"): 6,
        ("store", "ObjectError"): 4,
        ("store", "CanonicalError"): 2,
        ("store", "CheckpointMissing"): 2,
        ("store", "CheckpointUnsupported"): 2,
        ("store", "CheckpointError"): 4,
        ("store", "StoreWriteError"): 1,
    }
)


class LedgerError(Exception):
    """Root of the tree; `exit_code` is the process status that a command ends with."""

    exit_code = 1


class InvalidInput(LedgerError):
    """A value that cannot be recorded, or an argument that makes no sense."""

    exit_code = 2


class NoLedger(LedgerError):
    """There is no ledger at this place, or it was never initialised."""

    exit_code = 2


class UnknownRevision(LedgerError):
    """No such version, tag or edit; `near` lists what may have been meant."""

    exit_code = 2

    def __init__(self, message: str, near: Iterable[str] = ()) -> None:
        self.near = tuple(near)
        hint = f" Did you mean {' or '.join(self.near)}?" if self.near else ""
        super().__init__(message + hint)


class NotAllowed(LedgerError):
    """A password is wrong, or a role does not suffice."""

    exit_code = 2


class TooManyAttempts(NotAllowed):
    """Too many failures; `seconds` is how long to wait."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(f"too many failed attempts; try again in {seconds} seconds")


class GateRejected(LedgerError):
    """The edit did not pass its gate: it was measured, recorded and not applied."""

    exit_code = 3


class IntegrityFailure(LedgerError):
    """What is stored is not what was recorded."""

    exit_code = 4


class BaseMismatch(IntegrityFailure):
    """The checkpoint at hand is not the one the ledger was made for."""


class ChainBroken(IntegrityFailure):
    """The entries of the history do not follow one another."""


class ObjectLost(IntegrityFailure):
    """A recorded object is not in the store."""


class Conflict(LedgerError):
    """Somebody or something got there first."""

    exit_code = 5


class StaleVersion(Conflict):
    """Computed on version `expected`, but the head is `actual` by now."""

    def __init__(self, expected: int, actual: int) -> None:
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"computed on version {expected}, but the head is version {actual} by now; "
            "nothing was recorded. Compute it again on the new head."
        )


class NotActive(Conflict):
    """The edit is not part of the version."""


class AlreadyActive(Conflict):
    """The edit is part of the version already."""


class ProposalGone(Conflict):
    """A proposal was used, withdrawn or left too long."""


class Busy(Conflict):
    """Another process kept the write lock longer than we were told to wait."""


class EditorFailure(LedgerError):
    """The editing method could not do its work."""

    exit_code = 6


class SchemaError(LedgerError):
    """The database has another schema than this program."""

    exit_code = 7


class SchemaTooNew(SchemaError):
    """The database was written by a newer program."""


class SchemaTooOld(SchemaError):
    """The database needs an upgrade that was not allowed or not possible here."""


class RemoteFailure(LedgerError):
    """A remote service refused or failed."""

    exit_code = 8


def exit_code_of(error: BaseException) -> int:
    """The process status for `error`.

    Errors of `store` and `editors` are recognised by package and class name, so that neither
    package needs to be imported to report a failure.
    """
    if isinstance(error, LedgerError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    for cls in type(error).__mro__:
        code = _FOREIGN.get((cls.__module__.partition(".")[0], cls.__name__))
        if code is not None:
            return code
    return 1
