"""Who may change the model through the application: accounts, sessions, tokens, proposals.

Promise: passwords only as argon2id hashes, secrets only as sha256; importing this package imports
neither SQLAlchemy nor argon2.

    access = ledger.access
    access.accounts.add("ada", "editor", "correct horse")
    access.sign_in("ada", "correct horse", address="127.0.0.1")
"""

from ledger.access.access import Access
from ledger.access.accounts import ROLES
from ledger.access.proposals import Pending

__all__ = ["ROLES", "Access", "Pending"]
