"""An archive as the destination of a relocation: all legs of a plan, under the full names of their repositories.

It is written at once, whole or not at all, so there is no journal: what was broken off begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from provender.bundle.moving import Merged, Part, merge
from provender.errors import Conflict
from provender.oci import Digest, Document, Reference
from provender.relocate.apply import Applied
from provender.relocate.mapping import archived_repository
from provender.relocate.plan import Leg, RelocationPlan
from provender.storage.open import Storages
from provender.transfer.archive_out import tags_of
from provender.transfer.copy import Action, Outcome, Report
from provender.transfer.graph import Graph
from provender.transfer.pool import run_all

__all__ = ["Packing", "applied", "archive_of", "packing"]


def archive_of(plan: RelocationPlan) -> Path | None:
    """The archive that a plan goes to; None for other destinations. Conflict if it goes there and elsewhere, too."""
    found = {archived_repository(Reference.parse(leg.destination)) for leg in plan.legs}
    files = {None if each is None else each[0] for each in found}
    if files == {None} or not files:
        return None
    if len(files) > 1:
        raise Conflict(
            f"the plan goes to {len(files)} places, of which an archive is one",
            code="several-destinations",
            hint="make a plan for the archive alone: it is written at once",
        )
    return Path(str(files.pop()))


class Packing(msgspec.Struct, frozen=True):
    """What an archive of all legs is written from; `names` are full references."""

    graph: Graph
    source: Merged
    names: Mapping[str, Digest]


def packing(plan: RelocationPlan, source: Storages, *, jobs: int) -> Packing:
    """All legs of a plan as one graph, with the documents that a plan's file leaves out read again."""
    parts: list[Part] = []
    names: dict[str, Digest] = {}
    for leg in plan.legs:
        opened = source.open(Reference.parse(leg.source))
        graph = _whole(leg, opened.storage.resolve, jobs=jobs)
        parts.append(Part(graph, opened.storage, Reference.parse(leg.source)))
        names |= _names(leg)
    return Packing(merge(parts), Merged(parts), names)


def applied(plan: RelocationPlan, left_out: frozenset[Digest]) -> tuple[Applied, ...]:
    """What was done for each leg, once the archive is there."""
    found: list[Applied] = []
    seen: set[Digest] = set()
    for leg in plan.legs:
        outcomes = []
        for node in leg.graph.nodes:
            is_there = node.digest in left_out or node.digest in seen
            sent = 0 if is_there else node.descriptor.size
            action: Action = "present" if is_there else "copied"
            outcomes.append(Outcome(digest=node.digest, is_document=node.is_document, action=action, sent_bytes=sent))
            seen.add(node.digest)
        found.append(Applied(leg=leg, report=Report(outcomes=tuple(outcomes), tags=leg.tags)))
    return tuple(found)


def _whole(leg: Leg, resolve: Callable[[str], Document], *, jobs: int) -> Graph:
    absent = [digest for digest in leg.graph.by_digest if digest not in leg.graph.documents]
    found = run_all([partial(resolve, digest) for digest in absent], jobs=jobs)
    documents = {**leg.graph.documents, **dict(zip(absent, found, strict=True))}
    return msgspec.structs.replace(leg.graph, documents=documents)


def _names(leg: Leg) -> dict[str, Digest]:
    archived = archived_repository(Reference.parse(leg.destination))
    repository = leg.destination if archived is None else archived[1]
    tags = tags_of(leg.graph)
    names = {f"{repository}:{tag}": digest for tag, digest in tags.items()}
    tagged = set(tags.values())
    return names | {f"{repository}@{root.digest}": root.digest for root in leg.graph.roots if root.digest not in tagged}
