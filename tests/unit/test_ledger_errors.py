"""Every failure has its exit status, whichever package it comes from."""

import pytest

from ledger import errors
from ledger.errors import LedgerError, StaleVersion, UnknownRevision, exit_code_of
from store.errors import (
    CanonicalError,
    CheckpointCorrupt,
    CheckpointMissing,
    CheckpointUnsupported,
    ObjectCorrupt,
    ObjectMissing,
    ObjectRejected,
    StoreWriteError,
)

TABLE = {
    1: ["LedgerError"],
    2: ["InvalidInput", "NoLedger", "UnknownRevision", "NotAllowed", "TooManyAttempts"],
    3: ["GateRejected"],
    4: ["IntegrityFailure", "BaseMismatch", "ChainBroken", "ObjectLost"],
    5: ["Conflict", "StaleVersion", "NotActive", "AlreadyActive", "ProposalGone", "Busy"],
    6: ["EditorFailure"],
    7: ["SchemaError", "SchemaTooNew", "SchemaTooOld"],
    8: ["RemoteFailure"],
}


def tree():
    found, todo = {}, [LedgerError]
    while todo:
        cls = todo.pop()
        if cls.__module__ == errors.__name__:
            found[cls.__name__] = cls
        todo += cls.__subclasses__()
    return found


def test_the_tree_has_these_classes_with_these_statuses_and_is_drawn_in_the_docstring():
    statuses = {name: cls.exit_code for name, cls in tree().items()}
    assert statuses == {name: code for code, names in TABLE.items() for name in names}
    assert all(name in errors.__doc__ for name in statuses)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ObjectMissing("m"), 4),
        (ObjectCorrupt("m"), 4),
        (ObjectRejected("m", code="c"), 4),
        (CanonicalError("m"), 2),
        (CheckpointMissing("m"), 2),
        (CheckpointUnsupported("m"), 2),
        (CheckpointCorrupt("m"), 4),
        (StoreWriteError("m", errno=28), 1),
        (StaleVersion(1, 2), 5),
        (OSError(28, "full"), 1),
        (KeyboardInterrupt(), 130),
        (ValueError("m"), 1),
    ],
)
def test_an_error_of_another_package_has_a_status(error, status):
    assert exit_code_of(error) == status


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *[(name, 2) for name in ("InvalidRequest", "UnknownMethod", "InvalidHparams")],
        *[("LayerOutOfRange", 2), ("UnsupportedModel", 2), ("EditFailed", 6), ("Other", 1)],
    ],
)
def test_an_error_of_the_editors_is_known_by_name_also_through_a_subclass(name, status):
    cls = type(name, (Exception,), {"__module__": "editors.errors"})
    special = type("Special", (cls,), {"__module__": "elsewhere"})
    assert exit_code_of(cls("m")) == status
    assert exit_code_of(special("m")) == status


def test_a_class_of_that_name_in_another_package_is_not_taken_for_ours():
    stranger = type("EditFailed", (Exception,), {"__module__": "editorship.errors"})
    assert exit_code_of(stranger("m")) == 1


def test_a_stale_version_names_both_versions():
    error = StaleVersion(3, 5)
    assert (error.expected, error.actual) == (3, 5)
    assert "version 3" in str(error)
    assert "version 5" in str(error)


def test_an_unknown_revision_keeps_its_hints():
    assert UnknownRevision("no.", ["a", "b"]).near == ("a", "b")
    assert str(UnknownRevision("no.")) == "no."
