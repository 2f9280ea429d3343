"""In which sizes blobs go up: whole, in one request with the POST, in chunks, or before they are hashed. No requests.

Registry layer, below the uploader and the repository.
"""

from __future__ import annotations

from typing import Final

import msgspec

from provender.oci import Descriptor
from provender.storage.registry.capabilities import Capabilities
from provender.storage.registry.chunked import MAX_CHUNK_BYTES
from provender.storage.registry.quirks import HostQuirks

__all__ = ["UploadSettings", "UploadSizes"]

# Chunks behind a proxy that refused the whole: its limit is unknown, and a smaller one is found out.
_FALLBACK_CHUNK_BYTES: Final = 4 << 20


class UploadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How blobs go up.

    `chunk_bytes` None sends each whole in one PUT, which the most registries take; chunks come in only after that was
    refused as too large. `single_post` saves a request for each blob where the registry takes it, and sends the first
    one twice where it does not. Blobs of up to `small_bytes` are not asked for, since sending them costs as little, and
    go up in one POST where that is taken. An upload of at least `large_bytes` that broke off goes on where the
    registry is, if it kept what it had; below, to ask costs as much as to start over. So large a blob may also be sent
    while it is hashed.
    """

    chunk_bytes: int | None = None
    single_post: bool = False
    small_bytes: int = 0
    large_bytes: int = 64 << 20

    def is_small(self, descriptor: Descriptor) -> bool:
        """True for a blob that is rather sent than asked for."""
        return 0 < self.small_bytes >= descriptor.size


class UploadSizes:
    """What the settings say, within what is known of the registry."""

    def __init__(self, settings: UploadSettings, quirks: HostQuirks, capabilities: Capabilities) -> None:
        self._settings = settings
        self._quirks = quirks
        self._capabilities = capabilities

    def takes_early(self, size: int) -> bool:
        """True for a large blob, where nothing is known that would speak against sending it in one piece."""
        settings, quirks, known = self._settings, self._quirks, self._capabilities
        of_chunks = (quirks.chunk_min_bytes, quirks.chunk_max_bytes, known.chunk_min_bytes, known.chunk_max_bytes)
        is_otherwise = settings.chunk_bytes or settings.single_post or known.refused_put_bytes
        return size >= settings.large_bytes and not is_otherwise and not any(of_chunks)

    def chunk_bytes(self, descriptor: Descriptor, least: int, otherwise: int | None = None) -> int | None:
        """The size of this blob's chunks; None to send it whole. `least` is what the open upload asked for.

        `otherwise` is the size where the settings name none.
        """
        wanted, refused = self._settings.chunk_bytes or otherwise, self._capabilities.refused_put_bytes
        if refused is not None and descriptor.size >= refused:
            wanted = min(wanted or _FALLBACK_CHUNK_BYTES, max(refused // 2, 1))
        if wanted is None:
            return None
        least = max(least, self._capabilities.chunk_min_bytes, self._quirks.chunk_min_bytes)
        most = min(
            limit
            for limit in (MAX_CHUNK_BYTES, self._quirks.chunk_max_bytes, self._capabilities.chunk_max_bytes)
            if limit is not None
        )
        size = max(min(wanted, most), least)
        # What has to be held in memory is bounded, whatever a registry asks for.
        return size if size < descriptor.size and size <= MAX_CHUNK_BYTES else None
