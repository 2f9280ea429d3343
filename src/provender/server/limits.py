"""What one client may ask of the server: sizes, counts and times. Server layer, a value."""

from __future__ import annotations

import msgspec

__all__ = ["Limits"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one server; sizes in bytes, times in seconds.

    `idle_s` is how long a client may send or take nothing in the middle of a body; `head_s` how long it may need for
    the head of a request; `upload_idle_s` how long an upload session lives without a request.
    """

    manifest_bytes: int = 4 << 20
    blob_bytes: int = 256 << 30
    memory_bytes: int = 2 << 30
    uploads: int = 1024
    upload_idle_s: float = 3600.0
    tags_in_push: int = 64
    page: int = 1000
    referrers_page: int = 500
    referrers_page_bytes: int = 3 << 20
    query_fields: int = 128
    head_bytes: int = 64 << 10
    head_s: float = 20.0
    keep_alive_s: float = 30.0
    idle_s: float = 60.0
    connections: int = 1024
    threads: int = 16
