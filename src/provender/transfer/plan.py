"""What a destination lacks of a graph, and which tags would change: read and shown before anything is written.

Transfer layer. What is there is taken for complete, since everything below a document is written before it. Lists of
referrers are written after it: what is there and not listed is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Final, Protocol, TypeVar

import msgspec

from provender.errors import InvalidDocument, NotFound, ProvenderError, Unavailable
from provender.oci import Digest
from provender.storage.abilities import Fetcher, RelationLister, TagLister, TagReader
from provender.storage.layout_index import fallback_tag
from provender.transfer.graph import Edge, Graph, Node
from provender.transfer.pool import Cancellation, run_all

__all__ = ["Plan", "PlanDestination", "PlanOptions", "TagChange", "listed_tags", "missing"]

_T = TypeVar("_T")

# From so many questions on, one list of the tags answers some of them.
_WORTH_LISTING: Final = 8
_MAX_TAGS: Final = 1_000_000


class PlanDestination(Fetcher, TagReader, TagLister, RelationLister, Protocol):
    """What is asked of a destination before anything is written."""


class TagChange(msgspec.Struct, frozen=True, kw_only=True):
    """A tag that is to name `digest`; `before` is what it names now. A digest tag belongs to related content."""

    tag: str
    digest: Digest
    before: Digest | None = None
    is_digest_tag: bool = False

    @property
    def is_change(self) -> bool:
        return self.before != self.digest


class PlanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How closely to look. `is_thorough` looks below what is there, which repairs an incomplete destination.

    `probe_blobs` asks for each blob that may have to be sent, but in a repository without tags; else the sending asks.
    """

    is_thorough: bool = False
    probe_blobs: bool = False
    jobs: int = 8


