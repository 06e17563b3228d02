"""Measurements of the program beside what bounds them. Not part of the distribution.

Promise: every number is a median of one run on one machine, beside its physical limit or its peer,
measured in turns with it.

    python -m bench                 # all sections, one table
    python -m bench fold export     # some of them
"""
