"""Apply: a plan carried out, leg by leg, with a journal; exactly what the plan says, and tags at the very end.

A run can be killed at any point and started again. Runs of several shards share the work by the digests of the roots;
what two shards need, the one that comes later finds there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Self

import msgspec

from provender.errors import Conflict, InvalidReference
from provender.oci import Digest, Reference
from provender.relocate.evidence import Requirement
from provender.relocate.gates import Verifier, refuse_unfit
from provender.relocate.journal import Entry, Journal
from provender.relocate.plan import Leg, RelocationPlan
from provender.storage.abilities import Mounter, UploadNotes
from provender.storage.archive import ArchiveStorage
from provender.storage.layout import LayoutStorage
from provender.storage.open import Storages
from provender.transfer.archive_in import ArchiveCheck
from provender.transfer.copy import CopyDestination, CopyOptions, Outcome, Report, copy
from provender.transfer.graph import Graph, Node
from provender.transfer.plan import PlanDestination, TagChange, listed_tags
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from provender.storage.registry import RegistryRepository

__all__ = ["Applied", "ApplyChoices", "Shard", "apply"]

_LEGS_AT_ONCE: Final = 4
_MAX_SHARDS: Final = 10_000


class Shard(msgspec.Struct, frozen=True):
    """Part `number` (from 1) of `count` of the roots."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shard that `NUMBER/COUNT` writes; InvalidReference for anything else."""
        number, slash, count = text.partition("/")
        if slash and number.isdecimal() and count.isdecimal() and len(text) < 16:
            shard = cls(int(number), int(count))
            if 1 <= shard.number <= shard.count <= _MAX_SHARDS:
                return shard
        hint = f"write the number of the part and of how many, such as 2/8; at most {_MAX_SHARDS}"
        raise InvalidReference(f"not a shard: {text[:40]!r}", code="invalid-shard", hint=hint)

    def has(self, digest: Digest) -> bool:
        """True if the root with this digest is in the shard."""
        value = int.from_bytes(hashlib.sha256(digest.encode()).digest()[:8], "big")
        return value % self.count == self.number - 1

    def of(self, leg: Leg) -> Leg | None:
        """The part of a leg that is in the shard, with all that its roots need; None if none of them is."""
        if self.count == 1:
            return leg
        roots = tuple(root for root in leg.graph.roots if self.has(root.digest))
        if not roots:
            return None
        nodes = _reached(leg.graph, [root.digest for root in roots])
        graph = msgspec.structs.replace(
            leg.graph,
            roots=roots,
            nodes=tuple(node for node in leg.graph.nodes if node.digest in nodes),
            edges=tuple(edge for edge in leg.graph.edges if edge.owner in nodes),
        )
        tags = {tag for root in roots for tag in root.tags} | {edge.tag for edge in graph.edges}
        return msgspec.structs.replace(
            leg,
            graph=graph,
            documents=tuple(digest for digest in leg.documents if digest in nodes),
            blobs=tuple(digest for digest in leg.blobs if digest in nodes),
            tags=tuple(change for change in leg.tags if change.tag in tags),
        )


class ApplyChoices(msgspec.Struct, frozen=True, kw_only=True):
    """How to apply. `is_forced` moves tags that somebody else moved since the plan was made.

    `requirement` and `verifier` are gates: they stand before the first byte that is written.
    """

    shard: Shard = Shard()
    requirement: Requirement | None = None
    verifier: Verifier | None = None
    is_forced: bool = False
    is_listing_required: bool = True
    tags_referrers: bool = False
    """True to list referrers in layouts under fallback tags, too (see `LayoutView`)."""
    jobs: int = 8


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """One leg that was carried out; `leg` is the part of it that was in the shard."""

    leg: Leg
    report: Report


def apply(
    plan: RelocationPlan,
    source: Storages,
    destination: Storages,
    journal: Journal,
    *,
    choices: ApplyChoices | None = None,
    progress: Progress = NO_PROGRESS,
) -> tuple[Applied, ...]:
    """What was done for each leg of the plan.

    Raises VerificationFailed (of the gates, before anything is written; `not-discoverable`, before the tags),
    Conflict (`tag-moved`, before the tags), NotFound (content that the source lacks by now) and what storages raise.
    """
    chosen = choices or ApplyChoices()
    legs = [part for leg in plan.legs if (part := chosen.shard.of(leg)) is not None]
    refuse_unfit(legs, source, requirement=chosen.requirement, verifier=chosen.verifier)
    run = _Run(source, destination, journal, chosen, progress)
    run.check_archives(legs)
    tasks = [partial(run.leg, leg) for leg in legs]
    applied = tuple(run_all(tasks, jobs=_LEGS_AT_ONCE, cancellation=run.cancellation))
    journal.end()
    return applied


