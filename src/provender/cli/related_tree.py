"""What belongs to an artifact, as a tree for people and as nested JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from provender.cli.console import clean

if TYPE_CHECKING:
    from provender.oci import Digest
    from provender.transfer.graph import Edge, Graph

__all__ = ["tree_fields", "tree_lines"]


def tree_lines(graph: Graph, root: Digest) -> Iterator[str]:
    """The lines below the root: related content, and children that have some."""
    yield from _lines(graph, root, "", (root,))


def tree_fields(graph: Graph, root: Digest, name: str) -> dict[str, object]:
    """The root with its `referrers`, nested as oras nests them; `manifests` are children that have some.

    What was met on the way already, as cycles of digest tags have it, is named and not followed.
    """
    return {**_fields(graph, root, name), **_below(graph, root, name, (root,))}


def _branches(graph: Graph, owner: Digest) -> list[Edge]:
    """The edges worth showing: what is related, then children with something below them."""
    related = list(graph.related.get(owner, ()))
    children = [edge for edge in graph.below.get(owner, ()) if edge.kind in ("child", "attestation")]
    return related + [edge for edge in children if graph.is_document_edge(edge) and _has_related(graph, edge.digest)]


def _has_related(graph: Graph, digest: Digest) -> bool:
    stack, seen = [digest], {digest}
    while stack:
        each = stack.pop()
        if graph.related.get(each):
            return True
        following = [child for child in graph.children(each) if child not in seen]
        seen.update(following)
        stack += following
    return False


def _lines(graph: Graph, owner: Digest, indent: str, path: tuple[Digest, ...]) -> Iterator[str]:
    branches = _branches(graph, owner)
    for number, edge in enumerate(branches):
        is_last = number == len(branches) - 1
        repeated = " (see above)" if edge.digest in path else ""
        yield f"{indent}{'└── ' if is_last else '├── '}{clean(_label(graph, edge))}{repeated}"
        if not repeated:
            deeper = indent + ("    " if is_last else "│   ")
            yield from _lines(graph, edge.digest, deeper, (*path, edge.digest))


def _label(graph: Graph, edge: Edge) -> str:
    node = graph.by_digest[edge.digest]
    kind = node.artifact_type or node.descriptor.media_type
    if edge.kind == "digest-tag":
        return f"{kind} {edge.digest} (tag {edge.tag})"
    if edge.kind in ("child", "attestation"):
        return f"{edge.kind} {edge.digest}"
    return f"{kind} {edge.digest}" + (" (fallback tag only)" if "overlooked" in edge.routes else "")


def _fields(graph: Graph, digest: Digest, name: str) -> dict[str, object]:
    node = graph.by_digest[digest]
    return {
        "reference": f"{name}@{digest}",
        "mediaType": node.descriptor.media_type,
        "digest": digest,
        "size": node.descriptor.size,
        "annotations": node.annotations or {},
        "artifactType": node.artifact_type,
    }


def _below(graph: Graph, owner: Digest, name: str, path: tuple[Digest, ...]) -> dict[str, object]:
    found: dict[str, list[dict[str, object]]] = {"referrers": [], "manifests": []}
    for edge in _branches(graph, owner):
        fields = {**_fields(graph, edge.digest, name), "kind": edge.kind, "routes": list(edge.routes), "tag": edge.tag}
        if edge.digest not in path:
            fields |= _below(graph, edge.digest, name, (*path, edge.digest))
        found["manifests" if edge.kind in ("child", "attestation") else "referrers"].append(fields)
    return {key: value for key, value in found.items() if value or key == "referrers"}
