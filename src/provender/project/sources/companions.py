"""What belongs to a locked artifact: signatures, attestations, SBOMs and all else that refers to it, with their own.

Project layer, over the walk of `transfer.discover`, for whoever carries a project's content away.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from provender.oci import Descriptor, Digest, Document
from provender.storage.layout_index import fallback_tag
from provender.transfer.archive_out import fallback_indexes
from provender.transfer.discover import DiscoverOptions, DiscoverSource, Start, discover
from provender.transfer.graph import Graph
from provender.transfer.related import Related

__all__ = ["NO_COMPANIONS", "Companion", "Companions", "companions_of"]


class Companion(msgspec.Struct, frozen=True):
    """A document that has to be found by a tag or by its subject, or else (`is_named` False) by what names it."""

    document: Document
    tags: tuple[str, ...] = ()
    is_named: bool = True


class Companions(msgspec.Struct, frozen=True):
    """All that belongs to some documents, without those."""

    documents: tuple[Companion, ...] = ()
    blobs: tuple[Descriptor, ...] = ()


NO_COMPANIONS = Companions()


def companions_of(source: DiscoverSource, documents: Sequence[Document], wanted: Related) -> Companions:
    """What of the wanted content belongs to these documents of a repository. Raises as `discover` does."""
    if wanted.is_none:
        return NO_COMPANIONS
    starts = [Start(document=each, asked=str(each.digest)) for each in documents]
    graph = discover(source, starts, options=DiscoverOptions(related=wanted))
    own = {each.digest for each in documents}
    found = _reached(graph, own)
    tags: dict[Digest, list[str]] = {}
    for edge in graph.edges:
        if edge.tag is not None and edge.owner in own | found:
            tags.setdefault(edge.digest, []).append(edge.tag)
    listed = [
        Companion(
            graph.documents[digest],
            tuple(sorted(tags.get(digest, ()))),
            is_named=digest in tags or graph.by_digest[digest].subject is not None,
        )
        for digest in sorted(found & graph.documents.keys())
    ]
    listed += [
        Companion(document, (fallback_tag(subject),))
        for subject, document in fallback_indexes(graph)
        if subject in own | found
    ]
    return Companions(tuple(listed), tuple(node.content for node in graph.blobs if node.digest in found))


def _reached(graph: Graph, own: set[Digest]) -> set[Digest]:
    """What refers to these documents, what that is made of, and what refers to that in turn."""
    found: set[Digest] = set()
    waiting = [edge.digest for digest in own for edge in graph.related.get(digest, ())]
    while waiting:
        digest = waiting.pop()
        if digest not in found and digest not in own:
            found.add(digest)
            waiting += [edge.digest for edge in graph.below.get(digest, ())]
    return found
