"""What belongs to an artifact, as a tree for people and as nested JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from provender.cli.console import clean

if TYPE_CHECKING:
    from provender.oci import Digest
    from provender.transfer.graph import Edge, Graph

__all__ = ["tree_fields", "tree_lines"]

# A graph is a tree for the eye alone: what belongs to several is shown below each of them, which has no end where
# everything belongs to everything. From so many branches on, what was shown is only named.
_MOST_BRANCHES = 5000
# Whatever was discovered has a way to it of at most 33 steps; longer ways go through what is shown elsewhere.
_MOST_STEPS = 40


def tree_lines(graph: Graph, root: Digest) -> Iterator[str]:
    """The lines below the root: related content, and children that have some."""
    return _Tree(graph).lines(root, "", (root,))


def tree_fields(graph: Graph, root: Digest, name: str) -> dict[str, object]:
    """The root with its `referrers`, nested as oras nests them; `manifests` are children that have some.

    What was met on the way already, as cycles of digest tags have it, is named and not followed.
    """
    tree = _Tree(graph)
    return {**tree.fields(root, name), **tree.below(root, name, (root,))}


class _Tree:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._shown: set[Digest] = set()
        self._count = 0
        self._worth: set[Digest] = set()
        """Documents that have related content, or whose children do."""
        parents: dict[Digest, list[Digest]] = {}
        for owner in graph.by_digest:
            for child in graph.children(owner):
                parents.setdefault(child, []).append(owner)
        stack = list(graph.related)
        while stack:
            digest = stack.pop()
            if digest not in self._worth:
                self._worth.add(digest)
                stack += parents.get(digest, ())

    def lines(self, owner: Digest, indent: str, path: tuple[Digest, ...]) -> Iterator[str]:
        branches = self._branches(owner)
        for number, edge in enumerate(branches):
            is_last = number == len(branches) - 1
            follows = self._follows(edge.digest, path)
            line = f"{indent}{'└── ' if is_last else '├── '}{clean(self._label(edge))}"
            yield line if follows else f"{line} (see above)"
            if follows:
                yield from self.lines(edge.digest, indent + ("    " if is_last else "│   "), (*path, edge.digest))

    def fields(self, digest: Digest, name: str) -> dict[str, object]:
        node = self._graph.by_digest[digest]
        return {
            "reference": f"{name}@{digest}",
            "mediaType": node.descriptor.media_type,
            "digest": digest,
            "size": node.descriptor.size,
            "annotations": node.annotations or {},
            "artifactType": node.artifact_type,
        }

    def below(self, owner: Digest, name: str, path: tuple[Digest, ...]) -> dict[str, object]:
        found: dict[str, list[dict[str, object]]] = {"referrers": [], "manifests": []}
        for edge in self._branches(owner):
            how: dict[str, object] = {"kind": edge.kind, "routes": list(edge.routes), "tag": edge.tag}
            fields = {**self.fields(edge.digest, name), **how}
            if self._follows(edge.digest, path):
                fields |= self.below(edge.digest, name, (*path, edge.digest))
            found["manifests" if edge.kind in ("child", "attestation") else "referrers"].append(fields)
        return {key: value for key, value in found.items() if value or key == "referrers"}

    def _branches(self, owner: Digest) -> list[Edge]:
        """The edges worth showing: what is related, then children with something below them."""
        related = list(self._graph.related.get(owner, ()))
        below = self._graph.below.get(owner, ())
        return related + [
            edge for edge in below if edge.kind in ("child", "attestation") and edge.digest in self._worth
        ]

    def _follows(self, digest: Digest, path: tuple[Digest, ...]) -> bool:
        """True if what is below this is to be shown here."""
        self._count += 1
        if digest in path or len(path) > _MOST_STEPS or (self._count > _MOST_BRANCHES and digest in self._shown):
            return False
        self._shown.add(digest)
        return True

    def _label(self, edge: Edge) -> str:
        node = self._graph.by_digest[edge.digest]
        kind = node.artifact_type or node.descriptor.media_type
        if edge.kind == "digest-tag":
            return f"{kind} {edge.digest} (tag {edge.tag})"
        if edge.kind in ("child", "attestation"):
            return f"{edge.kind} {edge.digest}"
        return f"{kind} {edge.digest}" + (" (fallback tag only)" if "overlooked" in edge.routes else "")
