"""An archive as the source of a copy: every byte of it is verified before anything of it is sent. Transfer layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from provender.errors import IntegrityError, NotFound
from provender.oci import EMPTY_DESCRIPTOR, Descriptor, Digest
from provender.storage.abilities import Fetcher
from provender.transfer.graph import Graph
from provender.transfer.pool import Cancellation
from provender.transfer.progress import NO_PROGRESS, Progress

__all__ = ["ArchiveCheck"]

_MOST_SHOWN: Final = 20
_CHUNK_BYTES: Final = 1 << 20


class _Archive(Fetcher, Protocol):
    def blame(self) -> None: ...


class ArchiveCheck:
    """Verifies what graphs need of an archive, each blob once however many of them have it."""

    def __init__(
        self,
        archive: _Archive,
        *,
        where: str,
        progress: Progress = NO_PROGRESS,
        cancellation: Cancellation | None = None,
    ) -> None:
        self._archive = archive
        self._where = where
        self._progress = progress
        self._cancellation = cancellation or Cancellation()
        self._verified: set[Digest] = set()

    def check(self, graph: Graph, destination: Fetcher) -> None:
        """Read every blob of `graph` to its end; what the archive lacks, the destination has to have.

        Documents were verified when they were read. Raises IntegrityError for the first wrong byte, which names the
        part of the archive that it is in if that can be told; NotFound (`delta-incomplete`) for what is nowhere.
        """
        wanted = [each for each in _wanted(graph) if each.digest not in self._verified]
        task = self._progress.start("verifying the archive", sum(each.size for each in wanted))
        try:
            absent = [content for content in wanted if not self._is_whole(content, task)]
        except IntegrityError:
            self._archive.blame()
            raise
        self._progress.done(task)
        lacking = [each for each in absent if not destination.exists(each)]
        if lacking:
            raise self._incomplete(lacking)

    def _is_whole(self, content: Descriptor, task: int) -> bool:
        self._cancellation.check()
        try:
            with self._archive.fetch(content) as reader:
                while chunk := reader.read(_CHUNK_BYTES):
                    self._progress.advance(task, len(chunk))
                    self._cancellation.check()
        except NotFound:
            return False
        self._verified.add(content.digest)
        return True

    def _incomplete(self, lacking: list[Descriptor]) -> NotFound:
        shown = ", ".join(each.digest for each in lacking[:_MOST_SHOWN])
        more = f" and {len(lacking) - _MOST_SHOWN} more" if len(lacking) > _MOST_SHOWN else ""
        what = "1 blob" if len(lacking) == 1 else f"{len(lacking)} blobs"
        return NotFound(
            f"the archive lacks {what} that the destination does not have either: {shown}{more}",
            code="delta-incomplete",
            where=self._where,
            hint="copy what it builds on first (see --since), or make an archive with everything",
        )


def _wanted(graph: Graph) -> Iterator[Descriptor]:
    for node in graph.blobs:
        if node.descriptor.data is None and node.digest != EMPTY_DESCRIPTOR.digest:
            yield node.content
