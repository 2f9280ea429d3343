"""The walk: all that belongs to some documents of one repository, found by every route and checked. Transfer layer.

Down by the bytes of documents; up by the lists of referrers (API, layout, fallback tag) and by digest tags, whose names
are known from one listing of the tags. All documents of a level are read at once; a level is judged when it is read.
A look-up that fails is an error; what is listed and gone is left out, and said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from provender.errors import IntegrityError, InvalidDocument, NotFound, ProvenderError
from provender.oci import Descriptor, Digest, Document, Index, Manifest
from provender.oci.media_types import is_document
from provender.storage.abilities import RelationLister, Resolver, TagLister
from provender.transfer.graph import Edge, EdgeKind, Graph, LeftOut, LeftOutReason, Node, Root, Route
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.related import ALL, DigestTag, Related, stems_of

__all__ = ["DiscoverLimits", "DiscoverOptions", "DiscoverSource", "Start", "discover", "start_of"]

_REFERENCE_TYPE: Final = "vnd.docker.reference.type"
_EMBEDDED_BYTES: Final = 4096
_FOREIGN: Final = ("application/vnd.oci.image.layer.nondistributable.", "application/vnd.docker.image.rootfs.foreign.")


class DiscoverSource(Resolver, TagLister, RelationLister, Protocol):
    """What the walk needs of a storage."""


class DiscoverLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Where a graph ends as an error: documents in it, levels, bytes of its documents, edges, digest tags seen."""

    documents: int = 10_000
    depth: int = 32
    document_bytes: int = 256 << 20
    edges: int = 200_000
    digest_tags: int = 1_000_000


class DiscoverOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for. `foreign` takes layers that are not to be distributed along.

    `levels` ends the search for related content after so many steps from the roots (None: never). Without
    `digest_tags` tags are not listed, for registries that do not allow it: what only they name is not found then.
    """

    related: Related = ALL
    foreign: bool = False
    digest_tags: bool = True
    levels: int | None = None
    jobs: int = 8
    limits: DiscoverLimits = DiscoverLimits()


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """A document to start from: how it was asked for, and the tags that it is to get.

    `is_new` is for one that was made here: nothing at the source can belong to it but what its bytes name.
    """

    document: Document
    asked: str
    tags: tuple[str, ...] = ()
    is_new: bool = False


def start_of(source: Resolver, target: str, tags: Sequence[str] = ()) -> Start:
    """The start from what a tag or digest names."""
    return Start(document=source.resolve(target), asked=target, tags=tuple(tags))


def discover(
    source: DiscoverSource,
    starts: Sequence[Start],
    *,
    options: DiscoverOptions | None = None,
    cancellation: Cancellation | None = None,
) -> Graph:
    """The graph of `starts`: all that their documents name, and the wanted related content of all of that.

    Raises InvalidDocument (`graph-too-large`, `graph-too-deep`) at the limits, NotFound (`child-missing`) where an
    index names a manifest that is not there, and whatever a look-up raises.
    """
    walk = _Walk(source, options or DiscoverOptions(), cancellation or Cancellation())
    return walk.run(starts)


class _Arrival(msgspec.Struct, frozen=True):
    """One reason to look at a document: the edge that it would be, and what the owner says of it."""

    kind: EdgeKind
    owner: Digest
    route: Route
    described: Descriptor
    tag: str | None = None


class _Visit(msgspec.Struct):
    """A document to look at in the next level. `steps` counts the related edges on the way."""

    digest: Digest
    document: Document | None
    steps: int
    arrivals: list[_Arrival]
    is_new: bool = False


class _Found(msgspec.Struct):
    """What was read for one visit."""

    document: Document | None
    listed: list[_Arrival]
    tagged: list[tuple[DigestTag, Document | None]]


class _Walk:
    def __init__(self, source: DiscoverSource, options: DiscoverOptions, cancellation: Cancellation) -> None:
        self._source = source
        self._options = options
        self._cancellation = cancellation
        self._documents: dict[Digest, Document] = {}
        self._nodes: dict[tuple[Digest, bool], Node] = {}
        self._edges: dict[tuple[EdgeKind, Digest, Digest, str | None], Edge] = {}
        self._tagged: set[tuple[Digest, Digest]] = set()
        self._left_out: dict[tuple[Digest, Digest], LeftOut] = {}
        self._pending: dict[Digest, _Visit] = {}
        self._bytes = 0
        self._read_bytes = 0
        self._by_stem: dict[str, list[DigestTag]] = {}
        self._names: set[str] | None = None

    def run(self, starts: Sequence[Start]) -> Graph:
        if not self._options.related.is_none and self._options.digest_tags:
            self._list_tags()
        for start in starts:
            digest = start.document.digest
            self._pending.setdefault(digest, _Visit(digest, start.document, 0, [], start.is_new))
        for _ in range(self._options.limits.depth + 1):
            if not self._pending:
                return self._graph(starts)
            visits, self._pending = list(self._pending.values()), {}
            for visit, found in zip(visits, self._read(visits), strict=True):
                self._judge(visit, found)
        if not self._pending:
            return self._graph(starts)
        raise InvalidDocument(
            f"what belongs to it is nested deeper than {self._options.limits.depth} levels",
            code="graph-too-deep",
            hint="copy parts of it by their digests, or without related content",
        )

    def _list_tags(self) -> None:
        """Remember the digest tags of the repository, by the digest in their names."""
        names: set[str] = set()
        try:
            for name in self._source.tags():
                parsed = DigestTag.parse(name)
                if parsed is None:
                    continue
                names.add(name)
                self._by_stem.setdefault(parsed.stem, []).append(parsed)
                if len(names) > self._options.limits.digest_tags:
                    raise _too_large(f"the repository has more than {len(names) - 1} digest tags")
        except NotFound as error:
            if error.code == "not-found-page":  # a proxy's, say, that lets no such question through
                raise
            # The documents are there, so the repository is: it has no tags (docker-registry answers so).
            names.clear()
        self._names = names

    # Reading

    def _read(self, visits: Sequence[_Visit]) -> list[_Found]:
        """Everything that the source knows of these documents, in one go."""
        found = [_Found(visit.document, [], []) for visit in visits]
        tasks: list[Callable[[], None]] = []
        for visit, slot in zip(visits, found, strict=True):
            if visit.document is None:
                tasks.append(self._reading(visit, slot))
            if self._is_wanting(visit):
                tasks.append(self._listing(visit, slot))
                tasks += [self._naming(tag, slot) for tag in self._digest_tags(visit.digest)]
        run_all(tasks, jobs=self._options.jobs, cancellation=self._cancellation)
        return found

    def _is_wanting(self, visit: _Visit) -> bool:
        options = self._options
        return not (
            options.related.is_none or visit.is_new or (options.levels is not None and visit.steps >= options.levels)
        )

    def _reading(self, visit: _Visit, slot: _Found) -> Callable[[], None]:
        def task() -> None:
            slot.document = self._document(visit)

        return task

    def _document(self, visit: _Visit) -> Document | None:
        """The document of a visit; None for related content that is listed and gone."""
        below = next((each for each in visit.arrivals if each.kind not in ("subject", "digest-tag")), None)
        try:
            document = self._resolve(visit.digest)
        except NotFound as error:
            if below is None:
                return None
            raise NotFound(
                f"{visit.digest} is not there, but the index {below.owner} names it",
                code="child-missing",
                where=error.where,
                hint="the index is incomplete at its source; name the platforms that are there with --platform",
            ) from error
        if below is None:
            return document
        described = below.described
        if described.size != document.descriptor.size:
            raise IntegrityError(
                f"{visit.digest} has {document.descriptor.size} bytes, its index says {described.size}",
                code="size-mismatch",
            )
        if described.media_type != document.descriptor.media_type and document.parse().media_type is None:
            return Document.read(document.raw, media_type=described.media_type, expected=visit.digest)
        return document

    def _listing(self, visit: _Visit, slot: _Found) -> Callable[[], None]:
        def task() -> None:
            for each in self._source.listed(visit.digest, tags=self._names):
                if len(slot.listed) >= self._options.limits.documents:
                    raise _too_large(f"{visit.digest} has more than {len(slot.listed)} referrers")
                slot.listed.append(_Arrival("subject", visit.digest, each.route, each.descriptor))

        return task

    def _digest_tags(self, digest: Digest) -> list[DigestTag]:
        tags = [tag for stem in stems_of(digest) for tag in self._by_stem.get(stem, ()) if tag.suffix is not None]
        return [tag for tag in sorted(tags, key=lambda tag: tag.name) if self._options.related.wants_tag(tag)]

    def _naming(self, tag: DigestTag, slot: _Found) -> Callable[[], None]:
        def task() -> None:
            try:
                slot.tagged.append((tag, self._resolve(tag.name)))
            except NotFound:
                slot.tagged.append((tag, None))

        return task

    def _resolve(self, target: str) -> Document:
        document = self._source.resolve(target)
        self._read_bytes += len(document.raw)
        if self._read_bytes > 2 * self._options.limits.document_bytes:  # what is rejected later counts as well
            raise _too_large(f"{self._read_bytes} bytes of documents are not the end")
        return document

    # Judging: in the order of discovery, by one thread

    def _judge(self, visit: _Visit, found: _Found) -> None:
        document = found.document
        if document is None:
            for each in visit.arrivals:
                self._leave_out(each.owner, visit.digest, "gone", "listed, but not there any more")
            return
        view = document.parse()
        node = _node(document, view)
        accepted = [self._accept(arrival, node) for arrival in visit.arrivals]
        if accepted and True not in accepted:
            return
        self._add(node, document)
        self._descend(visit, document, view)
        for arrival in found.listed:
            self._meet(arrival, None, visit.steps + 1)
        for tag, tagged in sorted(found.tagged, key=lambda pair: pair[0].name):
            if tagged is None:
                self._leave_out(visit.digest, visit.digest, "gone", f"the tag {tag.name} is not there any more")
            else:
                arrival = _Arrival("digest-tag", visit.digest, "digest-tag", tagged.descriptor, tag.name)
                self._meet(arrival, tagged, visit.steps + 1)

    def _add(self, node: Node, document: Document) -> None:
        self._bytes += len(document.raw)
        limits = self._options.limits
        if len(self._documents) >= limits.documents or self._bytes > limits.document_bytes:
            raise _too_large(f"{len(self._documents)} documents and {self._bytes} bytes of them are not the end")
        self._documents[node.digest] = document
        self._nodes[node.digest, True] = node

    def _descend(self, visit: _Visit, document: Document, view: Manifest | Index) -> None:
        owner = document.digest
        if isinstance(view, Index):
            for child in view.manifests:
                kind: EdgeKind = "attestation" if _REFERENCE_TYPE in (child.annotations or {}) else "child"
                if is_document(child.media_type):
                    self._meet(_Arrival(kind, owner, "document", child), None, visit.steps)
                else:
                    self._add_blob(kind, owner, child)
            return
        if view.config is not None:
            self._add_blob("config", owner, view.config)
        for layer in view.layers:
            if layer.media_type.startswith(_FOREIGN) and not self._options.foreign:
                self._leave_out(owner, layer.digest, "foreign", layer.media_type)
            else:
                self._add_blob("layer", owner, layer)

    def _add_blob(self, kind: EdgeKind, owner: Digest, described: Descriptor) -> None:
        known = self._nodes.get((described.digest, False))
        if known is not None and known.descriptor.size != described.size:
            raise IntegrityError(
                f"{described.digest} is said to have {known.descriptor.size} and {described.size} bytes",
                code="size-mismatch",
                where=owner,
            )
        if known is None or (known.descriptor.data is None and described.data is not None):
            self._nodes[described.digest, False] = Node(descriptor=_with_data(described), is_document=False)
        self._add_edge(Edge(kind=kind, owner=owner, digest=described.digest))

    def _meet(self, arrival: _Arrival, document: Document | None, steps: int) -> None:
        """Look at a document in the next level, unless it is known."""
        digest = arrival.described.digest
        known = self._nodes.get((digest, True))
        if known is not None:
            self._accept(arrival, known)
            return
        if arrival.kind == "subject" and arrival.described.artifact_type and not self._is_wanted(arrival.described):
            self._leave_out(arrival.owner, digest, "filtered", arrival.described.artifact_type)
            return
        if len(self._documents) + len(self._pending) >= self._options.limits.documents:
            raise _too_large(f"{len(self._documents)} documents are not the end")
        visit = self._pending.setdefault(digest, _Visit(digest, None, steps, []))
        visit.arrivals.append(arrival)
        visit.document = visit.document or document
        visit.steps = min(visit.steps, steps)

    def _is_wanted(self, described: Descriptor) -> bool:
        return self._options.related.wants(described)

    def _accept(self, arrival: _Arrival, node: Node) -> bool:
        """True if the document is what the arrival says; then the edge is there."""
        entry = None
        if arrival.kind == "subject":
            if node.subject is not None and node.subject != arrival.owner:
                detail = f"listed there, but it names {node.subject}"
                self._leave_out(arrival.owner, node.digest, "other-subject", detail)
                return False
            if not self._is_wanted(arrival.described) and not self._is_wanted(node.entry):
                self._leave_out(arrival.owner, node.digest, "filtered", node.artifact_type or "")
                return False
            if node.subject is None:
                if not self._is_lone(arrival, node.digest):
                    return False
                entry = _listed(arrival.described, node)
        self._add_edge(
            Edge(
                kind=arrival.kind,
                owner=arrival.owner,
                digest=node.digest,
                routes=(arrival.route,),
                tag=arrival.tag,
                entry=entry,
            )
        )
        return True

    def _is_lone(self, arrival: _Arrival, digest: Digest) -> bool:
        """True for a referrer that names no subject, which sigstore-js pushes where subjects are refused.

        A fallback tag may also be somebody's own tag of an index of platforms: those are no referrers.
        """
        if (arrival.owner, digest) in self._tagged:
            return False  # found by its tag, which says the same
        described = arrival.described
        return arrival.route == "api" or (bool(described.artifact_type) and described.platform is None)

    def _add_edge(self, edge: Edge) -> None:
        key = (edge.kind, edge.owner, edge.digest, edge.tag)
        known = self._edges.get(key)
        if known is not None:
            routes = tuple(dict.fromkeys((*known.routes, *edge.routes)))
            self._edges[key] = msgspec.structs.replace(known, routes=routes)
            return
        if len(self._edges) >= self._options.limits.edges:
            raise _too_large(f"{len(self._edges)} edges are not the end")
        self._edges[key] = edge
        if edge.kind == "digest-tag":
            self._tagged.add((edge.owner, edge.digest))

    def _leave_out(self, owner: Digest, digest: Digest, reason: LeftOutReason, detail: str) -> None:
        if len(self._left_out) < self._options.limits.edges:
            left = LeftOut(digest=digest, owner=owner, reason=reason, detail=detail)
            self._left_out.setdefault((owner, digest), left)

    def _graph(self, starts: Sequence[Start]) -> Graph:
        for node in list(self._nodes.values()):
            # The document itself says so, whatever the lists say.
            if node.subject is not None and (node.subject, True) in self._nodes:
                self._add_edge(Edge(kind="subject", owner=node.subject, digest=node.digest))
        roots: dict[tuple[Digest, str], Root] = {}
        for start in starts:
            root = Root(digest=start.document.digest, asked=start.asked, tags=start.tags)
            roots[root.digest, root.asked] = root
        return Graph(
            roots=tuple(roots.values()),
            nodes=tuple(self._nodes.values()),
            edges=tuple(self._edges.values()),
            left_out=tuple(self._left_out.values()),
            documents=self._documents,
        )


def _node(document: Document, view: Manifest | Index) -> Node:
    return Node(
        descriptor=document.descriptor.bare,
        is_document=True,
        artifact_type=None if view.effective_type is None else _encodable(view.effective_type),
        annotations=_all_encodable(view.annotations),
        subject=None if view.subject is None else view.subject.digest,
    )


def _listed(described: Descriptor, node: Node) -> Descriptor:
    """A referrer without subject as its list has it, with size and type as they are."""
    return msgspec.structs.replace(
        node.descriptor,
        artifact_type=_encodable(described.artifact_type) if described.artifact_type else node.artifact_type,
        annotations=_all_encodable(described.annotations) or node.annotations or None,
    )


def _all_encodable(annotations: dict[str, str] | None) -> dict[str, str] | None:
    if annotations is None:
        return None
    return {_encodable(key): _encodable(value) for key, value in annotations.items()}


def _encodable(text: str) -> str:
    """The text without halves of characters, which JSON may spell and no file may hold. The document keeps its own."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _with_data(described: Descriptor) -> Descriptor:
    """The bare descriptor, with its embedded content if that is small and right."""
    if described.data is None or described.size > _EMBEDDED_BYTES:
        return described.bare
    try:
        described.embedded()
    except IntegrityError:
        return described.bare
    return msgspec.structs.replace(described.bare, data=described.data)


def _too_large(what: str) -> ProvenderError:
    return InvalidDocument(
        f"too much belongs together: {what}",
        code="graph-too-large",
        hint="copy parts of it by their tags, or choose related content with --related",
    )
