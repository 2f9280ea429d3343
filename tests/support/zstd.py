"""zstd as other tools write it: one frame, without a table."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def compressed(content: bytes, *, sized: bool = True) -> bytes:
    """One frame, with or without the size of its content in its header."""
    if sized:
        return bytes(zstd.compress(content))
    compressor = zstd.ZstdCompressor()
    return bytes(compressor.compress(content) + compressor.flush())
