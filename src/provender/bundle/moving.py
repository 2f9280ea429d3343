"""A bundle as something that moves: graphs of all that belongs to it, one for each repository that parts of it are in.

At the destination everything is in one repository. There imgpkg finds it: each image has the tag that keeps it from
being collected, and each bundle an image that says that its images are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from provender.bundle.contents import Bundle, Family, Item, Place, Places
from provender.bundle.image_config import push_locations
from provender.bundle.reading import BundleSource, imgpkg_tag, locations_at, locations_tag
from provender.errors import IntegrityError, InvalidDocument, NotFound, Unsupported
from provender.oci import Descriptor, Digest, Document, Reference
from provender.storage.abilities import BlobReader
from provender.storage.memory import MemoryStorage
from provender.transfer.discover import DiscoverOptions, Start, discover
from provender.transfer.graph import Edge, EdgeKind, Graph, LeftOut, Node, Root
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.related import NONE

__all__ = ["Merged", "Part", "merge", "parts_of_family", "parts_of_images"]

_TAGGED: Final = "sha256"
"""The algorithm whose digests fit into imgpkg's tags."""


class Part(msgspec.Struct, frozen=True):
    """What moves out of one repository; `place` is None for what was made here."""

    graph: Graph
    source: Place
    place: Reference | None


def parts_of_family(
    family: Family,
    places: Places,
    *,
    tags: Sequence[str] = (),
    known: BundleSource | None = None,
    has_records: bool = True,
    options: DiscoverOptions | None = None,
    cancellation: Cancellation | None = None,
) -> list[Part]:
    """The parts of a bundle with its related content; the bundle itself gets `tags`.

    `known` is the destination: records of locations that are right there are left as they are. Without `has_records`
    there are none, for whoever only looks.
    """
    options = options or DiscoverOptions()
    starts: dict[Reference, list[Start]] = {}
    for item in family.items():
        starts.setdefault(item.place, []).append(_start(item))
    root = family.root
    own = starts.pop(root.place, [])
    starts[root.place] = [
        *own,
        Start(document=root.document, asked=root.digest, tags=tuple(dict.fromkeys((*_kept(root.digest), *tags)))),
    ]
    made = MemoryStorage("the records of locations")
    records = _records(family, places, known, made, options.jobs, cancellation) if has_records else []
    # What the sources say under these tags is taken over if it is right, and no source has a say after that.
    managed = frozenset(locations_tag(digest) for digest in family.bundles)
    found = _discovered(starts, places, options, cancellation)
    parts = [Part(_without_tags(part.graph, managed), part.source, part.place) for part in found]
    if records:
        parts.append(Part(discover(made, records, options=DiscoverOptions(related=NONE)), made, None))
    return parts


def parts_of_images(
    items: Sequence[Item],
    places: Places,
    *,
    options: DiscoverOptions | None = None,
    cancellation: Cancellation | None = None,
) -> list[Part]:
    """The parts of the images of a lock, with their related content."""
    starts: dict[Reference, list[Start]] = {}
    for item in {item.digest: item for item in items}.values():
        starts.setdefault(item.place, []).append(_start(item))
    return _discovered(starts, places, options or DiscoverOptions(), cancellation)


