"""Plan: everything that a relocation would write, found out before anything is written, and kept in a file.

A leg is what goes from one repository to another: its graph, what is missing at the destination, and which tags would
change. Digests are settled here; whatever the tags at the source do afterwards, the plan stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec

from provender.errors import Conflict, InvalidDocument, InvalidReference, NotFound, Unsupported
from provender.oci import Digest, Reference
from provender.oci.digest import decode_digest
from provender.oci.document import is_text
from provender.relocate.archived import spread
from provender.relocate.mapping import Mapping, is_archive
from provender.relocate.wish import Wish
from provender.storage.files import write_atomically
from provender.storage.open import Opened, Storages
from provender.transfer.discover import DiscoverOptions, Start, discover
from provender.transfer.graph import Graph
from provender.transfer.plan import Plan, PlanDestination, PlanOptions, TagChange, listed_tags, missing
from provender.transfer.pool import run_all
from provender.transfer.related import NONE

__all__ = ["Leg", "PlanChoices", "RelocationPlan", "Unchanged", "make_plan", "reading", "writing"]

_VERSION: Final = 1
_MAX_BYTES: Final = 1 << 30
_LEGS_AT_ONCE: Final = 4


class Unchanged(msgspec.Struct, frozen=True, kw_only=True):
    """A tag that names the same digest on both sides: nothing below it was looked at."""

    source: str
    destination: str
    tag: str
    digest: Digest


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """What goes from one repository to another. Names are without tags.

    The graph has the bytes of the documents that will be written, so that applying asks the source for blobs alone.
    """

    source: str
    destination: str
    graph: Graph
    documents: tuple[Digest, ...]
    """Those that the destination lacks, sorted."""
    blobs: tuple[Digest, ...]
    """Those that the destination lacks, or may lack; sorted."""
    tags: tuple[TagChange, ...]
    is_thorough: bool = False
    can_mount: bool = False
    """True if the destination's registry is the source's, so that it may take blobs over by itself."""

    @property
    def plan(self) -> Plan:
        """The leg in the words of `transfer`."""
        return Plan(
            graph=self.graph,
            documents=frozenset(self.documents),
            blobs=frozenset(self.blobs),
            tags=self.tags,
            is_thorough=self.is_thorough,
        )


class RelocationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All legs, by source and destination, and the tags for which nothing is to be done.

    `registries` says where the logical registries of the legs were.
    """

    version: Literal[1] = 1
    registries: dict[str, str] = {}
    legs: tuple[Leg, ...] = ()
    unchanged: tuple[Unchanged, ...] = ()

    def dump(self) -> bytes:
        """The plan's file: JSON, the same bytes for the same plan."""
        return msgspec.json.format(msgspec.json.encode(self, enc_hook=str, order="deterministic"), indent=1) + b"\n"

    @property
    def digest(self) -> Digest:
        """The digest of the plan's file: what a journal is for."""
        return Digest.of(self.dump())

    def write(self, path: Path) -> None:
        """Put the plan's file at `path`, whole or not at all."""
        write_atomically(path, self.dump())

    @classmethod
    def load(cls, path: Path) -> RelocationPlan:
        """The plan in a file. Raises NotFound, InvalidDocument, Unsupported (of a newer version)."""
        try:
            with open(path, "rb") as file:
                raw = file.read(_MAX_BYTES + 1)
        except FileNotFoundError as error:
            hint = "make one with 'provender relocate plan'"
            raise NotFound(f"there is no plan at {path}", code="no-plan", where=str(path), hint=hint) from error
        if len(raw) > _MAX_BYTES:
            raise InvalidDocument(f"the plan is over {_MAX_BYTES} bytes", code="plan-too-large", where=str(path))
        try:
            version = msgspec.json.decode(raw, type=_Versioned).version
            if version != _VERSION:
                raise Unsupported(
                    f"the plan is of version {version}, and this provender knows {_VERSION}",
                    code="newer-plan",
                    where=str(path),
                    hint="use the provender that made it, or make the plan again",
                )
            plan = msgspec.json.decode(raw, type=cls, dec_hook=decode_digest)
        except msgspec.DecodeError as error:
            raise _not_a_plan(str(error), path) from error
        for leg in plan.legs:
            _check(leg, path)
        return plan

    @property
    def most_bytes(self) -> int:
        """How much there is to move at most."""
        return sum(leg.plan.most_bytes for leg in self.legs)

    @property
    def is_empty(self) -> bool:
        """True if nothing is to be written."""
        return all(leg.plan.is_empty for leg in self.legs)


