"""Data sets: the field's benchmark records, and our own, as validated requests with their probes.

Promise: every record becomes one `Record`, or a `BadRecord` that says where it stands and what is
wrong with it; nothing is guessed from a record that matches no known shape; a file of any size is
read with bounded memory, and one that changes meanwhile is refused.

Modules: `records` (what a record is), `shapes` and `languages` (the known shapes and how they are
told apart), `files` (reading, bounded), `reading` (the functions below), `pool` (random locality
probes), `check` (what a file holds, and what is wrong with it).

    for record in read_records(Path("counterfact.json"), seed=0, limit=100):
        if isinstance(record, Record):
            ledger.edit(record.request)
"""

from ledger.evaluation.datasets.files import located
from ledger.evaluation.datasets.pool import drawn, locality_pool
from ledger.evaluation.datasets.reading import read_records, read_requests, to_request
from ledger.evaluation.datasets.records import KINDS, BadRecord, Record, RecordProbe
from ledger.evaluation.datasets.shapes import SHAPES, Shape

__all__ = [
    "KINDS",
    "SHAPES",
    "BadRecord",
    "Record",
    "RecordProbe",
    "Shape",
    "drawn",
    "locality_pool",
    "located",
    "read_records",
    "read_requests",
    "to_request",
]
