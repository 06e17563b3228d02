"""Many requests as batches. Pure: no database, no model.

Promise: every request comes out once, in order; a chunk has at most `size` new requests, each with
a prompt of its own.

Rules: a request that is known comes out at its place and takes no room; a prompt that was asked in
the chunk already begins the next one, so that later requests are answered on top of earlier ones.

    list(chunks([first, second, third], 2, known=lambda request: None))
    # [[(first, None), (second, None)], [(third, None)]]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from editors.requests import EditRequest

Item = tuple[EditRequest, int | None]


def chunks(
    requests: Iterable[EditRequest], size: int, known: Callable[[EditRequest], int | None]
) -> Iterator[list[Item]]:
    """(request, edit that it is known as or None), in chunks."""
    chunk: list[Item] = []
    asked: set[str] = set()
    for request in requests:
        edit = known(request)
        if chunk and (request.text in asked or not asked):
            yield chunk
            chunk, asked = [], set()
        chunk.append((request, edit))
        if edit is None:
            asked.add(request.text)
        if len(asked) == size:
            yield chunk
            chunk, asked = [], set()
    if chunk:
        yield chunk
