"""What a registry was found able to do, so that nothing is asked for twice.

Registry layer, shared by a client and its repositories. Knowledge grows old: a registry may be upgraded while a long
run goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Final

__all__ = ["Capabilities", "Feature"]

_LIFETIME_S: Final = 900.0
_MAX_FACTS: Final = 10_000


class Feature(Enum):
    """What one registry offers and another does not. Those marked so are remembered for each repository."""

    REFERRERS = "the referrers API (per repository: proxies mix registries below one host)"
    SUBJECT = "a header OCI-Subject that was found true (per repository)"
    TAG_PARAMETER = "?tag= when a manifest is pushed by digest"
    SINGLE_POST = "a blob in one POST"
    MOUNT = "mounting blobs from other repositories"
    DELETES = "deleting manifests (per repository)"


class Capabilities:
    """The memory of one registry. Safe from several threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, *, lifetime_s: float = _LIFETIME_S) -> None:
        self._monotonic = monotonic
        self._lifetime_s = lifetime_s
        self._facts: dict[tuple[Feature, str], tuple[bool, float]] = {}
        self._chunk_min_bytes = 0
        self._chunk_max_bytes: int | None = None
        self._refused_put_bytes: int | None = None
        self._lock = threading.Lock()

    def known(self, feature: Feature, repository: str = "") -> bool | None:
        """Whether the registry (or this repository of it) offers it; None if that is not known, or no longer."""
        with self._lock:
            found = self._facts.get((feature, repository))
            return None if found is None or found[1] < self._monotonic() else found[0]

    def learn(self, feature: Feature, offered: bool, repository: str = "") -> None:
        """Remember that it is, or is not, offered."""
        with self._lock:
            if len(self._facts) >= _MAX_FACTS:
                self._facts.clear()
            self._facts[feature, repository] = (offered, self._monotonic() + self._lifetime_s)

    @property
    def chunk_min_bytes(self) -> int:
        """The least size of a chunk that was asked for so far (`OCI-Chunk-Min-Length`); 0 if none was."""
        return self._chunk_min_bytes

    @property
    def chunk_max_bytes(self) -> int | None:
        """The size of chunks that got through after larger ones did not; None if all did."""
        return self._chunk_max_bytes

    @property
    def refused_put_bytes(self) -> int | None:
        """The least size of a blob that was refused in one PUT as too large; None if none was."""
        return self._refused_put_bytes

    def learn_chunk_min(self, size: int) -> None:
        """Chunks have to have this size at least."""
        with self._lock:
            self._chunk_min_bytes = max(self._chunk_min_bytes, size)

    def learn_chunk_max(self, size: int) -> None:
        """Chunks may have this size at most."""
        with self._lock:
            self._chunk_max_bytes = min(size, self._chunk_max_bytes or size)

    def learn_refused_put(self, size: int) -> None:
        """A blob of this size did not get through in one PUT."""
        with self._lock:
            self._refused_put_bytes = min(size, self._refused_put_bytes or size)