class _Run:
    def __init__(
        self, source: Storages, destination: Storages, journal: Journal, choices: ApplyChoices, progress: Progress
    ) -> None:
        self._from = source
        self._to = destination
        self._journal = journal
        self._choices = choices
        self._progress = progress
        self.cancellation = Cancellation()

    def check_archives(self, legs: Sequence[Leg]) -> None:
        """Verify every byte of what comes from archives, before the first of them is sent."""
        checks: dict[str, ArchiveCheck] = {}
        for leg in legs:
            opened = self._from.open(Reference.parse(leg.source))
            if isinstance(opened.storage, ArchiveStorage) and not leg.plan.is_empty:
                file = opened.storage.file
                made = ArchiveCheck(opened.storage, where=file, progress=self._progress, cancellation=self.cancellation)
                check = checks.setdefault(file, made)
                check.check(leg.graph, self._to.open(Reference.parse(leg.destination), create=True).writable)

    def leg(self, leg: Leg) -> Applied:
        """Carry out one leg."""
        opened = self._from.open(Reference.parse(leg.source))
        if leg.plan.is_empty:
            return Applied(leg=leg, report=Report(outcomes=_present(leg.graph), tags=()))
        writable = self._to.open(Reference.parse(leg.destination), create=True).writable
        _prepare(writable, self._journal.uploads(leg.destination), tags_referrers=self._choices.tags_referrers)
        options = CopyOptions(
            jobs=self._choices.jobs,
            mount_from=_neighbours(writable, opened.home()),
            is_listing_required=self._choices.is_listing_required,
        )
        watch = _Watch(leg, writable, self._journal, self._choices)
        report = copy(
            leg.plan,
            opened.storage,
            writable,
            options=options,
            watch=watch,
            progress=self._progress,
            cancellation=self.cancellation,
        )
        return Applied(leg=leg, report=report)


class _Watch:
    """The journal of one leg, and the last look at the tags before they are moved."""

    def __init__(self, leg: Leg, destination: PlanDestination, journal: Journal, choices: ApplyChoices) -> None:
        self._leg = leg
        self._destination = destination
        self._journal = journal
        self._choices = choices

    def is_finished(self, node: Node) -> bool:
        place, digest, is_document = self._leg.destination, node.digest, node.is_document
        if not self._journal.has(place, digest, is_document=is_document):
            return False
        is_earlier = self._journal.is_earlier(place, digest, is_document=is_document)
        return not is_earlier or self._destination.exists(node.content)

    def finished(self, outcome: Outcome) -> None:
        entry = Entry(
            destination=self._leg.destination,
            digest=outcome.digest,
            is_document=outcome.is_document,
            action=outcome.action,
            sent_bytes=outcome.sent_bytes,
        )
        self._journal.add(entry)

    def before_tags(self) -> frozenset[str]:
        # Tags that were to be new or moved: another mind may have moved them since the plan was shown, and an earlier
        # run of this plan as well.
        changes = [change for change in self._leg.tags if change.is_change]
        names = listed_tags(self._destination, questions=len(changes))
        asked = [each for each in changes if names is None or each.tag in names or each.before is not None]
        right = run_all([partial(self._is_right, change) for change in asked], jobs=self._choices.jobs)
        return frozenset(change.tag for change, is_right in zip(asked, right, strict=True) if is_right)

    def _is_right(self, change: TagChange) -> bool:
        """True if the tag names already what it is to name; Conflict if it was moved elsewhere and must not be."""
        now = self._destination.digest_of(change.tag)
        if now not in (change.before, change.digest) and not self._choices.is_forced:
            raise Conflict(
                f"{self._leg.destination}:{change.tag} was moved since the plan was made, to {now or 'nothing'}",
                code="tag-moved",
                where=f"{self._leg.destination}:{change.tag}",
                hint="make a new plan; or apply this one with --force, which moves the tag all the same",
            )
        return now == change.digest

    def tagged(self, change: TagChange) -> None:
        """Tags are looked at in every run; there is nothing to note."""


def _prepare(writable: RegistryRepository | LayoutStorage, notes: UploadNotes, *, tags_referrers: bool) -> None:
    if isinstance(writable, LayoutStorage):
        writable.tags_referrers = tags_referrers
    else:
        writable.upload_notes = notes


def _neighbours(writable: CopyDestination, home: object) -> tuple[str, ...]:
    if not isinstance(writable, Mounter):
        return ()
    name = writable.neighbour(home)
    return () if name is None else (name,)


def _present(graph: Graph) -> tuple[Outcome, ...]:
    return tuple(Outcome(digest=node.digest, is_document=node.is_document, action="present") for node in graph.nodes)


def _reached(graph: Graph, roots: Sequence[Digest]) -> frozenset[Digest]:
    """All that the roots lead to."""
    seen, pending = set(roots), list(roots)
    while pending:
        for edge in graph.below.get(pending.pop(), ()):
            if edge.digest not in seen:
                seen.add(edge.digest)
                pending.append(edge.digest)
    return frozenset(seen)