def _check(leg: Leg, path: Path) -> None:
    """InvalidDocument unless the leg fits together: what is to be written is in the graph, with the right bytes."""
    by_digest = leg.graph.by_digest
    blobs = {node.digest for node in leg.graph.blobs} & {edge.digest for edge in leg.graph.edges}
    named = {root.digest for root in leg.graph.roots} | {change.digest for change in leg.tags}
    if not by_digest.keys() >= {*leg.documents, *named} or not blobs >= set(leg.blobs):
        raise _not_a_plan(f"the leg to {leg.destination[:200]} names what its graph does not have", path)
    for digest, document in leg.graph.documents.items():
        if document.digest != digest or Digest.of(document.raw, digest.algorithm) != digest:
            raise _not_a_plan(f"the bytes of {digest} are not the manifest's", path)
    for name in (leg.source, leg.destination):
        Reference.parse(name)


def _not_a_plan(why: str, path: Path) -> InvalidDocument:
    return InvalidDocument(
        f"not a relocation plan: {why[:300]}",
        code="invalid-plan",
        where=str(path),
        hint="make it again with 'provender relocate plan'",
    )


class _Versioned(msgspec.Struct):
    version: int


class PlanChoices(msgspec.Struct, frozen=True, kw_only=True):
    """How to plan. `recheck` looks below tags that are equal on both sides, for related content that came later."""

    discover: DiscoverOptions = DiscoverOptions()
    recheck: bool = False
    is_thorough: bool = False
    probe_blobs: bool = True
    jobs: int = 8


class _Root(msgspec.Struct, frozen=True):
    """One artifact of a leg, as it was asked for."""

    asked: str
    digest: Digest | None
    tags: tuple[str, ...]
    keeps_tags: bool = False


def reading(storages: Storages, reference: Reference) -> Opened:
    """The source of a leg."""
    return storages.open(reference)


def writing(storages: Storages, reference: Reference) -> PlanDestination:
    """The destination of a leg for asking: what is not there yet is an empty one, and stays so; so is an archive.

    Its mirrors are not asked: what only they have is not there.
    """
    if is_archive(reference.name):
        from provender.storage.memory import MemoryStorage

        return MemoryStorage()
    try:
        return storages.open(reference).home()
    except NotFound:
        from provender.storage.memory import MemoryStorage

        return MemoryStorage()


def make_plan(
    wishes: Sequence[Wish],
    mapping: Mapping,
    source: Storages,
    destination: Storages,
    *,
    choices: PlanChoices | None = None,
) -> RelocationPlan:
    """The plan for `wishes`; only asks.

    Raises NotFound (no such artifact, a pattern that matches nothing), Conflict (`tag-clash`: two artifacts would get
    one tag), InvalidReference (`no-destination`, `invalid-encoding`), and what look-ups raise.
    """
    planner = _Planner(mapping, source, destination, choices or PlanChoices())
    grouped: dict[tuple[str, str, bool], list[Wish]] = {}
    for wish in spread(wishes, source):
        target = wish.destination or mapping.destination(wish.source)
        _refuse_unwritable(wish.source.name, target.name)
        grouped.setdefault((wish.source.name, target.name, wish.is_bare), []).append(wish)
    tasks = [partial(planner.leg, group) for group in grouped.values()]
    results = run_all(tasks, jobs=_LEGS_AT_ONCE)
    legs = tuple(leg for leg, _ in results if leg is not None)
    _refuse_clashes(legs)
    unchanged = tuple(each for _, same in results for each in same)
    return RelocationPlan(
        registries=_bound([leg.source for leg in legs], source)
        | _bound([leg.destination for leg in legs], destination),
        legs=tuple(sorted(legs, key=lambda leg: (leg.destination, leg.source))),
        unchanged=tuple(sorted(unchanged, key=lambda each: (each.destination, each.tag))),
    )


def _bound(names: Sequence[str], storages: Storages) -> dict[str, str]:
    aliases = {each.registry for each in map(Reference.parse, names) if each.kind == "logical"}
    found = {alias: str(storages.locations.find(alias).target) for alias in aliases}
    _refuse_unwritable(*found.values())
    return found


def _refuse_unwritable(*names: str) -> None:
    """InvalidReference for a path on disk that is not UTF-8, as the plan's file has to be."""
    for name in names:
        if not is_text(name):
            raise InvalidReference(
                f"{name[:200]!r} is not UTF-8, so a plan cannot name it",
                code="invalid-encoding",
                where=name[:300],
                hint="rename it or name a link to it; 'provender copy' takes it as it is",
            )


