"""What a bundle is, and the lock of images inside: provender's own bundles, imgpkg's, and those that are both.

A bundle is known by its artifact type, else by the label in its image config. Reading one reads the layer with the lock
to its end, so that nothing unverified is believed.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

from provender.artifact.tar import TarReader
from provender.artifact.unpack import fetch_content
from provender.bundle.locks import LOCK_PATH, ImageLocations, ImagesLock, read_images_lock, read_locations
from provender.errors import InvalidDocument, NotFound, ProvenderError
from provender.oci import Descriptor, Digest, Document
from provender.oci.document import parse_json
from provender.oci.media_types import DOCKER_CONFIG, IMAGE_CONFIG
from provender.storage.abilities import Fetcher, Resolver
from provender.storage.compression import open_stream
from provender.storage.limits import DEFAULT_LIMITS
from provender.storage.verify import read_all
from provender.transfer.graph import Graph, Root

__all__ = [
    "ALL_KINDS",
    "BUNDLE_TYPE",
    "IMGPKG_KINDS",
    "IMGPKG_LAYER",
    "LABEL",
    "LOCATIONS_PATH",
    "LOCK_TYPE",
    "BundleSource",
    "Kind",
    "bundles_among",
    "imgpkg_tag",
    "kind_of",
    "locations_at",
    "locations_tag",
    "lock_of",
    "not_a_bundle",
]

BUNDLE_TYPE: Final = "application/vnd.provender.bundle.v1"
LOCK_TYPE: Final = "application/vnd.provender.images-lock.v1+yaml"
"""The layer of our own bundles that is the ImagesLock."""
LABEL: Final = "dev.carvel.imgpkg.bundle"
IMGPKG_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
LOCATIONS_PATH: Final = "image-locations.yml"

Kind = Literal["provender", "imgpkg", "hybrid"]
"""Whose bundle it is; imgpkg reads a hybrid as its own."""

ALL_KINDS: Final[frozenset[Kind]] = frozenset({"provender", "imgpkg", "hybrid"})
IMGPKG_KINDS: Final[frozenset[Kind]] = frozenset({"imgpkg", "hybrid"})
"""Those that imgpkg reads."""

_MAX_CONFIG_BYTES: Final = 4 << 20
_MAX_LOCK_BYTES: Final = 8 << 20


class BundleSource(Resolver, Fetcher, Protocol):
    """What is asked of the repository that a bundle is in."""


def kind_of(document: Document, fetcher: Fetcher) -> Kind | None:
    """Whose bundle the document is; None for what is no bundle. Asks for the config of images alone."""
    if document.is_index:
        return None
    manifest = document.manifest()
    is_ours = manifest.artifact_type == BUNDLE_TYPE
    config = manifest.config
    if config is None or config.media_type not in (IMAGE_CONFIG, DOCKER_CONFIG) or not _has_label(config, fetcher):
        return "provender" if is_ours else None
    return "hybrid" if is_ours else "imgpkg"


def lock_of(document: Document, fetcher: Fetcher) -> ImagesLock:
    """The lock inside a bundle. Raises InvalidDocument (`invalid-bundle`) for one without a lock that can be used."""
    layers = document.manifest().layers
    ours = [layer for layer in layers if layer.media_type == LOCK_TYPE]
    if len(ours) == 1:
        with fetch_content(fetcher, ours[0]) as reader:
            raw = read_all(reader, _MAX_LOCK_BYTES)
    elif len(layers) == 1 and not ours:
        raw = _member(layers[0], fetcher, LOCK_PATH)
    else:
        raise _invalid(f"it has {len(layers)} layers, {len(ours)} of them locks", document.digest)
    try:
        return read_images_lock(raw, where=LOCK_PATH)
    except ProvenderError as error:
        place = (error.where or LOCK_PATH)[:200]
        raise _invalid(f"{place}: {error.message}", document.digest, code=error.code) from error


def imgpkg_tag(digest: Digest) -> str:
    """The tag by which imgpkg keeps a digest from being collected as garbage."""
    return f"{digest.algorithm}-{digest.encoded}.imgpkg"


def locations_tag(digest: Digest) -> str:
    """The tag of the image that says where the images of a bundle are."""
    return f"{digest.algorithm}-{digest.encoded}.image-locations.imgpkg"


def locations_at(source: BundleSource, bundle: Digest) -> ImageLocations | None:
    """What the repository says about a bundle in it; None if it says nothing."""
    try:
        document = source.resolve(locations_tag(bundle))
    except NotFound:
        return None
    layers = document.manifest().layers
    if len(layers) != 1:
        raise _invalid(f"its image of locations has {len(layers)} layers", bundle)
    raw = _member(layers[0], source, LOCATIONS_PATH)
    try:
        return read_locations(raw, where=LOCATIONS_PATH)
    except ProvenderError as error:
        raise _invalid(f"{LOCATIONS_PATH}: {error.message}", bundle) from error


def bundles_among(graph: Graph) -> list[Root]:
    """The roots of a graph that are bundles, as far as it tells without asking: their images are not part of it."""
    records = {edge.tag for edge in graph.edges if edge.tag}
    return [
        root
        for root in graph.roots
        if graph.by_digest[root.digest].artifact_type == BUNDLE_TYPE or locations_tag(root.digest) in records
    ]


def not_a_bundle(reference: str) -> InvalidDocument:
    """The error for an image where a bundle was asked for."""
    return InvalidDocument(
        "it is no bundle, neither by its artifact type nor by imgpkg's label",
        code="no-bundle",
        where=reference,
        hint="provender copy and pull are for what is no bundle; provender bundle list shows bundles",
    )


def _has_label(config: Descriptor, fetcher: Fetcher) -> bool:
    with fetch_content(fetcher, config) as reader:
        raw = read_all(reader, _MAX_CONFIG_BYTES)
    try:
        inner = parse_json(raw, "the image config").get("config")
    except InvalidDocument:
        return False  # what is no JSON has no labels
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    return isinstance(labels, dict) and LABEL in labels


def _member(layer: Descriptor, fetcher: Fetcher, path: str) -> bytes:
    """The file `path` of a layer, whose every byte is read and verified. imgpkg takes the first of that name."""
    where = f"layer {layer.digest.short}"
    found: bytes | None = None
    with fetch_content(fetcher, layer) as reader:
        stream = open_stream(reader, None, DEFAULT_LIMITS, where=where)
        archive = TarReader(stream, limits=DEFAULT_LIMITS, where=where)
        while (member := archive.next()) is not None:
            if found is None and member.kind == "file" and _names(member.path, path):
                if member.size > _MAX_LOCK_BYTES:
                    raise _invalid(f"its {path} has {member.size} bytes", layer.digest)
                content = archive.content()
                found = content if isinstance(content, bytes) else b"".join(content)
        stream.drain()
    if found is None:
        raise _invalid(f"it has no {path}", layer.digest)
    return found


def _names(member: str, path: str) -> bool:
    return member == path or (path == LOCATIONS_PATH and member.rpartition("/")[2] == path)


def _invalid(what: str, digest: Digest, *, code: str = "invalid-bundle") -> InvalidDocument:
    return InvalidDocument(
        f"the bundle cannot be read: {what}"[:500],
        code=code,
        where=digest,
        hint="have it pushed again by whoever published it; a bundle has .imgpkg/images.yml with images by digest",
    )