def _discovered(
    starts: Mapping[Reference, Sequence[Start]],
    places: Places,
    options: DiscoverOptions,
    cancellation: Cancellation | None,
) -> list[Part]:
    """What belongs to the starts, repositories side by side."""
    stop = cancellation or Cancellation()
    inner = msgspec.structs.replace(options, jobs=max(1, options.jobs // max(1, len(starts))))

    def task(place: Reference, chosen: Sequence[Start]) -> Part:
        source = places(place)
        return Part(discover(source, chosen, options=inner, cancellation=stop), source, place)

    tasks = [partial(task, place, chosen) for place, chosen in starts.items()]
    return run_all(tasks, jobs=options.jobs, cancellation=stop)


def _start(item: Item) -> Start:
    return Start(document=item.document, asked=item.digest, tags=_kept(item.digest))


def _kept(digest: Digest) -> tuple[str, ...]:
    return (imgpkg_tag(digest),) if digest.algorithm == _TAGGED else ()


def _records(
    family: Family,
    places: Places,
    known: BundleSource | None,
    made: MemoryStorage,
    jobs: int,
    cancellation: Cancellation | None,
) -> list[Start]:
    """The records of locations that the destination needs."""
    tasks = [partial(_record, bundle, places, known, made) for bundle in family.bundles.values()]
    found = run_all(tasks, jobs=jobs, cancellation=cancellation)
    return [record for record in found if record is not None]


def _record(bundle: Bundle, places: Places, known: BundleSource | None, made: MemoryStorage) -> Start | None:
    """The image that says where the images of `bundle` are; None if the destination has a right one.

    What the source says is taken over if it is right, so that digests stay; else it is made.
    """
    if bundle.digest.algorithm != _TAGGED:
        return None
    wanted, tag = bundle.locations(), locations_tag(bundle.digest)
    if known is not None and _says(known, bundle.digest, wanted.text()):
        return None
    source = places(bundle.place)
    if _says(source, bundle.digest, wanted.text()):
        document = source.resolve(tag)
        made.push_document(document)
        for each in document.manifest().successors():
            with source.fetch(each) as reader:
                made.push(each, reader)
    else:
        document = push_locations(wanted, made)
    return Start(document=document, asked=document.digest, tags=(tag,))


def _says(source: BundleSource, digest: Digest, text: bytes) -> bool:
    """True if the record of locations is there and right; one that cannot be read is not."""
    try:
        found = locations_at(source, digest)
    except (InvalidDocument, IntegrityError, Unsupported):
        return False
    return found is not None and found.text() == text


def _without_tags(graph: Graph, tags: frozenset[str]) -> Graph:
    """The graph without digest tags of these names and without what only they lead to."""
    edges = [edge for edge in graph.edges if edge.tag not in tags]
    if len(edges) == len(graph.edges):
        return graph
    below: dict[Digest, list[Edge]] = {}
    for edge in edges:
        below.setdefault(edge.owner, []).append(edge)
    reached: set[tuple[Digest, bool]] = {(root.digest, True) for root in graph.roots}
    stack = list(reached)
    while stack:
        digest, is_document = stack.pop()
        for edge in below.get(digest, ()) if is_document else ():
            node = (edge.digest, graph.is_document_edge(edge))
            if node not in reached:
                reached.add(node)
                stack.append(node)
    return Graph(
        roots=graph.roots,
        nodes=tuple(node for node in graph.nodes if (node.digest, node.is_document) in reached),
        edges=tuple(edge for edge in edges if (edge.owner, True) in reached),
        left_out=graph.left_out,
        documents={digest: each for digest, each in graph.documents.items() if (digest, True) in reached},
    )


class Merged:
    """Parts as one: content by the repository that its graph is of. What an archive is written from."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._sources: dict[Digest, Place] = {}
        for part in parts:
            for node in part.graph.nodes:
                self._sources.setdefault(node.digest, part.source)

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        """The content (see `Fetcher.fetch`)."""
        return self._source(descriptor.digest).fetch(descriptor, offset=offset)

    def exists(self, descriptor: Descriptor) -> bool:
        """True if it is there (see `Fetcher.exists`)."""
        source = self._sources.get(descriptor.digest)
        return source is not None and source.exists(descriptor)

    def resolve(self, target: str) -> Document:
        """The document of a digest (see `Resolver.resolve`); tags are those of several repositories."""
        return self._source(Digest(target)).resolve(target)

    def _source(self, digest: Digest) -> Place:
        source = self._sources.get(digest)
        if source is None:
            raise NotFound(f"{digest} belongs to none of the repositories", code="not-found")
        return source


def merge(parts: Sequence[Part], first: Digest | None = None) -> Graph:
    """The graphs of all parts as one, with the root `first` before all others."""
    nodes: dict[tuple[Digest, bool], Node] = {}
    edges: dict[tuple[EdgeKind, Digest, Digest, str | None], Edge] = {}
    roots: dict[tuple[Digest, str], Root] = {}
    left_out: dict[tuple[Digest, Digest], LeftOut] = {}
    documents: dict[Digest, Document] = {}
    for graph in (part.graph for part in parts):
        for node in graph.nodes:
            nodes.setdefault((node.digest, node.is_document), node)
        for edge in graph.edges:
            edges.setdefault((edge.kind, edge.owner, edge.digest, edge.tag), edge)
        for root in graph.roots:
            roots[root.digest, root.asked] = root
        for left in graph.left_out:
            left_out.setdefault((left.owner, left.digest), left)
        documents |= dict(graph.documents)
    return Graph(
        roots=tuple(sorted(roots.values(), key=lambda root: root.digest != first)),
        nodes=tuple(nodes.values()),
        edges=tuple(edges.values()),
        left_out=tuple(left_out.values()),
        documents=documents,
    )
