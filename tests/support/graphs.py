"""Repositories with related content for the tests of discovery and copying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Digest, Document, Index, Manifest, Platform
from provender.oci.media_types import INDEX, MANIFEST
from provender.storage.abilities import Fetcher, Pusher, RelationLister, Resolver, TagLister
from provender.storage.verify import BytesReader
from provender.transfer.copy import CopyDestination, CopyOptions, Report, copy
from provender.transfer.discover import DiscoverOptions, discover, start_of
from provender.transfer.graph import Graph
from provender.transfer.plan import PlanOptions, missing

__all__ = ["SBOM", "SIGNATURE", "Family", "Readable", "carry", "family", "push", "relations", "walk"]

SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
SBOM = "application/spdx+json"


class Readable(Fetcher, Resolver, TagLister, RelationLister, Protocol):
    """What is copied from."""


class Writable(CopyDestination, TagLister, RelationLister, Protocol):
    """What is copied to."""

    def digest_of(self, tag: str) -> Digest | None: ...


def push(
    target: Pusher,
    name: str,
    *tags: str,
    subject: Descriptor | None = None,
    artifact_type: str | None = "application/vnd.test.thing",
    layers: Sequence[bytes] = (),
    annotations: dict[str, str] | None = None,
) -> Document:
    """A pushed manifest that differs by `name`, with one layer more than was given."""
    contents = [name.encode(), *layers]
    for content in (EMPTY_BYTES, *contents):
        target.push(Descriptor.of(content, "application/octet-stream"), BytesReader(content))
    document = Document.author(
        Manifest(
            schema_version=2,
            media_type=MANIFEST,
            artifact_type=artifact_type,
            config=EMPTY_DESCRIPTOR,
            layers=tuple(Descriptor.of(content, "application/octet-stream") for content in contents),
            subject=None if subject is None else subject.bare,
            annotations={"test.name": name, **(annotations or {})},
        )
    )
    target.push_document(document, tags)
    return document


def push_index(target: Pusher, *tags: str, children: Sequence[Descriptor]) -> Document:
    """A pushed index."""
    document = Document.author(Index(schema_version=2, media_type=INDEX, manifests=tuple(children)))
    target.push_document(document, tags)
    return document


def for_platform(document: Document, text: str) -> Descriptor:
    """The descriptor of a child for a platform."""
    platform = Platform.parse(text)
    return Descriptor(
        media_type=document.descriptor.media_type,
        digest=document.digest,
        size=document.descriptor.size,
        platform=platform,
    )


@dataclass
class Family:
    """An index of two platforms, an attestation inside, and what belongs to them by every route."""

    root: Document
    named: dict[str, Document] = field(default_factory=dict)

    @property
    def digests(self) -> dict[str, Digest]:
        return {name: document.digest for name, document in self.named.items()}


def family(target: Pusher, tag: str = "1.0") -> Family:
    """Pushed: index -> (amd64, arm64, attestation); SBOM of amd64 and its signature; signature of the index as a
    referrer; a `.sig` tag of the index, and a `.sig` tag of arm64; a tag of unknown meaning."""
    amd64 = push(target, f"{tag}-amd64", artifact_type=None)
    arm64 = push(target, f"{tag}-arm64", artifact_type=None)
    attestation = push(target, f"{tag}-attestation", artifact_type=None)
    noted = Descriptor(
        media_type=MANIFEST,
        digest=attestation.digest,
        size=attestation.descriptor.size,
        annotations={
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": amd64.digest,
        },
        platform=Platform(os="unknown", architecture="unknown"),
    )
    children = [for_platform(amd64, "linux/amd64"), for_platform(arm64, "linux/arm64"), noted]
    root = push_index(target, tag, children=children)
    sbom = push(target, f"{tag}-sbom", subject=amd64.descriptor, artifact_type=SBOM)
    signed_sbom = push(target, f"{tag}-sbom-signature", subject=sbom.descriptor, artifact_type=SIGNATURE)
    signature = push(target, f"{tag}-signature", subject=root.descriptor, artifact_type=SIGNATURE)

    def stem(document: Document) -> str:
        return document.digest.replace(":", "-")

    cosign = push(target, f"{tag}-cosign", f"{stem(root)}.sig", artifact_type=None)
    cosign_arm64 = push(target, f"{tag}-cosign-arm64", f"{stem(arm64)}.sig", artifact_type=None)
    other = push(target, f"{tag}-other", f"{stem(root)}.acme.notes")
    named = {
        "root": root,
        "amd64": amd64,
        "arm64": arm64,
        "attestation": attestation,
        "sbom": sbom,
        "sbom-signature": signed_sbom,
        "signature": signature,
        "cosign": cosign,
        "cosign-arm64": cosign_arm64,
        "other": other,
    }
    return Family(root, named)


def walk(source: Readable, *targets: str, options: DiscoverOptions | None = None) -> Graph:
    """The graph from these tags or digests; a tag is to be kept."""
    starts = [start_of(source, target, () if ":" in target else (target,)) for target in targets]
    return discover(source, starts, options=options)


def carry(
    source: Readable,
    destination: Writable,
    *targets: str,
    options: DiscoverOptions | None = None,
    plan_options: PlanOptions | None = None,
    copy_options: CopyOptions | None = None,
) -> Report:
    """Copied, from discovery to tags."""
    plan = missing(walk(source, *targets, options=options), destination, options=plan_options)
    return copy(plan, source, destination, options=copy_options)


def relations(graph: Graph) -> set[tuple[str, Digest, Digest, str | None]]:
    """The edges of a graph, without how they were found."""
    return {(edge.kind, edge.owner, edge.digest, edge.tag) for edge in graph.edges}
