"""Fetching contents, in two steps: `resolve` asks what is meant now, `lay` puts its files into an empty directory.

The protocols that each kind of source implements; `sync` knows nothing else of them.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import msgspec

from provender import __version__
from provender.dialects.vendir.lock import LockContents
from provender.dialects.vendir.schema import Contents
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress

__all__ = ["Fetch", "Fetcher", "Work", "identity_of"]


class Work(msgspec.Struct, frozen=True):
    """What a step may use: threads, and whom it tells how far it is."""

    jobs: int
    progress: Progress
    cancellation: Cancellation
    umask: int


class Fetch(Protocol):
    """Contents of which is known what they mean."""

    @property
    def identity(self) -> str | None:
        """A digest that is equal only if the same files would be laid; None if only laying them tells."""
        ...

    def lay(self, staging: str, work: Work) -> LockContents:
        """Put the files into the empty directory `staging`; the lock's entry, without path and config digest."""
        ...


class Fetcher(Protocol):
    """One kind of source."""

    def resolve(self, contents: Contents, locked: LockContents | None, work: Work) -> Fetch:
        """What `contents` mean now; with `locked`, exactly that. Asks at most a question, and fetches no content."""
        ...


def identity_of(*parts: object) -> str:
    """A digest over plain values, and over the version of the program that lays them."""
    raw = msgspec.json.encode([__version__, *parts], order="deterministic", enc_hook=str)
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