class _Planner:
    def __init__(self, mapping: Mapping, source: Storages, destination: Storages, choices: PlanChoices) -> None:
        self._mapping = mapping
        self._from = source
        self._to = destination
        self._choices = choices

    def leg(self, wishes: Sequence[Wish]) -> tuple[Leg | None, list[Unchanged]]:
        """What goes between the two repositories of `wishes`, and what need not go."""
        reference = wishes[0].source
        target = wishes[0].destination or self._mapping.destination(reference)
        opened, there = reading(self._from, reference), writing(self._to, target)
        roots, same = self._sorted_out(self._roots(wishes, opened), reference, target, opened, there)
        if not roots:
            return None, same
        starts = self._starts(opened, roots)
        looking = self._choices.discover
        if wishes[0].is_bare:
            looking = msgspec.structs.replace(looking, related=NONE)
        graph = discover(opened.storage, starts, options=looking)
        options = PlanOptions(
            is_thorough=self._choices.is_thorough, probe_blobs=self._choices.probe_blobs, jobs=self._choices.jobs
        )
        plan = missing(graph, there, options=options)
        _refuse_moves(plan.tags, {tag for root in roots if root.keeps_tags for tag in root.tags}, target)
        sent = plan.documents | {change.digest for change in plan.tags if change.is_change}
        documents = {digest: graph.documents[digest] for digest in graph.by_digest if digest in sent}
        leg = Leg(
            source=reference.name,
            destination=target.name,
            graph=msgspec.structs.replace(graph, documents=documents),
            documents=tuple(sorted(plan.documents)),
            blobs=tuple(sorted(plan.blobs)),
            tags=plan.tags,
            is_thorough=plan.is_thorough,
            can_mount=self._from.locations.place(reference).host == self._to.locations.place(target).host is not None,
        )
        return leg, same

    def _roots(self, wishes: Sequence[Wish], opened: Opened) -> list[_Root]:
        found: dict[str, _Root] = {}
        names: list[str] | None = None
        for wish in wishes:
            if wish.target is not None:
                self._add(found, wish, wish.target, wish.tags)
                continue
            if names is None:
                names = list(opened.storage.tags())
            chosen = wish.select(names)
            if not chosen:
                raise NotFound(
                    f"none of the {len(names)} tags is wished for by {wish}",
                    code="nothing-matched",
                    where=opened.location,
                    hint=f"'provender tags {wish.source.name[:200]}' lists them",
                )
            for tag in chosen:
                self._add(found, wish, tag, (tag,))
        return list(found.values())

    def _add(self, found: dict[str, _Root], wish: Wish, target: str, tags: tuple[str, ...]) -> None:
        digest = Digest(target) if ":" in target else None
        before = found.get(target)
        every = (*before.tags, *tags) if before is not None else tags
        keeps = wish.keeps_tags and (before is None or before.keeps_tags)
        found[target] = _Root(target, digest, tuple(dict.fromkeys(every)), keeps)

    def _sorted_out(
        self,
        roots: Sequence[_Root],
        source: Reference,
        target: Reference,
        opened: Opened,
        there: PlanDestination,
    ) -> tuple[list[_Root], list[Unchanged]]:
        """The roots that have to be looked into, and the tags that are equal on both sides, by one question each."""
        if self._choices.recheck or self._choices.is_thorough:
            return list(roots), []

        names = listed_tags(there, questions=sum(len(root.tags) for root in roots))

        def compare(root: _Root) -> Digest | None:
            if not root.tags or (names is not None and not names.issuperset(root.tags)):
                return None
            after = {there.digest_of(tag) for tag in root.tags}
            if None in after or len(after) > 1:
                return None
            digest = root.digest or opened.storage.digest_of(root.asked)
            return digest if digest in after else None

        equal = run_all([partial(compare, root) for root in roots], jobs=self._choices.jobs)
        same = [
            Unchanged(source=source.name, destination=target.name, tag=tag, digest=digest)
            for root, digest in zip(roots, equal, strict=True)
            if digest is not None
            for tag in root.tags
        ]
        return [root for root, digest in zip(roots, equal, strict=True) if digest is None], same

    def _starts(self, opened: Opened, roots: Sequence[_Root]) -> list[Start]:
        def start(root: _Root) -> Start:
            return Start(document=opened.storage.resolve(root.asked), asked=root.asked, tags=root.tags)

        return run_all([partial(start, root) for root in roots], jobs=self._choices.jobs)


def _refuse_moves(changes: Sequence[TagChange], kept: AbstractSet[str], target: Reference) -> None:
    for change in changes:
        if change.tag in kept and change.is_change and change.before is not None:
            raise Conflict(
                f"{target.name}:{change.tag} is there and names something else, {change.before}",
                code="tag-taken",
                where=f"{target.name}:{change.tag}",
                hint="write 'overwrite: true' into the list to have it moved",
            )


def _refuse_clashes(legs: Sequence[Leg]) -> None:
    taken: dict[tuple[str, str], tuple[Digest, str]] = {}
    for leg in legs:
        named: Map[str, Digest] = {change.tag: change.digest for change in leg.tags}
        for tag, digest in named.items():
            other, source = taken.setdefault((leg.destination, tag), (digest, leg.source))
            if other != digest:
                raise Conflict(
                    f"{source} and {leg.source} would both be {leg.destination}:{tag}, and are not the same",
                    code="tag-clash",
                    hint="send them to different repositories with --map",
                )
