"""How much an archive from outside may ask of this machine. Storage layer; pure values.

Every number is a cap on hostile input, chosen so that real artifacts pass; a caller who knows better passes its own.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["DEFAULT_LIMITS", "Limits"]

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Caps for one unpacking. Sizes in bytes; the totals count over all layers that go into one tree."""

    entries: int = 1_000_000
    """Members of archives: files, links and directories, implied directories too."""
    total_bytes: int = 64 * _GIB
    """Content written."""
    stream_bytes: int = 72 * _GIB
    """What one stream may decompress to: content, and the headers of an archive around it."""
    file_bytes: int = 64 * _GIB
    """Content of one file."""
    link_bytes: int = 4 * _GIB
    """Content copied for hard links: a header of 512 bytes may ask for a copy of any size."""
    ratio: int = 200
    """Decompressed over compressed bytes, looked at once `ratio_after_bytes` have come out."""
    ratio_after_bytes: int = 16 * _MIB
    depth: int = 64
    """Components of a path."""
    name_bytes: int = 255
    """One component, in UTF-8."""
    path_bytes: int = 4096
    """A whole path or link target, in UTF-8."""
    total_name_bytes: int = 256 * _MIB
    """All paths and link targets together: they are held in memory."""
    pax_bytes: int = _MIB
    """One extended header (pax records, GNU long name)."""
    members: int = 2_000_000
    """Members (gzip) or frames (zstd) of one compressed stream."""
    zstd_window_log: int = 27
    """Base-2 logarithm of the largest window that a zstd frame may ask memory for (27: 128 MiB, as the zstd tool)."""
    has_portable_names: bool = True
    """Names have to mean the same file on every system; else only on this one."""


DEFAULT_LIMITS: Final = Limits()
