"""Evidence: the gate that wants signatures, SBOMs or attestations of whatever is relocated. Pure, over the graph.

What is there counts by its type, not by what it proves: verifying is the trust layer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Self, get_args

import msgspec

from provender.errors import InvalidReference, VerificationFailed
from provender.oci import Digest
from provender.transfer.graph import Graph
from provender.transfer.related import DigestTag, Kind, kinds_of

__all__ = ["Requirement", "refuse_without"]

_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_PER_PLATFORM: Final = ":per-platform"
_MISSING: Final = 83
_MAX_LISTED: Final = 10


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """The kinds that each root must have; or, for an index, each of its platforms or the index itself."""

    kinds: frozenset[Kind]
    per_platform: bool = False
    """True if what the index has does not count for its platforms."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`signature`, `attestation`, `sbom`, several with commas, and `:per-platform` behind them."""
        names = text.removesuffix(_PER_PLATFORM)
        chosen = {name.strip() for name in names.split(",")}
        kinds = frozenset(kind for kind in _KINDS if kind in chosen)
        if len(kinds) != len(chosen):
            wrong = ", ".join(sorted(repr(name[:60]) for name in chosen if name not in _KINDS))
            raise InvalidReference(
                f"not a kind of evidence: {wrong}",
                code="invalid-requirement",
                hint=f"write {', '.join(_KINDS)}, or several with commas; and {_PER_PLATFORM} to want it of each one",
            )
        return cls(kinds=kinds, per_platform=text.endswith(_PER_PLATFORM))


def refuse_without(requirement: Requirement, graph: Graph, *, where: str) -> None:
    """VerificationFailed (`evidence-missing`, exit status 83) unless every root has what is required."""
    missing = list(_missing(requirement, graph))
    if not missing:
        return
    more = f"; and {len(missing) - _MAX_LISTED} more" if len(missing) > _MAX_LISTED else ""
    raise VerificationFailed(
        f"required evidence is missing: {'; '.join(missing[:_MAX_LISTED])}{more}",
        code="evidence-missing",
        exit_status=_MISSING,
        where=where,
        hint="no tag was moved; have it signed or described at its source, or require less",
    )


def _missing(requirement: Requirement, graph: Graph) -> Iterator[str]:
    for root in graph.roots:
        have = _kinds(graph, root.digest)
        shared: frozenset[Kind] = frozenset() if requirement.per_platform else have
        subjects = [
            (f"{digest.short} of {root.asked}", _kinds(graph, digest) | shared)
            for digest in _platforms(graph, root.digest)
        ] or [(f"{root.asked} ({root.digest.short})", have)]
        for name, kinds in subjects:
            lacking = sorted(requirement.kinds - kinds)
            if lacking:
                yield f"{name} has no {' and no '.join(lacking)}"


def _platforms(graph: Graph, digest: Digest) -> Iterator[Digest]:
    """The manifests that an index is made of, through nested ones; attestations are none of them."""
    seen, pending = {digest}, [digest]
    while pending:
        for edge in graph.below.get(pending.pop(), ()):
            if edge.kind == "child" and graph.is_document_edge(edge) and edge.digest not in seen:
                seen.add(edge.digest)
                pending.append(edge.digest)
                if not any(below.kind == "child" for below in graph.below.get(edge.digest, ())):
                    yield edge.digest


def _kinds(graph: Graph, digest: Digest) -> frozenset[Kind]:
    """What a document has beside it."""
    found: frozenset[Kind] = frozenset()
    if any(edge.kind == "attestation" for edge in graph.below.get(digest, ())):
        found |= {"attestation"}  # inside of an index, as BuildKit writes it
    for edge in graph.related.get(digest, ()):
        tag = None if edge.tag is None else DigestTag.parse(edge.tag)
        if tag is not None:
            found |= tag.kinds
        node = graph.by_digest.get(edge.digest)
        if node is not None and edge.kind == "subject":
            found |= kinds_of(node.artifact_type, node.annotations)
    return found
