"""A plan carried out: blobs, documents, lists of referrers, tags, in this order, from storage to storage.

Transfer layer. Bytes stream from the source's verifying reader into the destination; nothing is kept in between. What
is written can be written again: a run that was ended goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from types import TracebackType
from typing import Final, Literal, Protocol, Self

import msgspec

from provender.errors import NotFound, ProvenderError, VerificationFailed
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Digest, Document
from provender.storage.abilities import BlobReader, Fetcher, Mounter, Pusher, Resolver, Stager
from provender.storage.verify import BytesReader
from provender.transfer.graph import Node
from provender.transfer.plan import Plan, TagChange
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress

__all__ = [
    "NO_WATCH",
    "Action",
    "CopyDestination",
    "CopyOptions",
    "CopySource",
    "NoWatch",
    "Outcome",
    "Report",
    "Watch",
    "copy",
]

Action = Literal["present", "copied", "mounted", "foreign"]
"""What became of content: it was there, was sent, was taken over by the registry itself, or has no copy here."""

_SUBJECTS_AT_ONCE: Final = 16
_TAGS_AT_ONCE: Final = 16
_NOT_LISTED: Final = 84


class CopySource(Fetcher, Resolver, Protocol):
    """What is read from."""


class CopyDestination(Fetcher, Pusher, Stager, Protocol):
    """What is written to; one that is a `Mounter` as well may take blobs over from its neighbours."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one node; `sent_bytes` went over the wire for it."""

    digest: Digest
    is_document: bool
    action: Action
    sent_bytes: int = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy did: an outcome for each node, in the graph's order, and the tags that it wrote."""

    outcomes: tuple[Outcome, ...]
    tags: tuple[TagChange, ...]

    def count(self, action: Action) -> int:
        """How many nodes ended so."""
        return sum(1 for outcome in self.outcomes if outcome.action == action)

    @property
    def sent_bytes(self) -> int:
        return sum(outcome.sent_bytes for outcome in self.outcomes)


class Watch(Protocol):
    """Hears what is finished, when it is, from worker threads: a journal. And knows what was finished before."""

    def is_finished(self, node: Node, /) -> bool:
        """True if the node was finished at this destination and is there: nothing is done for it."""
        ...

    def finished(self, outcome: Outcome, /) -> None:
        """The node is safely there."""
        ...

    def before_tags(self) -> AbstractSet[str]:
        """Everything is there but the tags. A gate: an error raised here leaves all tags as they are.

        The tags of the plan that name already what they are to name: they are not written again.
        """
        ...

    def tagged(self, change: TagChange, /) -> None:
        """The tag is written."""
        ...


class NoWatch:
    """Hears everything and keeps nothing."""

    def is_finished(self, node: Node, /) -> bool:  # noqa: ARG002 - the protocol's signature
        return False

    def finished(self, outcome: Outcome, /) -> None:
        pass

    def before_tags(self) -> AbstractSet[str]:
        return frozenset()

    def tagged(self, change: TagChange, /) -> None:
        pass


NO_WATCH: Final = NoWatch()


class CopyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to copy. `mount_from` are repositories of the destination's registry that may have the blobs, best first.

    `mount_by` names one for each blob, for content out of several repositories.
    Without `is_listing_required` a destination that does not list what it took is no error.
    """

    jobs: int = 8
    mount_from: tuple[str, ...] = ()
    mount_by: Mapping[Digest, str] = {}
    is_listing_required: bool = True


def copy(
    plan: Plan,
    source: CopySource,
    destination: CopyDestination,
    *,
    options: CopyOptions | None = None,
    watch: Watch = NO_WATCH,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> Report:
    """Carry out `plan`. Digests stay; tags are written after everything else.

    Raises VerificationFailed (`not-discoverable`, exit status 84) before the tags, if the destination does not list a
    referrer that it took; NotFound (`blob-missing`) for content that the source lacks; and what the storages raise.
    """
    run = _Run(plan, source, destination, options or CopyOptions(), watch, progress, cancellation or Cancellation())
    return run.run()


class _Run:
    def __init__(
        self,
        plan: Plan,
        source: CopySource,
        destination: CopyDestination,
        options: CopyOptions,
        watch: Watch,
        progress: Progress,
        cancellation: Cancellation,
    ) -> None:
        self._plan = plan
        self._graph = plan.graph
        self._source = source
        self._destination = destination
        self._options = options
        self._watch = watch
        self._progress = progress
        self._cancellation = cancellation
        self._outcomes: dict[tuple[Digest, bool], Outcome] = {}

    def run(self) -> Report:
        self._all([partial(self._blob, node) for node in self._plan.missing_blobs])
        for level in self._graph.levels():
            self._all([partial(self._write, group) for group in self._groups(level)])
        self._relate()
        right = self._watch.before_tags()
        changes = [change for change in self._plan.tags if change.is_change and change.tag not in right]
        self._keep_untagged()
        for is_digest_tag in (True, False):
            chosen = [change for change in changes if change.is_digest_tag is is_digest_tag]
            self._all([partial(self._tag, chosen[i : i + _TAGS_AT_ONCE]) for i in range(0, len(chosen), _TAGS_AT_ONCE)])
        outcomes = (self._outcome(node) for node in self._graph.nodes)
        return Report(outcomes=tuple(outcomes), tags=tuple(changes))

    def _all(self, tasks: Sequence[Callable[[], None]]) -> None:
        run_all(tasks, jobs=self._options.jobs, cancellation=self._cancellation)

    def _outcome(self, node: Node) -> Outcome:
        there = Outcome(digest=node.digest, is_document=node.is_document, action="present")
        return self._outcomes.get((node.digest, node.is_document), there)

    def _done(self, node: Node, action: Action, sent_bytes: int = 0) -> None:
        outcome = Outcome(digest=node.digest, is_document=node.is_document, action=action, sent_bytes=sent_bytes)
        self._outcomes[node.digest, node.is_document] = outcome
        self._watch.finished(outcome)

    # Content

    def _blob(self, node: Node) -> None:
        self._cancellation.check()
        if self._watch.is_finished(node):
            return
        if self._is_mounted(node):
            self._done(node, "mounted")
            return
        with _Passing(partial(self._open, node), node.content, self._progress, self._cancellation) as reader:
            self._destination.push(node.content, reader)
            self._done(node, "copied" if reader.is_used else "present", reader.passed_bytes)

    def _is_mounted(self, node: Node) -> bool:
        destination = self._destination
        # A refused mount opens an upload, which the push goes on with: so only the best neighbour is asked.
        name = self._options.mount_by.get(node.digest) or next(iter(self._options.mount_from), None)
        if name is None or not isinstance(destination, Mounter):
            return False
        return destination.mount(node.content, name)

    def _open(self, node: Node) -> BlobReader:
        content = node.descriptor.embedded()
        if content is None and node.digest == EMPTY_DESCRIPTOR.digest:
            content = EMPTY_BYTES
        if content is not None:
            return BytesReader(content)
        try:
            return self._source.fetch(node.content)
        except NotFound as error:
            owner = next(edge.owner for edge in self._graph.edges if edge.digest == node.digest)
            raise NotFound(
                f"{node.digest} is not there, but {owner} needs it",
                code="blob-missing",
                where=error.where,
                hint="the source is incomplete: copy it there again from where it came",
            ) from error

    def _groups(self, level: Sequence[Node]) -> list[list[Node]]:
        """The documents to write, those with the same subject together.

        A registry keeps a list for each subject, and not each registry keeps it when two are added at once (olareg
        0.2.2 with a directory lost one of them).
        """
        groups: dict[Digest, list[Node]] = {}
        for node in level:
            if node.digest in self._plan.documents:
                groups.setdefault(node.subject or node.digest, []).append(node)
        return list(groups.values())

    def _write(self, group: Sequence[Node]) -> None:
        for node in group:
            self._document(node)

    def _document(self, node: Node) -> None:
        self._cancellation.check()
        if self._watch.is_finished(node):
            return
        self._destination.stage(self._bytes(node.digest))
        self._done(node, "copied", node.descriptor.size)

    def _bytes(self, digest: Digest) -> Document:
        return self._graph.documents.get(digest) or self._source.resolve(digest)

    # Names

    def _relate(self) -> None:
        """Have what was written listed as the referrers that they are; thoroughly, everything."""
        groups: dict[Digest, dict[Digest, Descriptor]] = {}
        for node in self._graph.by_digest.values():
            if node.subject is not None and self._is_to_list(node.digest):
                groups.setdefault(node.subject, {})[node.digest] = node.entry
        for edge in self._graph.edges:
            if edge.entry is not None and self._is_to_list(edge.digest):
                groups.setdefault(edge.owner, {})[edge.digest] = edge.entry
        items = [(subject, list(entries.values())) for subject, entries in groups.items()]
        left: list[Digest] = []
        # Who names no subject is under the fallback tag alone, at the source as well.
        lone = {edge.digest for edge in self._graph.edges if edge.entry is not None}
        self._all(
            [
                partial(self._list, dict(items[i : i + _SUBJECTS_AT_ONCE]), left)
                for i in range(0, len(items), _SUBJECTS_AT_ONCE)
            ]
        )
        overlooked = sorted(set(left) - lone)
        if overlooked and self._options.is_listing_required:
            raise _not_discoverable(overlooked)

    def _is_to_list(self, digest: Digest) -> bool:
        return self._plan.is_thorough or digest in self._plan.documents

    def _list(self, groups: Mapping[Digest, Sequence[Descriptor]], left: list[Digest]) -> None:
        self._cancellation.check()
        try:
            left += self._destination.relate(groups)
        except ProvenderError as error:
            if error.code != "referrers-not-kept" or not self._options.is_listing_required:
                raise
            raise _not_discoverable([entry.digest for entries in groups.values() for entry in entries]) from error

    def _keep_untagged(self) -> None:
        """Let the storage keep roots that get no tag."""
        named = {change.digest for change in self._plan.tags}
        untagged = {root.digest for root in self._graph.roots} - named
        documents = [self._bytes(digest) for digest in self._graph.by_digest if digest in untagged]
        if documents:
            self._destination.finish(documents, ())

    def _tag(self, changes: Sequence[TagChange]) -> None:
        self._cancellation.check()
        self._destination.finish((), [(change.tag, self._bytes(change.digest)) for change in changes])
        for change in changes:
            self._watch.tagged(change)


class _Passing:
    """The content of the source, opened when it is first read and again when it is rewound, watched as it passes.

    It is `Verifying` because the readers of a source are (see `Fetcher`).
    """

    def __init__(
        self, open_content: Callable[[], BlobReader], descriptor: Descriptor, progress: Progress, stop: Cancellation
    ) -> None:
        self._open = open_content
        self._descriptor = descriptor
        self._progress = progress
        self._cancellation = stop
        self._reader: BlobReader | None = None
        self._task: int | None = None
        self._position = 0
        self._reported = 0
        self.passed_bytes = 0
        self.verified = False

    def proves(self, descriptor: Descriptor) -> bool:
        """True for the content of the source, as long as nothing was read."""
        own = self._descriptor
        return not self._position and (own.digest, own.size) == (descriptor.digest, descriptor.size)

    @property
    def is_used(self) -> bool:
        """True once anything was read."""
        return self._task is not None

    def read(self, size: int = -1, /) -> bytes:
        self._cancellation.check()
        if self._task is None:
            self._task = self._progress.start(self._descriptor.digest.short, self._descriptor.size)
        if self._reader is None:
            self._reader = self._open()
        chunk = self._reader.read(size)
        self.verified = not chunk and size != 0
        self._position += len(chunk)
        self.passed_bytes += len(chunk)
        if self._position > self._reported:  # what passes a second time is not shown again
            self._progress.advance(self._task, self._position - self._reported)
            self._reported = self._position
        return chunk

    def rewind(self) -> None:
        """Go on with the first byte."""
        self.close()
        self._position = 0
        self.verified = False

    def not_sent(self, n: int) -> None:
        """Do not count the next `n` bytes."""
        self.passed_bytes -= n

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
        if kind is None and self._task is not None:
            self._progress.done(self._task)


def _not_discoverable(digests: Sequence[Digest]) -> VerificationFailed:
    shown = ", ".join(digests[:3]) + (f" and {len(digests) - 3} more" if len(digests) > 3 else "")
    return VerificationFailed(
        f"copied, but the destination does not list it: {shown}",
        code="not-discoverable",
        exit_status=_NOT_LISTED,
        hint="the tags were not moved; use another registry, or --no-require-listing if all readers know the tag form",
    )
