"""Errors of the editors: what went wrong, where, and what to do next.

    EditorError
    ├── InvalidRequest     the text of a request cannot be edited            exit 2
    ├── UnknownMethod      no editor has this name                           exit 2
    ├── InvalidHparams     a hyper-parameter is missing, unknown or wrong    exit 2
    ├── LayerOutOfRange    the model has no such layer                       exit 2
    ├── UnsupportedModel   quantised, mixture of experts, unknown layout     exit 2
    └── EditFailed         the editor ran and could not do it                exit 6

Rules: an editor raises only these for reasons of its own; an error from torch passes through.
Each class carries the exit code a command line should end with.

    try:
        delta = editor(model, [request], hparams, context=context)
    except EditFailed as error:
        print(error)   # nothing was changed: editors never touch the model
"""

from __future__ import annotations

from typing import ClassVar


class EditorError(Exception):
    """Root of the tree."""

    exit_code: ClassVar[int] = 1


class InvalidRequest(EditorError):
    """The text of a request cannot be edited as it stands."""

    exit_code: ClassVar[int] = 2


class UnknownMethod(EditorError):
    """No editor is registered under this name."""

    exit_code: ClassVar[int] = 2


class InvalidHparams(EditorError):
    """A hyper-parameter is missing, unknown, ill-typed or outside its range."""

    exit_code: ClassVar[int] = 2


class LayerOutOfRange(EditorError):
    """The model has no layer of this number."""

    exit_code: ClassVar[int] = 2


class UnsupportedModel(EditorError):
    """The model cannot be edited: quantised, mixture of experts, or of an unknown layout."""

    exit_code: ClassVar[int] = 2


class EditFailed(EditorError):
    """The editor ran and could not produce a usable delta; the model is as it was."""

    exit_code: ClassVar[int] = 6
