"""Runs: methods beside one another on models and data sets, one row a record."""
