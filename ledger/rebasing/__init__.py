"""Rebase: the facts of a ledger as a new ledger on another base (docs/rebase.md)."""
