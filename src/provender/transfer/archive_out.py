"""A graph written as one archive: an OCI layout in a tar, streamed from the source, with an inventory. Transfer layer.

An archive may leave out large blobs that the other side has; its inventory then says exactly which. Documents and small
blobs are always in it, so that it can be read and judged by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

import msgspec

from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Digest, Document
from provender.oci.annotations import REF_NAME
from provender.storage.abilities import BlobReader, Fetcher, Resolver
from provender.storage.archive_writer import Compression, Part, Writable, write_archive
from provender.storage.fallback_index import adding
from provender.storage.layout_index import fallback_tag
from provender.storage.verify import BytesReader
from provender.transfer.graph import Graph
from provender.transfer.inventory import INVENTORY_TAG, Inventory
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress, WatchedReader

__all__ = ["ArchiveSource", "Archived", "archive", "blobs_at", "blobs_told", "fallback_indexes", "tags_of"]

# Less than this is sent without asking whether it is there, so it has to be in the archive.
_LEAST_LEFT_OUT: Final = 64 << 10


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive has: documents and blobs in it, their bytes, and the blobs that were left out."""

    documents: int
    blobs: int
    content_bytes: int
    left_out: tuple[Descriptor, ...]


class ArchiveSource(Fetcher, Resolver, Protocol):
    """What is read from."""


def blobs_at(
    graph: Graph, other: ArchiveSource, *, jobs: int = 8, cancellation: Cancellation | None = None
) -> frozenset[Digest]:
    """The large blobs of `graph` that the other side has: a destination, or an earlier archive and what that built on.

    Raises whatever a look-up raises: what is not known to be there is no reason to leave anything out.
    """
    large = [node.content for node in graph.blobs if node.descriptor.size >= _LEAST_LEFT_OUT]
    inventory = Inventory.at(other)
    told = frozenset() if inventory is None else inventory.digests
    asked = [each for each in large if each.digest not in told]
    found = run_all([partial(other.exists, each) for each in asked], jobs=jobs, cancellation=cancellation)
    there = {each.digest for each, is_there in zip(asked, found, strict=True) if is_there}
    return frozenset(there | {each.digest for each in large if each.digest in told})


def blobs_told(graph: Graph, inventory: Inventory) -> frozenset[Digest]:
    """The large blobs of `graph` that are in the inventory of an earlier archive: what `blobs_at` asks a place."""
    told = inventory.digests
    return frozenset(
        node.digest for node in graph.blobs if node.descriptor.size >= _LEAST_LEFT_OUT and node.digest in told
    )


def archive(
    graph: Graph,
    source: ArchiveSource,
    out: Writable,
    *,
    without: frozenset[Digest] = frozenset(),
    compression: Compression = "none",
    names: Mapping[str, Digest] | None = None,
    progress: Progress = NO_PROGRESS,
) -> Archived:
    """Write `graph` as an archive to `out`, without these blobs; every byte is verified on its way.

    The same graph gives the same bytes. After an error what was written is to be thrown away. Documents are named by
    the graph's tags, or by `names`: the full references of an archive of several repositories.
    """
    entries: list[Descriptor] = []
    documents = list(graph.documents.values())
    tagged: set[Digest] = set()
    for tag, digest in sorted((tags_of(graph) if names is None else names).items()):
        entries.append(_named(graph.documents[digest], tag))
        tagged.add(digest)
    for subject, document in fallback_indexes(graph):
        documents.append(document)
        entries.append(_named(document, fallback_tag(subject)))
    roots = {root.digest for root in graph.roots}
    for node in sorted(graph.by_digest.values(), key=lambda node: node.digest):
        is_tagged = node.digest in tagged
        # Of several repositories one may have a tag for what another only lists.
        is_listed = node.subject is not None and (not is_tagged or names is not None)
        if is_listed or (node.digest in roots and not is_tagged):
            described = msgspec.structs.replace(node.descriptor, artifact_type=node.artifact_type)
            entries.append(described)
    left_out = tuple(node.content for node in graph.blobs if node.digest in without)
    inventory, listing, listed = Inventory.of(graph.nodes, without).artifact()
    blobs = [(EMPTY_DESCRIPTOR, EMPTY_BYTES), (listing, listed)]
    documents.append(inventory)
    entries.append(_named(inventory, INVENTORY_TAG))
    parts = [Part(each.descriptor, partial(BytesReader, each.raw)) for each in documents]
    kept = [node for node in graph.blobs if node.digest not in without]
    task = progress.start("the archive", sum(node.descriptor.size for node in kept))
    parts += [
        Part(node.content, partial(_watched, _opening(source, node.descriptor, node.content), progress, task))
        for node in kept
    ]
    parts += [Part(descriptor, partial(BytesReader, content)) for descriptor, content in blobs]
    write_archive(out, entries, parts, compression=compression)
    progress.done(task)
    size = sum(part.descriptor.size for part in parts)
    return Archived(documents=len(documents), blobs=len(kept), content_bytes=size, left_out=left_out)


def tags_of(graph: Graph) -> dict[str, Digest]:
    """Every tag of a graph, sorted: those of roots outrank digest tags of the same name."""
    found = {edge.tag: edge.digest for edge in graph.edges if edge.tag is not None}
    found |= {tag: root.digest for root in graph.roots for tag in root.tags}
    return dict(sorted(found.items()))


def _named(document: Document, tag: str) -> Descriptor:
    return msgspec.structs.replace(document.descriptor, annotations={REF_NAME: tag})


def fallback_indexes(graph: Graph) -> list[tuple[Digest, Document]]:
    """Lists for referrers whose manifests do not name their subject."""
    groups: dict[Digest, list[Descriptor]] = {}
    for edge in graph.edges:
        if edge.entry is not None:
            groups.setdefault(edge.owner, []).append(edge.entry)
    made = ((subject, adding(None, entries)) for subject, entries in sorted(groups.items()))
    return [(subject, document) for subject, document in made if document is not None]


def _opening(source: Fetcher, described: Descriptor, content: Descriptor) -> Callable[[], BlobReader]:
    embedded = described.embedded()
    if embedded is None and described.digest == EMPTY_DESCRIPTOR.digest:
        embedded = EMPTY_BYTES
    return partial(source.fetch, content) if embedded is None else partial(BytesReader, embedded)


def _watched(open_content: Callable[[], BlobReader], progress: Progress, task: int) -> BlobReader:
    return WatchedReader(open_content(), progress, task, Cancellation())
