"""Bytes in whatever holds them.

Promise: `byte_view` never copies. Rules: buffers are C-contiguous; `BytesLike` exists for type
checkers only, so that importing this module does not load numpy.

    byte_view(np.zeros((2, 3), np.float32)).nbytes      # 24
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import mmap

    import numpy as np

    BytesLike = bytes | bytearray | memoryview | mmap.mmap | np.ndarray[Any, np.dtype[Any]]


def byte_view(data: BytesLike) -> memoryview:
    """A flat view of the bytes of a C-contiguous buffer. Raises: TypeError for any other."""
    view = memoryview(cast(Any, data))
    # A view with a zero in its shape cannot be cast, and has no bytes to show anyway.
    return view.cast("B") if view.nbytes else memoryview(b"")
