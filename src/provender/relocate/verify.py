"""Verify: is at the destination what the plan says, found by the destination's own discovery? Only reads.

Every tag names its digest, every document answers with its bytes, every blob is there with its size, and everything
related is listed by the destination. Deep, every byte of every blob is read and hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Literal, TypeVar

import msgspec

from provender.errors import IntegrityError, NotFound, VerificationFailed
from provender.oci import Digest, Reference
from provender.relocate.plan import Leg, RelocationPlan
from provender.storage.archive import ArchiveStorage
from provender.storage.open import Storages
from provender.storage.verify import CHUNK_BYTES
from provender.transfer.discover import DiscoverOptions, Start, discover
from provender.transfer.graph import Edge, Node, Route
from provender.transfer.inventory import Inventory
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress

__all__ = ["Fault", "Verified", "refuse_faults", "verify"]

_T = TypeVar("_T")

FaultKind = Literal["tag", "missing", "damaged", "not-listed"]

_NOT_LISTED: Final = 84
_MAX_LISTED: Final = 2
_UNHEARD: Final[frozenset[Route]] = frozenset({"document", "overlooked"})


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not at the destination as the plan says."""

    kind: FaultKind
    destination: str
    digest: Digest
    detail: str

    def __str__(self) -> str:
        return f"{self.destination}: {self.detail}"


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, over all legs, and what is wrong with it. `left_out` blobs are not in a delta archive, which
    says so itself."""

    left_out: int = 0
    tags: int = 0
    documents: int = 0
    blobs: int = 0
    relations: int = 0
    faults: tuple[Fault, ...] = ()


def verify(
    plan: RelocationPlan,
    destination: Storages,
    *,
    is_deep: bool = False,
    jobs: int = 8,
    progress: Progress = NO_PROGRESS,
) -> Verified:
    """What is wrong at the destinations of `plan`. Raises what look-ups raise, but for content that is not there."""
    results = [_Look(leg, destination, is_deep=is_deep, jobs=jobs, progress=progress).run() for leg in plan.legs]
    return Verified(
        left_out=sum(each.left_out for each in results),
        tags=sum(each.tags for each in results),
        documents=sum(each.documents for each in results),
        blobs=sum(each.blobs for each in results),
        relations=sum(each.relations for each in results),
        faults=tuple(fault for each in results for fault in each.faults),
    )


def refuse_faults(verified: Verified) -> None:
    """Nothing if there is no fault. NotFound (`incomplete-destination`) where anything is missing or moved,
    IntegrityError (`damaged-destination`), VerificationFailed (`not-discoverable`, exit status 84) where all is there
    but not listed."""
    faults = verified.faults
    if not faults:
        return
    shown = "; ".join(str(fault) for fault in faults[:_MAX_LISTED])
    more = f"; and {len(faults) - _MAX_LISTED} more" if len(faults) > _MAX_LISTED else ""
    kinds = {fault.kind for fault in faults}
    if "damaged" in kinds:
        raise IntegrityError(
            f"the destination holds wrong bytes: {shown}{more}",
            code="damaged-destination",
            hint="delete them there and apply the plan again with a new journal",
        )
    if kinds == {"not-listed"}:
        raise VerificationFailed(
            f"all is there, but the destination does not list it: {shown}{more}",
            code="not-discoverable",
            exit_status=_NOT_LISTED,
            hint="readers that look for signatures will not find them there; plan with --thorough and apply again",
        )
    raise NotFound(
        f"the destination is not what the plan says: {shown}{more}",
        code="incomplete-destination",
        hint="make a plan with --thorough and apply it",
    )


class _Look:
    def __init__(self, leg: Leg, storages: Storages, *, is_deep: bool, jobs: int, progress: Progress) -> None:
        self._leg = leg
        self._graph = leg.graph
        self._storage = storages.open(Reference.parse(leg.destination)).home()  # what its mirrors have proves nothing
        lacking = _lacking(self._storage, storages)
        self._blobs_here = [node for node in self._graph.blobs if node.digest not in lacking]
        self._left_out = len(self._graph.blobs) - len(self._blobs_here)
        self._is_deep = is_deep
        self._jobs = jobs
        self._progress = progress
        self._cancellation = Cancellation()

    def run(self) -> Verified:
        faults = [*self._tags(), *self._documents(), *self._blobs()]
        lost = {fault.digest for fault in faults if fault.kind != "tag"}
        faults += self._relations(lost)
        return Verified(
            left_out=self._left_out,
            tags=len(self._leg.tags),
            documents=len(self._graph.by_digest),
            blobs=len(self._blobs_here),
            relations=sum(len(edges) for edges in self._graph.related.values()),
            faults=tuple(faults),
        )

    def _tags(self) -> Iterable[Fault]:
        names = [change.tag for change in self._leg.tags]
        found = self._all([partial(self._storage.digest_of, name) for name in names])
        for change, digest in zip(self._leg.tags, found, strict=True):
            if digest != change.digest:
                detail = f"the tag {change.tag} names {digest or 'nothing'}, not {change.digest}"
                yield self._fault("tag", change.digest, detail)

    def _documents(self) -> Iterable[Fault]:
        return self._kept(self._all([partial(self._document, node) for node in self._graph.by_digest.values()]))

    def _document(self, node: Node) -> Fault | None:
        try:
            self._storage.resolve(node.digest)
        except NotFound:
            return self._fault("missing", node.digest, f"the manifest {node.digest} is missing")
        except IntegrityError as error:
            return self._fault("damaged", node.digest, error.message)
        return None

    def _blobs(self) -> Iterable[Fault]:
        look = self._read if self._is_deep else self._probe
        return self._kept(self._all([partial(look, node) for node in self._blobs_here]))

    def _probe(self, node: Node) -> Fault | None:
        return None if self._storage.exists(node.content) else self._missing(node)

    def _read(self, node: Node) -> Fault | None:
        task = self._progress.start(node.digest.short, node.descriptor.size)
        try:
            with self._storage.fetch(node.content) as reader:
                while chunk := reader.read(CHUNK_BYTES):
                    self._cancellation.check()
                    self._progress.advance(task, len(chunk))
        except NotFound:
            return self._missing(node)
        except IntegrityError as error:
            return self._fault("damaged", node.digest, error.message)
        self._progress.done(task)
        return None

    def _missing(self, node: Node) -> Fault:
        return self._fault("missing", node.digest, f"the blob {node.digest} is missing")

    def _relations(self, lost: set[Digest]) -> Iterable[Fault]:
        """What the destination's own discovery does not find, of what is there."""
        wanted = {_key(edge) for edges in self._graph.related.values() for edge in edges}
        if not wanted:
            return
        roots = [root for root in self._graph.roots if root.digest not in lost]
        starts = self._all([partial(self._start, root.digest) for root in roots])
        found = discover(self._storage, starts, options=DiscoverOptions(jobs=self._jobs))
        there = {_key(edge) for edges in found.related.values() for edge in edges if _is_listed(edge)}
        for owner, digest, tag in sorted(wanted - there, key=str):
            if digest not in lost:
                what = f"the tag {tag}" if tag else f"{digest} as a referrer"
                yield self._fault("not-listed", digest, f"{what} of {owner} is not found there")

    def _start(self, digest: Digest) -> Start:
        return Start(document=self._storage.resolve(digest), asked=digest)

    def _fault(self, kind: FaultKind, digest: Digest, detail: str) -> Fault:
        return Fault(kind=kind, destination=self._leg.destination, digest=digest, detail=detail)

    @staticmethod
    def _kept(found: Iterable[Fault | None]) -> Iterable[Fault]:
        return (fault for fault in found if fault is not None)

    def _all(self, tasks: Sequence[Callable[[], _T]]) -> list[_T]:
        return run_all(tasks, jobs=self._jobs, cancellation=self._cancellation)


def _lacking(storage: object, storages: Storages) -> frozenset[Digest]:
    """What an archive leaves to the side that it goes to, as its inventory says."""
    if not isinstance(storage, ArchiveStorage):
        return frozenset()
    inventory = Inventory.at(storages.open(Reference.parse(storage.file)).storage)
    return frozenset() if inventory is None else inventory.lacking


def _is_listed(edge: Edge) -> bool:
    """True if those who look for it find it: a list that most do not read, or its own manifest, is not enough."""
    return edge.entry is not None or not _UNHEARD.issuperset(edge.routes)


def _key(edge: Edge) -> tuple[Digest, Digest, str | None]:
    return edge.owner, edge.digest, edge.tag
