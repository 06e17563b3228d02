"""Passwords: hashed with argon2id, checked at the same cost whether the account exists or not.

Promise: a hash takes a good part of a second and 64 MiB, at most two at a time; what is stored says
how it was made, so the cost can be raised: the next login stores it anew.

    passwords = Passwords()
    stored = passwords.hashed("correct horse")
    passwords.match(stored, "correct horse")     # True
    passwords.match(None, "correct horse")       # False, after as long
"""

from __future__ import annotations

import threading
import unicodedata
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from ledger.errors import InvalidInput

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST: Final = 8
LONGEST: Final = 1024
AT_ONCE: Final = 2
# Above the second recommendation of RFC 9106 (3 passes over 64 MiB).
COST: Final = {"time_cost": 6, "memory_cost": 65536, "parallelism": 1}


def check_password(password: str) -> None:
    """Refuse a password that cannot be used. Raises: InvalidInput."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidInput(
            f"the password has {len(password)} characters; take {SHORTEST} to {LONGEST}"
        )
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in password):
        raise InvalidInput("the password holds a control character or a lone surrogate")


class Passwords:
    """Hashes and checks; `cost` are argon2's parameters."""

    def __init__(self, cost: dict[str, int] | None = None) -> None:
        self._cost = cost or COST
        self._gate = threading.BoundedSemaphore(AT_ONCE)

    def hashed(self, password: str) -> str:
        """What is stored. Raises: InvalidInput, also where argon2 is not installed."""
        check_password(password)
        with self._gate:
            return self._hasher.hash(_same(password))

    def match(self, stored: str | None, password: str) -> bool:
        """Whether it is the password; without a stored one never, after the same work."""
        from argon2.exceptions import InvalidHashError, VerificationError

        usable = len(password) <= LONGEST
        with self._gate:
            try:
                self._hasher.verify(stored or self._nobody, _same(password) if usable else "")
            except (VerificationError, InvalidHashError, UnicodeEncodeError):
                return False
        return stored is not None and usable

    def outdated(self, stored: str) -> bool:
        """Whether it was hashed at another cost than is taken now."""
        return self._hasher.check_needs_rehash(stored)

    @cached_property
    def _hasher(self) -> PasswordHasher:
        try:
            import argon2
        except ImportError as error:
            raise InvalidInput(
                "passwords need argon2-cffi: pip install 'knowledge-edit-ledger[web]'"
            ) from error
        options: dict[str, Any] = dict(self._cost)
        return argon2.PasswordHasher(**options)

    @cached_property
    def _nobody(self) -> str:
        """The hash of a password that nobody has."""
        return self._hasher.hash("nobody's password")


def _same(password: str) -> str:
    """Composed and decomposed letters are the same password."""
    return unicodedata.normalize("NFC", password)
