"""Report: what a relocation did, for every node: what it is, whence, whither, how it was found, and what became of it.

The same relocation gives the same report, in an order that depends on the content alone; it holds no time and nothing
of the machine, so that it can be an artifact of its own beside the root that it tells of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Digest, Document, Manifest, Reference
from provender.oci.annotations import TITLE
from provender.oci.media_types import MANIFEST
from provender.relocate.apply import Applied
from provender.relocate.plan import RelocationPlan, Unchanged
from provender.storage.open import Storages
from provender.storage.verify import BytesReader
from provender.transfer.graph import LeftOut, Role, Route

__all__ = ["MEDIA_TYPE", "RelocationReport", "Row", "TagRow", "attach", "report_of"]

MEDIA_TYPE: Final = "application/vnd.provender.relocation.v1+json"
_VERSION: Final = 1


class Row(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One node. `action` is `present`, `copied`, `mounted` or `foreign`; `found_by` are the routes that led to it."""

    digest: Digest
    media_type: str
    size: int
    role: Role
    source: str
    destination: str
    action: str
    sent_bytes: int = 0
    artifact_type: str | None = None
    subject: Digest | None = None
    found_by: tuple[Route, ...] = ()


class TagRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tag that was moved or made; `before` is what it named."""

    destination: str
    tag: str
    digest: Digest
    before: Digest | None = None


class RelocationReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Rows by destination, then as the graphs have them."""

    version: int
    nodes: tuple[Row, ...]
    tags: tuple[TagRow, ...] = ()
    unchanged: tuple[Unchanged, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def dump(self) -> bytes:
        """The report as JSON; equal reports have equal bytes."""
        return msgspec.json.format(msgspec.json.encode(self, enc_hook=str), indent=2) + b"\n"

    def count(self, action: str) -> int:
        """How many nodes ended so."""
        return sum(1 for row in self.nodes if row.action == action)

    @property
    def sent_bytes(self) -> int:
        return sum(row.sent_bytes for row in self.nodes)

    @property
    def is_empty(self) -> bool:
        """True if everything was there and every tag was right."""
        return not self.tags and all(row.action in ("present", "foreign") for row in self.nodes)


def report_of(plan: RelocationPlan, applied: Sequence[Applied]) -> RelocationReport:
    """The report of a plan (or of a shard of it) that was applied."""
    return RelocationReport(
        version=_VERSION,
        nodes=tuple(row for each in applied for row in _rows(each)),
        tags=tuple(
            TagRow(destination=each.leg.destination, tag=change.tag, digest=change.digest, before=change.before)
            for each in applied
            for change in each.report.tags
        ),
        unchanged=plan.unchanged,
        left_out=tuple(left for each in applied for left in each.leg.graph.left_out),
    )


def attach(plan: RelocationPlan, applied: Sequence[Applied], destination: Storages) -> tuple[Document, ...]:
    """The reports of each leg's roots, attached to them at the destination: a referrer that nobody has to look for."""
    found: list[Document] = []
    for each in applied:
        content = report_of(msgspec.structs.replace(plan, unchanged=()), [each]).dump()
        storage = destination.open(Reference.parse(each.leg.destination)).writable
        for root in each.leg.graph.roots:
            layer = Descriptor.of(content, MEDIA_TYPE, annotations={TITLE: "relocation.json"})
            manifest = Manifest(
                schema_version=2,
                media_type=MANIFEST,
                artifact_type=MEDIA_TYPE,
                config=EMPTY_DESCRIPTOR,
                layers=(layer,),
                subject=each.leg.graph.by_digest[root.digest].descriptor,
            )
            document = Document.author(manifest)
            storage.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
            storage.push(layer, BytesReader(content))
            storage.push_document(document)
            found.append(document)
    return tuple(found)


def _rows(applied: Applied) -> list[Row]:
    graph = applied.leg.graph
    routes: dict[tuple[Digest, bool], dict[Route, None]] = {}
    for edge in graph.edges:
        routes.setdefault((edge.digest, graph.is_document_edge(edge)), {}).update(dict.fromkeys(edge.routes))
    outcomes = {(outcome.digest, outcome.is_document): outcome for outcome in applied.report.outcomes}
    rows: list[Row] = []
    for node in graph.nodes:
        key = (node.digest, node.is_document)
        rows.append(
            Row(
                digest=node.digest,
                media_type=node.descriptor.media_type,
                size=node.descriptor.size,
                role=graph.roles[key],
                source=applied.leg.source,
                destination=applied.leg.destination,
                action=outcomes[key].action,
                sent_bytes=outcomes[key].sent_bytes,
                artifact_type=node.artifact_type,
                subject=node.subject,
                found_by=tuple(routes.get(key, ())),
            )
        )
    return rows
