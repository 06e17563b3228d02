"""Analyses of a ledger's model: what was found, how it is kept, shown and drawn."""