class Plan(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What is to be done for `graph`. `documents` are missing at the destination.

    `blobs` may be missing: those of missing documents, without what was found there when they were asked for.
    """

    graph: Graph
    documents: frozenset[Digest]
    blobs: frozenset[Digest]
    tags: tuple[TagChange, ...]
    is_thorough: bool = False

    @cached_property
    def missing_blobs(self) -> tuple[Node, ...]:
        """The blobs that may have to be sent, in the graph's order."""
        return tuple(node for node in self.graph.blobs if node.digest in self.blobs)

    @property
    def most_bytes(self) -> int:
        """How much there is to send at most: every blob in question and every missing document."""
        documents = (self.graph.by_digest[digest].descriptor.size for digest in self.documents)
        return sum(node.descriptor.size for node in self.missing_blobs) + sum(documents)

    @property
    def is_empty(self) -> bool:
        """True if nothing is to be written."""
        return not self.documents and not self.blobs and not any(tag.is_change for tag in self.tags)


def listed_tags(destination: TagLister, *, questions: int) -> frozenset[str] | None:
    """The tags of a destination, where one list of them saves `questions`; empty for a repository that is not there.

    None where they are not worth asking for, or cannot be had: whoever may not list asks one by one.
    """
    if questions < _WORTH_LISTING:
        return None
    names: set[str] = set()
    try:
        for name in destination.tags():
            names.add(name)
            if len(names) >= _MAX_TAGS:
                return None
    except NotFound:
        return frozenset()
    except ProvenderError:
        return None
    return frozenset(names)


def missing(
    graph: Graph,
    destination: PlanDestination,
    *,
    options: PlanOptions | None = None,
    cancellation: Cancellation | None = None,
) -> Plan:
    """The plan for having `graph` at `destination`; only asks. Raises whatever a look-up raises."""
    return _Look(graph, destination, options or PlanOptions(), cancellation or Cancellation()).run()


class _Look:
    def __init__(
        self, graph: Graph, destination: PlanDestination, options: PlanOptions, cancellation: Cancellation
    ) -> None:
        self._graph = graph
        self._destination = destination
        self._options = options
        self._cancellation = cancellation
        self._there: dict[Digest, bool] = {}

    def run(self) -> Plan:
        wanted = _wanted_tags(self._graph)
        names = listed_tags(self._destination, questions=len(wanted) + len(self._graph.by_digest))
        # A repository that has no tag or does not exist: what an interrupted run left there is found by the sending.
        is_new = names is not None and not names
        tags = wanted if is_new else self._look_at_tags(wanted, names)
        if not is_new:
            self._look_at_documents()
            self._look_at_lists(names)
        documents = frozenset(digest for digest in self._graph.by_digest if not self._there.get(digest, False))
        blobs = self._blobs(documents, is_probed=self._options.probe_blobs and not is_new)
        return Plan(
            graph=self._graph, documents=documents, blobs=blobs, tags=tags, is_thorough=self._options.is_thorough
        )

    def _look_at_tags(self, wanted: tuple[TagChange, ...], names: frozenset[str] | None) -> tuple[TagChange, ...]:
        asked = [change for change in wanted if names is None or change.tag in names]
        found = self._ask([partial(self._destination.digest_of, change.tag) for change in asked])
        before = {change.tag: digest for change, digest in zip(asked, found, strict=True)}
        for digest in before.values():
            if digest is not None:
                self._there[digest] = True
        return tuple(msgspec.structs.replace(change, before=before.get(change.tag)) for change in wanted)

    def _look_at_documents(self) -> None:
        """Find out what is there, from the top: below what is there nothing is asked for, unless thoroughly."""
        below = {child for digest in self._graph.by_digest for child in self._graph.children(digest)}
        level = [digest for digest in self._graph.by_digest if digest not in below]
        seen = set(level)
        while level:
            asked = [digest for digest in level if digest not in self._there]
            nodes = [self._graph.by_digest[digest].descriptor for digest in asked]
            found = self._ask([partial(self._destination.exists, each) for each in nodes])
            self._there.update(zip(asked, found, strict=True))
            following: list[Digest] = []
            for digest in level:
                for child in self._graph.children(digest):
                    if self._there[digest] and not self._options.is_thorough:
                        self._there.setdefault(child, True)
                    if child not in seen:
                        seen.add(child)
                        following.append(child)
            level = following

    def _look_at_lists(self, names: frozenset[str] | None) -> None:
        """What is there and not listed was left so by a run that was ended, or by a destination that does not list."""
        edges: dict[Digest, list[Edge]] = {}
        for owner, related in self._graph.related.items():
            there = [edge for edge in related if edge.kind == "subject" and self._there.get(edge.digest)]
            if there:
                edges[owner] = there
        found = self._ask([partial(self._unlisted, owner, each, names) for owner, each in edges.items()])
        self._there.update((digest, False) for digests in found for digest in digests)

    def _unlisted(self, owner: Digest, edges: Sequence[Edge], names: frozenset[str] | None) -> set[Digest]:
        # Who names no subject can be under the fallback tag alone, beside an API as well.
        lone = {edge.digest for edge in edges if edge.entry is not None}
        tags = {fallback_tag(owner)} if lone and names is None else names
        try:
            listed = list(self._destination.listed(owner, tags=tags))
        except (InvalidDocument, Unavailable) as error:
            if error.retryable:
                raise
            listed = []  # an API that cannot be used is none to those who write, too
        found = {each.descriptor.digest for each in listed if each.route != "overlooked"}
        found |= lone.intersection(each.descriptor.digest for each in listed)
        return {edge.digest for edge in edges} - found

    def _blobs(self, documents: frozenset[Digest], *, is_probed: bool) -> frozenset[Digest]:
        owners: Iterable[Digest] = self._graph.by_digest if self._options.is_thorough else documents
        needed = {digest for owner in owners for digest in self._graph.blobs_of(owner)}
        if not is_probed:
            return frozenset(needed)
        nodes = [node for node in self._graph.blobs if node.digest in needed]
        found = self._ask([partial(self._destination.exists, node.content) for node in nodes])
        return frozenset(node.digest for node, there in zip(nodes, found, strict=True) if not there)

    def _ask(self, questions: Sequence[Callable[[], _T]]) -> list[_T]:
        return run_all(questions, jobs=self._options.jobs, cancellation=self._cancellation)


def _wanted_tags(graph: Graph) -> tuple[TagChange, ...]:
    """The digest tags of the graph, then the tags of its roots; each once, the last one wins."""
    found: dict[str, TagChange] = {}
    for edge in graph.edges:
        if edge.tag is not None:
            found[edge.tag] = TagChange(tag=edge.tag, digest=edge.digest, is_digest_tag=True)
    named: Mapping[str, Digest] = {tag: root.digest for root in graph.roots for tag in root.tags}
    for tag, digest in named.items():
        found.pop(tag, None)
        found[tag] = TagChange(tag=tag, digest=digest)
    return tuple(found.values())
