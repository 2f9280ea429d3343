"""The graph of what belongs together: documents and blobs by digest, and typed edges between them. Pure.

Transfer layer. An edge leads from an owner to what belongs to it: from an index to a child, from a subject to its
referrer, from a digest to what a digest tag (`sha256-<hex>.sig`) names. `discover` makes graphs, `plan` and `copy` work
through them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Literal

import msgspec

from provender.oci import Descriptor, Digest, Document

__all__ = ["Edge", "EdgeKind", "Graph", "LeftOut", "LeftOutReason", "Node", "Role", "Root", "Route"]

EdgeKind = Literal["child", "attestation", "config", "layer", "subject", "digest-tag"]
"""What the owner of an edge is to its target.

`child`, `attestation` (BuildKit's, inside an index), `config` and `layer` lead down: the owner's bytes name the target.
`subject` leads to a referrer of the owner, `digest-tag` to what a tag made from the owner's digest names.
"""

Route = Literal["document", "api", "layout", "fallback", "overlooked", "digest-tag"]
"""How an edge was found: in the owner's bytes, in a list of referrers (see `Listed`), or by a tag's name."""

Role = Literal["root", "child", "referrer", "digest-tag", "attestation-in-index", "config", "layer"]

LeftOutReason = Literal["foreign", "filtered", "gone", "other-subject"]

_RELATED = ("subject", "digest-tag")
_ROLES: Mapping[EdgeKind, Role] = {
    "child": "child",
    "attestation": "attestation-in-index",
    "config": "config",
    "layer": "layer",
    "subject": "referrer",
    "digest-tag": "digest-tag",
}


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """A document that was asked for. `asked` is the tag or digest; `tags` are what it gets at the destination."""

    digest: Digest
    asked: str
    tags: tuple[str, ...] = ()


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A document or a blob. `descriptor` is bare; `artifact_type` is the effective type of a document.

    `subject` is what the document itself names as its subject, which may lie outside of the graph.
    """

    descriptor: Descriptor
    is_document: bool
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None
    subject: Digest | None = None

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest

    @property
    def content(self) -> Descriptor:
        """What storages are asked for. A blob is no document to them, whatever media type its owner gives it."""
        if self.is_document or not self.descriptor.is_document:
            return self.descriptor
        return msgspec.structs.replace(self.descriptor, media_type="application/octet-stream")

    @property
    def entry(self) -> Descriptor:
        """The document as a list of referrers has it."""
        return msgspec.structs.replace(
            self.descriptor, artifact_type=self.artifact_type, annotations=self.annotations or None
        )


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to `owner`. `tag` is the name of a digest tag, `routes` are all the ways it was found."""

    kind: EdgeKind
    owner: Digest
    digest: Digest
    routes: tuple[Route, ...] = ("document",)
    tag: str | None = None
    entry: Descriptor | None = None
    """Of a referrer whose manifest names no subject: what the list says of it."""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was found and is not part of the graph, and why."""

    digest: Digest
    owner: Digest
    reason: LeftOutReason
    detail: str = ""


class Graph(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Everything that was found from `roots`. `documents` holds the bytes of all documents in it.

    Nodes and edges are in the order of discovery, which depends on nothing but the content: roots first, then level by
    level. A digest that is a document and a blob at once is two nodes.
    """

    roots: tuple[Root, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    left_out: tuple[LeftOut, ...] = ()
    documents: Mapping[Digest, Document] = {}

    @cached_property
    def by_digest(self) -> Mapping[Digest, Node]:
        """The documents, by digest."""
        return {node.digest: node for node in self.nodes if node.is_document}

    @cached_property
    def blobs(self) -> tuple[Node, ...]:
        """The blobs, each once."""
        return tuple(node for node in self.nodes if not node.is_document)

    @cached_property
    def below(self) -> Mapping[Digest, tuple[Edge, ...]]:
        """The edges of each owner."""
        return _grouped(self.edges)

    @cached_property
    def related(self) -> Mapping[Digest, tuple[Edge, ...]]:
        """Of each document, the edges to its referrers and digest tags."""
        return _grouped(edge for edge in self.edges if edge.kind in _RELATED)

    @cached_property
    def roles(self) -> Mapping[tuple[Digest, bool], Role]:
        """What each node (digest, whether it is a document) is; the first of root and its edges decides."""
        found: dict[tuple[Digest, bool], Role] = {(root.digest, True): "root" for root in self.roots}
        for edge in self.edges:
            found.setdefault((edge.digest, self.is_document_edge(edge)), _ROLES[edge.kind])
        return found

    def is_document_edge(self, edge: Edge) -> bool:
        """True if the edge leads to a document; a child of an index may be a blob."""
        return edge.kind not in ("config", "layer") and edge.digest in self.by_digest

    def children(self, digest: Digest) -> Iterator[Digest]:
        """The documents that the bytes of a document name."""
        for edge in self.below.get(digest, ()):
            if edge.kind not in _RELATED and self.is_document_edge(edge):
                yield edge.digest

    def blobs_of(self, digest: Digest) -> Iterator[Digest]:
        """The blobs that the bytes of a document name."""
        for edge in self.below.get(digest, ()):
            if edge.kind not in _RELATED and not self.is_document_edge(edge):
                yield edge.digest

    def levels(self) -> list[list[Node]]:
        """The documents in the order of writing: each level needs only what earlier ones hold.

        Children come before their parents and subjects before their referrers, as far as the graph has no cycle by
        way of subjects and digest tags, which nothing forbids.
        """
        depth: dict[Digest, int] = {}
        for node in self.nodes:
            if node.is_document:
                self._measure(node.digest, depth)
        levels: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
        for node in self.nodes:
            if node.is_document:
                levels[depth[node.digest]].append(node)
        return [level for level in levels if level]

    def _measure(self, start: Digest, depth: dict[Digest, int]) -> None:
        """Fill in the level of `start` and of all that it needs. Without recursion: a chain may be long."""
        stack, active = [(start, self._needs(start))], {start}
        while stack:
            digest, needs = stack[-1]
            following = next((each for each in needs if each not in depth and each not in active), None)
            if following is not None:
                active.add(following)
                stack.append((following, self._needs(following)))
                continue
            stack.pop()
            active.discard(digest)
            below = [depth[each] for each in self._needs(digest) if each in depth]
            depth.setdefault(digest, max(below, default=-1) + 1)

    def _needs(self, digest: Digest) -> Iterator[Digest]:
        yield from self.children(digest)
        subject = self.by_digest[digest].subject
        if subject is not None and subject in self.by_digest:
            yield subject


def _grouped(edges: Iterable[Edge]) -> Mapping[Digest, tuple[Edge, ...]]:
    groups: dict[Digest, list[Edge]] = {}
    for edge in edges:
        groups.setdefault(edge.owner, []).append(edge)
    return {owner: tuple(group) for owner, group in groups.items()}
