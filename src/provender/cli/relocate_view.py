"""What a relocation would do, did, or left wrong, for people and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provender.cli.console import Console, clean, counted, human_bytes

if TYPE_CHECKING:
    from provender.relocate.plan import Leg, RelocationPlan
    from provender.relocate.report import RelocationReport
    from provender.relocate.verify import Verified

__all__ = ["show_plan", "show_report", "show_verified"]

_ROLES = ("root", "child", "referrer", "digest-tag", "attestation-in-index", "config", "layer")


def show_plan(console: Console, plan: RelocationPlan, output: Path | None) -> None:
    """Show a plan; of every node with -v."""
    _tell_of_bundles(console, plan)
    if console.is_json:
        fields: dict[str, object] = {
            "legs": [_leg(leg) for leg in plan.legs],
            "unchanged": [
                {"source": each.source, "destination": each.destination, "tag": each.tag, "digest": each.digest}
                for each in plan.unchanged
            ],
            "bytes": plan.most_bytes,
        }
        console.document("relocation-plan", fields)
        return
    for leg in plan.legs:
        _show_leg(console, leg)
    for left in (left for leg in plan.legs for left in leg.graph.left_out):
        if left.reason != "filtered":
            console.warning(f"left out: {left.digest} ({left.reason}: {left.detail})")
    tags = sum(change.is_change for leg in plan.legs for change in leg.tags)
    documents = counted(sum(len(leg.documents) for leg in plan.legs), "manifest", "manifests")
    blobs = counted(sum(len(leg.blobs) for leg in plan.legs), "blob", "blobs")
    moving = f"{documents} and {blobs} to move, {human_bytes(plan.most_bytes)}"
    parts = [moving, counted(tags, "tag changes", "tags change")]
    if plan.unchanged:
        parts.append(f"{counted(len(plan.unchanged), 'tag is', 'tags are')} equal and not looked into")
    console.note("; ".join(parts) if not plan.is_empty else f"nothing to do; {parts[-1]}")
    if output is not None:
        console.note(f"the plan is in {output}")


def _tell_of_bundles(console: Console, plan: RelocationPlan) -> None:
    from provender.bundle.reading import bundles_among

    found = [f"{leg.source} {root.asked}" for leg in plan.legs for root in bundles_among(leg.graph)]
    if found:
        what = "a bundle, whose images are" if len(found) == 1 else f"{len(found)} bundles, whose images are"
        console.warning(
            f"in this plan is {what} not part of it unless they are asked for as well: {', '.join(found[:3])}; "
            "'provender bundle copy' copies all of a bundle"
        )


def _show_leg(console: Console, leg: Leg) -> None:
    console.result(clean(f"{leg.source} -> {leg.destination}"))
    wanted = {*((digest, True) for digest in leg.documents), *((digest, False) for digest in leg.blobs)}
    rows = []
    for role in _ROLES:
        nodes = [node for node in leg.graph.nodes if leg.graph.roles[node.digest, node.is_document] == role]
        moving = [node for node in nodes if (node.digest, node.is_document) in wanted]
        if nodes:
            size = human_bytes(sum(node.descriptor.size for node in moving))
            rows.append([role, str(len(nodes)), str(len(nodes) - len(moving)), str(len(moving)), size])
    console.table(["ROLE", "ALL", "THERE", "TO MOVE", "SIZE"], rows)
    if console.verbose:
        for node in leg.graph.nodes:
            state = "move" if (node.digest, node.is_document) in wanted else "there"
            console.result(clean(f"  {state}  {node.digest}  {node.artifact_type or node.descriptor.media_type}"))
    if leg.can_mount and leg.blobs:
        console.note("the registry may take these blobs over by itself")
    for change in leg.tags:
        if change.is_change:
            before = f" (now {change.before})" if change.before else ""
            console.result(clean(f"  tag {change.tag} -> {change.digest}{before}"))


def _leg(leg: Leg) -> dict[str, object]:
    documents, blobs = set(leg.documents), set(leg.blobs)
    return {
        "source": leg.source,
        "destination": leg.destination,
        "canMount": leg.can_mount,
        "nodes": [
            {
                "digest": node.digest,
                "mediaType": node.descriptor.media_type,
                "artifactType": node.artifact_type,
                "size": node.descriptor.size,
                "role": leg.graph.roles[node.digest, node.is_document],
                "subject": node.subject,
                "isThere": node.digest not in (documents if node.is_document else blobs),
            }
            for node in leg.graph.nodes
        ],
        "tags": [
            {"tag": change.tag, "digest": change.digest, "before": change.before}
            for change in leg.tags
            if change.is_change
        ],
        "leftOut": [
            {"digest": left.digest, "owner": left.owner, "reason": left.reason, "detail": left.detail}
            for left in leg.graph.left_out
        ],
    }


def show_report(console: Console, report: RelocationReport) -> None:
    """Show what was done."""
    if console.is_json:
        import json

        fields = json.loads(report.dump())
        del fields["version"]
        console.document("relocation", fields)
        return
    for row in report.tags:
        before = f" (was {row.before})" if row.before else ""
        console.result(clean(f"{row.destination}:{row.tag} -> {row.digest}{before}"))
    if report.is_empty:
        console.note(f"nothing to do; {report.count('present')} there, and every tag names what it is to name")
        return
    done = [f"{report.count('copied')} copied ({human_bytes(report.sent_bytes)})", f"{report.count('present')} there"]
    if report.count("mounted"):
        done.append(f"{report.count('mounted')} taken over by the registry")
    related = sum(row.role in ("referrer", "digest-tag") for row in report.nodes)
    done.append(counted(related, "artifact that belongs to another", "artifacts that belong to others"))
    console.note(f"{', '.join(done)}; {counted(len(report.tags), 'tag', 'tags')} moved")


def show_verified(console: Console, verified: Verified) -> None:
    """Show what was compared, and every fault."""
    if console.is_json:
        fields: dict[str, object] = {
            "leftOut": verified.left_out,
            "tags": verified.tags,
            "documents": verified.documents,
            "blobs": verified.blobs,
            "relations": verified.relations,
            "faults": [
                {"kind": each.kind, "destination": each.destination, "digest": each.digest, "detail": each.detail}
                for each in verified.faults
            ],
        }
        console.document("relocation-verified", fields)
        return
    for fault in verified.faults:
        console.result(clean(f"{fault.kind}: {fault}"))
    looked = (
        f"{counted(verified.tags, 'tag', 'tags')}, {counted(verified.documents, 'manifest', 'manifests')}, "
        f"{counted(verified.blobs, 'blob', 'blobs')}, {counted(verified.relations, 'relation', 'relations')} looked at"
    )
    if verified.left_out:
        looked += f", {counted(verified.left_out, 'blob', 'blobs')} left to the other side"
    console.note(f"{looked}; {counted(len(verified.faults), 'fault', 'faults') if verified.faults else 'all is there'}")
